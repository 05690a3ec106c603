"""Decoding: what labels are turned into for training comes back as detections; geometry against its inverse; laws of suppression."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from perception.detectors.decode import DecodeSpec, decode, read_angle
from perception.detectors.geometry import box_iou, lift, project, ray_angle, wrap
from perception.detectors.network import BINS, FINE, PIXELS, STRIDE, Maps, NetworkSpec, at_parts, in_places, over_parts, read, split
from perception.training.boxes import BoxStream
from perception.training.losses import _heading
from perception.training.targets import cells, flip, heat, learnable, objects
from perception.types import Camera, Labels

HEIGHT, WIDTH = 96, 160
PARTS = (HEIGHT // PIXELS, WIDTH // PIXELS)
CLASSES = BoxStream.classes
SPEC = DecodeSpec(classes=CLASSES, slots=16, threshold=0.5)


def perfect_maps(labels: Labels, camera: Camera) -> Maps:
    """What a network without error would say: the targets, written into the maps at the middles."""
    things = objects(labels, camera)
    target, _ = heat(things, len(CLASSES), *PARTS)
    maps = _maps(len(target))._replace(part=torch.logit(target.amax(1, keepdim=True).clamp(0.001, 0.999)))
    part, _ = cells(things, *PARTS)
    for n, d in torch.nonzero(things.learn).tolist():
        row, column = divmod(int(part[n, d, 0]), PARTS[1])
        box = things.box[n, d]
        maps.offset[n, :, row, column] = 0.5 * (box[:2] + box[2:]) - torch.tensor([column + 0.5, row + 0.5])
        row, column = row // FINE, column // FINE
        maps.kind[n, :, row, column] = -9.0
        maps.kind[n, things.kind[n, d], row, column] = 0.0
        maps.size[n, :, row, column] = (box[2:] - box[:2]).log()
        maps.depth[n, 0, row, column] = things.depth[n, d]
        maps.depth_spread[n, 0, row, column] = math.log(0.05)
        maps.dims[n, :, row, column] = things.dims[n, d]
        maps.heading[n, :, row, column] = bins(things.heading[n, d])
        maps.centre[n, :, row, column] = things.centre[n, d] - FINE * torch.tensor([column + 0.5, row + 0.5])
        maps.side_spread[n, 0, row, column] = math.log(0.5)
        maps.light[n, :, row, column] = torch.nn.functional.one_hot(things.light[n, d].clamp(min=0), 5).float()
    return maps


def together(maps: Maps) -> Tensor:
    """The output of which these are the maps."""
    kind, part, offset, *rest = maps
    return torch.cat([kind, torch.pixel_unshuffle(part, FINE), torch.pixel_unshuffle(offset, FINE), *rest], 1)


def test_the_output_read_at_parts_is_what_its_maps_say_there() -> None:
    output = torch.randn(3, NetworkSpec(classes=CLASSES).outputs, 5, 6, generator=torch.Generator().manual_seed(0))
    part, cells = torch.arange(10 * 12).expand(3, -1), output.permute(0, 2, 3, 1).contiguous()
    maps = split(output, len(CLASSES))
    for found, values in zip(at_parts(cells, part, len(CLASSES)), maps, strict=True):
        assert torch.equal(found, read(values, part, 12))
    k = len(CLASSES)
    assert torch.equal(in_places(cells[..., k : k + FINE**2].contiguous()), maps.part)
    assert torch.equal(together(maps), output)


def _maps(images: int) -> Maps:
    """Nothing anywhere."""
    output = torch.zeros(images, NetworkSpec(classes=CLASSES).outputs, HEIGHT // STRIDE, WIDTH // STRIDE)
    return Maps(*(value.clone() for value in split(output, len(CLASSES))))


def bins(angle: torch.Tensor) -> torch.Tensor:
    """(BINS,) logits of one angle that lies between two bins, more likely the nearer."""
    place = float(angle) / (2.0 * math.pi) * BINS
    low, share = math.floor(place), place - math.floor(place)
    chance = torch.full((BINS,), 1e-9)
    chance[low % BINS] += 1.0 - share
    chance[(low + 1) % BINS] += share
    return chance.log()


def test_labels_survive_the_round_trip() -> None:
    """Targets written as maps decode to the labels: boxes, places, sizes, headings, lights."""
    frame, labels, _ = BoxStream().sample(5, 64)
    found = decode(together(perfect_maps(labels, frame.camera)), frame.camera, SPEC, height=HEIGHT, width=WIDTH)
    taught = learnable(labels)
    # two things of one class whose middles share or touch a cell cannot both be told; nearly all others must be
    recovered = 0
    for b, d in torch.nonzero(taught).tolist():
        close = (found.box[b] - labels.box[b, d]).abs().amax(-1) < 1e-2
        match = torch.nonzero(close & found.mask[b] & (found.kind[b] == labels.kind[b, d]))[:, 0]
        if not len(match):
            continue
        recovered += 1
        row = int(match[0])
        torch.testing.assert_close(found.centre[b, row], labels.centre[b, d], atol=2e-3, rtol=1e-3)
        torch.testing.assert_close(found.size[b, row], labels.size[b, d], atol=1e-3, rtol=1e-3)
        assert abs(float(wrap(found.yaw[b, row] - labels.yaw[b, d]))) < 1e-3
        assert int(found.light[b, row]) == int(labels.light[b, d])
        depth = project(labels.centre[b, d], Camera(*(v[b, 0] for v in frame.camera)))[2]
        slant = torch.hypot(labels.centre[b, d, 0] - 0.5, labels.centre[b, d, 1]) / depth
        torch.testing.assert_close(found.sigma[b, row, 0], 0.05 * depth * slant, atol=1e-3, rtol=1e-3)
    assert recovered >= 0.95 * int(taught.sum())
    assert (found.score[:, :-1] >= found.score[:, 1:]).logical_or(~found.mask[:, 1:]).all()  # best first
    assert (found.source == -1).all() and found.mask.shape == (64, 16)


def test_lift_undoes_project() -> None:
    generator = torch.Generator().manual_seed(1)
    rand = lambda *shape: torch.rand(*shape, generator=generator)  # noqa: E731
    camera = Camera(*(rand(50) * s + o for s, o in ((100, 80), (20, 70), (20, 40), (2, 0), (2, -1), (1, 1), (6, -3))))
    depth, left, up = 2 + 50 * rand(50), 20 * rand(50) - 10, 4 * rand(50) - 2
    cos, sin = camera.yaw.cos(), camera.yaw.sin()
    point = torch.stack((camera.x + cos * depth - sin * left, camera.y + sin * depth + cos * left, camera.z + up), -1)
    u, v, seen = project(point, camera)
    torch.testing.assert_close(seen, depth, atol=1e-4, rtol=1e-5)
    torch.testing.assert_close(u, camera.cu - camera.focal * left / depth, atol=1e-3, rtol=1e-4)  # the definition in perception.types
    torch.testing.assert_close(v, camera.cv - camera.focal * up / depth, atol=1e-3, rtol=1e-4)
    torch.testing.assert_close(lift(u, v, seen, camera), point, atol=1e-3, rtol=1e-4)
    bearing = torch.atan2(point[:, 1] - camera.y, point[:, 0] - camera.x)
    assert float(wrap(ray_angle(u, camera) - bearing).abs().max()) < 1e-4


def test_iou_against_shapely() -> None:
    from shapely import box as polygon

    generator = torch.Generator().manual_seed(2)
    low = torch.rand(2, 20, 2, generator=generator) * 10
    boxes = torch.cat((low, low + 0.5 + 5 * torch.rand(2, 20, 2, generator=generator)), -1)
    ours = box_iou(boxes[0], boxes[1])
    for i, a in enumerate(polygon(*boxes[0].T.numpy())):
        for j, b in enumerate(polygon(*boxes[1].T.numpy())):
            assert float(ours[i, j]) == pytest.approx(a.intersection(b).area / a.union(b).area, abs=1e-5)


def blank(batch: int = 1, cameras: int = 1) -> tuple[Maps, Camera]:
    maps = _maps(batch * cameras)
    maps.kind[:] = -10.0
    one = torch.ones(batch, cameras)
    return maps, Camera(one * 120, one * 80, one * 45, one * 0.5, one * 0, one * 1.5, one * 0)


def test_what_a_cell_says_holds_for_its_parts() -> None:
    """Parts are rows of two."""
    k = len(CLASSES)
    output = torch.zeros(1, NetworkSpec(classes=CLASSES).outputs, 3, 4)
    output[0, 1, 2, 1] = 5.0  # class 1 in the cell of row 2, column 1
    output[0, k + 2, 2, 1] = 3.0  # its lower left part
    output[0, k + 4 + 2, 2, 1], output[0, k + 8 + 2, 2, 1] = 0.25, -0.25  # its offset
    maps = split(output, k)
    assert maps.kind.shape == (1, k, 3, 4) and maps.part.shape == (1, 1, 6, 8) and float(maps.part[0, 0, 5, 2]) == 3.0
    assert (over_parts(maps.kind) + maps.part)[0, 1, 4:6, 2:4].tolist() == [[5.0, 5.0], [8.0, 5.0]]
    assert maps.offset[0, :, 5, 2].tolist() == [0.25, -0.25] and float(maps.offset.abs().sum()) == 0.5
    part = torch.arange(48)[None]
    marked = read(torch.arange(12.0).view(1, 1, 3, 4), part, 8)[0, :, 0]
    torch.testing.assert_close(marked.view(6, 8), torch.arange(12.0).view(3, 4).repeat_interleave(2, 0).repeat_interleave(2, 1))
    assert torch.equal(read(part.view(1, 1, 6, 8), part, 8)[0, :, 0], part[0])


def test_two_of_a_kind_a_few_pixels_apart_are_two() -> None:
    """As cars in a queue far ahead are: 6 px from middle to middle."""
    frame, labels, _ = BoxStream(most=1).sample(5, 1)
    two = Labels(*(value.clone() for value in labels))
    for name in ("kind", "centre", "size", "yaw", "light", "camera", "occlusion", "truncation", "velocity", "source", "mask"):
        getattr(two, name)[:, 1] = getattr(two, name)[:, 0]
    two.box[0, 0] = torch.tensor([60.0, 40.0, 65.0, 45.0])
    two.box[0, 1] = torch.tensor([66.0, 40.0, 71.0, 45.0])
    found = decode(together(perfect_maps(two, frame.camera)), frame.camera, SPEC, height=HEIGHT, width=WIDTH)
    boxes = found.box[found.mask]
    torch.testing.assert_close(boxes[boxes[:, 0].argsort()], two.box[0, :2], atol=1e-3, rtol=1e-4)


def test_nothing_seen() -> None:
    maps, camera = blank(3)
    found = decode(together(maps), camera, SPEC, height=HEIGHT, width=WIDTH)
    assert not found.mask.any()
    assert all(value.isfinite().all() for value in found if value.is_floating_point())


def test_of_neighbouring_cells_the_best_and_of_one_cell_one_class() -> None:
    maps, camera = blank()
    maps.kind[0, :, 5, 5] = torch.tensor([3.0, 2.5, -10.0])
    maps.part[0, 0, 10:12, 10:12] = torch.tensor([[0.0, -1.0], [-1.0, -1.0]])
    maps.kind[0, 1, 10, 15] = 1.0
    maps.part[0, 0, 20:22, 30:32] = torch.tensor([[-1.0, -1.0], [-1.0, 0.0]])
    found = decode(together(maps), camera, SPEC, height=HEIGHT, width=WIDTH)
    assert found.kind[0, found.mask[0]].tolist() == [0, 1]
    assert found.score[0, :2].tolist() == pytest.approx([1 / (1 + math.exp(-3.0)), 1 / (1 + math.exp(-1.0))])


def test_of_two_classes_on_the_same_box_the_better_stays() -> None:
    maps, camera = blank()
    maps.size[:] = math.log(40.0)  # 80 px boxes: 6 px apart they cover the same
    maps.kind[0, 0, 5, 10], maps.kind[0, 1, 5, 11] = 3.0, 2.0
    maps.part[0, 0, 10:12, 20:24] = torch.tensor([[0.0, -1.0, -1.0, 0.0], [-1.0, -1.0, -1.0, -1.0]])
    found = decode(together(maps), camera, SPEC, height=HEIGHT, width=WIDTH)
    assert found.kind[0, found.mask[0]].tolist() == [0]


def test_several_cameras_share_the_slots_and_name_themselves() -> None:
    maps, camera = blank(2, 3)
    for image, kind, logit in ((1, 0, 4.0), (2, 1, 5.0), (5, 2, 3.0)):
        maps.kind[image, kind, 3, 3] = logit
        maps.part[image, 0, 6:8, 6:8] = torch.tensor([[0.0, -1.0], [-1.0, -1.0]])
    camera = camera._replace(yaw=torch.tensor([[0.0, math.pi / 2, math.pi]]).expand(2, -1))
    found = decode(together(maps), camera, SPEC, height=HEIGHT, width=WIDTH)
    assert found.camera[0, found.mask[0]].tolist() == [2, 1] and found.camera[1, found.mask[1]].tolist() == [2]
    assert float(found.centre[0, 1, 1]) > 0 and float(found.centre[0, 0, 0]) < 0  # camera 1 looks left, camera 2 back


def test_not_a_number_is_not_a_thing() -> None:
    maps, camera = blank()
    maps.kind[0, 0] = float("nan")
    found = decode(together(maps), camera, SPEC, height=HEIGHT, width=WIDTH)
    assert not found.mask.any()


@pytest.mark.parametrize("wrong", [{"slots": 0}, {"threshold": 1.0}, {"score_scale": -1.0}, {"along_scale": float("nan")}])
def test_specs_check_themselves(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError):
        DecodeSpec(classes=CLASSES, **wrong)  # type: ignore[arg-type]


def test_mirroring_twice_is_nothing_and_once_is_the_mirrored_scene() -> None:
    frame, labels, _ = BoxStream().sample(3, 4)
    yes = torch.ones(4, dtype=torch.bool)
    once = flip(frame.image, frame.camera, labels, yes)
    twice = flip(*once, yes)
    assert torch.equal(twice[0], frame.image)
    torch.testing.assert_close(twice[2].box, labels.box)
    torch.testing.assert_close(twice[2].centre, labels.centre)
    # mirrored labels project to the mirrored columns
    _, camera, mirrored = once
    broadcast = Camera(*(value.expand(-1, labels.mask.shape[1]) for value in frame.camera))
    other = Camera(*(value.expand(-1, labels.mask.shape[1]) for value in camera))
    ahead = labels.mask
    u, v, _ = project(labels.centre, broadcast)
    u2, v2, _ = project(mirrored.centre, other)
    torch.testing.assert_close(u2[ahead], WIDTH - u[ahead], atol=1e-3, rtol=1e-4)
    torch.testing.assert_close(v2[ahead], v[ahead])
    nobody = flip(frame.image, frame.camera, labels, ~yes)
    assert torch.equal(nobody[0], frame.image) and torch.equal(nobody[2].box, labels.box)


def test_heat_is_one_at_the_middles_alone_and_hidden_things_do_not_count() -> None:
    frame, labels, _ = BoxStream().sample(11, 16)
    labels = labels._replace(occlusion=torch.where(labels.source == 0, 0.95, labels.occlusion))
    things = objects(labels, frame.camera)
    target, counts = heat(things, len(CLASSES), *PARTS)
    cell, weight = cells(things, *PARTS)
    middles = {(n, int(things.kind[n, d]), int(cell[n, d, 0])) for n, d in torch.nonzero(things.learn).tolist()}
    ones = {(n, k, row * PARTS[1] + column) for n, k, row, column in torch.nonzero(target > 0.999).tolist()}
    assert ones == middles
    assert ((counts == 0).flatten(1).any(1) == things.ignore.any(1)).all()
    assert float(weight.max()) == 1.0 and not weight[~things.learn].any()


def test_the_angles_that_are_taught_are_those_that_are_read() -> None:
    """Logits that have followed the loss's gradient down are read as the angle they were taught, the seam between bins included."""
    angle = torch.linspace(-7.0, 7.0, 97)[None]  # (1, D), over both seams
    logits = torch.zeros(1, 97, 1, BINS, requires_grad=True)
    optimiser = torch.optim.Adam([logits], lr=0.3)
    for _ in range(400):
        optimiser.zero_grad()
        _heading(logits, angle[..., None]).sum().backward()
        optimiser.step()
    assert float(wrap(read_angle(logits[:, :, 0].detach()) - angle).abs().max()) < 0.02


def test_of_two_that_are_equally_likely_and_cover_the_same_box_one_stays() -> None:
    """As in half precision, where neighbouring cells often say the very same."""
    frame, labels, _ = BoxStream(most=1).sample(5, 1)
    maps = perfect_maps(labels, frame.camera)
    part = int(cells(objects(labels, frame.camera), *PARTS)[0][0, 0, 0])
    row, column = divmod(part, PARTS[1])
    beside = column ^ 1  # the other part of the cell
    maps.part[0, :, row, beside] = maps.part[0, :, row, column]
    maps.offset[0, :, row, beside] = maps.offset[0, :, row, column]
    maps.offset[0, 0, row, beside] += column - beside  # the same middle
    found = decode(together(maps), frame.camera, SPEC, height=HEIGHT, width=WIDTH)
    assert int(found.mask.sum()) == 1

"""The network: folding and the ONNX graph change nothing, and what one image gives does not depend on the others."""

from __future__ import annotations

import pytest
import torch
from torch.nn.functional import pixel_unshuffle

from envs.driving.camera.stream import DrivingStream
from perception.detectors.backends import OnnxBackend, TorchBackend, make_backend
from perception.detectors.centernet import CenterNet
from perception.detectors.geometry import box_iou
from perception.detectors.graph import onnx_graph
from perception.detectors.network import FINE, RAYS, STRIDE, Network, NetworkSpec, rays, split
from perception.types import Camera

CLASSES = ("car", "pedestrian", "light")
CPU = torch.device("cpu")


def camera(batch: int, *, focal: float = 120.0, z: float = 1.4) -> Camera:
    one = torch.ones(batch, 1)
    return Camera(focal=one * focal, cu=one * 40, cv=one * 20, x=one * 0.8, y=one * 0.1, z=one * z, yaw=one * 0.2)


@pytest.fixture(scope="module")
def network() -> Network:
    """With normalisations that do something."""
    torch.manual_seed(0)
    net = Network(NetworkSpec(classes=CLASSES))
    for module in net.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            torch.nn.init.normal_(module.running_mean, std=0.1)
            torch.nn.init.uniform_(module.running_var, 0.5, 2.0)
            torch.nn.init.uniform_(module.weight, 0.5, 1.5)
    with torch.no_grad():
        net.out.conv.weight.mul_(20.0)
    return net.eval()


def inputs(count: int, height: int = 48, width: int = 80) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(count)
    image = torch.randint(0, 256, (count, 3, height, width), dtype=torch.uint8, generator=generator)
    return image, rays(camera(count), height, width)


def test_small_enough() -> None:
    driving = ("car", "truck", "bus", "motorcycle", "bicycle", "pedestrian", "light")
    assert sum(p.numel() for p in Network(NetworkSpec(classes=driving)).parameters()) < 1_000_000


def test_folding_changes_nothing(network: Network) -> None:
    import copy

    image, where = inputs(3)
    with torch.no_grad():
        whole, folded = network(image, where), copy.deepcopy(network).fold()(image, where)
    assert float(whole.abs().max()) > 1.0
    torch.testing.assert_close(folded, whole, atol=1e-4, rtol=1e-4)
    assert not any(isinstance(m, torch.nn.BatchNorm2d) for m in copy.deepcopy(network).fold().modules())


def test_onnx_graph_is_valid_and_agrees_with_torch(network: Network) -> None:
    onnx = pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    import copy

    onnx.checker.check_model(onnx.load_from_string(onnx_graph(copy.deepcopy(network).fold())), full_check=True)
    image, where = inputs(5)
    ours = make_backend(network, "torch", device=CPU)(image, where)
    theirs = make_backend(network, "onnx", device=CPU)(image, where)
    assert ours.shape == theirs.shape == (5, NetworkSpec(classes=CLASSES).outputs, 12, 20)
    torch.testing.assert_close(theirs, ours, atol=2e-4, rtol=1e-4)


def test_unfolded_networks_are_not_exported(network: Network) -> None:
    pytest.importorskip("onnx")
    with pytest.raises(ValueError, match="fold"):
        onnx_graph(network)


@pytest.mark.parametrize("name", ["onnx", "half", "torch"])
def test_an_image_gives_the_same_bits_in_any_batch(network: Network, name: str) -> None:
    if name == "onnx":
        pytest.importorskip("onnxruntime")
    backend = make_backend(network, name, device=CPU, chunk=4)
    image, where = inputs(7)
    whole = backend(image, where)
    for row in range(7):
        assert torch.equal(backend(image[row : row + 1], where[row : row + 1])[0], whole[row])
    assert len(backend(image[:0], where[:0])) == 0


@pytest.mark.parametrize("name", ["half", "torch"])
def test_what_is_left_of_a_batch_takes_small_chunks_that_give_the_same_bits(network: Network, name: str) -> None:
    backend = make_backend(network, name, device=CPU)
    assert isinstance(backend, TorchBackend)
    image, where = inputs(19)
    whole, taken, run = backend(image[:16], where[:16]), [], backend.run

    def odd(images: torch.Tensor, places: torch.Tensor) -> torch.Tensor:
        """As the network, but four at a time it rounds otherwise."""
        taken.append(len(images))
        return run(images, places) + (1e-6 if len(images) == 4 else 0.0)

    backend.run = odd
    for count in (1, 3, 8, 15):
        assert torch.equal(backend(image[:count], where[:count]), whole[:count])
    alike = backend._alike[*image.shape[-2:], torch.get_num_threads()]
    assert 4 not in alike and set(alike) <= {8, 2, 1}
    taken.clear()
    assert torch.equal(backend(image, where)[:16], whole)
    assert taken[0] == 16 and 4 not in taken and sum(taken) in (19, 20, 24)  # the last chunk is filled up
    taken.clear()
    backend(image[:16], where[:16])
    assert taken == [16]


def test_any_size_that_is_a_multiple_of_16(network: Network) -> None:
    pytest.importorskip("onnxruntime")
    image, where = inputs(2, 64, 112)
    theirs, ours = OnnxBackendOf(network)(image, where), make_backend(network, "torch", device=CPU)(image, where)
    torch.testing.assert_close(theirs, ours, atol=2e-4, rtol=1e-4)


def OnnxBackendOf(network: Network) -> OnnxBackend:
    backend = make_backend(network, "onnx", device=CPU)
    assert isinstance(backend, OnnxBackend)
    return backend


@pytest.mark.parametrize(("able", "name"), [(True, "half"), (False, "onnx")])
def test_auto_takes_the_fastest_on_the_cpu(network: Network, able: bool, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("onnxruntime")
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx512_bf16": able})
    assert make_backend(network, "auto", device=CPU).name == name


def test_half_precision_says_the_same_within_its_digits(network: Network) -> None:
    image, where = inputs(5)
    half, single = (make_backend(network, name, device=CPU)(image, where) for name in ("half", "torch"))
    assert half.dtype == single.dtype == torch.float32
    assert not torch.equal(half, single)
    for a, b in zip(split(half, len(CLASSES)), split(single, len(CLASSES)), strict=True):
        assert float((a - b).abs().max()) < 0.05 * float(b.abs().max())


def test_half_precision_sees_what_single_sees() -> None:
    """Detections of the detector that ships, on frames of the street."""
    stream, backends = DrivingStream(worlds=12, seconds=2), [CenterNet.load("driving", backend=name) for name in ("half", "torch")]
    alike, apart = [], []
    for seed in (3, 4, 5):
        frame = stream.sample(seed, 48).frame
        half, single = (detector(frame) for detector in backends)
        sure = single.mask & (single.score > 0.4)
        iou = torch.where(half.mask[:, None], box_iou(single.box, half.box), 0.0)  # (B, D, D)
        best, which = iou.max(-1)
        same = (best > 0.8) & (half.kind.gather(1, which) == single.kind)
        centre = half.centre.gather(1, which[..., None].expand(-1, -1, 3))
        off = (centre - single.centre).norm(dim=-1) / single.centre.norm(dim=-1).clamp(min=1.0)
        alike.append(same[sure])
        apart.append(off[sure & same])
        for found in (half, single):
            pairs = found.mask[:, :, None] & found.mask[:, None, :]
            assert not (torch.triu(box_iou(found.box, found.box), 1) > 0.7)[pairs].any()  # nothing is found twice
    assert len(torch.cat(alike)) > 300
    assert float(torch.cat(alike).float().mean()) > 0.98  # the rest: toss-ups of class, and pairs at the limit of what parts tell apart
    assert float(torch.cat(apart).median()) < 0.003
    assert float(torch.cat(apart).max()) < 0.05


def test_where_compiling_fails_it_goes_on_without(network: Network, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object, **__: object) -> object:
        raise RuntimeError("no compiler here")

    monkeypatch.setattr(torch, "compile", lambda *_, **__: broken)
    image, where = inputs(2)
    backend = make_backend(network, "compiled", device=CPU)
    assert isinstance(backend, TorchBackend)
    with pytest.warns(RuntimeWarning, match="no compiler here"):
        result = backend(image, where)
    assert torch.equal(result, make_backend(network, "torch", device=CPU)(image, where))


def test_unknown_backends_and_chunks_are_refused(network: Network) -> None:
    with pytest.raises(ValueError, match="known: auto"):
        make_backend(network, "tensorflow", device=CPU)
    with pytest.raises(ValueError, match="chunk=0"):
        make_backend(network, "torch", device=CPU, chunk=0)


@pytest.mark.parametrize("wrong", [{"classes": ()}, {"classes": ("a", "a")}, {"widths": (1, 2, 3)}, {"neck": 0}, {"blocks": (0, 0, 0, 99)}])
def test_specs_check_themselves(wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError):
        NetworkSpec(**{"classes": CLASSES, **wrong})  # type: ignore[arg-type]


def test_rays_tell_where_the_ground_is() -> None:
    """The row in which a point on the ground 10 m ahead appears has inverse distance 1 and log distance 0."""
    planes = rays(camera(1, focal=100.0, z=1.4), 96, 160)
    assert planes.shape == (1, RAYS, 24, 40)
    middle = torch.arange(24) * STRIDE + STRIDE / 2
    row = int((middle - (20 + 100.0 * 1.4 / 10.0)).abs().argmin())
    expected = 10.0 * ((middle[row] - 20) / 100.0) / 1.4
    torch.testing.assert_close(planes[0, 1, row, 0], expected)
    torch.testing.assert_close(planes[0, 2, row, 7], -expected.log())
    assert float(planes[0, 2, 0, 0]) == pytest.approx(2.0, abs=0.01)  # above the horizon
    assert float(planes[0, 3, 0, 0]) == pytest.approx((2.0 - 40) / 100)


def test_split_covers_the_output() -> None:
    spec = NetworkSpec(classes=CLASSES)
    output = torch.arange(spec.outputs, dtype=torch.float32)[None, :, None, None].expand(1, -1, 2, 2)
    maps = split(output, len(CLASSES))
    assert torch.equal(torch.cat([maps.kind, pixel_unshuffle(maps.part, FINE), pixel_unshuffle(maps.offset, FINE), *maps[3:]], 1), output)
    assert maps.kind.shape[1] == 3 and maps.light.shape[1] == 5

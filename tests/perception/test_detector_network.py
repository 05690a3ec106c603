"""The network: folding and the ONNX graph change nothing, and what one image gives does not depend on the others."""

from __future__ import annotations

import copy

import pytest
import torch
from torch.nn.functional import pixel_unshuffle

from envs.driving.camera.stream import DrivingStream
from perception.detectors import int8
from perception.detectors.backends import OnnxBackend, TorchBackend, make_backend
from perception.detectors.centernet import CenterNet
from perception.detectors.geometry import box_iou
from perception.detectors.graph import onnx_graph
from perception.detectors.network import FINE, RAYS, SIZES, STRIDE, Network, NetworkSpec, rays, split
from perception.types import Camera

CLASSES = ("car", "pedestrian", "light")
CPU = torch.device("cpu")
needs_int8 = pytest.mark.skipif(not int8.runs_here(), reason="this CPU has no instructions for products of 8-bit numbers")


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
    image, where = inputs(3)
    with torch.no_grad():
        whole, folded = network(image, where), copy.deepcopy(network).fold()(image, where)
    assert float(whole.abs().max()) > 1.0
    torch.testing.assert_close(folded, whole, atol=1e-4, rtol=1e-4)
    assert not any(isinstance(m, torch.nn.BatchNorm2d) for m in copy.deepcopy(network).fold().modules())


def test_onnx_graph_is_valid_and_agrees_with_torch(network: Network) -> None:
    onnx = pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
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


@pytest.mark.parametrize("name", ["onnx", pytest.param("int8", marks=needs_int8), "half", "torch"])
def test_an_image_gives_the_same_bits_in_any_batch(network: Network, name: str) -> None:
    if name == "onnx":
        pytest.importorskip("onnxruntime")
    image, where = inputs(7)
    network = measured_ranges(network, image, where)
    backend = make_backend(network, name, device=CPU, chunk=4)
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


@pytest.mark.parametrize(
    ("able", "measured", "name"),
    [({"avx512_vnni", "avx512_bf16"}, True, "int8"), ({"avx512_vnni", "avx512_bf16"}, False, "half"), ({"amx_int8"}, False, "onnx"),
     ({"avx512_bf16"}, True, "half"), (set(), True, "onnx")],
)  # fmt: skip
def test_auto_takes_the_fastest_on_the_cpu(
    network: Network, able: set[str], measured: bool, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("onnxruntime")
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: dict.fromkeys(able, True))
    network = copy.deepcopy(network)
    network.ranges.fill_(float(measured))
    assert make_backend(network, "auto", device=CPU).name == name


@needs_int8
@torch.no_grad()
def test_eight_bits_compute_what_whole_numbers_in_single_precision_do(network: Network) -> None:
    """The oracle: the same codes, multiplied as real numbers by torch."""
    conv = copy.deepcopy(network).fold().middle.conv
    draw = torch.Generator().manual_seed(0)
    code = torch.randint(0, 256, (3, conv.in_channels, 6, 10), dtype=torch.uint8, generator=draw)
    code = code.contiguous(memory_format=torch.channels_last)
    ours = int8._Convolution(conv, int8._Codes(code, 0.02))(code, torch.float32)
    scale = conv.weight.abs().amax((1, 2, 3)) / 127.0
    weight = (conv.weight / scale[:, None, None, None]).round()
    sums = torch.nn.functional.conv2d(code.double(), weight.double(), padding=conv.padding[0])
    assert conv.bias is not None
    theirs = sums * 0.02 * scale.double()[:, None, None] + conv.bias.double()[:, None, None]
    torch.testing.assert_close(ours.double(), theirs, atol=1e-4, rtol=1e-5)
    assert float((theirs - torch.nn.functional.conv2d(0.02 * code, conv.weight, conv.bias, padding=1)).abs().max()) > 1e-4  # it does round


@needs_int8
def test_eight_bits_say_the_same_within_their_digits(network: Network) -> None:
    image, where = inputs(21)
    measured = measured_ranges(network, image, where)
    eight, single = (make_backend(measured, name, device=CPU)(image, where) for name in ("int8", "torch"))
    assert eight.dtype == torch.float32 and not torch.equal(eight, single)
    error = (eight - single).square().mean((0, 2, 3)).sqrt() / single.std((0, 2, 3))
    assert float(error.max()) < 0.15


def test_eight_bits_need_ranges_and_a_cpu_that_can(network: Network, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx512_vnni": True})
    with pytest.raises(ValueError, match="ranges of their activations"):
        make_backend(network, "int8", device=CPU)
    with pytest.raises(ValueError, match="runs on the CPU, not on cuda"):
        make_backend(network, "int8", device=torch.device("cuda"))
    endless = copy.deepcopy(network)
    endless.ranges.fill_(torch.inf)
    with pytest.raises(ValueError, match="ranges of their activations"):
        make_backend(endless, "int8", device=CPU)
    monkeypatch.setattr(torch.cpu, "get_capabilities", dict)
    with pytest.raises(ValueError, match="VNNI"):
        make_backend(network, "int8", device=CPU)
    with pytest.raises(ValueError, match="no images"):
        int8.measure(network, *(part[:0] for part in inputs(1)))


@pytest.mark.parametrize("name", ["onnx", pytest.param("int8", marks=needs_int8), "half"])
def test_any_number_of_worlds_and_cameras_is_seen_as_one_by_one(name: str) -> None:
    if name == "onnx":
        pytest.importorskip("onnxruntime")
    detector = CenterNet.load("driving", backend=name)
    image = torch.randint(0, 256, (7, 3, 3, 96, 160), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))
    rig = Camera(*(torch.ones(7, 3) * value for value in (120.0, 80.0, 40.0, 0.8, 0.1, 1.4, 0.2)))
    whole = detector.detect(image, rig)
    one = detector.detect(image[5:6], Camera(*(value[5:6] for value in rig)))
    assert all(torch.equal(a[5:6].nan_to_num(), b.nan_to_num()) for a, b in zip(whole, one, strict=True))
    assert detector.detect(image[:0], Camera(*(value[:0] for value in rig))).box.shape == (0, whole.box.shape[1], 4)


def measured_ranges(network: Network, image: torch.Tensor, where: torch.Tensor) -> Network:
    folded = copy.deepcopy(network).fold()
    int8.measure(folded, image, where)
    return folded


@pytest.mark.parametrize("size", SIZES)
def test_there_is_a_range_for_every_relu(size: str) -> None:
    folded = Network(NetworkSpec(classes=CLASSES, **SIZES[size])).fold()
    int8.measure(folded, *inputs(2))
    assert (folded.ranges > 0.0).all()


def test_half_precision_says_the_same_within_its_digits(network: Network) -> None:
    image, where = inputs(5)
    half, single = (make_backend(network, name, device=CPU)(image, where) for name in ("half", "torch"))
    assert half.dtype == single.dtype == torch.float32
    assert not torch.equal(half, single)
    for a, b in zip(split(half, len(CLASSES)), split(single, len(CLASSES)), strict=True):
        assert float((a - b).abs().max()) < 0.05 * float(b.abs().max())


@pytest.mark.parametrize(("name", "least", "typical", "most"), [
    pytest.param("int8", 0.95, 0.01, 0.06, marks=needs_int8), ("half", 0.98, 0.003, 0.03),
])  # fmt: skip
def test_fewer_digits_see_what_single_precision_sees(name: str, least: float, typical: float, most: float) -> None:
    """Detections of the detector that ships, on frames of the street."""
    stream, backends = DrivingStream(worlds=12, seconds=2), [CenterNet.load("driving", backend=which) for which in (name, "torch")]
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
    assert float(torch.cat(alike).float().mean()) > least  # the rest: toss-ups of class, and pairs at the limit of what parts tell apart
    assert float(torch.cat(apart).median()) < typical
    assert float(torch.cat(apart).quantile(0.98)) < most


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

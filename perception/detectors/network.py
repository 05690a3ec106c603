"""The detector's network: one small convolutional net that marks the middle of every object and says there what and where it is.

CenterNet (Zhou, Wang, Kraehenbuehl, "Objects as Points", 2019) on a residual backbone with a light feature pyramid (Lin et al. 2017).
Fully convolutional: any image whose sides are multiples of 16. Three things differ from the paper. Four planes that say where a cell looks
(`rays`) are added to the features, so that one network serves cameras of any focal length and height. Depth comes with its own uncertainty
(Kendall & Gal 2017). And where in a cell the middle is, is told for each of its 2 x 2 parts, by channels turned into places (Shi et al.,
"Real-Time Single Image and Video Super-Resolution", 2016): small things side by side are told apart at the price of coarse cells. What
kind of thing it is, and all else about it, is told by the cell.

Shapes: N images, K classes, H x W pixels, g x f cells of `STRIDE` pixels, h x w = 2 g x 2 f parts of them, of `PIXELS` pixels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, NamedTuple, Protocol, TypeVar

import torch
from torch import Tensor, nn

from perception.types import Camera

__all__ = [
    "BINS", "FINE", "LIGHTS", "MULTIPLE", "PIXELS", "RAYS", "SIZES", "STRIDE",
    "Block", "Maps", "Network", "NetworkSpec", "Ops", "TorchOps", "at_parts", "coarse", "in_places",
    "over_parts", "rays", "read", "split", "trace", "within",
]  # fmt: skip

STRIDE = 4  # px per cell
FINE = 2  # parts of a cell along each side
PIXELS = STRIDE // FINE  # px per part
MULTIPLE = 16  # the deepest level's stride: image sides must be multiples of it
BINS = 16  # of headings
LIGHTS = 5  # states of a traffic light, as in perception.types.Detections
RAYS = 4  # planes of `rays`
RARE = -4.0  # logit at which the heat maps begin: few cells hold an object (Lin et al., "Focal loss", 2017, section 4.1)

X = TypeVar("X")


@dataclass(frozen=True, kw_only=True)
class NetworkSpec:
    """Sizes of a network."""

    classes: tuple[str, ...]
    widths: tuple[int, int, int, int] = (16, 32, 48, 64)  # channels at strides 2, 4, 8, 16
    blocks: tuple[int, int, int, int] = (0, 1, 1, 2)  # residual blocks there
    neck: int = 32  # channels of the pyramid at stride 4
    head: int = 48  # channels before the output
    tiles: bool = True  # whether the finest features also see the pixels of their cell as they are

    def __post_init__(self) -> None:
        if not self.classes or len(set(self.classes)) < len(self.classes) or len(self.classes) > 256:
            raise ValueError(f"classes={self.classes}: 1 to 256 names, each once")
        if len(self.widths) != 4 or len(self.blocks) != 4:
            raise ValueError(f"widths={self.widths}, blocks={self.blocks}: one number for each of the strides 2, 4, 8, 16")
        if not all(1 <= size <= 1024 for size in (*self.widths, self.neck, self.head)) or not all(0 <= n <= 16 for n in self.blocks):
            raise ValueError(f"{self}: widths must be 1 to 1024, blocks 0 to 16")

    @property
    def outputs(self) -> int:
        """Channels of the output."""
        return len(self.classes) + sum(MAPS.values())


# by name, what differs from the defaults: the large network sees a little more and takes half as long again, or more; the tiny one is for
# screens, where nothing is far away
SIZES: dict[str, dict[str, Any]] = {
    "tiny": {"blocks": (0, 1, 1, 1)},
    "small": {},
    "large": {"widths": (24, 48, 64, 96), "blocks": (0, 1, 2, 2), "neck": 48, "head": 64},
}

# channels of each output map, in order, after the logits of the classes
MAPS = {
    "part": FINE**2,
    "offset": 2 * FINE**2,
    "size": 2,
    "depth": 1,
    "depth_spread": 1,
    "dims": 3,
    "heading": BINS,
    "centre": 2,
    "side_spread": 1,
    "light": LIGHTS,
}


class Maps(NamedTuple):
    """The output, split up. All lengths on the image in parts of `PIXELS`."""

    kind: Tensor  # (N, K, g, f) logits: the middle of an object of the class is here, up to `part`
    part: Tensor  # (N, 1, h, w) to be added to them: it is in this part
    offset: Tensor  # (N, 2, h, w) from the middle of the part to that of the 2-D box, u and v
    size: Tensor  # (N, 2, g, f) log of width and height of the 2-D box
    depth: Tensor  # (N, 1, g, f) log(depth along the optical axis / focal length), m/px
    depth_spread: Tensor  # (N, 1, g, f) log of the spread of `depth`
    dims: Tensor  # (N, 3, g, f) log of length, width, height of the 3-D box, m
    heading: Tensor  # (N, BINS, g, f) logits: the angle from line of sight to heading is near 2 pi k / BINS
    centre: Tensor  # (N, 2, g, f) from the middle of the cell to the projected middle of the 3-D box
    side_spread: Tensor  # (N, 1, g, f) log of the spread of `centre`'s u
    light: Tensor  # (N, 5, g, f) logits of the states of a traffic light


def split(output: Tensor, classes: int) -> Maps:
    """(N, outputs, g, f) -> Maps."""
    kind, part, offset, *rest = torch.split(output, [classes, *MAPS.values()], dim=1)
    return Maps(kind, nn.functional.pixel_shuffle(part, FINE), nn.functional.pixel_shuffle(offset, FINE), *rest)


def at_parts(cells: Tensor, part: Tensor, classes: int) -> Maps:
    """The output, channels last: (N, g, f, outputs), at the parts (N, P), counted along rows of h x w -> Maps of (N, P, Q) each."""
    columns = cells.shape[2] * FINE
    cell = coarse(part, columns)[..., None].expand(-1, -1, cells.shape[3])
    kind, by_part, offset, *rest = torch.split(cells.flatten(1, 2).gather(1, cell), [classes, *MAPS.values()], dim=-1)
    own = within(part, columns)[..., None]  # (N, P, 1)
    by_axis = offset.unflatten(-1, (2, FINE**2))  # type: ignore[no-untyped-call]
    return Maps(kind, by_part.gather(2, own), by_axis.gather(3, own[..., None].expand(-1, -1, 2, 1)).squeeze(3), *rest)


def in_places(values: Tensor) -> Tensor:
    """(N, g, f, Q * FINE * FINE) -> (N, Q, h, w): channels turned into places, as torch's pixel_shuffle does with channels first."""
    images, height, width, channels = values.shape
    parts = values.view(images, height, width, channels // FINE**2, FINE, FINE)
    return parts.permute(0, 3, 1, 4, 2, 5).reshape(images, channels // FINE**2, height * FINE, width * FINE)


def over_parts(value: Tensor) -> Tensor:
    """(..., g, f) -> (..., h, w): what holds for a cell holds for its parts."""
    return value.repeat_interleave(FINE, -2).repeat_interleave(FINE, -1)


def coarse(part: Tensor, columns: int) -> Tensor:
    """Parts, counted along rows of `columns` of them -> the cells they belong to, counted likewise."""
    row, column = torch.div(part, columns, rounding_mode="floor"), part % columns
    return torch.div(row, FINE, rounding_mode="floor") * (columns // FINE) + torch.div(column, FINE, rounding_mode="floor")


def within(part: Tensor, columns: int) -> Tensor:
    """Which of the FINE * FINE parts of its cell a part is, in the order of the channels."""
    row, column = torch.div(part, columns, rounding_mode="floor"), part % columns
    return (row % FINE) * FINE + column % FINE


def read(values: Tensor, part: Tensor, columns: int) -> Tensor:
    """A map (N, Q, h, w) or (N, Q, g, f) at the parts (N, P), counted along rows of `columns` -> (N, P, Q)."""
    place = part if values.shape[-1] == columns else coarse(part, columns)
    return values.flatten(2).gather(2, place[:, None].expand(-1, values.shape[1], -1)).transpose(1, 2)


def rays(camera: Camera, height: int, width: int) -> Tensor:
    """Where each cell looks, (N, RAYS, g, f) for N = B C cameras of images `height` x `width`.

    Planes: tangents of the angles below the horizon and right of the axis; inverse distance, in 1/(10 m), at which the ground lies in
    this row (negative above the horizon), clipped, and the log of that distance over 10 m, 2 above the horizon.
    """
    device = camera.focal.device
    v = torch.arange(height // STRIDE, dtype=torch.float32, device=device) * STRIDE + STRIDE / 2  # (g,)
    u = torch.arange(width // STRIDE, dtype=torch.float32, device=device) * STRIDE + STRIDE / 2  # (f,)
    focal, cu, cv, z = (value.reshape(-1, 1) for value in (camera.focal, camera.cu, camera.cv, camera.z))  # (N, 1)
    down, right = (v - cv) / focal, (u - cu) / focal  # (N, g), (N, f)
    near = (10.0 * down / z.clamp(min=0.1)).clamp(-2.0, 5.0)  # (N, g)
    far = -near.clamp(min=0.1353).log()  # (N, g) in [-1.6, 2]
    rows = torch.stack((down, near, far), 1)[..., None].expand(-1, -1, -1, len(u))  # (N, 3, g, f)
    columns = right[:, None, None, :].expand(-1, 1, len(v), -1)
    return torch.cat((rows, columns), 1)


class Block(nn.Module):
    """Convolution, batch normalisation (absent once folded) and, if `active`, ReLU."""

    def __init__(self, inputs: int, outputs: int, *, kernel: int = 3, stride: int = 1, active: bool = True, norm: bool = True) -> None:
        super().__init__()
        padding = kernel // 2 if kernel % 2 else 0  # even kernels are for tiles, which do not overlap
        self.conv = nn.Conv2d(inputs, outputs, kernel, stride, padding, bias=not norm)
        self.norm = nn.BatchNorm2d(outputs) if norm else None
        self.active = active

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv(x)
        if self.norm is not None:
            x = self.norm(x)
        return x.relu() if self.active else x

    @torch.no_grad()
    def fold(self) -> None:
        """Put the normalisation into the convolution: w' = w g / sqrt(var + eps), b' = beta - mean g / sqrt(var + eps)."""
        if self.norm is None:
            return
        norm = self.norm
        assert norm.running_mean is not None and norm.running_var is not None
        scale = norm.weight / (norm.running_var + norm.eps).sqrt()
        self.conv.weight.mul_(scale[:, None, None, None])
        self.conv.bias = nn.Parameter(norm.bias - norm.running_mean * scale)
        self.norm = None


class Ops(Protocol[X]):
    """What a network is made of, so that one description both computes with torch and writes an ONNX graph."""

    def block(self, block: Block, x: X) -> X:
        """The block of x (N, inputs, g, f)."""
        ...

    def add(self, x: X, y: X) -> X:
        """Their sum."""
        ...

    def relu(self, x: X) -> X:
        """What is positive of x, 0 elsewhere."""
        ...

    def double(self, x: X) -> X:
        """Every cell four times: (N, C, g, f) -> (N, C, 2 g, 2 f)."""
        ...


class TorchOps:
    """The network computed."""

    def block(self, block: Block, x: Tensor) -> Tensor:
        result: Tensor = block(x)
        return result

    def add(self, x: Tensor, y: Tensor) -> Tensor:
        return x + y

    def relu(self, x: Tensor) -> Tensor:
        return x.relu()

    def double(self, x: Tensor) -> Tensor:
        return nn.functional.interpolate(x, scale_factor=2.0, mode="nearest")


class Network(nn.Module):
    """The network. With norm=False it is the folded one that weights are stored of."""

    def __init__(self, spec: NetworkSpec, *, norm: bool = True) -> None:
        super().__init__()
        self.spec = spec
        down = (3, *spec.widths)

        def residual(width: int) -> nn.ModuleList:
            return nn.ModuleList([Block(width, width, norm=norm), Block(width, width, norm=norm, active=False)])

        self.down = nn.ModuleList([Block(a, b, stride=2, norm=norm) for a, b in pairwise(down)])
        self.residual = nn.ModuleList(
            [nn.ModuleList([residual(width) for _ in range(n)]) for width, n in zip(spec.widths, spec.blocks, strict=True)]
        )
        _, fine, middle, coarse = spec.widths
        self.coarse = Block(coarse, middle, kernel=1, active=False, norm=norm)
        self.middle = Block(middle, middle, norm=norm)
        self.narrow = Block(middle, spec.neck, kernel=1, active=False, norm=norm)
        self.fine = Block(fine, spec.neck, kernel=1, active=False, norm=norm)
        self.look = Block(RAYS, spec.neck, kernel=1, active=False, norm=False)
        self.tiles = Block(down[0], spec.neck, kernel=STRIDE, stride=STRIDE, active=False, norm=norm) if spec.tiles else None
        self.mix = Block(spec.neck, spec.neck, norm=norm)
        self.head = Block(spec.neck, spec.head, norm=norm)
        self.out = Block(spec.head, spec.outputs, kernel=1, active=False, norm=False)
        self.ranges: Tensor  # (A,) the largest values behind each ReLU, in the order of `trace`: `int8.measure`; 0: not measured
        self.register_buffer("ranges", torch.zeros(len(spec.widths) + 2 * sum(spec.blocks) + 5))
        self._begin()

    def _begin(self) -> None:
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
        with torch.no_grad():
            self.out.conv.weight.mul_(0.1)
            assert self.out.conv.bias is not None
            self.out.conv.bias[: len(self.spec.classes)] = RARE

    def forward(self, image: Tensor, where: Tensor) -> Tensor:
        """image (N, 3, H, W) uint8 or float of 0 to 255, where (N, RAYS, g, f) from `rays` -> (N, outputs, g, f)."""
        x = image.to(where.dtype) * (1.0 / 255.0)
        return trace(self, x, where, TorchOps())

    def fold(self) -> Network:
        """Put every normalisation into its convolution, in place. Returns self, in evaluation mode."""
        for module in self.modules():
            if isinstance(module, Block):
                module.fold()
        return self.eval()


def trace(network: Network, image: X, where: X, ops: Ops[X]) -> X:
    """The network as a sequence of `ops`; image is of 0 to 1."""
    x, levels = image, []
    for down, blocks in zip(network.down, network.residual, strict=True):
        x = ops.block(_block(down), x)
        for pair in _modules(blocks):
            first, second = _modules(pair)
            x = ops.relu(ops.add(x, ops.block(_block(second), ops.block(_block(first), x))))
        levels.append(x)
    _, fine, middle, coarse = levels
    middle = ops.relu(ops.add(middle, ops.double(ops.block(network.coarse, coarse))))
    middle = ops.block(network.middle, middle)
    fine = ops.add(ops.block(network.fine, fine), ops.block(network.look, where))
    if network.tiles is not None:
        fine = ops.add(fine, ops.block(network.tiles, image))
    fine = ops.relu(ops.add(fine, ops.double(ops.block(network.narrow, middle))))
    return ops.block(network.out, ops.block(network.head, ops.block(network.mix, fine)))


def _block(module: nn.Module) -> Block:
    assert isinstance(module, Block)
    return module


def _modules(module: Any) -> Sequence[nn.Module]:
    return list(module)

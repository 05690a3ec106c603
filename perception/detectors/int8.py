"""The network in whole numbers of 8 bits, for CPUs that multiply four of them at once (AVX-512 VNNI, AMX).

Weights are whole multiples of a scale, one for each output channel, activations of one for each map (Jacob et al., "Quantization and
Training of Neural Networks for Efficient Integer-Arithmetic-Only Inference", CVPR 2018). All activations that are told in 8 bits come
from a ReLU, so 0 is 0 and a map's scale is its largest value over 255; `measure` finds those on frames, once, after training. What is
added up between convolutions, and the output, stay real numbers.

Sums of whole numbers are exact: an image is answered alike in any batch.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from perception.detectors.network import Block, Network, TorchOps, trace

__all__ = ["CHUNK", "Int8Backend", "measure", "runs_here"]

CHUNK = 16  # images at once: what they need stays in the cache
TOP = 255  # codes are 0..TOP, those of weights -127..127
REAL = torch.bfloat16  # of what is added up between convolutions


def runs_here() -> bool:
    """Whether this CPU multiplies 8-bit numbers without overflow, and torch has the convolutions."""
    told = torch.cpu.get_capabilities()
    return bool(told.get("avx512_vnni") or told.get("amx_int8")) and hasattr(torch.ops.onednn, "qconv2d_pointwise")


@torch.no_grad()
def measure(network: Network, image: Tensor, where: Tensor) -> None:
    """Set `network.ranges` to the largest activations on images (N, 3, H, W) uint8 with their `rays` (N, RAYS, g, f).

    The network has to be folded. Raises ValueError without images, or if an activation is never above 0.
    """
    if not len(image):
        raise ValueError("no images to measure activations on")
    found: list[list[float]] = []
    for i in range(0, len(image), CHUNK):
        ops = _Measuring()
        trace(network, image[i : i + CHUNK].float() / 255.0, where[i : i + CHUNK].float(), ops)
        found.append(ops.largest)
    largest = torch.tensor(found).amax(0)
    if not bool((largest > 0.0).all()):
        raise ValueError(f"activation {int(largest.argmin())} of the network is never above 0")
    network.ranges.copy_(largest)


class _Measuring(TorchOps):
    """Computes, and notes the largest value behind every ReLU, in the order of `trace`."""

    def __init__(self) -> None:
        self.largest: list[float] = []

    def block(self, block: Block, x: Tensor) -> Tensor:
        return self._noted(super().block(block, x)) if block.active else super().block(block, x)

    def relu(self, x: Tensor) -> Tensor:
        return self._noted(super().relu(x))

    def _noted(self, x: Tensor) -> Tensor:
        self.largest.append(float(x.max()))
        return x


class Int8Backend:
    """See `backends.Backend`. The network must be folded and its ranges measured; raises ValueError if they are not."""

    name = "int8"

    def __init__(self, network: Network, *, chunk: int = CHUNK) -> None:
        if not bool(((network.ranges > 0.0) & network.ranges.isfinite()).all()):
            raise ValueError("backend 'int8': these weights do not tell the ranges of their activations; take another backend")
        self.network, self.chunk, self.outputs = network, chunk, network.spec.outputs
        self.look = network.look.to(REAL).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.scales = [float(top) / TOP for top in network.ranges]
        self.convolutions: dict[Block, _Convolution] = {}

    @torch.no_grad()
    def __call__(self, image: Tensor, where: Tensor) -> Tensor:
        image, where = image.cpu(), where.cpu()
        found = torch.empty((len(image), self.outputs, *where.shape[2:]), memory_format=torch.channels_last)
        for i in range(0, len(image), self.chunk):
            part = image[i : i + self.chunk].contiguous(memory_format=torch.channels_last)
            found[i : i + self.chunk] = trace(self.network, _Codes(part, 1.0 / 255.0), self._looked(where[i : i + self.chunk]), _Ops(self))
        return found

    def _looked(self, where: Tensor) -> Tensor:
        """What `look` makes of the rays; always CHUNK of them, since this convolution is of real numbers."""
        count = len(where)
        where = nn.functional.pad(where, (0, 0, 0, 0, 0, 0, 0, CHUNK - count)) if count < CHUNK else where
        looked: Tensor = self.look(where.to(REAL).contiguous(memory_format=torch.channels_last))
        return looked[:count]

    def convolution(self, block: Block, given: _Codes) -> _Convolution:
        """The block's convolution of such codes, made when first asked for."""
        if block not in self.convolutions:
            self.convolutions[block] = _Convolution(block.conv, given)
        return self.convolutions[block]


class _Codes(NamedTuple):
    """scale * code is the value."""

    code: Tensor  # (N, C, g, f) uint8, channels last
    scale: float


class _Due(NamedTuple):
    """A convolution without ReLU that is not computed yet: what follows can often be computed along with it."""

    block: Block
    given: _Codes


class _Sum(NamedTuple):
    """The sum of such a one and of codes, not computed yet either."""

    due: _Due
    more: _Codes


class _Ops:
    """Codes wherever a convolution or a sum is followed by ReLU, real numbers elsewhere.

    What is added to is overwritten: `trace` reads neither summand again.
    """

    def __init__(self, backend: Int8Backend) -> None:
        self.backend, self.scales = backend, iter(backend.scales)

    def block(self, block: Block, x: Any) -> Any:
        if block is self.backend.network.look:
            return x  # computed already
        convolution = self.backend.convolution(block, x)
        if block.active:
            scale = next(self.scales)
            return _Codes(convolution(x.code, torch.uint8, scale=scale, relu=True), scale)
        return convolution(x.code, torch.float32) if block is self.backend.network.out else _Due(block, x)

    def add(self, x: Any, y: Any) -> Any:
        if isinstance(x, _Codes) and isinstance(y, _Due):
            return _Sum(y, x)
        if isinstance(x, _Due) and isinstance(y, Tensor):
            x, y = y, x
        if isinstance(x, Tensor) and isinstance(y, _Due):
            return self.backend.convolution(*y)(y.given.code, REAL, onto=x)
        return self._real(x) + self._real(y)

    def relu(self, x: Any) -> _Codes:
        scale = next(self.scales)
        if isinstance(x, _Sum):
            convolution = self.backend.convolution(*x.due)
            code = convolution(x.due.given.code, torch.uint8, scale=scale, relu=True, onto=x.more.code, onto_scale=x.more.scale)
            return _Codes(code, scale)
        return _Codes((self._real(x) * (1.0 / scale)).round_().clamp_(0, TOP).to(torch.uint8), scale)

    def double(self, x: Any) -> Tensor:
        return nn.functional.interpolate(self._real(x), scale_factor=2.0, mode="nearest")

    def _real(self, x: Any) -> Tensor:
        if isinstance(x, _Codes):
            return x.code.to(REAL) * x.scale
        if isinstance(x, _Sum):
            return self._real(x.due) + self._real(x.more)
        if isinstance(x, _Due):
            return self.backend.convolution(*x)(x.given.code, REAL)
        assert isinstance(x, Tensor)
        return x


class _Convolution:
    """A convolution of codes."""

    def __init__(self, conv: nn.Conv2d, given: _Codes) -> None:
        """given: how weights lie in memory is chosen for codes of this size (in chunks of CHUNK); others come out the same."""
        weight = conv.weight.detach()
        self.weight_scale = (weight.abs().amax((1, 2, 3)) / 127.0).clamp(min=1e-12)  # (outputs,)
        code = (weight / self.weight_scale[:, None, None, None]).round().clamp(-127, 127).to(torch.int8)
        assert conv.bias is not None
        self.scale, self.bias = given.scale, conv.bias.detach()
        self.where = (list(conv.stride), list(conv.padding), [1, 1])
        size = [CHUNK, *given.code.shape[1:]]
        self.weight = torch.ops.onednn.qconv_prepack(code, self.weight_scale, self.scale, 0, *self.where, 1, size)
        self.zero = torch.zeros_like(self.weight_scale, dtype=torch.int64)

    def __call__(
        self, x: Tensor, dtype: torch.dtype, *, scale: float = 1.0, relu: bool = False, onto: Tensor | None = None, onto_scale: float = 1.0
    ) -> Tensor:
        """Of codes x, as codes of `scale` (uint8) or real numbers; added to `onto`, which is of the same type and overwritten."""
        given = (x, self.scale, 0, self.weight, self.weight_scale, self.zero)
        after = "relu" if relu else None
        out: Tensor
        if onto is None:
            out = torch.ops.onednn.qconv2d_pointwise(*given, self.bias, *self.where, 1, scale, 0, dtype, after or "none", [], "")
        else:
            out = torch.ops.onednn.qconv2d_pointwise.binary(
                *given, onto, self.bias, *self.where, 1, scale, 0, dtype, onto_scale, 0, "sum", 1.0, after, [], ""
            )
        return out

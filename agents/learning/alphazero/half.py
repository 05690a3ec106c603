"""The tower of a network in bfloat16, for CPUs that multiply such numbers (AVX-512 BF16, AMX): twice as many positions a second.

Sums inside a convolution are of float32; what is handed from one to the next has eight bits. Convolution, batch norm, addition and ReLU
are one operation of oneDNN each, the one that torch's own compiler emits. Shapes: K positions, I planes, W channels.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from agents.learning.config import TrainConfigError

__all__ = ["NEEDS", "HalfTower", "check_half", "runs_here"]

NEEDS = "a CPU that computes in bfloat16 (AVX-512 BF16 or AMX), for half"


def runs_here() -> bool:
    """Whether this CPU and this torch have such convolutions."""
    return hasattr(torch.ops.mkldnn, "_convolution_pointwise") and bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())


def check_half(device: str) -> None:
    """Raises TrainConfigError where towers cannot compute in bfloat16: on another device than the CPU, or on a CPU that cannot."""
    if device != "cpu":
        raise TrainConfigError(f"half: is for device cpu, not {device}; leave it out")
    if not runs_here():
        raise TrainConfigError("half: this CPU, or this torch, does not compute in bfloat16; leave it out")


class HalfTower(nn.Module):
    """Stem and residual blocks with their present weights, for input of the shape of `planes`."""

    def __init__(self, tower: nn.Sequential, planes: Tensor) -> None:
        super().__init__()
        parts: list[Any] = list(tower)
        stem, *blocks = parts
        shape = list(planes.shape)
        self.stem = _packed(stem[0], stem[1], shape)
        self.blocks = [(_packed(b.body[0], b.body[1], shape), _packed(b.body[3], b.body[4], shape)) for b in blocks]

    def forward(self, planes: Tensor) -> Tensor:
        """(K, I, rows, columns) float32 -> (K, W, rows, columns) float32."""
        ops = torch.ops.mkldnn._convolution_pointwise
        around = ((1, 1), (1, 1), (1, 1), 1)  # padding, stride, dilation, groups
        x: Tensor = planes.to(torch.bfloat16).contiguous(memory_format=torch.channels_last)
        x = ops(x, *self.stem, *around, "relu", [], "")
        for first, second in self.blocks:
            inner = ops(x, *first, *around, "relu", [], "")
            x = ops.binary(inner, x, *second, *around, "add", 1.0, "relu", [], "")
        return x.to(torch.float32).contiguous()


def _packed(convolution: Any, norm: Any, shape: list[int]) -> tuple[Tensor, Tensor]:
    """Weights and bias of a convolution with its batch norm, laid out for oneDNN."""
    fused = fuse_conv_bn_eval(convolution, norm)
    weight = fused.weight.detach().to(torch.bfloat16).to_mkldnn()
    where = [shape[0], fused.in_channels, *shape[2:]]
    reorder: Any = torch._C._nn.mkldnn_reorder_conv2d_weight  # its published signature is older than what it takes
    return reorder(weight, (1, 1), (1, 1), (1, 1), 1, where), fused.bias.detach().to(torch.bfloat16)

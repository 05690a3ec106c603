"""Sine, cosine, arc tangent and length from sums, products, quotients and roots alone, all of which IEEE 754 rounds in one way.

torch takes these functions from one library where a loop is vectorised and from another where it is not, and whether a compiled loop is
vectorised depends on its sizes. Pictures that must not depend on how many worlds are drawn together are made with those here.

Polynomials and reductions are those of Cephes (S. L. Moshier, single precision, sinf.c and atanf.c): errors are a few 1e-7.
"""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["arctan", "cos_sin", "hypot"]

# pi / 2 in three parts, so that whole multiples of the first two are exact
QUARTER = (1.5703125, 4.837512969970703125e-4, 7.54978995489188216e-8)
TAN_FAR, TAN_NEAR = 2.414213562373095, 0.4142135623730950  # of 3 pi / 8 and pi / 8


def cos_sin(angle: Tensor) -> tuple[Tensor, Tensor]:
    """Cosine and sine of `angle` rad, which should be within some thousand turns."""
    quarters = torch.round(angle * (2.0 / torch.pi))
    rest = ((angle - quarters * QUARTER[0]) - quarters * QUARTER[1]) - quarters * QUARTER[2]  # -pi / 4 .. pi / 4
    z = rest * rest
    cos = ((2.443315711809948e-5 * z - 1.388731625493765e-3) * z + 4.166664568298827e-2) * (z * z) - 0.5 * z + 1.0
    sin = ((-1.9515295891e-4 * z + 8.3321608736e-3) * z - 1.6666654611e-1) * (z * rest) + rest
    turn = quarters - 4.0 * torch.floor(quarters * 0.25)  # 0, 1, 2, 3
    odd = (turn == 1.0) | (turn == 3.0)
    along, across = torch.where(odd, sin, cos), torch.where(odd, cos, sin)
    return torch.where((turn == 1.0) | (turn == 2.0), -along, along), torch.where(turn >= 2.0, -across, across)


def arctan(slope: Tensor) -> Tensor:
    """Arc tangent, rad."""
    size = torch.abs(slope)
    far, middle = size > TAN_FAR, size > TAN_NEAR
    x = torch.where(far, -1.0 / size.clamp(min=1.0), torch.where(middle, (size - 1.0) / (size + 1.0), size))
    base = torch.where(far, 0.5 * torch.pi, torch.where(middle, 0.25 * torch.pi, 0.0))
    z = x * x
    angle = (((8.05374449538e-2 * z - 1.38776856032e-1) * z + 1.99777106478e-1) * z - 3.33329491539e-1) * (z * x) + x + base
    return torch.where(slope < 0.0, -angle, angle)


def hypot(x: Tensor, y: Tensor) -> Tensor:
    """sqrt(x^2 + y^2)."""
    return torch.sqrt(x * x + y * y)

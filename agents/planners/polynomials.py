"""Polynomials of least jerk between two states, in closed form.

The motion from (x0, v0, a0) to an end state after T that minimises the integral of the squared jerk is a quintic if the end place is given
and a quartic if it is free (Takahashi et al. 1989; Werling et al., "Optimal trajectory generation for dynamic street scenarios in a
Frenet frame", ICRA 2010). All arguments broadcast; SI units.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

__all__ = ["Polynomial", "evaluate", "quartic", "quintic"]


class Polynomial(NamedTuple):
    """x(t) = x0 + v0 t + a0 t^2 / 2 + c3 t^3 + c4 t^4 + c5 t^5 until `end`, then on at the speed reached."""

    x0: Tensor
    v0: Tensor
    a0: Tensor
    c3: Tensor
    c4: Tensor
    c5: Tensor
    end: Tensor  # s


def quintic(x0: Tensor, v0: Tensor, a0: Tensor, x1: Tensor, v1: Tensor, end: Tensor) -> Polynomial:
    """From x0, v0, a0 to x1, v1 and no acceleration after `end` seconds."""
    t = end
    dx, dv, da = x1 - x0 - v0 * t - 0.5 * a0 * t * t, v1 - v0 - a0 * t, -a0
    c3 = (10.0 * dx - 4.0 * dv * t + 0.5 * da * t * t) / (t * t * t)
    c4 = (-15.0 * dx + 7.0 * dv * t - da * t * t) / (t * t * t * t)
    c5 = (6.0 * dx - 3.0 * dv * t + 0.5 * da * t * t) / (t * t * t * t * t)
    return Polynomial(x0, v0, a0, c3, c4, c5, end)


def quartic(x0: Tensor, v0: Tensor, a0: Tensor, v1: Tensor, end: Tensor) -> Polynomial:
    """From x0, v0, a0 to v1 and no acceleration after `end` seconds, wherever that is."""
    t = end
    dv, da = v1 - v0 - a0 * t, -a0
    c3 = (3.0 * dv - da * t) / (3.0 * t * t)
    c4 = (-2.0 * dv + da * t) / (4.0 * t * t * t)
    return Polynomial(x0, v0, a0, c3, c4, torch.zeros_like(c4), end)


def evaluate(p: Polynomial, t: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """x, v and a at times t (S,), as a new last dimension."""
    x0, v0, a0, c3, c4, c5, end = (part.unsqueeze(-1) for part in p)
    u = torch.minimum(t, end)
    x = x0 + u * (v0 + u * (0.5 * a0 + u * (c3 + u * (c4 + u * c5))))
    v = v0 + u * (a0 + u * (3.0 * c3 + u * (4.0 * c4 + u * 5.0 * c5)))
    a = a0 + u * (6.0 * c3 + u * (12.0 * c4 + u * 20.0 * c5))
    past = t - u
    return x + past * v, v, torch.where(past > 0.0, 0.0, a)

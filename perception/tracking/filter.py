"""Kalman filter of places and velocities over ground, written out in 2 x 2 blocks.

State of a target: p = (x, y), v = (vx, vy); covariance [[P, C], [C', V]] with P, V symmetric. Every function is element by element, so a
target's numbers depend on nothing but its own (batched matrix products would differ in the last bits with the size of the batch).

Model: white-noise acceleration (Bar-Shalom, Li, Kirubarajan, "Estimation with Applications to Tracking and Navigation", 2001,
section 6.2.2), which over several steps adds up to the same as over one long step. Place is measured, velocity is not.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

__all__ = ["Motion", "Symmetric", "Target", "covariance", "from_axes", "moved", "predicted", "updated"]


class Symmetric(NamedTuple):
    """A symmetric 2 x 2 matrix."""

    xx: Tensor
    xy: Tensor
    yy: Tensor


class Motion(NamedTuple):
    """A change of frame: where the new origin is in the old frame, and the cosine and sine of the angle by which it is turned."""

    dx: Tensor  # m
    dy: Tensor  # m
    cos: Tensor
    sin: Tensor


class Target(NamedTuple):
    """Mean and covariance of targets, all (B, T)."""

    x: Tensor  # m
    y: Tensor  # m
    vx: Tensor  # m/s
    vy: Tensor  # m/s
    pxx: Tensor  # m^2, P
    pxy: Tensor
    pyy: Tensor
    cxx: Tensor  # m^2/s, C: rows x, y; columns vx, vy
    cxy: Tensor
    cyx: Tensor
    cyy: Tensor
    vxx: Tensor  # m^2/s^2, V
    vxy: Tensor
    vyy: Tensor


def from_axes(along: Tensor, across: Tensor, cos: Tensor, sin: Tensor) -> Symmetric:
    """Covariance of variances `along` the direction (cos, sin) and `across` it."""
    return Symmetric(along * cos * cos + across * sin * sin, (along - across) * cos * sin, along * sin * sin + across * cos * cos)


def covariance(target: Target) -> Tensor:
    """(B, T, 4, 4) of (x, y, vx, vy)."""
    t = target
    rows = (t.pxx, t.pxy, t.cxx, t.cxy, t.pxy, t.pyy, t.cyx, t.cyy, t.cxx, t.cyx, t.vxx, t.vxy, t.cxy, t.cyy, t.vxy, t.vyy)
    return torch.stack(rows, -1).view(*t.x.shape, 4, 4)


def moved(target: Target, motion: Motion) -> Target:
    """The same targets in the new frame: p <- R (p - d), v <- R v, every block <- R block R'."""
    t, (dx, dy, c, s) = target, motion
    px, py = t.x - dx, t.y - dy
    pxx, pxy, _, pyy = _turn(t.pxx, t.pxy, t.pxy, t.pyy, c, s)
    cxx, cxy, cyx, cyy = _turn(t.cxx, t.cxy, t.cyx, t.cyy, c, s)
    vxx, vxy, _, vyy = _turn(t.vxx, t.vxy, t.vxy, t.vyy, c, s)
    x, y, vx, vy = c * px + s * py, c * py - s * px, c * t.vx + s * t.vy, c * t.vy - s * t.vx
    return Target(x, y, vx, vy, pxx, pxy, pyy, cxx, cxy, cyx, cyy, vxx, vxy, vyy)


def predicted(target: Target, dt: Tensor, noise: Symmetric) -> Target:
    """`dt` s later; noise: intensity of the white acceleration, m^2/s^3 (velocity variance gained per second)."""
    t = target
    half, third = dt * dt * 0.5, dt * dt * dt * (1.0 / 3.0)
    return Target(
        t.x + dt * t.vx,
        t.y + dt * t.vy,
        t.vx,
        t.vy,
        t.pxx + dt * (2.0 * t.cxx + dt * t.vxx) + third * noise.xx,
        t.pxy + dt * (t.cxy + t.cyx + dt * t.vxy) + third * noise.xy,
        t.pyy + dt * (2.0 * t.cyy + dt * t.vyy) + third * noise.yy,
        t.cxx + dt * t.vxx + half * noise.xx,
        t.cxy + dt * t.vxy + half * noise.xy,
        t.cyx + dt * t.vxy + half * noise.xy,
        t.cyy + dt * t.vyy + half * noise.yy,
        t.vxx + dt * noise.xx,
        t.vxy + dt * noise.xy,
        t.vyy + dt * noise.yy,
    )


def updated(target: Target, x: Tensor, y: Tensor, noise: Symmetric) -> Target:
    """After measuring the place (x, y) m with covariance `noise` m^2.

    With S = P + R: gains K = P / S, L = C' / S. P <- R / S P, written with R rather than as P - K P, which would lose all digits of a
    precise measurement of an uncertain place; C <- R / S C; V <- V - L C.
    """
    t, r = target, noise
    sxx, sxy, syy = t.pxx + r.xx, t.pxy + r.xy, t.pyy + r.yy
    det = sxx * syy - sxy * sxy
    ixx, ixy, iyy = syy / det, -sxy / det, sxx / det  # inverse of S
    ex, ey = x - t.x, y - t.y
    wx, wy = ixx * ex + ixy * ey, ixy * ex + iyy * ey  # S^-1 e
    # G = R S^-1
    gxx, gxy = r.xx * ixx + r.xy * ixy, r.xx * ixy + r.xy * iyy
    gyx, gyy = r.xy * ixx + r.yy * ixy, r.xy * ixy + r.yy * iyy
    # S^-1 C
    mxx, mxy = ixx * t.cxx + ixy * t.cyx, ixx * t.cxy + ixy * t.cyy
    myx, myy = ixy * t.cxx + iyy * t.cyx, ixy * t.cxy + iyy * t.cyy
    return Target(
        t.x + t.pxx * wx + t.pxy * wy,
        t.y + t.pxy * wx + t.pyy * wy,
        t.vx + t.cxx * wx + t.cyx * wy,
        t.vy + t.cxy * wx + t.cyy * wy,
        gxx * t.pxx + gxy * t.pxy,
        gxx * t.pxy + gxy * t.pyy,
        gyx * t.pxy + gyy * t.pyy,
        gxx * t.cxx + gxy * t.cyx,
        gxx * t.cxy + gxy * t.cyy,
        gyx * t.cxx + gyy * t.cyx,
        gyx * t.cxy + gyy * t.cyy,
        t.vxx - (t.cxx * mxx + t.cyx * myx),
        t.vxy - (t.cxx * mxy + t.cyx * myy),
        t.vyy - (t.cxy * mxy + t.cyy * myy),
    )


def _turn(xx: Tensor, xy: Tensor, yx: Tensor, yy: Tensor, c: Tensor, s: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """R M R' with R = [[c, s], [-s, c]]."""
    ax, ay = c * xx + s * yx, c * xy + s * yy
    bx, by = c * yx - s * xx, c * yy - s * xy
    return ax * c + ay * s, ay * c - ax * s, bx * c + by * s, by * c - bx * s

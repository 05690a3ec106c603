"""What the faces of things look like: small pictures of material codes, drawn once.

A style has six faces (front, rear, left, right, top, bottom) of TEXELS x TEXELS codes. Column: along the thing's x (sides, top) or y
(front, rear), rear to front and right to left; row: upwards (on top: y, right to left).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import numpy as np
from numpy.typing import NDArray

__all__ = ["MATERIALS", "STYLES", "TEXELS", "atlas"]

TEXELS = 32
MATERIALS = (
    "body", "shade", "glass", "black", "grey", "headlight", "taillight", "left", "right", "white", "skin", "second", "lit",
    "red", "yellow", "green",
)  # fmt: skip
STYLES = (
    "car", "cabin", "roof", "van", "chassis", "cab", "cargo", "bus", "motorcycle", "bicycle", "torso", "head", "helmet", "legs", "stride",
    "jacket", "visor", "building", "hedge", "tree", "pole", "housing", "sign",
)  # fmt: skip
FRONT, REAR, LEFT, RIGHT, TOP, BOTTOM = range(6)
CODE = {name: code for code, name in enumerate(MATERIALS)}
_AT = (np.arange(TEXELS) + 0.5) / TEXELS
_U, _V = _AT[None, :], _AT[:, None]  # column, row of every texel, 0..1


class _Face:
    """One face being painted; coordinates are shares of its width and height."""

    def __init__(self, codes: NDArray[np.uint8]) -> None:
        self.codes = codes

    def all(self, material: str) -> _Face:
        self.codes[:] = CODE[material]
        return self

    def box(self, material: str, u0: float, u1: float, v0: float, v1: float) -> _Face:
        self.codes[(u0 <= _U) & (u1 > _U) & (v0 <= _V) & (v1 > _V)] = CODE[material]
        return self

    def disc(self, material: str, u: float, v: float, ru: float, rv: float) -> _Face:
        self.codes[((_U - u) / ru) ** 2 + ((_V - v) / rv) ** 2 < 1.0] = CODE[material]
        return self

    def where(self, material: str, mask: NDArray[np.bool_]) -> _Face:
        self.codes[mask] = CODE[material]
        return self


Faces = list[_Face]


def _wheels(face: _Face, at: tuple[float, ...], ru: float, rv: float) -> None:
    for u in at:
        face.disc("black", u, rv, ru, rv).disc("grey", u, rv, 0.45 * ru, 0.45 * rv)


def _lamps(f: Faces, v0: float, v1: float, wide: float = 0.22) -> None:
    """Head lights in front, tail lights and plate behind, indicators at the corners."""
    for u0 in (0.03, 0.97 - wide):
        f[FRONT].box("headlight", u0, u0 + wide, v0, v1)
        f[REAR].box("taillight", u0, u0 + wide, v0, v1)
    edge = 0.07
    for face in (f[FRONT], f[REAR]):
        face.box("right", 0.0, edge, v0, v1).box("left", 1.0 - edge, 1.0, v0, v1)
    for side, name in ((LEFT, "left"), (RIGHT, "right")):
        f[side].box(name, 0.0, 0.035, v0, v1).box(name, 0.965, 1.0, v0, v1)


def _car(f: Faces) -> None:
    for face in f:
        face.all("body")
    for side in (f[LEFT], f[RIGHT]):
        side.box("black", 0.0, 1.0, 0.0, 0.20).box("shade", 0.0, 1.0, 0.20, 0.30).box("shade", 0.44, 0.47, 0.3, 1.0)
        _wheels(side, (0.19, 0.81), 0.078, 0.36)
    for face in (f[FRONT], f[REAR]):
        face.box("black", 0.0, 1.0, 0.0, 0.16).box("shade", 0.0, 1.0, 0.16, 0.34)
        face.box("black", 0.0, 0.14, 0.0, 0.22).box("black", 0.86, 1.0, 0.0, 0.22)
    f[FRONT].box("black", 0.3, 0.7, 0.40, 0.66)
    _lamps(f, 0.52, 0.84)
    f[FRONT].box("white", 0.38, 0.62, 0.24, 0.38)
    f[REAR].box("white", 0.36, 0.64, 0.40, 0.62)
    f[TOP].box("shade", 0.0, 1.0, 0.0, 0.05).box("shade", 0.0, 1.0, 0.95, 1.0)


def _cabin(f: Faces) -> None:
    for face in f:
        face.all("glass")
    for face in (f[FRONT], f[REAR]):
        face.box("body", 0.0, 0.05, 0.0, 1.0).box("body", 0.95, 1.0, 0.0, 1.0)
    for side in (f[LEFT], f[RIGHT]):
        side.where("body", (_U < 0.03 + 0.10 * _V) | (_U > 0.99 - 0.16 * _V)).box("body", 0.50, 0.55, 0.0, 1.0)
        side.box("body", 0.0, 1.0, 0.88, 1.0)
    f[TOP].all("body")


def _roof(f: Faces) -> None:
    for face in f:
        face.all("shade")
    f[TOP].all("body")


def _van(f: Faces) -> None:
    for face in f:
        face.all("body")
    f[FRONT].box("glass", 0.05, 0.95, 0.02, 0.80)
    f[REAR].box("glass", 0.08, 0.46, 0.25, 0.82).box("glass", 0.54, 0.92, 0.25, 0.82)
    for side in (f[LEFT], f[RIGHT]):
        side.box("glass", 0.72, 0.97, 0.05, 0.80).box("shade", 0.68, 0.70, 0.0, 1.0).box("shade", 0.3, 0.32, 0.0, 1.0)


def _chassis(f: Faces) -> None:
    for face in f:
        face.all("black")
    for side in (f[LEFT], f[RIGHT]):
        side.box("shade", 0.28, 0.70, 0.35, 0.95)
        _wheels(side, (0.11, 0.22, 0.86), 0.05, 0.47)
    f[REAR].box("grey", 0.0, 1.0, 0.45, 0.56).box("white", 0.38, 0.62, 0.60, 0.85)
    _lamps(f, 0.58, 0.92, 0.16)
    f[TOP].all("black")


def _cab(f: Faces) -> None:
    for face in f:
        face.all("body")
    f[FRONT].box("black", 0.0, 1.0, 0.0, 0.14).box("glass", 0.06, 0.94, 0.50, 0.86).box("black", 0.22, 0.78, 0.20, 0.42)
    f[FRONT].box("headlight", 0.04, 0.20, 0.14, 0.27).box("headlight", 0.80, 0.96, 0.14, 0.27)
    f[REAR].all("shade")
    for side in (f[LEFT], f[RIGHT]):
        side.box("black", 0.0, 1.0, 0.0, 0.12).box("glass", 0.30, 0.92, 0.52, 0.86)
        side.disc("black", 0.45, 0.0, 0.34, 0.24)


def _cargo(f: Faces) -> None:
    for face in f:
        face.all("second")
    for side in (f[LEFT], f[RIGHT]):
        side.box("grey", 0.0, 1.0, 0.0, 0.05).box("body", 0.0, 1.0, 0.40, 0.62)
        for u in (0.0, 0.325, 0.655, 0.98):
            side.box("grey", u, u + 0.022, 0.0, 1.0)
    f[REAR].box("grey", 0.48, 0.52, 0.0, 1.0).box("grey", 0.0, 0.04, 0.0, 1.0).box("grey", 0.96, 1.0, 0.0, 1.0).box(
        "grey", 0.0, 1.0, 0.94, 1.0
    )
    f[REAR].box("red", 0.0, 1.0, 0.0, 0.07).box("red", 0.0, 0.06, 0.0, 1.0).box("red", 0.94, 1.0, 0.0, 1.0)  # contour marking, UNECE R104


def _bus(f: Faces) -> None:
    for face in f:
        face.all("body")
    for side in (f[LEFT], f[RIGHT]):
        side.box("black", 0.0, 1.0, 0.0, 0.10).box("glass", 0.03, 0.98, 0.42, 0.80).box("second", 0.0, 1.0, 0.24, 0.36)
        for u in np.arange(0.155, 0.95, 0.135):
            side.box("body", float(u), float(u) + 0.02, 0.42, 0.80)
        _wheels(side, (0.24, 0.78), 0.044, 0.165)
    f[RIGHT].box("glass", 0.86, 0.95, 0.12, 0.80).box("glass", 0.46, 0.56, 0.12, 0.80)
    f[FRONT].box("black", 0.0, 1.0, 0.0, 0.08).box("glass", 0.04, 0.96, 0.34, 0.80).box("yellow", 0.18, 0.82, 0.84, 0.96)
    f[FRONT].box("headlight", 0.03, 0.22, 0.12, 0.22).box("headlight", 0.78, 0.97, 0.12, 0.22).box("white", 0.4, 0.6, 0.1, 0.17)
    f[REAR].box("black", 0.0, 1.0, 0.0, 0.08).box("glass", 0.10, 0.90, 0.52, 0.82).box("shade", 0.2, 0.8, 0.12, 0.44)
    f[REAR].box("yellow", 0.3, 0.7, 0.85, 0.95)
    f[REAR].box("taillight", 0.02, 0.16, 0.16, 0.34).box("taillight", 0.84, 0.98, 0.16, 0.34).box("white", 0.4, 0.6, 0.14, 0.22)
    for face in (f[FRONT], f[REAR]):
        face.box("right", 0.0, 0.06, 0.24, 0.36).box("left", 0.94, 1.0, 0.24, 0.36)


def _motorcycle(f: Faces) -> None:
    for face in f:
        face.all("black")
    for side in (f[LEFT], f[RIGHT]):
        side.all("shade").box("body", 0.28, 0.84, 0.42, 0.96).box("grey", 0.36, 0.62, 0.10, 0.40).box("black", 0.0, 0.5, 0.86, 1.0)
        _wheels(side, (0.15, 0.85), 0.15, 0.40)
    f[FRONT].box("body", 0.05, 0.95, 0.45, 1.0).box("headlight", 0.22, 0.78, 0.62, 0.92)
    f[REAR].box("body", 0.10, 0.90, 0.60, 1.0).box("taillight", 0.20, 0.80, 0.66, 0.90).box("white", 0.25, 0.75, 0.36, 0.54)
    f[TOP].all("body")


def _bicycle(f: Faces) -> None:
    for face in f:
        face.all("black")
    for side in (f[LEFT], f[RIGHT]):
        side.all("grey")
        for u in (0.19, 0.81):
            side.disc("black", u, 0.42, 0.19, 0.42).disc("grey", u, 0.42, 0.13, 0.29)
        side.where("body", (np.abs(_V - 0.85) < 0.09) & (_U > 0.28) & (_U < 0.72))
        side.where("body", (np.abs((_U - 0.5) * 1.6 - (_V - 0.3) * 0.9) < 0.10) & (_U > 0.3) & (_U < 0.75))
    f[FRONT].box("headlight", 0.0, 1.0, 0.80, 1.0)
    f[REAR].box("taillight", 0.0, 1.0, 0.72, 0.95)


def _torso(f: Faces) -> None:
    for face in f:
        face.all("body")
    for face in f[:4]:
        face.box("shade", 0.0, 0.16, 0.0, 0.95).box("shade", 0.84, 1.0, 0.0, 0.95)
        face.box("skin", 0.0, 0.16, 0.0, 0.14).box("skin", 0.84, 1.0, 0.0, 0.14)
    f[FRONT].box("white", 0.38, 0.62, 0.30, 1.0)  # an open jacket
    f[REAR].box("second", 0.24, 0.76, 0.30, 0.92)  # a rucksack


def _jacket(f: Faces) -> None:
    for face in f:
        face.all("second")
    for face in f[:4]:
        face.box("body", 0.0, 1.0, 0.60, 0.72)


def _head(f: Faces) -> None:
    for face in f:
        face.all("skin")
    f[REAR].all("second")
    f[TOP].all("second")
    for face in (f[FRONT], f[LEFT], f[RIGHT]):
        face.box("second", 0.0, 1.0, 0.72, 1.0)
    for side in (f[LEFT], f[RIGHT]):
        side.box("second", 0.0, 0.5, 0.35, 1.0)


def _headgear(f: Faces, shell: str, edge: float, high: float, back: float) -> None:
    """A shell with a dark opening in front that reaches round the sides."""
    for face in f:
        face.all(shell)
    f[FRONT].box("black", edge, 1.0 - edge, 0.35, high)
    for side in (f[LEFT], f[RIGHT]):
        side.box("black", back, 1.0, 0.35, high)


def _helmet(f: Faces) -> None:
    _headgear(f, "second", 0.1, 0.70, 0.6)


def _visor(f: Faces) -> None:
    _headgear(f, "body", 0.08, 0.72, 0.55)


def _legs(f: Faces) -> None:
    for face in f:
        face.all("second").box("black", 0.0, 1.0, 0.0, 0.10)
    for face in (f[FRONT], f[REAR]):
        face.box("black", 0.46, 0.54, 0.0, 0.85)


def _stride(f: Faces) -> None:
    _legs(f)
    for side in (f[LEFT], f[RIGHT]):
        side.where("black", np.abs(_U - 0.5) < 0.30 * (0.8 - _V))


def _building(f: Faces) -> None:
    for face in f:
        face.all("body")
    for face in f[:4]:
        face.box("shade", 0.0, 1.0, 0.0, 0.06).box("white", 0.22, 0.78, 0.24, 0.30).box("glass", 0.26, 0.74, 0.30, 0.82)
        face.box("lit", 0.26, 0.74, 0.30, 0.82).box("glass", 0.26, 0.48, 0.30, 0.82).box("body", 0.48, 0.52, 0.30, 0.82)
    f[TOP].all("second")


def _leaves(f: Faces) -> None:
    rng = np.random.Generator(np.random.Philox(key=11))
    for face in f:
        coarse = np.kron(rng.random((8, 8)), np.ones((4, 4))) + rng.random((TEXELS, TEXELS))
        face.all("body").where("shade", coarse < 0.85).where("second", coarse > 1.5)


def _pole(f: Faces) -> None:
    for face in f:
        face.all("grey")


def _housing(f: Faces) -> None:
    for face in f:
        face.all("black")
    f[FRONT].box("white", 0.0, 1.0, 0.0, 1.0).box("black", 0.07, 0.93, 0.03, 0.97)
    for name, v in (("green", 0.19), ("yellow", 0.5), ("red", 0.81)):
        f[FRONT].disc(name, 0.5, v, 0.34, 0.145)


def _sign(f: Faces) -> None:
    for face in f:
        face.all("grey")
    f[FRONT].all("white").disc("red", 0.5, 0.5, 0.47, 0.47)
    f[FRONT].box("white", 0.14, 0.86, 0.42, 0.58)
    for u in (0.25, 0.42, 0.6, 0.75):
        f[FRONT].box("red", u, u + 0.05, 0.42, 0.58)


_PAINTERS: dict[str, Callable[[Faces], None]] = {
    "car": _car, "cabin": _cabin, "roof": _roof, "van": _van, "chassis": _chassis, "cab": _cab, "cargo": _cargo, "bus": _bus,
    "motorcycle": _motorcycle, "bicycle": _bicycle, "torso": _torso, "head": _head, "helmet": _helmet, "legs": _legs, "stride": _stride,
    "jacket": _jacket, "visor": _visor,
    "building": _building, "hedge": _leaves, "tree": _leaves, "pole": _pole, "housing": _housing, "sign": _sign,
}  # fmt: skip


@cache
def atlas() -> NDArray[np.uint8]:
    """(STYLES, 6, TEXELS, TEXELS) index into MATERIALS."""
    codes = np.zeros((len(STYLES), 6, TEXELS, TEXELS), dtype=np.uint8)
    for style, name in enumerate(STYLES):
        _PAINTERS[name]([_Face(codes[style, face]) for face in range(6)])
    return codes

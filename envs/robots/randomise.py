"""Domain randomisation: bodies, servos, light and cameras that differ from episode to episode, each world with its own.

The numbers of an episode depend on its seed alone, so an episode is the same in any world and any batch.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from envs.checks import ConfigError
from envs.robots.physics import Floats, Physics
from envs.robots.rng import Draws

__all__ = ["Randomisation", "randomise"]

MASS, FRICTION, GAIN, DELAY, COLOUR, LIGHT, CAMERA = range(1000, 1007)  # streams


@dataclass(frozen=True, kw_only=True)
class Randomisation:
    """How far things may be from what the model says; 0 leaves them alone. Raises ConfigError for what is below 0 or too much."""

    mass: float = 0.0  # part of 1: of each body, its inertia likewise
    friction: float = 0.0  # part of 1: of each geom
    gain: float = 0.0  # part of 1: stiffness and damping of each actuator
    delay: float = 0.0  # s: commands come up to this late, all of a world by the same
    colour: float = 0.0  # each of red, green, blue (0..1) of each geom
    light: float = 0.0  # m: where each light is; its brightness by the same part of 1
    camera_position: float = 0.0  # m: each axis of each camera; who perceives knows where it is
    camera_angle: float = 0.0  # rad: each axis

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            most = 0.9 if field.name in ("mass", "friction", "gain") else 1.0
            if not 0.0 <= value <= most:
                raise ConfigError(f"{field.name}={value}: must be 0 or more, and {most:g} at most")

    def __bool__(self) -> bool:
        return any(getattr(self, field.name) > 0.0 for field in fields(self))


def randomise(physics: Physics, how: Randomisation, rows: NDArray[np.int64], draws: Draws) -> None:
    """Give the worlds `rows` the model of the episodes of `draws`. Call it before their state is written: masses move it."""
    model, n = physics.model, len(rows)

    def factors(stream: int, count: int, spread: float) -> Floats:
        return draws.uniform(stream, count, 1.0 - spread, 1.0 + spread)

    if how.mass:
        scale = factors(MASS, model.nbody, how.mass)
        physics.own("body_mass")[rows] = model.body_mass * scale
        physics.own("body_inertia")[rows] = model.body_inertia * scale[:, :, None]
    if how.friction:
        physics.own("geom_friction")[rows] = model.geom_friction * factors(FRICTION, model.ngeom, how.friction)[:, :, None]
    if how.gain:
        scale = factors(GAIN, model.nu, how.gain)[:, :, None]
        physics.own("actuator_gainprm")[rows] = model.actuator_gainprm * scale
        physics.own("actuator_biasprm")[rows] = model.actuator_biasprm * scale
    if how.delay:
        physics.own("actuator_delay")[rows] = draws.uniform(DELAY, 1, 0.0, how.delay)
    if how.colour:
        shift = draws.uniform(COLOUR, model.ngeom * 3, -how.colour, how.colour).reshape(n, model.ngeom, 3)
        physics.own("geom_rgba")[rows, :, :3] = np.clip(model.geom_rgba[:, :3] + shift, 0.0, 1.0)
    if how.light:
        shift = draws.uniform(LIGHT, model.nlight * 4, -how.light, how.light).reshape(n, model.nlight, 4)
        physics.own("light_pos")[rows] = model.light_pos + shift[:, :, :3]
        physics.own("light_diffuse")[rows] = np.clip(model.light_diffuse * (1.0 + shift[:, :, 3:]), 0.0, 1.0)
    if how.camera_position or how.camera_angle:
        shift = draws.uniform(CAMERA, model.ncam * 6, -1.0, 1.0).reshape(n, model.ncam, 6)
        if how.camera_position:
            physics.own("cam_pos")[rows] = model.cam_pos + shift[:, :, :3] * how.camera_position
        if how.camera_angle:
            physics.own("cam_quat")[rows] = turned(np.broadcast_to(model.cam_quat, (n, model.ncam, 4)), shift[:, :, 3:] * how.camera_angle)
    if how.mass:
        physics.batch.set_const(rows)


def turned(quaternion: Floats, angles: Floats) -> Floats:
    """`quaternion` (..., 4) turned by the rotation vector `angles` (..., 3) rad in its own frame."""
    size = np.sqrt((angles * angles).sum(-1, keepdims=True))
    half = np.concatenate([np.cos(size / 2.0), angles * 0.5 * np.sinc(size / (2.0 * np.pi))], axis=-1)
    w0, x0, y0, z0 = np.moveaxis(quaternion, -1, 0)
    w1, x1, y1, z1 = np.moveaxis(half, -1, 0)
    return np.stack(
        [
            w0 * w1 - x0 * x1 - y0 * y1 - z0 * z1,
            w0 * x1 + x0 * w1 + y0 * z1 - z0 * y1,
            w0 * y1 - x0 * z1 + y0 * w1 + z0 * x1,
            w0 * z1 + x0 * y1 - y0 * x1 + z0 * w1,
        ],
        axis=-1,
    )

"""Pictures of many worlds by one renderer, and labels: which pixels show which thing, and the boxes around them.

For policies shadows and multisampling are off: on a CPU they cost more than all the rest of a picture. Pictures depend on the state and
the model alone. Shapes: C cameras, H x W pixels, K things, n worlds. Image frame: u right, v down, (0, 0) the upper left corner.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from envs.checks import ConfigError
from envs.robots.engine import mujoco
from envs.robots.gl import offscreen
from envs.robots.physics import Floats, Physics
from envs.robots.task import Thing

__all__ = ["Boxes", "Camera", "Lens"]

GEOM = int(mujoco.mjtObj.mjOBJ_GEOM)
ALL = int(mujoco.mjtCatBit.mjCAT_ALL)
FLAGS = mujoco.mjtRndFlag
SLICES = (10, 6)  # of round shapes, around and along; MuJoCo's default is 28 and 16


class Boxes(NamedTuple):
    """Labels of one picture."""

    box: Floats  # (K, 4) px u0, v0, u1, v1 around what can be seen; 0 where nothing can
    pixels: NDArray[np.int64]  # (K,) how many show the thing
    seen: NDArray[np.bool_]  # (K,) whether any does


class Lens(NamedTuple):
    """A pinhole camera. A point p appears at u = W / 2 + focal x / z, v = H / 2 + focal y / z, where (x, y, z) = axes' (p - position)."""

    focal: float  # px
    position: Floats  # (3,) m, world frame
    axes: Floats  # (3, 3): right, down, forward as columns


class Camera:
    """Renders the worlds of one `Physics`. `close` it, or use it in a `with`.

    Args:
        physics: the worlds.
        width, height: of the pictures, pixels.
        things: what labels name.
        fine: shadows and smooth edges, for people.

    Raises NoRenderer where no OpenGL works, ConfigError for a size that cannot be.
    """

    def __init__(self, physics: Physics, *, width: int, height: int, things: Sequence[Thing] = (), fine: bool = False) -> None:
        if not (1 <= width <= 4096 and 1 <= height <= 4096):
            raise ConfigError(f"pictures of {width} x {height} pixels: each must be 1 to 4096")
        self.physics, self.width, self.height, self.things = physics, width, height, tuple(things)
        model = physics.model
        self._data = mujoco.MjData(model)
        self._scene = mujoco.MjvScene(model, maxgeom=model.ngeom + 64)
        self._scene.flags[FLAGS.mjRND_SHADOW] = self._scene.flags[FLAGS.mjRND_REFLECTION] = fine
        self._option, self._view = mujoco.MjvOption(), mujoco.MjvCamera()
        self._option.sitegroup[:] = 0  # sites are marks for computing, not things
        self._view.type = int(mujoco.mjtCamera.mjCAMERA_FIXED)
        self._context, self.way = offscreen(width, height)
        self._drawing = _drawing(model, width, height, fine=fine)
        self._rectangle = mujoco.MjrRect(0, 0, width, height)
        self._buffer = np.empty((height, width, 3), dtype=np.uint8)
        self._geoms = _geoms(model, self.things)
        self._table: NDArray[np.int16] | None = None

    def __enter__(self) -> Camera:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Release the renderer; closing twice is harmless."""
        if self._context is not None:
            self._context.make_current()
            self._drawing.free()
            self._context.free()
            self._context = None

    def picture(self, world: int, camera: str) -> NDArray[np.uint8]:
        """(H, W, 3) RGB. Raises KeyError for an unknown camera."""
        self._look(world, camera)
        return self._draw()

    def pictures(self, cameras: Sequence[str], worlds: Sequence[int] | None = None) -> NDArray[np.uint8]:
        """(n, C, H, W, 3) RGB of the worlds given, or of all."""
        chosen = range(self.physics.size) if worlds is None else worlds
        out = np.empty((len(chosen), len(cameras), self.height, self.width, 3), dtype=np.uint8)
        for row, world in enumerate(chosen):
            for column, camera in enumerate(cameras):
                self._look(world, camera, load=column == 0)
                out[row, column] = self._draw()
        return out

    def labels(self, world: int, camera: str) -> NDArray[np.int16]:
        """(H, W): the number of the thing a pixel shows, -1 for none of them. Raises KeyError for an unknown camera."""
        self._look(world, camera)
        return self._labels()

    def labelled(self, world: int, camera: str) -> tuple[NDArray[np.uint8], NDArray[np.int16]]:
        """A picture and its labels, of the same moment."""
        self._look(world, camera)
        return self._draw(), self._labels()

    def boxes(self, world: int, camera: str) -> Boxes:
        """Boxes around the things. Raises KeyError for an unknown camera."""
        return boxes_of(self.labels(world, camera), len(self.things))

    def lens(self, world: int, camera: str) -> Lens:
        """Where the camera truly is. Raises KeyError for an unknown camera."""
        model, index = self._load(world), self.physics.model.camera(camera).id
        focal = 0.5 * self.height / np.tan(np.radians(model.cam_fovy[index]) / 2.0)
        right, up, back = self._data.cam_xmat[index].reshape(3, 3).T
        return Lens(float(focal), self._data.cam_xpos[index].copy(), np.stack([right, -up, -back], axis=1))

    def surfaces(self, world: int) -> tuple[Floats, ...]:
        """(P, 3) m of each thing: points all over what it looks like, in the world's frame. Their outline is its whole one."""
        self._load(world)
        found = []
        for thing in self.things:
            numbers = [self.physics.model.geom(name).id for name in thing.geoms]
            parts = [self._data.geom_xpos[k] + _surface(self.physics.model, k) @ self._data.geom_xmat[k].reshape(3, 3).T for k in numbers]
            found.append(np.concatenate(parts))
        return tuple(found)

    def _load(self, world: int) -> mujoco.MjModel:
        model = self.physics.load(world, self._data)
        mujoco.mj_kinematics(model, self._data)
        mujoco.mj_comPos(model, self._data)  # where "trackcom" cameras and lights look
        mujoco.mj_camlight(model, self._data)
        return model

    def _look(self, world: int, camera: str, *, load: bool = True) -> None:
        if self._context is None:
            raise RuntimeError("the camera is closed")
        self._view.fixedcamid = self.physics.model.camera(camera).id
        if load:
            self._model = self._load(world)
        mujoco.mjv_updateScene(self._model, self._data, self._option, None, self._view, ALL, self._scene)
        self._context.make_current()

    def _draw(self) -> NDArray[np.uint8]:
        mujoco.mjr_render(self._rectangle, self._scene, self._drawing)
        mujoco.mjr_readPixels(self._buffer, None, self._rectangle, self._drawing)
        return self._buffer[::-1].copy()  # OpenGL's first row is the lowest

    def _labels(self) -> NDArray[np.int16]:
        flags = self._scene.flags
        flags[FLAGS.mjRND_SEGMENT] = flags[FLAGS.mjRND_IDCOLOR] = True
        try:
            mujoco.mjr_render(self._rectangle, self._scene, self._drawing)
            mujoco.mjr_readPixels(self._buffer, None, self._rectangle, self._drawing)
        finally:
            flags[FLAGS.mjRND_SEGMENT] = flags[FLAGS.mjRND_IDCOLOR] = False
        if self._table is None or len(self._table) != self._scene.ngeom + 1:
            self._table = self._numbers()
        parts = self._buffer[::-1].astype(np.int32)
        numbers: NDArray[np.int16] = self._table[parts[..., 0] + (parts[..., 1] << 8) + (parts[..., 2] << 16)]
        return numbers

    def _numbers(self) -> NDArray[np.int16]:
        """Thing by colour: the renderer paints each shape with its number in the scene plus 1."""
        table = np.full(self._scene.ngeom + 1, -1, dtype=np.int16)
        for shape in self._scene.geoms[: self._scene.ngeom]:
            if shape.segid >= 0 and int(shape.objtype) == GEOM:
                table[shape.segid + 1] = self._geoms[shape.objid]
        return table


def boxes_of(labels: NDArray[np.int16], things: int) -> Boxes:
    """Boxes around what labels (H, W) show of `things` things."""
    box, pixels = np.zeros((things, 4)), np.zeros(things, dtype=np.int64)
    for thing in range(things):
        mask = labels == thing
        pixels[thing] = np.count_nonzero(mask)
        if pixels[thing]:
            columns, rows = np.flatnonzero(mask.any(0)), np.flatnonzero(mask.any(1))
            box[thing] = columns[0], rows[0], columns[-1] + 1, rows[-1] + 1
    return Boxes(box, pixels, pixels > 0)


def _surface(model: mujoco.MjModel, geom: int) -> Floats:
    """(P, 3) m, points on a sphere, a cylinder or a box, in its own frame. Raises ValueError for other shapes."""
    kind, size = mujoco.mjtGeom(int(model.geom_type[geom])), model.geom_size[geom]
    if kind == mujoco.mjtGeom.mjGEOM_BOX:
        return np.asarray(size * [[x, y, z] for x in (-1.0, 1.0) for y in (-1.0, 1.0) for z in (-1.0, 1.0)])
    turn = np.linspace(0.0, 2.0 * np.pi, 24, endpoint=False)
    circle = np.stack([np.cos(turn), np.sin(turn)], axis=1)  # (24, 2)
    if kind == mujoco.mjtGeom.mjGEOM_CYLINDER:
        return np.concatenate([np.column_stack([circle * size[0], np.full(24, side * size[1])]) for side in (-1.0, 1.0)])
    if kind == mujoco.mjtGeom.mjGEOM_SPHERE:
        heights = np.cos(np.linspace(0.0, np.pi, 13))
        rings = [np.column_stack([circle * np.sqrt(1.0 - z * z), np.full(24, z)]) for z in heights]
        return np.asarray(np.concatenate(rings) * size[0])
    raise ValueError(f"geom {model.geom(geom).name!r}: outlines are known of spheres, cylinders and boxes")


def _geoms(model: mujoco.MjModel, things: Sequence[Thing]) -> NDArray[np.int16]:
    """Thing by geom. Raises KeyError for a geom that does not exist."""
    table = np.full(model.ngeom, -1, dtype=np.int16)
    for number, thing in enumerate(things):
        for name in thing.geoms:
            table[model.geom(name).id] = number
    return table


def _drawing(model: mujoco.MjModel, width: int, height: int, *, fine: bool) -> Any:
    """MuJoCo's part of the renderer; it reads sizes and quality from the model when it is made, and only then."""
    quality, sizes = model.vis.quality, model.vis.global_
    before = quality.offsamples, quality.shadowsize, quality.numslices, quality.numstacks, sizes.offwidth, sizes.offheight
    try:
        if not fine:
            quality.offsamples = quality.shadowsize = 0
            quality.numslices, quality.numstacks = SLICES  # corners are what a small picture costs in software
        sizes.offwidth, sizes.offheight = width, height
        drawing = mujoco.MjrContext(model, int(mujoco.mjtFontScale.mjFONTSCALE_100))
    finally:
        quality.offsamples, quality.shadowsize, quality.numslices, quality.numstacks, sizes.offwidth, sizes.offheight = before
    mujoco.mjr_setBuffer(int(mujoco.mjtFramebuffer.mjFB_OFFSCREEN), drawing)
    return drawing

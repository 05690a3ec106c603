"""Many MuJoCo simulations of one model, advanced together. What a task reads and writes; it knows nothing of tasks.

Shapes: B worlds, n rows of them. SI units, world frame, z up. Quaternions are w, x, y, z.
"""

from __future__ import annotations

import os

import numpy as np
from numpy.typing import NDArray

from envs.checks import ConfigError
from envs.robots.engine import Batch, mujoco

__all__ = ["Floats", "Physics", "compile_model"]

Floats = NDArray[np.float64]
VEL = int(mujoco.mjtStage.mjSTAGE_VEL)  # positions, velocities and sensors of both; forces are left out, and so the warm start is
HUGE = float(mujoco.mjMAXVAL)  # beyond it MuJoCo itself calls a simulation unstable


def compile_model(mjcf: str, *, delay: float = 0.0) -> mujoco.MjModel:
    """The model of a text. With a delay (s) every actuator remembers commands for that long, so that worlds may be given up to it.

    Raises ValueError with MuJoCo's message for a text it cannot compile.
    """
    spec = mujoco.MjSpec.from_string(mjcf)
    spec.option.disableflags |= int(mujoco.mjtDisableBit.mjDSBL_AUTORESET)  # a simulation that diverged is to be seen, not begun anew
    if delay > 0.0:
        for actuator in spec.actuators:
            actuator.delay = delay
            actuator.nsample = int(np.ceil(delay / spec.option.timestep)) + 1
    return spec.compile()


class Physics:
    """B simulations. All arrays are live views: `qpos[rows] = ...` is the state at the next call.

    Args:
        model: compiled; `compile_model` makes one of a text.
        batch: B.
        threads: that step them; 0 takes every core this process may use. The results are the same bit by bit.

    Raises ValueError for a batch or a number of threads that cannot be.
    """

    def __init__(self, model: mujoco.MjModel, *, batch: int, threads: int = 0) -> None:
        if batch < 1 or threads < 0:
            raise ConfigError(f"batch={batch}, threads={threads}: at least 1 world; threads 0 (every core) or more")
        self.model = model
        self.own_model = False  # whether worlds have fields of the model of their own
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        self.batch = Batch(self.model, nsim=batch, nthread=min(threads or cores, batch))
        self.size = batch
        self._copy: mujoco.MjModel | None = None
        bind = self.batch.bind
        self.qpos: Floats = bind("qpos")  # (B, nq)
        self.qvel: Floats = bind("qvel")  # (B, nv)
        self.ctrl: Floats = bind("ctrl")  # (B, nu)
        self.mocap_pos: Floats = bind("mocap_pos")  # (B, nmocap, 3) m: bodies that tasks place, as goals are
        self.userdata: Floats = bind("userdata")  # (B, nuserdata): memory of a task, a part of the state
        self.time: Floats = bind("time")  # (B,) s since the episode began
        self._sites: Floats = bind("site_xpos")
        self._frames: Floats = bind("site_xmat")
        self._sensors: Floats = bind("sensordata")
        self._eyes: Floats = bind("cam_xpos")
        self._gaze: Floats = bind("cam_xmat")

    def reset(self, rows: NDArray[np.int64]) -> None:
        """The state the model's file gives, in some worlds; derived quantities follow with `forward`."""
        self.batch.reset(rows, stage=0)

    def forward(self, rows: NDArray[np.int64] | None = None) -> None:
        """Compute derived quantities from the state, in some worlds or all. Changes no state, not even the solver's warm start."""
        self.batch.forward(rows, stage=VEL)

    def step(self, count: int) -> None:
        """Advance all by `count` time steps; derived quantities are then those of the new state."""
        self.batch.step(nstep=count, stage=VEL)

    def hold(self, rows: NDArray[np.int64]) -> None:
        """In some worlds, as if `ctrl` had been commanded for as long as actuators remember. Without it delayed ones begin at zero."""
        count = int(self.model.actuator_history[:, 0].max(initial=0))
        if count:  # what an actuator remembers: two numbers of its own, `count` times, `count` commands
            memory = np.asarray(self.batch.bind("history")).reshape(self.size, self.model.nu, 2 + 2 * count)
            memory[rows, :, 2 + count :] = self.ctrl[rows, :, None]

    def diverged(self) -> NDArray[np.bool_]:
        """(B,) whether a place or a speed is no number, or beyond what MuJoCo calls unstable."""
        sound = [(np.abs(part) < HUGE).all(1) for part in (self.qpos, self.qvel)]  # NaN is not less than anything
        return np.asarray(~(sound[0] & sound[1]))

    def site(self, name: str) -> Floats:
        """(B, 3) m, position of a site. Raises KeyError."""
        return self._sites[:, self.model.site(name).id]

    def frame(self, name: str) -> Floats:
        """(B, 3, 3), axes of a site as columns. Raises KeyError."""
        return self._frames[:, self.model.site(name).id].reshape(-1, 3, 3)

    def eye(self, name: str) -> tuple[Floats, Floats]:
        """A camera: its position (B, 3) m and its axes right, down, forward (B, 3, 3) as columns. Raises KeyError."""
        index = self.model.camera(name).id
        axes = self._gaze[:, index].reshape(-1, 3, 3) * np.array([1.0, -1.0, -1.0])
        return self._eyes[:, index], axes

    def rays(self, start: Floats, way: Floats, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """(n, R) numbers of the geoms that rays from start (n, R, 3) m along way (n, R, 3) meet first in some worlds; -1: none."""
        return np.asarray(self.batch.ray(start, way, ids=rows)[1], dtype=np.int64)

    def ranges(self, start: Floats, way: Floats, rows: NDArray[np.int64], *, exclude: str) -> Floats:
        """(n, R) how far such rays go, in lengths of `way`, past the body `exclude`; -1: they meet nothing. Raises KeyError."""
        return np.asarray(self.batch.ray(start, way, ids=rows, bodyexclude=self.model.body(exclude).id)[0], dtype=np.float64)

    def sensor(self, name: str) -> Floats:
        """(B, k), a sensor of positions or velocities (those of forces are not computed). Raises KeyError."""
        sensor = self.model.sensor(name)
        first = int(sensor.adr[0])
        return self._sensors[:, first : first + int(sensor.dim[0])]

    def joints(self, *names: str) -> NDArray[np.int64]:
        """Columns of `qpos` of joints with one number each. Raises KeyError."""
        return np.array([self.model.joint(name).qposadr[0] for name in names], dtype=np.int64)

    def speeds(self, *names: str) -> NDArray[np.int64]:
        """Columns of `qvel` of the same. Raises KeyError."""
        return np.array([self.model.joint(name).dofadr[0] for name in names], dtype=np.int64)

    def jacobian(self, site: str, rows: NDArray[np.int64] | None = None) -> tuple[Floats, Floats]:
        """(n, 3, nv) of a site's position, and (n, 3, nv) of its orientation, at the state as it is now. Raises KeyError."""
        entry = self.model.site(site)
        points = self._sites[:, entry.id] if rows is None else self._sites[rows, entry.id]
        position, rotation = self.batch.jac(int(entry.bodyid[0]), points, rows)
        return position, rotation

    def load(self, world: int, data: mujoco.MjData) -> mujoco.MjModel:
        """Put one world into `data`, for cameras. Returns its model, which is the shared one unless fields were made its own."""
        self.batch.get_data(world, data)
        if not self.own_model:
            return self.model
        self._copy = self.batch.get_model(world, self._copy)
        return self._copy

    def own(self, field: str) -> Floats:
        """(B, ...), a field of the model that from now on each world has of its own, to be written to."""
        self.own_model = True
        return np.asarray(self.batch.expand(field))

    def get_state(self) -> Floats:
        """(B, nstate), everything MuJoCo's future depends on, warm starts included."""
        fields = [np.asarray(self.batch.bind(name)).reshape(self.size, -1) for name in STATE]
        return np.concatenate(fields, axis=1)

    def set_state(self, saved: Floats) -> None:
        """Continue exactly from what `get_state` returned. Raises ValueError for another shape."""
        fields = [np.asarray(self.batch.bind(name)).reshape(self.size, -1) for name in STATE]
        wanted = (self.size, sum(field.shape[1] for field in fields))
        if saved.shape != wanted:
            raise ValueError(f"a state of shape {saved.shape}: this simulation's is {wanted}")
        first = 0
        for field in fields:
            field[:] = saved[:, first : first + field.shape[1]]
            first += field.shape[1]
        self.forward()


# The parts of mjSTATE_INTEGRATION that `Batch` shows as views of its state.
STATE = (
    "time",
    "qpos",
    "qvel",
    "act",
    "history",
    "qacc_warmstart",
    "ctrl",
    "qfrc_applied",
    "xfrc_applied",
    "eq_active",
    "mocap_pos",
    "mocap_quat",
    "userdata",
    "plugin_state",
    "plastic",
)

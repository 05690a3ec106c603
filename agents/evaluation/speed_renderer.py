"""MuJoCo's renderer at the size of the driving camera, as a peer for its speed.

    python -m agents.evaluation.speed_renderer 160 96 5

prints JSON: frames drawn in about 5 CPU seconds. It runs as a process of its own, for MuJoCo chooses its OpenGL when it is first imported.
The scene is a street of primitives: a plane, 20 boxes in the place of cars and houses, one sun; no shadows, reflections or multisampling.
Counted are the update of the scene, drawing, and the picture as a uint8 array; no physics. On software OpenGL, Mesa's threads are off.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from dataclasses import dataclass
from importlib.util import find_spec

__all__ = ["BOXES", "Drawn", "RenderError", "measure_mujoco", "street"]

BOXES = 20
BACKENDS = ("egl", "osmesa")  # MUJOCO_GL, in the order tried
FIELD = 53.5  # degrees from top to bottom: 80 across at 160 x 96
PATIENCE = 120.0  # s


class RenderError(RuntimeError):
    """MuJoCo cannot draw here. The message says why."""


@dataclass(frozen=True, kw_only=True)
class Drawn:
    """One measurement."""

    frames: int
    seconds: float  # CPU, of all threads
    wall: float  # s
    backend: str  # egl | osmesa
    renderer: str  # as OpenGL calls itself
    mean: float  # of all pixels, 0..255: that something was drawn


def street() -> str:
    """The scene in MuJoCo's XML, the camera on a body that can be moved."""
    cars = [(8.0 + 9.0 * i, (-1.75, 1.75)[i % 2], (2.2, 0.9, 0.75)) for i in range(BOXES // 2)]
    houses = [(6.0 + 12.0 * i, (-14.0, 14.0)[i % 2], (5.0, 4.0, 3.0 + i % 3)) for i in range(BOXES - len(cars))]
    boxes = "".join(
        f'<geom type="box" pos="{x} {y} {half[2]}" size="{half[0]} {half[1]} {half[2]}" rgba="{0.2 + 0.035 * i:.3f} 0.4 0.6 1"/>'
        for i, (x, y, half) in enumerate((*cars, *houses))
    )
    return (
        '<mujoco><visual><quality offsamples="0" shadowsize="0"/></visual><worldbody>'
        '<light directional="true" pos="0 0 50" dir="0.3 0.2 -1" castshadow="false"/>'
        f'<geom type="plane" size="300 300 1" rgba="0.35 0.35 0.36 1"/>{boxes}'
        f'<body name="eye" mocap="true"><camera name="front" fovy="{FIELD}"/></body></worldbody></mujoco>'
    )


def measure_mujoco(*, width: int, height: int, seconds: float) -> Drawn:
    """Frames of one thread, by EGL or else OSMesa. Raises RenderError with the reason if neither draws."""
    if find_spec("mujoco") is None:
        raise RenderError("MuJoCo is not installed: pip install 'closedloop[bench]'")
    reasons = []
    for backend in BACKENDS:
        settings = {"MUJOCO_GL": backend, "PYOPENGL_PLATFORM": backend, "LP_NUM_THREADS": "0", "OMP_NUM_THREADS": "1"}
        line = [sys.executable, "-m", "agents.evaluation.speed_renderer", str(width), str(height), str(seconds)]
        try:
            done = subprocess.run(line, env=os.environ | settings, capture_output=True, text=True, timeout=PATIENCE + 20.0 * seconds)
        except subprocess.TimeoutExpired:
            reasons.append(f"{backend}: no answer in {PATIENCE + 20.0 * seconds:g} s")
            continue
        if done.returncode == 0:
            told = Drawn(backend=backend, **json.loads(done.stdout.splitlines()[-1]))
            if told.mean > 0.0:
                return told
            reasons.append(f"{backend}: every picture is black")
        else:
            reasons.append(f"{backend}: {(done.stderr.strip().splitlines() or ['it ended without a word'])[-1]}")
    raise RenderError("MuJoCo cannot draw here (" + "; ".join(reasons) + ")")


def _draw(width: int, height: int, seconds: float) -> dict[str, object]:
    import mujoco
    import numpy as np
    from OpenGL import GL

    model = mujoco.MjModel.from_xml_string(street())
    data = mujoco.MjData(model)
    data.mocap_quat[0] = [0.5, 0.5, -0.5, -0.5]  # the camera's -z, along which it looks, to +x
    renderer = mujoco.Renderer(model, height, width)
    for flag in (mujoco.mjtRndFlag.mjRND_SHADOW, mujoco.mjtRndFlag.mjRND_REFLECTION):
        renderer.scene.flags[flag] = 0
    total = 0.0

    def frame(i: int) -> float:
        data.mocap_pos[0] = [0.25 * (i % 200), 0.0, 1.45]
        mujoco.mj_kinematics(model, data)
        mujoco.mj_camlight(model, data)
        renderer.update_scene(data, camera="front")
        return float(np.asarray(renderer.render())[::16, ::16].mean())

    for i in range(5):
        frame(i)
    begun, wall, frames = time.process_time(), time.perf_counter(), 0
    while time.process_time() - begun < seconds and time.perf_counter() - wall < 10.0 * seconds:
        total += frame(frames)
        frames += 1
    return {
        "frames": frames,
        "seconds": time.process_time() - begun,
        "wall": time.perf_counter() - wall,
        "renderer": bytes(GL.glGetString(GL.GL_RENDERER)).decode(errors="replace"),
        "mean": total / max(frames, 1),
    }


if __name__ == "__main__":
    print(json.dumps(_draw(int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3]))))

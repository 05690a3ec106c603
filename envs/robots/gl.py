"""OpenGL without a screen: EGL, and OSMesa where that does not work.

`MUJOCO_GL` (egl, osmesa, glfw) decides where it is set. Otherwise EGL is tried first: it finds a graphics card if there is one, and Mesa
renders in software if not.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from importlib import import_module
from typing import Any, NamedTuple

from envs.checks import ConfigError, unknown

__all__ = ["NoRenderer", "Renderer", "describe", "offscreen"]

WAYS = ("egl", "osmesa")
PACKAGES = "on Debian and Ubuntu: apt install libegl1 libgl1-mesa-dri (or libosmesa6); on Fedora: dnf install mesa-libEGL mesa-dri-drivers"
SOFTWARE = ("llvmpipe", "softpipe", "swrast", "software")  # names of Mesa's renderers that run on the CPU


class NoRenderer(RuntimeError):
    """No way to render works. The message says what was tried and which packages to install."""


class Renderer(NamedTuple):
    """What pictures are made with."""

    way: str  # egl, osmesa or glfw
    name: str  # as OpenGL gives it
    software: bool  # on the CPU


def offscreen(width: int, height: int) -> tuple[Any, str]:
    """An OpenGL context that is current now, and the way it was made. Raises NoRenderer, or ConfigError for an unknown `MUJOCO_GL`.

    `MUJOCO_GL` is set to that way: MuJoCo's own part looks there to find OpenGL's functions.
    """
    asked = os.environ.get("MUJOCO_GL", "").strip().lower()
    if asked and asked not in (*WAYS, "glfw"):
        raise ConfigError(unknown("MUJOCO_GL", asked, (*WAYS, "glfw")))
    failures = []
    for way in (asked,) if asked else WAYS:
        try:
            context = _maker(way)(width, height)
            context.make_current()
            os.environ["MUJOCO_GL"] = way
        except Exception as error:  # whatever a driver that is missing or broken makes of it
            failures.append(f"{way}: {type(error).__name__}: {error}")
            _forget()
        else:
            return context, way
    raise NoRenderer(f"no renderer works ({'; '.join(failures)}). Install one: {PACKAGES}")


def _maker(way: str) -> Callable[[int, int], Any]:
    maker: Callable[[int, int], Any] = import_module(f"mujoco.{way}").GLContext
    return maker


def _forget() -> None:
    """Unload PyOpenGL: it is bound to one platform when it is imported, so that another one could not be tried."""
    for name in [
        name for name in sys.modules if name.partition(".")[0] == "OpenGL" or name in ("mujoco.egl", "mujoco.egl.egl_ext", "mujoco.osmesa")
    ]:
        del sys.modules[name]
    os.environ.pop("PYOPENGL_PLATFORM", None)


def describe() -> Renderer:
    """What pictures are made with on this machine. Raises NoRenderer."""
    context, way = offscreen(16, 16)
    try:
        name = import_module("OpenGL.GL").glGetString(0x1F01)  # GL_RENDERER
        text = name.decode(errors="replace") if name else "unknown"
    finally:
        context.free()
    return Renderer(way, text, way == "osmesa" or any(part in text.lower() for part in SOFTWARE))

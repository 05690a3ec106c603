"""Whether torch.compile can work here: it needs a C++ compiler, and says so only deep in a simulation."""

from __future__ import annotations

import os
import shutil

import click

__all__ = ["compiler", "require_compiler"]


def compiler() -> str | None:
    """The path of the C++ compiler that torch.compile would use; None: there is none."""
    names = (os.environ.get("CXX", ""), "g++", "clang++")
    return next((path for path in (shutil.which(name) for name in names if name) if path), None)


def require_compiler(wanted: bool) -> None:
    """Raise UsageError if compiling is wanted and cannot be done."""
    if wanted and compiler() is None:
        raise click.UsageError("--compile needs a C++ compiler: install g++ or clang++ (or name one in CXX), or leave --compile out")

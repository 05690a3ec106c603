"""What torch can do here, asked before a command begins: compile, which needs a C++ compiler, and compute on a device."""

from __future__ import annotations

import os
import shutil

import click

__all__ = ["checked_device", "compiler", "require_compiler"]


def compiler() -> str | None:
    """The path of the C++ compiler that torch.compile would use; None: there is none."""
    names = (os.environ.get("CXX", ""), "g++", "clang++")
    return next((path for path in (shutil.which(name) for name in names if name) if path), None)


def require_compiler(wanted: bool) -> None:
    """Raise UsageError if compiling is wanted and cannot be done."""
    if wanted and compiler() is None:
        raise click.UsageError("--compile needs a C++ compiler: install g++ or clang++ (or name one in CXX), or leave --compile out")


def checked_device(name: str) -> None:
    """Raises click.UsageError unless torch can compute on `name` here."""
    import torch

    try:
        torch.zeros(1, device=name).item()  # `meta` has no numbers
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise click.UsageError(f"--device {name}: torch cannot compute on it here: {str(error).splitlines()[0]}") from None

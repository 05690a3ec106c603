"""Acting and judging: policies, learning, evaluation, playback and the command line. Importing this package imports no torch."""

from __future__ import annotations

__all__ = ["__version__"]

__version__ = "0.1.0"

"""Faults for `benchmarks.gate_faults`, by what they break."""

from benchmarks.faults import files, running
from benchmarks.faults.common import BRIEF, FAULTS, SUITE, Fault, compare

__all__ = ["BRIEF", "FAULTS", "SUITE", "Fault", "compare", "files", "running"]

"""What happens: scenarios as YAML files with distributions, suites of them, and the concrete episodes drawn from them.

    import scenarios
    merge = scenarios.load("merge/hard")           # or a path; ScenarioError lists everything that is wrong with the file
    episode = scenarios.sample(merge, seed=7)      # plain numpy: a road network, agents, a goal
    scenarios.names()                              # the library
    scenarios.load_suite("driving")

Importing this package is cheap: pydantic, the YAML parser and the road builders come when first used; torch never does.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from scenarios.checks import check, crowded
    from scenarios.episode import AgentSpec, Driver, Episode, Goal, Role
    from scenarios.errors import Problem, ScenarioError
    from scenarios.kinds import KIND_SPECS, Kind, KindSpec
    from scenarios.loader import Scenario, load, load_text, names
    from scenarios.network import Lane, RoadNetwork
    from scenarios.sampling import sample
    from scenarios.suites_io import Suite, SuiteEntry, SuiteMetric, SuiteTask, is_suite, load_suite, suite_names

__all__ = [
    "KIND_SPECS", "AgentSpec", "Driver", "Episode", "Goal", "Kind", "KindSpec", "Lane", "Problem", "RoadNetwork", "Role", "Scenario",
    "ScenarioError", "Suite", "SuiteEntry", "SuiteMetric", "SuiteTask", "check", "crowded", "is_suite", "load", "load_suite", "load_text",
    "names", "sample", "suite_names",
]  # fmt: skip

_HOMES = {
    "checks": ("check", "crowded"),
    "episode": ("AgentSpec", "Driver", "Episode", "Goal", "Role"),
    "errors": ("Problem", "ScenarioError"),
    "kinds": ("KIND_SPECS", "Kind", "KindSpec"),
    "loader": ("Scenario", "load", "load_text", "names"),
    "network": ("Lane", "RoadNetwork"),
    "sampling": ("sample",),
    "suites_io": ("Suite", "SuiteEntry", "SuiteMetric", "SuiteTask", "is_suite", "load_suite", "suite_names"),
}
_HOME = {name: module for module, exported in _HOMES.items() for name in exported}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'scenarios' has no attribute '{name}'")
    value = getattr(import_module(f"scenarios.{_HOME[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(set(globals()) | set(__all__))

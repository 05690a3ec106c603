"""Faults of what runs: processes, policies, and results."""

from __future__ import annotations

import ctypes
import math
import multiprocessing
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from agents.evaluation import jobs, rollout
from agents.gate import drive as drive_module
from agents.gate import explain, journal
from agents.gate import run as run_module
from agents.policies import baselines
from agents.policies.base import PolicyNeeds
from benchmarks.faults.common import compare, fault

FORK = multiprocessing.get_context("fork")

# ---------------------------------------------------------------- processes


def _kill(when: int, number: int, how: int, *, forked: bool = True) -> None:
    """When the journal gets its record `when`, send `how` to so many processes."""
    if forked:  # as spawned ones, but they are there at once
        jobs.multiprocessing.get_context = lambda method: FORK  # type: ignore[attr-defined, assignment]
    append, count = journal.Journal.append, [0]

    def counting(self: journal.Journal, body: dict[str, Any]) -> None:
        append(self, body)
        count[0] += 1
        if count[0] == when:
            for child in multiprocessing.active_children()[:number]:
                assert child.pid is not None
                os.kill(child.pid, how)

    journal.Journal.append = counting  # type: ignore[method-assign]


def _dying(name: str, when: int, number: int, how: int, says: str, forked: bool = True) -> None:
    @fault("process", name, says)
    def run(folder: Path) -> int:
        _kill(when, number, how, forked=forked)
        return compare(folder, workers=2)


_dying("kill -9 a worker, freshly started interpreter", 1, 1, signal.SIGKILL, "died of SIGKILL", forked=False)
_dying("kill -9 a worker after the first result", 1, 1, signal.SIGKILL, "died of SIGKILL")
_dying("kill -9 all workers after the third result", 3, 9, signal.SIGKILL, "died of SIGKILL")
_dying("kill -9 a worker in the middle", 8, 1, signal.SIGKILL, "died of SIGKILL")
_dying("segmentation fault of a worker", 2, 1, signal.SIGSEGV, "died of SIGSEGV")
_dying("a worker aborts", 2, 1, signal.SIGABRT, "died of SIGABRT")
_dying("a worker is terminated by somebody", 2, 1, signal.SIGTERM, "died of exit code 143")


@fault("process", "every worker that gets one scenario is killed", "its process died twice, at last by SIGKILL")
def _(folder: Path) -> int:
    _kill(0, 0, 0)
    give = jobs._Process.give

    def deadly(self: jobs._Process, job: jobs.Job) -> None:
        give(self, job)
        if job.name == "brief/easy":
            assert self.process.pid is not None
            os.kill(self.process.pid, signal.SIGKILL)

    jobs._Process.give = deadly  # type: ignore[method-assign]
    return compare(folder, workers=2)


# ---------------------------------------------------------------- policies


class Odd:
    """Drives straight on; `what` happens to its actions."""

    name = "odd"
    needs = PolicyNeeds(action="continuous")
    what: Callable[[torch.Tensor, torch.Tensor, torch.Tensor], Any]

    def act(self, observation: Any, *, seed: torch.Tensor, step: torch.Tensor) -> Any:
        """As asked."""
        return type(self).what(torch.zeros(len(seed), 1, 2), seed, step)


def _odd(name: str, says: str, what: Callable[..., Any], *, side: str = "candidate", workers: int = 1) -> None:
    @fault("policy", name, says)
    def run(folder: Path) -> int:
        if workers > 1:
            _kill(0, 0, 0)
        Odd.what = staticmethod(what)  # type: ignore[method-assign, assignment]
        baselines.BASELINES["odd"] = Odd  # type: ignore[assignment]
        return compare(folder, workers=workers, **{side: "odd"})  # type: ignore[arg-type]


def _put(value: float, component: int, only: int = 0) -> Callable[..., Any]:
    def act(action: torch.Tensor, seed: torch.Tensor, step: torch.Tensor) -> torch.Tensor:
        action[(seed % 3 == only) & (step == 4), :, component] = value
        return action

    return act


def _raise(error: BaseException, tick: int = 0) -> Callable[..., Any]:
    def act(action: torch.Tensor, seed: torch.Tensor, step: torch.Tensor) -> torch.Tensor:
        if int(step.max()) >= tick:
            raise error
        return action

    return act


_odd("acceleration that is no number", "action is not finite at tick 4", _put(math.nan, 0))
_odd("steering that is no number", "action is not finite at tick 4", _put(math.nan, 1))
_odd("infinite acceleration", "action is not finite at tick 4", _put(math.inf, 0))
_odd("no number from the baseline", "lost: baseline", _put(math.nan, 0), side="baseline")
_odd("raises at once", "RuntimeError: out of ideas", _raise(RuntimeError("out of ideas")))
_odd("raises on the way", "ZeroDivisionError", _raise(ZeroDivisionError("division by zero"), tick=6))
_odd("runs out of memory", "MemoryError", _raise(MemoryError("no room for 3 GiB")))
_odd("leaves the program with success", "SystemExit: 0", _raise(SystemExit(0)))
_odd("answers for too few worlds", "returned actions of shape", lambda action, seed, step: action[1:])
_odd("answers nothing", "AttributeError", lambda action, seed, step: None)
_odd("ends its process with success", "died of exit code 0", lambda action, seed, step: os._exit(0), workers=2)
_odd("reads where there is no memory", "died of SIGSEGV", lambda action, seed, step: ctypes.string_at(0), workers=2)


# ---------------------------------------------------------------- results


def _results(name: str, says: str, change: Callable[[dict[str, float]], object], candidate: str = "candidate") -> None:
    @fault("result", name, says)
    def run(folder: Path) -> int:
        record = run_module.record_of

        def changed(result: Any) -> dict[str, Any]:
            found = record(result)
            if result.policy == candidate and result.seed == 2:
                change(found["metrics"])
            return found

        run_module.record_of = drive_module.record_of = changed  # type: ignore[assignment]
        return compare(folder)


_results("a figure that is no number", "not a finite", lambda metrics: metrics.update(success=None))  # type: ignore[arg-type]
_results("a figure missing", "has no", lambda metrics: metrics.pop("route_progress"))
_results("a figure that cannot be", "between", lambda metrics: metrics.update(route_progress=7.0))


@fault("result", "the results of a whole job do not come back", "no result came back")
def _(folder: Path) -> int:
    whole = drive_module.drive

    def forgetful(todo: Any, **options: Any) -> None:
        whole([job for job in todo if (job.label, job.name) != ("candidate", "brief/easy")], **options)

    drive_module.drive = forgetful
    return compare(folder)


@fault("result", "the simulator raises in one batch", "RuntimeError: singular")
def _(folder: Path) -> int:
    step, count = rollout.DrivingSim.step, [0]

    def broken(self: Any, action: Any) -> Any:
        count[0] += 1
        if count[0] == 30:
            raise RuntimeError("singular matrix")
        return step(self, action)

    rollout.DrivingSim.step = broken  # type: ignore[method-assign]
    return compare(folder)


@fault("result", "a candidate that does not repeat itself", "did not go the same way to the last bit")
def _(folder: Path) -> int:
    drawn = iter(range(10**6))

    def whim(action: torch.Tensor, seed: torch.Tensor, step: torch.Tensor) -> torch.Tensor:
        action[..., 0] = -1.0 + 1e-3 * next(drawn)
        return action

    Odd.what = staticmethod(whim)  # type: ignore[method-assign, assignment]
    baselines.BASELINES["odd"] = Odd  # type: ignore[assignment]
    return compare(folder, "--full", candidate="odd")


@fault("result", "explaining crashes after a pass", "could not be explained")
def _(folder: Path) -> int:
    def broken(*_: Any, **__: Any) -> Any:
        raise RuntimeError("no idea")

    explain.explain = broken
    return compare(folder)

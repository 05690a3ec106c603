"""Parts of an evaluation: one after the other in this process, or spread over others, which may die without taking a result with them.

Every result leaves its process as soon as its episode has ended, so what is done is kept whatever happens to the rest.
"""

from __future__ import annotations

import multiprocessing
import signal
import sys
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from multiprocessing import resource_tracker
from multiprocessing.connection import wait
from typing import Any, Protocol

import torch

from agents.evaluation.domains import load_task_policy, rollout_task, task_of
from agents.evaluation.rollout import BATCH, WIDE, EpisodeResult, TraceRule, fitting_batch, rollout
from agents.policies.base import load_policy
from scenarios import load, sample

__all__ = ["Crew", "Died", "Job", "Worker", "drive", "lost", "run_job"]

Keep = Callable[[EpisodeResult], None]
OnDeath = Callable[["Job", str], None]
PATIENCE = 5.0  # s for a process to leave when asked
TERMINATED = 128 + signal.SIGTERM  # exit code of one that was asked


@dataclass(frozen=True, kw_only=True)
class Job:
    """A part of a plan for one policy, small enough to send to another process."""

    policy: str  # as load_policy takes it
    label: str  # what results call it
    scenario: str  # as scenarios.load takes it, or `task:` and the name of a task
    name: str  # what results call it
    seeds: tuple[int, ...]
    traces: TraceRule
    compile: bool = False  # run the simulator under torch.compile
    account: bool = False  # tell what collisions were with
    fingerprints: bool = False  # take the fingerprint of every episode
    device: str = "cpu"  # where worlds and policy live
    again: bool = False  # the process that had it has died


def drive(jobs: Sequence[Job], *, workers: int, keep: Keep, died: OnDeath | None = None, crew: Crew | None = None) -> None:
    """Call `keep` once with the result of every episode of the jobs, as they end; `died` with the job and the cause when a process dies.

    crew: who does them; by default processes of this machine, or this process itself where one is enough.

    An exception costs the episodes that its job still had. Those of a process that died are driven once more in a fresh one; if that dies
    too they are lost. Lost episodes have `end` "error". On KeyboardInterrupt, and on any other way out, no process stays behind.
    """
    if crew is None and (workers == 1 or len(jobs) == 1):
        for job in jobs:
            run_job(job, keep)
    else:
        _spread(jobs, workers, crew or _Processes(), keep, died)


def lost(job: Job, seed: int, why: str) -> EpisodeResult:
    """The result of an episode without one."""
    return EpisodeResult(policy=job.label, scenario=job.name, seed=seed, end="error", error=why)


def run_job(job: Job, keep: Keep) -> None:
    """Draw the episodes of a job and drive them."""
    left = dict.fromkeys(job.seeds)
    task = task_of(job.scenario)

    def tell(result: EpisodeResult) -> None:
        del left[result.seed]
        keep(result)

    try:
        if task:
            rollout_task(load_task_policy(job.policy, task), task, job.seeds, name=job.label, progress=tell)
            return
        policy, scenario, episodes = load_policy(job.policy, changed="ignore"), load(job.scenario), []  # told by who judges
        for seed in job.seeds:
            try:
                episodes.append(sample(scenario, seed))
            except Exception as error:
                tell(lost(job, seed, f"the episode could not be drawn: {type(error).__name__}: {error}"))
        fitting = BATCH if job.compile else fitting_batch(policy, len(episodes))  # the bits do not depend on it, the time does
        batch = fitting if job.device == "cpu" else WIDE
        rollout(
            policy, episodes, batch=batch, name=job.label, traces=job.traces, account=job.account, progress=tell, compile=job.compile,
            fingerprints=job.fingerprints, device=job.device,
        )  # fmt: skip
    except (Exception, SystemExit) as error:
        if isinstance(error, SystemExit) and error.code == TERMINATED:
            raise  # that was not the policy, but whoever started this process
        for seed in list(left):
            tell(lost(job, seed, f"{type(error).__name__}: {error}"))


class Died(Exception):
    """A worker is gone. The message says of what."""


class Worker(Protocol):
    """Somebody elsewhere who does one job after the other. `left`: seeds of the job of which no result has come yet."""

    job: Job
    left: set[int]

    def give(self, job: Job) -> None:
        """The next job, when the one before is done."""
        ...

    def take(self) -> EpisodeResult | None:
        """The next result; None: the job is done. Raises Died."""
        ...

    def stop(self) -> None:
        """It is needed no longer, whatever it is doing."""
        ...


class Crew(Protocol):
    """Where workers come from: processes of this machine, or a cluster."""

    def start(self, job: Job) -> Worker:
        """A new worker, with its first job."""
        ...

    def ready(self, workers: Sequence[Worker]) -> list[Worker]:
        """Those of the workers who have something to tell; waits until one has."""
        ...


class _Process:
    """A process of one thread. Implements `Worker`."""

    def __init__(self, job: Job) -> None:
        context = multiprocessing.get_context("spawn")  # torch's threads do not survive a fork
        self.pipe, theirs = context.Pipe()
        self.process = context.Process(target=_serve, args=(theirs,), daemon=True)
        resource_tracker.ensure_running()  # the first process would start it, which lets the blocked signal through again
        before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})  # inherited: Ctrl-C is for this process alone
        try:
            self.process.start()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
        theirs.close()
        self.give(job)

    def give(self, job: Job) -> None:
        self.job, self.left = job, set(job.seeds)
        try:
            self.pipe.send(job)
        except OSError:
            pass  # it has died: reading will say so

    def take(self) -> EpisodeResult | None:
        try:
            result: EpisodeResult | None = self.pipe.recv()
        except (EOFError, OSError):
            self.process.join(PATIENCE)
            self.stop()
            code = self.process.exitcode or 0
            raise Died(signal.Signals(-code).name if code < 0 else f"exit code {code}") from None
        return result

    def stop(self) -> None:
        self.pipe.close()
        self.process.terminate()
        self.process.join(PATIENCE)
        if self.process.is_alive():
            self.process.kill()
            self.process.join()


class _Processes:
    """Processes of this machine. Implements `Crew`."""

    def start(self, job: Job) -> Worker:
        return _Process(job)

    def ready(self, workers: Sequence[Worker]) -> list[Worker]:
        by_pipe: dict[Any, Worker] = {worker.pipe: worker for worker in workers if isinstance(worker, _Process)}
        return [by_pipe[pipe] for pipe in wait(list(by_pipe))]


def _spread(jobs: Sequence[Job], workers: int, crew: Crew, keep: Keep, died: OnDeath | None) -> None:
    waiting = deque(jobs)
    busy: list[Worker] = []

    def start() -> None:
        busy.append(crew.start(waiting.popleft()))

    try:
        while len(busy) < workers and waiting:
            start()
        while busy:
            for worker in crew.ready(busy):
                try:
                    result = worker.take()
                except Died as death:
                    busy.remove(worker)
                    _bury(worker, str(death), waiting, keep)
                    if died:
                        died(worker.job, str(death))
                    if waiting:
                        start()
                    continue
                if result is not None:
                    worker.left.discard(result.seed)
                    keep(result)
                elif waiting:
                    worker.give(waiting.popleft())
                else:
                    busy.remove(worker)
                    worker.stop()
    finally:
        for worker in busy:
            worker.stop()


def _bury(worker: Worker, cause: str, waiting: deque[Job], keep: Keep) -> None:
    """What a worker that died had still to do waits again, if this was the first time."""
    job = worker.job
    rest = tuple(seed for seed in job.seeds if seed in worker.left)
    if rest and not job.again:
        waiting.append(replace(job, seeds=rest, again=True))
        return
    for seed in rest:
        keep(lost(job, seed, f"its process died twice, at last by {cause}"))


def _serve(pipe: Any) -> None:
    """What a process does: jobs come in, their results and, after each job, None go out."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for whoever asked
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(TERMINATED))  # leaves tidily, without half-written files
    torch.set_num_threads(1)
    try:
        while True:
            run_job(pipe.recv(), pipe.send)
            pipe.send(None)
    except (EOFError, OSError):
        pass  # whoever asked has gone
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)  # it is leaving: an exception among Python's last steps would only be printed

"""Jobs on a Ray cluster, by the same protocol as on the processes of this machine: `pip install 'closedloop[cluster]'`.

RAY_ADDRESS names the cluster; without it the one that runs on this machine is joined, or one of this machine alone is started. Policies and
scenarios are read where the work is done, so files have to lie in the same folders on every machine, and closedloop has to be installed
there in the same version. A machine on which that is not so drives nothing: its episodes are lost by name.

A job is a Ray task that gives its results one by one. What becomes of a job whose process dies is for `agents.evaluation.jobs` to decide,
so Ray itself does not try again.
"""

from __future__ import annotations

import os
import threading
import warnings
from collections.abc import Iterator, Sequence
from functools import cache
from queue import SimpleQueue
from typing import Any

from agents.evaluation.jobs import Died, Job, Worker, lost, run_job
from agents.evaluation.report import versions
from agents.evaluation.rollout import EpisodeResult

__all__ = ["RayCrew"]

NEEDS = ("closedloop", "torch", "numpy", "cpu", "code")  # what has to be the same on all machines


class RayCrew:
    """A Ray cluster. Implements `agents.evaluation.jobs.Crew`. Use as a context manager."""

    def __init__(self) -> None:
        """Join or start it. Raises ModuleNotFoundError without Ray; ConnectionError, which names the address, if it is not there."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Ray's own, about its versions to come
            import ray

            self.ray = ray
            self.joined = ray.is_initialized()  # by somebody else, who will leave it
            if not self.joined:
                ray.init(log_to_driver=False, logging_level="error", include_dashboard=False if "RAY_ADDRESS" not in os.environ else None)
        self.size = max(1, int(ray.cluster_resources().get("CPU", 1)))  # processes at once
        self.task = ray.remote(num_cpus=1, max_retries=0)(_work)

    def start(self, job: Job) -> Worker:
        """A worker is a place in the queue of the cluster; Ray keeps its processes between jobs."""
        return _Task(self, job)

    def ready(self, workers: Sequence[Worker]) -> list[Worker]:
        """Waits."""
        by_stream: dict[Any, Worker] = {worker.stream: worker for worker in workers if isinstance(worker, _Task)}
        there, _ = self.ray.wait(list(by_stream), num_returns=1, fetch_local=False)
        return [by_stream[stream] for stream in there]

    def __enter__(self) -> RayCrew:
        return self

    def __exit__(self, *_: object) -> None:
        if not self.joined:
            self.ray.shutdown()


class _Task:
    """One job after the other on a cluster. Implements `Worker`."""

    def __init__(self, crew: RayCrew, job: Job) -> None:
        self.crew = crew
        self.give(job)

    def give(self, job: Job) -> None:
        self.job, self.left = job, set(job.seeds)
        self.stream = self.crew.task.options(num_returns="streaming").remote(job, os.getcwd(), _machine())

    def take(self) -> EpisodeResult | None:
        try:
            result: EpisodeResult = self.crew.ray.get(next(self.stream))
        except StopIteration:
            return None
        except self.crew.ray.exceptions.RayError as error:
            raise Died(type(error).__name__ + f": {str(error).strip().splitlines()[-1]}" * bool(str(error).strip())) from None
        return result

    def stop(self) -> None:
        self.crew.ray.cancel(self.stream, force=True)


def _work(job: Job, folder: str, asked: dict[str, str]) -> Iterator[EpisodeResult]:
    """What a process of the cluster does: results as they come. folder: to which paths are relative; asked: `_machine` of who asks."""
    mine = _machine()
    other = [f"{name} {mine[name]} there, {asked[name]} here" for name in NEEDS if mine[name] != asked[name]]
    other += [] if os.path.isdir(folder) else [f"no folder {folder} there"]
    if other:
        yield from (lost(job, seed, f"{mine['host']} cannot drive it: {'; '.join(other)}") for seed in job.seeds)
        return
    os.chdir(folder)
    results: SimpleQueue[EpisodeResult | None] = SimpleQueue()

    def drive() -> None:
        import torch

        torch.set_num_threads(1)
        try:
            run_job(job, results.put)
        finally:
            results.put(None)

    threading.Thread(target=drive, daemon=True).start()  # `run_job` tells, Ray wants to be handed
    while (result := results.get()) is not None:
        yield result


@cache
def _machine() -> dict[str, str]:
    """What decides whether results of this machine may stand beside those of another."""
    import platform

    import torch

    from agents.gate.plan import code_digest

    cpu = torch.backends.cpu.get_cpu_capability()
    return {**versions(), "cpu": cpu, "code": code_digest()[:12], "host": platform.node()}

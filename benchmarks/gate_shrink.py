"""How small planted failures become, and for how many simulations: python -m benchmarks.gate_shrink

Policies with planted faults (`agents.policies.perturbed`) drive beside themselves without; of the seeds on which only the faulty one fails,
the first few of each scenario are made small as `closedloop compare --shrink` does. Counted are simulations (one episode driven by one
policy), other road users left, and files that still do what they should when loaded and driven by both: the candidate fails in the same
class, the baseline passes. Prints a table and writes benchmarks/results/gate-shrink-DATE.json.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from datetime import date
from pathlib import Path
from typing import Any

import torch

from agents.evaluation.report import versions
from agents.evaluation.rollout import TraceRule, fitting_batch, rollout
from agents.gate.explain import BUDGET, Planted, shrink_all
from agents.gate.failures import failure_of
from agents.gate.report import Minimal
from agents.playback.trace import Trace
from agents.policies.base import load_policy
from scenarios import load, sample
from scenarios.files import write_atomic

RESULTS = Path(__file__).parent / "results"
# baseline, candidate, scenarios, failures of each scenario at most
PLANTS = (
    ("merge", "merge~blind=front", ("merge", "merge/hard", "cut_in"), 5),
    ("merge", "merge~steer_bias=0.1", ("merge",), 5),
)
SEEDS = 12  # of each scenario


def planted(baseline: str, candidate: str, names: tuple[str, ...], most: int, folder: Path) -> list[Planted]:
    """Failures of the candidate where the baseline passes."""
    policies, found = (load_policy(candidate), load_policy(baseline)), []
    for name in names:
        episodes = [sample(load(name), seed) for seed in range(SEEDS)]
        mine = rollout(policies[0], episodes, batch=fitting_batch(policies[0], SEEDS), traces=TraceRule(folder=folder, failures_only=True))
        failed = [(episode, result) for episode, result in zip(episodes, mine, strict=True) if result.trace]
        theirs = rollout(policies[1], [episode for episode, _ in failed], batch=fitting_batch(policies[1], len(failed)))
        lost = [result for (_, result), other in zip(failed, theirs, strict=True) if not failure_of(other.end, other.metrics)]
        print(f"{candidate} on {name}: {len(failed)} of {SEEDS} fail, {len(lost)} of them where {baseline} passes", flush=True)
        for result in lost[:most]:
            label = "".join(c if c.isalnum() else "-" for c in f"{name}-{result.seed}")
            found.append(
                Planted(
                    spec=name, seed=result.seed, failure=failure_of(result.end, result.metrics), trace=Trace.load(result.trace), name=label
                )
            )
    return found


def main() -> None:
    """Plant, shrink, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--most", type=int, help="failures of each scenario at most")
    parser.add_argument("--out", type=Path, default=RESULTS / f"gate-shrink-{date.today().isoformat()}.json")
    parser.add_argument("--folder", type=Path, help="where the small scenarios go; left out: nowhere")
    given = parser.parse_args()
    torch.set_num_threads(1)
    said: list[tuple[str, Minimal]] = []
    begun = time.perf_counter()
    with tempfile.TemporaryDirectory() as temporary:
        for baseline, candidate, names, most in PLANTS:
            found = planted(baseline, candidate, names, given.most or most, Path(temporary))
            folder = (given.folder or Path(temporary)) / candidate.replace("~", "-").replace("=", "-")
            said += [(candidate, minimal) for minimal in shrink_all(found, candidate, baseline, folder)]
    figures: dict[str, Any] = {
        "failures": len(said),
        "simulations_median": statistics.median(minimal.simulations for _, minimal in said),
        "simulations_most": max(minimal.simulations for _, minimal in said),
        "others_before_median": statistics.median(minimal.others for _, minimal in said),
        "others_left_median": statistics.median(minimal.others_left for _, minimal in said),
        "others_left_two_or_fewer": sum(minimal.others_left <= 2 for _, minimal in said) / len(said),
        "others_left_most": max(minimal.others_left for _, minimal in said),
        "reproduce": sum(bool(minimal.file) and not minimal.why for _, minimal in said) / len(said),
        "thorough": sum(minimal.thorough for _, minimal in said),
    }
    for candidate, minimal in said:
        print(
            f"{candidate} {minimal.scenario} {minimal.seed}: {minimal.failure}; {minimal.others} -> {minimal.others_left} others, "
            f"{minimal.simulations} simulations; {'; '.join(minimal.unusual) or 'all usual'} {minimal.why}"
        )
    print(json.dumps(figures, indent=1))
    machine = {"cpu": torch.backends.cpu.get_cpu_capability(), "seconds": round(time.perf_counter() - begun)}
    rows = [{"candidate": candidate} | minimal.model_dump(exclude={"cluster", "command", "file"}) for candidate, minimal in said]
    result = {"budget": BUDGET, "seeds": SEEDS, "figures": figures, "versions": versions(), "machine": machine, "rows": rows}
    write_atomic(given.out, json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()

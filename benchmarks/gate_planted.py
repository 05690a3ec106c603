"""Regressions planted in shipped policies, and what the gate makes of them: python -m benchmarks.gate_planted

Each row is a real `closedloop compare`: what a policy does without the fault is driven once and kept (`--update-baseline`), then each
candidate is compared with that. A regression counts as caught if the gate ends with 1 and names the family and the metric that the fault
should show in. Faults that do the policy no harm that so many episodes could show are listed with what was measured, and the sizes from
which they are caught beside them. `noisy` is the error model that was fitted to the shipped detector, with tracker and latency, but without
the cameras. Prints a table and writes benchmarks/results/gate-planted-DATE.json;
`--only WORD` drives those rows and keeps the others that are in the file.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import torch

from agents.evaluation.report import versions
from scenarios.files import write_atomic

RESULTS = Path(__file__).parent / "results"
SUITE = """
version: 1
name: {name}
seed: 200000
metrics:
{metrics}
entries:
"""
USUAL = {"collision_at_fault": (0.08, 1), "off_road": (0.08, 1), "success": (0.10, 2), "lane_offset": (0.10, 2)}  # margin, priority
FINE = {"collision_at_fault": (0.08, 1), "speed_ok": (0.03, 1), "lane_offset": (0.10, 2)}
ROLES = ("baseline", "candidate")
SUITES = {  # metrics, and entries of the suites `smoke` and `nightly` with budgets for one core
    "ramps": (USUAL, {"merge": 64, "lane_keep": 64}),
    "lanes": (USUAL, {"cut_in": 64, "lane_keep": 64}),
    "circle": (FINE, {"roundabout/hard": 192}),
    "late": ({"collision_at_fault": (0.05, 1), "ttc_min": (0.05, 1)}, {"merge/hard": 320}),
    "swerves": (
        {"collision_at_fault": (0.08, 1), "off_road": (0.08, 1), "success": (0.10, 2)},
        {"cut_in": 64, "cut_in/hard": 128, "merge": 64},
    ),
    "seeing": ({"collision_at_fault": (0.08, 1), "success": (0.10, 2), "ttc_min": (0.10, 2)}, {"highway": 192}),
}
COMPILED = ("seeing",)  # through cameras that pays


@dataclass(frozen=True, kw_only=True)
class Plant:
    """family and metric: where the fault should show; "" if nothing should be found."""

    baseline: str
    candidate: str
    suite: str
    family: str = ""
    metric: str = ""


PLANTS = (
    Plant(baseline="merge@noisy", candidate="merge@noisy,latency=2", suite="late", family="merge", metric="ttc_min"),
    Plant(baseline="merge@noisy", candidate="merge@noisy,latency=2", suite="swerves", family="cut_in", metric="collision_at_fault"),
    Plant(
        baseline="highway_perceived", candidate="highway_perceived@perceived,latency=2", suite="seeing", family="highway", metric="success"
    ),
    Plant(baseline="merge", candidate="merge~forget=merge", suite="ramps", family="merge", metric="success"),
    Plant(baseline="merge", candidate="merge~steer_bias=0.02", suite="ramps", family="merge", metric="lane_offset"),
    Plant(baseline="merge", candidate="merge~steer_bias=0.05", suite="ramps", family="merge", metric="off_road"),
    Plant(baseline="merge~steer_bias=0.02", candidate="merge", suite="ramps"),
    Plant(baseline="highway", candidate="highway~steer_bias=0.02", suite="lanes", family="lane_keep", metric="lane_offset"),
    Plant(baseline="highway", candidate="highway~brake_limit=0.3", suite="lanes", family="cut_in", metric="collision_at_fault"),
    Plant(baseline="highway", candidate="highway~brake_limit=0.7", suite="lanes"),
    Plant(baseline="roundabout", candidate="roundabout~brake_limit=0.7", suite="circle", family="roundabout", metric="speed_ok"),
)


def suite_file(name: str, folder: Path) -> Path:
    """The suite, written out."""
    path = folder / f"{name}.yaml"
    gated, driven = SUITES[name]
    metrics = [f"  - {{metric: {metric}, margin: {margin}, priority: {priority}}}" for metric, (margin, priority) in gated.items()]
    entries = [f"  - {{scenario: {scenario}, episodes: {count}}}" for scenario, count in driven.items()]
    path.write_text(SUITE.format(name=name, metrics="\n".join(metrics)) + "\n".join(entries) + "\n")
    return path


def command(*words: str) -> tuple[int, str, float]:
    """Exit code, stdout and seconds of the command."""
    begun = time.perf_counter()
    done = subprocess.run([sys.executable, "-m", "agents.cli", "compare", *words, "--workers", "1"], stdout=subprocess.PIPE, text=True)
    return done.returncode, done.stdout, time.perf_counter() - begun


def compared(plant: Plant, folder: Path) -> dict[str, Any]:
    """Drive, and pick out of the report what the table shows."""
    suite = str(suite_file(plant.suite, folder))
    how = ("--compile",) if plant.suite in COMPILED else ()
    kept = folder / f"{plant.suite}-{plant.baseline.replace('~', '-').replace('=', '')}.json"
    if not kept.exists():
        keep = ("--baseline", str(kept), "--update-baseline", "to compare with", "--out", f"{kept}-run")
        code, _, took = command(plant.baseline, "--suite", suite, *keep, *how)
        print(f"{plant.baseline} on {plant.suite}: kept, exit {code}, {took:.0f} s", flush=True)
    out = folder / f"{len(list(folder.iterdir()))}"
    code, stdout, took = command(
        plant.candidate, "--suite", suite, "--baseline", str(kept), "--full", "--shrink", "0", "--out", str(out), "--json", *how
    )
    report = json.loads(stdout)
    found = [(f["scope"], f["metric"]) for f in report["findings"] if f["state"] == "worse"]
    scope = plant.family if any(f["scope"] == plant.family for f in report["findings"]) else "all"  # one family is the whole suite
    keys = ("scope", "metric", "state", "gain", "gain_low", "gain_high", "better", "worse", "same", "p_worse_adjusted", "found_after")
    return {
        "baseline": plant.baseline, "candidate": plant.candidate, "suite": SUITES[plant.suite][1], "exit_code": code,
        "verdict": report["verdict"],
        "expected": f"{plant.metric} in {plant.family}" if plant.metric else "", "caught": (scope, plant.metric) in found,
        "worse": [f"{metric} in {where}" for where, metric in found], "because": report["because"],
        "pairs": report["pairs_judged"], "pairs_identical": report["pairs_identical"], "seconds": round(took),
        "findings": [{key: f[key] for key in keys} | {"rates": [f[side]["value"] for side in ROLES]} for f in report["findings"]],
    }  # fmt: skip


def main() -> None:
    """Compare, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", metavar="WORD", help="rows whose candidate or suite holds this")
    parser.add_argument("--out", type=Path, default=RESULTS / f"gate-planted-{date.today().isoformat()}.json")
    given = parser.parse_args()
    rows = {
        (row["baseline"], row["candidate"], *sorted(row["suite"])): row
        for row in (json.loads(given.out.read_text())["rows"] if given.out.exists() else [])
    }
    with tempfile.TemporaryDirectory() as temporary:
        for plant in PLANTS:
            if given.only not in f"{plant.candidate} on {plant.suite}":
                continue
            row = rows[plant.baseline, plant.candidate, *sorted(SUITES[plant.suite][1])] = compared(plant, Path(temporary))
            says = f"{row['candidate']} against {row['baseline']}: {row['verdict']} ({row['exit_code']}), {row['seconds']} s"
            print(f"{says}: {row['because']}", flush=True)
            made_with = {"versions": versions(), "machine": {"cpu": torch.backends.cpu.get_cpu_capability()}}
            write_atomic(given.out, json.dumps({**made_with, "rows": list(rows.values())}, indent=1) + "\n")


if __name__ == "__main__":
    main()

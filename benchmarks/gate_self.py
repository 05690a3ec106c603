"""A policy against itself passes by hash alone, whatever the number of workers: python -m benchmarks.gate_self

`closedloop compare POLICY POLICY` on 512 pairs (1,024 episodes) of two scenarios, once with each number of workers. Counted are pairs that
are not the same to the last bit, and episodes whose fingerprints differ between the numbers of workers. Prints a table and writes
benchmarks/results/gate-self-DATE.json.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from datetime import date
from pathlib import Path
from typing import Any

import torch

from agents.evaluation.report import versions
from agents.gate.journal import read
from scenarios.files import write_atomic

RESULTS = Path(__file__).parent / "results"
SUITE = """
version: 1
name: itself
seed: 400000
metrics:
  - {metric: collision_at_fault, margin: 0.02, priority: 1}
  - {metric: success, margin: 0.02, priority: 2}
entries:
"""
ENTRIES = {"lane_keep": 256, "lane_keep/hard": 256}  # what is quick to drive


def main() -> int:
    """Drive, compare, print, write; 1 on any mismatch."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--policy", default="merge")
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2, 4])
    parser.add_argument("--share", type=float, default=1.0, help="of the episodes")
    parser.add_argument("--out", type=Path, default=RESULTS / f"gate-self-{date.today().isoformat()}.json")
    given = parser.parse_args()
    rows: list[dict[str, Any]] = []
    prints: list[dict[tuple[str, str, int], str]] = []
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        entries = [f"  - {{scenario: {name}, episodes: {max(1, round(count * given.share))}}}" for name, count in ENTRIES.items()]
        (folder / "itself.yaml").write_text(SUITE + "\n".join(entries) + "\n")
        for workers in given.workers:
            out, begun = folder / str(workers), time.perf_counter()
            command = [sys.executable, "-m", "agents.cli", "compare", given.policy, given.policy, "--suite", str(folder / "itself.yaml")]
            done = subprocess.run([*command, "--workers", str(workers), "--out", str(out), "--json"], stdout=subprocess.PIPE, text=True)
            report = json.loads(done.stdout)
            bodies, _, _ = read(out / "journal.jsonl")
            prints.append({(b["role"], b["scenario"], b["seed"]): b["fingerprint"] for b in bodies[1:]})
            keys = ("verdict", "identical", "pairs_planned", "pairs_judged", "pairs_identical", "because")
            row = {"workers": workers, "exit_code": done.returncode, **{key: report[key] for key in keys}, "episodes": len(prints[-1])}
            row["episodes_other_than_with_the_first"] = sum(prints[0].get(key) != value for key, value in prints[-1].items())
            rows.append(row | {"seconds": round(time.perf_counter() - begun)})
            print(rows[-1], flush=True)
    mismatches = sum(row["pairs_planned"] - row["pairs_identical"] + row["episodes_other_than_with_the_first"] for row in rows)
    machine = {"cpu": torch.backends.cpu.get_cpu_capability()}
    result = {
        "policy": given.policy,
        "entries": ENTRIES,
        "mismatches": mismatches,
        "versions": versions(),
        "machine": machine,
        "runs": rows,
    }
    print(f"{mismatches} mismatches")
    if given.share == 1.0:
        write_atomic(given.out, json.dumps(result, indent=1) + "\n")
    return int(mismatches > 0 or any(row["exit_code"] for row in rows))


if __name__ == "__main__":
    sys.exit(main())

"""Rally's figures from runs of `closedloop eval`: one file of them all, and what of the truth's score is left on each level.

    python -m benchmarks.rally runs/eval/a runs/eval/b --out benchmarks/results/rally-2026-11-27.json

What is left is a ratio over the same episodes: of the share of all points that is won, and of the mean return; intervals resample episodes.
"""

from __future__ import annotations

import argparse
import json
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np

from agents.evaluation.stats import of_means
from scenarios.files import write_atomic

SCORES = ("share", "return")


def left(truth: list[dict[str, Any]], level: list[dict[str, Any]]) -> dict[str, Any]:
    """Score on a level over score on the truth, by name, from results of the same seeds."""
    assert [r["seed"] for r in truth] == [r["seed"] for r in level], "other episodes"
    won, lost, back = (np.array([[r["metrics"][key] for r in rows] for rows in (truth, level)]).T for key in ("won", "lost", "return"))
    table = [np.concatenate((won, won + lost, back), axis=1)]  # (episodes, 6)
    share = of_means(table, lambda m: (m[..., 1] / m[..., 3]) / (m[..., 0] / m[..., 2]))
    gain = of_means(table, lambda m: m[..., 5] / m[..., 4])
    return dict(zip(SCORES, (share.as_dict(), gain.as_dict()), strict=True))


def main() -> None:
    """Read, compare, write and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", nargs="+", type=Path, help="of `closedloop eval --task rally`, over the same episodes")
    parser.add_argument("--out", type=Path, required=True)
    given = parser.parse_args()
    runs = [json.loads((folder / "results.json").read_text()) for folder in given.folders]
    results: dict[str, list[dict[str, Any]]] = {}
    for run in runs:
        for row in run["results"]:
            results.setdefault(row["policy"], []).append(row)
    kept = {name: left(results[name.partition("@")[0]], rows) for name, rows in results.items() if "@" in name}
    told = {
        "title": "Rally on its levels",
        "commands": [run["command"] for run in runs],
        "versions": runs[0]["versions"],
        "interval": runs[0]["interval"],
        "errors": sum(run["errors"] for run in runs),
        "table": [row for run in runs for row in run["table"]],
        "left_of_truth": kept,
        "date": date.today().isoformat(),
    }
    write_atomic(given.out, json.dumps(told, indent=1) + "\n")
    for name, scores in kept.items():
        print(name, ", ".join(f"{key} {s['value']:.3f} [{s['low']:.3f}, {s['high']:.3f}]" for key, s in scores.items()))


if __name__ == "__main__":
    main()

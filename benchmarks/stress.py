"""How much faster `closedloop stress` finds failures of IDM than random sampling does, and whether its probability is right.

    python -m benchmarks.stress --scenario junction --scenario cut_in/hard --simulations 2000 --random 6000

For every scenario: a search as the command does it, and random episodes, seeds 0, 1, ... The first as many as the search had are its rival;
all of them are the brute force that its estimate is compared with. What the command would say, with as many random episodes as simulations
for its control, is compared with the random episodes that are left. Prints the figures and writes them to
benchmarks/results/stress-DATE.json, where other scenarios that are in it stay. Takes hours of one core; what is done stands in --work, and
a second call goes on from there.
"""

from __future__ import annotations

import json
import time
from collections import Counter
from dataclasses import asdict
from datetime import date
from pathlib import Path
from typing import Any

import click
import torch

from agents.commands.output import as_json
from agents.evaluation.stats import Estimate, proportion
from agents.policies.base import load_policy
from agents.stress.importance import Probability
from agents.stress.picture import draw_stress
from agents.stress.references import default_references, load_reference
from agents.stress.report import agreement, answer, as_data, markdown
from agents.stress.run import Order, stress
from agents.stress.space import space_of
from agents.stress.trials import Driver
from benchmarks.records import RESULTS, keep
from scenarios import load
from scenarios.files import write_atomic

CHUNK = 256  # random episodes driven between two writes


@click.command()
@click.option("--policy", default="idm", show_default=True)
@click.option("--scenario", "names", multiple=True, required=True)
@click.option("--simulations", type=click.IntRange(64), default=2000, show_default=True)
@click.option("--random", "brute", type=click.IntRange(64), default=6000, show_default=True)
@click.option("--failure", "rule", default="any", show_default=True)
@click.option("--method", default="auto", show_default=True)
@click.option("--estimate", default="auto", show_default=True)
@click.option("--compile/--no-compile", "compile_", default=False)
@click.option("--work", type=click.Path(path_type=Path, file_okay=False), default=Path("runs/benchmark-stress"), show_default=True)
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False), help="[default: benchmarks/results/stress-DATE.json]")
def main(
    policy: str, names: tuple[str, ...], simulations: int, brute: int, rule: str, method: str, estimate: str, compile_: bool, work: Path,
    out: Path | None,
) -> None:  # fmt: skip
    """See the module."""
    torch.set_num_threads(1)
    runs = []
    for name in names:
        order = Order(
            policy=policy, scenario=name, simulations=simulations, rule=rule, method=method, estimate=estimate, control=False,
            references=default_references(policy, load(name)), compile=compile_,
        )  # fmt: skip
        plain = f"{policy}-{name}-{rule}".replace("/", "_")
        folder = work / f"{plain}-{method}-{estimate}-{simulations}"
        runs.append(compared(order, searched(order, folder), random(order, brute, work / (plain + ".jsonl"))))
        click.echo("\n".join(told(runs[-1])))
    path = out or RESULTS / f"stress-{date.today()}.json"
    driven = {which(run) for run in runs}
    before = [run for run in json.loads(path.read_text())["runs"] if which(run) not in driven] if path.exists() else []
    keep(__doc__, path, {"runs": [*before, *runs]})


def which(run: dict[str, Any]) -> tuple[str, ...]:
    """What a run is known by."""
    return tuple(str(run["order"][key]) for key in ("policy", "scenario", "rule", "method", "estimate", "simulations"))


def searched(order: Order, folder: Path) -> dict[str, Any]:
    """The report of the search, made unless it is there."""
    if not (folder / "report.json").exists():
        scenario = load(order.scenario)
        begun = time.process_time()
        found = stress(
            order, scenario, load_policy(order.policy), [load_reference(r) for r in order.references], space_of(scenario), folder,
        )  # fmt: skip
        if found.interrupted:
            raise KeyboardInterrupt
        draw_stress(folder / "stress.png", found)
        write_atomic(folder / "report.md", markdown(found))
        write_atomic(folder / "report.json", as_json({**as_data(found), "cpu_seconds": time.process_time() - begun}) + "\n")
    data: dict[str, Any] = json.loads((folder / "report.json").read_text())
    return data


def random(order: Order, count: int, file: Path) -> list[dict[str, Any]]:
    """One entry an episode: seed, end, failed, avoidable. Those in the file are not driven again."""
    rows = [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []
    scenario = load(order.scenario)
    references = [load_reference(name) for name in order.references]
    while len(rows) < count:
        driver = Driver(
            scenario=scenario, policy=load_policy(order.policy), space=space_of(scenario), references=references, rule=order.rule,
            compile=order.compile,
        )  # fmt: skip
        driver.seeds(range(len(rows), min(len(rows) + CHUNK, count)), "control")
        if broken := next((t for t in driver.trials if t.error), None):
            raise RuntimeError(f"seed {broken.seed}: {broken.error}")
        rows += [{"seed": t.seed, "end": t.end, "failed": t.failed, "avoidable": t.avoidable} for t in driver.trials]
        write_atomic(file, "".join(json.dumps(row) + "\n" for row in rows))
        click.echo(f"{order.scenario}: {len(rows)} of {count} at random, {sum(row['failed'] for row in rows)} failed", err=True)
    return rows[:count]


def compared(order: Order, report: dict[str, Any], rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Search against random sampling in as many simulations, and the probability against all random episodes."""
    search = report["rates"]["search"]
    rival = rows[: search["simulations"]]
    result: dict[str, Any] = {"order": asdict(order), "search": search, "cpu_seconds": report["cpu_seconds"], "ends": report["ends"]}
    result["random"] = {"simulations": len(rival), **{k: sum(r[k] for r in rival) for k in ("failed", "avoidable")}}
    result["random_ends"] = dict(Counter(r["end"] for r in rows if r["failed"]))
    for kind, key, estimated in (("failures", "failed", "estimate_any"), ("avoidable", "avoidable", "estimate")):
        hits = sum(r[key] for r in rows)
        brute = proportion(hits, len(rows))
        given, rate = report[estimated], search[kind] / search["simulations"]
        result[kind] = {
            "times": times(rate, brute),  # against the rate of all random episodes
            "times_in_as_many": rate / ((result["random"][key] / len(rival)) or float("nan")),
            "brute_force": {"failures": hits, **brute.as_dict()},
            "estimate": given,
        }
        estimate = Probability(**given) if given is not None else None
        if estimate is not None:
            result[kind]["agreement"] = agreement(estimate, sampled(rows, key))
            result[kind]["ratio"] = estimate.value / (brute.value or float("nan"))
        if len(rest := rows[order.simulations :]) >= CHUNK:
            result[kind]["command"] = command(estimate, sampled(rows[: order.simulations], key), sampled(rest, key))
    families = "avoidable" if order.references else "failures"  # what the search was after
    rate = search["families"] / search["simulations"]
    result[families]["times_families"] = times(rate, proportion(result[families]["brute_force"]["failures"], len(rows)))
    result["cases"] = [{key: case[key] for key in ("end", "survived", "unusual", "reproduced")} for case in report["cases"]]
    return result


def sampled(rows: list[dict[str, Any]], key: str) -> Probability:
    """By random sampling."""
    hits = sum(row[key] for row in rows)
    share = proportion(hits, len(rows))
    return Probability(
        value=share.value, low=share.low, high=share.high, n=share.n, failures=hits, effective=float(hits), method="random sampling"
    )


def command(estimate: Probability | None, control: Probability, rest: Probability) -> dict[str, Any]:
    """What the command says with its control, against random episodes that it has not seen."""
    said = answer(estimate, control)
    assert said.value is not None
    return {
        "says": asdict(said.value), "not_trusted": said.why, "other_random_episodes": asdict(rest),
        "agreement": agreement(said.value, rest),
        "ratio": said.value.value / (rest.value or float("nan")),
    }  # fmt: skip


def times(rate: float, random: Estimate) -> dict[str, float]:
    """How many times the rate of random sampling. The interval is from that of random sampling: moved copies have none of their own."""
    return {name: rate / (by or float("nan")) for name, by in (("value", random.value), ("low", random.high), ("high", random.low))}


def span(value: dict[str, float]) -> str:
    """'12.1 [8.3, 17.2]'."""
    return f"{value['value']:.1f} [{value['low']:.1f}, {value['high']:.1f}]"


def told(run: dict[str, Any]) -> list[str]:
    """For people."""
    lines = [f"{run['order']['policy']} in {run['order']['scenario']}, {run['search']['simulations']} simulations:"]
    for kind in ("failures", "avoidable"):
        part, count = run[kind], run["search"][kind]
        given, brute = part["estimate"], part["brute_force"]
        lines.append(f"  {kind}: {count} by search; {span(part['times'])} times the rate of random sampling")
        if "times_families" in part:
            lines.append(f"    {run['search']['families']} families, {span(part['times_families'])} times")
        line = f"    probability by brute force {brute['value']:.5f} [{brute['low']:.5f}, {brute['high']:.5f}] ({brute['n']} episodes)"
        line += f", by stress {given['value']:.5f} [{given['low']:.5f}, {given['high']:.5f}] {part['agreement']}" if given else ""
        lines.append(line)
        if both := part.get("command"):
            says, rest = (f"{p['value']:.5f} [{p['low']:.5f}, {p['high']:.5f}]" for p in (both["says"], both["other_random_episodes"]))
            lines.append(f"    the command says {says} by {both['says']['method']}, other random episodes {rest} {both['agreement']}")
    return lines


if __name__ == "__main__":
    main()

"""`closedloop stress`: search a scenario for failures of a policy, say how probable they are, and keep the worst."""

from __future__ import annotations

import shlex
import sys
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from agents.stress.run import Found, Order

__all__ = ["command"]


@click.command("stress")
@click.argument("policy", metavar="POLICY")
@click.option("--scenario", "scenario_name", required=True, metavar="NAME", help="By name (cut_in, merge/hard) or path.")
@click.option(
    "--simulations",
    type=click.IntRange(64),
    default=2000,
    show_default=True,
    help="Episodes driven: half to search, half for the probability.",
)
@click.option(
    "--seed", type=click.IntRange(0, 2**31 - 1), default=0, show_default=True, help="Of the search; first one of random sampling."
)
@click.option(
    "--method",
    type=click.Choice(["auto", "ce", "walk", "cmaes", "random"]),
    default="auto",
    show_default=True,
    help="ce: cross-entropy, towards the most probable failures; walk: among failures found; auto: ce while it works, else walk; "
    "cmaes: towards the worst; random: as the scenario draws.",
)
@click.option(
    "--estimate",
    type=click.Choice(["auto", "is", "splitting"]),
    default="auto",
    show_default=True,
    help="Probability by importance sampling, or by adaptive multilevel splitting; auto: as the search went.",
)
@click.option(
    "--failure",
    "rule",
    type=click.Choice(["any", "collision", "at-fault"]),
    default="any",
    show_default=True,
    help="What counts; any: no success, as `closedloop eval` counts it.",
)
@click.option(
    "--reference",
    "references",
    multiple=True,
    metavar="POLICY",
    help="Who shows that a failure could be avoided: a policy, careful-idm, or none; may be repeated. "
    "[default: idm; for idm itself careful-idm and the family's shipped policy]",
)
@click.option("--control/--no-control", default=True, show_default=True, help="Also sample at random as often, to compare with.")
@click.option("--cases", type=click.IntRange(0, 99), default=10, show_default=True, help="Worst failures to save as scenarios.")
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), help="Folder, new or empty. [default: runs/stress/<time>]")
@click.option("--compile/--no-compile", "compile_", default=False, help="Run the simulator under torch.compile; see `closedloop eval`.")
@click.option("--dry-run", is_flag=True, help="Check everything, say what would be searched, drive nothing.")
@click.option("--json", "json_", is_flag=True, help="Print the report as JSON on stdout.")
def command(
    policy: str,
    scenario_name: str,
    simulations: int,
    seed: int,
    method: str,
    estimate: str,
    rule: str,
    references: tuple[str, ...],
    control: bool,
    cases: int,
    out: Path | None,
    compile_: bool,
    dry_run: bool,
    json_: bool,
) -> int:
    """Where does POLICY fail in a scenario, and how often?

    Searches what the scenario draws: parameters, other drivers, gaps, and when scripted events happen. Nothing leaves its distributions.
    Failures that no reference survives are told apart as unavoidable. Writes report.json, report.md, stress.png, and the worst failures as
    scenarios of fixed numbers with a suite, each driven again as proof. Exit codes: 0 done, whatever was found, 2 bad input, 4 something
    was lost or crashed, 130 interrupted: what was found is kept.

    \b
    closedloop stress idm --scenario cut_in/hard
    closedloop stress runs/mine --scenario merge --simulations 5000 --compile --out runs/mine/stress
    closedloop stress highway --scenario highway/hard --failure collision --estimate splitting
    closedloop eval idm --suite runs/mine/stress/cases/suite.yaml
    """
    from agents.commands.compiling import require_compiler
    from agents.policies.base import load_policy
    from agents.stress.references import default_references, load_reference
    from agents.stress.run import Order, stress
    from agents.stress.space import space_of
    from scenarios import load

    require_compiler(compile_)
    if "none" in references and len(references) > 1:
        raise click.UsageError("--reference none stands alone")
    scenario = load(scenario_name)
    names = () if references == ("none",) else tuple(dict.fromkeys(references)) or default_references(policy, scenario)
    if policy in names:
        raise click.UsageError(f"{policy} cannot be its own reference: what it fails it does not survive")
    order = Order(
        policy=policy, scenario=scenario_name, simulations=simulations, seed=seed, method=method, estimate=estimate, rule=rule,
        references=names, control=control, cases=cases, compile=compile_,
    )  # fmt: skip
    driver, others, space = load_policy(policy), [load_reference(name) for name in names], space_of(scenario)
    folder = out or Path("runs") / "stress" / datetime.now().strftime("%Y-%m-%d-%H%M%S")
    if folder.exists() and any(folder.iterdir()):
        raise FileExistsError(17, "not empty; choose another --out", str(folder))
    if dry_run:
        return _plan(order, space.names, folder, json_)
    folder.mkdir(parents=True, exist_ok=True)
    from agents.commands.output import CountProgress

    found = stress(order, scenario, driver, others, space, folder, progress=lambda total: CountProgress(total, "simulation"))
    return _tell(found, folder, json_)


def _plan(order: Order, names: tuple[str, ...], folder: Path, json_: bool) -> int:
    from dataclasses import asdict

    from agents.commands.output import print_json

    control = order.simulations if order.control and order.method != "random" else 0
    if json_:
        print_json({"order": asdict(order), "out": str(folder), "names": names, "search": order.search, "control": control})
        return 0
    rest = order.simulations - order.search
    click.echo(f"{order.policy} in {order.scenario}: {order.search} simulations to search, {rest} for the probability, {control} at random")
    click.echo(f"References: {', '.join(order.references) or 'none'}; they drive what fails, beyond these simulations")
    click.echo(f"{len(names)} numbers are searched; the first: {', '.join(names[:8])}")
    click.echo(f"Results would go to {folder}")
    return 0


def _tell(found: Found, folder: Path, json_: bool) -> int:
    from agents.cli import CRASHED, INTERRUPTED
    from agents.commands.output import as_json, print_json, print_table
    from agents.stress.picture import draw_stress
    from agents.stress.report import CASE_HEADINGS, HEADINGS, as_data, case_rows, markdown, sentences, table
    from scenarios.files import write_atomic

    line = shlex.join(["closedloop", "stress", *sys.argv[2:]]) if sys.argv[1:2] == ["stress"] else ""
    data = as_data(found, command=line)
    write_atomic(folder / "report.json", as_json(data) + "\n")
    write_atomic(folder / "report.md", markdown(found, command=line))
    if found.trials:
        draw_stress(folder / "stress.png", found)
    if json_:
        print_json(data)
    else:
        print_table(f"{found.order.policy} in {found.order.scenario}", HEADINGS, table(found))
        click.echo("\n".join(sentences(found)))
        if found.cases:
            click.echo()
            print_table("worst cases", CASE_HEADINGS, case_rows(found))
            click.echo("To drive one again:")
            click.echo("\n".join(case.command for case in found.cases if case.reproduced))
    click.echo(f"Report: {folder / 'report.md'}, {folder / 'report.json'}, {folder / 'stress.png'}", err=True)
    for trial in found.lost[:10]:
        click.echo(f"lost: {trial.stage}, seed {trial.seed}: {trial.error}", err=True)
    if found.lost:
        click.echo(f"{len(found.lost)} of {len(found.trials)} simulations were lost to errors: no figure counts them as failures", err=True)
    if found.interrupted:
        click.echo("interrupted; what was found is kept", err=True)
        return INTERRUPTED
    return CRASHED if found.lost else 0

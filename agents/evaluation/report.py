"""From results to tables: figures with their intervals as JSON, Markdown and for the terminal."""

from __future__ import annotations

import platform
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib import metadata
from typing import Any

from agents import __version__
from agents.evaluation.domains import ARCADE_ENDINGS, ROBOT_ENDINGS
from agents.evaluation.rollout import ENDINGS, EpisodeResult
from agents.evaluation.stats import LEVEL, Estimate, iqm, mean_interval, proportion
from agents.learning.seeds import TRAINING, VALIDATION

__all__ = [
    "COLUMNS", "DRIVING", "ROBOTS", "Row", "Sheet", "arcade_sheet", "cell", "driven", "endings", "markdown", "missing", "repeats", "report",
    "rows", "shown", "trained_on", "versions",
]  # fmt: skip

# heading: (metric, how it is averaged). Rates are of episodes in which it happened at least once.
COLUMNS: dict[str, tuple[str, str]] = {
    "success": ("success", "rate"),
    "collision": ("collision", "rate"),
    "at fault": ("collision_at_fault", "rate"),
    "off-road": ("off_road", "rate"),
    "wrong way": ("wrong_way", "rate"),
    "red light": ("red_light", "rate"),
    "progress": ("route_progress", "mean"),
    "driving score": ("driving_score", "mean"),
    "nuPlan score": ("nuplan_score", "mean"),
    "nuPlan IQM": ("nuplan_score", "iqm"),
    "shielded": ("intervened", "share"),  # only where a policy has a shield
}
ROBOT_COLUMNS: dict[str, tuple[str, str]] = {
    "success": ("success", "rate"),
    "return": ("return", "mean"),
    "lasted": ("lasted", "mean"),
    "at goal": ("at_goal", "mean"),
}


@dataclass(frozen=True, kw_only=True)
class Sheet:
    """What tables of a domain have."""

    columns: Mapping[str, tuple[str, str]]  # heading: (metric, how it is averaged)
    endings: Sequence[str]  # in the order in which they are told
    what: str = "scenario"  # what an episode is one of
    units: str = "scores from 0 to 1"
    where: str = "`docs/metrics.md` defines each"
    partial: frozenset[str] = frozenset({"shielded"})  # headings of what not everybody has a figure for


DRIVING = Sheet(columns=COLUMNS, endings=ENDINGS)
ROBOTS = Sheet(
    columns=ROBOT_COLUMNS,
    endings=ROBOT_ENDINGS,
    what="task",
    units="lasted and at goal as shares of the time",
    where="`docs/robots.md` defines each",
)


def arcade_sheet(games: Sequence[str]) -> Sheet:
    """Of arcade games, each with its figures (`ArcadeEntry.figures`). A figure that only some of them have is told of those."""
    from envs.games.arcade import arcade_entry

    sets = [arcade_entry(game).figures for game in games]
    more = " or s; normalised: 0 random play, 1 a human tester" if any("normalised" in figures for figures in sets) else ""
    return Sheet(
        columns={name: (name, {"success": "rate", "share": "share"}.get(name, "mean")) for figures in sets for name in figures},
        endings=ARCADE_ENDINGS,
        what="game",
        units=f"share too, all else in points{more}",
        where="`docs/games.md` defines each",
        partial=frozenset(name for figures in sets for name in figures if not all(name in other for other in sets)),
    )


@dataclass(frozen=True, kw_only=True)
class Row:
    """One policy on one scenario, or on all of them together."""

    scenario: str
    policy: str
    episodes: int  # driven to their end; the figures are over these
    errors: int  # lost to an error or not driven: in no figure
    ends: dict[str, int]  # of ENDINGS: how many episodes ended so
    figures: dict[str, Estimate]  # by heading


def rows(results: Sequence[EpisodeResult], sheet: Sheet = DRIVING) -> list[Row]:
    """One row per scenario and policy in order of appearance, then one per policy over all scenarios if there are several.

    Over all scenarios rates are pooled and means are over episodes, with resampling within scenarios.
    """
    scenarios = list(dict.fromkeys(r.scenario for r in results))
    policies = list(dict.fromkeys(r.policy for r in results))
    parts = {(s, p): [r for r in results if r.scenario == s and r.policy == p] for s in scenarios for p in policies}
    table = [_row(s, p, [parts[s, p]], sheet) for s in scenarios for p in policies]
    if len(scenarios) > 1:
        table += [_row(f"all {sheet.what}s", p, [parts[s, p] for s in scenarios], sheet) for p in policies]
    return table


def _row(scenario: str, policy: str, strata: Sequence[Sequence[EpisodeResult]], sheet: Sheet) -> Row:
    good = [[r for r in stratum if not r.error] for stratum in strata]
    figures = {heading: _figure(good, metric, how, heading in sheet.partial) for heading, (metric, how) in sheet.columns.items()}
    total, driven = sum(map(len, strata)), sum(map(len, good))
    counts = Counter(r.end for stratum in strata for r in stratum)
    ends = {end: counts[end] for end in sheet.endings}
    return Row(scenario=scenario, policy=policy, episodes=driven, errors=total - driven, ends=ends, figures=figures)


def _figure(strata: Sequence[Sequence[EpisodeResult]], metric: str, how: str, partial: bool) -> Estimate:
    # only who has a shield has a share of decisions overridden, only some games have lives; all else every episode has
    values = [[r.metrics[metric] for r in stratum if not partial or metric in r.metrics] for stratum in strata]
    if how == "rate":
        flat = [v > 0 for stratum in values for v in stratum]
        return proportion(sum(flat), len(flat))
    return iqm(values) if how == "iqm" else mean_interval(values)


def shown(table: Sequence[Row], sheet: Sheet = DRIVING) -> list[str]:
    """The columns of a table: all, but for those that not everybody has, where none of these has a figure for it."""
    return [heading for heading in sheet.columns if heading not in sheet.partial or any(row.figures[heading].n for row in table)]


def endings(table: Sequence[Row], what: str = "scenario") -> tuple[list[str], list[list[str]]]:
    """Headings and rows of a table of how many episodes ended how; ends that did not occur have no column."""
    ends = [end for end in (table[0].ends if table else ENDINGS) if any(row.ends[end] for row in table)]
    return [what, "policy", *ends], [[row.scenario, row.policy, *(str(row.ends[end]) for end in ends)] for row in table]


def missing(results: Sequence[EpisodeResult], most: int = 8) -> list[str]:
    """Which episodes have no figures, a line a policy and scenario: 'idm on merge: 37 of 100 (seeds 3, 63 to 98)'."""
    groups: dict[tuple[str, str], list[EpisodeResult]] = {}
    for result in results:
        groups.setdefault((result.policy, result.scenario), []).append(result)
    lines = []
    for (policy, scenario), group in groups.items():
        gone = {r.seed for r in group if r.error}
        seeds = sorted(gone)
        starts, stops = [s for s in seeds if s - 1 not in gone], [s for s in seeds if s + 1 not in gone]
        spans = [f"{a}" if a == b else f"{a} to {b}" for a, b in zip(starts, stops, strict=True)]
        if seeds:
            more = ", ..." if len(spans) > most else ""
            lines.append(f"{policy} on {scenario}: {len(seeds)} of {len(group)} (seeds {', '.join(spans[:most])}{more})")
    return lines


def trained_on(seeds: Iterable[int]) -> str:
    """A warning if some of the seeds are those that training draws its episodes from, or nothing."""
    late = [seed for seed in seeds if seed >= VALIDATION]
    if not late:
        return ""
    return (
        f"Seeds {min(late)} to {max(late)} are not for judging: training chooses its best policy on seeds from {VALIDATION} on and learns "
        f"on seeds from {TRAINING} on, so a trained policy may have met these episodes before."
    )


def repeats(results: Sequence[EpisodeResult]) -> str:
    """A warning where a policy's episodes of a scenario were all alike, or nothing: then the seed decides nothing there, as in a replayed
    recording, and they are worth one."""
    groups: dict[tuple[str, str], list[EpisodeResult]] = {}
    for result in results:
        if not result.error and {"duration", "distance"} <= result.metrics.keys():
            groups.setdefault((result.policy, result.scenario), []).append(result)
    alike = [
        f"{policy} on {scenario}"
        for (policy, scenario), episodes in groups.items()
        if len(episodes) > 1 and len({(e.end, e.metrics["duration"], e.metrics["distance"]) for e in episodes}) == 1
    ]
    if not alike:
        return ""
    return f"All episodes were alike, so they count as one and their intervals mean nothing: {', '.join(alike)}."


def report(
    results: Sequence[EpisodeResult],
    *,
    title: str,
    command: str = "",
    warnings: Sequence[str] = (),
    sheet: Sheet = DRIVING,
    device: str = "cpu",
) -> dict[str, Any]:
    """Everything, for JSON: what ran where, the table, and each episode. `interrupted`: some were not driven because of Ctrl-C.

    warnings: what a reader should know besides that which the results themselves give reason to warn of. sheet: of the domain. device:
    where the worlds lived.
    """
    return {
        "title": title,
        "command": command,
        "versions": versions(device),
        "interval": {"level": LEVEL, "rates": "Wilson score, 3/n for none or all", "means": "percentile bootstrap within scenarios"},
        "errors": sum(bool(r.error) for r in results),
        "interrupted": any(r.end == "interrupted" for r in results),
        "warnings": [*warnings, *_warnings(results)],
        "table": [_plain(row, sheet) for row in rows(results, sheet)],
        "results": [{key: value for key, value in asdict(r).items() if key != "watched"} for r in results],
    }


def _warnings(results: Sequence[EpisodeResult]) -> list[str]:
    return [text for text in (trained_on(r.seed for r in results), repeats(results)) if text]


def _plain(row: Row, sheet: Sheet) -> dict[str, Any]:
    """A row with its figures by the name of the metric."""
    figures = {heading: row.figures[heading] for heading in shown([row], sheet)}
    columns = sheet.columns
    named = {columns[heading][0] + ("_iqm" if columns[heading][1] == "iqm" else ""): e.as_dict() for heading, e in figures.items()}
    return {"scenario": row.scenario, "policy": row.policy, "episodes": row.episodes, "errors": row.errors, "ends": row.ends, **named}


def markdown(
    results: Sequence[EpisodeResult], *, title: str, command: str = "", warnings: Sequence[str] = (), sheet: Sheet = DRIVING
) -> str:
    """The table and the failures as a Markdown page. warnings, sheet: as of `report`."""
    table = rows(results, sheet)
    lines = [f"# {title}", ""]
    if command:
        lines += ["```", command, "```", ""]
    columns = shown(table, sheet)
    lines += [f"| {sheet.what} | policy | episodes | " + " | ".join(columns) + " |", "|---|---|---:|" + "---:|" * len(columns)]
    for row in table:
        lines.append(
            f"| {row.scenario} | {row.policy} | {driven(row)} | "
            + " | ".join(cell(row.figures[h], sheet.columns[h][1]) for h in columns)
            + " |"
        )
    lines += [
        "",
        f"Rates in % of episodes, {sheet.units}; in brackets the {LEVEL:.0%} interval: Wilson's for rates (at least 3/n where nothing "
        f"or everything happened), a bootstrap within {sheet.what}s for means. IQM: mean of the middle half. {sheet.where}.",
        "",
    ]
    for warning in (*warnings, *_warnings(results)):
        lines += [warning, ""]
    heading, body = endings(table, sheet.what)
    lines += ["## How episodes ended", "", f"| {' | '.join(heading)} |", "|---|---|" + "---:|" * (len(heading) - 2)]
    lines += [*(f"| {' | '.join(row)} |" for row in body), ""]
    undriven = missing(results) if any(r.end == "interrupted" for r in results) else []
    lost = [f"{r.policy}, {r.scenario}, seed {r.seed}: {r.error}" for r in results if r.end == "error"]
    failed = [f"{r.policy}, {r.scenario}, seed {r.seed}, {r.end}: `{r.trace}`" for r in results if r.trace and r.failed]
    lines += [*_list("Interrupted: not driven", undriven), *_list("Lost to errors", lost), *_list("Failures with a trace", failed)]
    known = versions()
    return "\n".join([*lines, "Made by " + ", ".join(f"{name} {known[name]}" for name in known) + ".", ""])


def _list(heading: str, items: Sequence[str], most: int = 50) -> list[str]:
    if not items:
        return []
    more = [f"- and {len(items) - most} more, in the JSON file"] if len(items) > most else []
    return [f"## {heading}", "", *[f"- {item}" for item in items[:most]], *more, ""]


def driven(row: Row) -> str:
    """Number of episodes, and how many were lost."""
    return f"{row.episodes}" + (f" (+{row.errors} lost)" if row.errors else "")


def cell(estimate: Estimate, how: str) -> str:
    """'96.0 [93.1, 97.7]' for rates (in %), '0.91 [0.89, 0.93]' for scores; a dash where there is no figure."""
    scale, digits = (100.0, 1) if how in ("rate", "share") else (1.0, 2)
    values = [f"{v * scale:.{digits}f}" if v == v else "-" for v in (estimate.value, estimate.low, estimate.high)]
    return f"{values[0]} [{values[1]}, {values[2]}]" if estimate.n else "-"


def versions(device: str = "cpu") -> dict[str, str]:
    """What made the figures; on a device other than the CPU also on which."""
    made = {
        "closedloop": __version__,
        "python": platform.python_version(),
        **{name: metadata.version(name) for name in ("torch", "numpy")},
    }
    if device.startswith("cuda"):
        import torch

        return made | {"device": device, "gpu": torch.cuda.get_device_name(device)}
    return made if device == "cpu" else made | {"device": device}

"""What a policy once achieved on a suite, in a small file to be checked in: so that it need not be driven again for every comparison.

JSON, a line a stratum and metric: events as one digit an episode, scores rounded to six digits, half of each fingerprint's SHA-256. It is
only ever replaced on request and with a reason; the reasons stay in the file. A hash over the content finds careless edits.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from agents.gate.changes import differences
from agents.gate.drive import DIGITS, Half
from agents.gate.metrics import METRICS, MetricError, goodness, share
from agents.gate.plan import GatePlan
from agents.playback.storage import canonical_json
from scenarios.files import write_atomic

__all__ = ["Baseline", "BaselineError", "Change", "Kept", "load_baseline", "make_baseline"]

Digits = Annotated[str, Field(pattern=r"^[01]*$")]
Score = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]


class BaselineError(ValueError):
    """A baseline that cannot be used: damaged, or of another suite. The message says what is wrong."""


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class Kept(_Strict):
    """The episodes of a stratum, seed by seed."""

    scenario: str
    digest: str
    seeds: tuple[int, int]  # first and last
    fingerprints: tuple[str, ...]
    events: dict[str, Digits]  # metric -> 1: it happened
    scores: dict[str, tuple[Score, ...]]  # shares of the range


class Change(_Strict):
    """Why the file was written."""

    reason: str
    policy: str
    replaces: str = ""  # hash of what was there before


class Baseline(_Strict):
    """The whole file."""

    format: Literal["closedloop-baseline"] = "closedloop-baseline"
    version: Literal[1] = 1
    suite: str
    policy: dict[str, Any]  # as agents.gate.plan.identity
    made_with: dict[str, Any]
    history: tuple[Change, ...]
    strata: tuple[Kept, ...]
    hash: str = ""

    def sealed(self) -> Baseline:
        """With the hash of its content."""
        return self.model_copy(update={"hash": self.digest()})

    def digest(self) -> str:
        """SHA-256 over everything else."""
        return hashlib.sha256(canonical_json(self.model_dump(mode="json", exclude={"hash"}))).hexdigest()

    def text(self) -> str:
        """As it lies on disk: a line for what changes together, so that version control shows what changed."""
        data = self.model_dump(mode="json")
        rest = {name: value for name, value in data.items() if name != "strata"}
        head = json.dumps(rest, indent=1, ensure_ascii=False)[:-2]
        body = ",\n".join(_lines(stratum) for stratum in data["strata"])
        return f'{head},\n "strata": [\n{body}\n ]\n}}\n'

    def save(self, path: Path) -> None:
        """Write it (temporary file, fsync, rename). Raises OSError."""
        write_atomic(path, self.text())

    def fits(self, plan: GatePlan) -> None:
        """Raises BaselineError, with what differs, unless it holds exactly the episodes of the plan and their metrics."""
        mine = {"suite": self.suite, "strata": [{"scenario": k.scenario, "digest": k.digest, "seeds": list(k.seeds)} for k in self.strata]}
        asked = [{"scenario": s.name, "digest": s.digest, "seeds": [s.seeds[0], s.seeds[-1]]} for s in plan.strata]
        changed = list(differences(mine, {"suite": plan.suite, "strata": asked}))
        if changed:
            told = "\n".join(f"  {line}" for line in changed[:20])
            raise BaselineError(f"the baseline holds other episodes; make it anew with --update-baseline. What differs:\n{told}")
        for metric in plan.design.metrics:
            if not all(metric.name in kept.events or metric.name in kept.scores for kept in self.strata):
                raise BaselineError(f"the baseline has no {metric.name!r}; make it anew with --update-baseline")

    def halves(self, plan: GatePlan) -> dict[tuple[str, int], Half]:
        """(scenario name, seed) -> what the policy made of it, as the plan judges it. Raises BaselineError if it does not fit the plan."""
        self.fits(plan)
        found = {}
        for kept in self.strata:
            for k, seed in enumerate(range(kept.seeds[0], kept.seeds[1] + 1)):
                figures = {m: float(happened[k]) for m, happened in kept.events.items()}
                figures |= {m: METRICS[m].span * shares[k] for m, shares in kept.scores.items()}
                try:
                    values = tuple(goodness(figures, metric.name) for metric in plan.design.metrics)
                except MetricError as error:  # pragma: no cover - the fields' own bounds exclude it
                    raise BaselineError(str(error)) from None
                found[kept.scenario, seed] = Half(end="kept", values=values, fingerprint=kept.fingerprints[k])
        return found


def load_baseline(path: Path) -> Baseline:
    """Read and check a file. Raises OSError, or BaselineError if it is none, or was edited."""
    try:
        found = Baseline.model_validate_json(path.read_bytes())
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(map(str, first["loc"]))
        raise BaselineError(f"{path}: not a baseline: {where + ': ' if where else ''}{first['msg']}") from None
    if found.hash != found.digest():
        raise BaselineError(f"{path}: edited or damaged: its content does not fit its hash; make it anew with --update-baseline")
    for kept in found.strata:
        count = kept.seeds[1] - kept.seeds[0] + 1
        if {len(kept.fingerprints), *map(len, kept.events.values()), *map(len, kept.scores.values())} != {count}:
            raise BaselineError(f"{path}: {kept.scenario}: expected {count} figures of each kind, one a seed")
    return found


def make_baseline(
    plan: GatePlan,
    result: Callable[[str, int], dict[str, Any]],
    *,
    policy: dict[str, Any],
    made_with: dict[str, Any],
    reason: str,
    before: Baseline | None,
) -> Baseline:
    """A baseline of what `result` (scenario name, seed) says, records as in the journal, all of them with figures."""
    strata = []
    for stratum in plan.strata:
        records = [result(stratum.name, seed) for seed in stratum.seeds]
        figures = [record["metrics"] for record in records]
        known = [name for name in METRICS if all(name in f and f[name] is not None for f in figures)]
        events = [name for name in known if METRICS[name].kind == "event"]
        strata.append(
            Kept(
                scenario=stratum.name,
                digest=stratum.digest,
                seeds=(stratum.seeds[0], stratum.seeds[-1]),
                fingerprints=tuple(record["fingerprint"][:DIGITS] for record in records),
                events={name: "".join(str(int(f[name] > 0)) for f in figures) for name in events},
                scores={name: tuple(round(share(f, name), 6) for f in figures) for name in known if name not in events},
            )
        )
    change = Change(reason=reason, policy=policy["name"], replaces=before.hash if before else "")
    history = (*(before.history if before else ()), change)
    return Baseline(suite=plan.suite, policy=policy, made_with=made_with, history=history, strata=tuple(strata)).sealed()


def _lines(stratum: dict[str, Any]) -> str:
    """A stratum, a line for each of its parts."""
    plain = [f'   "{name}": {json.dumps(stratum[name])}' for name in ("scenario", "digest", "seeds", "fingerprints")]
    for group in ("events", "scores"):
        inner = ",\n".join(f'    "{name}": {json.dumps(value, separators=(",", ":"))}' for name, value in stratum[group].items())
        plain.append(f'   "{group}": {{\n{inner}\n   }}' if inner else f'   "{group}": {{}}')
    return "  {\n" + ",\n".join(plain) + "\n  }"

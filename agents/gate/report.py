"""Everything a gate found, as data with a published schema (`closedloop schema --report`)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

__all__ = [
    "EXIT", "MOST", "Cluster", "Decided", "Failure", "Figure", "Finding", "Lost", "Minimal", "Report", "RunFigures", "Verdict", "Worse",
    "report_schema",
]  # fmt: skip

EXIT = {"pass": 0, "regression": 1, "inconclusive": 3, "incomplete": 4}
MOST = 50  # pairs that got worse are listed up to here
Verdict = Literal["pass", "regression", "inconclusive", "incomplete"]
Decided = Literal["pass", "regression", "inconclusive"]


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Figure(_Strict):
    """An estimate with its 95 % interval: Wilson's for rates, at least 3/n where nothing or everything happened; a bootstrap within
    strata for means. null: too few episodes."""

    value: float | None
    low: float | None
    high: float | None
    n: int


class Finding(_Strict):
    """One metric on the whole suite or in a family. p-values of sequential tests hold whenever one looks.

    Of recipes (unit seed) figures are means of runs with a bootstrap over runs at 95 %, for the gain too; pairs are pairs of runs, each
    with each where they are not paired."""

    scope: str = Field(description="'all', or the family")
    metric: str
    priority: int
    margin: float | None = Field(description="how much worse it may be, as a share of the range; null: that need not be shown")
    state: Literal["worse", "kept up", "open", "same"] = Field(description="same: all planned pairs are identical to the last bit")
    baseline: Figure
    candidate: Figure
    baseline_iqm: Figure | None = Field(description="mean of the middle half; of scores on the whole suite")
    candidate_iqm: Figure | None
    gain: float | None = Field(description="mean of candidate less baseline, as a share of the range; positive is better")
    gain_low: float = Field(description="between these two at a level of 1 - alpha, whenever one stops")
    gain_high: float
    better: int = Field(description="pairs in which the candidate did better")
    worse: int
    same: int
    p_worse: float = Field(description="of 'no worse'; its inverse is the largest e-value so far")
    p_worse_adjusted: float = Field(description="for the number of tests (Holm): up to alpha, it got worse")
    q_worse: float = Field(description="by Benjamini and Hochberg, to look at only")
    p_kept: float | None = Field(description="of 'worse by the margin or more': up to alpha, it kept up")
    found_after: int | None = Field(description="pairs of the scope after which the state was established")
    pairing_gain: float | None = Field(description="how many times as many episodes it takes without pairs; null: the pairs never differed")
    curve: tuple[tuple[int, float, float], ...] = Field(
        description="on the whole suite: pairs, logarithm of the e-value for 'worse', and for 'kept up'"
    )


class Worse(_Strict):
    """A pair in which the candidate did worse."""

    scenario: str
    seed: int
    metrics: dict[str, tuple[float, float]] = Field(description="baseline and candidate, 1 is best")
    ends: tuple[str, str]
    command: str = Field(description="drives the candidate's episode again and keeps its trace")


class Failure(_Strict):
    """A lost pair: the candidate fails where the baseline does not. "" where something does not apply."""

    number: int = Field(description="from 1; the page's gallery counts likewise")
    cluster: int = Field(description="number of its cluster")
    scenario: str
    family: str
    seed: int
    failure: str = Field(description="its class")
    moment: float = Field(description="s since the start")
    speed: float = Field(description="m/s, of the ego at that moment")
    other: str = Field(description="what was hit")
    side: str = Field(description="of the ego on which that was: front, rear, left or right")
    motion: str = Field(description="of it, relative to the ego: standing, same way, oncoming or crossing")
    weather: str = Field(description="where cameras look")
    cause: str = Field(description="what was believed of it before, where the policy is not told the truth")
    traces: tuple[str, ...] = Field(description="the candidate's and, if it was driven, the baseline's, below the report's folder")


class Cluster(_Strict):
    """Failures of one class, in one family, with one kind of road user on one side."""

    number: int
    words: str
    failure: str
    family: str
    other: str
    side: str
    count: int
    shares: dict[str, dict[str, int]] = Field(description="how often which other circumstance")


class Minimal(_Strict):
    """A failure made small, as a scenario file."""

    cluster: int
    scenario: str = Field(description="that it came from")
    seed: int
    failure: str
    reference: str = Field(description="the policy that passes where the candidate fails")
    file: str = Field(description="the scenario, below the report's folder; empty if none was found")
    command: str = Field(description="drives the candidate through it again, bit by bit, and keeps the trace")
    others: int = Field(description="other road users in the episode")
    others_left: int
    unusual: tuple[str, ...] = Field(description="parameters that had to stay off their medians")
    simulations: int = Field(description="episodes driven for it by one of the two policies")
    thorough: bool = Field(description="false: the number of simulations ran out before the search was over")
    fingerprint: str = Field(description="of the candidate's episode")
    why: str = Field(description="why there is no file, or why it should not be trusted; empty: it fails and the reference passes")


class RunFigures(_Strict):
    """A training run of a recipe."""

    role: str
    number: int = Field(description="from 1; of two recipes that are paired, equal numbers belong together")
    policy: str
    seed: int | None = Field(description="of its training; null: the policy does not say")
    sha256: str
    lost: int = Field(description="its episodes without figures")
    figures: dict[str, float] = Field(description="on the whole suite, as the metrics are read")


class Lost(_Strict):
    """An episode without figures."""

    role: str
    scenario: str
    seed: int
    why: str


class Report(_Strict):
    """A gate."""

    format: Literal["closedloop-gate-report"] = "closedloop-gate-report"
    version: Literal[1] = 1
    verdict: Verdict = Field(description="incomplete: something was lost or crashed, so there is none")
    exit_code: Annotated[int, Field(ge=0, le=4)]
    because: str
    figures_say: Decided = Field(description="what follows from the pairs that are there")
    identical: bool = Field(description="all planned pairs went the same way to the last bit")
    unit: Literal["episode", "seed"] = Field(
        default="episode", description="what is drawn at random: episodes of two policies, or training runs (seeds) of two recipes"
    )
    runs_paired: bool | None = Field(default=None, description="of recipes: whether runs belong together by their seeds")
    runs: tuple[RunFigures, ...] = Field(default=(), description="of recipes")
    run: str
    suite: str
    baseline: dict[str, Any]
    candidate: dict[str, Any]
    alpha: float
    test: str
    pairs_planned: int
    pairs_judged: int
    pairs_identical: int
    pairs_lost: int
    rounds: int
    findings: tuple[Finding, ...]
    worse: tuple[Worse, ...] = Field(description=f"the first {MOST}, the most important metric first")
    worse_in_all: int
    failures: tuple[Failure, ...] = Field(default=(), description="those among `worse` that are lost pairs")
    clusters: tuple[Cluster, ...] = Field(default=(), description="of the failures, the largest first")
    minimal: tuple[Minimal, ...] = Field(default=(), description="failures made small, one of each of the largest clusters first")
    lost: tuple[Lost, ...]
    incidents: tuple[str, ...]
    warnings: tuple[str, ...]
    versions: dict[str, str]

    def spoilt(self, incidents: Sequence[str], why: str) -> Report:
        """Without a verdict, because of what went wrong after judging. why: that in a few words, for a sentence."""
        because = f"No verdict: {why}. What was judged says: {self.figures_say}. {self.because}"
        update = {"verdict": "incomplete", "exit_code": EXIT["incomplete"], "because": because, "incidents": (*self.incidents, *incidents)}
        return self.model_copy(update=update)

    def text(self) -> str:
        """As JSON."""
        return self.model_dump_json(indent=1) + "\n"


def report_schema() -> dict[str, Any]:
    """JSON Schema (draft 2020-12) of `report.json`."""
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **Report.model_json_schema(), "title": "closedloop gate report"}

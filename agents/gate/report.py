"""Everything a gate found, as data with a published schema (`closedloop schema --report`)."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

__all__ = ["EXIT", "MOST", "Decided", "Figure", "Finding", "Lost", "Report", "Verdict", "Worse", "report_schema"]

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
    """One metric on the whole suite or in a family. p-values of sequential tests hold whenever one looks."""

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
    lost: tuple[Lost, ...]
    incidents: tuple[str, ...]
    warnings: tuple[str, ...]
    versions: dict[str, str]

    def text(self) -> str:
        """As JSON."""
        return self.model_dump_json(indent=1) + "\n"


def report_schema() -> dict[str, Any]:
    """JSON Schema (draft 2020-12) of `report.json`."""
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **Report.model_json_schema(), "title": "closedloop gate report"}

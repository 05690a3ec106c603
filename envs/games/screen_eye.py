"""Who looks at the screen of an arcade game, on the levels `noisy` and `perceived`: a detector, or what it might have said, and the filter
behind it (`envs.games.screen_tracker`). Both go through `perception.pipeline`; places are those of the game.

Shapes: B worlds, K things, D detections, M facts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import NamedTuple, TypeVar

import torch
from torch import Tensor

from envs.games.screen_tracker import ScreenTracker
from perception.oracle import Oracle, VisibilityRule
from perception.pipeline import Pipeline, PipelineConfig, PipelineState, empty_detections
from perception.stages import Detector, Witness
from perception.states import map_tensors, select
from perception.types import Camera, Detections, Labels, SensorFrame

__all__ = ["Belief", "OnScreen", "Places", "ScreenEye", "ToldOnScreen", "load_network"]

SCORE = 0.25  # least score of what is believed
Places = TypeVar("Places", Detections, Labels)


class OnScreen:
    """A detector whose kinds and places are a game's. classes: of the game; needed: those that it has to know; placed: from where it saw
    them to where that is on the screen. Raises ValueError if it does not know the things of the game.
    """

    def __init__(
        self, detector: Detector, classes: Sequence[str], needed: Iterable[str], placed: Callable[[Detections, Camera], Detections]
    ) -> None:
        if missing := sorted({name for name in needed if name not in detector.classes}):
            raise ValueError(f"the detector knows {', '.join(detector.classes)}, and not {', '.join(missing)}")
        self.detector, self.classes, self.sha256 = detector, tuple(classes), str(getattr(detector, "sha256", ""))
        self._kinds = torch.tensor([self.classes.index(name) if name in self.classes else len(self.classes) for name in detector.classes])
        self._placed = placed

    def __call__(self, frame: SensorFrame) -> Detections:
        """What is seen."""
        found = self.detector(frame)
        return self._placed(found._replace(kind=self._kinds.to(found.kind.device)[found.kind]), frame.camera)


class ToldOnScreen:
    """The truth as a perfect detector would tell it. classes, placed: as of `OnScreen`."""

    def __init__(self, classes: Sequence[str], placed: Callable[[Detections], Detections]) -> None:
        self.classes, self._placed = tuple(classes), placed
        self.oracle = Oracle(classes=self.classes, rule=VisibilityRule(side_min=0.0), sigma=0.01)

    def observe(self, frame: SensorFrame, labels: Labels, *, seed: Tensor, step: Tensor) -> Detections:
        """What there is; nothing is random."""
        return self._placed(self.oracle.observe(frame, labels, seed=seed, step=step))


def load_network(spec: str | Path, *, slots: int) -> Detector:
    """A trained detector, by the name of one that ships or its file. Raises WeightsError."""
    from perception.detectors.centernet import CenterNet

    return CenterNet.load(spec, slots=slots, threshold=SCORE)


class Belief(NamedTuple):
    """All that looking remembers."""

    pipeline: PipelineState
    place: Tensor  # (B, K, 4) place and velocity as believed now; 0 where a thing is not there
    there: Tensor  # (B, K) bool
    facts: Tensor  # (B, M) what else is known


class ScreenEye:
    """What the eyes of all games do: `begin` where episodes begin, `see` after every decision.

    `seen` are the last detections: to be shown, nothing depends on them. gone: looks, of each thing, after which one that is not seen is
    not there. slots: detections that are looked at.
    """

    def __init__(
        self,
        batch: int,
        detector: Detector | Witness,
        tracker: ScreenTracker,
        *,
        gone: Sequence[int],
        slots: int,
        latency: int,
        facts: int = 0,
        device: torch.device | str = "cpu",
    ) -> None:
        self.pipeline = Pipeline(detector, tracker, None, PipelineConfig(latency=latency, slots=slots, forecast=False))
        self.gone = torch.tensor(gone, device=device)
        count = (batch, len(gone))
        self.belief = Belief(
            self.pipeline.initial(torch.zeros(batch, dtype=torch.int64, device=device)),
            torch.zeros((*count, 4), device=device),
            torch.zeros(count, dtype=torch.bool, device=device),
            torch.zeros((batch, facts), device=device),
        )
        self.seen: Detections = empty_detections(batch, slots, device)

    def begin(self, seed: Tensor, rows: Tensor, look: Callable[[], None]) -> None:
        """Episodes `seed` (B,) begin in worlds `rows` (n,): nothing is known but what the first look sees."""
        fresh = torch.zeros(len(seed), dtype=torch.bool, device=seed.device).index_fill(0, rows, True)
        before = self.belief
        self.belief = before._replace(pipeline=self.pipeline.reset_where(before.pipeline, fresh, seed))
        look()
        self.belief = select(fresh, self.belief, before)

    def see(self, frame: SensorFrame, labels: Labels | None, facts: Tensor | None = None) -> None:
        """One look more."""
        after, self.seen, tracks, _ = self.pipeline.step(frame, None, labels, state=self.belief.pipeline)
        there = tracks.mask & (tracks.unseen <= self.gone)
        known = self.belief.facts if facts is None else facts
        self.belief = Belief(after, torch.where(there[..., None], tracks.mean, 0.0), there, known)

    def remember(self, saved: Belief) -> None:
        """Go on from what was remembered."""
        self.belief = map_tensors(torch.clone, saved)

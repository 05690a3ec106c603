"""The levels `noisy` and `perceived`: a detector that looks at the screen, or what it might have said, and the filter behind it.

Both go through `perception.pipeline`, whose frame here is the court's. `noisy` errs by numbers that are assumed (`ScreenConfig.noise` and
`miss`), not fitted: no detector for screens ships yet. `perceived` takes one that `closedloop pretrain detector --domain games` made.

Shapes: B worlds, K = 3 things, D detections.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from envs.games.rally.looks import Looks, plain
from envs.games.rally.observation import PADDLE_X, Objects
from envs.games.rally.raster import canvas, draw, scale
from envs.games.rally.screen import ScreenConfig, looks_of
from envs.games.rally.stream import CLASSES, labels_of, screen_frame
from envs.games.rally.tracking import CourtTracker
from envs.games.rally.types import RallyConfig, RallyState
from perception.oracle import Oracle, VisibilityRule
from perception.pipeline import Pipeline, PipelineConfig, PipelineState
from perception.rng import normal, uniform
from perception.stages import Detector, Witness
from perception.states import map_tensors, select
from perception.types import Detections, Labels, SensorFrame

__all__ = ["Blurred", "Looking", "OnCourt", "Told"]

MULTIPLE = 16  # px: sides of pictures that detectors take
SCORE, SLOTS = 0.25, 8  # least score of what is believed; detections that are looked at
ERROR, MISS = 120, 121  # streams


class Belief(NamedTuple):
    """All that looking remembers."""

    pipeline: PipelineState
    place: Tensor  # (B, K, 4) x, y, vx, vy as believed now


def on_court(found: Detections) -> Detections:
    """Places ahead of a camera as places on the court that its picture shows: along the line of sight, to where the screen is."""
    ahead = found.centre[..., 0].clamp(min=1e-3)
    x, y = -found.centre[..., 1] / ahead, found.centre[..., 2] / ahead
    return found._replace(centre=torch.stack((x, y, torch.zeros_like(x)), -1))


class OnCourt:
    """A detector whose places are on the court. Raises ValueError if it does not know the things of the game."""

    def __init__(self, detector: Detector) -> None:
        if missing := [name for name in CLASSES if name not in detector.classes]:
            raise ValueError(f"the detector knows {', '.join(detector.classes)}, and not {', '.join(missing)}")
        self.detector, self.classes = detector, CLASSES
        self._kinds = torch.tensor([CLASSES.index(name) if name in CLASSES else len(CLASSES) for name in detector.classes])

    def __call__(self, frame: SensorFrame) -> Detections:
        """What is seen."""
        found = self.detector(frame)
        return on_court(found._replace(kind=self._kinds.to(found.kind.device)[found.kind]))


class Told:
    """The truth as a perfect detector would tell it."""

    classes = CLASSES

    def __init__(self) -> None:
        self.oracle = Oracle(classes=CLASSES, rule=VisibilityRule(side_min=0.0), sigma=0.01)

    def observe(self, frame: SensorFrame, labels: Labels, *, seed: Tensor, step: Tensor) -> Detections:
        """What there is; nothing is random."""
        return on_court(self.oracle.observe(frame, labels, seed=seed, step=step))


class Blurred(Told):
    """The truth with errors: things are missed at a share `miss` of looks, and seen `sigma` half courts off, each look by itself."""

    def __init__(self, *, sigma: float, miss: float) -> None:
        super().__init__()
        self.sigma, self.miss = sigma, miss

    def observe(self, frame: SensorFrame, labels: Labels, *, seed: Tensor, step: Tensor) -> Detections:
        """What might be said."""
        found = super().observe(frame, labels, seed=seed, step=step)
        who = torch.arange(found.mask.shape[1], device=seed.device)
        dx, dy = normal(seed[:, None], step[:, None], ERROR, who)
        missed = uniform(seed[:, None], step[:, None], MISS, who) < self.miss
        off = torch.stack((dx, dy, torch.zeros_like(dx)), -1) * self.sigma
        return found._replace(centre=found.centre + off, mask=found.mask & ~missed)


class Looking:
    """Where things are believed to be in B worlds: `start` where an episode begins, `look` after every decision.

    Raises WeightsError if there is no such detector, ValueError if it is one for something else.
    """

    def __init__(self, batch: int, config: RallyConfig, screen: ScreenConfig, device: torch.device | str, *, noisy: bool) -> None:
        self.config, self.screen, self.size = config, screen, -(-screen.size // MULTIPLE) * MULTIPLE
        self.pipeline = Pipeline(
            self._detector(noisy), CourtTracker(), None, PipelineConfig(latency=screen.latency, slots=SLOTS, forecast=False)
        )
        first = self.pipeline.initial(torch.zeros(batch, dtype=torch.int64, device=device))
        self.belief = Belief(first, torch.zeros((batch, 3, 4), device=device))
        self.looks: Looks = plain(batch, device)
        self.ground = canvas(self.looks, self.size)  # (B, 3, H, W)

    def _detector(self, noisy: bool) -> Detector | Witness:
        if noisy:
            return Blurred(sigma=self.screen.noise / scale(self.screen.size), miss=self.screen.miss)
        if self.screen.detector == "oracle":
            return Told()
        from perception.detectors.centernet import CenterNet

        return OnCourt(CenterNet.load(self.screen.detector, slots=SLOTS, threshold=SCORE))

    def prepare(self, state: RallyState, rows: Tensor) -> None:
        """Draw what stays the same in the episodes of worlds `rows` (n,), for who looks at pictures."""
        if self.pipeline.needs_labels:
            return
        looks = looks_of(state.seed[rows], self.screen)
        self.looks = Looks(*(whole.index_copy(0, rows, part) for whole, part in zip(self.looks, looks, strict=True)))
        self.ground = self.ground.index_copy(0, rows, canvas(looks, self.size))

    def start(self, state: RallyState, rows: Tensor) -> None:
        """Episodes begin in worlds `rows` (n,): nothing is known but what is seen now."""
        self.prepare(state, rows)
        fresh = torch.zeros(len(state.seed), dtype=torch.bool, device=state.seed.device).index_fill(0, rows, True)
        before = self.belief
        self.belief = Belief(self.pipeline.reset_where(before.pipeline, fresh, state.seed), before.place)
        self.look(state)
        self.belief = select(fresh, self.belief, before)

    def look(self, state: RallyState) -> None:
        """One look more."""
        labels = labels_of(state, self.config, self.size) if self.pipeline.needs_labels else None
        image = state.ball.new_zeros((len(state.ball), 3, 1, 1), dtype=torch.uint8).expand(-1, -1, self.size, self.size)
        image = image if labels is not None else draw(state, self.looks, self.ground, self.config)
        frame = screen_frame(image, state.step * self.config.dt)
        after, _, tracks, _ = self.pipeline.step(frame, None, labels, state=self.belief.pipeline)
        self.belief = Belief(after, torch.where(tracks.mask[..., None], tracks.mean, 0.0))

    def resume(self, state: RallyState, saved: Belief) -> None:
        """Go on from a state and what was remembered there."""
        self.prepare(state, torch.arange(len(state.seed), device=state.seed.device))
        self.belief = map_tensors(torch.clone, saved)

    def objects(self) -> Objects:
        """As believed now; what was never seen is in the middle. Where paddles are from left to right is known."""
        position, velocity = self.belief.place[..., :2].clone(), self.belief.place[..., 2:].clone()
        position[:, 1:, 0] = torch.tensor([-PADDLE_X, PADDLE_X], device=position.device)
        velocity[:, 1:, 0] = 0.0
        return Objects(position, velocity)

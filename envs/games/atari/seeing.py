"""Who looks at the screen: for the level `pixels` the last grey pictures, for `noisy` and `perceived` a detector and the filter behind it.

`noisy` errs by numbers that are assumed (`ScreenConfig.noise` and `miss`), not fitted. `perceived` takes a detector that
`closedloop pretrain detector --domain atari` made. What the game tells whoever plays it (points, lives) is known at every level.

Shapes: B worlds, K things, D detections, M facts, S = 4 pictures.
"""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np
import torch
from torch import Tensor

from envs.games.atari.moving import HALF
from envs.games.atari.observation import STACK
from envs.games.atari.picture import CLASSES, SIZE, frame_of, labels_of, on_screen, picture
from envs.games.atari.types import AtariState, Bytes, Game, Objects, ScreenConfig
from envs.games.screen_tracker import ScreenTracker, Things
from perception.oracle import Oracle, VisibilityRule
from perception.pipeline import Pipeline, PipelineConfig, PipelineState
from perception.rng import normal, uniform
from perception.stages import Detector, Witness
from perception.states import map_tensors, select
from perception.types import Detections, Labels, SensorFrame

__all__ = ["Blurred", "Grey", "Looking", "OnScreen", "Told", "shrunk", "things_of"]

SCORE, SLOTS = 0.25, 24  # least score of what is believed; detections that are looked at
ERROR, MISS = 122, 123  # streams
FASTEST, NEAR, LOST = 480.0, 0.3, 20  # of the filter: px/s, of a score for each half screen, looks


class Stack(NamedTuple):
    """All that `Grey` remembers."""

    frames: Tensor  # (B, S, H, W) uint8, the newest last


def shrunk(frames: Bytes, size: int) -> Bytes:
    """(B, 2, 210, 160) grey, the last two frames, since some things show in every other one -> (B, size, size), resized by area."""
    brightest = frames.max(axis=1)
    return np.stack([np.asarray(cv2.resize(one, (size, size), interpolation=cv2.INTER_AREA), dtype=np.uint8) for one in brightest])


class Grey:
    """Grey pictures of B worlds: `start` where an episode begins, `look` after every decision. shot: see `shrunk`."""

    shot = "grey"

    def __init__(self, batch: int, screen: ScreenConfig) -> None:
        self.screen = screen
        self.belief = Stack(torch.zeros((batch, STACK, screen.size, screen.size), dtype=torch.uint8))

    def start(self, state: AtariState, shot: Bytes, rows: Tensor) -> None:
        """Episodes begin in worlds `rows` (n,): all pictures are the first."""
        first = torch.from_numpy(shrunk(shot[rows.numpy()], self.screen.size))[:, None]
        self.belief = Stack(self.belief.frames.index_copy(0, rows, first.expand(-1, STACK, -1, -1)))

    def look(self, state: AtariState, shot: Bytes) -> None:
        """One picture more."""
        self.belief = Stack(torch.cat((self.belief.frames[:, 1:], torch.from_numpy(shrunk(shot, self.screen.size))[:, None]), 1))

    def resume(self, saved: Stack) -> None:
        """Go on from what was remembered."""
        self.belief = Stack(saved.frames.clone())


class OnScreen:
    """A detector whose places are px of the screen. Raises ValueError if it does not know the things of the game."""

    def __init__(self, detector: Detector, game: Game) -> None:
        if missing := sorted({kind for kind in game.kinds if kind not in detector.classes}):
            raise ValueError(f"the detector knows {', '.join(detector.classes)}, and not {', '.join(missing)}")
        self.detector, self.classes = detector, CLASSES
        self._kinds = torch.tensor([CLASSES.index(name) if name in CLASSES else len(CLASSES) for name in detector.classes])

    def __call__(self, frame: SensorFrame) -> Detections:
        """What is seen."""
        found = self.detector(frame)
        return on_screen(found._replace(kind=self._kinds.to(found.kind.device)[found.kind]))


class Told:
    """The truth as a perfect detector would tell it."""

    classes = CLASSES

    def __init__(self) -> None:
        self.oracle = Oracle(classes=CLASSES, rule=VisibilityRule(side_min=0.0), sigma=0.01)

    def observe(self, frame: SensorFrame, labels: Labels, *, seed: Tensor, step: Tensor) -> Detections:
        """What there is; nothing is random."""
        return on_screen(self.oracle.observe(frame, labels, seed=seed, step=step))


class Blurred(Told):
    """The truth with errors: things are missed at a share `miss` of looks, and seen `noise` px off, each look by itself."""

    def __init__(self, *, noise: float, miss: float) -> None:
        super().__init__()
        self.noise, self.miss = noise, miss

    def observe(self, frame: SensorFrame, labels: Labels, *, seed: Tensor, step: Tensor) -> Detections:
        """What might be said."""
        found = super().observe(frame, labels, seed=seed, step=step)
        who = torch.arange(found.mask.shape[1], device=seed.device)
        du, dv = normal(seed[:, None], step[:, None], ERROR, who)
        missed = uniform(seed[:, None], step[:, None], MISS, who) < self.miss
        off = torch.stack((du, dv, torch.zeros_like(du)), -1) * self.noise
        return found._replace(centre=found.centre + off, mask=found.mask & ~missed)


def things_of(game: Game) -> Things:
    """What the filter has to know of a game."""
    kinds = tuple(CLASSES.index(kind) for kind in game.kinds)
    kind, region = torch.tensor(kinds)[:, None], torch.tensor(game.regions)[:, None]  # (K, 1), (K, 1, 4)

    def fits(seen: Tensor, at: Tensor) -> Tensor:
        """By kind, and by where a thing can be."""
        there = at[:, None]
        inside = (there >= region[..., :2]) & (there <= region[..., 2:])
        return (seen[:, None] == kind) & inside.all(-1)

    return Things(
        kinds=kinds,
        memory=game.memory,
        surprise=game.surprise,
        fastest=FASTEST,
        near=NEAR / HALF[0],
        lost=LOST,
        ahead=game.ahead,
        fits=fits,
        apart=game.apart,
    )


class Belief(NamedTuple):
    """All that `Looking` remembers."""

    pipeline: PipelineState
    place: Tensor  # (B, K, 4) px and px/s: u, v, du, dv as believed now
    there: Tensor  # (B, K) bool
    facts: Tensor  # (B, M)


class Looking:
    """Where things are believed to be in B worlds: `start` where an episode begins, `look` after every decision. shot: (B, 210, 160, 3).

    Raises WeightsError if there is no such detector, ValueError if it is one for something else.
    """

    def __init__(self, batch: int, game: Game, screen: ScreenConfig, dt: float, *, noisy: bool) -> None:
        self.game, self.screen, self.dt = game, screen, dt
        self.shot = "" if noisy else "colour"
        pipeline = PipelineConfig(latency=screen.latency, slots=SLOTS, forecast=False)
        self.pipeline = Pipeline(self._detector(noisy), ScreenTracker(things_of(game)), None, pipeline)
        first = self.pipeline.initial(torch.zeros(batch, dtype=torch.int64))
        count = len(game.things)
        self.belief = Belief(
            first, torch.zeros((batch, count, 4)), torch.zeros((batch, count), dtype=torch.bool), torch.zeros((batch, len(game.facts)))
        )

    def _detector(self, noisy: bool) -> Detector | Witness:
        if noisy:
            return Blurred(noise=self.screen.noise, miss=self.screen.miss)
        if self.screen.detector == "oracle":
            return Told()
        from perception.detectors.centernet import CenterNet

        return OnScreen(CenterNet.load(self.screen.detector, slots=SLOTS, threshold=SCORE), self.game)

    def start(self, state: AtariState, shot: Bytes, rows: Tensor) -> None:
        """Episodes begin in worlds `rows` (n,): nothing is known but what is seen now."""
        fresh = torch.zeros(len(state.seed), dtype=torch.bool).index_fill(0, rows, True)
        before = self.belief
        self.belief = before._replace(pipeline=self.pipeline.reset_where(before.pipeline, fresh, state.seed))
        self.look(state, shot)
        self.belief = select(fresh, self.belief, before)

    def look(self, state: AtariState, shot: Bytes) -> None:
        """One look more."""
        labels = labels_of(self.game, state.ram[:, -1]) if self.pipeline.needs_labels else None
        facts = self.game.known(state)
        if self.shot:
            screen = torch.from_numpy(shot)
            facts, image = self.game.shown(facts, screen), picture(screen)
        else:
            image = torch.zeros((len(state.seed), 3, 1, 1), dtype=torch.uint8).expand(-1, -1, *SIZE)
        frame = frame_of(image, state.step * self.dt)
        after, _, tracks, _ = self.pipeline.step(frame, None, labels, state=self.belief.pipeline)
        there = tracks.mask & (tracks.unseen <= torch.tensor(self.game.gone))
        self.belief = Belief(after, torch.where(there[..., None], tracks.mean, 0.0), there, facts)

    def resume(self, saved: Belief) -> None:
        """Go on from what was remembered."""
        self.belief = map_tensors(torch.clone, saved)

    def objects(self) -> Objects:
        """As believed now."""
        place = self.belief.place
        return Objects(place[..., :2].clone(), place[..., 2:].clone(), self.belief.there.clone())

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
from envs.games.screen_eye import Belief, OnScreen, ScreenEye, ToldOnScreen, load_network
from envs.games.screen_tracker import ScreenTracker, Things
from perception.rng import normal, uniform
from perception.stages import Detector, Witness
from perception.storage import WeightsError, shipped
from perception.types import Detections, Labels, SensorFrame

__all__ = ["Blurred", "Grey", "Looking", "load_detector", "shrunk", "things_of", "told"]

SLOTS = 24  # detections that are looked at
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


def told() -> ToldOnScreen:
    """The truth as a perfect detector would tell it."""
    return ToldOnScreen(CLASSES, on_screen)


def load_detector(spec: str, game: Game) -> OnScreen:
    """A trained one, by the name of one that ships or its file. Raises WeightsError, ValueError if it is one for something else."""
    if spec == ScreenConfig.detector and spec not in shipped("detector"):
        raise WeightsError(
            "no detector of Atari's screens comes with this version: `closedloop pretrain detector --domain atari` makes one. Name its "
            "file: POLICY@perceived,detector=FILE; in training --set robot.screen.detector=FILE; in Python ScreenConfig(detector=FILE)"
        )
    return OnScreen(load_network(spec, slots=SLOTS), CLASSES, game.kinds, lambda found, _: on_screen(found))


class Blurred(ToldOnScreen):
    """The truth with errors: things are missed at a share `miss` of looks, and seen `noise` px off, each look by itself."""

    def __init__(self, *, noise: float, miss: float) -> None:
        super().__init__(CLASSES, on_screen)
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


class Looking(ScreenEye):
    """Where things are believed to be in B worlds: `start` where an episode begins, `look` after every decision. shot: (B, 210, 160, 3).

    Raises WeightsError if there is no such detector, ValueError if it is one for something else.
    """

    def __init__(self, batch: int, game: Game, screen: ScreenConfig, dt: float, *, noisy: bool) -> None:
        self.game, self.screen, self.dt = game, screen, dt
        self.shot = "" if noisy else "colour"
        tracker, facts = ScreenTracker(things_of(game)), len(game.facts)
        super().__init__(batch, self._detector(noisy), tracker, gone=game.gone, slots=SLOTS, latency=screen.latency, facts=facts)

    def _detector(self, noisy: bool) -> Detector | Witness:
        if noisy:
            return Blurred(noise=self.screen.noise, miss=self.screen.miss)
        return told() if self.screen.detector == "oracle" else load_detector(self.screen.detector, self.game)

    def start(self, state: AtariState, shot: Bytes, rows: Tensor) -> None:
        """Episodes begin in worlds `rows` (n,): nothing is known but what is seen now."""
        self.begin(state.seed, rows, lambda: self.look(state, shot))

    def look(self, state: AtariState, shot: Bytes) -> None:
        """One look more."""
        labels = labels_of(self.game, state.ram[:, -1]) if self.pipeline.needs_labels else None
        facts = self.game.known(state)
        if self.shot:
            screen = torch.from_numpy(shot)
            facts, image = self.game.shown(facts, screen), picture(screen)
        else:
            image = torch.zeros((len(state.seed), 3, 1, 1), dtype=torch.uint8).expand(-1, -1, *SIZE)
        self.see(frame_of(image, state.step * self.dt), labels, facts)

    def resume(self, saved: Belief) -> None:
        """Go on from what was remembered."""
        self.remember(saved)

    def objects(self) -> Objects:
        """As believed now."""
        place = self.belief.place
        return Objects(place[..., :2].clone(), place[..., 2:].clone(), self.belief.there.clone())

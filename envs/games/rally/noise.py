"""The error model of the level `noisy`: what a detector of screens would have said, without any picture.

It is that of all domains (`perception.noise`), which knows things on the ground that are seen from afar. So the screen is laid on the
ground, in px of the picture, with its middle FAR ahead: what is u px right and v px up in it is at FAR + u ahead and v to the left. Seen
from there, across the line of sight is up in the picture and range tells how far to the right, in strips whose errors are kept apart; and
`occlusion` is how near something else is, which is what detectors of screens have trouble with.

Shapes: B worlds, K = 3 things, D detections.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from envs.games.rally.looks import random_looks
from envs.games.rally.raster import canvas, draw, scale
from envs.games.rally.seeing import on_court
from envs.games.rally.stream import CLASSES, CONDITIONS, SKILLS, labels_of, moments, played, screen_frame
from envs.games.screen_eye import OnScreen
from perception.noise import NoisyOracle
from perception.storage import WeightsError
from perception.training.stream import Sample
from perception.types import Detections, Labels, SensorFrame

__all__ = ["FITTING", "GroundDetector", "GroundStream", "ScreenNoise", "card_of"]

FAR = 1000.0  # px: 20 times the picture's half, so that lines of sight are all but parallel
STRIPS = (950.0, 975.0, 990.0, 1010.0, 1025.0, 1050.0)  # px, edges: the left paddle, the left court, the net, the right court and paddle
APART = (4.0, 0.0)  # px: a ball is 4 px wide, so what is farther off is nothing that a filter could use
NEAR = 8.0  # px between boxes, from which on nothing else is near
FITTING: dict[str, Any] = {"groups": tuple((name,) for name in CLASSES), "ranges": STRIPS, "apart": APART}  # of `fit_noise`
SEEDS = 800_000  # of matches that detectors are watched in: those of `RallyStream`'s frames of no other use


def card_of(spec: str | Path) -> str:
    """The card meant by `spec`: a .json file, or the name of one that ships, `games` meaning `noise_games`."""
    name = str(spec)
    return name if name.endswith(".json") or name.startswith("noise_") else f"noise_{name}"


class ScreenNoise:
    """A `Witness` that errs as the error model `spec` says, see `card_of`.

    size: px of the picture. interval: s between looks. Raises WeightsError.
    """

    classes = CLASSES

    def __init__(self, spec: str | Path, *, size: int, interval: float) -> None:
        self.oracle, self.px = NoisyOracle.load(card_of(spec), interval=interval), scale(size)
        if tuple(self.oracle.classes) != CLASSES:
            raise WeightsError(f"the error model {spec!r} is of {', '.join(self.oracle.classes)}, not of {', '.join(CLASSES)}")

    def observe(self, frame: SensorFrame, labels: Labels, *, seed: Tensor, step: Tensor) -> Detections:
        """What might be said, as places on the court."""
        found = self.oracle.observe(frame, _labels_on_ground(labels, self.px), seed=seed, step=step)
        x, y, z = found.centre.unbind(-1)
        return found._replace(centre=torch.stack(((x - FAR) / self.px, y / self.px, torch.zeros_like(z)), -1))


class GroundDetector:
    """A detector of screens of `size` px whose places are on the ground: what an error model is fitted to."""

    classes = CLASSES

    def __init__(self, detector: OnScreen, *, size: int = 96) -> None:
        self.detector, self.px, self.sha256 = detector, scale(size), detector.sha256

    def __call__(self, frame: SensorFrame) -> Detections:
        """What is seen."""
        found = self.detector(frame)
        return found._replace(centre=_laid(found.centre, self.px), box=torch.full_like(found.box, torch.nan))


class GroundStream:
    """Consecutive frames of matches between built-in opponents, with labels on the ground."""

    classes, conditions = CLASSES, CONDITIONS

    def __init__(self, *, size: int = 96) -> None:
        self.size = size

    def sequences(self, batch: int, length: int, seed: int, *, every: int = 1) -> Iterator[list[Sample]]:
        """Sequences of `length` frames of `batch` matches, each with looks of its own, `every` decisions apart; endlessly."""
        while True:
            state = moments((SEEDS + seed) * 1_000_003 + torch.arange(batch))
            looks = random_looks(state.seed)
            ground, samples = canvas(looks, self.size), list[Sample]()
            for _ in range(length):
                frame = screen_frame(draw(state, looks, ground, SKILLS), state.step * SKILLS.dt)
                labels = _labels_on_ground(labels_of(state, SKILLS, self.size), scale(self.size))
                samples.append(Sample(frame, labels, torch.zeros_like(state.step)))
                for _ in range(every):
                    state = played(state)
            yield samples
            seed += 1


def _laid(court: Tensor, px: float) -> Tensor:
    """Places (B, D, 3) on the court as places on the ground."""
    x, y, z = court.unbind(-1)
    return torch.stack((FAR + x * px, y * px, torch.zeros_like(z)), -1)


def _labels_on_ground(labels: Labels, px: float) -> Labels:
    """Labels of a screen, whose boxes are told, laid on the ground, where they have none."""
    place = _laid(on_court(labels).centre, px)
    low, high = labels.box[..., :2], labels.box[..., 2:]
    gap = torch.maximum(low[:, :, None] - high[:, None], low[:, None] - high[:, :, None]).amax(-1)  # (B, K, K) px, below 0: they overlap
    gap = gap + torch.diag_embed(torch.full_like(gap[..., 0], torch.inf))
    close = (1.0 - gap.amin(-1) / NEAR).clamp(0.0, 1.0)
    return labels._replace(centre=place, occlusion=close, box=torch.full_like(labels.box, torch.nan))

"""The levels `noisy` and `perceived`: a detector that looks at the screen, or what it might have said, and the filter behind it.

Both go through `perception.pipeline`, whose frame here is the court's. `perceived` takes a detector that `closedloop pretrain detector
--domain games` made; what `noisy` errs by, `closedloop pretrain noise --domain games` has measured on its errors.

Shapes: B worlds, K = 3 things, D detections.
"""

from __future__ import annotations

import torch
from torch import Tensor

from envs.games.rally.looks import Looks, plain
from envs.games.rally.noise import ScreenNoise
from envs.games.rally.observation import PADDLE_X, THINGS, Objects
from envs.games.rally.raster import canvas, draw
from envs.games.rally.screen import ScreenConfig, looks_of
from envs.games.rally.seeing import SLOTS, load_detector, told
from envs.games.rally.stream import labels_of, screen_frame
from envs.games.rally.tracking import CourtTracker
from envs.games.rally.types import RallyConfig, RallyState
from envs.games.screen_eye import Belief, ScreenEye
from perception.stages import Detector, Witness

__all__ = ["Looking"]

MULTIPLE = 16  # px: sides of pictures that detectors take
ALWAYS = 2**31  # looks: things of a court are there, seen or not


class Looking(ScreenEye):
    """Where things are believed to be in B worlds: `start` where an episode begins, `look` after every decision.

    Raises WeightsError if there is no such detector or error model, ValueError if it is one for something else.
    """

    def __init__(self, batch: int, config: RallyConfig, screen: ScreenConfig, device: torch.device | str, *, noisy: bool) -> None:
        self.config, self.screen, self.size = config, screen, -(-screen.size // MULTIPLE) * MULTIPLE
        detector, gone = self._detector(noisy), [ALWAYS] * len(THINGS)
        super().__init__(batch, detector, CourtTracker(), gone=gone, slots=SLOTS, latency=screen.latency, device=device)
        self.looks: Looks = plain(batch, device)
        self.ground = canvas(self.looks, self.size)  # (B, 3, H, W)

    def _detector(self, noisy: bool) -> Detector | Witness:
        if noisy:
            return ScreenNoise(self.screen.noise, size=self.size, interval=self.config.dt)
        return told() if self.screen.detector == "oracle" else load_detector(self.screen.detector)

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
        self.begin(state.seed, rows, lambda: self.look(state))

    def look(self, state: RallyState) -> None:
        """One look more."""
        labels = labels_of(state, self.config, self.size) if self.pipeline.needs_labels else None
        image = state.ball.new_zeros((len(state.ball), 3, 1, 1), dtype=torch.uint8).expand(-1, -1, self.size, self.size)
        image = image if labels is not None else draw(state, self.looks, self.ground, self.config)
        self.see(screen_frame(image, state.step * self.config.dt), labels)

    def resume(self, state: RallyState, saved: Belief) -> None:
        """Go on from a state and what was remembered there."""
        self.prepare(state, torch.arange(len(state.seed), device=state.seed.device))
        self.remember(saved)

    def objects(self) -> Objects:
        """As believed now; what was never seen is in the middle. Where paddles are from left to right is known."""
        position, velocity = self.belief.place[..., :2].clone(), self.belief.place[..., 2:].clone()
        position[:, 1:, 0] = torch.tensor([-PADDLE_X, PADDLE_X], device=position.device)
        velocity[:, 1:, 0] = 0.0
        return Objects(position, velocity)

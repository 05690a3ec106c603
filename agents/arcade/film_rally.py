"""What a film of Rally shows. Shapes: K boxes, P points of a way."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from agents.films.film import Floats
from envs.games.rally.looking import MULTIPLE, Looking
from envs.games.rally.observation import Objects, ball_ahead, locate
from envs.games.rally.raster import SIDE, UPPER, boxes, canvas, draw, scale
from envs.games.rally.screen import looks_of
from envs.games.rally.stream import CLASSES
from envs.games.rally.types import LIMIT, RADIUS, THICKNESS
from envs.games.rally.worlds import RallyWorlds

__all__ = ["RallyScene", "sighted", "way"]

AHEAD, EVERY = 1.0, 0.025  # s, how far the ball's way is drawn, and between its points


class RallyScene:
    """World 0 of Rally. Implements `agents.arcade.film.Scene`."""

    things: tuple[str, ...] = CLASSES
    zoom, way_of = 4, "the ball"

    def __init__(self, worlds: RallyWorlds) -> None:
        self.worlds, self.eye = worlds, worlds.eye if isinstance(worlds.eye, Looking) else None
        self.side = self.eye.size if self.eye else -(-worlds.screen_config.size // MULTIPLE) * MULTIPLE
        self.looks = looks_of(worlds.state.seed, worlds.screen_config)  # does not change in an episode

    def eyes(self) -> NDArray[np.uint8]:
        """(H, W, 3) what detectors look at."""
        ground = canvas(self.looks, self.side)
        return np.ascontiguousarray(draw(self.worlds.state, self.looks, ground, self.worlds.config)[0].permute(1, 2, 0).numpy())

    def boxes(self) -> Floats:
        """(K, 5 or 6) px of it, thing and score."""
        return sighted(self.eye) if self.eye else _there(self.worlds, self.side)

    def way(self, size: int) -> Floats:
        """(P, 2) px in the picture for people."""
        return way(self.worlds.objects(), size)

    def note(self) -> str:
        """The points."""
        return " : ".join(map(str, self.worlds.state.score[0].tolist()))

    def terms(self) -> dict[str, float]:
        """Curves."""
        true, believed = locate(self.worlds.state), self.worlds.objects()
        won, lost = self.worlds.state.score[0].tolist()
        return {
            "points ahead": float(won - lost),
            "ball off by": float((believed.position - true.position)[0, 0].norm()),
            "ball's speed": float(true.velocity[0, 0].norm()),
        }


def way(objects: Objects, size: int) -> Floats:
    """(P, 2) px in a picture of `size`: the ball of world 0, and where it is expected every EVERY s until it leaves the court."""
    ball, velocity = objects.position[:1, 0], objects.velocity[:1, 0]
    moves = bool(velocity.abs().max() > 1e-3)
    later = [ball_ahead(ball, velocity, EVERY * k) for k in range(1, round(AHEAD / EVERY) + 1 if moves else 1)]
    court = torch.cat([ball, *later]).double().numpy()
    inside = np.abs(court[:, 0]) < LIMIT
    inside[0] = True
    return np.asarray((np.array([SIDE, UPPER]) + court[inside] * np.array([1.0, -1.0])) * scale(size))


def sighted(looking: Looking) -> Floats:
    """(K, 6) px, thing and score: what was detected in world 0 at the last look; rows of 0 for nothing. Where an error model says no boxes,
    those that things of this kind have."""
    seen, px = looking.seen, scale(looking.size)
    x, y = (seen.centre[0, :, axis].double().numpy() for axis in (0, 1))
    middle = np.stack(((x + SIDE) * px, (UPPER - y) * px), 1)
    kind = seen.kind[0].numpy()
    half = px * np.array([[RADIUS, RADIUS], [0.5 * THICKNESS, looking.config.paddle]])[kind]
    box = seen.box[0].double().numpy()
    usual = np.concatenate((middle - half, middle + half), 1)
    box = np.where(np.isfinite(box).all(1, keepdims=True) & (box[:, 2:] > box[:, :2]).all(1, keepdims=True), box, usual)
    rows = np.concatenate((box, kind[:, None], seen.score[0].double().numpy()[:, None]), 1)
    return np.where(seen.mask[0].numpy()[:, None], rows, 0.0)


def _there(worlds: RallyWorlds, size: int) -> Floats:
    """(K, 5) px and thing: what is there in world 0."""
    box = boxes(worlds.state, worlds.config, size)[0].double().numpy()
    return np.concatenate((box, np.array([[0.0], [1.0], [1.0]])), 1)

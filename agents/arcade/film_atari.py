"""What a film of an Atari game shows. Shapes: K boxes, P points of a way."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from agents.films.film import Floats
from envs.games.atari.observation import locate
from envs.games.atari.picture import CLASSES, labels_of, picture
from envs.games.atari.seeing import Looking
from envs.games.atari.types import HEIGHT, WIDTH
from envs.games.atari.worlds import AtariWorlds

__all__ = ["AtariScene"]

AHEAD, EVERY = 1.0, 0.05  # s, how far the way of what is followed is drawn, and between its points


class AtariScene:
    """World 0 of an Atari game. Implements `agents.arcade.film.Scene`."""

    things: tuple[str, ...] = CLASSES
    zoom = 2

    def __init__(self, worlds: AtariWorlds) -> None:
        self.worlds, self.eye = worlds, worlds.eye if isinstance(worlds.eye, Looking) else None
        self.name, self.kind = worlds.game.things[0], worlds.game.kinds[0]  # what is followed
        self.way_of = f"the {self.kind}"

    def eyes(self) -> NDArray[np.uint8]:
        """(H, W, 3) what detectors look at."""
        screen = torch.from_numpy(self.worlds.consoles.screen(0))[None]
        return np.ascontiguousarray(picture(screen)[0].permute(1, 2, 0).numpy())

    def boxes(self) -> Floats:
        """(K, 6) px of it, thing and score: what was detected at the last look; else (K, 5): what is there. Rows of 0 for nothing."""
        found = self.eye.seen if self.eye else labels_of(self.worlds.game, self.worlds.state.ram[:, -1])
        columns = [found.box[0], found.kind[0][:, None]] + ([self.eye.seen.score[0][:, None]] if self.eye else [])
        rows = torch.cat(columns, 1).double()
        return np.asarray(torch.where(found.mask[0][:, None], rows, 0.0).numpy())

    def way(self, size: int) -> Floats:
        """(P, 2) px in the picture for people; nothing where it is not believed to be there."""
        place, speed, there = self.worlds.objects()
        if not bool(there[0, 0]):
            return np.zeros((0, 2))
        moments = [EVERY * k for k in range(round(AHEAD / EVERY) + 1 if bool(speed[0, 0].abs().max() > 1e-3) else 1)]
        points = torch.stack([self.worlds.game.ahead(place[:1], speed[:1], torch.tensor(each))[0][0, 0] for each in moments])
        inside = (points[:, 0] > 0.0) & (points[:, 0] < WIDTH)  # who has left the screen is held at its edge
        inside[0] = True
        return np.asarray(points[inside].double().numpy() * (size / HEIGHT) * np.array([2.0, 1.0]))

    def note(self) -> str:
        """The points."""
        won, lost = int(self.worlds.state.won[0]), int(self.worlds.state.lost[0])
        return f"{lost} : {won}" if "other" in self.worlds.game.things and self.kind == "ball" else f"{won}"

    def terms(self) -> dict[str, float]:
        """Curves; places in px of the screen."""
        true, believed = locate(self.worlds.game, self.worlds.state), self.worlds.objects()
        both = bool(true.there[0, 0] & believed.there[0, 0])
        off = self.worlds.game.apart(believed.position, true.position)[0, 0].norm()
        return {
            "points": float(self.worlds.state.won[0] - self.worlds.state.lost[0]),
            f"{self.kind} off by": float(off) if both else 0.0,
            f"{self.kind}'s speed": float(true.velocity[0, 0].norm()) if bool(true.there[0, 0]) else 0.0,
        }

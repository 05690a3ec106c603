"""Recorded pedestrians: the UCY scenes as text, one line per observation: frame, id, x, y (m), frames 0.4 s apart.

Lerner, Chrysanthou & Lischinski, "Crowds by example", Computer Graphics Forum 26 (2007). The protocol is the field's usual one (Gupta et
al., "Social GAN", CVPR 2018): every window of 20 consecutive observations of a person is a sample, 8 to look at and 12 to predict.

Shapes: B windows in time, T people, P = 8 observations, S steps.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from perception.prediction.base import STEP, STEPS, WALKERS, no_roads
from perception.prediction.examples import LEFT, RIGHT, Examples, tracks_from
from perception.prediction.history import PAST, History

__all__ = ["AHEAD", "PERIOD", "UCY", "Windows", "mirrored", "read_people", "scaled", "windows"]

PERIOD = 0.4  # s between observations
AHEAD = 12  # observations to predict
FRAMES = 10  # of the video between observations
UCY = {"zara01": "stgcnn_crowds_zara01.txt", "zara02": "stgcnn_crowds_zara02.txt", "students001": "stgcnn_students001.txt"}
SIZE = (0.5, 0.6, 1.7)  # m, nobody was measured
Array = NDArray[np.float64]
Bools = NDArray[np.bool_]


class Windows:
    """All windows of a scene: examples to learn from, and the 12 observations to be judged by.

    A scene's people are the tracks of every instant at which somebody has 8 observations behind and 12 ahead. `judged` marks those; the
    others there are seen, and learned from as far as they are known, but do not count.
    """

    def __init__(self, examples: Examples, truth: Tensor, judged: Tensor) -> None:
        self.examples = examples
        self.truth = truth  # (B, T, 12, 2) m
        self.judged = judged  # (B, T) bool
        self.times = torch.arange(1, AHEAD + 1) * PERIOD  # (12,) s


def read_people(path: str | Path) -> tuple[Array, NDArray[np.bool_]]:
    """A text file as positions (I, N, 2) m of N people at I instants, and where they are known (I, N).

    Raises ValueError with the file and line of what cannot be read, OSError.
    """
    rows = []
    with Path(path).open(encoding="utf-8") as file:
        for number, line in enumerate(file, 1):
            parts = line.split()
            if not parts:
                continue
            try:
                frame, who, x, y = (float(part) for part in parts)
            except ValueError:
                raise ValueError(f"{path}:{number}: expected four numbers (frame, id, x, y), found {line.strip()[:60]!r}") from None
            rows.append((frame, who, x, y))
    if not rows:
        raise ValueError(f"{path}: no observations in it")
    table = np.array(rows)
    instant = np.round((table[:, 0] - table[:, 0].min()) / FRAMES).astype(np.int64)
    people, column = np.unique(table[:, 1], return_inverse=True)
    place = np.zeros((instant.max() + 1, len(people), 2))
    known = np.zeros(place.shape[:2], dtype=bool)
    place[instant, column], known[instant, column] = table[:, 2:], True
    return place, known


def windows(path: str | Path) -> Windows:
    """Windows of one scene. Velocities are last displacements over PERIOD; frames are centred on the people, unturned."""
    place, known = read_people(path)
    count = len(place)
    last = np.nonzero(_unbroken(known, PAST + AHEAD).any(1))[0]  # instants at which some window ends
    now = last - AHEAD
    most = int(known[now].sum(1).max())
    where, there = np.zeros((len(now), most), dtype=np.int64), np.zeros((len(now), most), dtype=bool)
    for i, t in enumerate(now):
        who = np.nonzero(known[t])[0]
        where[i, : len(who)], there[i, : len(who)] = who, True
    back = now[:, None] + np.arange(-PAST, 1)  # (B, P + 1), one more for the velocity of the first
    onward = now[:, None] + np.arange(0, AHEAD + 2)  # 13 ahead, so that the step at 5 s is between two
    past, past_known = _look(place, known, back, where, count)
    future, future_known = _look(place, known, onward, where, count)
    centre = np.zeros((len(now), 2))
    for i in range(len(now)):
        centre[i] = place[now[i], where[i][there[i]]].mean(0)
    past, future = past - centre[:, None, None], future - centre[:, None, None]
    return _assembled(past, past_known, future, future_known, there, now)


def _unbroken(known: NDArray[np.bool_], length: int) -> NDArray[np.bool_]:
    """(I, N): the `length` instants that end here are all known."""
    total = np.cumsum(np.concatenate([np.zeros((1, known.shape[1]), dtype=np.int64), known.astype(np.int64)]), axis=0)
    out = np.zeros_like(known)
    out[length - 1 :] = total[length:] - total[:-length] == length
    return out


def _look(
    place: Array, known: NDArray[np.bool_], at: NDArray[np.int64], who: NDArray[np.int64], count: int
) -> tuple[Array, NDArray[np.bool_]]:
    """Places (B, T, X, 2) and knowledge (B, T, X) of people who (B, T) at instants at (B, X)."""
    inside = (at >= 0) & (at < count)
    index = np.clip(at, 0, count - 1)[:, None, :]
    return place[index, who[:, :, None]], known[index, who[:, :, None]] & inside[:, None, :]


def _all_before(known: Bools) -> Bools:
    """Whether everything up to here along the last axis is known."""
    return np.asarray(np.cumprod(known, axis=-1, dtype=np.int8) > 0)


def _assembled(past: Array, past_known: Bools, future: Array, future_known: Bools, there: Bools, now: NDArray[np.int64]) -> Windows:
    seen = _all_before(past_known[..., ::-1])[..., ::-1] & there[..., None]  # without a break until now
    velocity = np.diff(past, axis=2) / PERIOD  # (B, T, P, 2), backwards differences
    first = ~seen[..., :-1]  # the one before is not known: take the next displacement instead
    velocity = np.where(first[..., None], np.concatenate([velocity[:, :, 1:], velocity[:, :, -1:]], axis=2), velocity)
    seen = seen[..., 1:]
    two = np.asarray(seen[..., -2:].all(-1))  # somebody seen once has no velocity
    velocity = np.where((seen & two[..., None])[..., None], velocity, 0.0)
    yaw = np.arctan2(velocity[..., 1], velocity[..., 0])
    follow = _all_before(future_known) & (there & two)[..., None]  # (B, T, 14)
    # the steps of forecasts lie between the observations
    times = STEP * np.arange(1, STEPS + 1)
    k = np.minimum((times / PERIOD).astype(np.int64), future.shape[2] - 2)
    share = (times / PERIOD - k)[:, None]
    steps = future[:, :, k] * (1.0 - share) + future[:, :, k + 1] * share
    known = follow[..., k + 1]
    judged = follow[..., AHEAD] & seen.all(-1)
    t = torch.from_numpy
    real = t(past[:, :, 1:]).float()
    speed, mask, heading = t(velocity).float(), t(there), t(yaw).float()
    kind = torch.full(mask.shape, WALKERS)
    mean = torch.cat([real[:, :, -1], speed[:, :, -1]], dim=-1)
    tracks = tracks_from(kind, mean, heading[..., -1], torch.tensor(SIZE).expand(*mask.shape, 3), mask)
    batch = len(now)
    history = History(
        id=tracks.id,
        x=real[..., 0],
        y=real[..., 1],
        vx=speed[..., 0],
        vy=speed[..., 1],
        yaw=heading,
        valid=t(seen),
        ego=torch.zeros((batch, PAST, 5)),
        ego_valid=torch.zeros((batch, PAST), dtype=torch.bool),
        stamp=(torch.arange(1 - PAST, 1) * PERIOD).expand(batch, PAST),
    )
    examples = Examples(history, tracks, no_roads(batch), t(steps).float(), t(known), torch.full(mask.shape, -1))
    return Windows(examples, t(future[:, :, 1 : AHEAD + 1]).float(), t(judged))


def mirrored(examples: Examples) -> Examples:
    """The scenes seen in a mirror: left and right change places, in the manoeuvres too."""
    h, t, r = examples.history, examples.tracks, examples.roads
    flip = torch.tensor([1.0, -1.0])
    history = h._replace(y=-h.y, vy=-h.vy, yaw=-h.yaw, ego=h.ego * torch.tensor([1.0, -1.0, 1.0, -1.0, -1.0]))
    tracks = t._replace(mean=t.mean * flip.repeat(2), yaw=-t.yaw)
    m = examples.manoeuvre
    swapped = torch.where(m == LEFT, RIGHT, torch.where(m == RIGHT, LEFT, m))
    roads = r._replace(points=r.points * flip.repeat(2))
    return Examples(history, tracks, roads, examples.future * flip, examples.there, swapped)


def scaled(examples: Examples, factor: float) -> Examples:
    """The scenes enlarged: everybody goes `factor` times as far and as fast, on roads as many times as large; sizes stay."""
    h, t, r = examples.history, examples.tracks, examples.roads
    ego = h.ego * torch.tensor([factor] * 4 + [1.0])
    history = h._replace(x=h.x * factor, y=h.y * factor, vx=h.vx * factor, vy=h.vy * factor, ego=ego)
    roads = r._replace(points=r.points * torch.tensor([factor, factor, 1.0, 1.0]), limit=r.limit * factor)
    return examples._replace(history=history, tracks=t._replace(mean=t.mean * factor), roads=roads, future=examples.future * factor)

"""Fitting the error model of `perception.noise` to what a detector said of frames whose truth is known.

Detections are matched with labels of the same frame and camera so that most are matched and these best: by IoU >= 0.5 of the boxes, or,
without boxes, by the distance of the centres on the ground. Cells of a table that were met rarely lean on their neighbours: a cell's count
is joined by PRIOR imaginary cases with the mean of the cells above it (empirical Bayes: cell < range < group < all).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment
from scipy.special import ndtr, ndtri
from torch import Tensor

from perception.detectors import DRIVING_CLASSES
from perception.noise_model import GROUPS, HIDDEN, QUANTILES, RANGES, STATES, NoiseModel
from perception.types import Detections, Labels

__all__ = ["NoiseFit", "Pair", "fit_noise"]

PRIOR = 6.0  # imaginary cases
IOU_MIN = 0.5
APART = (2.0, 0.15)  # m + share of the range, largest distance of a match without boxes
SAME_PLACE = 3.0  # m on the ground within which a false detection counts as the one of the frame before
Array = NDArray[np.float64]


class Pair(NamedTuple):
    """The truth of some frames, and what was detected in them."""

    labels: Labels  # (B, D)
    detections: Detections  # (B, E)
    lens: Tensor | None = None  # (B, 2) m, lens of the first camera in the ego frame; None: the origin
    motion: Tensor | None = None  # (B, 3) since the frame before in the same row
    first: Tensor | None = None  # (B,) bool, no predecessor in the pair before; None: the first pair only
    weather: Tensor | None = None  # (B,) int64


@dataclass(frozen=True, kw_only=True, eq=False)
class NoiseFit:
    """A fitted model and how much it rests on."""

    model: NoiseModel
    frames: int
    things: int  # labels
    found: int
    false: int
    tried: NDArray[np.int64]  # (G, R, O) labels in each cell
    missed: NDArray[np.int64]  # (G, R, O) of these not found
    evidence: dict[str, Any] = field(default_factory=dict)  # JSON for the card: counts, and 95 % intervals

    def interval(self) -> Array:
        """(G, R, O, 2) 95 % intervals of the probabilities of missing (Wilson 1927); 0 to 1 in cells never met."""
        return np.stack(_wilson(self.missed, self.tried), -1)


def fit_noise(
    pairs: Iterable[Pair],
    *,
    classes: Sequence[str] = DRIVING_CLASSES,
    groups: Sequence[Sequence[str]] = GROUPS,
    ranges: Sequence[float] = RANGES,
    apart: tuple[float, float] = APART,
    interval: float = 0.1,
    weathers: Sequence[str] = ("all",),
) -> NoiseFit:
    """The error model of a detector from consecutive frames. Row b of a pair follows row b of the pair before unless it is `first`.

    ranges: m, edges of the bins of range, ascending. apart: m, and share of the range, how far off the detection of a thing may be where
    there are no boxes. interval: s between frames. Raises ValueError if there are no labels at all.
    """
    rows, false, frames, life = _collect(pairs, apart)
    if not len(rows["kind"]):
        raise ValueError("there are no labels to fit an error model to")
    shape = (len(groups), len(ranges) - 1, len(HIDDEN) - 1)
    member = np.array([next(i for i, group in enumerate(groups) if name in group) for name in classes])
    group = member[rows["kind"]]
    near = np.clip(np.searchsorted(ranges, rows["range"], side="right") - 1, 0, shape[1] - 1)
    hidden = np.clip(np.searchsorted(HIDDEN, rows["hidden"], side="right") - 1, 0, shape[2] - 1)
    hit = rows["hit"] > 0
    cell = np.ravel_multi_index((group, near, hidden), shape)
    tried = np.bincount(cell, minlength=math.prod(shape)).reshape(shape)
    missed = np.bincount(cell, ~hit, math.prod(shape)).reshape(shape)
    miss = _shrunk(missed, tried)
    weather = _weather(miss[group, near, hidden], ~hit, rows["weather"], len(weathers))
    chance = ndtr(ndtri(miss[group, near, hidden]) + weather[rows["weather"].astype(int)])
    miss_memory = _miss_memory(chance, ~hit, rows["before"])

    g, r, o = group[hit], near[hit], hidden[hit]
    seen = {name: value[hit] for name, value in rows.items()}
    along, across = (_moments(seen[name], g, r, shape[:2]) for name in ("along", "across"))
    ua = (seen["along"] - along[g, r, 0]) / np.maximum(along[g, r, 1], 1e-6)
    uc = (seen["across"] - across[g, r, 0]) / np.maximum(across[g, r, 1], 1e-6)
    wide = _spread((ua**2 + uc**2) / 2.0, o, shape[2])
    flipped = np.abs(_wrap(seen["turn"])) > 0.5 * math.pi
    turn = _wrap(seen["turn"] + np.where(flipped, math.pi, 0.0))
    told = np.isfinite(turn)
    yaw = np.stack((_moments(turn[told], g[told], r[told], shape[:2])[..., 1], _share(flipped, g, r, shape[:2])), -1)
    known = np.isfinite(seen["grow"]).all(1)
    size = np.stack([_moments(seen["grow"][known, i], g[known], 0 * g[known], (shape[0], 1))[:, 0] for i in range(3)], 1)
    model = NoiseModel(
        classes=tuple(classes),
        groups=tuple(tuple(part) for part in groups),
        ranges=torch.tensor(tuple(ranges)),
        hidden=torch.tensor(HIDDEN),
        interval=interval,
        miss=_tensor(miss),
        miss_memory=miss_memory,
        along=_tensor(along),
        across=_tensor(across),
        spread_hidden=_tensor(wide),
        place_memory=_place_memory(ua / wide[o], uc / wide[o], rows["before"], hit),
        size=_tensor(size),
        yaw=_tensor(yaw),
        kind=_tensor(_confusion(seen["kind"], seen["called"], len(classes))),
        light=_tensor(_confusion(seen["light"], seen["lit"], STATES)),
        score=_tensor(_scores(seen["score"], g, r, shape[:2])),
        false_rate=min(len(false) / frames, 32.0),
        false_life=life,
        false_kind=_tensor(_histogram(false[:, 0], len(classes))),
        false_range=_tensor(_histogram(np.clip(np.searchsorted(ranges, false[:, 1], side="right") - 1, 0, shape[1] - 1), shape[1])),
        false_bearing=float(np.quantile(np.abs(false[:, 2]), 0.99)) if len(false) else 0.5,
        false_score=_tensor(np.quantile(false[:, 3], np.linspace(0, 1, QUANTILES)) if len(false) else np.linspace(0.3, 0.5, QUANTILES)),
        weathers=tuple(weathers),
        weather=_tensor(weather),
        weather_share=_tensor(_histogram(rows["weather"], len(weathers))),
    )
    fit = NoiseFit(
        model=model,
        frames=frames,
        things=len(hit),
        found=int(hit.sum()),
        false=len(false),
        tried=tried.astype(np.int64),
        missed=missed.astype(np.int64),
    )
    low, high = _wilson(np.array(fit.things - fit.found), np.array(fit.things))
    fit.evidence.update(
        {
            "frames": frames,
            "labels": fit.things,
            "found": fit.found,
            "false": fit.false,
            "miss_95": [round(float(low), 5), round(float(high), 5)],
            "tried": fit.tried.tolist(),
            "missed": fit.missed.tolist(),
        }
    )
    return fit


def _collect(pairs: Iterable[Pair], apart: tuple[float, float]) -> tuple[dict[str, NDArray[Any]], Array, int, int]:
    """All labels of all frames as flat arrays (`before`: the row of the same thing in the frame before, -1), false detections
    (N, 4) kind, range, bearing, score, the number of frames, and for how many false detections last."""
    columns: dict[str, list[Any]] = {name: [] for name in _COLUMNS}
    false: list[Array] = []
    memory: list[dict[int, int]] = []
    ghosts: list[Array] = []
    count = frames = stays = could = 0
    for pair in pairs:
        labels = {
            name: np.asarray(getattr(pair.labels, name).cpu()) for name in Labels._fields if name not in ("depth", "instance", "semantic")
        }
        found = {name: np.asarray(value.cpu()) for name, value in pair.detections._asdict().items()}
        batch = len(labels["mask"])
        if len(memory) != batch:
            memory, ghosts = [{} for _ in range(batch)], [np.zeros((0, 2)) for _ in range(batch)]
        for b in range(batch):
            begins = pair.first is not None and bool(pair.first[b])
            lens = np.zeros(2) if pair.lens is None else np.asarray(pair.lens[b].cpu(), np.float64)
            real, told = np.flatnonzero(labels["mask"][b]), np.flatnonzero(found["mask"][b])
            match = _match(labels, found, b, real, told, lens, apart)
            before, memory[b] = ({} if begins else memory[b]), {}
            for q, p in zip(real.tolist(), match.tolist(), strict=True):
                source = int(labels["source"][b, q])
                row = _row(labels, found, b, q, p, lens)
                row |= {"before": before.get(source, -1), "weather": 0 if pair.weather is None else int(pair.weather[b])}
                for name in _COLUMNS:
                    columns[name].append(row[name])
                memory[b][source] = count
                count += 1
            made_up = told[~np.isin(told, match)]
            place = found["centre"][b, made_up, :2].astype(np.float64)
            old = np.zeros((0, 2)) if begins else _carried(ghosts[b], pair.motion, b)
            could += len(old)
            stays += int((np.linalg.norm(old[:, None] - place[None], axis=-1) < SAME_PLACE).any(1).sum()) if len(place) else 0
            ghosts[b] = place
            sight = place - lens
            values = (found["kind"][b, made_up], np.hypot(*sight.T), np.arctan2(sight[:, 1], sight[:, 0]), found["score"][b, made_up])
            false.append(np.stack([np.asarray(value, np.float64) for value in values], 1))
            frames += 1
    rows: dict[str, NDArray[Any]] = {name: np.array(values, np.float64) for name, values in columns.items()}
    for name in ("kind", "called", "light", "lit", "before", "weather"):
        rows[name] = rows[name].astype(np.int64)
    last = min(stays / could if could else 0.0, 0.95)
    return rows, np.concatenate(false) if false else np.zeros((0, 4)), frames, round(1.0 / (1.0 - last))


_COLUMNS = ("kind", "range", "hidden", "hit", "along", "across", "grow", "turn", "called", "light", "lit", "score", "before", "weather")


def _row(labels: dict[str, Any], found: dict[str, Any], b: int, q: int, p: int, lens: Array) -> dict[str, Any]:
    sight = labels["centre"][b, q, :2].astype(np.float64) - lens
    reach = max(float(np.hypot(*sight)), 0.1)
    row: dict[str, Any] = {"kind": labels["kind"][b, q], "range": reach, "hidden": labels["occlusion"][b, q], "hit": p >= 0}
    row |= {"light": labels["light"][b, q], "along": 0.0, "across": 0.0, "grow": [math.nan] * 3, "turn": math.nan}
    row |= {"called": -1, "lit": -1, "score": 0.0}
    if p >= 0:
        error = found["centre"][b, p, :2].astype(np.float64) - labels["centre"][b, q, :2]
        unit = sight / reach
        row["along"], row["across"] = error @ unit / reach, (unit[0] * error[1] - unit[1] * error[0]) / reach
        row["grow"] = np.log(np.maximum(found["size"][b, p], 1e-3) / np.maximum(labels["size"][b, q], 1e-3)).tolist()
        row["turn"] = float(found["yaw"][b, p]) - float(labels["yaw"][b, q])
        row["called"], row["lit"], row["score"] = found["kind"][b, p], found["light"][b, p], found["score"][b, p]
    return row


def _match(
    labels: dict[str, Any],
    found: dict[str, Any],
    b: int,
    real: NDArray[Any],
    told: NDArray[Any],
    lens: Array,
    apart: tuple[float, float],
) -> NDArray[np.int64]:
    """For every label of `real` the detection of `told`, or -1."""
    match = np.full(len(real), -1, np.int64)
    if not len(real) or not len(told):
        return match
    p, q = labels["box"][b, real].astype(np.float64), found["box"][b, told].astype(np.float64)
    if np.isfinite(p).all() and np.isfinite(q).all():
        low, high = np.maximum(p[:, None, :2], q[None, :, :2]), np.minimum(p[:, None, 2:], q[None, :, 2:])
        common = np.clip(high - low, 0, None).prod(-1)
        area = (p[:, None, 2:] - p[:, None, :2]).prod(-1) + (q[None, :, 2:] - q[None, :, :2]).prod(-1) - common
        gain = common / np.maximum(area, 1e-9) - IOU_MIN
    else:
        x, y = labels["centre"][b, real, :2].astype(np.float64), found["centre"][b, told, :2].astype(np.float64)
        reach = np.linalg.norm(x - lens, axis=-1)[:, None]
        gain = 1.0 - np.linalg.norm(x[:, None] - y[None], axis=-1) / (apart[0] + apart[1] * reach)
    fits = (gain >= 0.0) & (labels["camera"][b, real][:, None] == found["camera"][b, told][None])
    other = labels["kind"][b, real][:, None] != found["kind"][b, told][None]
    value = np.where(fits, 10.0 + gain - 0.5 * other, 0.0)
    rows, columns = linear_sum_assignment(value, maximize=True)
    good = fits[rows, columns]
    match[rows[good]] = told[columns[good]]
    return match


def _carried(place: Array, motion: Tensor | None, b: int) -> Array:
    if motion is None or not len(place):
        return place
    dx, dy, turn = (float(value) for value in motion[b])
    x, y = place[:, 0] - dx, place[:, 1] - dy
    return np.stack((x * math.cos(turn) + y * math.sin(turn), y * math.cos(turn) - x * math.sin(turn)), 1)


def _shrunk(bad: NDArray[Any], tried: NDArray[Any]) -> Array:
    """(G, R, O) probabilities."""
    mean = (bad.sum() + 1.0) / (tried.sum() + 2.0)
    by_group = (bad.sum((1, 2)) + PRIOR * mean) / (tried.sum((1, 2)) + PRIOR)
    by_range = (bad.sum(2) + PRIOR * by_group[:, None]) / (tried.sum(2) + PRIOR)
    return np.asarray(np.clip((bad + PRIOR * by_range[..., None]) / (tried + PRIOR), 1e-4, 0.999), np.float64)


def _moments(value: Array, g: NDArray[Any], r: NDArray[Any], shape: tuple[int, int]) -> Array:
    """(G, R, 2) means and standard deviations, shrunk towards the group's, and that towards all."""
    cell = np.ravel_multi_index((g, r), shape)
    n, total = (np.bincount(cell, w, shape[0] * shape[1]).reshape(shape) for w in (np.ones_like(value), value))
    square = np.bincount(cell, value**2, shape[0] * shape[1]).reshape(shape)
    everything = (total.sum() / max(n.sum(), 1.0), square.sum() / max(n.sum(), 1.0))
    means = []
    for part, whole in ((total, everything[0]), (square, everything[1])):
        group = (part.sum(1) + PRIOR * whole) / (n.sum(1) + PRIOR)
        means.append((part + PRIOR * group[:, None]) / (n + PRIOR))
    return np.stack((means[0], np.sqrt(np.maximum(means[1] - means[0] ** 2, 0.0))), -1)


def _share(yes: NDArray[np.bool_], g: NDArray[Any], r: NDArray[Any], shape: tuple[int, int]) -> Array:
    return _moments(yes.astype(np.float64), g, r, shape)[..., 0]


def _spread(square: Array, o: NDArray[Any], bins: int) -> Array:
    """(O,) by how much errors are larger there than at all occlusions together."""
    n, total = np.bincount(o, minlength=bins), np.bincount(o, square, bins)
    return np.asarray(np.sqrt((total + PRIOR) / (n + PRIOR)), np.float64)


def _weather(chance: Array, bad: NDArray[np.bool_], weather: NDArray[np.int64], count: int) -> Array:
    """(W,) shifts that make as many misses expected as there were, by bisection."""
    shift = np.zeros(count)
    for w in range(count) if count > 1 else ():
        here = weather == w
        wanted = bad[here].sum() + PRIOR * chance[here].mean() if here.any() else 0.0
        low, high = -4.0, 4.0
        for _ in range(40 if here.any() else 0):
            middle = 0.5 * (low + high)
            told = ndtr(ndtri(chance[here]) + middle)
            enough = told.sum() + PRIOR * told.mean() >= wanted
            low, high = (low, middle) if enough else (middle, high)
        shift[w] = 0.5 * (low + high)
    return shift


def _miss_memory(chance: Array, bad: NDArray[np.bool_], before: NDArray[np.int64]) -> float:
    """Correlation of z with which as many things are expected to be missed twice running as were."""
    now = np.flatnonzero(before >= 0)
    if len(now) < 20:
        return 0.0
    h, k = ndtri(chance[now]), ndtri(chance[before[now]])
    wanted = float((bad[now] & bad[before[now]]).sum())
    low, high = 0.0, 0.99
    for _ in range(20):
        middle = 0.5 * (low + high)
        low, high = (low, middle) if _both(h, k, middle).sum() >= wanted else (middle, high)
    return 0.5 * (low + high) if low > 0.0 else 0.0


def _both(h: Array, k: Array, rho: float) -> Array:
    """P(z1 < h, z2 < k) of standard normals with correlation rho: Phi(h) Phi(k) + integral of their density over the correlation from 0
    (Plackett 1954), by Gauss's rule."""
    at, weight = np.polynomial.legendre.leggauss(16)
    total = ndtr(h) * ndtr(k)
    for x, w in zip(at, weight, strict=True):
        r = 0.5 * rho * (x + 1.0)
        total = total + 0.5 * rho * w * np.exp(-(h * h - 2 * r * h * k + k * k) / (2 * (1 - r * r))) / (2 * math.pi * math.sqrt(1 - r * r))
    return np.asarray(total, np.float64)


def _place_memory(ua: Array, uc: Array, before: NDArray[np.int64], hit: NDArray[np.bool_]) -> float:
    """Correlation of the errors of a thing in consecutive frames."""
    place = np.full((len(hit), 2), np.nan)
    place[hit] = np.stack((ua, uc), 1)
    now = np.flatnonzero((before >= 0) & hit)
    now = now[hit[before[now]]]
    if len(now) < 20:
        return 0.0
    here, there = place[now], place[before[now]]
    return float(np.clip((here * there).mean() / max((0.5 * (here**2 + there**2)).mean(), 1e-9), 0.0, 0.99))


def _confusion(true: NDArray[np.int64], told: NDArray[np.int64], count: int) -> Array:
    use = (true >= 0) & (told >= 0) & (true < count) & (told < count)
    table = np.bincount(true[use] * count + told[use], minlength=count * count).reshape(count, count) + 1e-3 + np.eye(count)
    return np.asarray(table / table.sum(1, keepdims=True), np.float64)


def _scores(score: Array, g: NDArray[Any], r: NDArray[Any], shape: tuple[int, int]) -> Array:
    """(G, R, Q) quantiles, of the group or of all where a cell has fewer than 30."""
    at = np.linspace(0, 1, QUANTILES)
    table = np.zeros((*shape, QUANTILES))
    for i, j in np.ndindex(*shape):
        for part in (score[(g == i) & (r == j)], score[g == i], score, np.array([0.5])):
            if len(part) >= 30 or len(part) == 1:
                table[i, j] = np.quantile(part, at)
                break
    return np.clip(table, 0.0, 1.0)


def _histogram(index: NDArray[Any], count: int) -> Array:
    table = np.bincount(index.astype(np.int64), minlength=count) + 0.1
    return np.asarray(table / table.sum(), np.float64)


def _wilson(bad: NDArray[Any], tried: NDArray[Any]) -> tuple[Array, Array]:
    z2 = 1.959964**2
    n = np.maximum(tried, 1e-9)
    middle = (bad + z2 / 2) / (n + z2)
    half = np.sqrt(z2) / (n + z2) * np.sqrt(np.maximum(bad * (n - bad) / n, 0.0) + z2 / 4)
    return np.clip(middle - half, 0.0, 1.0), np.clip(middle + half, 0.0, 1.0)


def _wrap(angle: Array) -> Array:
    return np.asarray((angle + math.pi) % (2 * math.pi) - math.pi, np.float64)


def _tensor(values: NDArray[Any]) -> Tensor:
    return torch.tensor(np.asarray(values), dtype=torch.float32)

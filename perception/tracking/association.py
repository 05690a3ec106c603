"""Which detection is which track, which is new, and which track is one too many.

Shapes: B worlds, T tracks, D detections. SI units; ego frame.
"""

from __future__ import annotations

import torch
from torch import Tensor

from perception.tracking.assignment import assign
from perception.tracking.config import TrackerConfig
from perception.tracking.filter import Target
from perception.tracking.seeing import Measured
from perception.tracking.standing import LEAST, Standing
from perception.tracking.state import TrackerState, believed
from perception.types import Detections

__all__ = ["associate", "newcomers", "squared_distance", "taken_twice"]

MAY_MOVE = 0.01  # least chance, in this, that a standing thing has driven off since: else it would be taken for a newcomer
BODY = 0.7  # share of the mean width of two things within which their middles cannot be


def squared_distance(target: Target, seen: Measured) -> tuple[Tensor, Tensor]:
    """Squared Mahalanobis distance of every detection from every track, and det S; (B, T, D) each."""

    def pair(mine: Tensor, theirs: Tensor) -> Tensor:
        return mine.unsqueeze(2) + theirs.unsqueeze(1)

    sxx, sxy, syy = pair(target.pxx, seen.noise.xx), pair(target.pxy, seen.noise.xy), pair(target.pyy, seen.noise.yy)
    ex, ey = pair(-target.x, seen.x), pair(-target.y, seen.y)
    det = (sxx * syy - sxy * sxy).clamp(min=1e-12)
    return (syy * ex * ex - 2.0 * sxy * ex * ey + sxx * ey * ey) / det, det


def associate(state: TrackerState, kind: Tensor, seen: Measured, config: TrackerConfig) -> Tensor:
    """The detection of every track, (B, T) int64, -1: none. Cost: d^2 + ln det S, dearer for another class and for unconfirmed tracks.

    Two rounds, as in ByteTrack: all tracks with detections of a high score; then the confirmed ones left over with those of a low score,
    and with those of a high one that lie in a wider gate, lest every outlier begin a second track of the same thing. A detection outside
    the gate may still be the track's if the two bodies would overlap: it can be nothing else.
    """
    target = believed(state)
    squared, spread = _distance(state.target, state.standing, seen, config)
    may = torch.tensor(config.compatible, device=kind.device)
    fits = may[kind.unsqueeze(2), seen.kind.unsqueeze(1)] & (state.id >= 0).unsqueeze(2) & seen.usable.unsqueeze(1)
    dearer = torch.where(kind.unsqueeze(2) != seen.kind.unsqueeze(1), config.kind_penalty, 0.0) + spread
    dearer = dearer + torch.where(state.confirmed, 0.0, config.tentative_penalty).unsqueeze(2)
    ex, ey = target.x.unsqueeze(2) - seen.x.unsqueeze(1), target.y.unsqueeze(2) - seen.y.unsqueeze(1)
    near = (squared <= config.gate) | _within(ex, ey, state.size[..., 1].unsqueeze(2), seen.size[..., 1].unsqueeze(1))
    high = torch.tensor(config.highs, device=kind.device)[seen.kind]
    high, low = seen.score >= high, (seen.score >= config.low) & (seen.score < high)
    cost = torch.where(fits & near & high.unsqueeze(1), squared.clamp(max=config.gate) + dearer, torch.inf)
    first = assign(cost, config.limit)

    used = (first.unsqueeze(2) == torch.arange(seen.x.shape[1], device=kind.device)).any(1)
    rest = (first < 0) & state.confirmed
    wide = (squared <= config.gate_wide) & (state.unseen == 0).unsqueeze(2) & (high & ~used).unsqueeze(1)
    again = fits & rest.unsqueeze(2) & ((near & low.unsqueeze(1)) | wide)
    second = assign(torch.where(again, squared.clamp(max=config.gate_wide) + dearer, torch.inf), config.limit)
    return torch.where(first >= 0, first, second)


def _distance(moves: Target, stands: Standing | None, seen: Measured, config: TrackerConfig) -> tuple[Tensor, Tensor]:
    """d^2 and ln det S (B, T, D). Of two models those of the one that makes a detection likelier, with -2 ln of its chance in ln det S; if
    the detection lies in the gate of one alone, of that."""
    squared, det = squared_distance(moves, seen)
    if stands is None:
        return squared, det.log()
    other, its = squared_distance(stands.at, seen)
    chance = stands.chance.unsqueeze(2)
    spread = det.log() - 2.0 * (1.0 - chance).clamp(min=MAY_MOVE).log()
    still = its.log() - 2.0 * chance.clamp(min=LEAST).log()
    inside, alone = other <= config.gate, squared > config.gate
    better = (chance > 0.0) & torch.where(inside == alone, inside, other + still < squared + spread)
    return torch.where(better, other, squared), torch.where(better, still, spread)


def newcomers(
    alive: Tensor, match: Tensor, target: Target, size: Tensor, kind: Tensor, seen: Measured, found: Detections, config: TrackerConfig
) -> Tensor:
    """(B, D) detections that begin a track: confident, nobody's, and not one more sight of what another detection already is.

    target, size and kind are the tracks' after their update.
    """
    matched = match.unsqueeze(2) == torch.arange(seen.x.shape[1], device=match.device)  # (B, T, D)
    new = seen.usable & (seen.score >= torch.tensor(config.highs, device=match.device)[seen.kind]) & ~matched.any(1)
    light, lamp = kind == config.light, seen.kind == config.light
    now = (alive & (match >= 0)).unsqueeze(2) & (light.unsqueeze(2) == lamp.unsqueeze(1))
    ex, ey = target.x.unsqueeze(2) - seen.x.unsqueeze(1), target.y.unsqueeze(2) - seen.y.unsqueeze(1)
    within = _within(ex, ey, size[..., 1].unsqueeze(2), seen.size[..., 1].unsqueeze(1))
    # two cameras disagree about a thing by as much as they err
    seen_by = seen.camera.gather(1, match.clamp(min=0)).unsqueeze(2)
    elsewhere = (seen_by != seen.camera.unsqueeze(1)) & (squared_distance(target, seen)[0] <= config.gate)
    twice = (now & (within | elsewhere)).any(1)
    # and of the new ones, the best of those in one place
    index = torch.arange(seen.x.shape[1], device=match.device)
    score = seen.score
    better = (score.unsqueeze(1) > score.unsqueeze(2)) | ((score.unsqueeze(1) == score.unsqueeze(2)) & (index < index.unsqueeze(1)))
    ex, ey = seen.x.unsqueeze(2) - seen.x.unsqueeze(1), seen.y.unsqueeze(2) - seen.y.unsqueeze(1)
    same = _within(ex, ey, seen.size[..., 1].unsqueeze(2), seen.size[..., 1].unsqueeze(1)) & (lamp.unsqueeze(2) == lamp.unsqueeze(1))
    return new & ~twice & ~(same & better & new.unsqueeze(1)).any(2)


def taken_twice(ids: Tensor, match: Tensor, target: Target, size: Tensor, kind: Tensor, config: TrackerConfig) -> Tensor:
    """(B, T) tracks not seen now whose place is taken by one that is seen: the same thing under an older or a false name."""
    ex, ey = target.x.unsqueeze(2) - target.x.unsqueeze(1), target.y.unsqueeze(2) - target.y.unsqueeze(1)
    light = kind == config.light
    same = _within(ex, ey, size[..., 1].unsqueeze(2), size[..., 1].unsqueeze(1)) & (light.unsqueeze(2) == light.unsqueeze(1))
    seen = ((ids >= 0) & (match >= 0)).unsqueeze(1)
    return (ids >= 0) & (match < 0) & (same & seen).any(2)


def _within(ex: Tensor, ey: Tensor, width: Tensor, other: Tensor) -> Tensor:
    reach = BODY * 0.5 * (width + other)
    return ex * ex + ey * ey < reach * reach

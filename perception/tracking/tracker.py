"""The tracker: a Kalman filter per thing, optimal assignment, births and deaths, for all worlds at once.

An update: tracks are carried into the frame's ego frame and to its time; confident detections are assigned to them, then faint ones to
what is left (ByteTrack); matched tracks are corrected; confident detections left over begin tracks; tracks not believed in any more end.

Existence is a probability r (integrated probabilistic data association, Musicki, Evans, Stankovic, IEEE TAC 1994): a miss multiplies the
odds by (1 - p), p the chance of being seen: small where the place is hidden behind another track or out of view; a match multiplies them
by the odds of its score and by how much better the place fits than chance. Headings are unit vectors; measured ones are ambiguous by
180 degrees and settled by the direction of motion.

Shapes: B worlds, T tracks, D detections, K classes. SI units; ego frame of the last update.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from perception.states import map_tensors
from perception.tracking import filter as kalman
from perception.tracking.association import associate, newcomers, taken_twice
from perception.tracking.config import TrackerConfig
from perception.tracking.filter import Target
from perception.tracking.seeing import Measured, in_plain_view, measured
from perception.tracking.standing import Standing, beside, blurred, weighed
from perception.tracking.state import TrackerState, believed, coast, extrapolate, initial_state, model_of, read
from perception.types import Detections, Roads, SensorFrame, Tracks

__all__ = ["KalmanTracker", "track"]

ODDS_MAX = 1e4  # of existence: what is seen all the time must still be able to vanish
MATCH_ODDS = 20.0  # how much better a matched place fits than chance: 1 / (50 m^2 of a gate x density of newcomers)
SIZES = 20.0  # detections after which the mean size still follows


class KalmanTracker:
    """`track` as a stage of a pipeline."""

    def __init__(self, config: TrackerConfig | None = None) -> None:
        self.config = config or TrackerConfig()
        self.name = "imm" if self.config.standing else "kalman"
        self.needs_roads = self.config.standing

    def initial(self, batch: int, device: torch.device | str = "cpu") -> TrackerState:
        """Nothing tracked in any of `batch` worlds."""
        return initial_state(batch, self.config, device)

    def update(
        self, state: TrackerState, detections: Detections, frame: SensorFrame, fresh: Tensor, roads: Roads | None = None
    ) -> TrackerState:
        """One frame further; fresh (B,) bool: worlds that have detections, in the others tracks coast."""
        return track(state, detections, frame, self.config, fresh, roads)[0]

    def read(self, state: TrackerState, motion: Tensor, dt: Tensor) -> Tracks:
        """The tracks `dt` (B,) s after the state, in the ego frame that is `motion` (B, 3) from the state's."""
        return extrapolate(state, motion, dt, self.config)


def track(
    state: TrackerState,
    detections: Detections,
    frame: SensorFrame,
    config: TrackerConfig,
    fresh: Tensor | None = None,
    roads: Roads | None = None,
) -> tuple[TrackerState, Tracks]:
    """One frame further.

    Of the frame, camera, motion, time and the image's size matter, not its content. Detections without a finite place on the ground are
    passed over; NaN in size, yaw or sigma is understood as unknown. fresh (B,) bool: worlds whose detector ran; in the others tracks are
    only carried on, nothing counts as missed. roads: in the ego frame; who is met beside them is likelier to stand. A pure function without
    branches on data; a world's result does not depend on the others.
    """
    fresh = torch.ones_like(state.started) if fresh is None else fresh
    dt = torch.where(state.started, (frame.time - state.time).clamp(0.0, 10.0), 0.0)
    state = coast(state, frame.motion, dt, config)._replace(time=frame.time, started=torch.ones_like(state.started))
    seen = measured(detections, frame, fresh, config)
    kind = state.votes.argmax(2)
    visible = in_plain_view(state.id >= 0, believed(state), state.heading, state.size, kind, frame, config)
    match = associate(state, kind, seen, config)  # (B, T)
    state = _missed(state, match, visible, dt, fresh, config)
    state = _corrected(state, match, detections, seen, config)
    born = newcomers(state.id >= 0, match, believed(state), state.size, kind, seen, detections, config)
    state = _ended(state, match, kind, fresh, config)
    state = _begun(state, born, detections, seen, config)
    if state.standing is not None and roads is not None:
        state = state._replace(standing=_placed(state, state.standing, roads, config))
    return state, read(state, config)


def _missed(state: TrackerState, match: Tensor, visible: Tensor, dt: Tensor, fresh: Tensor, config: TrackerConfig) -> TrackerState:
    """Counts and existence of all tracks before the matched ones are corrected."""
    update, alone = fresh.unsqueeze(1), fresh.unsqueeze(1) & (match < 0)
    waited = state.pending + dt
    dt = torch.where(fresh, waited, 0.0).unsqueeze(1)
    chance = torch.where(visible, config.seen_chance, config.hidden_chance)
    rest = (1.0 - chance) * state.belief
    missed = state.missed + torch.where(visible, dt, 0.0)
    return state._replace(
        age=state.age + update,
        unseen=torch.where(match >= 0, 0, state.unseen + alone),
        hits=state.hits + (match >= 0),
        lost=torch.where(match >= 0, 0.0, state.lost + dt),
        missed=torch.where(match >= 0, 0.0, missed),
        belief=torch.where(alone, rest / (1.0 - chance * state.belief), state.belief),
        pending=torch.where(fresh, 0.0, waited),
    )


def _corrected(state: TrackerState, match: Tensor, detections: Detections, seen: Measured, config: TrackerConfig) -> TrackerState:
    """Matched tracks take in their detections."""
    hit = match >= 0
    at = _picker(match.clamp(min=0))

    def chosen(new: Tensor, old: Tensor) -> Tensor:
        return torch.where(hit if new.dim() == 2 else hit.unsqueeze(2), new, old)

    noise = kalman.Symmetric(at(seen.noise.xx), at(seen.noise.xy), at(seen.noise.yy))
    x, y = at(seen.x), at(seen.y)
    standing = state.standing
    if standing is not None:
        chance = weighed(state.target, standing, x, y, noise, config.news)
        rests = kalman.updated(standing.at, x, y, blurred(noise, config.news))
        standing = Standing(chosen(chance, standing.chance), map_tensors(chosen, rests, standing.at), standing.aside)
    target = kalman.updated(state.target, x, y, noise)
    target = Target(*(chosen(new, old) for new, old in zip(target, state.target, strict=True)))
    score, kind = at(seen.score), at(seen.kind)
    odds = (state.belief / (1.0 - state.belief).clamp(min=1e-6)) * _odds(score) * MATCH_ODDS
    odds = odds.clamp(1e-3, ODDS_MAX)
    votes = chosen(state.votes + _one_hot(kind, state.votes.shape[2]) * score.unsqueeze(2), state.votes)
    heading, variance = _turned(state, target, hit & at(seen.has_yaw), at(seen.heading), votes.argmax(2), config)
    count = (state.sizes + 1.0).clamp(max=SIZES)
    sized = hit & at(seen.has_size)
    mean = state.size + (at(seen.size) - state.size) / count.unsqueeze(2)
    light, source = at(detections.light), at(detections.source)
    vote = _one_hot(light.clamp(min=0), 5) * score.unsqueeze(2) * (light >= 0).unsqueeze(2)
    hits = state.hits
    return state._replace(
        target=target,
        heading=heading,
        heading_var=variance,
        size=torch.where(sized.unsqueeze(2), mean, state.size),
        sizes=torch.where(sized, count, state.sizes),
        belief=chosen(odds / (1.0 + odds), state.belief),
        votes=votes,
        light_votes=chosen(state.light_votes * config.light_memory + vote, state.light_votes),
        confirmed=state.confirmed | (hit & ((hits >= config.hits) | (score >= _sure(kind, config)))),
        source=torch.where(hit & (source >= 0), source, state.source),
        box=chosen(at(detections.box), state.box),
        standing=standing,
    )


def _turned(state: TrackerState, target: Target, told: Tensor, new: Tensor, kind: Tensor, config: TrackerConfig) -> tuple[Tensor, Tensor]:
    """Headings after measuring `new` (B, T, 2) where `told`, with the direction of motion as the judge of front and back."""
    hx, hy = state.heading.unbind(-1)
    speed2 = target.vx * target.vx + target.vy * target.vy
    surely = (speed2 > config.moving**2) & (speed2 > 4.0 * (target.vxx + target.vyy)) & (kind != config.light)
    backwards = surely & (hx * target.vx + hy * target.vy < 0.0)
    hx, hy = torch.where(backwards, -hx, hx), torch.where(backwards, -hy, hy)
    mx, my = new.unbind(-1)
    ambiguous = mx * hx + my * hy < 0.0
    mx, my = torch.where(ambiguous, -mx, mx), torch.where(ambiguous, -my, my)
    noise = config.yaw_sigma**2
    gain = state.heading_var / (state.heading_var + noise)
    fx, fy = hx + gain * (mx - hx), hy + gain * (my - hy)
    length = (fx * fx + fy * fy).sqrt()  # at least cos 45 degrees
    first = told & (state.heading_var >= 1.0) & ~surely  # no heading known yet: take it as it is
    turned = torch.stack((torch.where(told, fx / length, hx), torch.where(told, fy / length, hy)), -1)
    heading = torch.where(first.unsqueeze(2), new, turned)
    return heading, torch.where(told, gain * noise, state.heading_var)


def _ended(state: TrackerState, match: Tensor, kind: Tensor, fresh: Tensor, config: TrackerConfig) -> TrackerState:
    """Slots of tracks nobody should believe in any more become free."""
    t, update = believed(state), fresh.unsqueeze(1)
    away = (t.pxx + t.pyy > 2.0 * config.sigma_max**2) | (t.x * t.x + t.y * t.y > config.reach**2)
    tired = (state.missed > config.coast_visible) | (state.lost > config.coast_hidden) | (state.belief < config.belief_min)
    failed = update & ~state.confirmed & (state.age - state.hits + 1 > config.window - config.hits)
    double = taken_twice(state.id, match, t, state.size, kind, config)
    return state._replace(id=torch.where(away | tired | failed | double, -1, state.id))


def _begun(state: TrackerState, born: Tensor, detections: Detections, seen: Measured, config: TrackerConfig) -> TrackerState:
    """The k-th of the `born` (B, D) bool goes to the k-th free slot, for as many as there are."""
    free = state.id < 0
    turn_free, turn_born = free.cumsum(1), born.cumsum(1)
    chosen = free.unsqueeze(2) & born.unsqueeze(1) & (turn_free.unsqueeze(2) == turn_born.unsqueeze(1))  # (B, T, D)
    new, pick = chosen.to(torch.int8).max(2)
    new, at = new > 0, _picker(pick)

    def put(value: Tensor, old: Tensor) -> Tensor:
        return torch.where(new if old.dim() == 2 else new.unsqueeze(2), value, old)

    score, kind = at(seen.score), at(seen.kind)
    row = model_of(kind, config, state.belief)
    heading = at(seen.heading)
    zero = torch.zeros_like(score)
    speed = kalman.from_axes(row("speed_along").square(), row("speed_across").square(), heading[..., 0], heading[..., 1])
    anyway = (row("speed_along").square() + row("speed_across").square()) * 0.5  # unknown heading: any direction
    told = at(seen.has_yaw)
    speed = kalman.Symmetric(torch.where(told, speed.xx, anyway), torch.where(told, speed.xy, 0.0), torch.where(told, speed.yy, anyway))
    x, y, noise = at(seen.x), at(seen.y), kalman.Symmetric(at(seen.noise.xx), at(seen.noise.xy), at(seen.noise.yy))
    target = Target(x, y, zero, zero, noise.xx, noise.xy, noise.yy, zero, zero, zero, zero, speed.xx, speed.xy, speed.yy)
    rests = Target(x, y, zero, zero, noise.xx, noise.xy, noise.yy, *(zero,) * 7)
    ids = state.next_id.unsqueeze(1) + turn_free - 1
    light = at(detections.light)
    vote = _one_hot(light.clamp(min=0), 5) * score.unsqueeze(2) * (light >= 0).unsqueeze(2)
    return TrackerState(
        id=put(ids, state.id),
        target=Target(*(put(value, old) for value, old in zip(target, state.target, strict=True))),
        heading=put(heading, state.heading),
        heading_var=put(torch.where(told, config.yaw_sigma**2, 1.0), state.heading_var),
        size=put(at(seen.size), state.size),
        sizes=put(at(seen.has_size).to(score.dtype), state.sizes),
        belief=put(score.clamp(max=0.99), state.belief),
        votes=put(_one_hot(kind, state.votes.shape[2]) * score.unsqueeze(2), state.votes),
        light_votes=put(vote, state.light_votes),
        age=put(torch.zeros_like(ids), state.age),
        hits=put(torch.ones_like(ids), state.hits),
        unseen=put(torch.zeros_like(ids), state.unseen),
        lost=put(zero, state.lost),
        missed=put(zero, state.missed),
        confirmed=put((score >= _sure(kind, config)) | (config.hits == 1), state.confirmed),
        source=put(at(detections.source), state.source),
        box=put(at(detections.box), state.box),
        next_id=state.next_id + new.sum(1),
        time=state.time,
        pending=state.pending,
        started=state.started,
        standing=state.standing and map_tensors(put, Standing(row("stands"), rests, zero), state.standing),
    )


def _sure(kind: Tensor, config: TrackerConfig) -> Tensor:
    """Scores of things of those kinds that are believed at once."""
    return torch.tensor(config.sures, device=kind.device)[kind]


def _placed(state: TrackerState, standing: Standing, roads: Roads, config: TrackerConfig) -> Standing:
    """Who is beside all lanes, and the chances of those met just now by that."""
    t = believed(state)
    aside = torch.where(state.id >= 0, beside(t.x, t.y, kalman.Symmetric(t.pxx, t.pxy, t.pyy), roads), 0.0)
    row = model_of(state.votes.argmax(2), config, state.belief)
    first = row("stands") + (row("parks") - row("stands")) * aside
    met = (state.id >= 0) & (state.age == 0) & (row("stands") > 0.0)
    return standing._replace(aside=aside, chance=torch.where(met, first, standing.chance))


def _picker(pick: Tensor) -> Callable[[Tensor], Tensor]:
    """Gather of columns (B, D, ...) at `pick` (B, T)."""
    return lambda value: value.gather(1, pick if value.dim() == 2 else pick.unsqueeze(2).expand(-1, -1, value.shape[2]))


def _odds(score: Tensor) -> Tensor:
    """Of a score, which is a probability; never certain."""
    score = score.clamp(0.02, 0.98)
    return score / (1.0 - score)


def _one_hot(index: Tensor, count: int) -> Tensor:
    return (index.unsqueeze(-1) == torch.arange(count, device=index.device)).to(torch.float32)

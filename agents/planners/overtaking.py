"""Overtaking over the oncoming lane: only where it is seen to be free for as long as it takes, and back as soon as that is done.

Trajectories of four seconds do not tell whether overtaking ends well, which takes twice as long. So it is reckoned beforehand in closed
form: the ego is held up for START seconds, speeds up by ACCEL to PACE of the limit until it is BEFORE metres ahead of who is overtaken, and
needs BACK seconds to be back. Whoever comes the other way, and somebody at the limit just beyond what is known, has to stay away from
there for MARGIN seconds more; once the ego is in the other lane, until it is back. As long as that holds they are left out of the
collision terms: four seconds in their lane look like a collision otherwise. Costs in `toll` make the ego go while it may, and come back.

The numbers are what the proposals of `pdm` do (`agents.planners.proposals`: 2 m/s^2, less near the limit; a change of lanes takes 3 s, half
of it beside the other), found on `oncoming/hard` with seeds that no figure is from.

Shapes: B worlds, R = 3 paths (left, own, right), T tracks. Ego frame.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from agents.planners.base import Ego, Place, Route
from agents.planners.route import FIRST, OWN, STEP
from envs.driving.lanes import chain_ahead, lane_field, project
from perception.types import Tracks
from scenarios.network import LaneType

__all__ = ["ACCEL", "overtaking", "time_to_gain"]

ACCEL, PACE = 1.8, 0.9  # m/s^2, share of the limit
BEFORE, BACK = 2.5, 1.7  # m, s
START = 1.5  # s until the ego is in the lane beside: till then it is held up
MARGIN = 0.6  # s kept to who comes
LEANS = 0.7  # m off the middle of its lane towards the other: the ego has set out; more than planners keep aside (`pdm.ASIDE`)
WITHIN = 60.0  # m ahead: who is further away is not yet overtaken
SLOWER = 4.0  # m/s below the limit: who is faster is not overtaken
SLOT = 25.0  # m that have to be free ahead of who is overtaken
WAITS = 3.0  # cost of staying behind where one may overtake
RETURN = 8.0  # cost of staying in the oncoming lane without need
AGAINST = -0.3  # m/s along the lane: who is slower than that comes the other way
INSIDE = 0.5  # m that a box reaches into the ego's lane at least, to be somebody to overtake


def overtaking(route: Route, ego: Ego, place: Place, tracks: Tracks, sight: float) -> tuple[Route, Tensor]:
    """The route, and whom to leave out of the collision terms, (B, T) bool: who comes the other way and is far enough away.

    Lanes for overtaking are closed where one may not use them; `toll` is what it costs to stay behind where one may, and to stay out where
    there is no need. route: with such lanes (`make_route(over=True)`). tracks: all there are. sight m: how far all who are there are known;
    beyond it somebody is about to come.
    """
    over = (route.lane >= 0) & (lane_field(place.maps.lane_type, place.map_id, route.lane) == int(LaneType.OVERTAKE))
    out = over[:, OWN]
    side = torch.where(over[:, 0], 0, 2)  # path of it, for who is not in it
    side = torch.where(out, OWN, side)
    home = torch.where(out, torch.where((route.lane[:, 2] >= 0) & ~over[:, 2], 2, 0), OWN)
    room = _room(route, ego, place, tracks, sight, side, home)
    there = over.any(1)
    goes = (room.free & room.slow & there).unsqueeze(1)  # (B, 1)
    returns = (room.free & ~room.slow & room.begun).unsqueeze(1)
    path = torch.arange(3, device=side.device)
    closed = over & ~goes & (path != OWN)
    toll = torch.where(goes & (path == home.unsqueeze(1)), WAITS, 0.0) + torch.where(over & ~goes, RETURN, 0.0)
    return route._replace(lane=torch.where(closed, -1, route.lane), toll=route.toll + toll), room.comes & (goes | returns)


def time_to_gain(room: Tensor, speed: Tensor, other: Tensor, fastest: Tensor, accel: Tensor) -> tuple[Tensor, Tensor]:
    """Seconds until the ego has gained `room` metres on somebody, and the metres it drives meanwhile; all of one shape.

    speed, other m/s: of the ego, which speeds up by accel m/s^2 to `fastest`, and of the other. +inf: never. With g = speed - other it is
    the root of g t + a t^2 / 2 = room, and from t' = (fastest - speed) / a on t' + (room - g t' - a t'^2 / 2) / (fastest - other).
    """
    gain = speed - other
    until = ((fastest - speed) / accel).clamp(min=0.0)
    early = (torch.sqrt((gain * gain + 2.0 * accel * room).clamp(min=0.0)) - gain) / accel
    then = gain * until + 0.5 * accel * until * until
    final = torch.maximum(fastest, speed)
    late = torch.where(final > other, until + (room - then) / (final - other).clamp(min=1e-3), torch.inf)
    time = torch.where(room > 0.0, torch.where(early <= until, early, late), 0.0)
    up = torch.minimum(time, until)
    return time, speed * up + 0.5 * accel * up * up + final * (time - up)


class _Room(NamedTuple):
    begun: Tensor  # (B,) bool: the ego is in the other lane, or on the way there or back
    free: Tensor  # (B,) bool: there is time and road enough, if nobody has to be overtaken then to come back
    slow: Tensor  # (B,) bool: somebody has to be overtaken
    comes: Tensor  # (B, T) bool: comes the other way, or stands there


def _room(route: Route, ego: Ego, place: Place, tracks: Tracks, sight: float, side: Tensor, home: Tensor) -> _Room:
    """side, home (B,) int64: path of the lane for overtaking, and of the lane to come back to."""
    maps, mid = place.maps, place.map_id
    lane = _path(route.lane, side)  # (B, 1)
    here, _, _, _ = project(maps, mid, lane, ego.s.unsqueeze(1), ego.x.unsqueeze(1), ego.y.unsqueeze(1))
    out = side == OWN
    offset = _path(route.d, home) - _path(route.d, side)  # m, that the lane for overtaking lies left of the other
    ahead, aside, pace = _placed(route, ego, place, tracks, here, _path(route.lane, home), lane, offset)
    half, limit = 0.5 * tracks.size[..., 0], lane_field(maps.lane_limit, mid, lane)
    reach = 0.5 * (lane_field(maps.lane_width, mid, lane) + tracks.size[..., 1])
    mine = tracks.mask & ((aside + offset).abs() < reach - INSIDE) & (pace > AGAINST)
    comes = tracks.mask & (aside.abs() < reach) & ~mine & (ahead > 0.0)

    length = (0.5 * ego.length).unsqueeze(1)
    front, theirs = _overtaken(mine, ahead, half, length, pace)
    slow = theirs < limit - SLOWER
    towards = _path(route.d, home) * torch.sign(offset)  # m off the middle, towards the other lane
    begun = out.unsqueeze(1) | (towards > LEANS)
    held = torch.where(begun, 0.0, START)
    back = BACK * torch.where(slow, 1.0, (towards / offset.abs().clamp(min=1.0)).clamp(0.0, 1.0))
    speed, onward = ego.speed.clamp(min=0.0).unsqueeze(1), FIRST + STEP * torch.arange(route.limit.shape[2], device=side.device)
    slowest = torch.where(onward > 0.0, route.limit, torch.inf).amin(2)  # bends and lower limits ahead
    fastest = torch.maximum(torch.minimum(PACE * _path(slowest, side), ego.speed_max.unsqueeze(1)), speed)
    falls = (theirs - speed).clamp(min=0.0) * held  # m, behind, while it is held up
    gain = torch.where(slow, front + BEFORE + length + falls, 0.0)
    time, way = time_to_gain(gain, speed, torch.where(slow, theirs, 0.0), fastest, ego.accel_max.unsqueeze(1).clamp(max=ACCEL))
    held = torch.where(slow, held, 0.0)
    time, way = time + held + back, way + held * torch.maximum(speed, torch.where(slow, theirs, 0.0)) + fastest * back

    margin = torch.where(out, 0.0, MARGIN).unsqueeze(1)
    oncoming = torch.where(pace < AGAINST, torch.maximum(-pace, limit), 0.0)
    far = torch.where(comes, ahead - half - length, torch.inf)
    free = (far > way + oncoming * time + margin * (fastest + oncoming)).all(1)
    unseen = sight - length > way + limit * time + margin * (fastest + limit)
    ends = lane_field(maps.lane_length, mid, lane) - here > way
    return _Room(begun.squeeze(1), free & (unseen & ends).squeeze(1), slow.squeeze(1), comes)


def _path(value: Tensor, path: Tensor) -> Tensor:
    """One path (B,) of (B, R), as (B, 1)."""
    return value.gather(1, path.unsqueeze(1))


def _placed(
    route: Route, ego: Ego, place: Place, tracks: Tracks, here: Tensor, home: Tensor, lane: Tensor, offset: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Tracks relative to the lane for overtaking, (B, T) each: m ahead of the ego, m left of its middle, and m/s along it.

    Beyond its end it goes on beside the lane that follows on the one to come back to. home, lane (B, 1) int64; here m, the ego along
    `lane`; offset m, how far that lies left of `home`.
    """
    maps, mid = place.maps, place.map_id
    c, s = ego.cos.unsqueeze(1), ego.sin.unsqueeze(1)
    mx, my, vx, vy = tracks.mean.unbind(-1)
    x, y = ego.x.unsqueeze(1) + mx * c - my * s, ego.y.unsqueeze(1) + mx * s + my * c
    wx, wy = vx * c - vy * s, vx * s + vy * c
    away = torch.sign(mx) * torch.sqrt(mx * mx + my * my)
    along, aside, lc, ls = project(maps, mid, lane.expand_as(mx), here + away, x, y, steps=3)
    ahead = along - here
    chain = chain_ahead(maps, mid, ego.goal.unsqueeze(1), home, here)
    after, base = chain.lane[1], chain.base[1]
    beyond = (along > lane_field(maps.lane_length, mid, lane)) & (after >= 0)
    base = torch.where(after >= 0, base, 0.0)
    next_along, next_aside, nc, ns = project(maps, mid, after.expand_as(mx), away - base, x, y, steps=3)
    ahead, aside = torch.where(beyond, base + next_along, ahead), torch.where(beyond, next_aside - offset, aside)
    return ahead, aside, torch.where(beyond, wx * nc + wy * ns, wx * lc + wy * ls)


def _overtaken(mine: Tensor, ahead: Tensor, half: Tensor, length: Tensor, pace: Tensor) -> tuple[Tensor, Tensor]:
    """The nearest in the ego's lane, not yet left behind, with room ahead of him: m to his front and his speed, +inf nobody; (B, 1).

    All (B, T): mine bool, ahead m to his middle, half his length, pace m/s. length (B, 1) m: half the ego's.
    """
    left = mine & (ahead + half + BEFORE + length > 0.0)
    front, rear = torch.where(left, ahead + half, torch.inf), torch.where(left, ahead - half, torch.inf)
    beyond = rear.unsqueeze(1) - front.unsqueeze(2)  # (B, T, T) m from the front of one to the rear of another
    beyond = torch.where(ahead.unsqueeze(1) > ahead.unsqueeze(2), beyond, torch.inf)
    fits = left & (ahead < WITHIN) & ~(beyond < SLOT).any(2)
    first, which = torch.where(fits, front, torch.inf).min(1, keepdim=True)
    return first, torch.where(torch.isfinite(first), pace.gather(1, which), torch.inf)

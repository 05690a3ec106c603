"""Overtaking over the oncoming lane: only where it is seen to be free for as long as it takes, and back as soon as that is done.

Trajectories of four seconds do not tell whether overtaking ends well, which takes twice as long. So it is reckoned beforehand in closed
form: the ego gets into the lane beside (START), speeds up by ACCEL to PACE of the limit until it is BEFORE metres ahead of who is
overtaken, and needs BACK seconds to be back. At the end of that whoever comes the other way, and somebody at the limit just out of sight,
has to be MARGIN seconds away. As long as that holds they are left out of the collision terms: four seconds in their lane look like a
collision otherwise. Once the ego has set out a little less will do (GOING): to fall back takes time, too.

Shapes: B worlds, R = 3 paths (left, own, right), T tracks. Ego frame.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from agents.planners.base import Ego, Place, Route
from agents.planners.route import OWN
from envs.driving.lanes import lane_field, project
from perception.types import Tracks

__all__ = ["ACCEL", "overtaking", "time_to_gain"]

ACCEL, PACE = 1.8, 0.9  # m/s^2, share of the limit
BEFORE, BACK = 2.5, 1.7  # m, s
START = 1.5  # s until the ego is in the lane beside: till then it is held up
MARGIN, GOING = 0.6, -0.3  # s kept to who comes: to set out, and to go on
LEANS = 0.4  # m off the middle of its lane: the ego has set out
WITHIN = 60.0  # m ahead: who is further away is not yet overtaken
SLOWER = 4.0  # m/s below the limit: who is faster is not overtaken
SLOT = 25.0  # m that have to be free ahead of who is overtaken
WAITS = 3.0  # cost of staying behind where one may overtake
RETURN = 8.0  # cost of staying in the oncoming lane without need
AGAINST = -0.3  # m/s along the lane: who is slower than that comes the other way
INSIDE = 0.5  # m that a box reaches into the ego's lane at least, to be somebody to overtake


def overtaking(route: Route, ego: Ego, place: Place, tracks: Tracks, sight: float) -> tuple[Route, Tensor]:
    """The route, and whom to leave out of the collision terms, (B, T) bool: who comes the other way while the ego may overtake.

    Lanes for overtaking are closed where one may not use them; `toll` is what it costs to stay behind where one may, and to stay out where
    there is no need. tracks: all there are. sight m: how far all who are there are known; beyond it somebody is about to come.
    """
    over = route.over
    out = over[:, OWN]
    side = torch.where(over[:, 0], 0, 2)  # where it is, for who is not in it
    lane = torch.where(out, route.lane[:, OWN], route.lane.gather(1, side.unsqueeze(1)).squeeze(1))
    home = torch.where(out, torch.where((route.lane[:, 2] >= 0) & ~over[:, 2], 2, 0), OWN)
    room = _room(route, ego, place, tracks, sight, lane, home)
    goes = (room.free & room.slow & over.any(1)).unsqueeze(1)  # (B, 1)
    path = torch.arange(3, device=lane.device)
    closed = over & ~goes & (path != OWN)
    toll = torch.where(goes & (path == home.unsqueeze(1)), WAITS, 0.0) + torch.where(over & ~goes, RETURN, 0.0)
    return route._replace(lane=torch.where(closed, -1, route.lane), toll=route.toll + toll), room.comes & goes


def time_to_gain(room: Tensor, speed: Tensor, other: Tensor, fastest: Tensor) -> tuple[Tensor, Tensor]:
    """Seconds until the ego has gained `room` metres on somebody, and the metres it drives meanwhile; all of one shape.

    speed, other m/s: of the ego, which speeds up by ACCEL to `fastest`, and of the other. +inf: never.
    """
    gain = speed - other
    until = ((fastest - speed) / ACCEL).clamp(min=0.0)
    early = (torch.sqrt((gain * gain + 2.0 * ACCEL * room).clamp(min=0.0)) - gain) / ACCEL
    then = gain * until + 0.5 * ACCEL * until * until
    final = torch.maximum(fastest, speed)
    late = torch.where(final > other, until + (room - then) / (final - other).clamp(min=1e-3), torch.inf)
    time = torch.where(room > 0.0, torch.where(early <= until, early, late), 0.0)
    up = torch.minimum(time, until)
    return time, speed * up + 0.5 * ACCEL * up * up + final * (time - up)


class _Room(NamedTuple):
    free: Tensor  # (B,) bool: there is time and road enough to overtake
    slow: Tensor  # (B,) bool: and somebody to be overtaken
    comes: Tensor  # (B, T) bool: comes the other way, or stands there


def _room(route: Route, ego: Ego, place: Place, tracks: Tracks, sight: float, lane: Tensor, home: Tensor) -> _Room:
    """lane (B,) int64: the one for overtaking. home (B,) int64: path of the lane to come back to."""
    maps, mid = place.maps, place.map_id
    c, s = ego.cos.unsqueeze(1), ego.sin.unsqueeze(1)
    mx, my, vx, vy = tracks.mean.unbind(-1)
    wide = lane.unsqueeze(1).expand_as(mx)
    here, off, _, _ = project(maps, mid, lane.unsqueeze(1), ego.s.unsqueeze(1), ego.x.unsqueeze(1), ego.y.unsqueeze(1))  # (B, 1)
    guess = here + torch.sign(mx) * torch.sqrt(mx * mx + my * my)
    x, y = ego.x.unsqueeze(1) + mx * c - my * s, ego.y.unsqueeze(1) + mx * s + my * c
    along, aside, lc, ls = project(maps, mid, wide, guess, x, y, steps=3)  # (B, T)
    pace = (vx * c - vy * s) * lc + (vx * s + vy * c) * ls
    half = 0.5 * tracks.size[..., 0]
    reach = 0.5 * (lane_field(maps.lane_width, mid, wide) + tracks.size[..., 1])
    beside = route.d.gather(1, home.unsqueeze(1)) - off  # m, that the lane for overtaking lies left of the ego's own
    ahead, limit = along - here, lane_field(maps.lane_limit, mid, lane).unsqueeze(1)
    mine = tracks.mask & ((aside + beside).abs() < reach - INSIDE) & (pace > AGAINST)
    comes = tracks.mask & (aside.abs() < reach) & ~mine & (ahead > 0.0)

    length = (0.5 * ego.length).unsqueeze(1)
    front, theirs = _overtaken(mine, ahead, half, length, pace)
    begun = (route.over[:, OWN] | (route.d[:, OWN].abs() > LEANS)).unsqueeze(1)
    speed, held = ego.speed.clamp(min=0.0).unsqueeze(1), torch.where(begun, 0.0, START)
    fastest = torch.maximum(PACE * limit, speed)
    time, way = time_to_gain(front + BEFORE + length, speed, theirs, fastest)
    time, way = time + held + BACK, way + held * speed + fastest * BACK  # till then it goes as fast as who is ahead

    margin = torch.where(begun, GOING, MARGIN)
    oncoming = torch.where(pace < AGAINST, torch.maximum(-pace, limit), 0.0)
    far = torch.where(comes, ahead - half - length, torch.inf)
    free = (far > way + oncoming * time + margin * (fastest + oncoming)).all(1)
    unseen = sight - length > way + limit * time + margin * (fastest + limit)
    ends = lane_field(maps.lane_length, mid, lane.unsqueeze(1)) - here > way
    return _Room(free & (unseen & ends).squeeze(1), (theirs < limit - SLOWER).squeeze(1), comes)


def _overtaken(mine: Tensor, ahead: Tensor, half: Tensor, length: Tensor, pace: Tensor) -> tuple[Tensor, Tensor]:
    """The nearest in the ego's lane, not yet left behind, with room ahead of him: m to his front, +inf nobody, and his speed; (B, 1).

    All (B, T): mine bool, ahead m to his middle, half his length, pace m/s. length (B, 1) m: half the ego's.
    """
    left = mine & (ahead + half + BEFORE + length > 0.0)
    front, rear = torch.where(left, ahead + half, torch.inf), torch.where(left, ahead - half, torch.inf)
    beyond = rear.unsqueeze(1) - front.unsqueeze(2)  # (B, T, T) m from the front of one to the rear of another
    beyond = torch.where(ahead.unsqueeze(1) > ahead.unsqueeze(2), beyond, torch.inf)
    fits = left & (ahead < WITHIN) & ~(beyond < SLOT).any(2)
    first, which = torch.where(fits, front, torch.inf).min(1, keepdim=True)
    return first, torch.where(torch.isfinite(first), pace.gather(1, which), torch.inf)

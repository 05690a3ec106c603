"""Who may come out from behind a house: to lanes with right of way that are hidden, one drives up so that one can still stop.

Where lines of sight are not told away (`Scene.blind`), somebody at the limit is reckoned with on every stretch of such a lane that a house
hides, as long as the ego would meet him. The ego slows down for him towards the first stretch that its lane shares with others, from where
it sees as much as it ever will: there it goes on by what is seen. Houses are on the map; other vehicles hide things too, which is not
looked at. Cf. Orzechowski et al., "Tackling occlusions & limited sensor range with set-based safety verification", ITSC 2018.

Shapes: B worlds, K hidden places, G destinations, Y = K G ways, W lanes of a chain, O houses, M maps, P points of centrelines.
"""

from __future__ import annotations

import torch
from torch import Tensor

from agents.planners.base import Ego, Place, Scene
from agents.planners.stretches import arrival, held_up, place_lanes, shared
from envs.driving.lanes import Chain, chain_ahead, lane_field
from envs.driving.rightofway import MARGIN
from envs.driving.visibility import sight_blocked
from scenarios.network import LaneType

__all__ = ["hidden_places", "unseen_wait"]

EVERY = 6  # points of a centreline, about as many metres
WITHIN = 90.0  # m
PLACES = 24  # K
HALF = 2.3  # m, of a car
NEAR = 2.5  # m before the first shared stretch: from there on one looks, and waits for nobody unseen
SOFT = 3.0  # m/s^2, braking for somebody who may not be there
PACE = 2.0  # m/s^2, with which the ego goes on
SHARE = 0.4  # of the time in the shared stretch that he is to be kept from slowing down in


def hidden_places(ego: Ego, place: Place) -> tuple[Tensor, Tensor]:
    """The nearest places behind houses from which one comes to a shared stretch: lane (B, K) int64, -1 none, and metres along it."""
    maps, mid = place.maps, place.map_id
    index = torch.arange(0, maps.points.shape[1], EVERY, device=mid.device)
    lane_of = place_lanes(maps)[:, ::EVERY]  # (M, P / EVERY)
    along = index - maps.lane_start.gather(1, lane_of)
    road = maps.lane_type.gather(1, lane_of)
    following = maps.next_lane.amax(1)  # (M, L), some successor
    comes = (maps.conflict_id >= 0) | ((following >= 0) & (maps.conflict_id.gather(1, following.clamp(min=0)) >= 0))
    fits = (along < maps.lane_count.gather(1, lane_of)) & comes.gather(1, lane_of)
    fits = fits & (road != int(LaneType.WALKWAY)) & (road != int(LaneType.PATH))
    x, y = (maps.points[:, ::EVERY, k][mid] for k in (0, 1))  # (B, P / EVERY)
    ex, ey = ego.x.unsqueeze(1), ego.y.unsqueeze(1)
    houses = (part.unsqueeze(1) for part in maps.occluders[mid].unbind(-1))  # (B, 1, O)
    hidden = sight_blocked(ex, ey, x, y, *houses).any(-1)
    dx, dy = x - ex, y - ey
    away = torch.where(fits[mid] & hidden, torch.sqrt(dx * dx + dy * dy), torch.inf)
    nearest, rows = away.sort(dim=1, stable=True)
    nearest, rows = nearest[:, :PLACES], rows[:, :PLACES]
    lane = torch.where(nearest < WITHIN, lane_of[mid].gather(1, rows), -1)
    return lane, along[mid].gather(1, rows).to(x.dtype) * lane_field(maps.lane_step, mid, lane)


def unseen_wait(scene: Scene, chain: Chain) -> Tensor:
    """Metres from the front bumper to where to come to rest for somebody who may be hidden (B,); +inf: nobody matters."""
    ego, place = scene.ego, scene.place
    if scene.blind is None:
        return torch.full_like(ego.speed, torch.inf)
    maps, mid = place.maps, place.map_id
    lane, s = hidden_places(ego, place)
    goals = maps.next_lane.shape[1]
    wide = (*lane.shape, goals)
    goal = torch.arange(goals, device=lane.device).expand(wide).flatten(1)
    lane, s = lane.unsqueeze(2).expand(wide).flatten(1), s.unsqueeze(2).expand(wide).flatten(1)
    ways = chain_ahead(maps, mid, goal, lane, s)
    met = shared(place, chain, ways, 0.5 * ego.length, torch.full_like(s, HALF))
    pace = lane_field(maps.lane_limit, mid, lane).clamp(min=1.0)
    free = (lane >= 0) & ~held_up(place, ways, pace, torch.full_like(s, HALF))  # nobody comes who has to stop at a light
    speed = pace[:, None, :, None]
    mine = ego.speed.clamp(min=0.0).view(-1, 1, 1, 1)
    comes_in, gets_out = arrival(met.enters, mine, PACE), arrival(met.leaves, mine, PACE)
    before = comes_in < met.other_leaves / speed + SHARE * MARGIN
    after = met.other_enters / speed < comes_in + SHARE * (gets_out - comes_in + MARGIN)
    counts = met.known & free[:, None, :, None] & (met.code == 1.0) & (met.enters > 0.0) & (met.other_enters > 0.0)
    room = met.edge - 1.0
    can = ego.speed * ego.speed < 2.0 * SOFT * room
    looks = scene.blind & ~met.amid & (met.edge > NEAR) & torch.isfinite(room) & can
    return torch.where(looks & (counts & before & after).any(1).any(1).any(1), room, torch.inf)

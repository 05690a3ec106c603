"""Where one has to wait: lights, stop signs, and those who go first.

Right of way is the simulator's own rule (`envs.driving.rightofway`: gap acceptance on predicted arrival times at the stretches that two
lanes share, cf. SUMO, Krajzewicz et al. 2012), applied to tracks: their lanes are found on the map by place and heading, and as nobody
knows where they are going, every way that leads to some destination counts.

Shapes: B worlds, T tracks, C lanes that a track may be on, G destinations, Y = T C G ways of tracks, W lanes of a chain, X lanes with
conflicts.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from agents.planners.base import Ego, Place, Scene
from agents.planners.route import own_chain
from agents.planners.stretches import arrival, held_up, place_lanes, shared
from agents.planners.unseen import unseen_wait
from envs.driving.lanes import CHAIN, Chain, chain_ahead, lane_field, project
from envs.driving.lights import governing_light, must_stop_at
from envs.driving.rightofway import HASTE, MARGIN
from perception.types import Tracks
from scenarios.kinds import Kind
from scenarios.network import LaneType

__all__ = ["CANDIDATES", "Stops", "lanes_of", "stops"]

CANDIDATES = 2  # C
BESIDE = 2.5  # m beside a centreline within which one may be on it
CLOSER = 0.75  # m, by which the nearest lane may be nearer than another that still counts
ALIGNED = 0.7  # least cosine of the angle to it
SLOW = 1.0  # m/s, below which the box's heading tells more than the motion
PACE = 2.0  # m/s^2, with which the ego starts into a gap
OVER = 1.1  # times the limit: nobody is taken to go faster than that, or than he goes now
PATIENCE = 8.0  # s at rest after which those who stand still themselves are no longer waited for
IMPATIENCE = 27.0  # s at rest until gaps need to be only so large (SUMO has such a parameter):
LEAST = 0.2  # share of the margin, and of the time in the shared stretch that others are to be kept from slowing down in
STANDS = 0.3  # m/s
FOLLOWED = 0.7  # m/s, as well are the speeds of walkers known who have been followed for a while
BACK = 3.0  # m before a stop or give-way line: a long vehicle that turns in swings out over the middle of the road
STARTS = 5.0  # m before a line: who drives off there has made up his mind, and asks for no longer gaps on the way
EASES = 0.3  # m/s^2, and does not brake
BEYOND = 15.0  # m before the first shared stretch, where there is no line any more: likewise; and the length of a junction
BLURRED = 1.0  # m, as far inside a shared stretch may be who is not surely there, and lets the ego go
BEHIND = 2.0  # m, by which whoever joins the ego's way has to leave the shared stretch before the ego to be its leader
FIRM = 6.0  # m/s^2, braking that is not asked of anybody merely to let others pass
POLITE = 4.0  # m/s^2, braking that others are trusted with who have to give way


class Stops(NamedTuple):
    """What the rules say."""

    at: Tensor  # (B,) m from the front bumper to where the ego has to come to rest, +inf: nowhere
    wait: Tensor  # (B,) m, of these: to give way to others
    trusted: Tensor  # (B, T) bool: waits for the ego or at a light, or still can: where its way crosses the ego's, it may be left out
    stays: Tensor  # (B, T) bool: stands, and lets the ego out of the junction that it is in


def lanes_of(tracks: Tracks, ego: Ego, place: Place) -> tuple[Tensor, Tensor]:
    """The lanes that each track may be on, nearest first: lane (B, T, C) int64, -1 none, and metres along it.

    By place and heading; walkers are on walkways, everybody else on roads.
    """
    maps, mid = place.maps, place.map_id
    cos, sin = ego.cos.unsqueeze(1), ego.sin.unsqueeze(1)
    mx, my, vx, vy = (part.contiguous() for part in tracks.mean.unbind(-1))
    x, y = ego.x.unsqueeze(1) + mx * cos - my * sin, ego.y.unsqueeze(1) + mx * sin + my * cos  # (B, T)
    speed = torch.sqrt(vx * vx + vy * vy)
    moves, yaw = speed > SLOW, tracks.yaw.contiguous()
    hx = torch.where(moves, vx / speed.clamp(min=SLOW), torch.cos(yaw))
    hy = torch.where(moves, vy / speed.clamp(min=SLOW), torch.sin(yaw))
    hx, hy = hx * cos - hy * sin, hx * sin + hy * cos
    px, py, pc, ps = (column[mid].unsqueeze(1) for column in maps.points.unbind(-1)[:4])  # (B, 1, P)
    lane_at = place_lanes(maps)  # (M, P)
    types = maps.lane_type.gather(1, lane_at)[mid].unsqueeze(1)
    walks = (tracks.kind == int(Kind.PEDESTRIAN)).unsqueeze(2)
    fits = torch.where(walks, types == int(LaneType.WALKWAY), (types != int(LaneType.WALKWAY)) & (types != int(LaneType.PATH)))
    dx, dy = x.unsqueeze(2) - px, y.unsqueeze(2) - py
    fits = fits & (walks | (hx.unsqueeze(2) * pc + hy.unsqueeze(2) * ps > ALIGNED))
    apart = torch.where(fits, dx * dx + dy * dy, torch.inf)  # (B, T, P)
    lane_at = lane_at[mid].unsqueeze(1)  # (B, 1, P)
    lanes, along, limit = [], [], torch.full_like(x, BESIDE)
    for _ in range(CANDIDATES):
        least, k = apart.min(-1)
        lane = lane_at.squeeze(1).gather(1, k)
        apart = torch.where(lane_at == lane.unsqueeze(2), torch.inf, apart)
        guess = (k - lane_field(maps.lane_start, mid, lane)).to(x.dtype) * lane_field(maps.lane_step, mid, lane)
        s, _, _, _ = project(maps, mid, lane, guess, x, y, steps=1)
        lanes.append(torch.where((least < limit * limit) & tracks.mask, lane, -1))
        along.append(s)
        limit = torch.minimum(limit, torch.sqrt(least) + CLOSER)
    return torch.stack(lanes, dim=2), torch.stack(along, dim=2)


def stops(scene: Scene) -> Stops:
    """Everything that the ego has to wait for on its own lane and those that follow."""
    ego, place = scene.ego, scene.place
    chain = own_chain(ego, place)
    line, halt = _signals(ego, place, chain)
    if place.maps.conflict.shape[1] < 2:  # nowhere do lanes meet
        nobody = torch.zeros_like(scene.tracks.mask)
        return Stops(halt, torch.full_like(halt, torch.inf), nobody if scene.spared is None else scene.spared, nobody)
    wait, trusted, stays = _right_of_way(scene, chain, line)
    wait = torch.minimum(wait, unseen_wait(scene, chain))
    trusted = trusted if scene.spared is None else trusted | scene.spared
    return Stops(torch.minimum(halt, wait), wait, trusted, stays)


def _signals(ego: Ego, place: Place, chain: Chain) -> tuple[Tensor, Tensor]:
    """Metres from the front bumper to the next painted line, and to the next place to rest for a light or a stop sign; (B,)."""
    maps, mid, half = place.maps, place.map_id, (0.5 * ego.length).unsqueeze(1)
    line = halt = torch.full_like(chain.base[0], torch.inf)  # (B, 1)
    for c in range(CHAIN - 1):
        lane = chain.lane[c]
        there = lane >= 0
        base = torch.where(there, chain.base[c], 0.0)
        to_line = torch.where(there, base + lane_field(maps.stop_s, mid, lane) - half, torch.inf)
        to_line = torch.where(to_line > -1.5, to_line, torch.inf)
        line = torch.minimum(line, to_line)
        sign = lane_field(maps.stop_must, mid, lane) & (ego.released.unsqueeze(1) != lane)
        red = must_stop_at(governing_light(maps, mid, place.lights, lane), to_line, ego.speed.unsqueeze(1))
        rest = torch.where(sign & ~red, (to_line - BACK).clamp(min=0.0), to_line)
        halt = torch.where((sign | red) & torch.isfinite(to_line), torch.minimum(halt, rest), halt)
    return line.squeeze(1), halt.squeeze(1)


def _ways(scene: Scene) -> tuple[Chain, Tensor]:
    """Every way that a track may take, as chains of (B, Y), and the track it belongs to (Y,) int64."""
    place = scene.place
    lane, s = lanes_of(scene.tracks, scene.ego, place)  # (B, T, C)
    goals = place.maps.next_lane.shape[1]
    rows = lane.shape[1]
    wide = (*lane.shape, goals)
    goal = torch.arange(goals, device=lane.device).expand(wide).flatten(1)
    owner = torch.arange(rows, device=lane.device).repeat_interleave(lane.shape[2] * goals)
    lane, s = lane.unsqueeze(3).expand(wide).flatten(1), s.unsqueeze(3).expand(wide).flatten(1)
    return chain_ahead(place.maps, place.map_id, goal, lane, s), owner


def _right_of_way(scene: Scene, chain: Chain, line: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Metres from the front bumper to where to wait for others (B,), +inf if the way is free; `trusted` and `stays` (B, T) of `Stops`."""
    ego, tracks, place = scene.ego, scene.tracks, scene.place
    maps, mid = place.maps, place.map_id
    ways, owner = _ways(scene)
    v = torch.sqrt(tracks.mean[..., 2] ** 2 + tracks.mean[..., 3] ** 2)[:, owner]  # (B, Y)
    half = (0.5 * tracks.size[..., 0])[:, owner]
    held = held_up(place, ways, v, half)

    met = shared(place, chain, ways, 0.5 * ego.length, half)
    mine, theirs, row, column, code = met.mine, met.theirs, met.row, met.column, met.code
    with_me = ((ways.lane[0].unsqueeze(2) == mine.unsqueeze(1)) & (mine >= 0).unsqueeze(1)).any(2)  # on the ego's own way: a leader
    known = met.known & ~with_me[:, None, :, None]
    half_i, v_i, v_j = 0.5 * ego.length.view(-1, 1, 1, 1), ego.speed.clamp(min=0.0).view(-1, 1, 1, 1), v[:, None, :, None]
    i_in, i_out, j_in, j_out = met.enters, met.leaves, met.other_enters, met.other_leaves

    pending = known & (i_in > 0.0) & (j_out > 0.0)
    inside = j_in <= 0.0
    at_line = (line < STARTS) | (torch.isinf(line) & (met.edge < BEYOND))
    gone = met.amid | (at_line & (ego.speed > 0.0) & (ego.accel > -EASES))
    calm = torch.where(gone, LEAST, 1.0 - (1.0 - LEAST) * (ego.waited / IMPATIENCE).clamp(max=1.0)).view(-1, 1, 1, 1)
    t_i_in, t_i_out = arrival(i_in, v_i, PACE), arrival(i_out, v_i, PACE)
    still = t_i_in < j_out / v_j.clamp(min=1.0) + calm * MARGIN  # it is not yet out when the ego comes in
    t_j_in = arrival(j_in, v_j, HASTE)
    fastest = torch.maximum(OVER * lane_field(maps.lane_limit, mid, theirs).unsqueeze(1), v_j)
    t_j_in = torch.maximum(t_j_in, j_in / fastest.clamp(min=1.0))
    meet = still & (t_j_in < t_i_in + calm * (t_i_out - t_i_in + MARGIN))
    # first come, first served, each judged by its own way to the first shared stretch of its lane
    turn_i = _turn(met.base, met.begins.gather(1, row.clamp(min=0)), half_i[..., 0, 0], v_i[..., 0, 0])
    their_begin = met.begins.gather(1, column.clamp(min=0).flatten(1)).view(column.shape)
    turn_j = _turn(torch.stack(ways.base, dim=2), their_begin, half.unsqueeze(2), v.unsqueeze(2))
    first = turn_j.unsqueeze(1) <= turn_i[:, :, None, None]
    must = (code == 1.0) | ((code == 2.0) & first)
    asleep = (ego.waited > PATIENCE).view(-1, 1, 1, 1) & (v_j < STANDS)
    joins = ((theirs.unsqueeze(1) == mine[:, :, None, None]) & (mine >= 0)[:, :, None, None]).any(1).any(2)  # (B, Y): into the ego's way
    leads = joins[:, None, :, None] & (j_out < i_out - 2.0 * half_i - BEHIND)  # and ahead of it there: it is followed, not waited for
    walks = (tracks.kind == int(Kind.PEDESTRIAN))[:, owner][:, None, :, None]  # towards the road: nobody knows whether he looks
    unsure = torch.sqrt(0.5 * (tracks.covariance[..., 2, 2] + tracks.covariance[..., 3, 3]).clamp(min=0.0))[:, owner]
    unknown = (unsure - FOLLOWED).clamp(min=0.0)[:, None, :, None]
    at_most = v_j + torch.where(walks, unknown, 0.0)  # m/s: who has just been met may well be walking
    stands = gone.view(-1, 1, 1, 1) & (at_most < STANDS)  # he lets the ego go; his box is still in the way
    minds = ((inside & still & ~leads) | (must & meet & ~held[:, None, :, None] & ~asleep)) & ~stands
    # at the line; who has left that behind waits before the first of the stretches, not between them
    before = torch.where(line > -0.5, (line - BACK).clamp(min=0.0), line)
    stop = torch.where(torch.isinf(line), met.edge - 1.0, before).view(-1, 1, 1, 1)
    here = torch.isfinite(line).view(-1, 1, 1, 1) | (i_in < met.edge.view(-1, 1, 1, 1) + BEYOND)
    room = torch.where((stop > -0.5) & (stop < i_in) & here, stop, i_in - 1.0)
    can = v_i * v_i < 2.0 * FIRM * room.clamp(min=0.05)
    wait = torch.where(pending & minds & can, room, torch.inf).amin((1, 2, 3))
    in_time = v_j * v_j < 2.0 * POLITE * j_in.clamp(min=0.0)
    waits = held[:, None, :, None] | asleep | (~must & in_time & ~(walks & (at_most > STANDS)))
    spread = tracks.covariance[..., 0, 0] + tracks.covariance[..., 1, 1]
    doubtful = torch.sqrt(0.5 * spread).clamp(max=BLURRED)[:, owner][:, None, :, None]  # m, of where he is
    matters = pending | (stands & known & (i_out > 0.0) & (j_out > 0.0))  # who lets it go does so, too, where the ego is already
    polite = matters & torch.where(stands, j_in > -doubtful, ~inside & waits)
    doubt = (matters & ~polite).any(1).any(2)  # (B, Y)
    count = tracks.mask.shape[1]
    each = len(owner) // count
    polite_way = polite.any(1).any(2) & ~doubt
    trusted = polite_way.view(-1, count, each).any(2) & ~doubt.view(-1, count, each).any(2)
    slow = at_most[:, 0, ::each, 0] < STANDS
    return wait, trusted, slow & met.amid.unsqueeze(1)


def _turn(base: Tensor, begins: Tensor, half: Tensor, speed: Tensor) -> Tensor:
    """Seconds to the first shared stretch of a lane, metres past it if negative; +inf where there is none."""
    to = torch.where(torch.isfinite(base) & torch.isfinite(begins), base + begins - half, torch.inf)
    return torch.where(to > 0.0, arrival(to, speed, HASTE), to)

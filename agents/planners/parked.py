"""Cars parked beside the lanes: to be driven past, and slowly, as they hide who may step out between them.

Where places and speeds are not known exactly, one of a row always seems to stand in the way, or to be about to drive off. People drive past
all the same: nobody parks in a lane, so whoever stands with his middle beside it stands beside it whole. And where one is not told
everything, a child may come out between two of them.

Shapes: B worlds, T tracks, R paths, P points. Ego frame.
"""

from __future__ import annotations

import torch
from torch import Tensor

from agents.planners.base import Ego, Place, Route
from agents.planners.route import FIRST, STEP, prepared, to_frenet
from agents.planners.stretches import place_lanes
from perception.tracking.config import DRIVING_MODELS
from perception.types import Tracks
from scenarios.kinds import Kind
from scenarios.network import LaneType

__all__ = ["beside", "careful", "entering"]

WALKER = DRIVING_MODELS["pedestrian"]
STANDS, SLOW = 0.3, 2.5  # m/s: who stands, and who surely does not
SURELY = 2.0  # standard deviations of the speed by which that is surpassed
UNKNOWN = 2.0  # m/s, standard deviation of a speed of which nothing is known yet
CLEAR = 0.05  # m, by which a box beside a lane may reach into another
BLURRED = 0.75  # m, at most, as far inside a lane may the middle be believed of who is beside it
MOST = 3.0  # standard deviations by which somebody may be elsewhere than believed, as he cannot be where the ego is
KNOWN = 0.05  # m, standard deviation of a place that is known exactly
STREET = 17.0  # m/s: along roads with a higher limit, and in junctions, nobody parks
ALONG = 2.5  # m from the edge of the lane: who is parked farther away hides nobody who could be in the way at once
PACE = 6.0  # m/s past those who do
BEFORE = 6.0  # m before them from where on
JUST_MET = 5  # looks, after which a walker's speed is what his track says
KERB = 2.5  # m from the edge of the lane: the width of a parked car
WALKS = 1.4  # m/s, at which people cross streets


def beside(tracks: Tracks, ego: Ego, place: Place) -> tuple[Tensor, Tracks]:
    """Who is parked, as far as anybody can tell, (B, T) bool; and the tracks with those at rest, and beside the lane.

    Parked is who stands along a street, his middle beside all lanes. If his place is not known exactly, it may be believed to be inside one
    by as much as it is uncertain across; his box is then turned along the lane and taken straight out of it. Who would be in another lane
    there is not parked, and who has just been met, so that nobody knows whether he stands, only if his middle is beside the lane already.
    What is known exactly is not touched.
    """
    x, y, vx, vy = tracks.mean.unbind(-1)
    xx, xy, yy = (tracks.covariance[..., i, j] for i, j in ((0, 0), (0, 1), (1, 1)))
    speed_doubt = torch.sqrt(0.5 * (tracks.covariance[..., 2, 2] + tracks.covariance[..., 3, 3]).clamp(min=0.0))
    speed, vehicle = torch.sqrt(vx * vx + vy * vy), tracks.mask & (tracks.kind != int(Kind.PEDESTRIAN))
    stands = vehicle & (speed <= STANDS + SURELY * speed_doubt) & (speed < SLOW)
    if not bool(stands.any()):  # saves time alone
        return stands, tracks
    x, y = torch.where(stands, _aside(x, y, tracks, ego), torch.stack((x, y))).unbind(0)
    street, inside, out_x, out_y = _inside(x, y, ego, place)
    doubt = torch.sqrt((xx * out_x * out_x + 2.0 * xy * out_x * out_y + yy * out_y * out_y).clamp(min=0.0))
    parked = stands & street & (inside < torch.where(speed_doubt < UNKNOWN, doubt.clamp(max=BLURRED), 0.0))
    moved, half = parked & (doubt > KNOWN), 0.5 * tracks.size[..., 1]
    by = torch.where(moved, (inside + half).clamp(min=0.0), 0.0)
    x, y = x + by * out_x, y + by * out_y
    moved = moved & (_inside(x, y, ego, place)[1] < CLEAR - half)
    mean = torch.where(moved.unsqueeze(-1), torch.stack((x, y, torch.zeros_like(x), torch.zeros_like(y)), -1), tracks.mean)
    forward = torch.where(torch.cos(tracks.yaw) * out_y - torch.sin(tracks.yaw) * out_x < 0.0, -1.0, 1.0)
    yaw = torch.where(moved, torch.atan2(-out_x * forward, out_y * forward), tracks.yaw)
    return parked & (moved | (doubt <= KNOWN)), tracks._replace(mean=mean, yaw=yaw)


def entering(tracks: Tracks, ego: Ego, place: Place) -> Tracks:
    """The tracks with walkers on their way into the lane who have just come out from between parked cars.

    A tracker that does not know the map takes whoever it meets to be as likely to walk one way as the other. At the edge of a street people
    come to cross it: what of their velocity is still the tracker's first guess is `WALKS` towards the lane instead. For a Kalman filter
    without process noise the mean it began with counts as its present variance over that at the beginning; as noise keeps that variance up,
    only walkers in sight now who were met no more than `JUST_MET` looks ago are told so. Forecasts that the perception stack makes itself
    stay as they are.
    """
    doubt = 0.5 * (tracks.covariance[..., 2, 2] + tracks.covariance[..., 3, 3])
    walker = tracks.mask & (tracks.kind == int(Kind.PEDESTRIAN)) & (tracks.age < JUST_MET) & (tracks.unseen == 0) & (doubt > 0.0)
    if not bool(walker.any()):  # saves time alone
        return tracks
    x, y, vx, vy = tracks.mean.unbind(-1)
    street, inside, out_x, out_y = _inside(x, y, ego, place)
    share = torch.where(walker & street & (inside > -KERB), (doubt / WALKER.speed_along**2).clamp(max=1.0), 0.0)
    mean = torch.stack((x, y, vx - WALKS * share * out_x, vy - WALKS * share * out_y), -1)
    return tracks._replace(mean=torch.where((share > 0.0).unsqueeze(-1), mean, tracks.mean))


def _aside(x: Tensor, y: Tensor, tracks: Tracks, ego: Ego) -> Tensor:
    """Places (2, B, T) m with those whose boxes would overlap the ego's put to its side, where that is nearer than before or behind it
    and not against all that is known: no more than `MOST` standard deviations."""
    cos, sin = torch.cos(tracks.yaw).abs(), torch.sin(tracks.yaw).abs()
    half = 0.5 * tracks.size
    deep = 0.5 * ego.length.unsqueeze(1) + half[..., 0] * cos + half[..., 1] * sin - x.abs()
    wide = 0.5 * ego.width.unsqueeze(1) + half[..., 0] * sin + half[..., 1] * cos - y.abs()
    most = MOST * tracks.covariance[..., 1, 1].clamp(min=0.0).sqrt()
    by = torch.where((wide > 0.0) & (deep > wide) & (wide <= most), wide, 0.0)
    return torch.stack((x, y + torch.where(y < 0.0, -by, by)))


def careful(route: Route, tracks: Tracks, parked: Tensor) -> Route:
    """The route with PACE, m/s, as the limit past those `parked` (B, T) close by its paths, and before them what CALM braking leads there
    from."""
    s, d, _, _ = to_frenet(route, tracks.mean[..., 0].contiguous(), tracks.mean[..., 1].contiguous())  # (B, R, T)
    half = 0.5 * tracks.size
    near = parked.unsqueeze(1) & (d.abs() - half[..., 1].unsqueeze(1) < 0.5 * route.width.unsqueeze(2) + ALONG)
    begins, ends = s - half[..., 0].unsqueeze(1) - BEFORE, s + half[..., 0].unsqueeze(1)
    ahead = FIRST + STEP * torch.arange(route.limit.shape[2], device=s.device, dtype=s.dtype)
    there = near.unsqueeze(3) & (ahead >= begins.unsqueeze(3)) & (ahead <= ends.unsqueeze(3))  # (B, R, T, P)
    most = torch.where(there.any(2), PACE, torch.inf)
    return route._replace(limit=torch.minimum(route.limit, prepared(most, ahead)))


def _inside(mx: Tensor, my: Tensor, ego: Ego, place: Place) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Of the lane whose middle is nearest to (mx, my) (B, T) m: whether one parks along it, (B, T) bool; metres (B, T) that the place is
    inside it, negative beside it; and the way out of it, a unit vector, x and y (B, T)."""
    maps, mid = place.maps, place.map_id
    cos, sin = ego.cos.unsqueeze(1), ego.sin.unsqueeze(1)
    x, y = ego.x.unsqueeze(1) + mx * cos - my * sin, ego.y.unsqueeze(1) + mx * sin + my * cos
    lane = place_lanes(maps)  # (M, P)
    kind, half = maps.lane_type.gather(1, lane)[mid], 0.5 * maps.lane_width.gather(1, lane)[mid]
    road = (kind != int(LaneType.WALKWAY)) & (kind != int(LaneType.PATH))
    px, py, pc, ps = (part[mid] for part in maps.points.unbind(-1)[:4])
    dx, dy = x.unsqueeze(2) - px.unsqueeze(1), y.unsqueeze(2) - py.unsqueeze(1)
    nearest = torch.where(road.unsqueeze(1), dx * dx + dy * dy, torch.inf).argmin(-1)
    c, s = pc.gather(1, nearest), ps.gather(1, nearest)
    d = (y - py.gather(1, nearest)) * c - (x - px.gather(1, nearest)) * s
    side = torch.where(d < 0.0, -1.0, 1.0)
    out_x, out_y = -s * side, c * side  # world frame
    limit = maps.lane_limit.gather(1, lane)[mid].gather(1, nearest)
    street = (kind.gather(1, nearest) == int(LaneType.DRIVE)) & (limit <= STREET)
    return street, half.gather(1, nearest) - d.abs(), out_x * cos + out_y * sin, out_y * cos - out_x * sin

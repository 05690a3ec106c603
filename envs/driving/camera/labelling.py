"""The exact truth of rendered frames.

Shapes: B worlds, C cameras, N = B C images, P prisms, K road users drawn, G signal heads drawn, D = C (K + G) labels.
"""

from __future__ import annotations

import torch
from torch import Tensor

from envs.driving.camera.cast import Columns
from envs.driving.camera.config import CLASSES, CameraConfig
from envs.driving.camera.exact import hypot
from envs.driving.camera.furniture import HEAD_AT, HEAD_BOX, LAMP_SEEN
from envs.driving.camera.prisms import Lens, Prisms
from envs.driving.camera.rendering import Rendered
from envs.driving.camera.scene import lamp_states
from envs.driving.camera.scenery import LIGHT_IDS, SceneryTables
from envs.driving.camera.shapes import PARTS
from envs.driving.camera.users import agent_heights
from envs.driving.camera.weather import Weather
from envs.driving.dynamics import slip
from envs.driving.types import Maps, Setup, State
from perception.types import Labels

__all__ = ["instance_map", "labels"]

OFF = 4  # a signal head whose lamps are dark or turned away
EDGE = 1e-4  # rad, points this little outside the field of view still count as on its edge


def instance_map(rendered: Rendered) -> Tensor:
    """(N, W, H) int64 instance ids, -1: background."""
    ids = rendered.scene.prisms.id.gather(1, rendered.prism.clamp(min=0.0).to(torch.int64).flatten(1)).view(rendered.prism.shape)
    return torch.where(rendered.prism >= 0.0, ids, -1)


def labels(
    rendered: Rendered,
    state: State,
    setup: Setup,
    maps: Maps,
    tables: SceneryTables,
    weather: Weather,
    config: CameraConfig,
    *,
    viewer: Tensor | None = None,
    dt: float = 0.1,
) -> Labels:
    """Labels of `render(...)` with the same arguments. Instance ids: an agent's slot; 1000 + 2 g: near head of light g, + 1: far one.

    Heights are those drawn. A light's yaw is where its lamps point; its state is 4 (off) where they cannot be seen from. Frames with no
    label keep their rows; `mask` says which rows count.
    """
    if viewer is None:
        viewer = torch.zeros_like(setup.map_id)
    batch, cameras = state.x.shape[0], len(config.cameras)
    scene, lens = rendered.scene, rendered.scene.lens
    clipped, whole = _boxes(scene.prisms, lens, config)
    visible, alone = _counts(rendered, config)
    heads = scene.prisms.x.shape[1] - 2 * config.signs - config.heads  # where the housings begin
    lamps = slice(heads, heads + config.heads)

    def of_each(value: Tensor, how: str) -> Tensor:  # (N, P, ...) -> (N, K + G, ...)
        parts = value[:, : PARTS * config.agents]
        parts = parts.reshape(len(parts), config.agents, PARTS, *parts.shape[2:])
        joined = {"min": parts.amin(2), "max": parts.amax(2)}[how]
        return torch.cat([joined, value[:, lamps]], dim=1)

    box = torch.cat([of_each(clipped[..., :2], "min"), of_each(clipped[..., 2:], "max")], dim=-1)
    full = torch.cat([of_each(whole[..., :2], "min"), of_each(whole[..., 2:], "max")], dim=-1)
    size = box.new_tensor([config.width, config.height])
    box = torch.maximum(torch.minimum(box, size.repeat(2)), torch.zeros_like(box))
    area, full_area = _area(box), _area(full)

    world = lens.world
    slot = scene.slot
    rows = {name: torch.cat([mine, theirs], dim=1) for (name, mine), theirs in zip(
        _agents(state, setup, tables, weather, world, slot).items(),
        _lights(state, setup, maps, tables, rendered, lamps, dt).values(), strict=True,
    )}  # fmt: skip
    centre, yaw, velocity = _in_ego(rows, state, viewer, world)
    seen, own = visible, alone
    camera = torch.arange(len(world), device=world.device) % cameras
    mask = seen > 0

    def per_world(value: Tensor) -> Tensor:
        return value.reshape(batch, -1, *value.shape[2:])

    def picture(value: Tensor) -> Tensor:
        return value.transpose(1, 2).reshape(batch, cameras, config.height, config.width)

    return Labels(
        box=per_world(torch.where(mask.unsqueeze(-1), box, 0.0)),
        camera=per_world(camera.unsqueeze(1).expand_as(mask)),
        kind=per_world(rows["kind"]),
        centre=per_world(centre),
        size=per_world(rows["size"]),
        yaw=per_world(yaw),
        velocity=per_world(velocity),
        light=per_world(rows["light"]),
        occlusion=per_world((1.0 - seen / own.clamp(min=1.0)).clamp(0.0, 1.0)),
        truncation=per_world((1.0 - area / full_area.clamp(min=1e-6)).clamp(0.0, 1.0)),
        source=per_world(torch.where(mask, rows["source"], -1)),
        mask=per_world(mask),
        depth=picture(rendered.depth),
        instance=picture(instance_map(rendered)),
        semantic=picture(rendered.semantic).to(torch.int64),
    )


def _area(box: Tensor) -> Tensor:
    return (box[..., 2] - box[..., 0]).clamp(min=0.0) * (box[..., 3] - box[..., 1]).clamp(min=0.0)


def _boxes(prisms: Prisms, lens: Lens, config: CameraConfig) -> tuple[Tensor, Tensor]:
    """Image boxes (N, P, 4) of every prism: of the part within the field of view, and of all that is before the lens.

    The plan of a prism is a rectangle; cut by straight lines it stays convex, so the extremes are at its corners and at the cuts.
    Absent: +inf, -inf.
    """
    along_x, along_y = prisms.half_length * prisms.cos, prisms.half_length * prisms.sin
    left_x, left_y = -prisms.half_width * prisms.sin, prisms.half_width * prisms.cos
    x = torch.stack([prisms.x + a * along_x + b * left_x for a, b in ((1, 1), (-1, 1), (-1, -1), (1, -1))], dim=-1)  # (N, P, 4)
    y = torch.stack([prisms.y + a * along_y + b * left_y for a, b in ((1, 1), (-1, 1), (-1, -1), (1, -1))], dim=-1)
    focal, cu, cv, eye = (value.view(-1, 1, 1) for value in (lens.focal, lens.cu, lens.cv, lens.z))
    left, right = cu / focal, (cu - config.width) / focal  # slopes of the image's edges

    def cut(distance: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Where the sides cross the line at which `distance` (N, P, 4) of the corners is 0."""
        after = distance.roll(-1, 2)
        crosses = distance * after < 0.0
        share = torch.where(crosses, distance / torch.where(crosses, distance - after, 1.0), 0.0)
        return x + share * (x.roll(-1, 2) - x), y + share * (y.roll(-1, 2) - y), crosses

    ahead = cut(x - config.near)
    edges = (cut(y - left * x), cut(y - right * x))
    before = (x >= config.near, ahead[2])
    bottom, top = prisms.bottom.unsqueeze(-1), prisms.top.unsqueeze(-1)

    def extent(px: Tensor, py: Tensor, there: Tensor) -> Tensor:
        depth = px.clamp(min=config.near)
        u = cu - focal * py / depth
        v0, v1 = cv - focal * (top - eye) / depth, cv - focal * (bottom - eye) / depth
        there = there & prisms.there.unsqueeze(-1)
        low = [torch.where(there, value, torch.inf).amin(-1) for value in (u, torch.minimum(v0, v1))]
        high = [torch.where(there, value, -torch.inf).amax(-1) for value in (u, torch.maximum(v0, v1))]
        return torch.stack([*low, *high], dim=-1)

    whole = extent(torch.cat([x, ahead[0]], -1), torch.cat([y, ahead[1]], -1), torch.cat(before, -1))
    px, py = torch.cat([x, ahead[0], edges[0][0], edges[1][0]], -1), torch.cat([y, ahead[1], edges[0][1], edges[1][1]], -1)
    there = torch.cat([*before, edges[0][2], edges[1][2]], -1)
    depth = px.clamp(min=config.near)
    inside = (px >= config.near - EDGE) & (py <= (left + EDGE) * depth) & (py >= (right - EDGE) * depth)
    return extent(px, py, there & inside), whole


def _rows_between(upper: Tensor, lower: Tensor, height: int) -> Tensor:
    """Number of pixels of a column whose middle is in [upper, lower)."""
    first, last = torch.ceil(upper - 0.5).clamp(0.0, float(height)), torch.ceil(lower - 0.5).clamp(0.0, float(height))
    return (last - first).clamp(min=0.0)


def _counts(rendered: Rendered, config: CameraConfig) -> tuple[Tensor, Tensor]:
    """Pixels (N, K + G) float32 of each thing that are visible, and that would be without the others."""
    seen: Columns = rendered.seen
    n, p, w = seen.enter.shape
    k = rendered.prism.clamp(min=0.0).to(torch.int64).flatten(1)
    hit = (rendered.prism >= 0.0).to(torch.int64).flatten(1)
    pixels = torch.zeros(n, p, dtype=torch.int64, device=k.device).scatter_add_(1, k, hit).to(torch.float32)
    users, heads = PARTS * config.agents, p - 2 * config.signs - config.heads
    visible = torch.cat([pixels[:, :users].reshape(n, config.agents, PARTS).sum(2), pixels[:, heads : heads + config.heads]], dim=1)
    upper, lower = (value[:, :users].reshape(n, config.agents, PARTS, w) for value in (seen.upper, seen.lower))
    # the union of three intervals, by inclusion and exclusion
    total = torch.zeros_like(upper[:, :, 0])
    for parts in ((0,), (1,), (2,), (0, 1), (0, 2), (1, 2), (0, 1, 2)):
        begin, end = upper[:, :, list(parts)].amax(2), lower[:, :, list(parts)].amin(2)
        total = total + _rows_between(begin, end, config.height) * (1.0 if len(parts) % 2 else -1.0)
    lamp = slice(heads, heads + config.heads)
    alone = torch.cat([total.sum(2), _rows_between(seen.upper[:, lamp], seen.lower[:, lamp], config.height).sum(2)], dim=1)
    return visible, alone


def _agents(state: State, setup: Setup, tables: SceneryTables, weather: Weather, world: Tensor, slot: Tensor) -> dict[str, Tensor]:
    def of(value: Tensor) -> Tensor:
        return value[world].gather(1, slot)

    height = of(agent_heights(setup, weather, tables))
    speed, beside = of(state.speed), of(state.speed) * torch.tan(slip(of(state.steer)))
    yaw = of(state.yaw)
    cos, sin = torch.cos(yaw), torch.sin(yaw)
    return {
        "position": torch.stack([of(state.x), of(state.y), 0.5 * height], dim=-1),
        "yaw": yaw,
        "velocity": torch.stack([speed * cos - beside * sin, speed * sin + beside * cos], dim=-1),
        "size": torch.stack([of(setup.length), of(setup.width), height], dim=-1),
        "kind": of(setup.kind),
        "light": torch.full_like(slot, -1),
        "source": slot,
    }


def _lights(
    state: State, setup: Setup, maps: Maps, tables: SceneryTables, rendered: Rendered, lamps: slice, dt: float
) -> dict[str, Tensor]:
    scene, lens = rendered.scene, rendered.scene.lens
    ids = scene.prisms.id[:, lamps]
    table = tables.heads[setup.map_id[lens.world]]
    index = (ids - LIGHT_IDS).clamp(min=0, max=table.shape[1] - 1)
    row = table.gather(1, index.unsqueeze(-1).expand(-1, -1, 4))
    states = lamp_states(state, setup, maps, dt)[lens.world].gather(1, row[..., 3].clamp(min=0.0).to(torch.int64))
    x, y, cos, sin = (value[:, lamps] for value in (scene.prisms.x, scene.prisms.y, scene.prisms.cos, scene.prisms.sin))
    lit = -(x * cos + y * sin) > LAMP_SEEN * hypot(x, y).clamp(min=0.1)
    size = row.new_tensor(HEAD_BOX).expand(*ids.shape, 3)
    return {
        "position": torch.cat([row[..., :2], torch.full_like(row[..., :1], HEAD_AT + 0.5 * HEAD_BOX[2])], dim=-1),
        "yaw": row[..., 2] + torch.pi,
        "velocity": torch.zeros_like(row[..., :2]),
        "size": size,
        "kind": torch.full_like(ids, CLASSES.index("light")),
        "light": torch.where(lit, states, OFF),
        "source": ids,
    }


def _in_ego(rows: dict[str, Tensor], state: State, viewer: Tensor, world: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Centre (N, ., 3), yaw and velocity (N, ., 2) in the frame of the viewer's box."""
    at = viewer.unsqueeze(1)
    x, y, yaw = (value.gather(1, at)[world] for value in (state.x, state.y, state.yaw))  # (N, 1)
    cos, sin = torch.cos(yaw), torch.sin(yaw)
    dx, dy = rows["position"][..., 0] - x, rows["position"][..., 1] - y
    vx, vy = rows["velocity"].unbind(-1)
    turn = rows["yaw"] - yaw
    turn = turn - 2.0 * torch.pi * torch.round(turn / (2.0 * torch.pi))
    centre = torch.stack([dx * cos + dy * sin, dy * cos - dx * sin, rows["position"][..., 2]], dim=-1)
    return centre, turn, torch.stack([vx * cos + vy * sin, vy * cos - vx * sin], dim=-1)

"""The driving camera against independent geometry, its labels against its pictures, and the laws both must keep."""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

import scenarios
from envs.driving.bank import Bank, build_bank
from envs.driving.camera import (
    CameraConfig,
    DrivingStream,
    Rendered,
    SceneryTables,
    Weather,
    believed_camera,
    build_scenery,
    draw_weather,
    labels,
    render,
    sensor_frame,
)
from envs.driving.camera.config import CLASSES, CONDITIONS, MOUNTS, SEMANTICS
from envs.driving.camera.labelling import instance_map
from envs.driving.camera.scenery import LIGHT_IDS
from envs.driving.camera.shapes import VARIANTS, part_table
from envs.driving.make import fit, sample_episodes
from envs.driving.sim import DrivingSim
from envs.driving.types import DrivingConfig, Maps, Setup, State
from perception.training.feed import GROUP, make_batches
from perception.training.stream import open_stream
from perception.types import Labels
from scenarios.kinds import Kind
from scenarios.network import Lane, RoadNetwork

Array = NDArray[np.float64]
CAMERA = CameraConfig()
EXACT = CameraConfig(jitter=0.0, noise=0.0, blur=0.0, weather="clear")


class World(NamedTuple):
    """A bank of one episode per family, a little into the drive."""

    bank: Bank
    sim: DrivingSim
    tables: SceneryTables

    @property
    def parts(self) -> tuple[State, Setup, Maps, SceneryTables]:
        return self.sim.state, self.sim.setup, self.sim.maps, self.tables


@pytest.fixture(scope="module")
def world() -> World:
    episodes = sample_episodes(list(scenarios.names()), len(scenarios.names()), 41)
    config = fit(DrivingConfig(autopilot=True, ticks_per_step=10), episodes)
    bank = build_bank(episodes, config)
    sim = DrivingSim(bank, config, batch=len(episodes))
    for _ in range(3):
        sim.step(torch.zeros(len(episodes), 1, 2))
    return World(bank, sim, build_scenery(bank.networks, CAMERA))


def rows(value: Any, index: Tensor) -> Any:
    """Worlds `index` of a tuple of (B, ...) tensors."""
    return type(value)(*(rows(part, index) if isinstance(part, tuple) else part[index] for part in value))


def picture(world: World, config: CameraConfig = EXACT, seed: int = 3, index: Tensor | None = None) -> tuple[Rendered, Labels, Weather]:
    state, setup, maps, tables = world.parts
    if index is not None:
        state, setup = rows(state, index), rows(setup, index)
    weather = draw_weather(setup.seed * 7 + seed, config)
    rendered = render(state, setup, maps, tables, weather, config)
    return rendered, labels(rendered, state, setup, maps, tables, weather, config), weather


def flat(value: Any) -> list[Tensor]:
    return [leaf for part in value for leaf in (flat(part) if isinstance(part, tuple) else [part])]


# configuration and weather


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"width": 100}, "width=100: must be a multiple of 16"),
        ({"height": 8}, "height=8"),
        ({"field_of_view": 3.0}, "field_of_view=3.0"),
        ({"horizon": 1.0}, "horizon=1.0"),
        ({"cameras": ()}, "at least one"),
        ({"cameras": ("font",)}, "did you mean 'front'"),
        ({"weather": "fogg"}, "did you mean 'fog'"),
        ({"near": 5.0, "far": 4.0}, "near < far"),
        ({"agents": 60, "buildings": 30}, "at most 128"),
        ({"texture_step": 0.0}, "texture_step"),
        ({"noise": -1.0}, "noise=-1.0"),
    ],
)
def test_config_says_what_is_wrong(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        CameraConfig(**options)


def test_weather_is_a_function_of_the_seed_alone() -> None:
    seed = torch.arange(300)
    whole = draw_weather(seed, CAMERA)
    for one in (0, 7, 299):
        for a, b in zip(flat(draw_weather(seed[one : one + 1], CAMERA)), flat(whole), strict=True):
            assert torch.equal(a[0], b[one])
    assert set(whole.condition.tolist()) == set(range(len(CONDITIONS)))
    assert torch.allclose(whole.sun.norm(dim=1), torch.ones(300), atol=1e-5)


@pytest.mark.parametrize("name", CONDITIONS)
def test_a_condition_can_be_forced(name: str) -> None:
    weather = draw_weather(torch.arange(50), replace(CAMERA, weather=name))
    assert (weather.condition == CONDITIONS.index(name)).all()
    assert (weather.fog > 0.015).all() == (name == "fog")
    assert (weather.rain > 0.0).all() == (name == "rain")
    assert (weather.night > 0.0).all() == (name == "night")


def test_nights_are_darker_and_fog_is_flatter_than_clear_days(world: World) -> None:
    images = {name: picture(world, replace(CAMERA, weather=name))[0].image.float() for name in CONDITIONS}
    assert images["night"].mean() < 0.6 * images["clear"].mean()
    assert images["fog"].std(dim=(3, 4)).mean() < images["clear"].std(dim=(3, 4)).mean()


# geometry


def trace(world: World, row: int, rendered: Rendered, weather: Weather) -> tuple[Array, NDArray[np.int64]]:
    """Depth and instance of every pixel of one frame by a ray tracer of its own: 3-D slabs in the frame of each box, float64."""
    state, setup = world.sim.state, world.sim.setup
    lens = rendered.scene.lens
    focal, cu, cv, height = (float(value[row]) for value in (lens.focal, lens.cu, lens.cv, lens.z))
    v, u = np.mgrid[0.5 : EXACT.height, 0.5 : EXACT.width]
    x0, y0, yaw0 = (float(value[row, 0]) for value in (state.x, state.y, state.yaw))
    dx, dy, _ = MOUNTS["front"]
    ahead, left = np.array([np.cos(yaw0), np.sin(yaw0), 0.0]), np.array([-np.sin(yaw0), np.cos(yaw0), 0.0])
    eye = np.array([x0, y0, height]) + dx * ahead + dy * left
    ray = ahead + ((cu - u) / focal)[..., None] * left + ((cv - v) / focal)[..., None] * np.array([0.0, 0.0, 1.0])  # per metre of depth
    depth = np.where(v > cv, focal * height / np.maximum(v - cv, 1e-9), np.inf)
    owner = np.full(depth.shape, -1, dtype=np.int64)
    for middle, yaw, size, who in boxes(world, row, weather, state, setup):
        axes = np.array([[np.cos(yaw), np.sin(yaw), 0.0], [-np.sin(yaw), np.cos(yaw), 0.0], [0.0, 0.0, 1.0]])
        origin, direction = axes @ (eye - middle), ray @ axes.T
        with np.errstate(divide="ignore", invalid="ignore"):
            near, far = (-0.5 * size - origin) / direction, (0.5 * size - origin) / direction
        enter, leave = np.minimum(near, far).max(-1), np.maximum(near, far).min(-1)
        closer = (enter <= leave) & (enter > EXACT.near) & (enter < depth)
        depth, owner = np.where(closer, enter, depth), np.where(closer, who, owner)
    return depth, owner


def boxes(world: World, row: int, weather: Weather, state: State, setup: Setup) -> list[tuple[Array, float, Array, int]]:
    """Middle, yaw, size and owner of every box of one world: parts of cars, buildings and hedges."""
    parts, _ = part_table()
    heights = {d: float(h) for d, h in zip(*heights_of(world, row, weather), strict=True)}
    out = []
    for slot in torch.nonzero(state.valid[row])[:, 0].tolist():
        if slot == 0:
            continue
        x, y, yaw = (float(value[row, slot]) for value in (state.x, state.y, state.yaw))
        length, width = float(setup.length[row, slot]), float(setup.width[row, slot])
        variant, height = int(variants_of(world, row, weather)[slot]), heights[slot]
        for rear, front, wide, low, high, _, _ in parts[variant].astype(float):
            if high > low:
                shift = 0.5 * (rear + front) * length
                middle = np.array([x + shift * np.cos(yaw), y + shift * np.sin(yaw), 0.5 * (low + high) * height])
                out.append((middle, yaw, np.array([(front - rear) * length, wide * width, (high - low) * height]), slot))
    network = world.bank.networks[int(setup.map_id[row])]
    for box in network.occluders:
        out.append((np.array([box.x, box.y, 0.5 * box.height]), box.yaw, np.array([box.length, box.width, box.height]), -1))
    return out


def variants_of(world: World, row: int, weather: Weather) -> Tensor:
    from envs.driving.camera.users import shape_rows

    return shape_rows(world.sim.setup, weather)[row]


def heights_of(world: World, row: int, weather: Weather) -> tuple[list[int], list[float]]:
    from envs.driving.camera.users import agent_heights

    heights = agent_heights(world.sim.setup, weather, world.tables)[row]
    return list(range(len(heights))), heights.tolist()


def test_depth_is_that_of_a_ray_tracer_in_three_dimensions(world: World) -> None:
    box_like = torch.tensor([int(Kind.CAR), int(Kind.TRUCK), int(Kind.BUS)])  # made of boxes only
    compared = things = 0
    rendered, _, weather = picture(world)
    kinds = world.sim.setup.kind
    for row, episode in enumerate(world.bank.episodes):
        if not torch.isin(kinds[row][world.sim.state.valid[row]], box_like).all() or episode.network.lights:
            continue
        if bool((world.tables.signs[world.sim.setup.map_id[row], :, 3] > 0).any()):
            continue  # posts and signs are not in the tracer
        depth, owner = trace(world, row, rendered, weather)
        mine = rendered.depth[row].T.double().numpy()
        reach = (depth < 80.0) & (mine < 80.0)  # the camera draws no more than the nearest sixteen
        mine, depth = np.where(reach, mine, 0.0), np.where(reach, depth, 0.0)
        close = np.abs(mine - depth) <= 2e-4 * depth + 1e-3
        assert (close | ~reach).mean() > 0.998, episode.scenario  # pixels on an edge may fall on either side
        assert ((instance_map(rendered)[row].T.numpy() == owner) | ~reach).mean() > 0.998
        compared, things = compared + 1, things + int((owner >= 0).sum())
    assert compared >= 4 and things > 500


def test_ground_depth_is_closed_form(world: World) -> None:
    _rendered, truth, _ = picture(world)
    v = torch.arange(EXACT.height) + 0.5
    expected = EXACT.focal * EXACT.mount_height / (v - EXACT.horizon * EXACT.height)
    ground = torch.isin(truth.semantic[:, 0], torch.tensor([SEMANTICS.index(name) for name in ("terrain", "road", "marking", "walkway")]))
    assert ground.float().mean() > 0.3
    error = (truth.depth[:, 0] - expected.view(1, -1, 1)).abs() / expected.view(1, -1, 1).abs()
    assert error[ground & (expected < 2000.0).view(1, -1, 1)].max() < 1e-4
    assert torch.isinf(truth.depth[truth.semantic == SEMANTICS.index("sky")]).all()


def test_nothing_that_is_not_there_is_drawn(world: World) -> None:
    state, setup, maps, tables = world.parts
    empty = state._replace(valid=torch.zeros_like(state.valid))
    weather = draw_weather(setup.seed, EXACT)
    rendered = render(empty, setup, maps, tables, weather, EXACT)
    truth = labels(rendered, empty, setup, maps, tables, weather, EXACT)
    assert (truth.kind[truth.mask] == CLASSES.index("light")).all()
    assert not ((truth.instance >= 0) & (truth.instance < LIGHT_IDS)).any()


# labels


def tight(mask: Tensor) -> Tensor:
    """u0, v0, u1, v1 of the pixels set in (H, W)."""
    v, u = torch.nonzero(mask, as_tuple=True)
    return torch.stack([u.min(), v.min(), u.max() + 1, v.max() + 1]).float()


@pytest.mark.slow
def test_boxes_are_those_of_the_instance_map() -> None:
    stream = DrivingStream(worlds=24, seconds=4)
    seen, beyond = 0, 0
    for seed in range(4):
        frame, truth, _ = stream.sample(seed, 48)
        for b, d in torch.nonzero(truth.mask).tolist():
            pixels = truth.instance[b, truth.camera[b, d]] == truth.source[b, d]
            assert pixels.any()  # listed, so visible
            found, box = tight(pixels), truth.box[b, d]
            assert (found[:2] >= box[:2] - 1.0).all() and (found[2:] <= box[2:] + 1.0).all()  # never outside
            if truth.occlusion[b, d] == 0.0 and truth.truncation[b, d] == 0.0 and (box[2:] - box[:2]).min() > 3.0:
                seen += 1
                beyond += bool((found - box).abs().max() > 1.0)
        assert torch.equal(torch.unique(truth.instance[truth.instance >= 0]), torch.unique(truth.source[truth.mask]))
        assert frame.image.dtype == torch.uint8
    # a rounded head or a disc of one column may fall between two pixels
    assert seen > 150 and beyond <= 0.02 * seen


def test_occlusion_is_the_share_of_pixels_lost_to_others(world: World) -> None:
    _rendered, truth, weather = picture(world)
    state, setup, maps, tables = world.parts
    open_country = [i for i, e in enumerate(world.bank.episodes) if not e.network.occluders and not e.network.lights]
    checked = 0
    for b in open_country:
        for d in torch.nonzero(truth.mask[b] & (truth.kind[b] < 6))[:8, 0].tolist():
            slot = int(truth.source[b, d])
            alone = torch.zeros_like(state.valid)
            alone[b, slot] = True
            only = render(state._replace(valid=alone), setup, maps, tables, weather, EXACT)
            whole = int((only.prism[b] >= 0).sum())
            signs = bool((tables.signs[setup.map_id[b], :, 3] > 0).any())
            if signs:
                continue
            here = int((truth.instance[b] == slot).sum())
            assert truth.occlusion[b, d] == pytest.approx(1.0 - here / whole, abs=1e-6)
            checked += 1
    assert checked > 10
    assert (truth.occlusion[truth.mask] < 1.0).all() and (truth.truncation[truth.mask] < 1.0).all()


def test_labels_place_things_where_the_state_says(world: World) -> None:
    _, truth, _ = picture(world)
    state, setup = world.sim.state, world.sim.setup
    agents = truth.mask & (truth.kind < CLASSES.index("light"))
    for b, d in torch.nonzero(agents).tolist():
        slot = int(truth.source[b, d])
        x, y, yaw = (float(value[b, 0]) for value in (state.x, state.y, state.yaw))
        offset = complex(float(state.x[b, slot]) - x, float(state.y[b, slot]) - y) * np.exp(-1j * yaw)
        assert truth.centre[b, d, :2].tolist() == pytest.approx([offset.real, offset.imag], abs=2e-3)
        assert truth.size[b, d, :2].tolist() == pytest.approx([float(setup.length[b, slot]), float(setup.width[b, slot])])
        assert float(truth.centre[b, d, 2]) == pytest.approx(0.5 * float(truth.size[b, d, 2]))
        assert np.cos(float(truth.yaw[b, d]) - float(state.yaw[b, slot]) + yaw) == pytest.approx(1.0, abs=1e-5)
        assert float(truth.velocity[b, d].norm()) == pytest.approx(abs(float(state.speed[b, slot])), rel=0.05, abs=1e-3)
        assert int(truth.kind[b, d]) == int(setup.kind[b, slot])


def test_lights_show_and_tell_their_state(world: World) -> None:
    """From 12 m before the line the near head's lit lamp is the brightest of its pixels in the colour that the label says."""
    row = next(i for i, e in enumerate(world.bank.episodes) if e.network.lights)
    state, setup, maps, tables = world.parts
    index = torch.tensor([row])
    state, setup = rows(state, index), rows(setup, index)
    x, y, heading = (float(value) for value in maps.light_pose[setup.map_id[0], 0])
    back, beside = 12.0, 2.5
    pose = {
        "x": x - back * np.cos(heading) - beside * np.sin(heading),
        "y": y - back * np.sin(heading) + beside * np.cos(heading),
        "yaw": heading,
    }
    placed: dict[str, Any] = {name: getattr(state, name).clone() for name in pose}
    for name, value in pose.items():
        placed[name][0, 0] = value
    state = state._replace(**placed, valid=torch.zeros_like(state.valid))
    weather = draw_weather(torch.tensor([5]), EXACT)
    told = set()
    for tick in range(0, 1200, 7):
        now = state._replace(step=torch.tensor([tick]))
        rendered = render(now, setup, maps, tables, weather, EXACT)
        truth = labels(rendered, now, setup, maps, tables, weather, EXACT)
        (d,) = torch.nonzero(truth.mask[0] & (truth.source[0] == LIGHT_IDS))[:, 0].tolist()
        shown = int(truth.light[0, d])
        red, green, blue = rendered.image[0, 0].float()[:, truth.instance[0, 0] == LIGHT_IDS]
        reddish, greenish = ((red - green > 90) & (red > 150)).any(), ((green - red > 90) & (green > 150)).any()
        yellowish = ((red > 150) & (green > 110) & (blue < 90) & (red - green < 90)).any()
        assert (bool(reddish), bool(yellowish), bool(greenish)) == (shown in (0, 1), shown in (1, 2), shown == 3)
        told.add(shown)
    assert {0, 2, 3} <= told
    far = torch.nonzero(truth.mask[0] & (truth.source[0] == LIGHT_IDS + 1))
    assert len(far) == 1  # the head across the junction belongs to the same light


# laws


def same_bits(a: Any, b: Any, index: Tensor) -> None:
    for one, other in zip(flat(a), flat(b), strict=True):
        assert torch.equal(one, other[index])


def test_frames_do_not_depend_on_the_batch(world: World) -> None:
    worlds = len(world.bank)
    order = torch.arange(64) % worlds
    (whole, truth, _), size = picture(world, CAMERA, index=order), 1
    for size in (1, 7):
        for first in (0, 5):
            index = torch.arange(first, first + size) % worlds
            part, mine, _ = picture(world, CAMERA, index=index)
            same_bits((part.image, part.depth, part.prism, part.semantic), (whole.image, whole.depth, whole.prism, whole.semantic), index)
            same_bits(mine, truth, index)


def mirrored(network: RoadNetwork) -> RoadNetwork:
    """The network reflected in the x axis."""

    def lane(old: Lane) -> Lane:
        return replace(
            old, centre=old.centre * [1.0, -1.0], left_mark=old.right_mark, right_mark=old.left_mark, left=old.right, right=old.left
        )

    return replace(
        network,
        lanes=tuple(lane(old) for old in network.lanes),
        areas=tuple(np.asarray(area) * [1.0, -1.0] for area in network.areas),
        crosswalks=tuple(np.asarray(area) * [1.0, -1.0] for area in network.crosswalks),
        occluders=tuple(replace(box, y=-box.y, yaw=-box.yaw) for box in network.occluders),
        bays=tuple(replace(bay, y=-bay.y, yaw=-bay.yaw) for bay in network.bays),
        lights=tuple(replace(light, y=-light.y, heading=-light.heading) for light in network.lights),
    )


def test_a_mirrored_world_gives_a_mirrored_picture(world: World) -> None:
    state, setup, maps, tables = world.parts
    config = replace(EXACT, signs=0)  # signs stand at the right
    weather = draw_weather(setup.seed, config)
    weather = weather._replace(hills=torch.zeros_like(weather.hills))
    one = render(state, setup, maps, tables, weather, config)
    other_tables = build_scenery([mirrored(network) for network in world.bank.networks], config)
    turned = state._replace(y=-state.y, yaw=-state.yaw)
    sun = weather.sun * torch.tensor([1.0, -1.0, 1.0])
    two = render(turned, setup, maps, other_tables, weather._replace(sun=sun), config)
    assert (one.prism == two.prism.flip(1)).float().mean() > 0.999
    close = (one.depth - two.depth.flip(1)).abs() <= 1e-3 * one.depth
    assert (close | (torch.isinf(one.depth) & torch.isinf(two.depth.flip(1)))).float().mean() > 0.999
    assert (one.semantic == two.semantic.flip(1)).float().mean() > 0.98  # texels are as large as far pixels
    difference = (one.image.float() - two.image.flip(-1).float()).abs()
    assert difference.mean() < 5.0  # of 255; the grain of the ground is not mirrored


def test_more_cameras_see_the_same_world(world: World) -> None:
    config = replace(EXACT, cameras=("front", "left", "right", "rear"))
    rendered, truth, _ = picture(world, config)
    front, mine, _ = picture(world, EXACT)
    assert rendered.image.shape == (len(world.bank), 4, 3, 96, 160)
    assert torch.equal(rendered.image[:, 0], front.image[:, 0])
    first = truth.mask & (truth.camera == 0)
    assert torch.equal(truth.box[first], mine.box[mine.mask])
    behind = truth.mask & (truth.camera == 3)
    assert behind.any() and (truth.centre[behind][:, 0] < 3.0).all()


# sensor frames and streams


def test_motion_leads_from_one_pose_to_the_next(world: World) -> None:
    stream = DrivingStream(EXACT, scenario=("racetrack",), worlds=2, seconds=1)
    samples = next(stream.sequences(2, 12, seed=4))
    assert len(samples) == 12 and (samples[0].frame.motion == 0.0).all()
    for before, after in itertools.pairwise(samples):
        assert torch.allclose(after.frame.time - before.frame.time, torch.full((2,), 0.1), atol=1e-5)
        ahead = after.frame.motion[:, 0]
        assert torch.allclose(ahead, 0.05 * (before.frame.speed + after.frame.speed), atol=0.05)
        turned = 0.05 * (before.frame.yaw_rate + after.frame.yaw_rate)
        assert torch.allclose(after.frame.motion[:, 2], turned, atol=0.02)


def test_believed_cameras_are_the_true_ones_without_jitter(world: World) -> None:
    state, setup, maps, tables = world.parts
    weather = draw_weather(setup.seed, CAMERA)
    exact, shaken = (render(state, setup, maps, tables, draw_weather(setup.seed, c), c).scene.lens for c in (EXACT, CAMERA))
    believed = sensor_frame(render(state, setup, maps, tables, weather, CAMERA).image, state, setup, CAMERA).camera
    assert torch.allclose(exact.cv, believed.cv[:, 0]) and torch.allclose(exact.focal, believed.focal[:, 0])
    assert not torch.equal(shaken.cv, believed.cv[:, 0]) and (shaken.cv - believed.cv[:, 0]).abs().max() < 1.5
    assert torch.equal(believed.yaw, believed_camera(len(world.bank), CAMERA).yaw)


def test_the_stream_repeats_itself_from_any_state_of_mind() -> None:
    first, second = (open_stream("driving", worlds=8, seconds=2) for _ in range(2))
    first.sample(99, 5)
    a, b = first.sample(3, 10), second.sample(3, 10)
    for one, other in zip(flat(a), flat(b), strict=True):
        assert torch.equal(one, other)
    assert not torch.equal(a.frame.image, second.sample(4, 10).frame.image)
    assert tuple(first.classes) == CLASSES and tuple(first.conditions) == CONDITIONS
    with pytest.raises(ValueError, match="count=0"):
        first.sample(0, 0)


@pytest.mark.slow
def test_the_stream_shows_every_class() -> None:
    stream = DrivingStream(worlds=24, seconds=4)
    kinds: set[int] = set()
    for seed in range(4):
        truth = stream.sample(seed, 48).labels
        kinds |= set(truth.kind[truth.mask].tolist())
    assert kinds == set(range(len(CLASSES)))


def test_shapes_fill_the_box_that_collides() -> None:
    parts, heights = part_table()
    assert len(parts) == len(Kind) * VARIANTS and (heights > 1.0).all()
    for rear, front, wide, low, high, _, _ in parts.reshape(-1, 7):
        assert -0.5 <= rear <= front <= 0.5 and 0.0 <= wide <= 1.0 and 0.0 <= low <= high <= 1.0
    assert np.allclose(parts[:, 0, 0], -0.5, atol=0.15) and np.allclose(parts[:, :, 4].max(1), 1.0)


def test_a_stream_that_looks_around_shows_four_views_of_a_world_every_third_seed() -> None:
    plain, around = (
        DrivingStream(scenario=("junction",), worlds=4, seconds=2),
        DrivingStream(scenario=("junction",), around=True, worlds=4, seconds=2),
    )
    assert torch.equal(plain.sample(0, 4).frame.image, around.sample(0, 4).frame.image)
    frame, labels, condition = around.sample(2, 8)
    assert frame.image.shape[:2] == (2, 4) and len(condition) == 2
    assert set(labels.camera[labels.mask].tolist()) <= {0, 1, 2, 3}
    # the front view of a world is what it would be alone, but for the mounts, which are drawn for each camera
    assert torch.equal(frame.camera.yaw[0], torch.tensor([mount[2] for mount in MOUNTS.values()]))
    with pytest.raises(ValueError, match="multiple of the 4 cameras"):
        around.sample(2, 6)
    batches = make_batches(around, 2, 8)
    assert len(batches) == GROUP and all(batch.image.shape[0] == 8 for batch in batches)

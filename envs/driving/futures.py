"""Simulated futures: the labelled stream on which predictors are trained and judged.

Shapes: I instants of a run, B worlds, A agents, T tracks, P past instants, S future steps, J road pieces.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

import scenarios
from envs.driving.bank import build_bank
from envs.driving.lanes import lane_field
from envs.driving.roads import PIECES, Pieces, cut, roads_near
from envs.driving.sim import DrivingSim
from envs.driving.types import DrivingConfig, Setup
from perception.prediction.base import STEP, STEPS
from perception.prediction.examples import Examples, label_manoeuvres, tracks_from
from perception.prediction.history import PAST, History
from perception.types import Roads
from scenarios.episode import Role
from scenarios.kinds import Kind
from scenarios.network import LaneType

__all__ = ["TEST_SEED", "TRAIN_SEED", "VALIDATION_SEED", "Run", "cut_out", "families", "simulate", "stream"]

TRACKS = 16  # T
RANGE = 100.0  # m around the ego within which others are tracked
TRAIN_SEED, VALIDATION_SEED, TEST_SEED = 700_000, 800_000, 900_000  # first seeds of the episodes; no two sets meet
SETTLE = 2.0  # s at the start of an episode that are left out
STRIDES = (1, 2, 4)  # ticks between remembered instants: 10, 5 and 2.5 Hz
NOISE = (0.25, 0.4, 0.04)  # m, m/s, rad: what a tracker adds (one standard deviation), in half of the training scenes
HEIGHT = 1.5  # m
MOODS, MOOD_TIME = (0.05, 1.15), 6.0  # of the desired speed; s


@dataclass(frozen=True, kw_only=True)
class Run:
    """Worlds from beginning to end, one row per tick. Tensors (I, B, A) unless noted."""

    x: Tensor  # m, world frame
    y: Tensor  # m
    yaw: Tensor  # rad
    speed: Tensor  # m/s along yaw
    valid: Tensor  # bool
    side: Tensor  # int8, lane change begun at that tick: +1 left, -1 right
    walkway: Tensor  # bool, on a crosswalk or footpath
    kind: Tensor  # (B, A) int64
    length: Tensor  # (B, A) m
    width: Tensor  # (B, A) m
    parked: Tensor  # (B, A) bool, never moves
    ended: Tensor  # (B,) int64, first tick after the episode
    map_id: Tensor  # (B,) int64
    pieces: Pieces
    dt: float  # s between ticks
    has_ego: bool  # slot 0 is the ego; otherwise everybody is somebody else


def _moods(setup: Setup, ticks: int, dt: float, restless: float, seed: int) -> Callable[[int], Tensor]:
    """Factors on the desired speeds (B, A) at a tick: MOODS drawn anew every MOOD_TIME s, in between linear; half of it the world's own."""
    generator = torch.Generator().manual_seed(seed)
    worlds, agents = setup.x.shape
    knots = int(ticks * dt / MOOD_TIME) + 3
    shared, own = torch.rand((knots, worlds, 1), generator=generator), torch.rand((knots, worlds, agents), generator=generator)
    factors = MOODS[0] + (MOODS[1] - MOODS[0]) * (0.5 * shared + 0.5 * own)
    calm = torch.rand((worlds, 1), generator=generator) >= restless
    phase = torch.rand((worlds, 1), generator=generator)

    def at(tick: int) -> Tensor:
        place = tick * dt / MOOD_TIME + phase  # (B, 1)
        k = place.floor().to(torch.int64).expand(worlds, agents).unsqueeze(0)
        share = place - place.floor()
        between = factors.gather(0, k)[0] * (1.0 - share) + factors.gather(0, k + 1)[0] * share
        return torch.where(calm, 1.0, between)

    return at


@torch.no_grad()
def simulate(scenario: str, seeds: Sequence[int], *, seconds: float = 60.0, restless: float = 0.0) -> Run:
    """Drive episodes of a scenario with the traffic model, the ego included, and keep what everybody did.

    Episodes go on after the ego has arrived, as long as their duration, at most `seconds`. restless: share of the worlds in which drivers
    keep changing the speed they want (see MOODS): a predictor that sees only drivers who want the limit mistakes every jam for a start.
    Raises scenarios' errors.
    """
    loaded = scenarios.load(scenario)
    episodes = [scenarios.sample(loaded, seed) for seed in seeds]
    agents = max(TRACKS, -(-max(len(e.agents) for e in episodes) // 8) * 8)
    config = DrivingConfig(agents=agents, autopilot=True, ticks_per_step=1, dt=episodes[0].dt)
    bank = build_bank(episodes, config)
    sim = DrivingSim(bank, config, batch=len(episodes))
    ticks = min(int(sim.setup.duration.max()), round(seconds / config.dt))
    action, mid, setup = torch.zeros((len(episodes), 1, 2)), sim.setup.map_id, sim.setup
    kept: dict[str, list[Tensor]] = {name: [] for name in ("x", "y", "yaw", "speed", "valid", "side", "walkway")}
    ended = setup.duration.clamp(max=ticks)
    before, moods, wanted = sim.state, _moods(setup, ticks, config.dt, restless, int(seeds[0])), setup.desired_speed
    for tick in range(ticks):
        if restless > 0.0:
            sim.setup = setup._replace(desired_speed=wanted * moods(tick))
        sim.step(action)
        now = sim.state
        left, right = lane_field(sim.maps.lane_left, mid, before.lane), lane_field(sim.maps.lane_right, mid, before.lane)
        moved = (now.lane != before.lane) & (now.lane >= 0) & (before.lane >= 0)
        side = torch.where(moved & (now.lane == left), 1, torch.where(moved & (now.lane == right), -1, 0)).to(torch.int8)
        walkway = (lane_field(sim.maps.lane_type, mid, now.lane) == int(LaneType.WALKWAY)) & (now.lane >= 0)
        values = (now.x, now.y, now.yaw, now.speed, now.valid, side, walkway)
        for name, value in zip(kept, values, strict=True):
            kept[name].append(value)
        before = now
    return Run(
        **{name: torch.stack(values) for name, values in kept.items()},
        kind=setup.kind,
        length=setup.length,
        width=setup.width,
        parked=setup.role == int(Role.STATIC),
        ended=ended,
        map_id=mid,
        pieces=cut(sim.maps),
        dt=config.dt,
        has_ego=True,
    )


def cut_out(
    run: Run, world: Tensor, tick: Tensor, ego: Tensor, *, stride: int, tracks: int = TRACKS, pieces: int = PIECES, reach: float = RANGE
) -> Examples:
    """Scenes of a run: world, tick, ego slot (B',) int64. `stride` ticks lie between remembered instants.

    The nearest `tracks` others within `reach` m are tracked, the nearest first. Without an ego (`run.has_ego` False) the slot still gives
    the frame, but is tracked like the others.
    """
    per_step = round(STEP / run.dt)
    pose = torch.stack([run.x, run.y, run.yaw], dim=-1)
    origin = pose[tick, world, ego]  # (B', 3)
    cos, sin = torch.cos(origin[:, 2]), torch.sin(origin[:, 2])
    apart = torch.hypot(run.x[tick, world] - origin[:, :1], run.y[tick, world] - origin[:, 1:2])  # (B', A)
    others = run.valid[tick, world]
    if run.has_ego:
        others = others & (torch.arange(others.shape[1]) != ego.unsqueeze(1))
    apart = torch.where(others & (apart < reach), apart, torch.inf)
    tracks = min(tracks, apart.shape[1])
    near, slot = apart.topk(tracks, largest=False)  # (B', T)
    mask = torch.isfinite(near)
    # instants: the past, now, and the steps to come
    past = tick.unsqueeze(1) - stride * torch.arange(PAST - 1, -1, -1)  # (B', P)
    ahead = tick.unsqueeze(1) + per_step * torch.arange(STEPS + 1)  # (B', 1 + S), the first is now
    last = run.x.shape[0] - 1

    def look(table: Tensor, at: Tensor) -> Tensor:
        """(I, B, A) at instants (B', X) for the tracked slots: (B', T, X)."""
        return table[at.clamp(0, last)[:, None, :], world[:, None, None], slot[:, :, None]]

    def local(at: Tensor) -> tuple[Tensor, Tensor]:
        dx, dy = look(run.x, at) - origin[:, 0, None, None], look(run.y, at) - origin[:, 1, None, None]
        c, s = cos[:, None, None], sin[:, None, None]
        return dx * c + dy * s, dy * c - dx * s

    x, y = local(past)
    yaw = _wrap(look(run.yaw, past) - origin[:, 2, None, None])
    speed = look(run.speed, past)
    vx, vy = speed * torch.cos(yaw), speed * torch.sin(yaw)
    # seen without a break until now
    valid = (look(run.valid, past) & (past >= 0).unsqueeze(1)).flip(-1).to(torch.int8).cumprod(-1).bool().flip(-1) & mask.unsqueeze(2)
    known_ahead = (ahead < run.ended[world].unsqueeze(1)).unsqueeze(1)
    there = (look(run.valid, ahead) & known_ahead).to(torch.int8).cumprod(-1).bool() & mask.unsqueeze(2)
    future = torch.stack(local(ahead), dim=-1)
    own = torch.arange(per_step * STEPS + 1) + tick.unsqueeze(1)
    sides = look(run.side, own).to(torch.int64)  # (B', T, ticks)
    first = (sides != 0).to(torch.int64).argmax(-1, keepdim=True)
    label = label_manoeuvres(
        look(run.speed, ahead).abs(),
        look(run.yaw, ahead),
        sides.gather(-1, first).squeeze(-1),
        run.kind[world[:, None], slot] == int(Kind.PEDESTRIAN),
        look(run.walkway, ahead),
        there,
        run.parked[world[:, None], slot],
    )
    at = past.clamp(0, last)
    seen = (past >= 0) & run.valid[at, world[:, None], ego[:, None]]
    ego_pose, ego_speed = pose[at, world[:, None], ego[:, None]], run.speed[at, world[:, None], ego[:, None]]
    dx, dy = ego_pose[..., 0] - origin[:, :1], ego_pose[..., 1] - origin[:, 1:2]
    turn = _wrap(ego_pose[..., 2] - origin[:, 2:])
    c, s = cos.unsqueeze(1), sin.unsqueeze(1)
    ego_past = torch.stack([dx * c + dy * s, dy * c - dx * s, ego_speed * torch.cos(turn), ego_speed * torch.sin(turn), turn], dim=-1)
    size = torch.stack([run.length[world[:, None], slot], run.width[world[:, None], slot], torch.full_like(near, HEIGHT)], dim=-1)
    current = tracks_from(
        run.kind[world[:, None], slot], torch.stack([x[..., -1], y[..., -1], vx[..., -1], vy[..., -1]], -1), yaw[..., -1], size, mask, slot
    )
    history = History(current.id, x, y, vx, vy, yaw, valid, ego_past, seen & run.has_ego, past.to(torch.float32) * run.dt)
    roads: Roads = roads_near(run.pieces, run.map_id[world], origin[:, 0], origin[:, 1], origin[:, 2], count=pieces)
    return Examples(history, current, roads, future[:, :, 1:], there[:, :, 1:], label)


def disturbed(examples: Examples, chosen: Tensor, generator: torch.Generator) -> Examples:
    """The scenes of `chosen` (B,) bool as a tracker might see them: noise on the past, the same on its newest instant and the track."""
    h, t = examples.history, examples.tracks
    by = chosen.view(-1, 1, 1).to(torch.float32)

    def noise(scale: float) -> Tensor:
        return torch.randn(h.x.shape, generator=generator) * scale * by

    h = h._replace(x=h.x + noise(NOISE[0]), y=h.y + noise(NOISE[0]), vx=h.vx + noise(NOISE[1]), vy=h.vy + noise(NOISE[1]))
    h = h._replace(yaw=h.yaw + noise(NOISE[2]))
    newest = torch.stack([h.x[..., -1], h.y[..., -1], h.vx[..., -1], h.vy[..., -1]], dim=-1)
    return examples._replace(history=h, tracks=t._replace(mean=newest, yaw=h.yaw[..., -1]))


def families() -> tuple[str, ...]:
    """Every family of the library, as it is and busier."""
    return tuple(f"{name}{variant}" for name in scenarios.names() for variant in ("", "/hard"))


def stream(
    names: Sequence[str] | None = None,
    *,
    seed: int = TRAIN_SEED,
    worlds: int = 16,
    scenes: int = 640,
    noise: float = 0.5,
    rounds: int = 1,
    restless: float = 0.5,
) -> Iterator[Examples]:
    """Labelled scenes of simulated traffic, one batch for each scenario, past length and round.

    names: scenarios (`families` by default); worlds: episodes run together; scenes: drawn from each run; noise: share of them as a
    tracker would see them; restless: see `simulate`. Round r uses the episode seeds seed + r * worlds onwards. The frame is that of the
    ego in half of the scenes, of any other agent in the rest.
    """
    chosen = tuple(names) if names is not None else families()
    for r in range(rounds):
        for name in chosen:
            first = seed + r * worlds
            generator = torch.Generator().manual_seed(first)
            run = simulate(name, range(first, first + worlds), restless=restless)
            yield from _draw(run, scenes, generator, noise)


def _draw(run: Run, scenes: int, generator: torch.Generator, noise: float) -> Iterator[Examples]:
    share = scenes // len(STRIDES)
    for stride in STRIDES:
        # four times as many as needed, of which busy ones are kept: most of what is learned is learned from others
        world = torch.randint(run.x.shape[1], (4 * share,), generator=generator)
        low, high = round(SETTLE / run.dt), run.ended[world] - round(2.0 / run.dt)
        tick = low + (torch.rand(4 * share, generator=generator) * (high - low)).to(torch.int64)
        busy = (run.valid[tick, world] & ~run.parked[world]).sum(1).to(torch.float32)
        kept = torch.multinomial(busy + 0.01, share, generator=generator)
        world, tick = world[kept], tick[kept]
        weights = run.valid[tick, world].to(torch.float32)
        weights[:, 0] += weights.sum(1)
        ego = torch.multinomial(weights, 1, generator=generator).squeeze(1)
        examples = cut_out(run, world, tick, ego, stride=stride)
        yield disturbed(examples, torch.rand(share, generator=generator) < noise, generator) if noise else examples


def _wrap(angle: Tensor) -> Tensor:
    return torch.remainder(angle + torch.pi, 2.0 * torch.pi) - torch.pi

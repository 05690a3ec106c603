"""Rally's rules: closed forms against tiny steps, laws of motion, symmetry, and one world, one history."""

from __future__ import annotations

import hashlib
import math

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from envs.checks import ConfigError
from envs.games.rally.motion import arrival, fly, fold, speeds
from envs.games.rally.opponent import opponent
from envs.games.rally.rules import mirrored, reset, step
from envs.games.rally.types import FACE, LIMIT, SERVE_WAIT, TOP, RallyConfig, RallyState
from envs.games.rally.worlds import RallyWorlds
from perception.rng import uniform

CONFIG = RallyConfig()
Array = NDArray[np.float64]


def commands(state: RallyState) -> Tensor:
    """(B, 2) random commands, a function of (episode, decision) alone."""
    return 2.4 * uniform(state.seed[:, None], state.step[:, None] // 5, 4021, torch.arange(2)) - 1.2


def play(count: int, decisions: int, config: RallyConfig = CONFIG, first: int = 0) -> list[RallyState]:
    """Who follows the ball on the left plays the built-in opponent."""
    state, states = reset(torch.arange(first, first + count), config), []
    for _ in range(decisions):
        states.append(state)
        state, _ = step(state, torch.stack((opponent(state, config, 0), opponent(state, config)), -1), config)
    return states


def small_steps(ball: Array, velocity: Array, paddle: Array, command: Array, parts: int) -> tuple[Array, Array, Array]:
    """A decision in `parts` steps without any closed form, in float64; all (N, 2). Place (N, 2), whether a paddle was met (N,), and how
    far ball and paddle were apart (N,) when the ball passed the paddle's face; nan: it did not. Who is met stays there."""
    (x, y), vx, vy = ball.T.copy(), velocity[:, 0], velocity[:, 1].copy()
    places, small, row = paddle.copy(), CONFIG.dt / parts, np.arange(len(ball))
    side, apart, hit = (vx > 0.0).astype(int), np.full(len(ball), np.nan), np.zeros(len(ball), dtype=bool)
    for _ in range(parts):
        before, go = x.copy(), ~hit
        x, y = x + go * vx * small, y + go * vy * small
        off = np.abs(y) > TOP
        y, vy = np.where(off, np.copysign(2.0 * TOP, y) - y, y), np.where(off, -vy, vy)
        places = np.where(go[:, None], np.clip(places + command * small, -CONFIG.room, CONFIG.room), places)
        passes = go & (np.abs(before) <= FACE) & (np.abs(x) > FACE)
        apart = np.where(passes, np.abs(y - places[row, side]), apart)
        hit |= passes & (apart <= CONFIG.reach)
    return np.stack((x, y), 1), hit, apart


def test_swept_collisions_are_those_of_tiny_steps() -> None:
    """Balls so fast that one decision takes them through a paddle several times over, off walls and past moving paddles."""
    rng = np.random.default_rng(0)
    count = 600
    ball = rng.uniform((0.3, -TOP), (FACE, TOP), (count, 2))
    velocity = rng.uniform((1.0, -30.0), (16.0, 30.0), (count, 2))
    ball[::2, 0], velocity[::2, 0] = -ball[::2, 0], -velocity[::2, 0]
    paddle, command = rng.uniform(-0.7, 0.7, (count, 2)), rng.uniform(-8.0, 8.0, (count, 2))
    place, hit, apart = small_steps(ball, velocity, paddle, command, 4000)
    parts = (torch.from_numpy(part) for part in (ball, velocity, paddle, command))
    flight = fly(*parts, torch.zeros(count, dtype=torch.int64), CONFIG)
    close = np.abs(np.abs(ball[:, 0] + velocity[:, 0] * CONFIG.dt) - FACE) < 0.01  # to where small steps cannot tell
    clear = ~close & ~(np.abs(apart - CONFIG.reach) < 0.01)
    np.testing.assert_array_equal(flight.hit.any(-1).numpy()[clear], hit[clear])
    np.testing.assert_array_equal(flight.hit[:, 1].numpy()[clear], (hit & (velocity[:, 0] > 0.0))[clear])
    assert min(hit.sum(), (~hit & ~np.isnan(apart)).sum(), np.isnan(apart).sum()) > 50  # a test of nothing otherwise
    free = clear & ~hit
    np.testing.assert_allclose(flight.ball.numpy()[free], place[free], atol=1e-9)


def test_walls_reflect_as_mirrors() -> None:
    """Unfolding against a ball bounced one wall at a time."""
    for y, vy, time in np.random.default_rng(1).uniform((-TOP, -60.0, 0.0), (TOP, 60.0, 1.0), (200, 3)):
        place, speed = y + vy * time, vy
        while abs(place) > TOP:
            place, speed = math.copysign(2.0 * TOP, place) - place, -speed
        found, moving = fold(torch.tensor(y + vy * time, dtype=torch.float64), torch.tensor(vy, dtype=torch.float64))
        assert float(found) == pytest.approx(place, abs=1e-9)
        assert float(moving) == speed


def test_the_ball_is_returned_by_where_and_how_it_is_met() -> None:
    """Off the middle of a paddle at rest it flies straight, off its end as steeply as it can; a moving one drags it along."""
    off = torch.tensor([0.0, 0.5, 1.0, -1.0, 0.0, 0.0]) * (CONFIG.reach * 0.9999)
    drive = torch.tensor([0.0, 0.0, 0.0, 0.0, 1.0, -1.0]) * CONFIG.paddle_speed
    ball = torch.stack((torch.full((6,), FACE - 1e-6), off), -1)  # met at once, so paddles have not moved yet
    command = torch.stack((torch.zeros(6), drive), -1)
    flight = fly(ball, torch.tensor([[2.0, 0.0]]).expand(6, 2), torch.zeros(6, 2), command, torch.zeros(6, dtype=torch.int64), CONFIG)
    slope = flight.velocity[:, 1] / flight.velocity[:, 0].abs()
    wanted = [0.0, 0.5 * CONFIG.slope, CONFIG.slope, -CONFIG.slope, CONFIG.spin, -CONFIG.spin]
    torch.testing.assert_close(slope, torch.tensor(wanted), atol=1e-3, rtol=1e-3)
    assert bool((flight.velocity[:, 0] < 0.0).all())


def test_a_ball_has_the_speed_of_its_returns() -> None:
    """speed_n = min(speed * gain^n, speed_max), between returns and off walls alike."""
    counts = set()
    for state in play(16, 260, RallyConfig(skill=1.0))[::7]:
        flies = state.velocity.abs().sum(-1) > 0.0
        wanted = (CONFIG.speed * CONFIG.gain ** state.returns.double()).clamp(max=CONFIG.speed_max)
        torch.testing.assert_close(state.velocity.double().norm(dim=-1)[flies], wanted[flies], rtol=1e-5, atol=0.0)
        counts |= set(state.returns.tolist())
    assert max(counts) > 5
    assert speeds(RallyConfig(gain=1.0)) == [CONFIG.speed]


def test_what_is_foretold_comes_to_pass() -> None:
    """Balls that fly freely get to the face when and where `arrival` says."""
    state = reset(torch.arange(32), CONFIG)
    told: dict[int, tuple[int, float, float]] = {}
    for number in range(60):
        for b in np.flatnonzero(((state.velocity[:, 0] > 0.0) & (state.ball[:, 0] < 0.5)).numpy()).tolist():
            time, y = arrival(state.ball[b], state.velocity[b], 1.0)
            told.setdefault(b, (number, float(time), float(y)))
        before = state
        state, _ = step(state, torch.tensor([[0.0, 1.0]]).expand(32, 2), CONFIG)
        for b in [b for b in told if before.ball[b, 0] <= FACE < before.ball[b, 0] + before.velocity[b, 0] * CONFIG.dt]:
            start, time, y = told.pop(b)
            left = (FACE - before.ball[b, 0]) / before.velocity[b, 0]
            assert (number - start) * CONFIG.dt + float(left) == pytest.approx(time, abs=1e-4)
            there, _ = fold(before.ball[b, 1] + before.velocity[b, 1] * left, before.velocity[b, 1])
            assert float(there) == pytest.approx(y, abs=1e-4)
    time, y = arrival(torch.tensor([0.2, 0.1]), torch.tensor([-1.0, 0.3]), 1.0)
    assert (float(time), float(y)) == (math.inf, pytest.approx(0.1))


def test_left_and_right_are_the_same() -> None:
    """Mirrored states with commands exchanged go on as mirror images, to the last bit."""
    config, scored, returned = RallyConfig(skill=0.3), 0, 0
    for state in play(32, 120, config)[20::4]:
        action = commands(state)
        there, out = step(state, action, config)
        mirror, mirror_out = step(mirrored(state), action.flip(-1), config)
        for name, a, b in zip(RallyState._fields, mirrored(there), mirror, strict=True):
            assert torch.equal(a, b), name
        assert torch.equal(out.reward.flip(-1), mirror_out.reward)
        assert torch.equal(out.hit.flip(-1), mirror_out.hit)
        assert torch.equal(opponent(mirrored(state), config, 1), opponent(state, config, 0))
        scored, returned = scored + int(out.reward.abs().sum()), returned + int(out.hit.sum())
    assert scored > 0
    assert returned > 0


def test_up_and_down_are_the_same() -> None:
    """Within a rally; to rounding, as walls fold from below."""
    up = torch.tensor([1.0, -1.0])
    for state in play(32, 80)[20::7]:
        flies = (state.wait == 0) & (state.ball[:, 0].abs() < 0.7)
        action = commands(state)
        turned = state._replace(ball=state.ball * up, velocity=state.velocity * up, paddle=-state.paddle, motion=-state.motion)
        there, _ = step(state, action, CONFIG)
        other, _ = step(turned, -action, CONFIG)
        for name in ("ball", "velocity"):
            torch.testing.assert_close(getattr(other, name)[flies], (getattr(there, name) * up)[flies], atol=2e-6, rtol=1e-5)
        torch.testing.assert_close(other.paddle, -there.paddle, atol=0.0, rtol=0.0)


def test_points_serves_and_the_end() -> None:
    """Who misses gives a point and is served to next, after a rest in the middle; the first to the points ends the match."""
    config = RallyConfig(points=2)
    state = reset(torch.arange(64), config)
    assert set(state.toward.tolist()) == {-1.0, 1.0}
    over = torch.zeros(64, dtype=torch.bool)
    for _ in range(240):
        before = state
        state, out = step(state, torch.ones(64, 2), config)
        assert torch.equal(state.score, before.score + (out.reward > 0).long())
        assert torch.equal(out.reward.sum(-1), torch.zeros(64))
        lost = out.reward.abs().sum(-1) > 0
        assert bool((state.ball[lost, 0] == 0.0).all())
        assert bool((state.velocity[lost] == 0.0).all())
        assert bool((state.wait[lost] == SERVE_WAIT).all())
        assert torch.equal(state.toward[lost], torch.where(out.reward[lost, 1] < 0, 1.0, -1.0))
        served = (before.wait == 1) & (state.wait == 0)
        assert bool((torch.sign(state.velocity[served, 0]) == state.toward[served]).all())
        assert torch.equal(out.terminated, (state.score >= 2).any(-1))
        assert bool((state.ball[:, 0].abs() <= LIMIT).all())
        assert bool((state.ball[:, 1].abs() <= TOP + 1e-6).all())
        assert bool((state.paddle.abs() <= config.room).all())
        over |= out.terminated
    assert bool(over.all())
    _, out = step(reset(torch.arange(4), RallyConfig(duration=1)), torch.zeros(4, 2), RallyConfig(duration=1))
    assert out.truncated.tolist() == [True] * 4
    assert out.terminated.tolist() == [False] * 4


def fingerprints(seeds: list[int], **options: object) -> list[str]:
    """A hash for each world over all its states, rewards and observations; ended episodes go on with others."""
    worlds = RallyWorlds(len(seeds), RallyConfig(points=1, action="continuous"), **options)
    worlds.reset(np.array(seeds))
    hashes = [hashlib.sha256() for _ in seeds]
    for _ in range(70):
        out = worlds.step(commands(worlds.state)[:, : worlds.players])
        for part in (*worlds.state, *out, worlds.tensor()):
            for b, fingerprint in enumerate(hashes):
                fingerprint.update(np.ascontiguousarray(part[b].numpy()).tobytes())
        worlds.reset_where((out.terminated | out.truncated).numpy())
    return [fingerprint.hexdigest() for fingerprint in hashes]


@pytest.mark.parametrize("options", [{}, {"players": 2}], ids=str)
def test_one_world_one_history(options: dict[str, int]) -> None:
    """Whatever the batch and whoever is beside it. Later episodes depend on the row too, so rows stay."""
    together = fingerprints([7, 8, 9, 10, 11], **options)
    assert len(set(together)) == 5
    assert fingerprints([7], **options) == together[:1]
    assert fingerprints([7, 3, 9, *range(20, 34)], **options)[:3:2] == together[:3:2]


def test_saved_worlds_go_on_as_they_would_have() -> None:
    for options in ({}, {"observation": "pixels"}):
        worlds, other = (RallyWorlds(3, RallyConfig(points=1), **options) for _ in range(2))
        worlds.reset(np.array([1, 2, 3]))
        for number in range(90):
            if number == 40:
                other.set_state(worlds.get_state())
            for each in (worlds, other) if number >= 40 else (worlds,):
                out = each.step(np.full(3, number // 9 % 3))
                each.reset_where((out.terminated | out.truncated).numpy())
        np.testing.assert_array_equal(worlds.observe(), other.observe())
        assert worlds.seeds.tolist() == other.seeds.tolist()


def test_a_better_opponent_wins_more() -> None:
    """Skill 0.1 on the left, 0.5 on the right; then equals."""
    for left, right in ((0.1, 0.5), (0.4, 0.4)):
        worse, better = RallyConfig(skill=left), RallyConfig(skill=right)
        state = reset(torch.arange(64), CONFIG)
        for _ in range(220):
            state, _ = step(state, torch.stack((opponent(state, worse, 0), opponent(state, better, 1)), -1), CONFIG)
        ahead = (state.score[:, 1] - state.score[:, 0]).float()
        deviations = float(ahead.mean() / ahead.std()) * 8.0
        assert (deviations > 4.0) if left < right else abs(deviations) < 4.0


def test_settings_that_make_no_game_are_refused() -> None:
    for options, said in (
        ({"skill": 1.2}, "skill=1.2: must be between 0.0 and 1.0"),
        ({"points": 0}, "points=0"),
        ({"points": 1.5}, "points=1.5: must be a whole number"),
        ({"speed": 3.0, "speed_max": 2.0}, "speed_max=2.0: must be between 3.0"),
        ({"action": "continous"}, "did you mean 'continuous'"),
    ):
        with pytest.raises(ConfigError, match=said):
            RallyConfig(**options)
    with pytest.raises(ConfigError, match="did you mean 'truth'"):
        RallyWorlds(1, observation="thruth")
    with pytest.raises(ConfigError, match="players=3"):
        RallyWorlds(1, players=3)
    worlds = RallyWorlds(2)
    for action, said in (([0, 3], "discrete actions"), ([0.5, 1.0], "discrete actions"), ([1], "for 2 worlds")):
        with pytest.raises(ValueError, match=said):
            worlds.step(np.array(action))
    with pytest.raises(ValueError, match="not finite"):
        RallyWorlds(1, RallyConfig(action="continuous")).step(np.array([math.nan]))

"""Forecasts of people in a robot's room, who drives by them, and what predictors learn from there."""

from __future__ import annotations

import json
import math
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("mujoco", reason="the extra `robots` is not installed")

import torch

from agents.cli import run as cli
from agents.policies.base import PolicyError
from agents.robots import expert_for, futures
from agents.robots.driving import DiffDriveExpert, Foreseen, straight_on
from agents.robots.forecasting import EVERY, LONG, Forecaster, Memory, Now, as_seen, look, none_remembered, remember
from agents.robots.futures import Run, cut_out, simulate
from agents.robots.players import PREDICTOR, player_named, players_of
from agents.robots.policies import check_fits, load_robot_policy
from envs.checks import ConfigError
from envs.robots import Robots, task_named
from envs.robots.physics import Floats
from perception.prediction.base import STEP, no_roads
from perception.prediction.history import PAST
from perception.prediction.kinematic import ConstantVelocity
from perception.prediction.learned import Learned
from perception.prediction.network import Network
from perception.prediction.training import judge
from perception.registry import weights_sha256

TIMES = 0.2 * np.arange(1, 11)


def rooms(batch: int, **options: Any) -> Robots:
    robots = Robots(task_named("diff_drive_nav"), batch=batch, threads=1, **options)
    robots.reset(np.arange(batch))
    return robots


def untrained() -> Learned:
    """A network of random weights that say more than the first ones do: futures that differ from each other and from going straight."""
    torch.manual_seed(1)
    network = Network()
    for part in network.parameters():
        if part.dim() == 2:
            torch.nn.init.normal_(part, std=0.2)
    return Learned(network)


def some_memory(batch: int = 3, people: int = 5) -> Memory:
    """Of walkers who turn a little, of whom one rests and one is not known yet."""
    rng = np.random.default_rng(0)
    t = 0.1 * np.arange(LONG)[:, None]
    start, heading, speed = (
        rng.uniform(-3, 3, (batch, people, 2)),
        rng.uniform(-3, 3, (batch, people)),
        rng.uniform(0.3, 1.0, (batch, people)),
    )
    speed[:, 0] = 0.0
    way = heading[:, None] + 0.3 * t  # (B, L, P) rad
    velocity = speed[:, None, :, None] * np.stack([np.cos(way), np.sin(way)], axis=-1)
    place = start[:, None] + 0.1 * np.cumsum(velocity, axis=1)
    known = np.ones((batch, LONG, people), dtype=bool)
    known[:, :, 1] = False
    known[:, :5, 2] = False
    base = np.concatenate([rng.uniform(-1, 1, (batch, LONG, 4)), rng.uniform(-3, 3, (batch, LONG, 1))], axis=-1)
    zero = np.zeros(batch, dtype=np.int64)
    return Memory(zero, zero + 40, np.array([LONG, 9, 1]), np.concatenate([place, velocity], axis=-1), known, base)


def turned(vector: Floats, angle: float) -> Floats:
    c, s = math.cos(angle), math.sin(angle)
    x, y = vector[..., 0], vector[..., 1]
    return np.stack([c * x - s * y, s * x + c * y], axis=-1)


def test_who_walks_straight_is_foreseen_by_the_closed_form() -> None:
    robots = rooms(4)
    forecaster, expert = Forecaster(robots, ConstantVelocity()), expert_for(robots)
    for _ in range(20):
        told = forecaster(robots, TIMES)
        robots.step(expert.act(robots))
    told, people = forecaster(robots, TIMES), robots.objects()
    closed = people.position[:, :, None, :2] + people.velocity[:, :, None, :2] * TIMES[:, None]
    np.testing.assert_allclose(told.place[:, :, 0], closed, atol=2e-6)  # of 4 m in single precision
    np.testing.assert_allclose(straight_on(robots, TIMES).place[:, :, 0], closed, atol=0.0)
    assert (told.chance == np.eye(6)[0]).all()
    assert told.known.all()
    assert np.abs(closed - people.position[:, :, None, :2]).max() > 0.5


@pytest.mark.parametrize("level", ["truth", "perceived"])
def test_the_expert_acts_the_same_by_forecasts_of_going_straight_as_without(level: str) -> None:
    """By equal futures that share the chance, and beside one without any, bit by bit; by the predictor as far as single precision goes."""

    def parted(robots: Robots, times: Floats) -> Foreseen:
        told = straight_on(robots, times)
        there = np.broadcast_to(robots.physics.site("base")[:, None, None, None, :2], told.place.shape)
        chance = np.broadcast_to([0.5, 0.25, 0.0, 0.25], (*told.known.shape, 4))
        return Foreseen(np.concatenate([told.place, told.place, there, told.place], axis=2), chance, told.known)

    robots = rooms(3, observation=level)
    usual, equal = DiffDriveExpert(robots), DiffDriveExpert(robots, parted)
    told = DiffDriveExpert(robots, Forecaster(robots, ConstantVelocity()))
    for _ in range(25):
        action = usual.act(robots)
        np.testing.assert_array_equal(action, equal.act(robots))
        np.testing.assert_allclose(action, told.act(robots), atol=1e-3)
        robots.step(action)


def test_what_is_lost_by_a_person_is_the_mean_over_its_futures() -> None:
    robots = rooms(2)
    expert = DiffDriveExpert(robots)
    x, y, _ = expert._roll(robots)
    open_ = np.ones_like(x)
    base = robots.physics.site("base")[:, None, :2]
    ways = np.stack([base + 0.5 * TIMES[:, None] * np.array(way) for way in ((1.0, 0.3), (-0.4, 1.0))], axis=1)[:, None]  # (B, 1, 2, T, 2)

    def lost(first: float) -> tuple[Floats, Floats]:
        chance = np.broadcast_to([first, 1.0 - first], (2, 1, 2))
        return expert._company(Foreseen(ways, chance, np.ones((2, 1), dtype=bool)), x, y, open_)

    one, other = lost(1.0), lost(0.0)
    for mixed, a, b in zip(lost(0.3), one, other, strict=True):
        np.testing.assert_allclose(mixed, 0.3 * a + 0.7 * b, atol=1e-12)
    assert (one[0] < 0.0).any()
    assert not np.allclose(one[1], other[1])
    nobody = expert._company(Foreseen(ways, np.ones((2, 1, 2)) / 2, np.zeros((2, 1), dtype=bool)), x, y, open_)
    assert not np.any(nobody)


@pytest.mark.parametrize("angle", [math.pi / 2, 0.7])
@pytest.mark.parametrize("predictor", [ConstantVelocity(), untrained()], ids=["constant_velocity", "learned"])
def test_forecasts_turn_with_the_room(predictor: Any, angle: float) -> None:
    memory = some_memory()
    people = np.concatenate([turned(memory.people[..., :2], angle), turned(memory.people[..., 2:], angle)], axis=-1)
    base = np.concatenate(
        [turned(memory.base[..., :2], angle), turned(memory.base[..., 2:4], angle), memory.base[..., 4:] + angle], axis=-1
    )
    (straight, tracks), (other, turned_tracks) = as_seen(memory, 0.1), as_seen(memory._replace(people=people, base=base), 0.1)
    one, two = predictor.predict(straight, tracks, no_roads(3)), predictor.predict(other, turned_tracks, no_roads(3))
    known = tracks.mask.numpy()
    assert known.sum() == 12
    np.testing.assert_allclose(turned(one.mean.double().numpy(), angle)[known], two.mean.numpy()[known], atol=1e-4)
    np.testing.assert_allclose(one.probability[known], two.probability[known], atol=1e-4)
    still = memory.people[:, -1, 0, 2:]
    assert not still.any()  # one of them rests, and so has no direction of its own


def test_pasts_end_now_at_5_hertz_and_begin_with_the_episode() -> None:
    memory = some_memory()
    history, tracks = as_seen(memory, 0.1)
    assert history.stamp[0].tolist() == pytest.approx([-1.4, -1.2, -1.0, -0.8, -0.6, -0.4, -0.2, 0.0])
    np.testing.assert_allclose(torch.stack([history.x, history.y], -1)[0, 3], memory.people[0, ::EVERY, 3, :2], atol=1e-6)
    np.testing.assert_array_equal(tracks.mean[:, 3], memory.people[:, -1, 3].astype(np.float32))
    assert [int(n) for n in history.ego_valid.sum(1)] == [PAST, 5, 1]  # of 15, 9 and 1 decisions: every second, counted from now
    assert [int(n) for n in history.valid[:, 3].sum(1)] == [PAST, 5, 1]
    assert not history.valid[:, 1].any()
    assert int(history.valid[0, 2].sum()) == 5  # known from the sixth decision on
    np.testing.assert_allclose(tracks.yaw[:, 3], np.arctan2(memory.people[:, -1, 3, 3], memory.people[:, -1, 3, 2]), atol=1e-6)


def test_what_is_remembered_is_of_one_episode_and_no_other_world_matters() -> None:
    """World 1 begins another episode at the eighth decision: from then on all is as in a batch of one that begins with it."""
    robots, predictor = rooms(3, observation="perceived"), untrained()
    driver = DiffDriveExpert(robots, forecaster := Forecaster(robots, predictor))
    for decision in range(8):
        robots.step(driver.act(robots))
        assert forecaster.memory.kept.tolist() == [decision + 1] * 3
    robots.reset_where(np.array([False, True, False]))
    alone = Robots(robots.task, batch=1, threads=1, observation="perceived")
    alone.reset(robots.seeds[1:2])
    single = DiffDriveExpert(alone, lonely := Forecaster(alone, predictor))
    for decision in range(4):
        action = driver.act(robots)
        np.testing.assert_array_equal(action[1:2], single.act(alone))
        assert forecaster.memory.kept.tolist() == [9 + decision, decision + 1, 9 + decision]
        for whole, own in zip(forecaster.memory, lonely.memory, strict=True):
            if whole.ndim > 1:  # what is remembered of before does not count, and need not be the same
                whole, own = whole[:, -decision - 1 :], own[:, -decision - 1 :]
            np.testing.assert_array_equal(whole[1:2], own)
        robots.step(action)
        alone.step(action[1:2])


def test_it_goes_on_exactly_from_a_memory() -> None:
    robots, predictor = rooms(2, observation="perceived"), untrained()
    driver = DiffDriveExpert(robots, forecaster := Forecaster(robots, predictor))
    for _ in range(6):
        robots.step(driver.act(robots))
    saved, memory = robots.get_state(), forecaster.memory

    def on() -> list[Floats]:
        other = DiffDriveExpert(robots, later := Forecaster(robots, predictor))
        later.memory = memory
        out = []
        for _ in range(5):
            out.append(other.act(robots))
            robots.step(out[-1])
        return out

    first = on()
    robots.set_state(saved)
    np.testing.assert_array_equal(first, on())
    robots.set_state(saved)
    forgot = DiffDriveExpert(robots, Forecaster(robots, predictor))
    assert not np.array_equal(first[0], forgot.act(robots))  # so memory matters


def test_asked_twice_it_says_the_same_and_skipping_decisions_it_forgets() -> None:
    def now(value: float) -> Now:
        return Now(np.full((1, 2, 4), value), np.ones((1, 2), dtype=bool), np.full((1, 5), value))

    seed, memory = np.array([7]), none_remembered(1, 2)
    for step in range(3):
        memory = remember(memory, now(step), seed, np.array([step]))
    again = remember(memory, now(2.0), seed, np.array([2]))
    for one, other in zip(memory, again, strict=True):
        np.testing.assert_array_equal(one, other)
    assert memory.people[0, -3:, 0, 0].tolist() == [0.0, 1.0, 2.0]
    assert int(memory.kept[0]) == 3
    for other_seed, step in ((7, 4), (7, 1), (8, 3)):
        assert int(remember(memory, now(9.0), np.array([other_seed]), np.array([step])).kept[0]) == 1
    assert int(remember(memory, now(9.0), seed, np.array([3])).kept[0]) == 4


def test_scenes_are_what_a_forecaster_would_remember_and_their_futures_true() -> None:
    seeds, decisions = [3, 4], 18
    run = simulate(seeds, level="perceived", care=0.0, decisions=decisions)
    scenes = cut_out(run, np.array([0, 1]), np.array([5, 17]))
    robots = Robots(task_named("diff_drive_nav", care=0.0), batch=2, threads=1, observation="perceived")
    robots.reset(np.array(seeds))
    expert, memory, truth = expert_for(robots), none_remembered(2, 6), []
    for decision in range(decisions + 50):
        if decision:
            robots.step(expert.act(robots))
        truth.append(robots.task.locate(robots.physics).position[..., :2])
        memory = remember(memory, look(robots), robots.seeds, robots.steps)
        for row, when in enumerate((5, 17)):
            if decision == when:
                history, tracks = as_seen(memory, robots.dt)
                seen = history.valid[row]
                np.testing.assert_array_equal(history.valid[row], scenes.history.valid[row])
                for name in ("x", "y", "vx", "vy", "yaw"):
                    np.testing.assert_array_equal(getattr(history, name)[row][seen], getattr(scenes.history, name)[row][seen])
                np.testing.assert_array_equal(tracks.mean[row], scenes.tracks.mean[row])
                np.testing.assert_array_equal(history.ego[row][history.ego_valid[row]], scenes.history.ego[row][history.ego_valid[row]])
    for row, when in enumerate((5, 17)):
        there = scenes.there[row].all(-1).numpy()
        assert there.sum() >= 2
        later = np.stack(truth)[when + 5 : when + 51 : 5, row]  # (S, P, 2)
        for person in np.flatnonzero(there):
            path = scenes.future[row, person].numpy()
            apart = np.abs(later.transpose(1, 0, 2) - path).max((1, 2))  # from each true person's path
            now = np.sqrt(((truth[when][row] - scenes.tracks.mean[row, person, :2].numpy()) ** 2).sum(-1))
            assert apart[now.argmin()] < 1e-6
            assert now.min() < 1.0


def test_constant_velocity_foresees_straight_walkers_to_the_millimetre() -> None:
    """The belief's rows are in another order than the truth's, as a lidar's are, and one belief is of nobody."""
    rng = np.random.default_rng(1)
    start, velocity = rng.uniform(-3, 3, (2, 4, 2)), rng.uniform(-0.9, 0.9, (2, 4, 2))
    truth = start + 0.1 * np.arange(80)[:, None, None, None] * velocity  # (T, B, P, 2)
    people = np.concatenate([truth, np.broadcast_to(velocity, truth.shape)], axis=-1)[:, :, [2, 0, 3, 1]]
    people[:, :, 0, :2] += 50.0
    run = Run(people=people, known=np.ones((80, 2, 4), dtype=bool), base=np.zeros((80, 2, 5)), truth=truth, dt=0.1)
    scenes = cut_out(run, np.array([0, 1, 1]), np.array([0, 12, 29]))
    figures = judge(ConstantVelocity(), [scenes])
    assert figures["count@5"] == 9.0
    assert figures["FDE@5"] < 1e-3
    assert pytest.approx(STEP) == futures.STEP_DECISIONS * 0.1


def test_the_command_pretrains_on_people(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(futures, "LOOKED", 6)
    monkeypatch.setattr(futures, "pretrain_robots", partial(futures.pretrain_robots, worlds=2, test_worlds=1))
    assert cli(["pretrain", "predictor", "--domain", "robots", "--updates", "2", "--out", str(tmp_path / "run"), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    card = json.loads(Path(told["card"]).read_text())
    assert Path(told["weights"]).name == "predictor_robots.safetensors"
    assert card["config"]["updates"] == 2
    assert card["metrics"]["learned"]["count@3"] > 10
    assert "seeds 2700000 up" in card["data"]
    assert "manoeuvre_accuracy" not in card["metrics"]  # nobody labels what people do
    Learned.from_file(told["weights"])


def test_the_command_refuses_scenarios_of_people(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli(["pretrain", "predictor", "--domain", "robots", "--scenario", "merge"]) == 2
    assert "there is none with --domain robots" in capsys.readouterr().err


def test_who_drives_by_forecasts_is_known_by_the_network() -> None:
    policy = load_robot_policy("expert_forecasts@perceived", "diff_drive_nav")
    assert (policy.name, policy.observation) == ("expert_forecasts@perceived", "perceived")
    assert policy.sha256 == weights_sha256("predictor", PREDICTOR) != ""
    check_fits(policy, "diff_drive_nav")
    assert load_robot_policy("expert", "diff_drive_nav").sha256 == ""
    with pytest.raises(PolicyError, match="nobody's future matters in 'reach'"):
        check_fits(load_robot_policy("expert_forecasts", "reach"), "reach")
    with pytest.raises(ConfigError, match="did you mean 'expert_forecasts'"):
        player_named("expert_forecast")
    assert "expert_forecasts" in players_of("diff_drive_nav")
    assert players_of("reach") == ["random", "expert", "sampling"]


def test_the_network_that_ships_foresees_people_better_than_constant_velocity(monkeypatch: pytest.MonkeyPatch) -> None:
    """On episodes of no other set; both as believed and as true."""
    monkeypatch.setattr(futures, "LOOKED", 30)
    examples = list(futures.stream(seed=650_000, worlds=6, instants=6, conditions=(("truth", 1.0), ("perceived", 0.0))))
    straight, learned = judge(ConstantVelocity(), examples), judge(Learned.from_file(PREDICTOR), examples)
    assert straight["count@3"] > 200
    for figure in ("minADE@3", "ADE@3", "FDE@3", "nll@3"):
        assert learned[figure] < straight[figure], figure

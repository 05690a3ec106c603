"""The shells: what is theirs to get right, their libraries' conventions; and errors that help."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium.utils.env_checker import check_env
from stable_baselines3 import PPO
from stable_baselines3.common.vec_env import VecNormalize

import scenarios
from envs.driving import DrivingConfig, DrivingEnv, DrivingParallelEnv, DrivingVecEnv, DrivingVectorEnv, RewardWeights, sample_episodes
from envs.driving.make import action_space, driving_config, fit
from envs.driving.parallel_env import promote
from envs.driving.worlds import Worlds
from scenarios.episode import Role
from scenarios.kinds import Kind

BRIEF = """
version: 1
name: brief
description: A second on a winding road.
duration: 1 s
road: {kind: straight, lanes: 1, length: 450 m, bends: {integer: [2, 4]}, bend_angle: {uniform: ["15 deg", "35 deg"]}}
ego: {lane: main.0, s: {uniform: ["5 m", "25 m"]}, speed: {uniform: ["8 m/s", "13 m/s"]}}
"""


@pytest.fixture
def brief() -> scenarios.Scenario:
    """A scenario without a goal that is over after five decisions."""
    return scenarios.load_text(BRIEF)


def test_importing_envs_imports_no_torch() -> None:
    code = "import sys, envs, envs.driving; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False, cwd=Path(__file__).parents[2]).returncode == 0


def test_gym_make_by_the_documented_names() -> None:
    env = gymnasium.make("envs:closedloop/Driving-v0", scenario="merge", action="discrete", flat=True)
    assert isinstance(env.unwrapped, DrivingEnv)
    assert env.unwrapped.scenario.id == "merge"
    assert gymnasium.make("closedloop/LaneKeep-v0").unwrapped.scenario.id == "lane_keep"
    several = gymnasium.make_vec("closedloop/Merge-v0", num_envs=2, episodes=2)
    assert isinstance(several, DrivingVectorEnv)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: DrivingEnv("merg"), "did you mean 'merge'"),
        (lambda: DrivingEnv("merge/esy"), "did you mean 'easy'"),
        (lambda: DrivingEnv("merge", action="discret"), "no action 'discret'; did you mean 'discrete'"),
        (lambda: DrivingEnv("merge", observation="thruth"), "no observation 'thruth'; did you mean 'truth'"),
        (lambda: DrivingVecEnv("merge", episodes=1, num_envs=1, nearst=3), "no option 'nearst'; did you mean 'nearest'"),
        (lambda: DrivingVecEnv("merge", episodes=0), "episodes=0"),
        (lambda: DrivingVecEnv([], episodes=1), "no scenario"),
        (lambda: DrivingParallelEnv("merge", kinds=("cars",)), "no kind 'cars'; did you mean 'car'"),
        (lambda: DrivingParallelEnv("merge", roles=("imd",)), "no role 'imd'; did you mean 'idm'"),
        (lambda: DrivingEnv("merge", sensors=("ldar",)), "no sensor 'ldar'; did you mean 'lidar'"),
        (lambda: DrivingVecEnv("merge", sensors=("lidar",)), "need a Dict observation"),
        (lambda: DrivingEnv("merge", render_mode="human"), "render_mode='human'"),
    ],
)
def test_errors_say_what_was_meant(make: Callable[[], Any], message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        make()


def test_actions_of_the_wrong_shape_or_not_finite_are_refused() -> None:
    env = DrivingEnv("lane_keep")
    with pytest.raises(gymnasium.error.ResetNeeded):
        env.step(np.zeros(2, dtype=np.float32))
    env.reset(seed=1)
    with pytest.raises(ValueError, match=r"actions of shape \(3,\)"):
        env.step(np.zeros(3, dtype=np.float32))
    with pytest.raises(ValueError, match="not finite"):
        env.step(np.array([np.nan, 0.0], dtype=np.float32))


def test_slots_and_tick_are_fitted_to_the_episodes() -> None:
    episodes = sample_episodes("highway", 3, 0)
    config = fit(DrivingConfig(), episodes)
    most = max(len(episode.agents) for episode in episodes)
    assert most <= config.agents < most + 8
    assert config.agents % 8 == 0
    with pytest.raises(ValueError, match="ticks of"):
        fit(DrivingConfig(), [episodes[0], replace(episodes[1], dt=0.04)])
    assert fit(DrivingConfig(), [replace(episode, dt=0.04) for episode in episodes]).dt == 0.04


def test_slots_and_tick_that_were_asked_for_are_kept_or_refused_but_never_changed() -> None:
    episodes = sample_episodes("highway", 3, 0)
    most = max(len(episode.agents) for episode in episodes)
    assert most > 8
    assert fit(DrivingConfig(agents=64), episodes).agents == 64
    with pytest.raises(ValueError, match=rf"agents=8: an episode has {most} road users; leave agents out, or give at least \d+"):
        fit(DrivingConfig(agents=8), episodes)
    with pytest.raises(ValueError, match=r"dt=0\.05: the scenario ticks every 0\.1 s, .* leave dt out"):
        DrivingVectorEnv(2, "highway", episodes=2, dt=0.05)
    with pytest.raises(ValueError, match="agents=8: an episode has"):
        DrivingEnv("highway", config=DrivingConfig(agents=8)).reset(seed=0)
    slow = [replace(episode, dt=0.05) for episode in episodes]
    assert fit(DrivingConfig(dt=0.05), slow).dt == 0.05


def first_seeds(env: DrivingVectorEnv, seed: Any) -> list[int]:
    env.reset(seed=seed)
    return list(env.worlds.sim.setup.seed.tolist())


def test_numpy_seeds_are_seeds() -> None:
    env = DrivingVectorEnv(3, "lane_keep", episodes=16)
    one, several = first_seeds(env, 5), first_seeds(env, [5, 6, 7])
    for same in (np.int64(5), np.uint8(5), np.array(5), torch.tensor(5)):
        assert first_seeds(env, same) == one
    for same in ([np.int64(5), np.int32(6), 7], (5, 6, 7), np.array([5, 6, 7])):
        assert first_seeds(env, same) == several
    expected, _ = DrivingEnv("lane_keep").reset(seed=12)
    seen, info = DrivingEnv("lane_keep").reset(seed=np.int64(12))
    assert info["seed"] == 12
    assert type(info["seed"]) is int
    np.testing.assert_array_equal(seen["ego"], expected["ego"])


@pytest.mark.parametrize(
    ("seed", "error", "message"),
    [
        (True, TypeError, "seed=True: must be a whole number, not a bool"),
        (np.True_, TypeError, "must be a whole number"),
        (1.0, TypeError, "seed=1.0: must be a whole number, not a float"),
        ("1", TypeError, "seed='1': must be a whole number, not a str"),
        (-1, ValueError, "seed=-1: must be 0 or more"),
        (np.int64(-7), ValueError, "seed=-7: must be 0 or more"),
        (2**63, ValueError, "less than 2"),
    ],
)
def test_what_is_no_seed_is_refused_by_every_shell(seed: Any, error: type[Exception], message: str) -> None:
    for env in (DrivingVectorEnv(2, "lane_keep", episodes=2), DrivingEnv("lane_keep"), DrivingParallelEnv("lane_keep")):
        with pytest.raises(error, match=message):
            env.reset(seed=seed)
    with pytest.raises(error, match=message):
        DrivingVectorEnv(2, "lane_keep", episodes=2).reset(seed=[3, seed])
    with pytest.raises(error, match=message):
        DrivingVecEnv("lane_keep", num_envs=2, episodes=2, seed=seed)


def test_as_many_seeds_as_worlds() -> None:
    env = DrivingVectorEnv(3, "lane_keep", episodes=2)
    for seeds in ([], [1, 2], [1, 2, 3, 4]):
        with pytest.raises(ValueError, match=f"{len(seeds)} seeds for 3 worlds"):
            env.reset(seed=seeds)


def test_options_win_over_the_configuration() -> None:
    config = driving_config(DrivingConfig(nearest=5, action="discrete"), action="trajectory", observation=None)
    assert (config.nearest, config.action, config.observation) == (5, "trajectory", "truth")
    assert action_space(config).shape == (20, 3)


def test_a_seed_is_an_episode() -> None:
    env = DrivingEnv("merge")
    _, info = env.reset(seed=12)
    assert info == {"scenario": "merge", "seed": 12}
    wanted = scenarios.sample(scenarios.load("merge"), 12)
    assert env.worlds.episode(0).agents == wanted.agents
    seeds = [env.reset()[1]["seed"] for _ in range(3)]
    assert len(set(seeds)) == 3
    env.reset(seed=12)
    assert [env.reset()[1]["seed"] for _ in range(3)] == seeds
    _, info = env.reset(options={"episode": wanted})
    assert info["seed"] == 12


def test_running_out_of_time_is_truncation(brief: scenarios.Scenario) -> None:
    env = DrivingEnv(brief, autopilot=True)
    env.reset(seed=1)
    steps = [env.step(np.zeros(2, dtype=np.float32)) for _ in range(5)]
    assert [step[2] for step in steps] == [False] * 5
    assert [step[3] for step in steps] == [False] * 4 + [True]
    assert steps[-1][4]["metrics"]["duration"] == pytest.approx(1.0)
    assert set(steps[0][4]["reward_terms"]) == set(RewardWeights.__dataclass_fields__)


def test_the_reward_is_the_weighted_sum_of_its_terms() -> None:
    env = DrivingEnv("lane_keep", reward=RewardWeights(progress=3.0, off_road=-7.0))
    env.reset(seed=2)
    for _ in range(60):
        _, reward, terminated, _, info = env.step(np.array([0.5, 0.6], dtype=np.float32))
        terms = info["reward_terms"]
        assert reward == pytest.approx(sum(getattr(env.weights, name) * value for name, value in terms.items()), abs=1e-6)
        if terminated:
            break
    assert terms["off_road"] == 1.0
    assert reward < -6.0
    assert info["is_success"] is False


def test_vector_env_resets_in_the_next_step(brief: scenarios.Scenario) -> None:
    env = DrivingVectorEnv(2, brief, episodes=8, autopilot=True)
    env.reset(seed=3)
    before = env.worlds.sim.setup.seed.clone()
    actions = np.zeros((2, 2), dtype=np.float32)
    for _ in range(5):
        observation, _, terminated, truncated, info = env.step(actions)
    assert truncated.all()
    assert not terminated.any()
    assert info["_metrics"].all()
    assert info["metrics"]["duration"] == pytest.approx([1.0, 1.0])
    assert torch.equal(env.worlds.sim.setup.seed, before)  # the last observation still belongs to the old episodes
    observation, reward, terminated, truncated, info = env.step(actions)
    assert not (reward.any() or terminated.any() or truncated.any())
    np.testing.assert_array_equal(info["seed"], env.worlds.sim.setup.seed.numpy())
    for world, seed in enumerate(info["seed"]):
        first, _ = DrivingEnv(brief, autopilot=True).reset(seed=int(seed))
        for name, part in first.items():
            np.testing.assert_array_equal(observation[name][world], part)


def test_vec_env_hands_over_the_last_observation(brief: scenarios.Scenario) -> None:
    env = DrivingVecEnv(brief, num_envs=3, episodes=4, seed=5, autopilot=True)
    env.reset()
    actions = np.zeros((3, 2), dtype=np.float32)
    rewards = np.zeros(3)
    for _ in range(5):
        observation, reward, done, infos = env.step(actions)
        rewards += reward
    assert done.all()
    for world, info in enumerate(infos):
        assert info["TimeLimit.truncated"] is True
        assert info["episode"] == {"r": pytest.approx(rewards[world], abs=1e-6), "l": 5, "t": 0.0}
        assert info["seed"] == 5 + world
        assert info["is_success"] == bool(info["success"])
        assert env.observation_space.contains(info["terminal_observation"])
        alone = DrivingEnv(brief, flat=True, autopilot=True)
        alone.reset(seed=5 + world)
        last = [alone.step(actions[0]) for _ in range(5)][-1]
        np.testing.assert_array_equal(info["terminal_observation"], last[0])
        first, _ = alone.reset(seed=int(env.worlds.sim.setup.seed[world]))
        np.testing.assert_array_equal(observation[world], first)
    assert env.step(actions)[3] == [{}, {}, {}]


def test_an_infraction_is_no_timeout() -> None:
    env = DrivingVecEnv("lane_keep", num_envs=2, episodes=2, seed=5)
    env.reset()
    for _ in range(80):
        _, _, done, infos = env.step(np.full((2, 2), 0.8, dtype=np.float32))
        if done.any():
            break
    world = int(done.argmax())
    assert infos[world]["off_road"] == 1.0
    assert infos[world]["TimeLimit.truncated"] is False


def test_the_order_of_episodes_depends_on_seed_world_and_count_alone() -> None:
    def order(num_envs: int, seed: int, resets: int) -> list[list[int]]:
        worlds = Worlds(sample_episodes("lane_keep", 16, 0), DrivingConfig(), batch=num_envs, seed=seed)
        drawn = []
        for k in range(resets):
            worlds.reset_where(torch.arange(num_envs) % 2 == k % 2)
            drawn.append(worlds.sim.rows.tolist())
        return drawn

    few, many = order(4, 1, 8), order(9, 1, 8)
    assert [rows[:4] for rows in many] == few
    assert order(4, 2, 8) != few
    assert len({row for rows in few for row in rows}) > 6


def test_vec_env_attributes() -> None:
    env = DrivingVecEnv("lane_keep", num_envs=3, episodes=2)
    assert env.get_attr("render_mode") == [None] * 3
    assert env.env_is_wrapped(gymnasium.Wrapper) == [False] * 3
    env.set_attr("note", 7)
    assert env.get_attr("note", indices=[0, 2]) == [7, 7]
    with pytest.raises(ValueError, match="share it"):
        env.set_attr("note", 8, indices=1)
    with pytest.raises(AttributeError):
        env.get_attr("nothing")
    assert len(env.env_method("get_state", indices=1)) == 1


def test_stable_baselines_trains_on_it() -> None:
    env = VecNormalize(DrivingVecEnv("lane_keep", num_envs=4, episodes=4, action="discrete"))
    model = PPO("MlpPolicy", env, n_steps=8, batch_size=32, n_epochs=1, seed=0, device="cpu")
    before = [p.clone() for p in model.policy.parameters()]
    model.learn(64)
    assert model.num_timesteps == 64
    assert any(not torch.equal(a, b) for a, b in zip(before, model.policy.parameters(), strict=True))


def test_pictures() -> None:
    env = DrivingEnv("junction", render_mode="rgb_array", size=(320, 200))
    env.reset(seed=1)
    picture = env.render()
    assert (picture.shape, picture.dtype) == ((200, 320, 3), np.uint8)
    assert len(np.unique(picture.reshape(-1, 3), axis=0)) > 10
    several = DrivingVecEnv("junction", num_envs=2, episodes=2, render_mode="rgb_array")
    several.reset()
    assert several.render().shape == (2 * 270, 480, 3)


def test_learners_take_the_first_slots() -> None:
    episode = next(e for e in sample_episodes("highway", 20, 0) if {a.kind for a in e.agents} >= {Kind.CAR, Kind.TRUCK})
    chosen = promote(episode, 4, kinds={Kind.TRUCK}, roles={Role.IDM})
    trucks = [a for a in episode.agents[1:] if a.kind == Kind.TRUCK and a.role == Role.IDM and a.enter_time == 0.0][:3]
    assert chosen.agents[0] is episode.agents[0]
    assert list(chosen.agents[1 : 1 + len(trucks)]) == [replace(a, role=Role.LEARNER) for a in trucks]
    assert sum(a.role == Role.LEARNER for a in chosen.agents) == 1 + len(trucks)
    assert sorted(a.id for a in chosen.agents) == sorted(a.id for a in episode.agents)


def test_agents_leave_one_by_one_and_the_others_drive_on() -> None:
    env = DrivingParallelEnv("highway", agents=3)
    observations, infos = env.reset(seed=4)
    assert env.agents == ["agent_0", "agent_1", "agent_2"] == list(observations) == list(infos)
    lived = dict.fromkeys(env.agents, 0)
    while env.agents:
        acting = list(env.agents)
        # agent_1 steers off the road; the others keep straight on slowly
        actions = {agent: np.array([-0.1, 0.5 if agent == "agent_1" else 0.0], dtype=np.float32) for agent in acting}
        observations, rewards, terminated, truncated, infos = env.step(actions)
        assert list(observations) == list(rewards) == list(terminated) == list(truncated) == acting
        for agent in acting:
            lived[agent] += 1
            assert env.observation_space(agent).contains(observations[agent])
            if terminated[agent] or truncated[agent]:
                assert infos[agent]["metrics"]["duration"] > 0.0
                assert agent not in env.agents
        if "agent_1" not in env.agents and len(env.agents) == 2:
            break
    assert lived["agent_1"] == min(lived.values())
    assert lived["agent_1"] < 40
    slot = env.worlds.sim.state.speed[0, 1].item()
    for _ in range(5):
        if env.agents:
            env.step({agent: np.zeros(2, dtype=np.float32) for agent in env.agents})
    assert env.worlds.sim.state.speed[0, 1].item() <= slot  # what is left of agent_1 brakes
    with pytest.raises(ValueError, match="no action for agent_0"):
        env.reset(seed=4)
        env.step({})


@pytest.mark.parametrize("observation", ["truth", "visible"])
def test_sensors_are_further_keys(observation: str) -> None:
    env = DrivingEnv("crossing", sensors=("bev", "lidar"), observation=observation)
    seen, _ = env.reset(seed=1)
    assert env.observation_space.contains(seen)
    assert (seen["lidar"].shape, seen["bev"].shape) == ((64,), (9, 64, 64))
    assert 0.0 < seen["lidar"].min() < 1.0
    plain, _ = DrivingEnv("crossing", observation=observation).reset(seed=1)
    for name, part in plain.items():
        np.testing.assert_array_equal(part, seen[name])
    check_env(env, skip_render_check=True)
    several = DrivingVecEnv("crossing", num_envs=2, episodes=2, flat=False, sensors=("lidar",))
    assert several.observation_space.contains({name: part[0] for name, part in several.reset().items()})


@pytest.mark.gpu
def test_on_a_gpu_the_same_within_rounding() -> None:
    actions = np.random.default_rng(0).uniform(-0.3, 0.3, (10, 8, 2)).astype(np.float32)
    envs = [DrivingVecEnv("roundabout", num_envs=8, episodes=8, device=device) for device in ("cpu", "cuda")]
    for env in envs:
        env.reset()
    for action in actions:
        one, two = (env.step(action) for env in envs)
        np.testing.assert_array_equal(one[2], two[2])
        np.testing.assert_allclose(one[0], two[0], atol=5e-3)
        np.testing.assert_allclose(one[1], two[1], atol=1e-3)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.torch.jit:DeprecationWarning")  # torch's own, while its compiler loads
def test_one_compilation_serves_all_episodes() -> None:
    """Eager and compiled agree to rounding, over resets to other roads, without compiling anew."""
    eager, compiled = DrivingEnv("lane_keep", flat=True), DrivingEnv("lane_keep", flat=True, compile=True)
    counters = []
    for seed in (1, 2, 3):
        one, two = eager.reset(seed=seed)[0], compiled.reset(seed=seed)[0]
        for _ in range(5):
            np.testing.assert_allclose(one, two, atol=1e-3)
            action = np.array([0.2, 0.05], dtype=np.float32)
            one, two = eager.step(action)[0], compiled.step(action)[0]
        counters.append(torch._dynamo.utils.counters["stats"]["unique_graphs"])
    assert counters[0] == counters[-1] > 0


@pytest.mark.parametrize("wrong", [5, -1, 2.7])
def test_manoeuvres_that_do_not_exist_are_refused(wrong: float) -> None:
    env = DrivingEnv("lane_keep", action="discrete")
    env.reset(seed=1)
    with pytest.raises(ValueError, match="no manoeuvre"):
        env.step(wrong)


def test_actions_turned_over_are_refused() -> None:
    """As many numbers as needed, but worlds and controls exchanged."""
    env = DrivingVecEnv("lane_keep", num_envs=3, episodes=2)
    env.reset()
    with pytest.raises(ValueError, match=r"actions of shape \(2, 3\)"):
        env.step(np.zeros((2, 3), dtype=np.float32))


@pytest.mark.parametrize("options", [{"nearest": 0}, {"view_range": -1.0}, {"view_range": float("nan")}, {"view_fov": 0.0}], ids=str)
def test_nonsense_in_the_configuration_is_refused(options: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=next(iter(options))):
        DrivingConfig(**options)


def test_the_terms_of_the_reward_are_told_at_the_end_of_an_episode(brief: scenarios.Scenario) -> None:
    weights = RewardWeights()
    env = DrivingVecEnv(brief, num_envs=2, episodes=2, autopilot=True)
    env.reset()
    for _ in range(5):
        _, _, done, infos = env.step(np.zeros((2, 2), dtype=np.float32))
    assert done.all()
    for info in infos:
        earned = sum(getattr(weights, name) * value for name, value in info["reward_terms"].items())
        assert earned == pytest.approx(info["episode"]["r"], abs=1e-5)
    vector = DrivingVectorEnv(2, brief, episodes=2, autopilot=True)
    vector.reset(seed=0)
    for _ in range(5):
        *_, info = vector.step(np.zeros((2, 2), dtype=np.float32))
    assert info["reward_terms"]["progress"] == pytest.approx(vector.worlds.metrics()["route_progress"][:, 0].numpy(), abs=1e-5)


def test_a_finished_agent_comes_to_rest_and_stays() -> None:
    env = DrivingParallelEnv("highway", agents=2)
    env.reset(seed=1)
    env.agents = ["agent_0"]  # as if agent_1 had arrived
    for _ in range(30):
        if not env.agents:
            break
        env.step({"agent_0": np.zeros(2, dtype=np.float32)})
    assert env.worlds.sim.state.speed[0, 1] == pytest.approx(0.0, abs=1e-3)


def test_every_option_of_the_configuration_is_read_somewhere() -> None:
    folder = Path(__file__).parents[2] / "envs" / "driving"
    code = "\n".join(path.read_text() for path in folder.glob("*.py") if path.name not in ("types.py", "make.py"))
    assert [name for name in asdict(DrivingConfig()) if not re.search(rf"\bconfig\.{name}\b", code)] == []

"""Car following and entering: IDM in closed form, against an ODE solver and by hand; scripts against a plain reading of the clock."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from scipy.integrate import solve_ivp

from envs.driving.collision import pairwise_overlap
from envs.driving.sim import DrivingSim
from envs.driving.traffic import free_road, interaction
from scenarios.episode import Action, Role, Script, Trigger
from scenarios.network import Lane, LaneEnd, RoadNetwork

CAR = 4.6  # m, length of a car
REST = torch.zeros(1, 1, 2)


def road(length: float = 4000.0, lanes: int = 1) -> RoadNetwork:
    """Straight lanes along +x from the origin, 3.5 m apart, limit 50 m/s."""
    return RoadNetwork(
        lanes=tuple(
            Lane(
                id=f"main.{i}",
                centre=np.array([[0.0, 3.5 * i], [length, 3.5 * i]]),
                speed_limit=50.0,
                end=LaneEnd.EXIT,
                left=f"main.{i + 1}" if i + 1 < lanes else None,
                right=f"main.{i - 1}" if i else None,
            )
            for i in range(lanes)
        )
    )


ONE, TWO = road(), road(1500.0, 2)


def rest(sim: DrivingSim) -> torch.Tensor:
    return torch.zeros(sim.batch, 1, 2)


def run(sim: DrivingSim, ticks: int) -> dict[str, np.ndarray]:
    """States before every tick and after the last one: name -> (ticks + 1, B, A)."""
    seen: dict[str, list[np.ndarray]] = {name: [] for name in ("x", "y", "yaw", "speed", "accel", "lane", "fired", "valid", "d")}
    for k in range(ticks + 1):
        for name, values in seen.items():
            values.append(getattr(sim.state, name).numpy())
        if k < ticks:
            sim.step(rest(sim))
    return {name: np.stack(values) for name, values in seen.items()}


def idm(
    speed: float, wanted: float, gap: float, closing: float, *, T: float = 1.5, s0: float = 2.0, a: float = 1.5, b: float = 2.0
) -> float:
    """The textbook, in one line each; the speed is below the desired one."""
    star = s0 + max(0.0, speed * T + speed * closing / (2.0 * np.sqrt(a * b)))
    return float(a * (1.0 - (speed / wanted) ** 4 - (star / gap) ** 2))


def test_an_empty_road_against_an_ode_solver(agent: Any, stage: Any) -> None:
    """Below the desired speed of 25 m/s: a (1 - (v/v0)^4); above: -b (1 - (v0/v)^(4a/b)). Explicit ticks lag by less than a tick."""
    a, b, v0, starts = 1.2, 2.5, 25.0, (0.0, 12.0, 38.0)

    def slope(_: float, z: np.ndarray) -> list[float]:
        v = z[1]
        return [v, a * (1.0 - (v / v0) ** 4) if v <= v0 else -b * (1.0 - (v0 / v) ** (4.0 * a / b))]

    errors = []
    for dt in (0.1, 0.05):
        sim = stage(ONE, [[agent("main.0", 5.0, v, driver={"desired_speed": v0, "accel": a, "decel": b})] for v in starts], dt=dt)
        seen = run(sim, round(25.0 / dt))
        t = np.arange(len(seen["x"])) * dt
        exact = np.stack([solve_ivp(slope, (0.0, 25.0), [5.0, v], t_eval=t, rtol=1e-9, atol=1e-9).y for v in starts], axis=-1)
        errors.append(np.abs(seen["speed"][..., 0] - exact[1]).max(0))
        assert np.abs(seen["x"][..., 0] - exact[0]).max() < 20.0 * dt
    assert errors[0].max() < 0.12
    assert (errors[1] < 0.6 * errors[0]).all()  # first order: half the tick, half the error


def test_free_road_at_and_above_the_desired_speed() -> None:
    a, b = torch.tensor(1.5), torch.tensor(2.0)
    v = torch.tensor([0.0, 15.0, 30.0, 33.0, 60.0])
    got = free_road(v, torch.tensor(30.0), a, b)
    want = [1.5, 1.5 * (1 - 1 / 16), 0.0, -2.0 * (1 - (30 / 33) ** 3.0), -2.0 * (1 - 0.5**3.0)]
    np.testing.assert_allclose(got, want, atol=1e-5)
    assert got[4] > -2.0  # never harder than comfortable
    assert torch.isfinite(free_road(v, torch.tensor(0.0), a, b)).all()


def test_interaction_by_hand() -> None:
    """v 20 m/s, T 1.5 s, s0 2 m, a 1.5, b 2: s* = 2 + 30 + 20 dv / 3.4641."""
    root = torch.tensor(2.0 * np.sqrt(3.0), dtype=torch.float32)
    closing = torch.tensor([0.0, 5.0, -2.0, -9.0])
    got = interaction(torch.tensor(40.0), torch.tensor(20.0), closing, torch.tensor(1.5), torch.tensor(2.0), root)
    stars = np.array([32.0, 32.0 + 28.8675, 32.0 - 11.547, 2.0])  # the last: the leader pulls away so fast that s0 remains
    np.testing.assert_allclose(got, (stars / 40.0) ** 2, rtol=1e-5)
    touching = interaction(torch.tensor([0.0, -3.0]), torch.tensor(5.0), torch.tensor(0.0), torch.tensor(1.0), torch.tensor(2.0), root)
    assert torch.isfinite(touching).all()
    assert (touching > 100.0).all()


@pytest.mark.parametrize(("gap", "leader"), [(60.0, 15.0), (45.0, 20.0), (38.0, 24.0)])
def test_one_tick_behind_a_leader_by_hand(gap: float, leader: float, agent: Any, stage: Any) -> None:
    follower = agent("main.0", 100.0, 20.0, driver={"headway": 1.3, "min_gap": 2.5, "accel": 1.4, "decel": 1.8})
    sim = stage(ONE, [[follower, agent("main.0", 100.0 + CAR + gap, leader)]])
    sim.step(REST)
    want = idm(20.0, 30.0, gap, 20.0 - leader, T=1.3, s0=2.5, a=1.4, b=1.8)
    assert float(sim.state.accel[0, 0]) == pytest.approx(want, abs=2e-3)
    assert float(sim.state.speed[0, 0]) == pytest.approx(20.0 + 0.1 * want, abs=1e-3)


@pytest.mark.slow
def test_a_platoon_settles_at_the_equilibrium_gap(agent: Any, stage: Any) -> None:
    """Behind a leader of constant speed v the gap becomes (s0 + v T) / sqrt(1 - (v/v0)^4), whatever each driver's parameters."""
    wishes = [
        {"desired_speed": v0, "headway": T, "min_gap": s0, "accel": a}
        for v0, T, s0, a in (
            (30.0, 1.5, 2.0, 1.5),
            (26.0, 1.0, 3.0, 2.0),
            (35.0, 1.8, 1.5, 1.2),
            (40.0, 1.2, 4.0, 1.8),
            (28.0, 1.6, 2.0, 1.5),
        )
    ]
    worlds = []
    for v in (8.0, 20.0):
        leader = agent("main.0", 400.0, v, driver={"desired_speed": v})
        worlds.append([leader, *(agent("main.0", 330.0 - 60.0 * k, v, driver=wish) for k, wish in enumerate(wishes))])
    sim = stage(ONE, worlds, duration=200.0)
    seen = run(sim, 1400)
    gaps = -np.diff(seen["x"][-1, :, :6], axis=1) - CAR  # (2, 5)
    for b, v in enumerate((8.0, 20.0)):
        want = [(w["min_gap"] + v * w["headway"]) / np.sqrt(1.0 - (v / w["desired_speed"]) ** 4) for w in wishes]
        np.testing.assert_allclose(gaps[b], want, rtol=2e-3)
        np.testing.assert_allclose(seen["speed"][-1, b, :6], v, atol=5e-3)


def test_a_bend_is_entered_at_its_speed(agent: Any, stage: Any) -> None:
    """From 20 m/s towards a section for 6 m/s: never much above the speed from which 2 m/s^2 leads to it, and settled shortly inside."""
    lanes = (
        Lane(id="a", centre=np.array([[0.0, 0.0], [200.0, 0.0]]), speed_limit=20.0, successors=("b",)),
        Lane(id="b", centre=np.array([[200.0, 0.0], [400.0, 0.0]]), speed_limit=6.0, end=LaneEnd.EXIT),
    )
    sim = stage(RoadNetwork(lanes=lanes), [[agent("a", 10.0, 20.0, driver={"desired_speed": 20.0, "speed_factor": 1.0})]])
    for _ in range(250):
        sim.step(torch.zeros(1, 1, 2))
        x, v = float(sim.state.x[0, 0]), float(sim.state.speed[0, 0])
        assert v < (6.0**2 + 4.0 * max(0.0, 200.0 - x)) ** 0.5 + 1.2, (x, v)
        if x > 210.0:
            assert v < 6.2
    assert x > 230.0


def test_drivers_stop_behind_an_obstacle_and_stay(agent: Any, stage: Any) -> None:
    """From 5 to 25 m/s, towards a parked car 200 m ahead: at rest with the gap s0, no collision, no reversing."""
    speeds = (5.0, 15.0, 25.0)
    sim = stage(ONE, [[agent("main.0", 50.0, v), agent("main.0", 250.0 + CAR, 0.0, role=Role.STATIC)] for v in speeds])
    seen = run(sim, 400)
    gap = seen["x"][-1, :, 1] - seen["x"][-1, :, 0] - CAR
    assert (seen["speed"][..., 0] >= 0.0).all()
    assert (seen["speed"][-1, :, 0] < 0.05).all()
    assert ((gap > 1.8) & (gap < 2.6)).all()


def test_nobody_enters_on_top_of_somebody(agent: Any, stage: Any) -> None:
    """Ten cars are due at one place within two seconds: they come in their order, never early, with room to the one ahead."""
    first = agent("main.0", 20.0, 8.0, driver={"desired_speed": 8.0})
    late = [agent("main.0", 20.0, 12.0, enter_time=1.0 + 0.1 * k) for k in range(10)]
    parked = agent("main.1", 100.0, role=Role.STATIC)
    never = agent("main.1", 99.0, 5.0, enter_time=2.0)
    sim = stage(TWO, [[first, *late, parked, never]])
    seen = run(sim, 350)
    entered = [int(seen["valid"][:, 0, k].argmax()) for k in range(1, 11)]
    assert all(seen["valid"][-1, 0, k] for k in range(1, 11))
    assert all(tick >= 10 + k for k, tick in enumerate(entered))
    assert entered == sorted(entered)
    for slot, tick in enumerate(entered, start=1):
        gap = seen["x"][tick, 0, slot - 1] - seen["x"][tick, 0, slot] - CAR
        assert gap >= 2.0 + 0.5 * 12.0
    assert not seen["valid"][:, 0, 12].any()
    state, setup = sim.state, sim.setup
    assert not pairwise_overlap(state.x, state.y, state.yaw, setup.length, setup.width, state.valid).any()


def scripted(agent: Any, trigger: Trigger, value: float, action: Action = Action.SPEED, **fields: Any) -> list[Any]:
    """An ego at 20 m/s from x = 50, and an actor at 10 m/s from x = 200 on the lane to the left."""
    steady = {"desired_speed": 20.0}
    magnitude, until = fields.pop("magnitude", 5.0), fields.pop("until", 0.0)
    script = Script(trigger=trigger, value=value, action=action, magnitude=magnitude, until=until, reckless=fields.pop("reckless", False))
    actor = {"lane": "main.1", "s": 200.0, "speed": 10.0, "driver": {"desired_speed": 10.0}, **fields}
    return [
        agent("main.0", 50.0, 20.0, driver=steady),
        agent(actor.pop("lane"), actor.pop("s"), actor.pop("speed"), script=script, **actor),
    ]


def test_a_script_fires_at_the_first_tick_at_which_its_condition_holds(agent: Any, stage: Any) -> None:
    """The ego runs straight along +x, so that "ahead" is a difference in x."""
    cases = [
        (Trigger.TIME, 0.0),
        (Trigger.TIME, 3.05),
        (Trigger.DISTANCE, 61.0),
        (Trigger.AHEAD, 33.0),
        (Trigger.AHEAD, -20.0),
        (Trigger.TTC, 4.33),
    ]
    seen = run(stage(TWO, [scripted(agent, trigger, value) for trigger, value in cases]), 230)
    assert (seen["fired"][..., 0] == -1).all()
    for b, (trigger, value) in enumerate(cases):
        ahead = seen["x"][:, b, 1] - seen["x"][:, b, 0]
        apart = np.hypot(ahead, seen["y"][:, b, 1] - seen["y"][:, b, 0])
        closing = seen["speed"][:, b, 0] - seen["speed"][:, b, 1]
        with np.errstate(divide="ignore"):
            holds = {
                Trigger.TIME: np.arange(231) * 0.1 >= value,
                Trigger.DISTANCE: apart < value,
                Trigger.AHEAD: ahead < value,
                Trigger.TTC: (ahead > 0) & (closing > 0.1) & (ahead / closing < value),
            }[trigger]
        tick = int(holds.argmax())
        assert holds.any()
        assert (seen["fired"][: tick + 1, b, 1] == -1).all()
        assert (seen["fired"][tick + 1 :, b, 1] == tick).all()
        np.testing.assert_allclose(seen["speed"][: tick + 1, b, 1], 10.0, atol=1e-3)
        assert seen["speed"][-1, b, 1] < 6.0


def test_a_cut_in_comes_without_asking(agent: Any, stage: Any) -> None:
    """The actor changes into the ego's lane at once although it hardly has room, and the ego brakes for it."""
    seen = run(
        stage(TWO, [scripted(agent, Trigger.AHEAD, 12.0, Action.CHANGE_RIGHT, speed=16.0, s=80.0, driver={"desired_speed": 16.0})]), 120
    )
    tick = int(seen["fired"][-1, 0, 1])
    assert tick > 0
    assert (seen["lane"][: tick + 1, 0, 1] == 1).all()
    assert (seen["lane"][tick + 1 :, 0, 1] == 0).all()
    assert abs(seen["d"][-1, 0, 1]) < 0.1
    assert seen["accel"][tick + 1 : tick + 10, 0, 0].min() < -2.0
    assert abs(seen["y"][-1, 0, 1]) < 0.1


def test_braking_to_a_speed(agent: Any, stage: Any) -> None:
    """4 m/s^2 down to 3 m/s, and no faster ever after."""
    seen = run(stage(TWO, [scripted(agent, Trigger.TIME, 2.0, Action.BRAKE, magnitude=4.0, until=3.0)]), 150)
    speed = seen["speed"][:, 0, 1]
    np.testing.assert_allclose(speed[20:37], 10.0 - 0.4 * np.arange(17), atol=1e-3)
    assert (speed[40:] > 2.0).all()
    assert (speed[45:] < 3.1).all()


def test_stepping_out(agent: Any, stage: Any) -> None:
    """Stands until the ego is near, then goes to its desired speed."""
    seen = run(stage(TWO, [scripted(agent, Trigger.DISTANCE, 50.0, Action.GO, speed=0.0, driver={"desired_speed": 6.0})]), 200)
    tick = int(seen["fired"][-1, 0, 1])
    assert tick > 20
    assert (seen["speed"][: tick + 1, 0, 1] == 0.0).all()
    assert seen["speed"][-1, 0, 1] == pytest.approx(6.0, abs=0.2)


def test_the_reckless_ignore_what_is_in_their_way(agent: Any, stage: Any) -> None:
    worlds = [
        [*scripted(agent, Trigger.TIME, 1.0, magnitude=10.0, reckless=reckless), agent("main.1", 280.0, role=Role.STATIC)]
        for reckless in (True, False)
    ]
    seen = run(stage(TWO, worlds), 150)
    np.testing.assert_allclose(seen["speed"][-1, :, 1], [10.0, 0.0], atol=0.2)
    assert seen["x"][-1, 0, 1] > 310.0
    assert 270.0 < seen["x"][-1, 1, 1] < 280.0 - CAR - 1.5

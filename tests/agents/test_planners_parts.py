"""What planners are made of, against closed forms, scipy and networkx."""

from __future__ import annotations

import itertools

import networkx as nx
import numpy as np
import pytest
import torch
from scipy import integrate, stats

from agents.planners.base import DT, STEPS, Ego, Place, Route, Trajectory
from agents.planners.costs import Weights, collision, collision_on_path, comfort, off_road, overlap_probability, speeding
from agents.planners.mppi import noise, update
from agents.planners.obstacles import Obstacles, OnPath
from agents.planners.polynomials import evaluate, quartic, quintic
from agents.planners.proposals import ACCEL, GAP, HEADWAY, REST, drive
from agents.planners.route import FIRST, POINTS, STEP, at, lane_sequence, make_route, to_frenet, to_path
from agents.planners.vehicle import pursue, to_action
from envs.driving.collision import overlap
from envs.driving.maps import compile_maps
from envs.driving.routing import CHANGE_COST, destination_index, lane_lengths
from scenarios.roads import ROADS
from tests.agents.planner_scenes import an_ego

T = torch.tensor


def a_route(curvature: float = 0.0, limit: float = 20.0, d: float = 0.0) -> Route:
    """One path: an arc, tangent to the x axis `d` m right of the origin."""
    s = (FIRST + STEP * torch.arange(POINTS)).view(1, 1, -1)
    angle = curvature * s
    if curvature:
        x, y = torch.sin(angle) / curvature, (1.0 - torch.cos(angle)) / curvature
    else:
        x, y = s, torch.zeros_like(s)
    return Route(
        lane=T([[0]]), x=x, y=y - d, cos=torch.cos(angle), sin=torch.sin(angle), curvature=torch.full_like(s, curvature),
        limit=torch.full_like(s, limit), width=T([[3.5]]), d=T([[d]]), end=T([[torch.inf]]), exit=T([[torch.inf]]), need=T([[0]]),
        toll=T([[0.0]]),
    )  # fmt: skip


def moving(speed: float, *, accel: float = 0.0, curvature: float = 0.0) -> Trajectory:
    """Straight ahead at one speed, (1, 1, S); the other two are only told."""
    when = DT * torch.arange(1, STEPS + 1).view(1, 1, -1)
    full = torch.ones_like(when)
    return Trajectory(speed * when, 0.0 * full, full, 0.0 * full, speed * full, accel * full, curvature * full)


def standing(x: float, y: float, *, yaw: float = 0.0, sigma: float = 0.0, weight: float = 1.0) -> Obstacles:
    """One car that stands, surely or in doubt."""
    full = torch.ones(1, 1, STEPS)
    angle = yaw * full
    return Obstacles(
        x * full, y * full, torch.cos(angle), torch.sin(angle), sigma**2 * full, 0.0 * full, sigma**2 * full,
        T([[2.3]]), T([[0.925]]), T([[weight]]),
    )  # fmt: skip


def leader(s: float, speed: float) -> OnPath:
    """One car on the path, `s` m ahead now."""
    where = s + speed * DT * torch.arange(1, STEPS + 1).view(1, 1, 1, -1)
    full = torch.ones_like(where)
    return OnPath(where, 0.0 * full, speed * full, 2.3 * full, 0.925 * full, 0.1 * full, 0.1 * full)


# polynomials


@pytest.mark.parametrize(("x1", "v1", "end"), [(30.0, 8.0, 3.0), (-2.0, 0.0, 2.0), (0.0, 15.0, 6.0)])
def test_polynomials_meet_their_boundary_conditions(x1: float, v1: float, end: float) -> None:
    x0, v0, a0 = 1.5, 9.0, -0.7
    args = [T([value], dtype=torch.float64) for value in (x0, v0, a0)]
    ends = {"end": T([end], dtype=torch.float64)}
    five = quintic(*args, T([x1], dtype=torch.float64), T([v1], dtype=torch.float64), **ends)
    four = quartic(*args, T([v1], dtype=torch.float64), **ends)
    when = T([0.0, end], dtype=torch.float64)
    for p in (five, four):
        x, v, a = (value.squeeze(0) for value in evaluate(p, when))
        assert [float(value[0]) for value in (x, v, a)] == [x0, v0, a0]
        assert [float(value[1]) for value in (v, a)] == pytest.approx([v1, 0.0], abs=1e-9)
    assert float(evaluate(five, when)[0][0, 1]) == pytest.approx(x1, abs=1e-9)
    later = [float(value) for value in evaluate(five, T([end + 2.0], dtype=torch.float64))]
    assert later == pytest.approx([x1 + 2.0 * v1, v1, 0.0], abs=1e-9)  # goes on at the speed reached


def jerk_of(x: float, place: float, speed: float, end: float) -> float:
    """Integral of the squared jerk of the quintic from rest at 0 to (place, speed)."""
    p = quintic(*(T([value], dtype=torch.float64) for value in (x, 0.0, 0.0, place, speed, end)))
    c3, c4, c5 = (float(part) for part in (p.c3, p.c4, p.c5))
    return float(integrate.quad(lambda t: (6 * c3 + 24 * c4 * t + 60 * c5 * t * t) ** 2, 0.0, end)[0])


def test_the_quartic_is_the_quintic_that_ends_where_jerk_is_least() -> None:
    p = quartic(*(T([value], dtype=torch.float64) for value in (0.0, 0.0, 0.0, 10.0, 4.0)))
    place = float(evaluate(p, T([4.0], dtype=torch.float64))[0])
    best = jerk_of(0.0, place, 10.0, 4.0)
    assert best < min(jerk_of(0.0, place + shift, 10.0, 4.0) for shift in (-1.0, -0.1, 0.1, 1.0))


# routes


@pytest.mark.parametrize(("kind", "options"), [("highway", {}), ("merge", {}), ("exit", {}), ("junction", {"lanes": 2})])
def test_the_lane_sequence_costs_what_networkx_finds(kind: str, options: dict[str, int]) -> None:
    network = ROADS[kind](**options).build()
    lengths, ids = lane_lengths(network), [lane.id for lane in network.lanes]
    graph = nx.DiGraph()
    for i, lane in enumerate(network.lanes):
        for after in lane.successors:
            graph.add_edge(i, ids.index(after), weight=lengths[i])
        for beside in (lane.left, lane.right):
            if beside is not None:
                graph.add_edge(i, ids.index(beside), weight=CHANGE_COST + lengths[i] - lengths[ids.index(beside)])
    place = Place(compile_maps((network,)), T([0]), T([[0]]))
    checked = 0
    for name, start in itertools.product(network.destinations, range(len(ids))):
        goals = {ids.index(lane): min(s, lengths[ids.index(lane)]) for lane, s in network.destinations[name]}
        best = min((nx.dijkstra_path_length(graph, start, g) + s for g, s in goals.items() if nx.has_path(graph, start, g)), default=None)
        way = lane_sequence(place, T([destination_index(network, name)]), T([start]), 30)[0].tolist()
        way = [lane for lane in way if lane >= 0]
        if best is None:
            assert way == [start]
            continue
        assert all(graph.has_edge(a, b) for a, b in itertools.pairwise(way))
        cost = sum(graph.edges[a, b]["weight"] for a, b in itertools.pairwise(way)) + goals[way[-1]]
        assert cost == pytest.approx(best, abs=60.0)  # routing takes routes closer than 50 m for equal
        checked += 1
    assert checked


@pytest.mark.parametrize("curvature", [0.0, 0.02, -0.03])
def test_frenet_coordinates_there_and_back(curvature: float) -> None:
    route = a_route(curvature)
    s = torch.linspace(-15.0, 30.0, 40).view(1, 1, -1)
    d = torch.linspace(-3.0, 3.0, 40).view(1, 1, -1)
    x, y, _, _ = to_path(route, s, d)
    back_s, back_d, cos, sin = to_frenet(route, x[:, 0], y[:, 0])
    torch.testing.assert_close(back_s, s, atol=0.05, rtol=0.0)
    torch.testing.assert_close(back_d, d, atol=0.05, rtol=0.0)
    torch.testing.assert_close(cos, torch.cos(curvature * s), atol=0.02, rtol=0.0)
    torch.testing.assert_close(sin, torch.sin(curvature * s), atol=0.02, rtol=0.0)


def test_a_place_that_has_no_foot_near_the_guess_is_far_away() -> None:
    """Straight on, then a quarter of a circle: seen from a bad guess, a place may seem to lie on the path's tangent."""
    route = a_route(0.02)
    x, y, _, _ = to_path(route, T([[[70.0]]]), T([[[1.0]]]))
    _, good, _, _ = to_frenet(route, x[:, 0], y[:, 0])
    _, bad, _, _ = to_frenet(route, x[:, 0], y[:, 0], T([[[0.0]]]))
    assert float(good) == pytest.approx(1.0, abs=0.05)
    assert float(bad) > 1000.0
    behind, aside, _, _ = to_frenet(a_route(), T([[-50.0]]), T([[0.5]]))
    assert [float(behind), float(aside)] == pytest.approx([-50.0, 0.5])  # the path goes on straight beyond its ends


def test_speeds_ahead_leave_room_to_brake_for_a_bend() -> None:
    network = ROADS["junction"]().build()
    lane = next(i for i, lane in enumerate(network.lanes) if lane.id == "south_in.0")
    place = Place(compile_maps((network,)), T([0]), T([[0]]))
    goal = destination_index(network, "east")
    route = make_route(an_ego(lane=lane, s=30.0, goal=goal)._replace(x=place.maps.points[0, 0, 0:1], y=place.maps.points[0, 0, 1:2]), place)
    limit = route.limit[0, 1]
    fall = (limit[:-1] ** 2 - limit[1:] ** 2) / (2.0 * STEP)
    assert fall.max() <= 2.0 + 1e-3  # m/s^2
    assert limit.min() < 8.0 < 13.0 < limit.max()  # a right turn, and 50 km/h before it


# costs


@pytest.mark.parametrize(("offset", "half", "sigma"), [(0.0, 1.0, 1.0), (3.0, 2.0, 0.7), (-1.0, 2.0, 5.0)])
def test_overlap_probability_is_the_normal_integral(offset: float, half: float, sigma: float) -> None:
    expected = stats.norm.cdf(half, offset, sigma) - stats.norm.cdf(-half, offset, sigma)
    assert float(overlap_probability(T(offset), T(half), T(sigma))) == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize(("x", "y", "yaw"), [(20.0, 0.0, 0.0), (20.0, 2.2, 0.0), (20.0, 1.5, 0.0), (20.0, 3.0, 1.5708), (60.0, 0.0, 0.0)])
def test_without_doubt_a_collision_is_the_overlap_of_boxes(x: float, y: float, yaw: float) -> None:
    ego, weights, path = an_ego(), Weights(discount=1e9), moving(10.0)
    hit, _ = collision(path, ego, standing(x, y, yaw=yaw), weights, stride=1)
    boxes = overlap(path.x, path.y, T(0.0), T(4.6), T(1.85), T(x), T(y), T(yaw), T(4.6), T(1.85))
    assert float(hit) == pytest.approx(float(boxes.any()), abs=1e-4)


def test_a_collision_in_doubt_is_what_random_draws_say() -> None:
    ego, sigma = an_ego(), 1.5
    path = Trajectory(*(value[..., -1:].expand(1, 1, STEPS) for value in moving(10.0)))  # stands at x = 40
    hit, _ = collision(path, ego, standing(44.0, 1.0, sigma=sigma, weight=0.8), Weights(discount=1e9))
    draws = np.random.default_rng(7).normal((4.0, 1.0), sigma, (200_000, 2))
    share = np.mean((np.abs(draws[:, 0]) < 4.6) & (np.abs(draws[:, 1]) < 1.85))
    assert float(hit) == pytest.approx(0.8 * share, abs=0.005)


def test_collisions_on_a_straight_path_are_those_in_the_plane() -> None:
    ego, weights = an_ego(), Weights()
    s, d = torch.linspace(0.6, 12.0, STEPS).view(1, 1, 1, -1), T([0.0, 1.0]).view(1, 1, 2, 1).expand(1, 1, 2, STEPS)
    there = OnPath(*(T(v).view(1, 1, 1, 1).expand(1, 1, 1, STEPS) for v in (12.0, 1.2, 0.0, 2.3, 0.925, 0.8, 0.8)))
    speed = torch.full_like(s, 3.0)
    hit, near = collision_on_path(s, d, speed, ego, there, T([[1.0]]), weights)  # (1, 1, 2, 1)
    for j in range(2):
        one, zero = torch.ones(1, 1, STEPS), torch.zeros(1, 1, STEPS)
        path = Trajectory(s[:, 0], d[:, 0, j : j + 1], one, zero, 3.0 * one, zero, zero)
        plain = collision(path, ego, standing(12.0, 1.2, sigma=0.8), weights)
        torch.testing.assert_close(T([hit[0, 0, j, 0], near[0, 0, j, 0]]), T([float(v) for v in plain]))


def test_comfort_is_nothing_at_constant_speed_and_grows_beyond_its_bounds() -> None:
    zero = T([[0.0]])
    assert float(comfort(moving(10.0), zero)) == 0.0
    steady = comfort(moving(10.0, accel=1.2), T([[1.2]]))
    assert float(steady) == pytest.approx(0.25)  # half the bound of 2.4, no jerk
    turning = comfort(moving(10.0, curvature=0.0489), zero)
    assert float(turning) == pytest.approx(1.0, abs=1e-4)  # 100 * 0.0489 = 4.89 m/s^2, the bound itself
    assert float(comfort(moving(10.0, accel=4.8), T([[4.8]]))) == pytest.approx(4.0 + 10.0)


def test_speeding_is_the_mean_excess() -> None:
    assert float(speeding(moving(12.0), T(10.0))) == pytest.approx(2.0)
    assert float(speeding(moving(9.0), T(10.0))) == 0.0


def test_leaving_the_road_costs_the_metres_outside() -> None:
    network = ROADS["highway"](lanes=2).build()
    place = Place(compile_maps((network,)), T([0]), T([[0]]))
    start = place.maps.points[0, int(place.maps.lane_start[0, 0]) + 50]
    ego = an_ego()._replace(x=start[0:1], y=start[1:2], cos=start[2:3], sin=start[3:4])
    always = torch.ones(1, 1, STEPS) > 0.0
    inside = off_road(moving(10.0), ego, place, always)
    aside = [moving(10.0)._replace(y=torch.full((1, 1, STEPS), -y)) for y in (6.0, 7.0)]
    outside = [float(off_road(path, ego, place, always)) for path in aside]
    assert float(inside) == 0.0
    assert float(off_road(aside[0], ego, place, ~always)) == 0.0
    assert outside[0] > 0.0 and outside[1] - outside[0] == pytest.approx(1.0, abs=0.1)


# driving along a path


def driven(ego: Ego, route: Route, there: OnPath, stop: float = torch.inf) -> tuple[torch.Tensor, Trajectory]:
    done = drive(ego, route, T([[0.0]]), T([1.0]), there, T([[1.0]]), T([[stop]]))
    return done.s, done.trajectory


def test_idm_keeps_its_equilibrium_gap() -> None:
    speed, limit = 10.0, 20.0
    gap = (GAP + HEADWAY * speed) / (1.0 - (speed / limit) ** 4) ** 0.5  # Treiber et al., equation of the equilibrium
    s, path = driven(an_ego(speed=speed), a_route(limit=limit), leader(gap + 4.6, speed))
    assert path.accel.abs().max() < 0.02 * ACCEL
    torch.testing.assert_close(s[..., -1], T([[[speed * DT * STEPS]]]), atol=0.1, rtol=0.0)


@pytest.mark.parametrize("speed", [0.0, 4.0, 8.0])
def test_one_comes_to_rest_before_a_line(speed: float) -> None:
    ego, line = an_ego(speed=speed), 15.0
    for _ in range(8):  # plan by plan, a second of each
        s, path = driven(ego, a_route(), leader(1e4, 0.0), line)
        ego = ego._replace(speed=path.speed[0, 0, 0, 4:5], accel=path.accel[0, 0, 0, 4:5])
        line -= float(s[0, 0, 0, 4])
    assert float(ego.speed) < 0.1
    assert 0.0 < line < REST + 1.0


@pytest.mark.parametrize("curvature", [0.0, 0.05, -0.1])
def test_one_follows_a_bend(curvature: float) -> None:
    route = a_route(curvature, limit=6.0)
    ego, nobody = an_ego(speed=6.0, steer=np.arctan(2.8 * curvature)), leader(1e4, 0.0)
    done = drive(ego, route, T([[0.0]]), T([1.0]), nobody, T([[1.0]]), T([[torch.inf]]))
    assert done.d.abs().max() < 0.25
    assert float(done.s[..., -1]) == pytest.approx(24.0, abs=0.5)


def test_mppi_converges_to_the_riccati_solution() -> None:
    """A double integrator with quadratic costs, whose best controls are known (Bryson & Ho, backward Riccati recursion)."""
    steps, dt = 10, 0.3
    a, b = np.array([[1.0, dt], [0.0, 1.0]]), np.array([[0.5 * dt * dt], [dt]])
    q, r, start = np.diag([1.0, 0.2]), np.array([[0.1]]), np.array([2.0, -1.0])
    gains, p = [], q
    for _ in range(steps):
        gains.append(np.linalg.solve(r + b.T @ p @ b, b.T @ p @ a))
        p = q + a.T @ p @ (a - b @ gains[-1])
    state, best, value = start, [], 0.0
    for gain in reversed(gains):
        control = -gain @ state
        value += float(state @ q @ state + control @ r @ control)
        best.append(float(control[0]))
        state = a @ state + b @ control
    value += float(state @ q @ state)

    def cost(u: torch.Tensor) -> torch.Tensor:
        x, v = torch.full_like(u[..., 0, 0], start[0]), torch.full_like(u[..., 0, 0], start[1])
        total = torch.zeros_like(x)
        for k in range(steps):
            total = total + x * x + 0.2 * v * v + 0.1 * u[..., k, 0] ** 2
            x, v = x + dt * v + 0.5 * dt * dt * u[..., k, 0], v + dt * u[..., k, 0]
        return total + x * x + 0.2 * v * v

    found = torch.zeros(1, steps, 1)
    for i in range(80):
        found = update(found, max(0.02, 0.6 * 0.95**i) * noise(2048, steps, 1, seed=i), cost, max(0.002, 0.9**i))
    assert float(cost(found.unsqueeze(1))) == pytest.approx(value, rel=2e-3)
    assert found[0, :, 0].tolist() == pytest.approx(best, abs=0.08)


def test_pursuit_is_the_circle_through_the_target() -> None:
    radius = 30.0
    angle = T(0.3)
    x, y = radius * torch.sin(angle), radius * (1.0 - torch.cos(angle))
    assert float(pursue(x, y, T(1.0), T(0.0), T(0.0))) == pytest.approx(1.0 / radius, rel=1e-4)


@pytest.mark.parametrize("speed", [0.5, 6.0])
def test_tracking_a_bend_steers_into_it(speed: float) -> None:
    """Also from a crawl, where a plan is shorter than one looks ahead. The middle of a turning car runs aslant, by the slip angle."""
    bend, slip = 0.05, T(0.5 * 2.8 * 0.05)
    angle = bend * speed * DT * torch.arange(1, STEPS + 1).view(1, -1)
    x, y = torch.sin(angle) / bend, (1.0 - torch.cos(angle)) / bend
    x, y = x * torch.cos(slip) - y * torch.sin(slip), x * torch.sin(slip) + y * torch.cos(slip)
    full = torch.ones_like(angle)
    path = Trajectory(x, y, torch.cos(angle), torch.sin(angle), speed * full, full, bend * full)
    push, steer = to_action(path, an_ego(speed=speed))[0, 0].tolist()
    assert push == pytest.approx(1.0 / 3.5)
    assert 0.6 * steer == pytest.approx(np.arctan(2.8 * bend), rel=0.25)


def test_braking_is_a_share_of_the_brakes() -> None:
    path = Trajectory(*(value[:, 0] for value in moving(5.0, accel=-4.0)))
    assert to_action(path, an_ego(speed=5.0))[0, 0].tolist() == pytest.approx([-0.5, 0.0])


def test_braking_that_a_plan_puts_off_is_foreseen_and_speeding_up_is_not() -> None:
    """8 m/s^2 at full brakes, 3.5 at full throttle."""
    path = Trajectory(*(value[:, 0] for value in moving(10.0)))
    ego = an_ego(speed=10.0)

    def pushed(*accels: float, foresight: int) -> float:
        accel = T([[*accels, *[0.0] * (STEPS - len(accels))]])
        return float(to_action(path._replace(accel=accel, speed=10.0 + DT * accel.cumsum(1)), ego, foresight)[0, 0, 0])

    assert pushed(0.0, -2.0, -4.0, foresight=1) == 0.0
    assert pushed(0.0, -2.0, -4.0, foresight=3) == pytest.approx(-2.0 / 8.0)
    assert pushed(-4.0, -2.0, 0.0, foresight=3) == pytest.approx(-4.0 / 8.0)  # no less than the plan
    assert pushed(0.7, 1.4, 2.1, foresight=3) == pytest.approx(0.7 / 3.5)
    assert pushed(0.7, 0.0, -1.3, foresight=3) == pytest.approx(-0.2 / 8.0, rel=1e-5)


def test_columns_are_linear_between_points_and_constant_beyond() -> None:
    route = a_route()
    (x,) = at(T([[[0.25, 7.5, 1e4]]]), route.x)
    torch.testing.assert_close(x, T([[[0.25, 7.5, FIRST + STEP * (POINTS - 1)]]]), atol=2e-3, rtol=0.0)

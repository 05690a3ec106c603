"""Episodes: the same everywhere for the same seed, and starting well - boxes apart, gaps comfortable, everybody on the road."""

from __future__ import annotations

import hashlib
import itertools
import math
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import shapely
from scipy import stats

import scenarios
from scenarios import Episode, Kind, Role, ScenarioError
from scenarios.checks import family
from scenarios.episode import Action, AgentSpec, Trigger
from scenarios.kinds import KIND_SPECS
from scenarios.network import LaneType
from scenarios.networks import place
from scenarios.sampling import LEFT_OUT

EVERY = scenarios.names(variants=True)
ROOT = Path(__file__).parents[2]
SHORT = """
import sys, scenarios
sys.path.insert(0, {folder!r})
from test_sampling import digest
print([digest(scenarios.sample(scenarios.load(name), seed)) for name in ("junction/hard", "highway", "parking") for seed in (0, 7)])
"""


def digest(episode: Episode) -> str:
    """Everything about an episode, the road's geometry included, as one hash."""
    h = hashlib.sha256()
    for lane in episode.network.lanes:
        h.update(lane.id.encode() + lane.centre.tobytes())
    h.update(repr((episode.agents, episode.goal, episode.drawn, episode.duration, episode.dt, episode.network_key)).encode())
    return h.hexdigest()


def box(agent: AgentSpec) -> shapely.Polygon:
    cos, sin = math.cos(agent.yaw), math.sin(agent.yaw)
    half = [(1, 1), (-1, 1), (-1, -1), (1, -1)]
    corners = [(a * agent.length / 2, b * agent.width / 2) for a, b in half]
    return shapely.Polygon([(agent.x + a * cos - b * sin, agent.y + a * sin + b * cos) for a, b in corners])


def line(lane: scenarios.Lane) -> shapely.LineString:
    return shapely.LineString(lane.centre)


@pytest.mark.parametrize("name", EVERY)
def test_fifty_seeds_start_well(name: str) -> None:
    scenario = scenarios.load(name)
    for seed in range(50):
        episode = scenarios.sample(scenario, seed)
        assert 1 <= len(episode.agents) <= min(scenario.model.max_agents, 64)
        ego = episode.agents[0]
        assert (ego.role, ego.id) == (Role.LEARNER, "ego")
        assert len({agent.id for agent in episode.agents}) == len(episode.agents)
        present = [agent for agent in episode.agents if agent.enter_time == 0.0]
        boxes = [box(agent) for agent in present]
        tree = shapely.STRtree(boxes)
        for i, j in tree.query(boxes, predicate="intersects").T:
            assert i == j, f"seed {seed}: {present[i].id} and {present[j].id} overlap"
        for agent in episode.agents:
            check_agent(agent, episode)


def check_agent(agent: AgentSpec, episode: Episode) -> None:
    """On its lane, at a possible speed, with a driver if it needs one, before the end."""
    assert 0.0 <= agent.enter_time < episode.duration
    assert -KIND_SPECS[agent.kind].reverse_max <= agent.speed <= KIND_SPECS[agent.kind].speed_max
    assert (agent.role == Role.IDM) <= (agent.driver is not None)
    if agent.destination is not None:
        assert agent.destination in episode.network.destinations
    if agent.lane is None:
        assert agent.role in (Role.STATIC, Role.LEARNER)
        return
    lane = episode.network.lane(agent.lane)
    assert 0.0 <= agent.s <= line(lane).length + 1e-6
    here = line(lane).interpolate(agent.s)
    assert here.distance(shapely.Point(agent.x, agent.y)) == pytest.approx(abs(agent.d), abs=0.02)
    if agent.kind == Kind.PEDESTRIAN:
        assert lane.type == LaneType.WALKWAY
    if agent.role == Role.IDM and agent.driver is not None and lane.type != LaneType.WALKWAY and agent.script is None:
        assert agent.speed <= lane.speed_limit * agent.driver.speed_factor + 1e-9


@pytest.mark.parametrize("name", ["highway", "highway/hard", "merge/hard", "exit/hard", "cut_in/hard", "roundabout/hard"])
def test_nobody_has_to_brake_hard_at_the_start(name: str) -> None:
    """IDM deceleration towards the next one ahead on the same lane, by the published formula, is comfortable (ego included as leader)."""
    scenario = scenarios.load(name)
    worst = 0.0
    for seed in range(30):
        episode = scenarios.sample(scenario, seed)
        for lane in {agent.lane for agent in episode.agents}:
            queue = sorted((a for a in episode.agents if a.lane == lane and a.enter_time == 0.0), key=lambda a: a.s)
            for rear, front in itertools.pairwise(queue):
                if rear.driver is None or rear.role != Role.IDM:
                    continue
                d, v, dv = rear.driver, rear.speed, rear.speed - front.speed
                gap = front.s - rear.s - (front.length + rear.length) / 2.0
                wanted = d.min_gap + max(0.0, v * d.headway + v * dv / (2.0 * math.sqrt(d.accel * d.decel)))
                assert gap > 0.0
                worst = max(worst, (d.accel * (wanted / gap) ** 2) / d.decel)
    assert 0.0 < worst <= 1.0 + 1e-9


def test_the_same_seed_is_the_same_episode_in_another_process() -> None:
    code = SHORT.format(folder=str(Path(__file__).parent))
    other = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    names = ("junction/hard", "highway", "parking")
    here = [digest(scenarios.sample(scenarios.load(name), seed)) for name in names for seed in (0, 7)]
    assert other.stdout.strip() == str(here)


def test_other_seeds_and_variants_are_other_episodes() -> None:
    found = {digest(scenarios.sample(scenarios.load(name), seed)) for name in ("merge", "merge/easy", "merge/hard") for seed in range(10)}
    assert len(found) == 30
    with pytest.raises(ValueError, match="seed=-1"):
        scenarios.sample(scenarios.load("merge"), -1)


def test_the_order_of_sampling_does_not_matter() -> None:
    scenario = scenarios.load("roundabout")
    forward = [digest(scenarios.sample(scenario, seed)) for seed in range(6)]
    backward = [digest(scenarios.sample(scenario, seed)) for seed in reversed(range(6))]
    assert forward == backward[::-1]


def test_networks_are_shared_and_limited_to_maps() -> None:
    scenario = scenarios.load("merge")
    by_key: dict[str, set[int]] = {}
    for seed in range(80):
        episode = scenarios.sample(scenario, seed)
        by_key.setdefault(episode.network_key, set()).add(id(episode.network))
    assert all(len(objects) == 1 for objects in by_key.values())
    assert len(by_key) == scenario.model.maps
    fixed = scenarios.load_text("version: 1\nname: x\nduration: 30 s\nmaps: 8\nroad: {kind: highway}\nego: {lane: main.0}\n")
    assert len({scenarios.sample(fixed, seed).network_key for seed in range(5)}) == 1


def text(body: str, road: str = "{kind: highway, lanes: 3, length: 1200 m, speed_limit: 100 km/h}") -> str:
    return f"version: 1\nname: x\nduration: 40 s\nmax_agents: 64\nroad: {road}\nego: {{lane: main.0, s: 10 m}}\n{body}"


def test_arrivals_follow_the_rate() -> None:
    """Counts of later entrants over many episodes: mean rate x duration; intervals never shorter than the least."""
    flow = "traffic:\n  - flow: {lanes: [main.2], rate: 720 veh/h, start: false}\n"
    scenario = scenarios.load_text(text(flow))
    counts, intervals = [], []
    for seed in range(200):
        times = [a.enter_time for a in scenarios.sample(scenario, seed).agents[1:]]
        counts.append(len(times))
        intervals += [b - a for a, b in itertools.pairwise([0.0, *times])]
    # an interval is shifted exponential: mean 5 s, least 1 s plus the time to clear the car's length (about 0.17 s)
    least, mean = 1.17, 5.0
    assert 1.0 < min(intervals) < 1.3
    # renewal theory: the expected count tends to t / mean + (std^2 - mean^2) / (2 mean^2)
    expected = 40.0 / mean + ((mean - least) ** 2 - mean**2) / (2.0 * mean**2)
    assert np.mean(counts) == pytest.approx(expected, abs=4.0 * np.std(counts) / math.sqrt(len(counts)))
    # long intervals are cut off by the end of the episode, so compare the short ones
    short = [i - least for i in intervals if i < 6.0]
    assert stats.kstest(short, stats.truncexpon(b=(6.0 - least) / (mean - least), scale=mean - least).cdf).statistic < 0.05


def test_density_at_the_start_follows_rate_over_speed() -> None:
    flow = "drivers: {speed_factor: 1}\ntraffic:\n  - flow: {lanes: [main.1, main.2], rate: 700 veh/h}\n"
    scenario = scenarios.load_text(text(flow))
    counts = [sum(a.enter_time == 0.0 for a in scenarios.sample(scenario, seed).agents[1:]) for seed in range(150)]
    speed = 0.95 * 100 / 3.6  # drivers start at 90 to 100 % of what they want
    assert np.mean(counts) == pytest.approx(2 * 1200 * (700 / 3600) / speed, rel=0.06)


def test_capacity_is_not_exceeded() -> None:
    """A rate no road can carry gives a full road, not an overlap or an endless loop."""
    flow = "traffic:\n  - flow: {lanes: [main.0, main.1, main.2], rate: 7200 veh/h}\n"
    episode = scenarios.sample(scenarios.load_text(text(flow)), 1)
    assert len(episode.agents) == 64
    boxes = [box(a) for a in episode.agents if a.enter_time == 0.0]
    assert shapely.unary_union(boxes).area == pytest.approx(sum(b.area for b in boxes))


@pytest.mark.parametrize(
    ("amount", "count"),
    [("count: 5", (5, 5)), ("spacing: 60 m", (9, 13)), ("density: 20 veh/km", (11, 15)), ("density: 0", (0, 0)), ("count: 0", (0, 0))],
)
def test_fill(amount: str, count: tuple[int, int]) -> None:
    fill = f"traffic:\n  - fill: {{lanes: [main.2], {amount}, begin: 300 m, end: 950 m, speed: 20 m/s}}\n"
    scenario = scenarios.load_text(text(fill))
    for seed in range(20):
        others = scenarios.sample(scenario, seed).agents[1:]
        assert count[0] <= len(others) <= count[1]
        assert all(300.0 <= a.s <= 950.0 and a.speed <= 20.0 for a in others)


def test_parked_cars_stand_and_the_goal_bay_is_free() -> None:
    scenario = scenarios.load("parking/hard")
    bays = set()
    for seed in range(30):
        episode = scenarios.sample(scenario, seed)
        region = episode.goal.region
        assert region is not None
        bays.add(episode.drawn["ego.goal.bay.id"])
        others = episode.agents[1:]
        assert all((a.role, a.speed) == (Role.STATIC, 0.0) for a in others)
        assert min(math.hypot(a.x - region.x, a.y - region.y) for a in others) > 1.5
        assert region.speed_max > 0.0 > region.speed_min
        bay = next(b for b in episode.network.bays if b.id == episode.drawn["ego.goal.bay.id"])
        # the goal is met exactly by a car in the middle of the bay that stays within its lines
        assert region.length <= bay.length - episode.agents[0].length + 0.5
        assert (region.yaw, region.heading) == (bay.yaw, bay.yaw)
    assert len(bays) > 10


def test_actors_stand_where_the_file_says() -> None:
    body = (
        "actors:\n"
        "  - {id: lead, ahead: 40 m, desired_speed: 12 m/s}\n"
        "  - {id: back, lane: main.1, ahead: -8 m, speed: 22 m/s}\n"
        "  - {id: cut, lane: main.2, s: 90 m, script: {when: {ttc: 2.5 s}, do: change_right, reckless: true}}\n"
        "  - {id: brk, lane: main.2, s: 190 m, script: {when: {time: 3 s}, do: brake, decel: 5 m/s^2, until: 4 m/s}}\n"
        "  - {id: slow, lane: main.1, s: 190 m, script: {when: {ahead: -10 m}, do: speed, to: 30 km/h}}\n"
        "  - {id: walk, lane: main.1, s: 300 m, script: {when: {distance: 50 m}, do: go}}\n"
        "  - {id: cone, role: static, pose: {x: 5, y: -9, heading: 90 deg}, length: 0.5 m, width: 0.4 m}\n"
        "  - {id: late, lane: main.1, s: 1 m, enter_time: 12 s}\n"
        "  - {id: never, lane: main.2, s: 500 m, chance: 0}\n"
    )
    episode = scenarios.sample(scenarios.load_text(text(body)), 0)
    by_id = {agent.id: agent for agent in episode.agents}
    assert list(by_id) == ["ego", "lead", "back", "cut", "brk", "slow", "walk", "cone", "late"]
    assert (by_id["lead"].lane, by_id["lead"].s, by_id["lead"].speed) == ("main.0", 50.0, 12.0)
    assert (by_id["back"].lane, by_id["back"].speed) == ("main.1", 22.0)
    assert by_id["back"].s == pytest.approx(2.0)
    cut, brk, slow, walk = (by_id[i].script for i in ("cut", "brk", "slow", "walk"))
    assert cut is not None
    assert brk is not None
    assert slow is not None
    assert walk is not None
    assert (cut.trigger, cut.value, cut.action, cut.reckless) == (Trigger.TTC, 2.5, Action.CHANGE_RIGHT, True)
    assert (brk.trigger, brk.value, brk.action, brk.magnitude, brk.until) == (Trigger.TIME, 3.0, Action.BRAKE, 5.0, 4.0)
    assert (slow.trigger, slow.value, slow.action) == (Trigger.AHEAD, -10.0, Action.SPEED)
    assert slow.magnitude == pytest.approx(30 / 3.6)
    assert (walk.trigger, walk.value, walk.action, by_id["walk"].speed) == (Trigger.DISTANCE, 50.0, Action.GO, 0.0)
    assert (by_id["cone"].role, by_id["cone"].length, by_id["cone"].yaw) == (Role.STATIC, 0.5, pytest.approx(math.pi / 2))
    assert by_id["late"].enter_time == 12.0


def test_an_actor_ahead_follows_the_egos_way_round_the_corner() -> None:
    ego = "ego: {lane: south_in.0, s: 100 m, goal: {destination: east}}\nactors:\n  - {id: lead, ahead: 60 m}\n"
    scenario = scenarios.load_text("version: 1\nname: x\nduration: 60 s\nroad: {kind: junction, shape: cross}\n" + ego)
    lead = scenarios.sample(scenario, 0).agents[1]
    assert lead.lane == "east_out.0"
    graph = place(scenario, 0).graph
    assert graph.length["south_in.0"] - 100.0 + graph.length["south_east.0"] + lead.s == pytest.approx(60.0)


def test_too_many_are_cut_by_who_matters_to_the_ego() -> None:
    body = "traffic:\n  - flow: {lanes: [main.0, main.1, main.2], rate: 1500 veh/h}\n"
    full = scenarios.sample(scenarios.load_text(text(body)), 4)
    few = scenarios.sample(scenarios.load_text(text(body).replace("max_agents: 64", "max_agents: 12")), 4)
    assert len(few.agents) == 12
    ego = few.agents[0]
    at_start = [math.hypot(a.x - ego.x, a.y - ego.y) for a in few.agents[1:] if a.enter_time == 0.0]
    assert at_start
    assert max(at_start) < max(math.hypot(a.x - ego.x, a.y - ego.y) for a in full.agents[1:])


def test_what_was_drawn_is_told_by_path() -> None:
    drawn = scenarios.sample(scenarios.load("roundabout"), 5).drawn
    assert {"road.radius", "ego.s", "ego.speed", "ego.goal.destination", "traffic[0].flow.rate"} <= drawn.keys()
    assert 17.0 <= float(drawn["road.radius"]) <= 24.0
    assert drawn["ego.goal.destination"] in ("east", "north", "west")


def test_a_draw_off_the_lane_is_told_with_its_place() -> None:
    scenario = scenarios.load_text(
        "version: 1\nname: x\nduration: 99 s\nmaps: 40\nroad: {kind: highway, length: {choice: [100 m, 1000 m], weights: [1, 9]}}\n"
        "ego:\n  lane: main.0\n  s: 200 m\n"
    )
    with pytest.raises(ScenarioError, match="which is 100.0 m long in this variant") as caught:
        for seed in range(200):
            scenarios.sample(scenario, seed)
    assert caught.value.problems[0].line == 8
    assert any("100.0 m long" in str(problem) for problem in scenarios.check(scenario))


@pytest.mark.parametrize("name", EVERY)
def test_the_goal_can_be_reached_in_time_by_an_ordinary_driver(name: str) -> None:
    """Driving the shortest way at 75 % of the limits leaves a quarter of the duration for waiting (parking: 2 m/s on average)."""
    scenario = scenarios.load(name)
    for seed in range(20):
        episode = scenarios.sample(scenario, seed)
        ego = episode.agents[0]
        graph = next(p.graph for i in range(scenario.model.maps) if (p := place(scenario, i)).network is episode.network)
        if episode.goal.destination is None:
            assert episode.goal.region is not None
            ways = 2.0 * math.hypot(ego.x - episode.goal.region.x, ego.y - episode.goal.region.y)  # round the rows
            assert ways / 2.0 <= 0.75 * episode.duration
            continue
        assert ego.lane is not None
        lane, s, seconds = ego.lane, ego.s, 0.0
        for _ in range(40):
            to_go = graph.to_go(episode.goal.destination)
            options = [lane, *graph.sides(lane), *(b for a in graph.sides(lane) for b in graph.sides(a))]
            lane = next((o for o in options if any(x in to_go for x in graph.lanes[o].successors)), lane)
            seconds += (graph.length[lane] - s) / (0.75 * graph.lanes[lane].speed_limit)
            following = graph.next(lane, episode.goal.destination)
            ends = {id for id, _ in episode.network.destinations[episode.goal.destination]}
            if lane in ends or following is None:
                break
            lane, s = following, 0.0
        else:
            pytest.fail("no way found")
        assert seconds <= 0.75 * episode.duration, f"seed {seed}: {seconds:.0f} s of {episode.duration:.0f} s"


def test_motorways_are_free_or_congested_and_the_ego_never_starts_above_the_limit() -> None:
    motorway, limits, slow = scenarios.load("highway"), set(), []
    for seed in range(80):
        episode = scenarios.sample(motorway, seed)
        ego, *others = episode.agents
        assert ego.lane is not None
        limit = episode.network.lane(ego.lane).speed_limit
        assert ego.speed <= limit
        limits.add(round(limit * 3.6))
        # the right lane has its slow ones in free traffic too
        slow.append(sum(other.enter_time == 0.0 and other.lane != "main.0" and other.speed < 13.0 for other in others))
    assert limits == {80, 100, 120}
    assert 0.25 < np.mean(np.array(slow) >= 5) < 0.55
    assert np.mean(np.array(slow) <= 2) > 0.4


@pytest.mark.parametrize("name", scenarios.names())
def test_traffic_of_the_library_goes_on_until_the_end(name: str) -> None:
    """Flows fit the slots: hardly an episode leaves anybody out. Where arrivals are frequent, the last come near the end."""
    for one in family(scenarios.load(name)):
        assert scenarios.crowded(one, seeds=20) == []
        rates = [float(rate) for seed in range(20) for path, rate in scenarios.sample(one, seed).drawn.items() if path.endswith("rate")]
        if rates and min(rates) > 200 / 3600:  # some 5 arrivals and more in each episode
            last = [max(a.enter_time for a in e.agents) / e.duration for e in (scenarios.sample(one, seed) for seed in range(20))]
            assert sum(last) / len(last) > 0.75, one.id


def test_who_finds_no_slot_is_counted_and_warned_of() -> None:
    body = "traffic:\n  - flow: {lanes: [main.0, main.1, main.2], rate: 1500 veh/h}\n"
    crowd = scenarios.load_text(text(body).replace("max_agents: 64", "max_agents: 12"))
    few = scenarios.sample(crowd, 4)
    assert len(few.agents) == 12
    assert float(few.drawn[LEFT_OUT]) > 30  # of some 50 arrivals in 40 s on three lanes
    (warning,) = scenarios.crowded(crowd)
    assert "max_agents=12" in warning
    assert scenarios.crowded(scenarios.load_text(text("")), seeds=3) == []

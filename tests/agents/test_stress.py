"""`closedloop stress` on the road: a wall that is nearly always far enough ahead, whose probability follows from geometry."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import scenarios
from agents.cli import run
from agents.evaluation.rollout import EpisodeResult, rollout
from agents.policies.base import load_policy
from agents.stress.cases import chosen
from agents.stress.margins import Closeness, Scales, failed, margin, scales
from agents.stress.references import CAREFUL, default_references, load_reference
from agents.stress.run import Order, stress
from agents.stress.space import REST, SpaceError, space_of
from agents.stress.trials import Driver, Trial

WALL = """
version: 1
name: wall
duration: 3 s
road: {kind: highway, lanes: 1, length: 400 m}
ego: {lane: main.0, s: {uniform: [10, 20]}, speed: {uniform: [8, 14]}}
actors:
  - {id: wall, role: static, lane: main.0, ahead: {uniform: [42, 82]}}
"""


def hits(speed: float, ahead: float) -> bool:
    """Whether a car at constant speed reaches the wall, both 4.6 m long, within 3 s."""
    return speed * 3.0 >= ahead - 4.6


def probability() -> float:
    """Of that, over speed in [8, 14] and distance in [42, 82]: the integral of (3 v - 37.4) / 40 from where it is positive."""
    lowest = 37.4 / 3.0
    return (1.5 * (14.0**2 - lowest**2) - 37.4 * (14.0 - lowest)) / 40.0 / 6.0


@pytest.fixture
def wall(tmp_path: Path) -> Path:
    path = tmp_path / "wall.yaml"
    path.write_text(WALL)
    return path


def test_it_finds_the_wall_and_knows_how_often_it_is_hit(wall: Path, tmp_path: Path) -> None:
    scenario = scenarios.load(wall)
    space = space_of(scenario)
    assert space.names == ("ego.s", "ego.speed", "actors[0].ahead", REST)
    order = Order(policy="constant", scenario=str(wall), simulations=384, rule="collision", references=("idm",), control=False, cases=2)
    found = stress(order, scenario, load_policy("constant"), [load_reference("idm")], space, tmp_path / "out")
    assert len(found.trials) == 384
    for trial in found.trials:
        speed, ahead = 8.0 + 6.0 * trial.u[1], 42.0 + 40.0 * trial.u[2]
        assert trial.failed == hits(speed, ahead) or abs(speed * 3.0 - ahead + 4.6) < 0.05
    failures = sum(t.failed for t in found.trials)
    assert failures >= 10 * probability() * 384
    assert all(t.avoidable for t in found.trials if t.failed)  # IDM brakes
    assert found.probability is not None
    assert not found.probability.warning
    assert found.probability.low <= probability() <= found.probability.high
    assert found.probability_any == found.probability
    assert found.families == failures  # each was drawn for itself
    assert found.probability.method == "importance sampling"  # cross-entropy works here, so "auto" went on with it

    # the cases: they fail alone, too, by the command that is printed
    assert [case.reproduced for case in found.cases] == ["to the last bit"] * 2
    suite = scenarios.load_suite(tmp_path / "out" / "cases" / "suite.yaml")
    assert len(suite.entries) == 2
    words = found.cases[0].command.split()[1:]
    assert run([*words, "--json", "--out", str(tmp_path / "again")]) == 0
    summary = json.loads((tmp_path / "again" / "results.json").read_text())
    assert [episode["end"] for episode in summary["results"]] == ["collision"]


def test_command_writes_what_it_promises(wall: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    words = ["stress", "constant", "--scenario", str(wall), "--simulations", "64", "--failure", "collision", "--seed", "3", "--cases", "1"]
    assert run([*words, "--out", str(out), "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report == json.loads((out / "report.json").read_text())
    assert report["simulations"] == {"control": 64, "pilot": 32, "search": 0, "estimate": 32}
    assert report["order"]["references"] == ["idm"]
    assert (out / "stress.png").read_bytes().startswith(b"\x89PNG")
    assert "# Stress: constant" in (out / "report.md").read_text()
    # the control is what `closedloop eval` drives
    episodes = [scenarios.sample(scenarios.load(wall), seed) for seed in range(3, 67)]
    plain = rollout(load_policy("constant"), episodes)
    assert report["rates"]["random"]["failures"] == sum(bool(r.metrics["collision"]) for r in plain)
    assert run([*words, "--out", str(out)]) == 2  # not empty


def test_splitting_and_cma_on_the_road(wall: Path, tmp_path: Path) -> None:
    scenario = scenarios.load(wall)
    for method, estimate in (("cmaes", "splitting"), ("random", "is")):
        order = Order(policy="constant", scenario=str(wall), simulations=192, method=method, estimate=estimate, rule="collision", cases=0)
        found = stress(order, scenario, load_policy("constant"), [], space_of(scenario), tmp_path / method)
        assert len(found.searched) <= 192
        assert found.probability is not None
        if method == "random":
            assert found.probability.low <= probability() <= found.probability.high
            assert found.probability is found.control
        else:
            assert len(found.stage("search", "pilot")) == 96


def test_points_are_the_numbers_of_episodes() -> None:
    """Coordinates and numbers turn into each other without stretching, and a wave over all gaps moves all gaps one way."""
    space = space_of(scenarios.load("roundabout/hard"))
    rng = np.random.default_rng(0)
    y = rng.standard_normal((5, len(space.names)))
    z = space.normals(y)
    assert np.linalg.norm(z, axis=1) == pytest.approx(np.linalg.norm(y, axis=1))
    assert space.waves(z) == pytest.approx(y)
    gaps = [i for i, name in enumerate(space.names) if name.startswith("traffic[0].flow.east_in.0.later.gap")]
    wave = space.coordinates.index(f"traffic[0].flow.east_in.0.later.gap, all {len(gaps)}")
    together = np.zeros((1, len(space.names)))
    together[0, wave] = -2.0
    moved = space.normals(together)[0]
    assert (moved[gaps] < -0.3).all()
    assert np.count_nonzero(np.abs(moved) > 1e-12) == len(gaps)
    seed, draws = space.episode(np.zeros(len(space.names)))
    assert seed == 500_000
    assert set(draws.values()) == {0.5}


def test_points_with_one_seed_keep_their_numbers(wall: Path) -> None:
    """Results go by seed, so a second point with a seed gets another one; what it draws stays as it is."""
    scenario = scenarios.load(wall)
    space = space_of(scenario)
    driver = Driver(scenario=scenario, policy=load_policy("constant"), space=space, references=[], rule="collision")
    z = np.random.default_rng(1).standard_normal((3, len(space.names)))
    z[:, -1] = 0.0
    margins = driver.points(np.concatenate([z, z]), "search")
    assert (margins[:3] == margins[3:]).all()
    assert len(set(margins.tolist())) == 3
    assert len({t.seed for t in driver.trials}) == 6
    again = scenarios.sample(scenario, driver.trials[5].seed, draws=driver.trials[5].draws)
    assert again.agents == scenarios.sample(scenario, driver.trials[2].seed, draws=driver.trials[2].draws).agents


def test_ctrl_c_keeps_what_was_found(wall: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    count = 0

    def interrupt(self: Driver, *args: object, **kwargs: object) -> list[EpisodeResult]:
        nonlocal count
        count += 1
        if count > 2:
            raise KeyboardInterrupt
        return plain(self, *args, **kwargs)

    plain: Callable[..., list[EpisodeResult]] = Driver._rollout
    monkeypatch.setattr(Driver, "_rollout", interrupt)
    words = ["stress", "constant", "--scenario", str(wall), "--simulations", "600", "--failure", "collision", "--reference", "none"]
    assert run([*words, "--cases", "0", "--no-control", "--out", str(tmp_path / "out")]) == 130
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    assert report["interrupted"]
    assert report["simulations"]["pilot"] == 600 // 2 // 4  # half to search, in four populations
    assert report["probability"] is None


def test_bad_input(wall: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    fixed = tmp_path / "fixed.yaml"
    fixed.write_text("version: 1\nname: fixed\nduration: 6 s\nroad: {kind: straight}\nego: {lane: main.0, s: 5 m}\n")
    for words, says in (
        (["nobody", "--scenario", str(wall)], "nobody"),
        (["idm", "--scenario", "no_such"], "no_such"),
        (["idm"], "--scenario"),
        (["idm", "--scenario", str(fixed)], "every episode is the same"),
        (["idm", "--scenario", str(wall), "--reference", "idm"], "its own reference"),
        (["idm", "--scenario", str(wall), "--reference", "none", "--reference", "constant"], "stands alone"),
        (["idm", "--scenario", str(wall), "--simulations", "3"], "64"),
        (["idm", "--scenario", str(wall), "--method", "luck"], "luck"),
    ):
        assert run(["stress", *words, "--out", str(tmp_path / "none")]) == 2
        assert says in capsys.readouterr().err
    assert not (tmp_path / "none").exists()


def test_dry_run_drives_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["stress", "idm", "--scenario", "cut_in/hard", "--dry-run", "--json", "--out", str(tmp_path / "out")]) == 0
    plan = json.loads(capsys.readouterr().out)
    assert plan["order"]["references"] == [CAREFUL]
    assert "actors[0].script.when.ahead" in plan["names"]
    assert not any(name.startswith("ego.driver") for name in plan["names"])  # how the policy drives is not searched
    assert not (tmp_path / "out").exists()


def test_recorded_traffic_has_nothing_to_search(tmp_path: Path) -> None:
    scenario = scenarios.load_text(WALL)
    recorded = scenario.model.model_copy(update={"recorded": object()})
    with pytest.raises(SpaceError, match="recorded"):
        space_of(scenarios.Scenario(**{**vars(scenario), "model": recorded}))


def test_who_is_asked() -> None:
    assert default_references("runs/mine", scenarios.load("merge")) == ("idm",)
    assert default_references("idm", scenarios.load("merge/hard")) == (CAREFUL, "merge")
    assert default_references("idm", scenarios.load("cut_in")) == (CAREFUL,)
    episode = scenarios.sample(scenarios.load("cut_in"), 0)
    careful = load_reference(CAREFUL).prepare(episode)
    before, after = episode.agents[0].driver, careful.agents[0].driver
    assert before is not None
    assert after is not None
    assert after.headway == 1.5 * before.headway
    assert careful.agents[1:] == episode.agents[1:]


def test_margin_orders_episodes() -> None:
    episode = scenarios.sample(scenarios.load("merge"), 0)  # 60 s
    scale = Scales(closeness=0.5, slack=0.25)

    def result(
        *, ttc: float = 3.0, duration: float = 30.0, collision: float = 0.0, progress: float = 1.0, impact: float = 0.0
    ) -> EpisodeResult:
        good = float(not collision and progress == 1.0)
        metrics = {"success": good, "collision": collision, "collision_at_fault": 0.0, "route_progress": progress, "duration": duration}
        watched = {"ttc": ttc, "impact": impact}
        return EpisodeResult(policy="p", scenario="s", seed=0, end="", metrics=metrics, watched=watched)

    def of(one: EpisodeResult, rule: str = "any") -> float:
        return margin(one, episode, rule, scale)

    assert of(result()) == pytest.approx(1.0)  # 3 s is half way, and 0.5 the scale
    assert of(result(ttc=1.0)) == pytest.approx(0.5)
    assert of(result(duration=54.0)) == pytest.approx(0.4)  # a tenth of the time was left
    assert of(result(duration=54.0), "collision") == pytest.approx(1.0)  # where being late is no failure
    late, hit, hard = result(progress=0.5), result(collision=1.0, impact=2.0), result(collision=1.0, impact=20.0)
    assert 0.0 >= of(late) > of(hit) > of(hard)
    assert not failed(late, "collision")
    assert not failed(hit, "at-fault")
    assert of(hit, "at-fault") > 0.0
    many = [(result(ttc=float(t), duration=20.0 + t), episode) for t in range(1, 30)]
    assert scales(many, "any").closeness == pytest.approx(3.0 / 6.0, abs=0.1)
    assert scales([(hit, episode)], "any") == Scales()


def test_closeness_is_the_time_to_the_wall() -> None:
    """At constant speed the smallest time to collision is what is left at the end."""
    scenario = scenarios.load_text(WALL)
    episode = scenarios.sample(scenario, 0, draws={"ego.speed": 0.5, "actors[0].ahead": 0.5})
    result = rollout(load_policy("constant"), [episode], watch=Closeness)[0]
    assert result.watched["ttc"] == pytest.approx((62.0 - 4.6 - 3.0 * 11.0) / 11.0, abs=0.02)
    assert result.watched["impact"] == 0.0
    near = scenarios.sample(scenario, 0, draws={"ego.speed": 0.99, "actors[0].ahead": 0.0})
    struck = rollout(load_policy("constant"), [near], watch=Closeness)[0]
    assert struck.end == "collision"
    assert struck.watched["ttc"] == 0.0
    assert struck.watched["impact"] == pytest.approx(8.0 + 6.0 * 0.99, abs=0.01)


def test_worst_first_and_avoidable_before_others() -> None:
    def trial(end: str, margin: float, *, survived: bool = True) -> Trial:
        return Trial(
            stage="search", seed=0, draws=None, u=np.zeros(1), end=end, failed=True, margin=margin, survived=("idm",) if survived else ()
        )

    trials = [trial("time", -0.2), trial("collision", -1.9, survived=False), trial("collision", -1.1), trial("collision", -1.5)]
    assert [t.margin for t in chosen(trials, 4)] == [-1.5, -0.2, -1.1, -1.9]
    assert len(chosen(trials, 2)) == 2
    assert chosen([], 3) == []


def test_unavoidable_failures_do_not_draw_the_search(wall: Path) -> None:
    """With a reference that fails too, nothing counts as found, and all of it is told as unavoidable."""
    scenario = scenarios.load(wall)
    space = space_of(scenario)
    driver = Driver(
        scenario=scenario, policy=load_policy("constant"), space=space, references=[load_reference("constant")], rule="collision"
    )
    z = np.zeros((2, len(space.names)))
    z[0, 1:3] = 2.5, -2.5  # fast, and near
    margins = driver.points(z, "search")
    assert margins[0] == np.inf
    assert 0.0 < margins[1] < np.inf
    assert driver.trials[0].failed
    assert not driver.trials[0].avoidable
    assert driver.asked == 1

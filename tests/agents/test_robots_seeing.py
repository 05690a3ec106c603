"""Labelled frames of robots, the detector's eyes, its error model's card, and the study of perception."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner

pytest.importorskip("mujoco", reason="the extra `robots` is not installed")

from agents.cli import cli, run
from agents.policies.base import PolicyError
from agents.robots import expert_for
from agents.robots.frames import CLASSES, PICTURED, RobotStream
from agents.robots.noise_fitting import fit_robots_noise
from agents.robots.seen import Watched, fit_errors, places
from agents.studies.tasks import plan_tasks, study_tasks
from envs.checks import ConfigError
from envs.robots import Robots, SightConfig, task_named
from envs.robots.camera import Camera
from envs.robots.hidden import shown
from envs.robots.noise_card import load_noise, save_noise
from envs.robots.perceived import Perceiving
from envs.robots.robots import Diverged
from envs.robots.seeing import Seer
from envs.robots.tracking import projected
from perception.storage import WEIGHTS, WeightsError, read_card
from perception.training.stream import open_stream

needs_renderer = pytest.mark.usefixtures("opengl")


@needs_renderer
def test_frames_are_a_function_of_their_seed() -> None:
    stream = open_stream("robots", size=48)
    first, again, other = (stream.sample(seed, 24) for seed in (3, 3, 40))
    assert isinstance(stream, RobotStream)
    assert torch.equal(first.frame.image, again.frame.image)
    assert all(torch.equal(a, b) for a, b in zip(first.labels, again.labels, strict=True))
    assert not torch.equal(first.frame.image, other.frame.image)
    assert set(first.condition.tolist()) == set(range(6))
    with pytest.raises(ConfigError, match="size=50"):
        RobotStream(size=50)


@needs_renderer
def test_labels_lie_where_things_are() -> None:
    """The middle of a box is near where its thing's middle is projected to, and it is as wide as a thing so far away."""
    sample = RobotStream().sample(5, 60)
    labels, camera = sample.labels, sample.frame.camera
    mask = labels.mask & (labels.truncation < 1e-4)
    assert mask.sum() > 50
    assert set(labels.kind[labels.mask].tolist()) == set(range(len(CLASSES)))
    forward, left, up = labels.centre.unbind(-1)
    u, v = 48.0 - camera.focal * left / forward, 48.0 - camera.focal * up / forward
    middle = 0.5 * (labels.box[..., :2] + labels.box[..., 2:])
    assert float((middle - torch.stack((u, v), -1))[mask].abs().max()) < 1.5
    width = (labels.box[..., 2:] - labels.box[..., :2]).amax(-1) * forward / camera.focal  # in sizes of the thing
    round_ = mask & (labels.kind == CLASSES.index("ball"))
    assert float((width[round_] - 1.0).abs().max()) < 0.1


@needs_renderer
def test_perceived_pictures_are_of_a_size_that_the_detector_takes() -> None:
    robots = Robots(task_named("reach"), batch=1, observation="perceived", sight=SightConfig(width=84, height=50))
    assert isinstance(robots.sight, Perceiving)
    assert robots.sight.size == (96, 64)
    robots.close()


@needs_renderer
def test_what_is_perceived_comes_of_pictures() -> None:
    """Where they show nothing, nothing is known, whatever the truth."""
    robots = Robots(task_named("pick_place"), batch=2, observation="perceived")
    sight = robots.sight
    assert isinstance(sight, Perceiving)
    assert sight.camera is not None
    assert sight.belief.tracks.known.all()
    sight.camera.pictures = lambda names, worlds: np.zeros((2, 2, 96, 96, 3), dtype=np.uint8)  # type: ignore[method-assign,assignment,misc]
    robots.reset(np.arange(2))
    assert not sight.belief.tracks.known.any()
    assert (robots.objects().position == 0.0).all()
    robots.close()


@needs_renderer
def test_what_hides_a_thing_is_found_by_rays() -> None:
    """As labels have it: what no ray reaches is hidden almost wholly, what all reach is not."""
    robots = Robots(task_named("reach"), batch=100)
    robots.reset(np.arange(100))
    sight = Perceiving(robots.physics, robots.task, SightConfig(), dt=robots.dt, noisy=True)
    rows = np.arange(100)
    found = shown(robots.physics, robots.task.things, robots.objects().position, sight.eyes(rows), rows)[:, :, 0]
    with Camera(robots.physics, width=96, height=96, things=robots.task.things) as camera:
        pixels = np.array([[camera.boxes(world, name).pixels[0] for name in sight.names] for world in range(100)])
    assert (found == 0).sum() >= 5
    assert (found == 2).sum() >= 150
    assert np.median(pixels[found == 0]) <= 1
    assert pixels[found == 0].max() < np.median(pixels[found == 2])
    assert pixels[found == 2].min() >= 4


def watched(lost: bool = False) -> Watched:
    """Two hundred looks at one thing by one camera, with errors that are known: 1 px, a fifth missed."""
    rng, shape = np.random.default_rng(0), (200, 2, 1, 1)
    mask = rng.random(shape) > 0.2
    error = np.concatenate([rng.standard_normal((*shape, 2)) + 0.5, 0.1 * rng.standard_normal((*shape, 1))], axis=-1)
    error[:10, 0, 0, 0] = 20.0  # of something else
    mask[:10] = True
    return Watched(
        task="reach",
        cameras=("front",),
        things=("goal",),
        alive=np.ones((200, 2), dtype=bool),
        inside=np.ones(shape, dtype=bool),
        shown=np.full(shape, 2),
        mask=mask & (not lost),
        error=error,
        wide=np.full(shape, 5.0),
        said=np.full((*shape, 2), 0.3),
        seen=np.ones((200, 2, 1), dtype=bool),
        known=np.ones((200, 2, 1), dtype=bool),
        off=np.full((200, 2, 1), 0.02),
        speed_off=np.zeros((200, 2, 1)),
        success=np.ones(2, dtype=bool),
        returns=np.zeros(2),
    )


def test_errors_are_fitted() -> None:
    row = fit_errors(watched())["front"][0]["free"]
    assert row["lost"] == pytest.approx(0.2, abs=0.05)
    assert row["wrong"] == pytest.approx(10 / 330, abs=0.01)
    assert row["bias"][:2] == pytest.approx([0.5, 0.5], abs=0.15)
    assert row["sigma"] == pytest.approx([1.0, 1.0, 0.1], abs=0.1)
    assert max(row["memory"]) < 0.2
    assert places(watched())[0]["cm"] == pytest.approx({"mean": 2.0, "p95": 2.0})
    never = fit_errors(watched(lost=True))["front"][0]["free"]
    assert never["lasting"] > 0.99
    assert never["sigma"] == [0.0, 0.0, 0.0]


def test_what_was_hardly_seen_is_missed_and_never_exact() -> None:
    """Nine sightings of 390 looks at what is hidden, none of what is partly so."""
    found = watched()
    found.shown[5:] = 0
    found.mask[5:] = False
    found.mask[-9:, 0] = True
    rows = fit_errors(found)["front"][0]
    assert (rows["hidden"]["lost"], rows["hidden"]["lasting"], rows["hidden"]["looks"]) == (1.0, 1.0, 390)
    assert min(rows["partly"]["sigma"]) > 0.0 or (rows["partly"]["lost"], rows["partly"]["lasting"]) == (1.0, 1.0)
    found = watched()
    found.shown[:, 0] = 0  # one world hides it, and it is seen all the same
    found.shown[:2, 1] = 1  # and two looks are partly free: they borrow
    rows = fit_errors(found)["front"][0]
    assert rows["hidden"]["lost"] == pytest.approx(0.2, abs=0.1)
    assert rows["partly"]["looks"] == 2
    assert rows["partly"]["lost"] == pytest.approx(0.2, abs=0.05)
    assert rows["partly"]["sigma"] == pytest.approx([1.0, 1.0, 0.1], abs=0.1)
    found = watched()
    found.shown[100:] = 0  # in the end it is hidden for good: that does not make misses before last
    found.mask[:100], found.mask[100:] = True, False
    rows = fit_errors(found)["front"][0]
    assert rows["hidden"]["lasting"] == 1.0
    assert rows["free"]["lasting"] == 0.5
    assert rows["free"]["lost"] < 0.01


@pytest.mark.parametrize("name", PICTURED)
def test_nothing_is_known_exactly_by_the_error_model_that_ships(name: str) -> None:
    """Where any part of what is hidden, partly so or free can be sighted, there is an error."""
    task = task_named(name)
    noise = load_noise("robots").of(task, task.cameras[:-1])
    assert (noise.sigma.min(-1) > 0.0)[noise.lost < 1.0].all()
    robots = Robots(task, batch=16, observation="noisy")
    robots.reset(np.arange(16))
    sight = robots.sight
    assert isinstance(sight, Perceiving)
    assert sight.seen is not None
    eyes = sight.eyes(np.arange(16))
    for camera in range(len(sight.names)):
        place, seen = projected(task.locate(robots.physics).position, eyes, camera)[0], sight.seen.mask[:, camera]
        assert (sight.seen.depth[:, camera][seen] != place[..., 2][seen]).all()


def test_a_card_of_errors_is_read_back_and_damage_is_found(tmp_path: Path) -> None:
    tables = {"cart_pole_vision": {"front": [fit_errors(watched())["front"][0]] * 2}}
    path, task = save_noise(tmp_path / "noise_mine.json", tables, card={"seed": 1}), task_named("cart_pole_vision")
    noise = load_noise(path).of(task, ("front",))
    assert noise.sigma.shape == (1, 2, 3, 3)
    with pytest.raises(ConfigError, match="reach"):
        load_noise(path).of(task_named("reach"), ("front", "left"))
    with pytest.raises(WeightsError, match="incomplete"):
        load_noise(path).of(task, ("side",))
    told = json.loads(path.read_text())
    told["tasks"]["cart_pole_vision"]["front"][0]["free"]["lost"] = 0.9
    path.write_text(json.dumps(told))
    with pytest.raises(WeightsError, match="do not match its sha256"):
        load_noise(path)
    tables["cart_pole_vision"]["front"][0]["free"]["sigma"] = [-1.0, 0.0, 0.0]
    with pytest.raises(WeightsError, match="sigma has values that are negative"):
        load_noise(save_noise(path, tables, card={})).of(task, ("front",))
    tables["cart_pole_vision"]["front"][0]["free"]["sigma"] = [1.0, 1.0, 0.0]
    with pytest.raises(WeightsError, match="front, thing 0, free: sigma is 0, which is the exact truth"):
        load_noise(save_noise(path, tables, card={})).of(task, ("front",))
    with pytest.raises(WeightsError, match="no error model 'nothing' for robots"):
        load_noise("nothing")
    with pytest.raises(ValueError, match="end in .json"):
        save_noise(tmp_path / "noise.txt", tables, card={})


def test_the_study_compares_levels_on_the_same_episodes() -> None:
    rows = list(study_tasks(plan_tasks(("reach",), ("expert", "random"), ("noisy", "truth")), episodes=6))
    assert [(row.policy, row.level) for row in rows] == [("random", "-"), ("expert", "truth"), ("expert", "noisy")]
    assert rows[1].success.value == 1.0
    assert rows[1].gap is None
    assert rows[2].gap is not None
    assert rows[2].gap.value < 0.3
    assert rows[2].less_truth is not None
    with pytest.raises(PolicyError, match="did you mean 'expert'"):
        plan_tasks(("reach",), ("exprt",), ("truth",))


def test_who_blows_up_ends_no_study(monkeypatch: pytest.MonkeyPatch) -> None:
    step = Robots.step

    def broken(self: Robots, action: Any) -> Any:
        if 1 in self.seeds and self.observation == "noisy":
            raise Diverged("cart_pole_vision diverged in episode 1")
        return step(self, action)

    monkeypatch.setattr(Robots, "step", broken)
    rows = list(study_tasks(plan_tasks(("cart_pole_vision",), ("trained",), ("truth", "noisy")), episodes=3))
    assert [(row.policy, row.level, row.episodes, row.lost) for row in rows] == [
        ("random", "-", 3, 0), ("trained", "truth", 3, 0), ("trained", "noisy", 2, 1),
    ]  # fmt: skip
    assert rows[2].less_truth is not None
    assert rows[2].less_truth.n == 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--policy", "exprt"], "did you mean 'expert'?"),
        (["--policy", "sampling"], "sampling@visible: sampling tries out candidates"),
        (["--level", "visble"], "did you mean 'visible'?"),
        (["--level", "noisy", "--noise", "robts"], "no error model 'robts'"),
        (["--level", "perceived", "--detector", "robts"], "robts"),
        (["--workers", "2"], "tasks have no --workers"),
        (["--sweep-level", "noisy"], "no --sweep-level"),
    ],
)
def test_a_study_is_checked_before_it_is_shown_or_begun(
    arguments: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    line = ["study", "perception", "--task", "reach", "--episodes", "1", "--out", str(tmp_path / "out"), *arguments]
    for more in ([], ["--dry-run"]):
        assert run([*line, *more]) == 2
        assert message in capsys.readouterr().err
        assert not (tmp_path / "out").exists()


def test_the_study_on_the_command_line(tmp_path: Path) -> None:
    line = ["study", "perception", "--task", "cart_pole_vision", "--level", "truth", "--episodes", "2", "--out", str(tmp_path / "out")]
    told = CliRunner().invoke(cli, [*line, "--json"])
    assert told.exit_code == 0, told.output
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    assert [row["policy"] for row in report["rows"]] == ["random", "expert"]
    assert report["rows"][1]["success"]["value"] == 1.0
    page = (tmp_path / "out" / "report.html").read_text()
    assert page.count("<tr>") == 3
    assert ">cart_pole_vision<" in page and f">{report['rows'][1]['success']['value'] * 100:.1f}" in page
    wrong = CliRunner().invoke(cli, [*line[:4], "--scenario", "highway"])
    assert wrong.exit_code == 2
    assert "tasks have no --scenario" in wrong.output


@needs_renderer
def test_an_error_model_is_fitted_to_a_detector_and_can_be_used(tmp_path: Path) -> None:
    told = fit_robots_noise(tmp_path / "noise_mine.json", tasks=("reach",), episodes=2, card={"command": "test"})
    assert [(row["task"], row["thing"]) for row in told["measured"]] == [("reach", "goal")]
    robots = Robots(task_named("reach"), batch=3, observation="noisy", sight=SightConfig(noise=str(tmp_path / "noise_mine.json")))
    robots.reset(np.arange(3))
    off = np.abs(robots.objects().position - robots.task.locate(robots.physics).position)
    assert 0.0 < off.max() < 0.1


def test_the_error_model_that_ships_is_of_the_detector_that_ships() -> None:
    card = read_card(WEIGHTS / "noise_robots.json")
    assert card["detector_sha256"] == read_card(WEIGHTS / "detector_robots.json")["sha256"]
    for name in PICTURED:
        task = task_named(name)
        load_noise("robots").of(task, task.cameras[:-1])


def test_what_comes_late_is_carried_on_to_now() -> None:
    """A ball that floats about is known as well, nearly, two decisions late; without carrying on it would be off by its way."""
    off, way = {}, []
    for latency in (0, 2):
        robots = Robots(task_named("visual_servo", speed=2.0), batch=16, observation="noisy", sight=SightConfig(latency=latency))
        robots.reset(np.arange(16))
        expert, found = expert_for(robots), []
        for _ in range(60):
            robots.step(expert.act(robots))
            truth = robots.task.locate(robots.physics)
            found.append(np.sqrt(((robots.objects().position - truth.position) ** 2).sum(-1)))
            way.append(np.sqrt((truth.velocity**2).sum(-1)) * 2 * robots.dt)
        off[latency] = float(np.median(found[10:]))
    assert off[0] < off[2] < 0.6 * float(np.median(way))


def test_settings_of_sight_check_themselves() -> None:
    with pytest.raises(ConfigError, match="latency=60"):
        SightConfig(latency=60)
    with pytest.raises(WeightsError, match="no error model 'robts'"):
        Robots(task_named("reach"), batch=1, observation="noisy", sight=SightConfig(noise="robts"))
    with pytest.raises(ConfigError, match="thing of reach for detector 'driving'"):
        Seer(task_named("reach"), "driving")


def test_a_belief_is_taken_from_worlds_that_see_alike_only() -> None:
    saved = Robots(task_named("reach"), batch=1, observation="noisy").get_state()
    Robots(task_named("reach"), batch=1, observation="noisy").set_state(saved)
    wide = Robots(task_named("reach"), batch=1, observation="noisy", sight=SightConfig(width=128))
    with pytest.raises(ConfigError, match="a belief of level 'noisy' by SightConfig.width=84"):
        wide.set_state(saved)


@needs_renderer
def test_a_belief_of_noise_is_none_of_pictures() -> None:
    seeing = Robots(task_named("reach"), batch=1, observation="perceived")
    with pytest.raises(ConfigError, match="worlds here are told 'perceived'"):
        seeing.set_state(Robots(task_named("reach"), batch=1, observation="noisy").get_state())
    seeing.close()

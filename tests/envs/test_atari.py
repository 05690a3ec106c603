"""Atari games: episodes, the levels, and scores. Needs the extra `atari`."""

from __future__ import annotations

from pathlib import Path

import gymnasium
import numpy as np
import pytest
import torch

ale_py = pytest.importorskip("ale_py")

from envs.checks import ConfigError  # noqa: E402
from envs.games.arcade_worlds import LEVELS  # noqa: E402
from envs.games.atari import AtariConfig, AtariWorlds, ScreenConfig  # noqa: E402
from envs.games.atari.breakout import ROWS, bricks  # noqa: E402
from envs.games.atari.emulator import load_ale  # noqa: E402
from envs.games.atari.games import GAMES  # noqa: E402
from envs.games.atari.observation import boxes_of, locate  # noqa: E402
from envs.games.atari.seeing import told  # noqa: E402
from envs.games.atari.stream import AtariStream  # noqa: E402
from envs.games.atari.types import Bytes, middles  # noqa: E402
from perception.detectors.centernet import pack  # noqa: E402
from perception.detectors.decode import DecodeSpec  # noqa: E402
from perception.detectors.network import Network, NetworkSpec  # noqa: E402
from perception.metrics.detection import SIDE_MIN  # noqa: E402
from perception.storage import WeightsError, save  # noqa: E402
from perception.training.stream import open_stream  # noqa: E402
from tests.envs.atari_play import played  # noqa: E402

EXACT = ScreenConfig(detector="oracle")
GROUND = {"pong": (144, 72, 17), "breakout": (0, 0, 0), "freeway": (142, 142, 142)}


@pytest.mark.parametrize("game", list(GAMES))
def test_buttons_are_the_emulators(game: str) -> None:
    ale = load_ale().ALEInterface()
    ale.loadROM(ale_py.roms.get_rom_path(game))
    assert tuple(action.name for action in ale.getMinimalActionSet()) == GAMES[game].buttons


@pytest.mark.parametrize("observation", ["truth", "noisy", "pixels"])
def test_an_episode_is_its_seed(observation: str) -> None:
    """To the last bit, in whatever batch, after whatever was played before."""
    told = {}
    for seeds in ([7], [3, 7, 9]):
        worlds = played("pong", 3, batch=len(seeds), seed=50, observation=observation)
        worlds.reset(np.array(seeds))
        row, trail = seeds.index(7), []
        for number in range(60):
            step = worlds.step(np.full(len(seeds), 2 + number // 8 % 2))
            trail.append((worlds.observe()[row].tobytes(), float(step.reward[row, 0])))
        told[len(seeds)] = trail
    assert told[1] == told[3]
    assert len({seen for seen, _ in told[1]}) > 20


def test_the_seed_says_how_long_we_wait_and_which_buttons_stick() -> None:
    worlds = AtariWorlds(40, AtariConfig(sticky=0.0))
    assert len(np.unique(worlds.state.ram[:, -1].numpy(), axis=0)) > 10
    still = AtariWorlds(2, AtariConfig(sticky=0.0, noops=1))
    sticks = AtariWorlds(2, AtariConfig(sticky=0.5, noops=1))
    for number in range(60):
        for each in (still, sticks):
            each.step(np.full(2, 2 + number // 3 % 2))
    assert torch.equal(still.state.ram[0], still.state.ram[1])
    assert not torch.equal(sticks.state.ram[0], sticks.state.ram[1])


def test_a_button_sticks_as_often_as_it_should() -> None:
    """The share of frames that keep the last button; the emulator is told each frame's."""
    worlds, held = AtariWorlds(1, AtariConfig(sticky=0.25, noops=1)), []
    before = worlds.consoles.play

    def play(world: int, buttons: list[int], ram: Bytes, grey: Bytes | None = None) -> list[float]:
        held.extend(buttons)
        return before(world, buttons, ram, grey)

    worlds.consoles.play = play  # type: ignore[method-assign]
    for number in range(500):
        worlds.step(np.array([2 + number % 2]))
    first = np.array(held).reshape(-1, 4)
    late = first[1:, 0] != 2 + np.arange(1, 500) % 2
    assert float(late.mean()) == pytest.approx(0.25, abs=4.0 * (0.25 * 0.75 / 499) ** 0.5)


@pytest.mark.parametrize(
    ("game", "observation"), [*(("pong", level) for level in LEVELS if level != "visible"), ("breakout", "perceived"), ("freeway", "noisy")]
)
def test_saved_games_go_on_as_they_would_have(game: str, observation: str) -> None:
    worlds, other = (AtariWorlds(2, AtariConfig(game=game, duration=25), observation=observation, screen=EXACT) for _ in range(2))
    random = np.random.default_rng(0)
    for number in range(40):
        if number == 14:
            other.set_state(worlds.get_state())
            np.testing.assert_array_equal(worlds.observe(), other.observe())
        action = random.integers(3, size=2)
        for each in (worlds, other) if number >= 14 else (worlds,):
            out = each.step(action)
            each.reset_where((out.terminated | out.truncated).numpy())
    np.testing.assert_array_equal(worlds.observe(), other.observe())
    assert worlds.seeds.tolist() == other.seeds.tolist()
    assert worlds.count.tolist() == [1, 1]
    with pytest.raises(ConfigError, match="here are 3"):
        AtariWorlds(3, worlds.config, observation=observation, screen=EXACT).set_state(worlds.get_state())


def test_pixels_are_gymnasiums() -> None:
    """The pictures of `gymnasium.wrappers.AtariPreprocessing` from the same moment on, to the last bit."""
    worlds = AtariWorlds(1, AtariConfig(game="breakout", sticky=0.0, noops=1), observation="pixels")
    from ale_py.env import AtariEnv

    theirs = gymnasium.wrappers.AtariPreprocessing(
        AtariEnv("breakout", frameskip=1, repeat_action_probability=0.0, full_action_space=False), noop_max=0, frame_skip=4
    )
    seen, _ = theirs.reset(seed=0)
    theirs.unwrapped.ale.restoreState(ale_py.ALEState(worlds.get_state().consoles[0][0]))
    random = np.random.default_rng(4)
    for number in range(60):
        action = 1 if number < 3 else int(random.integers(4))
        reward = float(worlds.step(np.array([action])).reward[0, 0])
        seen, points, *_ = theirs.step(action)
        np.testing.assert_array_equal(worlds.observe()[0, -1], seen)
        assert points == reward
    assert len(np.unique(worlds.observe()[0].reshape(4, -1), axis=0)) == 4


@pytest.mark.parametrize("game", list(GAMES))
def test_the_ladder_has_one_space(game: str) -> None:
    worlds = {level: played(game, 25, batch=2, observation=level, screen=EXACT) for level in LEVELS}
    spaces = {level: each.observation_space for level, each in worlds.items()}
    assert spaces["truth"] == spaces["visible"] == spaces["noisy"] == spaces["perceived"] != spaces["pixels"]
    assert spaces["truth"].shape == (len(GAMES[game].features),)
    for level, each in worlds.items():
        assert spaces[level].contains(each.observe()[0])
    np.testing.assert_array_equal(worlds["truth"].observe(), worlds["visible"].observe())
    assert not np.array_equal(worlds["truth"].observe(), worlds["noisy"].observe())


@pytest.mark.parametrize("game", list(GAMES))
def test_what_is_seen_without_error_is_the_truth(game: str) -> None:
    """Places are those of the boxes that show; bricks by their colours are those of the memory."""
    worlds = AtariWorlds(2, AtariConfig(game=game), observation="perceived", screen=EXACT)
    random, off, same = np.random.default_rng(2), [], []
    for _ in range(60):
        worlds.step(random.integers(len(worlds.game.buttons), size=2))
        believed, true = worlds.objects(), locate(worlds.game, worlds.state)
        box, shown = boxes_of(worlds.game, worlds.state.ram[:, -1])
        off.append(worlds.game.apart(believed.position, middles(box)).norm(dim=-1)[believed.there & shown])
        same.append((believed.there == true.there).double().mean())  # a ball that is lost is below what is shown
    assert float(torch.stack(same).mean()) > 0.9
    assert float(torch.cat(off).quantile(0.8)) < 1.5
    facts = worlds.eye.belief.facts
    torch.testing.assert_close(facts, worlds.game.known(worlds.state), atol=0.34, rtol=0.0)  # a ball may fill a gap, or hide nothing


def test_errors_are_as_large_as_they_should_be() -> None:
    """Paddles that rest are seen `noise` px off; what is missed is still believed to be there."""
    worlds = AtariWorlds(16, observation="noisy", screen=ScreenConfig(noise=2.0, miss=0.2))
    off = []
    for _ in range(60):
        worlds.step(np.zeros(16, dtype=np.int64))
        believed, true = worlds.objects(), locate(worlds.game, worlds.state)
        off.append((believed.position - true.position)[:, 1, 0])
        assert bool(believed.there[:, 1].all()) or worlds.steps[0] < 4
    deviation = float(torch.cat(off[20:]).std())
    assert 0.5 < deviation < 2.2  # the filter over two looks takes some of it away


def test_every_world_has_its_own_screen() -> None:
    """Though one emulator plays them all: pictures are those of the same episodes played alone."""
    worlds = AtariWorlds(3, AtariConfig(game="freeway"))
    for _ in range(12):
        worlds.step(np.array([1, 0, 2]))
    other = AtariWorlds(3, worlds.config)
    other.set_state(worlds.get_state())
    for row, action in enumerate((1, 0, 2)):
        alone = AtariWorlds(1, worlds.config)
        alone.reset(np.array([row]))
        for _ in range(12):
            alone.step(np.array([action]))
        np.testing.assert_array_equal(worlds.picture(row), alone.picture(0))
        np.testing.assert_array_equal(other.picture(row), alone.picture(0))
    assert not np.array_equal(worlds.picture(0), worlds.picture(1))
    before = worlds.picture(0)
    worlds.consoles.ram(0)  # the emulator has its game now, and not yet its screen
    np.testing.assert_array_equal(worlds.picture(0), before)
    with pytest.raises(RuntimeError, match="right after a frame"):
        worlds.consoles.grey(0)


@pytest.mark.parametrize("observation", ["truth", "perceived", "pixels"])
def test_a_console_of_its_own_plays_the_same(observation: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """One by one games get emulators of their own; told, shown, saved and gone on with they are what they were on the shared one."""
    told: dict[int, list[bytes]] = {}
    for changes in (1300, 4):
        monkeypatch.setattr("envs.games.atari.emulator.CHANGES", changes)
        worlds = AtariWorlds(3, AtariConfig(duration=14), observation=observation, screen=EXACT)
        random, trail = np.random.default_rng(0), list[bytes]()
        for number in range(24):
            out = worlds.step(random.integers(6, size=3))
            worlds.reset_where((out.terminated | out.truncated).numpy())
            trail += [worlds.observe().tobytes(), worlds.pictures(size=84).tobytes(), out.reward.numpy().tobytes()]
            if number in (3, 18):
                worlds.set_state(worlds.get_state())
                trail.append(worlds.pictures(size=84).tobytes())
        told[changes] = trail
        own = sum(each is not None for each in worlds.consoles._own)
        assert own == (0 if changes == 1300 else 2)  # the last one keeps the shared one
    assert told[1300] == told[4]


def test_scores() -> None:
    """Points add up to the return; 0 is random play's, 1 the human tester's."""
    worlds = AtariWorlds(1, AtariConfig(sticky=0.0))
    total, step = 0.0, None
    for _ in range(3000):
        step = worlds.step(np.array([0]))
        total += float(step.reward[0, 0])
        if bool(step.terminated[0]):
            break
    assert step is not None and bool(step.terminated[0])
    figures = {name: float(value[0]) for name, value in worlds.metrics().items()}
    assert figures["return"] == total == -21.0
    assert (figures["won"], figures["lost"], figures["success"]) == (0.0, 21.0, 0.0)
    assert figures["normalised"] == pytest.approx((-21.0 + 20.7) / (14.6 + 20.7))
    count, memory = worlds.steps[0], worlds.state.ram.clone()
    again = worlds.step(np.array([2]))  # nothing happens any more
    assert float(again.reward[0, 0]) == 0.0 and bool(again.terminated[0]) and worlds.steps[0] == count
    assert torch.equal(memory, worlds.state.ram)
    assert int(memory[0, -1, 13]) == 21  # the other's points


def test_breakout_counts_bricks_and_balls() -> None:
    worlds = AtariWorlds(1, AtariConfig(game="breakout", sticky=0.0))
    for number in range(1200):
        ball, own = locate(worlds.game, worlds.state).position[0, :, 0].tolist()
        there = bool(locate(worlds.game, worlds.state).there[0, 0])
        wish = 1 if not there else 2 if own < ball - 2 else 3 if own > ball + 2 else 0
        if bool(worlds.step(np.array([wish if number < 500 else 1])).terminated[0]):
            break
    left = bricks(worlds.state.ram[0, -1].numpy())
    worth = np.array([7, 7, 4, 4, 1, 1])  # points a brick, from the highest row down
    gone = (~left).sum(1)
    assert gone.sum() > 5
    assert float(worlds.metrics()["return"][0]) == float((gone * worth).sum())
    assert float(worlds.metrics()["lives"][0]) == 0.0
    told = worlds.observe()[0][[worlds.game.features.index(f"row_{row}") for row in range(ROWS)]]
    np.testing.assert_allclose(told, left.mean(1), atol=1e-6)


def test_what_is_wrong_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError, match="did you mean 'pong'"):
        AtariConfig(game="pnog")
    with pytest.raises(ConfigError, match="sticky=1"):
        AtariConfig(sticky=1.0)
    worlds = AtariWorlds(1, AtariConfig(game="freeway"))
    with pytest.raises(ValueError, match="2 DOWN; got"):
        worlds.step(np.array([3]))
    with pytest.raises(ValueError, match="for 1 worlds"):
        worlds.step(np.array([0, 1]))
    monkeypatch.setitem(__import__("sys").modules, "ale_py", None)
    with pytest.raises(ModuleNotFoundError, match=r"pip install 'closedloop\[atari\]'"):
        AtariWorlds(1)


def test_the_stream_shows_what_it_says() -> None:
    """Labels are where the camera projects them; things are all over; each frame's boxes hold something else than the ground."""
    stream = open_stream("atari", games=["pong", "freeway"])
    first, again, other = stream.sample(5, 24), stream.sample(5, 24), stream.sample(6, 24)
    assert torch.equal(first.frame.image, again.frame.image) and torch.equal(first.labels.box, again.labels.box)
    assert not torch.equal(first.frame.image, other.frame.image)
    assert first.condition.tolist() == [0, 1] * 12
    labels, camera = first.labels, first.frame.camera
    shown, box = labels.mask, labels.box
    x, y, z = labels.centre.unbind(-1)
    middle = torch.stack((camera.cu - camera.focal * y / x, camera.cv - camera.focal * z / x), -1)
    torch.testing.assert_close(middle[shown], middles(box)[shown], atol=1e-3, rtol=0.0)
    back = told().observe(first.frame, labels, seed=first.condition, step=first.condition).centre[..., :2]
    torch.testing.assert_close(
        back[shown], (middles(box) / torch.tensor([2.0, 1.0]) + torch.tensor([0.0, 16.0]))[shown], atol=1e-3, rtol=0.0
    )
    assert stream.classes[int(labels.kind[0, 0])] == "ball" and stream.classes[int(labels.kind[1, 1])] == "car"
    for row, game in enumerate(("pong", "freeway") * 12):
        other_colour = (first.frame.image[row, 0].permute(1, 2, 0).numpy() != GROUND[game]).any(-1)
        for u0, v0, u1, v1 in box[row][shown[row]].int().tolist():
            assert other_colour[v0:v1, u0:u1].any() or (u1 - u0) * (v1 - v0) <= 32
    wide = (box[..., 2] - box[..., 0])[shown]
    assert float((wide >= SIDE_MIN).double().mean()) > 0.95
    with pytest.raises(ConfigError, match="must be a list"):
        AtariStream(games="pong")


def ship(classes: tuple[str, ...], folder: Path) -> Path:
    """A detector that has learned nothing, as one that ships."""
    network = Network(NetworkSpec(classes=classes, widths=(8, 8, 8, 8), blocks=(0, 0, 0, 0), neck=8, head=8)).eval().fold()
    return save(folder / "detector_atari.safetensors", pack(network, DecodeSpec(classes=classes), name="detector_atari"), card={})


def test_detectors_are_taken_where_they_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By file; by name as soon as one ships; until then how to make one is told, as is one of other things."""
    with pytest.raises(WeightsError, match=r"closedloop pretrain detector --domain atari.*detector=FILE"):
        AtariWorlds(1, observation="perceived")
    file = ship(("ball", "paddle", "chicken", "car"), tmp_path)
    named = AtariWorlds(1, observation="perceived", screen=ScreenConfig(detector=str(file)))
    monkeypatch.setattr("perception.storage.WEIGHTS", tmp_path)
    usual = AtariWorlds(1, observation="perceived")
    assert usual.eye.pipeline.detector.sha256 == named.eye.pipeline.detector.sha256 != ""
    assert len(usual.eye.pipeline.detector.sha256) == 64
    ship(("ball",), tmp_path)
    with pytest.raises(ValueError, match="and not paddle"):
        AtariWorlds(1, observation="perceived")

"""Atari games: what the memory says against what the screen shows, episodes, the levels, and scores. Needs the extra `atari`."""

from __future__ import annotations

import gymnasium
import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy import ndimage

ale_py = pytest.importorskip("ale_py")

from envs.checks import ConfigError  # noqa: E402
from envs.games.arcade_worlds import LEVELS  # noqa: E402
from envs.games.atari import AtariConfig, AtariWorlds, ScreenConfig  # noqa: E402
from envs.games.atari.breakout import BRICK, COLUMNS, ROWS, WALL, brick_bits, bricks, bricks_shown  # noqa: E402
from envs.games.atari.emulator import Consoles, load_ale  # noqa: E402
from envs.games.atari.freeway import SPEEDS  # noqa: E402
from envs.games.atari.games import GAMES  # noqa: E402
from envs.games.atari.moving import latest_speed  # noqa: E402
from envs.games.atari.observation import boxes_of, locate  # noqa: E402
from envs.games.atari.picture import on_screen  # noqa: E402
from envs.games.atari.seeing import OnScreen, Told  # noqa: E402
from envs.games.atari.stream import AtariStream  # noqa: E402
from envs.games.atari.types import AHEAD, FPS, middles  # noqa: E402
from perception.metrics.detection import SIDE_MIN  # noqa: E402
from perception.training.stream import open_stream  # noqa: E402
from perception.types import Detections, SensorFrame  # noqa: E402

EXACT = ScreenConfig(detector="oracle")
GROUND = {"pong": (144, 72, 17), "breakout": (0, 0, 0), "freeway": (142, 142, 142)}
TOLERANCE = 1.0  # px: some things are drawn from every other line on, or a frame late


def played(game: str, decisions: int, *, batch: int = 1, seed: int = 0, **options: object) -> AtariWorlds:
    """Worlds after random play; Breakout serves now and then."""
    worlds = AtariWorlds(batch, AtariConfig(game=game), **options)
    worlds.reset(seed + np.arange(batch))
    random = np.random.default_rng(seed)
    for _ in range(decisions):
        worlds.step(random.integers(len(worlds.game.buttons), size=batch))
    return worlds


def found_in(mask: NDArray[np.bool_], u: int, v: int) -> list[list[float]]:
    """Boxes of the connected parts of a piece of the screen whose corner is at (u, v)."""
    parts, _ = ndimage.label(mask)
    return [[u + at[1].start, v + at[0].start, u + at[1].stop, v + at[0].stop] for at in ndimage.find_objects(parts)]


def seen(game: str, screen: NDArray[np.uint8], box: NDArray[np.float32]) -> dict[int, list[list[float]]]:
    """Things by colours alone: thing -> boxes of what is there; things that touch others of their colour are left out."""
    other = (screen != GROUND[game]).any(-1)
    if game == "pong":
        white = (screen == 236).all(-1)
        paddle = other & ~white
        ball = found_in(white[34:194], 0, 34)
        return {0: ball, 1: found_in(paddle[34:194, 140:144], 140, 34), 2: found_in(paddle[34:194, 16:20], 16, 34)}
    if game == "breakout":
        told = {0: found_in(other[93:185, 8:152], 8, 93), 1: found_in(other[189:193, 8:152], 8, 189)}
        low = box[0, 3] > 183 or 53 < box[0, 3] < 97  # beside the paddle, or among the bricks
        return {} if low else told
    told = {}
    for lane in range(10):
        v, (u0, _, u1, _) = 172 - 16 * lane, box[1 + lane]
        if not any(u0 - 2 < end and u1 + 2 > begin for begin, end in ((42, 54), (104, 118))):  # not behind a chicken
            row = other[v : v + 8].copy()
            row[:, :8] = row[:, 42:54] = row[:, 104:118] = False
            columns = np.flatnonzero(row.any(0))
            told[1 + lane] = [[columns[0], v, columns[-1] + 1, v + 8]] if len(columns) else []
    yellow = (screen == (252, 252, 84)).all(-1)
    told[11] = found_in(yellow[186:195, 104:118], 104, 186)
    if box[0, 1] > 108 or box[0, 3] < 98:  # not on the yellow lines
        rows, columns = np.nonzero(yellow[15:195, 42:54])
        clear = np.abs(rows + 15 - 103) > 4
        rows, columns = rows[clear], columns[clear]
        told[0] = [[42 + columns.min(), 15 + rows.min(), 43 + columns.max(), 16 + rows.max()]]
    return told


@pytest.mark.parametrize("game", list(GAMES))
def test_memory_and_colours_agree(game: str) -> None:
    """Over random play, the boxes that the memory tells are the connected parts of the screen's colours."""
    worlds = played(game, 40, seed=3)
    random, checked, off = np.random.default_rng(1), dict.fromkeys(range(len(worlds.game.things)), 0), []
    for _ in range(160):
        worlds.step(random.integers(len(worlds.game.buttons), size=1))
        box, shown = (part[0].numpy() for part in boxes_of(worlds.game, worlds.state.ram[:, -1]))
        for thing, parts in seen(game, worlds.consoles.screen(0), box).items():
            sides = box[thing, 2:] - box[thing, :2]
            if shown[thing] and sides.min() > TOLERANCE:
                assert len(parts) == 1, (worlds.game.things[thing], parts, box[thing])
                off.append(np.abs(np.array(parts[0]) - box[thing]).max())
                checked[thing] += 1
            elif not shown[thing]:
                assert all(part[2] - part[0] <= TOLERANCE for part in parts), (worlds.game.things[thing], parts)
    assert max(off) <= TOLERANCE
    assert float(np.mean(np.array(off) == 0.0)) > 0.4
    assert min(checked.values()) >= 20, checked


def test_each_brick_has_its_bit() -> None:
    """With its two bits cleared one brick goes, all of it and no other."""
    consoles = Consoles(1, "breakout", GAMES["breakout"].buttons)
    for number in range(40):
        consoles.frame(0, int(number < 12))  # served: before that, two bricks cannot be taken out
    kept, (byte, bit) = consoles.save(), brick_bits()
    consoles.frame(0, 0)
    whole, ram = consoles.screen(0), consoles.ram(0)
    assert bricks(ram).all()
    for row in range(ROWS):
        for column in range(COLUMNS):
            consoles.load(kept)
            consoles.put(0, int(byte[row, column]), int(ram[byte[row, column]]) & ~(3 << int(bit[row, column])))
            consoles.frame(0, 0)
            v, u = np.nonzero((consoles.screen(0) != whole).any(-1))
            corner = (WALL[0] + BRICK[0] * column, WALL[1] + BRICK[1] * row)
            assert (u.min(), v.min()) == corner
            assert (u.max() + 1, v.max() + 1, len(u)) == (corner[0] + BRICK[0], corner[1] + BRICK[1], BRICK[0] * BRICK[1])
            left = bricks(consoles.ram(0))
            assert not left[row, column] and left.sum() == ROWS * COLUMNS - 1
            assert torch.equal(bricks_shown(torch.from_numpy(consoles.screen(0))[None])[0], torch.from_numpy(left))


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
    before = worlds.consoles.frame

    def frame(world: int, button: int) -> float:
        held.append(button)
        return before(world, button)

    worlds.consoles.frame = frame  # type: ignore[method-assign]
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


def test_what_is_foretold_comes_true() -> None:
    """A ball that nobody returns is where it was said it would be, off walls too: to within what a pixel's step of speed amounts to."""
    worlds, said, off = AtariWorlds(1, AtariConfig(sticky=0.0), observation="truth"), [], []
    index = [worlds.game.features.index(f"ball_{axis}_in_{AHEAD[0]}") for axis in "xy"]
    ball = [worlds.game.features.index(f"ball_{axis}") for axis in "xy"]
    later = round(AHEAD[0] / worlds.dt)  # decisions: 3.75, so that the fourth is 1/60 s late
    for _ in range(400):
        worlds.step(np.array([0]))
        told = worlds.observe()[0]
        said.append((told[index], bool(told[worlds.game.features.index("ball")])))
        if len(said) > later and said[-1 - later][1] and told[worlds.game.features.index("ball")]:
            off.append(float(np.abs((told[ball] - said[-1 - later][0]) * np.array([80.0, 105.0])).max()))
    assert len(off) > 60
    assert float(np.quantile(off, 0.7)) <= 3.0  # px


def test_speeds_are_those_of_the_memory() -> None:
    """Pong keeps the ball's speed in bytes 56 and 58, px a frame, down and to the left: ours are found without them."""
    worlds = AtariWorlds(1, AtariConfig(sticky=0.0))
    same = []
    for _ in range(300):
        worlds.step(np.array([0]))
        ram, true = worlds.state.ram[0, -1].to(torch.int64), locate(worlds.game, worlds.state)
        if bool(true.there[0, 0]):
            told = torch.stack((-signed(ram[58]), signed(ram[56])))
            same.append(torch.equal(true.velocity[0, 0] / FPS, told.float()))
    assert len(same) > 60
    assert np.mean(same) > 0.85


def signed(byte: torch.Tensor) -> torch.Tensor:
    return torch.where(byte > 127, byte - 256, byte)


def test_lanes_have_their_speeds() -> None:
    """Over many frames cars go as far as is told of them."""
    worlds = AtariWorlds(1, AtariConfig(game="freeway", sticky=0.0))
    total = torch.zeros(10)
    place = locate(worlds.game, worlds.state).position
    for _ in range(150):
        worlds.step(np.array([0]))
        now = locate(worlds.game, worlds.state).position
        total += worlds.game.apart(now, place)[0, 1:11, 0]
        place = now
    np.testing.assert_allclose(total.numpy() / 600.0, SPEEDS, atol=0.01)


def test_the_latest_speed_forgets_what_was_before_a_turn() -> None:
    u = torch.tensor([[0.0, 2.0, 4.0, 5.0, 3.0], [0.0, 1.0, 1.0, 2.0, 3.0], [0.0, 90.0, 91.0, 92.0, 93.0], [5.0, 5.0, 5.0, 5.0, 5.0]])
    speed = latest_speed(torch.stack((u, -u), -1)[:, :, None])  # (4, 1, 2)
    np.testing.assert_allclose(speed[:, 0, 0], [-2.0, 0.75, 1.0, 0.0])
    torch.testing.assert_close(speed[..., 1], -speed[..., 0])


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
    back = on_screen(Told().oracle.observe(first.frame, labels, seed=first.condition, step=first.condition)).centre[..., :2]
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


def test_a_detector_of_other_things_is_told() -> None:
    class Other:
        classes = ("ball",)

        def __call__(self, frame: SensorFrame) -> Detections:
            raise NotImplementedError

    with pytest.raises(ValueError, match="and not paddle"):
        OnScreen(Other(), GAMES["pong"])

"""Atari games: what the memory says against what the screen shows and what comes. Needs the extra `atari`."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy import ndimage

ale_py = pytest.importorskip("ale_py")

from envs.games.atari import AtariConfig, AtariWorlds  # noqa: E402
from envs.games.atari.breakout import BRICK, COLUMNS, ROWS, WALL, brick_bits, bricks, bricks_shown  # noqa: E402
from envs.games.atari.emulator import Consoles  # noqa: E402
from envs.games.atari.freeway import SPEEDS  # noqa: E402
from envs.games.atari.games import GAMES  # noqa: E402
from envs.games.atari.moving import latest_speed  # noqa: E402
from envs.games.atari.observation import boxes_of, locate  # noqa: E402
from envs.games.atari.types import AHEAD, FPS  # noqa: E402
from tests.envs.atari_play import played  # noqa: E402

GROUND = {"pong": (144, 72, 17), "breakout": (0, 0, 0), "freeway": (142, 142, 142)}
TOLERANCE = 1.0  # px: some things are drawn from every other line on, or a frame late


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

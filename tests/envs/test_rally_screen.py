"""Rally's screen: pixels are where the boxes say, grey is grey, and what moves can be told from the court."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch

from envs.games.rally.looks import LUMA, greyed, plain, random_looks
from envs.games.rally.opponent import opponent
from envs.games.rally.raster import boxes, canvas, draw, scale
from envs.games.rally.rules import reset, step
from envs.games.rally.types import RADIUS, THICKNESS, RallyConfig, RallyState
from envs.games.rally.worlds import RallyWorlds

CONFIG = RallyConfig()


def match(count: int, decisions: int) -> RallyState:
    state = reset(torch.arange(count), CONFIG)
    for _ in range(decisions):
        state, _ = step(state, torch.stack((opponent(state, CONFIG, 0), opponent(state, CONFIG)), -1), CONFIG)
    return state


@pytest.mark.parametrize("size", [84, 96, 131])
def test_pixels_are_where_the_boxes_are(size: int) -> None:
    """Another colour of a thing changes the picture within its box, up to its edges, and nowhere else."""
    state = match(24, 77)
    looks = random_looks(state.seed)
    ground = canvas(looks, size)
    image, found = draw(state, looks, ground, CONFIG), boxes(state, CONFIG, size)
    paddles = looks.paddle.unbind(1)
    others = (
        looks._replace(ball=(looks.ball + 128.0) % 256.0),
        looks._replace(paddle=torch.stack(((paddles[0] + 128.0) % 256.0, paddles[1]), 1)),
        looks._replace(paddle=torch.stack((paddles[0], (paddles[1] + 128.0) % 256.0), 1)),
    )
    for thing, other in enumerate(others):
        changed = (image != draw(state, other, ground, CONFIG)).any(1)
        for b in range(len(image)):
            v, u = np.nonzero(changed[b].numpy())
            reached = np.array([u.min(), v.min(), u.max() + 1, v.max() + 1])
            low, high = np.floor(found[b, thing].numpy()), np.ceil(found[b, thing].numpy())
            np.testing.assert_allclose(reached, [*low[:2], *high[2:]], atol=1.0)  # of an edge that is just touched little is seen
            if thing or not looks.round[b]:
                assert len(v) >= (reached[2] - reached[0] - 2) * (
                    reached[3] - reached[1] - 2
                )  # all but its rim, of which little may be seen


def test_a_shape_covers_what_it_covers() -> None:
    """Square balls and paddles change the picture by colour times area, wherever between pixels they are."""
    state = match(16, 40)
    looks = plain(16)._replace(dash=torch.zeros(16))
    size = 96
    ground = canvas(looks, size) * 0.0
    empty = state._replace(score=torch.zeros_like(state.score))
    total = draw(empty, looks, ground, CONFIG)[:, 0].double().sum((1, 2)) / 255.0
    paddles = 2.0 * (THICKNESS * 2.0 * CONFIG.paddle)
    wanted = ((2.0 * RADIUS) ** 2 + paddles) * scale(size) ** 2
    apart = state.ball[:, 0].abs() < 0.85  # not in front of a paddle
    torch.testing.assert_close(total[apart], torch.full_like(total[apart], wanted), rtol=0.01, atol=0.0)


def test_grey_pictures_are_those_that_colour_ones_become() -> None:
    """Against OpenCV's."""
    state = match(12, 90)
    looks = random_looks(state.seed)
    grey = greyed(looks)
    colour = draw(state, looks, canvas(looks, 84), CONFIG).permute(0, 2, 3, 1).numpy()
    single = draw(state, grey, canvas(grey, 84), CONFIG)[:, 0].numpy()
    for image, mine in zip(colour, single, strict=True):
        np.testing.assert_allclose(mine.astype(int), cv2.cvtColor(image, cv2.COLOR_RGB2GRAY).astype(int), atol=2)


def test_what_moves_stands_out() -> None:
    looks = random_looks(torch.arange(500))
    weights = torch.tensor(LUMA)
    court = (looks.court * weights).sum(-1)
    for colour in (looks.ball, looks.paddle[:, 0], looks.paddle[:, 1]):
        assert float(((colour * weights).sum(-1) - court).abs().min()) > 60.0
        assert float(colour.min()) >= 0.0
        assert float(colour.max()) <= 255.0
    assert 100 < int((court > 128).sum()) < 200  # dark and light courts
    assert len(torch.unique(looks.court, dim=0)) == 500


def test_pictures_do_not_depend_on_who_is_beside() -> None:
    state = match(8, 50)
    looks = random_looks(state.seed)
    image = draw(state, looks, canvas(looks, 84), CONFIG)
    for b in range(0, 8, 3):
        one, own = RallyState(*(part[b : b + 1] for part in state)), random_looks(state.seed[b : b + 1])
        assert torch.equal(draw(one, own, canvas(own, 84), CONFIG)[0], image[b])


def test_points_are_counted_on_the_screen() -> None:
    state = reset(torch.zeros(12, dtype=torch.int64), CONFIG)
    looks = plain(12)
    counts = torch.arange(12)
    image = draw(state._replace(score=torch.stack((counts, 11 - counts), -1)), looks, canvas(looks, 336), CONFIG)
    row = (image[:, 0, 26] > 95).int()  # through the middle of the marks
    begun = ((row[:, 1:] - row[:, :-1]) > 0).int()
    assert begun[:, :168].sum(1).tolist() == counts.tolist()
    assert begun[:, 168:].sum(1).tolist() == (11 - counts).tolist()


def test_the_stack_holds_the_last_four_pictures() -> None:
    """Of the first decision four times the same; both players see their own paddle on the left."""
    worlds = RallyWorlds(2, CONFIG, players=2, observation="pixels")
    worlds.reset(np.array([4, 5]))
    first = worlds.observe()
    assert first.shape == (2, 4, 84, 84)
    assert all((first[:, k] == first[:, 3]).all() for k in range(3))
    seen = [first[:, 3]]
    for _ in range(6):
        worlds.step(np.full((2, 2), 2))
        seen.append(worlds.observe()[:, 3])
    np.testing.assert_array_equal(worlds.observe(), np.stack(seen[-4:], 1))
    np.testing.assert_array_equal(worlds.observe(1), worlds.observe()[..., ::-1])
    worlds.reset_where(np.array([False, True]))
    again = worlds.observe()
    np.testing.assert_array_equal(again[0], np.stack(seen[-4:], 1)[0])
    assert (again[1] == again[1, 3]).all()

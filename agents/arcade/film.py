"""One episode of an arcade game on film: the court with the ball where it is believed to be and its way, and what the detector saw.

Shapes: T decisions, K boxes, P points of a way.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from agents.arcade.policies import ArcadePolicy
from agents.films.film import Film, Floats
from envs.games.arcade import arcade_entry
from envs.games.rally.looking import MULTIPLE, Looking
from envs.games.rally.observation import Objects, ball_ahead, locate
from envs.games.rally.raster import SIDE, UPPER, boxes, canvas, draw, scale
from envs.games.rally.screen import looks_of
from envs.games.rally.stream import CLASSES
from envs.games.rally.types import LIMIT, RADIUS, THICKNESS
from envs.games.rally.worlds import RallyWorlds

__all__ = ["BOXES", "film", "sighted", "way"]

SIZE = 336  # px, of pictures for people: even, as videos have to be
BOXES = {"noisy": "said by the error model", "perceived": "found by the detector"}  # else what is there
AHEAD, EVERY = 1.0, 0.025  # s, how far the ball's way is drawn, and between its points
WAY = "ring and dots: where the ball is believed to be, and its way"
MOST = 480  # moments on a page: a ball flies far in a tenth of a second
ZOOM = 4  # at which the small picture is shown that detectors look at


def way(objects: Objects, size: int) -> Floats:
    """(P, 2) px in a picture of `size`: the ball of world 0, and where it is expected every EVERY s until it leaves the court."""
    ball, velocity = objects.position[:1, 0], objects.velocity[:1, 0]
    moves = bool(velocity.abs().max() > 1e-3)
    later = [ball_ahead(ball, velocity, EVERY * k) for k in range(1, round(AHEAD / EVERY) + 1 if moves else 1)]
    court = torch.cat([ball, *later]).double().numpy()
    inside = np.abs(court[:, 0]) < LIMIT
    inside[0] = True
    return np.asarray((np.array([SIDE, UPPER]) + court[inside] * np.array([1.0, -1.0])) * scale(size))


def sighted(looking: Looking) -> Floats:
    """(K, 6) px, thing and score: what was detected in world 0 at the last look; rows of 0 for nothing. Where an error model says no boxes,
    those that things of this kind have."""
    seen, px = looking.seen, scale(looking.size)
    x, y = (seen.centre[0, :, axis].double().numpy() for axis in (0, 1))
    middle = np.stack(((x + SIDE) * px, (UPPER - y) * px), 1)
    kind = seen.kind[0].numpy()
    half = px * np.array([[RADIUS, RADIUS], [0.5 * THICKNESS, looking.config.paddle]])[kind]
    box = seen.box[0].double().numpy()
    usual = np.concatenate((middle - half, middle + half), 1)
    box = np.where(np.isfinite(box).all(1, keepdims=True) & (box[:, 2:] > box[:, :2]).all(1, keepdims=True), box, usual)
    rows = np.concatenate((box, kind[:, None], seen.score[0].double().numpy()[:, None]), 1)
    return np.where(seen.mask[0].numpy()[:, None], rows, 0.0)


def _there(worlds: RallyWorlds, size: int) -> Floats:
    """(K, 5) px and thing: what is there in world 0."""
    box = boxes(worlds.state, worlds.config, size)[0].double().numpy()
    return np.concatenate((box, np.array([[0.0], [1.0], [1.0]])), 1)


def film(policy: ArcadePolicy, task: str, seed: int, *, size: int = SIZE) -> Film:
    """Let the policy play an episode and look on. Raises as `ArcadePolicy.worlds` does."""
    worlds: Any = policy.worlds(task, 1)
    worlds.reset(np.array([seed]))
    player, config, eye = policy.make(worlds), worlds.config, worlds.eye
    side = eye.size if isinstance(eye, Looking) else -(-worlds.screen_config.size // MULTIPLE) * MULTIPLE
    looks = looks_of(worlds.state.seed, worlds.screen_config)
    grounds = {part: canvas(looks, part) for part in (side, size)}  # do not change in an episode
    people, eyes, found, ways, notes = [], [], [], [], []
    rewards, actions, success = [], [], []
    terms: dict[str, list[float]] = {"points ahead": [], "ball off by": [], "ball's speed": []}

    def look() -> None:
        picture, small = (
            np.ascontiguousarray(draw(worlds.state, looks, grounds[part], config)[0].permute(1, 2, 0).numpy()) for part in (size, side)
        )
        people.append(picture)
        eyes.append([small])
        found.append(sighted(eye) if isinstance(eye, Looking) else _there(worlds, side))
        ways.append(way(worlds.objects(), size))
        notes.append(" : ".join(map(str, worlds.state.score[0].tolist())))

    look()
    while True:
        action = player.act(worlds)
        chosen, step = worlds.command(action), worlds.step(action)
        look()
        true, believed = locate(worlds.state), worlds.objects()
        won, lost = worlds.state.score[0].tolist()
        rewards.append(float(step.reward[0, 0]))
        actions.append([float(chosen[0, 0])])
        success.append(won > lost)
        terms["points ahead"].append(float(won - lost))
        terms["ball off by"].append(float((believed.position - true.position)[0, 0].norm()))
        terms["ball's speed"].append(float(true.velocity[0, 0].norm()))
        if step.terminated[0] or step.truncated[0]:
            break
    return Film(
        task=task,
        about=arcade_entry(task).about,
        policy=policy.name,
        observation=policy.observation,
        seed=seed,
        end="time" if not step.terminated[0] else "won" if success[-1] else "lost",
        dt=config.dt,
        things=CLASSES,
        cameras=("the screen",),
        boxed=f"{BOXES.get(policy.observation, 'what is there, by the rules')}; {WAY}",
        people=people,
        eyes=eyes,
        boxes=np.array(found)[:, None],
        rewards=np.array(rewards),
        terms={name: np.array(values) for name, values in terms.items()},
        actions=np.array(actions),
        success=np.array(success, dtype=np.bool_),
        ways=ways,
        notes=notes,
        zoom=ZOOM,
        most=MOST,
    )

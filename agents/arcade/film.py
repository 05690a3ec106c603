"""One episode of an arcade game on film: the screen with the ball where it is believed to be and its way, and what the detector saw.

Shapes: T decisions, K boxes, P points of a way.
"""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from agents.arcade.policies import ArcadePolicy
from agents.films.film import Film, Floats
from envs.games.arcade import arcade_entry

__all__ = ["BOXES", "Scene", "film"]

SIZE = 336  # px, height of pictures for people: even, as videos have to be
BOXES = {"noisy": "said by the error model", "perceived": "found by the detector"}  # else what is there
MOST = 480  # moments on a page: a ball flies far in a tenth of a second


class Scene(Protocol):
    """What is shown of world 0 of a game."""

    things: tuple[str, ...]  # what boxes are around
    zoom: int  # at which the small picture is shown that detectors look at
    way_of: str  # whose way is drawn

    def eyes(self) -> NDArray[np.uint8]: ...  # (H, W, 3) what detectors look at

    def boxes(self) -> Floats: ...  # (K, 5 or 6) px of it, thing and score

    def way(self, size: int) -> Floats: ...  # (P, 2) px in the picture for people, of height `size`

    def note(self) -> str: ...  # beside the clock

    def terms(self) -> dict[str, float]: ...  # curves


def scene_of(task: str, worlds: Any) -> Scene:
    """Of a game."""
    if arcade_entry(task).extra == "atari":
        from agents.arcade.film_atari import AtariScene

        return AtariScene(worlds)
    from agents.arcade.film_rally import RallyScene

    return RallyScene(worlds)


def film(policy: ArcadePolicy, task: str, seed: int, *, size: int = SIZE) -> Film:
    """Let the policy play an episode and look on. Raises as `ArcadePolicy.worlds` does."""
    worlds = policy.worlds(task, 1)
    worlds.reset(np.array([seed]))
    player, scene = policy.make(worlds), scene_of(task, worlds)
    people, eyes, found, ways, notes = [], [], [], [], []
    rewards, actions, success = [], [], []
    terms: dict[str, list[float]] = {name: [] for name in scene.terms()}

    def look() -> None:
        people.append(worlds.pictures(size=size)[0])
        eyes.append([scene.eyes()])
        found.append(scene.boxes())
        ways.append(scene.way(size))
        notes.append(scene.note())

    look()
    while True:
        action = player.act(worlds)
        chosen, step = worlds.command(action), worlds.step(action)
        look()
        rewards.append(float(step.reward[0, 0]))
        actions.append([float(chosen.flatten()[0])])
        success.append(bool(worlds.metrics()["success"][0]))
        for name, value in scene.terms().items():
            terms[name].append(value)
        if step.terminated[0] or step.truncated[0]:
            break
    return Film(
        task=task,
        about=arcade_entry(task).about,
        policy=policy.name,
        observation=policy.observation,
        seed=seed,
        end="time" if not step.terminated[0] else "won" if success[-1] else "lost",
        dt=worlds.dt,
        things=scene.things,
        cameras=("the screen",),
        boxed=f"{BOXES.get(policy.observation, 'what is there, by the rules')}; "
        f"ring and dots: where {scene.way_of} is believed to be, and its way",
        people=people,
        eyes=eyes,
        boxes=np.array(found)[:, None],
        rewards=np.array(rewards),
        terms={name: np.array(values) for name, values in terms.items()},
        actions=np.array(actions),
        success=np.array(success, dtype=np.bool_),
        ways=ways,
        notes=notes,
        zoom=scene.zoom,
        most=MOST,
    )

"""One episode of a robot task on film: what people see, what the cameras of the policy see with boxes around the things, and curves.

Shapes: T decisions, so T + 1 moments; C cameras, K things, H x W pixels, n numbers of an action.
"""

from __future__ import annotations

import numpy as np

from agents.films.film import Film
from agents.robots.policies import RobotPolicy
from envs.robots.camera import Camera
from envs.robots.perceived import Perceiving
from envs.robots.physics import Floats

__all__ = ["EYE", "film", "sighted"]

SIZE = (480, 360)  # px, of pictures for people
BOXES = {"noisy": "sighted, by the error model", "perceived": "sighted, by the detector"}  # else what is there, by the simulator
EYE = 168  # px, width and height of what the policy's cameras see


def sighted(sight: Perceiving, sizes: Floats) -> Floats:
    """(C, K, 4) px of pictures of EYE x EYE: squares as large as things of sizes (K,) m would be where world 0 sighted them last."""
    seen = sight.seen
    assert seen is not None  # worlds look when they are made
    scale, middle = EYE / sight.size[1], 0.5 * np.array(sight.size)
    place = 0.5 * EYE + scale * (seen.pixel[0] - middle)  # (C, K, 2)
    half = 0.5 * scale * (sight.focal[:, None] * sizes / seen.depth[0])[..., None]
    box = np.clip(np.concatenate([place - half, place + half], axis=-1), 0.0, EYE)
    return np.asarray(np.where(seen.mask[0][..., None], box, 0.0))


def film(policy: RobotPolicy, task: str, seed: int, *, size: tuple[int, int] = SIZE) -> Film:
    """Let the policy act on an episode and look on. Raises NoRenderer where no OpenGL works, Diverged, and as `RobotPolicy.worlds`."""
    robots = policy.worlds(task, 1)
    names, sizes = robots.task.cameras[:-1], np.array([thing.size for thing in robots.task.things])
    people, eyes, boxes, rewards, actions, success = [], [], [], [], [], []
    terms: dict[str, list[float]] = {name: [] for name in robots.task.weights}
    try:
        with Camera(robots.physics, width=EYE, height=EYE, things=robots.task.things) as camera:

            def look() -> None:
                people.append(robots.picture(0, size=size).copy())
                eyes.append([camera.picture(0, name).copy() for name in names])
                if isinstance(robots.sight, Perceiving):  # what it acts on, which need not be what is there
                    boxes.append(sighted(robots.sight, sizes))
                else:
                    boxes.append(np.array([camera.boxes(0, name).box for name in names]))

            robots.reset(np.array([seed]))
            player = policy.make(robots)
            look()
            while True:
                chosen = robots.command(player.act(robots))
                step = robots.step(chosen)
                look()
                rewards.append(float(step.reward[0]))
                actions.append(chosen[0].copy())
                success.append(bool(step.success[0]))
                for name, weight in robots.task.weights.items():
                    terms[name].append(weight * float(step.terms[name][0]))
                if step.terminated[0] or step.truncated[0]:
                    break
    finally:
        robots.close()
    return Film(
        task=task,
        about=robots.task.about,
        policy=policy.name,
        observation=policy.observation,
        seed=seed,
        end="done" if step.success[0] else "failed" if step.terminated[0] else "time",
        dt=robots.dt,
        things=tuple(thing.kind for thing in robots.task.things),
        cameras=names,
        boxed=BOXES.get(policy.observation, "what is there, by the simulator"),
        people=people,
        eyes=eyes,
        boxes=np.array(boxes),
        rewards=np.array(rewards),
        terms={name: np.array(values) for name, values in terms.items()},
        actions=np.array(actions),
        success=np.array(success, dtype=np.bool_),
    )

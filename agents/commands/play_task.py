"""`closedloop play TASK`: somebody acts on an episode of a robot task or an arcade game, and a page or a video of it is written."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from agents.films import Film

__all__ = ["is_task", "play_task"]


def is_task(name: Path) -> bool:
    """Whether what was to be played is the name of a robot task or an arcade game, and no file or folder."""
    from agents.evaluation.domains import known_tasks

    return str(name) in known_tasks() and not name.exists()


def play_task(task: str, *, policy: str | None, seed: int, out: Path | None, video: Path | None, json_: bool) -> int:
    """Film an episode, write what was asked for, a page unless only a video was; 0.

    Raises BadParameter for a video of another kind, PolicyError or BundleError for a policy that cannot be used, NoRenderer, WeightsError,
    OSError.
    """
    from agents.commands.output import print_json
    from agents.films import film_page
    from agents.playback.video import CODECS, encode_video
    from scenarios.files import write_atomic

    if video is not None and video.suffix.lower() not in CODECS:
        raise click.BadParameter(f"{video}: videos are written as {' or '.join(CODECS)}", param_hint="--video")
    shot = _filmed(task, policy, seed)
    written = []
    if out is not None or video is None:
        written.append(write_atomic(out or Path(f"{task}-{seed}.html"), film_page(shot)))
    if video is not None:
        written.append(encode_video(video, shot.people, fps=round(1.0 / shot.dt)))
    said = {
        "task": task, "policy": shot.policy, "seed": seed, "end": shot.end, "return": shot.total, "files": [str(path) for path in written],
    }  # fmt: skip
    if json_:
        print_json(said)
    else:
        click.echo(f"{task}, episode {seed}, {shot.policy}: {shot.end}, return {shot.total:.2f}; {', '.join(map(str, written))}")
    return 0


def _filmed(task: str, policy: str | None, seed: int) -> Film:
    from agents.evaluation.domains import are_arcade
    from agents.policies.shipped import TRAINED

    if are_arcade([task]):
        from agents.arcade import policies as arcade
        from agents.arcade.film import film as film_arcade
        from agents.policies.arcade_spec import shipped_arcade

        player = arcade.load_arcade_policy(policy or (TRAINED if task in shipped_arcade() else "expert"), task)
        arcade.check_fits(player, task, judged=False)
        return film_arcade(player, task, seed)
    from agents.policies.robot_spec import shipped_tasks
    from agents.robots import policies as robots
    from agents.robots.film import film as film_robot

    who = robots.load_robot_policy(policy or (TRAINED if task in shipped_tasks() else "expert"), task)
    robots.check_fits(who, task, judged=False)
    return film_robot(who, task, seed)

"""`closedloop play TASK`: somebody acts on an episode of a robot task, and a page or a video of it is written."""

from __future__ import annotations

from pathlib import Path

import click

__all__ = ["is_task", "play_robot"]


def is_task(name: Path) -> bool:
    """Whether what was to be played is the name of a robot task, and no file or folder."""
    from envs.robots.registry import TASKS

    return str(name) in TASKS and not name.exists()


def play_robot(task: str, *, policy: str | None, seed: int, out: Path | None, video: Path | None, json_: bool) -> int:
    """Film an episode, write what was asked for, a page unless only a video was; 0.

    Raises BadParameter for a video of another kind, PolicyError or BundleError for a policy that cannot be used, NoRenderer, OSError.
    """
    from agents.commands.output import print_json
    from agents.playback.video import CODECS, encode_video
    from agents.policies.robot_spec import shipped_tasks
    from agents.robots.film import film
    from agents.robots.film_page import film_page
    from agents.robots.policies import TRAINED, check_fits, load_robot_policy
    from scenarios.files import write_atomic

    if video is not None and video.suffix.lower() not in CODECS:
        raise click.BadParameter(f"{video}: videos are written as {' or '.join(CODECS)}", param_hint="--video")
    who = load_robot_policy(policy or (TRAINED if task in shipped_tasks() else "expert"), task)
    check_fits(who, task, judged=False)
    shot = film(who, task, seed)
    written = []
    if out is not None or video is None:
        written.append(write_atomic(out or Path(f"{task}-{seed}.html"), film_page(shot)))
    if video is not None:
        written.append(encode_video(video, shot.people, fps=round(1.0 / shot.dt)))
    said = {"task": task, "policy": who.name, "seed": seed, "end": shot.end, "return": shot.total, "files": [str(path) for path in written]}
    if json_:
        print_json(said)
    else:
        click.echo(f"{task}, episode {seed}, {who.name}: {shot.end}, return {shot.total:.2f}; {', '.join(map(str, written))}")
    return 0

"""`closedloop show`: pictures of what there is."""

from __future__ import annotations

from pathlib import Path

import click

from agents.commands.group import HelpfulGroup

__all__ = ["command"]


class _Pictures(HelpfulGroup):
    noun = "picture"


@click.group("show", cls=_Pictures)
def command() -> None:
    """Draw what there is, to look at.

    \b
    closedloop show camera
    closedloop show camera --scenario signals --weather night --boxes --out night.png
    """


@command.command("camera")
@click.option("--scenario", "names", multiple=True, metavar="NAME", help="A row of frames; may be repeated. [default: every family]")
@click.option("--weather", "weathers", multiple=True, metavar="NAME", help="A column; may be repeated. [default: clear, fog, rain, night]")
@click.option("--frames", type=click.IntRange(1, 48), default=1, show_default=True, help="Frames of each.")
@click.option("--boxes", is_flag=True, help="With the labels: boxes, states of lights.")
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Other worlds, instants and weather.")
@click.option("--scale", type=click.IntRange(1, 16), default=3, show_default=True, help="Screen pixels to each of 160 x 96.")
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False), default=Path("camera.png"), show_default=True, help="PNG to write.")
def camera(names: tuple[str, ...], weathers: tuple[str, ...], frames: int, boxes: bool, seed: int, scale: int, out: Path) -> int:
    """Camera frames of families in all weathers on one sheet: the frames that detectors are trained on.

    Some cars are exchanged for other road users, and some stand beside the road, as in training.

    \b
    closedloop show camera
    closedloop show camera --scenario crossing --scenario signals --frames 2 --boxes
    """
    from envs.driving.camera import CameraConfig, contact_sheet
    from envs.driving.camera.config import CONDITIONS

    for weather in weathers:
        CameraConfig(weather=weather)  # tells what was perhaps meant
    contact_sheet(out, names, weathers or CONDITIONS, seed, frames=frames, scale=scale, boxes=boxes)
    click.echo(f"Sheet: {out}")
    return 0

"""`closedloop perceive`: run detector, tracker and predictor on real footage and draw what they see."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from agents.footage.media import Source
    from agents.footage.perceiving import Stack

__all__ = ["command"]


@click.command("perceive")
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="VIDEO_OR_IMAGES...")
@click.option(
    "--detector",
    default="driving",
    show_default=True,
    metavar="NAME|FILE|onnx:FILE",
    help="Shipped weights by name, a weights file, or somebody else's detector as ONNX (NanoDet, YOLOX).",
)
@click.option("--layout", type=click.Choice(["nanodet", "yolox"]), help="Of an ONNX detector's outputs. [default: told from their shapes]")
@click.option("--threshold", type=click.FloatRange(0.0, 1.0), help="Least score. [default: 0.4]")
@click.option(
    "--tracker",
    default="kalman",
    show_default=True,
    metavar="NAME",
    help="Follows what is seen in videos: kalman, imm (knows who stands) or package.module:attribute; none: do not.",
)
@click.option(
    "--predictor",
    default="constant_velocity",
    show_default=True,
    metavar="NAME",
    help="Predicts where tracks go; none: do not.",
)
@click.option("--fov", type=click.FloatRange(10, 170), default=60.0, show_default=True, help="Assumed field of view across, degrees.")
@click.option(
    "--horizon", type=click.FloatRange(0, 1), default=0.55, show_default=True, help="Assumed row of the horizon, share of height."
)
@click.option("--camera-height", type=click.FloatRange(0.1, 20), default=1.3, show_default=True, help="Assumed height of the lens, m.")
@click.option("--speed", type=float, default=0.0, show_default=True, help="Assumed speed of the camera, m/s: footage has no odometry.")
@click.option(
    "--out", type=click.Path(path_type=Path, file_okay=False), required=True, help="Folder for what is drawn and detections.json."
)
@click.option("--video", "suffix", type=click.Choice(["mp4", "webm"]), default="mp4", show_default=True, help="H.264 or VP9.")
@click.option("--frames", type=click.IntRange(1), help="Only the first so many frames of each video.")
@click.option("--force", is_flag=True, help="Write into a folder that is not empty.")
@click.option("--json", "json_", is_flag=True, help="Print detections.json on stdout too.")
def command(
    files: tuple[Path, ...],
    detector: str,
    layout: str | None,
    threshold: float | None,
    tracker: str,
    predictor: str,
    fov: float,
    horizon: float,
    camera_height: float,
    speed: float,
    out: Path,
    suffix: str,
    frames: int | None,
    force: bool,
    json_: bool,
) -> int:
    """Draw what a perception stack sees on real pictures and videos: boxes with class and score, track numbers, predicted paths.

    Writes each picture or video, drawn on, and detections.json. Distances rest on the assumed camera (--fov, --horizon,
    --camera-height) and a flat road, so they are rough.

    \b
    closedloop perceive drive.mp4 --detector onnx:nanodet.onnx --out runs/seen
    closedloop perceive *.jpg --detector onnx:yolox_nano.onnx --threshold 0.3 --out runs/seen --json
    closedloop perceive drive.mp4 --detector onnx:nanodet.onnx --speed 25 --predictor none --out runs/seen --video webm
    """
    from agents.commands.output import as_json, print_json
    from agents.footage.media import open_source
    from agents.footage.perceiving import AssumedCamera, make_stack
    from scenarios.files import write_atomic

    sources = [open_source(file) for file in files]
    camera = AssumedCamera(field_of_view=fov, horizon=horizon, above_ground=camera_height)
    stack = make_stack(detector, tracker=tracker, predictor=predictor, layout=layout, threshold=threshold, camera=camera, speed=speed)
    targets = _targets(sources, out, suffix)
    if not force and (there := [path for path in (*targets, out / "detections.json") if path.exists()]):
        raise FileExistsError(17, "is there already; choose another --out, or replace it with --force", str(there[0]))
    told = {"detector": detector, "classes": list(stack.classes), "tracker": tracker, "predictor": predictor}
    record: dict[str, Any] = told | {"camera": vars(camera), "files": []}
    for source, target in zip(sources, targets, strict=True):
        rows = _video(source, target, stack, frames) if source.video else _picture(source, target, stack)
        record["files"].append({"file": str(source.path), "drawn": str(target), "fps": source.fps or None, "frames": rows})
        count = sum(len(row["detections"]) for row in rows)
        click.echo(f"{source.path}: {count} detections in {len(rows)} frame{'s' * (len(rows) != 1)} -> {target}", err=True)
    path = write_atomic(out / "detections.json", as_json(record) + "\n")
    if json_:
        print_json(record)
    click.echo(f"Detections: {path}", err=True)
    return 0


def _targets(sources: list[Source], out: Path, suffix: str) -> list[Path]:
    """Where each file's drawing goes: under its own name, numbered where names repeat."""
    targets: list[Path] = []
    for source in sources:
        end = f".{suffix}" if source.video else ".png"
        path, number = out / f"{source.path.stem}{end}", 2
        while path in targets:
            path, number = out / f"{source.path.stem}-{number}{end}", number + 1
        targets.append(path)
    return targets


def _picture(source: Source, target: Path, stack: Stack) -> list[dict[str, Any]]:
    from agents.footage.media import write_image

    stack.begin(follow=False)
    rows = []
    for frame in source.frames():
        drawn, row = stack.step(frame)
        write_image(target, drawn)
        rows.append(row)
    return rows


def _video(source: Source, target: Path, stack: Stack, most: int | None) -> list[dict[str, Any]]:
    from agents.footage.media import VideoFile

    stack.begin(follow=True)
    rows = []
    with VideoFile(target, fps=source.fps) as video:
        for frame in _counted(source, most):
            drawn, row = stack.step(frame)
            video.add(drawn)
            rows.append(row)
    return rows


def _counted(source: Source, most: int | None) -> Iterator[Any]:
    """Frames, told on stderr: a bar on a terminal, else a line every 100."""
    import sys
    from itertools import islice

    total = min(source.count or most or 0, most or source.count or 0) or None
    frames = islice(source.frames(), most)
    if sys.stderr.isatty():
        from tqdm import tqdm  # type: ignore[import-untyped]

        yield from tqdm(frames, total=total, unit="frame", file=sys.stderr, leave=False)
        return
    for number, frame in enumerate(frames, 1):
        yield frame
        if number % 100 == 0:
            click.echo(f"{source.path}: {number}{f' of {total}' if total else ''} frames", err=True)

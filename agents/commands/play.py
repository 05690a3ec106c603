"""`closedloop play`: check a trace by driving it again, and make something to watch of it, or of a task; or play a board game."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

if TYPE_CHECKING:
    from agents.playback.sight import Sight
    from agents.playback.trace import Trace
    from agents.playback.verify import Verification
    from envs.driving.types import State

__all__ = ["command"]

FILE = click.Path(dir_okay=False, path_type=Path)
FOR_TRACES = ("video", "show", "no_verify", "json_")
FOR_GAMES = ("against", "simulations", "second", "web", "seed")
FOR_PAGES = ("port", "no_browser")  # of games
FOR_TASKS = ("policy",)  # of robots, and arcade games
DIFFERS = 1  # exit code: the trace does not come out of the simulator again


@click.command("play")
@click.argument("traces", nargs=-1, required=True, metavar="TRACE...|GAME|TASK", type=click.Path(path_type=Path))
@click.option(
    "-o",
    "--out",
    type=FILE,
    metavar="FILE",
    help="Web page (.html) to write, beside the trace by default; of a board game its record (.json), of a task TASK-SEED.html.",
)
@click.option("--video", type=FILE, metavar="FILE", help="Video to write: .mp4 (H.264) or .webm (VP9).")
@click.option("--show", is_flag=True, help="Play in a window; needs a display, and opencv-python in place of opencv-python-headless.")
@click.option("--no-verify", is_flag=True, help="Do not drive the trace again.")
@click.option("--json", "json_", is_flag=True, help="Print what was found and written as JSON on stdout.")
@click.option(
    "--against",
    metavar="PLAYER",
    help="A game: random, mcts:1000, alphabeta:5, alphazero (the network that ships), or a run's folder. [default: mcts]",
)
@click.option("--simulations", type=click.IntRange(1), default=400, show_default=True, help="A game: of a network's search, for a move.")
@click.option("--second", is_flag=True, help="A game: move second.")
@click.option("--web", is_flag=True, help="A game: in the browser. Also how recorded games (.json) are shown.")
@click.option("--port", type=click.IntRange(0, 65535), default=0, help="A game in the browser: where. [default: any free port]")
@click.option("--no-browser", is_flag=True, help="A game in the browser: only say where it is.")
@click.option(
    "--seed", type=click.IntRange(0), default=0, show_default=True, help="A game: of the opponent's chances. A task: the episode."
)
@click.option("--policy", metavar="NAME", help="A task: who acts, as of `closedloop eval --task`. [default: trained, or else expert]")
@click.pass_context
def command(
    ctx: click.Context,
    traces: tuple[Path, ...],
    out: Path | None,
    video: Path | None,
    show: bool,
    no_verify: bool,
    json_: bool,
    against: str | None,
    simulations: int,
    second: bool,
    web: bool,
    port: int,
    no_browser: bool,
    seed: int,
    policy: str | None,
) -> int:
    """Verify a trace by re-simulating it, and write one web page that plays it: no server, no network, opens from disk.

    A folder stands for all traces in it. With --video or --show alone no page is written. Exit code 1 if a trace does not come out of
    the simulator again, 4 if some of several cannot be played; the others are.

    \b
    closedloop play runs/eval/traces/idm/merge-7.trace
    closedloop play failed.trace -o failed.html --video failed.mp4
    closedloop play runs/eval/traces --json

    The name of a board game instead plays it, in the terminal or in the browser; the file of a recorded game shows that in the browser,
    with what a search thinks of every move.

    \b
    closedloop play connect_four --against alphazero --web
    closedloop play othello --against runs/othello --second
    closedloop play runs/games/connect_four-20261127-120000.json

    The name of a robot task or an arcade game instead has somebody act on an episode of it, and writes a page with pictures, boxes and
    curves.

    \b
    closedloop play ball_catch --policy expert --seed 3 -o catch.html
    closedloop play rally --policy expert@perceived --seed 3 -o rally.html
    """
    from agents.cli import CRASHED
    from agents.commands.output import print_json
    from agents.commands.play_game import is_game, is_record, play_game
    from agents.commands.play_task import is_task, play_task

    alone = traces[0] if len(traces) == 1 else None
    if alone is not None and is_task(alone):
        if idle := _given(ctx, *(set(FOR_TRACES) - {"json_", "video"}), *(set(FOR_GAMES) - {"seed"}), *FOR_PAGES):
            raise click.UsageError(f"{idle}: not for tasks, and {alone} is one")
        return play_task(str(alone), policy=policy, seed=seed, out=out, video=video, json_=json_)
    if idle := _given(ctx, *FOR_TASKS):
        raise click.UsageError(f"{idle}: is for tasks, and {traces[0]} is none: see `closedloop list robots arcade`")
    if alone is not None and (is_record(alone) or is_game(alone)):
        _check_game(ctx, alone, against, out)
    if alone is not None and (is_record(alone) or (web and is_game(alone))):
        from agents.commands.play_web import play_web

        return play_web(
            alone,
            against=against,
            simulations=simulations,
            second=second,
            seed=seed,
            out=out,
            port=port,
            browser=not no_browser,
        )
    if alone is not None and is_game(alone):
        return play_game(str(alone), against=against or "mcts", simulations=simulations, second=second, seed=seed, out=out)
    if idle := _given(ctx, *FOR_GAMES, *FOR_PAGES):
        raise click.UsageError(f"{idle}: are for games, and {traces[0]} is none: see `closedloop list games`")
    files = _files(traces)
    if len(files) > 1 and (out or video or show):
        raise click.UsageError(f"{len(files)} traces: -o, --video and --show take one")
    if video is not None:
        from agents.playback.video import CODECS

        if video.suffix.lower() not in CODECS:
            raise click.BadParameter(f"{video}: videos are written as {' or '.join(CODECS)}", param_hint="--video")
    results, failed = _all(files, out, video, show, no_verify, quiet=json_)
    if json_:
        print_json({"traces": results, "failed": failed})
    if failed:
        click.echo("\n".join([f"{len(failed)} of {len(files)} traces could not be played:", *(each["error"] for each in failed)]), err=True)
        return CRASHED
    return 0 if all(result["verified"] is None or result["verified"]["ok"] for result in results) else DIFFERS


def _given(ctx: click.Context, *names: str) -> str:
    """Those of the options that were given, as they are written; else nothing."""
    given = [name for name in names if ctx.get_parameter_source(name) not in (None, ParameterSource.DEFAULT)]
    return ", ".join(next(p.opts[-1] for p in ctx.command.params if p.name == name) for name in given)


def _check_game(ctx: click.Context, what: Path, against: str | None, out: Path | None) -> None:
    """Raises UsageError for options that would do nothing with this game, and BadParameter or FileExistsError for a place where no record
    can be written."""
    from agents.commands.play_game import has_network, is_record
    from agents.games.record import check_place

    if idle := _given(ctx, *FOR_TRACES):
        raise click.UsageError(f"{idle}: for traces only, and {what} is a game")
    if is_record(what):
        if idle := _given(ctx, "second"):
            raise click.UsageError(f"{idle}: who moves first is in the record {what} already; new games are begun on its page")
    elif ctx.get_parameter_source("web") is ParameterSource.DEFAULT and (idle := _given(ctx, *FOR_PAGES)):
        raise click.UsageError(f"{idle}: for a game in the browser; add --web")
    if (idle := _given(ctx, "simulations")) and (against or not is_record(what)) and not has_network(against or "mcts"):
        raise click.UsageError(f"{idle}: of a network whose name says none; write --against mcts:1000, alphabeta:5 or alphazero:400")
    if out is not None:
        if out.suffix != ".json":
            raise click.BadParameter(f"{out}: records of games are written as .json", param_hint="-o")
        check_place(out)


def _all(
    files: list[Path], out: Path | None, video: Path | None, show: bool, no_verify: bool, *, quiet: bool
) -> tuple[list[dict[str, Any]], list[dict[str, str]]]:
    """Play each; summaries, and what is wrong with those that are damaged or unreadable. Raises TraceError, OSError for one alone."""
    from agents.playback.trace import TraceError

    results, failed = [], []
    for file in files:
        try:
            results.append(_play(file, out, video, show, no_verify, quiet=quiet))
        except (TraceError, OSError) as error:
            if len(files) == 1 or isinstance(error, BrokenPipeError):  # the reader of our output has gone
                raise
            failed.append({"trace": str(file), "error": str(error)})
    return results, failed


def _files(traces: tuple[Path, ...]) -> list[Path]:
    """The traces named, folders replaced by what is in them. Raises UsageError for a folder without any."""
    found: list[Path] = []
    for path in traces:
        if not path.exists():
            raise click.BadParameter(f"Path '{path}' does not exist, nor is it the name of a game.", param_hint="'TRACE...|GAME'")
        inside = sorted(path.rglob("*.trace")) if path.is_dir() else [path]
        if not inside:
            raise click.UsageError(f"{path}: no .trace file in this folder")
        found += inside
    return list(dict.fromkeys(found))


def _play(file: Path, out: Path | None, video: Path | None, show: bool, no_verify: bool, *, quiet: bool) -> dict[str, Any]:
    """Do what was asked with one trace; returns the summary for --json. Raises TraceError if it is damaged."""
    from agents.playback.trace import Trace, TraceError

    trace = Trace.load(file)
    try:
        verification, sight = _check(trace, verified=not no_verify)
    except TraceError as error:
        raise TraceError(f"{file}: {error}") from error
    _say(f"{file}: {trace.episode.scenario}, seed {trace.episode.seed}, {trace.policy or 'unknown policy'}, {trace.times[-1]:.1f} s", quiet)
    if verification is not None:
        _say(f"  {'verified' if verification.ok else 'NOT VERIFIED'}: {verification.reason}", quiet)
    result: dict[str, Any] = {
        "trace": str(file),
        "scenario": trace.episode.scenario,
        "seed": trace.episode.seed,
        "policy": trace.policy,
        "digest": trace.digest,
        "metrics": dict(trace.metrics),
        "verified": vars(verification) if verification is not None else None,
        "page": None,
        "video": None,
    }
    if out is not None or not (video or show):
        from agents.playback.page import write_page
        from agents.playback.plans import plan_again

        play = shlex.join(["closedloop", "play", str(file)])
        again = f"{trace.command}\n{play}" if trace.command else play
        thoughts, place = plan_again(trace), out or file.with_suffix(".html")
        write_page(trace, place, verification=verification, command=again, sight=sight, thoughts=thoughts)
        result["page"] = str(place)
        _say(f"  page: {result['page']}", quiet)
    if video is not None:
        result["video"] = str(_write_video(trace, video, sight))
        _say(f"  video: {result['video']}", quiet)
    if trace.command:
        _say(f"  to drive it again: {trace.command}", quiet)
    if show:
        from agents.playback.video import show as show_window

        show_window(trace, sight=sight)
    return result


def _check(trace: Trace, *, verified: bool) -> tuple[Verification | None, Sight | None]:
    """What verification says, if it is asked, and what there was to be seen, if anything was believed."""
    if not verified and trace.beliefs is None:
        return None, None
    from agents.playback.sight import look_again
    from agents.playback.verify import verify

    states: list[State] = []
    verification = verify(trace, keep=states) if verified else None
    return verification, look_again(trace, states)


def _write_video(trace: Trace, path: Path, sight: Sight | None) -> Path:
    """Write the video with a progress bar on a terminal."""
    from tqdm import tqdm  # type: ignore[import-untyped]

    from agents.playback.video import write_video

    with tqdm(unit="frame", leave=False, disable=None) as bar:  # on stderr; None: only on a terminal

        def progress(done: int, total: int) -> None:
            bar.total = total
            bar.update(done - bar.n)

        return write_video(trace, path, progress=progress, sight=sight)


def _say(text: str, quiet: bool) -> None:
    """A line for people: on stdout, or on stderr where stdout is for JSON."""
    click.echo(text, err=quiet)

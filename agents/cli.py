"""The command `closedloop`. A command's module is imported when it runs, so `--help` imports neither torch nor gymnasium.

Exit codes: 0 done, 1 a regression, or a trace that does not reproduce, 2 bad input, 3 inconclusive, 4 something was lost or crashed, 130
interrupted.
"""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Sequence
from importlib import import_module
from typing import Any

import click

from agents import __version__
from agents.commands.group import HelpfulGroup
from agents.layout import PACKAGES, intruders

__all__ = ["BAD_INPUT", "COMMANDS", "CRASHED", "INTERRUPTED", "cli", "main"]

BAD_INPUT, CRASHED, INTERRUPTED = 2, 4, 130
PIPE_CLOSED = 141  # as of a program that SIGPIPE ends: whoever reads our output has gone; not 0, for what went wrong may be untold

# name: (module whose `command` is the click command, one line for --help)
COMMANDS: dict[str, tuple[str, str]] = {
    "train": ("agents.commands.train", "Train a policy on a scenario or a robot task."),
    "eval": ("agents.commands.eval_", "Judge policies on scenarios, robot tasks or a suite."),
    "compare": ("agents.commands.compare", "Ask whether a policy got worse than another anywhere."),
    "stress": ("agents.commands.stress", "Search a scenario for failures of a policy."),
    "play": ("agents.commands.play", "Verify a trace and turn it into a web page or a video."),
    "import": ("agents.commands.import_", "Turn recorded traffic into scenarios."),
    "export": ("agents.commands.export", "Turn a trace into a CommonRoad solution."),
    "validate": ("agents.commands.validate", "Check scenario files and show every mistake."),
    "schema": ("agents.commands.schema", "Print the JSON Schema of scenario files, for editors."),
    "list": ("agents.commands.list_", "List scenarios, policies, environments and games."),
    "doctor": ("agents.commands.doctor", "Check this machine and this installation."),
    "bench": ("agents.commands.bench", "Measure the speed of simulator, perception, planners."),
    "study": ("agents.commands.study", "Study what perceiving costs, or how planners compare."),
    "pretrain": ("agents.commands.pretrain", "Train the networks of the perception stack."),
    "eval-perception": ("agents.commands.eval_perception", "Judge the stages of perception on what they never saw."),
    "show": ("agents.commands.show", "Draw what the cameras see, in all weathers, on one sheet."),
    "perceive": ("agents.commands.perceive", "Detect and follow things in real images and videos."),
}

# modules that come with an extra: what to install when one is missing
EXTRAS = {
    "commonroad": "commonroad",
    "ale_py": "atari",
    "av": "video",
    "highway_env": "bench",
    "mujoco": "robots",
    "numba": "games",
    "onnx": "onnx",
    "onnxruntime": "onnx",
    "pycocotools": "metrics",
    "ray": "cluster",
    "trackeval": "metrics",
}


class LazyGroup(HelpfulGroup):
    """Knows its commands by name and imports one only to run it or to show its own help."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        command = import_module(COMMANDS[cmd_name][0]).command
        assert isinstance(command, click.Command)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, line) for name, (_, line) in COMMANDS.items()])


@click.group(
    cls=LazyGroup,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
    epilog="Exit codes: 0 done, 1 regression (compare) or a trace does not reproduce (play), 2 bad input, 3 inconclusive (compare), "
    "4 something was lost or crashed, 130 interrupted. --debug, anywhere, shows the traceback of an error.",
)
@click.version_option(__version__, prog_name="closedloop")
def cli() -> None:
    """Train driving policies, judge them, replay what they did.

    \b
    closedloop train --scenario highway
    closedloop eval highway idm random --scenario highway
    closedloop compare highway runs/mine --suite nightly
    closedloop play runs/eval/traces
    """


def main(argv: Sequence[str] | None = None) -> None:
    """Entry point of the console script: runs `cli` and leaves with the exit codes named above."""
    sys.exit(run(list(sys.argv[1:] if argv is None else argv)))


def run(argv: list[str]) -> int:
    """Run the command line and return its exit code. Errors in what the user gave are told in a line or two, without traceback."""
    debug = "--debug" in argv or bool(os.environ.get("CLOSEDLOOP_DEBUG"))
    argv = [a for a in argv if a != "--debug"]
    for problem in intruders():
        return _fail(f"{problem}.", BAD_INPUT)
    try:
        result: Any = cli.main(args=argv, prog_name="closedloop", standalone_mode=False)
        sys.stdout.flush()
        return result if isinstance(result, int) and not isinstance(result, bool) else 0
    except click.exceptions.Exit as stop:
        return stop.exit_code
    except click.ClickException as error:
        error.show()
        return BAD_INPUT
    except (click.Abort, KeyboardInterrupt):
        return _fail("interrupted", INTERRUPTED)
    except (BrokenPipeError, SystemExit):  # `closedloop list | head`; click and rich make 1 of it, which here means a regression
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return PIPE_CLOSED
    except Exception as error:
        if debug:
            traceback.print_exc()
            return _code(error)
        return _explain(error)


def _code(error: Exception) -> int:
    """Bad input is what the user can put right: files, a missing extra, and what our own error types tell (ScenarioError, PolicyError and
    the like, each a ValueError; and that nothing here renders). Anything else, a bare ValueError too, is a crash."""
    if isinstance(error, ModuleNotFoundError):
        return BAD_INPUT if (error.name or "").partition(".")[0] in EXTRAS else CRASHED
    told = isinstance(error, ValueError) or type(error).__name__ == "NoRenderer"  # by name: its module imports MuJoCo
    ours = told and type(error).__module__.partition(".")[0] in PACKAGES
    return BAD_INPUT if ours or isinstance(error, OSError) else CRASHED


def _explain(error: Exception) -> int:
    """Tell an error in a line or two: what to put right, or that it is a bug."""
    extra = EXTRAS.get((getattr(error, "name", None) or "").partition(".")[0]) if isinstance(error, ModuleNotFoundError) else None
    if extra:
        return _fail(f"this needs the extra '{extra}': pip install 'closedloop[{extra}]'", BAD_INPUT)
    if isinstance(error, OSError) and error.filename is not None:
        return _fail(f"{error.filename}: {error.strerror or error}", BAD_INPUT)
    if _code(error) == BAD_INPUT:
        return _fail(str(error) or type(error).__name__, BAD_INPUT)
    last = "".join(traceback.format_exception_only(error)).strip()
    advice = "This is a bug in closedloop, not a mistake in your input. --debug shows the traceback; please report it with that."
    return _fail(f"{last}\n{advice}", CRASHED)


def _fail(message: str, code: int) -> int:
    click.echo(f"closedloop: {message}", err=True)
    return code


if __name__ == "__main__":
    main()

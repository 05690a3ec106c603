"""`closedloop doctor`: is this machine and this installation fit, and what is missing for what."""

from __future__ import annotations

import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import asdict, dataclass
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path

import click

from agents import __version__
from agents.commands.compiling import compiler
from agents.layout import PACKAGES, intruders, package_folders

__all__ = ["Check", "checks", "command"]

OK, NOTE, FAIL = "ok", "note", "fail"  # a note: something optional is missing
MARKS = {OK: "ok  ", NOTE: "note", FAIL: "FAIL"}
NEEDED = (
    "torch",
    "numpy",
    "gymnasium",
    "stable-baselines3",
    "sb3-contrib",
    "pettingzoo",
    "scipy",
    "shapely",
    "pydantic",
    "ruamel.yaml",
    "safetensors",
    "click",
    "cmaes",
    "rich",
    "tqdm",
    "networkx",
    "matplotlib",
    "tensorboard",
)
EXTRAS = {  # extra: (modules, what they are for)
    "commonroad": (("commonroad",), "closedloop import"),
    "video": (("av",), "closedloop play --video"),
    "onnx": (("onnxruntime", "onnx"), "detectors on CPUs without bfloat16, and those of others as onnx:FILE"),
    "metrics": (("pycocotools", "trackeval"), "closedloop eval-perception"),
    "bench": (("highway_env", "mujoco"), "the peers in closedloop bench"),
    "robots": (("mujoco",), "robot tasks, as closedloop/Reach-v0"),
    "cluster": (("ray",), "closedloop compare --cluster ray"),
    "atari": (("ale_py",), "Atari games, as closedloop/Pong-v0"),
    "games": (("numba",), "Go compiled, many times as fast"),
}
RESERVED = {  # extras of features to come, which nothing uses yet
    "tune": ("optuna", "hyper-parameter search"),
}


@dataclass(frozen=True, kw_only=True)
class Check:
    """One finding. status: ok, note (optional thing missing) or fail."""

    name: str
    status: str
    detail: str


def checks() -> list[Check]:
    """Every finding, in the order shown. Never raises: a check that breaks is itself a failed check."""
    found: list[Check] = []
    for probe in (_python, _packages, _requirements, _torch, _detector, _compiler, _renderer, _extras, _programs, _weights, _writing):
        try:
            found += probe()
        except Exception as error:
            found.append(Check(name=probe.__name__.strip("_"), status=FAIL, detail=f"{type(error).__name__}: {error}"))
    return found


def _python() -> list[Check]:
    where = f"{platform.python_version()} on {platform.system()} {platform.machine()}, {os.cpu_count()} cores; closedloop {__version__}"
    return [Check(name="python", status=OK if sys.version_info >= (3, 11) else FAIL, detail=where)]


def _packages() -> list[Check]:
    wrong = intruders()
    if wrong:
        return [Check(name="packages", status=FAIL, detail=problem) for problem in wrong]
    folder = next(iter(package_folders().values()))
    return [Check(name="packages", status=OK, detail=f"{', '.join(PACKAGES)} side by side in {folder.parent if folder else '?'}")]


def _requirements() -> list[Check]:
    found = []
    for name in NEEDED:
        try:
            found.append(Check(name=name, status=OK, detail=metadata.version(name)))
        except metadata.PackageNotFoundError:
            found.append(Check(name=name, status=FAIL, detail=f"not installed: pip install {name}"))
    if find_spec("cv2") is None:  # several distributions bring it
        found.append(Check(name="opencv", status=FAIL, detail="not installed: pip install opencv-python-headless"))
    return found


def _torch() -> list[Check]:
    import torch

    device = f"cuda: {torch.cuda.get_device_name()}" if torch.cuda.is_available() else "cpu (no CUDA device)"
    cores = os.cpu_count() or 1
    threads = torch.get_num_threads()
    status = NOTE if threads > cores else OK
    return [
        Check(name="device", status=OK, detail=device),
        Check(
            name="threads",
            status=status,
            detail=f"torch uses {threads} of {cores} cores" + ("; set OMP_NUM_THREADS" if status == NOTE else ""),
        ),
    ]


def _detector() -> list[Check]:
    import torch

    from perception.detectors.backends import fastest

    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    ways = {
        "int8": "torch in whole numbers of 8 bits, which this CPU multiplies by itself",
        "half": "torch in half precision (bfloat16), which this CPU computes by itself",
        "onnx": "onnxruntime",
        "torch": "torch in single precision; onnxruntime is faster: pip install 'closedloop[onnx]'",
        "compiled": "torch, compiled, in half precision",
    }
    name = fastest(device)
    return [Check(name="detector", status=NOTE if name == "torch" else OK, detail=f"runs by {ways[name]}")]


def _compiler() -> list[Check]:
    path = compiler()
    if path is None:
        return [
            Check(
                name="compiler",
                status=NOTE,
                detail="no g++ or clang++: the simulator runs eager only, without torch.compile (several times slower)",
            )
        ]
    return [Check(name="compiler", status=OK, detail=f"{path} for torch.compile")]


def _renderer() -> list[Check]:
    """In a process of its own: a graphics driver that is broken takes the process with it."""
    if find_spec("mujoco") is None:
        return [
            Check(name="renderer", status=NOTE, detail="no cameras of robots: MuJoCo is not installed: pip install 'closedloop[robots]'")
        ]
    code = "import json; from envs.robots.gl import describe; print(json.dumps(describe()))"
    folder = str(Path(__file__).resolve().parents[2])
    paths = os.pathsep.join([folder, *filter(None, [os.environ.get("PYTHONPATH")])])
    try:
        ended = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, env={**os.environ, "PYTHONPATH": paths}, check=False
        )
    except subprocess.TimeoutExpired:
        return [Check(name="renderer", status=NOTE, detail="no cameras of robots: OpenGL did not answer for 60 s")]
    if ended.returncode != 0:
        said = ended.stderr.strip().splitlines() or [f"the process died with code {ended.returncode}"]
        return [Check(name="renderer", status=NOTE, detail=f"no cameras of robots: {said[-1].removeprefix('envs.robots.gl.NoRenderer: ')}")]
    way, name, software = json.loads(ended.stdout.splitlines()[-1])
    slow = "; on the CPU, some hundred small pictures a second: a graphics card and its driver's EGL are faster" if software else ""
    return [Check(name="renderer", status=NOTE if software else OK, detail=f"{name} by {way}{slow}")]


def _extras() -> list[Check]:
    found = []
    for extra, (modules, purpose) in EXTRAS.items():
        missing = [module for module in modules if find_spec(module) is None]
        there = not missing
        detail = f"for {purpose}" if there else f"{', '.join(missing)} not installed; for {purpose}: pip install 'closedloop[{extra}]'"
        found.append(Check(name=f"extra {extra}", status=OK if there else NOTE, detail=detail))
    later = [f"{extra} ({purpose})" for extra, (_, purpose) in RESERVED.items()]
    return [*found, Check(name="extras reserved", status=OK, detail=f"for features to come, nothing uses them yet: {', '.join(later)}")]


def _programs() -> list[Check]:
    browser = next((p for p in ("chromium", "chromium-browser", "google-chrome") if shutil.which(p)), None)
    detail = str(shutil.which(browser)) if browser else "none found; replays open in any browser, only the tests of the page need chromium"
    return [Check(name="browser", status=OK if browser else NOTE, detail=detail)]


def _weights() -> list[Check]:
    from agents.policies.arcade_spec import ARCADE_WEIGHTS
    from agents.policies.base import load_policy, shipped_names
    from agents.policies.bundle import load_bundle
    from agents.policies.robot_spec import ROBOT_WEIGHTS
    from agents.policies.shipped import shipped_in

    names = shipped_names()
    for name in names:
        load_policy(name, changed="ignore")  # checks the hash
    for domain, folder in (("robots", ROBOT_WEIGHTS), ("arcade", ARCADE_WEIGHTS)):
        for name in shipped_in(folder):
            load_bundle(folder / f"{name}.safetensors")
            names.append(f"{name} ({domain})")
    return [Check(name="checkpoints", status=OK if names else NOTE, detail=", ".join(names) or "none come with this installation")]


def _writing() -> list[Check]:
    found = []
    places: dict[str, Callable[[], Path]] = {"current folder": Path.cwd, "temporary folder": lambda: Path(tempfile.gettempdir())}
    for name, place in places.items():
        folder = place()
        try:
            with tempfile.NamedTemporaryFile(dir=folder):
                found.append(
                    Check(name=name, status=OK, detail=f"{folder} can be written; {shutil.disk_usage(folder).free / 2**30:.1f} GiB free")
                )
        except OSError as error:
            found.append(Check(name=name, status=FAIL, detail=f"{folder} cannot be written: {error.strerror}"))
    return found


@click.command("doctor")
@click.option("--json", "json_", is_flag=True, help="Print JSON.")
def command(json_: bool) -> int:
    """Check this machine and this installation. Exit code 0: fit, 2: something needed is missing.

    \b
    closedloop doctor
    closedloop doctor --json
    """
    from agents.commands.output import print_json

    found = checks()
    fit = all(check.status != FAIL for check in found)
    if json_:
        print_json({"ok": fit, "checks": [asdict(check) for check in found]})
    else:
        width = max(len(check.name) for check in found)
        for check in found:
            colour = {OK: "green", NOTE: "yellow", FAIL: "red"}[check.status]
            click.echo(f"{click.style(MARKS[check.status], fg=colour)}  {check.name:<{width}}  {check.detail}")
    return 0 if fit else 2

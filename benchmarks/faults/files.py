"""Faults of what is read and written: policies, journal, disk, scenarios, suites, kept results."""

from __future__ import annotations

import errno
import os
import resource
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from agents.evaluation import jobs
from agents.gate import journal
from agents.policies.base import WEIGHTS
from benchmarks.faults.common import BRIEF, SUITE, compare, fault, stop_after
from scenarios import files

# ---------------------------------------------------------------- files of policies


def _spoilt_bundle(name: str, says: str, spoil: Callable[[Path], object]) -> None:
    @fault("policy file", name, says, code=2)
    def run(folder: Path) -> int:
        mine = folder / "mine"
        mine.mkdir()
        for end in (".safetensors", ".json"):
            shutil.copy(WEIGHTS / f"merge{end}", mine / f"policy{end}")
        spoil(mine / "policy.safetensors")
        return compare(folder, baseline="merge", candidate="mine")


def _flip(path: Path, place: int) -> None:
    raw = bytearray(path.read_bytes())
    raw[place] ^= 1
    path.write_bytes(bytes(raw))


def _nan_weights(path: Path) -> None:
    raw = bytearray(path.read_bytes())
    raw[-4:] = b"\x00\x00\xc0\x7f"
    path.write_bytes(bytes(raw))


_spoilt_bundle("cut off in the middle", "policy.safetensors", lambda path: os.truncate(path, path.stat().st_size // 2))
_spoilt_bundle("one bit of the weights flipped", "sha256", lambda path: _flip(path, -100))
_spoilt_bundle("a weight that is no number", "not finite", _nan_weights)
_spoilt_bundle("empty", "policy.safetensors", lambda path: os.truncate(path, 0))
_spoilt_bundle("gone", "cannot be read: No such file", os.remove)
_spoilt_bundle("the card is another policy's", "sha256", lambda path: shutil.copy(WEIGHTS / "highway.json", path.with_suffix(".json")))


@fault("policy file", "replaced between two attempts", "policies.candidate.sha256", code=2)
def _(folder: Path) -> int:
    for end in (".safetensors", ".json"):
        shutil.copy(WEIGHTS / f"merge{end}", folder / f"mine{end}")
    stop_after(6)
    compare(folder, baseline="merge", candidate="./mine.safetensors")
    for end in (".safetensors", ".json"):
        shutil.copy(WEIGHTS / f"roundabout{end}", folder / f"mine{end}")
    return compare(folder, "--resume", baseline="merge", candidate="./mine.safetensors")


@fault("policy file", "gone when it is its turn to drive", "lost: candidate, brief, seed 0: PolicyError")
def _(folder: Path) -> int:
    for end in (".safetensors", ".json"):
        shutil.copy(WEIGHTS / f"merge{end}", folder / f"mine{end}")
    create = journal.Journal.create.__func__  # type: ignore[attr-defined]

    def then_gone(cls: Any, path: Path, config: Any) -> Any:
        os.remove(folder / "mine.safetensors")
        return create(cls, path, config)

    journal.Journal.create = classmethod(then_gone)  # type: ignore[assignment, method-assign]
    return compare(folder, baseline="merge", candidate="./mine.safetensors")


# ---------------------------------------------------------------- journal


def _spoilt_journal(name: str, says: str, spoil: Callable[[list[bytes]], list[bytes]], code: int = 4) -> None:
    @fault("journal", name, says, code=code)
    def run(folder: Path) -> int:
        stop_after(12)
        compare(folder)
        path = folder / "out" / "journal.jsonl"
        path.write_bytes(b"".join(spoil(path.read_bytes().splitlines(keepends=True))))
        return compare(folder, "--resume")


_spoilt_journal("a figure edited", ":4: damaged", lambda x: [*x[:3], x[3].replace(b'"success":1', b'"success":0'), *x[4:]])
_spoilt_journal("one bit flipped", ":6: damaged", lambda x: [*x[:5], bytes([x[5][0], x[5][1] ^ 1]) + x[5][2:], *x[6:]])
_spoilt_journal("a line missing", ":5: damaged", lambda x: x[:4] + x[5:])
_spoilt_journal("two lines exchanged", ":3: damaged", lambda x: [*x[:2], x[3], x[2], *x[4:]])
_spoilt_journal("a line twice", ":4: damaged", lambda x: [*x[:3], x[2], *x[3:]])
_spoilt_journal("a block of zeros", ":5: damaged", lambda x: [*x[:4], b"\0" * len(x[4]), *x[5:]])
_spoilt_journal("torn in the middle", ":7: damaged", lambda x: [*x[:6], x[6][:40] + b"\n", *x[7:]])
_spoilt_journal("empty", "it has no complete line", lambda x: [])
_spoilt_journal("a line of another program", ":9: damaged", lambda x: [*x[:8], b'{"level":"info","msg":"started"}\n', *x[8:]])


@fault("journal", "gone before --resume", "No such file", code=2)
def _(folder: Path) -> int:
    return compare(folder, "--resume")


@fault("journal", "of a run with other options", "alpha: 0.05 then, 0.01 now", code=2)
def _(folder: Path) -> int:
    compare(folder)
    return compare(folder, "--resume", "--alpha", "0.01")


@fault("journal", "another process is writing to it", "another closedloop is writing", code=2)
def _(folder: Path) -> int:
    compare(folder)
    import fcntl

    holder = os.open(folder / "out" / "journal.jsonl", os.O_WRONLY)
    fcntl.flock(holder, fcntl.LOCK_EX)
    return compare(folder, "--resume")


@fault("journal", "two results of one episode that contradict", "it does not repeat itself")
def _(folder: Path) -> int:
    compare(folder)
    path = folder / "out" / "journal.jsonl"
    bodies, check, _ = journal.read(path)
    line, _ = journal._line(check, {**bodies[1], "fingerprint": "0" * 64})
    path.write_bytes(path.read_bytes() + line)
    return compare(folder, "--resume")


# ---------------------------------------------------------------- disk


def _no_room(*_: object, **__: object) -> Any:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@fault("disk", "full when the journal is begun", "No space left", code=2)
def _(folder: Path) -> int:
    files.os.fsync = _no_room
    return compare(folder)


@fault("disk", "full at the seventh result", "cannot be written: No space left")
def _(folder: Path) -> int:
    write, count = os.write, [0]

    def until(file: int, data: bytes) -> int:
        count[0] += data.startswith(b'{"body"')
        return _no_room() if count[0] == 7 else write(file, data)

    journal.os.write = until  # type: ignore[assignment]
    return compare(folder)


@fault("disk", "room for half a line", "bytes found room")
def _(folder: Path) -> int:
    write = os.write
    journal.os.write = lambda file, data: write(file, data[: len(data) // 2] if data.startswith(b'{"body"') else data)  # type: ignore[assignment]
    return compare(folder)


@fault("disk", "an error when a result is made durable", "Input/output error")
def _(folder: Path) -> int:
    append = journal.Journal.append

    def broken(self: journal.Journal, body: dict[str, Any]) -> None:
        def failing(file: int) -> None:
            raise OSError(errno.EIO, os.strerror(errno.EIO))

        journal.os.fsync = failing  # type: ignore[assignment]
        append(self, body)

    journal.Journal.append = broken  # type: ignore[method-assign]
    return compare(folder)


@fault("disk", "a quota: no file may grow beyond 6 kB", "bytes found room")
def _(folder: Path) -> int:
    resource.setrlimit(resource.RLIMIT_FSIZE, (6_000, 6_000))
    return compare(folder)


def _full_at(end: str, candidate: str = "constant") -> None:
    @fault("disk", f"full at {end}", "No space left")
    def run(folder: Path) -> int:
        write = files.write_atomic

        def until(path: Any, data: Any) -> Path:
            if str(path).endswith(end):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
            return write(path, data)

        for module in list(sys.modules.values()):
            if getattr(module, "write_atomic", None) is write:
                module.write_atomic = until  # type: ignore[attr-defined]
        return compare(folder, baseline="constant", candidate=candidate)


_full_at("report.json")
_full_at("report.html")
_full_at("junit.xml")
_full_at(".trace", candidate="random")


# ---------------------------------------------------------------- scenarios, suites, kept results


def _spoilt_while(name: str, says: str, spoil: Callable[[Path], object]) -> None:
    @fault("scenario", name, says)
    def run(folder: Path) -> int:
        create = journal.Journal.create.__func__  # type: ignore[attr-defined]

        def then(cls: Any, path: Path, config: Any) -> Any:
            spoil(folder / "brief.yaml")
            return create(cls, path, config)

        journal.Journal.create = classmethod(then)  # type: ignore[assignment, method-assign]
        return compare(folder)


_spoilt_while("unreadable when it is its turn", "lost: baseline, brief", lambda path: path.write_bytes(b"\x00\xff\xfe garbage"))
_spoilt_while("gone when it is its turn", "lost: baseline, brief", os.remove)
_spoilt_while("half written when it is its turn", "lost: baseline, brief", lambda path: path.write_text(BRIEF[:90]))


def _spoilt_before(name: str, says: str, file: str, text: bytes) -> None:
    @fault("scenario", name, says, code=2)
    def run(folder: Path) -> int:
        (folder / file).write_bytes(text)
        return compare(folder)


_spoilt_before("no text", "brief.yaml", "brief.yaml", b"\xff\xfe\x00\x01")
_spoilt_before("a suite with a misspelt metric", "did you mean 'success'", "suite.yaml", SUITE.replace("success", "sucess").encode())
_spoilt_before(
    "a suite that drives an episode twice",
    "expected each scenario once for each seed",
    "suite.yaml",
    (SUITE + "  - {scenario: brief.yaml}\n").encode(),
)


@fault("scenario", "an episode that cannot be drawn", "could not be drawn: ValueError: no room")
def _(folder: Path) -> int:
    sample = jobs.sample

    def picky(scenario: Any, seed: int) -> Any:
        if seed == 3:
            raise ValueError("no room for the ego")
        return sample(scenario, seed)

    jobs.sample = picky
    return compare(folder)


@fault("scenario", "changed between two attempts", "strata.0.digest", code=2)
def _(folder: Path) -> int:
    stop_after(6)
    compare(folder)
    (folder / "brief.yaml").write_text(BRIEF.replace("15 m/s", "16 m/s"))
    return compare(folder, "--resume")


def _spoilt_baseline(name: str, says: str, spoil: Callable[[str], str], code: int = 2) -> None:
    @fault("kept results", name, says, code=code)
    def run(folder: Path) -> int:
        compare(folder, "--baseline", "kept.json", "--update-baseline", "first", baseline="")
        (folder / "kept.json").write_text(spoil((folder / "kept.json").read_text()))
        shutil.rmtree(folder / "out")
        return compare(folder, "--baseline", "kept.json", baseline="")


_spoilt_baseline(
    "a figure edited",
    "does not fit its hash",
    lambda text: text.replace('"success": "', '"success": "0').replace('"success":"', '"success":"0'),
)
_spoilt_baseline("cut off", "not a baseline", lambda text: text[: len(text) // 2])
_spoilt_baseline("of another suite", "holds other episodes", lambda text: _resealed(text, suite="other"))


def _resealed(text: str, **update: Any) -> str:
    from agents.gate.baseline import Baseline

    return Baseline.model_validate_json(text).model_copy(update=update).sealed().text()

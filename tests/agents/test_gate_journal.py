"""The journal under everything that can happen to a file: kills in the middle of a line, damage, edits, a full disk, two writers."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from agents.gate import journal as module
from agents.gate.journal import Journal, JournalError, OtherRunError, read

ROOT = Path(__file__).resolve().parents[2]
CONFIG: dict[str, Any] = {"suite": "mini", "alpha": 0.05, "metrics": [{"name": "success", "margin": 0.02}], "policies": {"baseline": "idm"}}
RECORDS = [{"seed": seed, "end": "arrived", "metrics": {"success": 1.0, "nuplan_score": 0.1 + seed / 3.0}} for seed in range(6)]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A journal of six records."""
    target = tmp_path / "out" / "journal.jsonl"
    with Journal.create(target, CONFIG) as journal:
        for record in RECORDS:
            journal.append(record)
    return target


def test_what_was_written_comes_back(path: Path) -> None:
    journal, records = Journal.resume(path, CONFIG)
    with journal:
        assert records == RECORDS
        journal.append({"seed": 6})
    assert read(path)[0] == [CONFIG, *RECORDS, {"seed": 6}]
    assert all(json.loads(line).keys() == {"body", "check"} for line in path.read_text().splitlines())


def test_cut_anywhere_it_goes_on_with_the_complete_lines(path: Path, tmp_path: Path) -> None:
    """What a kill leaves: any number of bytes. Afterwards the file is as if nothing had happened."""
    raw = path.read_bytes()
    first = raw.index(b"\n") + 1
    rng = np.random.default_rng(1)
    for length in {first, len(raw) - 1, len(raw), *rng.integers(first, len(raw), 60).tolist()}:
        copy = tmp_path / f"cut{length}.jsonl"
        copy.write_bytes(raw[:length])
        journal, records = Journal.resume(copy, CONFIG)
        assert records == RECORDS[: raw[:length].count(b"\n") - 1]
        with journal:
            for record in RECORDS[len(records) :]:
                journal.append(record)
        assert copy.read_bytes() == raw


def test_without_a_complete_first_line_it_is_damaged(path: Path, tmp_path: Path) -> None:
    for content in (b"", path.read_bytes()[:50]):
        copy = tmp_path / "short.jsonl"
        copy.write_bytes(content)
        with pytest.raises(JournalError, match="no complete line"):
            Journal.resume(copy, CONFIG)


def damaged(raw: bytes) -> dict[str, tuple[bytes, int]]:
    """Name -> (content, line that is named)."""
    lines = raw.splitlines(keepends=True)
    return {
        "a figure was edited": (raw.replace(b'"seed":3', b'"seed":9'), 5),
        "a line is missing": (b"".join(lines[:3] + lines[4:]), 4),
        "two lines were exchanged": (b"".join([*lines[:2], lines[3], lines[2], *lines[4:]]), 3),
        "a line is there twice": (b"".join([*lines[:3], lines[2], *lines[3:]]), 4),
        "zeros": (b"".join([*lines[:4], b"\0" * 40 + b"\n", *lines[5:]]), 5),
        "torn in the middle": (b"".join([*lines[:4], lines[4][:30] + b"\n", *lines[5:]]), 5),
        "an empty line": (b"".join([*lines[:2], b"\n", *lines[2:]]), 3),
        "another kind of JSON": (b"".join([*lines[:2], b"[1, 2]\n", *lines[2:]]), 3),
        "no text": (b"".join([*lines[:2], b"\xff\xfe\n", *lines[2:]]), 3),
        "the last complete line": (b"".join([*lines[:-1], lines[-1].replace(b"arrived", b"crashed")]), 7),
    }


@pytest.mark.parametrize("kind", list(damaged(b'{"seed":3}\n' * 8)))
def test_damage_is_named_with_its_line(path: Path, kind: str) -> None:
    content, line = damaged(path.read_bytes())[kind]
    assert content != path.read_bytes()
    path.write_bytes(content)
    with pytest.raises(JournalError, match=rf"journal\.jsonl:{line}: damaged"):
        Journal.resume(path, CONFIG)
    assert path.read_bytes() == content  # looked at, not touched


def test_any_flipped_bit_is_found(path: Path) -> None:
    raw = path.read_bytes()
    rng = np.random.default_rng(2)
    for place in rng.integers(0, len(raw) - 1, 150).tolist():
        broken = bytearray(raw)
        broken[place] ^= 1 << int(rng.integers(8))
        path.write_bytes(bytes(broken))
        with pytest.raises((JournalError, OtherRunError)):
            Journal.resume(path, CONFIG)


def test_another_configuration_is_refused_with_what_differs(path: Path) -> None:
    before = path.read_bytes()
    other = {**CONFIG, "alpha": 0.01, "metrics": [{"name": "success", "margin": 0.05}], "full": True}
    with pytest.raises(OtherRunError) as caught:
        Journal.resume(path, other)
    lines = str(caught.value).splitlines()
    assert "belongs to another run" in lines[0]
    assert lines[1:] == ["  alpha: 0.05 then, 0.01 now", "  metrics.0.margin: 0.02 then, 0.05 now", "  full: nothing then, True now"]
    assert path.read_bytes() == before


def test_many_differences_are_counted() -> None:
    told = list(module.differences({"a": list(range(40))}, {"a": [-1] * 40}))
    assert len(told) == 40
    assert told[0] == "a.0: 0 then, -1 now"
    assert list(module.differences({"a": [1]}, {"a": [1, 2]})) == ["a: [1] then, [1, 2] now"]


def test_a_journal_is_not_overwritten(path: Path) -> None:
    with pytest.raises(FileExistsError, match="resume"):
        Journal.create(path, CONFIG)


def test_two_writers_are_one_too_many(path: Path) -> None:
    first, _ = Journal.resume(path, CONFIG)
    with first, pytest.raises(OtherRunError, match="another closedloop is writing"):
        Journal.resume(path, CONFIG)


def test_a_full_disk_is_told_and_what_was_written_stays(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write = os.write
    journal, _ = Journal.resume(path, CONFIG)
    with journal:

        def full(file: int, data: bytes) -> int:
            raise OSError(errno.ENOSPC, "No space left on device")

        monkeypatch.setattr(module.os, "write", full)
        with pytest.raises(JournalError, match="cannot be written: No space left on device"):
            journal.append({"seed": 6})
        monkeypatch.setattr(module.os, "write", lambda file, data: write(file, data[:10]))
        with pytest.raises(JournalError, match="only 10 of"):
            journal.append({"seed": 6})
    monkeypatch.undo()
    again, records = Journal.resume(path, CONFIG)
    again.close()
    assert records == RECORDS


WRITER = """
import sys
from pathlib import Path
from agents.gate.journal import Journal
path = Path(sys.argv[1])
journal, done = Journal.resume(path, {"a": 1}) if path.exists() else (Journal.create(path, {"a": 1}), [])
print(len(done), flush=True)
for k in range(len(done), 100000):
    journal.append({"k": k, "padding": "x" * (k % 3000)})
"""


def test_killed_while_writing_nothing_is_lost_or_doubled(tmp_path: Path) -> None:
    path, before = tmp_path / "journal.jsonl", 0
    for _ in range(3):
        with subprocess.Popen([sys.executable, "-c", WRITER, str(path)], cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            told = int(process.stdout.readline())
            while path.stat().st_size < (before + 40) * 300:
                pass
            process.send_signal(signal.SIGKILL)
            process.wait()
        bodies, _, _ = read(path)
        assert told <= len(bodies) - 1
        assert [body["k"] for body in bodies[1:]] == list(range(len(bodies) - 1))
        before = len(bodies)

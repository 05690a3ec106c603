"""Every result on disk as soon as it is there: a file that only grows, and of which nothing is lost when the process is killed.

One JSON object a line: {"body": ..., "check": ...}. `check` is the first half of a SHA-256 over the line before and the body, so that a
changed, missing or exchanged line is found. The first body is the configuration of the run. A last line that was not finished is what a
kill leaves behind: it is cut off, and what it held is driven again. Anything else that does not fit is damage, and is named.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
from pathlib import Path
from typing import Any

from agents.gate.changes import differences
from agents.playback.storage import canonical_json
from scenarios.files import write_atomic

__all__ = ["Journal", "JournalError", "OtherRunError"]

START = "closedloop-journal-1"
MOST = 20  # differences that are told


class JournalError(Exception):
    """A journal that is damaged or can no longer be written. The message says where."""


class OtherRunError(ValueError):
    """A journal that belongs to another run, or that somebody else is writing."""


class Journal:
    """Open for appending, for one process at a time. Use as a context manager."""

    def __init__(self, path: Path, check: str) -> None:
        self.path, self.check = path, check
        self.file = os.open(path, os.O_WRONLY | os.O_APPEND)
        try:
            fcntl.flock(self.file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(self.file)
            raise OtherRunError(f"{path}: another closedloop is writing to it") from None

    @classmethod
    def create(cls, path: Path, config: dict[str, Any]) -> Journal:
        """A new journal. Raises FileExistsError if there is one, OSError if it cannot be written."""
        if path.exists():
            raise FileExistsError(17, "there is a journal already; go on with --resume, or choose another --out", str(path))
        line, check = _line(START, config)
        write_atomic(path, line)
        return cls(path, check)

    @classmethod
    def resume(cls, path: Path, config: dict[str, Any]) -> tuple[Journal, list[dict[str, Any]]]:
        """Go on with a journal; its records. Raises OSError without one, JournalError if it is damaged, OtherRunError, with what
        differs, if it was begun with another configuration."""
        bodies, check, length = read(path)
        changed = list(differences(bodies[0], json.loads(canonical_json(config))))
        if changed:
            more = [f"and {len(changed) - MOST} more"] if len(changed) > MOST else []
            told = "\n".join(f"  {line}" for line in [*changed[:MOST], *more])
            raise OtherRunError(f"{path} belongs to another run; choose another --out. What differs:\n{told}")
        journal = cls(path, check)
        os.truncate(path, length)
        return journal, bodies[1:]

    def append(self, body: dict[str, Any]) -> None:
        """Write a record; when this returns it is on disk. Raises JournalError."""
        line, check = _line(self.check, body)
        try:
            written = os.write(self.file, line)
            os.fsync(self.file)
        except OSError as error:
            raise JournalError(f"{self.path}: cannot be written: {error.strerror or error}") from error
        if written != len(line):
            raise JournalError(f"{self.path}: cannot be written: only {written} of {len(line)} bytes found room")
        self.check = check

    def close(self) -> None:
        """Let go of the file."""
        os.close(self.file)

    def __enter__(self) -> Journal:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def read(path: Path) -> tuple[list[dict[str, Any]], str, int]:
    """The bodies of a journal, the check of its last line, and how many bytes are sound. Raises OSError, JournalError."""
    raw = path.read_bytes()
    *lines, torn = raw.split(b"\n")
    bodies, check = [], START
    for number, line in enumerate(lines, start=1):
        try:
            entry = json.loads(line)
            body, claimed = entry["body"], entry["check"]
            _, check = _line(check, body)
            sound = isinstance(body, dict) and claimed == check
        except (ValueError, KeyError, TypeError, RecursionError):
            sound = False
        if not sound:
            raise JournalError(f"{path}:{number}: damaged: the line does not fit its checksum; drive anew in another --out")
        bodies.append(body)
    if not bodies:
        raise JournalError(f"{path}: damaged: it has no complete line; drive anew in another --out")
    return bodies, check, len(raw) - len(torn)


def _line(before: str, body: dict[str, Any]) -> tuple[bytes, str]:
    """A line, and its check."""
    text = canonical_json(body)
    check = hashlib.sha256(before.encode() + text).hexdigest()[:32]
    return b'{"body":' + text + b',"check":"' + check.encode() + b'"}\n', check

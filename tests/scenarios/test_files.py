"""Atomic writing: complete or not at all."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from scenarios.files import write_atomic


def test_writes_bytes_and_text_and_makes_folders(tmp_path: Path) -> None:
    path = write_atomic(tmp_path / "a" / "b" / "x.txt", "Straße\r\n")
    assert path.read_bytes() == b"Stra\xc3\x9fe\r\n"  # no newline translation
    write_atomic(path, b"\x00\x01")
    assert path.read_bytes() == b"\x00\x01"
    assert list(path.parent.iterdir()) == [path]


def test_a_failure_leaves_the_old_file_and_no_rubbish(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_atomic(tmp_path / "x.txt", "old")

    def fail(handle: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="No space"):
        write_atomic(path, "new")
    monkeypatch.undo()
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_permissions_are_kept_and_usual_for_new_files(tmp_path: Path) -> None:
    path = tmp_path / "x.sh"
    path.write_text("old")
    path.chmod(0o750)
    write_atomic(path, "new")
    assert stat.S_IMODE(path.stat().st_mode) == 0o750
    plain = tmp_path / "plain"
    plain.write_text("")
    assert stat.S_IMODE(write_atomic(tmp_path / "y", "").stat().st_mode) == stat.S_IMODE(plain.stat().st_mode)


def test_the_content_is_on_disk_before_the_name_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    order: list[str] = []
    sync, replace = os.fsync, os.replace
    monkeypatch.setattr(os, "fsync", lambda handle: (order.append("fsync"), sync(handle))[1])
    monkeypatch.setattr(os, "replace", lambda a, b: (order.append("rename"), replace(a, b))[1])
    write_atomic(tmp_path / "x", "new")
    assert order[:2] == ["fsync", "rename"]

"""--compile where nothing can be compiled is bad input, said before anything is driven."""

from __future__ import annotations

from pathlib import Path

import pytest

from agents import cli


@pytest.mark.parametrize(
    "line",
    [
        "eval idm --scenario merge --episodes 1 --compile",
        "train --scenario merge --compile",
        "study perception --policy highway --level truth --sweep none --compile",
    ],
)
def test_without_a_compiler_it_says_what_to_install(
    line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CXX", raising=False)
    assert cli.run([*line.split(), "--out", str(tmp_path / "out")]) == 2
    assert "needs a C++ compiler" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()

"""`closedloop show camera`: a sheet with a row for each family and a column for each weather."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from agents.commands import show
from scenarios import ScenarioError


def test_a_sheet_of_one_family_by_day_and_by_night(tmp_path: Path) -> None:
    args = (
        "camera",
        "--scenario",
        "merge",
        "--weather",
        "clear",
        "--weather",
        "night",
        "--scale",
        2,
        "--boxes",
        "--out",
        tmp_path / "s.png",
    )
    assert show.command.main([str(arg) for arg in args], standalone_mode=False) == 0
    sheet = cv2.imread(str(tmp_path / "s.png"))
    assert sheet is not None and sheet.shape == (2 * 96 + 24, 2 * (320 + 4), 3)
    day, night = sheet[20:212, :320].astype(float), sheet[20:212, 324:644].astype(float)
    assert night.mean() < 0.7 * day.mean()
    assert np.abs(day - night).mean() > 10.0


def test_names_that_do_not_exist(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="did you mean 'fog'"):
        show.command.main(["camera", "--weather", "fogg", "--out", str(tmp_path / "s.png")], standalone_mode=False)
    with pytest.raises(ScenarioError):
        show.command.main(["camera", "--scenario", "higway", "--out", str(tmp_path / "s.png")], standalone_mode=False)
    assert not (tmp_path / "s.png").exists()

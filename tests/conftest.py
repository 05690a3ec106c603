"""Fixtures for every test: one torch thread, no stray settings, and the folder of real recordings where there is one."""

from __future__ import annotations

import os
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before numpy and torch start their threads
os.environ.setdefault("MPLBACKEND", "Agg")

import pytest
import torch

ROOT = Path(__file__).resolve().parents[1]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip what needs a GPU where there is none."""
    if torch.cuda.is_available():
        return
    for item in items:
        if item.get_closest_marker("gpu"):
            item.add_marker(pytest.mark.skip(reason="no CUDA device"))


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> None:
    """Tests run one process a core; more threads only make them wait for each other."""
    torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No test reads or writes the user's settings or caches."""
    for variable in ("HOME", "XDG_CONFIG_HOME", "XDG_CACHE_HOME", "MPLCONFIGDIR"):
        monkeypatch.setenv(variable, str(tmp_path / "home"))
    for variable in ("CLOSEDLOOP_DEBUG", "NO_COLOR", "FORCE_COLOR", "COLUMNS"):
        monkeypatch.delenv(variable, raising=False)


@pytest.fixture(scope="session")
def opengl() -> None:
    """For tests that draw robots. Skips them where no way to OpenGL works."""
    from envs.robots.gl import NoRenderer, describe

    try:
        describe()
    except NoRenderer as error:
        pytest.skip(f"no OpenGL, see closedloop doctor: {error}")


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real recordings beside the repository (or CLOSEDLOOP_DATA). Skips the test where there is none."""
    folder = Path(os.environ.get("CLOSEDLOOP_DATA", ROOT.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"no folder of real recordings at {folder}; set CLOSEDLOOP_DATA to one")
    return folder

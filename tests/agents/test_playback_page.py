"""The HTML page and the command that writes it, without a browser."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import shlex
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from agents import cli
from agents.commands.play import command
from agents.playback.compact import compact, events, packed, spans, time_to_collision
from agents.playback.page import embedded_json, page
from agents.playback.trace import Trace, TraceError
from agents.playback.verify import verify
from agents.playback.video import show, write_video


def unpacked(text: str) -> list[int]:
    values, value, place = [], 0, 0
    for byte in base64.b64decode(text):
        value |= (byte & 127) << place
        place += 7
        if byte < 128:
            values.append(-(value + 1) // 2 if value & 1 else value // 2)
            value, place = 0, 0
    return values


def test_packed_numbers_come_back() -> None:
    numbers = [0, 1, -1, 63, 64, -64, -65, 8191, 8192, 10**12, -(10**12)]
    assert unpacked(packed(numbers)) == numbers
    assert len(base64.b64decode(packed([0] * 100))) == 100


def test_positions_are_kept_to_half_a_centimetre(highway_trace: Trace) -> None:
    data = compact(highway_trace)
    whole = np.array(unpacked(data["tracks"])).reshape(len(data["agents"]), 5, -1)
    x = np.cumsum(np.cumsum(whole[:, 0], axis=1), axis=1) / 100.0 + data["origin"][0]
    yaw, speed = np.cumsum(whole[:, 2], axis=1) / 1000.0, np.cumsum(whole[:, 3], axis=1) / 100.0
    valid = highway_trace.states["valid"][:, :20].T
    np.testing.assert_allclose(x[valid], highway_trace.states["x"][:, :20].T[valid], atol=0.0052)
    np.testing.assert_allclose(np.sin(yaw[valid]), np.sin(highway_trace.states["yaw"][:, :20].T[valid]), atol=0.0006)
    np.testing.assert_allclose(speed[valid], highway_trace.states["speed"][:, :20].T[valid], atol=0.0052)
    assert data["agents"][19]["there"] == [[0, 60]]


def test_spans() -> None:
    assert spans(np.array([True, True, False, True])) == [[0, 2], [3, 4]]
    assert spans(np.zeros(3, dtype=bool)) == []


def test_time_to_collision_of_a_head_on_pair(highway_trace: Trace) -> None:
    states = {name: array.copy() for name, array in highway_trace.states.items()}
    states["valid"][:, 2:] = False
    for slot, (x, yaw) in enumerate(((0.0, 0.0), (104.6, np.pi))):
        states["x"][:, slot], states["y"][:, slot], states["yaw"][:, slot], states["speed"][:, slot] = x, 0.0, yaw, 10.0
    states["speed"][1, :2] = 0.0
    found = time_to_collision(Trace(**{**vars(highway_trace), "states": states}))
    assert found[0] == pytest.approx(5.0, abs=1e-4)  # 100 m between the bumpers, closing at 20 m/s
    assert found[1] == np.inf


def test_events(junction_trace: Trace) -> None:
    assert [(e["step"], e["kind"]) for e in events(junction_trace)] == [(64, "bad"), (75, "good")]


def test_the_page_is_small_whole_and_closed_to_the_network(highway_trace: Trace) -> None:
    text = page(highway_trace)
    data = re.search(r'<script type="application/json" id="data">(.*?)</script>', text, re.S)
    assert data is not None
    assert len(text) - len(data[1]) < 60_000
    assert not re.search(r"https?://", text)
    assert not re.search(r"\{\{|\}\}\s*<", text.replace(data[1], ""))
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', text)
    assert policy is not None
    for tag in ("script", "style"):
        body = re.search(rf"<{tag}>(.*?)</{tag}>", text, re.S)
        assert body is not None
        assert "sha256-" + base64.b64encode(hashlib.sha256(body[1].encode()).digest()).decode() in policy[1]
    loaded = json.loads(data[1])
    assert loaded["scenario"] == "highway/hard"
    assert ["not verified", "warn"] in loaded["chips"]


def test_three_hundred_steps_of_thirty_two_agents_stay_small(highway_trace: Trace) -> None:
    rng = np.random.default_rng(0)
    agents = highway_trace.episode.agents + highway_trace.episode.agents[:12]
    count = np.arange(301)
    accel = rng.normal(0.0, 1.0, (301, 32)).astype(np.float32)
    speed = (20 + np.cumsum(accel * 0.02, axis=0)).astype(np.float32)
    yaw = np.cumsum(rng.normal(0.0, 0.005, (301, 32)), axis=0).astype(np.float32)
    states = {
        "step": 2 * count,
        "x": np.cumsum(speed * np.cos(yaw) * 0.2, axis=0),
        "y": np.cumsum(speed * np.sin(yaw) * 0.2, axis=0),
        "yaw": yaw,
        "speed": speed,
        "accel": accel,
        "steer": accel * 0,
        "valid": np.ones((301, 32), dtype=bool),
        "lane": rng.integers(0, 3, (301, 1)) + np.zeros((301, 32), dtype=np.int64),
        "lights": np.zeros((301, 0), dtype=np.int64),
    }
    outs = {name: np.zeros((300, *array.shape[1:]), array.dtype) for name, array in highway_trace.outs.items()}
    episode = type(highway_trace.episode)(**{**vars(highway_trace.episode), "agents": agents})
    changes: dict[str, Any] = {"states": states, "outs": outs, "actions": np.zeros((300, 1, 2), np.float32), "episode": episode}
    assert len(page(Trace(**{**vars(highway_trace), **changes}).sealed())) < 300_000


def test_embedded_json_cannot_end_its_element() -> None:
    text = embedded_json({"</script>": "<!-- & \u2028 -->"})
    assert not re.search(r"[<>&\u2028]", text)
    assert json.loads(text) == {"</script>": "<!-- & \u2028 -->"}


# ---------------------------------------------------------------- the command


def run(*arguments: object) -> tuple[int, str]:
    result = CliRunner().invoke(command, [str(a) for a in arguments], standalone_mode=False)
    if result.exception is not None:
        raise result.exception
    return int(result.return_value), result.stdout


@pytest.fixture
def stored(junction_trace: Trace, tmp_path: Path) -> Path:
    return junction_trace.save(tmp_path / "run" / "signals-7.trace")


def test_play_writes_a_page_beside_the_trace(stored: Path, junction_trace: Trace) -> None:
    code, text = run(stored, "--no-verify")
    assert code == 0
    assert stored.with_suffix(".html").exists()
    assert str(stored.with_suffix(".html")) in text
    assert junction_trace.command in text


def test_play_says_when_a_trace_does_not_reproduce(stored: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from agents.playback import verify as module

    monkeypatch.setattr(
        module,
        "verify",
        lambda _, **__: module.Verification(ok=False, exact=False, first_bad_step=4, reason="differs from step 4: x by up to 1"),
    )
    code, text = run(stored, "--json")
    assert code == 1
    found = json.loads(text)["traces"][0]
    assert found["verified"]["first_bad_step"] == 4
    assert found["metrics"]["ttc_min"] is None  # infinity
    assert "does not reproduce from step 4" in stored.with_suffix(".html").read_text("utf-8")


def test_play_takes_a_folder(stored: Path, highway_trace: Trace) -> None:
    highway_trace.save(stored.with_name("highway-42.trace"))
    code, text = run(stored.parent, "--no-verify", "--json")
    assert code == 0
    assert [Path(t["page"]).name for t in json.loads(text)["traces"]] == ["highway-42.html", "signals-7.html"]
    with pytest.raises(Exception, match="take one"):
        run(stored.parent, "-o", stored.parent / "a.html")
    (stored.parent / "empty").mkdir()
    with pytest.raises(Exception, match=r"no \.trace file"):
        run(stored.parent / "empty")


def test_a_damaged_trace_among_others_is_named_and_the_others_are_played(
    stored: Path, highway_trace: Trace, capsys: pytest.CaptureFixture[str]
) -> None:
    highway_trace.save(stored.with_name("highway-42.trace"))
    cut, gone = stored.with_name("a-cut.trace"), stored.with_name("is-a-folder.trace")
    cut.write_bytes(stored.read_bytes()[:5000])
    gone.mkdir()
    assert cli.run(["play", str(stored.parent), "--no-verify", "--json"]) == 4
    shown = capsys.readouterr()
    found = json.loads(shown.out)
    assert [Path(t["page"]).name for t in found["traces"]] == ["highway-42.html", "signals-7.html"]
    assert [t["trace"] for t in found["failed"]] == [str(cut), str(gone)]
    assert all(Path(t["page"]).exists() for t in found["traces"])
    assert "2 of 4 traces could not be played:" in shown.err
    assert f"{cut}: not a trace, or cut short or damaged" in shown.err
    assert cli.run(["play", str(cut)]) == 2  # the only one asked for: bad input
    assert f"closedloop: {cut}: not a trace" in capsys.readouterr().err


def test_a_reader_that_leaves_is_no_damaged_trace(stored: Path, highway_trace: Trace, monkeypatch: pytest.MonkeyPatch) -> None:
    highway_trace.save(stored.with_name("highway-42.trace"))

    def gone(*_: object, **__: object) -> None:
        raise BrokenPipeError(32, "Broken pipe")

    monkeypatch.setattr("agents.commands.play._say", gone)
    with pytest.raises(SystemExit):  # which click makes of it, and `agents.cli` its own exit code
        run(stored.parent, "--no-verify")


def test_a_trace_that_cannot_be_simulated_is_a_damaged_one(junction_trace: Trace) -> None:
    config = type(junction_trace.config)(**{**vars(junction_trace.config), "dt": 0.05})
    with pytest.raises(TraceError, match=r"cannot be simulated: .*dt=0\.05"):
        verify(Trace(**{**vars(junction_trace), "config": config}))


def test_the_command_on_the_page_can_be_pasted(stored: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where `play` ran, a shell finds the trace by it: from another folder, and with names that need quotes."""
    folder = stored.parent / "my runs; $HOME's"
    folder.mkdir()
    stored.rename(folder / stored.name)
    monkeypatch.chdir(stored.parents[1])
    file = (folder / stored.name).relative_to(stored.parents[1])
    assert run(file, "--no-verify")[0] == 0
    text = file.with_suffix(".html").read_text("utf-8")
    data = re.search(r'<script type="application/json" id="data">(.*?)</script>', text, re.S)
    assert data is not None
    shown = json.loads(data[1])["command"].splitlines()[-1]
    words = shlex.split(shown)
    assert words[:2] == ["closedloop", "play"]
    assert Path(words[2]) == file
    assert Trace.load(words[2]).episode.seed == 7


@pytest.mark.parametrize("name", ["a.gif", "a"])
def test_a_video_of_another_kind_is_bad_input(stored: Path, name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["play", str(stored), "--no-verify", "--video", name]) == 2
    assert "videos are written as .mp4 or .webm" in capsys.readouterr().err


def test_play_makes_a_video_and_then_no_page(stored: Path) -> None:
    pytest.importorskip("av", reason="PyAV (extra 'video') is not installed")
    small = Trace.load(stored)
    cut = {name: array[:6] for name, array in small.states.items()}
    outs = {name: array[:5] for name, array in small.outs.items()}
    Trace(**{**vars(small), "states": cut, "outs": outs, "actions": small.actions[:5]}).sealed().save(stored)
    code, _ = run(stored, "--no-verify", "--video", stored.with_name("v.webm"))
    assert code == 0
    assert stored.with_name("v.webm").stat().st_size > 1000
    assert not stored.with_suffix(".html").exists()


def test_video_without_pyav_or_with_an_odd_name(junction_trace: Trace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValueError, match=r"\.mp4 or \.webm"):
        write_video(junction_trace, tmp_path / "a.gif")
    with pytest.raises(ValueError, match="even"):
        write_video(junction_trace, tmp_path / "a.mp4", size=(321, 180))
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(ModuleNotFoundError, match=r"closedloop\[video\]") as caught:
        write_video(junction_trace, tmp_path / "a.mp4")
    assert caught.value.name == "av"
    assert not list(tmp_path.glob("a.*"))


def test_no_window_without_a_display(junction_trace: Trace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    with pytest.raises(OSError, match=r"cannot open a window.*--video"):
        show(junction_trace)

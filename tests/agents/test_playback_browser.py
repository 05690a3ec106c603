"""The HTML player, the video and the page of board games in headless Chromium, driven through its DevTools protocol over a pipe."""

from __future__ import annotations

import base64
import dataclasses
import json
import os
import re
import shutil
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from agents.evaluation.rollout import EpisodeResult
from agents.games import SearchConfig, player_named
from agents.games.record import GameRecord, load_record
from agents.games.web import Table, serve
from agents.gate.gallery import gallery
from agents.gate.html import report_page
from agents.gate.replays import Replay
from agents.gate.report import Failure, Report, Worse
from agents.playback.page import write_page
from agents.playback.sight import Sight
from agents.playback.trace import Trace
from agents.playback.verify import Verification
from envs.driving.palette import BELIEFS, CLASSES
from envs.games import game_named

CHROMIUM = next((path for name in ("chromium", "chromium-browser", "google-chrome", "chrome") if (path := shutil.which(name))), None)
FLAGS = [
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"),
    *("--disable-component-update", "--disable-sync", "--hide-scrollbars", "--force-color-profile=srgb", "--remote-debugging-pipe"),
]


class Browser:
    """One page of a headless Chromium. Collects what the page logs and what it asks for."""

    def __init__(self, profile: Path) -> None:
        assert CHROMIUM is not None
        there, self.out = os.pipe()
        self.back, here = os.pipe()
        command = f'exec "$0" "$@" 3<&{there} 4>&{here}'
        arguments = [CHROMIUM, *FLAGS, f"--user-data-dir={profile}", "about:blank"]
        self.process = subprocess.Popen(
            ["/bin/bash", "-c", command, *arguments], pass_fds=(there, here), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        os.close(there)
        os.close(here)
        self.buffer, self.number, self.session = b"", 0, ""
        self.logged: list[str] = []
        self.requested: list[str] = []
        self.events: list[str] = []
        target = self.send("Target.createTarget", url="about:blank")["targetId"]
        self.session = self.send("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.send(f"{domain}.enable")

    def close(self) -> None:
        os.close(self.out)  # Chromium leaves when its pipe closes
        try:
            self.process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        os.close(self.back)

    def send(self, method: str, **parameters: Any) -> dict[str, Any]:
        self.number += 1
        message = {"id": self.number, "method": method, "params": parameters} | ({"sessionId": self.session} if self.session else {})
        os.write(self.out, json.dumps(message).encode() + b"\0")
        while True:
            answer = self.receive()
            if answer.get("id") == self.number:
                assert "error" not in answer, answer
                result: dict[str, Any] = answer["result"]
                return result

    def receive(self) -> dict[str, Any]:
        while b"\0" not in self.buffer:
            piece = os.read(self.back, 1 << 20)
            assert piece, "Chromium went away"
            self.buffer += piece
        raw, _, self.buffer = self.buffer.partition(b"\0")
        message: dict[str, Any] = json.loads(raw)
        parameters = message.get("params", {})
        match message.get("method"):
            case "Network.requestWillBeSent":
                self.requested.append(parameters["request"]["url"])
            case "Runtime.exceptionThrown":
                self.logged.append(json.dumps(parameters["exceptionDetails"]))
            case "Runtime.consoleAPICalled":
                self.logged.append(json.dumps(parameters["args"]))
            case "Log.entryAdded":
                self.logged.append(json.dumps(parameters["entry"]))
            case str() as name:
                self.events.append(name)
        return message

    def open(self, url: str, *, width: int = 1280, height: int = 800, theme: str = "light") -> None:
        self.logged, self.requested, self.events = [], [], []
        self.send("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 600)
        self.send("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": theme}])
        self.send("Page.navigate", url="about:blank")
        self.events = []
        self.send("Page.navigate", url=url)
        while "Page.loadEventFired" not in self.events:
            self.receive()
        self.settle()

    def settle(self) -> None:
        """Wait until two frames have been drawn."""
        self.run("new Promise(done => requestAnimationFrame(() => requestAnimationFrame(() => done(1))))")

    def run(self, expression: str) -> Any:
        """The value of a JavaScript expression; promises are awaited."""
        result = self.send("Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in result, result
        return result["result"].get("value")

    def wait(self, expression: str, seconds: float = 10.0) -> None:
        end = time.monotonic() + seconds
        while not self.run(expression):
            assert time.monotonic() < end, f"still not: {expression}"
            time.sleep(0.05)

    def key(self, key: str) -> None:
        extra: dict[str, Any] = {"text": key} if len(key) == 1 else {"windowsVirtualKeyCode": {"Escape": 27}.get(key, 0)}
        self.send("Input.dispatchKeyEvent", type="keyDown", key=key, **extra)
        self.send("Input.dispatchKeyEvent", type="keyUp", key=key)
        self.settle()

    def click(self, x: float, y: float) -> None:
        for kind in ("mousePressed", "mouseReleased"):
            self.send("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", buttons=1, clickCount=1)
        self.settle()

    def picture(self, file: Path | None = None) -> NDArray[np.uint8]:
        """A screenshot, (H, W, 3) RGB."""
        raw = base64.b64decode(self.send("Page.captureScreenshot", format="png")["data"])
        if file is not None:
            file.write_bytes(raw)
        decoded = cv2.imdecode(np.frombuffer(raw, np.uint8), cv2.IMREAD_COLOR)
        assert decoded is not None
        return np.asarray(decoded[..., ::-1], dtype=np.uint8)


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    if CHROMIUM is None:
        pytest.skip("no Chromium on the path")
    found = Browser(tmp_path_factory.mktemp("profile"))
    yield found
    found.close()


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory, highway_trace: Trace, junction_trace: Trace) -> dict[str, str]:
    folder = tmp_path_factory.mktemp("pages")
    good = Verification(ok=True, exact=True, reason="identical to the last bit")
    traces = {"highway": highway_trace, "junction": junction_trace}
    return {name: write_page(trace, folder / f"{name}.html", verification=good).as_uri() for name, trace in traces.items()}


def near(picture: NDArray[np.uint8], colour: str, tolerance: int = 12) -> int:
    """Pixels of about this colour."""
    wanted = np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)])
    return int((np.abs(picture.astype(int) - wanted).max(-1) <= tolerance).sum())


def clock(browser: Browser) -> float:
    return float(browser.run("document.getElementById('clock').textContent").split("/")[0])


# ---------------------------------------------------------------- the page


@pytest.mark.parametrize("name", ["highway", "junction"])
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_the_page_draws_without_complaint_and_asks_for_nothing(browser: Browser, files: dict[str, str], name: str, theme: str) -> None:
    browser.open(files[name] + "#t=5", theme=theme)
    browser.key(" ")  # let it play a little
    browser.wait("document.getElementById('clock').textContent >= '5.3'")
    browser.key(" ")
    browser.key("?")
    browser.key("Escape")
    picture = browser.picture()
    assert browser.logged == []
    assert [url for url in browser.requested if url != "about:blank"] == [files[name]]
    colours = {"light": ("#1f6feb", "#878e97", "#e6ebdf"), "dark": ("#4c9aff", "#2e353d", "#171d1b")}[theme]
    for colour in colours:  # ego, road, ground
        assert near(picture, colour) > 200, colour


def test_the_clock_the_buttons_and_the_keys(browser: Browser, files: dict[str, str]) -> None:
    browser.open(files["junction"])
    assert clock(browser) == 0.0
    for key, expected in (
        ("End", 15.0),
        ("Home", 0.0),
        ("ArrowRight", 0.2),
        ("ArrowRight", 0.4),
        ("ArrowLeft", 0.2),
        ("n", 12.8),
        ("n", 15.0),
        ("p", 12.8),
    ):
        browser.key(key)
        assert clock(browser) == pytest.approx(expected), key
    browser.key("[")
    assert browser.run("document.getElementById('rate').value") == "0.5"
    browser.run("document.getElementById('play').click()")
    assert browser.run("document.getElementById('play').getAttribute('aria-label')") == "Pause"
    browser.wait("document.getElementById('play').getAttribute('aria-label') === 'Play'")  # stops by itself at the end
    assert clock(browser) == pytest.approx(15.0)
    browser.run("const s = document.getElementById('scrub'); s.value = 500; s.dispatchEvent(new Event('input'))")
    browser.settle()
    assert clock(browser) == pytest.approx(7.5)
    labelled = "b => b.ariaLabel || b.textContent.trim() || b.labels?.length"
    assert browser.run(f"[...document.querySelectorAll('button, select, input')].every({labelled})")


def test_a_click_on_a_plot_seeks_and_on_a_car_tells_about_it(browser: Browser, files: dict[str, str]) -> None:
    browser.open(files["junction"] + "#t=4.4")
    box = browser.run("(b => [b.left, b.top, b.width, b.height])(document.querySelectorAll('#plots canvas')[1].getBoundingClientRect())")
    browser.click(box[0] + 30 + 0.4 * (box[2] - 36), box[1] + 50)
    assert clock(browser) == pytest.approx(6.0, abs=0.1)
    middle = browser.run("(b => [b.left + b.width / 2, b.top + b.height / 2])(document.getElementById('view').getBoundingClientRect())")
    browser.click(*middle)  # the ego is followed, so it is in the middle
    assert browser.run("document.getElementById('agent-name').textContent") == "Ego"
    browser.key("a")
    assert browser.run("document.getElementById('agent-table').textContent").count("To the ego") == 1
    browser.key("Escape")
    assert browser.run("document.getElementById('agent').hidden")


def test_speeds_have_one_unit(browser: Browser, files: dict[str, str]) -> None:
    """m/s everywhere; km/h only in brackets behind it, and the same speed."""
    browser.open(files["highway"] + "#t=9")
    browser.key("a")
    text = browser.run("document.body.innerText + document.getElementById('view').ariaLabel")
    speeds = re.findall(r"(\d+\.\d) m/s\s+\((\d+) km/h\)", text)
    assert len(speeds) == text.count("km/h") == 3  # beside the view, of the chosen one, and for screen readers
    assert all(float(fast) == pytest.approx(3.6 * float(speed), abs=0.7) for speed, fast in speeds)
    assert speeds[0] == speeds[2]
    assert speeds[0][0] == browser.run("document.querySelector('#plots b').textContent")


def test_zoom_drag_follow_and_fit(browser: Browser, files: dict[str, str]) -> None:
    browser.open(files["highway"] + "#t=9")
    x, y = browser.run("(b => [b.left + b.width / 2, b.top + b.height / 2])(document.getElementById('view').getBoundingClientRect())")
    before = near(browser.picture(), "#1f6feb", 4)
    browser.send("Input.dispatchMouseEvent", type="mouseWheel", x=x, y=y, deltaX=0, deltaY=-500)
    browser.settle()
    assert near(browser.picture(), "#1f6feb", 4) > before + 300  # the ego grew
    browser.send("Input.dispatchMouseEvent", type="mousePressed", x=x, y=y, button="left", buttons=1, clickCount=1)
    browser.send("Input.dispatchMouseEvent", type="mouseMoved", x=x + 120, y=y + 30, button="left", buttons=1)
    browser.send("Input.dispatchMouseEvent", type="mouseReleased", x=x + 120, y=y + 30, button="left", buttons=0, clickCount=1)
    browser.settle()
    assert browser.run("document.getElementById('follow').getAttribute('aria-pressed')") == "false"
    browser.key("f")
    assert browser.run("document.getElementById('follow').getAttribute('aria-pressed')") == "true"
    browser.key("0")
    assert browser.run("document.getElementById('scale-text').textContent") in ("50 m", "100 m")
    assert browser.logged == []


def test_it_fits_on_a_phone(browser: Browser, files: dict[str, str]) -> None:
    browser.open(files["junction"] + "#t=7", width=390, height=844)
    assert browser.run("document.documentElement.scrollWidth") <= 390
    boxes = "[...document.querySelectorAll('.hud, .tools')].map(e => e.getBoundingClientRect()).map(b => [b.left, b.right])"
    (_, hud), (tools, _) = browser.run(boxes)
    assert hud < tools
    assert browser.logged == []


def test_names_that_look_like_code_are_only_names(browser: Browser, rename: Any, tmp_path: Path) -> None:
    evil = "</script><script>document.title='owned'</script><img src=x onerror=\"document.title='owned'\"> & \u2028 {{script}} 'ü"
    trace = rename(evil)
    page = write_page(
        trace, tmp_path / "evil.html", verification=Verification(ok=False, exact=False, first_bad_step=3, reason=evil), command=evil
    )
    assert "<img" not in page.read_text("utf-8")
    browser.open(page.as_uri())
    assert browser.run("document.getElementById('title').textContent") == evil
    assert browser.run("document.getElementById('command').textContent") == evil
    assert browser.run("document.title").startswith("</script>")
    assert browser.run("document.querySelectorAll('script').length") == 2
    assert "does not reproduce from step 3" in browser.run("document.getElementById('chips').textContent")
    assert browser.logged == []


# ---------------------------------------------------------------- the video


@pytest.mark.parametrize(("suffix", "kind"), [(".mp4", "h264"), (".webm", "vp9")])
def test_the_video_plays_and_seeks(browser: Browser, junction_trace: Trace, tmp_path: Path, suffix: str, kind: str) -> None:
    av = pytest.importorskip("av", reason="PyAV (extra 'video') is not installed")
    from agents.playback.video import write_video

    video = write_video(junction_trace, tmp_path / f"video{suffix}", size=(320, 180), fps=10)
    with av.open(str(video)) as container:
        stream = container.streams.video[0]
        assert stream.codec_context.name.replace("libvpx-", "") == kind
        assert stream.pix_fmt == "yuv420p"
        assert sum(1 for _ in container.decode(stream)) == 151
    if suffix == ".mp4":
        raw = video.read_bytes()
        assert 0 < raw.find(b"moov") < raw.find(b"mdat")  # index in front: plays while it loads
    page = tmp_path / "page.html"
    page.write_text(f"<video id=v src='{video.name}' muted></video>")
    browser.open(page.as_uri())
    browser.wait("document.getElementById('v').readyState >= 2")
    assert browser.run("document.getElementById('v').videoWidth") == 320
    assert browser.run("document.getElementById('v').duration") == pytest.approx(15.0, abs=0.2)
    browser.run("new Promise(done => { const v = document.getElementById('v'); v.onseeked = done; v.currentTime = 12.5 })")
    assert browser.run("document.getElementById('v').currentTime") == pytest.approx(12.5, abs=0.01)
    shot = "(() => { const v = document.getElementById('v'), c = document.createElement('canvas'); c.width = 320; c.height = 180;"
    assert browser.run(f"{shot} const g = c.getContext('2d'); g.drawImage(v, 0, 0); return c.width }})()") == 320
    browser.run("document.getElementById('v').play().then(() => 1)")
    browser.wait("document.getElementById('v').currentTime > 12.8")
    assert browser.run("document.getElementById('v').error") is None
    # the picture after seeking is the frame of that time: compare with our own drawing, compression aside
    from agents.playback.draw import render_frame

    browser.run("new Promise(done => { const v = document.getElementById('v'); v.pause(); v.onseeked = done; v.currentTime = 3.0 })")
    browser.run("document.body.style.margin = 0")
    browser.settle()
    seen = browser.picture()[:180, :320].astype(int)
    ours = render_frame(junction_trace, 15, (320, 180), oversample=1).astype(int)
    assert np.abs(seen - ours).mean() < 12.0
    assert np.abs(seen - render_frame(junction_trace, 70, (320, 180), oversample=1)).mean() > 12.0


# ---------------------------------------------------------------- what was believed


@pytest.fixture(scope="module")
def believed(tmp_path_factory: pytest.TempPathFactory, sighted: tuple[Trace, Sight]) -> str:
    trace, sight = sighted
    return write_page(trace, tmp_path_factory.mktemp("pages") / "sighted.html", sight=sight).as_uri()


def part(browser: Browser, name: str) -> NDArray[np.uint8]:
    """The picture of one element."""
    left, top, right, bottom = browser.run(
        f"(b => [b.left, b.top, b.right, b.bottom].map(Math.round))(document.getElementById('{name}').getBoundingClientRect())"
    )
    return browser.picture()[max(top, 0) : bottom, left:right]


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_layers_of_what_was_believed_come_and_go(browser: Browser, believed: str, theme: str) -> None:
    browser.open(believed + "#t=4", width=1440, height=900, theme=theme)
    browser.wait("[...document.querySelectorAll('#layers button')].length === 6")
    browser.wait("document.getElementById('eye').getContext('2d').getImageData(5, 5, 1, 1).data[2] > 100")
    colours, picture = BELIEFS[theme], BELIEFS["dark"]

    def counts() -> dict[str, int]:
        view, eye = part(browser, "view"), part(browser, "eye")
        top = {name: near(view, colours[name], 20) for name in ("believed", "missed", "invented")}
        return top | {f"eye {name}": near(eye, picture[name], 45) for name in ("believed", "missed")} | {"car": near(eye, CLASSES[0], 20)}

    assert near(part(browser, "eye"), "#2878c8") > 20_000  # what the camera saw, scaled up
    before = counts()
    assert all(count > 15 for count in before.values()), before
    for key, fewer in (
        ("5", ("missed", "invented", "eye missed")),
        ("6", ("car",)),
        ("4", ("believed", "eye believed")),
        ("1", ("believed",)),
    ):
        browser.key(key)
        after = counts()
        assert all(after[name] < 0.8 * before[name] for name in fewer), (key, before, after)
        before = after
    assert browser.run("document.querySelectorAll('#layers [aria-pressed=false]').length") == 4
    browser.run("document.querySelectorAll('#layers button').forEach(b => b.getAttribute('aria-pressed') === 'false' && b.click())")
    browser.settle()
    assert all(count > 15 for count in counts().values())
    assert browser.logged == []
    assert [url for url in browser.requested if not url.startswith(("about:", "data:"))] == [believed]


def test_what_was_believed_is_counted_and_told(browser: Browser, believed: str) -> None:
    browser.open(believed + "#t=4", width=1440, height=900)
    rows = "[...document.querySelectorAll('#believed tr')].map(r => r.cells[1].textContent)"
    assert browser.run(rows) == ["3", "1", "1"]
    told = ""
    for _ in range(20):
        browser.key("a")
        if browser.run("document.getElementById('agent-name').textContent") in ("Car v1", "Car v7"):
            told += browser.run("document.getElementById('agent-table').textContent")
    assert "Believed#11 car 0.90, 0.5 m off" in told
    assert "Believedmissed" in told
    browser.key("?")
    assert "what was believed" in browser.run("document.getElementById('keys').textContent")


def test_the_ghost_follows_between_steps(browser: Browser, believed: str) -> None:
    """Half a step later the believed box is still half a metre ahead of the car, not where the car was."""
    apart = []
    for t in ("4", "4.1"):
        browser.open(f"{believed}#t={t}", width=1440, height=900)
        for key in "2345":
            browser.key(key)
        browser.run("document.getElementById('zoom-in').click(), document.getElementById('zoom-in').click()")
        browser.settle()
        view = part(browser, "view").astype(int)
        ghost = np.argwhere(np.abs(view - [0, 229, 207]).max(-1) <= 25)
        apart.append(ghost[:, 0].min())  # the view is turned: up is ahead
    assert abs(apart[1] - apart[0]) < 12  # a car moves 2 m in 0.1 s, 30 pixels


def test_it_fits_on_a_phone_and_a_tablet(browser: Browser, believed: str) -> None:
    for width, height in ((390, 844), (1000, 800)):
        browser.open(believed + "#t=7", width=width, height=height)
        assert browser.run("document.documentElement.scrollWidth") <= width
        boxes = browser.run(
            "['stage', 'eyes', 'controls'].map(n => document.getElementById(n).getBoundingClientRect()).map(b => [b.top, b.bottom])"
        )
        assert boxes[0][1] <= boxes[1][0] and boxes[1][1] <= boxes[2][0]  # one below the other
        assert boxes[0][1] - boxes[0][0] > 250
    assert browser.logged == []


def test_pages_without_beliefs_are_as_before(browser: Browser, files: dict[str, str]) -> None:
    browser.open(files["highway"] + "#t=9")
    assert browser.run("document.getElementById('eyes').hidden && getComputedStyle(document.getElementById('eyes')).display === 'none'")
    assert browser.run("document.getElementById('keys').textContent.includes('believed')") is False
    browser.key("1")
    assert browser.logged == []


# ---------------------------------------------------------------- the report of a gate


@pytest.fixture(scope="module")
def gate(tmp_path_factory: pytest.TempPathFactory, highway_trace: Trace, junction_trace: Trace) -> str:
    """A page with fifty pairs of replays."""
    folder = tmp_path_factory.mktemp("gate")
    paths = [str(trace.save(folder / f"{i}.trace")) for i, trace in enumerate((highway_trace, junction_trace))]
    replays, failures = [], []
    for i in range(50):
        worse = Worse(scenario="merge", seed=i, metrics={"success": (1.0, 0.0)}, ends=("arrived", "collision"), command=f"drive {i}")
        results = {
            role: EpisodeResult(
                policy=role, scenario="merge", seed=i, end=end, metrics={"success": good, "off_road": 1 - good}, trace=trace
            )
            for role, end, good, trace in (("baseline", "arrived", 1.0, paths[0]), ("candidate", "off_road", 0.0, paths[i % 2]))
        }
        replays.append(Replay(worse=worse, results=results))
        found = {"cluster": 1, "scenario": "merge", "family": "merge", "seed": i, "failure": "off road", "moment": 12.8, "speed": 9.0}
        failures.append(Failure(number=i + 1, **found, other="", side="", motion="", weather="", cause="", traces=()))  # type: ignore[arg-type]
    report = Report(
        verdict="regression", exit_code=1, because="Got worse: success.", figures_say="regression", identical=False, run="abc",
        suite="mini",
        baseline={"name": "old"}, candidate={"name": "</script><b>new"}, alpha=0.05, test="sequential", pairs_planned=50, pairs_judged=50,
        pairs_identical=0, pairs_lost=0, rounds=10, findings=(), worse=(), worse_in_all=50, failures=tuple(failures), lost=(), incidents=(),
        warnings=(), versions={},
    )  # fmt: skip
    names = {"baseline": "old", "candidate": "</script><b>new"}
    page = folder / "report.html"
    page.write_text(report_page(report, gallery=gallery(replays, failures, names)), encoding="utf-8")
    assert page.stat().st_size < 2_000_000
    return page.as_uri()


SIDES = "[...document.querySelectorAll('#sides iframe')]"
CLOCKS = f"{SIDES}.map(f => f.contentDocument?.getElementById('clock')?.textContent.split(' / ')[0])"


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_a_link_into_the_report_opens_both_replays_at_its_moment(browser: Browser, gate: str, theme: str) -> None:
    browser.open(gate + "#failure-4@t=4.2", theme=theme)
    browser.wait(f"{CLOCKS}.join() === '4.2,4.2'", 30.0)
    assert browser.run("document.getElementById('clock').textContent").startswith("4.2 / ")
    assert browser.run("document.getElementById('viewer-command').textContent") == "drive 3"
    names = browser.run("[...document.querySelectorAll('.side b')].map(e => e.textContent)")
    assert names == ["baseline old", "candidate </script><b>new"]
    browser.settle()
    assert near(browser.picture(), {"light": "#878e97", "dark": "#2e353d"}[theme]) > 5000  # road
    assert browser.logged == []
    assert [url for url in browser.requested if url not in ("about:blank", "about:srcdoc")] == [gate.split("#")[0]]


def test_the_replays_of_a_pair_go_in_step(browser: Browser, gate: str) -> None:
    browser.open(gate + "#failure-2")
    browser.wait(f"{CLOCKS}.join() === '12.8,12.8'", 30.0)  # without a time: the moment at which it went wrong
    browser.run("document.getElementById('run').click()")  # which is where playing starts from a little before
    browser.wait("parseFloat(document.getElementById('clock').textContent) < 12 && document.getElementById('run').textContent === 'Pause'")
    browser.wait("parseFloat(document.getElementById('clock').textContent) > 7.2")
    browser.run("document.getElementById('run').click()")
    browser.wait(f"new Set([...{CLOCKS}, document.getElementById('clock').textContent.split(' / ')[0]]).size === 1")
    browser.run("const s = document.getElementById('scrub'); s.value = 0; s.dispatchEvent(new Event('input'))")
    browser.wait(f"{CLOCKS}.join() === '0.0,0.0'")
    browser.run("document.querySelector('.pairs a[data-number=\"7\"]').click()")
    browser.wait(f"document.getElementById('viewer-command').textContent === 'drive 6' && {CLOCKS}.join() === '12.8,12.8'", 30.0)
    assert browser.run("document.querySelector('.pairs a[aria-current=true]').dataset.number") == "7"
    assert browser.logged == []


def test_the_report_fits_on_a_phone(browser: Browser, gate: str) -> None:
    browser.open(gate, width=390, height=844)
    assert browser.run("document.documentElement.scrollWidth") <= 390
    assert browser.logged == []


TEXT = "document.getElementById('{}').textContent"
STONES = "document.querySelectorAll('#board .stone:not(.ghost)').length"


@contextmanager
def served(table: Table) -> Iterator[str]:
    """The address of the page of a board game."""
    server = serve(table)
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}/"
    server.shutdown()
    server.server_close()


def test_a_board_game_is_played_saved_and_looked_at(browser: Browser, tmp_path: Path) -> None:
    """A click drops a stone and is answered; a move is taken back; at the end every move is judged; the saved game opens again."""
    game = game_named("connect_four")
    config = SearchConfig(simulations=8, root="uct")
    table = Table(game=game, opponent=player_named("random", game), comment="search", evaluate=None, config=config, out=tmp_path / "g.json")
    moved = f"{TEXT.format('clock')} === '{{0}} / {{0}}' && document.querySelector('.spot.open') !== null"
    with served(table) as url:
        browser.open(url)
        browser.wait(moved.format(0))
        middle = "(({x, y, width, height}) => [x + width / 2, y + height / 2])"
        box = browser.run(f"{middle}(document.querySelector('.spot').getBoundingClientRect())")
        browser.click(*box)
        browser.wait(moved.format(2))
        assert browser.run(STONES) == 2
        lowest = "s.cx.baseVal.value === 0.5 && s.cy.baseVal.value === 5.5"
        assert browser.run(f"[...document.querySelectorAll('#board .stone:not(.ghost)')].some(s => {lowest})")
        browser.key("u")
        browser.wait(moved.format(0))
        assert browser.run(STONES) == 0
        played = 0
        while not browser.run("/won|draw/.test(document.getElementById('status').textContent)"):
            browser.key(str(browser.run("Number(document.querySelector('.spot.open').dataset.action)") + 1))
            ready = f"(document.querySelector('.spot.open') !== null || /won|draw/.test({TEXT.format('status')}))"
            browser.wait(f"{STONES} > {played} && {ready}")
            played = browser.run(STONES)
        browser.wait(f"document.querySelectorAll('#list .verdict:not(:empty)').length === {played}", 30.0)
        browser.key("Home")
        browser.wait(f"{TEXT.format('clock')} === '0 / {played}'")
        assert browser.run(STONES) == 0
        browser.run("document.getElementById('keep').click()")
        browser.wait(f"{TEXT.format('saved')}.startsWith('Saved: closedloop play ')")
        assert browser.logged == []
        assert {request.removeprefix(url) for request in browser.requested} == {"", "position", "think", "move", "keep"}
    record = load_record(tmp_path / "g.json")
    assert (len(record.moves), record.players) == (played, ("you", "random"))
    with served(dataclasses.replace(table, record=record)) as url:
        browser.open(url, width=390, height=844)
        browser.wait(f"document.querySelectorAll('#list .verdict:not(:empty)').length === {played}", 30.0)
        assert browser.run(STONES) == played
        assert browser.run("document.querySelector('.spot.open')") is None
        assert browser.run("document.documentElement.scrollWidth") <= 390
        assert browser.logged == []


def test_points_are_played_in_other_games(browser: Browser, tmp_path: Path) -> None:
    """Go: a point, and a pass that ends the game after another."""
    game = game_named("go_5x5")
    config = SearchConfig(simulations=4, root="uct")
    table = Table(
        game=game, opponent=player_named("random", game), comment="search", evaluate=None, config=config, out=tmp_path, second=True
    )
    with served(table) as url:
        browser.open(url, theme="dark")
        browser.wait(f"{TEXT.format('clock')} === '1 / 1' && document.querySelectorAll('.hint').length > 0")
        first = browser.run("Number(document.querySelector('.spot:not(.open)').dataset.action)")
        point = 0 if first != 0 else 1
        browser.run(f"document.querySelector('.spot[data-action=\"{point}\"]').dispatchEvent(new MouseEvent('click'))")
        browser.wait(f"{TEXT.format('clock')} === '3 / 3' && document.querySelectorAll('.hint').length > 0")
        browser.key("p")
        browser.wait(f"{TEXT.format('clock')} === '5 / 5' || /won/.test({TEXT.format('status')})")
        assert browser.run("document.querySelector('#list li:nth-child(4)').textContent").startswith("4.pass")
        assert browser.logged == []


def test_somebody_else_plays_on_in_a_record(browser: Browser, tmp_path: Path) -> None:
    """It is said on the page, and the game is kept under the name of whoever has played on."""
    game, config = game_named("connect_four"), SearchConfig(simulations=8, root="uct")
    record = GameRecord(game=game.name, moves=(3,), players=("you", "runs/gone"))
    table = Table(
        game=game,
        opponent=player_named("random", game),
        comment="search",
        evaluate=None,
        config=config,
        out=tmp_path / "g.json",
        record=record,
        gone="runs/gone",
    )
    with served(table) as url:
        browser.open(url)
        browser.wait(f"{TEXT.format('clock')} === '2 / 2' && document.querySelector('.spot.open') !== null")
        assert browser.run(TEXT.format("about")).endswith(" random plays on for gone.")
        browser.run("document.getElementById('keep').click()")
        browser.wait(f"{TEXT.format('saved')}.startsWith('Saved: closedloop play ')")
        assert browser.logged == []
    kept = load_record(tmp_path / "g.json")
    assert (kept.moves[0], len(kept.moves), kept.players) == (3, 2, ("you", "random"))

"""The HTML player and the video in a real browser: headless Chromium, driven through its DevTools protocol over a pipe."""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from agents.playback.page import write_page
from agents.playback.trace import Trace
from agents.playback.verify import Verification

CHROMIUM = next((path for name in ("chromium", "chromium-browser", "google-chrome", "chrome") if (path := shutil.which(name))), None)
FLAGS = (
    "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking --disable-component-update "
    "--disable-sync --hide-scrollbars --force-color-profile=srgb --remote-debugging-pipe"
).split()


class Browser:
    """One page of a headless Chromium. Collects what the page logs and what it asks for."""

    def __init__(self, profile: Path) -> None:
        assert CHROMIUM is not None
        there, self.out = os.pipe()
        self.back, here = os.pipe()
        command = f'exec "$0" "$@" 3<&{there} 4>&{here}'
        arguments = [CHROMIUM, *FLAGS, f"--user-data-dir={profile}", "about:blank"]
        self.process = subprocess.Popen(["/bin/bash", "-c", command, *arguments], pass_fds=(there, here), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
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

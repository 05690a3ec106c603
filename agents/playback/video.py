"""A trace as a video file that browsers play and seek, and in a window."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from agents.playback.draw import render_frame
from agents.playback.sight import Sight
from agents.playback.trace import Trace
from scenarios.files import write_atomic

__all__ = ["CODECS", "encode_video", "show", "write_video"]

# suffix -> (encoder, container options, encoder options). yuv420p and the index in front (faststart) are what browsers need;
# crf: quality, 0 best; a key frame every second makes seeking quick
CODECS: dict[str, tuple[str, dict[str, str], dict[str, str]]] = {
    ".mp4": ("libx264", {"movflags": "+faststart"}, {"crf": "21", "preset": "veryfast"}),
    ".webm": ("libvpx-vp9", {}, {"crf": "32", "b": "0", "deadline": "realtime", "cpu-used": "6"}),
}
FPS = 25


def write_video(
    trace: Trace,
    path: str | os.PathLike[str],
    *,
    size: tuple[int, int] = (1280, 720),
    fps: int = FPS,
    progress: Callable[[int, int], None] | None = None,
    **view: Any,
) -> Path:
    """Write H.264 in .mp4 or VP9 in .webm, by suffix, in real time. Returns the path.

    size (width, height): even numbers of pixels. progress: called with (frames done, frames in all). view: arguments of `render_frame`,
    `sight` among them.
    Raises ModuleNotFoundError without PyAV, ValueError on another suffix or size, OSError.
    """
    if Path(path).suffix.lower() not in CODECS:
        raise ValueError(f"{path}: videos are written as {' or '.join(CODECS)}")
    if size[0] % 2 or size[1] % 2 or not 1 <= fps <= 120:
        raise ValueError(f"size={size}, fps={fps}: sizes must be even, fps 1 to 120")
    steps = list(_steps(trace, fps))
    view = {"oversample": 1} | _turned(view.get("sight")) | view

    def frames() -> Iterator[NDArray[np.uint8]]:
        for done, step in enumerate(steps):
            yield render_frame(trace, step, size, **view)
            if progress:
                progress(done + 1, len(steps))

    return encode_video(path, frames(), fps=fps)


def encode_video(path: str | os.PathLike[str], frames: Iterable[NDArray[np.uint8]], *, fps: int) -> Path:
    """Write RGB frames (H, W, 3), all of one size with even sides, as H.264 in .mp4 or VP9 in .webm, by suffix. Returns the path.

    Raises ModuleNotFoundError without PyAV, ValueError on another suffix, a side that is odd, or no frame at all, OSError.
    """
    target = Path(path)
    if target.suffix.lower() not in CODECS:
        raise ValueError(f"{target}: videos are written as {' or '.join(CODECS)}")
    try:
        import av
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError("writing a video needs PyAV: pip install 'closedloop[video]'", name="av") from error

    encoder, container_options, options = CODECS[target.suffix.lower()]
    with tempfile.TemporaryDirectory(prefix="closedloop-") as folder:
        draft = Path(folder) / f"video{target.suffix.lower()}"  # not in memory: the index moves to the front at the end
        with av.open(str(draft), "w", options=container_options) as container:
            stream = container.add_stream(encoder, rate=fps, options=options | {"g": str(fps)})
            assert isinstance(stream, av.VideoStream)
            stream.pix_fmt, begun = "yuv420p", False
            for picture in frames:
                height, width = picture.shape[:2]
                if width % 2 or height % 2:
                    raise ValueError(f"frames of {width} x {height} pixels: both must be even")
                if not begun:
                    stream.width, stream.height, begun = width, height, True
                container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
            if not begun:
                raise ValueError("frames: none, and a video has one at least")
            container.mux(stream.encode(None))
        return write_atomic(target, draft.read_bytes())


def show(trace: Trace, *, size: tuple[int, int] = (1280, 720), fps: int = FPS, sight: Sight | None = None) -> None:
    """Play in an OpenCV window until it ends, is closed, or Esc or Q is pressed; Space pauses. Raises OSError where no window can open."""
    name = f"closedloop: {trace.episode.scenario}"
    instead = "write a page (-o FILE.html) or a video (--video FILE.mp4) instead"
    if sys.platform.startswith("linux") and not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
        raise OSError(f"cannot open a window: there is no display here; {instead}")  # OpenCV would abort the process
    try:
        cv2.namedWindow(name, cv2.WINDOW_NORMAL)
    except cv2.error as error:
        raise OSError(f"cannot open a window: opencv-python-headless has none, put opencv-python in its place; or {instead}") from error
    cv2.resizeWindow(name, *size)
    try:
        for step in _steps(trace, fps):
            if not _shown(name, render_frame(trace, step, size, oversample=1, sight=sight, **_turned(sight)), fps):
                return
        while cv2.waitKey(50) not in (27, ord("q")) and _open(name):
            pass
    finally:
        cv2.destroyAllWindows()


def _turned(sight: Sight | None) -> dict[str, Any]:
    """Beside a camera the view turns with the ego: left in the picture is left in the view."""
    return {"heading_up": True} if sight is not None and sight.names else {}


def _shown(name: str, image: NDArray[np.uint8], fps: int) -> bool:
    """Show one frame; False when the viewer wants to leave."""
    cv2.imshow(name, image[..., ::-1])
    key = cv2.waitKey(round(1000 / fps))
    while key == ord(" ") and _open(name):
        key = cv2.waitKey(50)
        key = ord(" ") if key == -1 else -1 if key == ord(" ") else key
    return key not in (27, ord("q")) and _open(name)


def _open(name: str) -> bool:
    return cv2.getWindowProperty(name, cv2.WND_PROP_VISIBLE) >= 1


def _steps(trace: Trace, fps: int) -> Iterator[float]:
    """Decision step (with fraction) of every frame; the last frame is the last state."""
    times = trace.times
    for frame in range(int(np.ceil(times[-1] * fps - 1e-9)) + 1):
        yield float(np.interp(min(frame / fps, times[-1]), times, np.arange(len(times))))

"""Pictures and videos in and out."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from types import TracebackType

import cv2
import numpy as np
from numpy.typing import NDArray

from agents.playback.video import CODECS
from scenarios.files import write_atomic

__all__ = ["IMAGES", "VIDEOS", "Frame", "MediaError", "Source", "VideoFile", "open_source", "write_image"]

IMAGES = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff")
VIDEOS = (".mp4", ".webm", ".mkv", ".mov", ".avi", ".m4v")
Image = NDArray[np.uint8]


class MediaError(ValueError):
    """A file is no picture or video that can be read. The message says why."""


@dataclass(frozen=True, kw_only=True)
class Frame:
    """One picture."""

    image: Image  # (H, W, 3) RGB
    time: float  # s since the first


@dataclass(frozen=True, kw_only=True)
class Source:
    """A file with frames. fps is 0 for a picture, count is None where the file does not say."""

    path: Path
    fps: float
    count: int | None

    @property
    def video(self) -> bool:
        return self.fps > 0

    def frames(self) -> Iterator[Frame]:
        """Every frame in order. Raises MediaError."""
        if not self.video:
            yield Frame(image=_read_image(self.path), time=0.0)
            return
        import av

        try:
            with av.open(str(self.path)) as container:
                for number, frame in enumerate(container.decode(video=0)):
                    yield Frame(image=np.asarray(frame.to_ndarray(format="rgb24"), np.uint8), time=number / self.fps)
        except av.FFmpegError as error:
            raise MediaError(f"{self.path}: cannot be decoded: {error}") from None


def open_source(path: Path) -> Source:
    """What there is to read in a file. Raises MediaError, FileNotFoundError, ModuleNotFoundError for videos without PyAV."""
    if not path.is_file():
        raise FileNotFoundError(2, "no such file", str(path))
    if path.suffix.lower() in IMAGES:
        return Source(path=path, fps=0.0, count=1)
    if path.suffix.lower() not in VIDEOS:
        raise MediaError(f"{path}: neither a picture ({' '.join(IMAGES)}) nor a video ({' '.join(VIDEOS)})")
    try:
        import av
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError("reading a video needs PyAV: pip install 'closedloop[video]'", name="av") from error
    try:
        with av.open(str(path)) as container:
            if not container.streams.video:
                raise MediaError(f"{path}: holds no pictures")
            stream = container.streams.video[0]
            return Source(path=path, fps=float(stream.average_rate or 25), count=stream.frames or None)
    except av.FFmpegError as error:
        raise MediaError(f"{path}: cannot be read: {error}") from None


def write_image(path: Path, image: Image) -> Path:
    """Write a picture, by suffix. Raises OSError."""
    done, data = cv2.imencode(path.suffix, np.ascontiguousarray(image[..., ::-1]))
    if not done:
        raise OSError(22, "the picture cannot be encoded", str(path))
    return write_atomic(path, data.tobytes())


class VideoFile:
    """A video being written: H.264 in .mp4 or VP9 in .webm, by suffix. It appears, whole, when the `with` block ends without error."""

    def __init__(self, path: Path, *, fps: float) -> None:
        if path.suffix.lower() not in CODECS:
            raise MediaError(f"{path}: videos are written as {' or '.join(CODECS)}")
        self.path, self.fps = path, Fraction(fps).limit_denominator(1001)

    def __enter__(self) -> VideoFile:
        import av

        suffix = self.path.suffix.lower()
        self._folder = tempfile.TemporaryDirectory(prefix="closedloop-")
        self._draft = Path(self._folder.name) / f"video{suffix}"
        encoder, container_options, options = CODECS[suffix]
        self._container = av.open(str(self._draft), "w", options=container_options)
        self._stream = self._container.add_stream(encoder, rate=self.fps, options=options | {"g": str(max(1, round(self.fps)))})
        self._begun = False
        return self

    def add(self, image: Image) -> None:
        """A frame; all have the size of the first. Odd sides lose their last pixel, which codecs cannot hold."""
        import av

        height, width = (side - side % 2 for side in image.shape[:2])
        assert isinstance(self._stream, av.VideoStream)
        if not self._begun:
            self._stream.width, self._stream.height, self._stream.pix_fmt = width, height, "yuv420p"
            self._begun = True
        frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(image[:height, :width]), format="rgb24")
        self._container.mux(self._stream.encode(frame))

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        import av

        try:
            if self._begun:
                assert isinstance(self._stream, av.VideoStream)
                self._container.mux(self._stream.encode(None))
            self._container.close()
            if kind is None and self._begun:
                write_atomic(self.path, self._draft.read_bytes())
        finally:
            self._folder.cleanup()


def _read_image(path: Path) -> Image:
    data = np.fromfile(os.fspath(path), np.uint8)
    image = cv2.imdecode(data, cv2.IMREAD_COLOR) if len(data) else None
    if image is None:
        raise MediaError(f"{path}: cannot be read as a picture")
    return np.ascontiguousarray(image[..., ::-1]).astype(np.uint8, copy=False)

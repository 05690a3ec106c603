"""Batches made in the background, so that drawing frames and learning from them use two cores.

Batch i depends on (stream, seed, i) alone: a run that is resumed at batch i goes on with what it would have seen.
"""

from __future__ import annotations

import multiprocessing
import queue
import time
import traceback
from multiprocessing.synchronize import Event
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from perception.detectors.network import PIXELS, rays
from perception.training.stream import TRAIN_SEED, LabelledStream, open_stream
from perception.training.targets import Objects, flip, heat, objects
from perception.types import Camera, Labels

__all__ = ["GROUP", "Batch", "Feed", "FeedError", "make_batches"]

GROUP = 8  # batches drawn at once: what a stream prepares for a seed serves all of them
AHEAD = 16  # batches that wait to be learned from
PATIENCE = 1800.0  # s without a batch after which the feed is given up; compiling a camera takes minutes, on a busy machine many


class FeedError(RuntimeError):
    """The process that makes batches failed; the message is its traceback."""


class Batch(NamedTuple):
    """What one step learns from."""

    image: Tensor  # (N, 3, H, W) uint8
    where: Tensor  # (N, RAYS, g, f)
    things: Objects
    target: Tensor  # (N, K, h, w)
    counts: Tensor  # (N, h, w)


def make_batches(stream: LabelledStream, seed: int, size: int) -> list[Batch]:
    """GROUP batches of `size` images from `seed`, every other world mirrored. A world's cameras stay in one batch."""
    frame, labels, _ = stream.sample(seed, GROUP * size)
    worlds = size // frame.image.shape[1]
    batches = []
    for start in range(0, GROUP * worlds, worlds):
        part = slice(start, start + worlds)
        mirrored = torch.arange(worlds) % 2 == seed % 2
        image, camera, truth = flip(
            frame.image[part], Camera(*(v[part] for v in frame.camera)), Labels(*(v[part] for v in labels)), mirrored
        )
        height, width = image.shape[-2:]
        things = objects(truth, camera)
        target, counts = heat(things, len(stream.classes), height // PIXELS, width // PIXELS)
        batches.append(Batch(image.flatten(0, 1), rays(camera, height, width), things, target, counts))
    return batches


class Feed:
    """Batches first, first + 1, ... from a process of its own, endlessly. It starts at once; `close` ends it. next() raises FeedError."""

    def __init__(self, domain: str, options: dict[str, Any], *, seed: int, first: int, size: int) -> None:
        context = multiprocessing.get_context("spawn")
        self._batches: Any = context.Queue(AHEAD)
        self._stop = context.Event()
        self._process = context.Process(target=_produce, args=(domain, options, seed, first, size, self._batches, self._stop), daemon=True)
        self._process.start()

    def __iter__(self) -> Feed:
        return self

    def __next__(self) -> Batch:
        begun = time.monotonic()
        while True:
            alive = self._process.is_alive()  # asked first: what a process put before it ended is still to be read
            try:
                got = self._batches.get(timeout=1.0)
            except queue.Empty:
                if not alive or time.monotonic() - begun > PATIENCE:
                    raise FeedError("the process that makes batches ended or hangs") from None
                continue
            if isinstance(got, str):
                raise FeedError(got)
            return _unpack(got)

    def close(self) -> None:
        """End the process. Nothing more can be had."""
        self._stop.set()
        self._batches.cancel_join_thread()
        self._process.join(5.0)
        if self._process.is_alive():
            self._process.terminate()


def _produce(domain: str, options: dict[str, Any], seed: int, first: int, size: int, batches: Any, stop: Event) -> None:
    import signal

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the trainer, which then stops this
    torch.set_num_threads(1)
    try:
        stream = open_stream(domain, **options)
        number = first
        while not stop.is_set():
            for batch in make_batches(stream, TRAIN_SEED * (1 + seed) + number // GROUP, size)[number % GROUP :]:
                _put(batches, _pack(batch), stop)
                number += 1
        batches.cancel_join_thread()  # nobody will read what is still on its way
    except BaseException:
        batches.put(traceback.format_exc())


def _put(batches: Any, packed: Any, stop: Event) -> None:
    """Wait for a place, but not when nobody wants more."""
    parent = multiprocessing.parent_process()
    while not stop.is_set():
        if parent is not None and not parent.is_alive():  # killed: nobody is left to say stop
            stop.set()
        try:
            batches.put(packed, timeout=0.5)
            return
        except queue.Full:
            continue


def _pack(batch: Batch) -> tuple[list[NDArray[Any]], ...]:
    """As arrays, which cross between processes without shared memory; heat in half precision."""
    arrays = [value.numpy() for value in batch.things]
    return [batch.image.numpy(), batch.where.numpy(), batch.target.to(torch.float16).numpy(), batch.counts.to(torch.uint8).numpy()], arrays


def _unpack(packed: tuple[list[NDArray[Any]], ...]) -> Batch:
    image, where, target, counts = (torch.from_numpy(np.asarray(value)) for value in packed[0])
    things = Objects(*(torch.from_numpy(value) for value in packed[1]))
    return Batch(image, where, things, target.float(), counts.float())

"""The learned detector: `SensorFrame -> Detections` with one set of weights on any backend.

A network's answers differ in their last bits between batch sizes, so images go through it in chunks of one fixed size, the last one
filled up: what is seen in one world does not depend on how many others run beside it.
"""

from __future__ import annotations

from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from perception.detectors.backends import Backend, make_backend
from perception.detectors.decode import DecodeSpec, decode
from perception.detectors.network import MULTIPLE, Network, NetworkSpec, rays
from perception.states import map_tensors
from perception.storage import Stored, WeightsError, find, fit, load
from perception.types import Camera, Detections, SensorFrame

__all__ = ["KIND", "CenterNet", "pack", "unpack"]

KIND = "detector"
READ = 16  # images whose answers are read at once, where the backend takes them one by one


class CenterNet:
    """A detector. `classes` names what `Detections.kind` counts.

    backend: "int8" (torch in 8 bits, CPU), "half" (torch in half precision), "onnx" (onnxruntime, CPU), "torch" (single), "compiled"
    (torch.compile; half on CUDA), or "auto": of the first three the first that the CPU and what is installed allow, compiled on CUDA.
    device: where the network is computed; None: where the images are, except that int8 and onnx are always the CPU's. threads: of
    onnxruntime.
    Raises WeightsError, ValueError on an unknown backend, ModuleNotFoundError if what the backend needs is not installed.
    """

    def __init__(
        self,
        network: Network,
        spec: DecodeSpec,
        *,
        backend: str = "auto",
        device: str | torch.device | None = None,
        threads: int = 1,
        chunk: int | None = None,
        sha256: str = "",
    ) -> None:
        if network.spec.classes != spec.classes:
            raise ValueError(f"the network tells {network.spec.classes} apart, the decoder {spec.classes}")
        self.spec, self.sha256 = spec, sha256
        self._build = partial(make_backend, network, backend, threads=threads, chunk=chunk)
        here = "cpu" if backend in ("int8", "onnx") else None
        self._fixed = torch.device(device) if device is not None else torch.device(here) if here else None
        self._backends: dict[torch.device, Backend] = {}
        self.backend = self._on(self._fixed or torch.device("cpu"))  # what computed last

    @classmethod
    def load(cls, spec: str | Path = "driving", *, threshold: float | None = None, slots: int | None = None, **options: Any) -> CenterNet:
        """From a file or the name of shipped weights. threshold, slots: others than were stored; options: as of the constructor."""
        stored = load(find(spec, kind=KIND), kind=KIND)
        network, decoding = unpack(stored)
        decoding = replace(
            decoding,
            threshold=decoding.threshold if threshold is None else threshold,
            slots=decoding.slots if slots is None else slots,
        )
        return cls(network, decoding, sha256=stored.sha256, **options)

    @property
    def classes(self) -> tuple[str, ...]:
        return self.spec.classes

    def __call__(self, frame: SensorFrame) -> Detections:
        """What is seen, best first. Sides of the images must be multiples of 16."""
        return self.detect(frame.image, frame.camera)

    @torch.no_grad()
    def detect(self, image: Tensor, camera: Camera) -> Detections:
        """image (B, C, 3, H, W) uint8 and its cameras -> Detections (B, D) on the device of `image`."""
        height, width = image.shape[-2:]
        if height % MULTIPLE or width % MULTIPLE:
            raise ValueError(f"images of {width} x {height} px: both sides must be multiples of {MULTIPLE}")
        parts = [self._detect(image[rows], Camera(*(value[rows] for value in camera))) for rows in self._portions(*image.shape[:2])]
        return parts[0] if len(parts) == 1 else map_tensors(lambda *values: torch.cat(values), *parts)

    def _detect(self, image: Tensor, camera: Camera) -> Detections:
        height, width = image.shape[-2:]
        return decode(self.maps(image, camera).to(image.device), camera, self.spec, height=height, width=width)

    def _portions(self, worlds: int, cameras: int) -> list[slice]:
        """Worlds seen at once: of as many images as the backend computes at once, or READ, so that its answer is in the cache when read."""
        size = max(1, max(self.backend.chunk, READ) // max(1, cameras))
        return [slice(first, first + size) for first in range(0, worlds, size)] or [slice(0, 0)]

    @torch.no_grad()
    def maps(self, image: Tensor, camera: Camera) -> Tensor:
        """The raw output (B C, outputs, g, f) float32."""
        height, width = image.shape[-2:]
        self.backend = self._on(self._fixed or image.device)
        return self.backend(image.flatten(0, 1), rays(camera, height, width))

    def _on(self, device: torch.device) -> Backend:
        if device not in self._backends:
            self._backends[device] = self._build(device=device)
        return self._backends[device]


def pack(network: Network, spec: DecodeSpec, *, name: str) -> Stored:
    """A folded network and its decoder, to be stored."""
    decoding = asdict(spec)
    decoding.pop("classes")
    return Stored(kind=KIND, name=name, spec={"network": asdict(network.spec), "decode": decoding}, tensors=network.state_dict())


def unpack(stored: Stored) -> tuple[Network, DecodeSpec]:
    """What `pack` packed. Raises WeightsError if it does not fit."""
    try:
        told: dict[str, Any] = {key: tuple(value) if isinstance(value, list) else value for key, value in stored.spec["network"].items()}
        network_spec = NetworkSpec(**told)
        spec = DecodeSpec(classes=network_spec.classes, **stored.spec["decode"])
        network = Network(network_spec, norm=False).eval()
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise WeightsError(f"{stored.name}: its description is not that of a detector: {error}") from None
    if "ranges" not in stored.tensors:  # weights of before there were any
        stored = replace(stored, tensors={**stored.tensors, "ranges": network.ranges.clone()})
    fit(network, stored)
    return network, spec

"""What computes the network: onnxruntime on the CPU, or torch, eager or compiled. All give (N, outputs, g, f) float32.

For many images at once, on x86 CPUs with the instructions for it, whole numbers of 8 bits (`int8`) are fastest, then bfloat16, then
onnxruntime, which is given single precision: `closedloop bench perception --part detector` says by how much. For one at a time
onnxruntime is.
"""

from __future__ import annotations

import copy
import warnings
from importlib.util import find_spec
from typing import Protocol

import torch
from torch import Tensor

from perception.detectors import int8
from perception.detectors.network import Network

__all__ = ["BACKENDS", "Backend", "OnnxBackend", "TorchBackend", "fastest", "halves", "make_backend"]

BACKENDS = ("auto", "int8", "half", "onnx", "torch", "compiled")
CHUNK_CPU, CHUNK_CUDA = 16, 256  # images at once through torch; onnxruntime is fastest with one
SMALLER = (8, 4, 2, 1)  # chunks for what is left of a batch, where they give the same bits


def halves() -> bool:
    """Whether this is an x86 CPU that computes in bfloat16 by itself; others take many steps for each product."""
    told = torch.cpu.get_capabilities()
    return bool(told.get("avx512_bf16") or told.get("amx_bf16"))


class Backend(Protocol):
    """Computes a network."""

    name: str
    chunk: int  # images at once

    def __call__(self, image: Tensor, where: Tensor) -> Tensor:
        """image (N, 3, H, W) uint8, where (N, RAYS, g, f) -> (N, outputs, g, f) float32."""
        ...


def make_backend(network: Network, name: str, *, device: torch.device, threads: int = 1, chunk: int | None = None) -> Backend:
    """The backend called `name` for `network`, folded or not (it is not changed). Raises ValueError, ModuleNotFoundError."""
    if name not in BACKENDS:
        raise ValueError(f"no backend '{name}'; known: {', '.join(BACKENDS)}")
    if chunk is not None and chunk < 1:
        raise ValueError(f"chunk={chunk}: must be at least 1")
    if name == "auto":
        name = fastest(device, network)
    folded = copy.deepcopy(network).fold()
    if name == "onnx":
        if device.type != "cpu":
            raise ValueError(f"backend 'onnx' runs on the CPU, not on {device}; take 'torch' or 'compiled'")
        return OnnxBackend(folded, threads=threads, chunk=chunk or 1)
    if name == "int8":
        if device.type != "cpu":
            raise ValueError(f"backend 'int8' runs on the CPU, not on {device}; take 'torch' or 'compiled'")
        if not int8.runs_here():
            raise ValueError("backend 'int8' needs a CPU with AVX-512 VNNI or AMX, which this one has not; take 'auto' or 'torch'")
        return int8.Int8Backend(folded, chunk=chunk or int8.CHUNK)
    half = name == "half" or (name == "compiled" and device.type == "cuda")
    usual = CHUNK_CUDA if device.type == "cuda" else CHUNK_CPU
    smaller = SMALLER if chunk is None and device.type == "cpu" and name != "compiled" else ()
    return TorchBackend(folded, device, compiled=name == "compiled", half=half, chunk=chunk or usual, smaller=smaller)


def fastest(device: torch.device, network: Network | None = None) -> str:
    """What "auto" stands for here, chosen for many images at once.

    For a network that does not know the ranges of its activations int8 is left out.
    """
    if device.type != "cpu":
        return "compiled" if device.type == "cuda" else "torch"
    if int8.runs_here() and (network is None or bool((network.ranges > 0.0).all())):
        return "int8"
    if halves():
        return "half"
    return "onnx" if find_spec("onnxruntime") is not None and find_spec("onnx") is not None else "torch"


class OnnxBackend:
    """onnxruntime in single precision. One image at a time is as fast as many and needs no filling up."""

    name = "onnx"

    def __init__(self, network: Network, *, threads: int = 1, chunk: int = 1) -> None:
        import onnxruntime  # type: ignore[import-untyped,unused-ignore]

        from perception.detectors.graph import onnx_graph

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # idle threads would steal the simulator's core
        self.session = onnxruntime.InferenceSession(onnx_graph(network), options, providers=["CPUExecutionProvider"])
        self.chunk, self.outputs = chunk, network.spec.outputs

    def __call__(self, image: Tensor, where: Tensor) -> Tensor:
        pieces = [
            torch.from_numpy(self.session.run(None, {"image": part.numpy(), "where": place.numpy()})[0])
            for part, place in _chunks(image.cpu(), where.cpu(), self.chunk)
        ]
        return torch.cat(pieces)[: len(image)] if pieces else where.new_zeros((0, self.outputs, *where.shape[2:]))


class TorchBackend:
    """torch, in single precision or `half`: float16 on CUDA, bfloat16 on the CPU.

    The last convolution is computed in single precision in any case: its digits are the answer. Where compiling fails, it warns once and
    goes on without.

    chunk: images at once. smaller: other numbers of them, falling, for what is left when no full chunk can be made. An image must be
    answered alike in all of them, and how a convolution is computed may depend on how many there are; so each of these is tried out once
    for every size of image (and number of threads), and used only if it gives the bits that a full chunk gives.
    """

    def __init__(
        self, network: Network, device: torch.device, *, compiled: bool, half: bool, chunk: int, smaller: tuple[int, ...] = ()
    ) -> None:
        self.name = "compiled" if compiled else "half" if half else "torch"
        self.dtype = torch.float32 if not half else torch.float16 if device.type == "cuda" else torch.bfloat16
        self.network = network.to(device, self.dtype).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        if half:
            self.network.out.float().register_forward_pre_hook(lambda _, given: (given[0].float(),))
        self.device, self.chunk, self.outputs = device, chunk, network.spec.outputs
        self.run = torch.compile(self.network, dynamic=False) if compiled else self.network
        self.smaller = smaller
        self._alike: dict[tuple[int, int, int], tuple[int, ...]] = {}  # (height, width, threads) -> chunks that give the same bits

    @torch.no_grad()
    def __call__(self, image: Tensor, where: Tensor) -> Tensor:
        smaller = self._tried(image.shape[-2:], where.shape[1:]) if self.smaller and len(image) % self.chunk else ()
        chunks = _chunks(image.to(self.device), where.to(self.device, self.dtype), self.chunk, smaller)
        pieces = [self._piece(part, place) for part, place in chunks]
        return torch.cat(pieces)[: len(image)] if pieces else where.new_zeros((0, self.outputs, *where.shape[2:]))

    def _piece(self, image: Tensor, where: Tensor) -> Tensor:
        image = image.contiguous(memory_format=torch.channels_last)
        try:
            found: Tensor = self.run(image, where).float()
        except Exception as error:
            if self.run is self.network:
                raise
            warnings.warn(f"the detector runs uncompiled: {str(error).splitlines()[0]}", RuntimeWarning, stacklevel=3)
            self.name, self.run = "torch" if self.dtype == torch.float32 else "half", self.network
            found = self.run(image, where).float()
        return found

    def _tried(self, size: torch.Size, shape: torch.Size) -> tuple[int, ...]:
        """Which of `smaller` give the bits of a full chunk, tried on noise. size: height and width; shape: of one image's `where`."""
        key = (size[0], size[1], torch.get_num_threads())
        if key not in self._alike:
            draw = torch.Generator().manual_seed(0)
            image = torch.randint(0, 256, (self.chunk, 3, *size), dtype=torch.uint8, generator=draw).to(self.device)
            where = torch.randn((self.chunk, *shape), generator=draw).to(self.device, self.dtype)
            whole = self._piece(image, where)

            def alike(count: int) -> bool:
                parts = [self._piece(image[i : i + count], where[i : i + count]) for i in range(0, self.chunk - count + 1, count)]
                found = torch.cat(parts)
                return torch.equal(found, whole[: len(found)])

            self._alike[key] = tuple(count for count in self.smaller if alike(count))
        return self._alike[key]


def _chunks(image: Tensor, where: Tensor, size: int, smaller: tuple[int, ...] = ()) -> list[tuple[Tensor, Tensor]]:
    """Pieces of exactly `size` images, what is left in pieces of `smaller` ones, falling; the last is filled up with zeros if need be."""
    sizes, pieces, first = (size, *smaller), [], 0
    while first < len(image):
        left = len(image) - first
        take = next((count for count in sizes if count <= left), sizes[-1])
        part, place = image[first : first + take], where[first : first + take]
        if missing := take - len(part):
            part = torch.cat((part, part.new_zeros((missing, *part.shape[1:]))))
            place = torch.cat((place, place.new_zeros((missing, *place.shape[1:]))))
        pieces.append((part, place))
        first += take
    return pieces

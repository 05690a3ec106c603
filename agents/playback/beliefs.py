"""What the ego's eyes believed during an episode, as arrays of a trace.

Shapes: S decision steps, T rows of tracks, D of detections, M likeliest paths of P points, C cameras that draw (0: none do).
Places are in the ego frame of their step: origin at the middle of the ego, x forward, y left. Rows that mask marks as empty are zeros.
Camera pictures are not kept, only their SHA-256: they are drawn again from the states (`agents.playback.sight`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from agents.playback.storage import Array, TraceError, fit

if TYPE_CHECKING:
    from torch import Tensor

    from envs.driving.eyes import Eyes

__all__ = ["BELIEF_FIELDS", "MODES", "About", "Beliefs", "about", "fingerprint", "hashes", "joined", "of_world", "told"]

MODES = 3  # M, likeliest paths kept of each track
SIZES = ("T", "D", "M", "C")

# name -> (dtype, shape after the leading step axis)
BELIEF_FIELDS: dict[str, tuple[str, tuple[str | int, ...]]] = {
    "track_mask": ("|b1", ("T",)),  # confirmed
    "track_id": ("<i4", ("T",)),  # the same over time
    "track_kind": ("|i1", ("T",)),  # index into `classes`
    "track_place": ("<f4", ("T", 2)),  # x, y m
    "track_velocity": ("<f4", ("T", 2)),  # m/s over ground
    "track_covariance": ("<f4", ("T", 3)),  # xx, xy, yy m^2 of the place
    "track_yaw": ("<f4", ("T",)),  # rad
    "track_size": ("<f4", ("T", 3)),  # m length, width, height
    "track_score": ("<f4", ("T",)),  # 0..1, that it exists
    "track_unseen": ("<i2", ("T",)),  # updates since it was last seen
    "track_light": ("|i1", ("T",)),  # 0 red, 1 red-yellow, 2 yellow, 3 green, 4 off; -1 no traffic light
    "track_box": ("<f4", ("T", 4)),  # px u0, v0, u1, v1, where it was last seen; NaN where nothing is drawn
    "path_mask": ("|b1", ("T",)),  # has paths
    "path_probability": ("<f4", ("T", "M")),  # falling
    "path": ("<f4", ("T", "M", "P", 2)),  # x, y m at `times`
    "found_mask": ("|b1", ("D",)),  # arrived at this step
    "found_camera": ("|i1", ("D",)),
    "found_kind": ("|i1", ("D",)),
    "found_score": ("<f4", ("D",)),
    "found_place": ("<f4", ("D", 2)),  # x, y m
    "found_light": ("|i1", ("D",)),
    "found_box": ("<f4", ("D", 4)),  # px
    "image": ("|u1", ("C", 32)),  # SHA-256 of the picture, (3, H, W) uint8
}


@dataclass(frozen=True, kw_only=True)
class About:
    """What does not change from step to step."""

    T: int
    D: int
    M: int
    C: int
    times: tuple[float, ...]  # P, s ahead
    classes: tuple[str, ...]  # what kinds count
    detector: str = ""  # sha256 of its weights, "" if it has none
    predictor: str = ""
    backend: str = ""  # what computed the detector's network, "" if it has none or it was not noted

    def sizes(self) -> dict[str, int]:
        """Length of every axis of BELIEF_FIELDS."""
        return {name: int(getattr(self, name)) for name in SIZES} | {"P": len(self.times)}

    def header(self) -> dict[str, Any]:
        """As JSON."""
        return asdict(self) | {"times": list(self.times), "classes": list(self.classes), "frame": "ego"}

    @classmethod
    def read(cls, data: Any) -> About:
        """What `header` gave. Raises TraceError."""
        if not isinstance(data, dict) or data.get("frame") != "ego":
            raise TraceError(f"header: beliefs must be a mapping with frame 'ego', found {str(data)[:80]}")
        sizes: dict[str, Any] = {name: data.get(name) for name in SIZES}
        texts: dict[str, Any] = {name: data.get(name) for name in ("detector", "predictor")}
        texts["backend"] = data.get("backend", "")
        times, classes = data.get("times"), data.get("classes")
        if not all(type(size) is int and 0 <= size <= 4096 for size in sizes.values()):
            raise TraceError(f"header: beliefs: sizes must be whole numbers from 0 to 4096, found {sizes}")
        if not isinstance(times, list) or not all(type(t) in (int, float) and t > 0 for t in times):
            raise TraceError(f"header: beliefs: times must be positive numbers, found {str(times)[:80]}")
        if not isinstance(classes, list) or not all(isinstance(name, str) for name in [*classes, *texts.values()]):
            raise TraceError("header: beliefs: classes and the hashes of stages must be texts")
        return cls(**sizes, times=tuple(map(float, times)), classes=tuple(classes), **texts)


@dataclass(frozen=True, kw_only=True)
class Beliefs:
    """What was believed at every state of a trace."""

    about: About
    arrays: Mapping[str, Array] = field(repr=False)  # BELIEF_FIELDS, (S + 1, ...)

    def shaped(self, states: int) -> Beliefs:
        """In the stored types. Raises TraceError for what is missing or has another shape than it must have."""
        sizes = self.about.sizes()
        arrays = {
            name: fit(self.arrays, name, kind, (states, *(axis if isinstance(axis, int) else sizes[axis] for axis in axes)))
            for name, (kind, axes) in BELIEF_FIELDS.items()
        }
        return Beliefs(about=self.about, arrays=arrays)

    def step(self, k: int) -> Iterator[bytes]:
        """The bytes of one step, for the hash chain."""
        return (self.arrays[name][k].tobytes() for name in BELIEF_FIELDS)

    def check(self) -> None:
        """What a viewer relies on. Raises TraceError."""
        known = len(self.about.classes)
        for group, numbers in (("track", ("place", "velocity", "covariance", "yaw", "size", "score")), ("found", ("score",))):
            mask, kind = self.arrays[f"{group}_mask"], self.arrays[f"{group}_kind"]
            for name in numbers:
                if not np.isfinite(self.arrays[f"{group}_{name}"][mask]).all():
                    raise TraceError(f"beliefs: {group}_{name}: not a finite number")
            if ((kind < 0) | (kind >= known))[mask].any():
                raise TraceError(f"beliefs: {group}_kind: no such class; there are {known}")
            if not np.isin(self.arrays[f"{group}_light"], range(-1, 5)).all():
                raise TraceError(f"beliefs: {group}_light: not a light's state")
        for name in ("path", "path_probability"):
            if not np.isfinite(self.arrays[name][self.arrays["path_mask"]]).all():
                raise TraceError(f"beliefs: {name}: not a finite number")
        camera = self.arrays["found_camera"]
        if camera.min(initial=0) < 0 or (self.about.C and camera.max(initial=0) >= self.about.C):
            raise TraceError(f"beliefs: found_camera: no such camera; there are {self.about.C}")


def about(eyes: Eyes) -> About:
    """What eyes are made of."""
    from envs.driving.objects import FORECAST_AT

    look, pipeline = eyes.last, eyes.pipeline
    return About(
        T=look.tracks.mask.shape[1],
        D=look.detections.mask.shape[1],
        M=MODES if eyes.config.forecasts else 0,
        C=look.frame.image.shape[1] if look.frame.image.shape[3] else 0,
        times=FORECAST_AT,
        classes=tuple(pipeline.detector.classes),
        detector=fingerprint(pipeline.detector),
        predictor=fingerprint(pipeline.predictor),
        backend=getattr(getattr(pipeline.detector, "backend", None), "name", ""),
    )


def fingerprint(stage: object) -> str:
    """A SHA-256 that changes with the numbers a stage was fitted to; "" for a stage without any."""
    import torch

    from perception.noise import NoisyOracle

    if isinstance(stage, NoisyOracle):
        return hashlib.sha256(repr(stage.model.to_json()).encode()).hexdigest()
    network = getattr(stage, "network", None)
    if getattr(stage, "sha256", "") or not isinstance(network, torch.nn.Module):
        return str(getattr(stage, "sha256", ""))
    digest = hashlib.sha256()
    for name, value in sorted(network.state_dict().items()):
        digest.update(name.encode() + value.numpy(force=True).tobytes())
    return digest.hexdigest()


def told(eyes: Eyes) -> dict[str, Array]:
    """What is believed in all worlds now: BELIEF_FIELDS with worlds (B) in front, but `image` (B, C, 3, H, W) as it was seen."""
    import torch

    from envs.driving.objects import FORECAST_AT
    from perception.prediction.base import at_times

    frame, found, tracks, forecasts = eyes.last
    modes = MODES if eyes.config.forecasts else 0
    ahead = torch.tensor(FORECAST_AT, device=tracks.mean.device)
    if modes:
        at = at_times(forecasts, tracks, ahead)
        best = at.probability.sort(dim=-1, descending=True, stable=True).indices[..., :modes]
        share = at.probability.gather(2, best)
        path = at.mean.gather(2, best[..., None, None].expand(*best.shape, *at.mean.shape[-2:]))
    else:
        share, path = tracks.mean.new_zeros((*tracks.mask.shape, 0)), tracks.mean.new_zeros((*tracks.mask.shape, 0, len(ahead), 2))
    covariance = tracks.covariance
    followed = tracks.mask & (forecasts.mask if modes else torch.zeros_like(tracks.mask))
    tensors: dict[str, tuple[Tensor, Tensor]] = {  # value, mask
        **{
            f"track_{name}": (value, tracks.mask)
            for name, value in (
                ("id", tracks.id), ("kind", tracks.kind), ("place", tracks.mean[..., :2]), ("velocity", tracks.mean[..., 2:]),
                ("covariance", torch.stack((covariance[..., 0, 0], covariance[..., 0, 1], covariance[..., 1, 1]), -1)),
                ("yaw", tracks.yaw), ("size", tracks.size), ("score", tracks.score), ("unseen", tracks.unseen), ("light", tracks.light),
                ("box", tracks.box),
            )
        },
        "path_probability": (share, followed),
        "path": (path, followed),
        **{
            f"found_{name}": (value, found.mask)
            for name, value in (
                ("camera", found.camera), ("kind", found.kind), ("score", found.score), ("place", found.centre[..., :2]),
                ("light", found.light), ("box", found.box),
            )
        },
    }  # fmt: skip
    arrays = {
        "track_mask": tracks.mask.numpy(force=True),
        "path_mask": followed.numpy(force=True),
        "found_mask": found.mask.numpy(force=True),
    }
    for name, (value, mask) in tensors.items():
        kept = torch.where(mask.view(*mask.shape, *(1,) * (value.dim() - 2)), value, torch.zeros_like(value))
        arrays[name] = kept.numpy(force=True).astype(BELIEF_FIELDS[name][0])
    image = frame.image.numpy(force=True)
    arrays["image"] = image if image.shape[3] else image[:, :0]
    return {name: arrays[name] for name in BELIEF_FIELDS}


def of_world(everything: Mapping[str, Array], world: int) -> dict[str, Array]:
    """The row of one world, with the hashes of its pictures."""
    row = {name: everything[name][world].copy() for name in BELIEF_FIELDS if name != "image"}
    return row | {"image": hashes(everything["image"][world])}


def hashes(images: Array) -> Array:
    """SHA-256 of each picture of (C, 3, H, W) uint8, (C, 32) uint8."""
    digests = b"".join(hashlib.sha256(np.ascontiguousarray(image).tobytes()).digest() for image in images)
    return np.frombuffer(digests, np.uint8).reshape(len(images), 32)


def joined(made_of: About, rows: Sequence[Mapping[str, Array]]) -> Beliefs:
    """Rows of `of_world`, one a state, as one."""
    return Beliefs(about=made_of, arrays={name: np.stack([row[name] for row in rows]) for name in BELIEF_FIELDS})

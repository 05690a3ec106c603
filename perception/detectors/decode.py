"""From the network's maps to `Detections`: one decoder for every backend.

A detection is a part of a cell that is hotter than the 8 around it, as its likeliest class goes ("Objects as Points", section 4.1); of two
that cover the same box the weaker goes. The best D stay, so the result has a fixed size.

Shapes: B worlds, C cameras, N = B C images, D detections, K classes, g x f cells, h x w parts of them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from perception.detectors.geometry import box_iou, lift, pick, ray_angle, wrap
from perception.detectors.network import BINS, FINE, PIXELS, Maps, at_parts, coarse, in_places, within
from perception.types import Camera, Detections

__all__ = ["DecodeSpec", "decode", "read_boxes"]

CANDIDATES = 128  # hottest parts that are looked at
SAME = 0.7  # IoU above which two detections are one thing seen twice
SIZE_MAX = 8.0  # log of parts: keeps exp finite whatever the network says


@dataclass(frozen=True, kw_only=True)
class DecodeSpec:
    """What turns raw outputs into calibrated detections; the last four are fitted to held-out frames after training."""

    classes: tuple[str, ...]
    slots: int = 32  # D
    threshold: float = 0.1  # least score; trackers make use of faint detections too
    score_scale: float = 1.0  # score = sigmoid(scale * logit + bias) (Platt 1999)
    score_bias: float = 0.0
    along_scale: float = 1.0  # factor on the network's spread of depth
    across_scale: float = 1.0  # and of the middle's column

    def __post_init__(self) -> None:
        if not 1 <= self.slots <= 1024 or not 0.0 <= self.threshold < 1.0:
            raise ValueError(f"slots={self.slots}, threshold={self.threshold}: slots must be 1 to 1024, the threshold in [0, 1)")
        scales = (self.score_scale, self.along_scale, self.across_scale)
        if not all(math.isfinite(s) and s > 0 for s in scales) or not math.isfinite(self.score_bias):
            raise ValueError(f"score_scale, along_scale, across_scale = {scales}: must be positive, score_bias={self.score_bias} finite")


def decode(output: Tensor, camera: Camera, spec: DecodeSpec, *, height: int, width: int) -> Detections:
    """The network's output (N, outputs, g, f) for images `height` x `width`, camera fields (B, C) -> Detections (B, D), best first.

    Quickest where channels come last in memory.
    """
    batch, cameras = camera.focal.shape
    columns = output.shape[-1] * FINE
    cells = output.permute(0, 2, 3, 1).contiguous()  # (N, g, f, outputs)
    logit, kind, part = _peaks(cells, len(spec.classes), spec.slots)  # (N, P) each
    found = at_parts(cells, part, len(spec.classes))
    peaks = part.shape[1]
    maps = Maps(*(value.reshape(batch, cameras * peaks, value.shape[-1]) for value in found))  # (B, C P, Q) each
    logit, kind, part = (value.reshape(batch, cameras * peaks) for value in (logit, kind, part))
    index = torch.arange(cameras, device=part.device).repeat_interleave(peaks).expand(batch, -1)  # (B, C P)
    middle_u, middle_v = _middle(part, columns)
    cell_u, cell_v = _middle(coarse(part, columns), columns // FINE)
    box = read_boxes(middle_u, middle_v, maps.offset, maps.size, height=height, width=width)
    score = (spec.score_scale * logit + spec.score_bias).sigmoid()
    rows = Detections(
        box=box,
        camera=index,
        kind=kind,
        score=score,
        **_place(maps, FINE * cell_u, FINE * cell_v, pick(camera, index), spec),
        light=_light(maps.light, kind, spec.classes),
        source=torch.full_like(index, -1),
        mask=(score >= spec.threshold) & logit.isfinite(),
    )
    return _best(rows, spec.slots)


def _middle(place: Tensor, columns: int) -> tuple[Tensor, Tensor]:
    """Column and row of the middle."""
    return place % columns + 0.5, torch.div(place, columns, rounding_mode="floor") + 0.5


def _peaks(cells: Tensor, classes: int, slots: int) -> tuple[Tensor, Tensor, Tensor]:
    """Logit, class and part (N, P) of the P best peaks of cells (N, g, f, outputs); -inf where there are fewer."""
    best, likeliest = cells[..., :classes].max(-1)  # (N, g, f)
    heat = in_places(best[..., None] + cells[..., classes : classes + FINE**2])[:, 0]  # (N, h, w)
    heat = torch.where(heat.isfinite(), heat, -torch.inf)
    logit, part = heat.flatten(1).topk(min(CANDIDATES, heat.shape[1] * heat.shape[2]), 1)  # (N, Q)
    kind = likeliest.flatten(1).gather(1, coarse(part, heat.shape[-1]))
    peak = torch.where(logit >= _around(cells, classes, kind, part), logit, -torch.inf)
    logit, rank = peak.topk(min(slots, peak.shape[1]), 1)
    return logit, kind.gather(1, rank), part.gather(1, rank)


def _around(cells: Tensor, classes: int, kind: Tensor, part: Tensor) -> Tensor:
    """The highest heat of the class `kind` (N, Q) in the 8 parts around each `part` (N, Q)."""
    height, width = cells.shape[1] * FINE, cells.shape[2] * FINE
    step = torch.tensor([(v, u) for v in (-1, 0, 1) for u in (-1, 0, 1) if v or u], device=part.device)  # (8, 2)
    row = torch.div(part, width, rounding_mode="floor")[..., None] + step[:, 0]  # (N, Q, 8)
    column = (part % width)[..., None] + step[:, 1]
    inside = (row >= 0) & (row < height) & (column >= 0) & (column < width)
    beside = (row.clamp(0, height - 1) * width + column.clamp(0, width - 1)).flatten(1)  # (N, 8 Q)
    first = coarse(beside, width) * cells.shape[3]  # of the numbers of its cell
    flat = cells.flatten(1)
    of_kind, of_part = flat.gather(1, first + kind.repeat_interleave(8, 1)), flat.gather(1, first + classes + within(beside, width))
    return torch.where(inside, (of_kind + of_part).view_as(inside), -torch.inf).amax(-1)


def read_boxes(middle_u: Tensor, middle_v: Tensor, offset: Tensor, size: Tensor, *, height: int, width: int) -> Tensor:
    """Middles of parts (..., ) with their maps `offset` and `size` (..., 2) -> boxes (..., 4) px clipped to the image."""
    centre = torch.stack((middle_u, middle_v), -1) + offset
    half = 0.5 * size.clamp(max=SIZE_MAX).exp()
    low, high = (centre - half) * PIXELS, (centre + half) * PIXELS
    limit = torch.tensor((width, height), dtype=offset.dtype, device=offset.device)
    return torch.cat((torch.minimum(low.clamp(min=0), limit), torch.minimum(high.clamp(min=0), limit)), -1)


def read_angle(logits: Tensor) -> Tensor:
    """(..., BINS) -> (...) rad: between the likeliest bin and its neighbours, each as far as it is likely.

    Headings are told in bins because they have several modes: what could be front or rear has no mean worth telling (Mousavian et al.,
    "3D Bounding Box Estimation Using Deep Learning and Geometry", 2017).
    """
    best = logits.argmax(-1, keepdim=True)
    beside = logits.gather(-1, torch.cat((best - 1, best, best + 1), -1) % BINS).softmax(-1)
    return (best[..., 0] + beside[..., 2] - beside[..., 0]) * (2.0 * math.pi / BINS)


def _place(maps: Maps, middle_u: Tensor, middle_v: Tensor, camera: Camera, spec: DecodeSpec) -> dict[str, Tensor]:
    """Position, size, heading and their standard deviations in the ego frame; maps (B, C P, Q) as of `at_parts`."""
    centre = maps.centre
    u, v = (middle_u + centre[..., 0]) * PIXELS, (middle_v + centre[..., 1]) * PIXELS
    depth = camera.focal * maps.depth[..., 0].clamp(-8.0, 4.0).exp()
    slant = (1.0 + ((u - camera.cu) / camera.focal).square()).sqrt()  # range on the ground per depth
    along = depth * slant * maps.depth_spread[..., 0].clamp(-8.0, 3.0).exp() * spec.along_scale
    # across the line of sight, a column subtends cos^2 of the angle at a range of depth / cos: depth cos / focal a pixel
    across = depth / slant / camera.focal * PIXELS * maps.side_spread[..., 0].clamp(-8.0, 5.0).exp() * spec.across_scale
    return {
        "centre": lift(u, v, depth, camera),
        "size": maps.dims.clamp(-5.0, 5.0).exp(),
        "yaw": wrap(read_angle(maps.heading) + ray_angle(u, camera)),
        "sigma": torch.stack((along, across), -1),
    }


def _light(logits: Tensor, kind: Tensor, classes: tuple[str, ...]) -> Tensor:
    """(B, D, 5) -> (B, D) the likeliest state, -1 for what is no light."""
    if "light" not in classes:
        return torch.full_like(kind, -1)
    return torch.where(kind == classes.index("light"), logits.argmax(-1), -1)


def _best(found: Detections, slots: int) -> Detections:
    """Drop what is seen twice by one camera, then keep the best `slots` over all cameras; fill up if there are fewer."""
    order = torch.where(found.mask, found.score, -1.0)
    first = torch.arange(order.shape[1], device=order.device)
    ahead = (order[:, None, :] == order[:, :, None]) & (first[None, :] < first[:, None])  # of equals the first stays
    stronger = ((order[:, None, :] > order[:, :, None]) | ahead) & (found.camera[:, None, :] == found.camera[:, :, None])
    twice = (stronger & found.mask[:, None, :] & (box_iou(found.box, found.box) > SAME)).any(-1)
    keep = found.mask & ~twice
    have = order.shape[1]
    _, rank = torch.where(keep, order, -1.0).topk(min(slots, have), 1)  # (B, D)
    rows = [value.gather(1, rank if value.ndim == 2 else rank[..., None].expand(-1, -1, value.shape[2])) for value in found]
    rows[-1] = keep.gather(1, rank)
    if have < slots:
        rows = [torch.cat((row, row.new_zeros((row.shape[0], slots - have, *row.shape[2:]))), 1) for row in rows]
    return Detections(*rows)

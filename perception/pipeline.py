"""A perception stack: detector, tracker and predictor one after another, with its own rate, delay and losses.

A step takes the frame of the instant. It is passed to the detector if it is the stack's turn (every `every`-th step of a world) and it is
not lost; what is detected arrives `latency` steps later. The tracker lives at the time of the frames whose detections have arrived; what
it believes is then carried on to the present by the model of motion and the ego's known motion, so that late detections are not put where
the things were. Forecasts are made from that at every step.

Everything that lasts is in `PipelineState`; see `perception.states` for moving and saving it. Shapes: B worlds, C cameras, L = latency.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor

from perception.prediction.base import MODES, no_roads
from perception.prediction.history import History, empty_history, update_history
from perception.rng import uniform
from perception.stages import Detector, Predictor, Tracker, Witness
from perception.states import map_tensors, select
from perception.types import Camera, Detections, Forecasts, Labels, Roads, SensorFrame, Tracks

__all__ = ["Pipeline", "PipelineConfig", "PipelineState", "empty_detections"]

STREAM_DROP = 1


@dataclass(frozen=True, kw_only=True)
class PipelineConfig:
    """Rate, delay and losses of a stack. Raises ValueError for a value out of its range."""

    every: int = 1  # steps from one run of the detector to the next; tracks are carried on in between
    latency: int = 0  # steps from a frame to the arrival of its detections
    drop: float = 0.0  # share of frames that are lost, each by itself
    slots: int = 32  # D: of more detections than these the best are kept
    forecast: bool = True  # False: no history is kept and no forecasts are made

    def __post_init__(self) -> None:
        for name, low, high in (("every", 1, 1000), ("latency", 0, 100), ("slots", 1, 1024)):
            value = getattr(self, name)
            if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
                raise ValueError(f"{name}={value!r}: must be a whole number from {low} to {high}")
        if not 0.0 <= self.drop <= 1.0:
            raise ValueError(f"drop={self.drop}: must be between 0 and 1")


class Late(NamedTuple):
    """The last L frames and what was seen in them, oldest first: detections under way."""

    detections: Detections  # (B, L, D, ...)
    fresh: Tensor  # (B, L) bool, the detector ran
    camera: Camera  # (B, L, C)
    time: Tensor  # (B, L) s
    speed: Tensor  # (B, L) m/s
    yaw_rate: Tensor  # (B, L) rad/s
    motion: Tensor  # (B, L, 3)


class PipelineState(NamedTuple):
    """All a pipeline remembers."""

    seed: Tensor  # (B,) int64
    step: Tensor  # (B,) int64 steps since the episode began
    late: Late
    tracker: Any  # the tracker's own
    history: History  # of the tracks, for the predictor


class Pipeline:
    """`step` by `step` from frames to detections, tracks and forecasts.

    detector: a `Detector`, or a `Witness`, which needs labels. predictor None: no forecasts (their mask is all False).
    Raises TypeError if a stage cannot do what its protocol asks.
    """

    def __init__(
        self, detector: Detector | Witness, tracker: Tracker, predictor: Predictor | None, config: PipelineConfig | None = None
    ) -> None:
        if not isinstance(detector, (Detector, Witness)):
            raise TypeError(f"detector {detector!r}: needs `classes` and either `__call__(frame)` or `observe(frame, labels, seed, step)`")
        if not isinstance(tracker, Tracker):
            raise TypeError(f"tracker {tracker!r}: needs `name`, `initial`, `update` and `read`")
        if predictor is not None and not hasattr(predictor, "predict"):
            raise TypeError(f"predictor {predictor!r}: needs `predict(history, tracks, roads)`")
        self.detector, self.tracker, self.predictor, self.config = detector, tracker, predictor, config or PipelineConfig()

    @property
    def needs_labels(self) -> bool:
        """Whether `step` must be given the truth."""
        return isinstance(self.detector, Witness)

    @property
    def needs_roads(self) -> bool:
        """Whether the tracker makes something of the map."""
        return getattr(self.tracker, "needs_roads", False) is True

    def initial(self, seed: Tensor, *, cameras: int = 1) -> PipelineState:
        """The state before the first frame of as many worlds as there are seeds (B,) int64, on their device."""
        batch, length, device = len(seed), self.config.latency, seed.device
        real = torch.zeros((batch, length), device=device)
        blank = torch.zeros((batch, length, cameras), device=device)
        late = Late(
            detections=map_tensors(
                lambda value: value.unsqueeze(1).expand(-1, length, *value.shape[1:]).clone(),
                empty_detections(batch, self.config.slots, device),
            ),
            fresh=torch.zeros((batch, length), dtype=torch.bool, device=device),
            camera=Camera(*(blank.clone() + (name == "focal") for name in Camera._fields)),
            time=real,
            speed=real.clone(),
            yaw_rate=real.clone(),
            motion=torch.zeros((batch, length, 3), device=device),
        )
        tracker = self.tracker.initial(batch, device)
        still = torch.zeros((batch, 3), device=device)
        rows = self.tracker.read(tracker, still, still[:, 0]).mask.shape[1]
        return PipelineState(
            seed=seed.clone(),
            step=torch.zeros_like(seed),
            late=late,
            tracker=tracker,
            history=empty_history(batch, rows if self.config.forecast else 0, device=device),
        )

    def reset_where(self, state: PipelineState, mask: Tensor, seed: Tensor) -> PipelineState:
        """Nothing seen yet in the worlds of mask (B,) bool, which go on with `seed` (B,) int64."""
        return select(mask, self.initial(seed, cameras=state.late.camera.focal.shape[2]), state)

    def due(self, state: PipelineState) -> Tensor:
        """(B,) bool: worlds whose next frame the detector will see."""
        due = state.step % self.config.every == 0
        if self.config.drop > 0.0:
            due = due & (uniform(state.seed, state.step, STREAM_DROP, torch.zeros_like(state.step)) >= self.config.drop)
        return due

    @torch.no_grad()
    def step(
        self, frame: SensorFrame, roads: Roads | None, labels: Labels | None = None, *, state: PipelineState
    ) -> tuple[PipelineState, Detections, Tracks, Forecasts]:
        """One step further: the new state, and what is believed now, in the ego frame of now.

        Detections are those that arrived at this step, moved to where they are now if they did not move (boxes: as they were seen); none
        where none arrived. Raises ValueError if the detector needs labels and there are none.
        """
        due = self.due(state)
        now = _Seen(self._detect(frame, labels, state, due), due, frame)
        then, late, motion, dt = self._arrive(now, state.late)
        more = {"roads": None if roads is None else _before(roads, motion)} if self.needs_roads else {}
        tracker = self.tracker.update(state.tracker, then.detections, then.frame, then.fresh, **more)
        tracks = self.tracker.read(tracker, motion, dt)
        history, forecasts = self._predict(state.history, tracks, frame, roads)
        arrived = _carried(then.detections._replace(mask=then.detections.mask & then.fresh.unsqueeze(1)), motion)
        state = PipelineState(seed=state.seed, step=state.step + 1, late=late, tracker=tracker, history=history)
        return state, arrived, tracks, forecasts

    def _detect(self, frame: SensorFrame, labels: Labels | None, state: PipelineState, due: Tensor) -> Detections:
        """Of all worlds at once, as soon as one is due; nothing in those that are not."""
        slots = self.config.slots
        if self.config.every == 1 and self.config.drop == 0.0:
            return _fitted(self._look(frame, labels, state), slots)
        nothing = empty_detections(len(frame.time), slots, frame.time.device)
        return select(due, _fitted(self._look(frame, labels, state), slots), nothing) if bool(due.any()) else nothing

    def _look(self, frame: SensorFrame, labels: Labels | None, state: PipelineState) -> Detections:
        if isinstance(self.detector, Witness):
            if labels is None:
                raise ValueError(f"the detector {type(self.detector).__name__} tells the truth it is given: it needs labels")
            return self.detector.observe(frame, labels, seed=state.seed, step=state.step)
        return self.detector(frame)

    def _arrive(self, now: _Seen, late: Late) -> tuple[_Seen, Late, Tensor, Tensor]:
        """What arrives now, what is under way then, and how far the ego and the clock went on since the frame that arrives."""
        frame = now.frame
        still = torch.zeros_like(frame.motion)
        if self.config.latency == 0:
            return now, late, still, still[:, 0].contiguous()
        newest = Late(now.detections, now.fresh, frame.camera, frame.time, frame.speed, frame.yaw_rate, frame.motion)
        queue = map_tensors(lambda old, new: torch.cat((old, new.unsqueeze(1)), 1), late, newest)
        oldest = map_tensors(lambda value: value[:, 0].contiguous(), queue)
        under_way = map_tensors(lambda value: value[:, 1:].contiguous(), queue)
        blank = torch.zeros((), dtype=torch.uint8, device=frame.image.device).expand(frame.image.shape)
        then = SensorFrame(blank, oldest.camera, oldest.time, oldest.speed, oldest.yaw_rate, oldest.motion)
        motion = _sum_of(under_way.motion)
        return _Seen(oldest.detections, oldest.fresh, then), under_way, motion, (frame.time - oldest.time).clamp(min=0.0)

    def _predict(self, history: History, tracks: Tracks, frame: SensorFrame, roads: Roads | None) -> tuple[History, Forecasts]:
        if self.predictor is None or not self.config.forecast:
            return history, _no_forecasts(tracks)
        history = update_history(history, tracks, frame.motion, frame.time, frame.speed)
        roads = no_roads(len(frame.time), frame.time.device) if roads is None else roads
        return history, self.predictor.predict(history, tracks, roads)


def _before(roads: Roads, motion: Tensor) -> Roads:
    """The roads in the frame of an ego that has gone on by `motion` (B, 3) since."""
    dx, dy, turn = (part.contiguous().view(-1, 1, 1) for part in motion.unbind(-1))
    cos, sin = turn.cos(), turn.sin()
    x, y, c, s = roads.points.unbind(-1)
    return roads._replace(points=torch.stack((dx + x * cos - y * sin, dy + x * sin + y * cos, c * cos - s * sin, c * sin + s * cos), -1))


class _Seen(NamedTuple):
    detections: Detections  # (B, D)
    fresh: Tensor  # (B,) bool
    frame: SensorFrame


def empty_detections(batch: int, slots: int, device: torch.device | str = "cpu") -> Detections:
    """Nothing seen."""
    real = torch.zeros((batch, slots), device=device)
    none = torch.full((batch, slots), -1, dtype=torch.int64, device=device)
    return Detections(
        box=real.new_zeros((batch, slots, 4)),
        camera=torch.zeros_like(none),
        kind=torch.zeros_like(none),
        score=real,
        centre=real.new_zeros((batch, slots, 3)),
        size=real.new_ones((batch, slots, 3)),
        yaw=real.clone(),
        sigma=real.new_ones((batch, slots, 2)),
        light=none,
        source=none.clone(),
        mask=torch.zeros_like(none, dtype=torch.bool),
    )


def _fitted(found: Detections, slots: int) -> Detections:
    """With exactly `slots` rows: filled up, or the best of them, equal scores in their order."""
    have = found.mask.shape[1]
    if have < slots:
        more = empty_detections(len(found.mask), slots - have, found.mask.device)
        return map_tensors(lambda value, blank: torch.cat((value, blank.to(value.dtype)), 1), found, more)
    if have == slots:
        return found
    order = torch.where(found.mask, found.score, -torch.inf).sort(dim=1, descending=True, stable=True).indices[:, :slots]
    return map_tensors(
        lambda value: value.gather(1, order.view(*order.shape, *(1,) * (value.dim() - 2)).expand(-1, -1, *value.shape[2:])), found
    )


def _sum_of(motions: Tensor) -> Tensor:
    """Motions (B, L, 3), each in the frame after the one before -> (B, 3) from the first frame to the last."""
    x = y = turn = torch.zeros_like(motions[:, 0, 0])
    for part in range(motions.shape[1]):
        dx, dy, more = (value.contiguous() for value in motions[:, part].unbind(-1))
        cos, sin = turn.cos(), turn.sin()
        x, y, turn = x + dx * cos - dy * sin, y + dx * sin + dy * cos, turn + more
    return torch.stack((x, y, turn), -1)


def _carried(found: Detections, motion: Tensor) -> Detections:
    """The same places and headings in the ego frame that is `motion` (B, 3) from theirs."""
    dx, dy, turn = (value.contiguous().unsqueeze(1) for value in motion.unbind(-1))
    cos, sin = turn.cos(), turn.sin()
    x, y = found.centre[..., 0] - dx, found.centre[..., 1] - dy
    centre = torch.stack((x * cos + y * sin, y * cos - x * sin, found.centre[..., 2]), -1)
    turned = torch.remainder(found.yaw - turn + torch.pi, 2.0 * torch.pi) - torch.pi
    still = turn == 0.0
    return found._replace(centre=centre, yaw=torch.where(still, found.yaw, turned))


def _no_forecasts(tracks: Tracks) -> Forecasts:
    """One step, at which nobody is expected anywhere."""
    batch, rows = tracks.mask.shape
    real = tracks.mean.new_zeros((batch, rows, MODES))
    return Forecasts(
        time=real.new_ones(1),
        mean=real.new_zeros((batch, rows, MODES, 1, 2)),
        covariance=torch.eye(2, device=real.device).expand(batch, rows, MODES, 1, 2, 2),
        probability=real + 1.0 / MODES,
        manoeuvre=torch.full((batch, rows, 6), torch.nan, device=real.device),
        mask=torch.zeros_like(tracks.mask),
    )

"""What was believed in traces: kept, checked, verified by seeing again, and drawn."""

from __future__ import annotations

import base64
import dataclasses
import json
import re
import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from torch import Tensor

import scenarios
from agents.evaluation.rollout import TraceRule, rollout
from agents.playback.beliefs import BELIEF_FIELDS
from agents.playback.compact_sight import ELLIPSE, compact_sight, ellipses, pictures
from agents.playback.draw import render_frame
from agents.playback.page import page
from agents.playback.sight import NO_BODY, Sight, look_again
from agents.playback.storage import pack
from agents.playback.trace import Trace, TraceError
from agents.playback.verify import verify
from agents.policies.base import PolicyNeeds
from envs.driving.palette import BELIEFS, CLASSES, rgb
from envs.driving.types import State
from perception.detectors import DRIVING_CLASSES
from perception.detectors.geometry import pick, project
from perception.noise import even_noise
from perception.noise_card import save_noise
from perception.pipeline import empty_detections
from perception.types import Detections, Labels, SensorFrame


def members(path: Path) -> dict[str, np.ndarray[Any, Any]]:
    with np.load(path, allow_pickle=False) as stored:
        return {name: stored[name] for name in stored.files}


# ---------------------------------------------------------------- the file


def test_beliefs_come_back_as_they_were(sighted: tuple[Trace, Sight], highway_trace: Trace, tmp_path: Path) -> None:
    trace = sighted[0]
    loaded = Trace.load(trace.save(tmp_path / "a.trace"))
    assert loaded.beliefs is not None and trace.beliefs is not None
    assert loaded.beliefs.about == trace.beliefs.about
    assert loaded.digest == trace.digest != highway_trace.digest
    for name, (dtype, _) in BELIEF_FIELDS.items():
        np.testing.assert_array_equal(loaded.beliefs.arrays[name], trace.beliefs.arrays[name])
        assert loaded.beliefs.arrays[name].dtype == np.dtype(dtype)
    versions = [json.loads(members(each.save(tmp_path / "b.trace"))["header"].tobytes())["version"] for each in (trace, highway_trace)]
    assert versions == [2, 1]  # who believes nothing can be read by those who know nothing of beliefs
    assert Trace.load(tmp_path / "b.trace").beliefs is None


@pytest.mark.parametrize("member", ["track_place", "track_id", "path", "found_box", "image", "track_mask"])
def test_an_altered_belief_is_found_and_its_step_named(sighted: tuple[Trace, Sight], tmp_path: Path, member: str) -> None:
    path = sighted[0].save(tmp_path / "a.trace")
    stored = members(path)
    changed = stored[f"belief_{member}"].copy()
    changed[9].reshape(-1)[0] = ~changed[9].reshape(-1)[0] if changed.dtype == bool else changed[9].reshape(-1)[0] + 1
    path.write_bytes(pack(stored | {f"belief_{member}": changed}))
    with pytest.raises(TraceError, match="step 9 does not match"):
        Trace.load(path)


def _about(**changes: Any) -> Callable[[dict[str, Any]], dict[str, Any]]:
    def change(stored: dict[str, Any]) -> dict[str, Any]:
        header = json.loads(stored["header"].tobytes())
        header["beliefs"] = header["beliefs"] | changes
        return stored | {"header": np.frombuffer(json.dumps(header).encode(), np.uint8)}

    return change


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (_about(frame="world"), "frame 'ego'"),
        (_about(T=-1), "sizes must be whole numbers"),
        (_about(T=5), "track_mask is bool of shape"),
        (_about(times=["soon"]), "times must be positive"),
        (_about(classes=[3]), "must be texts"),
        (_about(detector="other"), "the header.* does not match"),
        (lambda s: {k: v for k, v in s.items() if k != "belief_track_yaw"}, "track_yaw is missing"),
        (lambda s: s | {"belief_path": s["belief_path"][:, :, :1]}, "path is float32 of shape"),
    ],
)
def test_what_is_wrong_with_beliefs_is_told(
    sighted: tuple[Trace, Sight], tmp_path: Path, change: Callable[[dict[str, Any]], dict[str, Any]], message: str
) -> None:
    path = sighted[0].save(tmp_path / "a.trace")
    path.write_bytes(pack(change(members(path))))
    with pytest.raises(TraceError, match=message):
        Trace.load(path)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("track_place", np.nan, "track_place: not a finite number"),
        ("track_kind", 7, "no such class; there are 7"),
        ("path", np.inf, "path: not a finite number"),
        ("found_camera", 1, "no such camera; there are 1"),
        ("track_light", 9, "not a light's state"),
    ],
)
def test_beliefs_that_no_viewer_could_draw_are_refused(
    sighted: tuple[Trace, Sight], tmp_path: Path, name: str, value: float, message: str
) -> None:
    beliefs = sighted[0].beliefs
    assert beliefs is not None
    changed = beliefs.arrays[name].copy()
    changed[4, 0] = value
    wrong = dataclasses.replace(sighted[0], beliefs=dataclasses.replace(beliefs, arrays={**beliefs.arrays, name: changed}))
    with pytest.raises(TraceError, match=message):
        Trace.load(wrong.save(tmp_path / "a.trace"))


def test_a_trace_of_the_first_version_is_still_read() -> None:
    """Written before there were eyes: by a version whose configuration lacked half of today's fields."""
    trace = Trace.load(Path(__file__).with_name("version1.trace"))
    assert (trace.steps, trace.policy, trace.beliefs) == (3, "idm", None)
    assert trace.config.forecasts == 0
    assert trace.sealed().digest != trace.digest  # the header of today has more fields


# ---------------------------------------------------------------- with the simulator


class Seer:
    """A detector that is told the truth, and tells where it is in the picture; now and then it sees a car that is not there."""

    classes = DRIVING_CLASSES

    def observe(self, frame: SensorFrame, labels: Labels, *, seed: Tensor, step: Tensor) -> Detections:
        camera = pick(frame.camera, labels.camera)
        ground = labels.centre * labels.centre.new_tensor([1.0, 1.0, 0.0])
        u, v, depth = project(ground, camera)
        wide = 100.0 / depth.clamp(min=1.0)
        box = torch.stack((u - wide, v - wide, u + wide, v), -1).clamp(0.0, 160.0)
        mask = labels.mask & (depth > 2.0) & (u > 0.0) & (u < 160.0)
        found = empty_detections(*mask.shape)._replace(
            box=box, kind=labels.kind, score=mask.float(), centre=labels.centre, size=labels.size, yaw=labels.yaw, mask=mask
        )
        place = found.centre.new_tensor([15.0, 12.0, 0.75]).expand(len(mask), 1, 3)
        first = empty_detections(len(mask), 1)._replace(
            box=found.box.new_tensor([5.0, 40.0, 25.0, 60.0]).expand(len(mask), 1, 4),
            score=torch.ones(len(mask), 1),
            centre=place,
            size=place.new_tensor([4.5, 1.8, 1.5]).expand_as(place),
            sigma=torch.full((len(mask), 1, 2), 0.3),
            mask=torch.ones(len(mask), 1, dtype=torch.bool),
        )
        both = (torch.cat(pair, 1) for pair in zip(found, first, strict=True))
        return Detections(*both)


@dataclasses.dataclass(frozen=True)
class Driver:
    """Keeps going."""

    needs: PolicyNeeds
    name: str = "driver"

    def act(self, observation: Any, *, seed: Tensor, step: Tensor) -> Tensor:
        return torch.zeros(len(seed), 1, 2)


@pytest.fixture
def recorded(brief: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Trace]:
    """The trace of the second of two episodes that one world drives: its eyes opened while others looked on."""
    module = types.ModuleType("seeing_things")
    module.Seer = Seer  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "seeing_things", module)
    monkeypatch.setattr("perception.noise_card.WEIGHTS", tmp_path)
    save_noise(tmp_path / "noise_driving.json", even_noise(miss=0.3, miss_memory=0.5, false_rate=0.4))
    scenario = scenarios.load(f"{brief}/easy")
    episodes = [scenarios.sample(scenario, seed) for seed in (0, 1)]

    def record(**fields: Any) -> Trace:
        needs = PolicyNeeds(autopilot=True, detector="seeing_things:Seer", weather="clear", **fields)
        results = rollout(Driver(needs), episodes, batch=1, traces=TraceRule(folder=tmp_path / "traces"))
        assert not any(result.error for result in results), results
        return Trace.load(results[1].trace)

    return record


LEVELS: list[dict[str, Any]] = [
    {"observation": "truth", "forecasts": 1},
    {"observation": "visible", "forecasts": 2, "predictor": "ctrv"},
    {"observation": "noisy", "forecasts": 2},
    {"observation": "perceived", "latency": 1},
    {"observation": "perceived", "forecasts": 2, "predictor": "predictor_driving"},
]


@pytest.mark.parametrize("fields", LEVELS, ids=lambda fields: "-".join(map(str, fields.values())))
def test_what_was_believed_is_believed_again_to_the_last_bit(recorded: Callable[..., Trace], fields: dict[str, Any]) -> None:
    trace, states = recorded(**fields), list[State]()
    found = verify(trace, keep=states)
    assert (found.ok, found.exact, found.beliefs) == (True, True, "the same"), found.reason
    assert found.reason.endswith("identical to the last bit, beliefs too")
    beliefs, seen = trace.beliefs, look_again(trace, states)
    assert beliefs is not None and seen is not None
    assert beliefs.arrays["track_mask"].any()
    assert beliefs.arrays["path_mask"].any() == ("forecasts" in fields)
    assert seen.same
    assert seen.images.shape[1:] == ((1, 96, 160, 3) if fields["observation"] == "perceived" else (0, 0, 0, 3))
    assert seen.visible.any() and not seen.visible[:, 0].any()
    if fields["observation"] == "truth":  # told everything, it misses and invents nothing
        assert not any(seen.missed(k) or seen.invented(k) for k in range(2, trace.steps + 1))
    if fields["observation"] == "perceived":
        assert np.ptp(seen.images) > 100
        assert all(seen.invented(k) for k in range(2, trace.steps + 1))
        assert (seen.track[-1][beliefs.arrays["found_mask"][-1]] >= 0).any()
        again = look_again(trace)  # without what verification kept
        assert again is not None
        np.testing.assert_array_equal(again.images, seen.images)


def test_beliefs_that_were_never_held_are_found(recorded: Callable[..., Trace]) -> None:
    trace = recorded(observation="noisy", forecasts=1)
    assert trace.beliefs is not None
    score = trace.beliefs.arrays["track_score"].copy()
    score[3, 0] += 1e-6
    forged = dataclasses.replace(trace.beliefs, arrays={**trace.beliefs.arrays, "track_score": score})
    found = verify(dataclasses.replace(trace, beliefs=forged).sealed())
    assert (found.ok, found.first_bad_step, found.beliefs) == (False, 3, "different")
    assert found.reason.startswith("beliefs differ from step 3: track_score by up to")
    about = dataclasses.replace(trace.beliefs.about, detector="0" * 64)
    other = verify(dataclasses.replace(trace, beliefs=dataclasses.replace(forged, about=about)).sealed())
    assert other.ok  # nobody can tell: what believed it is not here any more
    assert other.beliefs == "the detector has other weights now"
    about = dataclasses.replace(trace.beliefs.about, backend="onnx")
    slower = verify(dataclasses.replace(trace, beliefs=dataclasses.replace(forged, about=about)).sealed())
    assert slower.ok
    assert slower.beliefs == "the detector ran by onnx then, by nothing now"
    elsewhere = verify(dataclasses.replace(trace, torch="1.0", beliefs=forged).sealed())
    assert elsewhere.ok and "torch 1.0 then" in elsewhere.beliefs


# ---------------------------------------------------------------- the page and the pictures


def test_the_page_holds_what_was_believed(sighted: tuple[Trace, Sight], highway_trace: Trace) -> None:
    trace, sight = sighted
    text = page(trace, sight=sight)
    data = re.search(r'<script type="application/json" id="data">(.*?)</script>', text, re.S)
    assert data is not None
    told = json.loads(data[1])["beliefs"]
    assert told["names"] == ["front"] and told["size"] == [160, 96] and len(told["images"]) == trace.steps + 1
    image = cv2.imdecode(np.frombuffer(base64.b64decode(told["images"][5][0]), np.uint8), cv2.IMREAD_COLOR)
    assert image is not None
    assert np.abs(image[..., ::-1].astype(int) - sight.images[5, 0]).max() < 6
    assert told["steps"] == compact_sight(trace, sight)["steps"]
    assert "drawn again, the same bits" in text
    without = page(highway_trace)
    assert '"beliefs":null' in without
    assert "function drawBeliefs" not in without  # whoever believes nothing carries no code for it


def test_a_minute_of_pictures_stays_small() -> None:
    rng = np.random.default_rng(0)
    noise = rng.normal(0.0, 6.0, (8, 1, 96, 160, 3)) + np.linspace(60, 190, 96)[:, None, None]
    images = np.tile(np.clip(noise, 0, 255).astype(np.uint8), (20, 1, 1, 1, 1))  # 160 states: 64 s of a decision every 0.4 s
    assert sum(len(text) for row in pictures(images) for text in row) < 1_400_000
    assert sum(len(text) for row in pictures(images, budget=400_000) for text in row) < 600_000
    assert pictures(np.zeros((3, 0, 0, 0, 3), np.uint8)) == [[], [], []]


def test_ellipses_hold_nine_of_ten() -> None:
    covariance = np.array([[4.0, 1.0], [1.0, 2.0]])
    major, minor, angle = ellipses(np.array([4.0, 1.0, 2.0]))
    points = np.random.default_rng(0).multivariate_normal([0.0, 0.0], covariance, 20_000)
    cos, sin = np.cos(angle), np.sin(angle)
    along, across = points @ (cos, sin), points @ (-sin, cos)
    assert ((along / major) ** 2 + (across / minor) ** 2 <= 1.0).mean() == pytest.approx(0.9, abs=0.01)
    np.testing.assert_allclose(sorted([major, minor]), ELLIPSE * np.sqrt(np.linalg.eigvalsh(covariance)))


def test_tracks_stand_for_what_is_near_them(recorded: Callable[..., Trace]) -> None:
    trace = recorded(observation="truth", forecasts=1)
    assert trace.beliefs is not None
    seen = look_again(trace)
    assert seen is not None
    k, row = trace.steps, int(np.flatnonzero(seen.body[-1] >= 0)[0])
    place = trace.beliefs.arrays["track_place"].copy()
    place[k, row] += (0.0, 60.0)
    moved = dataclasses.replace(trace, beliefs=dataclasses.replace(trace.beliefs, arrays={**trace.beliefs.arrays, "track_place": place}))
    other = look_again(moved.sealed())
    assert other is not None
    assert other.body[k, row] == NO_BODY and other.invented(k) == [row]
    assert other.missed(k) == [seen.body[k, row]]


def test_a_video_frame_has_the_camera_beside_the_top_view(sighted: tuple[Trace, Sight], highway_trace: Trace) -> None:
    trace, sight = sighted

    def count(image: np.ndarray[Any, Any], colour: tuple[int, int, int]) -> int:
        return int((np.abs(image.astype(int) - colour).max(-1) <= 10).sum())

    image = render_frame(trace, 20.5, (1000, 560), sight=sight)
    assert image.shape == (560, 1000, 3)
    top, strip = image[:, :600], image[:, 600:]
    assert count(strip, (40, 120, 200)) > 40_000 and count(top, (40, 120, 200)) < 100
    assert count(strip, rgb(CLASSES[0])) > 100  # the box of a car
    for name in ("believed", "missed", "invented"):
        assert count(top, rgb(BELIEFS["light"][name])) > 30, name
    plain = render_frame(trace, 20.5, (1000, 560))
    np.testing.assert_array_equal(plain, render_frame(highway_trace, 20.5, (1000, 560)))
    assert count(plain, rgb(BELIEFS["light"]["missed"])) == 0

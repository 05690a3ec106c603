"""What a GPU computes beside what the CPU computes: within rounding of it, and on one GPU the same bits whatever the batch."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from envs.driving.camera.stream import DrivingStream
from envs.driving.make import sample_episodes
from envs.driving.sb3_env import DrivingVecEnv
from envs.driving.types import DrivingConfig
from envs.driving.worlds import Worlds
from perception.detectors.centernet import CenterNet
from perception.states import move, tensors

pytestmark = pytest.mark.gpu
NAMES = ["highway", "signals", "crossing", "junction"]
FIRST_SEED = 5_000


def test_a_gpu_draws_the_same_frames_and_labels() -> None:
    here, there = (DrivingStream(device=device, worlds=8, seconds=3).sample(7, 32) for device in ("cpu", "cuda"))
    apart = (here.frame.image.int() - there.frame.image.cpu().int()).abs()
    assert float((apart > 2).float().mean()) < 0.003  # pixels on edges may fall to the other side
    assert torch.equal(here.condition, there.condition.cpu())
    same = here.labels.mask & there.labels.mask.cpu()
    assert float((here.labels.mask != there.labels.mask.cpu()).float().mean()) < 0.01
    torch.testing.assert_close(here.labels.box[same], there.labels.box.cpu()[same], atol=0.05, rtol=0.0)
    assert float((here.labels.occlusion[same] - there.labels.occlusion.cpu()[same]).abs().mean()) < 0.01


@pytest.mark.parametrize(("backend", "apart"), [("torch", 2e-3), ("half", 0.15)])
def test_the_detector_answers_alike(backend: str, apart: float, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)
    sample = DrivingStream(worlds=8, seconds=3).sample(11, 24)
    network = CenterNet.load("driving", backend="torch")
    there = CenterNet.load("driving", backend=backend)
    frame = move(sample.frame, "cuda")
    here, far = network.maps(sample.frame.image, sample.frame.camera), there.maps(frame.image, frame.camera).cpu()
    assert far.shape == here.shape
    assert float((here - far).abs().quantile(0.999)) < apart
    found, other = network(sample.frame), there(frame)
    assert other.box.device.type == "cuda"
    sure = found.score[found.mask & (found.score > 0.5)]
    assert abs(len(sure) - int((other.mask & (other.score > 0.5)).sum())) <= max(1, 0.05 * len(sure))


@pytest.mark.parametrize("level", ["truth", "visible", "noisy", "perceived"])
def test_every_level_runs_on_a_gpu(level: str) -> None:
    """The first observation as on the CPU, but for what a frame's edge or a half-precision score decides otherwise; then it goes on."""
    config = DrivingConfig(observation=level, forecasts=2, predictor="predictor_driving")
    episodes = sample_episodes(NAMES, 8, FIRST_SEED)
    here, there = (Worlds(episodes, config, batch=8, device=device) for device in ("cpu", "cuda"))
    one, two = here.observe(), there.observe()
    close = [
        float(torch.isclose(a.float(), b.float().cpu(), atol=0.02, rtol=0.01).float().mean())
        for (_, a), (_, b) in zip(tensors(one), tensors(two), strict=True)
    ]
    assert min(close) > (0.9 if level in ("noisy", "perceived") else 0.99), close
    for _ in range(5):
        there.step(torch.zeros(8, 1, 2, device="cuda"))
    seen = there.observe()
    assert all(value.device.type == "cuda" and bool(value.float().isfinite().all()) for _, value in tensors(seen))


def test_pixels_on_a_gpu() -> None:
    config = DrivingConfig(observation="pixels")
    worlds = Worlds(sample_episodes(NAMES, 4, FIRST_SEED), config, batch=4, device="cuda")
    worlds.step(torch.zeros(4, 1, 2, device="cuda"))
    seen = dict(tensors(worlds.observe()))
    image = next(value for value in seen.values() if value.dtype == torch.uint8)
    assert image.device.type == "cuda"
    assert float(image.float().std()) > 10.0


def test_on_a_gpu_a_world_does_not_know_how_many_others_there_are() -> None:
    episodes = sample_episodes(NAMES, 12, FIRST_SEED)
    config = DrivingConfig(autopilot=True)
    one, many = (Worlds(episodes, config, batch=batch, device="cuda") for batch in (4, 12))
    for _ in range(20):
        for worlds in (one, many):
            worlds.step(torch.zeros(worlds.batch, 1, 2, device="cuda"))
    for (name, a), (_, b) in zip(tensors(one.sim.state), tensors(many.sim.state), strict=True):
        assert torch.equal(a, b[:4]), name


def test_compiled_on_a_gpu_as_eager_within_rounding() -> None:
    actions = np.random.default_rng(0).uniform(-0.3, 0.3, (10, 8, 2)).astype(np.float32)
    envs = [DrivingVecEnv("merge", num_envs=8, episodes=8, device="cuda", compile=compile) for compile in (False, True)]
    for env in envs:
        env.reset()
    for action in actions:
        one, two = (env.step(action) for env in envs)
        np.testing.assert_array_equal(one[2], two[2])
        np.testing.assert_allclose(np.asarray(one[0]), np.asarray(two[0]), atol=5e-3)

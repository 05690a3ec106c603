"""Training: it learns, it can go on, its pieces are what they say. The stream of boxes is the world."""

from __future__ import annotations

import json
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
import torch

from perception.detectors.centernet import CenterNet
from perception.detectors.network import split
from perception.storage import WeightsError, load
from perception.training.boxes import BoxStream
from perception.training.detector import DetectorTraining, judge, pretrain, read_run
from perception.training.feed import GROUP, Feed, FeedError, make_batches
from perception.training.learner import Learner, Recipe
from perception.training.losses import Weights, loss
from perception.training.stream import StreamError, draw, open_stream

pytest.importorskip("pycocotools")
SMALL = {"widths": (8, 16, 16, 16), "blocks": (0, 0, 0, 0), "neck": 16, "head": 16}
OPTIONS = {"width": 80, "height": 48, "most": 2}


def test_the_stream_is_exact() -> None:
    """Boxes hold exactly the pixels of things nothing hides; the same seed gives the same frames, whatever the count."""
    stream = BoxStream()
    frame, labels, _ = stream.sample(7, 30)
    other, _, _ = stream.sample(7, 3)
    assert torch.equal(frame.image[:3], other.image)
    checked = 0
    for b, d in torch.nonzero(labels.mask & (labels.occlusion == 0)).tolist():
        rows, columns = torch.nonzero(labels.instance[b, 0] == int(labels.source[b, d])).T
        tight = torch.stack((columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)).float()
        if int(labels.light[b, d]) < 0:  # a lamp's label is its box, of which only the front is lit
            assert float((tight - labels.box[b, d]).abs().max()) <= 1.6
            checked += 1
    assert checked > 20
    hidden = labels.occlusion[labels.mask]
    assert float(hidden.min()) >= 0.0 and float(hidden.max()) < 1.0


def test_streams_by_name() -> None:
    assert open_stream("boxes", most=2).classes == BoxStream.classes
    assert isinstance(open_stream("perception.training.boxes:BoxStream"), BoxStream)
    with pytest.raises(StreamError, match="known: driving, boxes"):
        open_stream("boats")
    with pytest.raises(StreamError, match="there is no"):
        open_stream("nowhere.at_all:Stream")
    with pytest.raises(ValueError, match="at least 16"):
        BoxStream(width=3)


def test_the_loss_is_least_where_the_labels_are() -> None:
    """Any one map moved away from its target makes its own term larger; the gradient of every term is finite."""
    batch = make_batches(BoxStream(**OPTIONS), 3, 8)[0]
    learner = Learner(Recipe(), BoxStream.classes, **SMALL)
    output = learner.network(batch.image, batch.where).detach()
    terms = loss(split(output, 3), batch.things, batch.target, batch.counts)
    assert all(float(value) >= -5.0 and torch.isfinite(value) for value in terms)
    output.requires_grad_(True)
    loss(split(output, 3), batch.things, batch.target, batch.counts).total(Weights()).backward()
    assert output.grad is not None and output.grad.isfinite().all() and float(output.grad.abs().sum()) > 0
    told = split(output.grad, 3)
    assert all(float(value.abs().sum()) > 0 for value in told[:-1])


def test_it_learns() -> None:
    """One batch, over and over: every term falls."""
    batch = make_batches(BoxStream(**OPTIONS), 1, 16)[0]
    learner = Learner(Recipe(rate=3e-3), BoxStream.classes, **SMALL)
    first = learner.learn(batch, 0.3)
    for _ in range(60):
        last = learner.learn(batch, 0.3)
    for name in ("heat", "box", "depth", "dims", "centre", "loss"):
        assert last[name] < 0.8 * first[name] if first[name] > 0 else last[name] < first[name], name
    assert learner.step == 61


def test_the_background_feed_gives_the_batches_asked_for() -> None:
    with closing(Feed("boxes", OPTIONS, seed=2, first=5, size=4)) as feed:
        sixth, seventh = next(feed), next(feed)
    from perception.training.stream import TRAIN_SEED

    for number, got in ((5, sixth), (6, seventh)):
        wanted = make_batches(BoxStream(**OPTIONS), 3 * TRAIN_SEED + number // GROUP, 4)[number % GROUP]
        assert torch.equal(got.image, wanted.image) and torch.equal(got.where, wanted.where)
        assert torch.equal(got.things.box, wanted.things.box) and torch.equal(got.things.learn, wanted.things.learn)
        torch.testing.assert_close(got.target, wanted.target, atol=1e-3, rtol=1e-3)


def test_a_feed_that_breaks_says_why() -> None:
    with closing(Feed("boxes", {"width": 3}, seed=0, first=0, size=4)) as feed, pytest.raises(FeedError, match="at least 16"):
        next(feed)


@pytest.mark.filterwarnings("ignore:.*lr_scheduler.*:UserWarning")
def test_a_run_from_start_to_card(tmp_path: Path) -> None:
    """Train, be interrupted, go on, finish: weights that load and see, a card, curves."""
    config = DetectorTraining(
        domain="boxes", frames=640, batch=32, validate=2, validation_frames=32, test_frames=32, options=OPTIONS, network=SMALL
    )

    class Impatient:
        def __init__(self) -> None:
            self.lines: list[str] = []
            self.done = 0

        def advance(self, done: int, total: int, figures: str) -> None:
            self.done = done
            if done >= 320:
                raise KeyboardInterrupt

        def say(self, line: str) -> None:
            self.lines.append(line)

    impatient = Impatient()
    run = pretrain(config, out=tmp_path / "run", report=impatient)
    assert run.status == "interrupted" and run.weights is None and 320 <= run.frames < 640
    assert read_run(tmp_path / "run") == config
    run = pretrain(read_run(tmp_path / "run"), out=tmp_path / "run", resume=True, command="closedloop pretrain detector")
    assert run.status == "finished" and run.frames == 640 and run.weights == tmp_path / "run" / "detector_boxes.safetensors"
    card = json.loads(run.weights.with_suffix(".json").read_text())
    assert card["command"] == "closedloop pretrain detector" and card["sha256"] == load(run.weights).sha256
    assert card["metrics"]["frames"] == 32 and "boxes" in card["data"]
    detector = CenterNet.load(run.weights, backend="torch")
    sample = draw(BoxStream(**OPTIONS), 0, 4)[0]
    assert detector(sample.frame).mask.shape == (4, 32)
    assert (tmp_path / "run" / "curves.png").read_bytes().startswith(b"\x89PNG")
    assert len(json.loads((tmp_path / "run" / "progress.json").read_text())) >= 1


def test_checkpoints_of_other_runs_are_refused(tmp_path: Path) -> None:
    from perception.training.learner import restore_checkpoint, save_checkpoint

    learner = Learner(Recipe(), ("a", "b"), **SMALL)
    save_checkpoint(tmp_path / "c.safetensors", learner, "boxes")
    with pytest.raises(WeightsError, match="of domain boxes"):
        restore_checkpoint(tmp_path / "c.safetensors", learner, "driving")
    with pytest.raises(WeightsError):
        restore_checkpoint(tmp_path / "c.safetensors", Learner(Recipe(), ("a", "b", "c"), **SMALL), "boxes")
    with pytest.raises(WeightsError, match="no run"):
        read_run(tmp_path)


@pytest.mark.parametrize("wrong", [{"frames": 1}, {"minutes": 0.0}, {"test_frames": 0}])
def test_settings_check_themselves(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError):
        DetectorTraining(**wrong)  # type: ignore[arg-type]
    with pytest.raises(ValueError):
        Recipe(rate=2.0)


@pytest.mark.slow
def test_boxes_are_learned_well(tmp_path: Path) -> None:
    """Minutes on the stream of boxes: good figures, scores that can be believed, ellipses that hold what they claim."""
    config = DetectorTraining(domain="boxes", frames=25_000, minutes=15.0, validate=2, validation_frames=256, test_frames=512)
    run = pretrain(config, out=tmp_path / "run")
    assert run.metrics["ap50"] > 0.85 and run.metrics["centre_error"] < 0.08
    assert run.metrics["d_ece"] < 0.06 and 0.8 < run.metrics["coverage_90"] < 0.97
    assert run.weights is not None
    detector = CenterNet.load(run.weights)
    frames = draw(BoxStream(), 77, 256)
    again = judge(detector_network(run.weights), detector.spec, BoxStream.conditions, frames).report()
    assert np.isclose(again["ap50"], run.metrics["ap50"], atol=0.08)


def detector_network(path: Path) -> torch.nn.Module:
    from perception.detectors.centernet import unpack

    return unpack(load(path))[0]

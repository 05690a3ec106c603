"""Figures of tracking on sequences whose figures are known, by hand or from the papers that define them."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from perception.metrics.tracking import ZERO, TrackingFigures, hota_of
from perception.tracking import TrackerConfig, empty_tracks
from perception.types import Labels, Tracks

NAN = float("nan")


def make_labels(places: list[list[tuple[float, float]]], *, occlusion: float = 0.0, kind: int = 0, first: int = 10) -> Labels:
    """Worlds with things at places (m); boxes are 10 px squares at ten times the place."""
    place = torch.tensor(places)
    batch, count = place.shape[:2]
    whole = torch.zeros((batch, count), dtype=torch.int64)
    real = torch.zeros((batch, count))
    low = place * 10.0
    empty = torch.zeros((batch, 1, 1, 1))
    return Labels(
        box=torch.cat((low, low + 10.0), 2),
        camera=whole,
        kind=whole + kind,
        centre=torch.cat((place, real.unsqueeze(2)), 2),
        size=torch.ones((batch, count, 3)),
        yaw=real,
        velocity=torch.zeros((batch, count, 2)),
        light=whole - 1,
        occlusion=real + occlusion,
        truncation=real,
        source=torch.arange(count).expand(batch, count) + first,
        mask=torch.ones_like(whole, dtype=torch.bool),
        depth=empty,
        instance=empty.long(),
        semantic=empty.long(),
    )


def make_tracks(labels: Labels, ids: list[list[int]], *, unseen: int = 0, off: float = 0.0) -> Tracks:
    """Tracks at the labels' places, `off` m aside, named `ids` (-1: none)."""
    name = torch.tensor(ids)
    place = labels.centre[..., :2] + torch.tensor([0.0, off])
    blank = empty_tracks(len(name), TrackerConfig(slots=name.shape[1]))
    return blank._replace(
        id=name,
        kind=labels.kind,
        mean=torch.cat((place, torch.zeros_like(place)), 2),
        unseen=torch.full_like(name, unseen),
        box=labels.box,
        mask=name >= 0,
    )


TWO = [[(10.0, 0.0), (20.0, 5.0)]]


def test_perfect_tracks() -> None:
    figures = TrackingFigures()
    for _ in range(5):
        labels = make_labels(TWO)
        figures.add(labels, make_tracks(labels, [[3, 8]]))
    report = figures.report()
    for name in ("image", "ground"):
        told = report[name]
        assert [told[key] for key in ("hota", "deta", "assa", "loca", "idf1", "mota")] == pytest.approx([1.0] * 6)
        assert (told["switches"], told["labels"], told["tracked"], told["sequences"]) == (0, 10, 10, 1)
        assert told["hota_by_class"] == {"car": pytest.approx(1.0)}


def test_a_switch_half_way_halves_the_association() -> None:
    """One thing, half of its frames under each of two names: AssA = 1/2, HOTA = sqrt(1/2), IDF1 = 1/2."""
    figures = TrackingFigures()
    for step in range(10):
        labels = make_labels([[(10.0, 0.0)]])
        figures.add(labels, make_tracks(labels, [[0 if step < 5 else 1]]))
    told = figures.report()["ground"]
    assert told["deta"] == pytest.approx(1.0) and told["assa"] == pytest.approx(0.5) and told["hota"] == pytest.approx(0.5**0.5)
    assert told["idf1"] == pytest.approx(0.5) and told["mota"] == pytest.approx(0.9) and told["switches"] == 1


def test_distance_lowers_localisation_as_defined() -> None:
    figures = TrackingFigures()
    labels = make_labels([[(10.0, 0.0)]])
    figures.add(labels, make_tracks(labels, [[0]], off=0.25 * ZERO))
    told = figures.report()["ground"]
    passed = np.mean([alpha - 1e-9 <= 0.75 for alpha in np.arange(0.05, 0.99, 0.05)])
    assert told["hota"] == pytest.approx(passed) and told["mota"] == pytest.approx(1.0)


def test_what_does_not_count_neither_helps_nor_hurts() -> None:
    figures = TrackingFigures()
    for step in range(6):
        labels = make_labels(TWO)
        labels.occlusion[0, 1] = 0.95
        figures.add(labels, make_tracks(labels, [[4, 5 if step % 2 else -1]]))
    told = figures.report()["ground"]
    assert told["hota"] == pytest.approx(1.0) and told["labels"] == 6 == told["tracked"]


def test_coasting_tracks_count_only_when_asked() -> None:
    labels = make_labels([[(10.0, 0.0)]])
    tracks = make_tracks(labels, [[0]], unseen=2)
    for coasted, tracked in ((False, 0), (True, 1)):
        figures = TrackingFigures(coasted=coasted)
        figures.add(labels, tracks)
        assert figures.report()["ground"]["tracked"] == tracked


def test_lights_match_only_lights() -> None:
    figures = TrackingFigures()
    labels = make_labels([[(10.0, 0.0)]], kind=6)
    figures.add(labels, make_tracks(labels, [[0]])._replace(kind=torch.zeros((1, 1), dtype=torch.int64)))
    assert figures.report()["image"]["deta"] == 0.0


def test_a_new_episode_is_a_new_sequence() -> None:
    """The same names in the next episode are other things."""
    figures = TrackingFigures()
    for step in range(8):
        labels = make_labels([[(10.0, 0.0)], [(30.0, 3.0)]])
        first = torch.tensor([step in (0, 4), step == 0])
        figures.add(labels, make_tracks(labels, [[0 if step < 4 else 1], [0]]), first)
    told = figures.report()["ground"]
    assert told["sequences"] == 3 and told["assa"] == pytest.approx(1.0) and told["switches"] == 0


def test_things_seen_by_two_cameras_count_once() -> None:
    labels = make_labels(TWO)
    labels = labels._replace(source=torch.tensor([[7, 7]]))
    figures = TrackingFigures()
    figures.add(labels, make_tracks(labels, [[0, -1]]))
    assert figures.report()["image"]["labels"] == 1


def test_ids_may_be_any_numbers() -> None:
    frame = np.array([10**12, 5]), np.array([3]), np.array([[1.0], [0.0]])
    hota, _, _ = hota_of([frame[0]], [frame[1]], [frame[2]])
    assert hota["HOTA_TP"][0] == 1 and hota["HOTA_FN"][0] == 1


def test_nothing_to_tell() -> None:
    with pytest.raises(ValueError, match="no frames"):
        TrackingFigures().report()
    figures = TrackingFigures()
    labels = make_labels([[(10.0, 0.0)]])
    figures.add(labels, make_tracks(labels, [[0]]))
    with pytest.raises(ValueError, match="2 worlds after 1"):
        figures.add(make_labels([[(1.0, 0.0)], [(1.0, 0.0)]]), make_tracks(labels, [[0]]))

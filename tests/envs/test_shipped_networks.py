"""The networks that ship, judged anew on the worlds of today: a change in drawing or traffic that their cards do not know shows here."""

from __future__ import annotations

import json

import pytest

from envs.driving.pretrain_futures import held_out
from perception.detectors.centernet import unpack
from perception.prediction.kinematic import ConstantVelocity
from perception.prediction.learned import Learned
from perception.prediction.training import judge as judge_forecasts
from perception.storage import WEIGHTS, load
from perception.training.detector import judge as judge_detector
from perception.training.stream import TEST_SEED, draw, open_stream

pytestmark = pytest.mark.slow
FRAMES = 512  # of the 2,000 of the card


def test_detectors_see_what_their_cards_say() -> None:
    stream = open_stream("driving")
    samples = draw(stream, TEST_SEED, FRAMES)
    for name in ("detector_driving", "detector_driving_large"):
        card = json.loads((WEIGHTS / f"{name}.json").read_text())["metrics"]
        figures = judge_detector(*unpack(load(WEIGHTS / f"{name}.safetensors")), tuple(stream.conditions), samples).report()
        assert figures["ap50"] == pytest.approx(card["ap50"], abs=0.04), name
        assert figures["recall"] == pytest.approx(card["recall"], abs=0.04), name
        assert figures["centre_error"] == pytest.approx(card["centre_error"], rel=0.2), name


def test_the_predictor_foresees_what_its_card_says() -> None:
    card = json.loads((WEIGHTS / "predictor_driving.json").read_text())["metrics"]
    examples = list(held_out())
    for name, predictor in (("constant_velocity", ConstantVelocity()), ("learned", Learned.from_file())):
        found = judge_forecasts(predictor, examples)
        for figure in ("minADE@3", "minADE@5", "ADE@5", "count@5"):
            assert found[figure] == pytest.approx(card[name][figure], rel=0.03), (name, figure)

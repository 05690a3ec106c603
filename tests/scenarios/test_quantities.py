"""Units and distributions, against scipy where it knows better."""

from __future__ import annotations

import math
from typing import Annotated, Literal

import numpy as np
import pytest
from pydantic import ValidationError
from scipy import constants, stats

from scenarios import units
from scenarios.distributions import Choice, Distribution, Integer, LogUniform, Normal, Uniform, bounds
from scenarios.quantities import Between, Count, Flag, Length, OneOf, QuantityModel, Speed


class Road(QuantityModel):
    kind: Literal["road"] = "road"
    length: Annotated[Length, Between(10, 5000)] = 100.0
    speed: Speed = 10.0
    lanes: Annotated[Count, Between(1, 4)] = 2
    rule: Annotated[str, OneOf("priority", "yield")] = "yield"
    lit: Flag = False
    parts: tuple[Length, ...] = ()


@pytest.mark.parametrize(
    ("dimension", "text", "value"),
    [
        (units.SPEED, "50 km/h", 50 * constants.kmh),
        (units.SPEED, "30 mph", 30 * constants.mph),
        (units.LENGTH, "1.5 mi", 1.5 * constants.mile),
        (units.LENGTH, "12ft", 12 * constants.foot),
        (units.LENGTH, "-3e2 cm", -3.0),
        (units.ANGLE, "90 deg", math.pi / 2),
        (units.TIME, "2 min", 120.0),
        (units.RATE, "1800 veh/h", 0.5),
        (units.RATE, "6 1/min", 0.1),
        (units.ACCEL, "1 g", constants.g),
        (units.ACCEL, "2.5 m/s^2", 2.5),
        (units.DENSITY, "20 veh/km", 0.02),
        (units.RATIO, "15 %", 0.15),
        (units.CURVATURE, "-2 1/km", -0.002),
        (units.CURVATURE, "0.0008 1/m", 0.0008),
    ],
)
def test_units(dimension: units.Dimension, text: str, value: float) -> None:
    assert dimension.parse(text) == pytest.approx(value, rel=1e-12)


@pytest.mark.parametrize("text", ["", "m", "5", "5 5 m", "5 m m", "0x10 m", "1e999 m", "nan m", "inf m", "5\u00a0", "٥ m", "5 s"])
def test_what_is_no_length(text: str) -> None:
    with pytest.raises(units.UnitError, match="expected a length"):
        units.LENGTH.parse(text)


DISTRIBUTIONS: list[tuple[Distribution, object]] = [
    (Uniform(low=-2.0, high=5.0), stats.uniform(-2.0, 7.0)),
    (LogUniform(low=0.1, high=20.0), stats.loguniform(0.1, 20.0)),
    (Normal(mean=1.5, std=0.3, low=1.0, high=1.9), stats.truncnorm((1.0 - 1.5) / 0.3, (1.9 - 1.5) / 0.3, 1.5, 0.3)),
    (Normal(mean=0.0, std=1.0, low=2.0, high=3.0), stats.truncnorm(2.0, 3.0)),
]


@pytest.mark.parametrize(("ours", "theirs"), DISTRIBUTIONS)
def test_draws_follow_scipys_distribution(ours: Distribution, theirs: stats.rv_continuous) -> None:
    rng = np.random.Generator(np.random.Philox(1))
    draws = [ours.draw(rng) for _ in range(4000)]
    assert ours.low <= min(draws)
    assert max(draws) <= ours.high
    assert stats.kstest(draws, theirs.cdf).pvalue > 0.01


def test_integers_and_choices_have_their_shares() -> None:
    rng = np.random.Generator(np.random.Philox(2))
    counts = np.bincount([Integer(low=3, high=6).draw(rng) for _ in range(4000)], minlength=7)
    assert counts[:3].sum() == 0
    assert stats.chisquare(counts[3:]).pvalue > 0.01
    choice = Choice(values=("a", "b", "c"), weights=(1.0, 0.0, 3.0))
    drawn = [choice.draw(rng) for _ in range(4000)]
    assert drawn.count("b") == 0
    assert stats.binomtest(drawn.count("c"), 4000, 0.75).pvalue > 0.01


@pytest.mark.parametrize(
    "distribution", [d for d, _ in DISTRIBUTIONS] + [Integer(low=1, high=9), Choice(values=(1, 2), weights=(1.0, 1.0))]
)
def test_every_draw_uses_one_number(distribution: Distribution) -> None:
    used, counted = np.random.Generator(np.random.Philox(3)), np.random.Generator(np.random.Philox(3))
    distribution.draw(used)
    counted.random()
    assert used.random() == counted.random()


def test_resolve_draws_everything_in_order_and_names_it() -> None:
    road = Road.model_validate(
        {
            "length": {"uniform": ["1 km", 2000]},
            "lanes": {"integer": [1, 3]},
            "rule": {"choice": ["priority", "yield"]},
            "parts": (1, {"uniform": [2, 3]}),
        }
    )
    assert bounds(road.length) == (1000.0, 2000.0)
    drawn: dict[str, float | str] = {}
    first = road.resolve(np.random.Generator(np.random.Philox(5)), drawn, "road")
    assert first == road.resolve(np.random.Generator(np.random.Philox(5)))
    assert first != road.resolve(np.random.Generator(np.random.Philox(6)))
    assert list(drawn) == ["road.length", "road.lanes", "road.rule", "road.parts[1]"]
    assert (first.length, first.lanes, first.rule, first.parts[1]) == tuple(drawn.values())
    assert isinstance(first.length, float)
    assert isinstance(first.lanes, int)
    assert first.resolve(np.random.Generator(np.random.Philox(7))) is first


@pytest.mark.parametrize(
    "values",
    [
        {"length": True}, {"length": "50"}, {"length": 9.99}, {"length": {"uniform": [5, 50]}},
        {"length": {"normal": {"mean": 12, "std": 5}}},
        {"lanes": 2.5}, {"lanes": {"uniform": [1, 2]}}, {"lanes": {"normal": {"mean": 2, "std": 0}}}, {"rule": "Yield"},
        {"rule": {"uniform": [1, 2]}},
        {"lit": 1}, {"lit": "on"}, {"speed": -1}, {"speed": float("nan")}, {"speed": float("inf")}, {"kind": "rail"}, {"colour": "grey"},
    ],
)  # fmt: skip
def test_refused(values: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        Road.model_validate(values)


def test_a_dumped_model_reads_back_equal() -> None:
    road = Road.model_validate(
        {"length": {"normal": {"mean": 200, "std": 20}}, "speed": "50 km/h", "lit": {"choice": [True, False], "weights": [1, 3]}}
    )
    assert Road.model_validate(road.model_dump()) == road

"""Distances of responsibility-sensitive safety: closed forms, and what happens at them and just below."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from agents.planners.rss import LIMITS, Limits, lateral, opposite, same_direction, travelled

T = torch.tensor
DT = 1e-3  # s


def responses(low: float, high: float) -> st.SearchStrategy[float]:
    """Whole steps, so that the small steps are exact."""
    return st.integers(round(low / DT), round(high / DT)).map(lambda steps: steps * DT)


def drive(speed: float, *, response: float, accel: float, brake: float, seconds: float) -> Tensor:
    """Metres covered after each DT, by small steps: `accel` until the response, then braking to rest."""
    place, places = 0.0, []
    for k in range(round(seconds / DT)):
        push = accel if k * DT < response - 1e-9 else -brake
        after = max(speed + push * DT, 0.0)
        place += 0.5 * (speed + after) * DT
        speed = after
        places.append(place)
    return T(places)


def test_values_by_hand() -> None:
    # 20 m/s behind 10 m/s, 1 s response at 2 m/s^2: 20 + 1 + 22^2 / 8 - 10^2 / 16 = 75.25
    gap = same_direction(T(20.0), T(10.0), response=1.0, accel=2.0, brake=4.0, brake_front=8.0)
    torch.testing.assert_close(gap, T(75.25))
    assert same_direction(T(5.0), T(30.0), response=0.5, accel=1.0, brake=4.0, brake_front=8.0) == 0.0  # the one ahead is gone
    # (20 + 22) / 2 + 22^2 / 8 = 81.5 and (10 + 12) / 2 + 12^2 / 16 = 20
    gap = opposite(T(20.0), T(10.0), response=1.0, accel=2.0, brake=4.0, brake_other=8.0)
    torch.testing.assert_close(gap, T(101.5))
    # both at rest sideways: 2 (0.2 / 2 + 0.2^2 / 1.6) + 0.1
    gap = lateral(T(0.0), T(0.0), response=1.0, accel=0.2, brake=0.8, slack=0.1)
    torch.testing.assert_close(gap, T(0.1 + 2 * (0.1 + 0.025)))
    # who drifts away at 1 m/s and stops drifting: nothing is asked but the slack
    assert lateral(T(-1.0), T(1.0), response=0.1, accel=0.2, brake=0.8, slack=0.1) == T(0.1)


@given(speed=st.floats(0, 40), response=responses(0, 1.5), accel=st.floats(0, 4), brake=st.floats(2, 10))
@settings(max_examples=15, deadline=None)
def test_what_is_travelled_is_what_small_steps_give(speed: float, response: float, accel: float, brake: float) -> None:
    small = drive(speed, response=response, accel=accel, brake=brake, seconds=4.0)
    when = DT * torch.arange(1, len(small) + 1)
    closed = travelled(when.double(), T(speed).double(), response=response, accel=accel, brake=brake)
    assert float((closed - small).abs().max()) < 0.02


@given(
    rear=st.floats(0, 35), front=st.floats(0, 35), response=responses(0.1, 1.0), accel=st.floats(0, 3), brake=st.floats(3, 8),
    more=st.floats(0, 3),
)  # fmt: skip
@settings(max_examples=15, deadline=None)
def test_at_the_distance_the_worst_case_never_collides_and_below_it_does(
    rear: float, front: float, response: float, accel: float, brake: float, more: float
) -> None:
    gap = float(same_direction(T(rear), T(front), response=response, accel=accel, brake=brake, brake_front=brake + more))
    behind = drive(rear, response=response, accel=accel, brake=brake, seconds=18.0)
    ahead = drive(front, response=0.0, accel=0.0, brake=brake + more, seconds=18.0)
    closest = float((ahead - behind).min())
    assert gap + closest > -0.05
    if gap > 0.0:
        assert gap - 0.2 + closest < 0.0


@given(one=st.floats(0, 30), other=st.floats(0, 30), response=responses(0.1, 1.0), accel=st.floats(0, 3))
@settings(max_examples=10, deadline=None)
def test_two_towards_each_other_stop_within_the_distance_and_no_less(one: float, other: float, response: float, accel: float) -> None:
    gap = float(opposite(T(one), T(other), response=response, accel=accel, brake=4.0, brake_other=8.0))
    both = drive(one, response=response, accel=accel, brake=4.0, seconds=12.0) + drive(
        other, response=response, accel=accel, brake=8.0, seconds=12.0
    )
    assert abs(float(both[-1]) - gap) < 0.05


def test_limits_refuse_nonsense() -> None:
    with pytest.raises(ValueError, match=r"brake_least=9.0, brake_most=8.0: must be positive, the first at most the second"):
        Limits(brake_least=9.0)
    with pytest.raises(ValueError, match=r"response=-0.1: must be finite and not negative"):
        Limits(response=-0.1)
    with pytest.raises(ValueError, match="side_brake=0.0: must be positive"):
        Limits(side_brake=0.0)
    assert Limits() == LIMITS

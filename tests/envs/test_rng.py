"""Threefry against its published answers, and the distributions against scipy."""

from __future__ import annotations

import pytest
import torch
from scipy import stats

from envs.driving.rng import bits, integers, normal, threefry2x32, uniform

ONES = 0xFFFFFFFF
# known answers of Random123 1.14 (tests/kat_vectors): counter, key, result of threefry2x32 with 20 rounds
KNOWN = [
    ((0, 0), (0, 0), (0x6B200159, 0x99BA4EFE)),
    ((ONES, ONES), (ONES, ONES), (0x1CB996FC, 0xBB002BE7)),
    ((0x243F6A88, 0x85A308D3), (0x13198A2E, 0x03707344), (0xC4923A9C, 0x483DF7A0)),
]


def grid(worlds: int, agents: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """seed (B, 1), step (B, 1), index (A,)."""
    return torch.arange(worlds)[:, None] * 7919 - 3, torch.arange(worlds)[:, None] % 5, torch.arange(agents)


@pytest.mark.parametrize(("counter", "key", "answer"), KNOWN)
def test_known_answers(counter: tuple[int, int], key: tuple[int, int], answer: tuple[int, int]) -> None:
    words = threefry2x32(*(torch.tensor(v) for v in (*key, *counter)))
    assert tuple(int(w) for w in words) == answer


def test_a_world_draws_the_same_in_any_batch() -> None:
    seed, step, index = grid(64, 32)
    whole = uniform(seed, step, 3, index)
    assert torch.equal(whole[17:18], uniform(seed[17:18], step[17:18], 3, index))
    assert torch.equal(whole.flip(0), uniform(seed.flip(0), step.flip(0), 3, index))


def test_every_argument_matters() -> None:
    seed, step, index = grid(64, 32)
    base = uniform(seed, step, 3, index)
    for other in (uniform(seed + (1 << 40), step, 3, index), uniform(seed, step + 1, 3, index), uniform(seed, step, 4, index)):
        assert (other == base).float().mean() < 0.01
    words = torch.cat([bits(seed, step, 0, index)[0].flatten(), bits(seed, step, 0, index)[1].flatten()])
    assert words.unique().numel() == words.numel()  # 4096 of 2^32: a repeat has probability 0.002, and these bits never change


def test_uniform_normal_and_integers_have_their_distributions() -> None:
    seed, step, index = grid(200, 250)
    u = uniform(seed, step, 1, index, -2.0, 3.0).flatten()
    assert float(u.min()) >= -2.0
    assert float(u.max()) < 3.0
    assert stats.kstest(u.numpy(), stats.uniform(-2, 5).cdf).pvalue > 0.01
    z = normal(seed, step, 2, index, 1.0, 2.0).flatten()
    assert bool(z.isfinite().all())
    assert stats.kstest(z.numpy(), stats.norm(1, 2).cdf).pvalue > 0.01
    k = integers(seed, step, 5, index, -3, 4).flatten()
    assert k.dtype == torch.int64
    assert int(k.min()) == -3
    assert int(k.max()) == 3
    assert stats.chisquare(torch.bincount(k + 3).numpy()).pvalue > 0.01


def test_neighbouring_draws_are_uncorrelated() -> None:
    seed, step, index = grid(200, 250)
    u = uniform(seed, step, 1, index)
    for one, two in ((u[:, :-1], u[:, 1:]), (u[:-1], u[1:]), (u, uniform(seed, step, 2, index)), (u, uniform(seed, step + 1, 1, index))):
        assert abs(stats.pearsonr(one.flatten().numpy(), two.flatten().numpy()).statistic) < 0.015  # 3 sigma of 50,000 pairs


def test_bad_arguments_are_refused() -> None:
    seed, step, index = grid(1, 1)
    with pytest.raises(ValueError, match="stream=4096"):
        uniform(seed, step, 4096, index)
    with pytest.raises(ValueError, match="span"):
        integers(seed, step, 0, index, 5, 5)

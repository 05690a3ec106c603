"""The batched assignment against scipy's, on many shapes, densities and limits."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from perception.tracking import assign

INF = float("inf")


def best(cost: NDArray[np.float64], limit: float) -> float:
    """Least total by scipy: every row also has a column of its own at the price of the limit."""
    rows, columns = cost.shape
    wide = np.full((rows, columns + rows), 1e6)
    fits = np.isfinite(cost) & (cost < limit)
    wide[:, :columns][fits] = cost[fits]
    wide[np.arange(rows), columns + np.arange(rows)] = limit
    chosen = linear_sum_assignment(wide)
    return float(wide[chosen].sum())


def total(cost: NDArray[np.float64], columns: list[int], limit: float) -> float:
    return sum(cost[row, column] if column >= 0 else limit for row, column in enumerate(columns))


@pytest.mark.parametrize("shape", [(1, 1), (1, 6), (6, 1), (4, 7), (7, 4), (16, 16), (24, 32), (32, 24)])
@pytest.mark.parametrize("density", [0.1, 0.4, 1.0])
@pytest.mark.parametrize("whole", [False, True])
def test_total_is_least(shape: tuple[int, int], density: float, whole: bool) -> None:
    generator = torch.Generator().manual_seed(shape[0] * 100 + shape[1])
    cost = torch.rand(24, *shape, generator=generator) * 20.0 - 5.0
    cost = cost.floor() if whole else cost  # whole numbers: many equally good answers
    cost[torch.rand(cost.shape, generator=generator) > density] = INF
    for limit in (2.0, 9.5, 100.0):  # 100: as many pairs as there can be
        answer = assign(cost, limit)
        for world in range(len(cost)):
            chosen = [column for column in answer[world].tolist() if column >= 0]
            assert len(set(chosen)) == len(chosen), "a column was given twice"
            costs = cost[world].double().numpy()
            assert total(costs, answer[world].tolist(), limit) == pytest.approx(best(costs, limit), rel=1e-12, abs=1e-9)


def test_pairs_as_scipy_where_the_answer_is_unique() -> None:
    cost = torch.rand(64, 12, 12, generator=torch.Generator().manual_seed(1))
    answer = assign(cost, 1000.0)
    for world in range(64):
        _, columns = linear_sum_assignment(cost[world].double().numpy())
        assert answer[world].tolist() == columns.tolist()


def test_forbidden_pairs_are_never_made() -> None:
    cost = torch.tensor([[[float("nan"), 3.0], [INF, -INF]], [[5.0, 4.9], [4.9, 9.0]]])
    assert assign(cost, 5.0).tolist() == [[1, -1], [1, 0]]


def test_chain_that_pushes_a_row_out() -> None:
    """Two rows want one column and neither has another: the dearer one goes alone, whichever comes first."""
    assert assign(torch.tensor([[[1.0, INF], [0.5, INF]], [[0.5, INF], [1.0, INF]]]), 9.0).tolist() == [[-1, 0], [0, -1]]


def test_one_world_does_not_see_the_others() -> None:
    cost = torch.rand(17, 20, 24, generator=torch.Generator().manual_seed(2))
    cost[torch.rand(cost.shape, generator=torch.Generator().manual_seed(3)) > 0.5] = INF
    whole = assign(cost, 0.7)
    for world in range(17):
        assert torch.equal(assign(cost[world : world + 1], 0.7)[0], whole[world])


def test_nothing_to_assign() -> None:
    assert assign(torch.zeros(3, 4, 0), 1.0).tolist() == [[-1] * 4] * 3
    assert assign(torch.zeros(3, 0, 4), 1.0).shape == (3, 0)
    with pytest.raises(ValueError, match=r"shape \(4, 4\)"):
        assign(torch.zeros(4, 4), 1.0)


def test_is_one_operation_to_the_compiler() -> None:
    cost = torch.rand(4, 6, 5, generator=torch.Generator().manual_seed(4))
    compiled = torch.compile(lambda values: assign(values, 0.5) + 1, fullgraph=True, backend="eager")
    assert torch.equal(compiled(cost), assign(cost, 0.5) + 1)


@pytest.mark.gpu
def test_the_same_on_a_gpu() -> None:
    cost = torch.rand(256, 24, 32, generator=torch.Generator().manual_seed(5))
    assert torch.equal(assign(cost.cuda(), 0.4).cpu(), assign(cost, 0.4))

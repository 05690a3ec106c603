"""Optimal assignment, many problems at once: shortest augmenting paths with dual prices, vectorised over worlds.

Jonker and Volgenant, "A shortest augmenting path algorithm for dense and sparse linear assignment problems", Computing 38 (1987), in the
form of Crouse, "On implementing 2D rectangular assignment algorithms", IEEE TAES 52 (2016), section II. A row may stay alone at the price
of `limit`, as if it had a column of its own; since nobody else can use that column, it needs no storage, and a row that once stays alone
does so for good.

All worlds walk through the same loops of fixed length; those that are done stand still, and when all are, the loops end early, which
changes nothing but the time. To torch.compile the solver is one opaque operation.

Shapes: B worlds, T rows (tracks), D columns (detections).
"""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["assign"]


def assign(cost: Tensor, limit: float) -> Tensor:
    """The column of every row, (B, T) int64, -1: none, such that the sum of costs + `limit` per row left alone is least.

    cost (B, T, D), any sign; pairs with a cost that is not finite or not below `limit` are never made. Exact up to the rounding of
    float64. Of several equally good answers always the same one; a world's answer does not depend on the others in the batch.
    """
    if cost.dim() != 3:
        raise ValueError(f"cost has shape {tuple(cost.shape)}: expected (worlds, rows, columns)")
    if cost.shape[1] == 0 or cost.shape[2] == 0:
        return torch.full(cost.shape[:2], -1, dtype=torch.int64, device=cost.device)
    columns: Tensor = _assign(cost, limit)
    return columns


@torch.library.custom_op("closedloop::assign", mutates_args=())
def _assign(cost: Tensor, limit: float) -> Tensor:
    with torch.no_grad():
        return _solve(cost, limit)


@_assign.register_fake
def _(cost: Tensor, limit: float) -> Tensor:
    return cost.new_empty(cost.shape[:2], dtype=torch.int64)


def _solve(cost: Tensor, limit: float) -> Tensor:
    price = cost.to(torch.float64)  # (B, T, D)
    price = torch.where(price < limit, price, torch.inf)  # NaN too
    rows, columns = price.shape[1:]
    row_index = torch.arange(rows, device=cost.device)
    column_index = torch.arange(columns, device=cost.device)

    # start: every row pays its cheapest column (row duals u, column duals v = 0); the first to want a column gets it
    least, wanted = price.min(2)
    alone = least.isinf()  # (B, T) no column at all
    wants = (wanted.unsqueeze(2) == column_index) & ~alone.unsqueeze(2)  # (B, T, D)
    first, row_of = wants.to(torch.int8).max(1)
    row_of = torch.where(first > 0, row_of, -1)  # (B, D)
    column_of = torch.where((row_of.gather(1, wanted) == row_index) & ~alone, wanted, -1)  # (B, T)
    u, v = least.clamp(max=limit), torch.zeros_like(price[:, 0])
    todo = ~alone & (column_of < 0)  # (B, T)

    for _ in range(rows):
        begins = todo.any(1)  # (B,)
        if not bool(begins.any()):
            break
        start = todo.to(torch.int8).argmax(1)  # (B,)
        todo = todo & (row_index != start.unsqueeze(1))
        path = _shortest_path(price, limit, u, v, row_of, start, begins)
        u, v = _reprice(u, v, column_of, start, begins, path)
        row_of, column_of = _flip(row_of, column_of, start, begins, path)
    return column_of


# What a search leaves behind: distance (B, D) of reached columns, before (B, D) the row each was reached from, scanned (B, D) columns
# whose row was looked at, length (B,) of the path, last (B,) its free column, -1: it ends at the row `leaves` (B,), which goes alone.
_Path = tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]


def _shortest_path(price: Tensor, limit: float, u: Tensor, v: Tensor, row_of: Tensor, start: Tensor, begins: Tensor) -> _Path:
    """Dijkstra over reduced costs from row `start` to the nearest free column or row that had better stay alone."""
    rows, columns = price.shape[1:]
    column_index = torch.arange(columns, device=price.device)
    distance = torch.full_like(v, torch.inf)
    before = torch.full_like(row_of, -1)
    scanned = torch.zeros_like(v, dtype=torch.bool)
    length = torch.zeros_like(v[:, 0])
    quit_length = torch.full_like(length, torch.inf)
    leaves, last = start, torch.full_like(start, -1)
    row, active = start, begins
    for _ in range(min(rows, columns) + 1):
        here = row.unsqueeze(1)
        paid = (length - u.gather(1, here).squeeze(1)).unsqueeze(1)  # (B, 1)
        through = price.gather(1, here.unsqueeze(2).expand(-1, 1, columns)).squeeze(1) + paid - v
        better = (through < distance) & ~scanned & active.unsqueeze(1)
        distance = torch.where(better, through, distance)
        before = torch.where(better, here, before)
        own = paid.squeeze(1) + limit
        closer = active & (own < quit_length)
        quit_length, leaves = torch.where(closer, own, quit_length), torch.where(closer, row, leaves)
        nearest, column = torch.where(scanned, torch.inf, distance).min(1)
        length = torch.where(active, torch.minimum(nearest, quit_length), length)
        owner = row_of.gather(1, column.unsqueeze(1)).squeeze(1)
        quits = quit_length <= nearest
        last = torch.where(active & ~quits & (owner < 0), column, last)
        active = active & ~quits & (owner >= 0)
        scanned = scanned | (active.unsqueeze(1) & (column_index == column.unsqueeze(1)))
        row = torch.where(active, owner, row)
        if not bool(active.any()):
            break
    return distance, before, scanned, length, last, leaves


def _reprice(u: Tensor, v: Tensor, column_of: Tensor, start: Tensor, begins: Tensor, path: _Path) -> tuple[Tensor, Tensor]:
    """Duals after a search: Crouse, algorithm of section II-B, step 4. Rows and columns in the tree move by how much nearer they were."""
    distance, _, scanned, length, _, _ = path
    moved = torch.where(scanned, length.unsqueeze(1) - distance, 0.0)  # (B, D)
    mine = moved.gather(1, column_of.clamp(min=0))  # (B, T)
    first = torch.arange(u.shape[1], device=u.device) == start.unsqueeze(1)
    raised = torch.where(column_of >= 0, mine, 0.0) + torch.where(first & begins.unsqueeze(1), length.unsqueeze(1), 0.0)
    return u + raised, v - moved


def _flip(row_of: Tensor, column_of: Tensor, start: Tensor, begins: Tensor, path: _Path) -> tuple[Tensor, Tensor]:
    """Matches along the path change hands: each row on it gets the column it was left through, the row that leaves gets none."""
    _, before, _, _, last, leaves = path
    columns = row_of.shape[1]
    row_index = torch.arange(column_of.shape[1], device=row_of.device)
    column_index = torch.arange(columns, device=row_of.device)
    gone = begins & (last < 0)
    column = torch.where(gone, column_of.gather(1, leaves.unsqueeze(1)).squeeze(1), last)  # to be given; the leaver's, when one leaves
    column_of = torch.where(gone.unsqueeze(1) & (row_index == leaves.unsqueeze(1)), -1, column_of)
    active = begins & ~(gone & (leaves == start))
    for _ in range(min(column_of.shape[1], columns)):
        if not bool(active.any()):
            break
        target = column.clamp(min=0).unsqueeze(1)
        row = before.gather(1, target)  # (B, 1)
        held = column_of.gather(1, row.clamp(min=0))
        here = active.unsqueeze(1)
        row_of = torch.where(here & (column_index == target), row, row_of)
        column_of = torch.where(here & (row_index == row), target, column_of)
        column = held.squeeze(1)
        active = active & (row.squeeze(1) != start)
    return row_of, column_of

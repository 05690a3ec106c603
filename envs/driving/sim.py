"""B worlds advanced together: the one object every shell, benchmark and evaluation drives."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import torch
from torch import Tensor

from envs.driving import core
from envs.driving.bank import Bank
from envs.driving.traffic import Features
from envs.driving.types import DrivingConfig, Logs, Maps, Out, Setup, State
from perception.states import move

__all__ = ["DrivingSim"]

Tick = Callable[..., tuple[State, Tensor]]
# how much may be computed in one loop before a value is put into memory: enough for the loops over pairs, whose values are many
FUSION = {"realize_acc_reads_threshold": 64, "realize_opcount_threshold": 150, "realize_reads_threshold": 8}


@cache
def _compiled(function: Callable[..., Any], config: DrivingConfig, features: Features | None) -> Callable[..., Any]:
    """`function` under torch.compile, for one configuration; shared by all simulators of this process."""
    torch._dynamo.config.cache_size_limit = max(64, torch._dynamo.config.cache_size_limit)  # one entry per batch size
    torch._inductor.config.assert_indirect_indexing = False  # indices come from our own tables; the checks forbid vectorising
    bound = _bind(function, config, features)
    return torch.compile(bound, fullgraph=True, dynamic=False, options=dict(FUSION))


def _bind(function: Callable[..., Any], config: DrivingConfig, features: Features | None) -> Callable[..., Any]:
    if features is None:
        return lambda *args: function(*args, config)
    return lambda *args: function(*args, config, features)


class DrivingSim:
    """B worlds advanced together.

    Args:
        bank: the episodes to choose from.
        config: how they are simulated.
        batch: B.
        device: where the tensors live, such as "cpu" or "cuda".
        compile: run the core under torch.compile (about a minute to compile, then several times faster).

    Row b of a batch is bitwise what a batch of one would give, for any batch size and thread count, on one backend and version.
    Worlds that have ended keep being stepped, harmlessly, until they are reset. Raises ValueError for a batch below 1.
    """

    def __init__(self, bank: Bank, config: DrivingConfig, *, batch: int, device: str = "cpu", compile: bool = False) -> None:
        if batch < 1:
            raise ValueError(f"batch={batch}: must be at least 1")
        self.bank, self.config, self.batch, self.device, self.compile = bank, config, batch, device, compile
        self.maps: Maps = move(bank.maps, device)
        self.logs: Logs = move(bank.logs, device)
        self._rows_setup: Setup = move(bank.setup, device)
        wrap = _compiled if compile else _bind
        self._tick: Tick = wrap(core.tick, config, bank.features)
        self._begin = wrap(core.begin, config, None)
        self._conclude = wrap(core.conclude, config, None)
        self._indices = [torch.tensor(i, device=device) for i in range(config.ticks_per_step)]
        self.reset(torch.arange(batch, device=device) % len(bank))

    def _episodes(self, rows: Tensor) -> Setup:
        return Setup(*(column[rows] for column in self._rows_setup))

    def reset(self, rows: Tensor) -> None:
        """Start the episodes `rows` (B,) of the bank in all worlds."""
        self.rows = rows.to(self.device, torch.int64)
        self.setup = self._episodes(self.rows)
        self.state = core.reset(self.setup, self.config.learners)

    def reset_where(self, mask: Tensor, rows: Tensor) -> None:
        """Start the episodes `rows` (B,) in the worlds of `mask` (B,) bool; the others go on."""
        setup = self._episodes(rows)
        self.rows = torch.where(mask, rows, self.rows)
        self.setup, self.state = core.reset_where(mask, setup, core.reset(setup, self.config.learners), self.setup, self.state)

    @torch.no_grad()
    def step(self, action: Tensor, *, keep: list[State] | None = None) -> Out:
        """One decision step, `config.ticks_per_step` physics ticks. For action shapes see `DrivingConfig.action`.

        keep: gets the state after every tick.
        """
        before = self.state.stats
        state, command = self._begin(self.state, self.setup, self.maps, action)
        touched: Tensor | None = None
        for index in self._indices:
            state, hit = self._tick(state, self.setup, self.maps, self.logs, command, index)
            touched = hit if touched is None else touched | hit
            if keep is not None:
                keep.append(state)
        assert touched is not None
        self.state = state
        out: Out = self._conclude(before, state, self.setup, self.maps, touched)
        return out

    def set(self, setup: Setup, state: State, rows: Tensor) -> None:
        """Continue from exactly this point. The tensors are taken as they are, not copied; the core never writes into them."""
        self.setup, self.state, self.rows = setup, state, rows

"""A run of self-play: games, learning from them, judging the network, and the state that a checkpoint holds.

The state of a run is everything that the future depends on: the network, its optimiser, the positions learned from, the running games,
the generator of all chance and the counters. A run that is resumed from a checkpoint therefore goes on exactly as the one that wrote it
would have, on the same machine and with as many threads.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from agents.games.arena import play_match, ratings
from agents.games.players import SearchPlayer
from agents.games.search import SearchConfig
from agents.gate.betting import log_evidence, log_payoff
from agents.learning.alphazero.config import AlphaZeroConfig
from agents.learning.alphazero.network import GameNetwork, NetworkEvaluator
from agents.learning.alphazero.replay import Positions, Replay, seen_through
from agents.learning.alphazero.selfplay import SelfPlay
from envs.games import game_named

__all__ = ["Contest", "Losses", "Run", "contest", "learn"]

ALPHA = 0.05  # of the arena's test: how often a network that is no better may be called better
ROUND = 8  # openings between two looks at the evidence
PORTION = 64  # positions judged together in self-play, at most
LAST_RATE = 0.1  # of the learning rate, at the end of the run


@dataclass(frozen=True, kw_only=True)
class Losses:
    """Means over the steps of a round of learning."""

    policy: float  # cross entropy with the search's policy, nats
    value: float  # mean squared error
    entropy: float  # of the search's policy: what the cross entropy can fall to
    steps: int


@dataclass(frozen=True, kw_only=True)
class Contest:
    """A match between a network and the best before it."""

    iteration: int
    against: int  # the iteration of the other one
    points: float
    games: int
    verdict: str  # better | worse | undecided
    evidence: float  # e-value that it is better


@dataclass
class Run:
    """The state of a run, and how it moves."""

    config: AlphaZeroConfig
    iteration: int = 0
    seconds: float = 0.0
    core_seconds: float = 0.0  # of all cores together
    owed: float = 0.0  # steps of learning that the positions so far have earned and that are not whole yet
    best_at: int = 0  # iteration of the best network
    contests: list[Contest] = field(default_factory=list)
    totals: list[tuple[int, int]] = field(default_factory=list)  # (moves done, total from then on): at first, and for each new total
    rows: list[dict[str, float]] = field(default_factory=list)  # of progress.csv

    def __post_init__(self) -> None:
        config = self.config
        self.totals = [(0, config.steps)]
        self.game = game_named(config.game)
        self.random = np.random.Generator(np.random.PCG64(config.seed))
        torch.manual_seed(config.seed)  # the first weights; nothing later draws from torch
        self.network = GameNetwork(self.game, channels=config.channels, blocks=config.blocks).to(config.device)
        self.best = GameNetwork(self.game, channels=config.channels, blocks=config.blocks).to(config.device)
        self.best.load_state_dict(self.network.state_dict())
        self.optimiser = torch.optim.AdamW(self.network.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay)
        self.replay = Replay(self.game, config.buffer)
        self.selfplay = SelfPlay(self.game, config, self.random)

    @property
    def steps(self) -> int:
        """Moves of self-play so far."""
        return self.iteration * self.config.games * self.config.moves

    def advance(self) -> dict[str, float]:
        """One round: self-play, then learning from it, then the arena where it is due. The row of progress.csv."""
        config, begun, core = self.config, time.monotonic(), time.process_time()
        judge = NetworkEvaluator(self.network, self.game, portion=min(config.games, PORTION), half=config.half)
        played = self.selfplay.play(judge, config.moves)
        self.replay.add(played.positions)
        between = time.monotonic()
        self.owed += len(played.positions.value) * config.reuse / config.batch
        if len(self.replay) < config.batch:
            self.owed = 0.0  # too few to learn from without repeating them
        count = int(self.owed)
        self.owed -= count
        rate = config.learning_rate * (1.0 - (1.0 - LAST_RATE) * self.iteration / config.iterations)
        losses = learn(self.network, self.optimiser, self.replay, self.random, steps=count, batch=config.batch, rate=rate)
        self.iteration += 1
        row: dict[str, float] = {
            "steps": self.steps,
            "games": played.games,
            "positions": self.replay.added,
            "length": played.moves / played.games if played.games else math.nan,
            "first": played.first / played.games if played.games else math.nan,
            "selfplay_seconds": between - begun,
            "learning_seconds": time.monotonic() - between,
            **({"policy_loss": losses.policy, "value_loss": losses.value, "policy_entropy": losses.entropy} if losses else {}),
        }
        if self._due(config.evaluations):
            row |= self._judge()
        self.seconds += time.monotonic() - begun
        self.core_seconds += time.process_time() - core
        row["seconds"] = self.seconds
        self.rows.append({key: value for key, value in row.items() if math.isfinite(value)})
        return self.rows[-1]

    def _due(self, times: int) -> bool:
        """Whether something that happens `times` evenly over the run, at its end the last time, happens after this iteration."""
        total = self.config.iterations
        return self.iteration * times // total > (self.iteration - 1) * times // total

    @property
    def save_is_due(self) -> bool:
        """Whether a checkpoint is to be written now."""
        return self._due(self.config.checkpoints)

    def _judge(self) -> dict[str, float]:
        """The network against the best before; it takes its place if it is better."""
        found = contest(
            self.config, self.network, self.best, iteration=self.iteration, against=self.best_at, seed=[self.config.seed, self.iteration]
        )
        self.contests.append(found)
        if found.verdict == "better":
            self.best.load_state_dict(self.network.state_dict())
            self.best_at = self.iteration
        return {"arena": found.points / found.games, "elo": self.elo[str(self.iteration)]}

    @property
    def elo(self) -> dict[str, float]:
        """Ratings of all networks that were judged, by iteration; the untrained one has 0."""
        names = list(dict.fromkeys(["0", *(str(c.iteration) for c in self.contests)]))
        return ratings(names, [(str(c.iteration), str(c.against), c.points, c.games) for c in self.contests], anchor="0")

    def parts(self) -> dict[str, Any]:
        """The state of the run as plain values and tensors."""
        arrays = {
            "replay": self.replay.contents()._asdict(),
            "notes": self.selfplay.notes._asdict(),
            "games": self.selfplay.state._asdict(),
        }
        return {
            "network": dict(self.network.state_dict()),
            "best": dict(self.best.state_dict()),
            "optimiser": self.optimiser.state_dict(),
            "random": self.random.bit_generator.state,
            "added": self.replay.added,
            "counters": {name: getattr(self, name) for name in ("iteration", "seconds", "core_seconds", "owed", "best_at")},
            "contests": [vars(c) for c in self.contests],
            "totals": [list(pair) for pair in self.totals],
            "rows": self.rows,
            **{
                name: {key: torch.from_numpy(np.ascontiguousarray(value)) for key, value in table.items()} for name, table in arrays.items()
            },
        }

    def restore(self, parts: dict[str, Any]) -> None:
        """Put back what `parts` gave. Raises KeyError, ValueError, TypeError or RuntimeError for what does not fit the configuration."""
        self.network.load_state_dict(parts["network"])
        self.best.load_state_dict(parts["best"])
        self.optimiser.load_state_dict(parts["optimiser"])
        self.random.bit_generator.state = parts["random"]
        self.replay.restore(Positions(**{name: tensor.numpy() for name, tensor in parts["replay"].items()}), int(parts["added"]))
        for name, place in (("notes", self.selfplay.notes), ("games", self.selfplay.state)):
            for key, values in place._asdict().items():
                saved = parts[name][key].numpy()
                if saved.shape != values.shape or saved.dtype != values.dtype:
                    raise ValueError(f"{name}.{key} is {saved.dtype} {saved.shape}, the run needs {values.dtype} {values.shape}")
                values[...] = saved
        for name, value in parts["counters"].items():
            setattr(self, name, type(getattr(self, name))(value))
        self.contests = [Contest(**each) for each in parts["contests"]]
        self.rows = [dict(row) for row in parts["rows"]]
        self.totals = [(int(done), int(total)) for done, total in parts["totals"]]


def learn(
    network: GameNetwork,
    optimiser: torch.optim.Optimizer,
    replay: Replay,
    random: np.random.Generator,
    *,
    steps: int,
    batch: int,
    rate: float,
) -> Losses | None:
    """Steps of gradient descent on what was drawn, each position seen through a symmetry drawn for it. None for no steps."""
    if not steps:
        return None
    for group in optimiser.param_groups:
        group["lr"] = rate
    network.train()
    game, device, sums = game_named(network.spec["game"]), next(network.parameters()).device, np.zeros(3)
    for _ in range(steps):
        drawn = replay.draw(batch, random)
        drawn = seen_through(game, drawn, random.integers(len(game.symmetries.points), size=batch))
        planes = torch.from_numpy(drawn.planes).reshape(batch, game.inputs, game.rows, game.columns).float().to(device)
        policy, value, legal = (torch.from_numpy(x).to(device) for x in (drawn.policy, drawn.value, drawn.legal))
        logits, guess = network(planes)
        policy_loss = _cross_entropy(logits.masked_fill(~legal, -1e9), policy)
        value_loss = functional.mse_loss(guess, value)
        optimiser.zero_grad(set_to_none=True)
        (policy_loss + value_loss).backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        entropy = -torch.special.xlogy(policy, policy).sum(dim=1).mean()
        sums += [policy_loss.item(), value_loss.item(), entropy.item()]
    network.eval()
    policy_mean, value_mean, entropy_mean = (sums / steps).tolist()
    return Losses(policy=policy_mean, value=value_mean, entropy=entropy_mean, steps=steps)


def _cross_entropy(logits: Tensor, policy: Tensor) -> Tensor:
    """Mean of -sum policy log softmax(logits)."""
    return -(policy * functional.log_softmax(logits, dim=1)).sum(dim=1).mean()


def contest(config: AlphaZeroConfig, network: GameNetwork, best: GameNetwork, *, iteration: int, against: int, seed: list[int]) -> Contest:
    """The arena: openings from both sides until it is decided which is better, or all are played.

    The test is the gate's (`agents.gate.betting`): a bet on each opening, x = mean points - 1/2, against "not better", and another
    against "not worse"; whichever first has evidence of 1 / ALPHA decides. It may stop whenever it likes.
    """
    game = game_named(config.game)
    settings = SearchConfig(simulations=config.arena_simulations)
    mine, other = (
        SearchPlayer(game, NetworkEvaluator(net, game, portion=2 * ROUND), settings, name=name)
        for net, name in ((network, str(iteration)), (best, str(against)))
    )
    wealth, points, games, verdict = np.zeros((2, len(log_payoff(0.0, 1.0)))), 0.0, 0, "undecided"
    for k in range(math.ceil(config.arena_openings / ROUND)):
        count = min(ROUND, config.arena_openings - k * ROUND)
        moves = min(max(config.opening_moves, 2), game.longest // 3)
        match = play_match(game, mine, other, openings_count=count, seed=[*seed, k], opening_moves=moves)
        lead = match.points.mean(axis=1) - 0.5
        wealth += np.stack([log_payoff(sign * lead, 0.5).sum(axis=0) for sign in (1.0, -1.0)])
        points, games = points + float(match.points.sum()), games + match.points.size
        better, worse = log_evidence(wealth)
        if max(better, worse) >= math.log(1.0 / ALPHA):
            verdict = "better" if better > worse else "worse"
            break
    evidence = float(np.exp(min(better, 700.0)))
    return Contest(iteration=iteration, against=against, points=points, games=games, verdict=verdict, evidence=evidence)

"""Tree search with a judge of positions: AlphaZero's PUCT, Gumbel AlphaZero, and plain UCT. All games of a batch are searched in step.

Sources: PUCT, Silver et al., "A general reinforcement learning algorithm that masters chess, shogi, and Go", Science 362 (2018); Gumbel,
Danihelka et al., "Policy improvement by planning with Gumbel", ICLR 2022, whose equations the comments name; UCT, Kocsis & Szepesvari 2006.

Shapes: B games, A actions, K nodes looked at together.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from agents.games.tree import Choose, Edges, Evaluator, Integers, Tree, grow, new_tree, root_edges
from envs.games import Game

__all__ = ["Found", "SearchConfig", "considered_visits", "improved_policy", "playing", "search"]

Floats = NDArray[np.float32]


@dataclass(frozen=True, kw_only=True)
class SearchConfig:
    """How to search. Raises ValueError for what cannot be."""

    simulations: int = 64  # waves: positions added to each tree
    root: Literal["gumbel", "puct", "uct"] = "gumbel"
    c_init: float = 1.25  # PUCT: weight of the prior, c = log((1 + n + c_base) / c_base) + c_init
    c_base: float = 19652.0
    fpu: float = 0.2  # PUCT: how much less than its parent an untried move is worth
    noise_share: float = 0.25  # PUCT: of the root's prior, when exploring
    noise_total: float = 10.0  # PUCT: Dirichlet noise has this over the number of legal moves as its parameter (0.03 * 361 for Go)
    considered: int = 16  # Gumbel: moves that share the simulations at the root
    c_visit: float = 50.0  # Gumbel: sigma(q) = (c_visit + most visits) * c_scale * q, with q from 0 to 1
    c_scale: float = 1.0
    c_uct: float = 1.0  # UCT: sqrt(log n / n_a) times this, for values from -1 to 1

    def __post_init__(self) -> None:
        if self.simulations < 1:
            raise ValueError(f"simulations={self.simulations}: must be at least 1")
        if self.root not in ("gumbel", "puct", "uct"):
            raise ValueError(f"root={self.root!r}: must be gumbel, puct or uct")
        if self.considered < 2:
            raise ValueError(f"considered={self.considered}: must be at least 2")
        if not 0.0 <= self.noise_share <= 1.0:
            raise ValueError(f"noise_share={self.noise_share}: must be 0 to 1")


def playing(simulations: int) -> SearchConfig:
    """How networks search when they play, not to learn: PUCT. With some hundred simulations it keeps more of what a position is worth than
    sequential halving, which spends half of them before it has seen much (docs/games.md)."""
    return SearchConfig(simulations=simulations, root="puct")


class Found(NamedTuple):
    """What a search says of the roots. Games that are over have action 0 and zeros."""

    action: Integers  # (B,) the move to play
    visits: Integers  # (B, A) they sum to the simulations
    policy: Floats  # (B, A) the search's own policy, to learn from
    value: Floats  # (B,) of the player to move: what the move to play is worth
    proven: NDArray[np.bool_]  # (B,) whether the value is certain


def search(
    game: Game[Any], state: Any, evaluate: Evaluator, config: SearchConfig, random: np.random.Generator, *, explore: bool = False
) -> Found:
    """Search from every game of a batch.

    explore: as in self-play: noise on the root's prior (PUCT), or moves sampled from the policy by their Gumbel noise (Gumbel), so that
    the move is drawn and not the best. Without it only ties of UCT are random.
    """
    tree = new_tree(game, state, evaluate, waves=config.simulations, ahead=game.line > 0 and config.root != "uct")
    shape = (len(state.done), game.actions)
    if config.root == "gumbel":
        return _gumbel(
            game, tree, evaluate, config, random.gumbel(size=shape).astype(np.float32) if explore else np.zeros(shape, np.float32)
        )
    if config.root == "uct":
        choose = _uct(config, random)
        for _ in range(config.simulations):
            grow(game, tree, evaluate, choose, choose)
    else:
        root, inner = _puct(config, _dirichlet(tree.legal[:, 0], config.noise_total, random) if explore else None), _puct(config, None)
        for _ in range(config.simulations):
            grow(game, tree, evaluate, root, inner)
    edges = root_edges(tree)
    policy = edges.visits / np.maximum(edges.visits.sum(axis=1, keepdims=True), 1)
    return _found(tree, edges, _most_visited(edges), policy.astype(np.float32))


def _found(tree: Tree, edges: Edges, action: Integers, policy: Floats) -> Found:
    """A proven root plays what proves it, and its policy is of such moves alone."""
    every, live = np.arange(len(action)), edges.legal.any(axis=1)
    proven = (tree.proven[:, 0] != 2) & live
    best = np.where(edges.legal & edges.certain, edges.value, -np.inf)
    worse = proven & (best[every, action] < tree.proven[:, 0])
    action = np.where(worse, best.argmax(axis=1), action)
    value = np.where(proven, tree.proven[:, 0], edges.value[every, action]) * live
    keeps = edges.legal & edges.certain & (edges.value == tree.proven[:, :1])  # (B, A) as good as what is proven
    share = np.where(keeps, policy + np.float32(1e-6), np.float32(0.0))
    share /= np.maximum(share.sum(axis=1, keepdims=True), np.float32(1e-12))
    policy = np.where(proven[:, None], share, policy)
    return Found(np.where(live, action, 0), edges.visits, policy, value.astype(np.float32), proven)


def _most_visited(edges: Edges) -> Integers:
    """The move visited most, the better one among equals; one that is proven won before all, one proven lost after all."""
    won = edges.certain & (edges.value == 1.0)
    score = edges.visits + 0.25 * edges.value + np.where(won, 1e9, 0.0) - np.where(edges.lost, 1e6, 0.0)
    return np.asarray(np.where(edges.legal, score, -np.inf).argmax(axis=1))


def _hopeful(score: Floats, edges: Edges) -> Integers:
    """The best of the legal moves that are not proven lost, or of all if all are."""
    usable = edges.legal & ~edges.lost
    usable |= edges.legal & ~usable.any(axis=1, keepdims=True)
    return np.asarray(np.where(usable, score, -np.inf).argmax(axis=1))


def _softmax(logits: Floats) -> Floats:
    """Zeros where all logits are -inf: there is no move in a game that is over."""
    most = logits.max(axis=-1, keepdims=True)
    weights = np.exp(logits - np.where(np.isfinite(most), most, 0.0))
    return np.asarray(weights / np.maximum(weights.sum(axis=-1, keepdims=True), 1e-30), dtype=np.float32)


def _puct(config: SearchConfig, noise: Floats | None) -> Choose:
    def choose(edges: Edges, rows: Integers) -> Integers:
        prior = _softmax(edges.logits)
        if noise is not None:
            prior = (1.0 - config.noise_share) * prior + config.noise_share * noise[rows]
        n = edges.visits.sum(axis=1, keepdims=True)
        tried = (prior * edges.known).sum(axis=1, keepdims=True)
        mean = (edges.own[:, None] + (edges.visits * edges.value).sum(axis=1, keepdims=True)) / (1 + n)
        value = np.where(edges.known, edges.value, mean - config.fpu * np.sqrt(tried))
        c = np.log((1.0 + n + config.c_base) / config.c_base) + config.c_init
        return _hopeful(value + c * prior * np.sqrt(np.maximum(n, 1)) / (1 + edges.visits), edges)

    return choose


def _dirichlet(legal: NDArray[np.bool_], total: float, random: np.random.Generator) -> Floats:
    """(B, A) noise over the legal moves: gamma variates over their sum."""
    alpha = total / np.maximum(legal.sum(axis=1, keepdims=True), 1)
    draws = random.standard_gamma(np.broadcast_to(alpha, legal.shape)) * legal
    return np.asarray(draws / np.maximum(draws.sum(axis=1, keepdims=True), 1e-30), dtype=np.float32)


def _uct(config: SearchConfig, random: np.random.Generator) -> Choose:
    def choose(edges: Edges, rows: Integers) -> Integers:
        n = np.maximum(edges.visits.sum(axis=1, keepdims=True), 1)
        bonus = np.where(edges.visits > 0, config.c_uct * np.sqrt(np.log(n) / np.maximum(edges.visits, 1)), 1e6)
        return _hopeful((edges.value + bonus + 1e-4 * random.random(edges.value.shape)).astype(np.float32), edges)

    return choose


def improved_policy(edges: Edges, config: SearchConfig) -> tuple[Floats, Floats]:
    """The policy that the values found so far make of the evaluator's (eq. 11), (K, A), and the completed values (eq. 10), 0 to 1."""
    prior = _softmax(edges.logits)
    n = edges.visits.sum(axis=1, keepdims=True)
    weight = (prior * edges.known).sum(axis=1, keepdims=True)
    seen = (prior * edges.known * edges.value).sum(axis=1, keepdims=True) / np.maximum(weight, 1e-12)
    mixed = (edges.own[:, None] + n * seen) / (1 + n)  # eq. 33: v_mix
    value = 0.5 + 0.5 * np.where(edges.known, edges.value, mixed)
    scale = (config.c_visit + edges.visits.max(axis=1, keepdims=True)) * config.c_scale
    return _softmax((edges.logits + scale * value).astype(np.float32)), value.astype(np.float32)


def _gumbel_inner(config: SearchConfig) -> Choose:
    def choose(edges: Edges, rows: Integers) -> Integers:
        policy, _ = improved_policy(edges, config)
        return _hopeful(policy - edges.visits / (1 + edges.visits.sum(axis=1, keepdims=True)), edges)  # eq. 14

    return choose


@cache
def considered_visits(considered: int, simulations: int) -> tuple[int, ...]:
    """Sequential halving: for each simulation, how often a move must have been visited to be the next.

    The best `considered` moves get equal shares of the first part of the simulations, the better half of them equal shares of the next,
    and so on to two (Karnin et al. 2013; the form is that of Algorithm 2 and of mctx).
    """
    if considered <= 1:
        return tuple(range(simulations))
    rounds, visits, sequence, left = math.ceil(math.log2(considered)), [0] * considered, list[int](), considered
    while len(sequence) < simulations:
        for _ in range(max(1, simulations // (rounds * left))):
            sequence += visits[:left]
            visits[:left] = [v + 1 for v in visits[:left]]
        left = max(2, left // 2)
    return tuple(sequence[:simulations])


def _gumbel(game: Game[Any], tree: Tree, evaluate: Evaluator, config: SearchConfig, noise: Floats) -> Found:
    """Sequential halving at the root over the moves with the largest noise + logit (Algorithm 2)."""
    legal = tree.legal[:, 0]
    count = np.minimum(legal.sum(axis=1), config.considered)
    wanted = np.array([considered_visits(int(c), config.simulations) for c in count]).reshape(len(count), -1)  # (B, simulations)
    inner = _gumbel_inner(config)

    def score(edges: Edges, rows: Integers) -> Floats:
        _, value = improved_policy(edges, config)
        scale = (config.c_visit + edges.visits.max(axis=1, keepdims=True)) * config.c_scale
        return np.asarray(noise[rows] + edges.logits + scale * np.where(edges.known, value, 0.0), dtype=np.float32)

    for k in range(config.simulations):

        def root(edges: Edges, rows: Integers, k: int = k) -> Integers:
            open_ = edges.legal & ~edges.lost
            due = open_ & (edges.visits == wanted[rows, k][:, None])
            due = np.where(due.any(axis=1, keepdims=True), due, open_)  # where moves are lost others get their share
            due = np.where(due.any(axis=1, keepdims=True), due, edges.legal)
            return np.asarray(np.where(due, score(edges, rows), -np.inf).argmax(axis=1))

        grow(game, tree, evaluate, root, inner)
    edges, every = root_edges(tree), np.arange(len(count))
    policy, _ = improved_policy(edges, config)
    most = edges.visits == edges.visits.max(axis=1, keepdims=True)
    final = np.where(edges.legal & most, score(edges, every), -np.inf)
    return _found(tree, edges, np.asarray(final.argmax(axis=1)), np.where(legal, policy, 0.0).astype(np.float32))

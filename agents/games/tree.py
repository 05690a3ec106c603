"""Search trees of many games, grown in step: a wave adds one position to each tree, and all new positions are judged in one call.

A node is a position. Its edges are the moves from it, with how often each was tried and what came of it. All values are of the player to
move at the node: 1 is won, -1 lost. What is certain is kept apart: a node is proven once it is over, or one of its moves is proven won, or
all are proven; it is then worth exactly that, and is not searched further (MCTS-Solver, Winands et al. 2008). A tree may look ahead: every
move from a new node is then tried at once, those that end the game are certain before any wave has gone there, and the evaluator is not
asked about a node where one of them wins.

Shapes: B games, N nodes a tree (node 0 is the root), A actions, K rows of a wave that are still going.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from envs.games import Game, put, take

__all__ = ["UNKNOWN", "Choose", "Edges", "Evaluator", "Tree", "grow", "look", "new_tree", "root_edges"]

Floats = NDArray[np.float32]
Integers = NDArray[np.int64]

UNKNOWN = np.int8(2)  # of `proven`: neither -1, 0 nor 1


class Evaluator(Protocol):
    """Judges positions that are not over."""

    def __call__(self, state: Any, legal: NDArray[np.bool_]) -> tuple[Floats, Floats]:
        """Logits of moves (K, A), those of moves that are not legal being of no account, and values (K,), -1 to 1, of whoever is to
        move."""


class Edges(NamedTuple):
    """The moves from one node in each of K trees, as the player to move there sees them."""

    legal: NDArray[np.bool_]  # (K, A)
    logits: Floats  # (K, A) of the evaluator; -inf where not legal
    visits: Integers  # (K, A) how often a wave went there
    value: Floats  # (K, A) mean of what came of it, or what is proven; 0 where nothing is known
    known: NDArray[np.bool_]  # (K, A) whether `value` says something: visited, or proven
    certain: NDArray[np.bool_]  # (K, A) `value` is proven
    own: Floats  # (K,) value that the evaluator gave the node itself

    @property
    def lost(self) -> NDArray[np.bool_]:
        """(K, A) moves proven lost."""
        return np.asarray(self.certain & (self.value == -1.0))


Choose = Callable[[Edges, Integers], Integers]  # (edges of K nodes, their rows (K,) in the batch) -> actions (K,)


class Tree(NamedTuple):
    """Arrays that `grow` changes."""

    states: Any  # of the game; row b * N + n is node n of game b
    size: Integers  # (B,) nodes so far
    child: NDArray[np.int32]  # (B, N, A) node that a move leads to; -1: none yet
    legal: NDArray[np.bool_]  # (B, N, A)
    logits: Floats  # (B, N, A)
    visits: NDArray[np.int32]  # (B, N, A)
    total: NDArray[np.float64]  # (B, N, A) sum of what came of the visits
    own: Floats  # (B, N) value given by the evaluator
    player: NDArray[np.int8]  # (B, N)
    proven: NDArray[np.int8]  # (B, N) -1, 0, 1 for the player to move; UNKNOWN
    ahead: NDArray[np.int8] | None  # (B, N, A) -1, 0, 1 for who plays a move that ends the game; UNKNOWN. None: does not look ahead


def new_tree(game: Game[Any], state: Any, evaluate: Evaluator, *, waves: int, ahead: bool = False) -> Tree:
    """Trees of one node each, with room for `waves` more. ahead: whether they look a move ahead of every node."""
    batch, nodes = len(state.done), waves + 1
    shape = (batch, nodes, game.actions)
    tree = Tree(
        states=take(state, np.repeat(np.arange(batch), nodes)),
        size=np.zeros(batch, dtype=np.int64),
        child=np.full(shape, -1, dtype=np.int32),
        legal=np.zeros(shape, dtype=np.bool_),
        logits=np.full(shape, -np.inf, dtype=np.float32),
        visits=np.zeros(shape, dtype=np.int32),
        total=np.zeros(shape, dtype=np.float64),
        own=np.zeros((batch, nodes), dtype=np.float32),
        player=np.zeros((batch, nodes), dtype=np.int8),
        proven=np.full((batch, nodes), UNKNOWN),
        ahead=np.full(shape, UNKNOWN) if ahead else None,
    )
    _add(game, tree, np.arange(batch), state, evaluate)
    return tree


def _add(game: Game[Any], tree: Tree, rows: Integers, state: Any, evaluate: Evaluator) -> Integers:
    """One new node in each of those trees; their numbers (K,)."""
    node = tree.size[rows]
    tree.size[rows] += 1
    legal = game.legal(state)
    put(tree.states, rows * tree.own.shape[1] + node, state)
    tree.player[rows, node] = state.player
    tree.legal[rows, node] = legal
    over = state.done
    tree.proven[rows[over], node[over]] = (state.outcome * (1 - 2 * state.player))[over]
    tree.own[rows[over], node[over]] = tree.proven[rows[over], node[over]]
    going = np.flatnonzero(~over)
    if tree.ahead is not None and going.size:
        going = going[_look_ahead(game, tree, rows[going], node[going], take(state, going))]
    if going.size:
        logits, value = evaluate(take(state, going), legal[going])
        tree.logits[rows[going], node[going]] = np.where(legal[going], logits, -np.inf)
        tree.own[rows[going], node[going]] = value
    return node


def _look_ahead(game: Game[Any], tree: Tree, rows: Integers, node: Integers, state: Any) -> NDArray[np.bool_]:
    """Try every move from those nodes, mark what ends the game, and say which nodes (K,) are not decided by that."""
    assert tree.ahead is not None
    legal = tree.legal[rows, node]
    parent, move = np.nonzero(legal)
    after = game.step(take(state, parent), move)
    worth = after.outcome * (1 - 2 * state.player[parent])
    tree.ahead[rows[parent], node[parent], move] = np.where(after.done, worth, UNKNOWN)
    tree.logits[rows, node] = np.where(legal, np.float32(0.0), -np.inf)
    _prove(tree, rows, node)
    proven = tree.proven[rows, node]
    tree.own[rows, node] = np.where(proven == UNKNOWN, 0, proven)
    return np.asarray(proven == UNKNOWN)


def look(tree: Tree, rows: Integers, node: Integers) -> Edges:
    """The edges of one node in each of those trees."""
    visits, child = tree.visits[rows, node].astype(np.int64), tree.child[rows, node]
    proven = np.where(child >= 0, tree.proven[rows[:, None], child], UNKNOWN)
    certain = proven != UNKNOWN
    same = tree.player[rows[:, None], child] == tree.player[rows, node][:, None]
    exact = np.where(same, proven, -proven)  # for the player to move here
    if tree.ahead is not None:
        soon = tree.ahead[rows, node]
        exact = np.where(certain, exact, soon)
        certain |= soon != UNKNOWN
    mean = tree.total[rows, node] / np.maximum(visits, 1)
    return Edges(
        legal=tree.legal[rows, node],
        logits=tree.logits[rows, node],
        visits=visits,
        value=np.where(certain, exact, mean).astype(np.float32),
        known=certain | (visits > 0),
        certain=certain,
        own=tree.own[rows, node],
    )


def root_edges(tree: Tree) -> Edges:
    """The edges of all roots."""
    batch = len(tree.size)
    return look(tree, np.arange(batch), np.zeros(batch, dtype=np.int64))


def grow(game: Game[Any], tree: Tree, evaluate: Evaluator, choose_root: Choose, choose: Choose) -> None:
    """One wave: down each tree by `choose_root` and `choose` to a move not tried yet, one new node there, its value up again.

    Trees whose root is over stay as they are; a path that ends in what is proven adds no node, but counts as a visit. Once a root is proven
    all visits go to the move that proves it, or that held out longest.
    """
    batch = len(tree.size)
    rows = np.flatnonzero(~tree.states.done[:: tree.own.shape[1]])
    node = np.zeros(len(rows), dtype=np.int64)
    path: list[tuple[Integers, Integers, Integers]] = []  # rows, nodes, actions of each level
    leaf = np.zeros(batch, dtype=np.int64)
    parents, wanted = np.full(batch, -1), np.zeros(batch, dtype=np.int64)
    while len(rows):
        edges = look(tree, rows, node)
        action = (choose if path else choose_root)(edges, rows)
        if not path:
            proven = tree.proven[rows, node]
            sure = edges.certain & (edges.value == proven[:, None])
            action = np.where(proven == UNKNOWN, action, np.where(sure, edges.visits, -1).argmax(axis=1))
        path.append((rows, node, action))
        after = tree.child[rows, node, action].astype(np.int64)
        new = after < 0
        parents[rows[new]], wanted[rows[new]] = node[new], action[new]
        ends = ~new & (tree.proven[rows, after] != UNKNOWN)
        leaf[rows[ends]] = after[ends]
        on = ~new & ~ends
        rows, node = rows[on], after[on]
    if (fresh := np.flatnonzero(parents >= 0)).size:
        state = game.step(take(tree.states, fresh * tree.own.shape[1] + parents[fresh]), wanted[fresh])
        leaf[fresh] = _add(game, tree, fresh, state, evaluate)
        tree.child[fresh, parents[fresh], wanted[fresh]] = leaf[fresh]
    _back_up(tree, path, leaf)


def _back_up(tree: Tree, path: list[tuple[Integers, Integers, Integers]], leaf: Integers) -> None:
    """Tell every edge of the path what came of it, and every node whether it is proven now. leaf (B,): the node each path ended in."""
    every = np.arange(len(leaf))
    proven = tree.proven[every, leaf]
    worth = np.where(proven != UNKNOWN, proven, tree.own[every, leaf]).astype(np.float64)
    worth *= 1 - 2 * tree.player[every, leaf].astype(np.int64)  # of player 0
    for rows, node, action in reversed(path):
        tree.visits[rows, node, action] += 1
        tree.total[rows, node, action] += worth[rows] * (1 - 2 * tree.player[rows, node].astype(np.int64))
        child = tree.child[rows, node, action]
        news = (tree.proven[rows, child] != UNKNOWN) & (tree.proven[rows, node] == UNKNOWN)
        if news.any():
            _prove(tree, rows[news], node[news])


def _prove(tree: Tree, rows: Integers, node: Integers) -> None:
    """Mark those nodes that are decided by what is proven of their moves: one wins, or all are proven."""
    edges = look(tree, rows, node)
    best = np.where(edges.legal & edges.certain, edges.value, -np.inf).max(axis=1)
    decided = (best == 1) | (edges.certain | ~edges.legal).all(axis=1)
    tree.proven[rows[decided], node[decided]] = best[decided].astype(np.int8)

"""The network that judges positions: a small residual tower with a policy and a value (Silver et al. 2018, He et al. 2016).

Shapes: K positions, I planes of `game.features`, P points, A actions, W channels.
"""

from __future__ import annotations

import copy
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from agents.games.players import SearchPlayer
from agents.games.search import SearchConfig
from agents.learning.alphazero.half import HalfTower, check_half
from agents.learning.alphazero.memory import Memory
from agents.learning.config import TrainConfigError
from envs.games import Game, game_named
from perception.storage import Stored, load, save

__all__ = ["KIND", "GameNetwork", "NetworkEvaluator", "load_network", "network_player", "save_network"]

KIND = "game"  # in the description of stored weights
VALUE_HIDDEN = 64
PORTION = 32  # positions a player's network judges together
POLICY_CHANNELS, VALUE_CHANNELS = 8, 4  # of the 1x1 convolutions before the heads


class Residual(nn.Module):
    """x + f(x), with two convolutions of 3x3."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(channels, channels, 3, padding=1, bias=False),
            nn.BatchNorm2d(channels),
            nn.ReLU(),
            nn.Conv2d(channels, channels, 3, padding=1, bias=False),
            nn.BatchNorm2d(channels),
        )

    def forward(self, x: Tensor) -> Tensor:
        """(K, W, rows, columns) -> the same."""
        return torch.relu(x + self.body(x))


class GameNetwork(nn.Module):
    """Planes of a position in, logits of moves and a value out."""

    def __init__(self, game: Game[Any], *, channels: int, blocks: int) -> None:
        super().__init__()
        self.spec = {"game": game.name, "planes": game.inputs, "channels": channels, "blocks": blocks}
        points = game.rows * game.columns
        self.stem = nn.Sequential(nn.Conv2d(game.inputs, channels, 3, padding=1, bias=False), nn.BatchNorm2d(channels), nn.ReLU())
        self.tower = nn.Sequential(*(Residual(channels) for _ in range(blocks)))
        self.policy = nn.Sequential(
            nn.Conv2d(channels, POLICY_CHANNELS, 1, bias=False),
            nn.BatchNorm2d(POLICY_CHANNELS),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(POLICY_CHANNELS * points, game.actions),
        )
        self.value = nn.Sequential(
            nn.Conv2d(channels, VALUE_CHANNELS, 1, bias=False),
            nn.BatchNorm2d(VALUE_CHANNELS),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(VALUE_CHANNELS * points, VALUE_HIDDEN),
            nn.ReLU(),
            nn.Linear(VALUE_HIDDEN, 1),
            nn.Tanh(),
        )

    def forward(self, planes: Tensor) -> tuple[Tensor, Tensor]:
        """(K, I, rows, columns) float32 -> logits (K, A), values (K,) from -1 to 1 of the player to move."""
        x = self.tower(self.stem(planes))
        return self.policy(x), self.value(x).squeeze(1)


class NetworkEvaluator:
    """A network, as it is now, as the judge of a search. Positions go through it in portions of one fixed size, filled up with empty ones,
    so that what it says of a position is the same, to the last bit, whatever is judged beside it. What it has said of the last positions
    is remembered: searches from one move to the next, and of games that begin alike, look at the same ones again.

    half: the tower computes in bfloat16, which some CPUs do twice as fast. Raises TrainConfigError for a network of another game, and for
    half where that cannot be.

    symmetric: every position is seen through all symmetries of the board, and the answers' mean is the answer.
    """

    def __init__(self, network: GameNetwork, game: Game[Any], *, portion: int, half: bool = False, symmetric: bool = False) -> None:
        if network.spec["game"] != game.name:
            raise TrainConfigError(f"the network plays {network.spec['game']}, not {game.name}")
        self.device = next(network.parameters()).device
        if half:
            check_half(self.device.type)
        self.game, self.portion, self.symmetric = game, portion, symmetric
        self.network = _quick(network, torch.zeros(portion, game.inputs, game.rows, game.columns, device=self.device), half)
        self.memory = Memory(game)
        self.judged = 0  # positions that went through the network

    def __call__(self, state: Any, legal: NDArray[np.bool_]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Logits (K, A) and values (K,)."""
        planes = self.game.features(state)
        keys = self.memory.keys(planes)
        new, place = np.unique(keys[~self.memory.knows(keys)], return_index=True)
        if new.size:
            self.memory.put(new, *self._ask(planes[~self.memory.knows(keys)][place]))
        if not (known := self.memory.knows(keys)).all():  # two of them want the same slot
            logits, values = self.memory.get(keys)
            logits[~known], values[~known] = self._ask(planes[~known])
            return logits, values
        return self.memory.get(keys)

    def _ask(self, planes: NDArray[np.int8]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Logits and values of positions (K, I, rows, columns), through one symmetry or all of them."""
        if not self.symmetric:
            return self._judge(planes)
        points, actions = self.game.symmetries
        flat = planes.reshape(*planes.shape[:2], -1)
        logits, values = np.zeros((len(planes), self.game.actions), np.float32), np.zeros(len(planes), np.float32)
        for through, moves in zip(points, actions, strict=True):
            told, value = self._judge(np.ascontiguousarray(flat[..., through]).reshape(planes.shape))
            logits[:, moves] += told / np.float32(len(points))
            values += value / np.float32(len(points))
        return logits, values

    def _judge(self, planes: NDArray[np.int8]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Logits and values of positions (K, I, rows, columns), by the network."""
        self.judged += len(planes)
        logits, values = torch.empty(len(planes), self.game.actions), torch.empty(len(planes))
        for start in range(0, len(planes), self.portion):
            part = torch.from_numpy(planes[start : start + self.portion])
            padded = torch.zeros(self.portion, *part.shape[1:])
            padded[: len(part)] = part
            with torch.inference_mode():
                policy, value = self.network(padded.to(self.device))
            logits[start : start + self.portion] = policy[: len(part)].cpu()
            values[start : start + self.portion] = value[: len(part)].cpu()
        return logits.numpy(), values.numpy()


def _quick(network: GameNetwork, planes: Tensor, half: bool) -> GameNetwork:
    """A copy of the network with its present weights, for input of one shape.

    On a CPU the layers of its tower are fused and their weights laid out for that shape, which takes a quarter of a second and judges
    twice as many positions a second. The heads stay as they are: fused, their matrix products would round by the place in the portion.
    """
    quick = copy.deepcopy(network).eval()
    if planes.device.type == "cpu":
        tower = nn.Sequential(quick.stem, *quick.tower).eval()
        quick.stem, quick.tower = nn.Sequential(), nn.Sequential(HalfTower(tower, planes) if half else _traced(tower, planes))
    return quick


def _traced(tower: nn.Sequential, planes: Tensor) -> Any:
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore", DeprecationWarning)  # torch.jit is no longer developed; there is nothing like it for a CPU
        traced = torch.jit.trace(tower, planes)  # type: ignore[no-untyped-call]
        return torch.jit.optimize_for_inference(torch.jit.freeze(traced))


def save_network(path: Path, network: GameNetwork, *, name: str, card: dict[str, Any]) -> Path:
    """Write weights and their card."""
    return save(path, Stored(kind=KIND, name=name, spec=network.spec, tensors=network.state_dict()), card=card)


def load_network(path: str | Path, *, device: str = "cpu") -> GameNetwork:
    """A network that `save_network` wrote, ready to judge. Raises WeightsError for a damaged file, TrainConfigError for what is no such
    network."""
    stored = load(path, kind=KIND)
    try:
        game = game_named(str(stored.spec["game"]))
        network = GameNetwork(game, channels=int(stored.spec["channels"]), blocks=int(stored.spec["blocks"]))
        network.load_state_dict(stored.tensors)
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        raise TrainConfigError(f"{path}: no network of this version: {error}") from None
    return network.to(device).eval()


def network_player(
    path: str | Path, game: Game[Any], config: SearchConfig, *, device: str = "cpu", portion: int = PORTION, name: str | None = None
) -> SearchPlayer:
    """Somebody who plays by searching with a stored network, asked through all symmetries: a run's folder (its best network), or a file.

    portion: positions judged together; for single games a small one is quicker. name: default the path. Raises as `load_network`, and
    TrainConfigError for a network of another game.
    """
    file = Path(path) / "policy.safetensors" if Path(path).is_dir() else Path(path)
    judge = NetworkEvaluator(load_network(file, device=device), game, portion=portion, symmetric=True)
    return SearchPlayer(game, judge, config, name=name or str(path))

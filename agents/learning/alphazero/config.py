"""What a run of self-play is: one strict, frozen configuration."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError, model_validator

from agents.games.search import SearchConfig
from agents.learning.config import TrainConfigError
from envs.games import game_named
from scenarios.errors import did_you_mean

__all__ = ["AlphaZeroConfig", "config_from"]

_Positive = Annotated[int, Field(ge=1)]
_Share = Annotated[float, Field(ge=0.0, le=1.0)]


class AlphaZeroConfig(BaseModel):
    """A run. Raises pydantic's ValidationError (a ValueError) with every problem; `config_from` gives them as plain lines."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, arbitrary_types_allowed=True)

    game: str
    algo: str = "alphazero"
    steps: _Positive = 1_000_000  # moves of self-play, over all games
    seed: Annotated[int, Field(ge=0, le=1_000_000)] = 0
    games: _Positive = 128  # side by side, searched in step
    moves: _Positive = 16  # in every game between two rounds of learning
    # Self-play. Playout-cap randomisation (Wu 2019, KataGo): most moves are quick and teach nothing but get games to their ends.
    search: SearchConfig = SearchConfig()
    full_share: Annotated[float, Field(gt=0.0, le=1.0)] = 0.5  # of the moves, which get the whole search and are learned from
    quick_simulations: _Positive = 16  # of the others
    half: bool = False  # the network computes in bfloat16 in self-play, twice as fast on CPUs that can; device cpu only
    opening_moves: Annotated[int, Field(ge=0)] = 4  # games begin with 0 to this many random moves, so that odd positions are met
    sample_moves: Annotated[int, Field(ge=0)] = 10  # root=puct: so many moves of a game are drawn by visits; gumbel draws all
    # Learning.
    channels: _Positive = 32
    blocks: _Positive = 4
    buffer: _Positive = 200_000  # positions kept
    batch: _Positive = 256
    reuse: Annotated[float, Field(gt=0.0)] = 4.0  # how often a position is learned from, on average
    learning_rate: Annotated[float, Field(gt=0.0)] = 2e-3  # falls linearly to a tenth
    weight_decay: Annotated[float, Field(ge=0.0)] = 1e-4
    value_mix: _Share = 0.25  # share of the search's own value in what the value is to be; the rest is the game's outcome
    # Judging: the network against the best before, the same openings from both sides.
    evaluations: _Positive = 10  # evenly over the run
    arena_openings: _Positive = 64  # at most: a match ends early once it is decided
    arena_simulations: _Positive = 32
    checkpoints: _Positive = 20  # evenly over the run
    threads: _Positive = 1  # of torch
    device: str = "cpu"

    @model_validator(mode="before")
    @classmethod
    def _prepare(cls, data: Any) -> Any:
        if not isinstance(data, Mapping):
            return data
        given = dict(data)
        if strange := [key for key in given if key not in cls.model_fields]:
            raise ValueError("\n".join(_unknown(key, cls.model_fields) for key in strange))
        if isinstance(given.get("search"), Mapping):
            given["search"] = _search(given["search"])
        return given

    @model_validator(mode="after")
    def _check(self) -> AlphaZeroConfig:
        game = game_named(self.game)
        if self.algo != "alphazero":
            raise ValueError(f"algo: {self.algo!r}: board games are learned by alphazero")
        if self.opening_moves >= game.longest:
            raise ValueError(f"opening_moves: {self.opening_moves}: a game of {self.game} has at most {game.longest} moves")
        if self.search.root == "uct":
            raise ValueError("search.root: 'uct' takes no advice from a network; must be gumbel or puct")
        if self.half and self.device.partition(":")[0] != "cpu":
            raise ValueError(f"half: true: is for device cpu, not {self.device}; leave it out")
        if self.batch > self.buffer:
            raise ValueError(f"batch: {self.batch}: must not be larger than the buffer, {self.buffer}")
        return self

    @property
    def iterations(self) -> int:
        """Rounds of self-play and learning."""
        return -(-self.steps // (self.games * self.moves))

    @property
    def quick(self) -> SearchConfig:
        """The search of quick moves."""
        return replace(self.search, simulations=self.quick_simulations)

    @property
    def title(self) -> str:
        """For folder names and tables."""
        return f"{self.game}-{self.algo}"

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for config.yaml."""
        plain: dict[str, Any] = TypeAdapter(dict[str, Any]).dump_python({**self.model_dump(), "search": vars(self.search)}, mode="json")
        return plain


def config_from(data: Mapping[str, Any]) -> AlphaZeroConfig:
    """A configuration from plain values. Raises TrainConfigError with every problem, a line each."""
    try:
        return AlphaZeroConfig.model_validate(dict(data))
    except ValidationError as error:
        lines = []
        for problem in error.errors():
            where, message = ".".join(map(str, problem["loc"])), problem["msg"].removeprefix("Value error, ")
            lines.append(f"{where}: {message} (got {str(problem['input'])[:60]!r})" if where else message)
        raise TrainConfigError("\n".join(lines)) from None


def _search(values: Mapping[str, Any]) -> SearchConfig:
    known = SearchConfig.__dataclass_fields__
    if strange := [key for key in values if key not in known]:
        raise ValueError("\n".join(f"search.{_unknown(key, known)}" for key in strange))
    try:
        return TypeAdapter(SearchConfig).validate_python(dict(values))
    except ValidationError as error:
        lines = (f"search.{'.'.join(map(str, e['loc']))}: {e['msg'].removeprefix('Value error, ')}" for e in error.errors())
        raise ValueError("\n".join(line.replace("search.: ", "search.") for line in lines)) from None


def _unknown(key: str, known: Any) -> str:
    hint = did_you_mean(key, list(known))
    return f"{key}: unknown; {hint or 'known: ' + ', '.join(sorted(known))}"

"""Which seeds are for what, so that a policy is never judged on an episode it has seen.

0 ...         999_999   judging: suites and `closedloop eval`
1_000_000 ... 1_999_999 validation: choosing the best checkpoint while training
2_000_000 ...           training: run seed r draws its episodes from 2_000_000 + 1_000_000 * r on
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["SPAN", "TRAINING", "VALIDATION", "Seeds", "seeds_for"]

SPAN = 1_000_000  # seeds in each range
VALIDATION = 1_000_000
TRAINING = 2_000_000


@dataclass(frozen=True, kw_only=True)
class Seeds:
    """The seeds of one run."""

    run: int  # of the network's weights, exploration and minibatches
    training: int  # first episode seed
    training_episodes: int
    validation: int  # first episode seed, the same for every run, so that runs can be compared
    validation_episodes: int


def seeds_for(run: int, *, training_episodes: int, validation_episodes: int) -> Seeds:
    """The seeds of run `run`. Raises ValueError if a range would run into the next one."""
    if not 0 <= run <= 1_000_000:
        raise ValueError(f"seed={run}: must be between 0 and 1000000")
    for name, count in (("episodes", training_episodes), ("validation_episodes", validation_episodes)):
        if not 1 <= count <= SPAN:
            raise ValueError(f"{name}={count}: must be between 1 and {SPAN}")
    return Seeds(
        run=run,
        training=TRAINING + SPAN * run,
        training_episodes=training_episodes,
        validation=VALIDATION,
        validation_episodes=validation_episodes,
    )

"""Trained policies of tasks that come with the package: one a task, `<task>.safetensors` with its card, in a folder a domain."""

from __future__ import annotations

from pathlib import Path

from agents.policies.base import PolicyError

__all__ = ["HERE", "TRAINED", "shipped_file", "shipped_in"]

TRAINED = "trained"  # the checkpoint that comes with the package, of whatever task is asked for
HERE = "{task}"  # in paths: the task that is asked for


def shipped_in(folder: Path) -> list[str]:
    """Tasks for which there is a trained policy in a folder."""
    return sorted(card.stem for card in folder.glob("*.json") if card.with_suffix(".safetensors").exists())


def shipped_file(name: str, task: str, folder: Path) -> Path | None:
    """The file of the policy called `name`, which is TRAINED or a task's name; None if no policy of the folder is called so.

    Raises PolicyError where TRAINED is asked for and there is none of the task.
    """
    shipped = shipped_in(folder)
    if name == TRAINED and task not in shipped:
        raise PolicyError(f"no trained policy of {task!r} comes with this version; of these: {', '.join(shipped) or 'none'}")
    return folder / f"{task if name == TRAINED else name}.safetensors" if name == TRAINED or name in shipped else None

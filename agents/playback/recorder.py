"""Writing an episode down while it is driven: one world of a simulator, step by step, as a `Trace`."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from agents import __version__
from agents.playback.beliefs import about, joined, of_world, told
from agents.playback.storage import Array
from agents.playback.trace import ACTIONS, OUT_FIELDS, STATE_FIELDS, Trace, sizes_of
from scenarios.episode import Episode

if TYPE_CHECKING:
    from torch import Tensor

    from envs.driving.eyes import Eyes
    from envs.driving.sim import DrivingSim
    from envs.driving.types import Out

__all__ = ["Recorder", "made_with", "snapshot"]


class Recorder:
    """Writes down one world of a simulator while it runs.

    Args:
        sim: right after the world was reset.
        world: which of its worlds.
        policy: what drives it, for reports.
        policy_hash: sha256 of its file, if it has one.
        command: a shell command that drives the episode again; made from the policy, scenario and seed if empty.
        eyes: through which the policy sees, after their first look; None: it has none.
        beliefs: what `agents.playback.beliefs.told` says of these eyes, if it is known already.
    """

    def __init__(
        self,
        sim: DrivingSim,
        world: int,
        *,
        policy: str = "",
        policy_hash: str = "",
        command: str = "",
        eyes: Eyes | None = None,
        beliefs: Mapping[str, Array] | None = None,
    ) -> None:
        self.world = world
        self.episode = sim.bank.episodes[int(sim.rows[world])]
        self.config = sim.config
        where = ["--scenario", self.episode.scenario, "--seed", str(self.episode.seed), "--episodes", "1"]
        again = shlex.join(["closedloop", "eval", policy, *where, "--traces", "all"]) if policy else ""
        self.about: dict[str, Any] = {"policy": policy, "policy_hash": policy_hash, "command": command or again, **made_with(sim)}
        self.actions: list[Array] = []
        self.outs: list[dict[str, Array]] = []
        self.shield: list[int] = []
        self.states = [snapshot(sim, world, self.episode)]
        self.eyes = None if eyes is None else about(eyes)
        self.seen: list[dict[str, Array]] = [] if eyes is None else [_believed(eyes, beliefs, world)]

    def add(
        self,
        sim: DrivingSim,
        action: Tensor,
        out: Out,
        eyes: Eyes | None = None,
        beliefs: Mapping[str, Array] | None = None,
        shield: Tensor | None = None,
    ) -> None:
        """Note one decision step: `action` (B, N, ...) as it was given to `sim.step`, the `out` that came back, what was seen then.

        shield (B,): why a shield has overridden the policy's action, 0: it has not; None: there is no shield.
        """
        if shield is not None:
            self.shield.append(int(shield[self.world]))
        self.actions.append(action[self.world].numpy(force=True).copy())
        self.outs.append({name: getattr(out, name)[self.world].numpy(force=True).copy() for name in OUT_FIELDS})
        self.states.append(snapshot(sim, self.world, self.episode))
        if eyes is not None:
            self.seen.append(_believed(eyes, beliefs, self.world))

    def finish(self, metrics: Mapping[str, float] | None = None) -> Trace:
        """The sealed trace. metrics: final figures by name, as `envs.driving.metrics.episode_metrics` calls them."""
        dtype, rest = ACTIONS[self.config.action]
        sizes = sizes_of(self.config, self.episode)
        empty = {name: np.zeros((0, *(sizes[axis] for axis in axes)), kind) for name, (kind, axes) in OUT_FIELDS.items()}
        return Trace(
            episode=self.episode,
            config=self.config,
            actions=np.stack(self.actions) if self.actions else np.zeros((0, self.config.learners, *rest), dtype),
            states={name: np.stack([state[name] for state in self.states]) for name in STATE_FIELDS},
            outs={name: np.stack([out[name] for out in self.outs]) if self.outs else empty[name] for name in OUT_FIELDS},
            beliefs=joined(self.eyes, self.seen) if self.eyes else None,
            shield=np.array(self.shield, dtype=np.uint8) if self.shield else None,
            metrics=dict(metrics or {}),
            **self.about,
        ).sealed()


def _believed(eyes: Eyes, beliefs: Mapping[str, Array] | None, world: int) -> dict[str, Array]:
    return of_world(told(eyes) if beliefs is None else beliefs, world)


def made_with(sim: DrivingSim) -> dict[str, str]:
    """What decides whether a simulation comes out the same to the last bit: versions, backend, device, vector instructions."""
    import torch

    backend, device = "compiled" if sim.compile else "eager", torch.device(sim.device).type
    cpu = torch.backends.cpu.get_cpu_capability()
    return {"closedloop": __version__, "torch": torch.__version__, "backend": backend, "device": device, "cpu": cpu}


def snapshot(sim: DrivingSim, world: int, episode: Episode) -> dict[str, Array]:
    """The state of one world, by name as in `STATE_FIELDS`."""
    from envs.driving.lights import light_states

    state = {name: getattr(sim.state, name)[world].numpy(force=True).copy() for name in STATE_FIELDS if name != "lights"}
    lights = light_states(sim.maps, sim.setup.map_id[world : world + 1], sim.state.step[world : world + 1], sim.config.dt)
    return state | {"lights": lights[0, : len(episode.network.lights)].numpy(force=True).copy()}

"""Let a policy drive a list of episodes to their ends, many at once, and lose none.

Shapes: B worlds, N learners. B never changes: worlds whose episode has ended take the next one, and when none is left they idle. Together
with the simulator's own guarantee this makes an episode's result depend on the episode and the policy alone, not on its company or order.
"""

from __future__ import annotations

import shlex
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor

from agents.evaluation.struck import CollisionLog, Struck
from agents.planners.scene import SceneMaker
from agents.planners.shield import Shielded
from agents.playback.beliefs import told
from agents.playback.fingerprint import Fingerprints
from agents.playback.recorder import Recorder
from agents.playback.storage import Array
from agents.policies.base import Policy, PolicyError, Told
from envs.driving.bank import build_bank
from envs.driving.eyes import Eyes, needs_eyes
from envs.driving.metrics import episode_metrics
from envs.driving.observation import observe
from envs.driving.pixels import Sight
from envs.driving.rewards import RewardWeights, reward_terms, total
from envs.driving.sim import DrivingSim
from envs.driving.types import DrivingConfig, Out
from scenarios.episode import Episode
from scenarios.network import RoadNetwork

__all__ = ["BATCH", "ENDINGS", "WIDE", "EpisodeResult", "TraceRule", "Watch", "fitting_batch", "in_batches", "plain_name", "rollout"]

BATCH = 64  # worlds at once; fixed, because matrix products round differently at different batch sizes
WIDE = 512  # the same on a GPU, where a step of many worlds takes hardly longer than one of few
WEIGHTS = RewardWeights()
SLOTS = (16, 32, 64)  # agent slots: the smallest that holds the episode, whatever runs beside it
ENDS = ("arrived", "collision", "off_road", "wrong_way", "lost")  # first that holds names the end; else time ran out
ENDINGS = (*ENDS, "time", "error", "interrupted")  # error: no figures, because something broke; interrupted: not driven to its end


@dataclass(frozen=True, kw_only=True)
class EpisodeResult:
    """What became of one episode. `end` is one of `ENDINGS`."""

    policy: str
    scenario: str
    seed: int
    end: str
    metrics: dict[str, float] = field(default_factory=dict)  # as named by `envs.driving.metrics.episode_metrics`; empty after an error
    error: str = ""  # what went wrong in our code or the policy's, never what went wrong on the road
    trace: str = ""  # path of the trace, if one was written
    reward: float | None = None  # return: the default rewards (`RewardWeights()`) added up, undiscounted; None after an error
    struck: Struck | None = None  # what a collision was with, if an account of collisions was asked for
    fingerprint: str = ""  # of what happened (`agents.playback.fingerprint`), if asked for; "" after an error
    watched: dict[str, float] = field(default_factory=dict)  # what a `Watch` has seen, if one was asked for; empty after an error

    @property
    def failed(self) -> bool:
        """No success: any end but a clean arrival (or lasting until the end, where that is the goal)."""
        return not self.metrics.get("success", 0.0)


@dataclass(frozen=True, kw_only=True)
class TraceRule:
    """Which traces are written below `folder` (None: no traces): of every episode or of failures, of any or of chosen episodes."""

    folder: Path | None = None
    failures_only: bool = False
    chosen: frozenset[tuple[str, int]] | None = None  # (scenario, seed); None: any
    policy: str = ""  # as the command line takes them, for the command that drives an episode again
    scenario: str = ""
    compile: bool = False

    def records(self, episode: Episode) -> bool:
        """Whether to record an episode while it runs."""
        return self.folder is not None and (self.chosen is None or (episode.scenario, episode.seed) in self.chosen)

    def keeps(self, result: EpisodeResult) -> bool:
        """Whether to write what was recorded."""
        return result.failed or not self.failures_only

    def again(self, episode: Episode) -> str:
        """The command that drives an episode again and keeps its trace; empty if the rule does not know."""
        if not (self.policy and self.scenario):
            return ""
        one = ["--seed", str(episode.seed), "--episodes", "1", "--traces", "all"]
        return shlex.join(["closedloop", "eval", self.policy, "--scenario", self.scenario, *one, *["--compile"] * self.compile])

    def path(self, policy: str, episode: Episode) -> Path:
        """Where the trace of an episode goes. Raises ValueError without a folder."""
        if self.folder is None:
            raise ValueError("folder=None: no traces are written")
        return self.folder / plain_name(policy) / f"{plain_name(episode.scenario)}-{episode.seed}.trace"


class Watch(Protocol):
    """Looks on while worlds drive: `begin` after a reset, `add` after each step, `end` when an episode is over."""

    def begin(self, worlds: Iterable[int]) -> None:
        """These worlds stand at the start of an episode."""
        ...

    def add(self, out: Out) -> None:
        """One decision step of all worlds."""
        ...

    def end(self, world: int) -> dict[str, float]:
        """What was seen of the episode that has ended in a world."""
        ...


def fitting_batch(policy: Policy, episodes: int) -> int:
    """As small a batch as holds the episodes, where results do not depend on it: cameras' networks round with their batch."""
    return BATCH if policy.needs.observation in ("noisy", "perceived", "pixels") else max(1, min(BATCH, episodes))


def rollout(
    policy: Policy,
    episodes: Sequence[Episode],
    *,
    batch: int = BATCH,
    name: str | None = None,
    traces: TraceRule | None = None,
    account: bool = False,
    progress: Callable[[EpisodeResult], None] | None = None,
    compile: bool = False,
    fingerprints: bool = False,
    watch: Callable[[DrivingSim], Watch] | None = None,
    networks: Mapping[str, RoadNetwork] | None = None,
    device: str = "cpu",
) -> list[EpisodeResult]:
    """One result an episode, in the order given.

    name: what the results and traces call the policy (default: its own name). account: also tell what collisions were with. progress:
    called once an episode, as they end. compile: run the simulator under torch.compile, which pays from some hundred episodes on; the last
    bits differ from eager ones. fingerprints: also take the fingerprint of every episode. watch: makes what looks on at a simulator, for
    `watched` of the results. networks: road networks by key to compile beside those of the episodes: calls that share them share compiled
    programs. device: where worlds and policy live, such as "cuda"; another device rounds otherwise. What the policy or the simulator
    raises, and actions that are not finite, become results with `end` "error" for the episodes concerned; the others go on. Raises
    PolicyError if actions have the wrong shape, ValueError for batch < 1.
    """
    if batch < 1:
        raise ValueError(f"batch={batch}: must be at least 1")
    run = _Run(
        policy=policy, name=name or policy.name, episodes=episodes, batch=batch, traces=traces or TraceRule(), account=account,
        progress=progress, compile=compile, fingerprints=fingerprints, watch=watch, networks=networks or {}, device=device,
    )  # fmt: skip
    for indices in _groups(episodes, run.widest):
        run.group(indices)
    return [run.results[i] for i in range(len(episodes))]


def _groups(episodes: Sequence[Episode], widest: bool) -> list[list[int]]:
    """Indices of episodes that share a simulator: one scenario, tick and number of slots, so that maps padded together are alike."""
    groups: dict[tuple[str, float, int], list[int]] = {}
    for i, episode in enumerate(episodes):
        groups.setdefault((episode.scenario, episode.dt, _slots(episode, widest)), []).append(i)
    return list(groups.values())


def _slots(episode: Episode, widest: bool) -> int:
    """widest: always the most. A second program, or on a GPU a second batch, would take longer than the empty slots."""
    if widest:
        return SLOTS[-1]
    return next((slots for slots in SLOTS if len(episode.agents) <= slots), SLOTS[-1])


class _Run:
    """The state of one rollout: which episode each world drives, its recorder, and the results so far."""

    def __init__(
        self,
        *,
        policy: Policy,
        name: str,
        episodes: Sequence[Episode],
        batch: int,
        traces: TraceRule,
        account: bool,
        progress: Callable[[EpisodeResult], None] | None,
        compile: bool,
        fingerprints: bool,
        watch: Callable[[DrivingSim], Watch] | None,
        networks: Mapping[str, RoadNetwork],
        device: str,
    ) -> None:
        self.watch, self.networks, self.device = watch, networks, device
        self.widest = compile or device != "cpu"
        self.account, self.compile, self.fingerprints = account, compile, fingerprints
        self.policy, self.name, self.episodes, self.batch, self.traces, self.progress = policy, name, episodes, batch, traces, progress
        self.policy_hash = str(getattr(getattr(policy, "bundle", None), "sha256", ""))  # trained policies know their file's
        self.results: dict[int, EpisodeResult] = {}
        self.recorders: dict[int, Recorder] = {}

    def group(self, indices: list[int]) -> None:
        """Drive the episodes at `indices`, which share a simulator. An exception costs those under way; the others start anew."""
        waiting = deque(indices)
        while waiting:
            driving: dict[int, int] = {}  # world -> index
            try:
                self._drive(indices, waiting, driving)
            except PolicyError:
                raise
            except Exception as error:
                lost = list(driving.values()) or [waiting.popleft() for _ in range(len(waiting))]  # no world had started: none will
                for i in lost:
                    if i not in self.results:
                        self._close(i, "error", error=f"{type(error).__name__}: {error}")

    def _drive(self, indices: list[int], waiting: deque[int], driving: dict[int, int]) -> None:
        first = self.episodes[indices[0]]
        config = self.policy.needs.config(agents=_slots(first, self.widest), dt=first.dt)
        bank = build_bank([self.episodes[i] for i in indices], config, self.networks)
        sim = DrivingSim(bank, config, batch=self.batch, compile=self.compile, device=self.device)
        row_of = {index: row for row, index in enumerate(indices)}
        rows = torch.zeros(self.batch, dtype=torch.int64, device=sim.device)  # idle worlds drive row 0, for nobody

        def start(worlds: list[int]) -> None:
            for world in worlds:
                driving.pop(world, None)
                if waiting:
                    driving[world] = waiting.popleft()
                    rows[world] = row_of[driving[world]]

        def record(worlds: list[int]) -> None:
            beliefs: dict[str, Array] | None = None
            for world in worlds:
                episode = self.episodes[driving[world]] if world in driving else None
                if episode is not None and self.traces.records(episode):
                    beliefs = told(believer) if believer and beliefs is None else beliefs
                    about = {"policy": self.name, "policy_hash": self.policy_hash, "command": self.traces.again(episode)}
                    self.recorders[driving[world]] = Recorder(sim, world, eyes=believer, beliefs=beliefs, **about)

        every = list(range(self.batch))
        start(every)
        sim.reset(rows)
        eyes = Sight(sim) if config.observation == "pixels" else Eyes(sim) if needs_eyes(config) else None
        believer = eyes if isinstance(eyes, Eyes) else None  # pixels are not believed in
        scenes = SceneMaker(sim) if self.policy.needs.scene or self.policy.needs.told else None
        log = CollisionLog(sim, eyes) if self.account and not isinstance(eyes, Sight) else None
        prints = Fingerprints(sim) if self.fingerprints else None
        watch = self.watch(sim) if self.watch else None
        returns = torch.zeros(self.batch, device=sim.device)
        overridden = torch.zeros(self.batch, dtype=torch.int64, device=sim.device)
        record(every)
        if prints:
            prints.begin(driving)
        if watch:
            watch.begin(driving)
        while driving:
            if log:
                log.look()
            action, reason = self._act(sim, config, eyes, scenes)
            bad = ~torch.isfinite(action.float()).flatten(1).all(dim=1)  # (B,)
            action = torch.where(bad.view(-1, *[1] * (action.dim() - 1)), torch.zeros_like(action), action)
            out = sim.step(action)
            returns = returns + total(reward_terms(out, sim.state, sim.setup), WEIGHTS)[:, 0]
            overridden = overridden if reason is None else overridden + (reason > 0)
            if eyes:
                eyes.look()
            beliefs = told(believer) if believer and self.recorders else None
            for recorder in self.recorders.values():
                recorder.add(sim, action, out, believer, beliefs, reason)
            if prints:
                prints.add(action, out)
            if watch:
                watch.add(out)
            ended = [w for w, over in enumerate((out.terminated[:, 0] | out.truncated | bad).tolist()) if over and w in driving]
            if not ended:
                continue
            metrics = {key: value[:, 0].tolist() for key, value in episode_metrics(sim.state, sim.setup, config.dt).items()}
            for world in ended:
                i = driving[world]
                if bad[world]:
                    tick = int(sim.state.step[world]) - config.ticks_per_step
                    self._close(i, "error", error=f"the policy's action is not finite at tick {tick}")
                else:
                    final = {key: float(value[world]) for key, value in metrics.items()}
                    if reason is not None:
                        final |= _interventions(int(overridden[world]), int(sim.state.step[world]) / config.ticks_per_step)
                    struck = log.struck(world) if log and final["collision"] else None
                    seal = prints.end(world, final) if prints else ""
                    seen = watch.end(world) if watch else {}
                    reward = float(returns[world])
                    self._close(i, _end(out, world), metrics=final, reward=reward, struck=struck, fingerprint=seal, watched=seen)
            start(ended)
            mask = torch.zeros(self.batch, dtype=torch.bool, device=sim.device)
            mask[ended] = True
            returns[ended], overridden[ended] = 0.0, 0
            if log:
                log.forget(ended)
            sim.reset_where(mask, rows)
            if eyes:
                eyes.reset_where(mask)
            record(ended)
            begun = [world for world in ended if world in driving]
            if prints:
                prints.begin(begun)
            if watch:
                watch.begin(begun)

    def _act(
        self, sim: DrivingSim, config: DrivingConfig, eyes: Eyes | Sight | None, scenes: SceneMaker | None
    ) -> tuple[Tensor, Tensor | None]:
        """The actions, and of a shield's why it has overridden the policy's, (B,); see `agents.planners.shield.Decision`."""
        seen: Any  # a PixelObservation for policies that need pixels, a Scene for planners
        needs = self.policy.needs
        scene = scenes(eyes if isinstance(eyes, Eyes) else None) if scenes else None
        if needs.scene:
            seen = scene
        elif isinstance(eyes, Sight):
            seen = eyes.observe()
        else:
            seen = observe(sim.state, sim.setup, sim.maps, config, eyes.objects if eyes else None)
        seen = Told(scene, seen) if needs.told else seen
        reason: Tensor | None = None
        if isinstance(self.policy, Shielded):
            action, reason = self.policy.decide(seen, seed=sim.setup.seed, step=sim.state.step)
        else:
            action = self.policy.act(seen, seed=sim.setup.seed, step=sim.state.step)
        shape = (self.batch, 1, *{"continuous": (2,), "discrete": (), "trajectory": (20, 3)}[config.action])
        if tuple(action.shape) != shape:
            raise PolicyError(f"policy {self.name!r} returned actions of shape {tuple(action.shape)}; {config.action} actions are {shape}")
        return action, reason

    def _close(
        self,
        index: int,
        end: str,
        *,
        metrics: dict[str, float] | None = None,
        error: str = "",
        reward: float | None = None,
        struck: Struck | None = None,
        fingerprint: str = "",
        watched: dict[str, float] | None = None,
    ) -> None:
        """Keep the result of an episode, and its trace if the rule says so."""
        episode, recorder = self.episodes[index], self.recorders.pop(index, None)
        result = EpisodeResult(
            policy=self.name, scenario=episode.scenario, seed=episode.seed, end=end, metrics=metrics or {}, error=error, reward=reward,
            struck=struck, fingerprint=fingerprint, watched=watched or {},
        )  # fmt: skip
        if recorder is not None and not error and self.traces.keeps(result):
            path = self.traces.path(self.name, episode)
            recorder.finish(metrics=result.metrics).save(path)
            result = replace(result, trace=str(path))
        self.results[index] = result
        if self.progress:
            self.progress(result)


def _interventions(count: int, decisions: float) -> dict[str, float]:
    """What a shield has done in an episode: decisions overridden, and their share."""
    return {"interventions": float(count), "intervened": count / max(decisions, 1.0)}


def _end(out: Out, world: int) -> str:
    return next((name for name in ENDS if bool(getattr(out, name)[world, 0])), "time")


def in_batches(
    play: Callable[[tuple[int, ...]], list[EpisodeResult]],
    seeds: Sequence[int],
    batch: int,
    progress: Callable[[EpisodeResult], None] | None,
) -> list[EpisodeResult]:
    """What `play` finds of all seeds, `batch` at once, in their order. progress: called once an episode, as they end."""
    found: dict[int, EpisodeResult] = {}
    for start in range(0, len(seeds), batch):
        for result in play(tuple(seeds[start : start + batch])):
            found[result.seed] = result
            if progress:
                progress(result)
    return [found[seed] for seed in seeds]


def plain_name(name: str) -> str:
    """A name as a file name: letters, digits, dot, dash and underscore."""
    return "".join(c if c.isalnum() or c in "._-" else "-" for c in name).strip(".") or "unnamed"

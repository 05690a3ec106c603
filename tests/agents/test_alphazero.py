"""Learning by self-play: what is noted of games, what is learned, judged, saved, and gone on with."""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch

from agents import cli
from agents.games import SearchConfig, play_match, search
from agents.games.evaluators import Uniform
from agents.games.players import RandomPlayer, SearchPlayer
from agents.learning.alphazero.config import AlphaZeroConfig, config_from
from agents.learning.alphazero.half import runs_here
from agents.learning.alphazero.network import GameNetwork, NetworkEvaluator, load_network, save_network
from agents.learning.alphazero.replay import Positions, Replay, seen_through
from agents.learning.alphazero.run import Run, contest, learn
from agents.learning.alphazero.selfplay import SelfPlay
from agents.learning.alphazero.trainer import command, resume, train
from agents.learning.checkpoint import CheckpointError
from agents.learning.config import TrainConfigError
from envs.games import GAMES, game_named, take

ROOT = Path(__file__).resolve().parents[2]
TINY: dict[str, Any] = {
    "game": "connect_four", "steps": 1024, "games": 16, "moves": 16, "search": {"simulations": 8}, "quick_simulations": 2, "channels": 8,
    "blocks": 1, "batch": 32, "evaluations": 2, "arena_openings": 4, "arena_simulations": 4, "checkpoints": 4,
}  # fmt: skip


def tiny(**changes: Any) -> AlphaZeroConfig:
    return config_from({**TINY, **changes})


def network(name: str, seed: int = 0) -> GameNetwork:
    torch.manual_seed(seed)
    return GameNetwork(game_named(name), channels=8, blocks=1).eval()


@pytest.mark.parametrize("name", list(GAMES))
def test_notes_are_what_was_played(name: str) -> None:
    """Every position noted is one of the game, with its legal moves, a policy over them, and the end of its game as value."""
    game = game_named(name)
    config = tiny(game=name, games=6, value_mix=0.0, full_share=1.0, search={"simulations": 2}, opening_moves=0)
    play = SelfPlay(game, config, np.random.default_rng(0))
    played = play.play(Uniform(), min(game.longest, 40))
    while not played.games:
        played = play.play(Uniform(), 20)
    planes, legal, policy, value = played.positions
    assert len(value) == played.moves
    np.testing.assert_allclose(policy.sum(axis=1), 1.0, atol=1e-5)
    assert not policy[~legal].any()
    assert set(np.unique(value)) <= {-1.0, 0.0, 1.0}
    empty = game.features(game.initial(1)).reshape(game.inputs, -1)
    assert (planes == empty).all(axis=(1, 2)).sum() >= played.games  # each begins with the first position
    stones = planes[:, :2].sum(axis=(1, 2))
    if name == "connect_four":  # all end decided or full; the one who moves last is the winner, so signs alternate towards the end
        ends = np.flatnonzero(np.diff(stones, append=0) < 0)
        assert (value[ends] >= 0).all()
        inside = np.diff(stones) == 1
        np.testing.assert_array_equal(value[1:][inside], -value[:-1][inside])


def test_values_mix_the_end_with_what_was_thought() -> None:
    game = game_named("connect_four")
    runs = []
    for mix in (0.0, 1.0, 0.5):
        play = SelfPlay(game, tiny(value_mix=mix, full_share=1.0), np.random.default_rng(1))
        runs.append(play.play(NetworkEvaluator(network("connect_four"), game, portion=16), 30).positions)
    np.testing.assert_array_equal(runs[0].planes, runs[1].planes)
    np.testing.assert_allclose(runs[2].value, 0.5 * runs[0].value + 0.5 * runs[1].value, atol=1e-6)
    assert len(np.unique(runs[1].value)) > 10


def test_quick_moves_are_not_learned_from() -> None:
    play = SelfPlay(game_named("connect_four"), tiny(full_share=0.25), np.random.default_rng(2))
    played = play.play(Uniform(), 120)
    noted = len(played.positions.value) + int(play.notes.taken.sum())
    assert 0 < noted <= played.full < 0.5 * 120 * 16
    assert played.first / played.games > 0.2


def test_openings_vary() -> None:
    game = game_named("connect_four")
    play = SelfPlay(game, tiny(opening_moves=4, games=200), np.random.default_rng(3))
    stones = game.observe(play.state).sum(axis=(1, 2, 3))
    assert set(stones) == {0, 1, 2, 3, 4}
    np.testing.assert_array_equal(stones, play.notes.moves)


@pytest.mark.parametrize("name", list(GAMES))
def test_symmetries_of_positions(name: str) -> None:
    """A position and its policy turn together: the policy's stones, put on the board, are where the turned policy puts them."""
    game, random = game_named(name), np.random.default_rng(4)
    count, size = len(game.symmetries.points), game.rows * game.columns
    legal = random.random((count, game.actions)) < 0.7
    policy = random.random((count, game.actions), dtype=np.float32) * legal
    planes = random.integers(0, 2, size=(count, game.planes, size)).astype(np.int8)
    if name != "connect_four":
        planes[:, 0] = legal[:, :size]  # so that what is legal is drawn on the board
    else:
        planes[:, 0] = np.tile(legal, 6)
    before = Positions(planes, legal, policy, random.random(count, dtype=np.float32))
    after = seen_through(game, before, np.arange(count))
    drawn = after.legal[:, :size] if name != "connect_four" else np.tile(after.legal, 6)
    np.testing.assert_array_equal(after.planes[:, 0], drawn)
    np.testing.assert_array_equal(after.policy > 0, after.legal & (after.policy > 0))
    np.testing.assert_allclose(np.sort(after.policy, axis=1), np.sort(policy, axis=1))
    np.testing.assert_array_equal(after.value, before.value)
    for part, was in zip(after, before, strict=True):
        np.testing.assert_array_equal(part[0], was[0])


def test_the_ring_keeps_the_last() -> None:
    game, random = game_named("tic_tac_toe"), np.random.default_rng(5)
    replay, told = Replay(game, 10), []
    with pytest.raises(ValueError, match="empty"):
        replay.draw(1, random)
    for count in (3, 4, 6, 25, 2):
        values = random.random(count, dtype=np.float32)
        shape = (count, 9)
        replay.add(Positions(np.zeros((count, 2, 9), np.int8), np.ones(shape, bool), np.ones(shape, np.float32), values))
        told += values.tolist()
        assert len(replay) == min(len(told), 10)
        assert sorted(replay.contents().value.tolist()) == sorted(told[-10:])
    assert set(replay.draw(200, random).value.tolist()) == set(told[-10:])


@pytest.mark.parametrize("name", ["connect_four", "go_5x5", "othello"])
def test_a_network_says_the_same_in_any_company(name: str) -> None:
    game, random = game_named(name), np.random.default_rng(6)
    state = game.initial(11)
    for _ in range(5):
        legal = game.legal(state)
        state = game.step(state, (random.random(legal.shape) * legal).argmax(axis=1))
    judge = NetworkEvaluator(network(name), game, portion=4)
    logits, values = judge(state, game.legal(state))
    assert logits.shape == (11, game.actions)
    assert (np.abs(values) < 1).all()
    assert len(np.unique(values)) > 5
    for b in range(11):
        alone = judge(take(state, [b]), game.legal(take(state, [b])))
        np.testing.assert_array_equal(alone[0][0], logits[b])
        np.testing.assert_array_equal(alone[1][0], values[b])


@pytest.mark.parametrize("half", [False, True])
def test_what_was_said_is_remembered(half: bool) -> None:
    """Asked again the network is not; its answers are the same bits as alone, and half as many bits say nearly the same."""
    if half and not runs_here():
        pytest.skip("this CPU does not compute in bfloat16")
    game, random = game_named("connect_four"), np.random.default_rng(11)
    state = game.initial(40)
    judge, fresh = (NetworkEvaluator(network("connect_four"), game, portion=16, half=half) for _ in range(2))
    exact = NetworkEvaluator(network("connect_four"), game, portion=16)
    told = []
    for _ in range(12):
        legal = game.legal(state)
        told.append((state, judge(state, legal)))
        state = game.step(state, (random.random(legal.shape) * legal).argmax(axis=1))
    assert judge.judged <= sum(len(np.unique(s.own * np.uint64(31) + s.stones)) for s, _ in told)  # the first position of all once
    asked = judge.judged
    for before, (logits, values) in told:
        again = judge(before, game.legal(before))
        alone = fresh(take(before, [7]), game.legal(take(before, [7])))
        np.testing.assert_array_equal(again[0], logits)
        np.testing.assert_array_equal(alone[0][0], logits[7])
        np.testing.assert_array_equal(alone[1][0], values[7])
        plain = exact(before, game.legal(before))
        np.testing.assert_allclose(logits, plain[0], atol=0.03 if half else 1e-6)
        np.testing.assert_allclose(values, plain[1], atol=0.03 if half else 1e-6)
    assert judge.judged == asked


@pytest.mark.parametrize("name", ["connect_four", "go_5x5"])
def test_all_symmetries_are_asked_and_turned_back(name: str) -> None:
    """A position and its images get the same value, and policies that are each other's images."""
    game, random = game_named(name), np.random.default_rng(12)
    states = [game.initial(len(game.symmetries.points))]
    for _ in range(5):  # the same game in every image: row s is played through symmetry s
        move = random.choice(np.flatnonzero(game.legal(take(states[-1], [0]))[0]))
        images = np.argmax(game.symmetries.actions == move, axis=1)
        states.append(game.step(states[-1], images))
    judge = NetworkEvaluator(network(name), game, portion=8, symmetric=True)
    logits, values = judge(states[-1], game.legal(states[-1]))
    plain, single = NetworkEvaluator(network(name), game, portion=8)(states[-1], game.legal(states[-1]))
    np.testing.assert_allclose(values, single.mean(), atol=1e-6)
    assert np.ptp(single) > 1e-4
    turned = np.take_along_axis(np.repeat(logits[:1], len(values), axis=0), game.symmetries.actions, axis=1)
    np.testing.assert_allclose(logits, turned, atol=1e-5)
    assert not np.allclose(plain, logits, atol=1e-4)


def test_positions_that_want_one_slot_are_told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    """A memory of two places: nearly all push each other out, and nothing else changes."""
    game = game_named("connect_four")
    state = game.step(take(game.initial(1), np.zeros(7, dtype=np.int64)), np.arange(7))
    wanted = NetworkEvaluator(network("connect_four"), game, portion=8)(state, game.legal(state))
    monkeypatch.setattr("agents.learning.alphazero.memory.Memory.SLOTS", 1)
    small = NetworkEvaluator(network("connect_four"), game, portion=8)
    for _ in range(2):
        for a, b in zip(small(state, game.legal(state)), wanted, strict=True):
            np.testing.assert_array_equal(a, b)
    assert small.judged > 7


def test_what_is_proven_is_learned_for_certain() -> None:
    """Where the search has proven a position its value is learned, not how the game went on; and before it that counts as its end."""
    game, config = game_named("connect_four"), tiny(value_mix=0.0, full_share=1.0, games=2)
    play = SelfPlay(game, config, np.random.default_rng(0))
    play.notes.taken[:] = 4
    play.notes.player[:, :4] = [0, 1, 0, 1]
    play.notes.thought[0, :4] = [0.3, 0.1, 1.0, 0.2]
    play.notes.certain[0, 2] = True  # who moved first wins from there; later the game was thrown away
    outcome = np.array([-1, -1], dtype=np.int8)
    play.state = play.state._replace(outcome=outcome, done=np.ones(2, dtype=bool))
    values = play._gather(np.arange(2)).value.reshape(2, 4)
    np.testing.assert_array_equal(values[0], [1, -1, 1, 1])
    np.testing.assert_array_equal(values[1], [-1, 1, -1, 1])


def test_learning_fits_what_it_is_told() -> None:
    """On a few positions the losses fall towards what they can fall to."""
    game, random = game_named("connect_four"), np.random.default_rng(7)
    play = SelfPlay(game, tiny(), random)
    replay = Replay(game, 64)
    replay.add(take(play.play(Uniform(), 60).positions, slice(64)))
    net = network("connect_four")
    optimiser = torch.optim.AdamW(net.parameters(), lr=1e-2)
    first = learn(net, optimiser, replay, random, steps=5, batch=64, rate=1e-2)
    last = learn(net, optimiser, replay, random, steps=80, batch=64, rate=1e-2)
    last = learn(net, optimiser, replay, random, steps=5, batch=64, rate=1e-3)
    assert first is not None
    assert last is not None
    assert last.value < 0.5 * first.value
    assert last.policy - last.entropy < 0.5 * (first.policy - first.entropy)
    assert last.policy > last.entropy - 1e-6
    assert learn(net, optimiser, replay, random, steps=0, batch=64, rate=1.0) is None


@pytest.mark.slow
def test_the_arena_decides_between_unequal_networks() -> None:
    """One that holds every position for even against one that is sure of nonsense: decided early, for the one with the points; whoever
    plays itself is neither better nor worse."""
    config = tiny(arena_openings=32, arena_simulations=4)
    calm, sure = network("connect_four"), network("connect_four", seed=1)
    with torch.no_grad():
        for net, scale in ((calm, 0.0), (sure, 300.0)):
            net.policy[-1].weight.zero_()
            net.policy[-1].bias.zero_()
            net.value[-2].weight *= scale
            net.value[-2].bias *= scale
    found = contest(config, calm, sure, iteration=1, against=0, seed=[0])
    turned = contest(config, sure, calm, iteration=1, against=0, seed=[0])
    same = contest(config, calm, calm, iteration=1, against=0, seed=[0])
    better, worse = (found, turned) if found.verdict == "better" else (turned, found)
    assert (better.verdict, worse.verdict) == ("better", "worse")
    assert better.points / better.games > 0.5
    assert better.points + worse.points == better.games == worse.games < 64
    assert better.evidence > 20 > worse.evidence
    assert (same.verdict, same.points, same.games) == ("undecided", 32.0, 64)


def test_settings_are_checked() -> None:
    for changes, message in (
        ({"game": "chess"}, "no game 'chess'"),
        ({"stepz": 1}, "stepz: unknown; did you mean 'steps'"),
        ({"search": {"simulation": 3}}, "search.simulation: unknown; did you mean 'simulations'"),
        ({"search": {"root": "uct"}}, "takes no advice"),
        ({"search": {"simulations": 0}}, "simulations=0"),
        ({"batch": 64, "buffer": 32}, "batch: 64"),
        ({"opening_moves": 42}, "at most 42 moves"),
        ({"algo": "ppo"}, "learned by alphazero"),
        ({"full_share": 0.0}, "full_share"),
        ({"half": True, "device": "cuda:0"}, "half: true: is for device cpu, not cuda:0"),
    ):
        with pytest.raises(TrainConfigError, match=message):
            tiny(**changes)
    assert config_from(tiny().as_dict()) == tiny()


def weights(folder: Path, name: str = "final") -> dict[str, Any]:
    """Everything a checkpoint holds but the time spent."""
    tensors = safetensors.torch.load_file(folder / f"{name}.safetensors")
    return {key: value.numpy().tobytes() for key, value in tensors.items()}


@pytest.mark.slow
def test_a_run_writes_what_it_says(tmp_path: Path) -> None:
    result = train(tiny(), out=tmp_path / "run", quiet=True)
    assert (result.status, result.steps) == ("finished", 1024)
    names = {path.name for path in (tmp_path / "run").iterdir()}
    assert names == {
        "arena.json", "checkpoint.safetensors", "config.yaml", "curves.png", "final.json", "final.safetensors", "git.json", "policy.json",
        "policy.safetensors", "progress.csv", "result.json", "versions.json",
    }  # fmt: skip
    arena = json.loads((tmp_path / "run" / "arena.json").read_text())
    assert [match["iteration"] for match in arena["matches"]] == [2, 4]
    assert arena["elo"]["0"] == 0.0
    lines = (tmp_path / "run" / "progress.csv").read_text().splitlines()
    assert len(lines) == 5
    assert lines[-1].startswith("1024,")
    card = json.loads((tmp_path / "run" / "final.json").read_text())
    assert (card["command"], card["config"], card["moves"]) == ([command(tiny())], tiny().as_dict(), 1024)
    assert 0 < card["core_seconds"] < 600
    assert card["machine"]["bfloat16"] == runs_here()
    assert card["versions"]["torch"] == torch.__version__
    assert "needs" not in card
    game = game_named("connect_four")
    found = search(
        game, game.initial(1), NetworkEvaluator(load_network(result.final), game, portion=4), SearchConfig(), np.random.default_rng(0)
    )
    assert found.visits.sum() == 64
    with pytest.raises(FileExistsError):
        train(tiny(), out=tmp_path / "run", quiet=True)
    with pytest.raises(TrainConfigError, match="has done 1024 already"):
        resume(tmp_path / "run", steps=512, quiet=True)
    for total in (1280, 1536):
        resume(tmp_path / "run", steps=total, quiet=True)
    card = json.loads((tmp_path / "run" / "final.json").read_text())
    again = [f"closedloop train --resume FOLDER --steps {total}   # after {done} moves" for done, total in ((1024, 1280), (1280, 1536))]
    assert card["command"] == [command(tiny()), *again]


@pytest.mark.slow
def test_a_killed_run_goes_on_identically(tmp_path: Path) -> None:
    """SIGKILL at any moment, resumed: the same weights, optimiser, games and positions as without, to the last bit."""
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    config = tiny(steps=2048, checkpoints=8)
    train(config, out=whole, quiet=True)
    script = (
        "import json, sys\nfrom agents.learning.alphazero import config_from, train\n"
        f"train(config_from(json.loads({json.dumps(json.dumps(config.as_dict()))})), out={str(killed)!r}, quiet=True)\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen([sys.executable, "-c", script], cwd=ROOT, env=environment)
    try:
        deadline = time.monotonic() + 120
        while not (killed / "checkpoint.safetensors").exists() and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.02)
        time.sleep(0.3)
        process.send_signal(signal.SIGKILL)
    finally:
        process.kill()
        process.wait()
    assert process.returncode == -signal.SIGKILL, "it ended before it could be killed"
    result = resume(killed, quiet=True)
    assert (result.status, result.steps) == ("finished", 2048)
    for name in ("checkpoint", "final", "policy"):
        assert weights(whole, name) == weights(killed, name)
    assert (whole / "arena.json").read_bytes() == (killed / "arena.json").read_bytes()


def test_damaged_checkpoints_are_refused(tmp_path: Path) -> None:
    train(tiny(steps=256, evaluations=1, checkpoints=1), out=tmp_path / "run", quiet=True)
    path = tmp_path / "run" / "checkpoint.safetensors"
    good = path.read_bytes()
    path.write_bytes(good[: len(good) // 2])
    with pytest.raises(CheckpointError, match="damaged"):
        resume(tmp_path / "run", steps=512, quiet=True)
    path.unlink()
    with pytest.raises(CheckpointError, match="cannot be read"):
        resume(tmp_path / "run", steps=512, quiet=True)
    path.write_bytes(good)
    text = (tmp_path / "run" / "config.yaml").read_text()
    (tmp_path / "run" / "config.yaml").write_text(text.replace("channels: 8", "channels: 16"))
    with pytest.raises(CheckpointError, match="does not fit"):
        resume(tmp_path / "run", steps=512, quiet=True)
    (tmp_path / "run" / "config.yaml").write_text(text.replace("games: 16", "games: 8"))
    with pytest.raises(CheckpointError, match="does not fit"):
        resume(tmp_path / "run", steps=512, quiet=True)


def test_half_is_refused_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """On a machine without bfloat16: by the dry run too, with no folder left behind; and on another device than the CPU."""
    monkeypatch.setattr("agents.learning.alphazero.half.runs_here", lambda: False)
    line = ["train", "--game", "connect_four", "--algo", "alphazero", "--set", "half=true"]
    for more in (["--dry-run"], ["--out", str(tmp_path / "run")]):
        assert cli.run([*line, *more]) == 2
        assert "does not compute in bfloat16" in capsys.readouterr().err
    with pytest.raises(TrainConfigError, match="does not compute in bfloat16"):
        train(tiny(half=True), out=tmp_path / "run")
    assert not (tmp_path / "run").exists()
    with pytest.raises(TrainConfigError, match="not meta"):
        NetworkEvaluator(network("connect_four").to("meta"), game_named("connect_four"), portion=4, half=True)


def test_the_command_of_a_run_begins_the_same_run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("agents.learning.alphazero.half.runs_here", lambda: True)  # whatever this machine can
    config = tiny(half=True, search={"simulations": 24, "root": "puct"}, value_mix=0.5, seed=3)
    words = shlex.split(command(config))
    assert words[0] == "closedloop"
    assert cli.run([*words[1:], "--dry-run", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == config.as_dict()


def test_stored_networks_are_checked(tmp_path: Path) -> None:
    path = save_network(tmp_path / "net.safetensors", network("connect_four"), name="net", card={"licence": "Apache-2.0"})
    again = load_network(path)
    for a, b in zip(again.state_dict().values(), network("connect_four").state_dict().values(), strict=True):
        assert torch.equal(a, b)
    with pytest.raises(TrainConfigError, match="plays connect_four, not othello"):
        NetworkEvaluator(again, game_named("othello"), portion=4)


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    small = [f"--set={k}={v}" for k, v in TINY.items() if k not in ("game", "steps", "games", "search")]
    line = [
        "train",
        "--game",
        "connect_four",
        "--algo",
        "alphazero",
        "--steps",
        "512",
        "--envs",
        "16",
        "--set=search.simulations=4",
        *small,
    ]
    assert cli.run([*line, "--dry-run"]) == 0
    assert "simulations: 4" in capsys.readouterr().out
    assert cli.run([*line, "--out", str(tmp_path / "run"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["steps"] == 512
    assert cli.run(["train", "--resume", str(tmp_path / "run"), "--steps", "768"]) == 0
    assert "finished after 768" in capsys.readouterr().out
    assert cli.run(["train", "--game", "conect_four"]) == 2
    assert "did you mean 'connect_four'" in capsys.readouterr().err
    assert cli.run(["train", "--game", "connect_four", "--scenario", "merge"]) == 2
    assert cli.run(["train", "--game", "connect_four", "--algo", "ppo"]) == 2
    assert "alphazero" in capsys.readouterr().err


@pytest.mark.slow
def test_self_play_learns() -> None:
    """Tic-tac-toe: after some thousand moves the network beats random play, alone and with a little search; untrained it does not."""
    config = tiny(
        game="tic_tac_toe", steps=20_000, games=64, channels=16, search={"simulations": 24}, quick_simulations=8, opening_moves=2, batch=128
    )
    run = Run(config)
    while run.iteration < config.iterations:
        run.advance()
    game = run.game
    judge = NetworkEvaluator(run.network, game, portion=64)
    for simulations in (1, 32):
        player = SearchPlayer(game, judge, SearchConfig(simulations=simulations), name="trained")
        match = play_match(game, player, RandomPlayer(game), openings_count=200, seed=0, opening_moves=0)
        assert match.score.low > 0.88
    untrained = NetworkEvaluator(Run(config).network, game, portion=64)
    player = SearchPlayer(game, untrained, SearchConfig(simulations=1), name="untrained")
    match = play_match(game, player, RandomPlayer(game), openings_count=200, seed=0, opening_moves=0)
    assert match.score.high < 0.88

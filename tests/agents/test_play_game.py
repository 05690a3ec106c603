"""A board game at the terminal, and moves judged on solved positions."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner

from agents import cli
from agents.commands.play import command
from agents.games import play_match, player_named
from agents.games.alphabeta import move_values
from agents.games.solved import SolvedError, judge_moves, load_solved
from agents.learning.alphazero.network import GameNetwork, NetworkEvaluator, load_network, save_network
from agents.learning.alphazero.shipped import shipped_games, shipped_network
from envs.games import game_named, take


def test_a_whole_game(tmp_path: Path) -> None:
    """Against random, always the lowest move that is offered, until somebody has won; then against a network that thinks aloud."""
    moves = "".join(f"{1 + k % 7}\n" for k in range(200))
    done = CliRunner().invoke(command, ["connect_four", "--against", "random", "--seed", "3"], input=moves)
    assert done.exit_code == 0, done.output
    assert done.output.rstrip().splitlines()[-1] in ("You have won.", "A draw.", "random has won.")
    assert "random plays" in done.output

    torch.manual_seed(0)
    save_network(tmp_path / "policy.safetensors", GameNetwork(game_named("tic_tac_toe"), channels=4, blocks=1), name="net", card={})
    line = ["tic_tac_toe", "--against", str(tmp_path), "--second", "--simulations", "600"]
    done = CliRunner().invoke(command, line, input="\n".join(["Z9", *(f"{c}{r}" for c in "ABC" for r in (3, 2, 1))] * 4) + "\n")
    assert done.exit_code == 0, done.output
    assert "'z9' is not a legal move. Moves: " in done.output
    assert "of the points; " in done.output or "(certain: " in done.output
    assert done.output.rstrip().splitlines()[-1] == f"{tmp_path} has won."  # with so much search it punishes careless play


def test_leaving_and_mistakes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert CliRunner().invoke(command, ["othello", "--against", "random"], input="q\n").exit_code == 0
    for line, message in (
        (["play", "connect_four", "--against", "nobody"], "no player 'nobody'"),
        (["play", "conect_four"], "does not exist, nor is it the name of a game"),
        (["play", str(tmp_path), "--against", "mcts"], "are for games"),
    ):
        assert cli.run(line) == 2
        assert message in capsys.readouterr().err


def test_moves_are_judged_as_alpha_beta_would(tmp_path: Path) -> None:
    """Labels made by solving tic-tac-toe: alpha-beta is perfect on them, random play is as good as chance makes it."""
    game = game_named("tic_tac_toe")
    lines, shares = [], []
    for number in range(20):
        state, moves = game.initial(1), ""
        random = np.random.default_rng(number)
        for _ in range(3):
            moves += str(random.choice(np.flatnonzero(game.legal(state)[0])))
            state = game.step(state, np.array([int(moves[-1])]))
        values = move_values(game, state, 9)
        lines.append({"moves": moves, "values": [None if np.isnan(v) else int(v) for v in values]})
        shares.append((values == np.nanmax(values)).sum() / (~np.isnan(values)).sum())
    path = tmp_path / "solved.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    solved = load_solved(path, game)
    assert judge_moves(player_named("alphabeta", game), solved)["all"].value == 1.0
    judged = [judge_moves(player_named("random", game), solved, seed=s) for s in range(60)]
    assert np.mean([j["all"].value for j in judged]) == pytest.approx(np.mean(shares), abs=0.06)
    assert judged[0]["critical"].n == int(solved.critical.sum()) < judged[0]["all"].n == 20
    for bad, message in (
        ('{"moves": "00", "values": []}', ":1: IllegalMove"),
        ('{"moves": "0"}', ":1: KeyError"),
        ('{"moves": "0", "values": [0, 1]}', ":1: SolvedError"),
        ("", "no positions"),
        ("nonsense", ":1: JSONDecodeError"),
    ):
        path.write_text(bad + "\n" if bad else "")
        with pytest.raises(SolvedError, match=message):
            load_solved(path, game)


def test_solved_positions_of_connect_four(shared_data: Path) -> None:
    """The labels of a perfect solver agree with alpha-beta wherever that sees the end within four moves."""
    game, checked = game_named("connect_four"), 0
    solved = load_solved(shared_data / "connect_four" / "positions.jsonl", game)
    assert (len(solved.critical), int(solved.critical.sum())) == (500, 376)
    for b in range(0, 500, 10):
        values = move_values(game, take(solved.state, [b]), 4)
        sure = np.abs(values) == 1
        np.testing.assert_array_equal(values[sure], solved.values[b][sure])
        checked += int(sure.sum())
    assert checked > 30


def test_the_network_that_ships(shared_data: Path) -> None:
    """Alone it keeps what positions are worth as often as is asked of it; its card says what made it; with search it beats plain search."""
    game = game_named("connect_four")
    assert shipped_games() == ["connect_four", "go_5x5"]
    solved = load_solved(shared_data / "connect_four" / "positions.jsonl", game)
    legal = game.legal(solved.state)
    logits, _ = NetworkEvaluator(load_network(shipped_network("connect_four")), game, portion=64)(solved.state, legal)
    action = np.where(legal, logits, -np.inf).argmax(axis=1)
    kept = solved.values[np.arange(len(action)), action] == np.nanmax(solved.values, axis=1)
    assert kept.mean() >= 0.85
    assert kept[solved.critical].mean() >= 0.70
    card = json.loads(shipped_network("connect_four").with_suffix(".json").read_text())
    assert all(line.startswith("closedloop train ") for line in card["command"])
    match = play_match(game, player_named("alphazero:50", game), player_named("mcts:50", game), openings_count=4, seed=0, opening_moves=0)
    assert match.score.value > 0.8

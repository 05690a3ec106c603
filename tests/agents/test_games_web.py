"""The page of a board game: its server, what it answers, and records of games. (In a browser: test_playback_browser.py.)"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from agents import cli
from agents.commands.play_web import table_for
from agents.games import SearchConfig, player_named
from agents.games.alphabeta import move_values
from agents.games.record import GameRecord, RecordError, load_record, replayed, write_record
from agents.games.web import Table, serve
from envs.games import GAMES, IllegalMove, game_named

WON = [3, 2, 3, 2, 3, 2, 3]  # Connect Four: four in column 4
Ask = Callable[..., tuple[int, Any]]


def table(name: str, out: Path, **changes: Any) -> Table:
    game = game_named(name)
    config = SearchConfig(simulations=8, root="uct")
    return Table(game=game, opponent=player_named("random", game), comment="plain search", evaluate=None, config=config, out=out, **changes)


@pytest.mark.parametrize("name", list(GAMES))
def test_a_position_is_what_the_rules_say(name: str, tmp_path: Path) -> None:
    """Some moves of every game: the stones, who is to move, what is legal, and answers that are legal."""
    game, at = game_named(name), table(name, tmp_path)
    moves: list[int] = []
    for _ in range(3):
        move = at.move(moves)
        assert move == at.move(moves)  # the same moves are answered alike
        moves.append(move["action"])
    state, seen = replayed(game, moves), at.position(moves)
    mine, other = game.observe(state)[0, :2].reshape(2, -1)
    assert seen["player"] == 1
    np.testing.assert_array_equal(np.array(seen["board"]), 2 * mine + other)
    assert seen["legal"] == np.flatnonzero(game.legal(state)[0]).tolist()
    assert (seen["result"], seen["line"]) == ("unfinished", [])
    thought = at.think(moves)
    assert thought == at.think(moves)
    assert sum(thought["policy"]) == pytest.approx(1.0, abs=1e-2)
    assert {a for a, p in enumerate(thought["policy"]) if p} <= set(seen["legal"])
    assert thought["action"] in seen["legal"]
    assert -1 <= thought["value"] <= 1
    about = at.about()
    assert len(about["names"]) == game.actions
    assert (about["pass"] is None) == (not any("pass" in n for n in about["names"]))
    assert about["drop"] == (name == "connect_four")


def test_the_end_of_a_game(tmp_path: Path) -> None:
    at = table("connect_four", tmp_path)
    seen = at.position(WON)
    assert (seen["result"], seen["legal"], seen["line"]) == ("first", [], [17, 24, 31, 38])
    assert at.think(WON[:-1])["proven"]
    assert at.think(WON[:-1])["value"] == 1
    assert np.nanmax(move_values(at.game, replayed(at.game, WON[:-1]), 1)) == 1
    for ask in (at.move, at.think):
        with pytest.raises(ValueError, match="the game is over"):
            ask(WON)
    with pytest.raises(IllegalMove, match="move 8: the game was over"):
        at.position([*WON, 0])
    with pytest.raises(IllegalMove, match="move 2: move 7 is not legal; legal moves: 0, 1"):
        at.position([0, 7])


@pytest.fixture
def ask(tmp_path: Path) -> Iterator[Ask]:
    """Ask a server that runs: path, body, headers -> status, answer."""
    server = serve(table("connect_four", tmp_path / "kept"))
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    url = f"http://127.0.0.1:{server.server_address[1]}"

    def send(path: str, body: Any = None, **headers: str) -> tuple[int, Any]:
        data = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
        names = {"Content-Type": "application/json"} | {name.replace("_", "-"): value for name, value in headers.items()}
        try:
            with urllib.request.urlopen(urllib.request.Request(url + path, data, names), timeout=30) as response:
                text = response.read().decode()
                return response.status, json.loads(text) if response.headers.get_content_type() == "application/json" else text
        except urllib.error.HTTPError as error:
            with error:
                return error.code, json.loads(error.read())

    yield send
    server.shutdown()
    server.server_close()


def test_the_server_answers(ask: Ask, tmp_path: Path) -> None:
    assert ask("/position", {"moves": [3]})[1]["board"][38] == 1
    assert ask("/move", {"moves": [3]})[1]["action"] in range(7)
    assert len(ask("/think", {"moves": [3]})[1]["policy"]) == 7
    paths = [ask("/keep", {"moves": WON, "players": ["you", "random"]})[1]["path"] for _ in range(2)]
    assert paths[0] != paths[1]
    assert load_record(paths[1]) == GameRecord(game="connect_four", moves=tuple(WON), players=("you", "random"))
    assert {path.parent for path in map(Path, paths)} == {tmp_path / "kept"}


def test_the_page_is_one_file_that_may_load_nothing(ask: Ask) -> None:
    """Every script and style is in it, and the policy in it names them by their hashes; the server is all that it may ask."""
    status, text = ask("/")
    assert status == 200
    policy = re.search(r'Content-Security-Policy" content="([^"]+)"', text)
    assert policy is not None
    parts = dict(part.split(" ", 1) for part in policy[1].split("; "))
    assert (parts["default-src"], parts["connect-src"]) == ("'none'", "'self'")
    for kind, tag in (("script-src", "script"), ("style-src", "style")):
        inside = re.findall(rf"<{tag}>(.*?)</{tag}>", text, re.DOTALL)
        assert [f"'sha256-{base64.b64encode(hashlib.sha256(i.encode()).digest()).decode()}'" for i in inside] == [parts[kind]]
    assert not re.search(r"(src|href)=\"(?!data:)", text)
    assert "{{" not in text


def test_strangers_and_nonsense_are_refused(ask: Ask) -> None:
    for path, body, headers, status, message in (
        ("/", None, {"Host": "evil.example"}, 403, "this server is called"),
        ("/move", {"moves": []}, {"Host": "evil.example:80"}, 403, "this server is called"),
        ("/move", {"moves": []}, {"Content_Type": "text/plain"}, 415, "application/json"),
        ("/etc/passwd", None, {}, 404, "there is only /"),
        ("/shutdown", {}, {}, 404, "there are only /position"),
        ("/move", b"{", {}, 400, "Expecting property name"),
        ("/move", [1], {}, 400, "a question is an object"),
        ("/move", {"moves": "3"}, {}, 400, "a list of whole numbers"),
        ("/move", {"moves": [3, True]}, {}, 400, "a list of whole numbers"),
        ("/position", {"moves": [3, 9]}, {}, 400, "move 2: move 9 is not legal"),
        ("/think", {"moves": WON}, {}, 400, "the game is over"),
        ("/keep", {"moves": [], "players": ["you"]}, {}, 400, "a list of two names"),
        ("/move", b" " * 100_001, {}, 413, "at most 100000 bytes"),
    ):
        found = ask(path, body, **headers)
        assert found[0] == status, found
        assert message in found[1]["error"]


def test_a_record_is_checked(tmp_path: Path) -> None:
    record = GameRecord(game="go_5x5", moves=(12, 25, 25), players=("you", "mcts:10"))
    path = write_record(tmp_path / "game.json", record)
    rows = json.loads(path.read_text())
    assert (rows["result"], rows["written"]) == ("first", "C3 pass pass")
    assert load_record(path) == record
    for changes, message in (
        ({"format": "closedloop-trace"}, "no record of a game"),
        ({"game": "go_6x6"}, "no game 'go_6x6'"),
        ({"moves": [12, 12]}, "move 2: move 12 is not legal"),
        ({"moves": [12, 25, 25, 0]}, "move 4: the game was over"),
        ({"moves": [1.5]}, "whole numbers"),
        ({"players": ["you"]}, "two names"),
        ({"result": "second"}, "said to be 'second', and is 'first'"),
    ):
        path.write_text(json.dumps(rows | changes))
        with pytest.raises(RecordError, match=re.escape(message)):
            load_record(path)
    path.write_text("no json")
    with pytest.raises(RecordError, match="JSONDecodeError"):
        load_record(path)


def test_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """A game in the terminal is saved, its record is what the table then shows; the command serves until Ctrl-C."""
    monkeypatch.setattr("http.server.ThreadingHTTPServer.serve_forever", interrupt)
    monkeypatch.setattr("click.prompt", lambda *args, **kwargs: "q")
    path = tmp_path / "game.json"
    assert cli.run(["play", "othello", "--against", "random", "--second", "-o", str(path)]) == 0
    assert "Saved: closedloop play" in capsys.readouterr().out
    shown = table_for(path, against=None, simulations=10, second=False, seed=0, out=tmp_path)
    assert (shown.game.name, shown.opponent.name, shown.about()["record"]["players"]) == ("othello", "random", ["random", "you"])
    assert cli.run(["play", str(path), "--no-browser"]) == 0
    assert re.search(r"othello: http://127\.0\.0\.1:\d+/ ", capsys.readouterr().out)
    assert cli.run(["play", "gomoku", "--against", "random", "--web", "--no-browser"]) == 0
    assert "gomoku against random: http://" in capsys.readouterr().out
    for line, message in (
        (["play", "gomoku", "--against", "alphazero"], "no network for gomoku ships"),
        (["play", "gomoku", "--against", "alphazero:0"], "whole number"),
        (["play", str(tmp_path), "--web"], "are for games"),
    ):
        assert cli.run(line) == 2
        assert message in capsys.readouterr().err
    path.write_text("{}")
    assert cli.run(["play", str(path)]) == 2
    assert "no record of a game" in capsys.readouterr().err


def test_a_record_whose_player_is_gone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Its game is looked at all the same: somebody else plays on, and it is said who. Whoever is asked for has to be there."""
    (tmp_path / "empty").mkdir()
    (tmp_path / "damaged").mkdir()
    (tmp_path / "damaged" / "policy.safetensors").write_bytes(b"nothing of the kind")
    for gone in (str(tmp_path / "gone"), str(tmp_path / "empty"), str(tmp_path / "damaged"), "mcts:many", "x" * 5000):
        path = write_record(tmp_path / "game.json", GameRecord(game="tic_tac_toe", moves=(4, 0), players=("you", gone)))
        shown = table_for(path, against=None, simulations=10, second=False, seed=0, out=tmp_path)
        assert (shown.opponent.name, shown.about()["gone"]) == ("mcts:1000", gone)
        assert f"{gone[:80]}, who played this game, is not to be had; mcts:1000 stands in." in capsys.readouterr().err
        kept = load_record(shown.keep([4, 0, 1], ["you", gone])["path"])
        assert kept.players == ("you", gone)  # long names too
    for against, moves, gone in (("random", (4, 0), "mcts:5"), ("mcts:5", (4, 0), None), ("random", (0, 3, 1, 4, 2), None)):
        path = write_record(tmp_path / "game.json", GameRecord(game="tic_tac_toe", moves=moves, players=("you", "mcts:5")))
        shown = table_for(path, against=against, simulations=10, second=False, seed=0, out=tmp_path)
        assert (shown.opponent.name, shown.about()["gone"]) == (against, gone)  # over, nobody plays on
        assert capsys.readouterr().err == ""
    assert cli.run(["play", str(path), "--against", str(tmp_path / "empty")]) == 2
    assert "policy.safetensors: cannot be read" in capsys.readouterr().err


def test_only_records_are_overwritten(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("click.prompt", lambda *args, **kwargs: "q")
    report, line = tmp_path / "report.json", ["play", "tic_tac_toe", "--against", "random", "-o"]
    for name, message in (("game.rec", "games are written as .json"), ("page.html", "written as .json"), ("report.json", "is no record")):
        report.write_text('{"format": "closedloop-gate"}')
        for web in ([], ["--web", "--no-browser"]):
            assert cli.run([*line, str(tmp_path / name), *web]) == 2
            assert message in capsys.readouterr().err
    with pytest.raises(FileExistsError):
        table("tic_tac_toe", report).keep([4], ["you", "random"])
    assert [path.name for path in tmp_path.iterdir()] == ["report.json"]
    assert report.read_text() == '{"format": "closedloop-gate"}'
    for _ in range(2):
        assert cli.run([*line, str(tmp_path / "game.json")]) == 0


def test_options_that_would_do_nothing_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = str(write_record(tmp_path / "game.json", GameRecord(game="othello", moves=(), players=("you", "random"))))
    for line, message in (
        ([path, "--json"], "--json: for traces only"),
        ([path, "--no-verify", "--video", "a.mp4"], "--video, --no-verify: for traces only"),
        ([path, "--second"], "--second: who moves first is in the record"),
        (["othello", "--show"], "--show: for traces only"),
        (["othello", "--port", "0"], "--port: for a game in the browser; add --web"),
        (["othello", "--no-browser"], "--no-browser: for a game in the browser"),
        (["othello", "--simulations", "400"], "--simulations: of a network whose name says none"),
        ([path, "--against", "alphazero:5", "--simulations", "9"], "--simulations: of a network"),
        ([str(tmp_path), "--seed", "0"], "--seed: are for games"),
        (["some.trace", "--port", "1", "--no-browser"], "--port, --no-browser: are for games"),
    ):
        assert cli.run(["play", *line]) == 2
        assert message in capsys.readouterr().err


def test_positions_do_not_wait_for_a_search(tmp_path: Path) -> None:
    """While one page's search runs, its board is shown; another search waits for its turn."""
    begun, done, order = threading.Event(), threading.Event(), list[str]()

    class Slow(Table):
        def position(self, moves: Sequence[int]) -> dict[str, Any]:
            order.append("position")
            return super().position(moves)

        def think(self, moves: Sequence[int]) -> dict[str, Any]:
            begun.set()
            assert done.wait(30)
            order.append("think")
            return super().think(moves)

        def move(self, moves: Sequence[int]) -> dict[str, Any]:
            order.append("move")
            return super().move(moves)

    slow = table("connect_four", tmp_path)
    server = serve(Slow(**vars(slow)))
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()

    def send(what: str) -> None:
        url = f"http://127.0.0.1:{server.server_address[1]}/{what}"
        request = urllib.request.Request(url, b'{"moves": [3]}', {"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=30) as response:
            response.read()

    waiting = [threading.Thread(target=send, args=(what,)) for what in ("think", "move")]
    try:
        waiting[0].start()
        assert begun.wait(30)
        waiting[1].start()
        send("position")
        assert order == ["position"]
    finally:
        done.set()
        for thread in waiting:
            thread.join(30)
        server.shutdown()
        server.server_close()
    assert order == ["position", "think", "move"]


def interrupt(server: Any) -> None:
    raise KeyboardInterrupt

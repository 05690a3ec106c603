"""A server for one page on this machine alone: the standard library's, on 127.0.0.1.

It answers this page and nobody else: another site's page in the same browser may not read it (no cross-origin headers), cannot post to it
(posts must be JSON, for which a browser asks first and is refused), and cannot come by another name (the Host header is checked).
"""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from agents.games.web.page import page
from agents.games.web.table import Table
from envs.games import IllegalMove

__all__ = ["serve"]

HOST = "127.0.0.1"
LONGEST = 100_000  # bytes of a question


def serve(table: Table, *, port: int = 0) -> ThreadingHTTPServer:
    """A server for the table, bound and listening; `serve_forever` runs it, `server_address` says where. port 0: any free one.

    Raises OSError if the port is taken.
    """
    text, lock = page(table.about()).encode(), threading.Lock()  # searches share a network, and names of files are taken one by one
    questions: dict[str, tuple[Callable[[dict[str, Any]], dict[str, Any]], AbstractContextManager[Any]]] = {
        "/position": (lambda q: table.position(_moves(q)), nullcontext()),  # the rules alone: no search is waited for
        "/move": (lambda q: table.move(_moves(q)), lock),
        "/think": (lambda q: table.think(_moves(q)), lock),
        "/keep": (lambda q: table.keep(_moves(q), _players(q)), lock),
    }

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        timeout = 60  # s without a word from a connection

        def do_GET(self) -> None:
            if not self._is_ours():
                return
            if self.path == "/":
                self._send(HTTPStatus.OK, text, "text/html; charset=utf-8")
            else:
                self._say(HTTPStatus.NOT_FOUND, f"{self.path}: there is only /")

        def do_POST(self) -> None:
            self.close_connection = True  # unless all of the question has been read
            if not self._is_ours():
                return
            size = self.headers.get("Content-Length", "")
            if self.path not in questions:
                self._say(HTTPStatus.NOT_FOUND, f"{self.path}: there are only {', '.join(questions)}")
            elif self.headers.get_content_type() != "application/json":
                self._say(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "questions are asked in application/json")
            elif not size.isdecimal() or int(size) > LONGEST:
                self._say(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"a question has at most {LONGEST} bytes, and says how many")
            else:
                self._answer(self.rfile.read(int(size)))

        def _answer(self, body: bytes) -> None:
            self.close_connection = False
            try:
                question = json.loads(body)
                if not isinstance(question, dict):
                    raise ValueError("a question is an object")
                answers, turn = questions[self.path]
                with turn:
                    answer = answers(question)
            except OSError as error:
                self._say(HTTPStatus.INTERNAL_SERVER_ERROR, f"cannot be written: {error}")
            except (IllegalMove, ValueError, KeyError, TypeError) as error:
                self._say(HTTPStatus.BAD_REQUEST, f"{error}")
            else:
                self._send(HTTPStatus.OK, json.dumps(answer).encode(), "application/json")

        def _is_ours(self) -> bool:
            """Whether who asks knows us by our own name; else the refusal is sent."""
            names = {f"{name}:{self.server.server_port}" for name in (HOST, "localhost")}
            if self.headers.get("Host") in names:
                return True
            self.close_connection = True
            self._say(HTTPStatus.FORBIDDEN, f"this server is called {' or '.join(sorted(names))}")
            return False

        def _say(self, status: HTTPStatus, message: str) -> None:
            self._send(status, json.dumps({"error": message}).encode(), "application/json")

        def _send(self, status: HTTPStatus, body: bytes, kind: str) -> None:
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.send_header("Cache-Control", "no-store")
            self.send_header("X-Content-Type-Options", "nosniff")
            self.send_header("Referrer-Policy", "no-referrer")
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:
            """Nobody wants to read it."""

        server: _Server

    return _Server((HOST, port), Handler)


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A page that was closed while it waited for an answer is no error; what else happens is told as usual."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


def _moves(question: dict[str, Any]) -> list[int]:
    """Raises ValueError unless `moves` is a list of whole numbers."""
    moves = question.get("moves")
    if not isinstance(moves, list) or not all(type(move) is int for move in moves):
        raise ValueError("moves: must be a list of whole numbers")
    return moves


def _players(question: dict[str, Any]) -> list[str]:
    """Raises ValueError unless `players` is a list of two names."""
    players = question.get("players")
    if not isinstance(players, list) or len(players) != 2 or not all(isinstance(name, str) for name in players):
        raise ValueError("players: must be a list of two names")
    return players

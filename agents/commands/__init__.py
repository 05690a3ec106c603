"""One file per subcommand of `closedloop`. `agents.cli.COMMANDS` says which; a file is imported when its command runs."""

from __future__ import annotations

__all__: list[str] = []

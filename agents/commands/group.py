"""A group of commands that knows what was perhaps meant."""

from __future__ import annotations

import click

__all__ = ["HelpfulGroup"]


class HelpfulGroup(click.Group):
    """Answers a name it does not know with the nearest one, or with all of them. `noun`: what its commands are called."""

    noun = "command"

    def resolve_command(self, ctx: click.Context, args: list[str]) -> tuple[str | None, click.Command | None, list[str]]:
        known = self.list_commands(ctx)
        if args and args[0] not in known and not args[0].startswith("-"):
            from scenarios.errors import did_you_mean

            ctx.fail(f"no {self.noun} '{args[0]}'; {did_you_mean(args[0], known) or 'known: ' + ', '.join(known)}")
        return super().resolve_command(ctx, args)

"""Command groups that import a command only when it is used, and that answer a user's mistakes with one sentence."""

from __future__ import annotations

from importlib import import_module
from typing import Any

import click
from click.exceptions import NoSuchCommand

from qkan.cli.errors import Unexpected, UserError, explain, interruption, short_messages, warnings_on_lines


class LazyGroup(click.Group):
    """A group that is told where its commands live, ``{"train": "qkan.cli.commands.train:train"}``."""

    def __init__(self, *args: Any, lazy: dict[str, str], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.lazy = lazy

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the commands in the order in which they were given, which is the order of a user's work."""
        return list(self.lazy)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import and return the command, or ``None`` if there is none of this name."""
        if cmd_name not in self.lazy:
            return None
        module, _, name = self.lazy[cmd_name].partition(":")
        return getattr(import_module(module), name)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command; an unknown one is answered with the closest names, loaded or not."""
        try:
            return super().resolve_command(ctx, args)
        except NoSuchCommand as error:
            raise NoSuchCommand(args[0], possibilities=self.lazy, ctx=ctx) from error


class RootGroup(LazyGroup):
    """The outermost group: a mistake of the user ends in one line and exit code 2, a signal in 128 and its number.

    An error that nothing explains ends in one line as well, with exit code 1. ``start`` is what it prints without
    arguments.
    """

    def __init__(self, *args: Any, start: str | None = None, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.start = start

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Read the arguments; without any, show where to start."""
        if not args and self.start is not None and not ctx.resilient_parsing:
            click.echo(self.start)
            ctx.exit()
        return super().parse_args(ctx, args)

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; ``--traceback`` lets errors through as they are."""
        try:
            with warnings_on_lines(), short_messages():
                return super().invoke(ctx)
        except KeyboardInterrupt as cause:
            raise interruption("Interrupted.", cause) from None
        except (click.ClickException, click.exceptions.Exit, click.Abort, BrokenPipeError):
            raise
        except Exception as error:
            if ctx.params["traceback"]:
                raise
            ours = isinstance(error, ValueError | OSError | MemoryError | RuntimeError | ModuleNotFoundError)
            sentence = explain(error) if ours else None
            raise (Unexpected(error) if sentence is None else UserError(sentence)) from error

    def make_context(self, *args: Any, **kwargs: Any) -> click.Context:
        """Read the options of the program itself."""
        with short_messages():
            return super().make_context(*args, **kwargs)

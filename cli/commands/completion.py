"""``qkan completion``."""

from __future__ import annotations

import click

SHELLS = ("bash", "zsh", "fish")


@click.command(
    short_help="Print what makes a shell complete commands and options.",
    epilog="""\b
Examples:
  eval "$(qkan completion bash)"        in ~/.bashrc
  eval "$(qkan completion zsh)"         in ~/.zshrc, behind compinit
  qkan completion fish | source         in ~/.config/fish/config.fish""",
)
@click.argument("shell", type=click.Choice(SHELLS))
def completion(shell: str) -> None:
    """Print what makes SHELL complete commands, options and values with the tab key."""
    from click.shell_completion import get_completion_class

    from qkan.cli.main import cli

    found = get_completion_class(shell)
    if found is None:
        raise ValueError(f"this release of click completes for no shell {shell!r}; update it: pip install -U click")
    click.echo(found(cli, {}, "qkan", "_QKAN_COMPLETE").source())

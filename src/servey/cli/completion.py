"""``servey completion``: the script that makes a shell complete commands, actions and flags."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

from servey.cli.output import write


@click.command("completion")
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def print_completion(context: click.Context, shell: str) -> None:
    """Print the completion script of a shell.

    \b
    bash: put   eval "$(servey completion bash)"       into ~/.bashrc
    zsh:  put   eval "$(servey completion zsh)"        into ~/.zshrc
    fish: run   servey completion fish > ~/.config/fish/completions/servey.fish
    """
    kind = get_completion_class(shell)
    if kind is None:
        raise click.UsageError(f"click completes nothing in {shell}")
    write(kind(context.find_root().command, {}, "servey", "_SERVEY_COMPLETE").source())

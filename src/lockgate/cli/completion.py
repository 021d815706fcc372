"""`lockgate completion SHELL`: the script that completes lockgate's commands in a shell."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class


@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def completion(context: click.Context, shell: str) -> None:
    """Print the completion script of SHELL.

    \b
    bash:  lockgate completion bash > ~/.local/share/bash-completion/completions/lockgate
    zsh:   lockgate completion zsh > "${fpath[1]}/_lockgate"
    fish:  lockgate completion fish > ~/.config/fish/completions/lockgate.fish
    """
    made = get_completion_class(shell)
    assert made is not None
    click.echo(made(context.find_root().command, {}, "lockgate", "_LOCKGATE_COMPLETE").source())

"""`tocsin completion bash | zsh | fish`: the shell's own completion."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

VARIABLE = "_TOCSIN_COMPLETE"
"""What click looks for when the shell asks."""


@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def completion(ctx: click.Context, shell: str) -> None:
    """Print a script that lets SHELL complete commands, options, and names of records.

    Names are asked of the console at TOCSIN_CONSOLE_URL, with the API token TOCSIN_TOKEN; without one there are none.

    bash: eval "$(tocsin completion bash)" in ~/.bashrc; zsh: the same in ~/.zshrc; fish: tocsin completion fish >
    ~/.config/fish/completions/tocsin.fish
    """
    script = get_completion_class(shell)
    assert script is not None, "these shells are click's own"
    click.echo(script(ctx.find_root().command, {}, "tocsin", VARIABLE).source())

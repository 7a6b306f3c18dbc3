"""`aegis completion`: the script that lets a shell complete commands and options. Click makes it; nothing is installed."""

from __future__ import annotations

import click

from aegis.cli.output import document, say


@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.option("--json", "as_json", is_flag=True, help="One JSON document on standard output.")
def completion(shell: str, *, as_json: bool) -> None:
    """Print the completion script of a shell.

    \b
    Examples:
      eval "$(aegis completion bash)"
      aegis completion fish > ~/.config/fish/completions/aegis.fish
    """
    from click.shell_completion import get_completion_class

    from aegis.cli.root import root
    from aegis.core.errors import NotFound

    kind = get_completion_class(shell)
    if kind is None:
        raise NotFound("completion-shell", f"there is no completion for {shell}", hint="use bash, zsh or fish")
    maker = kind(root, {}, "aegis", "_AEGIS_COMPLETE")
    # `source_template` and not `source()`: the latter starts a bash to ask for its version.
    script = maker.source_template % maker.source_vars()
    if as_json:
        document("aegis.completion/1", {"shell": shell, "script": script})
    else:
        say(script)

"""`aegis lsp`: the language server that editors start."""

from __future__ import annotations

import click


@click.command()
@click.option("--stdio", is_flag=True, help="Speak over standard input and output: the default and the only way.")
def lsp(*, stdio: bool) -> None:  # noqa: ARG001 - editors pass it on principle
    """Serve an editor: findings, hover, completion, definitions and mends for .gitlab-ci.yml.

    \b
    Examples:
      aegis lsp
      aegis lsp --stdio

    Editors start it; docs/editors.md shows the settings for VS Code, Neovim and JetBrains.
    """
    from aegis.bootstrap.editor import serve_stdio

    serve_stdio()

"""The extension for VS Code starts the server that there is, and pins no address."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path

from aegis.cli import COMMANDS

FOLDER = Path(__file__).parents[2] / "editors" / "vscode"
PAGE = (FOLDER.parents[1] / "docs" / "editors.md").read_text(encoding="utf-8")


def test_the_extension_names_what_it_has() -> None:
    package = json.loads((FOLDER / "package.json").read_text(encoding="utf-8"))
    code = (FOLDER / "extension.js").read_text(encoding="utf-8")
    assert (FOLDER / package["main"]).is_file()
    assert set(package["dependencies"]) == {
        name.split("/")[0] for name in re.findall(r"require\('([^']+)'\)", code) if name != "vscode"
    }
    for command in package["contributes"]["commands"]:
        assert f"'{command['command']}'" in code
    assert "args: ['lsp', '--stdio']" in code
    assert "lsp" in COMMANDS
    assert "aegis.command" in package["contributes"]["configuration"]["properties"]


def test_no_lock_of_npm_names_an_address() -> None:
    for lock in FOLDER.parent.rglob("package-lock.json"):
        assert "://" not in lock.read_text(encoding="utf-8"), lock


def test_the_extension_is_javascript() -> None:
    node = shutil.which("node")
    if node is not None:  # a machine without Node has the other checks
        subprocess.run([node, "--check", str(FOLDER / "extension.js")], check=True, capture_output=True)


def test_every_editor_of_the_page_starts_the_same_command() -> None:
    assert PAGE.count("aegis lsp --stdio") >= 3
    assert "cmd = { 'aegis', 'lsp', '--stdio' }" in PAGE
    assert "LSP4IJ" in PAGE

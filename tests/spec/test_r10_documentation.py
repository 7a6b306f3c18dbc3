"""R10.5 Usage and best practices are documented; that the commands of the pages work is tests/architecture's."""

from __future__ import annotations

from pathlib import Path

from aegis.cli import COMMANDS

DOCS = Path(__file__).parents[2] / "docs"


def test_r10_5_every_command_is_explained_on_a_page() -> None:
    pages = "\n".join(page.read_text() for page in (*DOCS.glob("*.md"), DOCS.parent / "README.md"))
    assert [name for name in COMMANDS if f"aegis {name}" not in pages] == []


def test_r10_5_every_page_is_found_from_the_first_one() -> None:
    first = (DOCS / "README.md").read_text()
    assert [page.name for page in DOCS.glob("*.md") if page.name != "README.md" and page.name not in first] == []

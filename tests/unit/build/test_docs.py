"""The pages of docs/ about building name every option, tag and rule that the code has."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from click.testing import CliRunner

from aegis.build.application import Options
from aegis.cli.chart import chart
from aegis.cli.image import image
from aegis.cli.wheel import wheel

DOCS = Path(__file__).parents[3] / "docs"


def test_every_option_of_tool_aegis_is_documented() -> None:
    text = (DOCS / "images.md").read_text()
    for field in dataclasses.fields(Options):
        name = field.name.replace("_", "-")
        assert f"`{name}`" in text, name


def test_every_command_in_the_page_exists() -> None:
    commands = [
        line.removeprefix("$ aegis ").split()
        for line in (DOCS / "images.md").read_text().splitlines()
        if line.startswith("$ aegis ")
    ]
    assert commands
    for words in commands:
        group = {"image": image, "wheel": wheel, "chart": chart}[words[0]]
        done = CliRunner().invoke(group, [*(one for one in words[1:] if not one.startswith("-")), "--help"])
        assert done.exit_code == 0, words

"""Every command explains itself, and `aegis help` explains codes that are really raised."""

import json
import re
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from aegis.cli import COMMANDS
from aegis.cli.help import explanations
from aegis.cli.root import root, run

SOURCE = Path(__file__).parents[3] / "src" / "aegis"
WITHOUT_JSON = {"up", "lsp"}


def leaves(name: str) -> list[tuple[str, click.Command]]:
    """The command, or what is under it when it is a group."""
    command = root.get_command(click.Context(root), name)
    assert command is not None
    return under(name, command)


def under(title: str, command: click.Command) -> list[tuple[str, click.Command]]:
    if isinstance(command, click.Group):
        return [leaf for key, one in command.commands.items() for leaf in under(f"{title} {key}", one)]
    return [(title, command)]


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_every_command_begins_its_help_with_two_examples(name):
    for title, command in leaves(name):
        text = command.help or ""
        assert "Examples:" in text, title
        examples = [line for line in text.partition("Examples:")[2].splitlines() if "aegis " in line]
        assert len(examples) >= 2, title
        words = title.split()
        for example in examples[:2]:
            assert " ".join(("aegis", *words)) in example, (title, example)


@pytest.mark.parametrize("name", sorted(set(COMMANDS) - WITHOUT_JSON))
def test_every_command_has_one_json_document(name):
    for title, command in leaves(name):
        assert any("--json" in option.opts for option in command.params), title


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_every_command_shows_its_help(name):
    result = CliRunner().invoke(root, [name, "--help"])
    assert result.exit_code == 0
    assert result.output.startswith("Usage:")


def test_the_overview_lists_topics_and_codes():
    result = CliRunner().invoke(root, ["help", "--json"])
    body = json.loads(result.output)
    assert body["schema"] == "aegis.help/1"
    assert "exit-codes" in body["topics"]
    assert len(body["codes"]) >= 60


@pytest.mark.parametrize("name", ["plan-stale", "exit-codes", "lint"])
def test_a_code_a_topic_and_a_command_are_explained(name):
    result = CliRunner().invoke(root, ["help", name])
    assert result.exit_code == 0
    assert len(result.output.splitlines()) > 2


def test_an_unknown_code_is_not_found_and_near_ones_are_named(capsys):
    with pytest.raises(SystemExit) as left:
        run(["help", "plan-stal", "--json"])
    assert left.value.code == 4
    error = json.loads(capsys.readouterr().out)["error"]
    assert error["code"] == "help-unknown"
    assert "plan-stale" in error["hint"]


def test_only_codes_that_the_program_uses_are_explained():
    sources = "\n".join(path.read_text(encoding="utf-8") for path in SOURCE.rglob("*.py"))
    used = set(re.findall(r'"([a-z][a-z0-9]*(?:-[a-z0-9]+)*)"', sources))
    assert sorted(set(explanations()["codes"]) - used) == []


def test_commands_named_in_explanations_exist():
    texts = explanations()
    whole = " ".join(f"{one['means']} {one['do']}" for one in texts["codes"].values())
    whole += " ".join(one["text"] for one in texts["topics"].values())
    named = set(re.findall(r"\baegis ([a-z]+)\b", whole))
    assert sorted(named - set(COMMANDS)) == []


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_shell_gets_its_completion(shell):
    result = CliRunner().invoke(root, ["completion", shell])
    assert result.exit_code == 0
    assert "_AEGIS_COMPLETE" in result.output


def test_a_shell_completes_a_command():
    runner = CliRunner(env={"_AEGIS_COMPLETE": "bash_complete", "COMP_WORDS": "aegis roll", "COMP_CWORD": "1"})
    result = runner.invoke(root, [], prog_name="aegis")
    assert result.output.strip() == "plain,rollback"


@pytest.mark.parametrize("name", ["advice-never-runs", "never-runs"])
def test_help_explains_a_rule_of_advice(name):
    result = CliRunner().invoke(root, ["help", name])
    assert result.exit_code == 0
    assert "# aegis: allow never-runs" in result.output

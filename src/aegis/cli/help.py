"""`aegis help`: explains an error code, a topic or a command. The texts are data: `codes.json` beside this file."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from aegis.cli.output import document, say

if TYPE_CHECKING:
    from collections.abc import Mapping


@click.command()
@click.argument("name", required=False, default="", metavar="[CODE|TOPIC|COMMAND]")
@click.option("--json", "as_json", is_flag=True, help="One JSON document on standard output.")
def help(name: str, *, as_json: bool) -> None:  # noqa: A001 - the command's name is what users type
    """Explain an error code, a topic or a command; without an argument: list what can be explained.

    \b
    Examples:
      aegis help plan-stale
      aegis help exit-codes
    """
    from aegis.cli import COMMANDS

    texts = explanations()
    code, topic = texts["codes"].get(name) or _advice(name), texts["topics"].get(name)
    if not name:
        _overview(texts, as_json=as_json)
    elif code is not None:
        if as_json:
            document("aegis.help/1", {"code": name, **code})
        else:
            say(f"{name}\n\n  {code['means']}\n\n  What to do: {code['do']}")
    elif topic is not None:
        if as_json:
            document("aegis.help/1", {"topic": name, **topic})
        else:
            say(f"{topic['title']}\n")
            for line in topic["text"].splitlines():
                say(f"  {line}")
    elif name in COMMANDS:
        _of_command(name, as_json=as_json)
    else:
        raise _unknown(name, [*texts["codes"], *texts["topics"], *COMMANDS])


def _advice(name: str) -> dict[str, str] | None:
    """A rule of `lint`'s advice, by its name or its code."""
    if not name:
        return None
    from aegis.pipeline.advice import PREFIX, RULES

    rule = next((one for one in RULES if one.name == name.removeprefix(PREFIX)), None)
    if rule is None:
        return None
    return {
        "means": f"{rule.title}. {rule.why}",
        "do": f"The hint beside it is the mend; or allow it with the comment `# aegis: allow {rule.name}` (docs/advice.md).",
    }


def explanations() -> dict[str, dict[str, dict[str, str]]]:
    """What is explained: `topics` (title, text) and `codes` (means, do)."""
    import json
    from importlib.resources import files

    found: dict[str, dict[str, dict[str, str]]] = json.loads(
        files("aegis.cli").joinpath("codes.json").read_text(encoding="utf-8")
    )
    return found


def _overview(texts: Mapping[str, Mapping[str, Any]], *, as_json: bool) -> None:
    if as_json:
        topics = {name: one["title"] for name, one in texts["topics"].items()}
        document("aegis.help/1", {"topics": topics, "codes": sorted(texts["codes"])})
        return
    from textwrap import fill

    say("Topics")
    for name, topic in texts["topics"].items():
        say(f"  {name:<13} {topic['title']}")
    say("\nError codes")
    say(
        fill(
            ", ".join(sorted(texts["codes"])), 100, initial_indent="  ", subsequent_indent="  ", break_on_hyphens=False
        )
    )
    say("\naegis help NAME explains one; aegis help COMMAND shows a command's help.")


def _of_command(name: str, *, as_json: bool) -> None:
    from aegis.cli.root import root

    context = click.Context(root, info_name="aegis")
    command = root.get_command(context, name)
    if command is None:
        raise _unknown(name, [])
    text = command.get_help(click.Context(command, info_name=name, parent=context))
    if as_json:
        document("aegis.help/1", {"command": name, "text": text})
    else:
        say(text)


def _unknown(name: str, known: list[str]) -> Exception:
    from difflib import get_close_matches

    from aegis.core.errors import NotFound

    near = get_close_matches(name, known, n=3, cutoff=0.5)
    hint = f"did you mean {', '.join(near)}?" if near else "aegis help lists topics and codes"
    return NotFound("help-unknown", f"there is no explanation of {name!r}", hint=hint)

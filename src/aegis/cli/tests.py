"""`aegis tests`: the tests of a project, shared out among parallel jobs."""

from __future__ import annotations

import os
from pathlib import Path

import click

from aegis.cli import output

_GLOBS = ("**/test_*.py", "**/*_test.py")
_NOT = (".venv/**", "**/.venv/**", "**/node_modules/**", "**/.tox/**", ".aegis/**")


@click.group()
def tests() -> None:
    """Share out a project's tests among parallel jobs.

    \b
    Examples:
      aegis tests split --shard 1/3
      aegis tests split 'tests/unit/**/test_*.py'
    """


@tests.command()
@click.argument("patterns", nargs=-1, metavar="[PATTERN]…")
@click.option("--shard", default="", metavar="I/N", help="Which part. Default: CI_NODE_INDEX/CI_NODE_TOTAL.")
@click.option("--durations", default="", metavar="FILE", help="Seconds by file. Default: AEGIS_TEST_DURATIONS.")
@click.option("--json", "as_json", is_flag=True, help="One JSON document.")
def split(patterns: tuple[str, ...], *, shard: str, durations: str, as_json: bool) -> None:
    """Print the test files of one part, one per line: parts of about equal time, every file in exactly one.

    Durations are those of the job's last run that passed; without them the files count alike.

    \b
    Examples:
      aegis tests split --shard 1/3
      aegis tests split 'tests/**/test_*.py' --shard 2/4 --durations durations.json
    """
    from aegis.execution import shards
    from aegis.execution.archive import choose

    index, total = shards.shard(
        shard or f"{os.environ.get('CI_NODE_INDEX', '1')}/{os.environ.get('CI_NODE_TOTAL', '1')}"
    )
    found = choose(Path.cwd(), patterns or _GLOBS, exclude=_NOT).files
    known = _known(durations or os.environ.get(shards.FILE_VARIABLE, ""))
    parts = shards.shares(shards.weights(found, known), total)
    mine = parts[index - 1]
    if as_json:
        output.document(
            "aegis.tests-split/1",
            {"shard": index, "of": total, "files": mine.files, "seconds": round(mine.seconds, 3), "known": bool(known),
             "parts": [{"files": len(one.files), "seconds": round(one.seconds, 3)} for one in parts]},
        )  # fmt: skip
        return
    how = (
        f"about {mine.seconds:.1f} s; the longest part {max(one.seconds for one in parts):.1f} s"
        if known
        else "no durations yet"
    )
    output.note(f"part {index} of {total}: {len(mine.files)} of {len(found)} test files, {how}")
    for file in mine.files:
        output.say(file)


def _known(path: str) -> dict[str, float]:
    import json

    if not path or not Path(path).is_file():
        return {}
    try:
        found = json.loads(Path(path).read_text(encoding="utf-8"))
        return {str(place): float(seconds) for place, seconds in found.items()}
    except (ValueError, TypeError, AttributeError):
        output.note(f"! {path} is no mapping of files to seconds; the files count alike")
        return {}

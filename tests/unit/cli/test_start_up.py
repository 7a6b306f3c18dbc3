"""What jobs call often loads only what it uses: each of these modules costs every job 5 to 50 ms."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

HEAVY = ("pydantic", "cryptography", "jinja2", "httpx", "starlette", "uvicorn", "rich", "sqlite3", "asyncio")
EVENTS = ("aegis.core.events", "aegis.delivery")
READERS = ("yaml", "email.parser", "packaging.requirements")


def loaded(*modules: str) -> set[str]:
    """What a fresh interpreter has loaded after importing these."""
    code = f"import json, sys, {', '.join(modules)}; print(json.dumps(sorted(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(json.loads(done.stdout))


@pytest.mark.parametrize(
    ("verb", "spared"),
    [
        ("project", (*HEAVY, *EVENTS, "yaml", "aegis.core.types")),
        ("scan", (*HEAVY, *EVENTS, *READERS)),
        ("image", (*HEAVY, *EVENTS, "yaml")),
        ("wheel", (*HEAVY, *EVENTS, "yaml")),
        ("pipeline", (*HEAVY, *EVENTS, "email.parser")),
    ],
)
def test_a_command_that_jobs_call_loads_nothing_that_it_does_not_use(verb: str, spared: tuple[str, ...]) -> None:
    assert not loaded("aegis.cli.root", f"aegis.cli.{verb}", f"aegis.bootstrap.{verb}") & set(spared)


def test_the_version_is_said_without_loading_the_command_line() -> None:
    assert not loaded("aegis.cli") & {"click", "aegis.cli.root", *HEAVY, *EVENTS}

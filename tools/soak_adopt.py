"""Adopts real projects drawn by a seed from a written list, and says of each whether it works and why not.

    python tools/soak_adopt.py [--count 20] [--seed N] [--json]

For each project: the source distribution from the package index → `aegis check`, `adopt`, `lint`, `project install`,
`project test`, `wheel build`. A project works when its wheel is built and its tests give the counts of plain pytest.
What does not work has to be explained by a message that a person can act on. Leaves with 1 when fewer than 90 % work
or one stays unexplained.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import re
import secrets
import subprocess
import sys
import sysconfig
import tarfile
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

# Well-known projects in pure Python whose source distribution carries tests that pytest collects: else nothing can be compared.
PROJECTS = [
    "attrs",
    "cachetools",
    "certifi",
    "chardet",
    "charset-normalizer",
    "click",
    "cloudpickle",
    "colorama",
    "configargparse",
    "croniter",
    "dnspython",
    "docopt-ng",
    "email-validator",
    "filelock",
    "flask",
    "freezegun",
    "furl",
    "gitdb",
    "h11",
    "humanize",
    "hpack",
    "hyperframe",
    "hyperlink",
    "idna",
    "iniconfig",
    "isodate",
    "itsdangerous",
    "jinja2",
    "jmespath",
    "jsonpatch",
    "jsonpointer",
    "jsonschema",
    "limits",
    "loguru",
    "markdown",
    "markupsafe",
    "marshmallow",
    "more-itertools",
    "mypy-extensions",
    "natsort",
    "networkx",
    "oauthlib",
    "packaging",
    "pathspec",
    "platformdirs",
    "pluggy",
    "prettytable",
    "ptyprocess",
    "pycparser",
    "pydash",
    "pyflakes",
    "pyjwt",
    "pyparsing",
    "python-dotenv",
    "python-multipart",
    "pyyaml-env-tag",
    "rfc3986",
    "semver",
    "simplejson",
    "six",
    "sniffio",
    "sortedcontainers",
    "soupsieve",
    "sqlparse",
    "starlette",
    "structlog",
    "tabulate",
    "tenacity",
    "text-unidecode",
    "tinycss2",
    "toml",
    "tomlkit",
    "toolz",
    "typing-extensions",
    "uritemplate",
    "urllib3",
    "wcwidth",
    "webcolors",
    "webencodings",
    "werkzeug",
    "wsproto",
    "xmltodict",
    "zipp",
]
AEGIS = str(Path(sysconfig.get_path("scripts"), "aegis"))
SECONDS = 900


@dataclass
class Outcome:
    """How one project fared. `works` is the whole way; `why` is empty then."""

    project: str
    works: bool
    step: str
    why: str
    explained: bool
    seconds: float
    tests: int = 0


def main() -> int:
    """Draw, try, tell."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=20)
    parser.add_argument("--seed", type=int, default=None)
    parser.add_argument("--only", nargs="*", default=None)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    seed = secrets.randbelow(2**31) if options.seed is None else options.seed
    order = options.only or random.Random(seed).sample(PROJECTS, len(PROJECTS))  # noqa: S311 - a draw, not a secret
    outcomes: list[Outcome] = []
    for name in order:
        if len(outcomes) == (options.count if options.only is None else len(order)):
            break
        last = one(name)
        word = "works" if last.works else f"stops at {last.step}: {last.why}"
        print(f"{name}: {word} ({last.tests} tests, {last.seconds:.0f} s)", file=sys.stderr, flush=True)
        if last.step != "fetch":  # an archive that pip itself cannot get says nothing about us: the next one is drawn
            outcomes.append(last)
    works = sum(outcome.works for outcome in outcomes)
    unexplained = [outcome.project for outcome in outcomes if not outcome.works and not outcome.explained]
    if options.json:
        print(
            json.dumps({"seed": seed, "works": works, "of": len(outcomes), "projects": [asdict(o) for o in outcomes]})
        )
    else:
        print(f"seed {seed}: {works} of {len(outcomes)} work; unexplained: {', '.join(unexplained) or 'none'}")
    return 0 if works >= 0.9 * len(outcomes) and not unexplained else 1


def one(name: str) -> Outcome:
    """One project, all the way."""
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="aegis-soak-") as scratch:
        step, why, tests = "fetch", "", 0
        try:
            for step, tests, why in way(name, Path(scratch)):  # noqa: B007 - read after the loop and on errors
                if why:
                    break
        except (subprocess.TimeoutExpired, subprocess.CalledProcessError, OSError, ValueError) as error:
            why = f"{type(error).__name__}: {error}"
            return Outcome(name, False, step, why[:300], False, time.monotonic() - started, tests)  # noqa: FBT003 - positional row
    return Outcome(name, not why, step, why, bool(why), time.monotonic() - started, tests)


def way(name: str, scratch: Path) -> Any:
    """Each step with the number of tests so far, and what stands in its way (empty: nothing)."""
    folder = fetch(name, scratch)
    body = document(folder, "check", ".")
    failing = [remark for remark in body.get("project", {}).get("remarks", ()) if remark["level"] == "fail"]
    yield "check", 0, "; ".join(f"{one['message']} ({one['mend']})" for one in failing)
    yield "adopt", 0, error(document(folder, "adopt", ".", "--replace"))
    yield "lint", 0, error(document(folder, "lint"))
    yield "install", 0, error(document(folder, "project", "install"))
    tested = document(folder, "project", "test", "--kind", "unit")
    counts = tested.get("counts") or {}
    tests = int(counts.get("tests", 0))
    why = error(tested) or different(folder, body, tested)
    if why and not error(
        tested
    ):  # once more: tests that look at the clock fail now and then under load, here and there
        tested = document(folder, "project", "test", "--kind", "unit")
        why = error(tested) or different(folder, body, tested)
    yield "test", tests, why
    (folder / "PKG-INFO").unlink(missing_ok=True)
    commit(folder)
    yield "wheel", tests, error(document(folder, "wheel", "build"))


def different(folder: Path, body: dict[str, Any], tested: dict[str, Any]) -> str:
    """Why the counts are not plain pytest's; failures that plain pytest has too are the project's own."""
    suite = body["project"]["suite"]
    named = suite["paths"] if suite["runner"] == "unittest" else []
    counts = tested.get("counts")
    if not counts or not counts["tests"]:
        return tested.get("message") or "no test was collected"
    if not tested["code"]:
        return ""
    argv = [folder / ".venv/bin/python", "-m", "pytest", "-q", "-p", "no:cacheprovider", *named]
    done = subprocess.run(argv, cwd=folder, capture_output=True, text=True, timeout=SECONDS, check=False)
    found = {word.rstrip("s"): int(n) for n, word in re.findall(r"(\d+) (failed|errors?)\b", done.stdout[-400:])}
    mine = (counts["failures"], counts["errors"])
    plain = (found.get("failed", 0), found.get("error", 0))
    return "" if mine == plain else f"failures and errors are {mine}, under plain pytest {plain}"


def document(folder: Path, *arguments: str) -> dict[str, Any]:
    """What an `aegis … --json` answers."""
    clean = {key: value for key, value in os.environ.items() if not key.startswith(("AEGIS_", "PYTEST_"))}
    if arguments[0] == "wheel":
        clean["AEGIS_VERSION"] = "1.0.0"  # as the server gives it to every job
    done = subprocess.run(
        [AEGIS, *arguments, "--json"],
        cwd=folder,
        env=clean,
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def error(body: dict[str, Any]) -> str:
    """An error in words, with its mend."""
    found = body.get("error") or (body.get("errors") or [None])[0]
    return f"{found['message'][-600:]} ({found['hint']})" if found else ""


def fetch(name: str, scratch: Path) -> Path:
    """The unpacked source distribution."""
    subprocess.run(
        [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "--no-binary", name, "-d", str(scratch / "get"), name],
        check=True, capture_output=True, timeout=SECONDS,
    )  # fmt: skip
    (archive,) = (scratch / "get").iterdir()
    with tarfile.open(archive) as tar:
        tar.extractall(scratch / "tree", filter="data")
    (folder,) = (scratch / "tree").iterdir()
    return folder


def commit(folder: Path) -> None:
    """Make it a repository, as a team's project is one."""
    git = ["git", "-c", "user.name=soak", "-c", "user.email=soak@example.test"]
    for arguments in (["init", "-q"], ["add", "-A"], ["commit", "-qm", "feat: adopt"]):
        subprocess.run([*git, *arguments], cwd=folder, check=True, capture_output=True)


if __name__ == "__main__":
    sys.exit(main())

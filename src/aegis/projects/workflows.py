"""Earlier pipelines read for the commands they run: GitHub workflows, and what of them has a place in the templates.

Nothing is carried out and nothing fetched; a workflow that cannot be read is said to be so.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from aegis.projects.model import Command, Files
from aegis.projects.packaging import text

_TESTS = "the template's test job runs the suite under coverage (`aegis project test`)"
_LINT = "the template's quality job (`aegis project lint`, ruff with the project's own settings)"
_INSTALL = "the environment is made from the lock or the project's metadata (`aegis project install`)"
_BUILD = "the template's build job (`aegis wheel build --publish`); what passes the gates is released"
_IMAGE = "the template's image job (`aegis image build --push`)"
_SCAN = "the template's scan jobs (`aegis scan dependencies`, `aegis scan secrets`)"

_CARRIED: Final = (
    (re.compile(r"\b(?:pytest|py\.test|unittest|tox|nox|coverage|hatch (?:run )?test|make (?:test|cov|check)\w*|scripts/test)\b"), _TESTS),
    (re.compile(r"\b(?:ruff|flake8|black|isort|pylint|pycodestyle|pyflakes|pre-commit|make (?:lint|format)|scripts/(?:check|lint))\b"), _LINT),
    (re.compile(r"\b(?:pip-audit|safety|trivy|gitleaks|detect-secrets|bandit)\b"), _SCAN),
    (re.compile(r"\b(?:twine|python3? -m build|hatch build|poetry (?:build|publish)|uv (?:build|publish)|flit (?:build|publish)|pdm (?:build|publish)|setup\.py (?:sdist|bdist_wheel)|scripts/(?:build|publish))\b"), _BUILD),
    (re.compile(r"\b(?:docker|buildx|podman|buildah) (?:build|buildx|push)\b"), _IMAGE),
    (re.compile(r"\b(?:pip3? install|uv (?:sync|pip|venv|tool install)|poetry install|pdm (?:install|sync)|pipx install|hatch env|python3? -m venv|scripts/install|setup\.py (?:install|develop))\b"), _INSTALL),
)  # fmt: skip
_ACTIONS: Final = (
    (re.compile(r"^actions/checkout"), "every job starts in a checkout of its commit"),
    (re.compile(r"^actions/setup-python|^astral-sh/setup-uv|^pdm-project/setup-pdm|snok/install-poetry"), _INSTALL),
    (re.compile(r"^actions/(?:cache|upload-artifact|download-artifact)"), "the template declares its caches and artifacts"),
    (re.compile(r"^docker/"), _IMAGE),
    (re.compile(r"^pypa/gh-action-pypi-publish|^hynek/build-and-inspect|^ncipollo/release|^softprops/"), _BUILD),
    (re.compile(r"^codecov/|^coverallsapp/"), "coverage is read from coverage.xml and judged by the gates"),
    (re.compile(r"^pre-commit/|^astral-sh/ruff-action|^psf/black"), _LINT),
    (re.compile(r"^github/codeql-action|^step-security/|zizmor|^actions/attest|^sigstore/|slsa"), _SCAN),
    (re.compile(r"^tox-dev/|^wntrblm/nox"), _TESTS),
)  # fmt: skip
_TYPES: Final = re.compile(r"\b(?:mypy|pyright|pyre|ty check|pytype)\b")
_QUIET: Final = re.compile(
    r"^(?:echo|set |export |cd |mkdir|ls|cat|python3? (?:-V|--version)|git config|#|\w+=\S*$|if |fi$|then$|else$|done$|for |exit|})"
)


def commands(files: Files) -> tuple[Command, ...]:
    """Each command and action of the project's workflows, once, with what takes its place."""
    found: dict[tuple[str, str], Command] = {}
    for path in sorted(files):
        if path.startswith(".github/workflows/") and path.endswith((".yml", ".yaml")):
            for command in _workflow(path, text(files, path)):
                found.setdefault((command.text, command.carried or command.why), command)
    return tuple(found.values())


def _workflow(path: str, content: str) -> Iterator[Command]:
    import yaml  # noqa: PLC0415 - start-up is a feature, and few commands meet a workflow

    name = path.rsplit("/", 1)[-1]
    try:
        document = yaml.safe_load(content)
    except (yaml.YAMLError, ValueError, RecursionError):
        yield Command(where=name, text="the whole file", why="it is not YAML that can be read")
        return
    jobs = document.get("jobs") if isinstance(document, Mapping) else None
    for key, job in (jobs or {}).items() if isinstance(jobs, Mapping) else ():
        if isinstance(job, Mapping):
            yield from _job(f"{name}:{key}", job)


def _job(where: str, job: Mapping[str, Any]) -> Iterator[Command]:
    if isinstance(job.get("uses"), str):
        yield Command(
            where=where, text=f"uses {job['uses']}", why="a workflow kept elsewhere: its commands are not here"
        )
    services = job.get("services")
    for service, body in services.items() if isinstance(services, Mapping) else ():
        image = body.get("image", "") if isinstance(body, Mapping) else body
        why = f"declare it as `services: [{image}]` of the test job, which needs a container executor"
        yield Command(where=where, text=f"service {service}", why=why)
    systems = re.findall(r"\b(windows|macos)-[\w.]+", str(job.get("runs-on", "")) + str(job.get("strategy", "")))
    for system in dict.fromkeys(systems):
        yield Command(
            where=where, text=f"runs on {system}", why="runners here are Linux; keep that job where it runs today"
        )
    for step in job.get("steps") or ():
        if isinstance(step, Mapping):
            yield from _step(where, step)


def _step(where: str, step: Mapping[str, Any]) -> Iterator[Command]:
    uses = step.get("uses")
    if isinstance(uses, str):
        carried = next((answer for pattern, answer in _ACTIONS if pattern.search(uses)), "")
        why = "" if carried else "an action runs on GitHub only; put what it does into a script"
        yield Command(where=where, text=f"uses {uses.split('@', 1)[0]}", carried=carried, why=why)
    if not isinstance(step.get("run"), str):
        return
    for line in _joined(step["run"]):
        if _QUIET.match(line):
            continue
        carried = next((answer for pattern, answer in _CARRIED if pattern.search(line)), "")
        yield Command(where=where, text=line[:160], carried=carried, why="" if carried else _why_not(line))


def _why_not(line: str) -> str:
    if "${{" in line and "secrets." in line:
        return "it uses a secret of GitHub's; declare a secret reference and use it in a job of your own"
    if _TYPES.search(line):
        return "the templates check no types; add a job with `aegis project install` and this line"
    return "the templates have no place for it; add a job with this line"


def _joined(script: str) -> Iterator[str]:
    for line in script.replace("\\\n", " ").splitlines():
        cleaned = " ".join(line.split())
        if cleaned:
            yield cleaned

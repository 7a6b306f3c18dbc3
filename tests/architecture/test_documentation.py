"""What the documentation says is true: keys, defaults, examples, commands, packages, licences and links."""

from __future__ import annotations

import re
import tomllib
import types
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from aegis.cli import COMMANDS
from aegis.config.declaration import Declaration
from aegis.config.load import load
from aegis.config.strict import Seconds, seconds
from aegis.delivery.flow import FLOW
from aegis.gates.policy import GatePolicy, from_document

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "src" / "aegis"
DOCS = ROOT / "docs"
PAGES = sorted([*ROOT.glob("*.md"), *DOCS.rglob("*.md")])
DECLARATION = (DOCS / "declaration.md").read_text(encoding="utf-8")
LINK = re.compile(r"(?<!!)\[[^\]]*\]\(([^)\s]+)\)")
FENCED = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)


def models(annotation: Any) -> list[type[BaseModel]]:
    """The models that an annotation holds directly or as an option."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    if typing.get_origin(annotation) in (typing.Union, types.UnionType):
        return [model for part in typing.get_args(annotation) for model in models(part)]
    return []


def keys(model: type[BaseModel] = Declaration, before: str = "") -> Iterator[tuple[str, FieldInfo]]:
    """Every key of the declaration as a path; the names that users choose are `<>`."""
    for name, field in model.model_fields.items():
        path = f"{before}{field.alias or name}"
        if typing.get_origin(field.annotation) is dict:
            inner = models(typing.get_args(field.annotation)[1])
            yield from ((key, one) for each in inner for key, one in keys(each, f"{path}.<>."))
            if not inner or not before:
                yield path, field
            continue
        yield path, field
        for each in models(field.annotation):
            yield from keys(each, f"{path}.")


def rows() -> dict[str, str]:
    """Key to its default, as the tables of docs/declaration.md have them."""
    found = {}
    for line in DECLARATION.splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if line.startswith("| `") and len(cells) == 4:
            found[re.sub(r"<[^>]*>", "<>", cells[0].strip("`"))] = cells[2]
    return found


@pytest.mark.parametrize(("path", "field"), [pytest.param(path, field, id=path) for path, field in keys()])
def test_every_key_of_the_declaration_is_documented_with_its_default(path: str, field: FieldInfo) -> None:
    documented = rows()
    if path == "groups":
        assert "groups.<>" in documented
    assert path in documented, f"docs/declaration.md has no row `{path}`"
    told = documented[path]
    default = field.get_default(call_default_factory=True)
    if field.is_required():
        assert told == "required", path
    elif default in (None, (), {}) or isinstance(default, BaseModel):
        assert told == "none", path
    else:
        value = yaml.safe_load(told.strip("`"))
        timed = typing.get_args(Seconds)[1] in field.metadata
        assert (seconds(value) if timed else value) == (list(default) if isinstance(default, tuple) else default), path


def test_no_documented_key_of_the_declaration_is_unknown() -> None:
    known = {path for path, _ in keys()} | {"groups.<>"}
    assert [path for path in rows() if path not in known and not path.startswith("gates.")] == []


def test_every_key_of_the_gates_is_documented() -> None:
    from aegis.gates import policy

    documented = rows()
    assert sorted(policy._READERS) == sorted(
        {path.split(".")[1].removesuffix("[]") for path in documented if path.startswith("gates.")}
    )
    for path in (one for one in documented if one.count(".") == 2 and one.startswith("gates.") and "[" not in one):
        _, gate, key = path.split(".")
        value = {
            "minimum": 90,
            "changed_lines": 90,
            "not_found": "warn",
            "advisories": "x",
            "max_age_days": 3,
            "released": "block",
        }
        from_document({gate: {key: value.get(key, ["critical"])}}, "x")
    assert documented["gates.coverage.minimum"] == f"`{GatePolicy().coverage_minimum:.0f}`"
    for gate in ("quality", "dependencies"):
        for key in ("block", "warn"):
            assert yaml.safe_load(documented[f"gates.{gate}.{key}"].strip("`")) == list(
                getattr(getattr(GatePolicy(), gate), key)
            )


EXAMPLES = re.findall(r"^```yaml\n(version: 1\n.*?)^```", DECLARATION, re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("number", range(len(EXAMPLES)))
def test_examples_of_the_declaration_load(number: int) -> None:
    load(EXAMPLES[number].encode())


def test_every_yaml_example_of_the_declaration_is_a_whole_one() -> None:
    assert len(EXAMPLES) == DECLARATION.count("```yaml")
    assert len(EXAMPLES) >= 5


def test_examples_of_declarations_in_other_pages_load() -> None:
    for page in PAGES:
        for example in re.findall(
            r"^```yaml\n(version: 1\n.*?)^```", page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL
        ):
            load(example.encode(), file=page.name)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_relative_link_leads_somewhere(page: Path) -> None:
    text = FENCED.sub("", page.read_text(encoding="utf-8"))
    for target in LINK.findall(text):
        if re.match(r"[a-z]+:", target):
            continue
        name, _, anchor = target.partition("#")
        file = (page.parent / name).resolve() if name else page
        assert file.exists(), target
        if anchor:
            assert anchor in anchors(file), target


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as Git hosts make them."""
    headings = re.findall(r"^#+ (.+)$", FENCED.sub("", page.read_text(encoding="utf-8")), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}


def test_every_package_stands_in_the_architecture() -> None:
    page = (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8")
    packages = [path.parent.name for path in SOURCE.glob("*/__init__.py")]
    assert [name for name in packages if f"`{name}`" not in page] == []


def test_files_that_the_architecture_names_are_there() -> None:
    page = (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8")
    named = re.findall(r"`((?:src|tests|tools|docs|examples)/[\w./-]+)`", page)
    assert [name for name in named if not (ROOT / name).exists()] == []
    table = re.findall(r"^\| `(\w+)` \|[^|]*\|([^|]*)\|$", page, re.MULTILINE)
    missing = []
    for package, files in table:
        for name in re.findall(r"`([\w/]+(?:\.\w+)?)`", files):
            place = SOURCE / package / name
            if not (place.exists() or place.with_suffix(".py").exists()):
                missing.append(f"{package}/{name}")
    assert missing == []


def test_the_architecture_shows_the_whole_flow() -> None:
    page = (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8")
    assert [kind.__name__ for kind in FLOW if f"`{kind.__name__}`" not in page] == []


def test_every_command_is_mentioned_in_the_docs() -> None:
    whole = "\n".join(page.read_text(encoding="utf-8") for page in PAGES)
    assert [name for name in COMMANDS if not re.search(rf"\baegis\s+{name}\b", whole)] == []


def test_commands_in_the_docs_exist() -> None:
    for page in PAGES:
        for block in re.findall(
            r"^```(?:console|sh|bash)\n(.*?)^```", page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL
        ):
            for name in re.findall(r"^\$? ?aegis ([a-z][\w-]*)", block, re.MULTILINE):
                assert name in COMMANDS, f"{page.name}: aegis {name}"


def test_every_page_of_the_docs_is_in_the_index() -> None:
    index = (DOCS / "README.md").read_text(encoding="utf-8")
    for page in DOCS.rglob("*.md"):
        place = page.relative_to(DOCS).as_posix()
        assert place == "README.md" or f"({place})" in index or place.startswith("adr/"), place


def test_every_direct_dependency_has_its_licence() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    wanted = [*project["dependencies"], *(one for group in project["optional-dependencies"].values() for one in group)]
    names = {canonicalize_name(Requirement(text).name) for text in wanted} - {canonicalize_name(project["name"])}
    page = (DOCS / "licences.md").read_text(encoding="utf-8").partition("## Through others")[0]
    rows = re.findall(r"^\| ([\w.-]+) \| (\w+) \| ([^|]+) \|$", page, re.MULTILINE)
    listed = {name: licence for name, _, licence in rows}
    assert names - set(listed) == set()
    assert all(listed[name].strip() for name in names)
    # What the tests alone drive is not part of what is given away (GitLab's own client library is LGPL), nor is an extra of
    # its own for whoever wants it (PostgreSQL's is LGPL, and used as it is).
    apart = {"dev", "postgres"}
    driven = {
        (name, licence)
        for name, extra, licence in rows
        if extra in apart and ("Lesser" in licence or "LGPL" in licence)
    }
    assert {name for name, _ in driven} <= {"python-gitlab", "psycopg"}
    assert "GPL" not in " ".join(licence for name, licence in listed.items() if (name, licence) not in driven)


def test_the_records_of_decisions_are_numbered_without_gaps() -> None:
    records = sorted((DOCS / "adr").glob("[0-9]*.md"))
    assert [int(path.name[:4]) for path in records] == list(range(1, len(records) + 1))
    for path in records:
        text = path.read_text(encoding="utf-8")
        assert all(f"## {part}" in text for part in ("Context", "Decision", "Consequences")), path.name
    index = (DOCS / "adr" / "README.md").read_text(encoding="utf-8")
    assert [path.name for path in records if f"({path.name})" not in index] == []


def test_the_table_of_gitlabs_calls_is_the_codes() -> None:
    from aegis.web.gitlab_api.rest import ROWS

    page = (DOCS / "gitlab-api.md").read_text(encoding="utf-8")
    told = re.findall(r"^\| `([A-Z]+ [^`]+)` \| (.+?) \| `(.+)` \|$", page, re.MULTILINE)
    assert sorted(told) == sorted((one.key, one.what, one.python) for one in ROWS)

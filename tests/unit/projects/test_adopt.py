from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from aegis.bootstrap.projects import bring
from aegis.core.errors import NotFound, UserError
from aegis.projects.adopt import adopt, declare, slug
from aegis.projects.detect import detect

LIBRARY = {
    "pyproject.toml": b'[project]\nname = "My.Thing"\n',
    "src/my_thing/__init__.py": b"",
    "tests/test_a.py": b"def test_a(): ...",
}
SERVICE = {
    "pyproject.toml": b'[project]\nname = "orders"\ndependencies = ["fastapi"]\n',
    "src/orders/app.py": b"app = FastAPI()",
    "src/orders/__init__.py": b"",
    "tests/e2e/test_a.py": b"def test_a(): ...",
}


def test_a_library_gets_the_librarys_template() -> None:
    found = adopt(detect(LIBRARY), LIBRARY, group="shop")
    assert found.project == "shop/my-thing"
    assert yaml.safe_load(found.pipeline) == {"include": [{"component": "aegis/python-library@1"}]}
    assert yaml.safe_load(found.declaration) == {"projects": {"shop/my-thing": {"kind": "library"}}}
    assert "aegis project lock" in found.next


def test_a_service_says_which_tests_it_has_and_how_it_is_checked() -> None:
    found = adopt(detect(SERVICE), SERVICE, name="shop/orders")
    assert yaml.safe_load(found.pipeline) == {
        "include": [{"component": "aegis/python-service@1", "inputs": {"integration": False}}]
    }
    assert found.entry == {"kind": "service", "service": "orders"}
    assert found.service == {"port": 8000, "health": "/healthz"}


def test_nothing_to_adopt_is_said_with_a_mend() -> None:
    with pytest.raises(UserError, match="no Python package"):
        adopt(detect({}), {})
    with pytest.raises(UserError, match="not a project path"):
        adopt(detect(LIBRARY), LIBRARY, name="My Thing")


DECLARATION = """\
# the shop
version: 1
projects:   # what there is
    shop/a: {kind: library}   # one

    # two
    shop/b: {kind: library}

# who
identities: {ada: {name: Ada}}
"""


def test_an_entry_is_added_and_nothing_else_is_touched() -> None:
    found = adopt(detect(SERVICE), SERVICE, name="shop/orders")
    text = declare(DECLARATION, found)
    lines = text.splitlines()
    assert [line for line in DECLARATION.splitlines() if line not in lines] == []
    document = yaml.safe_load(text)
    assert list(document["projects"]) == ["shop/a", "shop/b", "shop/orders"]
    assert document["services"] == {"orders": {"port": 8000, "health": "/healthz"}}
    assert lines.index("# who") > lines.index("    shop/orders: {kind: service, service: orders}")
    assert declare(text, found) == text


def test_an_empty_declaration_begins_one() -> None:
    found = adopt(detect(LIBRARY), LIBRARY)
    for text in ("", "version: 1\nprojects: {}\n"):
        assert yaml.safe_load(declare(text, found))["projects"] == {"team/my-thing": {"kind": "library"}}


def test_a_form_that_cannot_be_added_to_is_said_with_the_lines_to_copy() -> None:
    found = adopt(detect(LIBRARY), LIBRARY)
    with pytest.raises(UserError) as caught:
        declare("version: 1\nprojects: {shop/a: {kind: library}}\n", found)
    assert "team/my-thing: {kind: library}" in caught.value.hint
    with pytest.raises(UserError):
        declare("a: [", found)


def test_names_become_labels() -> None:
    assert [slug(one) for one in ("My.Thing_2", "--", "ü", "A" * 80)] == ["my-thing-2", "project", "project", "a" * 63]


def lay(folder: Path, files: dict[str, bytes]) -> Path:
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return folder


def test_files_are_written_once_and_an_earlier_pipeline_is_kept(tmp_path: Path) -> None:
    folder, config = lay(tmp_path / "p", LIBRARY), tmp_path / "aegis.yaml"
    config.write_text(DECLARATION)
    dry = bring(str(folder), config=str(config), write=False)
    assert (dry.written, config.read_text()) == ((), DECLARATION)
    done = bring(str(folder), config=str(config))
    assert done.adoption.project == "shop/my-thing"
    assert done.written == (str(folder / ".gitlab-ci.yml"), str(config))
    again = bring(str(folder), config=str(config))
    assert not again.kept
    (folder / ".gitlab-ci.yml").write_text("mine: {script: [true]}\n")
    assert bring(str(folder)).kept
    assert (folder / ".gitlab-ci.yml").read_text().startswith("mine")
    assert not bring(str(folder), replace=True).kept
    with pytest.raises(NotFound):
        bring(str(tmp_path / "none"))


def test_links_that_lead_out_are_not_part_of_a_project(tmp_path: Path) -> None:
    from aegis.adapters.project_files import DirectoryFiles

    (tmp_path / "outside.py").write_text("x")
    folder = lay(tmp_path / "p", {**LIBRARY, ".venv/lib/x.py": b"", "node_modules/y.js": b""})
    (folder / "link.py").symlink_to(tmp_path / "outside.py")
    assert set(DirectoryFiles(folder)) == set(LIBRARY)

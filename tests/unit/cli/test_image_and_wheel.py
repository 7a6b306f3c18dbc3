"""`aegis image` and `aegis wheel` as they are typed: help with examples, JSON documents, errors with mends."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from aegis.cli.root import run
from support.tiny_packages import wheel

Call = Callable[..., tuple[int, str, str]]


@pytest.fixture
def call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Call:
    for name in [one for one in os.environ if one.startswith(("CI_", "AEGIS_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AEGIS_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)

    def called(*argv: str) -> tuple[int, str, str]:
        code = 0
        try:
            run(argv)
        except SystemExit as leaving:
            code = int(leaving.code or 0)
        said = capsys.readouterr()
        return code, said.out, said.err

    return called


@pytest.fixture
def service(tmp_path: Path) -> Path:
    (tmp_path / "main.py").write_text("")
    (tmp_path / "pyproject.toml").write_text(
        '[project]\nname = "hello"\nversion = "1.2.0"\n[tool.aegis]\ncommand = ["python", "/app/src/main.py"]\n'
    )
    return tmp_path


def document(text: str) -> dict[str, Any]:
    made: dict[str, Any] = json.loads(text)
    return made


@pytest.mark.parametrize(
    "command",
    [
        ("image",),
        ("image", "build"),
        ("image", "push"),
        ("image", "inspect"),
        ("wheel",),
        ("wheel", "build"),
        ("wheel", "publish"),
        ("wheel", "sbom"),
        ("image", "base", "mirror"),
        ("image", "join"),
    ],
)
def test_help_begins_with_two_examples(call: Call, command: tuple[str, ...]) -> None:
    code, out, _ = call(*command, "--help")
    assert code == 0
    examples = out.partition("Examples:")[2].strip().splitlines()[:2]
    assert all(one.strip().startswith(f"aegis {command[0]}") for one in examples)


@pytest.mark.usefixtures("service")
def test_build_says_what_it_chose_and_inspect_shows_the_result(call: Call) -> None:
    code, out, _ = call("image", "build")
    assert code == 0
    assert "✓ success  sha256:" in out
    assert "tags 1.2.0" in out
    code, out, _ = call("image", "inspect", "--json")
    found = document(out)
    assert (found["schema"], found["entrypoint"]) == ("aegis.image-inspect/1", ["python", "/app/src/main.py"])
    code, out, _ = call("image", "inspect")
    assert "org.opencontainers.image.title=hello" in out
    code, out, _ = call("image", "push", "--dry-run", "--json")
    assert (code, document(out)["tags"]) == (0, ["1.2.0"])


@pytest.mark.usefixtures("service")
def test_the_document_of_a_build_has_what_scripts_need(call: Call) -> None:
    code, out, _ = call("image", "build", "--json", "--version", "2.0.0", "--output", "elsewhere")
    found = document(out)
    assert code == 0
    assert found["schema"] == "aegis.image/1"
    assert (found["version"], found["tags"], found["path"]) == ("2.0.0", ["2.0.0"], "elsewhere")
    assert {"digest", "size", "layers", "seconds", "app", "framework", "lock", "base", "notes", "pushed"} <= set(found)


def test_a_working_tree_with_changes_does_not_claim_to_be_its_commit(call: Call, service: Path) -> None:
    from aegis.bootstrap import build_facts

    runner = build_facts.tool()
    environment = {f"GIT_{role}_{what}": "someone" for role in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
    for argv in (["init", "-q", "-b", "main"], ["add", "main.py", "pyproject.toml"], ["commit", "-qm", "one"]):
        assert runner.run(["git", *argv], directory=str(service), environment=environment).exit_code == 0
    first = document(call("image", "build", "--json")[1])
    assert (len(first["tags"]), first["tags"][-1]) == (4, "main")
    assert document(call("image", "build", "--json")[1])["digest"] == first["digest"]
    (service / "main.py").write_text("changed = True\n")
    second = document(call("image", "build", "--json")[1])
    assert second["tags"] == ["1.2.0", "main"]
    assert any("has changes" in note for note in second["notes"])


def test_errors_come_with_a_code_a_mend_and_the_exit_code_of_their_family(call: Call, tmp_path: Path) -> None:
    code, out, _ = call("image", "build", "--json", str(tmp_path / "none"))
    assert (code, document(out)["error"]["code"]) == (2, "no-folder")
    code, _, err = call("image", "inspect", "registry-without-name")
    assert (code, "hint:" in err) == (2, True)
    code, _, err = call("image", "push")
    assert (code, "aegis image build" in err) == (4, True)
    code, out, _ = call("wheel", "publish", "--json", "x.whl")
    assert (code, document(out)["error"]["code"]) == (2, "no-index")
    code, out, _ = call("wheel", "publish", "--dry-run", "--json", "x.whl")
    assert (code, document(out)["files"]) == (0, ["x.whl"])


def test_the_bill_of_materials_of_a_wheel_is_printed_or_written(call: Call, tmp_path: Path) -> None:
    name, data = wheel(metadata=b"Metadata-Version: 2.1\nName: tiny\nVersion: 1.0\nRequires-Dist: h11\n")
    (tmp_path / name).write_bytes(data)
    (tmp_path / "requirements.lock").write_text(f"h11==0.16.0 --hash=sha256:{'1' * 64}\n")
    code, out, _ = call("wheel", "sbom", str(tmp_path / name), "--project", str(tmp_path))
    assert (code, [one["version"] for one in json.loads(out)["components"]]) == (0, ["0.16.0"])
    written = tmp_path / "tiny.cdx.json"
    code, out, _ = call(
        "wheel", "sbom", str(tmp_path / name), "--project", str(tmp_path), "--output", str(written), "--json"
    )
    assert (code, document(out)["sbom"]) == (0, json.loads(written.read_text()))
    assert call("wheel", "sbom", str(tmp_path / "missing.whl"))[0] == 2

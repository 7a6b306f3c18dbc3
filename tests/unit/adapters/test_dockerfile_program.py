"""Dockerfiles go to the program that is installed; without one the mend is said. The program is a stand-in here."""

from __future__ import annotations

from pathlib import Path

import pytest

from aegis.adapters.dockerfile_program import build_with_program
from aegis.adapters.layout_directory import OciLayout
from aegis.adapters.tool_sandbox import SandboxTool
from aegis.bootstrap.image import Wanted, build_image
from aegis.build.image import Facts
from aegis.build.target import Target
from aegis.core.errors import ExternalError

STAND_IN = """#!/bin/sh
echo "$@" >> {notes}
case "$1" in
  push) cp -r {layout} "${{3#oci:}}" ;;
  build) [ "$FAIL" = yes ] && echo "RUN make: no such target" >&2 && exit 2 ;;
esac
exit 0
"""


@pytest.fixture
def prepared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> OciLayout:
    """An image to be found by the stand-in, and the Dockerfile's folder."""
    monkeypatch.setenv("AEGIS_CACHE_DIR", str(tmp_path / "cache"))
    source = tmp_path / "source"
    source.mkdir()
    (source / "main.py").write_text("")
    (source / "pyproject.toml").write_text('[tool.aegis]\ncommand = ["python"]\n')
    build_image(Wanted(path=source, output=tmp_path / "prepared"))
    (tmp_path / "context").mkdir()
    (tmp_path / "context" / "Dockerfile").write_text("FROM scratch AS one\nFROM scratch\n")
    programs = tmp_path / "bin"
    programs.mkdir()
    script = programs / "buildah"
    script.write_text(STAND_IN.format(notes=tmp_path / "notes", layout=tmp_path / "prepared"))
    script.chmod(0o755)
    return OciLayout(tmp_path / "prepared")


def build(tmp_path: Path, path: str, **environment: str) -> OciLayout:
    output = OciLayout(tmp_path / "output")
    facts = Facts(version="1.0.0", revision="abc", epoch=7)
    manifest, layers = build_with_program(
        SandboxTool(path=path), context=tmp_path / "context", dockerfile="Dockerfile", output=output, facts=facts,
        target=Target("3.12", "arm64"), environment=environment,
    )  # fmt: skip
    output.finish(manifest, ("1.0.0",))
    assert len(layers) == 1
    return output


def test_buildah_is_given_the_file_the_labels_the_time_and_the_platform(prepared: OciLayout, tmp_path: Path) -> None:
    made = build(tmp_path, f"{tmp_path}/bin:/usr/bin:/bin")
    assert made.manifest("1.0.0").digest == prepared.manifest(prepared.tags()[0]).digest
    notes = (tmp_path / "notes").read_text()
    for part in ("--timestamp 7", "--file Dockerfile", "image.version=1.0.0", "--platform linux/arm64"):
        assert part in notes


@pytest.mark.usefixtures("prepared")
def test_a_failing_dockerfile_is_told_with_the_programs_last_words(tmp_path: Path) -> None:
    with pytest.raises(ExternalError, match="no such target"):
        build(tmp_path, f"{tmp_path}/bin:/usr/bin:/bin", FAIL="yes")


@pytest.mark.usefixtures("prepared")
def test_without_a_program_the_mend_is_said(tmp_path: Path) -> None:
    with pytest.raises(ExternalError) as caught:
        build(tmp_path, str(tmp_path / "empty"))
    assert caught.value.code == "dockerfile-builder"
    assert "buildah" in caught.value.hint

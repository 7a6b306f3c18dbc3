"""`docs/pipelines.md` names what there is, and its commands work."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from aegis.cli.root import run
from aegis.pipeline import templates
from aegis.pipeline.keywords import NOT_CARRIED_OUT, PARTS_NOT_CARRIED_OUT

PAGE = (Path(__file__).parents[3] / "docs" / "pipelines.md").read_text()


def test_its_commands_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    lines = [line for block in re.findall(r"```sh\n(.*?)```", PAGE, re.DOTALL) for line in block.splitlines()]
    assert lines
    for line in lines:
        code = 0
        try:
            run(line.partition("#")[0].split()[1:])
        except SystemExit as left:
            code = int(left.code or 0)
        assert code == 0, line


WITHOUT_EFFECT = sorted((*NOT_CARRIED_OUT, *(f"{word}:{part}" for word, part in PARTS_NOT_CARRIED_OUT)))


@pytest.mark.parametrize("word", WITHOUT_EFFECT)
def test_every_keyword_without_effect_is_named(word: str) -> None:
    assert f"`{word}`" in PAGE


@pytest.mark.parametrize("address", templates.addresses())
def test_every_template_is_named(address: str) -> None:
    assert f"`{address}`" in PAGE


def test_its_example_keeps_the_origin_it_promises() -> None:
    from aegis.pipeline.compile import compile_pipeline
    from aegis.pipeline.request import CompileRequest, MemoryFiles

    example = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)[0]
    found = compile_pipeline(CompileRequest(files=MemoryFiles({".gitlab-ci.yml": example.encode()})))
    assert found.plan is not None
    assert found.plan.job("unit").origin == "aegis/python-service@1"
    assert found.plan.job("unit").timeout == 1200

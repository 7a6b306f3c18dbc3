"""Files that are small to write and large to read are refused in bounded time, not carried out."""

from __future__ import annotations

import time

import pytest

from aegis.pipeline.compile import compile_pipeline
from aegis.pipeline.request import Compilation, CompileRequest, MemoryFiles

SECONDS = 12.0
WORDS = ", ".join(f"w{number}" for number in range(10_000))
MANY = ", ".join(f"V{number}: x" for number in range(5_000))


def compiled(text: str, **others: str) -> Compilation:
    files = {".gitlab-ci.yml": text.encode(), **{f"{name}.yml": one.encode() for name, one in others.items()}}
    start = time.process_time()
    found = compile_pipeline(CompileRequest(files=MemoryFiles(files)))
    assert time.process_time() - start < SECONDS
    return found


def codes(found: Compilation) -> list[str]:
    assert found.plan is None
    return [one.code for one in found.errors]


def test_a_file_beyond_its_size_is_refused() -> None:
    assert codes(compiled("# " + "x" * 8 * 1024 * 1024)) == ["file-too-large"]


@pytest.mark.parametrize("opening", ["[", "{a: ", "- "])
def test_deep_nesting_is_refused(opening: str) -> None:
    assert codes(compiled("a: " + opening * 50_000)) == ["too-deep" if opening != "- " else "invalid-yaml"]


def test_aliases_that_nest_deeply_are_refused() -> None:
    levels = "".join(f"k{n}: &k{n} [[[[[[[[[[*k{n - 1}]]]]]]]]]]\n" for n in range(1, 12))
    assert codes(compiled("k0: &k0 [x]\n" + levels)) == ["too-deep"]


def test_references_that_nest_deeply_are_refused() -> None:
    levels = "".join(f".k{n}: {{script: {'[' * 60}!reference [.k{n + 1}, script]{']' * 60}}}\n" for n in range(9))
    assert set(codes(compiled(levels + ".k9: {script: [x]}\na: {script: !reference [.k0, script]}\n"))) == {"too-deep"}


def test_references_that_multiply_are_refused() -> None:
    levels = "".join(f".k{n}:\n  script: [{', '.join([f'!reference [.k{n + 1}, script]'] * 10)}]\n" for n in range(8))
    assert "too-big" in codes(compiled(levels + ".k8: {script: [x]}\na: {script: !reference [.k0, script]}\n"))


def test_a_long_script_extended_by_many_jobs_is_refused() -> None:
    jobs = "".join(f"j{n}: {{extends: .base}}\n" for n in range(5_000))
    assert codes(compiled(f".base: {{script: [{WORDS}]}}\n" + jobs)) == ["too-big"]


def test_large_mappings_extended_by_many_jobs_are_refused() -> None:
    jobs = "".join(f"j{n}: {{extends: .base, variables: {{A: x}}}}\n" for n in range(5_000))
    assert "too-big" in codes(compiled(f".base: {{script: [x], variables: {{{MANY}}}}}\n" + jobs))


def test_more_variables_than_fit_into_memory_are_refused() -> None:
    jobs = "".join(f"j{n}: {{script: [x]}}\n" for n in range(5_000))
    assert codes(compiled(f"variables: {{{MANY}}}\n" + jobs)) == ["too-big"]


def test_more_jobs_than_are_allowed_are_refused() -> None:
    jobs = "".join(f"j{n}: {{script: [x], parallel: 200}}\n" for n in range(200))
    assert codes(compiled(jobs)) == ["too-many-jobs"]


def test_more_needs_than_are_allowed_are_refused() -> None:
    assert codes(compiled("a: {script: [x], parallel: 200}\nb: {script: [x], needs: [a]}\n")) == ["too-many"]


def test_a_matrix_of_astronomic_size_is_refused() -> None:
    values = "[1, 2, 3, 4, 5, 6, 7, 8, 9, 10]"
    keys = ", ".join(f"K{n}: {values}" for n in range(30))
    assert codes(compiled(f"a: {{script: [x], parallel: {{matrix: [{{{keys}}}]}}}}\n")) == ["too-many-parallel"]


def test_more_includes_than_are_allowed_are_refused() -> None:
    twice = "include: [b.yml, b.yml, b.yml, b.yml, b.yml, b.yml]\n"
    four = {"b": twice.replace("b.yml", "c.yml"), "c": twice.replace("b.yml", "d.yml"), "d": "a: {script: [x]}\n"}
    assert "too-many-includes" in codes(compiled(twice, **four))


def test_globs_that_multiply_are_bounded() -> None:
    braces = "{a,b}" * 40
    found = compiled(f"a:\n  script: [x]\n  rules: [{{exists: ['{braces}']}}]\nb: {{script: [x]}}\n")
    assert found.plan is not None


def test_variables_that_multiply_are_refused() -> None:
    levels = "".join(f"  V{n}: '$V{n + 1}$V{n + 1}$V{n + 1}$V{n + 1}'\n" for n in range(40))
    assert set(codes(compiled(f"variables:\n{levels}  V40: xxxxxxxxxx\na: {{script: [x]}}\n"))) == {"variable-too-long"}

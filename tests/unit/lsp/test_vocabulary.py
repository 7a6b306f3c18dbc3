"""The words that editors offer are those that the compiler knows."""

from __future__ import annotations

import json
from typing import Any

import pytest

from aegis.lsp import vocabulary
from aegis.pipeline import keywords
from aegis.pipeline.compile import check_pipeline
from aegis.pipeline.request import CompileRequest, MemoryFiles

INNER = [(path, key) for path, words in vocabulary.INSIDE.items() for key in words]
VALUES = [(path, value) for path, values in vocabulary.VALUES.items() for value in values]


def nested(path: tuple[str, ...], value: Any, *, lists: bool) -> Any:
    for depth in range(len(path) - 1, -1, -1):
        value = {path[depth]: [value] if lists and isinstance(value, dict) and depth == 0 else value}
    return value


def codes(job: Any) -> set[tuple[str, str]]:
    text = json.dumps({"a": {"script": ["x"], **job}}).encode()
    found = check_pipeline(CompileRequest(files=MemoryFiles({".gitlab-ci.yml": text})))
    return {(one.code, one.message) for one in found.errors}


def test_every_keyword_of_a_job_is_offered_and_no_other() -> None:
    assert set(vocabulary.JOB) == set(keywords.JOB)


def test_every_keyword_at_the_top_is_offered() -> None:
    assert set(keywords.ROOT) <= set(vocabulary.ROOT)


@pytest.mark.parametrize(("path", "key"), INNER, ids=[".".join((*path, key)) for path, key in INNER])
def test_a_keyword_within_a_job_is_known_where_it_is_offered(path: tuple[str, ...], key: str) -> None:
    forms = [codes(nested((*path, key), "x", lists=lists)) for lists in (False, True)]
    assert any(not any(code == "unknown-keyword" for code, _ in form) for form in forms), forms


@pytest.mark.parametrize(("path", "value"), VALUES, ids=[".".join((*path, value)) for path, value in VALUES])
def test_a_word_is_valid_where_it_is_offered(path: tuple[str, ...], value: str) -> None:
    plain: Any = json.loads(value) if value in {"true", "false", "0", "1", "2"} else value
    label = ": ".join(("a", *path))
    forms = [codes(nested(path, plain, lists=lists)) for lists in (False, True)]
    if path != ("when",) or value != "never":
        assert any(not any(f"`{label}` must be" in message for _, message in form) for form in forms), forms


def test_every_keyword_has_a_sentence() -> None:
    for words in (vocabulary.ROOT, vocabulary.JOB, *vocabulary.INSIDE.values(), *vocabulary.TOP.values()):
        assert all(text.endswith((".", "?")) for text in words.values())

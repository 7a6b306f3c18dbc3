"""Whatever a job uploads, a reader answers with a value or diagnostics and never raises."""

from __future__ import annotations

import json

from hypothesis import given, settings
from hypothesis import strategies as st

from aegis.gates import reports
from aegis.gates.judge import Claim, Context, judge
from aegis.gates.policy import GatePolicy

READERS = (
    reports.read_junit,
    reports.read_cobertura,
    reports.read_code_quality,
    reports.read_security,
    reports.read_sarif,
)
WORDS = st.sampled_from(
    [
        "scan",
        "type",
        "status",
        "success",
        "vulnerabilities",
        "location",
        "runs",
        "results",
        "tool",
        "driver",
        "rules",
        "dependency_scanning",
        "secret_detection",
        "severity",
        "High",
        "identifiers",
        "value",
        "message",
        "text",
        "name",
        "details",
        "fixed_versions",
        "items",
        "description",
        "positions",
        "begin",
        "line",
        "suppressions",
        "invocations",
    ]
)
LEAVES = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8) | WORDS
DOCUMENTS = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(WORDS | st.text(max_size=4), inner, max_size=5),
    max_leaves=25,
)
TAGS = st.sampled_from(
    ["testsuites", "testsuite", "testcase", "failure", "error", "coverage", "class", "line", "source"]
)
ATTRIBUTES = st.sampled_from(["name", "number", "hits", "filename", "failures", "errors", "time", "message", "file"])
VALUES = st.sampled_from(["", "1", "-1", "9" * 40, "x", "1e309", "nan", "²", "../../etc", "a.py"])


@st.composite
def elements(draw: st.DrawFn, depth: int = 3) -> str:
    tag = draw(TAGS)
    attributes = "".join(
        f' {key}="{value}"' for key, value in draw(st.dictionaries(ATTRIBUTES, VALUES, max_size=3)).items()
    )
    inner = "".join(draw(st.lists(elements(depth - 1), max_size=3))) if depth else draw(VALUES)
    return f"<{tag}{attributes}>{inner}</{tag}>"


@given(st.binary(max_size=300))
def test_any_bytes_are_answered(data: bytes) -> None:
    for reader in READERS:
        value, problems = reader(data)
        assert value is not None or problems
    reports.detect(data)


@given(DOCUMENTS)
@settings(max_examples=150, deadline=None)
def test_any_json_is_answered_and_judged(document: object) -> None:
    data = json.dumps(document).encode()
    for reader in READERS:
        value, problems = reader(data)
        assert value is not None or problems
    judge(GatePolicy(), tuple(Claim(kind=kind, report=data) for kind in reports.KINDS), Context(target="main"))


@given(elements())
@settings(max_examples=100, deadline=None)
def test_any_xml_is_answered_and_judged(document: str) -> None:
    data = document.encode()
    for reader in READERS:
        value, problems = reader(data)
        assert value is not None or problems
    judge(GatePolicy(), tuple(Claim(kind=kind, report=data) for kind in reports.KINDS), Context(target="main"))


def test_deep_nesting_is_answered() -> None:
    for data in (b"[" * 200_000, b'{"runs":' * 100_000, b"<testsuite>" * 100_000, b"<a>" * 50_000 + b"</a>" * 50_000):
        for reader in READERS:
            value, problems = reader(data)
            assert value is not None or problems

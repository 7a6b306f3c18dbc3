"""Tests are shared out so that each is worked once and no part takes much longer than another."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aegis.core.errors import UserError
from aegis.core.plan import ArtifactSpec
from aegis.core.types import State
from aegis.execution import shards
from support.execution import Engine, job

REPORT = b"""<?xml version="1.0"?><testsuites><testsuite>
<testcase classname="tests.unit.test_a.TestBig" name="one" time="2.5"/>
<testcase classname="tests.unit.test_a" name="two" time="0.5"/>
<testcase file="tests/test_b.py" classname="whatever" name="three" time="1"/>
<testcase name="nowhere" time="9"/><testcase classname="x" name="odd" time="soon"/>
</testsuite></testsuites>"""


@given(
    st.dictionaries(st.text(min_size=1, max_size=5), st.floats(0, 1000), max_size=60),
    st.integers(1, 9),
)
def test_every_file_is_in_exactly_one_part_and_parts_are_as_even_as_lpt_makes_them(
    weighed: dict[str, float], total: int
) -> None:
    parts = shards.shares(weighed, total)
    assert sorted(file for part in parts for file in part.files) == sorted(weighed)
    assert len(parts) == total
    if weighed:
        # Graham's bound for any list; longest first is within a third of the best there is.
        even = sum(weighed.values()) / total + max(weighed.values()) * (total - 1) / total
        assert max(part.seconds for part in parts) <= even + 0.001 * len(weighed)
    assert shards.shares(dict(reversed(weighed.items())), total) == parts


def test_durations_are_found_by_file_and_by_class() -> None:
    known = shards.durations(shards.tests_of(REPORT))
    assert known == {"tests.unit.test_a.TestBig": 2.5, "tests.unit.test_a": 0.5, "tests/test_b.py": 1.0}
    files = ["tests/unit/test_a.py", "tests/test_b.py", "tests/test_new.py", "tests/unit/test_aa.py"]
    assert shards.weights(files, known) == {
        "tests/unit/test_a.py": 3.0, "tests/test_b.py": 1.0, "tests/test_new.py": 2.0, "tests/unit/test_aa.py": 2.0,
    }  # fmt: skip
    assert set(shards.weights(files, {}).values()) == {1.0}
    assert shards.tests_of(b"no xml") == shards.tests_of(b'<!DOCTYPE a [<!ENTITY b "c">]><a>&b;</a>') == ()


@pytest.mark.parametrize("text", ["", "0/3", "4/3", "1", "a/b", "1/0", "-1/3"])
def test_what_is_no_shard_is_refused(text: str) -> None:
    with pytest.raises(UserError):
        shards.shard(text)


def test_all_instances_of_a_run_are_given_the_same_durations(tmp_path: Path) -> None:
    engine = Engine(tmp_path)
    try:
        seen = tmp_path / "seen"
        seen.mkdir()

        def report(index: int, seconds: int) -> str:
            return f"<testsuite><testcase file='t{index}.py' name='a' time='{seconds}'/></testsuite>"

        def instances(seconds: int) -> list[object]:
            return [
                job(
                    f"unit {index}/2",
                    f'cp "$AEGIS_TEST_DURATIONS" {seen}/$CI_PIPELINE_ID-{index}',
                    f"printf '%s' \"{report(index, seconds)}\" > junit.xml",
                    stage="test" if index == 1 else "deploy", parallel_index=index, parallel_total=2,
                    artifacts=ArtifactSpec(reports={"junit": ("junit.xml",)}),
                )
                for index in (1, 2)
            ]  # fmt: skip

        for seconds in (3, 5):
            # The second instance begins when the first has noted its durations already.
            assert engine.run(*instances(seconds)).state is State.SUCCESS  # type: ignore[arg-type]
        given = [json.loads(path.read_text()) for path in sorted(seen.iterdir())]
        assert given == [{}, {}, {"t1.py": 3.0, "t2.py": 3.0}, {"t1.py": 3.0, "t2.py": 3.0}]
    finally:
        engine.close()

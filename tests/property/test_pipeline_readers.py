"""The line reader and libyaml build the same tree, wherever the line reader dares to answer."""

from __future__ import annotations

from pathlib import Path

import hypothesis.strategies as st
import pytest
from hypothesis import given, settings

from aegis.pipeline import events, lines
from aegis.pipeline.diagnostics import Report
from aegis.pipeline.document import Limits, Map, Node, Scalar, Seq

GOLDEN = sorted((Path(__file__).parent.parent / "golden" / "pipeline").rglob("*.yml"))
PIECES = st.sampled_from(
    [
        "a:", "b: ", "- ", "  ", "    ", "\n", "\n  ", "\n    ", "\n- ", "\n  - ", "\na: ", "\nb:\n", "\n  c: ", "x", "y z", "'q'",
        '"dq"', "''", "'it''s'", "[", "]", "{", "}", ", ", "[a, b]", "{a: b}", "[]", "{}", "[a, 'b', \"c\"]", "{a: 1, b: [x, y]}",
        "&x ", "*x", "<<: *x", "&x\n", "!reference [a, b]", "|\n", "|-\n", "|\n  l1\n  l2\n", "|\n    l1\n      l2\n\n    l3\n",
        "# c", " # c", "\n# c\n", "1", "010", "yes", "null", "~", "1.5", "2020-01-01", "$X", "a:b", "-v", "-", "?", ": ", ":",
        'echo "a: b"', "%", "@", "é", "key with space: v", '"k": v', "? a", "!x ", "...", "---", "\t", "|+\n", ">\n", "123: x",
        "yes: x", "[a: b]", "{a}", "[a,]", "[*x, a]", "[!reference [a, b], c]", "a#b", "a #b", "/re/", "a,b", "*x :", "&x a: b",
    ]
)  # fmt: skip


def agree(text: str) -> bool:
    """Whether the line reader answered at all; where it does, both must answer alike."""
    noted, others = Report(), Report()
    try:
        mine = lines.read(text, "f", noted, Limits())
    except lines.NotPlain:
        return False
    assert mine == events.read(text, "f", others, Limits())
    assert noted.warnings == others.warnings
    kinds(mine)
    return True


def kinds(node: Node | None) -> None:
    """Every node is of its class: named tuples of another class would be equal too."""
    if isinstance(node, Map):
        for key, value in node.entries.values():
            assert isinstance(key, Scalar)
            kinds(value)
    elif isinstance(node, Seq):
        for item in node.items:
            kinds(item)
    else:
        assert node is None or isinstance(node, Scalar)


@given(st.lists(PIECES, max_size=12).map("".join))
@settings(max_examples=1500, deadline=None)
def test_both_readers_build_the_same_tree(text: str) -> None:
    agree(text)
    agree(text + "\n")


@pytest.mark.parametrize("part", range(4))
def test_both_readers_agree_about_every_golden_file(part: int) -> None:
    files = [file.read_bytes() for file in GOLDEN[part::4]]
    read = [agree(text.decode("utf-8", "replace")) for text in files]
    assert sum(read) > len(read) / 2, "the line reader is there for most files"

"""Files of variables and secrets for local runs: their form, what counts, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from aegis.bootstrap.local_variables import Assignment, assignments, read
from aegis.core.errors import UserError
from aegis.core.plan import Variable

_TEXT = r"""
# a comment
PLAIN=a b   # said beside it
  export EXPORTED=x=y#z
EMPTY=
HASH=#fff
DOLLAR=$HOME/${X}
SINGLE='as it is \n $X' # beside
DOUBLE="a\tb \"c\" \\ \$d"
LINES="one
two"
LITERAL='1
2'
"""


def test_lines_are_read_like_a_shells_assignments_without_its_expansions() -> None:
    assert {one.name: one.value for one in assignments(_TEXT)} == {
        "PLAIN": "a b", "EXPORTED": "x=y#z", "EMPTY": "", "HASH": "#fff", "DOLLAR": "$HOME/${X}",
        "SINGLE": r"as it is \n $X", "DOUBLE": 'a\tb "c" \\ $d', "LINES": "one\ntwo", "LITERAL": "1\n2",
    }  # fmt: skip
    assert assignments("file K=k.pem\r\nA=1\r\n") == (
        Assignment(name="K", value="k.pem", file=True),
        Assignment(name="A", value="1"),
    )


@pytest.mark.parametrize(
    ("text", "place"),
    [("A=1\nnothing", "env:2:1"), ("A B=1", "env:1:1"), ('A=1\nB="open\nC=2', "env:2:1"), ("A='b' c", "env:1:1")],
)
def test_anything_else_is_refused_with_its_place(text: str, place: str) -> None:
    with pytest.raises(UserError) as caught:
        assignments(text, "env")
    assert (caught.value.code, str(caught.value.where)) == ("variables-file", place)


def _file(path: Path, text: str, mode: int = 0o600) -> str:
    path.write_text(text)
    path.chmod(mode)
    return str(path)


def test_the_trees_own_files_count_least_and_of_one_name_the_last(tmp_path: Path) -> None:
    value = "pass" + "word-of-a-test"
    folder = tmp_path / ".aegis"
    folder.mkdir()
    _file(folder / "env", "A=own\nB=own\n")
    _file(folder / "secrets", f"S={value}\n")
    _file(tmp_path / "cert.pem", "PEM\n")
    named = [_file(tmp_path / "one", "A=one\n"), _file(tmp_path / "two", "A=two\nfile CERT=cert.pem\n")]
    given = read(folder, named, [])
    assert {one.key: one for one in given.variables} == {
        "A": Variable(key="A", value="two", raw=True),
        "B": Variable(key="B", value="own", raw=True),
        "CERT": Variable(key="CERT", value="PEM\n", raw=True, file=True),
        "S": Variable(key="S", value="", secret="file:S", masked=True, raw=True),
    }
    assert given.secrets == {"S": value}
    assert [Path(one).name for one in given.files] == ["env", "secrets"]
    assert read(tmp_path / "none", [], []).variables == ()


def test_secrets_that_everybody_can_read_and_files_that_are_not_there_are_refused(tmp_path: Path) -> None:
    for env, secrets, code in (
        ([], [_file(tmp_path / "open", "S=x\n", 0o644)], "secrets-readable"),
        ([str(tmp_path / "none")], [], "no-file"),
        ([_file(tmp_path / "named", "file K=none.pem\n")], [], "no-file"),
    ):
        with pytest.raises(UserError) as caught:
            read(tmp_path, env, secrets)
        assert caught.value.code == code
        assert caught.value.hint

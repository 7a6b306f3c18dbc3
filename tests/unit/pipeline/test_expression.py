from __future__ import annotations

import pytest

from aegis.pipeline.expression import ExpressionError, holds, parse

VALUES = {
    "BRANCH": "feature/login",
    "EMPTY": "",
    "BLANK": "  ",
    "YES": "yes",
    "PATTERN": "/^feature/",
    "PATTERN_I": "/^FEATURE/i",
    "ONE": "/./",
    "PLAIN": "my feature/login page",
    "BROKEN": "/(/",
    "NESTED": "$UNDEFINED",
    "TRUE": "true",
}


def is_true(text: str) -> bool:
    return holds(text, VALUES)


@pytest.mark.parametrize(
    "text",
    [
        '$BRANCH == "feature/login"',
        "$BRANCH == 'feature/login'",
        '"feature/login" == $BRANCH',
        '$BRANCH != "main"',
        "$UNDEFINED == null",
        "$EMPTY != null",
        '$EMPTY == ""',
        "$YES",
        "$NESTED",
        "$BRANCH =~ /^feature/",
        "$BRANCH =~ /^FEATURE/i",
        "$BRANCH !~ /^main/",
        "$BRANCH =~ $PATTERN",
        "$BRANCH =~ $PATTERN_I",
        "$BRANCH =~ $ONE",
        "$BRANCH =~ $PLAIN",
        "$BRANCH !~ null",
        "$UNDEFINED !~ /something/",
        "!$UNDEFINED",
        "!$BLANK",
        "!!$YES",
        "true",
        "true == true",
        "!(false || $UNDEFINED)",
        '$YES == "yes" && $BRANCH',
        '$UNDEFINED || $YES == "yes"',
        '$UNDEFINED == "x" || $YES && $BRANCH',
        '($UNDEFINED || $YES) && $BRANCH == "feature/login"',
        "$BRANCH =~ /feature\\/login/",
        "$BRANCH =~ /^feature/ && $YES =~ /^ye/",
        '$YES\n == \n"yes"',
        "$EMPTY && $YES",
    ],
)
def test_an_expression_is_true(text: str) -> None:
    assert is_true(text)


@pytest.mark.parametrize(
    "text",
    [
        "$UNDEFINED",
        "$EMPTY",
        "$BLANK",
        "null",
        "false",
        '$UNDEFINED == ""',
        "$EMPTY == null",
        "$BRANCH =~ null",
        "$BRANCH =~ $UNDEFINED",
        "$BRANCH =~ /^main/",
        "$YES =~ $BROKEN",
        '!$YES == "yes"',
        "!$YES != null && false",
        "$TRUE == true",
        '"$YES" == "yes"',
        "$BRANCH =~ /$YES/",
        "$EMPTY || $YES",
        "$YES && $UNDEFINED",
        "$BRANCH == /feature.login/",
    ],
)
def test_an_expression_is_false(text: str) -> None:
    assert not is_true(text)


def test_and_binds_tighter_than_or() -> None:
    assert is_true("true || false && false")
    assert not is_true("(true || false) && false")


def test_a_comparison_binds_tighter_than_and() -> None:
    assert is_true('$YES && $YES == "yes"')


def test_not_binds_tighter_than_a_comparison() -> None:
    assert not is_true('!$YES == "no"')
    assert is_true('!($YES == "no")')


def test_inputs_are_values() -> None:
    assert holds('$[[ inputs.env ]] == "prod"', {}, {"env": "prod"})
    assert holds("$[[ inputs.on ]] == true", {}, {"on": True})


def test_a_pattern_without_a_slash_asks_whether_the_left_is_a_part_of_the_right() -> None:
    assert holds("$A =~ $B", {"A": "ell", "B": "hello"})
    assert not holds("$A =~ $B", {"A": "hello", "B": "ell"})


def test_ungreedy_multiline_and_dot_flags_are_taken() -> None:
    assert holds("$A =~ /^b$/m", {"A": "a\nb"})
    assert holds("$A =~ /a.b/s", {"A": "a\nb"})
    assert not holds("$A =~ /a.b/", {"A": "a\nb"})
    assert holds("$A =~ /a+?b/U", {"A": "aab"})


def test_a_pattern_cannot_take_exponential_time() -> None:
    assert not holds("$A =~ /^(a+)+$/", {"A": "a" * 5000 + "b"})


@pytest.mark.parametrize(
    ("text", "offset"),
    [
        ("", 0),
        ("${BRANCH} == 'x'", 0),
        ("$A = 'x'", 3),
        ("$A =~ /./", 6),
        ("$A =~ /xy/g", 10),
        ("$A =~ /(ab/", 6),
        ("$A =~ /(?=ab)/", 6),
        ("$A == ", 6),
        ("== $A", 0),
        ("$A $B", 3),
        ("($A", 0),
        ("$A)", 2),
        ("$A & $B", 3),
        ("$A == unquoted", 6),
        ("!", 1),
    ],
)
def test_what_is_no_expression_is_refused_at_its_place(text: str, offset: int) -> None:
    with pytest.raises(ExpressionError) as caught:
        parse(text)
    assert caught.value.offset == offset


def test_a_hundred_tokens_are_the_most() -> None:
    parse(" && ".join(["$A"] * 50))
    with pytest.raises(ExpressionError, match="100 tokens"):
        parse(" && ".join(["$A"] * 51))


def test_parentheses_may_be_nested_to_the_limit() -> None:
    assert holds("(" * 49 + "$A" + ")" * 49, {"A": "x"})

from __future__ import annotations

import pytest

from aegis.core.plan import Variable
from aegis.pipeline.diagnostics import Report
from aegis.pipeline.document import Limits, Map, Scalar, resolve
from aegis.pipeline.durations import seconds
from aegis.pipeline.globs import matches
from aegis.pipeline.predefined import environment_slug, slug, tier
from aegis.pipeline.reader import parse
from aegis.pipeline.variables import RUN_TIME, Expansion, circles, references, referring


@pytest.mark.parametrize(
    ("text", "length"),
    [
        ("42", 42),
        ("42 seconds", 42),
        ("3 mins 4 sec", 184),
        ("2 hrs 20 min", 8400),
        ("2h20min", 8400),
        ("6 mos 1 day", 6 * 2592000 + 86400),
        ("47 yrs 6 mos and 4d", 47 * 31557600 + 6 * 2592000 + 4 * 86400),
        ("3 weeks and 2 days", 23 * 86400),
        ("1h 30m", 5400),
        ("two hours", 7200),
        ("twenty five minutes", 1500),
        ("3 minutes", 180),
        ("1.5 hours", 5400),
        ("1:30:00", 5400),
        ("  1 Week ", 604800),
        ("0", 0),
    ],
)
def test_a_duration_is_read(text: str, length: int) -> None:
    assert seconds(text) == length


@pytest.mark.parametrize("text", ["", "soon", "h", "3 fortnights", "1 2", "-5 minutes", "9" * 60, "and", "1" * 200])
def test_what_is_no_duration_is_none(text: str) -> None:
    assert seconds(text) is None


@pytest.mark.parametrize(
    ("pattern", "path", "fits"),
    [
        ("*.md", "README.md", True),
        ("*.md", "docs/README.md", False),
        ("**/*.md", "README.md", True),
        ("**/*.md", "a/b/c.md", True),
        ("docs/**/*", "docs/a", True),
        ("docs/**/*", "docs/a/b/c", True),
        ("docs/**", "docs/a", True),
        ("docs/**", "docs/a/b", False),
        ("docs/*", "docs/.hidden", True),
        ("src/?.py", "src/a.py", True),
        ("src/?.py", "src/ab.py", False),
        ("src?a.py", "src/a.py", False),
        ("[ab].py", "a.py", True),
        ("[!ab].py", "a.py", False),
        ("[a-c].py", "b.py", True),
        ("a[/]b", "a/b", False),
        ("*.{py,pyi}", "a.pyi", True),
        ("{src,lib}/**/*.py", "lib/x/a.py", True),
        ("{a,{b,c}}.py", "c.py", True),
        ("a{b", "a{b", True),
        (r"\*.py", "*.py", True),
        (r"\*.py", "a.py", False),
        ("a+b(c)", "a+b(c)", True),
        ("[", "[", True),
    ],
)
def test_a_glob_fits_as_ruby_says(pattern: str, path: str, fits: bool) -> None:
    assert matches(pattern, path) is fits


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("", None), ("~", None), ("null", None), ("Null", None), ("yes", True), ("On", True), ("TRUE", True),
        ("no", False), ("off", False), ("y", "y"), ("n", "n"), ("nullify", "nullify"), ("1", 1), ("-1", -1), ("+1", 1),
        ("0o7", "0o7"), ("017", 15), ("08", "08"), ("0x1F", 31), ("-0x10", -16), ("0b101", 5), ("1_000", 1000),
        ("1,000", 1000), ("1.5", 1.5), ("1.", 1.0), (".5", 0.5), ("1e3", "1e3"), ("1.0e+3", 1000.0), (".", "."),
        ("1.2.3", "1.2.3"), ("1:30", 5400), ("20:30:15", 73815), (".inf", float("inf")), ("-.INF", float("-inf")),
        ("-", "-"), ("1a", "1a"), ("_", "_"), ("9" * 500, "9" * 500),
    ],
)  # fmt: skip
def test_a_plain_scalar_has_rubys_type(text: str, value: object) -> None:
    found = resolve(text)
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize("text", ["2024-01-31", "2024-01-31 10:00:00", "2024-01-31T10:00:00Z"])
def test_a_date_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="2024"):
        resolve(text)


def test_quotes_and_blocks_are_always_text() -> None:
    root = parse("a: '1'\nb: \"yes\"\nc: |\n  1\nd: !!str 1\ne: !!int '1'\n", "f", Report(), Limits())
    assert isinstance(root, Map)
    values = {name: node.value for name, node in root.items() if isinstance(node, Scalar)}
    assert values == {"a": "1", "b": "yes", "c": "1\n", "d": "1", "e": 1}


def test_nodes_know_their_place_through_aliases() -> None:
    root = parse("a: &x\n  k: v\nb: *x\n", "f.yml", Report(), Limits())
    assert isinstance(root, Map)
    node = root.get("b")
    assert isinstance(node, Map)
    inner = node.get("k")
    assert inner is not None
    assert str(inner.where) == "f.yml:2:6"


def expanded(*variables: Variable) -> dict[str, Variable]:
    given = {one.key: one for one in variables}
    return {one.key: one for one in Expansion(given, RUN_TIME.__contains__).final()}


def var(key: str, value: str, *, raw: bool = False, file: bool = False, secret: str | None = None) -> Variable:
    return Variable(key=key, value=value, raw=raw, file=file, secret=secret)


def test_references_in_all_forms_are_found() -> None:
    assert references("$A ${B} %C% $$D %%E $1 $(F)") == ("A", "B", "C")


def test_nested_references_are_followed_in_any_order() -> None:
    found = expanded(var("A", "$B/a"), var("B", "${C}/b"), var("C", "c"))
    assert found["A"].value == "c/b/a"
    assert found["A"].raw


def test_two_dollars_are_one_that_is_not_expanded() -> None:
    assert expanded(var("A", "$$B $$"), var("B", "b"))["A"].value == "$B $"


def test_a_shell_substitution_stays() -> None:
    assert expanded(var("A", "$(date +%Y) $1 $"))["A"].value == "$(date +%Y) $1 $"


def test_an_undefined_name_becomes_empty() -> None:
    assert expanded(var("A", "[$NOPE]"))["A"].value == "[]"


def test_a_name_that_the_runner_sets_stays_open_with_its_escapes() -> None:
    found = expanded(var("A", "$CI_JOB_ID $$x $B"), var("B", "b"))["A"]
    assert found.value == "$CI_JOB_ID $$x b"
    assert not found.raw


def test_what_refers_to_an_open_value_is_open_too() -> None:
    assert not expanded(var("A", "$B"), var("B", "$CI_JOB_ID"))["A"].raw


def test_files_and_secrets_stay_references() -> None:
    found = expanded(var("A", "$F $S"), var("F", "content", file=True), var("S", "", secret="s"))
    assert found["A"].value == "$F $S"
    assert found["S"].secret == "s"


def test_a_raw_value_is_put_in_as_it_is() -> None:
    assert expanded(var("A", "$R"), var("R", "$B$$", raw=True), var("B", "b"))["A"].value == "$B$$"


def found(given: dict[str, Variable]) -> tuple[tuple[str, ...], ...]:
    return circles(given, referring(given))


def test_a_variable_that_names_itself_keeps_the_name() -> None:
    assert expanded(var("A", "x$A"))["A"].value == "x$A"
    assert found({"A": var("A", "x$A")}) == ()


def test_a_circle_of_variables_is_found() -> None:
    given = {one.key: one for one in (var("A", "$B"), var("B", "$C"), var("C", "$A"), var("D", "$A"))}
    assert found(given) == (("A", "B", "C"),)


def test_a_long_chain_of_variables_is_followed() -> None:
    given = [var(f"V{i}", f"$V{i + 1}") for i in range(3000)] + [var("V3000", "end")]
    assert expanded(*given)["V0"].value == "end"


def test_variables_that_multiply_are_bounded() -> None:
    given = {f"V{i}": var(f"V{i}", f"$V{i + 1}$V{i + 1}$V{i + 1}$V{i + 1}") for i in range(40)}
    given["V40"] = var("V40", "x" * 10)
    expansion = Expansion(given, RUN_TIME.__contains__)
    assert all(len(one.value) <= 128 * 1024 for one in expansion.final())
    assert expansion.too_long


def test_slugs_follow_gitlab() -> None:
    assert slug("Feature/ABC_1.x--") == "feature-abc-1-x"
    assert len(slug("x" * 100)) == 63
    assert environment_slug("staging") == "staging"
    assert environment_slug("1prod").startswith("env-1prod-")
    assert len(environment_slug("a-very-long-environment-name-indeed")) == 24


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("production", "production"),
        ("live", "production"),
        ("staging", "staging"),
        ("review/x", "development"),
        ("qa", "testing"),
        ("x", "other"),
    ],
)
def test_a_tier_is_guessed_from_the_name(name: str, expected: str) -> None:
    assert tier(name) == expected

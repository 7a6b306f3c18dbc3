"""The language of `rules:if`: lexer, parser and evaluator with GitLab's semantics.

Decides what an expression means, oddities included: an empty string is true to `&&` and `||` and false as the whole
result; `=~` with a variable that holds no `/pattern/` asks whether the left side is a part of the right one; a literal
pattern needs at least two characters. Patterns are RE2, so no pattern can take exponential time. Source: GitLab's
documentation of `rules:if` and the facts collected in the project's notes on GitLab.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, Final, NamedTuple, TypeAlias

from aegis.pipeline.patterns import Rare

MAX_TOKENS: Final = 100

Result: TypeAlias = "str | bool | Pattern | None"


class ExpressionError(ValueError):
    """Not an expression; `offset` is where it stops making sense (0-based)."""

    def __init__(self, message: str, offset: int, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.offset = offset
        self.hint = hint


class Pattern(NamedTuple):
    """A compiled regular expression with the text it was written as."""

    text: str
    compiled: Any

    def found_in(self, subject: str) -> bool:
        """Whether it matches anywhere in `subject`."""
        return self.compiled.search(subject) is not None


class Literal(NamedTuple):
    """A string, `null`, `true`, `false` or a pattern."""

    value: Result


class Reference(NamedTuple):
    """A variable (`$NAME`) or an input (`$[[ inputs.name ]]`)."""

    name: str
    is_input: bool = False


class Not(NamedTuple):
    """Unary `!`."""

    operand: Tree


class Binary(NamedTuple):
    """`==`, `!=`, `=~`, `!~`, `&&` or `||`."""

    sign: str
    left: Tree
    right: Tree


Tree: TypeAlias = Literal | Reference | Not | Binary


class _Token(NamedTuple):
    kind: str
    text: str
    offset: int


_LEXER: Final = re.compile(
    r"""(?P<space>\s+)
    |(?P<open>\()|(?P<close>\))
    |(?P<input>\$\[\[\s*inputs\.[\w-]+\s*\]\])
    |(?P<variable>\$\w+)
    |(?P<string>"[^"\n]*"|'[^'\n]*')
    |(?P<pattern>/(?:[^/]|\\/)+[^\\]/[ismU]*)
    |(?P<null>null\b)
    |(?P<boolean>\b(?:true|false)\b)
    |(?P<sign>==|!=|=~|!~|&&|\|\|)
    |(?P<not>!)""",
    re.VERBOSE,
)
_SIMPLE: Final = re.compile(
    r"\^?(?:[A-Za-z0-9_ /-]|\\[./dw-])*(?:(?:\.|\\d|\\w)[*+])?(?:[A-Za-z0-9_ /-]|\\[./dw-])*\$?"
)
"""Patterns that mean the same to Python, in linear time but for one repetition; loading RE2 takes as long as a small file."""
_RUBY_PATTERN: Final = Rare(r"/(.*)/([ismU]*)", re.DOTALL)


def compile_pattern(text: str) -> Pattern | None:
    """The RE2 pattern that `/…/flags` writes; None where it is not of that form or not valid."""
    parts = _RUBY_PATTERN.fullmatch(text)
    if parts is None:
        return None
    body, flags = parts.groups()
    if not flags and _SIMPLE.fullmatch(body):
        return Pattern(text, re.compile(body[:-1] + r"\Z" if body.endswith("$") else body, re.ASCII))
    import re2  # noqa: PLC0415 - most files hold no pattern that needs it

    options = re2.Options()
    options.log_errors = False
    try:
        return Pattern(text, re2.compile(f"(?{flags}){body}" if flags else body, options))
    except re2.error:
        return None


def tokens(text: str) -> list[_Token]:
    """The words of an expression; `ExpressionError` at the first that is none, or beyond 100."""
    found: list[_Token] = []
    position = 0
    while position < len(text):
        match = _LEXER.match(text, position)
        if match is None:
            raise ExpressionError(
                f"unexpected `{text[position : position + 12]}`", position, _lexical_hint(text, position)
            )
        kind = match.lastgroup or ""
        if kind != "space":
            found.append(_Token(kind, match.group(), position))
            if len(found) > MAX_TOKENS:
                raise ExpressionError(f"more than {MAX_TOKENS} tokens", position, "split it into several rules")
        position = match.end()
    return found


def _lexical_hint(text: str, position: int) -> str:
    rest = text[position:]
    if rest.startswith("${"):
        return "write `$NAME`; `${NAME}` is not allowed in expressions"
    if rest.startswith("/"):
        return "a pattern needs at least two characters between its slashes, and flags of `ismU`"
    if rest.startswith("="):
        return "compare with `==`"
    if rest.startswith("&"):
        return "use `&&`"
    if rest.startswith("|"):
        return "use `||`"
    return "values are `$NAME`, quoted strings, `/patterns/` and `null`"


@lru_cache(maxsize=8192)
def parse(text: str) -> Tree:
    """The tree of an expression; `ExpressionError` with the place where it is wrong."""
    words = tokens(text)
    if not words:
        raise ExpressionError("the expression is empty", 0, "leave `if` out to match always")
    parser = _Parser(words, len(text))
    tree = parser.disjunction()
    if parser.position < len(words):
        word = words[parser.position]
        raise ExpressionError(f"unexpected `{word.text}`", word.offset, "join comparisons with `&&` or `||`")
    return tree


class _Parser:
    """Recursive descent; at most 100 tokens deep by construction."""

    def __init__(self, words: list[_Token], end: int) -> None:
        self.words = words
        self.end = end
        self.position = 0

    def _peek(self, *texts: str) -> bool:
        return self.position < len(self.words) and self.words[self.position].text in texts

    def _take(self) -> _Token:
        if self.position >= len(self.words):
            raise ExpressionError("the expression ends too early", self.end, "a value is missing after the operator")
        word = self.words[self.position]
        self.position += 1
        return word

    def disjunction(self) -> Tree:
        left = self.conjunction()
        while self._peek("||"):
            self._take()
            left = Binary("||", left, self.conjunction())
        return left

    def conjunction(self) -> Tree:
        left = self.comparison()
        while self._peek("&&"):
            self._take()
            left = Binary("&&", left, self.comparison())
        return left

    def comparison(self) -> Tree:
        left = self.unary()
        while self._peek("==", "!=", "=~", "!~"):
            sign = self._take().text
            left = Binary(sign, left, self.unary())
        return left

    def unary(self) -> Tree:
        word = self._take()
        if word.kind == "not":
            return Not(self.unary())
        if word.kind == "open":
            inside = self.disjunction()
            if not self._peek(")"):
                raise ExpressionError("a parenthesis is not closed", word.offset, "add `)`")
            self._take()
            return inside
        return self._value(word)

    def _value(self, word: _Token) -> Tree:
        text = word.text
        if word.kind == "variable":
            return Reference(text[1:])
        if word.kind == "input":
            return Reference(text[3:-2].strip().removeprefix("inputs."), is_input=True)
        if word.kind == "string":
            return Literal(text[1:-1])
        if word.kind == "null":
            return Literal(None)
        if word.kind == "boolean":
            return Literal(text == "true")
        if word.kind == "pattern":
            compiled = compile_pattern(text)
            if compiled is None:
                raise ExpressionError(f"{text} is not a valid RE2 pattern", word.offset, "RE2 has no look-around")
            return Literal(compiled)
        raise ExpressionError(f"unexpected `{text}`", word.offset, "a value is expected here")


def evaluate(tree: Tree, variables: Mapping[str, str], inputs: Mapping[str, Result] | None = None) -> Result:
    """What the expression yields; undefined variables are None."""
    if isinstance(tree, Literal):
        return tree.value
    if isinstance(tree, Reference):
        return (inputs or {}).get(tree.name) if tree.is_input else variables.get(tree.name)
    if isinstance(tree, Not):
        return not truthy(evaluate(tree.operand, variables, inputs))
    left = evaluate(tree.left, variables, inputs)
    if tree.sign == "&&":
        return left if left is None or left is False else evaluate(tree.right, variables, inputs)
    if tree.sign == "||":
        return evaluate(tree.right, variables, inputs) if left is None or left is False else left
    right = evaluate(tree.right, variables, inputs)
    if tree.sign in {"==", "!="}:
        return _equal(left, right) == (tree.sign == "==")
    return _fits(left, right) == (tree.sign == "=~")


def holds(text: str, variables: Mapping[str, str], inputs: Mapping[str, Result] | None = None) -> bool:
    """Whether the expression is true; `ExpressionError` where it is none."""
    return truthy(evaluate(parse(text), variables, inputs))


def truthy(value: Result) -> bool:
    """Whether a final value counts as true: a blank string does not."""
    if isinstance(value, str):
        return bool(value.strip())
    return value is not None and value is not False


def _equal(left: Result, right: Result) -> bool:
    if isinstance(left, Pattern) or isinstance(right, Pattern):
        return False
    return type(left) is type(right) and left == right


def _fits(left: Result, right: Result) -> bool:
    if right is None or isinstance(right, bool):
        return False
    subject = "" if left is None else left.text if isinstance(left, Pattern) else _ruby_text(left)
    if isinstance(right, Pattern):
        return right.found_in(subject)
    compiled = compile_pattern(right)
    return compiled.found_in(subject) if compiled is not None else subject in right


def _ruby_text(value: str | bool) -> str:
    return value if isinstance(value, str) else str(value).lower()


def names(tree: Tree) -> frozenset[str]:
    """The variables an expression reads."""
    if isinstance(tree, Reference):
        return frozenset() if tree.is_input else frozenset({tree.name})
    if isinstance(tree, Not):
        return names(tree.operand)
    if isinstance(tree, Binary):
        return names(tree.left) | names(tree.right)
    return frozenset()

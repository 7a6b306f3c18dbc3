"""Reads `aegis.yaml`: bytes in, a declaration or an error with its line out. Pure."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from difflib import get_close_matches
from typing import Any

import yaml
from pydantic import ValidationError

from aegis.config.declaration import Declaration
from aegis.core.errors import UserError, Where

MAXIMUM_BYTES = 1 << 20
MAXIMUM_NODES = 50_000


def load(data: bytes, *, file: str = "aegis.yaml") -> Declaration:
    """The declaration that `data` holds; `UserError` with the place of the first mistake and how many follow."""
    if len(data) > MAXIMUM_BYTES:
        raise UserError("declaration-size", f"{file} is larger than 1 MiB", hint="split test data off the declaration")
    try:
        node = yaml.compose(data.decode("utf-8"), Loader=yaml.CSafeLoader)
        if node is None:
            raise UserError("declaration-empty", f"{file} is empty", hint="begin with `version: 1`", where=Where(file))
        if sum(1 for _ in _walk(node)) >= MAXIMUM_NODES:
            raise UserError("declaration-size", f"{file} expands to too many values", where=Where(file))
        value = yaml.load(data, Loader=yaml.CSafeLoader)
    except UnicodeDecodeError as error:
        raise UserError("declaration-encoding", f"{file} is not UTF-8: {error.reason}", where=Where(file)) from error
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        where = Where(file, mark.line + 1, mark.column + 1) if mark else Where(file)
        raise UserError(
            "declaration-yaml", f"not YAML: {error.problem}", hint=str(error.context or ""), where=where
        ) from error
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        raise UserError("declaration-yaml", f"not YAML: {error}", where=Where(file)) from error
    try:
        return Declaration.model_validate(value)
    except ValidationError as error:
        raise _explained(error, node, file) from error


def digest(data: bytes) -> str:
    """The policy digest: what a plan hash binds."""
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def _explained(error: ValidationError, node: yaml.Node, file: str) -> UserError:
    first = error.errors()[0]
    place = [part for part in first["loc"] if isinstance(part, str | int)]
    where = _place(node, place, file)
    path = ".".join(str(part) for part in place) or "the declaration"
    more = f" (and {error.error_count() - 1} more)" if error.error_count() > 1 else ""
    if first["type"] == "extra_forbidden":
        known = _siblings(place[:-1])
        close = get_close_matches(str(place[-1]), known, n=1)
        hint = f"did you mean `{close[0]}`?" if close else f"known here: {', '.join(known)}"
        return UserError("declaration-key", f"unknown key `{path}`{more}", hint=hint, where=where)
    message = first["msg"].removeprefix("Value error, ")
    return UserError("declaration-value", f"{path}: {message}{more}", hint="see docs/declaration.md", where=where)


def _siblings(path: Sequence[str | int]) -> list[str]:
    """The keys that the model at `path` knows."""
    model: Any = Declaration
    for part in path:
        fields = getattr(model, "model_fields", {})
        field = next((one for name, one in fields.items() if part in (name, one.alias)), None)
        model = field.annotation if field else model
        model = next((one for one in _options(model) if hasattr(one, "model_fields")), model)
    return sorted(one.alias or name for name, one in getattr(model, "model_fields", {}).items())


def _options(annotation: Any) -> Iterator[Any]:
    """An annotation and everything it is made of."""
    yield annotation
    for one in getattr(annotation, "__args__", ()):
        yield from _options(one)


def _place(node: yaml.Node, path: Sequence[str | int], file: str) -> Where:
    current = node
    mark = node.start_mark
    for part in path:
        if isinstance(current, yaml.MappingNode):
            pair = next(((key, value) for key, value in current.value if key.value == str(part)), None)
            if pair is None:
                break
            mark, current = pair[0].start_mark, pair[1]
        elif isinstance(current, yaml.SequenceNode) and isinstance(part, int) and part < len(current.value):
            current = current.value[part]
            mark = current.start_mark
        else:
            break
    return Where(file, mark.line + 1, mark.column + 1)


def _walk(node: yaml.Node, depth: int = 0) -> Iterator[yaml.Node]:
    """Every node as often as aliases repeat it, up to the bound: an alias bomb is found before it is built."""
    stack = [(node, depth)]
    seen = 0
    while stack and seen < MAXIMUM_NODES:
        current, level = stack.pop()
        seen += 1
        if level > 100:
            raise ValueError("nested more than 100 levels deep")
        yield current
        if isinstance(current, yaml.MappingNode):
            stack.extend((child, level + 1) for pair in current.value for child in pair)
        elif isinstance(current, yaml.SequenceNode):
            stack.extend((child, level + 1) for child in current.value)

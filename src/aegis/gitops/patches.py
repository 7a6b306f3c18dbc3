"""How a patch changes a manifest: strategic merge for the lists that have a key, JSON 6902 for single values.

Decides: the merged value, on a copy. Sources: Kubernetes' "Update API objects in place using kubectl patch"
(strategic merge: lists of objects merge by the key that their type declares, `$patch: delete|replace`, null
deletes), RFC 6902 and RFC 6901. Does not know every list of every type: the keys below are those of the
workloads that Aegis writes; any other list is replaced as a whole, as the API does without a declared key.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any, Final

from aegis.core.errors import UserError

# Field name → merge key, from the Go types' `patchMergeKey` (core/v1, apps/v1, batch/v1).
MERGE_KEYS: Final = {
    "containers": "name",
    "initContainers": "name",
    "env": "name",
    "volumes": "name",
    "volumeMounts": "mountPath",
    "imagePullSecrets": "name",
    "hostAliases": "ip",
}
# `ports` has two keys, by where it stands: a container's and a Service's.
_PORT_KEYS: Final = ("containerPort", "port")


def merge(original: Mapping[str, Any], patch: Mapping[str, Any]) -> dict[str, Any]:
    """`original` with the strategic merge `patch` applied."""
    if patch.get("$patch") == "replace":
        return {key: copy.deepcopy(value) for key, value in patch.items() if key != "$patch"}
    result = dict(copy.deepcopy(dict(original)))
    for key, value in patch.items():
        if key == "$patch":
            continue
        if value is None:
            result.pop(key, None)
        elif isinstance(value, Mapping):
            if value.get("$patch") == "delete":
                result.pop(key, None)
                continue
            before = result.get(key)
            result[key] = merge(before if isinstance(before, Mapping) else {}, value)
        elif isinstance(value, Sequence) and not isinstance(value, str):
            result[key] = _merge_list(key, result.get(key), value)
        else:
            result[key] = value
    return result


def _merge_key(field: str, items: Sequence[Any]) -> str | None:
    if not items or not all(isinstance(one, Mapping) for one in items):
        return None
    if field == "ports":
        return next((key for key in _PORT_KEYS if all(key in one for one in items)), None)
    return MERGE_KEYS.get(field)


def _merge_list(field: str, before: object, patch: Sequence[Any]) -> list[Any]:
    items = list(before) if isinstance(before, Sequence) and not isinstance(before, str) else []
    key = _merge_key(field, patch)
    if key is None:
        return copy.deepcopy(list(patch))
    first: list[Any] = []  # as Kustomize does it: what the patch names, in its order, and then the rest
    for one in patch:
        index = next((at for at, known in enumerate(items) if known.get(key) == one.get(key)), None)
        before_it = items.pop(index) if index is not None else {}
        if one.get("$patch") != "delete":
            first.append(merge(before_it, one))
    return [*first, *items]


def json6902(original: Mapping[str, Any], operations: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """`original` after `add`, `replace`, `remove` and `test` operations; `UserError` names what does not fit."""
    root: dict[str, Any] = copy.deepcopy(dict(original))
    for operation in operations:
        name, path = str(operation.get("op")), str(operation.get("path", ""))
        if name not in ("add", "replace", "remove", "test") or not path.startswith("/"):
            raise UserError(
                "patch-operation",
                f"the JSON patch operation {name!r} on {path!r} is not supported",
                hint="use add, replace, remove or test with a path that begins with '/'",
            )
        *parents, last = [_unescape(part) for part in path[1:].split("/")]
        target: Any = root
        for part in parents:
            target = _step(target, part, path)
        _operate(name, target, last, path, operation.get("value"))
    return root


def _unescape(part: str) -> str:
    return part.replace("~1", "/").replace("~0", "~")


def _step(target: Any, part: str, path: str) -> Any:
    try:
        return target[int(part)] if isinstance(target, list) else target[part]
    except (KeyError, IndexError, ValueError, TypeError) as error:
        raise _missing(path) from error


def _missing(path: str) -> UserError:
    return UserError(
        "patch-path", f"the patch names {path}, which is not there", hint="`add` needs its parent to exist"
    )


def _operate(name: str, target: Any, last: str, path: str, value: Any) -> None:
    if isinstance(target, list):
        try:
            at = len(target) if last == "-" else int(last)
        except ValueError as error:
            raise _missing(path) from error
        if name == "add" and at <= len(target):
            target.insert(at, copy.deepcopy(value))
            return
        if at >= len(target):
            raise _missing(path)
        _set(name, target, at, path, value)
        return
    if not isinstance(target, dict) or (name != "add" and last not in target):
        raise _missing(path)
    _set(name, target, last, path, value)


def _set(name: str, target: Any, key: Any, path: str, value: Any) -> None:
    if name == "remove":
        del target[key]
    elif name == "test":
        if target[key] != value:
            raise UserError("patch-test", f"the patch expected another value at {path}", hint="plan again")
    else:
        target[key] = copy.deepcopy(value)

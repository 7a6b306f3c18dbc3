"""Where the cluster differs from Git, field by field.

Decides: what counts as a difference. Only what Git says is compared: fields that the cluster adds by itself
(status, defaults, uid) are no drift (argo-cd#28724, #19800 report false ones). Does not mend anything.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from aegis.gitops.manifest import Manifest, Ref
from aegis.gitops.patches import MERGE_KEYS


@dataclass(frozen=True, slots=True, kw_only=True)
class Drift:
    """One object that is not as Git says. `fields` are paths with both values, empty when the object is missing."""

    ref: Ref
    missing: bool = False
    superfluous: bool = False
    fields: tuple[str, ...] = ()

    def __str__(self) -> str:
        if self.missing:
            return f"{self.ref} is missing in the cluster"
        if self.superfluous:
            return f"{self.ref} is in the cluster and not in Git"
        return f"{self.ref}: " + "; ".join(self.fields)


def drift(desired: Sequence[Manifest], live: Sequence[Manifest], leftovers: Sequence[Ref] = ()) -> tuple[Drift, ...]:
    """Everything that differs, in the order of `desired`, then what is left over."""
    present = {one.ref: one for one in live}
    found: list[Drift] = []
    for one in desired:
        other = present.get(one.ref)
        if other is None:
            found.append(Drift(ref=one.ref, missing=True))
        elif fields := tuple(_walk(one.body, other.body, "")):
            found.append(Drift(ref=one.ref, fields=fields))
    return (*found, *(Drift(ref=ref, superfluous=True) for ref in leftovers))


def differs(desired: Manifest, live: Manifest) -> bool:
    """Whether the cluster's object lacks anything that Git says."""
    return next(_walk(desired.body, live.body, ""), None) is not None


def _walk(want: Any, have: Any, path: str) -> Any:
    if isinstance(want, Mapping):
        if not isinstance(have, Mapping):
            yield _words(path, want, have)
            return
        for key, value in want.items():
            yield from _walk(value, have.get(key), f"{path}.{key}" if path else str(key))
    elif isinstance(want, Sequence) and not isinstance(want, str):
        yield from _walk_list(want, have, path)
    elif want != have:
        yield _words(path, want, have)


def _walk_list(want: Sequence[Any], have: Any, path: str) -> Any:
    if not isinstance(have, Sequence) or isinstance(have, str) or len(have) != len(want):
        yield _words(path, want, have)
        return
    key = MERGE_KEYS.get(path.rpartition(".")[2])
    keyed = key is not None and all(isinstance(one, Mapping) and key in one for one in [*want, *have])
    others = {one[key]: one for one in have} if keyed else {}
    for index, one in enumerate(want):
        # The order of a keyed list has no meaning in the API.
        other = others.get(one[key]) if keyed else have[index]
        yield from _walk(one, other, f"{path}[{one[key] if keyed else index}]")


def _words(path: str, want: object, have: object) -> str:
    return f"{path} is {_short(have)}, Git says {_short(want)}"


def _short(value: object) -> str:
    text = "absent" if value is None else str(value)
    return text if len(text) <= 80 else text[:77] + "…"

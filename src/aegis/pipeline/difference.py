"""What differs between two plans, job by job and field by field. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Final

from aegis.core.plan import JobSpec, Plan

_UNSHOWN: Final = frozenset({"name", "where", "reason", "variables"})


@dataclass(frozen=True, slots=True, kw_only=True)
class FieldChange:
    """One field of a job before and after, as plain values. Variables are named `variables.NAME`."""

    field: str
    before: Any
    after: Any


@dataclass(frozen=True, slots=True, kw_only=True)
class JobChange:
    """A job that both have and that differs."""

    name: str
    fields: tuple[FieldChange, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """All of it. Empty tuples where nothing differs."""

    added: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    changed: tuple[JobChange, ...] = ()
    stages_before: tuple[str, ...] = ()
    stages_after: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.added or self.removed or self.changed or self.stages_before != self.stages_after)


def compare(before: Plan | None, after: Plan | None) -> Difference:
    """The difference; a missing plan has no jobs."""
    old = {job.name: job for job in before.jobs} if before is not None else {}
    new = {job.name: job for job in after.jobs} if after is not None else {}
    changed = []
    for name, job in new.items():
        if name in old:
            found = _fields(old[name], job)
            if found:
                changed.append(JobChange(name=name, fields=found))
    return Difference(
        added=tuple(name for name in new if name not in old),
        removed=tuple(name for name in old if name not in new),
        changed=tuple(changed),
        stages_before=before.stages if before is not None else (),
        stages_after=after.stages if after is not None else (),
    )


def _fields(old: JobSpec, new: JobSpec) -> tuple[FieldChange, ...]:
    found = [
        FieldChange(field=one.name, before=getattr(old, one.name), after=getattr(new, one.name))
        for one in fields(JobSpec)
        if one.name not in _UNSHOWN and getattr(old, one.name) != getattr(new, one.name)
    ]
    before, after = _values(old), _values(new)
    found.extend(
        FieldChange(field=f"variables.{name}", before=before.get(name), after=after.get(name))
        for name in dict.fromkeys((*before, *after))
        if before.get(name) != after.get(name)
    )
    return tuple(found)


def _values(job: JobSpec) -> Mapping[str, str]:
    """Variables as they are shown: a masked value never is."""
    return {one.key: "[masked]" if one.masked or one.secret else one.value for one in job.variables}

"""A difference between two plans as a reviewer reads it: what is new, gone or changed, and what of it matters first. Pure.

Lists become the lines that were added and removed, needs and variables single entries, and what a change means beyond its
field (a job that now waits for a person, that may fail, that deploys elsewhere) is said in words.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

from aegis.core import codec
from aegis.core.plan import Excluded, JobSpec, Plan
from aegis.pipeline.difference import Difference, FieldChange, JobChange

Mark = Literal["+", "-", "~", " "]
_LINES: Final = frozenset({"script", "before_script", "after_script"})
_SETS: Final = frozenset({"needs", "dependencies", "tags", "services", "cache"})
_WORDS: Final = {"true": "yes", "false": "no", "null": "nothing"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One line: what kind of change it is, how deep it is indented, its text."""

    mark: Mark
    depth: int
    text: str


def review(
    before: Plan | None, after: Plan | None, difference: Difference, left_out: Sequence[Excluded] = ()
) -> Iterator[Line]:
    """The lines. `left_out` are the jobs that the head's pipeline leaves out, with their reasons."""
    old = {job.name: job for job in before.jobs} if before is not None else {}
    new = {job.name: job for job in after.jobs} if after is not None else {}
    yield Line(mark=" ", depth=0, text=_counts(difference))
    if difference.stages_before != difference.stages_after and before is not None:
        yield Line(
            mark="~",
            depth=0,
            text=f"stages: {', '.join(difference.stages_before) or 'none'} → {', '.join(difference.stages_after) or 'none'}",
        )
    for name in difference.added:
        yield Line(mark="+", depth=0, text=f"{name}  ({_about(new[name])})")
        yield from (Line(mark="+", depth=1, text=line) for line in new[name].script[:6])
    reasons = {one.name: one.reason for one in left_out}
    for name in difference.removed:
        why = f": {reasons[name]}" if name in reasons else ": it is no longer in the file"
        yield Line(mark="-", depth=0, text=f"{name}  ({_about(old[name])}){why}")
    for change in difference.changed:
        yield from _changed(change)


def _counts(difference: Difference) -> str:
    counts = (
        (len(difference.added), "added"),
        (len(difference.removed), "removed"),
        (len(difference.changed), "changed"),
    )
    said = ", ".join(f"{count} {word}" for count, word in counts if count)
    return f"jobs: {said}" if said else "no job differs" if difference else "no difference"


def _about(job: JobSpec) -> str:
    parts = [job.stage]
    if job.when != "on_success":
        parts.append(job.when.replace("_", " "))
    if job.environment is not None:
        parts.append(f"deploys to {job.environment.name}")
    if job.needs is not None:
        parts.append("needs " + (", ".join(need.job for need in job.needs) or "nothing"))
    return "; ".join(parts)


def _changed(change: JobChange) -> Iterator[Line]:
    manual = any(one.field == "when" and "manual" in (one.before, one.after) for one in change.fields)
    # A manual job may be left undone by itself; that is no news beside `when`.
    implied = {"allow_failure", "variables.CI_JOB_MANUAL"} if manual else set()
    told = [one for one in change.fields if one.field not in implied]
    fields = sorted(told, key=lambda one: (not _meaning(one), one.field in _LINES))
    yield Line(mark="~", depth=0, text=change.name)
    for one in fields:
        meaning = _meaning(one)
        if meaning:
            yield Line(mark="~", depth=1, text=meaning)
        elif one.field in _LINES:
            yield Line(mark="~", depth=1, text=one.field)
            yield from _lines(one.before, one.after)
        elif one.field in _SETS:
            yield from _entries(one)
        elif one.field.startswith("variables."):
            yield _variable(one)
        else:
            yield Line(mark="~", depth=1, text=f"{one.field}: {shown(one.before)} → {shown(one.after)}")


def _meaning(change: FieldChange) -> str:
    """What a change means where that is more than its field."""
    before, after = change.before, change.after
    if change.field == "when":
        if after == "manual":
            return f"waits for a person now (when: {before} → manual)"
        if before == "manual":
            return f"no longer waits for a person (when: manual → {after})"
        return f"when: {before} → {after}"
    if change.field == "allow_failure":
        return "may fail without stopping the pipeline now" if after else "stops the pipeline now when it fails"
    if change.field == "environment":
        return f"deploys to {_place(after)} instead of {_place(before)}"
    if change.field == "image":
        return f"image: {_image(before)} → {_image(after)}"
    if change.field == "origin":
        return f"its script is no longer that of {before}" if before else f"its script is that of {after} now"
    return ""


def _place(value: Any) -> str:
    return f"{value.name} ({value.action})" if value is not None else "nothing"


def _image(value: Any) -> str:
    return value.name if value is not None else "none"


def _lines(before: Sequence[str], after: Sequence[str]) -> Iterator[Line]:
    old, new = (
        [line for one in before for line in one.splitlines()],
        [line for one in after for line in one.splitlines()],
    )
    for line in difflib.unified_diff(old, new, n=1, lineterm=""):
        if line.startswith(("---", "+++", "@@")):
            continue
        mark: Mark = "+" if line[0] == "+" else "-" if line[0] == "-" else " "
        yield Line(mark=mark, depth=2, text=line[1:])


def _entries(change: FieldChange) -> Iterator[Line]:
    if change.before is None or change.after is None:
        yield Line(mark="~", depth=1, text=f"{change.field}: {_list(change.before)} → {_list(change.after)}")
        return
    old, new = [_entry(one) for one in change.before], [_entry(one) for one in change.after]
    gone, come = [one for one in old if one not in new], [one for one in new if one not in old]
    if not gone and not come:
        yield Line(mark="~", depth=1, text=f"{change.field}: another order")
    yield from (Line(mark="-", depth=1, text=f"{change.field}: {one}") for one in gone)
    yield from (Line(mark="+", depth=1, text=f"{change.field}: {one}") for one in come)


def _list(value: Any) -> str:
    if value is None:
        return "all earlier stages"
    return ", ".join(_entry(one) for one in value) or "nothing"


def _entry(value: Any) -> str:
    if isinstance(value, str):
        return value
    if hasattr(value, "job"):
        marks = [word for word, on in (("without artifacts", not value.artifacts), ("optional", value.optional)) if on]
        name: str = value.job
        return name + (f" ({', '.join(marks)})" if marks else "")
    return shown(value)


def _variable(change: FieldChange) -> Line:
    name = change.field.removeprefix("variables.")
    if change.before is None:
        return Line(mark="+", depth=1, text=f"{name}={shown(change.after)}")
    if change.after is None:
        return Line(mark="-", depth=1, text=f"{name}={shown(change.before)}")
    return Line(mark="~", depth=1, text=f"{name}: {shown(change.before)} → {shown(change.after)}")


def shown(value: object) -> str:
    """A value in at most 120 characters."""
    text = value if isinstance(value, str) else codec.encode(value).decode()
    text = _WORDS.get(text, text) if not isinstance(value, str) else text
    return text if len(text) <= 120 else text[:117] + "…"

"""What differs between a failed job and its last good run, and what that says of the cause. Pure.

Where the same inputs have succeeded before, the failure is not the change's alone: how likely it is a flake is counted from
the job's history. Where exactly one thing but no file of the project differs, that thing is the cause by experiment. Where
several differ, those that the log names are quoted, and nothing is guessed.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from aegis.core.plan import JobSpec
from aegis.core.types import JobRun
from aegis.execution.explain.cause import ABSTAIN, Cause
from aegis.execution.explain.log import lines_of
from aegis.execution.explain.verdict import causes_of, new_lines

_RUNS_OWN: Final = ("CI_", "GITLAB_", "AEGIS_", "SOURCE_DATE_EPOCH")
"""How variables begin that every run has of its own."""
_SHOWN: Final = 8
_FEW: Final = 2
_PIPELINE: Final = ".gitlab-ci.yml"
_SOLE: Final = 0.9
_NAMED: Final = 0.72
_FLAKE: Final = 0.89
_OF_SURROUNDINGS: Final = frozenset(
    {"disk-full", "out-of-memory", "certificate", "clock", "rate-limited", "server-error"}
)
"""Causes that a second run of the same inputs can have or not have: the surroundings', not a flake of the job's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Inputs:
    """What a run of a job was made of. `files` maps paths to content ids, `locks` lock files to names and versions."""

    commit: str = ""
    ref: str = ""
    files: Mapping[str, str] = field(default_factory=dict)
    locks: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    image: str = ""
    services: tuple[str, ...] = ()
    variables: Mapping[str, str] = field(default_factory=dict)
    script: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Good:
    """The last run in which the job succeeded."""

    run: str
    inputs: Inputs
    log: bytes = b""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """One earlier end of the job: whether it succeeded, and with which inputs (a digest of them)."""

    succeeded: bool
    inputs: str


@dataclass(frozen=True, slots=True)
class Difference:
    """One thing that differs. `kind` is lock, image, variable, script or file; `name` what a log would call it."""

    kind: str
    name: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """Causes, most likely first; what differs from the last good run; lines that no good run had."""

    causes: tuple[Cause, ...]
    good_run: str = ""
    differences: tuple[str, ...] = ()
    new_lines: tuple[str, ...] = ()

    @property
    def abstained(self) -> bool:
        """Whether nothing is said of the cause."""
        return not self.causes


def inputs_of(
    spec: JobSpec, *, commit: str, ref: str, files: Mapping[str, str], locks: Mapping[str, Mapping[str, str]]
) -> Inputs:
    """What a job is made of. Values of masked variables and secrets never stand in it."""
    script = "\n".join((*spec.before_script, *spec.script))
    return Inputs(
        commit=commit,
        ref=ref,
        files=files,
        locks=locks,
        image=spec.image.name if spec.image else "",
        services=tuple(one.name for one in spec.services),
        variables={
            one.key: "[masked]" if one.masked or one.secret else one.value
            for one in spec.variables
            if not one.key.startswith(_RUNS_OWN)
        },
        script=script,
    )


def digest(inputs: Inputs) -> str:
    """The same for the same inputs, whatever the commit is called."""
    parts = (
        sorted(inputs.files.items()), sorted((name, sorted(one.items())) for name, one in inputs.locks.items()),
        inputs.image, inputs.services, sorted(inputs.variables.items()), inputs.script,
    )  # fmt: skip
    return hashlib.sha256(repr(parts).encode("utf-8", "surrogateescape")).hexdigest()


def differences(good: Inputs, now: Inputs) -> tuple[Difference, ...]:
    """Everything that differs, the rarer kinds first."""
    found: list[Difference] = []
    if good.image != now.image:
        found.append(Difference("image", now.image, f"image: {good.image or 'none'} → {now.image or 'none'}"))
    if good.services != now.services:
        told = f"services: {', '.join(good.services) or 'none'} → {', '.join(now.services) or 'none'}"
        found.append(Difference("image", "", told))
    found += _mappings("variable", good.variables, now.variables, "variable ")
    for lock in sorted(good.locks.keys() | now.locks.keys()):
        found += _mappings("lock", good.locks.get(lock, {}), now.locks.get(lock, {}), f"{lock}: ")
    if good.script != now.script:
        found.append(Difference("script", "", f"script: {_first_difference(good.script, now.script)}"))
    for path in sorted(good.files.keys() | now.files.keys()):
        if good.files.get(path) != now.files.get(path) and path not in {*good.locks, *now.locks}:
            verb = "added" if path not in good.files else "removed" if path not in now.files else "changed"
            found.append(Difference("file", path, f"file {verb}: {path}"))
    return tuple(found)


def _mappings(kind: str, good: Mapping[str, str], now: Mapping[str, str], head: str) -> Iterable[Difference]:
    for name in sorted(good.keys() | now.keys()):
        old, new = good.get(name), now.get(name)
        if old != new:
            told = f"{'not set' if old is None else old or 'empty'} → {'not set' if new is None else new or 'empty'}"
            if kind == "lock":
                told = f"{old or 'absent'} → {new or 'absent'}"
            yield Difference(kind, name, f"{head}{name} {told}")


def _first_difference(good: str, now: str) -> str:
    before, after = good.split("\n"), now.split("\n")
    gone = next((one for one in before if one not in after), "")
    come = next((one for one in after if one not in before), "")
    return f"{gone[:80] or '(nothing)'} → {come[:80] or '(nothing)'}"


def explained(
    job: JobRun, tail: bytes, *, now: Inputs | None = None, good: Good | None = None, history: Sequence[Outcome] = ()
) -> Explanation:
    """Why a job failed, by its log and by what differs from its last good run."""
    causes = list(causes_of(job, tail, good.log if good else b""))
    if good is None or now is None:
        return Explanation(causes=tuple(causes))
    different = differences(good.inputs, now)
    log = "\n".join(one.text for one in lines_of(tail))
    named = tuple(one for one in different if _named(one, log))
    found = _flaky(good, now, causes, history) if not different else _changed(good, different, named, causes)
    if found is not None:
        causes.append(found)
        causes.sort(key=lambda one: -one.confidence)
    quoted = named or (different if len(different) <= _FEW else ())
    if causes and quoted and not causes[0].code.startswith("changed-"):
        told = tuple(f"since run {good.run}: {one.text}" for one in quoted[:3])
        causes[0] = replace(causes[0], evidence=(*causes[0].evidence, *told))
    return Explanation(
        causes=tuple(causes),
        good_run=good.run,
        differences=tuple(one.text for one in different[:_SHOWN]),
        new_lines=new_lines(tail, good.log) if good.log else (),
    )


def _named(difference: Difference, log: str) -> bool:
    """Whether the log speaks of what differs: the whole name, or a file's last part."""
    name = difference.name.rsplit("/", 1)[-1]
    if len(name) < 3:
        return False
    pattern = re.escape(name).replace(r"\-", "[-_.]").replace("_", "[-_.]")
    return re.search(rf"(?<![\w-]){pattern}(?![\w-])", log, re.IGNORECASE) is not None


def _changed(
    good: Good, different: Sequence[Difference], named: Sequence[Difference], causes: Sequence[Cause]
) -> Cause | None:
    """The difference as the cause: the only one there is, or the only one that the log names."""
    others = [one for one in different if not one.name.endswith(_PIPELINE)]
    if others:
        # The pipeline's own file holds image, variables and script: those say it better.
        different = others
    kinds = {one.kind for one in different}
    if len(kinds) == 1 and kinds != {"file"}:
        # Nothing of the project itself differs: one thing was changed, and the job fails now.
        kind, told, confidence = kinds.pop(), different, _SOLE
    elif not causes and len({one.kind for one in named}) == 1:
        kind, told, confidence = named[0].kind, named, _NAMED
    elif not causes and len(different) == 1:
        kind, told, confidence = different[0].kind, different, ABSTAIN + 0.1
    else:
        return None
    what = {
        "lock": "a dependency",
        "image": "the image",
        "variable": "a variable",
        "script": "the script",
        "file": "a file",
    }
    return Cause(
        code=f"changed-{kind}",
        message=f"{what[kind]} changed since the last good run {good.run}: {told[0].text}",
        hint="take that change back to confirm it, or adapt the job to it",
        evidence=tuple(one.text for one in told[:_SHOWN]),
        confidence=confidence,
    )


def flake_probability(history: Sequence[Outcome], inputs: str) -> float:
    """How likely a failure is that a second run of the same inputs would not show.

    Counted: of these very inputs' runs the share that succeeded, with one success and one failure assumed beforehand.
    """
    same = [one for one in history if one.inputs == inputs]
    good = sum(one.succeeded for one in same)
    return (good + 1) / (len(same) + 2)


def _flaky(good: Good, now: Inputs, causes: Sequence[Cause], history: Sequence[Outcome]) -> Cause | None:
    """The same inputs have succeeded before."""
    if causes and causes[0].code in _OF_SURROUNDINGS:
        return None
    key = digest(now)
    same = [one for one in history if one.inputs == key]
    probability = flake_probability(history, key)
    failed = sum(not one.succeeded for one in same)
    about = f" ({causes[0].message})" if causes else ""
    return Cause(
        code="flaky",
        message=f"flaky: the same inputs succeeded in run {good.run}{about}; a second run succeeds with probability"
        f" {probability:.0%}",
        hint="run it again; if it stays, something outside the inputs changed. `retry:` hides a flake, a fixed seed and"
        " waiting for events mend it",
        evidence=(
            f"nothing differs from run {good.run}: files, lock, image, variables and script are the same",
            f"of {len(same)} runs with these inputs {failed} failed",
            *(causes[0].evidence if causes else ()),
        ),
        confidence=max(_FLAKE, causes[0].confidence + 0.01) if causes and causes[0].code.startswith("test-") else 0.7,
    )

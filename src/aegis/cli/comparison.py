"""A local run beside a server's run: what ended otherwise, what took longer, and what both were made of."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import field
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from aegis.cli import output
from aegis.cli.screen import spoken
from aegis.core.values import dataclass

if TYPE_CHECKING:
    from aegis.bootstrap.run import LocalJob
    from aegis.execution.explain import Inputs

_SHOWN: Final = 8
_TIMES: Final = 2.0
_SECONDS: Final = 1.0
_MASKED: Final = "[masked]"


@dataclass(frozen=True, slots=True, kw_only=True)
class There:
    """A run of the server as its API tells it: the run's view, and what it was made of (empty where it does not tell)."""

    run: str
    view: Mapping[str, Any]
    inputs: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Here:
    """The local run: its commit, its jobs, what they were made of by name, and the files that are not as in that commit.

    `files` None: the other commit is not known here.
    """

    commit: str
    jobs: tuple[LocalJob, ...]
    inputs: Mapping[str, Inputs] = field(default_factory=dict)
    files: tuple[str, ...] | None = ()


def document(here: Here, there: There) -> dict[str, Any]:
    """The comparison as it stands in JSON: both commits, the differences, and every job's seconds; pure."""
    commit = str(there.view["summary"]["commit"])
    return {
        "run": there.run,
        "commit": {"here": here.commit, "there": commit, "same": here.commit == commit},
        "files": list(here.files) if here.files is not None else None,
        "differences": differences(here, there),
        "durations": durations(here, there),
    }


def differences(here: Here, there: There) -> list[dict[str, str]]:
    """One entry per difference: the job (empty: the whole run), what it is, how it is here and there; pure."""
    found: list[dict[str, str]] = []
    commit = str(there.view["summary"]["commit"])
    if commit != here.commit:
        found.append(_one("", "commit", here.commit, commit))
    theirs = {one["job"]["name"]: one["job"] for one in there.view["jobs"]}
    ours = {one.name: one for one in here.jobs}
    for name in sorted(ours.keys() | theirs.keys()):
        found += _ends(name, ours.get(name), theirs.get(name))
    found += _locks(here, there)
    made = {str(one["name"]): one for one in there.inputs.get("jobs", ())}
    for name in sorted(here.inputs.keys() & made.keys()):
        found += _inputs(name, here.inputs[name], made[name])
    return found


def _one(job: str, what: str, here: object, there: object) -> dict[str, str]:
    return {"job": job, "what": what, "here": str(here), "there": str(there)}


def _ends(name: str, here: LocalJob | None, there: Mapping[str, Any] | None) -> Iterable[dict[str, str]]:
    if there is None:
        yield _one(name, "job", here.status if here is not None else "", "not in that run")
    elif here is None:
        yield _one(name, "job", "not in this run", there["state"])
    elif here.status != there["state"]:
        yield _one(name, "state", here.status, there["state"])
    elif here.exit_code != there["exit_code"]:
        yield _one(name, "exit code", here.exit_code, there["exit_code"])


def _locks(here: Here, there: There) -> Iterable[dict[str, str]]:
    """Versions of locked packages; a lock that only one side reads as such is not compared."""
    ours = next((one.locks for one in here.inputs.values()), {})
    theirs: Mapping[str, Mapping[str, str]] = there.inputs.get("locks", {})
    for lock in sorted(ours.keys() & theirs.keys()):
        for name, mine, other in _apart(ours[lock], theirs[lock]):
            yield _one("", f"{lock}: {name}", mine or "not locked", other or "not locked")


def _inputs(name: str, here: Inputs, there: Mapping[str, Any]) -> Iterable[dict[str, str]]:
    if here.image != there["image"]:
        yield _one(name, "image", here.image or "none", there["image"] or "none")
    if list(here.services) != list(there["services"]):
        yield _one(name, "services", ", ".join(here.services) or "none", ", ".join(there["services"]) or "none")
    for variable, mine, other in _apart(here.variables, there["variables"]):
        if _MASKED not in {mine, other} or mine is None or other is None:
            yield _one(name, f"variable {variable}", _shown(mine), _shown(other))
    if here.script != there["script"]:
        yield _one(name, "script", *_first_apart(here.script, there["script"]))


def _apart(here: Mapping[str, str], there: Mapping[str, str]) -> Iterable[tuple[str, str | None, str | None]]:
    for name in sorted(here.keys() | there.keys()):
        if here.get(name) != there.get(name):
            yield name, here.get(name), there.get(name)


def _shown(value: str | None) -> str:
    return "not set" if value is None else repr(value) if not value or value != value.strip() else value


def _first_apart(here: str, there: str) -> tuple[str, str]:
    """The first line that is otherwise."""
    mine, other = here.split("\n"), there.split("\n")
    for one, two in zip(mine, other, strict=False):
        if one != two:
            return one, two
    shorter = min(len(mine), len(other))
    return next(iter(mine[shorter:]), "ends"), next(iter(other[shorter:]), "ends")


def durations(here: Here, there: There) -> list[dict[str, Any]]:
    """The seconds of every job that ran on both sides."""
    theirs = {one["job"]["name"]: _seconds(one["job"]) for one in there.view["jobs"]}
    found = []
    for job in here.jobs:
        other = theirs.get(job.name)
        if other is not None and job.log:
            found.append({"job": job.name, "here": round(job.seconds, 3), "there": round(other, 3)})
    return found


def _seconds(job: Mapping[str, Any]) -> float | None:
    begun, ended = job.get("started_at"), job.get("finished_at")
    if not begun or not ended:
        return None
    return (datetime.fromisoformat(ended) - datetime.fromisoformat(begun)).total_seconds()


def tell(made: Mapping[str, Any]) -> None:
    """The comparison, for people."""
    run = made["run"]
    output.say()
    if not made["differences"]:
        output.say(f"as in run {run}: the same commit, the same jobs made of the same, the same ends")
    for one in made["differences"]:
        whose = f"{one['job']}: " if one["job"] else ""
        output.say(f"{whose}{one['what']} here {one['here']}, in run {run} {one['there']}")
    _tell_files(made)
    for one in made["durations"]:
        longer, shorter = max(one["here"], one["there"]), min(one["here"], one["there"])
        if longer - shorter >= _SECONDS and longer >= _TIMES * shorter:
            output.say(f"{one['job']}: {spoken(one['here'])} here, {spoken(one['there'])} in run {run}")


def _tell_files(made: Mapping[str, Any]) -> None:
    files: Sequence[str] | None = made["files"]
    if files is None:
        output.say("which files differ is not known: that commit is not here; `git fetch` may bring it")
    elif files:
        more = f" and {len(files) - _SHOWN} more" if len(files) > _SHOWN else ""
        output.say(f"files that are not as in that commit: {', '.join(files[:_SHOWN])}{more}")

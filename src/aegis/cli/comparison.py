"""A local run beside a server's run: which jobs ended otherwise, and whether both saw the same commit."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from aegis.cli import output

if TYPE_CHECKING:
    from aegis.bootstrap.run import LocalJob


def differences(here: tuple[LocalJob, ...], there: dict[str, Any], commit: str) -> list[dict[str, str]]:
    """One entry per difference: the job, what it was here and there; pure."""
    found: list[dict[str, str]] = []
    other = str(there["run"]["commit"])
    if other != commit:
        found.append({"job": "", "what": "commit", "here": commit, "there": other})
    theirs = {one["job"]["name"]: one["job"] for one in there["jobs"]}
    ours = {one.name: one for one in here}
    for name in sorted(ours.keys() | theirs.keys()):
        if name not in theirs:
            found.append({"job": name, "what": "job", "here": ours[name].status, "there": "not in that run"})
        elif name not in ours:
            found.append({"job": name, "what": "job", "here": "not in this run", "there": theirs[name]["state"]})
        elif ours[name].status != theirs[name]["state"]:
            found.append({"job": name, "what": "state", "here": ours[name].status, "there": theirs[name]["state"]})
        elif ours[name].exit_code != theirs[name]["exit_code"]:
            codes = str(ours[name].exit_code), str(theirs[name]["exit_code"])
            found.append({"job": name, "what": "exit code", "here": codes[0], "there": codes[1]})
    return found


def tell(run: str, found: list[dict[str, str]]) -> None:
    """The differences, for people."""
    if not found:
        output.say(f"as in run {run}: the same commit, the same jobs, the same ends")
    for one in found:
        output.say(f"{one['job'] or 'commit'}: {one['what']} here {one['here']}, in run {run} {one['there']}")

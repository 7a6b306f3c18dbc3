"""The question to the compiler that a trigger job asks: a child pipeline of the same commit, or one of another project.

Pure. It decides which file is the root, what the child gets of its parent's variables, and reads files that jobs made through
what it is given. Who may start what, and where, is not decided here.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Final

from aegis.core.errors import UserError
from aegis.core.plan import Trigger, Variable
from aegis.core.values import dataclass
from aegis.pipeline.ports import Files
from aegis.pipeline.request import CompileRequest

CHILD: Final = "parent_pipeline"
DOWNSTREAM: Final = "pipeline"
_MADE: Final = ".aegis-made"
_MOST: Final = 3
Artifact = Callable[[str, str], bytes | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Overlay:
    """A project's files with some on top that are not in it."""

    below: Files
    top: Mapping[str, bytes]

    def read(self, path: str) -> bytes | None:
        """See `Files`."""
        return self.top[path] if path in self.top else self.below.read(path)

    def paths(self) -> tuple[str, ...]:
        """See `Files`."""
        return self.below.paths()


def forwarded(trigger: Trigger, pipeline_variables: tuple[Variable, ...]) -> tuple[Variable, ...]:
    """What a started pipeline gets: the trigger job's variables and, where asked for, those its own pipeline was given."""
    yaml = trigger.variables if trigger.forward_yaml else ()
    own = pipeline_variables if trigger.forward_pipeline else ()
    merged = {one.key: one for one in (*yaml, *own)}
    return tuple(merged.values())


def child_request(request: CompileRequest, trigger: Trigger, artifact: Artifact) -> CompileRequest:
    """The question for a started pipeline; `request` is one for its project and commit. `artifact` reads a job's file.

    `UserError` where an included file was not made, or there are too many.
    """
    if not trigger.include:
        return replace(request, inputs={**request.inputs, **trigger.inputs})
    if len(trigger.include) > _MOST:
        raise UserError(
            "too-many", f"`trigger: include` names {len(trigger.include)} files; at most {_MOST} are allowed"
        )
    top: dict[str, bytes] = {}
    entries = [_entry(one, artifact, top) for one in trigger.include]
    only = entries[0]
    if len(entries) == 1 and set(only) <= {"local", "inputs"}:
        inputs = {**trigger.inputs, **only.get("inputs", {})}
        root = str(only["local"]).lstrip("/")
        return replace(request, root=root, files=_Overlay(below=request.files, top=top), inputs=inputs)
    root = f"{_MADE}/child.yml"
    top[root] = json.dumps({"include": entries}).encode()
    return replace(request, root=root, files=_Overlay(below=request.files, top=top))


def _entry(written: Mapping[str, Any], artifact: Artifact, top: dict[str, bytes]) -> dict[str, Any]:
    if "artifact" not in written:
        return dict(written)
    path, job = str(written["artifact"]), str(written.get("job", ""))
    data = artifact(job, path)
    if data is None:
        raise UserError(
            "no-artifact",
            f"job {job!r} left no file {path!r} to make a pipeline of",
            hint="name it under `artifacts: paths` of that job, and the job in `needs`",
        )
    place = f"{_MADE}/{job}/{path}"
    top[place] = data
    rest = {key: value for key, value in written.items() if key not in {"artifact", "job"}}
    return {"local": place, **rest}

"""Explains local runs of this working tree, from what `aegis run` left under `.aegis/runs`.

Of every run it keeps the plan and what the tree was made of (ids of files, versions of locked packages), so that a failure is
compared with the last run in which the same job succeeded. Values of masked variables are never kept.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from aegis.adapters import files_worktree
from aegis.bootstrap.pipeline import Local
from aegis.core import codec
from aegis.core.errors import AegisError, NotFound
from aegis.core.plan import Plan
from aegis.core.types import JobRun, State
from aegis.execution.trace import readable

if TYPE_CHECKING:
    from aegis.execution.explain import Explanation, Inputs

TAIL: Final = 256 * 1024
_PLAN: Final = "plan.json"
_INPUTS: Final = "inputs.json"
_REMEMBERED: Final = 50
"""Earlier runs that are looked at."""
_FILES: Final = 20_000
_LOCK_ENDINGS: Final = (".lock", ".txt", "pylock.toml")


@dataclass(frozen=True, slots=True, kw_only=True)
class Explained:
    """A failed job of a local run, and its explanation."""

    run: str
    job: JobRun
    explanation: Explanation


def remember(directory: Path, local: Local, plan: Plan) -> None:
    """Keep what a run is made of in its directory."""
    (directory / _PLAN).write_bytes(codec.encode(plan))
    files = files_worktree.identities(local.tree) if local.tree is not None else {}
    if len(files) > _FILES:
        files = {}
    made = {"files": files, "locks": locks_in(local.directory, files or _top(local.directory))}
    (directory / _INPUTS).write_bytes(codec.encode(made))


def _top(directory: Path) -> dict[str, str]:
    return {one.name: "" for one in directory.iterdir() if one.is_file()}


def locks_in(root: Path, files: Mapping[str, str]) -> dict[str, dict[str, str]]:
    """The versions that the lock files among `files` name; a lock that cannot be read is compared as a file."""
    named = [path for path in files if path.endswith(_LOCK_ENDINGS)]
    if not named:
        return {}
    from aegis.supplychain.locks import NAMES, packages_of  # noqa: PLC0415 - only trees with locks need it

    found = {}
    for path in named:
        name = path.rsplit("/", 1)[-1]
        if name in NAMES or (name.startswith("requirements") and name.endswith((".txt", ".lock"))):
            try:
                packages = packages_of(path, (root / path).read_bytes())
            except (AegisError, OSError):
                continue
            found[path] = {one.name: one.version or "" for one in packages}
    return found


def runs_folder() -> Path:
    """Where the local runs of this working tree are."""
    tree = files_worktree.find(Path())
    return (tree.root if tree is not None else Path()) / ".aegis" / "runs"


def is_local(name: str) -> bool:
    """Whether a local run has that id, or the last one a job of that name."""
    folder = runs_folder()
    if "/" not in name and (folder / name / "run.json").is_file():
        return True
    latest = folder / "latest" / "run.json"
    return latest.is_file() and any(one.name == name for one in _jobs(latest.parent))


def nowhere(name: str) -> NotFound:
    """What to say of a name that no local run has, where no server is known that could have it."""
    latest = runs_folder() / "latest"
    known = ", ".join(one.name for one in _jobs(latest)) if (latest / "run.json").is_file() else ""
    here = f"the last local run has no job {name!r}; it has: {known}" if known else "nothing has been run here"
    return NotFound("no-such-job", f"{here}, and no server is known that has a run {name!r}", hint="aegis run")


def local_run(name: str = "") -> tuple[Explained, ...]:
    """The failed jobs of a local run: the last one, the one of that id, or the last one's job of that name.

    `NotFound` where nothing has run here.
    """
    folder = runs_folder()
    asked = folder / name if name and (folder / name / "run.json").is_file() else folder / "latest"
    if not (asked / "run.json").is_file():
        raise NotFound("no-local-run", "nothing has been run in this working tree", hint="aegis run")
    directory = asked.resolve()
    job = name if asked.name == "latest" else ""
    failed = [one for one in _jobs(directory) if one.state is State.FAILED and job in ("", one.name)]
    return tuple(Explained(run=directory.name, job=one, explanation=_explained(directory, one)) for one in failed)


def local_plan(run: str) -> Plan:
    """The plan of a local run; `NotFound`."""
    file = runs_folder() / run / _PLAN
    if not file.is_file():
        raise NotFound("no-local-run", f"there is no plan of a local run {run}", hint="aegis run")
    return codec.decode(file.read_bytes(), Plan)


def local_log(job: str) -> tuple[str, str]:
    """The last local run, and the log of its job as readable text; `NotFound`."""
    latest = runs_folder() / "latest"
    if not (latest / "run.json").is_file():
        raise NotFound("no-local-run", "nothing has been run in this working tree", hint="aegis run")
    directory = latest.resolve()
    log = directory / f"{log_name(job)}.log"
    if not log.is_file():
        known = ", ".join(one.name for one in _jobs(directory) if one.started_at is not None) or "none"
        raise NotFound(
            "no-such-job", f"the last local run has no log of {job!r}; it has: {known}", hint="aegis logs JOB"
        )
    return directory.name, readable(log.read_bytes())


def _explained(directory: Path, job: JobRun) -> Explanation:
    from aegis.execution.explain import Good, Outcome, digest, explained  # noqa: PLC0415 - a run does without

    tail = _log(directory, job.name)
    now = inputs_in(directory, job.name)
    if now is None:
        return explained(job, tail)
    good: Good | None = None
    history: list[Outcome] = [Outcome(succeeded=False, inputs=digest(now))]
    for earlier in _earlier(directory):
        before = next((one for one in _jobs(earlier) if one.name == job.name), None)
        inputs = inputs_in(earlier, job.name) if before is not None else None
        if before is None or inputs is None or before.state not in {State.SUCCESS, State.FAILED}:
            continue
        succeeded = before.state is State.SUCCESS
        history.append(Outcome(succeeded=succeeded, inputs=digest(inputs)))
        if succeeded and good is None:
            good = Good(run=earlier.name, inputs=inputs, log=_log(earlier, job.name))
    return explained(job, tail, now=now, good=good, history=history)


def _earlier(directory: Path) -> Iterator[Path]:
    """The runs before this one, the youngest first: ids sort by time."""
    names = sorted((one.name for one in directory.parent.iterdir() if one.name < directory.name), reverse=True)
    for name in names[:_REMEMBERED]:
        if (directory.parent / name / "run.json").is_file():
            yield directory.parent / name


def _jobs(directory: Path) -> tuple[JobRun, ...]:
    plain = codec.decode((directory / "run.json").read_bytes(), dict[str, Any])["jobs"]
    return tuple(codec.convert(one, JobRun) for one in plain)


def inputs_in(directory: Path, job: str) -> Inputs | None:
    """What a job of the local run in `directory` was made of; None where the run kept nothing."""
    if not (directory / _PLAN).is_file() or not (directory / _INPUTS).is_file():
        return None
    plan = codec.decode((directory / _PLAN).read_bytes(), Plan)
    from aegis.execution.explain import inputs_of  # noqa: PLC0415 - a run does without

    made = codec.decode((directory / _INPUTS).read_bytes(), dict[str, Any])
    try:
        spec = plan.job(job)
    except KeyError:
        return None
    return inputs_of(spec, commit=plan.commit, ref=plan.ref, files=made["files"], locks=made["locks"])


def _log(directory: Path, job: str) -> bytes:
    log = directory / f"{log_name(job)}.log"
    if not log.is_file():
        return b""
    with log.open("rb") as file:
        file.seek(max(0, log.stat().st_size - TAIL))
        return file.read()


def log_name(name: str) -> str:
    """A job's name as a file's name."""
    return "".join(one if one.isalnum() or one in "-_." else "-" for one in name).lstrip(".") or "job"

"""`aegis run`: the pipeline of this working tree, carried out here."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import click

from aegis.cli import output
from aegis.cli.comparison import differences, tell
from aegis.cli.pipeline import occasion, occasion_options
from aegis.core.errors import CheckFailed, UserError, Waiting

if TYPE_CHECKING:
    from aegis.bootstrap.run import LocalJob, LocalOptions, LocalRun
    from aegis.core.plan import Plan
    from aegis.core.types import JobRun, Run

_INTERRUPTED: Final = 130
_QUIET_SECONDS: Final = 10.0
_LIVE_SECONDS: Final = 0.2
_STOP_SECONDS: Final = 20.0
_LOG_LINES: Final = 20


@click.command()
@click.argument("jobs", nargs=-1, metavar="[JOB]…")
@click.option("--file", metavar="FILE", help="The pipeline file. Default: .gitlab-ci.yml of the working tree.")
@occasion_options
@click.option(
    "--parallel", type=click.IntRange(1, 64), default=None, metavar="N", help="Jobs at once. Default: processors."
)
@click.option(
    "--executor", type=click.Choice(["namespaces", "docker", "podman", "process"]), help="How jobs are kept apart."
)
@click.option("--privileged", multiple=True, metavar="IMAGE", help="Give such containers every right (docker:*-dind).")
@click.option("--engine-socket", is_flag=True, help="Show the container engine's socket to jobs.")
@click.option("--env-file", metavar="FILE", help="Variables, as NAME=VALUE lines.")
@click.option("--secrets-file", metavar="FILE", help="Masked variables, as NAME=VALUE lines; never kept.")
@click.option("--host-tools", is_flag=True, help="Run jobs with `image:` with this machine's tools instead.")
@click.option("--shell-on-failure", is_flag=True, help="Open a shell where a job failed.")
@click.option("--watch", "watching", is_flag=True, help="Run again whenever a file has changed, until interrupted.")
@click.option("--compare", metavar="RUN", help="Say what ended otherwise in this run of the server.")
@click.option("--url", default="", help="The server of --compare. Default: the one on this machine.")
@click.option("--data", default="", help="That server's data directory.")
@click.option("--plain", is_flag=True, help="Only lines, nothing redrawn.")
@click.option("--json", "as_json", is_flag=True, help="One JSON document.")
def run(
    jobs: tuple[str, ...],
    file: str | None,
    *,
    parallel: int | None,
    executor: str | None,
    privileged: tuple[str, ...],
    engine_socket: bool,
    env_file: str | None,
    secrets_file: str | None,
    host_tools: bool,
    shell_on_failure: bool,
    watching: bool,
    compare: str | None,
    url: str,
    data: str,
    plain: bool,
    as_json: bool,
    **options: Any,
) -> None:
    r"""Run the pipeline of this working tree here, with the jobs a push would run; named jobs with what they need.

    Jobs work in copies: tracked files as they are now, uncommitted changes included. Logs and artifacts are left
    under .aegis/, the tree itself stays as it is.

    \b
    Examples:
      aegis run
      aegis run unit --parallel 4 --secrets-file .secrets
      aegis run unit --watch
    """
    from aegis.bootstrap.run import LocalOptions

    if watching and as_json:
        raise UserError("watch-json", "--watch has no one document to give", hint="leave out --json")
    if shell_on_failure and not sys.stdin.isatty():
        raise UserError("no-terminal", "--shell-on-failure needs a terminal", hint="leave it out")
    chosen = LocalOptions(
        parallel=1 if shell_on_failure else parallel or _processors(),
        executor=executor,
        privileged=privileged,
        engine_socket=engine_socket,
        host_tools=host_tools,
        shell_on_failure=shell_on_failure,
    )

    def prepared() -> tuple[Plan, dict[str, str], Any, Any]:
        return _prepared(jobs, file, env_file, secrets_file, options)

    told = _Telling(plain=plain, as_json=as_json, compare=compare or "", url=url, data=data)
    sys.exit(_watch(prepared, chosen, told, file) if watching else _once(prepared, chosen, told))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Telling:
    """How a run is told, and what it is compared with."""

    plain: bool
    as_json: bool
    compare: str
    url: str
    data: str


_Prepared = Callable[[], tuple["Plan", dict[str, str], Any, Any]]


def _watch(prepared: _Prepared, chosen: LocalOptions, told: _Telling, file: str | None) -> int:
    """Run after each change, until somebody interrupts; a pipeline that cannot be read waits for the next change."""
    from aegis.bootstrap.pipeline import locate
    from aegis.bootstrap.watch import Watched
    from aegis.core.errors import AegisError

    code = 0
    try:
        while code != _INTERRUPTED:
            watched = Watched(locate(file))
            try:
                code = _once(prepared, chosen, told)
            except AegisError as error:
                output.note(str(error))
            if code == _INTERRUPTED:
                break
            output.note("waiting for a change …")
            watched.wait()
    except KeyboardInterrupt:
        output.note("")
    return 0


def _once(prepared: _Prepared, chosen: LocalOptions, told: _Telling) -> int:
    """One run; its leave code."""
    from dataclasses import replace

    from aegis.bootstrap.run import LocalRun

    if not told.as_json:
        output.note("reading the pipeline …")
    plan, secrets, local, asked = prepared()
    there = _server_run(told) if told.compare else None
    show = _Show(plan, live=not told.plain and not told.as_json and sys.stderr.isatty(), quiet=told.as_json)
    with LocalRun(local, plan, replace(chosen, secrets=secrets), asked) as made:
        show.begin(made)
        interrupted, state = _carry(made, show)
        shown = made.lay_out(state)
    found = differences(shown, there, state.commit) if there is not None else []
    if told.as_json:
        extra = {"compared": {"run": told.compare, "differences": found}} if there is not None else {}
        output.document("aegis.run/1", {**_document(made.id, state, shown), **extra})
    else:
        _tell(made, state, shown)
        if there is not None:
            tell(told.compare, found)
    if interrupted:
        return _INTERRUPTED
    if not state.state.finished:
        return Waiting.exit_code
    return 0 if state.state.value in {"success", "skipped"} else CheckFailed.exit_code


def _server_run(told: _Telling) -> dict[str, Any]:
    from aegis.cli.remote import client

    with client(told.url, told.data) as server:
        found: dict[str, Any] = server.get(f"runs/{told.compare}")
    return found


def _processors() -> int:
    import os

    return max(1, os.cpu_count() or 1)


def _prepared(
    jobs: tuple[str, ...], file: str | None, env_file: str | None, secrets_file: str | None, options: dict[str, Any]
) -> tuple[Plan, dict[str, str], Any, Any]:
    """The plan of what was asked for, the secrets by name, the project, and the question that the plan answers."""
    from dataclasses import replace

    from aegis.bootstrap.pipeline import locate, request
    from aegis.bootstrap.run import masker, read_secrets, read_variables, select
    from aegis.pipeline.compile import compile_pipeline

    local = locate(file)
    wanted = occasion(**options)
    secrets = read_secrets(secrets_file) if secrets_file else {}
    _, unmasked = masker(secrets)
    if unmasked:
        raise UserError(
            "secret-too-short",
            f"these secrets are too short to be masked: {', '.join(unmasked)}",
            hint="give them at least 8 characters, or move them to --env-file",
        )
    variables = (
        *wanted.variables,
        *(read_variables(env_file, masked=False) if env_file else ()),
        *(read_variables(secrets_file, masked=True) if secrets_file else ()),
    )
    asked = request(local, replace(wanted, variables=variables))
    found = compile_pipeline(asked)
    if found.errors:
        first = found.errors[0]
        raise UserError(first.code, first.message, hint=first.hint or "aegis lint", where=first.where)
    if found.plan is None:
        raise UserError("empty-pipeline", f"nothing would run: {found.skipped}", hint="aegis preview")
    return select(found.plan, jobs), secrets, local, asked


def _carry(made: LocalRun, show: _Show) -> tuple[bool, Run]:
    """Run to the end, or to where somebody interrupts it."""
    from aegis.bootstrap.run import watch

    every = _LIVE_SECONDS if show.live else _QUIET_SECONDS
    try:
        made.start()
        return False, watch(made, show.see, every=every)
    except KeyboardInterrupt:
        stopped = [job.name for job in made.cancel().jobs if job.state.value in {"canceling", "canceled"}]
        show.line(f"interrupted; stopping {', '.join(stopped) or 'nothing, all had ended'} (again to leave at once)")
        deadline = time.monotonic() + _STOP_SECONDS
        while not made.at_rest(made.state()) and time.monotonic() < deadline:
            made.wait(0.1)
        return True, made.state()


class _Show:
    """Progress on standard error: a line per job that ended, and on a terminal one that is redrawn."""

    def __init__(self, plan: Plan, *, live: bool, quiet: bool) -> None:
        self.live = live
        self._quiet = quiet
        self._count = len(plan.jobs)
        """How many jobs are known; child pipelines bring more."""
        self._told: dict[tuple[str, int], str] = {}
        self._started = time.monotonic()
        self._last = self._started
        self._drawn = False

    def begin(self, made: LocalRun) -> None:
        """Say what is about to happen, and how jobs are kept apart."""
        how = {"namespaces": "isolated by namespaces", "process": "NOT isolated from this machine"}
        self.line(f"run {made.id}: {self._count} jobs, {how.get(made.executor.isolation, made.executor.isolation)}")

    def see(self, state: Run) -> None:
        """What happened since the last time."""
        self._count = len(state.jobs)
        for job in state.jobs:
            self._job(job)
        running = [job.name for job in state.jobs if job.state.value == "running"]
        done = sum(job.state.finished for job in state.jobs)
        now = time.monotonic()
        text = f"{done}/{self._count} jobs, {now - self._started:.0f} s, running: {', '.join(running) or '–'}"
        if self.live:
            self._draw(text)
        elif now - self._last >= _QUIET_SECONDS:
            self.line(text)

    def _job(self, job: JobRun) -> None:
        key = (job.name, job.attempt)
        word = job.state.value
        if self._told.get(key) == word or word in {"created", "pending", "waiting_for_resource", "canceling"}:
            return
        self._told[key] = word
        if word == "running":
            again = f" (attempt {job.attempt})" if job.attempt > 1 else ""
            if not self.live:
                self.line(f"{output.state(word, sys.stderr)} {job.name}{again}")
        else:
            took = (
                f"  {(job.finished_at - job.started_at).total_seconds():.1f} s"
                if job.started_at and job.finished_at
                else ""
            )
            why = f"  {job.message}" if job.message and word == "failed" else ""
            self.line(f"{output.state(word, sys.stderr)} {job.name}{took}{why}")

    def line(self, text: str) -> None:
        """A line that stays."""
        if self._quiet:
            return
        if self._drawn:
            sys.stderr.write("\r\x1b[K")
            self._drawn = False
        output.note(text)
        self._last = time.monotonic()

    def _draw(self, text: str) -> None:
        import shutil

        width = shutil.get_terminal_size().columns - 1
        sys.stderr.write(f"\r\x1b[K{text[:width]}")
        sys.stderr.flush()
        self._drawn = True


def _document(run_id: str, state: Run, jobs: tuple[LocalJob, ...]) -> dict[str, Any]:
    from aegis.core import codec

    return {"run": run_id, "status": state.state.value, "jobs": [codec.plain(job) for job in jobs]}


def _tell(made: LocalRun, state: Run, jobs: tuple[LocalJob, ...]) -> None:
    """The result, for people: what failed, why, where to look."""
    from aegis.execution.explain import causes_of
    from aegis.execution.trace import readable

    runs = {job.name: job for job in state.jobs}
    for job in jobs:
        if job.status != "failed":
            continue
        output.say()
        output.say(f"{output.state('failed')} {job.name}{' (allowed)' if job.allow_failure else ''}: {job.message}")
        tail = made.tail_of(runs[job.name])
        for line in readable(tail).rstrip("\n").split("\n")[-_LOG_LINES:]:
            output.say(f"    │ {line}")
        for cause in causes_of(runs[job.name], tail)[:2]:
            output.say(f"    cause: {cause.message}")
            output.say(f"    mend: {cause.hint}")
        output.say(f"    log: {job.log}")
    for job in jobs:
        if job.status == "manual":
            output.say(f"{output.state('manual')} {job.name}: start it with `aegis run '{job.name}'`")
    if jobs:
        output.say()
    total = sum(job.seconds for job in jobs)
    output.say(f"{output.state(state.state.value)}: {len(jobs)} jobs, {total:.1f} s of work, logs in {made.directory}")

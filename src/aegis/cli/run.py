"""`aegis run`: the pipeline of this working tree, carried out here."""

from __future__ import annotations

import gc
import signal
import sys
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

import click

from aegis.cli import output
from aegis.cli.completing import jobs_of
from aegis.cli.interrupts import Interrupts, Stopped
from aegis.cli.pipeline import occasion, occasion_options
from aegis.core.errors import AegisError, CheckFailed, UserError, Waiting
from aegis.core.values import dataclass

if TYPE_CHECKING:
    from aegis.bootstrap.pipeline import Local
    from aegis.bootstrap.run import LocalOptions, LocalRun
    from aegis.bootstrap.watch import Watched
    from aegis.cli.comparison import There
    from aegis.cli.show import Show, Wish
    from aegis.core.plan import Plan
    from aegis.core.types import Run
    from aegis.pipeline.request import CompileRequest

_INTERRUPTED: Final = 130
_LIVE_SECONDS: Final = 0.2
_STOP_SECONDS: Final = 20.0
_NAMED: Final = 8


@click.command()
@click.argument("jobs", nargs=-1, metavar="[JOB]…", shell_complete=jobs_of)
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
@click.option("--network", type=click.Choice(["none", "registries", "all"]), default="all", help="What jobs reach.")
@click.option("--env-file", "env_files", multiple=True, metavar="FILE", help="Variables, as NAME=VALUE lines.")
@click.option(
    "--secrets-file",
    "secrets_files",
    multiple=True,
    metavar="FILE",
    help="Masked variables, as NAME=VALUE lines; never kept.",
)
@click.option("--host-tools", is_flag=True, help="Run jobs with `image:` with this machine's tools instead.")
@click.option("--no-reuse", is_flag=True, help="Work also what was proven already, and say what came out otherwise.")
@click.option("--shell-on-failure", is_flag=True, help="Open a shell where a job failed.")
@click.option("--watch", "watching", is_flag=True, help="Run again whenever a file has changed, until interrupted.")
@click.option("--compare", metavar="RUN", help="Say what is otherwise in this run of the server.")
@click.option("--url", default="", help="The server of --compare. Default: the one on this machine.")
@click.option("--data", default="", help="That server's data directory.")
@click.option("--plain", is_flag=True, help="Only lines, nothing redrawn. Default without a terminal.")
@click.option(
    "--logs",
    type=click.Choice(["live", "grouped", "none"]),
    default="live",
    help="Lines of logs as they come, each job's together when it ends, or none.",
)
@click.option(
    "--follow", multiple=True, metavar="JOB", shell_complete=jobs_of, help="Show only the log of this job, at length."
)
@click.option("--json", "as_json", is_flag=True, help="One JSON document.")
def run(
    jobs: tuple[str, ...],
    file: str | None,
    *,
    parallel: int | None,
    executor: str | None,
    privileged: tuple[str, ...],
    engine_socket: bool,
    network: str,
    env_files: tuple[str, ...],
    secrets_files: tuple[str, ...],
    host_tools: bool,
    no_reuse: bool,
    shell_on_failure: bool,
    watching: bool,
    compare: str | None,
    url: str,
    data: str,
    plain: bool,
    logs: str,
    follow: tuple[str, ...],
    as_json: bool,
    **options: Any,
) -> None:
    r"""Run the pipeline of this working tree here, with the jobs a push would run; named jobs with what they need.

    Jobs work in copies: tracked files as they are now, uncommitted changes included. Logs and artifacts are left
    under .aegis/, the tree itself stays as it is. Variables in .aegis/env and secrets in .aegis/secrets are taken up.

    \b
    Examples:
      aegis run
      aegis run unit --parallel 4 --secrets-file .secrets
      aegis run --since main
      aegis run unit --watch
    """
    # What is loaded and compiled lives to the end: to look through it again and again is in vain.
    gc.disable()
    if executor in {None, "namespaces"}:
        from aegis.bootstrap.isolation import ask_ahead

        ask_ahead()
    if not as_json:
        output.note("reading the pipeline …")  # before anything large is loaded: a sign of life
    from aegis.bootstrap.run import LocalOptions
    from aegis.cli.show import Wish

    if watching and as_json:
        raise UserError("watch-json", "--watch has no one document to give", hint="leave out --json")
    if shell_on_failure and not sys.stdin.isatty():
        raise UserError("no-terminal", "--shell-on-failure needs a terminal", hint="leave it out")
    chosen = LocalOptions(
        parallel=1 if shell_on_failure else parallel or _processors(),
        executor=executor,
        privileged=privileged,
        engine_socket=engine_socket,
        network=network,
        host_tools=host_tools,
        reuse=not no_reuse,
        shell_on_failure=shell_on_failure,
    )
    asking = _Asking(
        jobs=jobs, file=file, env_files=env_files, secrets_files=secrets_files, options=options, quiet=as_json
    )
    wish = Wish(
        live=not plain and not as_json and output.redraws(sys.stderr),
        quiet=as_json,
        logs=logs,
        follow=frozenset(follow),
        parallel=chosen.parallel,
    )
    told = _Telling(wish=wish, as_json=as_json, compare=compare or "", url=url, data=data, interrupts=Interrupts())
    told.interrupts.listen()
    sys.exit(_watch(asking, chosen, told) if watching else _once(asking, chosen, told)[0])


@dataclass(frozen=True, slots=True, kw_only=True)
class _Telling:
    """How a run is told, and what it is compared with."""

    wish: Wish
    as_json: bool
    compare: str
    url: str
    data: str
    interrupts: Interrupts


@dataclass(frozen=True, slots=True, kw_only=True)
class _Prepared:
    """The plan of what was asked for, the secrets by name, the project, and the question that the plan answers."""

    plan: Plan
    secrets: dict[str, str]
    local: Local
    asked: CompileRequest


@dataclass(frozen=True, slots=True, kw_only=True)
class _Asking:
    """What is to be run, as it was asked for; prepared anew for each run."""

    jobs: tuple[str, ...]
    file: str | None
    env_files: tuple[str, ...]
    secrets_files: tuple[str, ...]
    options: dict[str, Any]
    quiet: bool

    def prepared(self) -> _Prepared:
        """Read and compiled; `UserError` where the pipeline is not valid or would be empty."""
        from aegis.bootstrap.local_variables import read
        from aegis.bootstrap.pipeline import changes_told, locate, request
        from aegis.bootstrap.run import FOLDER, masker
        from aegis.bootstrap.selection import select
        from aegis.pipeline.compile import compile_pipeline

        local = locate(self.file)
        wanted = occasion(**self.options)
        given = read(local.directory / FOLDER, self.env_files, self.secrets_files)
        _, unmasked = masker(given.secrets)
        if unmasked:
            raise UserError(
                "secret-too-short",
                f"these secrets are too short to be masked: {', '.join(unmasked)}",
                hint="give them at least 8 characters, or move them to --env-file",
            )
        asked = request(local, replace(wanted, variables=(*given.variables, *wanted.variables)))
        for line in (*(f"with {one}" for one in given.files), changes_told(wanted, asked)):
            if line and not self.quiet:
                output.note(line)
        found = compile_pipeline(asked)
        if found.errors:
            first = found.errors[0]
            raise UserError(first.code, first.message, hint=first.hint or "aegis lint", where=first.where)
        if found.plan is None:
            raise UserError("empty-pipeline", f"nothing would run: {found.skipped}", hint="aegis preview")
        return _Prepared(plan=select(found.plan, self.jobs), secrets=given.secrets, local=local, asked=asked)


def _watch(asking: _Asking, chosen: LocalOptions, told: _Telling) -> int:
    """Run after each change, until somebody interrupts; a pipeline that cannot be read waits for the next change."""
    from aegis.bootstrap.pipeline import locate
    from aegis.bootstrap.watch import Watched

    watched = Watched(locate(asking.file))
    try:
        while True:
            changed: tuple[str, ...] = ()
            try:
                code, changed = _once(asking, chosen, told, watched)
            except AegisError as error:
                output.note(str(error))
                code = error.exit_code
            if code in {_INTERRUPTED, 128 + signal.SIGTERM}:
                return 0
            if not changed:
                output.note("waiting for a change … (Ctrl-C ends)")
            changed = watched.settled(changed)
            more = f" and {len(changed) - _NAMED} more" if len(changed) > _NAMED else ""
            output.note(f"\nchanged: {', '.join(changed[:_NAMED])}{more}\nreading the pipeline …")
    except KeyboardInterrupt:
        output.note("")
    return 0


def _once(
    asking: _Asking, chosen: LocalOptions, told: _Telling, watched: Watched | None = None
) -> tuple[int, tuple[str, ...]]:
    """One run; its leave code, and the files whose change ended it."""
    from aegis.bootstrap.history import Usual
    from aegis.bootstrap.run import LocalRun
    from aegis.cli.show import Show

    made_of = asking.prepared()
    gc.freeze()
    gc.enable()
    there = _server_run(told) if told.compare else None
    usual = Usual(made_of.local.directory, made_of.asked.project)
    show = Show(made_of.plan, told.wish, usual, told.interrupts)
    with LocalRun(made_of.local, made_of.plan, replace(chosen, secrets=made_of.secrets), made_of.asked) as made:
        show.begin(made)
        end = _carry(made, show, watched, told.interrupts)
        show.end(end.state)
        shown = made.lay_out(end.state)
    if not end.changed:
        from aegis.cli.run_result import Result, tell_result

        result = Result(
            made=made, state=end.state, jobs=shown, usual=show.usual, plan=made_of.plan, local=made_of.local
        )
        tell_result(result, there, as_json=told.as_json)
    if end.code:
        _how_to_go_on(asking, end.state, told)
        return end.code, end.changed
    if not end.state.state.finished:
        return Waiting.exit_code, end.changed
    return (0 if end.state.state.value in {"success", "skipped"} else CheckFailed.exit_code), end.changed


def _server_run(told: _Telling) -> There:
    from aegis.bootstrap.comparison import server_run
    from aegis.cli.comparison import There

    view, inputs = server_run(told.compare, told.url, told.data)
    return There(run=told.compare, view=view, inputs=inputs)


def _processors() -> int:
    import os

    return max(1, os.cpu_count() or 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class _End:
    """How the carrying out ended: the state, the leave code of an interruption (0: none), the files that changed."""

    state: Run
    code: int = 0
    changed: tuple[str, ...] = ()


class _Changed(Exception):
    """Files changed while the pipeline ran."""

    def __init__(self, paths: tuple[str, ...]) -> None:
        super().__init__()
        self.paths = paths


def _carry(made: LocalRun, show: Show, watched: Watched | None, interrupts: Interrupts) -> _End:
    """Run to the end, or to where somebody interrupts it, or a watched file changes."""
    from aegis.bootstrap.run import watch

    def seen(state: Run) -> None:
        show.see(state)
        changed = watched.glance() if watched is not None else ()
        if changed:
            raise _Changed(changed)

    try:
        made.start()
        return _End(state=watch(made, seen, every=_LIVE_SECONDS))
    except _Changed as change:
        show.line("files have changed: stopping what runs")
        return _End(state=_stopped(made, show, interrupts), changed=change.paths)
    except KeyboardInterrupt as stop:
        code = stop.code if isinstance(stop, Stopped) else _INTERRUPTED
        return _End(state=_stopped(made, show, interrupts), code=code)


def _stopped(made: LocalRun, show: Show, interrupts: Interrupts) -> Run:
    """Stop everything that runs and wait for it, up to a second interrupt."""
    state = made.cancel()
    stopped = [job.name for job in state.jobs if job.state.value == "canceling"]
    names = ", ".join(stopped[:_NAMED]) + (f" and {len(stopped) - _NAMED} more" if len(stopped) > _NAMED else "")
    again = " (again to leave at once)" if stopped else ""
    show.line(f"interrupted; stopping {names or 'nothing, nothing was running'}{again}")
    show.notice = "stopping; Ctrl-C again to leave at once"
    deadline = time.monotonic() + _STOP_SECONDS
    try:
        while not made.at_rest(state) and time.monotonic() < deadline:
            made.wait(0.1)
            state = made.state()
            show.see(state)
    except KeyboardInterrupt:
        pass
    left = [job.name for job in made.state().jobs if job.state.value == "canceling"]
    if left:
        # A third interrupt must not keep it from ending what runs.
        interrupts.ignore()
        show.line(f"ending by force, whatever their after_script still does: {', '.join(left[:_NAMED])}")
    made.halt()
    return made.state()


def _how_to_go_on(asking: _Asking, state: Run, told: _Telling) -> None:
    """Say after an interruption which command does what was left."""
    import shlex

    if told.as_json:
        return
    ended = {"success", "skipped", "manual"}
    left = [job.name for job in state.jobs if job.state.value not in ended and ": " not in job.name]
    done = sum(job.state.value == "success" for job in state.jobs)
    words = [
        *(["--file", asking.file] if asking.file else []),
        *(left if len(left) <= _NAMED and done else asking.jobs),
    ]
    output.note(f"{done} of {len(state.jobs)} jobs had passed; go on with: {shlex.join(['aegis', 'run', *words])}")

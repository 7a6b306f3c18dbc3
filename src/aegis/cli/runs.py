"""`aegis cancel|retry|logs|explain|why`: runs on a server, and why they went as they went."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

from aegis.cli.output import document, say, state
from aegis.cli.pipeline import pairs
from aegis.cli.remote import client, server_options, told
from aegis.core.errors import ExternalError, UserError

if TYPE_CHECKING:
    from aegis.adapters.server_http import ServerClient


@click.command()
@click.argument("run")
@click.option("--reason", default="", help="Why.")
@click.option("--dry-run", is_flag=True, help="Only say what would happen.")
@server_options
def cancel(run: str, reason: str, url: str, data: str, *, dry_run: bool, as_json: bool) -> None:
    """Cancel a run; finished jobs keep their results.

    \b
    Examples:
      aegis cancel 01k9x…
      aegis cancel 01k9x… --reason "wrong branch"
    """
    with client(url, data) as server:
        told("cancel", server.execute("cancel", {"run": run, "reason": reason}, dry_run=dry_run), as_json=as_json)


@click.command()
@click.argument("run")
@click.argument("job", required=False, default="")
@click.option("--dry-run", is_flag=True, help="Only say what would happen.")
@server_options
def retry(run: str, job: str, url: str, data: str, *, dry_run: bool, as_json: bool) -> None:
    """Run a failed job again; without a job: all that failed.

    \b
    Examples:
      aegis retry 01k9x…
      aegis retry 01k9x… unit
    """
    with client(url, data) as server:
        told("retry", server.execute("retry", {"run": run, "job": job}, dry_run=dry_run), as_json=as_json)


@click.command()
@click.argument("run")
@click.argument("job")
@click.option("--var", "variables", multiple=True, callback=pairs, metavar="NAME=VALUE", help="A variable of the job.")
@click.option("--dry-run", is_flag=True, help="Only say what would happen.")
@server_options
def play(
    run: str, job: str, variables: tuple[tuple[str, str], ...], url: str, data: str, *, dry_run: bool, as_json: bool
) -> None:
    """Start a manual job, or a delayed one before its time.

    \b
    Examples:
      aegis play 01k9x… deploy
      aegis play 01k9x… deploy --var TARGET=canary --dry-run
    """
    fields = {"run": run, "job": job, "variables": dict(variables)}
    with client(url, data) as server:
        told("play", server.execute("play", fields, dry_run=dry_run), as_json=as_json)


@click.command()
@click.argument("run", metavar="[RUN] JOB")
@click.argument("job", required=False, default="", metavar="")
@click.option("--follow", "-f", is_flag=True, help="Go on until the job has ended.")
@click.option("--search", default="", metavar="TEXT", help="Only the lines that hold TEXT, with their numbers.")
@click.option("--line", default=0, metavar="N", help="Only the lines around line N, with their numbers.")
@server_options
def logs(run: str, job: str, search: str, line: int, url: str, data: str, *, follow: bool, as_json: bool) -> None:
    """Show a job's log; without RUN that of the last local run.

    \b
    Examples:
      aegis logs unit
      aegis logs 01k9x… unit
      aegis logs 01k9x… unit --follow
      aegis logs 01k9x… unit --search "error:"
      aegis logs 01k9x… unit --line 48213
    """
    if not job:
        _local_log(run, search, line, as_json=as_json)
        return
    if search or line:
        _some_lines(run, job, search, line, url, data, as_json=as_json)
        return
    collected: list[bytes] = []
    with client(url, data) as server:
        _streamed(server, run, job, collected.append if as_json else _shown(), follow=follow)
    if as_json:
        document("aegis.logs/1", {"run": run, "job": job, "log": b"".join(collected).decode("utf-8", "replace")})


def _streamed(server: ServerClient, run: str, job: str, to: Callable[[bytes], object], *, follow: bool) -> None:
    """Hand on a log piece by piece, and at the end an empty piece."""
    offset, complete = 0, False
    while not complete:
        chunk, following, complete = server.trace(run, job, offset=offset, wait=20 if follow and offset else 0)
        if chunk:
            to(chunk)
        if not follow and following == offset:
            break
        offset = following
    to(b"")


def _shown() -> Callable[[bytes], None]:
    """Writes a log to standard output: as it is on a terminal, elsewhere line by line, without colours and section marks."""
    from aegis.execution.trace import readable

    as_it_is = sys.stdout.isatty() and not os.environ.get("NO_COLOR")
    rest = b""

    def show(chunk: bytes) -> None:
        nonlocal rest
        if as_it_is:
            sys.stdout.buffer.write(chunk)
        else:
            whole, end, behind = (rest + chunk).rpartition(b"\n")
            whole, rest = (whole + end, behind) if chunk else (rest, b"")
            sys.stdout.buffer.write(readable(whole).encode())
        sys.stdout.buffer.flush()

    return show


def _local_log(job: str, search: str, line: int, *, as_json: bool) -> None:
    """A log that `aegis run` left: whole, the lines that hold a text, or those around one."""
    from aegis.bootstrap.explain import local_log

    run, text = local_log(job)
    if not search and not line:
        if as_json:
            document("aegis.logs/1", {"run": run, "job": job, "log": text})
        else:
            sys.stdout.write(text)
        return
    rows = list(enumerate(text.splitlines(), 1))
    rows = [row for row in rows if search in row[1]] if search else rows[max(0, line - 11) : line + 30]
    _tell_rows(run, job, rows, more=False, as_json=as_json)


def _some_lines(run: str, job: str, search: str, line: int, url: str, data: str, *, as_json: bool) -> None:
    """The lines that were found, or those around one: ten before it and thirty after."""
    with client(url, data) as server:
        if search:
            found = server.get(f"runs/{run}/jobs/{job}/trace/search", text=search)
            rows, more = [(one["line"], one["text"]) for one in found["hits"]], found["more"]
        else:
            content, first, _ = server.lines(run, job, max(1, line - 10), 41)
            rows = list(enumerate(content.decode("utf-8", "replace").splitlines(), first))
            more = False
    _tell_rows(run, job, rows, more=more, as_json=as_json)


def _tell_rows(run: str, job: str, rows: list[tuple[int, str]], *, more: bool, as_json: bool) -> None:
    if as_json:
        document(
            "aegis.logs/1", {"run": run, "job": job, "more": more, "lines": [{"line": n, "text": t} for n, t in rows]}
        )
        return
    for number, text in rows:
        say(f"{number:>8}  {text}")
    if more:
        say(f"there are more; `aegis logs {run} {job} --line {rows[-1][0]}` shows what stands around one")


@click.command()
@click.argument("run", required=False, default="", metavar="[RUN|JOB]")
@click.option("--try", "try_mend", is_flag=True, help="Try the mend of a local failure on a copy, where that is safe.")
@server_options
def explain(run: str, url: str, data: str, *, try_mend: bool, as_json: bool) -> None:
    """Say why a run or job failed, most likely cause first; without an argument: the last local run.

    It compares with the last good run of the same job, quotes what is decisive, and says nothing where it does not know.

    \b
    Examples:
      aegis explain
      aegis explain unit --try
      aegis explain 01k9x…
    """
    from aegis.bootstrap.explain import is_local, nowhere

    if run and not is_local(run):
        if try_mend:
            raise UserError(
                "not-local", "a mend is tried for local runs only", hint="aegis run, then: aegis explain --try"
            )
        try:
            with client(url, data) as server:
                causes: list[dict[str, Any]] = server.get(f"runs/{run}")["causes"]
        except ExternalError as error:
            raise (nowhere(run) if error.code == "no-server" else error) from None
        _explained({"causes": causes, "abstained": not causes}, as_json=as_json)
        return
    _explained(_local(run, try_mend=try_mend), as_json=as_json)


def _local(name: str, *, try_mend: bool) -> dict[str, Any]:
    """The explanation of a local run as plain values."""
    from aegis.bootstrap.explain import local_run
    from aegis.core import codec

    failed = local_run(name)
    causes = [{"job": one.job.name, **codec.plain(cause)} for one in failed for cause in one.explanation.causes]
    answer: dict[str, Any] = {
        "causes": sorted(causes, key=lambda cause: -cause["confidence"]),
        "abstained": not causes,
        "run": failed[0].run if failed else "",
        "failed": [one.job.name for one in failed],
        "compared": [
            {
                "job": one.job.name,
                "good_run": one.explanation.good_run,
                "differences": list(one.explanation.differences),
                "new_lines": list(one.explanation.new_lines),
            }
            for one in failed
            if one.explanation.good_run
        ],
    }
    if try_mend:
        from aegis.bootstrap.mend import try_mend as tried

        answer["tried"] = [codec.plain(tried(one)) for one in failed]
    return answer


def _explained(answer: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        document("aegis.explain/1", answer)
        return
    for cause in answer["causes"]:
        say(f"{state('failed')} {cause['job']}: {cause['message']}  [{cause['code']}, {cause['confidence']:.0%}]")
        for quoted in cause["evidence"]:
            say(f"    │ {quoted}")
        if cause["hint"]:
            say(f"    mend: {cause['hint']}")
    for one in answer.get("compared", ()):
        say(f"{one['job']}, compared with its last good run {one['good_run']}:")
        for line in one["differences"] or ("nothing differs: files, lock, image, variables and script are the same",):
            say(f"    {line}")
        for line in one["new_lines"] if answer["abstained"] else ():
            say(f"    new in the log: {line}")
    for one in answer.get("tried", ()):
        word = {True: "success", False: "failed", None: "skipped"}[one["helped"]]
        say(f"{state(word)} tried for {one['job']}: {one['told']}")
    if answer["abstained"]:
        if "failed" in answer and not answer["failed"]:
            say(f"nothing failed in run {answer['run']}" if answer["run"] else "nothing failed in the last run")
        else:
            say("no known cause fits; look at the log: aegis logs RUN JOB")


@click.command()
@click.argument("run")
@click.argument("job")
@server_options
def why(run: str, job: str, url: str, data: str, *, as_json: bool) -> None:
    """Say why a job waits or is slow, and why it is in the pipeline at all.

    \b
    Examples:
      aegis why 01k9x… unit
      aegis why 01k9x… unit --json
    """
    with client(url, data) as server:
        answer = server.get(f"runs/{run}/why", job=job)
    if as_json:
        document("aegis.why/1", answer)
        return
    say(f"{state(answer['state'])} {job}: {answer['rule'] or 'no rule; it is always in'}")
    for one in answer["reasons"]:
        say(f"  {one['message']}  [{one['code']}]")
        for fact in one["evidence"]:
            say(f"    │ {fact}")
        say(f"    mend: {one['hint']}")
    if not answer["reasons"]:
        say("  it neither waits nor is slower than usual")
    if answer["reused"]:
        say(f"  its result is that of {answer['reused']}; nothing was run (AEGIS_NO_REUSE=true runs it)")
    parts = [
        f"{word} {answer[key]:.1f} s"
        for key, word in (("queue_seconds", "waited"), ("run_seconds", "ran"))
        if answer[key] is not None
    ]
    if used := answer["usage"]:
        parts.append(f"used {used['cpu_seconds']:.2f} s of processor, {used['peak_memory'] / 1e6:.0f} MB of memory")
        parts.append(f"read {used['read_bytes'] / 1e6:.1f} MB, wrote {used['written_bytes'] / 1e6:.1f} MB")
    if parts:
        say(f"  {' · '.join(parts)}")
    if answer["fault"]:
        said = {"error": "its surroundings failed (error), not its code", "failure": "its code failed (failure)"}
        say(f"  {said[answer['fault']]}")
    if answer["usual_seconds"]:
        say(f"  usually takes {answer['usual_seconds']:.1f} s")

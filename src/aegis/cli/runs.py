"""`aegis cancel|retry|logs|explain|why`: runs on a server, and why they went as they went."""

from __future__ import annotations

import sys
from typing import Any

import click

from aegis.cli.output import document, say, state
from aegis.cli.remote import client, server_options, told


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
@click.option("--follow", "-f", is_flag=True, help="Go on until the job has ended.")
@click.option("--search", default="", metavar="TEXT", help="Only the lines that hold TEXT, with their numbers.")
@click.option("--line", default=0, metavar="N", help="Only the lines around line N, with their numbers.")
@server_options
def logs(run: str, job: str, search: str, line: int, url: str, data: str, *, follow: bool, as_json: bool) -> None:
    """Show a job's log.

    \b
    Examples:
      aegis logs 01k9x… unit
      aegis logs 01k9x… unit --follow
      aegis logs 01k9x… unit --search "error:"
      aegis logs 01k9x… unit --line 48213
    """
    if search or line:
        _some_lines(run, job, search, line, url, data, as_json=as_json)
        return
    with client(url, data) as server:
        offset, complete, collected = 0, False, b""
        while not complete:
            chunk, following, complete = server.trace(run, job, offset=offset, wait=20 if follow and offset else 0)
            if as_json:
                collected += chunk
            else:
                sys.stdout.buffer.write(chunk)
                sys.stdout.buffer.flush()
            if not follow and following == offset:
                break
            offset = following
    if as_json:
        document("aegis.logs/1", {"run": run, "job": job, "log": collected.decode("utf-8", "replace")})


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
@click.argument("run", required=False, default="")
@server_options
def explain(run: str, url: str, data: str, *, as_json: bool) -> None:
    """Say why a run failed, most likely cause first; without an argument: the last local run.

    \b
    Examples:
      aegis explain
      aegis explain 01k9x…
    """
    if run:
        with client(url, data) as server:
            causes: list[dict[str, Any]] = server.get(f"runs/{run}")["causes"]
    else:
        from aegis.bootstrap.explain import last_local_run

        causes = last_local_run()
    if as_json:
        document("aegis.explain/1", {"causes": causes, "abstained": not causes})
        return
    for cause in causes:
        say(f"{state('failed')} {cause['job']}: {cause['message']}  [{cause['code']}, {cause['confidence']:.0%}]")
        for quoted in cause["evidence"]:
            say(f"    │ {quoted}")
        if cause["hint"]:
            say(f"    mend: {cause['hint']}")
    if not causes:
        say("no known cause fits; look at the log: aegis logs RUN JOB")


@click.command()
@click.argument("run")
@click.argument("job")
@server_options
def why(run: str, job: str, url: str, data: str, *, as_json: bool) -> None:
    """Say why a job is there, what it waits for, and whether it is slower than usual.

    \b
    Examples:
      aegis why 01k9x… unit
      aegis why 01k9x… unit --json
    """
    with client(url, data) as server:
        view = server.get(f"runs/{run}")
    found = next((one for one in view["jobs"] if one["job"]["name"] == job), None)
    if found is None:
        raise click.UsageError(
            f"run {run} has no job {job!r}; it has {', '.join(one['job']['name'] for one in view['jobs'])}"
        )
    states = {one["job"]["name"]: one["job"]["state"] for one in view["jobs"]}
    waits = [
        f"{name} ({states.get(name, 'not in this run')})" for name in found["needs"] if states.get(name) != "success"
    ]
    answer = {
        "job": job, "state": found["job"]["state"], "reason": found["reason"], "waits_for": waits,
        "usual_seconds": found["usual_seconds"], "queued_at": found["job"]["queued_at"],
    }  # fmt: skip
    if as_json:
        document("aegis.why/1", answer)
        return
    say(f"{state(answer['state'])} {job}: {answer['reason'] or 'no rule; it is always in'}")
    if waits:
        say(f"  waits for {', '.join(waits)}")
    elif answer["state"] in ("pending", "created"):
        say("  waits for a free runner, or for its stage")
    if answer["usual_seconds"]:
        say(f"  usually takes {answer['usual_seconds']:.1f} s")

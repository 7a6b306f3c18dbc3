"""One attempt of one job, from the empty place to the result.

The order is GitLab's: work tree, caches, artifacts of earlier jobs, script, `after_script`, caches, artifacts. A cancel
or the end of the time stops the script with everything it started; `after_script` still runs, in time of its own.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final, ParamSpec, TypeVar

from aegis.core.errors import AegisError
from aegis.core.plan import Image
from aegis.core.types import State
from aegis.execution import environment, reuse, script, transfer
from aegis.execution.network import unheard
from aegis.execution.ports import (
    Exit,
    ImageRoot,
    ImageRoots,
    Place,
    Sandbox,
    SandboxRequest,
    WorkspaceReady,
    WorkspaceRequest,
)
from aegis.execution.runners import Assignment, JobResult, Signal, with_file
from aegis.execution.schedule import SYSTEM_FAILURE
from aegis.execution.services import requests
from aegis.execution.shards import FILE_VARIABLE
from aegis.execution.supervise import images
from aegis.execution.supervise.images import Refusal
from aegis.execution.supervise.judged import judged
from aegis.execution.supervise.log import JobLog
from aegis.execution.supervise.places import empty, make, own
from aegis.execution.supervise.report import at_once, report
from aegis.execution.supervise.reused import Reuse
from aegis.execution.supervise.tools import Course, Tools

P = ParamSpec("P")
T = TypeVar("T")
_RED: Final = "31;1"
_GREEN: Final = "32;1"
_YELLOW: Final = "33;1"


class JobWork:
    """Works one assignment. `stop` may be called at any moment from the same loop."""

    def __init__(
        self, tools: Tools, assignment: Assignment, root: Path, call: Callable[..., Awaitable[object]]
    ) -> None:
        self._tools = tools
        self._options = tools.options
        self._assignment = images.completed(assignment, self._options.image)
        self._call_in_thread = call
        self._course = Course()
        self._place = tools.executor.place(root, assignment.run.project)
        self._environment = environment.JobEnvironment(variables={})
        self._network = tools.network(assignment.run).tightened(assignment.spec.variables)
        self._before: frozenset[str] = frozenset()
        self._kept = contextlib.ExitStack()
        self._reuse: Reuse | None = None
        self._since = tools.clock.monotonic()
        self._log = self._make_log({})
        self._bug: Exception | None = None
        # A way to a thread and back costs a trivial job more than its script.
        timings = tools.timings
        self._timings = timings if timings is not None and timings.concerned(assignment) else None

    @property
    def place(self) -> Place:
        """Where the job lives; whoever owns this object removes it afterwards."""
        return self._place

    @property
    def shown(self) -> Sequence[Path]:
        """What of the machine the job was shown beside its place."""
        return self._course.shown

    async def _call(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        return await self._call_in_thread(function, *args, **kwargs)  # type: ignore[return-value]

    def _make_log(self, secrets: Mapping[str, str]) -> JobLog:
        masker, unmasked = self._tools.masker(secrets)
        if unmasked:
            names = ", ".join(unmasked)
            raise Refusal(
                "unmet_prerequisites",
                f"these masked variables are too short to be masked: {names}",
                "give them values of at least 8 characters, or declare them without `masked`",
            )
        job = self._assignment.job.id
        return JobLog(
            masker,
            lambda offset, data: self._call(self._tools.source.trace, job, offset, data),
            limit=self._options.trace_limit,
            flush_seconds=self._options.flush_seconds,
        )

    # -- the course ---------------------------------------------------------------------------------------------

    async def work(self, freed: Callable[[], None], leave: Callable[[], None]) -> None:
        """Carry the job out and report its result; only bugs are raised.

        When only the report is left, `freed` is called, and `leave`, in a thread, since the place is not needed any more.
        """
        watching = asyncio.create_task(self._watch())
        with self._kept:
            try:
                result = await self._result()
            finally:
                watching.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await watching
            freed()
            offset, rest = await self._log.end()
            source, job = self._tools.source, self._assignment.job.id
            said = None
            if not self._log.broken:
                said = await self._call(at_once, source, job, result, offset=offset, rest=rest, leave=leave)
            if said is None:
                result = await self._with_log(result)
            if said is not True:
                await report(self._call, source, job, result)
            if self._timings is not None and result.state is State.SUCCESS:
                with contextlib.suppress(AegisError):
                    await self._call(self._timings.keep, self._assignment, result.files)
            if self._reuse is not None:
                await self._call(self._reuse.keep, result, self._tools.clock.monotonic() - self._since)
        if self._bug is not None:
            raise self._bug

    async def _result(self) -> JobResult:
        try:
            await self._equip()
            self._log.start()
            result = await self._carry()
        except Refusal as refusal:
            result = self._refused(refusal.reason, refusal.message, refusal.mend)
        except AegisError as error:
            result = self._refused(SYSTEM_FAILURE, error.message, error.hint)
        except OSError as error:
            result = self._refused(SYSTEM_FAILURE, f"{error.filename or 'the runner'}: {error.strerror}", "")
        except Exception as error:  # noqa: BLE001 - the job ends now and says why, instead of being silent until it is lost
            self._bug = error
            result = self._refused(SYSTEM_FAILURE, f"the runner has a bug: {type(error).__name__}: {error}", "")
        finally:
            await self._leave()
        return replace(result, usage=self._course.usage, steps=self._log.steps)

    async def _with_log(self, result: JobResult) -> JobResult:
        """The result, once the rest of the log is stored; a job whose log cannot be stored is no success."""
        await self._log.close()
        if self._log.broken and result.state is State.SUCCESS:
            return JobResult(state=State.FAILED, failure_reason=SYSTEM_FAILURE, message=self._log.broken)
        return result

    async def _leave(self) -> None:
        """Give the sandbox back, however the job ended."""
        sandbox, self._course.sandbox = self._course.sandbox, None
        try:
            if sandbox is not None:
                await sandbox.cleanup()
        except AegisError as error:
            self._log.line(f"WARNING: {error.message}", colour=_YELLOW)

    def _refused(self, reason: str, message: str, mend: str) -> JobResult:
        self._log.line(f"ERROR: {message}", colour=_RED)
        if mend:
            self._log.line(f"mend: {mend}", colour=_YELLOW)
        text = f"{message} — {mend}" if mend else message
        if self._course.stop in {"cancel", "abort"}:
            return JobResult(state=State.CANCELED, message="canceled")
        return JobResult(state=State.FAILED, failure_reason=reason, message=text)

    async def _equip(self) -> None:
        """Everything that can be refused before a directory is made."""
        assignment, options = self._assignment, self._options
        if assignment.resolve_failure:
            raise Refusal("unmet_prerequisites", assignment.resolve_failure)
        tool_path = [str(path) for path in options.tool_paths]
        if self._timings is not None and (told := await self._call(self._timings.given, assignment)):
            assignment = self._assignment = with_file(assignment, FILE_VARIABLE, told)
        self._environment = environment.build(
            assignment, self._place, tool_path=tool_path, passthrough=options.passthrough
        )
        self._log = self._make_log(self._environment.secrets)
        wanted = images.names(assignment.spec)
        if wanted and options.host_tools:
            text = f"WARNING: {wanted} is not used: the job runs with the tools of this machine."
            self._log.line(text, colour=_YELLOW)
        else:
            images.check(assignment.spec, self._tools.executor, fetched=self._tools.images is not None)

    async def _carry(self) -> JobResult:
        assignment, spec, name = self._assignment, self._assignment.spec, self._options.name
        isolation, network = self._tools.executor.isolation, self._network.policy
        self._log.line(f"Running with aegis on {name} ({isolation}, network: {network})")
        self._say([text] if (text := unheard(self._network, spec.variables)) else [])
        async with self._deadline(spec.timeout):
            if (spec.image or spec.services) and self._tools.images is not None and not self._options.host_tools:
                async with self._section("prepare_executor"):
                    await self._pull(self._tools.images, spec.image, spec.services)
            if (earlier := await self._earlier()) is not None:
                return self._told(earlier)
            await self._prepare()
            ended = await self._step("step_script", (*assignment.spec.before_script, *assignment.spec.script))
        result = judged(ended, self._course, spec.timeout)
        if assignment.spec.after_script and self._course.begun and self._course.stop not in {"abort", "shutdown"}:
            await self._after(result)
        if self._course.stop not in {"abort", "shutdown"}:
            result = await self._keep(result)
        if self._reuse is not None:
            result = self._reuse.told(result)
            self._said_of_reuse()
        sandbox = self._course.sandbox
        if result.state is State.FAILED and self._tools.on_failure is not None and sandbox is not None:
            await self._log.flush()
            await self._tools.on_failure(assignment, sandbox, self._environment.variables)
        return self._told(result)

    async def _prepare(self) -> None:
        """The place, the work tree, caches and artifacts, and a sandbox around them."""
        spec, run, values = self._assignment.spec, self._assignment.run, self._environment.variables
        if spec.pre_get_sources:
            await self._before_sources(spec.pre_get_sources)
        async with self._section("get_sources"):
            untouched = not spec.cache and not self._assignment.dependencies
            ready, owned = await self._call(self._sources, self._wish, own_now=untouched)
            self._log.line(ready.note)
        if (spec.artifacts and spec.artifacts.untracked) or any(one.untracked for one in spec.cache):
            self._before = await self._call(transfer.listing, self._place.work)
        if spec.cache:
            async with self._section("restore_cache"):
                self._say(
                    await self._call(transfer.restore, spec.cache, self._place.work, values, run.project, self._caches)
                )
        if self._assignment.dependencies:
            async with self._section("download_artifacts"):
                self._say(
                    await self._call(transfer.fetch, self._assignment.dependencies, self._place.work, self._tools.blobs)
                )
        writable = owned if owned is not None else await self._call(self._own, work=True)
        self._course.sandbox = await self._sandbox(ready.read_only, writable)

    def _sources(self, wish: WorkspaceRequest, *, own_now: bool) -> tuple[WorkspaceReady, Mapping[str, Path] | None]:
        """The place and the work tree, in a thread; also what `_own` does where nothing more comes into them."""
        self._make()
        ready = self._tools.workspaces.prepare(wish)
        return ready, self._own(work=not ready.owned) if own_now else None

    def _make(self) -> None:
        if not self._course.placed:
            self._course.placed = True
            make(self._place, self._environment.files)

    def _own(self, *, work: bool) -> Mapping[str, Path]:
        cache = (kept, self._cache_name) if (kept := self._options.tool_cache) else None
        return own(self._place, self._tools.executor.owner, cache, work=work)

    @property
    def _wish(self) -> WorkspaceRequest:
        run, wanted = self._assignment.run, self._environment.variables.get("GIT_STRATEGY", "")
        return WorkspaceRequest(
            project=run.project, commit=run.commit, ref=run.ref, destination=self._place.work,
            checkout=wanted not in {"none", "empty"},
        )  # fmt: skip

    async def _earlier(self) -> JobResult | None:
        """The result of a job like this one, where it asks for that and there is one."""
        values, notes = self._environment, self._tools.results
        if notes is None or not reuse.asked(values.variables):
            return None
        self._reuse = Reuse(tools=self._tools, notes=notes, assignment=self._assignment)
        found = await self._call(self._reuse.look, values, self._wish, self._course, self._network.policy)
        self._said_of_reuse()
        return found

    def _said_of_reuse(self) -> None:
        if self._reuse is not None:
            self._say(self._reuse.lines)
            self._reuse.lines.clear()

    async def _pull(self, roots: ImageRoots, image: Image | None, services: Sequence[Image]) -> None:
        """The image that will be the job's root, what it says of the environment, and the images of services."""
        project = self._assignment.run.project

        async def get(one: Image, *, service: bool = False) -> ImageRoot:
            self._log.line(f"Using the image {one.name} ...")
            found = await self._call(roots.get, one, project, service=service)
            self._log.line(f"{one.name} is {found.digest}")
            return found

        if image is not None:
            self._course.image = found = await images.fetch(get, image, self._environment.variables)
            passed = {**self._options.passthrough, **image.variables}
            self._environment = environment.build(
                self._assignment, self._place, passthrough=passed, image=found.environment
            )
        served = functools.partial(get, service=True)
        got = [(one, await images.fetch(served, one, self._environment.variables)) for one in services]
        self._course.services, warnings = requests(got, self._environment, self._assignment.variables)
        self._say(warnings)

    async def _before_sources(self, commands: Sequence[str]) -> None:
        """`hooks:pre_get_sources_script`, in the work tree's empty place; what it leaves there is cleared away."""
        await self._call(self._make)
        self._course.sandbox = await self._sandbox((), await self._call(self._own, work=True), services=False)
        ended = await self._step("pre_get_sources_script", commands)
        await self._course.sandbox.cleanup()
        self._course.sandbox, self._course.begun = None, False
        if ended.code != 0 and not self._course.stop:
            raise Refusal("script_failure", f"hooks:pre_get_sources_script ended with exit code {ended.code}")
        await self._call(empty, self._place.work)

    async def _sandbox(
        self, read_only: Sequence[Path], writable: Mapping[str, Path], *, services: bool = True
    ) -> Sandbox:
        image, asked = self._course.image, self._assignment.spec.image
        values = self._environment.variables
        ours = (*self._options.read_only, *self._options.tool_paths) if image is None else self._passed_files()
        self._course.shown = (*ours, *read_only)
        return await self._tools.executor.prepare(
            SandboxRequest(
                job_id=self._assignment.job.id,
                place=self._place,
                read_only=self._course.shown,
                writable=writable,
                limits=self._options.limits,
                image=image,
                entrypoint=asked.entrypoint if asked is not None else None,
                user=environment.expand(asked.user or "", values) if asked is not None and image is not None else "",
                services=self._course.services if services else (),
                log=self._log,
                network=self._network,
                show_services=values.get("CI_DEBUG_SERVICES", "").lower() in {"true", "1"},
            )
        )

    def _passed_files(self) -> tuple[Path, ...]:
        """What variables that are passed through name: certificates. The one thing of this machine beside an image."""
        named = {Path(value) for value in self._options.passthrough.values() if value.startswith("/")}
        return tuple(path for path in self._options.read_only if path in named)

    @property
    def _cache_name(self) -> str:
        trust = "protected" if self._assignment.trusted else "open"
        return f"{self._assignment.run.project.replace('/', '--')}/{trust}"

    @property
    def _caches(self) -> transfer.Caches:
        return transfer.Caches(
            notes=self._tools.caches,
            blobs=self._tools.blobs,
            clock=self._tools.clock,
            trusted=self._assignment.trusted,
        )

    # -- steps --------------------------------------------------------------------------------------------------

    async def _step(
        self, name: str, commands: Sequence[str], extra: Mapping[str, str] | None = None, *, even_stopped: bool = False
    ) -> Exit:
        sandbox = self._course.sandbox
        if sandbox is None or (self._course.stop and not even_stopped):
            return Exit(code=130, stopped=True)
        async with self._section(name):
            self._course.running = self._course.begun = True
            try:
                values = {**self._environment.variables, **(extra or {})}
                ended = await sandbox.run(script.render(commands), values, self._log)
            finally:
                self._course.running = False
        if ended.out_of_memory:
            self._course.starved = self._options.limits.used_up
            self._log.line(f"WARNING: {self._course.starved}", colour=_YELLOW)
        if ended.usage is not None:
            self._course.usage = ended.usage if self._course.usage is None else self._course.usage + ended.usage
        return ended

    async def _after(self, result: JobResult) -> None:
        """`after_script`: whatever it does, the job's result stands."""
        status = {State.SUCCESS: "success", State.CANCELED: "canceled"}.get(result.state, "failed")
        if self._course.stop == "timeout":
            status = "failed"
        commands = self._assignment.spec.after_script
        bell = asyncio.get_running_loop().call_later(self._options.after_script_seconds, self._halt_script)
        try:
            ended = await self._step("after_script", commands, {"CI_JOB_STATUS": status}, even_stopped=True)
        except AegisError as error:
            self._log.line(f"WARNING: after_script could not run: {error.message}", colour=_YELLOW)
            return
        finally:
            bell.cancel()
        if ended.code != 0:
            self._log.line(
                f"WARNING: after_script failed with exit code {ended.code}; the job goes on.", colour=_YELLOW
            )

    async def _keep(self, result: JobResult) -> JobResult:
        """Caches, artifacts and coverage."""
        spec, values = self._assignment.spec, self._environment.variables
        succeeded = result.state is State.SUCCESS
        if spec.cache:
            async with self._section("archive_cache"):
                self._say(
                    await self._call(
                        transfer.save, spec.cache, self._place.work, values, self._assignment.run.project,
                        self._caches, succeeded=succeeded, before=self._before,
                    )
                )  # fmt: skip
        if spec.artifacts:
            self._kept.enter_context(self._tools.blobs.hold())
            async with self._section("upload_artifacts"):
                files, lines = await self._call(
                    transfer.collect, spec.artifacts, self._place.work, values, self._tools.blobs,
                    succeeded=succeeded, before=self._before, limit=self._options.artifact_limit,
                )  # fmt: skip
                self._say(lines)
                result = replace(result, files=files)
        if spec.coverage:
            await self._log.flush()
            result = replace(result, coverage=self._log.coverage(spec.coverage))
        return result

    def _told(self, result: JobResult) -> JobResult:
        if result.state is State.SUCCESS:
            self._released()
            self._log.line("Job succeeded", colour=_GREEN)
        elif result.state is State.CANCELED:
            self._log.line("Job canceled", colour=_YELLOW)
        elif result.exit_code is not None:
            self._log.line(f"ERROR: Job failed: exit code {result.exit_code}", colour=_RED)
        else:
            self._log.line(f"ERROR: Job failed ({result.failure_reason}): {result.message}", colour=_RED)
        return result

    def _released(self) -> None:
        wish = self._assignment.spec.release
        if wish is not None and self._options.publishes:
            self._log.line("The server makes the tag and the release of this job.")
        elif wish is not None:
            self._log.line("WARNING: nothing is released here: a server makes the tag and the release.", colour=_YELLOW)

    def _say(self, lines: Sequence[str]) -> None:
        for line in lines:
            self._log.line(line, colour=_YELLOW if line.startswith(("WARNING", "ERROR")) else "")

    @contextlib.asynccontextmanager
    async def _section(self, name: str) -> AsyncIterator[None]:
        self._log.section(name, self._tools.clock.now().timestamp())
        try:
            yield
        finally:
            self._log.section_end(name, self._tools.clock.now().timestamp())

    # -- stopping -----------------------------------------------------------------------------------------------

    def stop(self, why: str) -> None:
        """End the script: `cancel`, `timeout`, `abort` (no `after_script`) or `shutdown`. The first reason counts."""
        if why == "shutdown" and self._course.stop:
            why = "abort"  # what is being stopped already gets no more time for its `after_script` either
        if not self._course.stop or why == "abort":
            self._course.stop = why
            self._halt_script()

    def _halt_script(self) -> None:
        if self._course.running and self._course.sandbox is not None:
            task = asyncio.create_task(self._course.sandbox.stop())
            self._course.stopping.add(task)
            task.add_done_callback(self._course.stopping.discard)

    @contextlib.asynccontextmanager
    async def _deadline(self, seconds: float) -> AsyncIterator[None]:
        bell = asyncio.get_running_loop().call_later(seconds, lambda: self.stop("timeout"))
        try:
            yield
        finally:
            bell.cancel()

    async def _watch(self) -> None:
        """Renew the lease and hear what the server wants."""
        while True:
            await asyncio.sleep(self._options.poll_seconds)
            try:
                signal = await self._call(self._tools.source.update, self._assignment.job.id)
            except AegisError:
                # The server may be away for a moment; the lease says for how long.
                continue
            if signal is not Signal.CONTINUE:
                self.stop("cancel" if signal is Signal.CANCEL else "abort")

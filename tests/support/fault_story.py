"""One pipeline from a push to production, told again and again with a fault at another crossing, and what must hold after each.

`Stories` makes a server's data directory once and copies it for every story. `undisturbed` is the story without a fault; `told`
tells it with one and answers what was found to be wrong (nothing: it survived) or that the crossing was not reached.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import sqlite3
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import support.crossings
from aegis.adapters.blobs_directory import DirectoryBlobs
from aegis.core.errors import AegisError, Conflict, ExternalError
from support.crossings import PARTIAL, WHEN
from support.server import (
    DECLARATION,
    IMAGE,
    PIPELINE,
    Person,
    Record,
    TeamServer,
    environment,
    finished,
    gone,
    mounts_below,
    service_files,
)

LINES = 2000
JOB = f"""i=0
while [ $i -lt {LINES} ]; do echo "line $i of what must not be lost"; i=$((i+1)); done
mkdir -p .cache out
echo kept > .cache/kept
echo made > out/made
"""
MORE = """
  cache: {key: the-one, paths: [.cache]}
  artifacts:
    paths: [out/]
"""
WAY = (
    "dev.cdevents.change.created", "aegis.verdict.given", "aegis.release.created", "aegis.promotion.proposed",
    "aegis.promotion.approved", "aegis.promotion.committed", "aegis.promotion.finished", "aegis.artifact.published",
    "dev.cdevents.artifact.published", "aegis.evidence.recorded", "dev.cdevents.pipelinerun.queued",
    "dev.cdevents.pipelinerun.finished",
)  # fmt: skip
"""What happens as often in every story, whatever went wrong."""
HEX = re.compile(r"[0-9a-f]{8,64}")
PEOPLE = ("olga", "ana", "rita")


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A fault: at which crossing, and which."""

    point: str
    number: int
    when: str
    action: str = "kill"

    def __str__(self) -> str:
        return f"{self.point}#{self.number} {self.action} {self.when}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Ending:
    """How a story ended, in what can be compared with another one's ending."""

    way: Counter[str]
    log: bytes
    refs: dict[str, tuple[str, ...]]
    trees: dict[str, tuple[str, ...]]
    commits: dict[str, int]
    images: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What became of a case. `wrong` is empty where it survived."""

    case: Case
    reached: bool
    wrong: tuple[str, ...] = ()
    attempts: int = 0
    """Attempts of jobs beyond the first: repeated, and recorded as such."""


@dataclass(kw_only=True)
class Stories:
    """The place where stories are told."""

    root: Path
    declaration: str = DECLARATION
    people: dict[str, Person] = field(default_factory=dict)
    usual: Ending | None = None

    def prepare(self) -> None:
        """A server that has its keys, its repositories and its people, and is stopped."""
        first = TeamServer(root=self.root / "template", declaration=self.declaration)
        first.start()
        for name in PEOPLE:
            first.person(name)
        self.people = dict(first.people)
        assert first.stop() == 0

    def server(self, name: str) -> TeamServer:
        """A server of its own for one story."""
        root = self.root / name
        root.mkdir()
        subprocess.run(["cp", "-a", str(self.root / "template" / "data"), str(root / "data")], check=True)
        return TeamServer(root=root, declaration=self.declaration, people=dict(self.people))

    def recorded(self) -> list[tuple[str, int]]:
        """Tell it undisturbed: the crossings in their order. What it ended with is kept for comparison."""
        file = self.root / "crossings"
        server = self.server("usual")
        self._plan(server, {"record": str(file), "witness": str(server.root / "witness")})
        try:
            server.start()
            onward(server)
            self.usual = self._ending(server)
            wrong = [*self._wrong(server), *self._left(server)]
            assert not wrong, wrong
        finally:
            end(server)
            self.ended(server.root)
        found = []
        for line in file.read_text().splitlines():
            point, _, number = line.partition(" ")
            found.append((point, int(number)))
        return found

    def told(self, case: Case) -> Outcome:
        """Tell it with a fault."""
        name = re.sub(r"[^a-z0-9]+", "-", str(case))
        server = self.server(name)
        mark = server.root / "mark"
        plan = {
            "point": case.point, "number": case.number, "when": case.when, "action": case.action,
            "mark": str(mark), "witness": str(server.root / "witness"), "room": str(server.data),
        }  # fmt: skip
        if case.action.startswith("clock"):
            plan.update(action="clock", jump=case.action.removeprefix("clock"))
        self._plan(server, {**plan, **self.more(server, case)})
        try:
            with self.meanwhile(server, case, mark) as after:
                known = self._until_the_fault(server, case, mark)
                if not mark.exists():
                    return Outcome(case=case, reached=False)
                server = after() or server
            if server.process is None or server.process.poll() is not None:
                server.start()
            patiently(server)
            wrong = [*self._lost(server, known), *self._wrong(server), *self._different(server), *self._left(server)]
            return Outcome(case=case, reached=True, wrong=tuple(wrong), attempts=self._again(server))
        except (AegisError, AssertionError, subprocess.TimeoutExpired) as error:
            return Outcome(case=case, reached=True, wrong=(f"{type(error).__name__}: {str(error)[-3000:]}",))
        finally:
            end(server)
            self.ended(self.root / name)
            shutil.rmtree(self.root / name, ignore_errors=True)

    def more(self, server: TeamServer, case: Case) -> dict[str, str]:  # noqa: ARG002 - for other kinds of stories
        """What else the plan of a case says."""
        return {}

    def ended(self, root: Path) -> None:
        """A story is over: give back what its place holds."""

    @contextmanager
    def meanwhile(self, server: TeamServer, case: Case, mark: Path) -> Iterator[Callable[[], TeamServer | None]]:  # noqa: ARG002 - as above
        """What goes on beside the story; what it gives is called after the fault and may answer another server."""
        yield lambda: None

    def _until_the_fault(self, server: TeamServer, case: Case, mark: Path) -> list[Record]:
        try:
            server.start()
            onward(server)
        except (AegisError, AssertionError) as error:
            if not mark.exists():
                raise AssertionError(f"it failed before the fault: {error}") from error
        if case.action not in ("kill", "partial") or not mark.exists():
            return []
        server.died()
        return server.ledger()

    @staticmethod
    def _plan(server: TeamServer, plan: dict[str, Any]) -> None:
        file = server.root / "plan.json"
        file.write_text(json.dumps(plan))
        server.command = (sys.executable, support.crossings.__file__, str(file), "--")

    # -- what must hold -----------------------------------------------------------------------------------

    @staticmethod
    def _lost(server: TeamServer, known: Sequence[Record]) -> Iterator[str]:
        now = server.ledger()
        if now[: len(known)] != list(known):
            yield "records that were there are gone or changed"
        if [one["seq"] for one in now] != list(range(1, len(now) + 1)):
            yield "the numbers of records have gaps"

    def _different(self, server: TeamServer) -> Iterator[str]:
        assert self.usual is not None
        ending = self._ending(server)
        for name in ("way", "log", "refs", "trees", "commits", "images"):
            mine, usual = getattr(ending, name), getattr(self.usual, name)
            if mine != usual:
                shown = (len(mine), len(usual)) if name == "log" else (mine, usual)
                yield f"{name} differs: {shown}"

    def _ending(self, server: TeamServer) -> Ending:
        records = server.ledger()
        way = Counter(one["type"] for one in records if one["type"] in WAY)
        run = next(one["data"]["run"]["id"] for one in records if one["type"] == "dev.cdevents.pipelinerun.queued")
        log = bytearray()
        while True:
            more, _, over = server.as_("operator").trace(run, "checks", offset=len(log))
            log += more
            if over or not more:
                break
        said = b"\n".join(line for line in bytes(log).splitlines() if line.startswith(b"line "))
        with sqlite3.connect(f"file:{server.data / 'images.sqlite'}?mode=ro", uri=True) as database:
            found = database.execute("SELECT repository, tag FROM tags").fetchall()
        database.close()
        images = tuple(sorted((repository, HEX.sub("x", tag)) for repository, tag in found))
        refs, trees, commits = {}, {}, {}
        for path in sorted((server.data / "git").rglob("*.git")):
            name = str(path.relative_to(server.data / "git"))
            refs[name] = tuple(_git(path, "for-each-ref", "--format=%(refname)").split())
            if "refs/heads/main" in refs[name]:
                trees[name] = tuple(_git(path, "ls-tree", "-r", "--name-only", "main").split())
                commits[name] = int(_git(path, "rev-list", "--count", "main"))
        return Ending(way=way, log=said, refs=refs, trees=trees, commits=commits, images=images)

    def _wrong(self, server: TeamServer) -> Iterator[str]:
        """What is wrong with it by itself, without any comparison."""
        server.verify()
        yield from _jobs_wrong(server.ledger(), _witnessed(server))
        for path in sorted((server.data / "git").rglob("HEAD")):
            repository = path.parent
            if (repository / "objects").is_dir():
                done = subprocess.run(
                    ["git", "-C", str(repository), "fsck", "--strict", "--no-dangling", "--no-progress"],
                    capture_output=True, text=True, env=environment(), check=False,
                )  # fmt: skip
                if done.returncode:
                    yield f"git fsck of {repository.name}: {done.stdout}{done.stderr}"
        yield from _images_wrong(server.data)
        if "Traceback" in server.log:
            yield f"a traceback: {server.log[-3000:]}"

    @staticmethod
    def _left(server: TeamServer) -> Iterator[str]:
        """Stop it: nothing of it may go on running or lie about."""
        inside = about(server.root)
        code = server.stop()
        if code:
            yield f"it ended with {code}"
        if left := gone(inside | about(server.root), 10.0):
            yield f"processes are left: {[_line(one) for one in left]}"
        yield from leavings(server.data)

    @staticmethod
    def _again(server: TeamServer) -> int:
        begun = [one for one in server.ledger() if one["type"] == "dev.cdevents.taskrun.started"]
        return sum(one["data"]["job"]["attempt"] > 1 for one in begun)


def onward(server: TeamServer) -> None:
    """From wherever it is to production: pushed unless it was, approved unless it was."""
    tree = server.trees.get("team/web")
    files = {**service_files(), ".gitlab-ci.yml": PIPELINE.replace("  artifacts:\n", MORE) + IMAGE, "job.sh": JOB}
    if tree is None:
        tree = server.tree("team/web", files)
    tip = _git(tree.path, "rev-parse", "HEAD").strip()
    for _ in range(3):
        taken, said = tree.push("main", server.person("olga"))
        if taken or _git_there(server, tip):
            break
    assert taken or _git_there(server, tip), said
    promotion = server.proposed()["data"]["promotion"]
    for attempt in range(3):
        with suppress(Conflict):
            try:
                server.as_("rita").execute("approve", {"promotion": promotion["id"]})
            except AegisError as error:
                if isinstance(error, Conflict) or attempt == 2 or not error.retryable:
                    raise
                continue
        break
    ended = server.wait("production", finished(promotion["id"]))
    assert ended["data"]["ok"], ended


def patiently(server: TeamServer) -> None:
    """`onward` as a person does it whose connection breaks while the server comes back to itself."""
    for _ in range(8):
        try:
            return onward(server)
        except ExternalError:
            threading.Event().wait(1.0)
    return onward(server)


def end(server: TeamServer) -> None:
    """End it, whatever state it is in, with the mounts that a killed one leaves until its next start."""
    if server.process is not None and server.process.poll() is None:
        server.kill()
    for place in mounts_below(server.root):
        subprocess.run(["umount", "--lazy", place], check=False)


def _git(path: Path, *arguments: str) -> str:
    done = subprocess.run(
        ["git", "-C", str(path), *arguments], capture_output=True, text=True, env=environment(), check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def _git_there(server: TeamServer, commit: str) -> bool:
    """Whether main has a commit, under what the server may have put on top."""
    path = server.data / "git" / "team" / "web.git"
    asked = ["git", "-C", str(path), "merge-base", "--is-ancestor", commit, "refs/heads/main"]
    return subprocess.run(asked, capture_output=True, env=environment(), check=False).returncode == 0


def _witnessed(server: TeamServer) -> Counter[str]:
    file = server.root / "witness"
    return Counter(file.read_text().split()) if file.exists() else Counter()


def _jobs_wrong(records: Sequence[Record], witnessed: Counter[str]) -> Iterator[str]:
    """No script may have run that the ledger does not know, and none twice under one attempt."""
    started = [one["data"]["job"] for one in records if one["type"] == "dev.cdevents.taskrun.started"]
    ended = {
        one["data"]["job"]["id"]: one["data"]["job"]
        for one in records
        if one["type"] == "dev.cdevents.taskrun.finished"
    }
    for job_id, times in witnessed.items():
        if job_id not in {one["id"] for one in started}:
            yield f"{job_id} ran and the ledger does not know it"
        if times > 1:
            yield f"{job_id} ran {times} times under one attempt"
    seen: Counter[tuple[str, str]] = Counter()
    for one in started:
        name = (one["id"].rpartition("-")[0] or one["id"], one["name"])
        seen[name] += 1
        if one["id"] not in ended:
            yield f"{one['name']} attempt {one['attempt']} never ended"
        elif ended[one["id"]]["state"] not in ("success", "failed"):
            yield f"{one['name']}: {ended[one['id']]['state']}"
    for one in ended.values():
        if one["state"] == "failed" and one["failure_reason"] != "runner_system_failure":
            yield f"{one['name']} failed by {one['failure_reason']}: {one['message']}"


def _images_wrong(data: Path) -> Iterator[str]:
    """Everything that a name refers to is there and whole."""
    blobs = DirectoryBlobs(data / "blobs")
    with sqlite3.connect(f"file:{data / 'images.sqlite'}?mode=ro", uri=True) as database:
        named = [row[0] for row in database.execute("SELECT digest FROM blobs UNION SELECT digest FROM manifests")]
    database.close()
    for digest in named:
        try:
            if not blobs.check(digest):
                yield f"{digest} is damaged"
        except AegisError as error:
            yield f"{digest}: {error}"


def about(root: Path) -> set[int]:
    """The processes that have to do with a directory: by what they were started with, where they are, what they have open."""
    found: set[int] = set()
    text = str(root)
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        with suppress(OSError):
            if text.encode() in (entry / "cmdline").read_bytes() or text in str((entry / "cwd").readlink()):
                found.add(int(entry.name))
                continue
            elsewhere = (entry / "ns/mnt").readlink() != Path("/proc/self/ns/mnt").readlink()
            if elsewhere and f"{text}/data/jobs/" in (entry / "mountinfo").read_text():
                found.add(int(entry.name))
    return found


def _line(pid: int) -> str:
    with suppress(OSError):
        return f"{pid} " + Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")[:200]
    return str(pid)


def leavings(data: Path) -> Iterator[str]:
    """What a stopped server must not have left."""
    for folder in ("jobs",):  # what was being uploaded stays for a day: it may be taken up
        found = [path.name for path in sorted((data / folder).glob("*"))] if (data / folder).is_dir() else []
        if found:
            yield f"{folder} holds {found[:5]}"
    for pattern in ("git/**/*.lock", "traces/*.part", "cluster/**/*.new", "**/tmp_obj_*"):
        found = [str(path.relative_to(data)) for path in data.glob(pattern)]
        if found:
            yield f"left: {found[:5]}"
    if f"{data}/" in Path("/proc/self/mountinfo").read_text():
        yield "a mount is left"
    if not (data / "queue.sqlite").exists():
        return  # they are in the database, where the other stories look
    with sqlite3.connect(f"file:{data / 'queue.sqlite'}?mode=ro", uri=True) as database:
        leases = database.execute("SELECT * FROM lease").fetchall()
    database.close()
    if leases:
        yield f"leases are left: {leases}"


def cases(crossings: Sequence[tuple[str, int]], actions: Sequence[str] = ("kill", "partial")) -> list[Case]:
    """Every fault at every crossing."""
    made = []
    for point, number in crossings:
        for action in actions:
            if action == "partial":
                made += [Case(point=point, number=number, when="half", action=action)] if point in PARTIAL else []
            else:
                made += [Case(point=point, number=number, when=when, action=action) for when in WHEN]
    return made

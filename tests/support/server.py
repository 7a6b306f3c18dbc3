"""A real server (`aegis up` as a child process) over a small declaration, and projects whose pipelines take a second.

Everything a test does here goes through the doors that people have: Git pushes, the HTTP API, the event stream.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from aegis.adapters.server_http import ServerClient
from aegis.adapters.workshop_process import GitTree
from aegis.core.errors import ExternalError

Record = dict[str, Any]
Test = Callable[[Record], bool]

DECLARATION = """
version: 1
name: Team
platform: team/platform
owners: [platform]
identities:
  ana: {name: Ana, emails: [ana@team.example]}
  ben: {name: Ben, emails: [ben@team.example]}
  olga: {name: Olga, emails: [olga@team.example]}
  rita: {name: Rita, emails: [rita@team.example]}
groups:
  developers: [ana, ben]
  release-managers: [ana, rita]
  on-call: [ben, rita]
  platform: [olga]
projects:
  team/platform: {kind: platform}
  team/web: {kind: service, service: web, index: team}
  team/tools: {kind: library, index: team}
branches:
  develop: {push: [developers, platform], merge: [developers]}
  main: {push: [platform], merge: [developers], release: true}
environments:
  development: {namespace: team-dev, from: branch, branch: develop}
  staging: {namespace: team-staging, from: branch, branch: main, verify: e2e}
  production:
    namespace: team-prod
    from: promotion
    source: staging
    requires: [e2e]
    approval:
      groups: [release-managers]
      expires: 24h
      emergency: {groups: [on-call], expires: 30m, review_within: 24h}
services:
  web:
    port: 8000
    health: /healthz
gates:
  coverage: {minimum: 80}
  dependencies: {not_found: warn}
  templates: pass
  isolation: optional
runner: {concurrency: 2, isolation: optional, timeout: 2m}
registries:
  packages:
    team: {own: ["team-*"]}
  cleanup:
    - {repositories: "*", keep: 1, older_than: 30d}
"""

PIPELINE = """
stages: [check, build, verify]

checks:
  stage: check
  rules:
    - {if: $AEGIS_VERIFY, when: never}
    - {when: on_success}
  script:
    - cp reports/* .
    - sh ./job.sh
  artifacts:
    reports:
      junit: junit.xml
      coverage_report: {coverage_format: cobertura, path: coverage.xml}
      codequality: gl-code-quality-report.json
      dependency_scanning: gl-dependency-scanning-report.json
      secret_detection: gl-secret-detection-report.json
"""

IMAGE = """
build-image:
  stage: build
  rules:
    - {if: $AEGIS_VERIFY || $CI_PIPELINE_SOURCE == "merge_request_event", when: never}
    - {when: on_success}
  script: [aegis image build --push]

e2e:
  stage: verify
  rules:
    - {if: $AEGIS_VERIFY == "e2e"}
  script: [sh ./e2e.sh]
"""

SERVER = """
import http.server, json, os, signal, sys, threading

VERSION = 1
FAILING = 0
CRASHES = False

class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    seen = 0

    def do_GET(self):
        Handler.seen += 1
        bad = self.path != "/healthz" and FAILING and Handler.seen % FAILING == 0
        body = json.dumps({"release": os.environ.get("AEGIS_RELEASE"), "text": VERSION}).encode()
        self.send_response(500 if bad else 200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *arguments):
        pass

if CRASHES:
    print("cannot go on", flush=True)
    sys.exit(3)
server = http.server.ThreadingHTTPServer((os.environ.get("HOST", "127.0.0.1"), int(os.environ["PORT"])), Handler)
signal.signal(signal.SIGTERM, lambda *_: threading.Thread(target=server.shutdown).start())
server.serve_forever()
os._exit(0)
"""

SECURITY = '{{"version":"15.0.0","scan":{{"type":"{}","status":"success"}},"vulnerabilities":[]}}'


def reports(*, covered: int = 10, tests: int = 3) -> dict[str, str]:
    """The reports of a clean project, of whose ten lines `covered` are covered."""
    cases = "".join(f'<testcase classname="t" name="t{number}"/>' for number in range(tests))
    lines = "".join(f'<line number="{number}" hits="{int(number <= covered)}"/>' for number in range(1, 11))
    return {
        "reports/junit.xml": f'<testsuites><testsuite name="t" tests="{tests}">{cases}</testsuite></testsuites>',
        "reports/coverage.xml": (
            f'<coverage line-rate="{covered / 10}" lines-covered="{covered}" lines-valid="10"><sources/>'
            f'<packages><package name="p"><classes><class name="m" filename="src/web/__main__.py"><methods/>'
            f"<lines>{lines}</lines></class></classes></package></packages></coverage>"
        ),
        "reports/gl-code-quality-report.json": "[]",
        "reports/gl-dependency-scanning-report.json": SECURITY.format("dependency_scanning"),
        "reports/gl-secret-detection-report.json": SECURITY.format("secret_detection"),
    }


def service_files() -> dict[str, str]:
    """The service `web`: one stdlib HTTP server without dependencies."""
    return {
        ".gitlab-ci.yml": PIPELINE + IMAGE,
        "job.sh": "true\n",
        "e2e.sh": "true\n",
        "pyproject.toml": (
            '[project]\nname = "web"\ndynamic = ["version"]\n\n[tool.aegis]\ncommand = ["python", "-m", "web"]\n'
        ),
        "src/web/__init__.py": "",
        "src/web/__main__.py": SERVER,
        **reports(),
    }


def free_port() -> int:
    """A port that was free a moment ago."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


def environment(**more: str) -> dict[str, str]:
    """What a person's shell has, without anything of the machine's Git configuration or of another server."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("AEGIS_", "CI_", "GIT_"))}
    quiet = {"GIT_TERMINAL_PROMPT": "0", "GIT_CONFIG_NOSYSTEM": "1", "GIT_CONFIG_GLOBAL": os.devnull}
    return {**kept, **quiet, "GIT_ASKPASS": "false", "PYTHONWARNINGS": "default", **more}


@dataclass(frozen=True, slots=True, kw_only=True)
class Person:
    """Somebody with a token."""

    id: str
    token: str

    @property
    def name(self) -> str:
        """Her name in commits."""
        return self.id.title()

    @property
    def email(self) -> str:
        """Her address in commits."""
        return f"{self.id}@team.example"


def tied() -> list[str]:
    """Words before a command that let it end when the tests are killed.

    Only where the main thread starts it: it is that thread's end that tells.
    """
    able = threading.current_thread() is threading.main_thread() and shutil.which("setpriv")
    return ["setpriv", "--pdeathsig", "TERM"] if able else []


def mounts_below(folder: Path) -> list[str]:
    """Where something is mounted below a folder, the innermost first."""
    table = Path("/proc/self/mountinfo")
    lines = table.read_text().splitlines() if table.exists() else []
    return sorted((place for one in lines if (place := one.split()[4]).startswith(f"{folder}/")), reverse=True)


@dataclass(kw_only=True)
class TeamServer:
    """A server that is started, killed and started again on one data directory."""

    root: Path
    declaration: str = DECLARATION
    port: int = field(default_factory=free_port)
    process: subprocess.Popen[str] | None = None
    url: str = ""
    people: dict[str, Person] = field(default_factory=dict)
    clients: dict[str, ServerClient] = field(default_factory=dict)
    trees: dict[str, GitTree] = field(default_factory=dict)
    beside: Mapping[str, str] = field(default_factory=dict)
    """Files beside the declaration, such as advisories."""
    variables: Mapping[str, str] = field(default_factory=dict)
    """More of the server's environment."""
    commits: int = 0
    seen: int = 0
    command: Sequence[str] = ()
    """What is started instead of `aegis`."""

    @property
    def data(self) -> Path:
        """Its data directory."""
        return self.root / "data"

    @property
    def log(self) -> str:
        """What it said on standard error."""
        path = self.root / "server.log"
        return path.read_text() if path.is_file() else ""

    # -- life ---------------------------------------------------------------------------------------------

    def start(self) -> TeamServer:
        """Start it and wait until it is ready."""
        self.root.mkdir(parents=True, exist_ok=True)
        config = self.root / "platform" / "aegis.yaml"
        if not config.exists():
            config.parent.mkdir()
            config.write_text(self.declaration)
            for name, text in self.beside.items():
                (config.parent / name).parent.mkdir(parents=True, exist_ok=True)
                (config.parent / name).write_text(text)
        with (self.root / "server.log").open("a") as log:
            self.process = subprocess.Popen(
                [*tied(), *(self.command or AEGIS), "up", "--config", str(config), "--data", str(self.data), "--port", str(self.port)],
                stdout=subprocess.PIPE, stderr=log, text=True, env=environment(**self.variables),
                start_new_session=True,
            )  # fmt: skip
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line.startswith("ready "):
            raise AssertionError(f"it did not start ({line!r}, exit {self.process.wait(20)}): {self.log[-3000:]}")
        self.url = line.split()[1]
        self.clients["operator"] = self._client(json.loads((self.data / "server.json").read_text())["token"])
        return self

    def _client(self, token: str) -> ServerClient:
        return ServerClient(self.url, token, timeout=60.0)

    def kill(self) -> None:
        """`kill -9`, by its process id."""
        assert self.process is not None
        self.process.kill()
        self.process.wait(20)
        self._forget()

    def died(self, seconds: float = 60.0) -> None:
        """Wait until it has ended by itself."""
        assert self.process is not None
        self.process.wait(seconds)
        self._forget()

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Ask it to end; its exit code."""
        assert self.process is not None
        if self.process.poll() is None:
            self.process.send_signal(number)
        try:
            code = self.process.wait(60)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait(10)
            raise
        finally:
            self._forget()
        assert not (left := mounts_below(self.data)), f"it has ended and left mounts: {left}"
        return code

    def _forget(self) -> None:
        assert self.process is not None
        assert self.process.stdout is not None
        self.process.stdout.close()
        for client in self.clients.values():
            client.close()
        self.clients = {}

    # -- people -------------------------------------------------------------------------------------------

    def person(self, name: str) -> Person:
        """Somebody, with a token of her own."""
        if name not in self.people:
            made = self.as_("operator").execute("issue-token", {"identity": name, "purpose": "test"})
            self.people[name] = Person(id=name, token=made["values"]["token"])
        return self.people[name]

    def as_(self, name: str) -> ServerClient:
        """The client of a person."""
        if name not in self.clients:
            self.clients[name] = self._client(self.person(name).token)
        return self.clients[name]

    # -- Git ----------------------------------------------------------------------------------------------

    def tree(self, project: str, files: Mapping[str, str] | None = None, *, by: str = "olga") -> GitTree:
        """The work tree of a project, with one commit that is not pushed yet."""
        if project not in self.trees:
            path = self.root / "work" / project.rpartition("/")[2]
            path.mkdir(parents=True)
            remote = f"{self.url}/git/{project}.git"
            tree = GitTree(path, remote, f"{self.url}/pypi/team/simple/", environment()).known_as(self.person(by))
            for name, text in (files or {}).items():
                tree.write(name, text)
            tree.begin("feat: begin", self.person(by))
            self.trees[project] = tree
        return self.trees[project]

    def push(
        self, project: str, branch: str, files: Mapping[str, str], *, by: str = "olga", message: str = "feat: go on",
        start: str = "", options: Sequence[str] = (),
    ) -> str:  # fmt: skip
        """Commit `files` on top of `start` (default: the branch's tip) and push; the commit."""
        tree = self.tree(project)
        tree.branch("work", start or branch)
        commit = self.commit(project, files, by=by, message=message)
        taken, said = tree.push(branch, self.person(by), options)
        assert taken, said
        return commit

    def commit(self, project: str, files: Mapping[str, str], *, by: str, message: str) -> str:
        """Commit `files` in the work tree."""
        tree = self.tree(project)
        for name, text in files.items():
            tree.write(name, text)
        self.commits += 1
        tree.write("note.txt", f"{self.commits}\n")  # so that there is always something to commit
        return tree.commit(message, self.person(by))

    def job_log(self, project: str, files: Mapping[str, str], job: str, *, by: str = "ana") -> str:
        """Push `files` to a branch of their own, wait for the run's end, and answer what its job printed."""
        since = self.head()
        name = project.rpartition("/")[2]
        if project not in self.trees:
            self.tree(project, {"README.md": f"{name}\n"}, by=by)
        tree = self.trees[project]
        commit = self.commit(project, files, by=by, message=f"feat: {job}")
        taken, said = tree.push(f"try-{commit[:8]}", self.person(by))
        assert taken, said
        queued, finished = (is_type(f"dev.cdevents.pipelinerun.{what}") for what in ("queued", "finished"))
        begun = self.wait(
            "its run", lambda one: queued(one) and one["data"]["run"]["commit"] == commit, since=since,
            unless=is_type("aegis.run.refused"),
        )  # fmt: skip
        run = begun["data"]["run"]["id"]
        self.wait(f"the end of {job}", lambda one: finished(one) and one["data"]["run"] == run, since=since)
        return self.as_("operator").trace(run, job)[0].decode("utf-8", "replace")

    # -- the ledger ---------------------------------------------------------------------------------------

    def head(self) -> int:
        """The ledger's present end, as far as it is shown, and never before a record that was seen already."""
        self.seen = max(self.seen, int(self.as_("operator").get("home")["seq"]))
        return self.seen

    def events(self, after: int = 0) -> Iterator[Record]:
        """Records after `after`, as they come, without signs of life."""
        return (one for one in self._follow(after) if one)

    def _follow(self, after: int) -> Iterator[Record]:
        """Records and signs of life; a stream that ends is resumed after its last record, as every client may."""
        for _ in range(4):
            with suppress(ExternalError):  # the last try says what is wrong
                for record in self.as_("operator").events(after):
                    after = int(record["seq"]) if record else after
                    self.seen = max(self.seen, after)
                    yield record
        yield from self.as_("operator").events(after)

    def ledger(self) -> list[Record]:
        """Every record, read from the files: works while it runs and when it is gone."""
        done = aegis("ledger", "show", "--data", str(self.data), "--json-lines", "--limit", "100000")
        assert done.returncode == 0, done.stderr
        return [json.loads(line) for line in done.stdout.splitlines()]

    def wait(
        self, what: str, test: Test, *, since: int = 0, seconds: float = 60.0, unless: Test | None = None
    ) -> Record:
        """The first record after `since` that fits; fails at once when one comes that `unless` names."""
        return self.wait_all(what, [test], since=since, seconds=seconds, unless=unless)[0]

    def wait_all(
        self, what: str, tests: Sequence[Test], *, since: int = 0, seconds: float = 60.0, unless: Test | None = None
    ) -> list[Record]:
        """For each test the first record after `since` that fits."""
        found: dict[int, Record] = {}
        seen: list[str] = []
        begun: set[str] = set()
        deadline = time.monotonic() + seconds
        for record in self._follow(since):
            if record:
                begun |= {record["subject"]} if record["type"] == RUN_CREATED else set()
                seen.append(f"#{record['seq']} {record['type']} {record['subject']} {str(record['data'])[:160]}")
                for number, test in enumerate(tests):
                    if number not in found and test(record):
                        found[number] = record
            if len(found) == len(tests):
                break
            # How a run ends that another test has begun is that test's concern.
            foreign = record and since and record["subject"].startswith("run/") and record["subject"] not in begun
            ended = record and unless is not None and not foreign and unless(record)
            if ended or time.monotonic() > deadline or "Traceback" in self.log:
                shown = "\n".join((*seen[-25:], *self.failures()))
                raise AssertionError(f"{what}: not within {seconds:.0f} s; lately:\n{shown}\n{self.log[-2000:]}")
        assert len(found) == len(tests), f"{what}: the stream ended before; {self.log[-2000:]}"
        return [found[number] for number in range(len(tests))]

    def failures(self) -> Iterator[str]:
        """What the failed jobs of the latest run printed last."""
        for run in self.as_("operator").get("runs", limit=1):
            for job in run["jobs"]:
                if job["state"] == "failed":
                    log = self.as_("operator").trace(run["id"], job["name"])[0].decode("utf-8", "replace")
                    yield f"{job['name']} failed: {log[-1500:]}"

    def verify(self) -> dict[str, Any]:
        """What `aegis ledger verify` says."""
        done = aegis("ledger", "verify", "--data", str(self.data), "--json")
        assert done.returncode == 0, done.stdout + done.stderr
        found: dict[str, Any] = json.loads(done.stdout)
        return found

    # -- the usual way ------------------------------------------------------------------------------------

    def service(self) -> GitTree:
        """The service `web`, pushed to main and develop by its owners (no pipeline of develop)."""
        tree = self.tree("team/web", service_files())
        taken, said = tree.push("main", self.person("olga"))
        assert taken, said
        return tree

    def in_production(self, *, by: str = "rita", since: int = 0) -> Record:
        """Bring what is on its way to production there; the record that ended the promotion."""
        proposed = self.proposed(since=since)
        promotion = proposed["data"]["promotion"]
        self.as_(by).execute("approve", {"promotion": promotion["id"], "plan_hash": promotion["plan_hash"]})
        return self.wait("production", finished(promotion["id"]), since=since)

    def proposed(self, release: str = "", *, since: int = 0) -> Record:
        """The proposal of a release for production."""

        def test(record: Record) -> bool:
            if record["type"] != "aegis.promotion.proposed" or record["environment"] != "production":
                return False
            return release in ("", record["data"]["promotion"]["release"])

        return self.wait("a proposal for production", test, since=since, unless=trouble)

    def cell(self, environment: str, service: str = "web") -> dict[str, Any]:
        """A service in an environment."""
        cells: list[dict[str, Any]] = self.as_("operator").get("home")["cells"]
        return next(one for one in cells if (one["service"], one["environment"]) == (service, environment))


def finished(promotion: str, *, ok: bool | None = None) -> Callable[[Record], bool]:
    """The end of a promotion."""

    def test(record: Record) -> bool:
        same = record["type"] == "aegis.promotion.finished" and record["subject"] == f"promotion/{promotion}"
        return same and (ok is None or record["data"]["ok"] is ok)

    return test


def trouble(record: Record) -> bool:
    """What ends the way to production before its time."""
    if record["type"] == "aegis.verdict.given":
        return bool(record["data"]["verdict"]["outcome"] == "block")
    return record["type"] in ("aegis.run.refused", "aegis.action.failed")


def is_type(kind: str, **fields: Any) -> Callable[[Record], bool]:
    """A record of a type whose envelope has these fields."""
    return lambda record: record["type"] == kind and all(record.get(key) == value for key, value in fields.items())


def moment(record: Record) -> datetime:
    """When it was written."""
    return datetime.fromisoformat(record["at"])


AEGIS = [sys.executable, "-m", "aegis"]
RUN_CREATED = "dev.cdevents.pipelinerun.queued"


def aegis(*arguments: str, at: Path | None = None, **more: str) -> subprocess.CompletedProcess[str]:
    """Run the command as a person would."""
    return subprocess.run(
        [*AEGIS, *arguments], cwd=at, env=environment(**more), capture_output=True, text=True, timeout=120, check=False
    )


@contextmanager
def team(
    root: Path, declaration: str = DECLARATION, beside: Mapping[str, str] | None = None,
    variables: Mapping[str, str] | None = None,
) -> Iterator[TeamServer]:  # fmt: skip
    """A running server, ended with the block; it must leave no child and print no traceback."""
    server = TeamServer(root=root, declaration=declaration, beside=beside or {}, variables=variables or {})
    try:
        yield server.start()
        assert "Traceback" not in server.log, server.log[-4000:]
    finally:
        if server.process is not None and server.process.poll() is None:
            server.stop()
        shutil.rmtree(root / "data", ignore_errors=True)


def children(pid: int) -> set[int]:
    """The processes below one, and theirs."""
    parents: dict[int, int] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with suppress(OSError, ValueError, IndexError):
                parents[int(entry.name)] = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
    found: set[int] = set()
    while True:
        more = {child for child, parent in parents.items() if parent in found | {pid}} - found
        if not more:
            return found
        found |= more


def alive(pid: int) -> bool:
    """Whether a process runs; a zombie does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in ("Z", "X")
    except OSError:
        return False


def gone(pids: Sequence[int] | set[int], seconds: float = 20.0) -> set[int]:
    """Those that still run after a while."""
    end = time.monotonic() + seconds
    left = {pid for pid in pids if alive(pid)}
    while left and time.monotonic() < end:
        threading.Event().wait(0.05)
        left = {pid for pid in left if alive(pid)}
    return left

"""A remote runner that speaks to a coordinator as `gitlab-runner` does. Imports nothing from the project.

It registers, polls, clones with Git, runs scripts with bash, masks, streams its log, uploads and downloads artifacts.
Each rule names where it is documented; `S:` is a file of gitlab-runner's sources, `D:` a page of GitLab's documentation.
Faults are asked for, never left to chance: see `Faults`.
"""

from __future__ import annotations

import contextlib
import gzip
import http.client
import io
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import threading
import time
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

Document = dict[str, Any]
PATCH_LIMIT = 1024 * 1024
"""S: common/const.go, DefaultTracePatchLimit: a piece of a log is at most 1 MiB."""
KEEP_ALIVE = 30.0
"""S: common/const.go, TraceForceSendInterval: `PUT state=running` after so many seconds without a word."""
UPDATE_INTERVAL = 3.0
"""S: common/const.go, DefaultUpdateInterval; replaced by X-GitLab-Trace-Update-Interval (network/trace.go)."""
BROKEN = (http.client.HTTPException, OSError)
"""What a broken connection raises."""
ABORTING = frozenset({"canceled", "failed"})
"""S: network/patch_response.go: these states, or 403, abort the job without `after_script`."""


@dataclass(slots=True)
class Answer:
    """An answer of the server."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> Any:
        """S: network/client.go: a body is read as JSON only where the answer says so; else it counts as an error."""
        kind = self.headers.get("content-type", "")
        assert kind.split(";")[0].strip() == "application/json", f"{self.status} with Content-Type {kind!r}"
        return json.loads(self.body)


@dataclass(slots=True)
class Faults:
    """What goes wrong on purpose; each is counted down as it happens."""

    cut_patches: int = 0
    """The connection is cut after a piece of the log was sent, before its answer was read: it is sent again."""
    cut_uploads: int = 0
    """An upload stops half-way and begins anew."""
    cut_finish: int = 0
    """The answer to the last update is lost: it is put again."""
    truncated_patches: int = 0
    """The connection is cut within the piece itself."""
    garble_checksum: int = 0
    """The checksum told is wrong: the server asks for the whole log again."""
    patch_limit: int = PATCH_LIMIT


@dataclass(slots=True)
class Worked:
    """What happened to a job, as the runner saw it."""

    document: Document
    state: str = ""
    exit_code: int | None = None
    trace: bytes = b""
    aborted: bool = False
    steps: list[str] = field(default_factory=list)
    statuses: list[tuple[str, int]] = field(default_factory=list)


class Wire:
    """HTTP/1.1 over a kept connection, plain: what Go's client sends for a runner."""

    def __init__(self, url: str, timeout: float = 90.0) -> None:
        address = urlsplit(url)
        assert address.hostname is not None
        self.host, self.port = address.hostname, address.port or 80
        self.timeout = timeout
        self._local = threading.local()
        self.given_up = False
        self._made: list[http.client.HTTPConnection] = []

    def close(self) -> None:
        """Close the connections of every thread."""
        while self._made:
            self._made.pop().close()

    def abandon(self) -> None:
        """Break the connections of every thread, also those that wait for an answer."""
        self.given_up = True
        for one in self._made:
            if one.sock is not None:
                with contextlib.suppress(OSError):
                    one.sock.shutdown(socket.SHUT_RDWR)

    def connection(self) -> http.client.HTTPConnection:
        """This thread's connection, made anew when it was closed."""
        held: http.client.HTTPConnection | None = getattr(self._local, "held", None)
        if held is None:
            held = http.client.HTTPConnection(self.host, self.port, timeout=self.timeout)
            self._local.held = held
            self._made.append(held)
        return held

    def drop(self) -> None:
        """Close this thread's connection, as a network cut does."""
        held: http.client.HTTPConnection | None = getattr(self._local, "held", None)
        if held is not None:
            held.close()
            self._local.held = None

    def call(
        self, method: str, path: str, body: bytes | Iterator[bytes] | None = None,
        headers: Mapping[str, str] | None = None, *, chunked: bool = False, retries: int = 3,
    ) -> Answer:  # fmt: skip
        """One call. S: network/retry_requester.go and ratelimit_requester.go: 429 and 503 are asked again later."""
        for attempt in range(retries + 1):
            connection = self.connection()
            try:
                connection.request(method, f"/api/v4/{path}", body, dict(headers or {}), encode_chunked=chunked)
                response = connection.getresponse()
                answer = Answer(response.status, {k.lower(): v for k, v in response.getheaders()}, response.read())
            except (http.client.HTTPException, ConnectionError, TimeoutError):
                self.drop()
                if attempt == retries or self.given_up or not isinstance(body, bytes | None):
                    raise
                continue
            if answer.headers.get("connection", "") == "close":
                self.drop()
            if answer.status in (429, 503) and attempt < retries and isinstance(body, bytes | None):
                # D: runner configuration, "Rate limiting": Retry-After is honoured.
                threading.Event().wait(min(5.0, float(answer.headers.get("retry-after", "1"))))
                continue
            return answer
        raise AssertionError("unreachable")

    def json(self, method: str, path: str, body: Mapping[str, Any], **headers: str) -> Answer:
        """A call with a JSON body. S: network/client.go sets both headers."""
        kinds = {"Content-Type": "application/json", "Accept": "application/json", **headers}
        return self.call(method, path, json.dumps(body).encode(), kinds)


class Log:
    """The runner's buffer of a job's log: masked before anything leaves. S: helpers/trace/buffer.go."""

    def __init__(self, masked: list[str]) -> None:
        self._secrets = sorted((one.encode() for one in masked if one), key=len, reverse=True)
        self._lock = threading.Lock()
        self._raw = b""
        self.data = bytearray()

    def write(self, data: bytes, *, final: bool = False) -> None:
        """Take output. What could be the beginning of a secret waits for the rest."""
        with self._lock:
            self._raw += data
            for secret in self._secrets:
                self._raw = self._raw.replace(secret, b"[MASKED]")
            hold = 0 if final else self._undecided()
            ready = len(self._raw) - hold
            self.data += self._raw[:ready]
            self._raw = self._raw[ready:]

    def _undecided(self) -> int:
        """How many bytes at the end may be the beginning of a secret."""
        longest = min(len(self._raw), max((len(one) for one in self._secrets), default=1) - 1)
        for size in range(longest, 0, -1):
            if any(one.startswith(self._raw[-size:]) for one in self._secrets):
                return size
        return 0

    def line(self, text: str) -> None:
        """A line of the runner's own."""
        self.write(text.encode() + b"\n")

    def piece(self, start: int, limit: int) -> bytes:
        """What there is from `start`."""
        with self._lock:
            return bytes(self.data[start : start + limit])

    @property
    def size(self) -> int:
        """Bytes so far."""
        with self._lock:
            return len(self.data)

    def checksum(self) -> str:
        """S: helpers/trace/buffer.go: `crc32:%08x`, IEEE, over the masked bytes."""
        with self._lock:
            return f"crc32:{zlib.crc32(bytes(self.data)):08x}"


INFO: Document = {
    "name": "gitlab-runner", "version": "18.1.3", "revision": "0123abcd", "platform": "linux", "architecture": "amd64",
    "executor": "shell", "shell": "bash",
    # S: common/network.go, FeaturesInfo.
    "features": dict.fromkeys(
        ("variables", "artifacts", "cache", "fallback_cache_keys", "shared", "upload_multiple_artifacts",
         "upload_raw_artifacts", "refspecs", "masking", "raw_variables", "artifacts_exclude", "multi_build_steps",
         "trace_reset", "trace_checksum", "trace_size", "cancelable", "return_exit_code", "cancel_gracefully"), True),
    "config": {"gpus": ""},
}  # fmt: skip


@dataclass
class SimulatedRunner:
    """One `[[runners]]` of a `config.toml`, working under `root`."""

    url: str
    token: str
    root: Path
    system_id: str = "s_0123456789ab"
    faults: Faults = field(default_factory=Faults)
    info: Document = field(default_factory=lambda: json.loads(json.dumps(INFO)))
    last_update: str = ""
    interval: float = 0.05
    """Seconds between two looks at the log, where the real one waits three."""
    keep_alive: float = KEEP_ALIVE
    silent: bool = False
    """Say nothing of a job after taking it: a machine that is gone."""
    worked: list[Worked] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.wire = Wire(self.url)
        self.root.mkdir(parents=True, exist_ok=True)

    # -- registration -------------------------------------------------------------------------------------

    def verify(self) -> Answer:
        """S: network/gitlab.go, VerifyRunner: registering with a `glrt-` token calls only this."""
        body = {"token": self.token, "system_id": self.system_id, "info": self.info}
        return self.wire.json("POST", "runners/verify", body, **{"RUNNER-TOKEN": self.token})

    def register(self, registration: str, **parameters: Any) -> Answer:
        """S: network/gitlab.go, RegisterRunner: the way of old registration tokens; 201 brings the runner's own."""
        answer = self.wire.json("POST", "runners", {"token": registration, "info": self.info, **parameters})
        if answer.status == 201:
            self.token = answer.json()["token"]
        return answer

    def unregister(self) -> Answer:
        """S: network/gitlab.go, UnregisterRunner: a DELETE with a JSON body, 204."""
        return self.wire.json("DELETE", "runners", {"token": self.token}, **{"RUNNER-TOKEN": self.token})

    def unregister_machine(self) -> Answer:
        """S: network/gitlab.go, UnregisterRunnerManager."""
        body = {"token": self.token, "system_id": self.system_id}
        return self.wire.json("DELETE", "runners/managers", body, **{"RUNNER-TOKEN": self.token})

    def reset_token(self) -> Answer:
        """S: network/gitlab.go, ResetToken: 201 with the new one."""
        answer = self.wire.json(
            "POST", "runners/reset_authentication_token", {"token": self.token}, **{"RUNNER-TOKEN": self.token}
        )
        if answer.status == 201:
            self.token = answer.json()["token"]
        return answer

    # -- jobs ---------------------------------------------------------------------------------------------

    def request(self) -> Document | None:
        """S: network/gitlab.go, RequestJob: 201 a job, 204 nothing; X-GitLab-Last-Update comes back next time."""
        body: Document = {"info": self.info, "token": self.token, "system_id": self.system_id}
        if self.last_update:
            body["last_update"] = self.last_update
        answer = self.wire.json("POST", "jobs/request", body, **{"RUNNER-TOKEN": self.token})
        self.last_update = answer.headers.get("x-gitlab-last-update", self.last_update)
        if answer.status == 201:
            document: Document = answer.json()
            return document
        assert answer.status == 204, (answer.status, answer.body)
        return None

    def take(self, seconds: float = 30.0) -> Document:
        """Ask until there is a job."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            document = self.request()
            if document is not None:
                return document
        raise AssertionError("no job came")

    def work(self, document: Document) -> Worked:
        """Carry one job out, to its last update."""
        job = _Job(self, document)
        self.worked.append(job.worked)
        if self.silent:
            return job.worked
        job.carry_out()
        return job.worked

    def work_all(self, stop: threading.Event) -> None:
        """Poll and work until `stop`, one job after another, as with `concurrent = 1`."""
        while not stop.is_set():
            document = self.request()
            if document is not None:
                self.work(document)


class _Job:
    """One job on the runner's side."""

    def __init__(self, runner: SimulatedRunner, document: Document) -> None:
        self.runner, self.wire, self.faults = runner, runner.wire, runner.faults
        self.document = document
        self.id, self.token = int(document["id"]), str(document["token"])
        self.worked = Worked(document=document)
        self.builds = runner.root / str(self.id)
        self.tree = self.builds / document["job_info"]["project_name"]
        self.variables = self._variables()
        # S: common/build.go: values of masked variables, the job's token and the credentials are masked.
        secrets = [one["value"] for one in document["variables"] if one["masked"]]
        self.log = Log([*secrets, self.token])
        self.sent = 0
        self.sent_at = time.monotonic()
        self.interval = runner.interval
        self.cancel = ""
        self.process: subprocess.Popen[bytes] | None = None
        self.over = threading.Event()

    def _variables(self) -> dict[str, str]:
        """S: common/variables.go: the last of a name counts; raw ones are not expanded; files become paths."""
        chosen = {one["key"]: one for one in self.document["variables"]}
        own = {
            "CI_BUILDS_DIR": str(self.builds), "CI_PROJECT_DIR": str(self.tree), "CI_CONCURRENT_ID": "0",
            "CI_RUNNER_VERSION": "18.1.3", "CI_SERVER": "yes",
        }  # fmt: skip
        values = {key: one["value"] for key, one in chosen.items()} | own

        def expand(text: str, depth: int = 0) -> str:
            def put(match: re.Match[str]) -> str:
                if match[0] == "$$":
                    return "$"
                name = match[1] or match[2]
                value = values.get(name, "")
                raw = chosen.get(name, {}).get("raw", True)
                return value if raw or depth > 9 else expand(value, depth + 1)

            return re.sub(r"\$\$|\$\{(\w+)\}|\$(\w+)", put, text)

        self.expand = expand
        made = {}
        for key, value in values.items():
            one = chosen.get(key, {"raw": True, "file": False})
            made[key] = value if one["raw"] else expand(value)
            if one["file"]:
                place = self.builds / f"{self.document['job_info']['project_name']}.tmp"
                place.mkdir(parents=True, exist_ok=True)
                (place / key).write_text(value)
                made[key] = str(place / key)
        return made

    # -- the course ---------------------------------------------------------------------------------------

    def carry_out(self) -> None:
        """S: common/build.go, the order of stages."""
        self.builds.mkdir(parents=True, exist_ok=True)
        sending = threading.Thread(target=self._sending)
        sending.start()
        try:
            self._stages()
        finally:
            self.over.set()
            sending.join()
            self.log.write(b"", final=True)
            self.worked.trace = bytes(self.log.data)
            if not self.worked.aborted:
                self._finish()
            shutil.rmtree(self.builds, ignore_errors=True)

    def _stages(self) -> None:
        worked = self.worked
        self.log.line("Running with gitlab-runner 18.1.3 (0123abcd)")
        try:
            self._section("get_sources", self._sources)
            self._section("download_artifacts", self._downloads)
        except (subprocess.CalledProcessError, AssertionError) as error:
            self.log.line(f"ERROR: Job failed (system failure): {error}")
            worked.state, self.reason = "failed", "runner_system_failure"
            return
        by_name = {step["name"]: step for step in self.document["steps"]}
        code = self._script(by_name["script"])
        self.reason = "script_failure"
        if "after_script" in by_name and self.cancel != "abort":
            # D: yaml reference, after_script: five minutes of its own, and its end changes nothing.
            self.variables["CI_JOB_STATUS"] = "canceled" if self.cancel else "success" if code == 0 else "failed"
            stopped, self.cancel = self.cancel, ""
            self._script(by_name["after_script"])
            self.cancel = stopped or self.cancel
        if self.cancel == "abort":
            worked.aborted = True
            return
        worked.exit_code = code
        worked.state = "success" if code == 0 and not self.cancel else "failed"
        if self.cancel:
            self.reason = "job_canceled"
        if not self.cancel:
            try:
                self._section("upload_artifacts", lambda: self._uploads(code == 0))
            except AssertionError as error:
                self.log.line(f"ERROR: {error}")
                worked.state, self.reason = "failed", "runner_system_failure"
        self.log.line("Job succeeded" if worked.state == "success" else f"ERROR: Job failed: exit status {code}")

    def _section(self, name: str, act: Callable[[], None]) -> None:
        """S: common/build_section.go: marks that viewers fold, since features.trace_sections."""
        self.log.write(f"section_start:{int(time.time())}:{name}\r\x1b[0K".encode())
        act()
        self.log.write(f"section_end:{int(time.time())}:{name}\r\x1b[0K".encode())

    def _sources(self) -> None:
        """S: shells/abstract.go, writeRefspecFetchCmd: init, fetch the refspecs at a depth, check the commit out."""
        self.worked.steps.append("get_sources")
        self.tree.mkdir(parents=True, exist_ok=True)
        if self.variables.get("GIT_STRATEGY", "") in ("none", "empty"):
            return
        git = self.document["git_info"]
        depth = ["--depth", str(git["depth"])] if git["depth"] else []
        environment = {
            **os.environ,
            "GIT_TERMINAL_PROMPT": "0",
            "GIT_CONFIG_GLOBAL": os.devnull,
            "GIT_ASKPASS": "false",
        }
        for command in (
            ["git", "init", "-q", str(self.tree)],
            ["git", "-C", str(self.tree), "remote", "add", "origin", git["repo_url"]],
            ["git", "-C", str(self.tree), "fetch", "-q", "origin", *git["refspecs"], *depth, "--prune", "--quiet"],
            ["git", "-C", str(self.tree), "checkout", "-f", "-q", git["sha"]],
        ):
            done = subprocess.run(command, env=environment, capture_output=True, check=False)
            self.log.write(done.stderr)
            assert done.returncode == 0, f"{command[-1]}: {done.stderr.decode(errors='replace')}"

    def _script(self, step: Document) -> int:
        """S: shells/bash.go: `set -eo pipefail`, each command shown in green before it runs."""
        self.worked.steps.append(step["name"])
        lines = ["set -eo pipefail", "set +o noclobber"]
        for command in step["script"]:
            first = command.strip("\n").partition("\n")
            shown = first[0] + (" # collapsed multi-line command" if first[2].strip() else "")
            lines += [f"echo $'\\x1b[32;1m'{_quoted('$ ' + shown)}$'\\x1b[0;m'", command]
        environment = {
            "PATH": os.environ["PATH"], "HOME": str(self.builds), "LANG": "C.UTF-8", **self.variables,
        }  # fmt: skip
        self.process = subprocess.Popen(
            ["bash"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, cwd=self.tree,
            env=environment, start_new_session=True,
        )  # fmt: skip
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        script = "\n".join(lines)
        self.process.stdin.write(f": | eval {_quoted(script)}\n".encode())
        self.process.stdin.close()
        while data := os.read(self.process.stdout.fileno(), 65536):
            self.log.write(data)
        self.process.stdout.close()
        code = self.process.wait()
        self.process = None
        return code

    # -- artifacts ----------------------------------------------------------------------------------------

    def _downloads(self) -> None:
        """S: commands/helpers/artifacts_downloader.go: with the dependency's own token; 404 fails the job."""
        for one in self.document["dependencies"]:
            if not one["artifacts_file"]["filename"]:
                continue
            answer = self.wire.call(
                "GET", f"jobs/{one['id']}/artifacts?direct_download=true", None, {"JOB-TOKEN": one["token"]}
            )
            self.worked.statuses.append(("download", answer.status))
            assert answer.status == 200, f"download of {one['name']}: {answer.status} {answer.body[:200]!r}"
            with zipfile.ZipFile(io.BytesIO(answer.body)) as archive:
                archive.extractall(self.tree)

    def _uploads(self, succeeded: bool) -> None:
        for one in self.document["artifacts"]:
            wanted = {"": succeeded, "on_success": succeeded, "on_failure": not succeeded, "always": True}[one["when"]]
            files = self._chosen(one) if wanted else []
            if not wanted:
                continue
            if not files:
                self.log.line("WARNING: No files to upload")
                continue
            # S: commands/helpers/artifacts_uploader.go: zip of all, gzip members one after another, or one raw file.
            base = self.expand(one["name"]) or "artifacts"
            if one["artifact_format"] == "gzip":
                data, name = b"".join(self._member(path) for path in files), f"{base}.gz"
            elif one["artifact_format"] == "raw":
                assert len(files) == 1, "only one file can be uploaded raw"
                data, name = (self.tree / files[0]).read_bytes(), base
            else:
                data, name = self._zipped(files), f"{base}.zip"
            self._upload(one, name, data)

    def _chosen(self, one: Document) -> list[str]:
        found: set[str] = set()
        for pattern in one["paths"]:
            for path in sorted(self.tree.glob(self.expand(pattern).rstrip("/"))):
                inner = [path] if path.is_file() else [sub for sub in path.rglob("*") if sub.is_file()]
                found.update(str(sub.relative_to(self.tree)) for sub in inner)
        if one["untracked"]:
            told = subprocess.run(
                ["git", "-C", str(self.tree), "ls-files", "-o", "-z"], capture_output=True, check=False
            ).stdout
            found.update(name for name in told.decode().split("\0") if name)
        return sorted(found)

    def _zipped(self, files: list[str]) -> bytes:
        made = io.BytesIO()
        with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as archive:
            for name in files:
                archive.write(self.tree / name, name)
        return made.getvalue()

    def _member(self, name: str) -> bytes:
        """S: commands/helpers/archive/gzip: the header's name is the base name, its comment the whole path."""
        made = io.BytesIO()
        with gzip.GzipFile(Path(name).name, "wb", fileobj=made) as member:
            member.write((self.tree / name).read_bytes())
        data = made.getvalue()
        end = data.index(b"\0", 10) + 1
        return data[:3] + bytes([data[3] | 16]) + data[4:end] + name.encode() + b"\0" + data[end:]

    def _upload(self, one: Document, name: str, data: bytes) -> None:
        """S: network/gitlab.go, UploadRawArtifacts: a multipart pipe, so chunked and without a length; three tries."""
        query = {key: one[key] for key in ("artifact_format", "artifact_type", "expire_in") if one[key]}
        boundary = "5d60c97b8a7fd2f35d83e4b4a8e1d1cd3a4c58d9e0b7a1"
        head = (
            f'--{boundary}\r\nContent-Disposition: form-data; name="file"; filename="{name}"\r\n'
            "Content-Type: application/octet-stream\r\n\r\n"
        ).encode()

        def pieces(cut: bool) -> Iterator[bytes]:
            yield head
            for at in range(0, len(data), 32768):
                if cut and at >= len(data) // 2:
                    raise ConnectionResetError
                yield data[at : at + 32768]
            yield f"\r\n--{boundary}--\r\n".encode()

        for _ in range(3):
            cut = self.faults.cut_uploads > 0
            self.faults.cut_uploads -= int(cut)
            headers = {
                "Content-Type": f"multipart/form-data; boundary={boundary}", "JOB-TOKEN": self.token,
                "Transfer-Encoding": "chunked",
            }  # fmt: skip
            try:
                answer = self.wire.call(
                    "POST", f"jobs/{self.id}/artifacts?{urlencode(query)}", pieces(cut), headers, chunked=True
                )
            except BROKEN:
                # S: commands/helpers/retry_helper.go: a moment later, from the beginning.
                self.wire.drop()
                threading.Event().wait(1.0)
                continue
            self.worked.statuses.append(("upload", answer.status))
            if answer.status == 201:
                self.log.line(f"Uploading artifacts as {one['artifact_type']!r} to coordinator... 201 Created")
                return
            assert answer.status == 503, f"upload of {name}: {answer.status} {answer.body[:300]!r}"
        raise AssertionError(f"upload of {name} failed three times")

    # -- the log ------------------------------------------------------------------------------------------

    def _sending(self) -> None:
        """S: network/trace.go, watch: a piece per interval, then a touch when it was silent for long."""
        while not self.over.wait(self.interval):  # a thread of its own, so a connection of its own
            if self._patch() and time.monotonic() - self.sent_at > self.runner.keep_alive:
                body = {"token": self.token, "state": "running", "info": self.runner.info}
                try:
                    answer = self.wire.json("PUT", f"jobs/{self.id}", body)
                except BROKEN:
                    continue
                self.worked.statuses.append(("touch", answer.status))
                self.sent_at = time.monotonic()
                self._heard(answer)

    def _patch(self) -> bool:
        """Send the next piece; whether the job goes on. S: network/gitlab.go, PatchTrace."""
        data = self.log.piece(self.sent, self.faults.patch_limit)
        if not data:
            return True
        headers = {
            "Content-Type": "text/plain", "JOB-TOKEN": self.token,
            # B is inclusive; no unit, no total.
            "Content-Range": f"{self.sent}-{self.sent + len(data) - 1}",
        }  # fmt: skip
        if self.faults.truncated_patches:
            self.faults.truncated_patches -= 1
            self._cut(headers, data)
            return True
        if self.faults.cut_patches:
            # The server has the piece; the runner never learns of it, and sends it from the old place again.
            self.faults.cut_patches -= 1
            self.wire.call("PATCH", f"jobs/{self.id}/trace", data, headers)
            self.wire.drop()
            return True
        try:
            answer = self.wire.call("PATCH", f"jobs/{self.id}/trace", data, headers)
        except BROKEN:
            # S: network/patch_response.go and trace.go: what was not taken is sent again at the next turn.
            self.worked.statuses.append(("patch", 0))
            return True
        self.worked.statuses.append(("patch", answer.status))
        if answer.status == 202:
            # S: network/trace.go: the next offset is what was sent; Range says the same.
            assert answer.headers["range"] == f"0-{self.sent + len(data)}", answer.headers["range"]
            self.sent += len(data)
            self.sent_at = time.monotonic()
        elif answer.status == 416:
            # S: network/patch_response.go, NewOffset: the number behind the dash.
            self.sent = int(answer.headers["range"].split("-")[1])
        return self._heard(answer)

    def _cut(self, headers: Mapping[str, str], data: bytes) -> None:
        connection = self.wire.connection()
        connection.putrequest("PATCH", f"/api/v4/jobs/{self.id}/trace")
        for key, value in {**headers, "Content-Length": str(len(data))}.items():
            connection.putheader(key, value)
        connection.endheaders(data[: len(data) // 2])
        self.wire.drop()

    def _heard(self, answer: Answer) -> bool:
        """S: network/trace.go: `canceling` cancels, `canceled`, `failed` and 403 abort."""
        word = answer.headers.get("job-status", "")
        if answer.status == 403 or word in ABORTING:
            self._stop("abort")
            return False
        if word == "canceling" and not self.cancel:
            self._stop("cancel")
        return True

    def _stop(self, why: str) -> None:
        if self.cancel:
            return
        self.cancel = why
        process = self.process
        if process is not None and process.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)

    # -- the end ------------------------------------------------------------------------------------------

    def _finish(self) -> None:
        """S: network/trace.go, finalUpdate: all of the log, then the state, until the server has both."""
        for _ in range(200):
            while self.log.size != self.sent:
                before = self.sent
                if not self._patch() and self.worked.statuses[-1][1] == 403:
                    self.worked.aborted = True
                    return
                if self.sent == before:
                    threading.Event().wait(self.interval)
            try:
                answer = self._put()
            except BROKEN:
                # S: network/trace.go, finalStatusUpdate: until it has been told.
                threading.Event().wait(self.interval)
                continue
            if answer.status == 412:
                # S: network/trace.go: the log is sent again from its beginning.
                self.sent = 0
            elif answer.status == 202:
                threading.Event().wait(self.interval)
            else:
                self.worked.aborted = answer.status in (403, 404)
                return
        raise AssertionError("the job never came to its end")

    def _put(self) -> Answer:
        checksum = self.log.checksum()
        if self.faults.garble_checksum:
            self.faults.garble_checksum -= 1
            checksum = "crc32:00000001"
        body: Document = {
            "token": self.token, "state": self.worked.state, "info": self.runner.info, "checksum": checksum,
            "output": {"checksum": checksum, "bytesize": self.log.size},
        }  # fmt: skip
        if self.worked.state == "failed":
            # S: common/network.go, UpdateJobRequest.
            supported = self.document["features"]["failure_reasons"]
            body["failure_reason"] = self.reason if self.reason in supported else "unknown_failure"
            body["exit_code"] = self.worked.exit_code or 0
        answer = self.wire.json("PUT", f"jobs/{self.id}", body)
        self.worked.statuses.append(("put", answer.status))
        if self.faults.cut_finish:
            self.faults.cut_finish -= 1
            self.wire.drop()
            return self._put()
        return answer


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "'\"'\"'") + "'"


def path_of(project: str) -> str:
    """A project's path as one segment of an address."""
    return quote(project, safe="")

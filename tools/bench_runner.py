"""Remote runners and large artifacts: a GB up and down, 200 runners waiting, 50 jobs logging at once.

The server is a real one in a process of its own; the clients are as small as the protocol allows, so that what is
measured is the server. Its data lies in memory where the system has a place for that, since the figure is meant to be
the server's and not the disk's; the disk's own speed stands beside it.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import socket
import sys
import tempfile
import time
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))

from figures import Figure, figure

from support.server import DECLARATION, TeamServer, is_type

MIB: Final = 1024 * 1024
JOBS: Final = 50
POLLERS: Final = 200
PIECES: Final = 60
MEMORY: Final = Path("/dev/shm")  # noqa: S108 - a place in memory, not for secrets
BOUNDARY: Final = "b0a1d2c3e4f5"
FLEET: Final = DECLARATION.replace("runner: {concurrency: 2,", "runner: {concurrency: 0,")
QUEUED, ENDED = "dev.cdevents.pipelinerun.queued", "dev.cdevents.pipelinerun.finished"


def figures(options: argparse.Namespace | None = None) -> Iterator[Figure]:
    """All of them; about a minute."""
    size = 256 * MIB if options is not None and options.quick else 1024 * MIB
    place = str(MEMORY) if MEMORY.is_dir() else None
    with tempfile.TemporaryDirectory(prefix="aegis-bench-", dir=place) as folder:
        server = TeamServer(root=Path(folder) / "fleet", declaration=FLEET).start()
        try:
            yield from _artifacts(server, size, "memory" if place else "disk")
            yield from _log(server, 50 if options is not None and options.quick else 200)
            yield from _fleet(server)
        finally:
            if server.process is not None and server.process.poll() is None:
                server.stop()


class Client:
    """One kept connection: as little as HTTP allows."""

    def __init__(self, url: str) -> None:
        address = urlsplit(url)
        self.host = f"{address.hostname}:{address.port}"
        self.socket = socket.create_connection((address.hostname, address.port), timeout=300)
        # As Go's clients do: the last piece of a request does not wait for an acknowledgement.
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.file = self.socket.makefile("rb")

    def close(self) -> None:
        """Hang up."""
        self.file.close()
        self.socket.close()

    def send(self, method: str, path: str, headers: dict[str, str], body: bytes = b"") -> None:
        """A request's head, and as much of its body as there is."""
        lines = [f"{method} /api/v4/{path} HTTP/1.1", f"Host: {self.host}", *(f"{k}: {v}" for k, v in headers.items())]
        self.socket.sendall("\r\n".join(lines).encode() + b"\r\n\r\n" + body)

    def head(self) -> tuple[int, dict[str, str]]:
        """Status and headers of an answer."""
        status = int(self.file.readline().split()[1])
        headers = {}
        while line := self.file.readline().strip():
            key, _, value = line.decode().partition(":")
            headers[key.lower()] = value.strip()
        return status, headers

    def json(self, method: str, path: str, body: dict[str, Any]) -> tuple[int, Any]:
        """A whole call with JSON both ways."""
        data = json.dumps(body).encode()
        self.send(method, path, {"Content-Type": "application/json", "Content-Length": str(len(data))}, data)
        status, headers = self.head()
        answer = self.file.read(int(headers.get("content-length", "0")))
        return status, json.loads(answer) if answer else None

    def upload(self, job: dict[str, Any], size: int) -> float:
        """Seconds of an upload of `size` random bytes, chunked and without a length, as a runner sends it."""
        block = os.urandom(MIB)
        frame = b"%x\r\n" % MIB + block + b"\r\n"
        part = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="file"; filename="a.zip"\r\n\r\n'.encode()
        end = f"\r\n--{BOUNDARY}--\r\n".encode()
        begun = time.perf_counter()
        self.send(
            "POST", f"jobs/{job['id']}/artifacts?artifact_type=archive&artifact_format=zip",
            {"Content-Type": f"multipart/form-data; boundary={BOUNDARY}", "JOB-TOKEN": job["token"],
             "Transfer-Encoding": "chunked"},
            b"%x\r\n" % len(part) + part + b"\r\n",
        )  # fmt: skip
        for _ in range(size // MIB):
            self.socket.sendall(frame)
        self.socket.sendall(b"%x\r\n" % len(end) + end + b"\r\n0\r\n\r\n")
        status, headers = self.head()
        answer = self.file.read(int(headers["content-length"]))
        if status != 201:
            raise RuntimeError(f"upload answered {status}: {answer[:300]!r}")
        return time.perf_counter() - begun

    def download(self, dependency: dict[str, Any]) -> tuple[float, int]:
        """Seconds and bytes of a download."""
        begun = time.perf_counter()
        self.send("GET", f"jobs/{dependency['id']}/artifacts?direct_download=true", {"JOB-TOKEN": dependency["token"]})
        status, headers = self.head()
        if status != 200:
            raise RuntimeError(f"download answered {status}")
        left, got, buffer = int(headers["content-length"]), 0, bytearray(4 * MIB)
        while got < left:
            count = self.file.readinto1(memoryview(buffer)[: left - got])  # type: ignore[attr-defined]
            if not count:
                break
            got += count
        return time.perf_counter() - begun, got


def _pid(server: TeamServer) -> int:
    if server.process is None:
        raise RuntimeError("the server does not run")
    return server.process.pid


def _memory(pid: int, name: str) -> float:
    """MiB of a field of /proc/PID/status."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(name):
            return int(line.split()[1]) / 1024
    raise RuntimeError(f"/proc/{pid}/status has no {name}")


def _processor(pid: int) -> float:
    """Seconds of processor that a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _forget_peak(pid: int) -> float:
    """Begin to measure the peak anew; what is used now."""
    Path(f"/proc/{pid}/clear_refs").write_text("5")
    return _memory(pid, "VmRSS")


def _runner(server: TeamServer, description: str) -> str:
    made = server.as_("operator").execute("create-runner", {"description": description, "run_untagged": True})
    return str(made["values"]["token"])


def _push(server: TeamServer, pipeline: str) -> str:
    since = server.head()
    if "team/tools" not in server.trees:
        server.tree("team/tools", {"README.md": "bench\n"}, by="ana")
    commit = server.commit("team/tools", {".gitlab-ci.yml": pipeline}, by="ana", message="feat: bench")
    taken, said = server.trees["team/tools"].push(f"bench-{commit[:8]}", server.person("ana"))
    if not taken:
        raise RuntimeError(said)
    return str(server.wait("a run", is_type(QUEUED), since=since)["subject"]).removeprefix("run/")


def _artifacts(server: TeamServer, size: int, place: str) -> Iterator[Figure]:
    """One large artifact, up and down."""
    pid, token = _pid(server), _runner(server, "large")
    _push(server, "make:\n  script: [x]\n  artifacts: {paths: [a]}\nuse:\n  needs: [make]\n  script: [x]\n")
    client = Client(server.url)
    try:
        _, job = client.json("POST", "jobs/request", {"token": token})
        client.upload(job, 8 * MIB)
        before, spent = _forget_peak(pid), _processor(pid)
        seconds = client.upload(job, size)
        spent = (_processor(pid) - spent) / size * 1e9
        how = f"{size // MIB} MiB of random bytes, multipart, chunked without a length, one connection; data in {place}"
        yield figure("artifact up", "MB/s", [size / seconds / 1e6], how, target=300, at_least=True)
        yield figure(
            "memory of an upload", "MiB", [max(0.0, _memory(pid, "VmHWM") - before)], how, target=32, scaled=False
        )
        yield figure(
            "processor of an upload", "s/GB", [spent], f"{how}; of the server, whatever else runs here", target=6.6
        )
        client.json("PUT", f"jobs/{job['id']}", {"token": job["token"], "state": "success"})
        _, user = client.json("POST", "jobs/request", {"token": token})
        before, spent = _forget_peak(pid), _processor(pid)
        seconds, got = client.download(user["dependencies"][0])
        spent = (_processor(pid) - spent) / size * 1e9
        if got != size:
            raise RuntimeError(f"{got} bytes came instead of {size}")
        how = f"{size // MIB} MiB with the dependency's token, verified while it is read; data in {place}"
        yield figure("artifact down", "MB/s", [size / seconds / 1e6], how, target=300, at_least=True)
        yield figure(
            "memory of a download", "MiB", [max(0.0, _memory(pid, "VmHWM") - before)], how, target=32, scaled=False
        )
        yield figure("processor of a download", "s/GB", [spent], f"{how}; of the server", target=6.6)
        client.json("PUT", f"jobs/{user['id']}", {"token": user["token"], "state": "success"})
    finally:
        client.close()


def _log(server: TeamServer, size: int) -> Iterator[Figure]:
    """One long log: sent, shown around a line, searched."""
    pid, token = _pid(server), _runner(server, "talkative")
    run = _push(server, "talk:\n  script: [x]\n")
    client = Client(server.url)
    try:
        _, job = client.json("POST", "jobs/request", {"token": token})
        _forget_peak(pid)
        begun, at, checksum, line = time.perf_counter(), 0, 0, 0
        while at < size * MIB:
            piece = b"".join(
                b"%09d what a job says of itself, in a line of ordinary length\n" % (line + n) for n in range(16_000)
            )
            line += 16_000
            headers = {"Content-Type": "text/plain", "JOB-TOKEN": job["token"], "Content-Length": str(len(piece)),
                       "Content-Range": f"{at}-{at + len(piece) - 1}"}  # fmt: skip
            client.send("PATCH", f"jobs/{job['id']}/trace", headers, piece)
            status, told = client.head()
            client.file.read(int(told["content-length"]))
            if status != 202:
                raise RuntimeError(f"a piece of a log was answered with {status}")
            at, checksum = at + len(piece), zlib.crc32(piece, checksum)
        output = {"checksum": f"crc32:{checksum:08x}", "bytesize": at}
        status, _ = client.json(
            "PUT", f"jobs/{job['id']}", {"token": job["token"], "state": "success", "output": output}
        )
        seconds = time.perf_counter() - begun
        if status != 200:
            raise RuntimeError(f"the end of the job was answered with {status}")
    finally:
        client.close()
    how = f"{at // MIB} MiB, {line} lines"
    yield figure(
        "a long log sent and kept",
        "MB/s",
        [at / seconds / 1e6],
        f"{how}; pieces of 1 MiB, checksum compared at the end",
    )
    person = server.as_("operator")
    begun = time.perf_counter()
    content, first, total = person.lines(run, "talk", line // 2, 1000)
    shown = (time.perf_counter() - begun) * 1000
    if (first, total) != (line // 2, line) or not content.startswith(b"%09d " % (first - 1)):
        raise RuntimeError(f"line {first} of {total} begins with {content[:40]!r}")
    yield figure(
        "a line of a long log shown",
        "ms",
        [shown],
        f"{how}; a thousand lines around the middle one, by number",
        target=1000,
    )
    begun = time.perf_counter()
    hits = person.get(f"runs/{run}/jobs/talk/trace/search", text=f"{line - 1:09d} WHAT")["hits"]
    searched = (time.perf_counter() - begun) * 1000
    if [one["line"] for one in hits] != [line]:
        raise RuntimeError(f"the search found {hits}")
    yield figure(
        "a long log searched",
        "ms",
        [searched],
        f"{how}; a text that stands in the last line, in either case",
        target=2000,
    )
    yield figure(
        "memory of the server with a long log", "MiB", [_memory(pid, "VmHWM")], f"{how}; peak", target=400, scaled=False
    )


class Machine:
    """One runner machine of the fleet on one event loop: polls, and works what it gets."""

    def __init__(self, url: str, token: str, number: int) -> None:
        address = urlsplit(url)
        self.address = (address.hostname or "", address.port or 80)
        self.token = token
        self.number = number
        self.last_update = ""

    async def call(
        self, method: str, path: str, headers: dict[str, str], body: bytes
    ) -> tuple[int, dict[str, str], bytes]:
        """One request on the kept connection."""
        lines = [f"{method} /api/v4/{path} HTTP/1.1", f"Host: {self.address[0]}:{self.address[1]}",
                 f"Content-Length: {len(body)}", *(f"{k}: {v}" for k, v in headers.items())]  # fmt: skip
        self.writer.write("\r\n".join(lines).encode() + b"\r\n\r\n" + body)
        await self.writer.drain()
        head = (await self.reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        told = {key.lower(): value.strip() for key, _, value in (line.partition(":") for line in head[1:] if line)}
        answer = await self.reader.readexactly(int(told.get("content-length", "0")))
        return int(head[0].split()[1]), told, answer

    async def json(self, method: str, path: str, body: dict[str, Any]) -> tuple[int, dict[str, str], bytes]:
        """A call with JSON."""
        return await self.call(method, path, {"Content-Type": "application/json"}, json.dumps(body).encode())

    async def run(
        self, ready: asyncio.Semaphore, stop: asyncio.Event, done: dict[int, bytes], waits: list[float]
    ) -> None:
        """Poll until told to stop."""
        self.reader, self.writer = await asyncio.open_connection(*self.address)
        while not stop.is_set():
            body = {"token": self.token, "system_id": f"s_{self.number}", "info": {"executor": "docker"}}
            if self.last_update:
                body["last_update"] = self.last_update
                ready.release()
            asking = asyncio.ensure_future(self.json("POST", "jobs/request", body))
            ending = asyncio.ensure_future(stop.wait())
            await asyncio.wait({asking, ending}, return_when=asyncio.FIRST_COMPLETED)
            ending.cancel()
            if not asking.done():
                asking.cancel()
                break
            status, headers, answer = asking.result()
            self.last_update = headers.get("x-gitlab-last-update", "")
            if status == 201:
                await self.work(json.loads(answer), done, waits)
        self.writer.close()

    async def work(self, job: dict[str, Any], done: dict[int, bytes], waits: list[float]) -> None:
        """Log in pieces, then the end."""
        log, at = bytearray(), 0
        for number in range(PIECES):
            log += b"%d: %s\n" % (number, os.urandom(3000).hex().encode())
            piece = bytes(log[at:])
            headers = {"Content-Type": "text/plain", "JOB-TOKEN": job["token"], "Content-Range": f"{at}-{len(log) - 1}"}
            begun = time.perf_counter()
            status, _, _ = await self.call("PATCH", f"jobs/{job['id']}/trace", headers, piece)
            waits.append((time.perf_counter() - begun) * 1000)
            if status != 202:
                raise RuntimeError(f"a piece of a log was answered with {status}")
            at = len(log)
            await asyncio.sleep(0.05)
        output = {"checksum": f"crc32:{zlib.crc32(log):08x}", "bytesize": len(log)}
        end = {"token": job["token"], "state": "success", "output": output}
        while (await self.json("PUT", f"jobs/{job['id']}", end))[0] == 202:  # noqa: ASYNC110 - as a runner asks again
            await asyncio.sleep(0.05)
        done[job["id"]] = bytes(log)


def _fleet(server: TeamServer) -> Iterator[Figure]:
    """`POLLERS` machines wait; `JOBS` jobs are pushed and log at the same time."""
    pid, token = _pid(server), _runner(server, "fleet")
    _forget_peak(pid)
    jobs = "".join(f"job-{number}:\n  script: ['x']\n" for number in range(JOBS))
    done, waits, seconds = asyncio.run(_work(server, token, jobs))
    lost, names = 0, {}
    view = server.as_("operator").get("runs", project="team/tools", limit=1)[0]["id"]
    shown = server.as_("operator").get(f"runs/{view}")
    for place, one in enumerate(shown["jobs"]):
        names[place] = one["job"]["name"]
    for number, log in done.items():
        kept, offset = bytearray(), 0
        name = names[number // 1000 % 100_000]
        while True:
            data, offset, complete = server.as_("operator").trace(view, name, offset=offset)
            kept += data
            if complete:
                break
        lost += sum(a != b for a, b in zip(kept, log, strict=False)) + abs(len(kept) - len(log))
    total = sum(map(len, done.values())) / 1e6
    how = f"{POLLERS} machines in long polls, {JOBS} jobs at once, {PIECES} pieces each, {total:.0f} MB of logs, {seconds:.1f} s"
    yield figure("trace bytes lost", "bytes", [lost], f"{how}; each log compared byte by byte", target=0, scaled=False)
    yield figure(
        "memory of the server with a fleet", "MiB", [_memory(pid, "VmHWM")], f"{how}; peak", target=400, scaled=False
    )
    waits.sort()
    yield figure("a piece of a log, p99", "ms", [waits[int(len(waits) * 0.99)]], f"{how}; PATCH → 202")


async def _work(server: TeamServer, token: str, jobs: str) -> tuple[dict[int, bytes], list[float], float]:
    ready, stop = asyncio.Semaphore(0), asyncio.Event()
    done: dict[int, bytes] = {}
    waits: list[float] = []
    machines = [Machine(server.url, token, number) for number in range(POLLERS)]
    tasks = [asyncio.create_task(one.run(ready, stop, done, waits)) for one in machines]
    for _ in machines:
        await ready.acquire()
    begun = time.perf_counter()
    await asyncio.to_thread(_push, server, jobs)
    while len(done) < JOBS and time.perf_counter() - begun < 300:
        failed = next(
            (task.exception() for task in tasks if task.done() and not task.cancelled() and task.exception()), None
        )
        if failed is not None:
            raise failed
        await asyncio.sleep(0.05)
    seconds = time.perf_counter() - begun
    stop.set()
    await asyncio.gather(*tasks)
    if len(done) < JOBS:
        raise RuntimeError(f"only {len(done)} of {JOBS} jobs were worked")
    return done, waits, seconds

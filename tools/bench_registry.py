"""Images and packages against their peers: docker-registry (Debian), devpi and pypiserver (PyPI), in one run."""

from __future__ import annotations

import argparse
import base64
import hashlib
import http.client
import os
import subprocess
import sys
import tempfile
import threading
import time
import urllib.parse
import venv
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))

import components
from figures import ROOT, Figure, figure

from support.server import free_port
from support.tiny_packages import wheel

SIZE: Final = 100_000_000
ROUNDS: Final = 3
CLIENTS: Final = 100
UPLOADS: Final = 1000
ADMIN: Final = "root"
"""The user that a fresh devpi has."""
PEERS: Final = ("devpi-server==6.17.0", "devpi-client==7.2.0", "pypiserver==2.3.2")
DOOR: Final = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
import uvicorn
from starlette.applications import Starlette
from aegis.adapters.zero_copy import ZeroCopyProtocol
from aegis.web import oci_api, pypi_api
from support import registry_doors
registry_doors.WRITER = "bench"
doors = registry_doors.TokenDoors(Path(sys.argv[2]))
routes = [*oci_api.routes(lambda: doors), *pypi_api.routes(lambda: doors)]
uvicorn.run(Starlette(routes=routes), host="127.0.0.1", port=int(sys.argv[3]), log_level="error", lifespan="off",
            access_log=False, http=ZeroCopyProtocol)
"""
"""The doors over their real stores, as `aegis up` serves them, with a token that may push."""


def figures(options: argparse.Namespace) -> Iterator[Figure]:
    """All of them; a peer that cannot be had is a missed row of its own."""
    with tempfile.TemporaryDirectory(prefix="aegis-bench-registry-") as folder, door(Path(folder)) as (port, pid):
        yield from _images(port, pid, Path(folder))
        if not options.quick:
            yield from _packages(port, Path(folder))


# -- servers ----------------------------------------------------------------------------------------------


@contextmanager
def door(folder: Path) -> Iterator[tuple[int, int]]:
    """Our own doors in a process: port and process id."""
    port = free_port()
    command = [sys.executable, "-c", DOOR, str(ROOT / "tests"), str(folder / "own"), str(port)]
    with serving(command, port) as pid:
        yield port, pid


@contextmanager
def serving(command: list[str], port: int, environment: dict[str, str] | None = None) -> Iterator[int]:
    """A server until the block ends; it is up once it takes a connection."""
    process = subprocess.Popen(
        command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    )  # fmt: skip
    try:
        ends = time.monotonic() + 60
        while not _is_up(port):
            if process.poll() is not None or time.monotonic() > ends:
                raise RuntimeError(f"{command[0]} did not start")
            time.sleep(0.05)
        yield process.pid
    finally:
        process.terminate()
        process.wait(20)


def _is_up(port: int) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=1)
    try:
        connection.connect()
    except OSError:
        return False
    finally:
        connection.close()
    return True


# -- images -----------------------------------------------------------------------------------------------


class Images:
    """One blob at a time through `/v2/`."""

    def __init__(self, port: int, password: str = "") -> None:
        token = base64.b64encode(f"x:{password}".encode()).decode()
        self._headers = {"Authorization": f"Basic {token}"} if password else {}
        self._port = port

    def ask(self, method: str, path: str, body: bytes | None = None) -> tuple[int, str, bytes]:
        """Status, `Location`, body."""
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=120)
        parts = urllib.parse.urlsplit(path)
        where = parts.path + (f"?{parts.query}" if parts.query else "")
        connection.request(method, where, body=memoryview(body) if body else None, headers=self._headers)
        answer = connection.getresponse()
        found = answer.status, answer.headers.get("Location", ""), answer.read()
        connection.close()
        return found

    def push(self, data: bytes) -> tuple[str, float]:
        """Digest, MB/s."""
        digest = f"sha256:{hashlib.sha256(data).hexdigest()}"
        _, location, _ = self.ask("POST", "/v2/bench/image/blobs/uploads/")
        begun = time.perf_counter()
        status, _, said = self.ask("PUT", f"{location}{'&' if '?' in location else '?'}digest={digest}", data)
        if status != 201:
            raise RuntimeError(f"the push was answered with {status}: {said[:200]!r}")
        return digest, len(data) / 1e6 / (time.perf_counter() - begun)

    def pull(self, digest: str, size: int = SIZE) -> float:
        """MB/s."""
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=120)
        buffer, received = bytearray(1 << 20), 0
        begun = time.perf_counter()
        connection.request("GET", f"/v2/bench/image/blobs/{digest}", headers=self._headers)
        answer = connection.getresponse()
        while count := answer.readinto(buffer):
            received += count
        took = time.perf_counter() - begun
        connection.close()
        if received != size:
            raise RuntimeError(f"{received} bytes of {size} came")
        return received / 1e6 / took


def _images(port: int, pid: int, folder: Path) -> Iterator[Figure]:
    ours = Images(port, "bench")
    ours.push(os.urandom(1_000_000))
    before = _peak(pid)
    pushed: list[float] = []
    pulled: list[float] = []
    theirs: tuple[list[float], list[float]] = ([], [])
    why = ""
    try:
        with docker_registry(folder) as peer:
            for _ in range(ROUNDS):
                _round(ours, pushed, pulled)
                _round(Images(peer), *theirs)
    except (OSError, RuntimeError) as error:
        why = f"docker-registry: {error}"
        for _ in range(ROUNDS - len(pushed)):
            _round(ours, pushed, pulled)
    grown = (_peak(pid) - before) / 1024
    how = "one connection, a blob of 100 MB of noise over loopback"
    yield figure(
        "image blob push, docker-registry", "MB/s", theirs[0], f"{how}, the same run", failed=why, scaled=False
    )
    bound = sorted(theirs[0])[len(theirs[0]) // 2] if theirs[0] else None
    yield figure("image blob push", "MB/s", pushed, how, target=bound, at_least=True, scaled=False)
    yield figure(
        "image blob pull, docker-registry", "MB/s", theirs[1], f"{how}, the same run", failed=why, scaled=False
    )
    yield figure("image blob pull", "MB/s", pulled, how, target=1000, at_least=True, scaled=False)
    yield figure(
        "memory for 100 MB blobs", "MiB", [grown], "VmHWM after the above, less before", target=16, scaled=False
    )
    yield _crowd(port, ours)
    yield _pushing_crowd(port)


def _round(images: Images, pushed: list[float], pulled: list[float]) -> None:
    digest, rate = images.push(os.urandom(SIZE))
    pushed.append(rate)
    images.pull(digest)
    pulled.append(images.pull(digest))


def _crowd(port: int, ours: Images) -> Figure:
    size = 4_000_000
    digest, _ = ours.push(os.urandom(size))
    failures: list[Exception] = []

    def pull() -> None:
        try:
            Images(port, "bench").pull(digest, size)
        except (OSError, RuntimeError, http.client.HTTPException) as error:
            failures.append(error)

    threads = [threading.Thread(target=pull) for _ in range(CLIENTS)]
    begun = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    rate = CLIENTS * size / 1e6 / (time.perf_counter() - begun)
    failed = f"{len(failures)} failed: {failures[0]}" if failures else ""
    how = f"{CLIENTS} connections at once, a blob of 4 MB each, the client's own work included"
    return figure("100 clients pulling at once", "MB/s", [rate], how, failed=failed, scaled=False)


def _pushing_crowd(port: int) -> Figure:
    size = 4_000_000
    failures: list[Exception] = []
    contents = [os.urandom(size) for _ in range(8)]

    def push(number: int) -> None:
        try:
            Images(port, "bench").push(number.to_bytes(4, "big") + contents[number % len(contents)])
        except (OSError, RuntimeError, http.client.HTTPException) as error:
            failures.append(error)

    threads = [threading.Thread(target=push, args=(number,)) for number in range(CLIENTS)]
    begun = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    rate = CLIENTS * size / 1e6 / (time.perf_counter() - begun)
    failed = f"{len(failures)} failed: {failures[0]}" if failures else ""
    how = f"{CLIENTS} connections at once, a blob of 4 MB each, the client's own work included"
    return figure("100 clients pushing at once", "MB/s", [rate], how, failed=failed, scaled=False)


@contextmanager
def docker_registry(folder: Path) -> Iterator[int]:
    """Debian's docker-registry on a fresh directory."""
    if not components.program("docker-registry"):
        raise RuntimeError("docker-registry cannot be had")
    port, settings = free_port(), folder / "registry.yml"
    settings.write_text(
        "version: 0.1\nlog: {level: error, accesslog: {disabled: true}}\n"
        f"storage: {{filesystem: {{rootdirectory: {folder / 'theirs'}}}}}\nhttp: {{addr: 127.0.0.1:{port}}}\n"
    )
    with serving(["docker-registry", "serve", str(settings)], port):
        yield port


def _peak(pid: int) -> int:
    """KiB."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:"))


# -- packages ---------------------------------------------------------------------------------------------


def _packages(port: int, folder: Path) -> Iterator[Figure]:
    files = [wheel(f"project-{number}".replace("-", "_")) for number in range(UPLOADS)]
    took = _upload(port, "/pypi/bench/legacy/", files, "bench")
    how = f"{UPLOADS} wheels of {UPLOADS} projects, one after the other over one connection"
    yield figure(f"{UPLOADS} package uploads", "s", [took], how, target=30)
    page = f"the page of all {UPLOADS} projects, HTML, over one connection"
    yield figure("index page", "ms", _pages(port, "/pypi/bench/simple/", "bench"), page, target=5)
    for name, measure in (("devpi", _devpi), ("pypiserver", _pypiserver)):
        uploads = pages = None
        failed = ""
        try:
            uploads, pages = measure(folder, files)
        except Exception as error:  # noqa: BLE001 - a peer that cannot be had is said in its row
            failed = f"{type(error).__name__}: {str(error)[-300:]}"
        yield figure(f"{UPLOADS} package uploads, {name}", "s", [uploads] if uploads else [], how, failed=failed)
        yield figure(f"index page, {name}", "ms", pages or [], page, failed=failed)


def _upload(port: int, path: str, files: list[tuple[str, bytes]], password: str, user: str = "x") -> float:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
    token = base64.b64encode(f"{user}:{password}".encode()).decode()
    begun = time.perf_counter()
    for filename, data in files:
        name = filename.partition("-")[0]
        fields = {
            ":action": "file_upload", "protocol_version": "1", "metadata_version": "2.1", "name": name, "version": "1.0",
            "filetype": "bdist_wheel", "pyversion": "py3", "sha256_digest": hashlib.sha256(data).hexdigest(),
        }  # fmt: skip
        parts = [
            f'--b\r\nContent-Disposition: form-data; name="{key}"\r\n\r\n{value}\r\n' for key, value in fields.items()
        ]
        head = f'--b\r\nContent-Disposition: form-data; name="content"; filename="{filename}"\r\n\r\n'
        body = "".join(parts).encode() + head.encode() + data + b"\r\n--b--\r\n"
        headers = {"Authorization": f"Basic {token}", "Content-Type": "multipart/form-data; boundary=b"}
        connection.request("POST", path, body=body, headers=headers)
        answer = connection.getresponse()
        said = answer.read()
        if answer.status not in (200, 201):
            raise RuntimeError(f"{path} answered {answer.status}: {said[:200]!r}")
    return time.perf_counter() - begun


def _pages(port: int, path: str, password: str = "", user: str = "x", times: int = 15) -> list[float]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
    headers = {"Accept": "text/html"}
    if password:
        headers["Authorization"] = "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()
    found = []
    for _ in range(times + 1):
        begun = time.perf_counter()
        connection.request("GET", path, headers=headers)
        body = connection.getresponse().read()
        found.append((time.perf_counter() - begun) * 1000)
        if body.count(b"project") < UPLOADS:
            raise RuntimeError(f"{path} lists too few projects")
    return found[1:]


Measured = tuple[float | None, list[float]]


def _devpi(folder: Path, files: list[tuple[str, bytes]]) -> Measured:
    programs, port, data = _peers(), free_port(), str(folder / "devpi")
    subprocess.run([programs / "devpi-init", "--serverdir", data, "--no-root-pypi"], check=True, capture_output=True)
    command = [str(programs / "devpi-server"), "--serverdir", data, "--host", "127.0.0.1", "--port", str(port)]
    client = {**os.environ, "DEVPI_CLIENTDIR": str(folder / "devpi-client")}
    with serving(command, port):
        for words in (
            ["use", f"http://127.0.0.1:{port}"], ["login", ADMIN, "--password="], ["index", "-c", f"{ADMIN}/bench", "bases="],
            ["user", "-m", ADMIN, "password=bench"],
        ):  # fmt: skip
            subprocess.run([programs / "devpi", *words], env=client, check=True, capture_output=True)
        took = _upload(port, f"/{ADMIN}/bench/", files, "bench", ADMIN)
        return took, _pages(port, f"/{ADMIN}/bench/+simple/")


def _pypiserver(folder: Path, files: list[tuple[str, bytes]]) -> Measured:
    programs, port, data = _peers(), free_port(), folder / "pypiserver"
    data.mkdir()
    command = [
        str(programs / "pypi-server"),
        "run",
        "-i",
        "127.0.0.1",
        "-p",
        str(port),
        "-P",
        ".",
        "-a",
        ".",
        str(data),
    ]
    with serving(command, port):
        took = _upload(port, "/", files, "bench")
        return took, _pages(port, "/simple/")


def _peers() -> Path:
    """The programs of the peers, in an environment of their own that is kept."""
    place = ROOT / ".cache" / "peers"
    if not (place / "bin" / "devpi-server").exists():
        venv.create(place, with_pip=True)
        install: Callable[..., object] = subprocess.run
        install([place / "bin" / "pip", "install", "-q", "--disable-pip-version-check", *PEERS], check=True)
    return place / "bin"

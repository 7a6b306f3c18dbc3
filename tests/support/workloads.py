"""Tiny real workloads: an image of one stdlib HTTP server, its manifests, and something that calls it."""

from __future__ import annotations

import gzip
import hashlib
import http.client
import io
import json
import tarfile
import threading
import time
import urllib.parse
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from typing import Self

from aegis.gitops import overlay
from aegis.gitops.manifest import Manifest
from aegis.gitops.overlay import EnvironmentSpec, Placed, ServiceSpec
from aegis.gitops.ports import ImageLayer, PulledImage
from aegis.gitops.render import render

SERVER = b"""
import http.server, json, os, signal, sys, threading, time

class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        healthy = self.path != "/healthz" or time.monotonic() - BEGUN >= float(os.environ.get("SLOW_START", 0))
        bad = self.path != "/healthz" and os.environ.get("BROKEN") == "1"
        body = json.dumps({"environment": dict(os.environ), "pid": os.getpid(), "file": __file__}).encode()
        self.send_response(500 if bad or not healthy else 200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *arguments):
        pass

BEGUN = time.monotonic()
if os.environ.get("CRASH"):
    print("cannot go on:", os.environ["CRASH"], flush=True)
    sys.exit(3)
http.server.ThreadingHTTPServer.daemon_threads = False
server = http.server.ThreadingHTTPServer((os.environ["HOST"], int(os.environ["PORT"])), Handler)
signal.signal(signal.SIGTERM, lambda *_: threading.Thread(target=server.shutdown).start())
print("listening", flush=True)
server.serve_forever()
time.sleep(0.1)
os._exit(0)  # idle connections are nobody's loss
"""
SEED = b"import os; print('seeded', os.environ['AEGIS_RELEASE'], os.environ['SHOP_URL'])\n"


def layer(files: Mapping[str, bytes]) -> ImageLayer:
    """A gzip layer holding `files`."""
    raw = io.BytesIO()
    with tarfile.open(fileobj=raw, mode="w") as archive:
        for name, data in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return packed(raw.getvalue())


def packed(tar: bytes) -> ImageLayer:
    """A gzip layer of any archive."""
    data = gzip.compress(tar, mtime=0)

    def read() -> Iterator[bytes]:
        yield data

    digest = f"sha256:{hashlib.sha256(data).hexdigest()}"
    return ImageLayer(digest=digest, media_type="application/vnd.oci.image.layer.v1.tar+gzip", read=read)


def image(*layers: ImageLayer) -> PulledImage:
    """An image without a base whose entry point is the server."""
    config = {
        "config": {
            "Entrypoint": ["python", "/app/start.py"],
            "WorkingDir": "/app",
            "Env": ["PYTHONPATH=/app/lib:/app/src"],
            "Labels": {"io.aegis.base": "none"},
        }
    }
    made = layers or (layer({"app/start.py": SERVER, "app/src/seed.py": SEED}),)
    return PulledImage(config=json.dumps(config).encode(), layers=made)


class Registry:
    """Images by digest, as `pull` of the local cluster wants them; counts what was pulled."""

    def __init__(self) -> None:
        self.images: dict[str, PulledImage] = {}
        self.pulled: Counter[str] = Counter()

    def push(self, one: PulledImage, name: str = "") -> str:
        digest = (
            "sha256:"
            + hashlib.sha256(one.config + name.encode() + b"".join(x.digest.encode() for x in one.layers)).hexdigest()
        )
        self.images[digest] = one
        return digest

    def pull(self, _repository: str, digest: str) -> PulledImage:
        self.pulled[digest] += 1
        return self.images[digest]


def shop(
    digest: str,
    version: str,
    *,
    strategy: str = "rolling",
    replicas: int = 1,
    variables: Mapping[str, str] | None = None,
    namespace: str = "aegis-dev",
    environment: str = "development",
    deadline: int = 20,
    seed: bool = False,
) -> tuple[Manifest, ...]:
    """The rendered manifests of a service `shop` at a release."""
    spec = ServiceSpec(
        name="shop",
        environments=(
            EnvironmentSpec(
                name=environment,
                namespace=namespace,
                replicas=replicas,
                strategy=strategy,  # type: ignore[arg-type]
                variables=variables or {},
                seed=seed,
            ),
        ),
        peers={"PEER_URL": "peer"},
        seed_command=("python", "-m", "seed"),
        progress_deadline_seconds=deadline,
        grace_seconds=3,
    )
    placed = Placed(release=f"shop@{version}", image="registry.test/shop", digest=digest, commit=version[0] * 40)
    files = {**overlay.generate(spec), **overlay.set_release(spec, environment, placed)}
    return render(files, overlay.overlay_path("shop", environment))


def until(condition: Callable[[], object], seconds: float = 20.0, said: Callable[[], object] = str) -> object:
    """What `condition` gives as soon as it is true; fails when it never is."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        found = condition()
        if found:
            return found
        threading.Event().wait(0.02)
    raise AssertionError(f"never true: {condition} {said()}")


def get(url: str, path: str = "/") -> tuple[int, bytes]:
    """One GET on a connection of its own; status 0 when nothing answers."""
    host = urllib.parse.urlsplit(url).netloc
    connection = http.client.HTTPConnection(host, timeout=5)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, answer.read()
    except (OSError, http.client.HTTPException) as error:
        return 0, str(error).encode()
    finally:
        connection.close()


class Callers:
    """Threads that call a URL until the block ends; `seen` counts (status, release)."""

    def __init__(self, url: str, threads: int = 2) -> None:
        self.seen: Counter[tuple[int, str]] = Counter()
        self._url = url
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self._threads = [threading.Thread(target=self._run, daemon=True) for _ in range(threads)]

    def __enter__(self) -> Self:
        for one in self._threads:
            one.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for one in self._threads:
            one.join()

    def _run(self) -> None:
        while not self._stop.wait(0.004):
            status, body = get(self._url)
            release = json.loads(body)["environment"].get("AEGIS_RELEASE", "") if body.startswith(b"{") else ""
            with self._lock:
                self.seen[status, release] += 1

    @property
    def total(self) -> int:
        with self._lock:
            return sum(self.seen.values())

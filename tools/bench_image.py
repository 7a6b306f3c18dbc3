"""Images of a service with 25 and more wheels: built and pushed cold, after one changed line, and beside buildah.

The registry is Aegis' own, in this process. "In the server" is a call in this process, "command" a process of its own. The peer gets the
same base, the same lock and the same registry: `buildah build` with cached layers, chroot isolation (docker needs a daemon with
privileges, and is not measured).
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))

from figures import AEGIS, Figure, figure
from starlette.applications import Starlette

from aegis.bootstrap.image import Wanted, build_image
from aegis.bootstrap.image_base import From, build_base, lock_base
from aegis.bootstrap.image_reading import sbom_of
from aegis.web import oci_api
from support.live_server import serving
from support.registry_doors import WRITER, DoorsHolder, TokenDoors

NEEDS: Final = [
    "fastapi==0.115.6", "uvicorn[standard]==0.34.0", "sqlalchemy==2.0.36", "httpx==0.28.1", "jinja2==3.1.5", "redis==5.2.1",
    "psycopg[binary]==3.2.3", "orjson==3.10.13", "alembic==1.14.0", "structlog==24.4.0",
]  # fmt: skip
APP: Final = "from fastapi import FastAPI\n\napp = FastAPI()\n"
DOCKERFILE: Final = """FROM localhost/aegis-bench-base:base
USER 0
COPY requirements.lock /tmp/requirements.lock
RUN python3 -m pip install --quiet --no-cache-dir --target /app/lib --require-hashes -r /tmp/requirements.lock
COPY src /app/src
ENV PYTHONPATH=/app/lib:/app/src
USER 65532:65532
ENTRYPOINT ["python3", "-m", "uvicorn", "svc.app:app"]
"""


@dataclass(kw_only=True)
class Bench:
    """A service in a folder, caches of its own, a registry at an address."""

    root: Path
    address: str
    changes: int = 0

    @property
    def service(self) -> Path:
        """The service's folder."""
        return self.root / "svc"

    def change(self) -> None:
        """One more source line."""
        self.changes += 1
        with (self.service / "src" / "svc" / "app.py").open("a") as file:
            file.write(f"# {self.changes}\n")

    def build(self, *, push: bool = True) -> str:
        """Build in this process; the digest."""
        repository = f"{self.address}/quarantine/bench/svc"
        return build_image(Wanted(path=self.service, base="oci:../base", push=push, repository=repository)).digest

    def command(self) -> None:
        """Build and push as a command."""
        command = [
            *AEGIS,
            "image",
            "build",
            "--base",
            "oci:../base",
            "--push",
            "--repository",
            f"{self.address}/quarantine/bench/svc",
        ]
        _run(command, self.service)


def figures(_: argparse.Namespace | None = None) -> Iterator[Figure]:
    """Ours, then buildah's; some minutes, since packages and wheels are fetched."""
    with _bench() as bench:
        wheels = (bench.service / "requirements.lock").read_text().count("==")
        how = f"{wheels} wheels on a Debian base, pushed to Aegis' registry; bytecode included"
        cold = _timed(bench.build)
        yield figure(
            "image, everything cold", "s", [cold], f"{how}; wheels fetched from the index", warm="no cache at all"
        )
        yield figure("image, cold", "s", [_again(bench) for _ in range(3)], how, target=5, warm="wheel cache warm")
        values = [_changed(bench, bench.build) for _ in range(7)]
        yield figure("image, one line changed, in the server", "s", values, f"{how}; build and push", target=0.1)
        values = [_changed(bench, bench.build, clock=time.process_time) for _ in range(7)]
        how_cpu = f"{how}; processor time of builder and registry together"
        yield figure("image, one line changed, processor", "s", values, how_cpu, target=0.1)
        values = [_changed(bench, bench.command) for _ in range(5)]
        yield figure("image, one line changed, command", "s", values, f"{how}; whole process", target=0.5)
        yield _same(bench)
        layout = str(bench.service / ".aegis-image")
        without = min(_timed(lambda: bench.build(push=False)) for _ in range(5))
        file = bench.root / "sbom.json"
        wanted = Wanted(path=bench.service, base="oci:../base", sbom=file)
        made = [max(0.0, _timed(lambda: build_image(wanted)) - without) for _ in range(5)]
        yield figure(
            "SBOM from the builder's knowledge", "s", made, "a build with it less the best build without", target=0.3
        )
        yield figure("SBOM from the layers", "s", [_timed(lambda: sbom_of(layout)) for _ in range(3)], "base included")
        yield from _buildah(bench)


@contextmanager
def _bench() -> Iterator[Bench]:
    with tempfile.TemporaryDirectory(prefix="aegis-bench-image-") as folder:
        root = Path(folder)
        changed = {
            "AEGIS_CACHE_DIR": str(root / "cache"), "CI_REGISTRY_USER": "any", "CI_REGISTRY_PASSWORD": WRITER,
            "SOURCE_DATE_EPOCH": "1700000000",
        }  # fmt: skip
        kept = {name: os.environ.get(name) for name in (*changed, "CI_REGISTRY")}
        os.environ.update(changed)
        holder = DoorsHolder()
        holder.doors = doors = TokenDoors(root / "server")
        try:
            with serving(Starlette(routes=[*oci_api.routes(holder)])) as address:
                os.environ["CI_REGISTRY"] = address
                bench = Bench(root=root, address=address)
                _prepare(bench)
                yield bench
        finally:
            doors.close()
            for name, value in kept.items():
                os.environ.pop(name, None)
                os.environ.update({name: value} if value is not None else {})


def _prepare(bench: Bench) -> None:
    source = bench.service / "src" / "svc"
    source.mkdir(parents=True)
    (source / "__init__.py").write_text("")
    (source / "app.py").write_text(APP)
    for number in range(30):
        (source / f"module{number}.py").write_text(
            "\n".join(f"def f{line}(x):\n    return x + {line}\n" for line in range(120))
        )
    (bench.service / "pyproject.toml").write_text(
        f'[project]\nname = "svc"\nversion = "1.0.0"\ndependencies = {json.dumps(NEEDS)}\n'
    )
    (bench.service / "Dockerfile").write_text(DOCKERFILE)
    version = f"{sys.version_info[0]}.{sys.version_info[1]}"
    uv = [str(Path(sys.executable).with_name("uv")), "pip", "compile", "--quiet", "--generate-hashes", "--no-annotate"]
    _run([*uv, "--python-version", version, "pyproject.toml", "-o", "requirements.lock"], bench.service)
    lock = bench.root / "base.lock"
    wanted = ("base-files", "ca-certificates", "dash", "python3", "python3-pip", "tzdata")
    lock_base(wanted, source=From(), with_=(), without=("build-essential", "python3-dev"), architecture="", file=lock)
    build_base(lock, source=From(), output=bench.root / "base")


def _again(bench: Bench) -> float:
    for name in ("layers", "bytecode", "registries"):
        shutil.rmtree(bench.root / "cache" / name, ignore_errors=True)
    return _timed(bench.build)


def _changed(bench: Bench, build: Callable[[], object], clock: Callable[[], float] = time.perf_counter) -> float:
    bench.change()
    return _timed(build, clock)


def _same(bench: Bench) -> Figure:
    """The digest in another directory, with no cache: 1 when it is the same."""
    first = bench.build(push=False)
    other = Bench(root=bench.root / "elsewhere", address=bench.address)
    shutil.copytree(bench.service, other.service, ignore=shutil.ignore_patterns(".aegis-image"))
    shutil.copytree(bench.root / "base", other.root / "base")
    os.environ["AEGIS_CACHE_DIR"] = str(other.root / "cache")
    try:
        same = float(other.build(push=False) == first)
    finally:
        os.environ["AEGIS_CACHE_DIR"] = str(bench.root / "cache")
    how = "another directory, every cache empty: 1 is the same digest"
    return figure("image, same digest elsewhere", "", [same], how, target=1, at_least=True, scaled=False)


# -- the peer ---------------------------------------------------------------------------------------------


def _buildah(bench: Bench) -> Iterator[Figure]:
    how = (
        "buildah build --layers, chroot isolation, vfs; the same base, lock and registry; pip without bytecode left out"
    )
    try:
        base = f"oci:{bench.root / 'base'}:base"
        _peer(bench, "pull", base)
        _peer(bench, "tag", _peer(bench, "images", "-q").split()[0], "localhost/aegis-bench-base:base")
        yield figure("buildah, cold", "s", [_timed(partial(_peer_build, bench))], how, warm="base pulled, nothing else")
        values = [_changed(bench, partial(_peer_build, bench)) for _ in range(2)]
        yield figure("buildah, one line changed", "s", values, how, warm="layers cached")
    except (OSError, RuntimeError, IndexError) as error:
        yield figure("buildah", "s", (), how, failed=f"could not run here: {str(error)[-300:]}")
    finally:
        shutil.rmtree(bench.root / "containers", ignore_errors=True)


def _peer_build(bench: Bench) -> None:
    name = f"{bench.address}/quarantine/bench/peer:latest"
    certificates = os.environ.get("SSL_CERT_FILE", "/etc/ssl/certs/ca-certificates.crt")
    options = ["--layers", "--isolation", "chroot", "--volume", f"{certificates}:/etc/ssl/certs/ca-certificates.crt:ro"]
    _peer(
        bench, "build", *options, "--env", "PIP_CERT=/etc/ssl/certs/ca-certificates.crt", "-t", name, str(bench.service)
    )
    _peer(bench, "push", "--tls-verify=false", "--creds", f"any:{WRITER}", name)


def _peer(bench: Bench, verb: str, *arguments: str) -> str:
    store = bench.root / "containers"
    policy = bench.root / "policy.json"
    policy.write_text('{"default": [{"type": "insecureAcceptAnything"}]}')
    places = ["--storage-driver", "vfs", "--root", str(store / "root"), "--runroot", str(store / "run")]
    extra = ["--signature-policy", str(policy)] if verb in {"build", "pull", "push"} else []
    return _run(["buildah", *places, verb, *extra, *arguments], bench.service)


def _run(command: list[str], at: Path) -> str:
    done = subprocess.run(command, cwd=at, capture_output=True, text=True, check=False, timeout=600)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command[:8])}: {done.stderr.strip()[-400:]}")
    return done.stdout


def _timed(act: Callable[[], object], clock: Callable[[], float] = time.perf_counter) -> float:
    begun = clock()
    act()
    return clock() - begun

"""Images of a service with 25 and more wheels: built and pushed cold, after one changed line, and beside BuildKit and buildah.

The registry is Aegis' own, in this process. "In the server" is a call in this process, "command" a process of its own. The peers get the
same base, the same lock and the same registry, with cached layers: Debian's docker with BuildKit, Debian's buildah.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))

import image_peers
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
        image_peers.run(command, self.service)


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
        yield from _peers(bench)


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
    version = f"{sys.version_info[0]}.{sys.version_info[1]}"
    uv = [str(Path(sys.executable).with_name("uv")), "pip", "compile", "--quiet", "--generate-hashes", "--no-annotate"]
    image_peers.run([*uv, "--python-version", version, "pyproject.toml", "-o", "requirements.lock"], bench.service)
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


# -- the peers --------------------------------------------------------------------------------------------


def _peers(bench: Bench) -> Iterator[Figure]:
    def job(name: str) -> image_peers.Job:
        base, work = bench.root / "base", bench.root / name
        return image_peers.Job(service=bench.service, base=base, address=bench.address, password=WRITER, work=work)

    how = "docker 20.10 of Debian with BuildKit, its own daemon; the same base, lock and registry; pip compiles too"
    try:
        with image_peers.buildkit(job("docker")) as peer:
            yield from _peer(bench, "BuildKit", peer.build, how)
    except (OSError, RuntimeError) as error:
        yield figure("BuildKit", "s", (), how, failed=f"could not run here: {str(error)[-300:]}")
    finally:
        shutil.rmtree(bench.root / "docker", ignore_errors=True)
    how = "buildah build --layers, chroot isolation, vfs; the same base, lock and registry; pip compiles too"
    try:
        yield from _peer(bench, "buildah", image_peers.Buildah(job("containers")).build, how)
    except (OSError, RuntimeError, IndexError) as error:
        yield figure("buildah", "s", (), how, failed=f"could not run here: {str(error)[-300:]}")
    finally:
        shutil.rmtree(bench.root / "containers", ignore_errors=True)


def _peer(bench: Bench, name: str, build: Callable[[], None], how: str) -> Iterator[Figure]:
    yield figure(f"{name}, cold", "s", [_timed(build)], how, warm="base there, nothing else")
    values = [_changed(bench, build) for _ in range(3)]
    yield figure(f"{name}, one line changed", "s", values, how, warm="layers cached")


def _timed(act: Callable[[], object], clock: Callable[[], float] = time.perf_counter) -> float:
    begun = clock()
    act()
    return clock() - begun

"""`Bytecode` by the Python of the image's version: this one, or another that is on PATH.

Wheels are compiled in processes of their own, one per core, once per wheel and Python; what they leave is kept beside the
wheels. A project's own modules are compiled in place, and kept by content, so that a changed line compiles one module.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from aegis.adapters import bytecode_worker
from aegis.build.ports import Wheel
from aegis.build.target import Target
from aegis.core.errors import ExternalError

_SECONDS: Final = 600
_ASK: Final = "import sys; print(sys.implementation.cache_tag, '.'.join(map(str, sys.version_info[:3])), sep='/')"
_ENVIRONMENT: Final = {"PYTHONHASHSEED": "0", "LANG": "C.UTF-8"}


class ProgramBytecode:
    """Bytecode kept under `path`; other Pythons are looked for on `search` (a PATH value)."""

    def __init__(self, path: Path, *, search: str) -> None:
        self._root = path
        self._search = search
        self._builds: dict[str, tuple[str, str]] = {}

    def build(self, target: Target) -> str:
        """What the bytecode is for; empty where no Python of the target's version is here."""
        return self._python(target)[1]

    def of_wheels(self, wheels: tuple[Wheel, ...], target: Target, prefix: str) -> Mapping[str, Mapping[str, bytes]]:
        """By the wheel's digest: paths of its modules to pyc files."""
        program, build = self._python(target)
        if not build:
            return {}
        places = {one.digest: self._place(one, build, prefix) for one in wheels}
        missing = sorted(
            (one for one in wheels if not places[one.digest].is_file()), key=lambda one: (-one.size, one.digest)
        )
        if missing:
            self._compile(program, [(one, places[one.digest]) for one in missing], prefix)
        return {digest: _read(place) for digest, place in places.items()}

    def of_sources(self, sources: Mapping[str, bytes], target: Target) -> Mapping[str, bytes]:
        """Absolute paths of modules in the image with their sources: to pyc files."""
        _, build = self._python(target)
        if not build or build != _own():
            return {}
        made: dict[str, bytes] = {}
        for path, source in sources.items():
            name = hashlib.sha256(f"{build}\0{path}\0".encode() + source).hexdigest()
            pyc = self._module(self._root / "modules" / f"{name}.pyc", source, path)
            if pyc:
                made[path] = pyc
        return made

    # -- inside -------------------------------------------------------------------------------------------

    def _python(self, target: Target) -> tuple[str, str]:
        """Program and build of the target's Python; two empty strings where there is none."""
        if target.python == f"{sys.version_info[0]}.{sys.version_info[1]}":
            return sys.executable, _own()
        if target.python not in self._builds:
            self._builds[target.python] = self._other(target.python)
        return self._builds[target.python]

    def _other(self, version: str) -> tuple[str, str]:
        program = shutil.which(f"python{version}", path=self._search)
        if program is None:
            return "", ""
        asked = subprocess.run(
            [program, "-I", "-S", "-c", _ASK], capture_output=True, text=True, timeout=20, check=False
        )
        return (program, asked.stdout.strip()) if asked.returncode == 0 else ("", "")

    def _place(self, wheel: Wheel, build: str, prefix: str) -> Path:
        name = hashlib.sha256(f"{wheel.digest}\n{build}\n{prefix}".encode()).hexdigest()
        return self._root / f"{name}.pycs"

    def _compile(self, program: str, tasks: list[tuple[Wheel, Path]], prefix: str) -> None:
        self._root.mkdir(parents=True, exist_ok=True)
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        shares = [share for share in (tasks[number::cores] for number in range(cores)) if share]
        with tempfile.TemporaryDirectory(prefix=".compiling-", dir=self._root) as folder:
            running = []
            for share in shares:
                orders = [(str(one.path), prefix, str(Path(folder) / place.name)) for one, place in share]
                process = subprocess.Popen(
                    [program, "-I", "-S", bytecode_worker.__file__], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL,
                    stderr=subprocess.PIPE, env=_ENVIRONMENT, text=True,
                )  # fmt: skip
                running.append((process, json.dumps(orders)))
            _finish(running)
            for _, place in tasks:
                (Path(folder) / place.name).replace(place)

    def _module(self, place: Path, source: bytes, path: str) -> bytes:
        """The pyc of one module, from the cache where it is; empty where the module does not compile."""
        try:
            return place.read_bytes()
        except FileNotFoundError:
            pyc = bytecode_worker.compiled(source, path) or b""
        try:
            place.parent.mkdir(parents=True, exist_ok=True)
            aside = place.with_suffix(f".{os.getpid()}-{threading.get_ident()}")
            aside.write_bytes(pyc)
            aside.replace(place)
        except OSError as error:
            raise ExternalError("bytecode", f"a compiled module could not be kept: {error}") from error
        return pyc


def _finish(running: list[tuple[subprocess.Popen[str], str]]) -> None:
    """Hand out the orders to all, then wait for all; none outlives this."""
    try:
        for process, orders in running:
            if process.stdin is not None:
                process.stdin.write(orders)
                process.stdin.close()
                process.stdin = None
        for process, _ in running:
            _, said = process.communicate(timeout=_SECONDS)
            if process.returncode != 0:
                raise ExternalError("bytecode", f"modules could not be compiled: {said.strip()[-500:]}")
    except (OSError, subprocess.TimeoutExpired) as error:
        raise ExternalError("bytecode", f"modules could not be compiled: {error}") from error
    finally:
        for process, _ in running:
            if process.poll() is None:
                process.kill()
                process.wait()


def _own() -> str:
    return f"{sys.implementation.cache_tag}/{'.'.join(map(str, sys.version_info[:3]))}"


def _read(place: Path) -> Mapping[str, bytes]:
    with zipfile.ZipFile(place) as archive:
        return {name: archive.read(name) for name in archive.namelist()}

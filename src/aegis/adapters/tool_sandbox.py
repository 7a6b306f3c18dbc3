"""`Tool`: programs of others, in a directory and an environment of their own, within limits.

Each run is its own session; when its time is up, or it has ended, its whole process group is killed. It sees PATH,
a home and a temporary folder of its own, and what it is given; nothing of the caller's environment. Memory is bound
by an address space limit. Where the kernel lets this user make namespaces, a run without network has none;
`isolates_network` says whether that is so here. A run that names what it `sees` is shut in by `executor_init.confined`, where the
kernel has Landlock (`isolates_files`); any other is no jail for hostile code: jobs are isolated by the executor.
"""

from __future__ import annotations

import contextlib
import fnmatch
import functools
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Final

from aegis.adapters.executor_init import confined
from aegis.core.errors import ExternalError, UserError
from aegis.core.ports import ToolLimits, ToolResult

_UNLIMITED: Final = ToolLimits()
_STREAM_LIMIT: Final = 32 * 1024 * 1024
_OUTPUT_LIMIT: Final = 1024 * 1024 * 1024
_NO_NETWORK: Final = ("unshare", "--user", "--map-current-user", "--net", "--")
_SOURCE: Final = str(Path(__file__).parents[2])
_CONFINED: Final = (
    sys.executable, "-I", "-S", "-c",
    f"import sys; sys.path.insert(0, {_SOURCE!r}); from aegis.adapters.executor_init.confined import main; main()",
)  # fmt: skip
_LIMITED: Final = 'ulimit -c 0 2>/dev/null; [ "$1" = 0 ] || ulimit -v "$1" || exit 126; shift; exec "$@"'
_MENDS: Final = {
    "uv": "python -m pip install uv",
    "git": "apt-get install git",
    "skopeo": "apt-get install skopeo",
    "buildah": "apt-get install buildah",
}


class SandboxTool:
    """Runs programs found on `path` (a PATH value). `scratch` is where fresh directories are made."""

    def __init__(self, *, path: str, scratch: Path | None = None) -> None:
        self._path = path
        self._scratch = scratch

    @property
    def isolates_network(self) -> bool:
        """Whether a run without network really has none on this machine."""
        return _can_leave_network()

    @property
    def isolates_files(self) -> bool:
        """Whether a run that names what it sees really sees nothing else on this machine."""
        return confined.version() > 0

    def run(
        self,
        argv: Sequence[str],
        *,
        inputs: Mapping[str, bytes] | None = None,
        outputs: Sequence[str] = (),
        directory: str | None = None,
        environment: Mapping[str, str] | None = None,
        limits: ToolLimits = _UNLIMITED,
    ) -> ToolResult:
        """Run it. `directory` works in place instead of in a fresh one. A missing program is `ExternalError`.

        `outputs` are relative paths or patterns (`dist/*`). A run beyond its time is an `ExternalError`, too.
        """
        program = shutil.which(argv[0], path=self._path)
        if program is None:
            hint = _MENDS.get(argv[0], f"install {argv[0]} and put it on PATH")
            raise ExternalError("tool-missing", f"the program {argv[0]} is not installed", hint=hint)
        with tempfile.TemporaryDirectory(prefix="aegis-tool-", dir=self._scratch) as own:
            work = Path(directory) if directory is not None else Path(own) / "work"
            home, temporary = Path(own) / "home", Path(own) / "tmp"
            for folder in (home, temporary, *((work,) if directory is None else ())):
                folder.mkdir()
            for name, data in (inputs or {}).items():
                _write(work, name, data)
            seen = {
                "PATH": self._path, "HOME": str(home), "TMPDIR": str(temporary), "LANG": "C.UTF-8",
                **(environment or {}),
            }  # fmt: skip
            code, stdout, stderr = _execute([program, *argv[1:]], work, seen, limits, Path(own))
            return ToolResult(exit_code=code, outputs=_collect(work, outputs), stdout=stdout, stderr=stderr)


def _execute(
    argv: list[str], work: Path, environment: Mapping[str, str], limits: ToolLimits, own: Path
) -> tuple[int, bytes, bytes]:
    wrapped = ["/bin/sh", "-c", _LIMITED, "sh", str(limits.memory // 1024), *argv]
    if limits.sees is not None and confined.version():
        read = [*limits.sees, argv[0], os.path.realpath(argv[0])]
        write = [str(work), *(str(own / name) for name in ("home", "tmp"))]
        wrapped = [*_CONFINED, json.dumps({"read": read, "write": write, "network": limits.network}), *wrapped]
    elif not limits.network and _can_leave_network():
        wrapped = [*_NO_NETWORK, *wrapped]
    with (own / "stdout").open("w+b") as stdout, (own / "stderr").open("w+b") as stderr:
        process = subprocess.Popen(
            wrapped, cwd=work, env=dict(environment), stdin=subprocess.DEVNULL, stdout=stdout, stderr=stderr,
            start_new_session=True,
        )  # fmt: skip
        try:
            code = process.wait(timeout=limits.seconds)
        except subprocess.TimeoutExpired:
            last = _text(stderr)[-2000:].decode("utf-8", "replace").strip()
            raise ExternalError(
                "tool-timeout", f"{Path(argv[0]).name} was stopped after {limits.seconds:g} s: {last}", retryable=True
            ) from None  # fmt: skip
        finally:
            # Whatever the program left running goes with it, also when this thread is interrupted.
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        return code, _text(stdout), _text(stderr)


def _text(file: IO[bytes]) -> bytes:
    size = file.seek(0, os.SEEK_END)
    file.seek(max(0, size - _STREAM_LIMIT))
    return file.read()


@functools.cache
def _can_leave_network() -> bool:
    if shutil.which(_NO_NETWORK[0]) is None:
        return False
    try:
        return subprocess.run([*_NO_NETWORK, "true"], capture_output=True, timeout=10, check=False).returncode == 0
    except (OSError, subprocess.TimeoutExpired):
        return False


def _write(work: Path, name: str, data: bytes) -> None:
    target = work / name
    if name.startswith("/") or ".." in Path(name).parts:
        raise UserError("tool-input", f"the input {name!r} leads out of the directory")
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(data)


def _collect(work: Path, wanted: Sequence[str]) -> Mapping[str, bytes]:
    found: dict[str, bytes] = {}
    total = 0
    for pattern in wanted:
        for path in _matching(work, pattern):
            if path.is_symlink() or not path.is_file() or not path.resolve().is_relative_to(work.resolve()):
                continue
            total += path.stat().st_size
            if total > _OUTPUT_LIMIT:
                raise ExternalError("tool-output", f"the outputs are larger than {_OUTPUT_LIMIT} bytes")
            found[path.relative_to(work).as_posix()] = path.read_bytes()
    return found


def _matching(work: Path, pattern: str) -> Iterator[Path]:
    if not any(sign in pattern for sign in "*?["):
        yield work / pattern
        return
    folder = work / Path(pattern).parent
    if folder.is_dir():
        yield from sorted(one for one in folder.iterdir() if fnmatch.fnmatch(one.name, Path(pattern).name))

"""What of this machine its jobs may use: programs, what those need, and the settings that are passed on."""

from __future__ import annotations

import contextlib
import hashlib
import os
import platform
import sys
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import aegis
from aegis.adapters.machine_registries import addresses
from aegis.execution.environment import SYSTEM_PATH
from aegis.execution.network import Network, registries

_PASSED: Final = (
    "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "no_proxy", "all_proxy",
    "SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "GIT_SSL_CAINFO", "NODE_EXTRA_CA_CERTS",
    "PIP_CERT", "PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL", "PIP_FIND_LINKS", "PIP_DEFAULT_TIMEOUT",
    "PIP_DISABLE_PIP_VERSION_CHECK", "UV_DEFAULT_INDEX", "UV_INDEX", "UV_INDEX_URL", "UV_NATIVE_TLS", "UV_SYSTEM_CERTS",
    "UV_FIND_LINKS",
)  # fmt: skip
_FILES: Final = frozenset(
    {"SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "GIT_SSL_CAINFO", "NODE_EXTRA_CA_CERTS"}
    | {"PIP_CERT", "PIP_FIND_LINKS", "UV_FIND_LINKS"}
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """What of this machine jobs may use. `tool_paths` are directories of programs, `read_only` what those need."""

    tool_paths: tuple[Path, ...]
    read_only: tuple[Path, ...]
    passthrough: Mapping[str, str]

    def identity(self) -> str:
        """What tells apart what jobs run with here: the system, its packages, the directories of programs, this program."""
        known = [aegis.__version__, sys.version, platform.machine()]
        for path in (
            Path("/etc/os-release"),
            Path("/var/lib/dpkg/status"),
            Path("/lib/apk/db/installed"),
            *self.tool_paths,
        ):
            with contextlib.suppress(OSError):
                found = path.stat()
                known.append(f"{path} {found.st_mtime_ns} {found.st_size}")
        return f"machine:{hashlib.sha256(repr(known).encode()).hexdigest()}"


def machine(environ: Mapping[str, str], *, whole_path: bool, hide: Path | None = None) -> Machine:
    """The machine as jobs may see it. With `whole_path` every directory of PATH, as a local run wants; else Aegis's own.

    Of a directory `…/bin` its parent is shown as well, since programs look for their libraries there; but never a home
    directory or `~/.local`, which hold more than programs, nor anything that holds the directory `hide`.
    """
    own = [Path(sys.prefix) / "bin"]
    paths = [*own, *(Path(one) for one in environ.get("PATH", "").split(os.pathsep) if one)] if whole_path else own
    tools = [
        path for path in dict.fromkeys(paths) if path.is_absolute() and path.is_dir() and str(path) not in SYSTEM_PATH
    ]
    home = Path(environ.get("HOME", "/nonexistent"))
    shown = {Path(sys.prefix), Path(sys.base_prefix), Path(aegis.__file__).parent.parent}
    shown |= {
        path.parent for path in tools if path.name in {"bin", "shims", "sbin"} and _only_programs(path.parent, home)
    }
    passed = {name: environ[name] for name in _PASSED if environ.get(name)}
    shown |= {
        Path(passed[name])
        for name in _FILES & passed.keys()
        if passed[name].startswith("/") and Path(passed[name]).exists()
    }
    shown -= {Path("/"), home}
    if hide is not None:
        shown -= {path for path in shown if hide.resolve().is_relative_to(path.resolve())}
    return Machine(tool_paths=tuple(tools), read_only=tuple(sorted(shown)), passthrough=passed)


def _only_programs(parent: Path, home: Path) -> bool:
    return parent not in {Path("/"), home, home / ".local"} and not home.is_relative_to(parent)


class Near:
    """The package registries that this machine's tools use. They are looked for in a thread, since tools are asked."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._environ = environ
        self._found = registries(())
        self._thread = threading.Thread(target=self._look, name="registries", daemon=True)
        self._thread.start()

    def _look(self) -> None:
        self._found = registries(addresses(self._environ))

    def network(self) -> Network:
        """What jobs may reach by the policy `registries`; waits for the search to end."""
        self._thread.join()
        return self._found

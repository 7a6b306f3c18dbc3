"""What a build knows of its surroundings: the job's variables first, then Git, then nothing.

The only place where building reads the environment. A working tree with changes has no revision, so that no image
claims to be a commit that it is not.
"""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from aegis.adapters.tool_sandbox import SandboxTool
from aegis.build.image import Facts
from aegis.build.target import Target
from aegis.core.errors import ExternalError, UserError
from aegis.core.ports import ToolLimits

_TRUSTED: Final = ToolLimits(seconds=20, network=True)
_PASSED_ON: Final = ("UV_", "SSL_CERT_", "PIP_INDEX", "PIP_EXTRA")
_PASSED_ON_NAMES: Final = frozenset(
    {"HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "ALL_PROXY", "NETRC", "XDG_CACHE_HOME", "XDG_CONFIG_HOME", "HOME",
     "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "USER"}
)  # fmt: skip
_ARCHITECTURES: Final = {"x86_64": "amd64", "amd64": "amd64", "aarch64": "arm64", "arm64": "arm64"}


def tool() -> SandboxTool:
    """Runs programs from PATH, and from beside this interpreter, where uv lies."""
    path = os.pathsep.join((str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)))
    return SandboxTool(path=path)


def installer_environment() -> dict[str, str]:
    """What package installers may see: their own settings, proxies, certificates. No token, no job variable."""
    return {
        key: value
        for key, value in os.environ.items()
        if key.startswith(_PASSED_ON) or key.upper() in _PASSED_ON_NAMES
    }  # fmt: skip


def builder_environment() -> dict[str, str]:
    """What builders of Dockerfiles may see besides: their own storage, isolation and addresses."""
    own = ("BUILDAH_", "CONTAINERS_", "STORAGE_", "DOCKER_", "BUILDKIT_", "BUILDX_", "REGISTRY_AUTH_FILE")
    return installer_environment() | {key: value for key, value in os.environ.items() if key.startswith(own)}


def cache_directory() -> Path:
    """Where layers are kept: AEGIS_CACHE_DIR, else the user's cache."""
    given = os.environ.get("AEGIS_CACHE_DIR")
    if given:
        return Path(given)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "aegis"


def target(python: str, architecture: str) -> Target:
    """The target: as asked for, else the version of this interpreter and the architecture of this machine."""
    machine = _ARCHITECTURES.get(platform.machine().lower(), "amd64")
    return Target(python or f"{sys.version_info[0]}.{sys.version_info[1]}", architecture or machine)


def facts(path: Path, *, written: str, version: str = "") -> tuple[Facts, list[str]]:
    """Version, revision, branch, time and source of the project at `path`, and what is worth saying about them.

    `written` is the version in pyproject.toml; `version` one that was asked for. Order of the version: asked for,
    AEGIS_VERSION, written, `0.0.0`.
    """
    seen: Mapping[str, str] = os.environ
    notes: list[str] = []
    epoch = _epoch(seen)
    revision, branch = seen.get("CI_COMMIT_SHA", ""), seen.get("CI_COMMIT_REF_NAME", "")
    if not revision:
        revision, branch, time = _git(path)
        epoch = time if epoch is None else epoch
        if revision.endswith("+"):
            notes.append(f"the working tree has changes, so the image does not claim to be {revision[:8]}")
            revision = ""
    known = version or seen.get("AEGIS_VERSION", "") or written or "0.0.0"
    source = seen.get("CI_PROJECT_URL", "")
    return Facts(version=known, revision=revision, source=source, branch=branch, epoch=epoch or 0), notes


def _epoch(seen: Mapping[str, str]) -> int | None:
    text = seen.get("SOURCE_DATE_EPOCH", "")
    if not text:
        return None
    if not text.isdigit():
        raise UserError("source-date-epoch", f"SOURCE_DATE_EPOCH={text!r} is not a number of seconds")
    return int(text)


def _own_cache(path: Path) -> list[str]:
    """What keeps a cache directory inside of the project from counting as a change of it."""
    kept, root = cache_directory().resolve(), path.resolve()
    return [f":!{kept.relative_to(root).as_posix()}"] if kept.is_relative_to(root) and kept != root else []


def _git(path: Path) -> tuple[str, str, int | None]:
    """Commit (with `+` where tracked files have changes), branch and time; nothing outside a repository."""
    runner = tool()
    try:
        log = runner.run(["git", "log", "-1", "--format=%H %ct"], directory=str(path), limits=_TRUSTED)
        if log.exit_code != 0:
            return "", "", None
        head = runner.run(["git", "symbolic-ref", "-q", "--short", "HEAD"], directory=str(path), limits=_TRUSTED)
        status = ["git", "status", "--porcelain", "--", ".", ":!.aegis-image", ":!.aegis", *_own_cache(path)]
        changed = runner.run(status, directory=str(path), limits=_TRUSTED)
    except ExternalError:
        return "", "", None  # no Git here: nothing is known of a commit, and nothing is claimed
    commit, _, time = log.stdout.decode().strip().partition(" ")
    dirty = "+" if changed.stdout.strip() else ""
    return commit + dirty, head.stdout.decode().strip(), int(time)

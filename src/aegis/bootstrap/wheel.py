"""Puts together what `aegis wheel` needs, and runs it in this process."""

from __future__ import annotations

import os
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from aegis.adapters.backend_uv import UvBackends
from aegis.adapters.tree_directory import DirectoryTree
from aegis.bootstrap import build_facts
from aegis.build import wheel
from aegis.build.application import read_project
from aegis.build.locks import Locked, everything
from aegis.core.errors import Denied, ExternalError, UserError
from aegis.core.ids import sha256

if TYPE_CHECKING:
    from aegis.supplychain.signing import Authority


@dataclass(frozen=True, slots=True, kw_only=True)
class FileReport:
    """One built file."""

    filename: str
    digest: str
    size: int


@dataclass(frozen=True, slots=True, kw_only=True)
class WheelReport:
    """What `aegis wheel build` did. `forced` says that the server's version was written in.

    `network` is what the project's own build code could reach; `shut_in` whether it saw and wrote its own directories only.
    """

    name: str
    version: str
    forced: bool
    files: tuple[FileReport, ...]
    path: str
    seconds: float
    network: str
    shut_in: bool
    published: str = ""


def build_wheel(
    path: Path, *, output: Path | None, version: str, publish: bool, repository_url: str, allow_network: bool = False
) -> WheelReport:
    """Build into `output` (default: `dist/` of the project), and publish when that was asked for."""
    started = time.monotonic()
    if not path.is_dir():
        raise UserError("no-folder", f"there is no folder {path}", hint="give the project's folder")
    url = _upload_url(repository_url) if publish else ""
    tree = DirectoryTree(path)
    project = read_project(tree, name=path.resolve().name)
    facts, _ = build_facts.facts(path, written=project.version, version=version)
    given = version or os.environ.get("AEGIS_VERSION", "")
    forced = given if version or wheel.is_managed(tree) else ""
    environment = build_facts.installer_environment()
    index = os.environ.get("AEGIS_INDEX_URL", "")
    if index:
        environment["UV_INDEX"] = f"{index} {environment.get('UV_INDEX', '')}".strip()
    tool = build_facts.tool()
    made = wheel.build_distributions(
        tree,
        wheel.Wanted(
            epoch=facts.epoch, version=forced, python=sys.executable, locked=_locked(tree), network=allow_network
        ),
        backends=UvBackends(tool, environment=environment),
    )  # fmt: skip
    folder = output or path / "dist"
    _write(folder, made)
    if publish:
        _publish(url, made)
    return WheelReport(
        name=project.name, version=next(one for one in made if one.filename.endswith(".whl")).filename.split("-")[1],
        forced=bool(forced), path=str(folder), seconds=round(time.monotonic() - started, 3),
        files=tuple(FileReport(filename=one.filename, digest=sha256(one.data), size=len(one.data)) for one in made),
        published=_shown(url), network="all" if allow_network else "none", shut_in=tool.isolates_files,
    )  # fmt: skip


def _locked(tree: DirectoryTree) -> tuple[Locked, ...]:
    """Everything that the project's lock pins, since it may be built with any of it."""
    from aegis.core.locks import NAMES  # noqa: PLC0415 - start-up is a feature

    name = next((one for one in NAMES if tree.exists(one)), "")
    return everything(name, tree.read(name)) if name else ()


def publish_files(paths: tuple[Path, ...], *, repository_url: str) -> str:
    """Publish built files; the index, without credentials."""
    url = _upload_url(repository_url)
    made = []
    for path in paths:
        try:
            data = path.read_bytes()
        except OSError as error:
            raise UserError("no-file", f"{path} cannot be read: {error.strerror}") from error
        made.append(wheel.Distribution(filename=path.name, data=data, metadata=wheel.read_metadata(path.name, data)))
    _publish(url, tuple(made))
    return _shown(url)


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckedFile:
    """A built file and what speaks against publishing it."""

    filename: str
    problems: tuple[str, ...]


def check_files(paths: tuple[Path, ...]) -> tuple[CheckedFile, ...]:
    """What an index or an installer would refuse the files for."""
    found = []
    for path in paths:
        try:
            data = path.read_bytes()
        except OSError as error:
            raise UserError("no-file", f"{path} cannot be read: {error.strerror}") from error
        found.append(CheckedFile(filename=path.name, problems=wheel.problems(path.name, data)))
    return tuple(found)


def sbom_of(file: Path, project: Path) -> bytes:
    """The CycloneDX document of a built wheel, with the versions of the project's lock."""
    from datetime import UTC, datetime  # noqa: PLC0415 - start-up is a feature

    from aegis import __version__  # noqa: PLC0415 - as above
    from aegis.supplychain import locks, sbom  # noqa: PLC0415 - as above

    try:
        data = file.read_bytes()
    except OSError as error:
        raise UserError("no-file", f"{file} cannot be read: {error.strerror}") from error
    tree = DirectoryTree(project)
    lock = next((name for name in locks.NAMES if tree.exists(name)), "")
    facts, _ = build_facts.facts(project, written="")
    return sbom.wheel_document(
        wheel.read_metadata(file.name, data), locks.packages_of(lock, tree.read(lock)) if lock else (),
        digest=sha256(data), commit=facts.revision, made_at=datetime.fromtimestamp(facts.epoch, UTC),
        tool_version=__version__,
    )  # fmt: skip


def verify(file: Path, index: str, authority: Authority) -> str:
    """The digest of a file whose provenance, as its index serves it, is vouched for; `Denied` otherwise."""
    from aegis.adapters.provenance_http import IndexProvenance  # noqa: PLC0415 - start-up is a feature
    from aegis.supplychain.packages import canonical  # noqa: PLC0415 - as above
    from aegis.supplychain.published import verified  # noqa: PLC0415 - as above

    try:
        digest = sha256(file.read_bytes())
    except OSError as error:
        raise UserError("no-file", f"{file} cannot be read: {error.strerror}") from error
    asked = IndexProvenance(index)
    try:
        found = [one for _, _, one in asked.of(canonical(file.name.partition("-")[0]), frozenset({digest}))]
    finally:
        asked.close()
    if not found:
        raise Denied("unsigned", f"the index serves no provenance for {file.name} with {digest[:19]}")
    why = verified(found[0], digest, authority)
    if why:
        raise Denied("bad-signature", f"no attestation of {file.name} is trusted: {why}")
    return digest


def _write(folder: Path, made: tuple[wheel.Distribution, ...]) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for one in made:
            aside = folder / f".{one.filename}"
            aside.write_bytes(one.data)
            aside.replace(folder / one.filename)
    except OSError as error:
        raise ExternalError("wheel-output", f"{folder} cannot be written: {error.strerror}") from error


def _upload_url(given: str) -> str:
    url = given or os.environ.get("AEGIS_UPLOAD_URL", "")
    if not url:
        hint = "give --repository-url URL, or set AEGIS_UPLOAD_URL"
        raise UserError("no-index", "it is not said where to publish", hint=hint)
    return url


def _publish(url: str, made: tuple[wheel.Distribution, ...]) -> None:
    from aegis.adapters.index_http import upload  # noqa: PLC0415 - only publishing needs an HTTP client

    token = os.environ.get("AEGIS_UPLOAD_TOKEN", "")
    if not token and url == os.environ.get("AEGIS_UPLOAD_URL", ""):
        token = os.environ.get("CI_JOB_TOKEN", "")  # the job's token goes to the job's index only
    for one in made:
        upload(url, one.filename, one.data, one.metadata, user="job" if token else "", password=token)


def _shown(url: str) -> str:
    scheme, separator, rest = url.partition("://")
    return f"{scheme}{separator}{rest.rpartition('@')[2]}"

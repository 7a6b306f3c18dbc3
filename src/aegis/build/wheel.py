"""Builds a library's wheel and sdist, the same bytes for the same commit.

The project is copied without its history, its version is written in where the server decides versions, its own
build backend does the rest through the `Backends` port, shut in and without network unless that is allowed. The sdist is packed anew, since backends stamp the time into it.
What is published, and whether it may be, is decided elsewhere.
"""

from __future__ import annotations

import gzip
import io
import re
import tarfile
import tomllib
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from aegis.build.image import python_version
from aegis.build.locks import Locked
from aegis.build.ports import Backends, Sources, Tree
from aegis.build.wheelfile import read_wheel
from aegis.core.errors import CheckFailed, ExternalError, UserError, Where

_SECTION: Final = re.compile(r"^\s*\[", re.MULTILINE)
_VERSION_LINE: Final = re.compile(r"^version\s*=[^\n]*\n?", re.MULTILINE)
_DYNAMIC: Final = re.compile(r"^dynamic\s*=\s*\[[^\]]*\]", re.MULTILINE)
_LEFT_OUT: Final = ("dist/", "build/")
_STALE: Final = frozenset({"PKG-INFO"})  # of the sdist that a project was taken from: backends would keep it


@dataclass(frozen=True, slots=True, kw_only=True)
class Distribution:
    """A built file: name, content, core metadata."""

    filename: str
    data: bytes
    metadata: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What to build. `version` is empty where the project keeps its own; `python` is an interpreter's path.

    `locked` holds for what it is built with; `network` lets its own code reach others.
    """

    epoch: int
    version: str = ""
    python: str = ""
    locked: tuple[Locked, ...] = ()
    network: bool = False


def build_distributions(tree: Tree, wanted: Wanted, *, backends: Backends) -> tuple[Distribution, ...]:
    """The wheel and (first) the sdist it was built from. `CheckFailed` when the project does not build."""
    sources = [one.path for one in tree.files() if not one.path.startswith(_LEFT_OUT) and one.path not in _STALE]
    inputs = {path: tree.read(path) for path in sources}
    if not {"pyproject.toml", "setup.py"} & set(inputs):
        raise UserError(
            "no-project", "there is neither pyproject.toml nor setup.py", hint="aegis check says what is here"
        )
    if wanted.version and "pyproject.toml" in inputs:
        inputs["pyproject.toml"] = with_version(inputs["pyproject.toml"], python_version(wanted.version))
    seen = {"SOURCE_DATE_EPOCH": str(max(wanted.epoch, 315532800))}
    if wanted.version:
        # Backends that ask the version control system find none here: setuptools-scm, hatch-vcs, pdm-backend.
        forced = python_version(wanted.version)
        seen |= {"SETUPTOOLS_SCM_PRETEND_VERSION": forced, "PDM_BUILD_SCM_VERSION": forced}
    done = backends.build(
        Sources(
            files=inputs, python=wanted.python, kinds=("sdist", "wheel"), environment=seen, locked=wanted.locked,
            network=wanted.network,
        )
    )  # fmt: skip
    if not done.files:
        hint = "try the same with: uv build"
        if not wanted.network:
            hint += "; its build has no network and sees nothing of this machine but programs: --allow-network gives it the network"
        raise CheckFailed("wheel-build", f"the project does not build: {done.said}", hint=hint)
    made = []
    for path, data in sorted(done.files.items()):
        name = path.rsplit("/", 1)[-1]
        packed = repack_sdist(data, wanted.epoch) if name.endswith(".tar.gz") else data
        made.append(Distribution(filename=name, data=packed, metadata=read_metadata(name, packed)))
    if not any(one.filename.endswith(".whl") for one in made):
        raise ExternalError("wheel-build", "the build ended well and left no wheel")
    return tuple(made)


def is_managed(tree: Tree) -> bool:
    """Whether the server decides this project's version: it is dynamic, or `[tool.aegis] version = "managed"`."""
    if not tree.exists("pyproject.toml"):
        return False
    data = _parsed(tree.read("pyproject.toml"))
    project = data.get("project", {})
    return "version" in project.get("dynamic", ()) or data.get("tool", {}).get("aegis", {}).get("version") == "managed"


def with_version(pyproject: bytes, version: str) -> bytes:
    """pyproject.toml with `version` as its static version and nothing else changed; `UserError` where that fails."""
    text = pyproject.decode()
    before = _parsed(pyproject)
    table = "project" if "project" in before else "tool.poetry"
    header = re.search(rf"^\s*\[\s*{re.escape(table)}\s*\][^\n]*\n?", text, re.MULTILINE)
    if header is None:
        raise UserError(
            "version-place", f"there is no [{table}] section to write the version into",
            hint="write the section with its own header line", where=Where("pyproject.toml"),
        )  # fmt: skip
    following = _SECTION.search(text, header.end())
    end = following.start() if following else len(text)
    body = _VERSION_LINE.sub("", text[header.end() : end])
    body = _DYNAMIC.sub(_without_version, body)
    head = text[: header.end()] if text[: header.end()].endswith("\n") else f"{text[: header.end()]}\n"
    after = f'{head}version = "{version}"\n{body}{text[end:]}'
    if _parsed(after.encode()) != _expected(before, table, version):
        raise UserError(
            "version-place", "the version could not be written into pyproject.toml without changing more",
            hint="put `version` and `dynamic` on lines of their own", where=Where("pyproject.toml"),
        )  # fmt: skip
    return after.encode()


def _without_version(match: re.Match[str]) -> str:
    names = [name for name in tomllib.loads(match[0])["dynamic"] if name != "version"]
    return f"dynamic = {names!r}".replace("'", '"')


def _expected(before: Mapping[str, Any], table: str, version: str) -> dict[str, Any]:
    changed: dict[str, Any] = dict(before)
    if table == "project":
        project = {**before["project"], "version": version}
        if "dynamic" in project:
            project["dynamic"] = [name for name in project["dynamic"] if name != "version"]
        return {**changed, "project": project}
    poetry = {**before["tool"]["poetry"], "version": version}
    return {**changed, "tool": {**before["tool"], "poetry": poetry}}


def _parsed(data: bytes) -> dict[str, Any]:
    try:
        return tomllib.loads(data.decode())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        where = Where("pyproject.toml")
        raise UserError("pyproject", f"pyproject.toml cannot be read: {error}", where=where) from error


def repack_sdist(data: bytes, epoch: int) -> bytes:
    """The sdist with sorted members, one time stamp, no owner; `ExternalError` when it is broken."""
    packed = io.BytesIO()
    try:
        with (
            tarfile.open(fileobj=io.BytesIO(data), mode="r:gz") as source,
            gzip.GzipFile(fileobj=packed, mode="wb", filename="", mtime=0) as squeezed,
            tarfile.open(fileobj=squeezed, mode="w", format=tarfile.PAX_FORMAT) as target,
        ):
            last = {
                member.name: member for member in source.getmembers()
            }  # the last of a name is what unpacking leaves
            for _, member in sorted(last.items()):
                kept = tarfile.TarInfo(member.name)
                kept.type, kept.linkname, kept.size, kept.mtime = member.type, member.linkname, member.size, epoch
                kept.mode = 0o755 if member.isdir() or member.mode & 0o100 else 0o644
                target.addfile(kept, source.extractfile(member) if member.isfile() else None)
    except (tarfile.TarError, OSError, EOFError) as error:
        raise ExternalError("sdist-broken", f"the backend wrote a broken sdist: {error}") from error
    return packed.getvalue()


def read_metadata(name: str, data: bytes) -> bytes:
    """The core metadata of a wheel or sdist; `UserError` where there is none."""
    import zipfile  # noqa: PLC0415 - needed only after a build

    try:
        if name.endswith(".whl"):
            with zipfile.ZipFile(io.BytesIO(data)) as archive:
                return archive.read(_only(archive.namelist(), ".dist-info/METADATA"))
        with tarfile.open(fileobj=io.BytesIO(data), mode="r:gz") as sdist:
            file = sdist.extractfile(_only(sdist.getnames(), "/PKG-INFO"))
            return file.read() if file else b""
    except (zipfile.BadZipFile, tarfile.TarError, OSError, EOFError, zlib.error) as error:
        raise UserError("no-distribution", f"{name} cannot be read: {error}") from error


def _only(names: list[str], ending: str) -> str:
    found = {one for one in names if one.endswith(ending) and one.count("/") == 1}
    if len(found) != 1:
        raise UserError("no-distribution", f"there is no one *{ending} in it", hint="is it a wheel or sdist?")
    return found.pop()


def problems(name: str, data: bytes) -> tuple[str, ...]:
    """What an index or an installer would refuse a built file for; nothing for one that is in order."""
    from packaging.metadata import InvalidMetadata, Metadata  # noqa: PLC0415 - needed only before publishing

    found: list[str] = []
    try:
        metadata = Metadata.from_email(read_metadata(name, data), validate=True)
        said = canonical_parts(name)
        if (re.sub(r"[-_.]+", "_", metadata.name).lower(), str(metadata.version)) != said:
            found.append(f"its metadata speaks of {metadata.name} {metadata.version}")
        if not metadata.summary:
            found.append("it has no summary (`description` in pyproject.toml)")
    except ExceptionGroup as group:
        found += [str(one) for one in group.exceptions if isinstance(one, InvalidMetadata)] or [str(group)]
    except (UserError, ValueError) as error:
        found.append(getattr(error, "message", str(error)))
    if name.endswith(".whl"):
        try:
            held = read_wheel(name, io.BytesIO(data), prefix="lib", bytecode={}, tag="")
            for entry in held.entries:
                entry.read()
        except ExternalError as error:
            found.append(error.message)
    return tuple(found)


def canonical_parts(name: str) -> tuple[str, str]:
    """Project (with `_`) and version that a file name says; `ValueError` for one that is no distribution's."""
    from packaging.utils import InvalidSdistFilename, InvalidWheelFilename, parse_sdist_filename, parse_wheel_filename  # noqa: PLC0415 - as above

    try:
        project, version = parse_wheel_filename(name)[:2] if name.endswith(".whl") else parse_sdist_filename(name)
    except (InvalidWheelFilename, InvalidSdistFilename) as error:
        raise ValueError(str(error)) from error
    return project.replace("-", "_"), str(version)

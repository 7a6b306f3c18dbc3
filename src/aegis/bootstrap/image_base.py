"""Puts together what `aegis image base` needs: an archive of Debian packages, a lock, an OCI layout."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from aegis.adapters.debian_apt import AptArchive
from aegis.adapters.debian_mirror import DebianMirror, Mirror
from aegis.adapters.layout_directory import OciLayout
from aegis.bootstrap import build_facts
from aegis.build.debian.base import key_of, make_base
from aegis.build.debian.lock import BaseLock, LockedPackage, read_lock, write_lock
from aegis.build.debian.package import Package, read_package
from aegis.build.debian.solve import WITHOUT, solve
from aegis.build.ports import DebianArchive
from aegis.core.errors import ExternalError, UserError

WANTED: Final = ("base-files", "ca-certificates", "netbase", "python3", "tzdata")
"""What a base for Python services is made of where nothing is named."""
LOCK: Final = "aegis-base.lock"


@dataclass(frozen=True, slots=True, kw_only=True)
class From:
    """Where packages come from: a mirror, or apt where none is named."""

    mirror: str = ""
    suites: tuple[str, ...] = ()
    components: tuple[str, ...] = ("main",)
    keyring: Path | None = None
    trusted: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class LockReport:
    """What `aegis image base lock` found. `size` is in bytes to fetch."""

    file: str
    packages: int
    size: int
    left_out: tuple[str, ...]
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class BaseReport:
    """What `aegis image base build` made. `size` is in bytes as stored; `path` is the OCI layout."""

    digest: str
    size: int
    layers: int
    packages: int
    python: str
    path: str
    seconds: float


def lock_base(
    wanted: tuple[str, ...], *, source: From, with_: tuple[str, ...], without: tuple[str, ...], architecture: str,
    file: Path,
) -> LockReport:  # fmt: skip
    """Solve a base and write its lock."""
    started = time.monotonic()
    left_out = frozenset({*WITHOUT, *without} - {*with_, *wanted})
    target = architecture or build_facts.target("", "").architecture
    names = wanted or WANTED
    chosen = solve(names, archive(source).offered(target), without=left_out)
    lock = BaseLock(
        architecture=target, wanted=tuple(sorted(names)), without=tuple(sorted(left_out)),
        packages=tuple(
            LockedPackage(
                name=one.name, version=one.version, architecture=one.architecture, path=one.path, sha256=one.sha256,
                size=one.size,
            )
            for one in chosen
        ),
    )  # fmt: skip
    _write(file, write_lock(lock))
    return LockReport(
        file=str(file), packages=len(chosen), size=sum(one.size for one in chosen), left_out=lock.without,
        seconds=round(time.monotonic() - started, 3),
    )  # fmt: skip


def build_base(file: Path, *, source: From, output: Path, tag: str = "base", compression: str = "gzip") -> BaseReport:
    """Build the base of a lock into an OCI layout; from the cache where the same packages were built before."""
    started = time.monotonic()
    lock = _read(file)
    kept = build_facts.cache_directory() / "bases" / key_of((one.sha256 for one in lock.packages), compression)
    if not (kept / "index.json").is_file():
        _make(lock, archive(source), kept, compression)
    layout, made = OciLayout(output), OciLayout(kept)
    raw = made.manifest("")
    for digest in _blobs(raw.body):
        layout.put_file(digest, made.blob_path(digest))
    layout.finish(raw, (tag,))
    layers, config = _described(layout, raw.body)
    environment = dict(one.partition("=")[::2] for one in config["config"]["Env"])
    return BaseReport(
        digest=raw.digest, size=sum(one["size"] for one in layers), layers=len(layers), packages=len(lock.packages),
        python=environment.get("PYTHON_VERSION", ""), path=str(output), seconds=round(time.monotonic() - started, 3),
    )  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class MirrorReport:
    """What `aegis image base mirror` did. `pinned` is what a project names as its base from now on."""

    pinned: str
    digest: str
    sent: int
    present: int


def mirror_base(text: str, repository: str, *, dry_run: bool = False) -> MirrorReport:
    """Copy a base from its registry into another, by digest; an index with all its platforms."""
    import tempfile  # noqa: PLC0415 - start-up is a feature

    from aegis.bootstrap.image import client, read_reference  # noqa: PLC0415 - only this needs registries

    origin, goal = read_reference(text), read_reference(repository)
    with (
        client(origin.host, origin.repository) as source,
        client(goal.host, goal.repository) as target,
        tempfile.TemporaryDirectory() as aside,
    ):
        if dry_run:
            digest, sent, present = source.manifest(origin.wanted).digest, 0, 0
        else:
            done = target.copy(source, origin.wanted, OciLayout(Path(aside)))
            digest, sent, present = done.digest, len(done.sent), len(done.present)
    return MirrorReport(
        pinned=f"{goal.host}/{goal.repository}@{digest}", digest=digest, sent=sent, present=present
    )  # fmt: skip


def locked_layout(text: str, folder: Path) -> OciLayout:
    """The layout of `lock:FILE`, built where it was not yet: what an image stands on."""
    file = folder / (text.removeprefix("lock:") or LOCK)
    output = build_facts.cache_directory() / "bases" / "latest" / key_of((str(file.resolve()),), "")
    build_base(file, source=from_environment(), output=output)
    return OciLayout(output)


def from_environment() -> From:
    """The mirror that AEGIS_DEBIAN_MIRROR names (an address and a suite), else apt."""
    import os  # noqa: PLC0415 - start-up is a feature

    words = os.environ.get("AEGIS_DEBIAN_MIRROR", "").split()
    return From(mirror=words[0], suites=tuple(words[1:]), trusted=True) if words else From()


def archive(source: From) -> DebianArchive:
    """The archive that is meant."""
    kept = build_facts.cache_directory() / "debs"
    if not source.mirror:
        return AptArchive(tool=build_facts.tool(), kept=kept)
    from aegis.adapters.egress_http import EgressRules, HttpEgress  # noqa: PLC0415 - apt needs no HTTP client here

    parts = urlsplit(source.mirror)
    host = parts.hostname or ""
    port = parts.port or (443 if parts.scheme == "https" else 80)
    egress = HttpEgress(EgressRules(allowed=(host,), private=frozenset({f"{host}:{port}"})))
    mirror = Mirror(
        url=source.mirror, suites=source.suites, components=source.components, keyring=source.keyring,
        trusted=source.trusted,
    )  # fmt: skip
    return DebianMirror(mirror, egress=egress, tool=build_facts.tool(), kept=kept)


# -- parts ------------------------------------------------------------------------------------------------


def _make(lock: BaseLock, source: DebianArchive, kept: Path, compression: str) -> None:
    files = source.fetch(lock.packages)
    read = [_package(one, data) for one, data in zip(lock.packages, files, strict=True)]
    base = make_base(read, lock.architecture, compression=compression)
    layout = OciLayout(kept)
    for _, data in base.layers:
        layout.put(data)
    layout.put(base.config)
    layout.finish(base.manifest, ())


def _package(locked: LockedPackage, data: bytes) -> tuple[Package, int]:
    found = read_package(f"{locked.name}_{locked.version}", data)
    if (found.name, found.version) != (locked.name, locked.version):
        raise ExternalError("deb-malformed", f"{locked.name} {locked.version} says it is {found.name} {found.version}")
    return found, locked.size


def _read(file: Path) -> BaseLock:
    try:
        return read_lock(str(file), file.read_bytes())
    except OSError as error:
        hint = "write it first: aegis image base lock"
        raise UserError("base-lock", f"{file} cannot be read: {error.strerror}", hint=hint) from error


def _write(file: Path, data: bytes) -> None:
    try:
        file.write_bytes(data)
    except OSError as error:
        raise UserError("base-lock", f"{file} cannot be written: {error.strerror}") from error


def _blobs(manifest: bytes) -> Iterator[str]:
    import json  # noqa: PLC0415 - start-up is a feature

    document = json.loads(manifest)
    yield document["config"]["digest"]
    yield from (one["digest"] for one in document["layers"])


def _described(layout: OciLayout, manifest: bytes) -> tuple[list[dict[str, int]], dict[str, dict[str, list[str]]]]:
    import json  # noqa: PLC0415 - as above

    document = json.loads(manifest)
    return document["layers"], json.loads(b"".join(layout.blob(document["config"]["digest"])))

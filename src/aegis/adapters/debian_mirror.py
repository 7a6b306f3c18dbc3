"""`DebianArchive` over HTTP: a mirror that is named, reached by the egress adapter, trusted by its signature.

`InRelease` is signed by a key that the caller trusts, names the digests of the package lists, and they those of the packages.
An archive without a signature is used only where the caller says so. Package files are kept by digest.
"""

from __future__ import annotations

import bz2
import gzip
import hashlib
import lzma
import os
import re
import zlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import quote

from aegis.build.debian.lock import LockedPackage
from aegis.build.debian.solve import Offered, offered
from aegis.core.control import paragraphs
from aegis.core.errors import ExternalError
from aegis.core.ports import Egress, Tool, ToolLimits

_LIST_LIMIT: Final = 128 << 20
_PACKAGE_LIMIT: Final = 1 << 30
_SECONDS: Final = 300.0
_FOUND: Final = 200
_AT_ONCE: Final = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Mirror:
    """A mirror's address with the suites and components to look in.

    `keyring` holds the keys that its signature is checked with; without one, `trusted` says that none is asked for.
    """

    url: str
    suites: tuple[str, ...]
    components: tuple[str, ...] = ("main",)
    keyring: Path | None = None
    trusted: bool = False


class DebianMirror:
    """The mirror, with package files kept under `kept`. `tool` finds gpgv."""

    def __init__(self, mirror: Mirror, *, egress: Egress, tool: Tool, kept: Path) -> None:
        self._mirror = mirror
        self._egress = egress
        self._tool = tool
        self._kept = kept

    def offered(self, architecture: str) -> Iterator[Offered]:
        """Every package for the architecture, in the order of suites and components."""
        for suite in self._mirror.suites:
            release = self._release(suite)
            for component in self._mirror.components:
                for fields in paragraphs(self._list(suite, release, f"{component}/binary-{architecture}/Packages")):
                    found = offered(fields)
                    if found is not None:
                        yield found

    def fetch(self, packages: tuple[LockedPackage, ...]) -> Iterator[bytes]:
        """The packages' files in the given order, each verified against its digest."""
        store = DebStore(self._kept)
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            yield from pool.map(
                lambda one: store.kept(one) or store.keep(one, self._get(one.path, _PACKAGE_LIMIT)), packages
            )

    # -- inside -------------------------------------------------------------------------------------------

    def _get(self, path: str, limit: int) -> bytes:
        address = f"{self._mirror.url.rstrip('/')}/{quote(path, safe='/~+:')}"
        answer = self._egress.request("GET", address, limit=limit, timeout=_SECONDS)
        if answer.status != _FOUND:
            raise ExternalError(
                "base-mirror", f"the mirror answered {answer.status} to {path}",
                hint="it may have moved on to newer packages: lock again, or name a mirror that keeps old ones",
                retryable=answer.status >= 500,
            )  # fmt: skip
        return answer.body

    def _release(self, suite: str) -> dict[str, str]:
        """Digests of the suite's files by path."""
        if self._mirror.trusted:
            text = self._unsigned(suite)
        else:
            signed = self._get(f"dists/{suite}/InRelease", _LIST_LIMIT)
            text = self._verified(suite, signed)
        for fields in paragraphs(text):
            if "SHA256" in fields:
                rows = (line.split() for line in fields["SHA256"].splitlines())
                return {row[2]: row[0] for row in rows if len(row) == 3}
        raise ExternalError("base-mirror", f"the suite {suite} lists no sha256 digests")

    def _unsigned(self, suite: str) -> str:
        try:
            return self._get(f"dists/{suite}/Release", _LIST_LIMIT).decode("utf-8", "replace")
        except ExternalError:
            signed = self._get(f"dists/{suite}/InRelease", _LIST_LIMIT).decode("utf-8", "replace")
            return _inside(signed)

    def _verified(self, suite: str, signed: bytes) -> str:
        if self._mirror.keyring is None:
            raise ExternalError(
                "base-unsigned", f"no key is named that {suite} of the mirror would be trusted by",
                hint="give --keyring FILE, or --trusted where the mirror is your own",
            )  # fmt: skip
        keyring = self._mirror.keyring.read_bytes()
        argv = ["gpgv", "--keyring", "./keyring.gpg", "--output", "text", "InRelease"]
        inputs = {"keyring.gpg": keyring, "InRelease": signed}
        done = self._tool.run(argv, inputs=inputs, outputs=("text",), limits=ToolLimits(seconds=60))
        if done.exit_code != 0 or "text" not in done.outputs:
            said = done.stderr.decode("utf-8", "replace").strip()[-600:]
            raise ExternalError(
                "base-signature", f"the signature of {suite} does not hold: {said}",
                hint="do not use this mirror, or name the keyring that it is signed with",
            )  # fmt: skip
        return done.outputs["text"].decode("utf-8", "replace")

    def _list(self, suite: str, release: dict[str, str], path: str) -> str:
        for ending, unpack in (
            (".xz", lzma.decompress),
            (".gz", gzip.decompress),
            (".bz2", bz2.decompress),
            ("", bytes),
        ):
            wanted = release.get(f"{path}{ending}")
            if wanted is None:
                continue
            data = self._get(f"dists/{suite}/{path}{ending}", _LIST_LIMIT)
            if hashlib.sha256(data).hexdigest() != wanted:
                raise ExternalError(
                    "base-mirror", f"{path}{ending} of {suite} is not what its release file says",
                    hint="the mirror is being updated, or was tampered with: try again, then another mirror", retryable=True,
                )  # fmt: skip
            try:
                return unpack(data).decode("utf-8", "replace")
            except (lzma.LZMAError, zlib.error, OSError, EOFError, ValueError) as error:
                raise ExternalError("base-mirror", f"{path}{ending} of {suite} is broken: {error}") from error
        raise ExternalError("base-mirror", f"the suite {suite} has no {path}", hint="is the component right?")


def _inside(signed: str) -> str:
    """What a clear-signed text says, unverified."""
    body = re.sub(r"\A-----BEGIN PGP SIGNED MESSAGE-----\n(?:.+\n)*\n", "", signed)
    return body.partition("-----BEGIN PGP SIGNATURE-----")[0]


class DebStore:
    """Package files by digest under `path`; what it gives has been hashed."""

    def __init__(self, path: Path) -> None:
        self._root = path

    def kept(self, package: LockedPackage) -> bytes:
        """The package's file; empty where it is not kept whole."""
        try:
            data = (self._root / f"{package.sha256}.deb").read_bytes()
        except FileNotFoundError:
            return b""
        return data if hashlib.sha256(data).hexdigest() == package.sha256 else b""

    def keep(self, package: LockedPackage, data: bytes) -> bytes:
        """Keep a file that arrived, when it is the locked one; `ExternalError` (`deb-digest`) otherwise."""
        found = hashlib.sha256(data).hexdigest()
        if found != package.sha256:
            raise ExternalError(
                "deb-digest", f"{package.name} {package.version} came with sha256 {found}, locked is {package.sha256}",
                hint="do not use it: somebody serves another file under this name",
            )  # fmt: skip
        try:
            self._root.mkdir(parents=True, exist_ok=True)
            aside = self._root / f".{package.sha256}.{os.getpid()}"
            aside.write_bytes(data)
            aside.replace(self._root / f"{package.sha256}.deb")
        except OSError as error:
            raise ExternalError("deb-store", f"the package could not be kept: {error}") from error
        return data

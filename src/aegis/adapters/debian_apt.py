"""`DebianArchive` by the machine's own apt: its mirrors, its proxies, its keys, its verified package lists.

apt is asked where its lists are and fetches packages by exact version; what it gives is verified against the lock's digest like
everything else. Only the machine's own architecture: apt knows others only where they are set up.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from aegis.adapters.debian_mirror import DebStore
from aegis.build.debian.lock import LockedPackage
from aegis.build.debian.solve import Offered, offered
from aegis.core.control import paragraphs
from aegis.core.errors import ExternalError
from aegis.core.ports import Tool, ToolLimits

_LIMITS: Final = ToolLimits(seconds=300, network=True)
_HELPER: Final = "/usr/lib/apt/apt-helper"
_WORD: Final = re.compile(r"[A-Za-z0-9.+:~-]+")


class AptArchive:
    """What apt offers on this machine; package files are kept under `kept`."""

    def __init__(self, *, tool: Tool, kept: Path) -> None:
        self._tool = tool
        self._kept = kept

    def offered(self, architecture: str) -> Iterator[Offered]:
        """Every package for the architecture in apt's lists."""
        argv = ["apt-get", "indextargets", "--format", "$(ARCHITECTURE) $(FILENAME)", "Created-By: Packages"]
        told = self._run(argv).decode("utf-8", "replace")
        files = [line.partition(" ")[2] for line in told.splitlines() if line.split(" ")[0] in {architecture, "all"}]
        if not files:
            raise ExternalError(
                "base-apt", f"apt has no package lists for {architecture}",
                hint="apt-get update; or name a mirror: --mirror URL --suite NAME",
            )  # fmt: skip
        for file in files:
            for fields in paragraphs(self._list(file)):
                found = offered(fields)
                if found is not None:
                    yield found

    def fetch(self, packages: tuple[LockedPackage, ...]) -> Iterator[bytes]:
        """The packages' files in the given order, by their exact versions; what is missing in one run of apt."""
        store = DebStore(self._kept)
        missing = [one for one in packages if not store.kept(one)]
        if missing:
            arrived = self._download(missing)
            for one in missing:
                store.keep(one, arrived.get(one.sha256, b""))
        for one in packages:
            yield store.kept(one)

    def _list(self, file: str) -> str:
        script = f'{_HELPER} cat-file "$1" > list'
        done = self._tool.run(["sh", "-c", script, "sh", file], outputs=("list",), limits=_LIMITS)
        if done.exit_code != 0:
            raise ExternalError("base-apt", f"apt could not read {Path(file).name}: {_said(done.stderr)}")
        return done.outputs["list"].decode("utf-8", "replace")

    def _download(self, packages: list[LockedPackage]) -> dict[str, bytes]:
        """The files that came, by digest."""
        asked = []
        for one in packages:
            if not all(_WORD.fullmatch(word) for word in (one.name, one.architecture, one.version)):
                raise ExternalError("base-lock", f"{one.name!r} {one.version!r} is no package's name and version")
            architecture = "" if one.architecture == "all" else f":{one.architecture}"
            asked.append(f"{one.name}{architecture}={one.version}")
        done = self._tool.run(["apt-get", "-qq", "download", *asked], outputs=("*.deb",), limits=_LIMITS)
        if done.exit_code != 0:
            raise ExternalError(
                "base-mirror", f"apt could not fetch the locked packages: {_said(done.stderr)}",
                hint="the mirror may have moved on to newer ones: apt-get update, then lock again",
            )  # fmt: skip
        return {hashlib.sha256(data).hexdigest(): data for data in done.outputs.values()}

    def _run(self, argv: list[str]) -> bytes:
        done = self._tool.run(argv, limits=_LIMITS)
        if done.exit_code != 0:
            raise ExternalError("base-apt", f"{argv[0]} left with {done.exit_code}: {_said(done.stderr)}")
        return done.stdout


def _said(stderr: bytes) -> str:
    return stderr.decode("utf-8", "replace").strip()[-600:]

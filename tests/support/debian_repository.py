"""A Debian repository small enough for a test: packages, lists and a release file, made without dpkg."""

from __future__ import annotations

import gzip
import hashlib
import io
import lzma
import tarfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path


def deb(
    name: str, version: str = "1.0-1", *, files: Mapping[str, str | bytes] | None = None, depends: str = "", more: str = "",
    members: Sequence[tuple[tarfile.TarInfo, bytes]] = (), epoch: int = 1_700_000_000, kind: str = "xz",
) -> bytes:  # fmt: skip
    """A package's file."""
    control = f"Package: {name}\nVersion: {version}\nArchitecture: all\nMaintainer: nobody\n"
    control += f"Depends: {depends}\n" if depends else ""
    control += f"{more}Description: a test\n long\n"
    listed = [
        (tarfile.TarInfo(f"./{path}"), data.encode() if isinstance(data, str) else data)
        for path, data in (files or {}).items()
    ]
    pack = {"xz": lzma.compress, "gz": gzip.compress}[kind]
    held = [
        ("debian-binary", b"2.0\n"),
        (f"control.tar.{kind}", pack(_tar([(tarfile.TarInfo("./control"), control.encode())], epoch))),
        (f"data.tar.{kind}", pack(_tar([*listed, *members], epoch))),
    ]
    out = b"!<arch>\n"
    for member, data in held:
        out += (
            f"{member:<16}{epoch:<12}{0:<6}{0:<6}{'100644':<8}{len(data):<10}`\n".encode()
            + data
            + b"\n" * (len(data) % 2)
        )
    return out


def _tar(members: Sequence[tuple[tarfile.TarInfo, bytes]], epoch: int) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for about, data in members:
            about.size, about.mtime = len(data), epoch
            archive.addfile(about, io.BytesIO(data))
    return out.getvalue()


@dataclass(kw_only=True)
class Repository:
    """A repository under `root`, with one suite and one component. `write` makes its lists anew."""

    root: Path
    suite: str = "stable"
    packages: list[str] = field(default_factory=list)

    def add(self, name: str, version: str = "1.0-1", *, depends: str = "", provides: str = "", **more: object) -> bytes:
        data = deb(name, version, depends=depends, **more)  # type: ignore[arg-type]
        place = self.root / "pool" / f"{name}_{version.replace(':', '%3a')}_all.deb"
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(data)
        fields = {
            "Package": name, "Version": version, "Architecture": "all", "Depends": depends, "Provides": provides,
            "Filename": place.relative_to(self.root).as_posix(), "Size": str(len(data)),
            "SHA256": hashlib.sha256(data).hexdigest(),
        }  # fmt: skip
        self.packages.append("".join(f"{key}: {value}\n" for key, value in fields.items() if value))
        return data

    def write(self) -> Repository:
        folder = self.root / "dists" / self.suite / "main" / "binary-amd64"
        folder.mkdir(parents=True, exist_ok=True)
        data = lzma.compress("\n".join(self.packages).encode())
        (folder / "Packages.xz").write_bytes(data)
        line = f" {hashlib.sha256(data).hexdigest()} {len(data)} main/binary-amd64/Packages.xz\n"
        (self.root / "dists" / self.suite / "Release").write_text(f"Suite: {self.suite}\nSHA256:\n{line}")
        return self

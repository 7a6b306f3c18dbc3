"""Small images made in the test: layers of given entries, and one that holds a shell and a few programs of this machine."""

from __future__ import annotations

import functools
import gzip
import hashlib
import io
import json
import platform
import re
import shutil
import subprocess
import tarfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aegis.adapters.layout_directory import OciLayout
from aegis.build.ports import RawManifest
from aegis.execution.images import architecture

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
GZIP = "application/vnd.oci.image.layer.v1.tar+gzip"
_PROGRAMS = (
    "bash", "sh", "cat", "ls", "env", "head", "tr", "sleep", "setsid", "id", "grep", "touch", "mkdir", "wc", "stat", "mount",
    "umount", "unshare", "mknod", "chroot", "hostname", "readlink", "rm", "ps", "kill", "test", "find", "dirname",
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """An entry of a layer. `kind` is a type of `tarfile`."""

    name: str
    data: bytes = b""
    kind: bytes = tarfile.REGTYPE
    link: str = ""
    mode: int = 0o755
    more: Mapping[str, Any] = field(default_factory=dict)


def layer(entries: Iterable[Entry]) -> bytes:
    """A compressed layer."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        for one in entries:
            about = tarfile.TarInfo(one.name)
            about.type, about.linkname, about.mode, about.size = one.kind, one.link, one.mode, len(one.data)
            for key, value in one.more.items():
                setattr(about, key, value)
            archive.addfile(about, io.BytesIO(one.data))
    return gzip.compress(packed.getvalue(), 1, mtime=0)


@functools.cache
def shell_layer() -> bytes:
    """A shell, a few programs and the libraries that they load."""
    entries = {
        name: Entry(name=name, kind=tarfile.DIRTYPE)
        for name in ("usr", "usr/bin", "usr/lib", "usr/lib64", "etc", "tmp", "var", "root")
    }
    for link in ("bin", "lib", "lib64"):
        entries[link] = Entry(name=link, kind=tarfile.SYMTYPE, link=f"usr/{link}")
    for program in _PROGRAMS:
        found = shutil.which(program)
        if found is None:
            continue
        entries[f"bin/{program}"] = Entry(name=f"bin/{program}", data=Path(found).resolve().read_bytes())
        told = subprocess.run(["ldd", found], capture_output=True, text=True, check=False).stdout
        for path in re.findall(r"(/\S+) \(0x", told):
            name = path.removeprefix("/usr").lstrip("/")
            entries.setdefault(name, Entry(name=name, data=Path(path).resolve().read_bytes()))
    accounts = b"root:x:0:0:root:/root:/bin/sh\napp:x:33:33::/:/bin/sh\n"
    entries["etc/passwd"] = Entry(name="etc/passwd", data=accounts, mode=0o644)
    entries["etc/os-release"] = Entry(name="etc/os-release", data=b"ID=tiny\n", mode=0o644)
    return layer(entries.values())


@functools.cache
def perl_layer() -> bytes:
    """Perl with its core modules, on top of `shell_layer`: the smallest thing here that can listen on a port."""
    base = Path(f"/usr/lib/{platform.machine()}-linux-gnu/perl-base")
    modules = {str(one).lstrip("/"): str(one) for one in base.rglob("*") if one.is_file()}
    return program_layer({"usr/bin/perl": "/usr/bin/perl", **modules})


def program_layer(programs: Mapping[str, str]) -> bytes:
    """Programs of this machine (where they go: their path here) with the libraries that they load, on top of `shell_layer`."""
    entries: dict[str, Entry] = {}
    for target, source in programs.items():
        entries[target] = Entry(name=target, data=Path(source).resolve().read_bytes())
        told = subprocess.run(["ldd", source], capture_output=True, text=True, check=False).stdout
        for path in re.findall(r"(/\S+) \(0x", told):
            name = f"usr/{path.removeprefix('/usr').lstrip('/')}"
            entries.setdefault(name, Entry(name=name, data=Path(path).resolve().read_bytes()))
    return layer(entries.values())


def layout(path: Path, *layers: bytes, config: Mapping[str, Any] | None = None, tag: str = "1", **document: Any) -> str:
    """An OCI layout with one image of these layers; the digest of its manifest."""
    made = OciLayout(path)
    settings = {
        "os": "linux", "architecture": architecture(platform.machine()), "config": dict(config or {}),
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{hashlib.sha256(gzip.decompress(one)).hexdigest()}" for one in layers]},
        **document,
    }  # fmt: skip
    body = json.dumps(settings).encode()
    manifest = json.dumps(
        {
            "schemaVersion": 2, "mediaType": MANIFEST,
            "config": {"mediaType": "application/vnd.oci.image.config.v1+json", "digest": made.put(body), "size": len(body)},
            "layers": [{"mediaType": GZIP, "digest": made.put(one), "size": len(one)} for one in layers],
        }
    ).encode()  # fmt: skip
    digest = f"sha256:{hashlib.sha256(manifest).hexdigest()}"
    made.finish(RawManifest(digest=digest, media_type=MANIFEST, body=manifest), (tag,))
    return digest

"""Makes a base image of Debian packages: layers, package database, accounts, certificates, configuration. Pure.

No maintainer script is run; what matters of their effects is written here: the joined `/usr`, the accounts, the bundle of
authorities, name service settings, and `/var/lib/dpkg/status.d`, which scanners read. Manuals, translations and change logs
stay out; copyright files stay.
"""

from __future__ import annotations

import hashlib
import io
import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

from aegis.build.debian.package import Package
from aegis.build.image import CONFIG, MANIFEST, as_json, digest_of
from aegis.build.layers import Entry, write_layer
from aegis.build.ports import Layer, RawManifest
from aegis.core.errors import UserError

_DROPPED: Final = re.compile(
    r"usr/share/(?:man|info|locale|lintian|bug|doc-base|menu|pixmaps|applications)/|usr/share/doc/[^/]+/(?!copyright$).+"
    r"|.*/__pycache__/"
)
_JOINED: Final = {"bin": "usr/bin", "lib": "usr/lib", "lib64": "usr/lib64", "sbin": "usr/sbin"}
_AUTHORITIES: Final = "usr/share/ca-certificates/"
_BUNDLE: Final = "etc/ssl/certs/ca-certificates.crt"
_ACCOUNTS: Final = """root:x:0:0:root:/root:/usr/sbin/nologin
nobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin
nonroot:x:65532:65532:nonroot:/home/nonroot:/usr/sbin/nologin
"""
_GROUPS: Final = "root:x:0:\nnogroup:x:65534:\nnonroot:x:65532:\n"
_NSSWITCH: Final = "passwd: files\ngroup: files\nhosts: files dns\n"
_PATH: Final = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_LARGE: Final = 3 << 20  # bytes of a package's file from which on it gets a layer of its own


@dataclass(frozen=True, slots=True, kw_only=True)
class BaseImage:
    """A base: manifest, configuration, and its layers with their bytes."""

    manifest: RawManifest
    config: bytes
    layers: tuple[tuple[Layer, bytes], ...]
    python: str


def make_base(packages: Iterable[tuple[Package, int]], architecture: str, *, compression: str = "gzip") -> BaseImage:
    """The base of packages with the sizes of their files. Stamped with the time of the youngest file in it."""
    listed = sorted(packages, key=lambda one: one[0].name)
    if not listed:
        raise UserError("base-empty", "a base of no packages is none", hint="name at least one package")
    epoch = max(one.newest for one, _ in listed)
    large = [one for one, size in listed if size >= _LARGE]
    small = [one for one, size in listed if size < _LARGE]
    groups = [([one], f"{one.name} {one.version}") for one in large]
    made = []
    for group, comment in [*groups, (small, f"{len(small)} Debian packages")]:
        entries = [entry for one in group for entry in _entries(one)]
        if group is small:
            entries = [*_joined(entries), *_written(listed)]
        held = io.BytesIO()
        layer = write_layer(entries, held, epoch=epoch, comment=comment, compression=compression)
        made.append((layer, held.getvalue()))
    python = _python([one for one, _ in listed])
    config = _config([layer for layer, _ in made], architecture, epoch, python)
    manifest = as_json(
        {
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": {"mediaType": CONFIG, "digest": digest_of(config), "size": len(config)},
            "layers": [{"mediaType": one.media_type, "digest": one.digest, "size": one.size} for one, _ in made],
        }
    )
    raw = RawManifest(digest=digest_of(manifest), media_type=MANIFEST, body=manifest)
    return BaseImage(manifest=raw, config=config, layers=tuple(made), python=python)


def _entries(package: Package) -> list[Entry]:
    status = f"var/lib/dpkg/status.d/{package.name}"
    kept = [one for one in package.entries if not _DROPPED.match(one.path)]
    return [
        *kept,
        Entry(path=status, read=partial(bytes, package.control)),
        Entry(path=f"{status}.md5sums", read=partial(bytes, package.md5sums)),
    ]


def _joined(entries: list[Entry]) -> list[Entry]:
    """Without what would be a real `/bin` and its like: those are links into `/usr`."""
    return [one for one in entries if one.path.rstrip("/") not in _JOINED]


def _written(packages: list[tuple[Package, int]]) -> list[Entry]:
    """What maintainer scripts would have made."""
    files = {entry.path: entry for package, _ in packages for entry in package.entries}
    made = [Entry(path=name, link=target) for name, target in _JOINED.items()]
    made += [
        _text("etc/passwd", _ACCOUNTS), _text("etc/group", _GROUPS), _text("etc/nsswitch.conf", _NSSWITCH),
        Entry(path="tmp/", mode=0o1777), Entry(path="home/nonroot/"), Entry(path="root/", mode=0o700),
    ]  # fmt: skip
    authorities = sorted(path for path in files if path.startswith(_AUTHORITIES) and path.endswith(".crt"))
    if authorities:
        made.append(Entry(path=_BUNDLE, read=lambda: b"".join(_ended(files[path].read()) for path in authorities)))
    if "usr/bin/python3" in files and "usr/bin/python" not in files:
        made.append(Entry(path="usr/bin/python", link="python3"))
    return made


def _text(path: str, text: str) -> Entry:
    return Entry(path=path, read=partial(bytes, text.encode()))


def _ended(data: bytes) -> bytes:
    return data if data.endswith(b"\n") else data + b"\n"


def _python(packages: list[Package]) -> str:
    """The version of the Python in it; empty for none."""
    for one in packages:
        if re.fullmatch(r"python3\.\d+-minimal", one.name):
            found = re.match(r"[\d.]+", one.version.rpartition(":")[2])
            return found[0].rstrip(".") if found else ""
    return ""


def _config(layers: list[Layer], architecture: str, epoch: int, python: str) -> bytes:
    environment = [f"PATH={_PATH}", f"SSL_CERT_FILE=/{_BUNDLE}", "LANG=C.UTF-8"]
    created = _time(epoch)
    document: dict[str, Any] = {
        "created": created,
        "architecture": architecture,
        "os": "linux",
        "config": {
            "User": "65532:65532",
            "Env": [*environment, *([f"PYTHON_VERSION={python}"] if python else [])],
            "WorkingDir": "/",
        },
        "rootfs": {"type": "layers", "diff_ids": [one.diff_id for one in layers]},
        "history": [
            {"created": created, "created_by": "aegis image base build", "comment": one.comment} for one in layers
        ],
    }
    return as_json(document)


def _time(epoch: int) -> str:
    from datetime import UTC, datetime  # noqa: PLC0415 - start-up is a feature

    return datetime.fromtimestamp(epoch, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def key_of(digests: Iterable[str], compression: str) -> str:
    """What names a base that is kept: the packages' digests and the form of its layers."""
    return hashlib.sha256(f"1\n{compression}\n{','.join(sorted(digests))}".encode()).hexdigest()

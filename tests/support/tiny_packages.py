"""The smallest wheel and sdist that pip installs, made without a build backend."""

from __future__ import annotations

import base64
import hashlib
import io
import tarfile
import zipfile


def wheel(
    name: str = "tiny",
    version: str = "1.0",
    *,
    requires_python: str = ">=3.8",
    metadata: bytes = b"",
    tag: str = "py3-none-any",
) -> tuple[str, bytes]:
    """File name and content, for the platform of `tag`; `metadata` in the place of its own."""
    metadata = (
        metadata
        or f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\nRequires-Python: {requires_python}\n".encode()
    )
    folder = f"{name}-{version}.dist-info"
    files = {
        f"{name}.py": f'VERSION = "{version}"\n'.encode(),
        f"{folder}/METADATA": metadata,
        f"{folder}/WHEEL": f"Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: {tag}\n".encode(),
    }
    record = ""
    for path, data in files.items():
        digest = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
        record += f"{path},sha256={digest},{len(data)}\n"
    files[f"{folder}/RECORD"] = f"{record}{folder}/RECORD,,\n".encode()
    held = io.BytesIO()
    with zipfile.ZipFile(held, "w") as archive:
        for path, data in files.items():
            archive.writestr(zipfile.ZipInfo(path), data)
    return f"{name}-{version}-{tag}.whl", held.getvalue()


def sdist(name: str = "tiny", version: str = "1.0", *, metadata: bytes = b"") -> tuple[str, bytes]:
    """File name and content; `metadata` in the place of its own."""
    data = metadata or f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n".encode()
    held = io.BytesIO()
    with tarfile.open(fileobj=held, mode="w:gz") as archive:
        for path, content in (("PKG-INFO", data), (f"{name}.py", b"")):
            entry = tarfile.TarInfo(f"{name}-{version}/{path}")
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    return f"{name}-{version}.tar.gz", held.getvalue()

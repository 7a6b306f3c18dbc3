"""Source distributions of real projects, pinned by hash, fetched once with pip and kept under `.cache/`."""

from __future__ import annotations

import hashlib
import subprocess
import sys
import tarfile
from pathlib import Path

CACHE = Path(__file__).parents[2] / ".cache" / "sdists"


def unpacked(requirement: str, digest: str | None, into: Path) -> Path:
    """The unpacked source distribution of `name==version` (any version without `==`), verified against its sha256."""
    archive = _archive(requirement, digest)
    with tarfile.open(archive) as tar:
        tar.extractall(into, filter="data")
    (folder,) = (one for one in into.iterdir() if one.is_dir())
    return folder


def _archive(requirement: str, digest: str | None) -> Path:
    name = requirement.split("==", maxsplit=1)[0]
    folder = CACHE / requirement.replace("==", "-")
    kept = sorted(folder.glob("*.tar.gz"))
    if not kept:
        folder.mkdir(parents=True, exist_ok=True)
        subprocess.run(
            [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--no-binary", name, "--dest", str(folder), requirement],
            check=True, capture_output=True, timeout=300,
        )  # fmt: skip
        kept = sorted(folder.glob("*.tar.gz"))
    found = hashlib.sha256(kept[0].read_bytes()).hexdigest()
    if digest is not None and found != digest:
        kept[0].unlink()
        raise AssertionError(f"{requirement} is not what was pinned: {found}")
    return kept[0]

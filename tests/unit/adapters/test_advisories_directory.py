"""Advisories come whole from directories and archives, or not at all."""

from __future__ import annotations

import io
import tarfile
import zipfile
from pathlib import Path

import pytest

from aegis.adapters import advisories_directory
from aegis.adapters.advisories_directory import BundledAdvisories, DirectoryAdvisories
from aegis.core.errors import ExternalError, NotFound

FILES = {"vulns/a/A.yaml": b"id: A\n", "vulns/b/B.json": b'{"id": "B"}'}


def tarred(mode: str) -> bytes:
    target = io.BytesIO()
    with tarfile.open(fileobj=target, mode=mode) as archive:  # type: ignore[call-overload]
        for name, data in {**FILES, "README.md": b"no advisory"}.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
        link = tarfile.TarInfo("link.yaml")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(link)
    return target.getvalue()


@pytest.mark.parametrize("mode", ["w", "w:gz", "w:bz2", "w:xz"])
def test_tar_archives_are_read(mode: str) -> None:
    assert dict(BundledAdvisories(tarred(mode), "bundle").files()) == FILES


def test_zip_archives_and_single_files_are_read(tmp_path: Path) -> None:
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w") as archive:
        for name, data in FILES.items():
            archive.writestr(name, data)
    path = tmp_path / "all.zip"
    path.write_bytes(target.getvalue())
    assert dict(DirectoryAdvisories(path).files()) == FILES
    assert dict(BundledAdvisories(b'{"id": "A"}', "one").files()) == {"one": b'{"id": "A"}'}


def test_a_directory_is_read_without_links_and_git(tmp_path: Path) -> None:
    for name, data in {**FILES, ".git/x.yaml": b"no", "notes.txt": b"no"}.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(data)
    (tmp_path / "link.yaml").symlink_to("/etc/passwd")
    assert dict(DirectoryAdvisories(tmp_path).files()) == FILES


def test_a_broken_archive_or_an_absent_place_is_an_error(tmp_path: Path) -> None:
    whole = tarred("w:xz")
    plain = tarred("w")
    cut = plain[: plain.index(b"vulns/b/B.json")]
    for data in (whole[:-40], cut, b"nonsense", b"", b"PK\x03\x04 nonsense"):
        with pytest.raises(ExternalError):
            list(BundledAdvisories(data, "bundle").files())
    with pytest.raises(NotFound):
        DirectoryAdvisories(tmp_path / "absent").files()


def test_an_archive_beyond_its_bounds_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(advisories_directory, "_COUNT_LIMIT", 2)
    with pytest.raises(ExternalError) as caught:
        list(BundledAdvisories(tarred("w"), "bundle").files())
    assert caught.value.code == "advisories-too-large"

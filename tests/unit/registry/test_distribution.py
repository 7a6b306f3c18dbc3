"""Files that would hurt who installs them, or that are not what they say: each is refused with the reason."""

from __future__ import annotations

import base64
import hashlib
import io
import tarfile
import zipfile
from collections.abc import Callable

import pytest

from aegis.core.errors import UserError
from aegis.registry.distribution import read_distribution
from support.tiny_packages import sdist, wheel

NAME = "tiny-1.0-py3-none-any.whl"
FOLDER = "tiny-1.0.dist-info"


def made(change: Callable[[dict[str, bytes]], None], *, record: Callable[[str], str] = lambda text: text) -> io.BytesIO:
    """The tiny wheel with other members and a RECORD that fits them, unless that is changed, too."""
    with zipfile.ZipFile(io.BytesIO(wheel()[1])) as archive:
        files = {one: archive.read(one) for one in archive.namelist() if not one.endswith("RECORD")}
    change(files)
    lines = ""
    for path, data in files.items():
        digest = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
        lines += f"{path},sha256={digest},{len(data)}\n"
    files[f"{FOLDER}/RECORD"] = record(f"{lines}{FOLDER}/RECORD,,\n").encode()
    held = io.BytesIO()
    with zipfile.ZipFile(held, "w", zipfile.ZIP_DEFLATED) as archive:
        for path, data in files.items():
            archive.writestr(path, data)
    return held


def refused(content: io.BytesIO, name: str = NAME) -> str:
    with pytest.raises(UserError) as caught:
        read_distribution(name, content)
    assert caught.value.code == "package-invalid"
    return caught.value.message


def test_a_proper_wheel_is_read() -> None:
    assert read_distribution(NAME, made(lambda _: None)).version == "1.0"


@pytest.mark.parametrize("path", ["../outside.py", "/etc/cron.d/x", "a/../../b.py", "C:/x.py", "a\\..\\b.py"])
def test_a_member_outside_is_refused(path: str) -> None:
    assert "outside" in refused(made(lambda files: files.update({path: b"x"})))


def test_a_member_that_the_record_does_not_list_is_refused() -> None:
    content = made(lambda files: files.update({"extra.py": b"x"}), record=lambda text: text.partition("extra.py")[0])
    assert "not in its RECORD" in refused(content)


def test_a_member_that_is_not_what_the_record_says_is_refused() -> None:
    digest = base64.urlsafe_b64encode(hashlib.sha256(b"other").digest()).rstrip(b"=").decode()
    lines = f"tiny.py,sha256={digest},5\n"
    content = made(lambda _: None, record=lambda text: lines + text.partition("\n")[2])
    assert "not what its RECORD says" in refused(content)


def test_a_listed_member_that_is_missing_is_refused() -> None:
    content = made(lambda _: None, record=lambda text: f"gone.py,sha256=AAAA,1\n{text}")
    assert "'gone.py', which is not in it" in refused(content)


def test_a_weak_hash_in_the_record_is_refused() -> None:
    content = made(lambda _: None, record=lambda text: text.replace("tiny.py,sha256=", "tiny.py,md5="))
    assert "no proper hash" in refused(content)


def test_a_wheel_without_a_record_is_refused() -> None:
    held = io.BytesIO()
    with zipfile.ZipFile(held, "w") as archive:
        archive.writestr(f"{FOLDER}/METADATA", "Metadata-Version: 2.1\nName: tiny\nVersion: 1.0\n")
    assert "no RECORD" in refused(held)


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_a_member_that_is_there_twice_is_refused() -> None:
    content = made(lambda _: None)
    with zipfile.ZipFile(content, "a") as archive:
        archive.writestr("tiny.py", b"another")
    assert "twice" in refused(content)


def test_a_symbolic_link_in_a_wheel_is_refused() -> None:
    content = made(lambda _: None)
    entry = zipfile.ZipInfo("link.py")
    entry.external_attr = 0o120777 << 16
    with zipfile.ZipFile(content, "a") as archive:
        archive.writestr(entry, "/etc/passwd")
    assert "symbolic link" in refused(content)


def test_a_wheel_that_would_expand_without_measure_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("aegis.registry.distribution._EXPANDED_FREELY", 1024 * 1024)
    bomb = made(lambda files: files.update({"bomb.bin": bytes(8 * 1024 * 1024)}))
    assert "would expand" in refused(bomb)


def packed(*entries: tuple[str, bytes | str]) -> io.BytesIO:
    """An sdist with its PKG-INFO, files (bytes) and symbolic links (text)."""
    held = io.BytesIO()
    facts = b"Metadata-Version: 2.1\nName: tiny\nVersion: 1.0\n"
    with tarfile.open(fileobj=held, mode="w:gz") as archive:
        for path, data in (("tiny-1.0/PKG-INFO", facts), *entries):
            entry = tarfile.TarInfo(path)
            if isinstance(data, str):
                entry.type, entry.linkname = tarfile.SYMTYPE, data
                archive.addfile(entry)
            else:
                entry.size = len(data)
                archive.addfile(entry, io.BytesIO(data))
    return held


def test_a_proper_sdist_is_read() -> None:
    assert read_distribution(sdist()[0], io.BytesIO(sdist()[1])).project == "tiny"
    assert read_distribution("tiny-1.0.tar.gz", packed(("tiny-1.0/a/link", "../setup.py"))).version == "1.0"


@pytest.mark.parametrize(
    "entry",
    [
        ("../evil", b"x"), ("/etc/evil", b"x"), ("tiny-1.0/link", "../../etc/passwd"), ("tiny-1.0/link", "/etc/passwd"),
        ("tiny-1.0/a/b", "../../../x"),
    ],
)  # fmt: skip
def test_an_sdist_that_leads_outside_is_refused(entry: tuple[str, bytes | str]) -> None:
    assert "outside" in refused(packed(entry), "tiny-1.0.tar.gz")


def test_a_device_in_an_sdist_is_refused() -> None:
    held = io.BytesIO()
    with tarfile.open(fileobj=held, mode="w:gz") as archive:
        entry = tarfile.TarInfo("tiny-1.0/null")
        entry.type = tarfile.CHRTYPE
        archive.addfile(entry)
    assert "neither a file nor a folder" in refused(held, "tiny-1.0.tar.gz")


def test_an_sdist_that_would_expand_without_measure_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("aegis.registry.distribution._EXPANDED_FREELY", 1024 * 1024)
    assert "would expand" in refused(packed(("tiny-1.0/zeros", bytes(8 * 1024 * 1024))), "tiny-1.0.tar.gz")


def test_what_is_cut_short_is_refused() -> None:
    for name, data in (wheel(), sdist()):
        assert "cannot be read" in refused(io.BytesIO(data[: len(data) // 2]), name)

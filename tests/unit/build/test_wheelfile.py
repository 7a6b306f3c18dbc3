"""Wheels taken apart: what pip would leave, and nothing of what a malicious one tries."""

from __future__ import annotations

import base64
import csv
import hashlib
import io
import marshal
import stat
import zipfile
from collections.abc import Mapping

import pytest

from aegis.adapters.bytecode_worker import compiled
from aegis.build.wheelfile import Installed, read_wheel
from aegis.core.errors import ExternalError

INFO = "tiny-1.0.dist-info"
FILES = {
    "tiny/__init__.py": b"VERSION = 1\n",
    f"{INFO}/METADATA": b"Metadata-Version: 2.1\nName: tiny\nVersion: 1.0\n",
    f"{INFO}/WHEEL": b"Wheel-Version: 1.0\n",
}


def digest(data: bytes) -> str:
    return "sha256=" + base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()


def made(
    more: Mapping[str, bytes] | None = None, *, record: bytes | None = None, links: tuple[str, ...] = ()
) -> io.BytesIO:
    files = {**FILES, **(more or {})}
    rows = "".join(f"{path},{digest(data)},{len(data)}\n" for path, data in files.items()) + f"{INFO}/RECORD,,\n"
    held = io.BytesIO()
    with zipfile.ZipFile(held, "w", zipfile.ZIP_DEFLATED) as archive:
        for path, data in {**files, f"{INFO}/RECORD": rows.encode() if record is None else record}.items():
            about = zipfile.ZipInfo(path)
            about.compress_type = zipfile.ZIP_DEFLATED
            if path in links:
                about.external_attr = (stat.S_IFLNK | 0o777) << 16
            archive.writestr(about, data)
    return held


def read(held: io.BytesIO, **more: object) -> Installed:
    options: dict[str, object] = {"prefix": "app/lib", "bytecode": {}, "tag": "cpython-311", **more}
    return read_wheel("tiny-1.0-py3-none-any.whl", held, **options)  # type: ignore[arg-type]


def contents(installed: Installed) -> dict[str, bytes]:
    return {one.path.removeprefix("app/lib/"): one.read() for one in installed.entries}


def test_what_pip_would_leave_is_there_and_recorded() -> None:
    more = {
        f"{INFO}/entry_points.txt": b"[console_scripts]\ntiny = tiny:main\nTiny2=tiny.cli:App.run [fast]\n",
        "tiny-1.0.data/scripts/old": b"#!python\nprint()\n",
        "tiny-1.0.data/purelib/extra.py": b"",
        "tiny-1.0.data/data/share/x.txt": b"x",
    }
    pyc = compiled(FILES["tiny/__init__.py"], "/app/lib/tiny/__init__.py")
    assert pyc is not None
    installed = read(made(more), bytecode={"tiny/__init__.py": pyc})
    found = contents(installed)
    assert found["bin/old"].startswith(b"#!/usr/bin/env python3\nprint")
    assert b"sys.exit(App.run())" in found["bin/Tiny2"]
    assert {"extra.py", "share/x.txt", "tiny/__pycache__/__init__.cpython-311.pyc"} <= set(found)
    assert found[f"{INFO}/INSTALLER"] == b"aegis\n"
    rows = {row[0]: row[1:] for row in csv.reader(io.StringIO(found[f"{INFO}/RECORD"].decode()))}
    assert set(rows) == set(found)
    for path, data in found.items():
        if not path.endswith((".pyc", "RECORD")):
            assert rows[path] == [digest(data), str(len(data))]
    assert {one.path for one in installed.entries if one.executable} == {
        f"app/lib/bin/{n}" for n in ("old", "tiny", "Tiny2")
    }
    assert installed.metadata == FILES[f"{INFO}/METADATA"]


def test_bytecode_is_unchecked_and_the_same_every_time() -> None:
    source = b"x = {'a', 'b', 'c'}\ndef f(y):\n    return y in {'a', 'b', 'c'}\n"
    pyc = compiled(source, "/app/lib/x.py")
    assert pyc is not None
    assert pyc == compiled(source, "/app/lib/x.py")
    assert pyc[4:8] == b"\1\0\0\0"  # PEP 552: hash-based, not checked
    assert marshal.loads(pyc[16:]).co_filename == "/app/lib/x.py"  # noqa: S302 - our own bytes
    assert compiled(b"def (", "/x.py") is None


@pytest.mark.parametrize(
    ("more", "record", "links", "said"),
    [
        ({"../evil.py": b"x"}, None, (), "leads out"),
        ({"/etc/evil": b"x"}, None, (), "leads out"),
        ({"a\\..\\b.py": b"x"}, None, (), "leads out"),
        ({"C:/evil.py": b"x"}, None, (), "leads out"),
        ({"link": b"/etc/passwd"}, None, ("link",), "symbolic link"),
        ({"hidden.py": b"x"}, b"", (), "not in its RECORD"),
        ({}, f"absent.py,{digest(b'')},0\n".encode(), (), "not in its RECORD"),
        ({f"{INFO}/entry_points.txt": b"[console_scripts]\n../../bin/sh = tiny:main\n"}, None, (), "is not one"),
        ({f"{INFO}/entry_points.txt": b"[console_scripts]\nx = os;evil:main\n"}, None, (), "is not one"),
        ({"other-1.0.dist-info/METADATA": b""}, None, (), "2 .dist-info folders"),
        ({"tiny-1.0.data/evil/x": b""}, None, (), "no kind"),
        ({"zeros": bytes(80 << 20)}, None, (), "would grow"),
    ],
)  # fmt: skip
def test_a_malicious_wheel_is_refused(
    more: Mapping[str, bytes], record: bytes | None, links: tuple[str, ...], said: str
) -> None:
    with pytest.raises(ExternalError, match=said) as caught:
        read(made(more, record=record, links=links))
    assert caught.value.code == "wheel-malformed"


def test_a_file_that_is_not_what_its_record_says_is_refused_when_it_is_read() -> None:
    rows = "".join(f"{path},{digest(b'other')},5\n" for path in FILES) + f"{INFO}/RECORD,,\n"
    installed = read(made(record=rows.encode()))
    with pytest.raises(ExternalError, match="not what its RECORD says"):
        contents(installed)


def test_a_record_that_names_what_is_not_there_is_refused() -> None:
    rows = "".join(f"{path},{digest(data)},{len(data)}\n" for path, data in FILES.items())
    with pytest.raises(ExternalError, match=r"names gone\.py"):
        read(made(record=f"{rows}gone.py,{digest(b'')},0\n".encode()))


@pytest.mark.parametrize("data", [b"", b"no zip", b"PK\3\4 broken"])
def test_what_is_no_archive_is_refused(data: bytes) -> None:
    with pytest.raises(ExternalError, match="no zip archive"):
        read(io.BytesIO(data))

"""`aegis wheel check` refuses what real twine refuses, with the one difference that is documented."""

from __future__ import annotations

import tarfile
import zipfile
from pathlib import Path

import pytest
from twine.commands.check import check as twine_check
from twine.exceptions import TwineException

from aegis.build.wheel import problems
from support.tiny_packages import sdist, wheel

GOOD = "Metadata-Version: 2.1\nName: tiny\nVersion: 1.0\nSummary: Small.\nDescription-Content-Type: text/markdown\n\nText.\n"
RST = GOOD.replace("text/markdown", "text/x-rst")


def made(kind: str, metadata: str) -> tuple[str, bytes]:
    """A wheel or sdist with this core metadata."""
    return (wheel if kind == "wheel" else sdist)(metadata=metadata.encode())


def twine_refuses(folder: Path, name: str, data: bytes) -> bool:
    (folder / name).write_bytes(data)
    try:
        return twine_check([str(folder / name)])
    except (TwineException, zipfile.BadZipFile, tarfile.TarError, EOFError):
        return True


@pytest.mark.parametrize("kind", ["wheel", "sdist"])
@pytest.mark.parametrize(
    ("metadata", "refused"),
    [
        (GOOD, False),
        (RST, False),
        (GOOD.replace("2.1", "2.4").replace("Small.", "Small.\nLicense-Expression: MIT"), False),
        (GOOD.replace("Text.", ""), False),
        (GOOD.replace("Name: tiny\n", ""), True),
        (GOOD.replace("Version: 1.0\n", ""), True),
        (GOOD.replace("Version: 1.0", "Version: one"), True),
        (GOOD.replace("Metadata-Version: 2.1", "Metadata-Version: 9.0"), True),
        (GOOD.replace("Metadata-Version: 2.1\n", ""), True),
        (GOOD.replace("Summary: Small.", "Summary: Small.\nRequires-Dist: not a requirement ("), True),
        (GOOD.replace("Summary: Small.", "Summary: Small.\nRequires-Python: newest"), True),
        (GOOD.replace("text/markdown", "text/word"), True),
    ],
)
def test_both_judge_alike(tmp_path: Path, kind: str, metadata: str, *, refused: bool) -> None:
    name, data = made(kind, metadata)
    assert (twine_refuses(tmp_path, name, data), bool(problems(name, data))) == (refused, refused)


@pytest.mark.parametrize("kind", ["wheel", "sdist"])
@pytest.mark.parametrize("cut", [0, 40])
def test_what_cannot_be_read_is_refused_by_both(tmp_path: Path, kind: str, cut: int) -> None:
    name, data = made(kind, GOOD)
    broken = data[:cut]
    assert problems(name, broken)
    assert twine_refuses(tmp_path, name, broken)


def test_a_description_that_does_not_render_is_the_one_thing_that_is_left_to_twine(tmp_path: Path) -> None:
    name, data = made("wheel", RST.replace("Text.", "Title\n===\n\n.. nothing::\n"))
    assert twine_refuses(tmp_path, name, data)
    assert problems(name, data) == ()


def test_more_is_found_than_by_twine(tmp_path: Path) -> None:
    """A file whose content or name is not what it says, and a library that does not say what it is."""
    name, data = wheel()
    assert not twine_refuses(tmp_path, name, data)
    assert problems(name, data)  # no summary
    name, data = made("wheel", GOOD)
    other = data.replace(b'VERSION = "1.0"', b'VERSION = "6.6"')
    assert not twine_refuses(tmp_path, name, other)
    assert problems(name, other)

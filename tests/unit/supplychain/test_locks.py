"""Every package of a lock is listed, and what cannot be looked up is listed as such."""

from __future__ import annotations

import pytest

from aegis.core.errors import UserError
from aegis.supplychain.locks import packages_of

HASH = "sha256:" + "a" * 64


def listed(file: str, text: str) -> list[tuple[str, str | None, str, int]]:
    return [(one.name, one.version, one.source, one.line) for one in packages_of(file, text.encode())]


def test_requirements_with_hashes_markers_and_odd_lines() -> None:
    text = f"""# made by a tool
--index-url https://example.org/simple
jinja2==3.1.2 ; python_version >= "3.8" \\
    --hash={HASH} \\
    --hash={HASH}
loose>=1.0
wild==1.*
Mine @ git+https://example.org/mine@main
direct @ https://example.org/x.whl
git+https://example.org/other#egg=other
-e ./local
-r more.txt
./folder
"""
    assert listed("requirements.lock", text) == [
        ("jinja2", "3.1.2", "index", 3),
        ("loose", None, "index", 6),
        ("wild", None, "index", 7),
        ("Mine", None, "vcs", 8),
        ("direct", None, "url", 9),
        ("other", None, "vcs", 10),
        ("./local", None, "path", 11),
        ("more.txt", None, "path", 12),
        ("./folder", None, "path", 13),
    ]
    assert packages_of("requirements.lock", text.encode())[0].hashes == (HASH, HASH)


def test_uv_lists_all_but_the_project_itself() -> None:
    text = f"""
[[package]]
name = "orders"
version = "1.0"
source = {{ editable = "." }}

[[package]]
name = "h11"
version = "0.16.0"
source = {{ registry = "https://example.org/simple" }}
wheels = [{{ url = "https://example.org/h11.whl", hash = "{HASH}" }}]

[[package]]
name = "shared"
version = "1.0"
source = {{ git = "https://example.org/shared?rev=main#abc" }}

[[package]]
name = "near"
version = "1.0"
source = {{ directory = "../near" }}
"""
    assert listed("uv.lock", text) == [
        ("h11", "0.16.0", "index", 8), ("shared", "1.0", "vcs", 14), ("near", "1.0", "path", 19),
    ]  # fmt: skip


def test_poetry_pdm_and_pylock_are_read() -> None:
    poetry = '[[package]]\nname = "a"\nversion = "1"\n[package.source]\ntype = "git"\nurl = "x"\n[[package]]\nname = "b"\nversion = "2"\n'
    assert listed("poetry.lock", poetry) == [("a", "1", "vcs", 2), ("b", "2", "index", 8)]
    pdm = '[[package]]\nname = "a"\nversion = "1"\ngit = "https://example.org/a"\n[[package]]\nname = "b"\nversion = "2"\n'
    assert listed("pdm.lock", pdm) == [("a", "1", "vcs", 2), ("b", "2", "index", 6)]
    pylock = '[[packages]]\nname = "a"\nversion = "1"\n[[packages]]\nname = "b"\n[packages.archive]\nurl = "x"\n'
    assert listed("pylock.toml", pylock) == [("a", "1", "index", 2), ("b", None, "url", 5)]


@pytest.mark.parametrize("text", ["x = [", 'package = "a"', "[[package]]\nversion = '1'\n"])
def test_a_broken_lock_is_an_error_and_never_an_empty_one(text: str) -> None:
    with pytest.raises(UserError):
        packages_of("uv.lock", text.encode())

"""Lock files of five tools, read for one target: each says the same, and what cannot be verified is named."""

from __future__ import annotations

import pytest

from aegis.build.locks import Lock, read_lock
from aegis.build.target import Target
from aegis.core.errors import UserError

A, B, C = ("a" * 64, "b" * 64, "c" * 64)
LINUX = Target("3.11", "amd64")

REQUIREMENTS = f"""\
# written by a tool
--index-url https://index.invalid/simple
Alpha==1.0 ; python_version >= "3.8" \\
    --hash=sha256:{A} \\
    --hash=sha256:{B}
    # via orders
beta[fast]==2.0 --hash=sha256:{C}
windows-only==1.0 ; sys_platform == "win32" --hash=sha256:{A}
"""
UV = f"""\
version = 1
requires-python = ">=3.11"

[[package]]
name = "orders"
version = "0.1.0"
source = {{ editable = "." }}
dependencies = [{{ name = "alpha" }}, {{ name = "windows-only", marker = "sys_platform == 'win32'" }}]

[package.dev-dependencies]
dev = [{{ name = "pytest" }}]

[[package]]
name = "alpha"
version = "1.0"
source = {{ registry = "https://index.invalid/simple" }}
dependencies = [{{ name = "beta", extra = ["fast"] }}]
sdist = {{ url = "https://index.invalid/alpha.tar.gz", hash = "sha256:{A}" }}
wheels = [{{ url = "https://index.invalid/alpha.whl", hash = "sha256:{B}" }}]

[[package]]
name = "beta"
version = "2.0"
source = {{ registry = "https://index.invalid/simple" }}
wheels = [{{ url = "https://index.invalid/beta.whl", hash = "sha256:{C}" }}]

[package.optional-dependencies]
fast = []

[[package]]
name = "pytest"
version = "9.0"
source = {{ registry = "https://index.invalid/simple" }}
wheels = [{{ url = "https://index.invalid/pytest.whl", hash = "sha256:{C}" }}]
"""
POETRY_2 = f"""\
[[package]]
name = "alpha"
version = "1.0"
optional = false
groups = ["main"]
files = [{{file = "alpha.tar.gz", hash = "sha256:{A}"}}, {{file = "alpha.whl", hash = "sha256:{B}"}}]

[[package]]
name = "beta"
version = "2.0"
optional = false
groups = ["main", "dev"]
markers = {{main = "sys_platform == 'linux'"}}
files = [{{file = "beta.whl", hash = "sha256:{C}"}}]

[[package]]
name = "pytest"
version = "9.0"
optional = false
groups = ["dev"]
files = [{{file = "pytest.whl", hash = "sha256:{C}"}}]

[[package]]
name = "windows-only"
version = "1.0"
optional = false
groups = ["main"]
markers = "sys_platform == 'win32'"
files = [{{file = "w.whl", hash = "sha256:{C}"}}]
"""
POETRY_1 = f"""\
[[package]]
name = "alpha"
version = "1.0"
optional = false
files = [{{file = "alpha.tar.gz", hash = "sha256:{A}"}}, {{file = "alpha.whl", hash = "sha256:{B}"}}]

[package.dependencies]
beta = {{version = ">=2", extras = ["fast"]}}
windows-only = {{version = "*", markers = "sys_platform == 'win32'"}}

[[package]]
name = "beta"
version = "2.0"
optional = false
files = [{{file = "beta.whl", hash = "sha256:{C}"}}]

[[package]]
name = "pytest"
version = "9.0"
optional = false
files = [{{file = "pytest.whl", hash = "sha256:{C}"}}]
"""
PDM = f"""\
[metadata]
groups = ["default", "dev"]

[[package]]
name = "alpha"
version = "1.0"
groups = ["default"]
dependencies = ["beta>=2"]
files = [{{file = "alpha.tar.gz", hash = "sha256:{A}"}}, {{file = "alpha.whl", hash = "sha256:{B}"}}]

[[package]]
name = "beta"
version = "2.0"
extras = ["fast"]
groups = ["default"]
files = [{{file = "beta.whl", hash = "sha256:{C}"}}]

[[package]]
name = "beta"
version = "2.0"
groups = ["default"]
files = [{{file = "beta.whl", hash = "sha256:{C}"}}]

[[package]]
name = "pytest"
version = "9.0"
groups = ["dev"]
files = [{{file = "pytest.whl", hash = "sha256:{C}"}}]

[[package]]
name = "windows-only"
version = "1.0"
groups = ["default"]
marker = "sys_platform == \\"win32\\""
files = [{{file = "w.whl", hash = "sha256:{C}"}}]
"""
PYLOCK = f"""\
lock-version = "1.0"
created-by = "test"

[[packages]]
name = "alpha"
version = "1.0"
sdist = {{url = "https://index.invalid/alpha.tar.gz", hashes = {{sha256 = "{A}"}}}}
wheels = [{{url = "https://index.invalid/alpha.whl", hashes = {{sha256 = "{B}"}}}}]

[[packages]]
name = "beta"
version = "2.0"
marker = "sys_platform == 'linux' or 'fast' in extras"
wheels = [{{url = "https://index.invalid/beta.whl", hashes = {{sha256 = "{C}"}}}}]

[[packages]]
name = "pytest"
version = "9.0"
marker = "'dev' in dependency_groups"
wheels = [{{url = "https://index.invalid/pytest.whl", hashes = {{sha256 = "{C}"}}}}]

[[packages]]
name = "windows-only"
version = "1.0"
marker = "sys_platform == 'win32'"
wheels = [{{url = "https://index.invalid/w.whl", hashes = {{sha256 = "{C}"}}}}]
"""
EVERY = [
    ("requirements.lock", REQUIREMENTS, "requirements"),
    ("uv.lock", UV, "uv"),
    ("poetry.lock", POETRY_2, "poetry"),
    ("poetry.lock", POETRY_1, "poetry"),
    ("pdm.lock", PDM, "pdm"),
    ("pylock.toml", PYLOCK, "pylock"),
]


def read(name: str, text: str, *, roots: tuple[str, ...] = ("alpha>=1",)) -> Lock:
    return read_lock(name, text.encode(), target=LINUX, roots=roots, project="orders")


URL = "https://files.invalid/alpha-1.0-py3-none-any.whl"
UV_URL = f"""version = 1
[[package]]
name = "app"
version = "1"
source = {{ editable = "." }}
dependencies = [{{ name = "alpha" }}]

[[package]]
name = "alpha"
version = "1.0"
source = {{ url = "{URL}" }}
wheels = [{{ url = "{URL}", hash = "sha256:{A}" }}]
"""
POETRY_URL = f"""[[package]]
name = "alpha"
version = "1.0"
groups = ["main"]
files = [{{file = "alpha-1.0-py3-none-any.whl", hash = "sha256:{A}"}}]

[package.source]
type = "url"
url = "{URL}"
"""
PDM_URL = f"""[[package]]
name = "alpha"
version = "1.0"
groups = ["default"]
url = "{URL}"
files = [{{url = "{URL}", hash = "sha256:{A}"}}]
"""
PYLOCK_URL = f"""[[packages]]
name = "alpha"
archive = {{url = "{URL}", hashes = {{sha256 = "{A}"}}}}
"""
BY_URL = [
    ("uv.lock", UV_URL), ("poetry.lock", POETRY_URL), ("pdm.lock", PDM_URL), ("pylock.toml", PYLOCK_URL),
    ("requirements.txt", f"alpha @ {URL} --hash=sha256:{A}\n"), ("requirements.txt", f"alpha @ {URL}#sha256={A}\n"),
]  # fmt: skip
FILE = "dist/alpha-1.0-py3-none-any.whl"
BY_PATH = [
    ("uv.lock", UV_URL.replace("source = { url", "source = { path").replace(URL, FILE)),
    ("poetry.lock", POETRY_URL.replace('"url"', '"file"').replace(URL, FILE)),
    ("pdm.lock", PDM_URL.replace("url =", "path =", 1).replace(URL, FILE)),
    ("pylock.toml", PYLOCK_URL.replace("url", "path").replace(URL, FILE)),
]


@pytest.mark.parametrize(
    ("name", "text", "address"), [*((*one, URL) for one in BY_URL), *((*one, FILE) for one in BY_PATH)]
)
def test_one_file_with_its_hash_is_taken_from_where_the_lock_says(name: str, text: str, address: str) -> None:
    lock = read(name, text)
    assert lock.diagnostics == ()
    (alpha,) = lock.packages
    assert (alpha.version, alpha.hashes, alpha.address) == ("1.0", (f"sha256:{A}",), address)
    assert lock.requirements() == f"alpha==1.0 --hash=sha256:{A}\n"


@pytest.mark.parametrize(("name", "text", "kind"), EVERY)
def test_every_format_names_the_same_packages_with_their_hashes(name: str, text: str, kind: str) -> None:
    lock = read(name, text)
    assert lock.diagnostics == ()
    assert lock.format == kind
    assert lock.requirements() == (
        f"alpha==1.0 --hash=sha256:{A} --hash=sha256:{B}\nbeta==2.0 --hash=sha256:{C}\n"
    )  # fmt: skip


def test_the_same_packages_have_the_same_key_in_every_format() -> None:
    assert len({read(name, text).key() for name, text, _ in EVERY}) == 1


@pytest.mark.parametrize(
    ("name", "text", "code"),
    [
        ("requirements.txt", "alpha==1.0\n", "lock-unpinned"),
        ("requirements.txt", f"alpha>=1.0 --hash=sha256:{A}\n", "lock-unpinned"),
        ("requirements.txt", f"alpha==1.* --hash=sha256:{A}\n", "lock-unpinned"),
        ("requirements.txt", "-r other.txt\n", "lock-option"),
        ("requirements.txt", "-e .\n", "lock-option"),
        ("requirements.txt", "???\n", "lock-line"),
        ("requirements.txt", "alpha @ https://files.invalid/alpha-1.0-py3-none-any.whl\n", "lock-source"),
        ("requirements.txt", f"alpha @ https://files.invalid/a.whl --hash=sha256:{A}\n", "lock-source"),
        ("requirements.txt", f"alpha @ git+https://git.invalid/a.whl --hash=sha256:{A}\n", "lock-source"),
        ("poetry.lock", POETRY_URL.replace("url", "directory", 1), "lock-source"),
        ("pdm.lock", PDM_URL.replace(URL, "./folder", 1), "lock-source"),
        ("uv.lock", UV_URL.replace("{ url", "{ editable", 1), "lock-source"),
        ("pylock.toml", PYLOCK_URL.replace("sha256", "sha512", 1), "lock-source"),
        (
            "uv.lock",
            UV.replace('registry = "https://index.invalid/simple"', 'git = "https://git.invalid/a"', 1),
            "lock-source",
        ),
        ("uv.lock", UV.replace('name = "beta"\nversion', 'name = "gamma"\nversion'), "lock-incomplete"),
        ("pylock.toml", '[[packages]]\nname = "a"\n[packages.vcs]\nurl = "https://git.invalid/a"\n', "lock-source"),
        ("poetry.lock", POETRY_2.replace(f'"sha256:{C}"', '"md5:00"', 1), "lock-unpinned"),
    ],
)
def test_what_cannot_be_verified_is_named_and_left_out(name: str, text: str, code: str) -> None:
    found = read(name, text).diagnostics
    assert [one.code for one in found] == [code]
    assert found[0].where is not None
    assert found[0].where.file == name


def test_a_line_of_requirements_is_told_by_its_number() -> None:
    found = read("requirements.txt", f"# first\n\nalpha==1.0 \\\n  --hash=sha256:{A}\nbeta==2\n").diagnostics
    assert found[0].where is not None
    assert found[0].where.line == 5


def test_a_fork_of_the_lock_that_fits_the_target_is_taken() -> None:
    text = "".join(
        f'[[package]]\nname = "numbers"\nversion = "{version}"\nresolution-markers = ["{marker}"]\n'
        f'source = {{ registry = "https://index.invalid" }}\nwheels = [{{ url = "https://index.invalid/n", hash = "sha256:{A}" }}]\n'
        for version, marker in (("1", "python_full_version < '3.11'"), ("2", "python_full_version >= '3.11'"))
    )
    lock = read("uv.lock", text, roots=("numbers",))
    assert [(one.name, one.version) for one in lock.packages] == [("numbers", "2")]


@pytest.mark.parametrize("name", ["uv.lock", "poetry.lock", "pdm.lock", "pylock.toml"])
def test_a_lock_that_is_no_toml_is_refused(name: str) -> None:
    with pytest.raises(UserError):
        read(name, "[[[")


def test_a_target_that_is_none_is_refused() -> None:
    for python, architecture in (("2.7", "amd64"), ("3", "amd64"), ("3.11", "mips")):
        with pytest.raises(UserError):
            Target(python, architecture)

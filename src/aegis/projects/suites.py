"""How a project's tests are run and what they need: pytest or unittest, where they lie, who configures them.

Reads configuration and file names only. `unittest` suites are run through pytest, which collects them as they are.
"""

from __future__ import annotations

import ast
import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

from aegis.projects.model import Files, Needs, Suite
from aegis.projects.packaging import Metadata, ini, lines, poetry_requirements, text

_FOLDERS: Final = ("tests", "test", "testing", "src/tests", "t")
_KINDS: Final = {
    "unit": ("unit",),
    "integration": ("integration", "functional"),
    "e2e": ("e2e", "end2end", "acceptance"),
}
_DEFAULT_FILE: Final = re.compile(r"(?:test_.*|.*_test)\.py")
_UNITTEST_FILE: Final = re.compile(r"tests?.*\.py|.*tests?\.py")
_CASE: Final = re.compile(r"^class \w+\((?:[\w.]*\.)?(?:\w*TestCase)\)", re.MULTILINE)
_NAMES: Final = ("test", "tests", "testing", "unit", "unittest", "tests_require", "pytest")
_WIDER: Final = ("dev", "develop", "development", "ci", "all")
_PATTERNS: Final = (
    "requirements-{}.txt", "requirements_{}.txt", "{}-requirements.txt", "{}_requirements.txt", "requirements/{}.txt",
    "requirements/requirements-{}.txt", "tests/requirements-{}.txt", "requirements/{}.in", "requirements-{}.in",
)  # fmt: skip
_FILES: Final = (
    *(pattern.format(name) for name in ("test", "tests", "testing", "dev", "develop", "ci") for pattern in _PATTERNS),
    "tests/requirements.txt",
    "test/requirements.txt",
)
_REQUIREMENT: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*(?:\[[\w,.-]+\])?\s*(?:[<>=!~].*|;.*|)")


def suite(files: Files, meta: Metadata) -> Suite:
    """The project's tests."""
    config, options, named = _pytest_config(files, meta)
    coverage = _coverage_config(files, meta)
    candidates = [path for path in files if _is_test_file(path)]
    folders = [folder for folder in _FOLDERS if any(path.startswith(folder + "/") for path in candidates)]
    folders += sorted(
        {path[: path.rindex("/tests/") + 6] for path in candidates if "/tests/" in path and not path.startswith(tuple(f"{f}/" for f in folders))}
    )  # fmt: skip
    if not candidates:
        return Suite(config=config, options=options, coverage_config=coverage, why="no file looks like a test")
    runner = "pytest" if config or _uses_pytest(files, candidates) else "unittest"
    paths = tuple(named) or tuple(folders)
    stray = [path for path in candidates if not path.startswith(tuple(f"{f}/" for f in folders))]
    if not named:
        unusual = [path for path in candidates if not _DEFAULT_FILE.fullmatch(path.rsplit("/", 1)[-1])]
        extra = [path for path in unusual if _CASE.search(text(files, path))]
        paths = (*paths, *(stray if not folders else ()), *(path for path in extra if folders or path not in stray))
    kinds = {kind: found for kind, words in _KINDS.items() if (found := _kind(files, folders, words))}
    where = ", ".join(paths[:4]) or "everywhere"
    why = f"{len(candidates)} test files in {where}" + (f", configured in {config}" if config else "")
    return Suite(
        runner=runner,  # type: ignore[arg-type]  # one of two literals
        paths=tuple(dict.fromkeys(paths)),
        kinds=kinds,
        config=config,
        options=options,
        coverage_config=coverage,
        why=why,
    )


def needs(files: Files, meta: Metadata) -> Needs:
    """What the tests need, from the most to the least exact source; the first that says something counts."""
    for found in _sources(files, meta):
        if not found.empty:
            return found
    return Needs(why="nothing says what the tests need; pytest and coverage are installed")


def _is_test_file(path: str) -> bool:
    name = path.rsplit("/", 1)[-1]
    if path.startswith(("docs/", "examples/", "doc/", "docs_src/")) or not name.endswith(".py"):
        return False
    if _DEFAULT_FILE.fullmatch(name):
        return True
    inside = path.startswith(("tests/", "test/")) or "/" not in path
    return inside and name != "setup.py" and bool(_UNITTEST_FILE.fullmatch(name))


def _uses_pytest(files: Files, candidates: Iterable[str]) -> bool:
    if any(path.rsplit("/", 1)[-1] == "conftest.py" for path in files):
        return True
    return any(
        re.search(r"^\s*(?:import|from) pytest\b|^def test_", text(files, path), re.MULTILINE) for path in candidates
    )


def _pytest_config(files: Files, meta: Metadata) -> tuple[str, str, tuple[str, ...]]:
    """Which file configures pytest, as pytest itself looks for it, its `addopts` and `testpaths`."""
    for name in ("pytest.toml", ".pytest.toml"):
        if name in files:
            return name, *_toml_options(tomllib.loads(text(files, name)).get("pytest") or {})
    for name in ("pytest.ini", ".pytest.ini"):
        if name in files:
            return name, *_ini_options(text(files, name), "pytest")
    table = meta.tool.get("pytest")
    if isinstance(table, Mapping):
        return "pyproject.toml", *_toml_options(table.get("ini_options") or table)
    for name, section in (("tox.ini", "pytest"), ("setup.cfg", "tool:pytest")):
        if ini(text(files, name)).has_section(section):
            return name, *_ini_options(text(files, name), section)
    return "", "", ()


def _toml_options(table: Mapping[str, Any]) -> tuple[str, tuple[str, ...]]:
    options, paths = table.get("addopts") or "", table.get("testpaths") or ()
    options = options if isinstance(options, str) else " ".join(map(str, options))
    return options, tuple(paths.split() if isinstance(paths, str) else map(str, paths))


def _ini_options(content: str, section: str) -> tuple[str, tuple[str, ...]]:
    parser = ini(content)
    options = " ".join(lines(parser.get(section, "addopts", fallback="")))
    return options, tuple(" ".join(lines(parser.get(section, "testpaths", fallback=""))).split())


def _coverage_config(files: Files, meta: Metadata) -> str:
    if ".coveragerc" in files:
        return ".coveragerc"
    for name in ("setup.cfg", "tox.ini"):
        if any(section.startswith("coverage:") for section in ini(text(files, name)).sections()):
            return name
    return "pyproject.toml" if "coverage" in meta.tool else ""


def _kind(files: Files, folders: Iterable[str], words: Iterable[str]) -> tuple[str, ...]:
    found = [f"{folder}/{word}" for folder in folders for word in words]
    return tuple(path for path in found if any(one.startswith(path + "/") and _is_test_file(one) for one in files))


# -- what tests need -------------------------------------------------------------------------------------


def _sources(files: Files, meta: Metadata) -> Iterator[Needs]:
    poetry: Mapping[str, Any] = meta.tool.get("poetry") or {}
    poetry_groups: Mapping[str, Any] = poetry.get("group") or {}
    pdm: Mapping[str, Any] = (meta.tool.get("pdm") or {}).get("dev-dependencies") or {}
    for names in (_NAMES, _WIDER):
        yield _chosen(meta.groups, names, "groups", "dependency group")
        yield _chosen(meta.extras, names, "extras", "extra")
        for name in names:
            table = (poetry_groups.get(name) or {}).get("dependencies") or {}
            yield Needs(requirements=poetry_requirements(table), why=f"poetry's group {name}")
            yield Needs(requirements=_only(pdm.get(name) or ()), why=f"pdm's group {name}")
        if names is _NAMES:
            yield _hatch(meta)
            yield _files(files, ("test",))
            yield _tox(files)
            yield _nox(files)
    legacy = poetry_requirements(poetry.get("dev-dependencies") or {})
    yield Needs(requirements=legacy, why="poetry's dev-dependencies")
    yield Needs(
        requirements=_only((meta.tool.get("uv") or {}).get("dev-dependencies") or ()), why="uv's dev-dependencies"
    )
    yield _files(files, ("dev", "ci"))


def _chosen(table: Mapping[str, tuple[str, ...]], names: Iterable[str], role: str, word: str) -> Needs:
    known = {re.sub(r"[-_.]+", "-", name).lower(): name for name in table}
    for name in names:
        found = known.get(name.replace("_", "-"))
        if found is None:
            continue
        if name == "tests_require":
            return Needs(requirements=table[found], why="setup.py's tests_require")
        return Needs(**{role: (found,)}, why=f"{word} {found!r}")
    return Needs()


def _hatch(meta: Metadata) -> Needs:
    environments: Mapping[str, Any] = (meta.tool.get("hatch") or {}).get("envs") or {}
    for name in ("test", "tests", "hatch-test", "default"):
        table = environments.get(name) or {}
        found = _only([*(table.get("dependencies") or ()), *(table.get("extra-dependencies") or ())])
        features = tuple(one for one in map(str, table.get("features") or ()) if one in meta.extras)
        if found or features:
            return Needs(requirements=found, extras=features, why=f"hatch's environment {name!r}")
    return Needs()


def _files(files: Files, words: Iterable[str]) -> Needs:
    listed = [name for name in _FILES if any(word in name for word in words) and name in files]
    preferred = next((name for name in listed if name.endswith(".in") and "==" in text(files, name)), None)
    first = preferred or (listed[0] if listed else None)
    if first is None and "test" in words and re.search(r"^pytest\b", text(files, "requirements.txt"), re.MULTILINE):
        first = "requirements.txt"  # one file for everything, its tests' needs among it
    return Needs(files=(first,), why=first) if first else Needs()


def _tox(files: Files) -> Needs:
    content = text(files, "tox.ini")
    if not content:
        legacy = (
            (tomllib.loads(text(files, "pyproject.toml")).get("tool") or {}).get("tox") or {} if _toml(files) else {}
        )
        content = str(legacy.get("legacy_tox_ini") or "")
        if not content and legacy:
            base = legacy.get("env_run_base") or {}
            return Needs(
                requirements=_only(base.get("deps") or ()),
                groups=tuple(map(str, base.get("dependency_groups") or ())),
                extras=tuple(map(str, base.get("extras") or ())),
                why="tox's env_run_base",
            )
    parser = ini(content)
    if not parser.has_section("testenv"):
        return Needs()
    listed = lines(parser.get("testenv", "deps", fallback=""))
    wanted = [re.sub(r"^-r\s*(?:\{toxinidir\}/)?", "", line) for line in listed if line.startswith("-r")]
    return Needs(
        requirements=_only(line for line in listed if not line.startswith("-")),
        files=tuple(name.strip() for name in wanted if name.strip() in files),
        groups=lines(parser.get("testenv", "dependency_groups", fallback="")),
        extras=tuple(
            one
            for line in lines(parser.get("testenv", "extras", fallback=""))
            for one in re.split(r"[,\s]+", line)
            if re.fullmatch(r"[\w.-]+", one)  # `{env:…}` is tox's own, and empty here
        ),
        why="tox.ini",
    )


def _toml(files: Files) -> bool:
    try:
        return bool(tomllib.loads(text(files, "pyproject.toml")))
    except tomllib.TOMLDecodeError:
        return False


def _nox(files: Files) -> Needs:
    """The literal arguments of `session.install(…)` in the sessions of a noxfile whose name begins with "test"."""
    try:
        tree = ast.parse(text(files, "noxfile.py"))
    except (SyntaxError, ValueError):
        return Needs()
    found: list[str] = []
    for function in tree.body:
        if isinstance(function, ast.FunctionDef) and function.name.startswith(("test", "pytest", "unit")):
            for call in (one for one in ast.walk(function) if isinstance(one, ast.Call)):
                if isinstance(call.func, ast.Attribute) and call.func.attr == "install":
                    found += [
                        str(a.value) for a in call.args if isinstance(a, ast.Constant) and isinstance(a.value, str)
                    ]
    named = [one for one in found if not one.startswith(("-", "."))]
    listed = tuple(one for one in named if one in files)
    return Needs(requirements=_only(one for one in named if one not in files), files=listed, why="noxfile.py")


def _only(values: Iterable[object]) -> tuple[str, ...]:
    """Those of `values` that are requirements; lines with conditions of tox's own are not."""
    return tuple(one.strip() for one in map(str, values) if _REQUIREMENT.fullmatch(one.strip()))

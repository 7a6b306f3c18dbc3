"""How a project is built and where its packages lie: setuptools, hatchling, poetry, flit, pdm, uv, maturin, scikit-build.

Reads pyproject.toml, setup.cfg and (without carrying anything out) setup.py. What a build does at run time is unknown here.
"""

from __future__ import annotations

import ast
import configparser
import re
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from aegis.projects.model import Build, Files, Package, Remark

_SYSTEMS: Final = (
    ("setuptools", "setuptools"), ("hatchling", "hatchling"), ("poetry.core", "poetry"), ("poetry", "poetry"),
    ("flit_core", "flit"), ("flit", "flit"), ("pdm.backend", "pdm"), ("pdm.pep517", "pdm"), ("uv_build", "uv"),
    ("maturin", "maturin"), ("scikit_build_core", "scikit-build"), ("mesonpy", "meson"),
)  # fmt: skip
_NOT_PACKAGES: Final = frozenset(
    [
        "tests",
        "test",
        "testing",
        "docs",
        "doc",
        "examples",
        "example",
        "scripts",
        "tools",
        "benchmarks",
        "benchmark",
        "bench",
        "build",
        "dist",
        "ci",
        "contrib",
        "requirements",
        "tasks",
        "utils_dev",
        "changelog",
        "news",
        "node_modules",
        "site",
        "venv",
        "env",
        "migrations_data",
    ]
)
_NOT_MODULES: Final = frozenset(
    {"setup", "conftest", "noxfile", "tasks", "fabfile", "manage", "test", "tests", "versioneer"}
)
_COMPILED: Final = (".pyx", ".c", ".cpp", ".rs", ".pxd")


@dataclass(frozen=True, slots=True, kw_only=True)
class Metadata:
    """What the packaging files say. `extras` and `groups` hold requirement strings; `tool` is pyproject's `tool` table."""

    name: str = ""
    version: str | None = None
    requires_python: str = ""
    dependencies: tuple[str, ...] = ()
    extras: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    groups: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    tool: Mapping[str, Any] = field(default_factory=dict)
    build: Build = field(default_factory=Build)
    remarks: tuple[Remark, ...] = ()


def text(files: Files, path: str) -> str:
    """A file as text, empty where it is not there; bytes that are not UTF-8 are replaced."""
    return files[path].decode("utf-8", "replace") if path in files else ""


def metadata(files: Files) -> Metadata:
    """Everything the packaging files declare, pyproject.toml before setup.cfg before setup.py."""
    document, remarks = _pyproject(files)
    project: Mapping[str, Any] = document.get("project") or {}
    tool: Mapping[str, Any] = document.get("tool") or {}
    cfg, script = _setup_cfg(text(files, "setup.cfg")), _setup_py(text(files, "setup.py"))
    poetry: Mapping[str, Any] = tool.get("poetry") or {}
    extras = {
        **script.extras,
        **cfg.extras,
        **{k: _strings(v) for k, v in (project.get("optional-dependencies") or {}).items()},
    }
    poetry_dependencies = {k: v for k, v in (poetry.get("dependencies") or {}).items() if k != "python"}
    return Metadata(
        name=str(
            project.get("name") or poetry.get("name") or _flit(tool) or cfg.name or script.name or _info(files, "Name")
        ),
        version=_version(project, poetry) or cfg.version or script.version or _info(files, "Version") or None,
        requires_python=str(project.get("requires-python") or cfg.requires_python or script.requires_python or ""),
        dependencies=_strings(project.get("dependencies"))
        or poetry_requirements(poetry_dependencies)
        or cfg.dependencies
        or script.dependencies,
        extras=extras,
        groups={str(k): _group(v) for k, v in (document.get("dependency-groups") or {}).items()},
        tool=tool,
        build=_build(document, files),
        remarks=remarks,
    )


def poetry_requirements(table: Mapping[str, Any]) -> tuple[str, ...]:
    """Poetry's dependency table as requirement strings; caret and tilde become ranges, what has no version none."""
    found = []
    for name, value in table.items():
        if isinstance(value, str):
            found.append(name + _poetry_range(value))
        elif isinstance(value, Mapping) and isinstance(value.get("version"), str) and not value.get("optional"):
            extras = f"[{','.join(_strings(value['extras']))}]" if value.get("extras") else ""
            marker = f" ; {value['markers']}" if value.get("markers") else ""
            found.append(name + extras + _poetry_range(value["version"]) + marker)
    return tuple(found)


def packages(files: Files, meta: Metadata) -> tuple[Literal["src", "flat", "none"], tuple[Package, ...]]:
    """The layout and the import packages, those that are declared before those that look like it."""
    declared = [path.strip("/") for path in _declared(meta.tool) if path.strip("/")]
    present = [path for path in declared if any(one.startswith(path + "/") or one == path for one in files)]
    if present:
        roots = {"src" if path.startswith("src/") else "flat" for path in present}
        found = [Package(name=_dotted(path), path=path) for path in present]
        return ("src" if roots == {"src"} else "flat"), tuple(found)
    under = _importable(files, "src/")
    if under:
        return "src", under
    flat = _importable(files, "")
    wanted = re.sub(r"[-.]+", "_", meta.name).lower()
    named = [
        one
        for one in flat
        if one.name.lower() in {wanted, wanted.replace("_", "")} or wanted.startswith(one.name.lower() + "_")
    ]
    if flat:
        return "flat", tuple(named or flat)
    return "none", ()


def compiled(files: Files) -> bool:
    """Whether it has sources that need a compiler."""
    return any(path.endswith(_COMPILED) and not path.startswith(("tests/", "docs/", "test/")) for path in files)


# -- reading ---------------------------------------------------------------------------------------------


def _pyproject(files: Files) -> tuple[Mapping[str, Any], tuple[Remark, ...]]:
    try:
        return tomllib.loads(text(files, "pyproject.toml")), ()
    except tomllib.TOMLDecodeError as error:
        remark = Remark(
            level="fail", topic="build", message=f"pyproject.toml is not TOML: {error}", mend="mend the file"
        )
        return {}, (remark,)


def _build(document: Mapping[str, Any], files: Files) -> Build:
    table = document.get("build-system") or {}
    module = str(table.get("build-backend") or "")
    requires = " ".join(_strings(table.get("requires")))
    for prefix, system in _SYSTEMS:
        if module.split(":", maxsplit=1)[0].startswith(prefix) or (
            not module and table and prefix.replace("_", "-") in requires
        ):
            return Build(system=system, module=module or prefix, why=f"pyproject.toml names {module or prefix}")
    if module:
        return Build(system="other", module=module, why=f"pyproject.toml names {module}")
    for name in ("setup.py", "setup.cfg"):
        if name in files and ("[metadata]" in text(files, name) or name == "setup.py"):
            return Build(system="setuptools", module="setuptools.build_meta:__legacy__", why=f"there is a {name}")
    if document.get("project"):
        return Build(
            system="setuptools", module="setuptools.build_meta", why="pyproject.toml names no backend (PEP 517)"
        )
    return Build(why="no pyproject.toml with [build-system] or [project], no setup.py, no setup.cfg")


def _version(project: Mapping[str, Any], poetry: Mapping[str, Any]) -> str | None:
    value = project.get("version") or poetry.get("version")
    return str(value) if value and "version" not in _strings(project.get("dynamic")) else None


def _info(files: Files, key: str) -> str:
    """A field of the metadata that a source distribution carries."""
    found = re.search(rf"^{key}: *(\S+)", text(files, "PKG-INFO").split("\n\n", 1)[0], re.MULTILINE)
    return found[1] if found else ""


def _flit(tool: Mapping[str, Any]) -> str:
    flit = tool.get("flit") or {}
    return str((flit.get("metadata") or {}).get("dist-name") or (flit.get("metadata") or {}).get("module") or "")


def _strings(value: object) -> tuple[str, ...]:
    if isinstance(value, str):
        return (value,)
    return tuple(str(one) for one in value if isinstance(one, str)) if isinstance(value, (list, tuple)) else ()


def _group(value: object) -> tuple[str, ...]:
    return _strings(value)


def _poetry_range(text: str) -> str:
    parts = [part.strip() for part in text.split(",") if part.strip() not in {"", "*"}]
    return ",".join(_poetry_part(part) for part in parts)


def _poetry_part(part: str) -> str:
    if part[0] in "^~" and not part.startswith("~="):
        numbers = [int(one) for one in re.findall(r"\d+", part)[:3]]
        if part[0] == "~":
            at = 1 if len(numbers) > 1 else 0
        else:
            at = next((index for index, one in enumerate(numbers) if one), len(numbers) - 1)
        upper = [*numbers[:at], numbers[at] + 1]
        return f">={part[1:].strip()},<{'.'.join(map(str, upper))}"
    return part if part[0] in "<>=!~" else f"=={part}"


def _declared(tool: Mapping[str, Any]) -> Iterable[str]:
    """The folders of packages as the build backends' own settings name them."""
    wheel = (((tool.get("hatch") or {}).get("build") or {}).get("targets") or {}).get("wheel") or {}
    yield from _strings(wheel.get("packages"))
    for one in (tool.get("poetry") or {}).get("packages") or ():
        if isinstance(one, Mapping) and isinstance(one.get("include"), str):
            yield f"{one.get('from', '')}/{one['include']}".split("/*", 1)[0].strip("/")
    setuptools = tool.get("setuptools") or {}
    root = (
        str((setuptools.get("package-dir") or {}).get("", ""))
        if isinstance(setuptools.get("package-dir"), Mapping)
        else ""
    )
    listed = setuptools.get("packages")
    for name in (*_strings(listed), *(f"{one}.py" for one in _strings(setuptools.get("py-modules")))):
        folder = name if name.endswith(".py") else name.replace(".", "/")
        if "/" not in folder:
            yield f"{root}/{folder}".strip("/")
    module = str((((tool.get("flit") or {}).get("module")) or {}).get("name", "")).replace(".", "/")
    if module:
        yield from (f"src/{module}", module)


def _dotted(path: str) -> str:
    return path.removeprefix("src/").removesuffix(".py").replace("/", ".")


def _importable(files: Files, root: str) -> tuple[Package, ...]:
    found: dict[str, Package] = {}
    for path in files:
        if not path.startswith(root) or not path.endswith(".py"):
            continue
        first, *rest = path[len(root) :].split("/")
        if rest and first not in _NOT_PACKAGES and first.isidentifier() and not first.startswith("_"):
            if f"{root}{first}/__init__.py" in files:
                found[first] = Package(name=first, path=root + first)
            elif root:  # a namespace package
                found.setdefault(first, Package(name=first, path=root + first))
        elif (
            not rest
            and first.removesuffix(".py") not in _NOT_MODULES | {"__init__"}
            and (root or _library_module(first))
        ):
            name = first.removesuffix(".py")
            found.setdefault(name, Package(name=name, path=path))
    return tuple(found[name] for name in sorted(found))


def _library_module(name: str) -> bool:
    return not name.startswith(("test_", "_")) and not name.endswith("_test.py")


@dataclass(frozen=True, slots=True)
class _Old:
    name: str = ""
    version: str | None = None
    requires_python: str = ""
    dependencies: tuple[str, ...] = ()
    extras: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


def ini(content: str) -> configparser.RawConfigParser:
    """An ini file; an empty one where it cannot be read."""
    parser = configparser.RawConfigParser(strict=False, allow_no_value=True)
    try:
        parser.read_string(content)
    except configparser.Error:
        return configparser.RawConfigParser()
    return parser


def lines(value: str | None) -> tuple[str, ...]:
    """The lines of a value in an ini file, without comments and blank ones."""
    stripped = (re.sub(r"(^|\s)#.*", "", line).strip() for line in (value or "").splitlines())
    return tuple(line for line in stripped if line)


def _setup_cfg(content: str) -> _Old:
    parser = ini(content)
    version = parser.get("metadata", "version", fallback="") or ""
    extras = parser.items("options.extras_require") if parser.has_section("options.extras_require") else []
    return _Old(
        name=parser.get("metadata", "name", fallback="") or "",
        version=version if re.match(r"\d", version) else None,
        requires_python=parser.get("options", "python_requires", fallback="") or "",
        dependencies=lines(parser.get("options", "install_requires", fallback="")),
        extras={name: lines(value) for name, value in extras},
    )


def _setup_py(content: str) -> _Old:
    """The literal keyword arguments of `setup(…)`; names that stand for literal lists are followed once."""
    try:
        tree = ast.parse(content)
    except (SyntaxError, ValueError):
        return _Old()
    names: dict[str, ast.expr] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Assign) and len(node.targets) == 1 and isinstance(node.targets[0], ast.Name):
            names.setdefault(node.targets[0].id, node.value)
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and getattr(node.func, "id", getattr(node.func, "attr", "")) == "setup":
            values = {one.arg: _literal(one.value, names) for one in node.keywords if one.arg}
            extras = values.get("extras_require")
            version = values.get("version")
            return _Old(
                name=str(values.get("name") or ""),
                version=version if isinstance(version, str) else None,
                requires_python=str(values.get("python_requires") or ""),
                dependencies=_strings(values.get("install_requires")),
                extras={
                    **({str(k): _strings(v) for k, v in extras.items()} if isinstance(extras, dict) else {}),
                    **({"tests_require": _strings(values["tests_require"])} if values.get("tests_require") else {}),
                },
            )
    return _Old()


def _literal(node: ast.expr, names: Mapping[str, ast.expr]) -> object:
    if isinstance(node, ast.Name) and node.id in names:
        node = names[node.id]
    if isinstance(node, ast.Dict):
        pairs = [(k, v) for k, v in zip(node.keys, node.values, strict=True) if k is not None]
        return {_literal(k, names): _literal(v, names) for k, v in pairs if isinstance(k, ast.Constant)}
    try:
        return ast.literal_eval(node)
    except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
        return None

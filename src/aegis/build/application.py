"""Finds the application of a project: its files, its framework, the object that serves, its lock.

Pure: it reads a `Tree` and answers with what it chose and why. Code is read with `ast` and never imported. The
options of `[tool.aegis]` in pyproject.toml come first; what they leave open is found, and said. How the files become
layers is decided in `build.image`.
"""

from __future__ import annotations

import ast
import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from packaging.requirements import InvalidRequirement, Requirement

from aegis.build.ports import Tree, TreeFile
from aegis.core.errors import UserError, Where
from aegis.core.locks import NAMES

_NOT_CODE: Final = frozenset(
    {"tests", "test", "testing", "docs", "doc", "examples", "example", "benchmarks", "scripts", "tools", "migrations",
     "build", "dist", "node_modules", "venv", "env", "seeds", "site"}
)  # fmt: skip
_NOT_MODULES: Final = frozenset({"setup.py", "conftest.py", "noxfile.py", "fabfile.py", "tasks.py", "manage.py"})
_FRAMEWORKS: Final = {
    "FastAPI": "fastapi",
    "Starlette": "starlette",
    "Litestar": "litestar",
    "Quart": "quart",
    "Flask": "flask",
}
_LIKELY_NAMES: Final = ("app", "application", "api", "asgi", "create_app", "get_app", "make_app")
_LIKELY_MODULES: Final = ("app", "main", "asgi", "api", "server", "__init__")
_OPTIONS: Final = frozenset(
    {"app", "command", "include", "base", "builder", "dockerfile", "lock", "python", "version", "source", "port",
     "user", "build-from-source", "name", "compression", "cache"}
)  # fmt: skip


BUILDERS: Final = ("buildah", "docker", "buildctl")
"""Programs that carry out a Dockerfile, in the order in which they are looked for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """`[tool.aegis]` of pyproject.toml. Empty values are found by looking."""

    app: str = ""
    command: tuple[str, ...] = ()
    include: tuple[str, ...] = ()
    base: str = ""
    builder: str = ""
    dockerfile: str = "Dockerfile"
    lock: str = ""
    python: str = ""
    version: str = ""
    source: str = ""
    port: int = 8000
    user: str = "65532:65532"
    build_from_source: tuple[str, ...] = ()
    name: str = ""
    compression: str = "gzip"
    cache: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Project:
    """What pyproject.toml says. `dynamic_version` when the version is not written there."""

    name: str
    version: str
    dynamic_version: bool
    dependencies: tuple[str, ...]
    scripts: Mapping[str, str] = field(default_factory=dict)
    entry_points: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    options: Options = Options()
    has_metadata: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """An object that serves. `factory` when it is a function that makes it."""

    target: str
    framework: str
    factory: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Application:
    """Everything of a project that goes into an image. `code` maps paths under the source root to paths in the tree."""

    project: Project
    layout: str
    code: Mapping[str, TreeFile]
    data: tuple[TreeFile, ...]
    serves: Found | None
    lock: str
    notes: tuple[str, ...]


def read_project(tree: Tree, *, name: str) -> Project:
    """What pyproject.toml says; without one, a project called `name` without dependencies."""
    if not tree.exists("pyproject.toml"):
        return Project(name=name, version="", dynamic_version=True, dependencies=(), has_metadata=False)
    try:
        data = tomllib.loads(tree.read("pyproject.toml").decode())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        where = Where("pyproject.toml")
        raise UserError("pyproject", f"pyproject.toml cannot be read: {error}", where=where) from error
    try:
        return _project(data, name)
    except (AttributeError, TypeError) as error:
        message = f"pyproject.toml has not the shape that PEP 621 gives it: {error}"
        raise UserError("pyproject", message, where=Where("pyproject.toml")) from error


def _project(data: dict[str, Any], name: str) -> Project:
    options = _options(data.get("tool", {}).get("aegis", {}))
    poetry = data.get("tool", {}).get("poetry", {})
    table = data.get("project") or {
        "name": poetry.get("name"), "version": poetry.get("version"), "scripts": poetry.get("scripts", {}),
        "dependencies": [one for one in poetry.get("dependencies", {}) if one.lower() != "python"],
    }  # fmt: skip
    dynamic = "version" in table.get("dynamic", ()) or not table.get("version")
    return Project(
        name=options.name or table.get("name") or name,
        version="" if dynamic else table["version"],
        dynamic_version=dynamic,
        dependencies=tuple(table.get("dependencies") or ()),
        scripts={key: value for key, value in (table.get("scripts") or {}).items() if isinstance(value, str)},
        entry_points=table.get("entry-points", {}),
        options=options,
    )


def find_application(tree: Tree, *, name: str) -> Application:
    """The application of the project in `tree`; `UserError` where there is no code, or options that do not fit."""
    project = read_project(tree, name=name)
    root, layout = _source_root(tree, project.options)
    code = dict(_code(tree, root, layout))
    if not code:
        raise UserError("no-code", "there is no Python code here", hint='say where: [tool.aegis] source = "src"')
    notes = [f"{layout} layout, {len(code)} files"]
    serves, more = _serving(tree, code, project.options)
    if serves is None and not project.options.command:
        serves, more = _django(tree, code)
    notes += more
    lock, note = _lock(tree, project)
    notes += [note] if note else []
    data: list[TreeFile] = []
    for one in project.options.include:
        _inside(one)
        found = tree.files(one) or ((TreeFile(path=one),) if tree.exists(one) else ())
        if not found:
            where = Where("pyproject.toml")
            raise UserError("include-missing", f"[tool.aegis] include names {one!r}, which is not there", where=where)
        data += found
    return Application(
        project=project, layout=layout, code=code, data=tuple(data), serves=serves, lock=lock, notes=tuple(notes)
    )


# -- options ----------------------------------------------------------------------------------------------


def _options(table: Any) -> Options:
    where = Where("pyproject.toml")
    if not isinstance(table, dict):
        raise UserError("tool-aegis", "[tool.aegis] is not a table", where=where)
    unknown = sorted(set(table) - _OPTIONS)
    if unknown:
        known = ", ".join(sorted(_OPTIONS))
        raise UserError("tool-aegis", f"[tool.aegis] knows no {unknown[0]!r}", hint=f"it knows {known}", where=where)
    values: dict[str, Any] = {}
    for key, value in table.items():
        name = key.replace("-", "_")
        default = getattr(Options(), name)
        if isinstance(default, tuple):
            if not isinstance(value, list) or not all(isinstance(one, str) for one in value):
                raise UserError("tool-aegis", f"[tool.aegis] {key} is not a list of strings", where=where)
            values[name] = tuple(value)
        elif type(value) is not type(default):
            kind = "a number" if isinstance(default, int) else "a string"
            raise UserError("tool-aegis", f"[tool.aegis] {key} is not {kind}", where=where)
        else:
            values[name] = value
    found = Options(**values)
    if found.compression not in {"gzip", "zstd"}:
        hint = "gzip, which every client takes, or zstd"
        raise UserError("tool-aegis", f"[tool.aegis] compression = {found.compression!r}", hint=hint, where=where)
    return found


def _inside(path: str) -> None:
    if path.startswith("/") or ".." in path.split("/"):
        raise UserError("path-outside", f"{path!r} leads out of the project", where=Where("pyproject.toml"))


# -- files ------------------------------------------------------------------------------------------------


def _source_root(tree: Tree, options: Options) -> tuple[str, str]:
    if options.source:
        _inside(options.source)
        return options.source.rstrip("/"), "declared"
    if any(file.path.endswith(".py") for file in tree.files("src")):
        return "src", "src"
    return "", "flat"


def _code(tree: Tree, root: str, layout: str) -> Iterator[tuple[str, TreeFile]]:
    if layout != "flat":
        for file in tree.files(root):
            inside = file.path.removeprefix(f"{root}/")
            if _is_kept(inside):
                yield inside, file
        return
    for folder in tree.folders():
        if folder in _NOT_CODE or folder.startswith(".") or not tree.exists(f"{folder}/__init__.py"):
            continue
        for file in tree.files(folder):
            if _is_kept(file.path):
                yield file.path, file
    for file in tree.files():
        if "/" not in file.path and file.path.endswith(".py") and file.path not in _NOT_MODULES:
            yield file.path, file


def _is_kept(path: str) -> bool:
    parts = path.split("/")
    return not path.endswith((".pyc", ".pyo")) and not any(
        one == "__pycache__" or one.endswith(".egg-info") or one.startswith(".") for one in parts
    )


# -- what serves ------------------------------------------------------------------------------------------


def _serving(tree: Tree, code: Mapping[str, TreeFile], options: Options) -> tuple[Found | None, list[str]]:
    if options.command:
        return None, [f"command {' '.join(options.command)}: as [tool.aegis] says"]
    found = [one for path, file in code.items() if path.endswith(".py") for one in _in_module(tree, path, file)]
    if options.app:
        module, _, name = options.app.partition(":")
        stem = module.replace(".", "/")
        if not name or not ({f"{stem}.py", f"{stem}/__init__.py"} & set(code)):
            where = Where("pyproject.toml")
            hint = 'for example app = "orders.app:app"'
            raise UserError(
                "app-missing", f"[tool.aegis] app = {options.app!r} is not in the code", hint=hint, where=where
            )
        same = next((one for one in found if one.target == options.app), None)
        return same or Found(target=options.app, framework="asgi"), [f"app {options.app}: as [tool.aegis] says"]
    if not found:
        return None, []
    found.sort(key=_rank)
    chosen, others = found[0], [one.target for one in found[1:]]
    note = f"app {chosen.target}: {chosen.framework}, found in the source"
    return chosen, [note + (f" (passed over: {', '.join(others[:4])})" if others else "")]


def _django(tree: Tree, code: Mapping[str, TreeFile]) -> tuple[Found | None, list[str]]:
    """Django's application, beside the settings that manage.py names: asgi.py, else wsgi.py."""
    if not tree.exists("manage.py"):
        return None, []
    named = re.search(rb"DJANGO_SETTINGS_MODULE[\"'],\s*[\"']([\w.]+)\.settings", tree.read("manage.py"))
    package = named[1].decode() if named is not None else ""
    for module, framework in (("asgi", "django"), ("wsgi", "wsgi")):
        if package and f"{package.replace('.', '/')}/{module}.py" in code:
            return Found(target=f"{package}.{module}:application", framework=framework), [
                f"app {package}.{module}:application: django, as manage.py says"
            ]
    return None, []


def _rank(one: Found) -> tuple[bool, int, int, int, str]:
    module, _, name = one.target.partition(":")
    last = module.rsplit(".", 1)[-1]
    likely = _LIKELY_NAMES.index(name) if name in _LIKELY_NAMES else len(_LIKELY_NAMES)
    place = _LIKELY_MODULES.index(last) if last in _LIKELY_MODULES else len(_LIKELY_MODULES)
    return one.factory, likely, place, module.count("."), one.target


def _in_module(tree: Tree, path: str, file: TreeFile) -> Iterator[Found]:
    source = tree.read(file.path)
    if not any(name.encode() in source for name in _FRAMEWORKS):
        return  # reading is cheap, parsing is not
    try:
        parsed = ast.parse(source)
    except (SyntaxError, ValueError):
        return
    module = path.removesuffix(".py").removesuffix("/__init__").replace("/", ".")
    known = dict(_FRAMEWORKS)
    for node in ast.walk(parsed):
        if isinstance(node, ast.ImportFrom):
            known |= {one.asname: known[one.name] for one in node.names if one.asname and one.name in known}
    functions = [node for node in parsed.body if isinstance(node, ast.FunctionDef)]
    makers = {node.name: kind for node in functions if (kind := _kind_made(node, known))}
    for node in parsed.body:
        if isinstance(node, ast.Assign) and len(node.targets) == 1:
            name, kind = _name(node.targets[0]), _made(node.value, {**known, **makers})
        elif isinstance(node, ast.AnnAssign) and node.value is not None:
            name, kind = (
                _name(node.target),
                _made(node.value, {**known, **makers}) or known.get(_name(node.annotation), ""),
            )
        else:
            continue
        if name and kind:
            yield Found(target=f"{module}:{name}", framework=kind)
    for function in functions:
        if function.name in makers and not _needs_arguments(function):
            yield Found(target=f"{module}:{function.name}", framework=makers[function.name], factory=True)


def _kind_made(function: ast.FunctionDef, known: Mapping[str, str]) -> str:
    """The framework of what a function returns, by its annotation, else by what it does; '' for anything else."""
    return known.get(_name(function.returns), "") if function.returns else _returned(function, known)


def _name(node: ast.expr | None) -> str:
    if isinstance(node, ast.Name):
        return node.id
    return node.attr if isinstance(node, ast.Attribute) else ""


def _made(node: ast.expr, known: Mapping[str, str]) -> str:
    return known.get(_name(node.func), "") if isinstance(node, ast.Call) else ""


def _needs_arguments(node: ast.FunctionDef) -> bool:
    arguments = node.args
    without = len(arguments.posonlyargs) + len(arguments.args) - len(arguments.defaults)
    return without > 0 or any(default is None for default in arguments.kw_defaults)


def _returned(node: ast.FunctionDef, known: Mapping[str, str]) -> str:
    made: dict[str, str] = {}
    for inner in ast.walk(node):
        if isinstance(inner, ast.Assign) and len(inner.targets) == 1:
            made[_name(inner.targets[0])] = _made(inner.value, known)
        if isinstance(inner, ast.Return) and inner.value is not None:
            kind = _made(inner.value, known) or made.get(_name(inner.value), "")
            if kind:
                return kind
    return ""


# -- the lock ---------------------------------------------------------------------------------------------


def _lock(tree: Tree, project: Project) -> tuple[str, str]:
    wanted = project.options.lock
    if wanted:
        _inside(wanted)
        if not tree.exists(wanted):
            raise UserError("lock-missing", f"[tool.aegis] lock names {wanted!r}, which is not there")
        return wanted, f"lock {wanted}: as [tool.aegis] says"
    for name in NAMES:
        if tree.exists(name) and (name != "requirements.txt" or b"--hash" in tree.read(name)):
            return name, f"lock {name}"
    if project.dependencies or tree.exists("requirements.txt"):
        raise UserError(
            "lock-missing",
            "the project has dependencies and no lock with hashes",
            hint="write one: `aegis project lock` (uv.lock, poetry.lock, pdm.lock and pylock.toml are read, too)",
        )
    return "", "no dependencies, so no lock"


def direct_names(dependencies: tuple[str, ...]) -> tuple[str, ...]:
    """The names of direct dependencies; what cannot be read is left out (the lock's reader says so)."""
    names = []
    for text in dependencies:
        try:
            names.append(Requirement(text).name)
        except InvalidRequirement:
            continue
    return tuple(names)

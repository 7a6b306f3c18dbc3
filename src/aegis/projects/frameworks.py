"""Whether a project is a service: a web application object in its own packages, and how it is started.

A library that only uses or is a framework stays a library. `[tool.aegis] app` overrules what is found.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Final

from aegis.projects.model import Application, Files, Package
from aegis.projects.packaging import Metadata, text

_OBJECTS: Final = {
    "FastAPI": "fastapi",
    "Starlette": "starlette",
    "Litestar": "litestar",
    "Quart": "quart",
    "Flask": "flask",
}
_OBJECT: Final = re.compile(
    rf"^(?P<name>\w+)\s*(?::\s*[\w.]+\s*)?=\s*(?:\w+\.)?(?P<kind>{'|'.join(_OBJECTS)})\(", re.MULTILINE
)
_FACTORY: Final = re.compile(
    rf"^def (?P<name>create_app|make_app|get_app|build_app)\(.*?\).*?:\n(?:.*\n)*?.*\b(?P<kind>{'|'.join(_OBJECTS)})\(",
    re.MULTILINE,
)
_CALLED: Final = re.compile(
    r"^(?P<name>app|application)\s*(?::\s*[\w.]+\s*)?=\s*(?:create_app|make_app|get_app|build_app)\(", re.MULTILINE
)
_HEALTH: Final = re.compile(r"""["'](/(?:healthz|health|livez|readyz|ping|status|_health|api/health))/?["']""")
_PREFERRED: Final = ("app", "main", "asgi", "application", "server", "web", "__init__", "wsgi", "api")
_ASGI: Final = frozenset({"fastapi", "starlette", "litestar", "quart"})


def application(files: Files, meta: Metadata, packages: Sequence[Package]) -> Application | None:
    """The application to start, or None for a library."""
    health = _health(files, packages)
    declared = (meta.tool.get("aegis") or {}).get("app")
    names = {re.split(r"[\s<>=!~;\[(]", one, maxsplit=1)[0].lower().replace("_", "-") for one in meta.dependencies}
    if isinstance(declared, str) and ":" in declared:
        framework = next((one for one in _OBJECTS.values() if one in names), "asgi")
        return Application(
            framework=framework,
            target=declared,
            start=start(framework, declared),
            health=health,
            why="[tool.aegis] app",
        )
    django = _django(files, names)
    if django is not None:
        return django
    own = meta.name.lower().replace("_", "-")
    for path, module in _modules(files, packages):
        content = text(files, path)
        factory = _FACTORY.search(content)
        called = _CALLED.search(content)
        found = _OBJECT.search(content) or factory
        if found is None and called is None:
            continue
        framework = (
            _OBJECTS[found["kind"]] if found is not None else next((f for f in _OBJECTS.values() if f in names), "")
        )
        if not framework or framework == own or framework not in names:
            continue
        plain = _OBJECT.search(content)
        name = plain["name"] if plain else (called["name"] if called else found["name"] if found else "app")
        target = f"{module}:{name}"
        is_factory = plain is None and called is None
        return Application(
            framework=framework,
            target=target,
            start=start(framework, target, factory=is_factory),
            health=health,
            factory=is_factory,
            why=f"{path} makes a {framework} application",
        )
    return None


def start(framework: str, target: str, *, factory: bool = False) -> tuple[str, ...]:
    """How an application is started; `$PORT` and `$HOST` are put in by whoever runs it."""
    if framework == "flask":
        return (
            "python",
            "-m",
            "flask",
            "--app",
            target + ("()" if factory else ""),
            "run",
            "--host",
            "$HOST",
            "--port",
            "$PORT",
        )
    extra = ("--factory",) if factory else ()
    return ("python", "-m", "uvicorn", target, *extra, "--host", "$HOST", "--port", "$PORT")


def _django(files: Files, names: Iterable[str]) -> Application | None:
    if "manage.py" not in files or "django" not in names:
        return None
    found = re.search(r"DJANGO_SETTINGS_MODULE[\"'],\s*[\"']([\w.]+)\.settings", text(files, "manage.py"))
    if found is None:
        return None
    target = f"{found[1]}.asgi:application"
    health = _health(files, [Package(name=found[1], path=found[1])])
    return Application(
        framework="django",
        target=target,
        start=start("django", target),
        health=health,
        why="manage.py names the settings",
    )


def _modules(files: Files, packages: Sequence[Package]) -> list[tuple[str, str]]:
    found = []
    for package in packages:
        inside = [p for p in files if p == package.path or (p.startswith(package.path + "/") and p.endswith(".py"))]
        for path in inside:
            parts = path.removesuffix(".py").removeprefix("src/").split("/")
            if {"tests", "test", "testing", "examples", "docs", "templates"} & set(parts):
                continue
            module = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
            rank = _PREFERRED.index(parts[-1]) if parts[-1] in _PREFERRED else len(_PREFERRED)
            found.append((len(parts), rank, path, module))
    return [(path, module) for _depth, _rank, path, module in sorted(found)]


def _health(files: Files, packages: Sequence[Package]) -> str:
    for path, _module in _modules(files, packages):
        found = _HEALTH.search(text(files, path))
        if found:
            return found[1]
    return "/healthz"

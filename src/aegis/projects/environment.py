"""How a project's environment is made: which programs, in which order, and what is verified. Pure; nothing is run here.

From a lock with hashes everything is verified before it is unpacked. Without one, what the project and its tests declare is
resolved anew. A name that the internal index has is never looked for elsewhere.
"""

from __future__ import annotations

import ast
import hashlib
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from aegis.core.errors import UserError
from aegis.projects.detect import TEST_LOCK
from aegis.projects.model import Files, LockFile, Project
from aegis.projects.packaging import text

TOOLS: Final = ("pytest", "coverage")
_KNOWN: Final = {
    "pytest_mock": "pytest-mock", "pytest_asyncio": "pytest-asyncio", "pytest_httpbin": "pytest-httpbin",
    "hypothesis": "hypothesis", "freezegun": "freezegun", "mock": "mock", "trio": "trio", "anyio": "anyio", "httpx": "httpx",
    "requests": "requests", "yaml": "PyYAML", "numpy": "numpy", "pandas": "pandas", "attr": "attrs", "dateutil": "python-dateutil",
    "pretend": "pretend", "responses": "responses", "respx": "respx", "time_machine": "time-machine", "flask": "flask",
    "pydantic": "pydantic", "cryptography": "cryptography", "psutil": "psutil", "six": "six", "parameterized": "parameterized",
    "ddt": "ddt", "pexpect": "pexpect", "lxml": "lxml", "docutils": "docutils", "sphinx": "sphinx", "jinja2": "jinja2",
    "setuptools": "setuptools", "pkg_resources": "setuptools<81", "pytz": "pytz", "tzdata": "tzdata", "tornado": "tornado",
    "aiohttp": "aiohttp", "markdown": "markdown", "pygments": "pygments", "dirty_equals": "dirty-equals", "toml": "toml",
    "multipart": "python-multipart", "itsdangerous": "itsdangerous", "syrupy": "syrupy", "inline_snapshot": "inline-snapshot",
    "pytest_subtests": "pytest-subtests", "pytest_codspeed": "pytest-codspeed", "typing_extensions": "typing-extensions",
    "trustme": "trustme", "chardet": "chardet", "certifi": "certifi", "simplejson": "simplejson", "tomli": "tomli", "cffi": "cffi",
}  # fmt: skip
"""Import name to distribution, for tests that declare nothing: only names that are known are ever installed."""

_OPTIONS: Final = (
    ("--cov", "pytest-cov"), ("-n", "pytest-xdist"), ("--numprocesses", "pytest-xdist"), ("--asyncio-mode", "pytest-asyncio"),
    ("--timeout", "pytest-timeout"), ("--benchmark", "pytest-benchmark"), ("--randomly", "pytest-randomly"),
    ("--reruns", "pytest-rerunfailures"), ("--flakes", "pytest-flakes"), ("--mypy", "pytest-mypy"), ("--codspeed", "pytest-codspeed"),
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class InstallPlan:
    """What is to be done, in order; each step is the arguments of `uv`.

    `requirements` is what the first step reads from the file that stands as `REQUIREMENTS` in it (None: nothing).
    `export` are arguments of `uv` whose output is that text. `notes` are for the reader.
    """

    steps: tuple[tuple[str, ...], ...]
    requirements: bytes | None = None
    export: tuple[str, ...] = ()
    verified: bool = False
    source: str = ""
    notes: tuple[str, ...] = ()


REQUIREMENTS: Final = "{requirements}"


def plan_install(project: Project, files: Files) -> InstallPlan:
    """The way to the project's environment: from its lock, or from what it declares."""
    lock = next((one for one in project.locks if one.hashed), None)
    itself = _itself(project)
    if TEST_LOCK in files:
        plan = InstallPlan(
            steps=(("pip", "sync", "--require-hashes", TEST_LOCK), *itself), verified=True, source=TEST_LOCK
        )
    elif lock is not None:
        plan = _from_lock(lock, project, files, itself)
    else:
        plan = _resolved(project, files)
    return plan


def plan_lock(project: Project, files: Files, *, upgrade: bool = False) -> tuple[tuple[str, ...], ...]:
    """The arguments of `uv` that write `requirements.lock`, and the test environment's lock bound to it."""
    kept = () if upgrade else tuple(arg for name in ("constraints.txt",) if name in files for arg in ("-c", name))
    form = (
        "--generate-hashes", "--universal", "--no-header", "--no-emit-index-url", "--no-emit-find-links", "--quiet",
        "--no-annotate", "--custom-compile-command", "aegis project lock", *(("--upgrade",) if upgrade else ()),
    )  # fmt: skip
    python = _lowest(project.requires_python)
    form += ("--python-version", python) if python else ()
    runtime = ("pip", "compile", *form, *kept, *_declaring(project, files), "-o", "requirements.lock")
    needs = project.needs
    if needs.empty and not project.suite.paths:
        return (runtime,)
    extra = [arg for name in needs.extras for arg in ("--extra", name)]
    extra += [arg for name in needs.groups for arg in ("--group", name)]
    tests = (
        "pip",
        "compile",
        *form,
        "-c",
        "requirements.lock",
        *kept,
        *_declaring(project, files),
        *extra,
        *needs.files,
        REQUIREMENTS,
    )
    return (runtime, (*tests, "-o", TEST_LOCK))


def test_requirements(project: Project, files: Files) -> tuple[str, ...]:
    """Single requirements of the tests: those that were declared, those that can be told, and the tools."""
    wanted = list(project.needs.requirements)
    if project.needs.empty:
        wanted += _told(project, files)
    named = {one.split("[")[0].split("=")[0].split("<")[0].split(">")[0].strip().lower() for one in wanted}
    return (*wanted, *(tool for tool in TOOLS if tool not in named))


def stamp(project: Project, files: Files, *, python: str, index: str, version: str) -> str:
    """A digest of everything that an environment was made from: equal digests need no work."""
    parts = [python, version, hashlib.sha256(index.encode()).hexdigest()]
    names: tuple[str, ...] = (
        "pyproject.toml",
        "setup.py",
        "setup.cfg",
        "tox.ini",
        "noxfile.py",
        "constraints.txt",
        TEST_LOCK,
    )
    names += (*(lock.path for lock in project.locks), *project.needs.files)
    parts += [f"{name}:{hashlib.sha256(files[name]).hexdigest()}" if name in files else name for name in names]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def _itself(project: Project) -> tuple[tuple[str, ...], ...]:
    return () if project.build.system == "none" else (("pip", "install", "--no-deps", "-e", "."),)


def _resolved(project: Project, files: Files) -> InstallPlan:
    needs = project.needs
    extras = f"[{','.join(needs.extras)}]" if needs.extras else ""
    itself = ("-e", f".{extras}") if project.build.system != "none" else ()
    listed = [name for name in needs.files if name in files]
    plain = "requirements.txt"
    if not itself and plain in files:
        listed.insert(0, plain)
    arguments = [
        *itself,
        *(a for name in needs.groups for a in ("--group", name)),
        *(a for f in listed for a in ("-r", f)),
    ]
    wanted = test_requirements(project, files)
    note = "nothing is locked, so nothing was verified by hash: aegis project lock"
    return InstallPlan(steps=(("pip", "install", *arguments, *wanted),), source="its declarations", notes=(note,))


def _from_lock(lock: LockFile, project: Project, files: Files, itself: tuple[tuple[str, ...], ...]) -> InstallPlan:
    needs = project.needs
    if lock.kind == "uv":
        chosen = [a for name in needs.extras for a in ("--extra", name)] + [
            a for name in needs.groups for a in ("--group", name)
        ]
        export = ("export", "--frozen", "--no-emit-project", "--no-header", "--no-annotate", "--quiet", *chosen)
        steps = (("pip", "sync", "--require-hashes", REQUIREMENTS), *itself)
        return InstallPlan(steps=steps, export=export, verified=True, source=lock.path)
    if lock.kind in {"poetry", "pdm"}:
        content = locked_requirements(files[lock.path], lock.path)
        steps = (("pip", "sync", "--require-hashes", REQUIREMENTS), *itself)
        return InstallPlan(steps=steps, requirements=content, verified=True, source=lock.path)
    flag = () if lock.kind == "pylock" else ("--require-hashes",)
    first: tuple[str, ...] = ("pip", "sync", *flag, lock.path)
    wanted = test_requirements(project, files)
    groups = [a for name in needs.groups for a in ("--group", name)] + [a for f in needs.files for a in ("-r", f)]
    extras = ["-e", f".[{','.join(needs.extras)}]"] if needs.extras and itself else []
    rest = ("pip", "install", *groups, *extras, *wanted)
    note = f"{lock.path} was verified; the tests' own tools are not locked: aegis project lock"
    return InstallPlan(steps=(first, *itself, rest), verified=True, source=lock.path, notes=(note,))


def locked_requirements(content: bytes, path: str) -> bytes:
    """What a poetry.lock or pdm.lock pins, in pip's form with hashes; all groups. `UserError` where one has no hash."""
    try:
        document = tomllib.loads(content.decode())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UserError("lock-unreadable", f"{path} cannot be read: {error}", hint="write the lock again") from error
    old: Mapping[str, Any] = (document.get("metadata") or {}).get("files") or {}
    found = []
    for one in document.get("package") or ():
        name, listed = str(one.get("name")), one.get("files") or old.get(str(one.get("name"))) or ()
        hashes = sorted({str(file["hash"]) for file in listed if isinstance(file, Mapping) and "hash" in file})
        if one.get("path") or one.get("editable"):
            continue
        if not hashes:
            hint = "publish it to an index, or leave it out of the lock"
            raise UserError("lock-unhashed", f"{path} pins {name} without a hash (a folder or repository?)", hint=hint)
        marker = f" ; {_marker(one)}" if _marker(one) else ""
        found.append(
            f"{name}=={one.get('version')}{marker} \\\n" + " \\\n".join(f"    --hash={h}" for h in hashes) + "\n"
        )
    return "".join(dict.fromkeys(found)).encode()


def _marker(package: Mapping[str, Any]) -> str:
    value = package.get("markers") or package.get("marker") or ""
    if isinstance(value, Mapping):
        value = next((str(one) for one in value.values()), "")
    return str(value).replace("\n", " ")


def _declaring(project: Project, files: Files) -> tuple[str, ...]:
    for name in ("pyproject.toml", "setup.py", "setup.cfg", "requirements.in", "requirements.txt"):
        if name in files and (name != "pyproject.toml" or project.build.system != "none"):
            return (name,)
    raise UserError("lock-nothing", "nothing here declares dependencies", hint="write a pyproject.toml with [project]")


def _lowest(requires: str) -> str:
    versions = [part.strip()[2:].strip() for part in requires.split(",") if part.strip().startswith(">=")]
    return versions[0].rstrip(".*") if versions else ""


def _told(project: Project, files: Files) -> list[str]:
    """Distributions that the tests import or their options name, among those that are known by name."""
    options = project.suite.options.split()
    found = [name for prefix, name in _OPTIONS if any(one.startswith(prefix) for one in options)]
    own = {package.name.split(".")[0] for package in project.packages}
    imported = {name for path in _test_files(project, files) for name in _imports(text(files, path))}
    local = {path.split("/")[-1].removesuffix(".py") for path in files if path.endswith(".py")}
    found += [_KNOWN[name] for name in sorted(imported - own - (local - set(_KNOWN))) if name in _KNOWN]
    return list(dict.fromkeys(found))


def _test_files(project: Project, files: Files) -> Iterable[str]:
    roots: Sequence[str] = project.suite.paths
    return (
        p
        for p in files
        if p.endswith(".py") and any(p == root or p.startswith(root.rstrip("/") + "/") for root in roots)
    )


def _imports(source: str) -> set[str]:
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError, RecursionError):
        return set()
    found = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    found |= {
        node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.module and not node.level
    }
    return {name.split(".")[0] for name in found}

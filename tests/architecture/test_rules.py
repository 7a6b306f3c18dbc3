"""Rules that imports and sizes do not show: who may use what, where, and what a name may be."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "src" / "aegis"

OUTSIDE = {"subprocess", "socket", "sqlite3", "httpx", "urllib.request", "http.client", "requests"}
CONCURRENCY = {"asyncio", "threading", "concurrent.futures", "multiprocessing"}
EDGES = {"pydantic", "starlette", "uvicorn", "fastapi"}
FORBIDDEN_NAMES = {"utils", "util", "helpers", "helper", "manager", "common", "misc"}
PURE = (
    "core/types.py", "core/plan.py", "core/ids.py", "execution/status.py", "execution/schedule.py", "gates/judge.py",
    "gates/policy.py", "rollout/decide.py", "rollout/analysis.py", "access/approvals.py", "source/branches.py",
    "source/versions.py", "gitops/render.py", "gitops/promote.py", "delivery/flow.py", "ledger/chain.py",
)  # fmt: skip


def imports(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module


def breaches(banned: set[str], allowed: tuple[str, ...]) -> list[str]:
    found = []
    for path in SOURCE.rglob("*.py"):
        place = path.relative_to(SOURCE).as_posix()
        if place.startswith(allowed):
            continue
        found += [f"{place} imports {name}" for name in imports(path) if name in banned or name.split(".")[0] in banned]
    return found


def test_only_adapters_touch_the_outside() -> None:
    assert not breaches(OUTSIDE, ("adapters/",))


def test_concurrency_stays_where_processes_are_run() -> None:
    allowed = (
        "adapters/",
        "daemon/",
        "web/",
        "lsp/",
        "execution/supervise",
        "execution/coordinator",
        "delivery/queries/world.py",
        "bootstrap/",
    )
    assert not breaches(CONCURRENCY, allowed)


def test_models_and_frameworks_stay_at_the_edges() -> None:
    assert not breaches(EDGES, ("adapters/", "config/", "web/", "daemon/"))


def test_decision_modules_neither_read_clocks_nor_files_nor_dice() -> None:
    for name in PURE:
        path = SOURCE / name
        tree = ast.parse(path.read_text())
        modules = set(imports(path))
        assert not modules & {"time", "random", "secrets", "os", "pathlib", "uuid"}, name
        calls = {ast.unparse(node.func) for node in ast.walk(tree) if isinstance(node, ast.Call)}
        assert not calls & {"open", "datetime.now", "datetime.utcnow", "print", "input"}, name


def test_no_module_is_named_after_nothing() -> None:
    assert not [path for path in SOURCE.rglob("*") if path.stem in FORBIDDEN_NAMES]


def test_no_error_is_swallowed_silently() -> None:
    found = []
    for path in SOURCE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            broad = isinstance(node, ast.ExceptHandler) and (
                node.type is None or ast.unparse(node.type) in ("Exception", "BaseException")
            )
            if broad and all(isinstance(step, ast.Pass) for step in node.body):
                found.append(f"{path.relative_to(SOURCE)}:{node.lineno}")
    assert not found


def test_every_public_module_class_and_function_says_what_it_is() -> None:
    silent = []
    for path in SOURCE.rglob("*.py"):
        tree = ast.parse(path.read_text())
        if not ast.get_docstring(tree):
            silent.append(str(path.relative_to(SOURCE)))
    assert not silent


def test_the_version_is_told_without_importing_anything_else() -> None:
    script = (
        "import sys; sys.argv=['aegis','--version']; from aegis.cli import main; main(); "
        "print([m for m in sys.modules if m.startswith(('click','msgspec','yaml','aegis.core'))])"
    )
    said = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout
    assert said.splitlines()[1] == "[]"


def test_the_lock_pins_everything_by_hash_and_names_no_address() -> None:
    lock = (ROOT / "requirements.lock").read_text()
    assert "://" not in lock
    for block in re.split(r"\n(?=\S)", lock.strip()):
        assert "--hash=sha256:" in block, block


def test_tracked_files_name_no_path_of_a_machine() -> None:
    tracked = (
        subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True).stdout.decode().split("\0")
    )
    places = re.compile("/" + "work/|/" + "farm/|/" + "root/")
    wrong = []
    for name in filter(None, tracked):
        path = ROOT / name
        if (
            path.is_file()
            and path.suffix in {".py", ".md", ".toml", ".yml", ".yaml", ".cfg", ".lock", ""}
            and places.search(path.read_text(errors="replace"))
        ):
            wrong.append(name)
    assert not wrong

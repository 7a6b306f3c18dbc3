"""`Backends` by uv: what a project is built with is installed first, wheels only; then its own code runs, shut in.

Decides in which order and with how much sight. What a project is built with, and at which versions, is decided by the project and the
lock: what the lock has is taken as locked, by hash; of anything else the newest wheel that the declared indexes have.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

from aegis.build.ports import Built, Sources
from aegis.core.errors import ExternalError
from aegis.core.ports import Tool, ToolLimits, ToolResult

_SECONDS: Final = 900.0
_ASKED: Final = "asked.json"
_LOOK: Final = """
import json, os, sys, tarfile, tomllib
archive = sys.argv[1]
if archive:
    with tarfile.open(archive) as held:
        held.extractall("source", filter="data")
    (folder,) = os.listdir("source")
else:
    folder = "."
source = os.path.join("source", folder)
try:
    with open(os.path.join(source, "pyproject.toml"), "rb") as file:
        system = tomllib.load(file).get("build-system", {})
except FileNotFoundError:
    system = {}
found = {"folder": folder, "requires": system.get("requires", ["setuptools", "wheel"])}
found["backend"] = system.get("build-backend", "setuptools.build_meta:__legacy__")
found["path"] = system.get("backend-path", [])
with open("asked.json", "w") as file:
    json.dump(found, file)
"""
"""Unpacks, and says what `[build-system]` says (PEP 518); setuptools where it says nothing."""
_ASK: Final = """
import importlib, json, os, sys
found = json.loads(sys.argv[1])
out = os.path.abspath("asked.json")
os.chdir(os.path.join("source", found["folder"]))
sys.path[:0] = [os.path.abspath(one) for one in found["path"]]
name, _, inside = found["backend"].partition(":")
backend = importlib.import_module(name)
for part in inside.split(".") if inside else ():
    backend = getattr(backend, part)
needs = []
for kind in sys.argv[2:]:
    hook = getattr(backend, "get_requires_for_build_" + kind, None)
    needs += hook() if hook is not None else []
with open(out, "w") as file:
    json.dump({"requires": needs}, file)
"""
"""Asks the backend what it needs besides (PEP 517)."""


class UvBackends:
    """Builds with uv. `environment` is what uv may see while it installs; the project's own code sees none of it."""

    def __init__(self, tool: Tool, *, environment: Mapping[str, str]) -> None:
        self._tool = tool
        self._environment = dict(environment)

    def build(self, sources: Sources) -> Built:
        """Build. What cannot be had is `ExternalError` (`build-requires`); what does not build is said in the answer."""
        with tempfile.TemporaryDirectory(prefix="aegis-build-") as place:
            run = _Run(self._tool, self._environment, sources, Path(place))
            done = run.carried_out()
            made_with = run.made_with() if done.exit_code == 0 else {}
        said = (done.stderr or done.stdout).decode("utf-8", "replace").strip()
        return Built(files=dict(done.outputs) if done.exit_code == 0 else {}, said=said[-3000:], made_with=made_with)


class _Run:
    """One build in one directory."""

    def __init__(self, tool: Tool, environment: Mapping[str, str], sources: Sources, place: Path) -> None:
        self._tool = tool
        self._environment = environment
        self._sources = sources
        self._place = place
        self._python = str(place / "with" / "bin" / "python")
        self._seen: tuple[str, ...] = ()

    def carried_out(self) -> ToolResult:
        self._fetch(["uv", "venv", "--quiet", "--python", self._sources.python, str(self._place / "with")])
        # The interpreter, and the library that belongs to it, wherever it is.
        self._seen = (str(Path(self._python).resolve().parents[1]),)
        files = {name: data for name, data in self._sources.files.items() if self._sources.archive}
        files |= {f"source/{name}": data for name, data in self._sources.files.items() if not self._sources.archive}
        # The directory that it works in is its own, the environment beside it is only seen.
        work = self._place / "work"
        work.mkdir()
        looked, found = self._asked(_LOOK, self._sources.archive, inputs=files)
        if looked.exit_code != 0:
            return looked
        self._install(found.get("requires", ()))
        asked, more = self._asked(_ASK, json.dumps(found), *self._sources.kinds)
        if asked.exit_code != 0:
            return asked
        self._install(more.get("requires", ()))
        kinds = () if set(self._sources.kinds) == {"sdist", "wheel"} else (f"--{self._sources.kinds[0]}",)
        argv = [
            "uv",
            "build",
            *kinds,
            "--offline",
            "--no-build-isolation",
            "--no-create-gitignore",
            "--out-dir",
            "dist",
        ]
        folder = f"source/{found['folder']}"
        return self._shut_in([*argv, "--python", self._python, folder], outputs=("dist/*.whl", "dist/*.tar.gz"))

    def made_with(self) -> dict[str, str]:
        """What lies in the environment, which the project's code could not write to."""
        listed = self._fetch(["uv", "pip", "list", "--format", "json", "--offline", "--python", self._python])
        return {canonicalize_name(one["name"]): one["version"] for one in json.loads(listed.stdout)}

    def _asked(
        self, script: str, *arguments: str, inputs: Mapping[str, bytes] | None = None
    ) -> tuple[ToolResult, dict[str, object]]:
        """What a script found out. The project's code may have written it: it is believed nothing but its form."""
        argv = [self._python, "-c", script, *arguments]
        done = self._shut_in(argv, inputs=inputs, outputs=(_ASKED,))
        try:
            found = json.loads(done.outputs.get(_ASKED, b"{}"))
        except ValueError:
            found = {}
        return done, found if isinstance(found, dict) else {}

    def _shut_in(
        self, argv: Sequence[str], *, outputs: Sequence[str], inputs: Mapping[str, bytes] | None = None
    ) -> ToolResult:
        limits = ToolLimits(
            seconds=_SECONDS, network=self._sources.network, sees=(str(self._place / "with"), *self._seen)
        )  # fmt: skip
        return self._tool.run(
            argv, inputs=inputs, outputs=outputs, directory=str(self._place / "work"),
            environment={"PYTHONHASHSEED": "0", **self._sources.environment}, limits=limits,
        )  # fmt: skip

    def _install(self, requires: object) -> None:
        """Into the environment that the project is built in. Of these only wheels are taken: no code of theirs runs."""
        wanted = _requirements(requires)
        if not wanted:
            return
        pinned = "".join(
            f"{one.name}=={one.version}{''.join(f' --hash={each}' for each in one.hashes)}\n"
            for one in self._sources.locked
        )
        argv = ["uv", "pip", "install", "--quiet", "--only-binary", ":all:", "--python", self._python]
        self._fetch([*argv, "--constraint", "locked.txt", "--", *wanted], {"locked.txt": pinned.encode()})

    def _fetch(self, argv: Sequence[str], inputs: Mapping[str, bytes] | None = None) -> ToolResult:
        limits = ToolLimits(seconds=_SECONDS, network=True)
        done = self._tool.run(argv, inputs=inputs, environment=self._environment, limits=limits)
        if done.exit_code != 0:
            said = done.stderr.decode("utf-8", "replace").strip()[-1500:]
            raise ExternalError(
                "build-requires", f"what it is built with cannot be had: {said}",
                hint="is the package index up? what a build needs is installed from wheels, at the lock's versions where it has them",
            )  # fmt: skip
        return done


def _requirements(requires: object) -> list[str]:
    """Requirements that an index answers: neither options nor addresses."""
    found = []
    for one in requires if isinstance(requires, list) else [requires]:
        try:
            read = Requirement(one) if isinstance(one, str) else None
        except InvalidRequirement:
            read = None
        if read is None or read.url is not None:
            raise ExternalError(
                "build-requires", f"it is built with {one!r}, which no index can be asked for",
                hint="`requires` of [build-system] are names and versions (PEP 508), without addresses",
            )  # fmt: skip
        found.append(str(read))
    return found

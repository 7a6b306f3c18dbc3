"""`Wheels` through uv: each file verified against the lock's hashes, unpacked from uv's cache.

uv resolves nothing here (`--no-deps`, `--require-hashes`) and builds nothing that is not named. Which index is asked
is uv's configuration, and the extra index that is given; credentials travel in the environment, never in arguments.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from aegis.adapters.tree_directory import DirectoryTree
from aegis.build.ports import Tree
from aegis.build.target import Target
from aegis.core.errors import ExternalError
from aegis.core.ports import Tool, ToolLimits

_SECONDS: Final = 600.0


class UvWheels:
    """Installs with the `uv` that `tool` finds, for the interpreter at `python`.

    `environment` is what uv may see (proxies, certificates, its own settings), `extra_index` an index that is asked
    first, `scratch` where trees are staged (on the disk of uv's cache linking is cheap).
    """

    def __init__(
        self, *, tool: Tool, python: str, environment: Mapping[str, str], extra_index: str = "",
        scratch: Path | None = None,
    ) -> None:  # fmt: skip
        self._tool = tool
        self._python = python
        self._environment = dict(environment)
        self._extra_index = extra_index
        self._scratch = scratch

    @contextmanager
    def installed(self, requirements: str, target: Target, *, from_source: tuple[str, ...]) -> Iterator[Tree]:
        """The tree that pip would make for `requirements`; it is there within the `with` block."""
        with tempfile.TemporaryDirectory(prefix="aegis-wheels-", dir=self._scratch) as folder:
            (Path(folder) / "requirements.txt").write_text(requirements)
            self._install(folder, target, from_source)
            yield DirectoryTree(Path(folder) / "tree", sources_only=False)

    def _install(self, folder: str, target: Target, from_source: tuple[str, ...]) -> None:
        argv = [
            "uv", "pip", "install", "--quiet", "--no-deps", "--require-hashes", "--target", "tree",
            "--python", self._python, "--python-version", target.python, "--python-platform", target.triple,
            "--only-binary", ":all:", "--no-compile-bytecode", "--requirements", "requirements.txt",
        ]  # fmt: skip
        for name in from_source:
            argv += ["--no-binary", name]
        environment = dict(self._environment)
        if self._extra_index:
            others = environment.get("UV_INDEX", "")
            environment["UV_INDEX"] = f"{self._extra_index} {others}".strip()
        limits = ToolLimits(seconds=_SECONDS, network=True)
        done = self._tool.run(argv, directory=folder, environment=environment, limits=limits)
        if done.exit_code != 0:
            said = done.stderr.decode("utf-8", "replace").strip().replace(self._extra_index or "\0", "<the index>")
            hint = "write the lock again; a package without a wheel needs [tool.aegis] build-from-source"
            raise ExternalError("wheels", f"uv could not install the locked packages: {said[-1500:]}", hint=hint)

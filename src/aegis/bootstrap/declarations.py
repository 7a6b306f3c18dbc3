"""Reads declarations for delivery: `aegis.yaml` with the advisory store that it names."""

from __future__ import annotations

import functools
import io
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path

from aegis.config import options
from aegis.config.load import digest, load
from aegis.core.errors import UserError, Where
from aegis.delivery.context import Adopted

FILE = "aegis.yaml"
_ADVISORY_FILES = (".yaml", ".yml", ".json")


class FileDeclarations:
    """See `Declarations`: all files come from the platform repository (or the directory that was imported)."""

    def read(self, files: Callable[[str], bytes | None], paths: Sequence[str]) -> Adopted:
        """See `Declarations`."""
        data = files(FILE)
        if data is None:
            raise UserError(
                "no-declaration", f"there is no {FILE}", hint="write one: docs/declaration.md", where=Where(FILE)
            )
        declared = load(data, file=FILE)
        people = options.directory(declared)
        folder = str(declared.gates.get("dependencies", {}).get("advisories", "")) if declared.gates else ""
        return Adopted(
            options=options.delivery(declared, digest(data), folder),
            directory=people,
            access=options.access(declared, people),
            advisories=functools.cache(lambda: _advisories(files, paths, folder)),
            runner=options.runner(declared),
            ledger=declared.ledger.postgres,
        )


def _advisories(files: Callable[[str], bytes | None], paths: Sequence[str], folder: str) -> bytes:
    """The advisory store as one archive, the same bytes for the same files."""
    bundle = io.BytesIO()
    with zipfile.ZipFile(bundle, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted(paths):
            if folder and path.startswith(f"{folder}/") and path.endswith(_ADVISORY_FILES):
                archive.writestr(zipfile.ZipInfo(path), files(path) or b"")
    return bundle.getvalue()


def of_directory(directory: Path) -> Adopted:
    """The declaration of a directory on disk, as `aegis up --config` imports it."""
    paths = [
        str(path.relative_to(directory)) for path in directory.rglob("*") if path.is_file() and ".git" not in path.parts
    ]

    def read(path: str) -> bytes | None:
        target = directory / path
        return target.read_bytes() if target.is_file() else None

    return FileDeclarations().read(read, paths)


def of_file(config: Path) -> Adopted:
    """The declaration named on a command line; `UserError` where it is not there."""
    if not config.is_file():
        raise UserError(
            "no-declaration", f"there is no {config}", hint="write one (docs/declaration.md), or try `aegis demo`"
        )
    if config.name != FILE:
        raise UserError("declaration-name", f"the declaration is called {FILE}", hint=f"rename {config.name} to {FILE}")
    return of_directory(config.resolve().parent)

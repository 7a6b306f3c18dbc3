"""Puts together what `aegis adopt` and `aegis check` need: the project's folder and, where named, the declaration's file."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from aegis.adapters.project_files import DirectoryFiles
from aegis.core.errors import NotFound
from aegis.projects.adopt import PIPELINE, Adoption, adopt, declare
from aegis.projects.detect import detect
from aegis.projects.model import Project


@dataclass(frozen=True, slots=True, kw_only=True)
class Adopted:
    """An adoption and what of it was written: paths as given. `kept` is True where a pipeline was there and stays."""

    adoption: Adoption
    written: tuple[str, ...]
    kept: bool


def look(path: str) -> Project:
    """What the project at `path` is."""
    return detect(DirectoryFiles(Path(path)))


def bring(
    path: str, *, name: str | None = None, config: str | None = None, write: bool = True, replace: bool = False
) -> Adopted:
    """Adopt the project at `path`: write its pipeline, and its entry into the declaration at `config`."""
    folder = Path(path)
    files = DirectoryFiles(folder)
    declaration = Path(config) if config else None
    if declaration is not None and not declaration.parent.is_dir():
        raise NotFound("no-folder", f"{declaration.parent} is not a folder", hint="--config names the file aegis.yaml")
    before = declaration.read_text() if declaration is not None and declaration.exists() else ""
    adoption = adopt(detect(files), files, name=name, group=_group(before))
    kept = PIPELINE in files and not replace and files[PIPELINE].decode("utf-8", "replace") != adoption.pipeline
    after = declare(before, adoption) if declaration is not None else ""
    written = []
    if write:
        if not kept:
            (folder / PIPELINE).write_text(adoption.pipeline)
            written.append(str(folder / PIPELINE))
        if declaration is not None and after != before:
            declaration.write_text(after)
            written.append(str(declaration))
    return Adopted(adoption=adoption, written=tuple(written), kept=kept)


def _group(declaration: str) -> str:
    """The group of the first declared project, so that a new one stands beside the others."""
    lines = iter(declaration.splitlines())
    for line in lines:
        if line.startswith("projects:"):
            for entry in lines:
                if entry.strip() and not entry.lstrip().startswith("#"):
                    head = entry.strip().split(":", 1)[0].strip("\"'")
                    return head.rsplit("/", 1)[0] if "/" in head and entry.startswith(" ") else "team"
    return "team"

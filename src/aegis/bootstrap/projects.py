"""Puts together what `aegis adopt` and `aegis check` need: the project's folder and, where named, the declaration's file."""

from __future__ import annotations

import gc
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from aegis.adapters import files_worktree
from aegis.adapters.project_files import DirectoryFiles
from aegis.core.errors import NotFound, UserError
from aegis.projects.adopt import PIPELINE, Adoption, adopt, declare
from aegis.projects.detect import detect
from aegis.projects.model import Project

if TYPE_CHECKING:
    from aegis.pipeline.assessment import Assessment


@dataclass(frozen=True, slots=True, kw_only=True)
class Adopted:
    """An adoption and what of it was written: paths as given. `kept` is True where a pipeline was there and stays."""

    adoption: Adoption
    written: tuple[str, ...]
    kept: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Looked:
    """What `check` found: the project, its GitLab pipeline as it would run here, or what adopting it would write.

    `pipeline` is None where there is none; `adoption` where there is a pipeline already, or nothing that can be adopted.
    """

    project: Project
    pipeline: Assessment | None = None
    adoption: Adoption | None = None

    @property
    def works(self) -> bool:
        """Whether everything would work. A pipeline speaks for itself, whatever language the project is written in."""
        if self.pipeline is not None:
            return self.pipeline.works
        return not any(one.level == "fail" for one in self.project.remarks)


def look(path: str) -> Looked:
    """What the project at `path` is, and what would become of its pipelines. Nothing is written."""
    files = DirectoryFiles(Path(path))
    project = detect(files)
    if (Path(path) / PIPELINE).is_file():
        return Looked(project=project, pipeline=_assessed(Path(path)))
    try:
        return Looked(project=project, adoption=adopt(project, files))
    except UserError:
        return Looked(project=project)


def _assessed(folder: Path) -> Assessment:
    """The pipeline of a folder. Git is asked what it knows of the work tree; the folder itself is the project."""
    from aegis.bootstrap.pipeline import Local, Occasion, request  # noqa: PLC0415 - `adopt` compiles nothing
    from aegis.lsp.elsewhere import RememberedElsewhere  # noqa: PLC0415
    from aegis.pipeline.assessment import assess  # noqa: PLC0415

    tree = files_worktree.find(folder)
    own = tree if tree is not None and tree.root == folder.resolve() else None
    local = Local(directory=folder.resolve(), file=PIPELINE, tree=own)
    asked = request(local, Occasion(changed=()))
    # One project is compiled for several occasions: what it includes from elsewhere is asked for once.
    elsewhere = RememberedElsewhere(asked.elsewhere) if asked.elsewhere is not None else None
    gc.disable()  # compiling makes no cycles: looking for them is a third of the time for large files
    try:
        return assess(replace(asked, elsewhere=elsewhere), containers=False)
    finally:
        gc.enable()


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

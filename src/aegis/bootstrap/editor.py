"""Puts together `aegis lsp`: projects on this machine's disk and the language server over standard input and output."""

from __future__ import annotations

import gc
import logging
from dataclasses import replace
from pathlib import Path

from aegis.adapters import files_worktree
from aegis.bootstrap.pipeline import ROOT, Local, Occasion, request
from aegis.lsp.ports import Opened
from aegis.pipeline import templates


class DiskProjects:
    """Satisfies `aegis.lsp.ports.Projects`."""

    def open(self, path: str, *, as_root: bool) -> Opened:
        """See `Projects`."""
        file = Path(path)
        tree = files_worktree.find(file.parent)
        root = tree.root if tree is not None else _folder(file.parent)
        within = file.relative_to(root).as_posix() if as_root and file.is_relative_to(root) else ROOT
        local = Local(directory=root, file=within, tree=tree)
        asked = request(local, Occasion(source="push", changed=()))
        asked = replace(asked, ref=asked.default_branch, ref_kind="branch", changed=None, before=None)
        return Opened(directory=root.as_posix(), request=asked)

    def component(self, label: str) -> str | None:
        """See `Projects`."""
        found = templates.location(label)
        return str(found) if found is not None else None

    def text(self, path: str) -> str | None:
        """See `Projects`."""
        file = Path(path)
        return file.read_text(encoding="utf-8") if file.is_file() else None


def _folder(start: Path) -> Path:
    """The nearest folder that holds a pipeline, for files outside of any repository; else the file's own folder."""
    for folder in (start, *start.parents):
        if (folder / ROOT).is_file():
            return folder
    return start


def serve_stdio() -> None:
    """Serve one editor until it says goodbye."""
    from aegis.lsp.server import serve  # noqa: PLC0415 - pygls is loaded when an editor asks

    logging.basicConfig(level=logging.WARNING, format="%(name)s: %(message)s")
    server = serve(DiskProjects())
    # Each compilation makes a tree that is thrown away as a whole: looking for circles in it is time without use.
    gc.freeze()
    gc.set_threshold(100_000, 50, 50)
    server.start_io()

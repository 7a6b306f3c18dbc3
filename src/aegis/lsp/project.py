"""One project in an editor: its pipeline compiled anew after each change, the last good state kept beside it.

In-process and synchronous: a pipeline of 2,000 lines takes a few tens of milliseconds.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from aegis.lsp.cursor import key_of
from aegis.lsp.elsewhere import RememberedElsewhere
from aegis.lsp.ports import Opened, Projects
from aegis.lsp.texts import Overlay
from aegis.pipeline.compile import compile_pipeline, inspect_pipeline
from aegis.pipeline.configuration import Configuration
from aegis.pipeline.diagnostics import Diagnostic
from aegis.pipeline.inspection import Inspection
from aegis.pipeline.request import Compilation


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A place in a file of the project or of a component: 0-based line and column. `file` is its label."""

    file: str
    line: int
    column: int
    length: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Findings:
    """What is to be shown in the files of one project."""

    errors: tuple[Diagnostic, ...]
    warnings: tuple[Diagnostic, ...]
    advice: tuple[Diagnostic, ...]


class Project:
    """Satisfies no protocol: the language server's own state of one project."""

    def __init__(self, opened: Opened, projects: Projects) -> None:
        self.directory = opened.directory
        self.projects = projects
        self.texts = Overlay(opened.request.files)
        below = opened.request.elsewhere
        self.elsewhere = RememberedElsewhere(below) if below is not None else None
        self.request = replace(opened.request, files=self.texts, elsewhere=self.elsewhere)
        self.inspection: Inspection | None = None
        self.good: Inspection | None = None
        self.members: frozenset[str] = frozenset()
        """The files that the pipeline was made of, as far as they belong to the project."""
        self._push: Compilation | None = None

    @property
    def root(self) -> str:
        """The pipeline file, relative to the project."""
        return self.request.root

    def refresh(self, opened: Opened) -> None:
        """Look at the disk again."""
        self.texts.forget(opened.request.files)
        if self.elsewhere is not None:
            self.elsewhere.retry()
        self.request = replace(opened.request, files=self.texts, elsewhere=self.elsewhere)
        self._push = None

    def look(self) -> Findings:
        """Compile as the files are now."""
        self.texts.begin()
        self._push = None
        found = self.inspection = inspect_pipeline(self.request)
        self.members = frozenset({self.root, *self.texts.read_paths})
        if found.configuration is not None:
            self.good = found
        return Findings(
            errors=found.compilation.errors, warnings=found.compilation.warnings, advice=found.advice()
        )  # fmt: skip

    @property
    def configuration(self) -> Configuration | None:
        """The newest configuration that could be put together."""
        return self.good.configuration if self.good is not None else None

    def push(self) -> Compilation:
        """What a push to the default branch would run, compiled when somebody asks."""
        if self._push is None:
            self._push = compile_pipeline(self.request)
        return self._push

    def lines(self, file: str) -> list[str]:
        """The lines of a file of the project or of a component; empty where it cannot be read."""
        text = self.texts.text(file)
        if text is None:
            path = self.path(file)
            text = self.projects.text(path) if path is not None else None
        return text.splitlines() if text is not None else []

    def path(self, file: str) -> str | None:
        """The absolute path of a label; None where there is no such file on the disk."""
        if self.texts.text(file) is not None:
            return f"{self.directory}/{file}"
        return self.projects.component(file)

    def files(self) -> tuple[str, ...]:
        """All files that take part: the project's own and those that components bring."""
        configuration = self.configuration
        brought = {key.file for key, _ in configuration.root.entries.values()} if configuration is not None else set()
        return tuple(sorted({*self.members, *brought}))

    def definitions(self, name: str) -> list[Place]:
        """Where a top-level name is defined, in every file that does."""
        found: list[Place] = []
        for file in self.files():
            for number, line in enumerate(self.lines(file)):
                if line[:1] in {"", " ", "#", "-"} or name not in line:
                    continue
                key = key_of(line)
                if key is not None and key[1] == name:
                    found.append(Place(file=file, line=number, column=key[0], length=len(name)))
        return found

    def names(self) -> list[str]:
        """Jobs and hidden jobs: of the last good state, and what stands in the files by now."""
        from aegis.pipeline.keywords import ROOT  # noqa: PLC0415 - a table

        configuration = self.configuration
        known = dict.fromkeys(configuration.root.entries if configuration is not None else ())
        for line in self.lines(self.root):
            key = key_of(line) if line[:1] not in {"", " ", "#", "-"} else None
            if key is not None:
                known[key[1]] = None
        return [name for name in known if name not in ROOT]

"""The language server: pygls' messages to questions about projects, and the answers back. Decides only what is asked when.

A change is compiled a moment after the last keystroke (`PAUSE`), longer for a pipeline that takes longer itself, so that
typing never queues. Documents are kept in step incrementally by pygls.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Sequence
from pathlib import PurePath
from typing import Final, Protocol

from lsprotocol import types as lsp
from pygls import uris
from pygls.lsp.server import LanguageServer
from pygls.workspace import TextDocument

from aegis import __version__
from aegis.lsp import completion, definition, fixes, hover
from aegis.lsp.cursor import key_of
from aegis.lsp.ports import Projects
from aegis.lsp.project import Findings, Place, Project
from aegis.pipeline.diagnostics import Diagnostic

PAUSE: Final = 0.015
"""Seconds after the last keystroke before the pipeline is compiled."""
CHEAP: Final = 0.05
"""A pipeline that takes longer to compile than this is waited for longer, so that fast typing never queues."""
_PIPELINE: Final = re.compile(r"(?:^|.*[._-])gitlab-ci(?:[._-].*)?\.ya?ml$")
_KINDS: Final = {
    "keyword": lsp.CompletionItemKind.Keyword, "value": lsp.CompletionItemKind.EnumMember, "job": lsp.CompletionItemKind.Function,
    "stage": lsp.CompletionItemKind.Enum, "variable": lsp.CompletionItemKind.Variable, "file": lsp.CompletionItemKind.File,
    "component": lsp.CompletionItemKind.Module, "input": lsp.CompletionItemKind.Property, "anchor": lsp.CompletionItemKind.Reference,
}  # fmt: skip


class _Timer(Protocol):
    def cancel(self) -> None: ...


class Editor:
    """The state of one session with one editor: projects by root, and which document belongs to which."""

    def __init__(self, server: LanguageServer, projects: Projects) -> None:
        self.server = server
        self.finder = projects
        self.known: dict[tuple[str, str], Project] = {}
        self.owners: dict[str, Project] = {}
        self.shown: dict[tuple[str, str], set[str]] = {}
        self.waiting: dict[tuple[str, str], _Timer] = {}
        self.cost = 0.0

    def project(self, path: str) -> Project:
        """The project that a document belongs to. A file that no pipeline includes is one itself if its name says so."""
        owner = self.owners.get(path)
        if owner is not None:
            return owner
        main = self._known(path, as_root=False)
        if main.inspection is None:
            main.look()
        name = PurePath(path).name
        inside = relative(main, path) in main.members
        owner = main if inside or not _PIPELINE.fullmatch(name) else self._known(path, as_root=True)
        self.owners[path] = owner
        return owner

    def _known(self, path: str, *, as_root: bool) -> Project:
        opened = self.finder.open(path, as_root=as_root)
        key = (opened.directory, opened.request.root)
        if key not in self.known:
            self.known[key] = Project(opened, self.finder)
        return self.known[key]

    def changed(self, document: TextDocument) -> None:
        """A document was opened or typed in."""
        path = _path(document.uri)
        project = self.project(path)
        for one in self.known.values():
            if path.startswith(f"{one.directory}/"):
                one.texts.put(relative(one, path), document.source)
        self.schedule(project)

    def saved(self, path: str) -> None:
        """Something on the disk changed."""
        self.owners.pop(path, None)
        for key, one in self.known.items():
            if path.startswith(f"{one.directory}/"):
                one.refresh(self.finder.open(f"{one.directory}/{one.root}", as_root=key[1] == one.root))
                self.schedule(one)

    def closed(self, path: str) -> None:
        """A document was closed: what is on the disk counts again."""
        for one in self.known.values():
            if path.startswith(f"{one.directory}/"):
                one.texts.drop(relative(one, path))
        owner = self.owners.pop(path, None)
        if owner is not None:
            self.schedule(owner)

    def schedule(self, project: Project) -> None:
        """Compile soon, once for everything that is typed until then."""
        key = (project.directory, project.root)
        before = self.waiting.pop(key, None)
        if before is not None:
            before.cancel()
        pause = PAUSE + min(max(self.cost - CHEAP, 0) / 2, 0.25)
        self.waiting[key] = asyncio.get_running_loop().call_later(pause, self.publish, project)

    def publish(self, project: Project) -> None:
        """Compile and show what was found, in every file that it was found in."""
        key = (project.directory, project.root)
        self.waiting.pop(key, None)
        begun = time.process_time()
        found = project.look()
        self.cost = time.process_time() - begun
        by_file = _by_file(project, found)
        open_files = {relative(project, path) for path, owner in self.owners.items() if owner is project}
        for file in {*self.shown.get(key, ()), *by_file, *(open_files & project.members)}:
            path = project.path(file)
            if path is None:
                continue
            diagnostics = self._diagnostics(project, file, by_file.get(file, []))
            uri = uris.from_fs_path(path)
            if uri is not None:
                self.server.text_document_publish_diagnostics(
                    lsp.PublishDiagnosticsParams(uri=uri, diagnostics=diagnostics)
                )
        self.shown[key] = set(by_file)

    def _diagnostics(
        self, project: Project, file: str, found: list[tuple[Diagnostic, lsp.DiagnosticSeverity]]
    ) -> list[lsp.Diagnostic]:
        lines = project.lines(file)
        shown = []
        for one, severity in found:
            line = min((one.where.line if one.where is not None else 1) - 1, max(len(lines) - 1, 0))
            column = (one.where.column if one.where is not None else 1) - 1
            text = lines[line] if lines else ""
            column = min(column, len(text))
            shown.append(
                lsp.Diagnostic(
                    range=self.range(lines, line, column, fixes.extent(text, column)),
                    message=f"{one.message}\n{one.hint}" if one.hint else one.message,
                    severity=severity,
                    code=one.code,
                    source="aegis",
                    data={"hint": one.hint},
                )
            )
        return shown

    def range(self, lines: Sequence[str], line: int, begin: int, end: int) -> lsp.Range:
        """A stretch of a line, given in characters, as the client counts."""
        made = lsp.Range(start=lsp.Position(line=line, character=begin), end=lsp.Position(line=line, character=end))
        return self.server.workspace.position_codec.range_to_client_units(lines, made) if lines else made

    def position(self, document: TextDocument, position: lsp.Position) -> tuple[int, int]:
        """A position of the client as line and column in characters."""
        found = document.position_codec.position_from_client_units(document.lines, position)
        return found.line, found.character

    def location(self, project: Project, place: Place) -> lsp.Location | None:
        """A place as the client knows it."""
        path = project.path(place.file)
        uri = uris.from_fs_path(path) if path is not None else None
        if uri is None:
            return None
        lines = project.lines(place.file)
        line = min(place.line, max(len(lines) - 1, 0))
        return lsp.Location(uri=uri, range=self.range(lines, line, place.column, place.column + place.length))


def _path(uri: str) -> str:
    """A document's path with `/`, on every system."""
    return (uris.to_fs_path(uri) or "").replace("\\", "/")


def relative(project: Project, path: str) -> str:
    """A path relative to a project's root."""
    return path.removeprefix(f"{project.directory}/")


def _by_file(project: Project, found: Findings) -> dict[str, list[tuple[Diagnostic, lsp.DiagnosticSeverity]]]:
    by_file: dict[str, list[tuple[Diagnostic, lsp.DiagnosticSeverity]]] = {}
    kinds = (
        (found.errors, lsp.DiagnosticSeverity.Error),
        (found.warnings, lsp.DiagnosticSeverity.Warning),
        (found.advice, lsp.DiagnosticSeverity.Information),
    )
    for diagnostics, severity in kinds:
        for one in diagnostics:
            file = one.where.file if one.where is not None else project.root
            known = file if project.path(file) is not None else project.root
            by_file.setdefault(known, []).append((one, severity))
    return by_file


def serve(projects: Projects) -> LanguageServer:
    """A server that is ready to be started."""
    server = LanguageServer("aegis", __version__, text_document_sync_kind=lsp.TextDocumentSyncKind.Incremental)
    editor = Editor(server, projects)
    _documents(server, editor)
    _questions(server, editor)
    return server


def _documents(server: LanguageServer, editor: Editor) -> None:
    @server.feature(lsp.TEXT_DOCUMENT_DID_OPEN)
    def opened(params: lsp.DidOpenTextDocumentParams) -> None:
        editor.changed(server.workspace.get_text_document(params.text_document.uri))

    @server.feature(lsp.TEXT_DOCUMENT_DID_CHANGE)
    def changed(params: lsp.DidChangeTextDocumentParams) -> None:
        editor.changed(server.workspace.get_text_document(params.text_document.uri))

    @server.feature(lsp.TEXT_DOCUMENT_DID_SAVE)
    def saved(params: lsp.DidSaveTextDocumentParams) -> None:
        editor.saved(_path(params.text_document.uri))

    @server.feature(lsp.TEXT_DOCUMENT_DID_CLOSE)
    def closed(params: lsp.DidCloseTextDocumentParams) -> None:
        editor.closed(_path(params.text_document.uri))

    @server.feature(lsp.WORKSPACE_DID_CHANGE_WATCHED_FILES)
    def watched(params: lsp.DidChangeWatchedFilesParams) -> None:
        for change in params.changes:
            editor.saved(_path(change.uri))


def _questions(server: LanguageServer, editor: Editor) -> None:
    @server.feature(
        lsp.TEXT_DOCUMENT_COMPLETION, lsp.CompletionOptions(trigger_characters=[" ", "$", "[", "-", "*", "{", ","])
    )
    def complete(params: lsp.CompletionParams) -> lsp.CompletionList:
        document, project, line, column = _at(server, editor, params)
        found = completion.complete(project, list(document.lines), line, column)
        return lsp.CompletionList(
            is_incomplete=False, items=[_item(editor, document, one, line, column) for one in found]
        )

    @server.feature(lsp.TEXT_DOCUMENT_HOVER)
    def hovered(params: lsp.HoverParams) -> lsp.Hover | None:
        document, project, line, column = _at(server, editor, params)
        text = hover.hover(project, _plain_lines(document), line, column)
        return lsp.Hover(contents=lsp.MarkupContent(kind=lsp.MarkupKind.Markdown, value=text)) if text else None

    @server.feature(lsp.TEXT_DOCUMENT_DEFINITION)
    def defined(params: lsp.DefinitionParams) -> list[lsp.Location]:
        document, project, line, column = _at(server, editor, params)
        file = relative(project, _path(document.uri))
        places = definition.definitions(project, file, _plain_lines(document), line, column)
        return [found for place in places if (found := editor.location(project, place)) is not None]

    @server.feature(
        lsp.TEXT_DOCUMENT_CODE_ACTION, lsp.CodeActionOptions(code_action_kinds=[lsp.CodeActionKind.QuickFix])
    )
    def act(params: lsp.CodeActionParams) -> list[lsp.CodeAction]:
        document = server.workspace.get_text_document(params.text_document.uri)
        return [
            action
            for one in params.context.diagnostics
            if one.source == "aegis"
            for action in _actions(editor, document, one)
        ]

    @server.feature(lsp.TEXT_DOCUMENT_DOCUMENT_SYMBOL)
    def symbols(params: lsp.DocumentSymbolParams) -> list[lsp.DocumentSymbol]:
        document = server.workspace.get_text_document(params.text_document.uri)
        return _symbols(editor, _plain_lines(document))


def _at(
    server: LanguageServer, editor: Editor, params: lsp.CompletionParams | lsp.HoverParams | lsp.DefinitionParams
) -> tuple[TextDocument, Project, int, int]:
    document = server.workspace.get_text_document(params.text_document.uri)
    line, column = editor.position(document, params.position)
    return document, editor.project(_path(document.uri)), line, column


def _plain_lines(document: TextDocument) -> list[str]:
    return [line.rstrip("\r\n") for line in document.lines]


def _item(
    editor: Editor, document: TextDocument, one: completion.Suggestion, line: int, column: int
) -> lsp.CompletionItem:
    lines = list(document.lines)
    edit = lsp.TextEdit(range=editor.range(lines, line, one.begin, column), new_text=one.insert)
    return lsp.CompletionItem(
        label=one.label, kind=_KINDS[one.kind], documentation=one.detail or None, text_edit=edit,
        sort_text=f"{one.rank}{one.label}", filter_text=one.label,
    )  # fmt: skip


def _actions(editor: Editor, document: TextDocument, diagnostic: lsp.Diagnostic) -> list[lsp.CodeAction]:
    data = diagnostic.data if isinstance(diagnostic.data, dict) else {}
    lines = _plain_lines(document)
    line, column = editor.position(document, diagnostic.range.start)
    found = fixes.fixes(str(diagnostic.code or ""), str(data.get("hint", "")), lines, line, column)
    return [
        lsp.CodeAction(
            title=one.title,
            kind=lsp.CodeActionKind.QuickFix,
            diagnostics=[diagnostic],
            is_preferred=one.sure,
            edit=lsp.WorkspaceEdit(
                changes={
                    document.uri: [
                        lsp.TextEdit(range=editor.range(lines, one.line, one.begin, one.end), new_text=one.text)
                    ]
                }
            ),
        )
        for one in found
    ]


def _symbols(editor: Editor, lines: list[str]) -> list[lsp.DocumentSymbol]:
    begins = [
        (number, key)
        for number, text in enumerate(lines)
        if text[:1] not in {"", " ", "#", "-"} and (key := key_of(text))
    ]
    found = []
    for index, (number, (column, name)) in enumerate(begins):
        last = (begins[index + 1][0] if index + 1 < len(begins) else len(lines)) - 1
        found.append(
            lsp.DocumentSymbol(
                name=name,
                kind=lsp.SymbolKind.Function,
                range=lsp.Range(
                    start=lsp.Position(line=number, character=0),
                    end=editor.range(lines, last, 0, len(lines[last])).end,
                ),
                selection_range=editor.range(lines, number, column, column + len(name)),
            )
        )
    return found

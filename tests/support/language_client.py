"""A real language client (pygls') that speaks to `aegis lsp` in a process of its own."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, TypeVar

from lsprotocol import types as lsp
from pygls.lsp.client import BaseLanguageClient

T = TypeVar("T")
PATIENCE = 30.0


class Session:
    """One editor with one folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.client = BaseLanguageClient("test", "1")
        self.versions: dict[str, int] = {}
        self.published: asyncio.Queue[lsp.PublishDiagnosticsParams] = asyncio.Queue()

        @self.client.feature(lsp.TEXT_DOCUMENT_PUBLISH_DIAGNOSTICS)
        def publish(params: lsp.PublishDiagnosticsParams) -> None:
            self.published.put_nowait(params)

    async def start(self) -> lsp.InitializeResult:
        await self.client.start_io(sys.executable, "-m", "aegis", "lsp", "--stdio")
        answer = await self.client.initialize_async(
            lsp.InitializeParams(capabilities=lsp.ClientCapabilities(), root_uri=self.folder.as_uri())
        )
        self.client.initialized(lsp.InitializedParams())
        return answer

    async def stop(self) -> None:
        await self.client.shutdown_async(None)
        self.client.exit(None)
        await self.client.stop()

    def uri(self, name: str) -> str:
        return (self.folder / name).as_uri()

    def open(self, name: str = ".gitlab-ci.yml", text: str | None = None) -> None:
        text = (self.folder / name).read_text() if text is None else text
        self.versions[name] = 1
        item = lsp.TextDocumentItem(uri=self.uri(name), language_id="yaml", version=1, text=text)
        self.client.text_document_did_open(lsp.DidOpenTextDocumentParams(text_document=item))

    def type(self, line: int, begin: int, end: int, text: str, name: str = ".gitlab-ci.yml") -> None:
        """Replace characters of one line, as a keystroke does."""
        self.versions[name] += 1
        place = lsp.Range(start=lsp.Position(line=line, character=begin), end=lsp.Position(line=line, character=end))
        self.client.text_document_did_change(
            lsp.DidChangeTextDocumentParams(
                text_document=lsp.VersionedTextDocumentIdentifier(uri=self.uri(name), version=self.versions[name]),
                content_changes=[lsp.TextDocumentContentChangePartial(range=place, text=text)],
            )
        )

    async def findings(self, name: str = ".gitlab-ci.yml") -> list[lsp.Diagnostic]:
        """What is published next for a file."""
        while True:
            params = await asyncio.wait_for(self.published.get(), PATIENCE)
            if params.uri == self.uri(name):
                return list(params.diagnostics)

    def place(self, line: int, column: int, name: str = ".gitlab-ci.yml") -> dict[str, Any]:
        return {
            "text_document": lsp.TextDocumentIdentifier(uri=self.uri(name)),
            "position": lsp.Position(line=line, character=column),
        }

    async def complete(self, line: int, column: int, name: str = ".gitlab-ci.yml") -> dict[str, lsp.CompletionItem]:
        found = await self.client.text_document_completion_async(lsp.CompletionParams(**self.place(line, column, name)))
        assert isinstance(found, lsp.CompletionList)
        return {item.label: item for item in found.items}

    async def hover(self, line: int, column: int, name: str = ".gitlab-ci.yml") -> str:
        found = await self.client.text_document_hover_async(lsp.HoverParams(**self.place(line, column, name)))
        assert found is None or isinstance(found.contents, lsp.MarkupContent)
        return found.contents.value if found is not None and isinstance(found.contents, lsp.MarkupContent) else ""

    async def definition(self, line: int, column: int, name: str = ".gitlab-ci.yml") -> list[tuple[str, int]]:
        found = await self.client.text_document_definition_async(lsp.DefinitionParams(**self.place(line, column, name)))
        assert isinstance(found, list)
        return [(one.uri.rsplit("/", 1)[-1], one.range.start.line) for one in found if isinstance(one, lsp.Location)]

    async def actions(self, diagnostic: lsp.Diagnostic, name: str = ".gitlab-ci.yml") -> dict[str, lsp.CodeAction]:
        found = await self.client.text_document_code_action_async(
            lsp.CodeActionParams(
                text_document=lsp.TextDocumentIdentifier(uri=self.uri(name)),
                range=diagnostic.range,
                context=lsp.CodeActionContext(diagnostics=[diagnostic]),
            )
        )
        return {one.title: one for one in found or [] if isinstance(one, lsp.CodeAction)}


def editing(folder: Path, steps: Callable[[Session], Awaitable[T]]) -> T:
    """Carry out steps in a session that is started before and ended after."""

    async def whole() -> T:
        session = Session(folder)
        await session.start()
        try:
            return await asyncio.wait_for(steps(session), PATIENCE * 2)
        finally:
            await session.stop()

    return asyncio.run(whole())

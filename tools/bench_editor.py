"""How long an editor waits: from a keystroke in a file of 2,000 lines to its findings, through the whole language server.

    python tools/bench.py --only editor

Speaks to `aegis lsp` in a process of its own through pygls' client.
"""

from __future__ import annotations

import argparse
import asyncio
import resource
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from figures import Figure, figure
from lsprotocol import types as lsp
from pygls.lsp.client import BaseLanguageClient


def pipeline(lines: int) -> str:
    """Jobs as teams write them: some extend others, need others, have rules, caches and artifacts."""
    text = [
        "stages: [build, test, deploy]", "default:", "  interruptible: true", ".base:", "  before_script:", "    - prepare",
        "  variables: {A: '1', B: '$A/x'}",
    ]  # fmt: skip
    number = 0
    while len(text) < lines - 10:
        number += 1
        text += [
            f"job-{number}:", "  extends: .base", f"  stage: {('build', 'test', 'deploy')[number % 3]}",
            f"  script: ['make {number}', 'echo $B']", "  rules:",
            '    - if: $CI_COMMIT_BRANCH == "main"', "    - if: $CI_COMMIT_TAG",
            "  artifacts:", "    paths: [out/]",
        ]  # fmt: skip
        if number > 3 and number % 3:
            text.append(f"  needs: [job-{number - 3}]")
    return "\n".join(text) + "\n"


async def measure(lines: int, keystrokes: int) -> list[float]:
    """Seconds from each keystroke to the findings of that very text."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        text = pipeline(lines)
        (folder / ".gitlab-ci.yml").write_text(text)
        uri = (folder / ".gitlab-ci.yml").as_uri()
        client = BaseLanguageClient("bench", "1")
        published: asyncio.Queue[list[lsp.Diagnostic]] = asyncio.Queue()

        @client.feature(lsp.TEXT_DOCUMENT_PUBLISH_DIAGNOSTICS)
        def publish(params: lsp.PublishDiagnosticsParams) -> None:
            published.put_nowait(list(params.diagnostics))

        await client.start_io(sys.executable, "-m", "aegis", "lsp")
        await client.initialize_async(
            lsp.InitializeParams(capabilities=lsp.ClientCapabilities(), root_uri=folder.as_uri())
        )
        item = lsp.TextDocumentItem(uri=uri, language_id="yaml", version=1, text=text)
        client.text_document_did_open(lsp.DidOpenTextDocumentParams(text_document=item))
        await published.get()
        line = text.count("\n", 0, text.index("  script: ['make 60'")) if "make 60'" in text else 10
        waits = []
        for number in range(keystrokes):
            # Every other keystroke breaks the keyword, the next one mends it: the answer is told from the one before.
            begin, end, letters = (8, 8, "x") if number % 2 == 0 else (8, 9, "")
            place = lsp.Range(
                start=lsp.Position(line=line, character=begin), end=lsp.Position(line=line, character=end)
            )
            started = time.perf_counter()
            client.text_document_did_change(
                lsp.DidChangeTextDocumentParams(
                    text_document=lsp.VersionedTextDocumentIdentifier(uri=uri, version=number + 2),
                    content_changes=[lsp.TextDocumentContentChangePartial(range=place, text=letters)],
                )
            )
            found = await published.get()
            waits.append(time.perf_counter() - started)
            broken = any(one.code == "unknown-keyword" for one in found)
            if broken != (number % 2 == 0):
                raise SystemExit(f"the findings are not those of the last keystroke: {found[:2]}")
        await client.shutdown_async(None)
        client.exit(None)
        await client.stop()
        return waits


def figures(_: argparse.Namespace) -> Iterator[Figure]:
    """The wait of twenty keystrokes, and what the server computes for each."""
    lines, keystrokes = 2000, 20
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    waits = asyncio.run(measure(lines, keystrokes))
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    how = f"`aegis lsp` through pygls' client, {lines:,} lines: a change → the findings of that very text"
    yield figure("editor: keystroke → findings", "ms", [1000 * one for one in waits], how, target=100)
    whole = "processor time of the server by keystroke, its start included"
    yield figure("editor: computed for a keystroke", "ms", [1000 * used / (keystrokes + 1)], whole)

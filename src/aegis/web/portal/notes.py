"""The note of a merge request as markup: the part of Markdown that our own notes use.

Headings, lists, tables, fenced and inline code, strong words, links to this server or the web. Everything else is
shown as the text it is; nothing in a note can become markup of its own.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from itertools import groupby
from typing import Final

from markupsafe import Markup, escape

_CODE: Final = re.compile(r"`([^`\n]+)`")
_STRONG: Final = re.compile(r"\*\*([^*\n]+)\*\*")
_LINK: Final = re.compile(r"\[([^\]\n]+)\]\((/[^)\s/\\][^)\s\\]*|https?://[^)\s]+)\)")
_HEADING: Final = re.compile(r"#{1,6} +(.+)")
_RULE: Final = re.compile(r"\|?[\s:|-]*-[\s:|-]*")


def note(text: str) -> Markup:
    """The markup of a note."""
    return Markup("").join(_blocks(text))


def _blocks(text: str) -> Iterator[Markup]:
    for index, part in enumerate(re.split(r"^```.*$", text, flags=re.MULTILINE)):
        if index % 2:
            yield Markup("<pre>{}</pre>").format(part.strip("\n"))
            continue
        for write, lines in groupby(part.splitlines(), key=_kind):
            yield from write([line.strip() for line in lines])


def _kind(line: str) -> Callable[[Sequence[str]], Iterator[Markup]]:
    start = line.lstrip()
    if start.startswith("|"):
        return _table
    return _list if start.startswith(("- ", "* ")) else _lines


def _lines(lines: Sequence[str]) -> Iterator[Markup]:
    for line in lines:
        heading = _HEADING.fullmatch(line)
        if heading:
            yield Markup("<h3>{}</h3>").format(inline(heading[1]))
        elif line and not line.startswith("<!--"):
            yield Markup("<p>{}</p>").format(inline(line))


def _list(lines: Sequence[str]) -> Iterator[Markup]:
    items = Markup("").join(Markup("<li>{}</li>").format(inline(line[2:])) for line in lines)
    yield Markup("<ul>{}</ul>").format(items)


def _table(lines: Sequence[str]) -> Iterator[Markup]:
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if not _RULE.fullmatch(line)]
    if not rows:
        return
    body = Markup("").join(_row(row, "td") for row in rows[1:])
    yield Markup('<div class="scroll"><table class="data"><thead>{}</thead><tbody>{}</tbody></table></div>').format(
        _row(rows[0], "th"), body
    )


def _row(cells: Sequence[str], tag: str) -> Markup:
    return Markup("<tr>{}</tr>").format(
        Markup("").join(Markup(f"<{tag}>{{}}</{tag}>").format(inline(cell)) for cell in cells)  # noqa: S704 - `tag` is ours
    )


def inline(text: str) -> Markup:
    """Code, strong words and links within one line; everything else as text."""
    marked = _CODE.sub(r"<code>\1</code>", str(escape(text)))
    marked = _STRONG.sub(r"<strong>\1</strong>", marked)
    return Markup(_LINK.sub(r'<a href="\2">\1</a>', marked))  # noqa: S704 - escaped two lines above

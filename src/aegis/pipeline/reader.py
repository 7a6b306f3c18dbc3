"""Text of a pipeline file to nodes: encoding and size, then one of two readers that build the same tree.

Most files are written in the plain part of YAML, which `aegis.pipeline.lines` reads line by line. Whatever it does not know
for certain goes to `aegis.pipeline.events`, which is libyaml, GitLab's own parser; tests hold the two together.
"""

from __future__ import annotations

from aegis.core.errors import Where
from aegis.pipeline import lines as plain_lines
from aegis.pipeline.diagnostics import Report, Unreadable
from aegis.pipeline.document import Limits, Node


def decoded(data: bytes, file: str, limits: Limits) -> str:
    """The text of a file; `Unreadable` with the place when it is too large or not UTF-8."""
    if len(data) > limits.bytes:
        raise Unreadable(
            "file-too-large",
            f"{file} has {len(data)} bytes; at most {limits.bytes} are read",
            hint="split it with `include`",
            where=Where(file),
        )
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        before = data[: error.start]
        line = before.count(b"\n") + 1
        column = len(before[before.rfind(b"\n") + 1 :].decode("utf-8", "replace")) + 1
        raise Unreadable(
            "not-utf-8",
            f"byte 0x{data[error.start]:02x} is not UTF-8",
            hint="save the file as UTF-8",
            where=Where(file, line, column),
        ) from error


def parse(text: str, file: str, report: Report, limits: Limits, lines: tuple[int, ...] = ()) -> Node | None:
    """The first document's tree, None when it is empty. `lines` maps each line of `text` to the file's (1-based).

    Raises `Unreadable` for anything that is not YAML or exceeds `limits`.
    """
    try:
        return plain_lines.read(text, file, report, limits, lines)
    except plain_lines.NotPlain:
        from aegis.pipeline import events  # noqa: PLC0415 - libyaml is loaded where it is needed

        return events.read(text, file, report, limits, lines)

"""Reads Debian control files and os-release: pure. Building bases and reading images need both."""

from __future__ import annotations

import re
from collections.abc import Iterator


def paragraphs(text: str) -> Iterator[dict[str, str]]:
    """The paragraphs of a control file (Debian policy 5.1): field to value, continued lines joined by newlines."""
    for block in re.split(r"\n[ \t]*\n", text.replace("\r\n", "\n")):
        fields: dict[str, str] = {}
        last = ""
        for line in block.split("\n"):
            if line[:1] in {" ", "\t"}:
                if last:
                    fields[last] += f"\n{line.strip()}"
            elif not line.startswith("#"):
                name, sign, value = line.partition(":")
                if sign:
                    last = name.strip()
                    fields[last] = value.strip()
        if fields:
            yield fields


def os_release(data: bytes) -> dict[str, str]:
    """The fields of an os-release file."""
    lines = (line.partition("=") for line in data.decode("utf-8", "replace").splitlines())
    return {key.strip(): value.strip().strip("\"'") for key, sign, value in lines if sign and not key.startswith("#")}

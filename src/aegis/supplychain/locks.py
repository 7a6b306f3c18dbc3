"""Every package that a lock names, whatever platform, group or extra it is for: pure, over what `core.locks` reads.

What an image needs on one target is another question, answered where images are built; here nothing may be left out, and
what has no version or does not come from an index is listed as such, so that the scan says it could not look it up.
"""

from __future__ import annotations

import re
from typing import Final

from aegis.core.locks import NAMES, LockDocument, Unread, read_document
from aegis.supplychain.packages import Package

__all__ = ["NAMES", "packages_of"]

_POINTING: Final = frozenset({"-e", "--editable", "-r", "--requirement"})


def packages_of(file: str, data: bytes) -> tuple[Package, ...]:
    """The packages of a lock in its order; the form follows from the file's name. `UserError` when it is unreadable."""
    document = read_document(file, data)
    found = [*_named(file, document), *(one for line in document.unread for one in _unnamed(file, line))]
    return tuple(sorted(found, key=lambda one: one.line) if document.kind == "requirements" else found)


def _named(file: str, document: LockDocument) -> list[Package]:
    return [
        Package(
            name=one.name, version=one.version or None, source=one.source, file=file, line=one.line, hashes=one.hashes
        )
        for one in document.entries
        if not one.own
    ]


def _unnamed(file: str, one: Unread) -> list[Package]:
    """What points out of the file, or is only an address, cannot be looked up: it is named as it stands."""
    if not one.option:
        vcs = re.match(r"(?:git|hg|svn|bzr)\+", one.text) is not None
        kind = "vcs" if vcs else "url" if "://" in one.text else "path"
        return [Package(name=one.text.rsplit("#egg=", 1)[-1], version=None, source=kind, file=file, line=one.line)]
    if one.option not in _POINTING:
        return []
    name = one.text.partition(" ")[2].strip() or one.text.partition("=")[2] or one.text
    return [Package(name=name, version=None, source="path", file=file, line=one.line)]

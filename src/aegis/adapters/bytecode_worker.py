"""Compiles the modules of wheels, as a program of its own: `python -I -S bytecode_worker.py`, the standard library only.

Standard input holds one JSON list of `[wheel, prefix, output]`; each output becomes an uncompressed zip archive of pyc
files by the module's path. They are hash-based and unchecked (PEP 552): no time in them, nothing to look up at import.
Written with marshal's version 2, since later versions write down which objects the compiling process happened to share.
"""

from __future__ import annotations

import importlib.util
import json
import marshal
import struct
import sys
import warnings
import zipfile

_UNCHECKED = 0b01
_MARSHAL = 2


def compiled(source: bytes, path: str) -> bytes | None:
    """The pyc of a module that lies at `path`; None where it does not compile, as pip leaves it, too."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            code = compile(source, path, "exec", dont_inherit=True, optimize=0)
            body = marshal.dumps(code, _MARSHAL)
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            return None
    head = struct.pack("<4sL8s", importlib.util.MAGIC_NUMBER, _UNCHECKED, importlib.util.source_hash(source))
    return head + body


def main() -> None:
    """Do what standard input says."""
    for wheel, prefix, output in json.load(sys.stdin):
        with zipfile.ZipFile(wheel) as source, zipfile.ZipFile(output, "w", zipfile.ZIP_STORED) as target:
            for name in source.namelist():
                if name.endswith(".py"):
                    pyc = compiled(source.read(name), f"{prefix}/{name}")
                    if pyc is not None:
                        target.writestr(zipfile.ZipInfo(name), pyc)


if __name__ == "__main__":
    main()

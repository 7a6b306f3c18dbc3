"""Enters a container's network and makes its way out there. A program of its own, with the standard library alone.

One line of JSON on standard input says which process's network, where to listen, where the relay is and which rules it gets;
`ready` on the standard error says that it is done. It stays until the input ends.
"""

from __future__ import annotations

import json
import os
import sys

from aegis.adapters.executor_init import network
from aegis.adapters.executor_init.system import StageError


def main() -> None:
    """Make it and stay."""
    with os.fdopen(0, "rb", buffering=0) as given:
        line = b""
        while not line.endswith(b"\n"):
            piece = given.read(1 << 16)
            if not piece:
                sys.exit(1)
            line += piece
        wanted = json.loads(line)
        try:
            network.joined(f"/proc/{int(wanted['process'])}/ns", user=False)
            network.connected({**wanted, "rules": wanted["rules"].encode()})
        except (StageError, OSError) as error:
            os.write(2, f"{error}\n".encode())
            sys.exit(1)
        os.write(2, b"ready\n")
        while given.read(1 << 10):
            continue

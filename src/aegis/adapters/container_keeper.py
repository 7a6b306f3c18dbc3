# ruff: noqa: PTH108, PTH110, PTH115, PTH123
"""Takes away what a runner left in a container engine: containers and networks with its label.

Run as a program of its own (`python -I -S`), with nothing but the standard library: SOCKET LABEL [SERVICE…]. It starts the
SERVICE where one is given, says `ready` when the engine answers, and waits for the end of its standard input, which comes
when the runner ends, however it ends. Then everything with the label goes, and the service ends.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from urllib.parse import quote

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

VERSION = "v1.40"
_SECONDS = 60.0


def ask(path: str, method: str, target: str) -> tuple[int, Any]:
    """One question to the engine; its status and document."""
    with socket.socket(socket.AF_UNIX) as door:
        door.settimeout(_SECONDS)
        door.connect(path)
        door.sendall(f"{method} /{VERSION}{target} HTTP/1.0\r\nHost: engine\r\n\r\n".encode())
        parts = []
        while part := door.recv(1 << 16):
            parts.append(part)
    head, _, body = b"".join(parts).partition(b"\r\n\r\n")
    status = int(head.split(None, 2)[1])
    try:
        return status, json.loads(body) if body.strip() else None
    except ValueError:
        return status, None


def wait(path: str, seconds: float) -> bool:
    """Whether the engine answers in time."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        try:
            if ask(path, "GET", "/version")[0] == 200:
                return True
        except (OSError, ValueError, IndexError):
            pass  # not yet
        time.sleep(0.02)
    return False


def alive(mark: str) -> bool:
    """Whether the runner of a label still lives. Of one that this process could not see it is not known: then it does."""
    pid, _, rest = mark.partition(".")
    began, _, space = rest.partition(".")
    try:
        if os.readlink("/proc/self/ns/pid").strip("pid:[]") != space:
            return True
    except OSError:
        return True
    try:
        with open(f"/proc/{int(pid)}/stat", encoding="ascii", errors="replace") as file:
            return file.read().rpartition(")")[2].split()[19] == began
    except ValueError:
        return True
    except OSError:
        return False


def sweep(path: str, label: str) -> None:
    """Remove what runners left that ended together with their keepers (the machine's power, say)."""
    name = label.partition("=")[0]
    chosen = quote(json.dumps({"label": [name]}))
    marks = set()
    for target in ("/containers/json?all=1&filters=", "/networks?filters="):
        _, found = ask(path, "GET", target + chosen)
        marks |= {(one.get("Labels") or {}).get(name, "") for one in found or []}
    for mark in marks - {""}:
        if not alive(mark):
            clean(path, f"{name}={mark}")


def clean(path: str, label: str) -> None:
    """Remove the containers with the label, then the networks."""
    chosen = quote(json.dumps({"label": [label]}))
    _, containers = ask(path, "GET", f"/containers/json?all=1&filters={chosen}")
    for one in containers or []:
        ask(path, "DELETE", f"/containers/{one['Id']}?force=1&v=1")
    _, networks = ask(path, "GET", f"/networks?filters={chosen}")
    for one in networks or []:
        ask(path, "DELETE", f"/networks/{one['Id']}")


def main() -> int:
    """Keep watch."""
    path, label, *service = sys.argv[1:]
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    running = None
    if service:
        running = subprocess.Popen(
            service,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
    try:
        if not wait(path, 15.0):
            return 1
        os.write(1, b"ready\n")
        os.close(1)
        try:
            sweep(path, label)
        except (OSError, ValueError, IndexError):
            time.sleep(0)  # tried again at the next start
        while os.read(0, 1 << 10):
            continue
        for _ in range(2):  # what was being created at that very moment is there the second time
            try:
                clean(path, label)
            except (OSError, ValueError, IndexError):
                time.sleep(0.5)
    finally:
        if running is not None:
            running.terminate()
            running.wait()
            if os.path.exists(path):
                os.unlink(path)
    return 0


if __name__ == "__main__":
    sys.exit(main())

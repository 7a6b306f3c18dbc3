"""The network of a step: loopback, and listeners whose connections are carried on outside, by the relay.

A listener belongs to the network that it was made in, wherever its descriptor is later. So the step's first process makes them
in the step's own network, and hands them out with the step's output, on which the relay says what it refused. The connection to
the relay lasts as long as the step, and tells the relay its end.
"""

from __future__ import annotations

import _socket
import ctypes
import errno
import os
import struct
import time

from aegis.adapters.executor_init.system import CLONE_NEWNET, CLONE_NEWUSER, StageError, call, libc

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

SIOCSIFFLAGS, IFF_UP, IFF_RUNNING = 0x8914, 0x1, 0x40
BACKLOG = 128
_held: list[Any] = []
"""What has to stay open until the step's first process ends."""


def loopback() -> None:
    """Bring up the one interface of a fresh network."""
    door = _socket.socket(_socket.AF_INET, _socket.SOCK_DGRAM | _socket.SOCK_CLOEXEC)
    wanted = struct.pack("16sH14x", b"lo", IFF_UP | IFF_RUNNING)
    call("loopback", libc.ioctl(door.fileno(), SIOCSIFFLAGS, wanted))
    door.close()


def listener(host: str, port: int) -> Any | None:
    """A listener in this network; None where the kind of address is not there."""
    try:
        made = _socket.socket(_socket.AF_INET6 if ":" in host else _socket.AF_INET, _socket.SOCK_STREAM)
        made.setsockopt(_socket.SOL_SOCKET, _socket.SO_REUSEADDR, 1)
        made.bind((host, port))
        made.listen(BACKLOG)
    except OSError:
        return None
    return made


def connected(wanted: dict[str, Any]) -> None:
    """Loopback and the way out, as the request says. Called in the step's own network, before its root is made."""
    loopback()
    low_ports()
    if not wanted.get("relay"):
        return
    made = [listener(host, port) for host, port in wanted["listen"]]
    if made[0] is None:
        raise StageError("network", "the way out cannot be opened", "EADDRINUSE")
    there = [str(number) for number, one in enumerate(made) if one is not None]
    opened = [one for one in made if one is not None]
    relay = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM)
    try:
        relay.connect(wanted["relay"])
    except OSError as error:
        raise StageError("relay of the network", os.strerror(error.errno or 0), str(error.errno)) from error
    body = b" ".join([",".join(there).encode(), wanted["rules"]])
    numbers = struct.pack(f"{len(opened) + 1}i", 1, *(one.fileno() for one in opened))
    said = b"%08d" % len(body) + body
    sent = relay.sendmsg([said], [(_socket.SOL_SOCKET, _socket.SCM_RIGHTS, numbers)])
    relay.sendall(said[sent:])
    for one in opened:
        one.close()
    _held.append(relay)


def low_ports() -> None:
    """Let programs without rights listen on every port of this network, which is nobody else's."""
    try:
        handle = os.open("/proc/sys/net/ipv4/ip_unprivileged_port_start", os.O_WRONLY | os.O_CLOEXEC)
    except OSError:
        return  # the system shows its settings read-only: ports below 1024 stay closed
    try:
        os.write(handle, b"0")
    except OSError as error:
        if error.errno not in {errno.EPERM, errno.EACCES, errno.EROFS}:
            raise
    os.close(handle)


def accepts(host: str, port: int, seconds: float) -> bool:
    """Whether somebody listens there within some seconds. Asked in the network of whoever asks."""
    until = time.monotonic() + seconds
    while True:
        asking = _socket.socket(_socket.AF_INET, _socket.SOCK_STREAM)
        asking.settimeout(1.0)
        try:
            asking.connect((host, port))
        except OSError:
            if time.monotonic() >= until:
                return False
            time.sleep(0.03)
        else:
            return True
        finally:
            asking.close()


def joined(path: str, *, user: bool) -> None:
    """Enter the network of another process of the job, whose namespaces lie at `path` (`/proc/PID/ns`)."""
    for name, flag in (("user", CLONE_NEWUSER), ("net", CLONE_NEWNET)):
        if name == "user" and not user:
            continue
        handle = os.open(f"{path}/{name}", os.O_RDONLY | os.O_CLOEXEC)
        call(f"enter the {name} namespace", libc.setns(handle, ctypes.c_int(flag)))
        os.close(handle)

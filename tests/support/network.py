"""Two network namespaces of a test's own with a cable between them that can be cut, slowed, and made to lose packets.

In `server` a server listens on its loopback as always; in `runner` the same address and port lead there over the cable. Nothing of it
touches the machine's own network. It needs root, `ip`, `tc` and `iptables` (Debian: iproute2, iptables).
"""

from __future__ import annotations

import ctypes
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

CLONE_NEWNET = 0x40000000
SERVER, RUNNER = "10.77.0.1", "10.77.0.2"


def run(*command: str) -> str:
    """A command that must succeed."""
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{' '.join(command)}: {done.stdout}{done.stderr}"
    return done.stdout


@contextmanager
def inside(name: str) -> Iterator[None]:
    """This thread, and the threads and processes that it makes, are in a namespace; others are not."""
    libc = ctypes.CDLL(None, use_errno=True)
    with Path("/proc/thread-self/ns/net").open("rb") as before, Path(f"/run/netns/{name}").open("rb") as there:
        _enter(libc, there.fileno())
        try:
            yield
        finally:
            _enter(libc, before.fileno())


def _enter(libc: ctypes.CDLL, handle: int) -> None:
    if libc.setns(handle, CLONE_NEWNET):
        raise OSError(ctypes.get_errno(), "setns")


@dataclass(frozen=True, slots=True, kw_only=True)
class Cable:
    """What lies between the two namespaces."""

    server: str
    runner: str

    def cut(self) -> None:
        """The cable is out: packets go nowhere, nobody is told."""
        run("ip", "-n", self.runner, "link", "set", "far", "down")

    def join(self) -> None:
        """It is in again."""
        run("ip", "-n", self.runner, "link", "set", "far", "up")
        run("ip", "-n", self.runner, "route", "replace", "default", "via", SERVER)

    def slow(self, kilobits: int) -> None:
        """At most so much in each direction."""
        for name, device in ((self.server, "near"), (self.runner, "far")):
            rate = ("rate", f"{kilobits}kbit", "burst", "8kb", "latency", "2000ms")
            run("ip", "netns", "exec", name, "tc", "qdisc", "replace", "dev", device, "root", "tbf", *rate)

    def quick(self) -> None:
        """As quick as it can be again."""
        for name, device in ((self.server, "near"), (self.runner, "far")):
            run("ip", "netns", "exec", name, "tc", "qdisc", "del", "dev", device, "root")

    def deaf(self, name: str) -> None:
        """What comes to one side over the cable is lost; what it says arrives: a half-open connection."""
        run("ip", "netns", "exec", name, "iptables", "-I", "INPUT", "!", "-i", "lo", "-j", "DROP")

    def lossy(self, share: float) -> None:
        """Each side loses that share of the packets that come."""
        for name in (self.server, self.runner):
            lost = ("-m", "statistic", "--mode", "random", "--probability", str(share), "-j", "DROP")
            run("ip", "netns", "exec", name, "iptables", "-I", "INPUT", "!", "-i", "lo", *lost)

    def refusing(self) -> None:
        """Connections are torn down as by a box between that has lost its memory."""
        reset = ("-p", "tcp", "-j", "REJECT", "--reject-with", "tcp-reset")
        run("ip", "netns", "exec", self.server, "iptables", "-I", "INPUT", "!", "-i", "lo", *reset)

    def clear(self) -> None:
        """No rule any more."""
        for name in (self.server, self.runner):
            run("ip", "netns", "exec", name, "iptables", "-F", "INPUT")


@contextmanager
def cable(port: int) -> Iterator[Cable]:
    """Two namespaces and the cable, for a server that will listen at `port`."""
    assert os.geteuid() == 0, "network namespaces with addresses of their own need root"
    made = Cable(server=f"aegis-s{os.getpid()}", runner=f"aegis-r{os.getpid()}")
    try:
        for name in (made.server, made.runner):
            run("ip", "netns", "add", name)
            run("ip", "-n", name, "link", "set", "lo", "up")
        run("ip", "-n", made.server, "link", "add", "near", "type", "veth", "peer", "name", "far", "netns", made.runner)
        for name, device, address in ((made.server, "near", SERVER), (made.runner, "far", RUNNER)):
            run("ip", "-n", name, "address", "add", f"{address}/30", "dev", device)
            run("ip", "-n", name, "link", "set", device, "up")
            for which in ("all", device):
                run("ip", "netns", "exec", name, "sysctl", "-q", "-w", f"net.ipv4.conf.{which}.route_localnet=1")
        nat = ("iptables", "-t", "nat", "-A")
        run("ip", "netns", "exec", made.server, *nat, "PREROUTING", "-i", "near", "-p", "tcp", "--dport", str(port), "-j", "DNAT", "--to-destination", "127.0.0.1")  # fmt: skip
        run("ip", "netns", "exec", made.runner, *nat, "OUTPUT", "-d", "127.0.0.1", "-p", "tcp", "--dport", str(port), "-j", "DNAT", "--to-destination", SERVER)  # fmt: skip
        run("ip", "netns", "exec", made.runner, *nat, "POSTROUTING", "-o", "far", "-j", "SNAT", "--to-source", RUNNER)
        yield made
    finally:
        for name in (made.server, made.runner):
            subprocess.run(["ip", "netns", "del", name], capture_output=True, check=False)

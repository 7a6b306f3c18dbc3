"""Which network a job has: none, the package registries and its server, or all of it. Pure.

Decides whose wish counts (the tighter one), which addresses a policy lets through, and which variables tell a job's
programs the way. Nothing is connected here; an executor that cannot keep a policy refuses the job.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from enum import StrEnum
from typing import Final
from urllib.parse import urlsplit

from aegis.core.errors import UserError
from aegis.core.plan import Variable
from aegis.core.values import dataclass

WISH: Final = "AEGIS_NETWORK"
"""The variable by which a job asks for less than it would get."""
PROXY: Final = "http://127.0.0.1:61357"
"""Where a job with the policy `registries` finds its way out."""
EVERYWHERE: Final = "*"
"""As a place: every one. Nobody can declare it."""
_PLACE: Final = re.compile(r"(\[[0-9a-fA-F:.]+\]|[A-Za-z0-9_](?:[A-Za-z0-9_.-]*[A-Za-z0-9_])?):([0-9]{1,5})")
_PORTS: Final = {"https": 443, "http": 80}
_PROXY_NAMES: Final = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy")
_BYPASS: Final = ("NO_PROXY", "no_proxy")
_HERE: Final = ("localhost", "127.0.0.1", "::1")


class NetworkPolicy(StrEnum):
    """From the tightest to the widest."""

    NONE = "none"
    REGISTRIES = "registries"
    ALL = "all"

    def tighter(self, other: NetworkPolicy) -> NetworkPolicy:
        """The one that allows less."""
        order = tuple(NetworkPolicy)
        return min(self, other, key=order.index)


@dataclass(frozen=True, slots=True, kw_only=True)
class Network:
    """What a job may reach: under `registries` the `places` (`host:port`), each of which somebody named.

    Those of this machine's loopback are reached at the same place inside.
    """

    policy: NetworkPolicy = NetworkPolicy.ALL
    places: tuple[str, ...] = ()

    @property
    def near(self) -> tuple[str, ...]:
        """The places of this machine's loopback."""
        return tuple(one for one in self.places if on_loopback(one))

    def joined(self, places: Iterable[str]) -> Network:
        """The same with more places."""
        return replace(self, places=tuple(dict.fromkeys((*self.places, *places))))

    def tightened(self, variables: Iterable[Variable]) -> Network:
        """The network of a job with these variables: what it asks for by `WISH`, never wider; none for an unknown word."""
        wish = next((one.value for one in variables if one.key == WISH), "")
        if not wish:
            return self
        known = NetworkPolicy(wish) if wish in set(NetworkPolicy) else NetworkPolicy.NONE
        return replace(self, policy=self.policy.tighter(known))


def unheard(network: Network, variables: Iterable[Variable]) -> str:
    """What a job's log says where it does not get the policy that it asked for; empty where it does."""
    wish = next((one.value for one in variables if one.key == WISH), "")
    if not wish or wish == network.policy:
        return ""
    if wish not in set(NetworkPolicy):
        return (
            f"WARNING: {WISH}={wish} is no policy, so the job has no network: write one of {', '.join(NetworkPolicy)}."
        )
    return f"WARNING: {WISH}={wish} is wider than what jobs get here; the network is {network.policy}."


def place(text: str) -> str:
    """`host:port` in its one spelling; `UserError` where it is none.

    Patterns are refused: names that anybody can make below a domain would carry out what a job is not to tell.
    """
    found = _PLACE.fullmatch(text.strip())
    if found is None or not 0 < int(found[2]) < 65536:
        raise UserError("network-host", f"{text!r} is not a host with its port", hint="write host.example:443")
    return f"{found[1].lower()}:{int(found[2])}"


def place_of(url: str) -> str | None:
    """The place that an address leads to; None where it leads to no host (a file, a word)."""
    try:
        parts = urlsplit(url.strip())
        host, port = (parts.hostname or "").rstrip("."), parts.port or _PORTS.get(parts.scheme, 0)
    except ValueError:
        return None
    if not host or not port:
        return None
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def on_loopback(where: str) -> bool:
    """Whether a place lies on the loopback of the machine that names it."""
    host = where.rpartition(":")[0].strip("[]")
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def registries(addresses: Iterable[str]) -> Network:
    """The network of jobs that reach the package registries at these addresses, and nothing else."""
    places = dict.fromkeys(one for one in map(place_of, addresses) if one is not None)
    return Network(policy=NetworkPolicy.REGISTRIES, places=tuple(places))


def told(network: Network, environment: Mapping[str, str], aliases: Iterable[str] = ()) -> dict[str, str]:
    """A job's environment with the way out that its policy gives; `aliases` are names that need none."""
    if network.policy is NetworkPolicy.ALL:
        return dict(environment)
    values = {name: value for name, value in environment.items() if name not in _PROXY_NAMES}
    if network.policy is NetworkPolicy.NONE:
        return values
    # Nothing else can be reached past the relay, whatever the job or the machine would like to.
    bypass = ",".join((*_HERE, *aliases))
    return {**values, **dict.fromkeys(_PROXY_NAMES, PROXY), **dict.fromkeys(_BYPASS, bypass)}


def refusal(where: str) -> str:
    """What is said of a place that a job may not reach, with the mend."""
    return f"{where} is not among the hosts that this job may reach; declare it: runner: {{network_hosts: [{where}]}}"

"""Which addresses of the internet protocols everybody can reach. Quick to load: the relay of jobs needs nothing else of Aegis."""

from __future__ import annotations

import ipaddress
from typing import Final

_NAT64: Final = ipaddress.ip_network("64:ff9b::/96")


def is_public(address: str) -> bool:
    """Whether an address is reachable by everybody; addresses that embed another count as that one."""
    parsed = _innermost(address)
    return parsed is not None and parsed.is_global and not parsed.is_multicast


def is_nearby(address: str) -> bool:
    """Whether it means this machine or its very link, where metadata services of clouds are; also what is no address."""
    parsed = _innermost(address)
    return (
        parsed is None or parsed.is_loopback or parsed.is_link_local or parsed.is_unspecified or parsed.is_multicast
        or address in _METADATA
    )  # fmt: skip


_METADATA: Final = frozenset({"fd00:ec2::254", "100.100.100.200", "192.0.0.192"})


def _innermost(address: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        parsed = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return None
    if isinstance(parsed, ipaddress.IPv6Address):
        inner = parsed.ipv4_mapped or parsed.sixtofour or (parsed.teredo[1] if parsed.teredo else None)
        if inner is None and parsed in _NAT64:
            inner = ipaddress.IPv4Address(int(parsed) & 0xFFFFFFFF)
        return inner or parsed
    return parsed

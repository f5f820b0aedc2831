"""Who is calling: the real address of a client behind trusted proxies.

Tornado's ``xheaders`` believes every peer. Here `client_address` reads ``X-Forwarded-For`` only when the
peer itself is a trusted proxy, and from the right, because everything left of the first untrusted hop was
written by somebody who can write anything::

    trusted = parse_networks("10.0.0.0/8")
    headers = HTTPHeaders({"X-Forwarded-For": "6.6.6.6, 203.0.113.9, 10.0.0.7"})
    client_address("10.0.0.1", headers, trusted)       # 203.0.113.9
    client_address("198.51.100.4", headers, trusted)   # 198.51.100.4: forged, so nothing changes

The peer of a unix socket has no address and Tornado calls it ``0.0.0.0``; so does this module with every
peer it cannot read. Who puts a proxy in front of a unix socket lists ``0.0.0.0/32`` as trusted.
"""

from __future__ import annotations

import functools
import re
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from ipaddress import IPv4Network, IPv6Network

    from tornado.httputil import HTTPHeaders

__all__ = ["client_address", "is_trusted", "parse_networks", "throttle_key"]

_REMEMBERED = 4096  # answers: clients come from the same addresses again and again
_LONGEST_REMEMBERED = 200
_NO_ADDRESS = IPv4Address("0.0.0.0")  # noqa: S104 - names a peer without address, binds nothing

# RFC 7239 6 writes IPv6 in brackets; some proxies add the port of the connection.
_WITH_PORT = re.compile(r"\[(?P<ipv6>[^\]]*)\](?::[0-9]{1,5})?|(?P<ipv4>[0-9.]*):[0-9]{1,5}")


def client_address(peer: str, headers: HTTPHeaders, trusted: Sequence[IPv4Network | IPv6Network]) -> str:
    """The address of the client, as text in canonical form (IPv4-mapped IPv6 as IPv4, no zone).

    ``peer`` is the other end of the connection. When it is trusted, ``X-Forwarded-For`` is walked from the
    right as long as its entries are trusted too. The first untrusted entry is the client; a malformed one
    ends the walk and the entry before it counts.
    """
    forwarded = headers.get("X-Forwarded-For", "") if trusted else ""
    # what anybody may write must not fill the memory
    walk = _walk if len(forwarded) > _LONGEST_REMEMBERED else _remembered_walk
    return walk(peer, forwarded, tuple(trusted))


def _walk(peer: str, forwarded: str, trusted: tuple[IPv4Network | IPv6Network, ...]) -> str:
    address = _parse(peer) or _NO_ADDRESS
    for entry in reversed(forwarded.split(",")):
        if not _contains(trusted, address):
            break
        hop = _parse_entry(entry)
        if hop is None:
            break
        address = hop
    return str(address)


_remembered_walk = functools.lru_cache(_REMEMBERED)(_walk)


def is_trusted(peer: str, trusted: Sequence[IPv4Network | IPv6Network]) -> bool:
    """Whether the other end of the connection is a trusted proxy, whose headers may be believed."""
    return bool(trusted) and _contains(trusted, _parse(peer) or _NO_ADDRESS)


@functools.lru_cache(_REMEMBERED)
def throttle_key(address: str) -> str:
    """What a throttle counts an address as: IPv4 whole, IPv6 by its /64, which is one subscriber."""
    parsed = _parse(address) or _NO_ADDRESS
    if isinstance(parsed, IPv4Address):
        return str(parsed)
    return str(ip_network((parsed, 64), strict=False))


def parse_networks(text: str) -> tuple[IPv4Network | IPv6Network, ...]:
    """Read addresses and CIDR networks separated by commas; `ValueError` names all that are neither."""
    networks, wrong = [], []
    for item in filter(None, map(str.strip, text.split(","))):
        try:
            networks.append(ip_network(item))
        except ValueError as error:
            wrong.append(str(error))
    if wrong:
        raise ValueError("; ".join(wrong) + " (10.0.0.0/8 and 2001:db8::/32 are networks)")
    return tuple(networks)


def _contains(networks: Sequence[IPv4Network | IPv6Network], address: IPv4Address | IPv6Address) -> bool:
    return any(address in network for network in networks)


def _parse_entry(entry: str) -> IPv4Address | IPv6Address | None:
    entry = entry.strip()
    with_port = _WITH_PORT.fullmatch(entry)
    if with_port:
        entry = with_port["ipv6"] or with_port["ipv4"] or ""
    return _parse(entry)


def _parse(text: str) -> IPv4Address | IPv6Address | None:
    try:
        address = ip_address(text)
    except ValueError:
        return None
    if isinstance(address, IPv6Address):
        # The zone of fe80::1%eth0 means something to the sender only, and holds any text.
        return address.ipv4_mapped or IPv6Address(int(address))
    return address

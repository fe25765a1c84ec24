"""Which URLs and addresses may be reached: those of the public internet, and what is allowed."""

from __future__ import annotations

import ipaddress
import re
import socket
from collections.abc import Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

from yarl import URL

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

URL_LENGTH_MAX = 2000
PORTS = {"http": 80, "https": 443}
REFUSED_PORTS = {22, 23, 25, 53, 110, 143, 465, 587, 993, 995}  # of mail and the like

# IANA's special-purpose registries, and what clouds answer on: no place for a receiver.
REFUSED_V4 = [
    IPv4Network(each)
    for each in (
        "0.0.0.0/8",  # this network
        "10.0.0.0/8",  # private
        "100.64.0.0/10",  # shared by carriers
        "127.0.0.0/8",  # loopback
        "168.63.129.16/32",  # a cloud's own
        "169.254.0.0/16",  # link-local, metadata
        "172.16.0.0/12",  # private
        "192.0.0.0/24",  # protocols
        "192.0.2.0/24",  # documentation
        "192.31.196.0/24",
        "192.52.193.0/24",
        "192.88.99.0/24",  # relays
        "192.168.0.0/16",  # private
        "192.175.48.0/24",
        "198.18.0.0/15",  # benchmarks
        "198.51.100.0/24",  # documentation
        "203.0.113.0/24",  # documentation
        "224.0.0.0/4",  # multicast
        "240.0.0.0/4",  # reserved, broadcast
    )
]
PUBLIC_V6 = IPv6Network("2000::/3")
REFUSED_V6 = [
    IPv6Network(each)
    for each in (
        "2001::/23",  # protocols, Teredo
        "2001:db8::/32",  # documentation
        "2620:4f:8000::/48",
        "3fff::/20",  # documentation
    )
]
SIX_TO_FOUR = IPv6Network("2002::/16")
NAT64 = IPv6Network("64:ff9b::/96")

NUMERIC = re.compile(r"(0x[0-9a-f]*|[0-9]+)(\.(0x[0-9a-f]*|[0-9]+)){0,3}", re.IGNORECASE)
NAME = re.compile(  # what can be looked up; some names have underscores
    r"(?=.{1,253}\Z)[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?"
    r"(\.[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?)*",
    re.IGNORECASE,
)
PLAIN = re.compile(r"[!-~]+")  # neither spaces nor control characters, nor what looks like others


class Refused(Exception):
    """Why a URL or an address is not to be reached, in a sentence."""


def networks(names: Sequence[str]) -> list[Network]:
    """The networks of these names, such as ``127.0.0.0/8``. Raises ``ValueError``."""
    return [ipaddress.ip_network(each) for each in names]


def check_url(text: str, allowed: Sequence[Network] = ()) -> URL:
    """The URL with its host as it will be used: an address in its one usual form, or a name.

    What a name stands for is not looked up. Raises ``Refused``.
    """
    if len(text) > URL_LENGTH_MAX or not PLAIN.fullmatch(text) or "\\" in text:
        raise Refused("A URL has at most 2000 printable ASCII characters, without backslashes.")
    try:
        url = URL(text)
        port = url.port  # which may be none
    except ValueError:
        raise Refused("This is not a URL.") from None
    if url.scheme not in PORTS:
        raise Refused("A URL begins with https:// or http://.")
    if "@" in url.raw_authority or "@" in re.split("[/?#]", text.partition("//")[2])[0]:
        raise Refused("A URL must not have a user or a password in it.")
    host = (url.raw_host or "").rstrip(".")
    if not host or not port or "%" in host:
        raise Refused("A URL names a host.")
    if port in REFUSED_PORTS:
        raise Refused(f"Port {port} is for something other than HTTP.")
    address = literal(host)
    if address is not None:
        check_address(address, allowed)
        return url.with_host(str(address))
    if NUMERIC.fullmatch(host):
        raise Refused(f"{host} is not an address.")
    if not NAME.fullmatch(host):
        raise Refused("The host is not a name that can be looked up.")
    return url.with_host(host)


def literal(host: str) -> Address | None:
    """The address that a host is, in whatever way it is written; None for a name."""
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        pass
    if NUMERIC.fullmatch(host):  # decimal, octal, hexadecimal, and fewer than four parts
        try:
            return IPv4Address(socket.inet_aton(host))
        except OSError:
            return None
    return None


def check_address(address: Address, allowed: Sequence[Network] = ()) -> None:
    """Raises ``Refused`` unless the address is public, or in one of the networks."""
    if address.version == 6 and address.scope_id is not None:
        raise Refused(f"{address} is not a public address.")
    inner = _embedded(address) or address
    for each in allowed:
        if inner in each or address in each:
            return
    if not _is_public(inner):
        raise Refused(
            f"{address} is not a public address. An operator may allow it: see "
            "POSTPAID_WEBHOOK_ALLOWED_NETWORKS."
        )


def _is_public(address: Address) -> bool:
    if isinstance(address, IPv4Address):
        return address.is_global and not any(address in each for each in REFUSED_V4)
    return (
        address in PUBLIC_V6
        and address.is_global
        and not address.is_multicast
        and not any(address in each for each in REFUSED_V6)
    )


def _embedded(address: Address) -> Address | None:
    """The IPv4 address that an IPv6 address leads to, if it does."""
    if isinstance(address, IPv4Address):
        return None
    if address.ipv4_mapped is not None:
        return address.ipv4_mapped
    if address in SIX_TO_FOUR:
        return IPv4Address((int(address) >> 80) & 0xFFFF_FFFF)
    if address in NAT64:
        return IPv4Address(int(address) & 0xFFFF_FFFF)
    return None

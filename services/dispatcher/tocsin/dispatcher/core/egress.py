"""Where requests may go. Pure; the shell asks `AddressPolicy.refusal` for every socket it makes.

Explicit networks, never `ipaddress.is_global`: it calls NAT64, 6to4, multicast and others global, and each of them can
lead back inside.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Self
from urllib.parse import SplitResult, urlsplit

from yarl import URL

Network = IPv4Network | IPv6Network

# IANA special-purpose registries, and 168.63.129.16, a cloud's own metadata service.
DENIED_V4 = tuple(
    IPv4Network(text)
    for text in (
        "0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "168.63.129.16/32", "169.254.0.0/16",
        "172.16.0.0/12", "192.0.0.0/24", "192.0.2.0/24", "192.31.196.0/24", "192.52.193.0/24", "192.88.99.0/24",
        "192.168.0.0/16", "192.175.48.0/24", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24", "224.0.0.0/4",
        "240.0.0.0/4",
    )
)  # fmt: skip
ALLOWED_V6 = IPv6Network("2000::/3")
DENIED_V6 = tuple(IPv6Network(text) for text in ("2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20"))

_UNSAFE = re.compile(r"[\x00-\x20\x7f\\]")
_NUMERIC_HOST = re.compile(r"(0x[0-9a-f]*|\d+)(\.(0x[0-9a-f]*|\d+))*\.?", re.IGNORECASE | re.ASCII)
MAX_URL = 2048


def parse_networks(text: str) -> tuple[Network, ...]:
    """`10.0.0.0/8, fd00::/8`. Raises ValueError naming the part that is no network."""
    networks: list[Network] = []
    for part in text.replace(",", " ").split():
        try:
            networks.append(ip_network(part))
        except ValueError as error:
            raise ValueError(f"{part!r} is not a network such as 10.0.0.0/8: {error}") from None
    return tuple(networks)


@dataclass(frozen=True, slots=True)
class EgressPolicy:
    """What an installation opens beyond the public Internet over https."""

    allow: tuple[Network, ...] = ()
    http: bool = False

    @classmethod
    def of(cls, allow: str, http: bool = False) -> Self:
        """From the settings' texts. Raises ValueError."""
        return cls(parse_networks(allow), http)

    def refusal(self, address: str) -> str | None:
        """Why no socket may be made to this address; None when one may."""
        try:
            # A zone (`fe80::1%eth0`) says nothing about where the address is.
            parsed = ip_address(address.partition("%")[0])
        except ValueError:
            return f"{address[:64]!r} is not an address"
        mapped = parsed.ipv4_mapped if isinstance(parsed, IPv6Address) else None
        if _within(parsed, self.allow) or (mapped is not None and _within(mapped, self.allow)):
            return None
        network = _denying_network(mapped or parsed)
        return None if network is None else f"{address} is in {network}, which is not public and not allowed here"


def _within(address: IPv4Address | IPv6Address, networks: Sequence[Network]) -> bool:
    return any(address in network for network in networks)


def _denying_network(address: IPv4Address | IPv6Address) -> str | None:
    if isinstance(address, IPv4Address):
        return next((str(network) for network in DENIED_V4 if address in network), None)
    if address not in ALLOWED_V6:
        return "a network outside 2000::/3"
    return next((str(network) for network in DENIED_V6 if address in network), None)


def check_url(url: str, policy: EgressPolicy) -> list[str]:
    """Problems of a webhook's URL, readable. Names are not looked up: their addresses are checked at connect."""
    if len(url) > MAX_URL:
        return [f"the URL has more than {MAX_URL} characters"]
    if _UNSAFE.search(url):
        return ["the URL must not contain spaces, backslashes or control characters"]
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        # Python's own text would show parts of the URL, which may hold a password.
        return ["the URL cannot be read: its host or port is malformed"]
    problems = _check_scheme(parts, policy)
    if parts.username is not None or parts.password is not None or "@" in parts.netloc:
        problems.append("the URL must not hold a user name or password: use Basic authentication")
    if port == 0:
        problems.append("the URL's port must be 1 to 65535")
    return problems + _check_host(parts, policy)


def _check_scheme(parts: SplitResult, policy: EgressPolicy) -> list[str]:
    if parts.scheme == "https" or (parts.scheme == "http" and policy.http):
        return []
    if parts.scheme == "http":
        return ["the URL must start with https:// (plain http is off: set TOCSIN_EGRESS_HTTP=true to allow it)"]
    return ["the URL must start with https://"]


def _check_name(parts: SplitResult) -> list[str]:
    try:
        return [] if URL(parts.geturl()).raw_host else ["the URL has no host"]
    except ValueError:
        return ["the URL's host is not a name that can be looked up"]


def _check_host(parts: SplitResult, policy: EgressPolicy) -> list[str]:
    host = parts.hostname
    if not host:
        return ["the URL has no host"]
    try:
        literal = str(ip_address(host.partition("%")[0]))
    except ValueError:
        if _NUMERIC_HOST.fullmatch(host):
            return [f"the host {host[:64]!r} is a number: write an address in full, such as 192.0.2.1"]
        return _check_name(parts)
    refusal = policy.refusal(literal)
    return [] if refusal is None else [f"{refusal}; TOCSIN_EGRESS_ALLOW opens networks"]

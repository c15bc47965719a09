"""Which addresses the gateway calls: those an operator registered, over https, and never into the operator's own network.

The allow-list of a peer is the host of its registered channel or callback. What a peer names itself (its token endpoint)
must be on that host, or on one of the hosts the operator allowed by name (setting outbound_hosts). A name is resolved
once for a connection, every answer is judged, and the connection goes to the judged address: a second answer of a
rebinding name is never asked for. Proxies of the environment are not used, since they would resolve again.
"""

from __future__ import annotations

import ipaddress
import re
import socket
from collections.abc import Collection
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

_LABEL: Final = re.compile(r"(?!-)[a-z0-9_-]{1,63}(?<!-)\Z")
_NUMERIC_END: Final = re.compile(r"(?:[0-9]+|0x[0-9a-f]*)\Z")
_NOT_IN_A_URL: Final = re.compile(r"[^\x21-\x7e]|[\\\"<>^`{|}]")
_GLOBAL_UNICAST: Final = ipaddress.ip_network("2000::/3")
_CARRIES_IPV4: Final = tuple(ipaddress.ip_network(network) for network in ("2001::/32", "2002::/16"))  # Teredo, 6to4

IPAddress = ipaddress.IPv4Address | ipaddress.IPv6Address


class AddressRefused(Exception):
    """The gateway does not call this address. `code` is short and holds nothing of the address."""

    def __init__(self, code: str) -> None:
        self.code = code
        super().__init__(code)


class AddressUnknown(Exception):
    """The name does not resolve now; it may later."""


@dataclass(frozen=True, slots=True)
class Address:
    """A URL taken apart. host: lower case without trailing dot and brackets. port: the given or the scheme's own."""

    url: str
    scheme: str
    host: str
    port: int


def require_address(url: str, *, allow_private: bool) -> Address:
    """Refuse a URL whose form alone forbids a call.

    allow_private: also take http, for a machine of one's own. Raises AddressRefused with what is wrong:
    "address-form", "scheme", "userinfo", "fragment", "host-form".
    """
    if len(url) > 2048 or _NOT_IN_A_URL.search(url):
        raise AddressRefused("address-form")
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise AddressRefused("address-form") from None
    if parts.scheme != "https" and not (allow_private and parts.scheme == "http"):
        raise AddressRefused("scheme")
    if "@" in parts.netloc:
        raise AddressRefused("userinfo")
    if parts.fragment or "#" in url:
        raise AddressRefused("fragment")
    if port == 0:
        raise AddressRefused("address-form")
    host = _require_host(parts.hostname or "", bracketed="[" in parts.netloc)
    return Address(url=url, scheme=parts.scheme, host=host, port=port or (443 if parts.scheme == "https" else 80))


def _require_host(host: str, *, bracketed: bool) -> str:
    """A DNS name in its ASCII form, or an IP address in its one canonical form."""
    if bracketed:
        try:
            return str(ipaddress.IPv6Address(host)) if "%" not in host else _refuse_host()
        except ValueError:
            _refuse_host()
    name = host[:-1] if host.endswith(".") else host
    labels = name.split(".")
    if len(name) > 253 or not all(_LABEL.match(label) for label in labels):
        _refuse_host()
    if _NUMERIC_END.match(labels[-1]):
        # 127.1, 0x7f.1, 0177.0.0.1, 2130706433: resolvers read these as addresses, each in its own way
        try:
            return str(ipaddress.IPv4Address(name))
        except ValueError:
            _refuse_host()
    return name


def _refuse_host() -> str:
    raise AddressRefused("host-form")


def require_same_peer(address: Address, registered: Address, also_allowed: Collection[str] = ()) -> None:
    """Refuse an address a peer named itself, unless it is the peer's own.

    Same host, and the registered port or that of https; or a host the operator allowed by name, there on the port of https
    only. A registration over https is not led down to http. Raises AddressRefused "foreign-host" or "scheme".
    """
    if registered.scheme == "https" and address.scheme != "https":
        raise AddressRefused("scheme")
    if address.host == registered.host and address.port in (registered.port, 443):
        return
    if address.host in also_allowed and address.port == 443:
        return
    raise AddressRefused("foreign-host")


def resolve(host: str, port: int, *, allow_private: bool) -> list[IPAddress]:
    """The addresses behind a name, all of them judged: one that is refused refuses the name.

    Raises AddressRefused "private-address", AddressUnknown.
    """
    try:
        answers = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (socket.gaierror, UnicodeError):
        raise AddressUnknown from None
    found: dict[IPAddress, None] = {}
    for family, *_, location in answers:
        if family in (socket.AF_INET, socket.AF_INET6):
            found[ipaddress.ip_address(str(location[0]).partition("%")[0])] = None
    if not found:
        raise AddressUnknown
    if not all(may_connect(address, allow_private=allow_private) for address in found):
        raise AddressRefused("private-address")
    return list(found)


def may_connect(address: IPAddress, *, allow_private: bool) -> bool:
    """Whether a connection may go to this address.

    allow_private admits loopback, private networks and CGNAT, and still not link-local (cloud metadata answers there),
    multicast, broadcast or the unspecified address.
    """
    inner = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    if inner is not None:
        return may_connect(inner, allow_private=allow_private)
    if address.is_multicast or address.is_unspecified or address.is_link_local or address == ipaddress.IPv4Address("255.255.255.255"):
        return False
    if allow_private:
        return True
    if isinstance(address, ipaddress.IPv6Address):
        return address in _GLOBAL_UNICAST and address.is_global and not any(address in network for network in _CARRIES_IPV4)
    return address.is_global and not address.is_reserved

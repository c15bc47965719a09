"""How many requests a caller may make in this process: the first bucket, so that a flood costs no write and no signature check.

A token bucket for each key: a registered client, or the address of whoever has not proved to be one. Knows only the address of the
connection, since a forwarded header says what its sender likes. Keeps nothing of a request and decides nothing about what it may see.
"""

from __future__ import annotations

import ipaddress
import math
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Final

from gateway.errors import Throttled
from gateway.settings import Settings

MAX_KEYS: Final = 4096
"""Keys that are remembered; the one that asked longest ago is forgotten first, and begins with a full bucket when it comes back."""

CLIENT_BURST_SECONDS: Final = 2
UNKNOWN_BURST_SECONDS: Final = 5
"""How many seconds' worth may come at once. Longer for addresses: behind a proxy, or in one agency, many have the same."""

_IPV6_SITE: Final = 64  # bits: one machine may take any address below them


class Buckets:
    """A bucket of `burst` requests for each key, refilled by `per_second`; safe for threads. per_second 0: no limit."""

    def __init__(self, per_second: float, burst: float, *, clock: Callable[[], float] = time.monotonic, max_keys: int = MAX_KEYS) -> None:
        self._per_second, self._burst = per_second, burst
        self._clock, self._max_keys = clock, max_keys
        self._left: OrderedDict[str, tuple[float, float]] = OrderedDict()
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._left)

    def take(self, key: str) -> None:
        """Take one request out of a key's bucket. Raises Throttled when there is none: its time is when there will be."""
        if not self._per_second:
            return
        with self._lock:
            now = self._clock()
            left, at = self._left.get(key, (self._burst, now))
            left = min(self._burst, left + (now - at) * self._per_second)
            enough = left >= 1
            self._left[key] = (left - 1 if enough else left, now)
            self._left.move_to_end(key)
            if len(self._left) > self._max_keys:
                self._left.popitem(last=False)
        if not enough:
            raise Throttled(max(1, math.ceil((1 - left) / self._per_second)))


class Limits:
    """The buckets of one application: those of clients apart, so that a flood of addresses makes none of them forgotten."""

    def __init__(self, settings: Settings) -> None:
        clients, unknown = settings.client_requests_per_second, settings.unknown_requests_per_second
        self._clients = Buckets(clients, clients * CLIENT_BURST_SECONDS)
        self._unknown = Buckets(unknown, unknown * UNKNOWN_BURST_SECONDS)

    def take_of_client(self, client_id: str) -> None:
        """Count a request of a client that proved itself. Raises Throttled."""
        self._clients.take(client_id)

    def take_of_address(self, remote_addr: str | None) -> None:
        """Count a request of somebody unknown. remote_addr: of the connection. Raises Throttled."""
        self._unknown.take(site_of(remote_addr or ""))


def site_of(address: str) -> str:
    """What is counted together: an IPv4 address (also one mapped into IPv6), the /64 of an IPv6 address, else the text."""
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return address
    if isinstance(found, ipaddress.IPv4Address):
        return str(found)
    if found.ipv4_mapped is not None:
        return str(found.ipv4_mapped)
    return str(ipaddress.ip_network((int(found), _IPV6_SITE), strict=False))

"""Reading a client's JWK set by its registered address, within the bounds of every outbound call.

https only (unless the operator allows private addresses), no redirect, three seconds to connect, five in all, 64 kB. Says for how
long the answer may be used; keeps nothing itself.
Source: SMART App Launch 2.2, client-confidential-asymmetric; RFC 9111 §5.2.2.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

import structlog

from gateway.delivery.addresses import Address, AddressRefused, require_address, require_same_peer
from gateway.delivery.outbound import Answer, CallFailed, Calls
from gateway.errors import Unavailable
from gateway.oauth.jwks import MAX_BYTES
from gateway.oauth.key_sets import PAUSE_SECONDS, Fetch, FetchedKeys
from profiles.strict_json import JsonFault, parse_json

log = structlog.get_logger(__name__)

TOTAL_SECONDS: Final = 5.0
_DIRECTIVE: Final = re.compile(r'\s*([a-z-]+)\s*(?:=\s*"?([^",]*)"?)?\s*', re.IGNORECASE)
_SECONDS: Final = re.compile(r"[0-9]{1,10}")


def make_fetch(*, allow_private: bool, ca_file: str | None = None) -> Fetch:
    """A function that reads a JWK set by its address and raises Unavailable when it cannot."""

    def fetch(url: str) -> FetchedKeys:
        try:
            return _fetch(url, allow_private=allow_private, ca_file=ca_file)
        except (AddressRefused, CallFailed, JsonFault) as fault:
            # codes only: an address and an answer are the client's own business
            word = fault.kind if isinstance(fault, JsonFault) else fault.code
            log.warning("key set not read", fault=word)
            raise Unavailable(int(PAUSE_SECONDS)) from None

    return fetch


def _fetch(url: str, *, allow_private: bool, ca_file: str | None) -> FetchedKeys:
    registered = require_address(url, allow_private=allow_private)

    def allowed(address: Address) -> None:
        require_same_peer(address, registered)

    with Calls(allowed, allow_private=allow_private, ca_file=ca_file) as calls:
        calls.allow_seconds(TOTAL_SECONDS)
        answer = calls.call("GET", url, headers={"Accept": "application/json"})
    _require_set(answer)
    return FetchedKeys(parse_json(answer.content, max_depth=8, max_nodes=2_000), fresh_seconds(answer.headers))


def _require_set(answer: Answer) -> None:
    if answer.status != 200:
        raise CallFailed(f"status-{answer.status}", begun=True)
    if len(answer.content) > MAX_BYTES:
        raise CallFailed("answer-too-long", begun=True)


def fresh_seconds(headers: Mapping[str, str]) -> float | None:
    """How long an answer may be used after it was asked for; None when it does not say. What contradicts itself counts least."""
    control = headers.get("Cache-Control")
    if control is None:
        return None
    directives = [(found[1].lower(), (found[2] or "").strip()) for part in control.split(",") if (found := _DIRECTIVE.fullmatch(part))]
    if any(name in ("no-store", "no-cache") for name, _ in directives):
        return 0.0
    ages = [float(value) if _SECONDS.fullmatch(value) else 0.0 for name, value in directives if name == "max-age"]
    if not ages:
        return None
    # a cache on the way has used up a part of it already
    age = headers.get("Age", "0")
    return max(0.0, min(ages) - (float(age) if _SECONDS.fullmatch(age) else 0.0))

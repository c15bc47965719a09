"""The key sets of clients as one process knows them: inline ones as registered, others fetched by their address.

A fetched set is never used past what its server allowed. An unknown kid makes it be fetched again, so that a new key works at
once, but at most once in 30 seconds a client: whoever invents kids cannot make the gateway call out. One fetch a client at a time.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

import structlog

from gateway.errors import Unavailable
from gateway.oauth.jwks import KeysRefused, PublicKey, usable_keys
from gateway.store.registry import Client

log = structlog.get_logger(__name__)

DEFAULT_SECONDS: Final = 300.0
"""How long a set is used whose server says nothing about it."""

LONGEST_SECONDS: Final = 24 * 3600.0
REFETCH_SECONDS: Final = 30.0
PAUSE_SECONDS: Final = 5.0
"""After a failed fetch nobody waits for another one so long: a dead host must not hold the threads of a process."""


@dataclass(frozen=True, slots=True)
class FetchedKeys:
    """An answer from a client's jwks_url. fresh_seconds: how long it may be used; None when its server said nothing."""

    document: Any = field(repr=False)
    fresh_seconds: float | None = None


Fetch = Callable[[str], FetchedKeys]
"""Gets a JWK set by its registered address. Raises Unavailable."""


@dataclass(frozen=True, slots=True)
class _Held:
    keys: tuple[PublicKey, ...]
    asked_at: float
    fresh_until: float


@dataclass(slots=True)
class _Remote:
    """What is known of one client's set. fetching: held by the one thread that asks."""

    url: str
    held: _Held | None = None
    refetch_from: float = float("-inf")
    paused_until: float = float("-inf")
    fetching: threading.Lock = field(default_factory=threading.Lock)


class KeySets:
    """The key sets of all clients in this process; safe between threads."""

    def __init__(self, fetch: Fetch, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._fetch, self._clock = fetch, clock
        self._inline: dict[str, tuple[dict[str, Any], tuple[PublicKey, ...]]] = {}
        self._remote: dict[str, _Remote] = {}
        self._lock = threading.Lock()

    def keys_with(self, client: Client, kid: str) -> tuple[PublicKey, ...]:
        """Every usable key of a client with this kid. Raises Unavailable when its set is out of reach."""
        keys = self._inline_keys(client) if client.jwks_url is None else self._remote_keys(client.id, client.jwks_url, kid)
        return tuple(key for key in keys if key.kid == kid)

    def _inline_keys(self, client: Client) -> tuple[PublicKey, ...]:
        if client.jwks is None:
            return ()
        known = self._inline.get(client.id)
        if known is not None and known[0] == client.jwks:
            return known[1]
        try:
            keys = usable_keys(client.jwks)
        except KeysRefused as refused:
            log.error("registered key set is broken", client=client.id, place=refused.place)
            keys = ()
        self._inline[client.id] = (client.jwks, keys)
        return keys

    def _remote_keys(self, client_id: str, url: str, kid: str) -> tuple[PublicKey, ...]:
        began = self._clock()
        remote = self._remote_of(client_id, url)
        held = remote.held
        if held is not None and began < held.fresh_until and _has(held, kid):
            return held.keys
        with remote.fetching:
            return self._fetched_if_needed(remote, client_id, kid, began)

    def _fetched_if_needed(self, remote: _Remote, client_id: str, kid: str, began: float) -> tuple[PublicKey, ...]:
        now, held = self._clock(), remote.held
        # what was asked for while this one waited is an answer to it as well, whether or not it may be kept
        usable = held is not None and (now < held.fresh_until or held.asked_at >= began)
        if held is not None and usable and (_has(held, kid) or now < remote.refetch_from):
            return held.keys
        if now < remote.paused_until:
            raise Unavailable(int(PAUSE_SECONDS))
        if usable:
            remote.refetch_from = now + REFETCH_SECONDS
        try:
            remote.held = self._asked(remote.url)
        except Unavailable:
            remote.paused_until = self._clock() + PAUSE_SECONDS
            log.warning("key set out of reach", client=client_id)
            raise
        return remote.held.keys

    def _asked(self, url: str) -> _Held:
        asked_at = self._clock()
        answer = self._fetch(url)
        try:
            keys = usable_keys(answer.document)
        except KeysRefused:
            raise Unavailable(int(PAUSE_SECONDS)) from None
        seconds = DEFAULT_SECONDS if answer.fresh_seconds is None else min(max(answer.fresh_seconds, 0.0), LONGEST_SECONDS)
        return _Held(keys, asked_at, asked_at + seconds)

    def _remote_of(self, client_id: str, url: str) -> _Remote:
        with self._lock:
            known = self._remote.get(client_id)
            if known is None or known.url != url:
                known = self._remote[client_id] = _Remote(url)
            return known


def _has(held: _Held, kid: str) -> bool:
    return any(key.kid == kid for key in held.keys)

"""Continuation links: the last visible key, encrypted and bound to who asked what. They tell nothing and permit nothing."""

from __future__ import annotations

import base64
import binascii
import os
from datetime import UTC, datetime, timedelta
from typing import Final
from weakref import WeakKeyDictionary

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from gateway.errors import Malformed
from gateway.store.database import Database
from gateway.store.search import find_seal, keep_seal

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_NONCE_BYTES: Final = 12
_known: WeakKeyDictionary[Database, bytes] = WeakKeyDictionary()


def seal_key(database: Database) -> bytes:
    """The key all processes of a database share; made on first use."""
    key = _known.get(database)
    if key is None:
        with database.read() as unit:
            key = find_seal(unit)
        if key is None:
            made = AESGCM.generate_key(256)
            key = database.write(lambda unit: keep_seal(unit, made))
        _known[database] = key
    return key


def close_key(seal: bytes, key: tuple[datetime, str], bound: str) -> str:
    """Seal (last_updated, id). bound: organisation, purpose and query, which an opener must name alike."""
    at, resource_id = key
    microseconds = (at - _EPOCH) // timedelta(microseconds=1)
    nonce = os.urandom(_NONCE_BYTES)
    sealed = AESGCM(seal).encrypt(nonce, f"{microseconds} {resource_id}".encode(), bound.encode())
    return base64.urlsafe_b64encode(nonce + sealed).decode().rstrip("=")


def open_key(seal: bytes, text: str, bound: str) -> tuple[datetime, str]:
    """Open a continuation. Raises Malformed for one that is forged, cut, or somebody else's."""
    try:
        raw = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
        opened = AESGCM(seal).decrypt(raw[:_NONCE_BYTES], raw[_NONCE_BYTES:], bound.encode()).decode()
    except (binascii.Error, ValueError, InvalidTag):
        raise Malformed("The continuation cannot be read; start the search again.") from None
    microseconds, _, resource_id = opened.partition(" ")
    return _EPOCH + timedelta(microseconds=int(microseconds)), resource_id

"""Ids and secrets. An id tells when it was made and permits nothing; a secret tells nothing and is never an id."""

from __future__ import annotations

import os
import secrets
import time
from typing import Final
from uuid import UUID

_RANDOM_BITS: Final = 74
_VERSION: Final = 7
_VARIANT: Final = 0b10
_READ_OUT: Final = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"


def new_id() -> str:
    """A UUIDv7 in its text form: 48 bits of milliseconds, then 74 fresh random bits (RFC 9562 §5.7).

    Time-ordered, so that inserts stay at one end of every index. Two ids of one millisecond are in no order: a counter would
    tell whoever holds an id how many others were made beside it.
    """
    milliseconds = time.time_ns() // 1_000_000
    random = int.from_bytes(os.urandom(10)) >> (80 - _RANDOM_BITS)
    high, low = random >> 62, random & ((1 << 62) - 1)
    value = (milliseconds & ((1 << 48) - 1)) << 80 | _VERSION << 76 | high << 64 | _VARIANT << 62 | low
    return str(UUID(int=value))


def new_number() -> str:
    """130 random bits as 26 characters that a person can read out and a shell takes as they are (Crockford's base 32).

    For receipts and placer numbers: they name one thing to one party, and nobody can guess another's.
    """
    return "".join(secrets.choice(_READ_OUT) for _ in range(26))


def new_secret() -> str:
    """256 random bits as URL-safe text of 43 characters, for tokens and leases."""
    return secrets.token_urlsafe(32)

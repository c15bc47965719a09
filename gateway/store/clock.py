"""The newest stamp a write was given, kept in the database: a clock that was set back does not take `lastUpdated` back.

On SQLite the table has one row, which the one writer reads and moves on. On PostgreSQL the table stays empty and only the
sequence of its column is used: a sequence is outside transactions, so writers do not wait for each other, and a stamp given to
one that rolled back still counts, which does no harm.
"""

from __future__ import annotations

import time
from typing import Final

from sqlalchemy import BigInteger
from sqlmodel import Field

from gateway.store.rows import Row

SEQUENCE: Final = "store_clock_at_seq"


class StoreClockRow(Row, table=True):
    """at: the newest stamp, in microseconds since 1970."""

    __tablename__ = "store_clock"

    at: int | None = Field(default=None, primary_key=True, sa_type=BigInteger)


def system_microseconds() -> int:
    """The time of this machine in microseconds since 1970."""
    return time.time_ns() // 1_000

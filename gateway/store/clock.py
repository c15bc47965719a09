"""The newest stamp a write was given, kept in the database: a clock that was set back does not take `lastUpdated` back.

On SQLite the table has one row, which the one writer reads and moves on, and a clock that is behind it is carried on from there: what
stood still would never come due. On PostgreSQL the table stays empty and only the
sequence of its column is used: a sequence is outside transactions, so writers do not wait for each other, and a stamp given to
one that rolled back still counts, which does no harm.
"""

from __future__ import annotations

import threading
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


class CarriedClock:
    """The machine's time, and while that is behind what was stamped already, a time that goes on from there at half the pace.

    A clock that was an hour ahead and is put right leaves stamps of an hour ahead. Were that the time until it is over, no retry
    would come due and no lease of a dead worker would end for an hour. At half the pace the machine's time catches up.
    """

    def __init__(self) -> None:
        self._at, self._ticks = 0, 0
        self._lock = threading.Lock()

    def microseconds(self, stamped: int) -> int:
        """Microseconds since 1970, now; never before `stamped`, the newest stamp that is known, nor before an earlier answer."""
        with self._lock:
            ticks = time.monotonic_ns() // 1_000
            carried = self._at + (ticks - self._ticks) // 2
            carried = max(carried, stamped)
            self._at, self._ticks = max(carried, system_microseconds()), ticks
            return self._at

"""The unit of work that is handed down: a connection, the time it is stamped with, and whether it may write."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

from sqlalchemy import Connection

from gateway.errors import Unavailable

FAR_FUTURE: Final = datetime(9999, 1, 1, tzinfo=UTC)


@dataclass(slots=True)
class Unit:
    """One unit of work. Whoever gets it reads and writes through it, and neither commits nor rolls back.

    now: aware UTC; of a write, stamped inside the write section, never earlier than the stamp of any write before it.
    shown_before: of a read, the instant from which on what is stored may not be complete yet (see store/postgres.py).
    memo: what was read once for this unit, under a name of whoever reads it; whoever writes what it rests on takes it out.
    """

    connection: Connection
    now: datetime
    writing: bool
    shown_before: datetime = FAR_FUTURE
    advisory_locks: dict[int, str] = field(default_factory=dict)  # PostgreSQL: key → "shared" or "exclusive", held until the end
    memo: dict[str, Any] = field(default_factory=dict)


class TransactionLost(Unavailable):
    """SQLite rolled the whole transaction back; nothing more may run in it."""


class RunAgain(Exception):
    """A write cannot go on without a lock it should have taken first: roll back, take it, run the work from its start.

    take: takes the lock, waiting for it, before any other lock of the new run.
    """

    def __init__(self, take: Callable[[Unit], None]) -> None:
        self.take = take
        super().__init__("the work is to be run again")

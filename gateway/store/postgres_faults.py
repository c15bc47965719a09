"""What an error of PostgreSQL means for a write: run it again, give up for now, or it is our own mistake."""

from __future__ import annotations

from enum import Enum
from typing import Final

import psycopg
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from gateway.errors import Unavailable


class Verdict(Enum):
    """AGAIN: undone for another's sake. COLLISION: somebody else's row came first; the second run finds it.
    GONE: the server cannot now. OURS: the work's own error or refusal."""

    AGAIN = "again"
    COLLISION = "collision"
    GONE = "gone"
    OURS = "ours"


_AGAIN: Final = frozenset({"40001", "40P01"})  # serialization_failure, deadlock_detected
_UNIQUE: Final = "23505"
_READ_ONLY: Final = "25006"
_GONE: Final = frozenset(
    {
        _READ_ONLY,  # read_only_sql_transaction: we are on a standby after a failover
        "25P03",  # idle_in_transaction_session_timeout
        "55P03",  # lock_not_available: lock_timeout
        "57014",  # query_canceled: statement_timeout
    }
)
_GONE_CLASSES: Final = ("08", "53", "57P", "58", "XX")  # connection, resources, operator, system, internal


def judge(fault: BaseException) -> Verdict:
    """The verdict on what ended a work, also where a layer above wrapped the database's error in its own refusal."""
    found = _database_error(fault)
    if found is None:
        return Verdict.GONE if isinstance(fault, PoolTimeout) else Verdict.OURS
    invalidated, state = found
    if state in _AGAIN:
        return Verdict.AGAIN
    if state == _UNIQUE:
        return Verdict.COLLISION
    if invalidated or state is None or state in _GONE or state.startswith(_GONE_CLASSES):
        return Verdict.GONE
    return Verdict.OURS


def wrote_in_a_read(fault: BaseException) -> bool:
    """Whether a read tried to write: our mistake there, while in a write the same error means a standby."""
    found = _database_error(fault)
    return found is not None and found[1] == _READ_ONLY


def _database_error(fault: BaseException) -> tuple[bool, str | None] | None:
    """Whether the connection is lost, and the SQLSTATE (None: the client itself gave up); None for no database error."""
    seen: BaseException | None = fault
    while seen is not None:
        error = seen.orig if isinstance(seen, DBAPIError) else seen
        if isinstance(error, psycopg.Error):
            lost = isinstance(seen, DBAPIError) and seen.connection_invalidated
            if error.sqlstate is None and not isinstance(error, psycopg.OperationalError):
                return None  # a value the client could not even send, such as text with a NUL
            return lost, error.sqlstate
        seen = seen.__cause__ if isinstance(seen, Unavailable) else None
    return None

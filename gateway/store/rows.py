"""What every table's class stands on: the base class and the column types that read alike on both databases."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from sqlalchemy import BigInteger, Dialect, Text
from sqlalchemy.types import TypeDecorator
from sqlmodel import SQLModel

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
KEYED: Final = {"sqlite_with_rowid": False}
"""Of a table of short rows: on SQLite the row lies in the tree of its key, and there is no second tree to write."""

_MICROSECOND: Final = timedelta(microseconds=1)


class Row(SQLModel):
    """Base of every table's class; all of them share one metadata, which the migrations are compared with."""


class Instant(TypeDecorator[datetime]):
    """An aware UTC datetime, stored as whole microseconds since 1970.

    Both databases then sort, compare and keep it alike, and neither can drop the zone. Refuses a naive datetime.
    """

    impl = BigInteger
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> int | None:
        """Turn a datetime into microseconds."""
        del dialect
        return None if value is None else to_microseconds(value)

    def process_result_value(self, value: int | None, dialect: Dialect) -> datetime | None:
        """Turn microseconds into a datetime."""
        del dialect
        return None if value is None else from_microseconds(value)


class JsonText(TypeDecorator[Any]):
    """A small JSON value of ours (no resource: those are kept as the bytes that came) stored as text."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: Any, dialect: Dialect) -> str | None:
        """Write JSON with sorted keys."""
        del dialect
        return None if value is None else json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)

    def process_result_value(self, value: str | None, dialect: Dialect) -> Any:
        """Read JSON."""
        del dialect
        return None if value is None else json.loads(value)


def to_microseconds(at: datetime) -> int:
    """Microseconds since 1970 of an aware datetime. Raises ValueError for a naive one."""
    if at.tzinfo is None:
        raise ValueError("a time without zone is no instant")
    return (at - _EPOCH) // _MICROSECOND


def from_microseconds(value: int) -> datetime:
    """The UTC datetime of microseconds since 1970."""
    return _EPOCH + value * _MICROSECOND

"""Connections to a SQLite database: one that writes, under the writer's lock, and a pool of such as can only read.

The driver begins nothing by itself here. A statement of the writing connection outside a transaction is refused, since SQLite
would commit it at once: after a full disk has rolled a transaction back, the next statement would otherwise stand alone.
"""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any, Final

from sqlalchemy import URL, Engine, create_engine, event
from sqlalchemy.pool import NullPool, QueuePool

from gateway.store.units import TransactionLost

BUSY_SECONDS: Final = 2.0
"""Our own writers never meet in SQLite; a backup tool or a shell may hold its lock for a moment."""

_WRITER_PRAGMAS: Final = (
    "PRAGMA synchronous=FULL",  # a commit that was answered survives a power cut
    "PRAGMA foreign_keys=ON",
    "PRAGMA journal_size_limit=67108864",
    "PRAGMA wal_autocheckpoint=4000",  # pages: one and the same page, written again and again, goes into the database once
    "PRAGMA cache_size=-8000",
    "PRAGMA temp_store=MEMORY",  # nothing of a record in files that outlive us
    "PRAGMA trusted_schema=OFF",
)
_READER_PRAGMAS: Final = ("PRAGMA query_only=ON", "PRAGMA cache_size=-1000", "PRAGMA temp_store=MEMORY", "PRAGMA trusted_schema=OFF")


_ARGUMENTS: Final = {"timeout": BUSY_SECONDS, "check_same_thread": False, "isolation_level": None}


def _url(path: Path) -> URL:
    return URL.create("sqlite", database=str(path))


def make_write_engine(path: Path) -> Engine:
    """The engine of the one writing connection; connect only while holding the write lock, it may change the journal mode."""
    engine = create_engine(_url(path), poolclass=NullPool, hide_parameters=True, connect_args=dict(_ARGUMENTS))

    @event.listens_for(engine, "connect")
    def prepare(connection: sqlite3.Connection, _record: object) -> None:
        mode = connection.execute("PRAGMA journal_mode=WAL").fetchone()[0]
        if mode != "wal":
            raise sqlite3.OperationalError(f"journal mode is {mode}, not wal")
        for pragma in _WRITER_PRAGMAS:
            connection.execute(pragma).close()

    @event.listens_for(engine, "before_cursor_execute")
    def require_transaction(_connection: object, cursor: sqlite3.Cursor, *_rest: object) -> None:
        if not cursor.connection.in_transaction:
            raise TransactionLost

    return engine


def make_read_engine(path: Path, pool_size: int, wait_seconds: float) -> Engine:
    """The pool of reading connections; each transaction is one snapshot."""
    engine = create_engine(
        _url(path),
        poolclass=QueuePool,
        pool_size=pool_size,
        max_overflow=0,
        pool_timeout=wait_seconds,
        pool_use_lifo=True,  # the connection used last has the pages and statements at hand
        hide_parameters=True,
        connect_args=dict(_ARGUMENTS),
    )

    @event.listens_for(engine, "connect")
    def prepare(connection: sqlite3.Connection, _record: object) -> None:
        for pragma in _READER_PRAGMAS:
            connection.execute(pragma).close()

    @event.listens_for(engine, "begin")
    def begin(connection: Any) -> None:
        connection.connection.dbapi_connection.execute("BEGIN").close()

    return engine

"""The database as every layer knows it: snapshots to read from, a write section to run a work in, and the unit handed down.

Nothing below a door opens, commits or rolls back. A work may be run again from its start, so it does nothing but read and write
through its unit. Which database stands behind is told by the URL; where the two differ in SQL, `dialect` says which it is.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, TypeVar, cast

import structlog
from sqlalchemy import make_url
from sqlalchemy.exc import ArgumentError
from sqlmodel import SQLModel

from gateway.store.postgres import PostgresStore
from gateway.store.sqlite import SqliteStore
from gateway.store.units import FAR_FUTURE, Unit

__all__ = ["FAR_FUTURE", "Database", "DatabaseUrlRefused", "NoDatabase", "Unit", "require_existing", "require_url"]

log = structlog.get_logger(__name__)

T = TypeVar("T")
FREE_SPACE_FLOOR_BYTES: Final = 64 * 1024 * 1024
_POSTGRESQL: Final = frozenset({"postgres", "postgresql", "postgresql+psycopg"})
_SQLITE: Final = frozenset({"sqlite", "sqlite+pysqlite"})


class DatabaseUrlRefused(Exception):
    """The database URL cannot be used; the message says why and never repeats its password."""


class NoDatabase(Exception):
    """There is no database yet; the message says how to make one."""

    def __init__(self) -> None:
        super().__init__("no database yet: run crisis-gateway db upgrade")


def require_existing(url: str) -> None:
    """Refuse a SQLite file that is not there: to open it would make it. A server is asked when it is opened.

    Raises NoDatabase, DatabaseUrlRefused.
    """
    if require_url(url) == "sqlite" and not Path(cast(str, make_url(url).database)).exists():
        raise NoDatabase


def require_url(url: str) -> str:
    """The dialect a database URL asks for. Raises DatabaseUrlRefused."""
    try:
        parsed = make_url(url)
    except ArgumentError:
        raise DatabaseUrlRefused("is no database URL, such as sqlite:///gateway.db or postgresql://user@host/name") from None
    if parsed.drivername in _POSTGRESQL:
        return "postgresql"
    if parsed.drivername not in _SQLITE:
        raise DatabaseUrlRefused(f"names {parsed.drivername!r}; only sqlite and postgresql are known")
    if parsed.query or (parsed.database or "").startswith("file:"):
        raise DatabaseUrlRefused("has parameters after the path, which SQLite is not given here")
    if parsed.database in (None, "", ":memory:"):
        raise DatabaseUrlRefused("names a database in memory, which no second process can share")
    return "sqlite"


class Database:
    """One database as this process sees it; safe for threads, and in a forked child opened anew.

    lock_seconds: how long anything waits for a lock, a connection or its turn before Unavailable.
    pool_size: how many threads may read at a time. on_broken: called once when this process must write no more
    (a COMMIT failed); serve ends the process then, others may leave it out.
    """

    def __init__(
        self,
        url: str,
        *,
        lock_seconds: float = 10,
        pool_size: int = 16,
        free_space_floor_bytes: int = FREE_SPACE_FLOOR_BYTES,
        on_broken: Callable[[], None] | None = None,
    ) -> None:
        self.on_broken = on_broken
        self._store: SqliteStore | PostgresStore
        if require_url(url) == "postgresql":
            postgres = make_url(url).set(drivername="postgresql+psycopg")
            self._store = PostgresStore(postgres, wait_seconds=lock_seconds, pool_size=pool_size)
        else:
            self._store = SqliteStore(
                Path(cast(str, make_url(url).database)),
                wait_seconds=lock_seconds,
                pool_size=pool_size,
                free_space_floor_bytes=free_space_floor_bytes,
                on_broken=self._break,
            )
        self.dialect: Final = self._store.dialect

    @contextmanager
    def read(self, *, with_horizon: bool = False) -> Iterator[Unit]:
        """A snapshot of its own, in which nothing can be written. Raises Unavailable.

        with_horizon: needed by what shows resources in order of time (searches, history, notifications); it costs PostgreSQL a look
        at everybody's transactions. Without it the unit's `shown_before` on PostgreSQL is 1970: shown by it would be nothing.
        """
        with self._store.read(with_horizon=with_horizon) as unit:
            yield unit

    def write(self, work: Callable[[Unit], T]) -> T:
        """Run a work in the write section and return its result, after COMMIT.

        What the work raises rolls back its own writes only and is raised here. Raises Unavailable when the database cannot keep
        it now. The work may run more than once and in another thread (with the caller's context variables).
        """
        return cast(T, self._store.write(work))

    def ready(self) -> bool:
        """Whether reads and writes would be answered now."""
        return self._store.ready()

    def create_tables(self) -> None:
        """Make every table that is known by now, for tests; a real database is made by its migrations."""
        self.write(lambda unit: SQLModel.metadata.create_all(unit.connection))

    def close(self) -> None:
        """Close every connection; what waits to be written is written first."""
        self._store.close()

    def _break(self) -> None:
        log.critical("database broken: this process writes no more", pid=os.getpid())
        if self.on_broken is not None:
            self.on_broken()

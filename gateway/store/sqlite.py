"""The store on SQLite: snapshots from a pool of readers, writes by the one writer, and what happens to both in a fork."""

from __future__ import annotations

import os
import sqlite3
import threading
import weakref
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import structlog
from sqlalchemy import Engine, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from gateway.errors import Unavailable
from gateway.store.clock import CarriedClock
from gateway.store.filesystem import create_private, free_bytes, require_local
from gateway.store.rows import from_microseconds
from gateway.store.sqlite_engines import make_read_engine
from gateway.store.sqlite_fork import ForkGate
from gateway.store.sqlite_writer import SqliteWriter, Work, as_failure, code_of
from gateway.store.units import Unit

log = structlog.get_logger(__name__)

_CLOCK: Final = "SELECT max(at) FROM store_clock"
_HAS_CLOCK: Final = "SELECT 1 FROM sqlite_master WHERE name = 'store_clock'"
_inherited: list[Any] = []
"""What a forked child got from its parent: closing it would run SQLite's clean-up on files the parent still uses."""

_WROTE_IN_A_READ: Final = "SQLITE_READONLY"  # a disk that became read-only has longer names


class SqliteStore:
    """A SQLite database as one process sees it. Opened on first use, anew in a forked child."""

    dialect: Final = "sqlite"

    def __init__(
        self, path: Path, *, wait_seconds: float, pool_size: int, free_space_floor_bytes: int, on_broken: Callable[[], None]
    ) -> None:
        require_local(path)
        self.path = path.resolve()
        self._wait_seconds, self._pool_size, self._floor = wait_seconds, pool_size, free_space_floor_bytes
        self._on_broken = on_broken
        self._broken = self._unusable = False
        self._start_unopened()
        reference = weakref.ref(self)
        os.register_at_fork(
            before=lambda: _call(reference, SqliteStore.prepare_fork),
            after_in_parent=lambda: _call(reference, SqliteStore.go_on),
            after_in_child=lambda: _call(reference, SqliteStore.forget),
        )

    def _start_unopened(self) -> None:
        self._pid = os.getpid()
        self._gate = ForkGate()
        self._forking: _Forking | None = None
        self._opening = threading.Lock()
        self._readers: Engine | None = None
        self._writer: SqliteWriter | None = None
        self._clock = CarriedClock()
        self._has_clock = False
        self._closed = False

    @contextmanager
    def read(self, *, with_horizon: bool = True) -> Iterator[Unit]:
        """One snapshot, in which nothing can be written; one writer leaves no gaps, so there is a horizon always. Raises Unavailable."""
        del with_horizon
        self._require_own()
        try:
            with self._inside(), self._read_engine().connect() as connection, connection.begin():
                stamp = self._newest_stamp(connection.connection.dbapi_connection)
                yield Unit(connection, from_microseconds(self._clock.microseconds(stamp)), writing=False)
        except PoolTimeout:
            raise Unavailable from None
        except (DBAPIError, sqlite3.Error) as fault:
            failure = as_failure(fault)
            if failure is fault or code_of(fault) == _WROTE_IN_A_READ:
                raise
            raise failure from fault

    def _newest_stamp(self, driver: Any) -> int:
        """The clock of the database; the first question of a snapshot, and asked of the driver since every request asks it."""
        if not self._has_clock:
            self._has_clock = driver.execute(_HAS_CLOCK).fetchone() is not None
        return int(driver.execute(_CLOCK).fetchone()[0] or 0) if self._has_clock else 0

    def write(self, work: Work) -> Any:
        """Run a work in the one writer; see SqliteWriter.write."""
        self._require_own()
        with self._inside():
            return self._write_thread().write(work)

    def ready(self) -> bool:
        """Whether it can be read, this process may write, and the disk has room above the floor."""
        writer = self._writer
        if self._broken or self._closed or (writer is not None and (writer.broken or writer.is_stalled())):
            return False
        try:
            with self.read() as unit:
                unit.connection.execute(text("SELECT count(*) FROM sqlite_master")).scalar_one()
            return os.access(self.path, os.W_OK) and free_bytes(self.path) >= self._floor
        except (Unavailable, DBAPIError, OSError) as fault:
            log.warning("database not ready", error=type(fault).__name__)
            return False

    def close(self) -> None:
        """Commit what waits, close every connection; nothing can be asked afterwards."""
        with self._opening:
            self._closed = True
        if self._writer is not None:
            self._writer.close()
        if self._readers is not None:
            self._readers.dispose()

    def _inside(self) -> AbstractContextManager[None]:
        writer = self._writer
        return self._gate.inside(in_a_work=writer is not None and writer.is_this_thread())

    def _read_engine(self) -> Engine:
        with self._opening:
            if self._closed or self._unusable:
                raise Unavailable
            if self._readers is None:
                create_private(self.path)
                self._readers = make_read_engine(self.path, self._pool_size, self._wait_seconds)
            return self._readers

    def _write_thread(self) -> SqliteWriter:
        with self._opening:
            if self._closed or self._unusable or self._broken:
                raise Unavailable
            if self._writer is None:
                create_private(self.path)
                self._writer = SqliteWriter(self.path, wait_seconds=self._wait_seconds, on_broken=self._break, clock=self._clock)
            return self._writer

    def _break(self) -> None:
        self._broken = True
        self._on_broken()

    # --- in a fork ---

    def prepare_fork(self) -> None:
        """Let nobody in and close everything, so that the child inherits no open database."""
        nobody_inside = self._gate.shut(self._wait_seconds)
        writer = self._writer
        paused = writer if nobody_inside and writer is not None and writer.pause(self._wait_seconds) else None
        closed = nobody_inside and paused is writer
        if closed and self._readers is not None:
            self._readers.dispose()
        self._forking = _Forking(paused, closed)

    def go_on(self) -> None:
        """In the parent, after a fork."""
        forking, self._forking = self._forking, None
        if forking is None:
            return  # made while another thread forked
        if forking.paused is not None:
            forking.paused.resume()
        self._gate.open()

    def forget(self) -> None:
        """In a forked child: start anew. What the parent could not close makes the database unusable here."""
        unopened = self._readers is None and self._writer is None
        if not (unopened or self._closed or (self._forking is not None and self._forking.closed)):
            log.critical("forked while the database was in use: this process cannot use it", pid=os.getpid())
            self._unusable = True
        if self._writer is not None:
            _inherited.append(self._writer.forget())
        if self._readers is not None:
            _inherited.append((self._readers, self._readers.pool))
        self._start_unopened()

    def _require_own(self) -> None:
        if self._pid != os.getpid():
            self.forget()  # forked by something that runs no Python hooks


@dataclass(frozen=True, slots=True)
class _Forking:
    """How a store stands while its process forks. paused: its writer, to be resumed. closed: whether nothing of it is open."""

    paused: SqliteWriter | None
    closed: bool


def _call(reference: weakref.ref[SqliteStore], step: Callable[[SqliteStore], None]) -> None:
    store = reference()
    if store is not None:
        step(store)

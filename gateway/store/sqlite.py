"""The store on SQLite: snapshots from a pool of readers, writes by the one writer, and what happens to both in a fork."""

from __future__ import annotations

import os
import threading
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import structlog
from sqlalchemy import Engine, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from gateway.errors import Unavailable
from gateway.store.clock import system_microseconds
from gateway.store.filesystem import create_private, free_bytes, require_local
from gateway.store.rows import from_microseconds
from gateway.store.sqlite_engines import make_read_engine
from gateway.store.sqlite_writer import SqliteWriter, Work, as_failure
from gateway.store.units import Unit

log = structlog.get_logger(__name__)

_CLOCK: Final = text("SELECT max(at) FROM store_clock")
_HAS_CLOCK: Final = text("SELECT 1 FROM sqlite_master WHERE name = 'store_clock'")
_inherited: list[Any] = []
"""What a forked child got from its parent: closing it would run SQLite's clean-up on files the parent still uses."""


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
        self._start_unopened()
        self._broken = False
        reference = weakref.ref(self)
        os.register_at_fork(after_in_child=lambda: _forget(reference))

    def _start_unopened(self) -> None:
        self._pid = os.getpid()
        self._opening = threading.Lock()
        self._readers: Engine | None = None
        self._writer: SqliteWriter | None = None
        self._has_clock = False
        self._closed = False

    @contextmanager
    def read(self) -> Iterator[Unit]:
        """One snapshot, in which nothing can be written. Raises Unavailable."""
        try:
            with self._read_engine().connect() as connection:
                stamp = 0
                if self._has_clock or connection.execute(_HAS_CLOCK).first() is not None:
                    self._has_clock = True
                    stamp = int(connection.execute(_CLOCK).scalar_one() or 0)
                yield Unit(connection, from_microseconds(max(stamp, system_microseconds())), writing=False)
        except PoolTimeout:
            raise Unavailable from None
        except DBAPIError as fault:
            failure = as_failure(fault)
            if failure is fault:
                raise
            raise failure from fault

    def write(self, work: Work) -> Any:
        """Run a work in the one writer; see SqliteWriter.write."""
        return self._write_thread().write(work)

    def ready(self) -> bool:
        """Whether it can be read, this process may write, and the disk has room above the floor."""
        writer = self._writer
        if self._broken or self._closed or (writer is not None and writer.is_stalled()):
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

    def _read_engine(self) -> Engine:
        if self._readers is None or self._pid != os.getpid():
            with self._opening:
                self._require_open()
                if self._readers is None:
                    create_private(self.path)
                    self._readers = make_read_engine(self.path, self._pool_size, self._wait_seconds)
        return self._readers

    def _write_thread(self) -> SqliteWriter:
        if self._writer is None or self._pid != os.getpid():
            with self._opening:
                self._require_open()
                if self._writer is None:
                    create_private(self.path)
                    self._writer = SqliteWriter(self.path, wait_seconds=self._wait_seconds, on_broken=self._break)
        return self._writer

    def _require_open(self) -> None:
        if self._pid != os.getpid():
            self.forget()  # forked by something that runs no Python hooks
        if self._closed or self._broken:
            raise Unavailable

    def _break(self) -> None:
        self._broken = True
        self._on_broken()

    def forget(self) -> None:
        """In a forked child: neither use nor close what the parent opened."""
        if self._writer is not None:
            _inherited.append(self._writer.forget())
        if self._readers is not None:
            _inherited.append((self._readers, self._readers.pool))
        self._start_unopened()


def _forget(reference: weakref.ref[SqliteStore]) -> None:
    store = reference()
    if store is not None:
        store.forget()

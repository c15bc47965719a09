"""The thread that writes to a SQLite database: it commits all that waits in one transaction, a savepoint for each.

No answer leaves before COMMIT returned. A work that fails ends its own savepoint only. If SQLite rolled back the whole
transaction (a full disk does), everybody in the group is told that nothing was kept. A COMMIT that failed is never tried again,
as nobody knows what reached the disk: everybody is told so, and this writer is broken for good.
"""

from __future__ import annotations

import os
import sqlite3
import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from contextvars import Context, copy_context
from pathlib import Path
from typing import Any, Final

import structlog
from sqlalchemy import Connection, Engine
from sqlalchemy.exc import DBAPIError

from gateway.errors import Unavailable
from gateway.store.clock import CarriedClock
from gateway.store.rows import from_microseconds
from gateway.store.sqlite_engines import make_write_engine
from gateway.store.sqlite_lock import WriteLock
from gateway.store.units import Unit

log = structlog.get_logger(__name__)

GROUP_ITEMS: Final = 64
GROUP_SECONDS: Final = 0.03
"""A group takes up no further work after this time: the first of it waits for the last, and so do other processes."""

_OURS: Final = ("SQLITE_ERROR", "SQLITE_CONSTRAINT", "SQLITE_MISMATCH", "SQLITE_MISUSE", "SQLITE_RANGE", "SQLITE_TOOBIG")
"""Errors that speak of our statement or its values and not of the database."""

Work = Callable[[Unit], Any]
Outcome = tuple[Any, BaseException | None]


class GroupLost(Exception):
    """Nothing of this group was kept."""


class Item:
    """A work that waits, the context of who asked for it, and where its outcome goes."""

    __slots__ = ("context", "future", "outcome", "work")

    def __init__(self, work: Work) -> None:
        self.work = work
        self.context: Context = copy_context()
        self.future: Future[Outcome] = Future()
        self.outcome: Outcome = (None, None)


class SqliteWriter:
    """The writer of one process; made after a fork, used by all its threads."""

    def __init__(self, path: Path, *, wait_seconds: float, on_broken: Callable[[], None], clock: CarriedClock) -> None:
        self._path, self._clock = path, clock
        self._wait_seconds = wait_seconds
        self._on_broken = on_broken
        self._lock = WriteLock(path)
        self._engine: Engine = make_write_engine(path)
        self._connection: Connection | None = None
        self._opened = path.stat()
        self._waiting: deque[Item] = deque()
        self._changed = threading.Condition()
        self._stopping = False
        self._last_stamp = 0
        self._lock_asked_at: float | None = None
        self._working = threading.Lock()
        self.broken = False
        self._thread = threading.Thread(target=self._run, name="sqlite-writer", daemon=True)
        self._thread.start()

    # --- for the threads that ask ---

    def write(self, work: Work) -> Any:
        """Run a work in the writer and return its result once it is committed.

        Raises what the work raised, or Unavailable: when its turn does not come in time, when it could not be kept, and when
        it does not end in time (then it may be kept after all; a sender that repeats its message finds out).
        """
        if self.is_this_thread():
            raise RuntimeError("a write inside a write: hand the unit down instead")
        item = Item(work)
        with self._changed:
            if self.broken or self._stopping:
                raise Unavailable
            self._waiting.append(item)
            self._changed.notify()
        value, error = self._await(item.future)
        if error is not None:
            raise error
        return value

    def _await(self, future: Future[Outcome]) -> Outcome:
        try:
            return future.result(self._wait_seconds)
        except TimeoutError:
            if future.cancel():  # it had not begun, and now never will
                raise Unavailable from None
        try:
            return future.result(self._wait_seconds)
        except TimeoutError:
            raise Unavailable from None

    def is_this_thread(self) -> bool:
        """Whether the asking thread is the writer itself, which runs a work."""
        return threading.current_thread() is self._thread

    def is_stalled(self) -> bool:
        """Whether the lock has not come for longer than anybody waits."""
        asked_at = self._lock_asked_at
        return asked_at is not None and time.monotonic() - asked_at > self._wait_seconds

    def close(self) -> None:
        """Commit what waits and stop."""
        with self._changed:
            self._stopping = True
            self._changed.notify()
        self._thread.join(self._wait_seconds)

    def forget(self) -> tuple[Any, ...]:
        """In a forked child: let go of the parent's lock; what is returned must never be closed or collected here."""
        self._lock.forget()
        return self._connection, self._engine, self

    def pause(self, wait_seconds: float) -> bool:
        """Before a fork: close the connection and open none until `resume`; False when a group did not end in time."""
        paused = self._working.acquire(timeout=wait_seconds)
        if paused:
            self._drop_connection()
        return paused

    def resume(self) -> None:
        """Go on after a fork."""
        self._working.release()

    # --- the thread ---

    def _run(self) -> None:
        while self._wait_for_work():
            try:
                self._commit_group()
            except BaseException as fault:  # a waiter that is never answered would be worse than a process that ends
                log.error("writer ended", error=type(fault).__name__)
                self._break()
                raise
            if self.broken:
                return
        self._drop_connection()
        self._lock.forget()

    def _wait_for_work(self) -> bool:
        """Wait until something is to be written; False when it is time to stop."""
        with self._changed:
            while not self._waiting and not self._stopping:
                self._changed.wait()
            return bool(self._waiting)

    def _next(self) -> Item | None:
        """The next work nobody gave up on, or None."""
        with self._changed:
            while self._waiting:
                item = self._waiting.popleft()
                if item.future.set_running_or_notify_cancel():
                    return item
        return None

    def _commit_group(self) -> None:
        group: list[Item] = []
        fault: BaseException | None = None
        try:
            self._lock_asked_at = time.monotonic()
            self._lock.acquire()
            self._lock_asked_at = None
            try:
                with self._working:
                    self._transact_or_drop(group)
            finally:
                self._lock.release()
        except BaseException as raised:  # noqa: BLE001 (whatever it is, nobody is told that something was kept)
            fault = raised
            self._lock_asked_at = None
            if not group and (item := self._next()) is not None:
                group.append(item)  # somebody hears of it, else this would be tried again at once and for ever
            log.error("writes not kept", count=len(group), error=code_of(fault.__cause__ or fault))
            for item in group:
                item.outcome = (None, Unavailable())
        for item in group:
            item.future.set_result(item.outcome)
        if self.broken:
            self._break()
        elif fault is not None and not isinstance(fault, (GroupLost, OSError, DBAPIError, sqlite3.Error)):
            raise fault

    def _transact_or_drop(self, group: list[Item]) -> None:
        """Leave no transaction behind in which the next holder of the lock would find the database locked."""
        try:
            self._transact(group)
        except BaseException:
            self._drop_connection()
            raise

    def _transact(self, group: list[Item]) -> None:
        """Begin, run what waits and what comes while there is time, commit.

        The first work is taken only now that the transaction is ours: whoever gave up before is not written after all.
        """
        connection = self._open()
        driver = _driver(connection)
        driver.execute("BEGIN IMMEDIATE").close()
        first = self._next()
        if first is None:
            driver.rollback()
            return
        group.append(first)
        connection.begin()  # SQLAlchemy's view only: who looks finds a transaction, and begins none of their own
        kept_stamp = _read_clock(driver)
        self._last_stamp = max(self._last_stamp, kept_stamp or 0)
        ends_at = time.monotonic() + GROUP_SECONDS
        self._run_item(connection, driver, first)
        while len(group) < GROUP_ITEMS and time.monotonic() < ends_at and (item := self._next()) is not None:
            group.append(item)
            self._run_item(connection, driver, item)
        if all(item.outcome[1] is not None for item in group):
            driver.rollback()
        else:
            if kept_stamp is not None:
                _write_clock(driver, kept_stamp, self._last_stamp)
            self._commit(driver)
        connection.rollback()  # again the view only: the transaction itself has ended above

    def _run_item(self, connection: Connection, driver: sqlite3.Connection, item: Item) -> None:
        """Run one work in its savepoint. Raises GroupLost when it took the transaction with it."""
        self._last_stamp = self._clock.microseconds(self._last_stamp)
        unit = Unit(connection, from_microseconds(self._last_stamp), writing=True)
        driver.execute("SAVEPOINT work").close()
        try:
            item.outcome = (item.context.run(item.work, unit), None)
        except BaseException as fault:  # noqa: BLE001 (it belongs to whoever asked, and is raised there)
            item.outcome = (None, as_failure(fault))
        if not driver.in_transaction:
            raise GroupLost
        if item.outcome[1] is not None:
            driver.execute("ROLLBACK TO work").close()
        driver.execute("RELEASE work").close()

    def _commit(self, driver: sqlite3.Connection) -> None:
        try:
            driver.commit()
        except BaseException as fault:
            self.broken = True
            raise GroupLost from fault

    def _open(self) -> Connection:
        """The writing connection. A database file that was replaced under us is not written to: this writer is broken."""
        try:
            present = self._path.stat()
        except FileNotFoundError as fault:
            self.broken = True
            raise GroupLost from fault
        if not os.path.samestat(present, self._opened):
            self.broken = True
            raise GroupLost
        if self._connection is None:
            self._connection = self._engine.connect()
        return self._connection

    def _drop_connection(self) -> None:
        connection, self._connection = self._connection, None
        if connection is None:
            return
        try:
            _driver(connection).rollback()
            connection.close()
        except (sqlite3.Error, DBAPIError):
            connection.invalidate()

    def _break(self) -> None:
        """Refuse whoever waits and whoever comes, and tell the process."""
        with self._changed:
            self.broken = True
            refused, self._waiting = list(self._waiting), deque()
        for item in refused:
            if item.future.set_running_or_notify_cancel():
                item.future.set_result((None, Unavailable()))
        self._on_broken()


def _driver(connection: Connection) -> sqlite3.Connection:
    driver: sqlite3.Connection = connection.connection.driver_connection  # type: ignore[assignment]
    return driver


def as_failure(fault: BaseException) -> BaseException:
    """Unavailable in the place of what SQLite says of its disk, locks and file; anything else is left as it is."""
    name = code_of(fault)
    if name.startswith("SQLITE_") and not name.startswith(_OURS):
        log.error("database failed", error=name)
        return Unavailable()
    return fault


def code_of(fault: BaseException) -> str:
    """SQLite's name of an error, or its class; never its text, which may quote the statement."""
    return str(getattr(getattr(fault, "orig", fault), "sqlite_errorname", type(fault).__name__))


def _read_clock(driver: sqlite3.Connection) -> int | None:
    """The newest stamp of the database; None before its tables were made."""
    try:
        row = driver.execute("SELECT max(at) FROM store_clock").fetchone()
    except sqlite3.OperationalError as fault:
        if fault.sqlite_errorcode != sqlite3.SQLITE_ERROR:
            raise
        return None  # no such table
    return int(row[0] or 0)


def _write_clock(driver: sqlite3.Connection, old: int, new: int) -> None:
    if old == 0:
        driver.execute("INSERT INTO store_clock (at) VALUES (?)", (new,)).close()
    elif new != old:
        driver.execute("UPDATE store_clock SET at = ?", (new,)).close()

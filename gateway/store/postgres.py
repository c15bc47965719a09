"""The store on PostgreSQL: a transaction a write, run again when the server undid it, and reads that end where gaps may begin.

**Why reads have a horizon.** A write is stamped before it commits, so of two concurrent writes the later stamped may be seen
first. Who polls by `_lastUpdated` takes the newest stamp it saw as its next start and would never see the other. Therefore:

- a write takes its transaction id *before* its stamp, so pg_stat_activity shows it as a writer from then on, with an
  `xact_start` that is no later than its stamp;
- a read asks, *before* its snapshot is taken, for the oldest `xact_start` of all writers and for the server's time at the
  beginning of that very question; the earlier of the two is its horizon.

A write the snapshot does not hold, but stamped before the horizon, would have been under way when the snapshot was taken; being
stamped before the question it had its id by then, so the question saw it and the horizon is no later than its start. There is no
such write. Searches, history and notifications show what is stamped before the horizon only.

All processes of the gateway use one database role (or are members of pg_read_all_stats): others' start times are hidden from
a stranger, and a writer whose start is hidden closes the horizon altogether.
"""

from __future__ import annotations

import os
import random
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final

import psycopg
import structlog
from sqlalchemy import URL, Connection, Engine, create_engine, event, text
from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from gateway.errors import Unavailable
from gateway.store.clock import SEQUENCE
from gateway.store.postgres_faults import Verdict, judge, wrote_in_a_read
from gateway.store.rows import from_microseconds
from gateway.store.units import RunAgain, Unit

log = structlog.get_logger(__name__)

STATEMENT_SECONDS: Final = 30
IDLE_SECONDS: Final = 30
PREPARED_STATEMENTS: Final = 400  # of a connection: all of ours, and the shapes of searches that come again
# a host that vanished sends nothing, not even an error: the kernel gives the connection up after half a minute
_LOST_HOST: Final = {"keepalives_idle": 10, "keepalives_interval": 5, "keepalives_count": 4, "tcp_user_timeout": 30_000}
_MICROSECONDS: Final = "(extract(epoch FROM {}) * 1000000)::bigint"
_HAS_CLOCK: Final = f"SELECT to_regclass('{SEQUENCE}') IS NOT NULL"
# the id is taken in the first step, the time read in the second, which cannot begin earlier
_STAMP: Final = f"""
    WITH mine AS MATERIALIZED (SELECT pg_current_xact_id() AS id),
    ticked AS MATERIALIZED (
        SELECT greatest({_MICROSECONDS.format("clock_timestamp()")}, (SELECT last_value FROM {SEQUENCE})) AS at
        FROM mine WHERE id IS NOT NULL)
    SELECT setval('{SEQUENCE}', at) FROM ticked"""  # noqa: S608 (names of ours)
_PLAIN_STAMP: Final = f"""
    WITH mine AS MATERIALIZED (SELECT pg_current_xact_id() AS id)
    SELECT {_MICROSECONDS.format("clock_timestamp()")} FROM mine WHERE id IS NOT NULL"""  # noqa: S608
# now() is the beginning of this statement's own transaction, so it is before the activity is looked at
_LOOK: Final = f"""
    SELECT {_MICROSECONDS.format("now()")},
           (SELECT min(coalesce({_MICROSECONDS.format("xact_start")}, 0)) FROM pg_stat_activity
            WHERE backend_xid IS NOT NULL AND datname = current_database())"""  # noqa: S608
_SNAPSHOT: Final = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"
_READ: Final = f"{_SNAPSHOT}; SELECT {_MICROSECONDS.format('clock_timestamp()')}"
_READ_WITH_CLOCK: Final = f"{_SNAPSHOT}; SELECT greatest({_MICROSECONDS.format('clock_timestamp()')}, (SELECT last_value FROM {SEQUENCE}))"  # noqa: S608
_LOOK_WITH_CLOCK: Final = f"{_LOOK}, (SELECT last_value FROM {SEQUENCE})"  # noqa: S608


class PostgresStore:
    """A PostgreSQL database as one process sees it. Connections are opened when needed, anew in a forked child."""

    dialect: Final = "postgresql"

    def __init__(self, url: URL, *, wait_seconds: float, pool_size: int) -> None:
        self._url, self._wait_seconds, self._pool_size = url, wait_seconds, pool_size
        self._has_clock = False
        self._closed = False
        self._pid = os.getpid()
        self._forking = threading.Lock()
        self._engine = self._make_engine()
        reference = weakref.ref(self)
        os.register_at_fork(after_in_child=lambda: _forget(reference))

    def _make_engine(self) -> Engine:
        engine = create_engine(
            self._url,
            pool_size=self._pool_size,
            max_overflow=0,
            pool_timeout=self._wait_seconds,
            pool_use_lifo=True,  # the connection used last has our statements prepared
            isolation_level="AUTOCOMMIT",  # a transaction is begun here, in one message with the first question
            hide_parameters=True,
            connect_args={"connect_timeout": max(2, round(self._wait_seconds)), "application_name": "crisis-gateway", **_LOST_HOST},
        )
        lock_milliseconds = max(1, int(self._wait_seconds * 1000))

        @event.listens_for(engine, "connect")
        def bound(connection: psycopg.Connection[Any], _record: object) -> None:
            connection.prepare_threshold, connection.prepared_max = 1, PREPARED_STATEMENTS
            connection.execute(
                "SELECT set_config('lock_timeout', %s, false), set_config('statement_timeout', %s, false),"
                " set_config('idle_in_transaction_session_timeout', %s, false), set_config('timezone', 'UTC', false),"
                # our statements are few and prepared; to plan one anew for its values costs more than most of them run
                " set_config('plan_cache_mode', 'force_generic_plan', false)",
                (str(lock_milliseconds), str(STATEMENT_SECONDS * 1000), str(IDLE_SECONDS * 1000)),
            )
            connection.commit()

        return engine

    @contextmanager
    def read(self, *, with_horizon: bool) -> Iterator[Unit]:
        """One snapshot, in which nothing can be written. Without a horizon it costs less, and shows no time at all. Raises Unavailable."""
        try:
            connection, now, shown_before = self._begin_read(with_horizon)
            with connection:
                try:
                    yield Unit(connection, from_microseconds(now), writing=False, shown_before=from_microseconds(shown_before))
                finally:
                    _end(connection)
        except (SQLAlchemyError, psycopg.Error) as fault:
            if judge(fault) is Verdict.OURS or wrote_in_a_read(fault):
                raise
            raise Unavailable from fault

    def _begin_read(self, with_horizon: bool) -> tuple[Connection, int, int]:
        """A connection in its snapshot, the time, and the horizon; a connection that died is replaced: nothing was done on it."""
        for _ in range(self._pool_size + 1):
            connection = self._connect()
            try:
                driver = _driver(connection)
                self._look_for_clock(driver)
                if not with_horizon:
                    return connection, _begun(driver, _READ_WITH_CLOCK if self._has_clock else _READ), 0
                began, oldest, *stamped = _one(driver, _LOOK_WITH_CLOCK if self._has_clock else _LOOK)
                driver.execute(_SNAPSHOT)  # after the question, which was a transaction of its own
                return connection, max([began, *stamped]), began if oldest is None else min(began, oldest)
            except psycopg.OperationalError as fault:
                self._give_up(connection, fault)
            except BaseException:
                connection.close()
                raise
        raise Unavailable

    def _give_up(self, connection: Connection, fault: psycopg.OperationalError) -> None:
        """Let a connection go before anything was done on it. Raises the fault where it is not that the connection died."""
        died = _driver(connection).closed
        connection.invalidate(fault)
        connection.close()
        if not died:
            raise fault

    def _look_for_clock(self, driver: psycopg.Connection[Any]) -> None:
        if not self._has_clock:
            self._has_clock = _one(driver, _HAS_CLOCK)[0]

    def write(self, work: Callable[[Unit], Any]) -> Any:
        """Run a work in a transaction; again if the server undid it for another's sake, as long as the wait allows."""
        until, take, collisions = time.monotonic() + self._wait_seconds, None, 0
        while True:
            try:
                return self._run(work, take)
            except RunAgain as again:
                take = again.take
            except (SQLAlchemyError, psycopg.Error, Unavailable) as fault:
                verdict = judge(fault)
                collisions += verdict is Verdict.COLLISION
                if verdict is Verdict.OURS or collisions > 1:
                    raise
                if verdict is Verdict.GONE or time.monotonic() > until:
                    log.error("write not kept", error=type(fault.__cause__ or fault).__name__)
                    raise Unavailable from fault
                time.sleep(random.uniform(0.001, 0.02))  # noqa: S311 (two that collided do not meet again at once)

    def _run(self, work: Callable[[Unit], Any], take: Callable[[Unit], None] | None) -> Any:
        unit = self._begin_write(take)
        with unit.connection as connection:
            try:
                result = work(unit)
                _driver(connection).commit()
                return result
            finally:
                _end(connection)

    def _begin_write(self, take: Callable[[Unit], None] | None) -> Unit:
        """A unit in a transaction, with its lock and stamp. A connection that died in the pool is replaced: nothing was done on it."""
        for _ in range(self._pool_size + 1):
            unit = Unit(self._connect(), from_microseconds(0), writing=True)
            try:
                driver = _driver(unit.connection)
                self._look_for_clock(driver)
                stamp = _STAMP if self._has_clock else _PLAIN_STAMP
                if take is None:
                    unit.now = from_microseconds(_begun(driver, f"BEGIN; {stamp}"))
                else:
                    driver.execute("BEGIN")
                    take(unit)
                    unit.now = from_microseconds(_one(driver, stamp)[0])
                return unit
            except psycopg.OperationalError as fault:
                self._give_up(unit.connection, fault)
            except DBAPIError as fault:
                unit.connection.close()
                if not fault.connection_invalidated:
                    raise
            except BaseException:
                unit.connection.close()
                raise
        raise Unavailable

    def _connect(self) -> Connection:
        if self._pid != os.getpid():
            with self._forking:
                if self._pid != os.getpid():
                    self.forget()
        if self._closed:
            raise Unavailable
        try:
            return self._engine.connect()
        except (PoolTimeout, DBAPIError) as fault:
            raise Unavailable from fault

    def ready(self) -> bool:
        """Whether the server answers and takes writes."""
        try:
            with self._connect() as connection:
                return not connection.execute(text("SELECT pg_is_in_recovery()")).scalar_one()
        except (SQLAlchemyError, psycopg.Error, Unavailable) as fault:
            log.warning("database not ready", error=type(fault).__name__)
            return False

    def close(self) -> None:
        """Close every connection; nothing can be asked afterwards."""
        self._closed = True
        self._engine.dispose()

    def forget(self) -> None:
        """In a forked child: leave the parent's connections alone, both sides would talk on one socket."""
        self._engine.dispose(close=False)
        self._engine = self._make_engine()
        self._pid = os.getpid()
        self._forking = threading.Lock()


def _driver(connection: Connection) -> psycopg.Connection[Any]:
    driver: psycopg.Connection[Any] = connection.connection.dbapi_connection  # type: ignore[assignment]
    return driver


def _end(connection: Connection) -> None:
    """Leave no transaction behind; one that was committed has ended already, and a connection that is lost has none."""
    if not connection.invalidated and not (driver := _driver(connection)).closed:
        driver.rollback()


def _begun(driver: psycopg.Connection[Any], statements: str) -> int:
    """Begin and ask in one message; the answer of the last statement."""
    cursor = driver.execute(statements.encode(), prepare=False)
    cursor.nextset()
    row = cursor.fetchone()
    if row is None:
        raise Unavailable
    return int(row[0])


def _one(driver: psycopg.Connection[Any], statement: str) -> Any:
    row = driver.execute(statement.encode()).fetchone()
    if row is None:
        raise Unavailable
    return row


def _forget(reference: weakref.ref[PostgresStore]) -> None:
    store = reference()
    if store is not None:
        store.forget()

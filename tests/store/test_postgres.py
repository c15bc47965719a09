"""What only PostgreSQL has: concurrent writers, a horizon, a server that undoes, blocks or vanishes."""

from __future__ import annotations

import random
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import psycopg
import pytest
from sqlalchemy import select, text, update
from sqlalchemy.exc import IntegrityError

from gateway.errors import Unavailable
from gateway.store import epochs
from gateway.store.epochs import EpochMoved, confirm_epoch, narrow, read_epoch
from tests.store.actors import MESSAGE, fork_with_open_connections, keys, put

pytestmark = pytest.mark.peers

DIE = text("SELECT pg_terminate_backend(pg_backend_pid())")


@pytest.fixture
def database(postgres_url, open_database):
    return open_database(postgres_url, lock_seconds=5)


@pytest.fixture
def threads():
    with ThreadPoolExecutor(16) as pool:
        yield pool


class Held:
    """A write that has done its work and commits when told."""

    def __init__(self, database, threads, work):
        self._done, self._go = threading.Event(), threading.Event()
        self.result = threads.submit(database.write, self._hold(work))
        assert self._done.wait(10)

    def _hold(self, work):
        def held(unit):
            value = work(unit)
            self._done.set()
            assert self._go.wait(10)
            return value

        return held

    def commit(self):
        self._go.set()
        return self.result.result(10)


def shown_before(database):
    with database.read(with_horizon=True) as unit:
        return unit.shown_before


def end_every_connection(url):
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )


# --- the horizon ---


def test_what_is_shown_ends_before_the_oldest_write_under_way(database, threads):
    held = Held(database, threads, lambda unit: put(unit, "early"))
    late = database.write(lambda unit: put(unit, "late"))
    assert keys(database) == ["late"]
    until = shown_before(database)
    assert until < late
    early = held.commit()
    assert until <= early < late < shown_before(database)


def test_a_work_that_only_reads_in_a_write_does_not_hide_others_for_long(database):
    database.write(lambda unit: None)
    stamp = database.write(lambda unit: put(unit, "a"))
    assert shown_before(database) > stamp


def test_a_write_that_waited_before_it_could_begin_is_stamped_after_what_was_shown_meanwhile(database, postgres_url, threads):
    with psycopg.connect(postgres_url) as reader:  # holds the epoch, and as it writes nothing no horizon
        reader.execute("SELECT pg_advisory_xact_lock_shared(%s)", (epochs._KEY,))
        narrowing = threads.submit(database.write, lambda unit: (narrow(unit), unit.now)[1])
        time.sleep(0.3)  # it has met the lock by now, and begun anew with waiting for it
        shown = shown_before(database)
    assert narrowing.result(10) > shown


def test_who_polls_by_stamp_up_to_the_horizon_misses_nothing(database, threads):
    def write(number):
        def work(unit):
            put(unit, f"{number:03}")
            time.sleep(random.uniform(0, 0.01))

        database.write(work)

    writes = [threads.submit(write, number) for number in range(150)]
    seen, since, finished = [], datetime(2000, 1, 1, tzinfo=UTC), False
    while not finished:
        finished = all(each.done() for each in writes)
        with database.read(with_horizon=True) as unit:
            is_new = MESSAGE.c.received_at.between(since, unit.shown_before - timedelta(microseconds=1))
            seen += unit.connection.execute(select(MESSAGE.c.message_key).where(is_new)).scalars()
            since = unit.shown_before
    assert sorted(seen) == [f"{number:03}" for number in range(150)]


# --- what the server undoes ---


def test_of_two_writes_that_deadlock_both_are_kept_in_the_end(database, threads):
    for key in "ab":
        database.write(lambda unit, key=key: put(unit, key))
    both_hold_one, runs = threading.Barrier(2), []

    def lock(unit, key):
        unit.connection.execute(update(MESSAGE).where(MESSAGE.c.message_key == key).values(client="locked"))

    def cross(first, second):
        def work(unit):
            lock(unit, first)
            if len(runs) < 2:
                runs.append(first)
                both_hold_one.wait(10)
            else:
                runs.append(first)
            lock(unit, second)
            return put(unit, f"by {first}")

        return work

    for each in [threads.submit(database.write, cross(*pair)) for pair in ("ab", "ba")]:
        each.result(20)
    assert keys(database) == ["a", "b", "by a", "by b"]
    assert len(runs) == 3


def test_who_loses_the_race_for_a_key_runs_again_and_finds_it(database, threads):
    both_looked = threading.Barrier(2)
    runs = []

    def once(unit):
        known = unit.connection.execute(select(MESSAGE.c.id).where(MESSAGE.c.message_key == "26-1")).first()
        runs.append(known)
        if known is not None:
            return "known"
        both_looked.wait(10)
        put(unit, "26-1")
        return "new"

    answers = [each.result(10) for each in [threads.submit(database.write, once) for _ in range(2)]]
    assert (sorted(answers), len(runs)) == (["known", "new"], 3)


def test_a_constraint_that_stays_broken_is_the_works_own_failure(database):
    database.write(lambda unit: put(unit, "a"))
    with pytest.raises(IntegrityError):
        database.write(lambda unit: put(unit, "a"))


def test_a_lock_that_does_not_come_is_an_outage_within_the_bound(postgres_url, database, open_database, threads):
    database.write(lambda unit: put(unit, "a"))
    statement = update(MESSAGE).values(client="locked")
    held = Held(database, threads, lambda unit: unit.connection.execute(statement).rowcount)
    impatient, began = open_database(postgres_url, lock_seconds=0.3), time.monotonic()
    with pytest.raises(Unavailable):
        impatient.write(lambda unit: unit.connection.execute(statement))
    assert time.monotonic() - began < 1.5
    assert held.commit() == 1


# --- a server that vanishes ---


def test_a_connection_lost_in_a_work_is_an_outage_once_and_never_a_second_run(database):
    runs = []

    def die(unit):
        runs.append(put(unit, "lost"))
        unit.connection.execute(DIE)

    with pytest.raises(Unavailable):
        database.write(die)
    database.write(lambda unit: put(unit, "next"))
    assert (len(runs), keys(database)) == (1, ["next"])


def test_a_connection_lost_in_a_read_is_an_outage_and_the_next_read_works(database):
    with pytest.raises(Unavailable), database.read() as unit:
        unit.connection.execute(DIE)
    assert keys(database) == []


def test_a_commit_that_was_lost_is_never_tried_again(database):
    database.write(
        lambda unit: unit.connection.execute(
            text(
                "CREATE FUNCTION die() RETURNS trigger LANGUAGE plpgsql AS"
                " 'BEGIN PERFORM pg_terminate_backend(pg_backend_pid()); RETURN NULL; END';"
                "CREATE CONSTRAINT TRIGGER dies AFTER INSERT ON intake_message DEFERRABLE INITIALLY DEFERRED"
                " FOR EACH ROW EXECUTE FUNCTION die()"
            )
        )
    )
    runs = []
    with pytest.raises(Unavailable):
        database.write(lambda unit: runs.append(put(unit, "lost")))
    assert (len(runs), keys(database)) == (1, [])


@pytest.mark.parametrize("ask", [keys, lambda database: database.write(lambda unit: [] if put(unit, "after") else None)])
def test_after_the_server_ended_every_connection_the_very_next_request_is_answered(database, postgres_url, ask):
    with ThreadPoolExecutor(8) as pool:
        everybody_reads = threading.Barrier(8)

        def read():
            with database.read() as unit:
                read_epoch(unit)
                everybody_reads.wait(10)

        for each in [pool.submit(read) for _ in range(8)]:
            each.result(10)
    end_every_connection(postgres_url)
    assert ask(database) == []


def test_a_server_out_of_reach_is_an_outage_and_not_ready(open_database):
    database = open_database("postgresql://nobody@127.0.0.1:1/none", lock_seconds=1)
    assert not database.ready()
    for ask in (keys, lambda database: database.write(lambda unit: None)):
        with pytest.raises(Unavailable):
            ask(database)


def test_more_readers_than_connections_wait_their_bounded_turn(postgres_url, open_database):
    database = open_database(postgres_url, lock_seconds=0.3, pool_size=1)
    with database.read():
        began = time.monotonic()
        with pytest.raises(Unavailable):
            keys(database)
        assert 0.2 < time.monotonic() - began < 1
    assert keys(database) == []


def test_a_forked_child_opens_connections_of_its_own(postgres_url, start, database):
    assert start(fork_with_open_connections, postgres_url).hear() == 0
    assert len(keys(database)) == 41


# --- epochs ---


def test_a_narrowing_waits_for_a_disclosure_under_way_and_no_later_one_passes_it(database, threads):
    disclosing = Held(database, threads, lambda unit: (confirm_epoch(unit, 0), put(unit, "disclosed")))
    narrowing = threads.submit(database.write, narrow)
    time.sleep(0.2)
    assert not narrowing.done()
    disclosing.commit()
    narrowing.result(10)
    with pytest.raises(EpochMoved):
        database.write(lambda unit: confirm_epoch(unit, 0))
    database.write(lambda unit: confirm_epoch(unit, 1))


def test_a_disclosure_decided_before_a_narrowing_under_way_waits_and_is_then_refused(database, threads):
    narrowing = Held(database, threads, narrow)
    disclosing = threads.submit(database.write, lambda unit: confirm_epoch(unit, 0))
    time.sleep(0.2)
    assert not disclosing.done()
    narrowing.commit()
    with pytest.raises(EpochMoved):
        disclosing.result(10)


def test_disclosures_do_not_wait_for_each_other(database, threads):
    first = Held(database, threads, lambda unit: confirm_epoch(unit, 0))
    database.write(lambda unit: confirm_epoch(unit, 0))
    first.commit()


def test_a_narrowing_and_a_disclosure_that_want_the_same_row_do_not_wait_in_a_circle(database, threads):
    database.write(lambda unit: put(unit, "a"))
    statement, row_held, epoch_held = update(MESSAGE).values(client="locked"), threading.Event(), threading.Event()

    def disclose(unit):
        unit.connection.execute(statement)
        row_held.set()
        assert epoch_held.wait(10)
        confirm_epoch(unit, read_epoch(unit))

    def narrow_and_write(unit):
        assert row_held.wait(10)
        narrow(unit)
        epoch_held.set()
        unit.connection.execute(statement)

    began = time.monotonic()
    for each in [threads.submit(database.write, work) for work in (disclose, narrow_and_write)]:
        each.result(10)
    assert time.monotonic() - began < 0.9  # PostgreSQL itself looks for a circle after a second

"""Every audit row is numbered and chained once, soon, by one sequencer at a time, whatever dies."""

from __future__ import annotations

import random
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import pytest
from sqlalchemy import select, update
from structlog.testing import capture_logs

from gateway.audit import sequencer as sequencing
from gateway.audit.sequencer import ALARM_SECONDS, LEASE_SECONDS, ChainBroken, Sequencer, lag_seconds
from gateway.audit.verification import verify
from gateway.delivery.worker import Worker
from gateway.store.audit import AUDIT
from gateway.store.audit_chain import CHECKPOINT, LEASE
from tests.audit.chains import (
    add_row,
    add_rows,
    assert_whole,
    links,
    make_chain,
    run_sql,
    sequence_all,
    sequence_until_told,
    stop_inside_a_batch,
    waiting_ids,
)
from tests.builders import an_rms_message

HOUR_MICROSECONDS = 3_600_000_000


def lag_of(database):
    with database.read() as unit:
        return lag_seconds(unit)


def wait_until(condition, seconds=10.0):
    ends_at = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < ends_at
        time.sleep(0.01)


# --- rows and batches ---


def test_a_row_goes_in_unchained_and_waits(database):
    ids = add_rows(database, 3)
    assert links(database) == []
    assert waiting_ids(database) == set(ids)


def test_a_row_that_is_rolled_back_does_not_wait(database):
    def work(unit):
        add_row(unit)
        raise KeyError

    with pytest.raises(KeyError):
        database.write(work)
    assert waiting_ids(database) == set()


def test_a_batch_numbers_what_waits_and_sets_a_checkpoint(database):
    ids = add_rows(database, 10)
    sequencer = Sequencer(database, "one", batch_rows=4)
    assert [sequencer.step() for _ in range(4)] == [4, 4, 2, 0]
    assert_whole(database, ids)
    with database.read() as unit:
        assert list(unit.connection.execute(select(CHECKPOINT.c.size).order_by(CHECKPOINT.c.size)).scalars()) == [4, 8, 10]


def test_what_waits_longest_is_numbered_first(database):
    late, early = add_rows(database), add_rows(database, seconds_ago=5)
    sequence_all(Sequencer(database, "one"))
    assert [audit_id for _, audit_id in links(database)] == [*early, *late]


def test_a_restarted_sequencer_goes_on_where_the_chain_ends(database_url, open_database):
    ids = []
    for name in ("one", "two", "three"):
        database = open_database(database_url)
        ids += add_rows(database, 5)
        sequencer = Sequencer(database, name, batch_rows=3)
        assert sequence_all(sequencer) == 5
        sequencer.release()
        database.close()
    assert_whole(open_database(database_url), ids)


def test_an_idle_sequencer_writes_nothing(database):
    sequencer = Sequencer(database, "one")
    assert (sequencer.run_once(), sequencer.step()) == (False, 0)
    sequencer.release()
    with database.read() as unit:
        assert unit.connection.execute(select(LEASE)).all() == []


def test_a_queue_entry_without_its_row_and_one_linked_before_hold_nothing_up(database):
    make_chain(database, rows=4)
    add_rows(database, 3, seconds_ago=5)
    run_sql(
        database,
        "DELETE FROM audit_event WHERE id NOT IN (SELECT audit_id FROM audit_link)",
        "INSERT INTO audit_unlinked SELECT recorded, id FROM audit_event",
        "UPDATE audit_lease SET until = 0",
    )
    ids = add_rows(database, 5)
    assert sequence_all(Sequencer(database, "two", batch_rows=2)) == 5
    assert {audit_id for _, audit_id in links(database)[4:]} == set(ids)
    assert len(waiting_ids(database)) == 7


@pytest.mark.parametrize(
    "damage",
    [
        "DELETE FROM audit_link WHERE sequence = 12",
        "DELETE FROM audit_link",
        "DELETE FROM audit_checkpoint",
        "DELETE FROM audit_checkpoint WHERE size = 12",
        "UPDATE audit_link SET chain = 'x' WHERE sequence = 12",
        "UPDATE audit_link SET subtree = 'x' WHERE sequence = 8",
        "DELETE FROM audit_link WHERE sequence = 8",
        "UPDATE audit_checkpoint SET root = 'x' WHERE size = 12",
    ],
)
def test_nothing_is_added_to_a_chain_whose_end_does_not_hold(database, damage):
    make_chain(database)
    run_sql(database, damage, "UPDATE audit_lease SET until = 0")
    before = links(database)
    waiting = add_rows(database, 2)
    with pytest.raises(ChainBroken):
        Sequencer(database, "two").step()
    assert (links(database), waiting_ids(database)) == (before, set(waiting))
    assert verify(database).fault is not None


# --- one at a time ---


def test_another_waits_while_the_lease_runs_and_takes_over_when_it_has_ended(database):
    first, second = Sequencer(database, "first"), Sequencer(database, "second")
    ids = add_rows(database)
    assert first.step() == 1
    ids += add_rows(database)
    assert second.step() == 0
    run_sql(database, f"UPDATE audit_lease SET until = until - {round(LEASE_SECONDS * 1_000_000)}")
    assert second.step() == 1
    ids += add_rows(database)
    assert first.step() == 0
    assert second.step() == 1
    assert_whole(database, ids)


def test_a_released_lease_is_free_at_once(database):
    first, second = Sequencer(database, "first"), Sequencer(database, "second")
    add_rows(database)
    first.step()
    add_rows(database)
    first.release()
    assert second.step() == 1
    second_lease = links(database)
    first.release()  # it is another's by now
    add_rows(database)
    assert first.step() == 0
    assert links(database) == second_lease


def test_a_lease_that_a_clock_set_back_makes_endless_is_taken_when_it_lies_idle(database):
    first, second = Sequencer(database, "first", lease_seconds=0.3), Sequencer(database, "second", lease_seconds=0.3)
    ids = add_rows(database)
    first.step()
    run_sql(database, f"UPDATE audit_lease SET until = until + {HOUR_MICROSECONDS}")
    ids += add_rows(database)
    assert second.step() == 0
    wait_until(lambda: second.step() == 1)
    assert_whole(database, ids)


def test_a_lease_that_moves_is_not_taken_however_far_its_end_is_set(database):
    second = Sequencer(database, "second", lease_seconds=0.3)
    add_rows(database)
    Sequencer(database, "first").step()
    add_rows(database)
    for _ in range(10):
        run_sql(database, f"UPDATE audit_lease SET beat = beat + 1, until = until + {HOUR_MICROSECONDS}")
        assert second.step() == 0
        time.sleep(0.05)


def test_the_death_of_a_sequencer_alone_raises_no_alarm():
    assert LEASE_SECONDS + 2 < ALARM_SECONDS


@pytest.mark.parametrize("lease_seconds", [0.0, 5.0])
def test_two_threads_that_sequence_while_rows_come_leave_no_gap(database, lease_seconds):
    stop = threading.Event()

    def sequence(name):
        sequencer = Sequencer(database, name, batch_rows=7, lease_seconds=lease_seconds)
        while not stop.is_set():
            sequencer.step()

    with ThreadPoolExecutor(4) as pool:
        sequencing = [pool.submit(sequence, name) for name in ("one", "two")]
        writing = [pool.submit(lambda: [audit_id for _ in range(40) for audit_id in add_rows(database, 3)]) for _ in range(2)]
        ids = [audit_id for each in writing for audit_id in each.result(60)]
        wait_until(lambda: not waiting_ids(database), 20)
        stop.set()
        for each in sequencing:
            each.result(20)
    assert_whole(database, ids)


def test_two_processes_that_sequence_while_rows_come_leave_no_gap(database, database_url, start):
    actors = [start(sequence_until_told, database_url, name, 7, 0.0) for name in ("one", "two")]
    for actor in actors:
        assert actor.hear() == "ready"
    ids = [audit_id for _ in range(60) for audit_id in add_rows(database, 5)]
    wait_until(lambda: not waiting_ids(database), 30)
    for actor in actors:
        actor.say("stop")
    assert sum(actor.hear() for actor in actors) == len(ids)
    assert_whole(database, ids)


# --- kill -9 ---


def test_a_batch_whose_process_is_killed_before_commit_is_not_there_and_is_done_by_the_next(database, database_url, start):
    ids = add_rows(database, 9)
    actor = start(stop_inside_a_batch, database_url)
    assert actor.hear() == "inside"
    actor.kill()
    assert (len(links(database)), len(waiting_ids(database))) == (3, 6)
    assert verify(database).fault is None
    next_one = Sequencer(database, "next")
    assert next_one.step() == 0  # the batch before it was kept, and with it the lease
    wait_until(lambda: next_one.step() == 6, LEASE_SECONDS + 10)
    assert_whole(database, ids)


def test_processes_killed_at_any_moment_leave_a_chain_without_gap(database, database_url, start):
    moments = random.Random(911)
    ids = []
    for number in range(6):
        actor = start(sequence_until_told, database_url, f"worker-{number}", 3, 0.05)
        assert actor.hear() == "ready"
        ends_at = time.monotonic() + moments.uniform(0.05, 0.3)
        while time.monotonic() < ends_at:
            ids += add_rows(database, 4)
        actor.kill()
        assert verify(database).fault is None
    last = Sequencer(database, "last")
    wait_until(lambda: last.step() == 0 and not waiting_ids(database))
    assert_whole(database, ids)


# --- late commits ---


@pytest.mark.peers
def test_a_row_stamped_earlier_and_committed_later_is_not_skipped(postgres_url, open_database):
    database = open_database(postgres_url)
    done, go_on = threading.Event(), threading.Event()

    def held(unit):
        audit_id = add_row(unit)
        done.set()
        assert go_on.wait(20)
        return audit_id

    with ThreadPoolExecutor(1) as pool:
        early = pool.submit(database.write, held)
        assert done.wait(10)
        late = add_rows(database, 3)
        sequencer = Sequencer(database, "one")
        assert sequencer.step() == 3
        go_on.set()
        early = early.result(10)
    with database.read() as unit:
        stamps = dict(unit.connection.execute(select(AUDIT.c.id, AUDIT.c.recorded)).all())
    assert stamps[early] < min(stamps[each] for each in late)
    assert sequencer.step() == 1
    assert links(database)[-1] == (4, early)
    assert_whole(database, [early, *late])


@pytest.mark.peers
def test_every_row_of_writers_that_commit_in_any_order_is_linked(postgres_url, open_database):
    database, stop = open_database(postgres_url), threading.Event()

    def write(_number):
        def work(unit):
            audit_id = add_row(unit)
            time.sleep(random.uniform(0, 0.02))
            return audit_id

        return database.write(work)

    def sequence():
        sequencer = Sequencer(database, "one", batch_rows=5)
        while not stop.is_set():
            sequencer.step()

    with ThreadPoolExecutor(9) as pool:
        sequencing = pool.submit(sequence)
        ids = list(pool.map(write, range(200)))
        wait_until(lambda: not waiting_ids(database))
        stop.set()
        sequencing.result(10)
    assert_whole(database, ids)


# --- lag ---


def test_the_lag_is_the_age_of_the_oldest_row_that_waits(database):
    assert lag_of(database) == 0
    add_rows(database, seconds_ago=30)
    add_rows(database)
    assert 30 <= lag_of(database) < 40
    sequence_all(Sequencer(database, "one"))
    assert lag_of(database) == 0


def test_rows_that_wait_too_long_raise_the_alarm_at_a_bounded_rate(database):
    sequencer = Sequencer(database, "one")
    add_rows(database, seconds_ago=ALARM_SECONDS + 1)
    with capture_logs() as logged:
        lags = [sequencer.watch() for _ in range(5)]
    assert all(lag > ALARM_SECONDS for lag in lags)
    assert [(line["log_level"], line["event"]) for line in logged] == [("error", "audit rows wait for the sequencer")]


def test_a_worker_that_may_not_sequence_raises_the_alarm_as_well(database):
    add_rows(database)
    Sequencer(database, "holder that hangs").step()
    add_rows(database, seconds_ago=ALARM_SECONDS + 1)
    with capture_logs() as logged:
        assert Sequencer(database, "another").run_once() is False
    assert [line["log_level"] for line in logged] == ["error"]


def test_rows_that_are_linked_in_time_raise_no_alarm(database):
    add_rows(database, seconds_ago=ALARM_SECONDS + 1)
    with capture_logs() as logged:
        assert Sequencer(database, "one").run_once() is False
    assert logged == []


def test_a_clock_that_was_set_back_hides_no_lag(database, monkeypatch):
    clock = SimpleNamespace(monotonic=lambda: clock.now, now=1000.0)
    monkeypatch.setattr(sequencing, "time", clock)
    add_rows(database, seconds_ago=-3600)
    sequencer = Sequencer(database, "one")
    assert sequencer.watch() == 0
    clock.now += ALARM_SECONDS + 1
    with capture_logs() as logged:
        assert sequencer.watch() > ALARM_SECONDS
    assert len(logged) == 1


# --- in the worker, and nowhere else ---


def test_a_request_numbers_nothing(gateway):
    assert gateway.actors["rms"].send(an_rms_message()).status_code == 201
    assert links(gateway.services.database) == []
    assert len(waiting_ids(gateway.services.database)) > 0


def test_a_running_worker_links_rows_soon_after_they_were_committed(gateway):
    assert sequencing.POLL_SECONDS <= 1
    database = gateway.services.database
    worker = Worker(gateway.services, jobs={}, preparations={})
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(worker.run_forever)
        try:
            for _ in range(3):
                add_rows(database, 5)
                wait_until(lambda: not waiting_ids(database))
        finally:
            worker.stop()
            running.result(10)
    assert verify(database).fault is None


def test_a_worker_that_stops_links_the_last_rows_and_lets_another_go_on(gateway):
    database = gateway.services.database
    worker = Worker(gateway.services, jobs={}, preparations={})
    add_rows(database, 3)
    worker.stop()
    worker.run_forever()
    assert waiting_ids(database) == set()
    add_rows(database, 2)
    assert Sequencer(database, "another").step() == 2


def test_a_worker_outlives_a_chain_that_is_broken_and_says_so(gateway):
    database = gateway.services.database
    make_chain(database)
    database.write(lambda unit: unit.connection.execute(update(CHECKPOINT).values(root="x")) and None)
    run_sql(database, "UPDATE audit_lease SET until = 0")
    add_rows(database)
    worker = Worker(gateway.services, jobs={}, preparations={})
    worker.stop()
    with capture_logs() as logged:
        worker.run_forever()
    assert ("error", "ChainBroken") in [(line["log_level"], line.get("error")) for line in logged]

"""The time of a SQLite database: the machine's, never back, and never still while the machine's is put right."""

from __future__ import annotations

from datetime import timedelta

import pytest

from gateway.store import claims, clock, outbox
from gateway.store.clock import CarriedClock

SECOND = 1_000_000
HOUR = 3600 * SECOND


class Machine:
    """A machine's time of day, and the time since it started, in microseconds."""

    def __init__(self, monkeypatch):
        self.at, self.since = 1_800_000_000 * SECOND, 5 * SECOND
        monkeypatch.setattr(clock, "system_microseconds", lambda: self.at)
        monkeypatch.setattr(clock.time, "monotonic_ns", lambda: self.since * 1_000)

    def go_on(self, seconds):
        self.at += round(seconds * SECOND)
        self.since += round(seconds * SECOND)


@pytest.fixture
def machine(monkeypatch):
    return Machine(monkeypatch)


def test_a_right_clock_is_the_machines(machine):
    carried = CarriedClock()
    assert carried.microseconds(0) == machine.at
    machine.go_on(60)
    assert carried.microseconds(machine.at - 60 * SECOND) == machine.at


def test_a_clock_that_was_put_right_goes_on_from_the_newest_stamp_until_the_machine_has_caught_up(machine):
    carried, stamped = CarriedClock(), machine.at + HOUR
    assert carried.microseconds(stamped) == stamped
    machine.go_on(60)
    assert carried.microseconds(stamped) == stamped + 30 * SECOND
    machine.go_on(7200)
    assert carried.microseconds(stamped) == machine.at


def test_a_clock_that_steps_back_under_a_running_process_is_carried_on(machine):
    carried = CarriedClock()
    before = carried.microseconds(0)
    machine.at -= HOUR
    machine.go_on(10)
    assert carried.microseconds(before) == before + 5 * SECOND


def test_a_newer_stamp_of_another_process_is_never_undercut(machine):
    carried = CarriedClock()
    carried.microseconds(machine.at + HOUR)
    machine.go_on(10)
    assert carried.microseconds(machine.at + HOUR) == machine.at + HOUR


def test_after_an_hour_too_many_was_stamped_a_retry_still_comes_due(sqlite_url, open_database, monkeypatch):
    """The retry of a second waits for about two, and not for the hour by which the clock was wrong."""
    machine = Machine(monkeypatch)
    database = open_database(sqlite_url)
    machine.at += HOUR
    database.write(lambda unit: outbox.enqueue(unit, "offer", "gateway", "r", due_at=unit.now + timedelta(seconds=1)))
    machine.at -= HOUR
    found = []
    for _ in range(5):
        machine.go_on(0.5)
        with database.read() as unit:
            found.append(claims.has_work(unit, ["offer"]))
    assert found == [False, False, False, True, True]

"""One writer per SQLite database, over processes: nobody starves, nobody's death or sleep costs more than it must."""

from __future__ import annotations

import itertools
import signal
import time

import pytest

from gateway.errors import Unavailable
from tests.store.actors import hold_the_lock, keys, put, read_on, write_for_ever, write_many

UNITS = 300
WORST_WAIT_SECONDS = 5.0
"""A hundred times what was measured (41 ms with four processes), for a machine that is busy with other tests; SQLite's own lock
made writers wait up to 7 s. What may be promised is measured by `make faults`."""


@pytest.mark.parametrize("processes", [2, 4])
def test_processes_that_write_and_read_at_once_lose_nothing_and_never_wait_long(sqlite_url, start, open_database, processes):
    writers = [start(write_many, sqlite_url, f"p{number}", UNITS, 4) for number in range(processes)]
    readers = [start(read_on, sqlite_url) for _ in range(2)]
    assert {actor.hear() for actor in (*writers, *readers)} == {"ready"}
    for writer in writers:
        writer.say("go")
    written = [writer.hear() for writer in writers]
    for reader in readers:
        reader.say("stop")
    read = [reader.hear() for reader in readers]
    assert [told["failures"] for told in (*written, *read)] == [[]] * (processes + 2)
    assert keys(open_database(sqlite_url)) == sorted(f"p{number}-{unit}" for number in range(processes) for unit in range(UNITS))
    assert all(counts == sorted(counts) and len(counts) > 1 for counts in (told["counts"] for told in read))
    assert max(itertools.chain.from_iterable(told["waits"] for told in written)) < WORST_WAIT_SECONDS


def test_stamps_of_all_processes_rise_in_the_order_of_their_commits(sqlite_url, start, open_database):
    writers = [start(write_many, sqlite_url, f"p{number}", 50, 2) for number in range(2)]
    for writer in writers:
        writer.hear()
        writer.say("go")
    latest = max(stamp for writer in writers for stamp in writer.hear()["stamps"])
    assert open_database(sqlite_url).write(lambda unit: unit.now) >= latest


def test_a_lock_holder_that_sleeps_costs_the_others_their_bounded_wait_and_no_more(sqlite_url, start, open_database):
    holder = start(hold_the_lock, sqlite_url, ["kept"], ["held"])
    assert holder.hear() == "holding"
    holder.signal(signal.SIGSTOP)
    database = open_database(sqlite_url, lock_seconds=1)
    began = time.monotonic()
    with pytest.raises(Unavailable):
        database.write(lambda unit: put(unit, "given up"))
    assert 0.9 < time.monotonic() - began < 1.9
    assert keys(database) == ["kept"]
    assert not database.ready()
    holder.signal(signal.SIGCONT)
    holder.say("go on")
    assert holder.hear() == "go on"
    assert database.write(lambda unit: put(unit, "after"))
    assert database.ready()
    assert keys(database) == ["after", "held", "kept"]  # what its sender was told is not kept is not kept later either


def test_a_writer_killed_inside_its_group_leaves_what_it_committed_and_nothing_else(sqlite_url, start, open_database):
    holder = start(hold_the_lock, sqlite_url, ["kept-1", "kept-2"], ["unkept-1", "unkept-2"])
    assert holder.hear() == "holding"
    holder.kill()
    database = open_database(sqlite_url, lock_seconds=2)
    database.write(lambda unit: put(unit, "after"))
    assert keys(database) == ["after", "kept-1", "kept-2"]


def test_whatever_a_writer_was_told_is_kept_outlives_its_death_at_any_moment(sqlite_url, start, open_database):
    told = set()
    for death in range(5):
        writer = start(write_for_ever, sqlite_url, f"d{death}", 3)
        told |= {writer.hear() for _ in range(10 + 7 * death)}
        writer.kill()
    kept = keys(open_database(sqlite_url))
    assert told <= set(kept)
    assert len(kept) == len(set(kept))


def test_a_deleted_lock_file_does_not_make_two_writers(sqlite_url, tmp_path, start, open_database):
    holder = start(hold_the_lock, sqlite_url, ["kept"], ["held"])
    assert holder.hear() == "holding"
    (tmp_path / "database" / "gateway.db.lock").unlink()
    database = open_database(sqlite_url, lock_seconds=0.5)
    with pytest.raises(Unavailable):
        database.write(lambda unit: put(unit, "beside"))
    holder.say("go on")
    assert holder.hear() == "go on"
    database.write(lambda unit: put(unit, "after"))
    assert keys(database) == ["after", "held", "kept"]

"""A process that forks: the child opens the database anew, and neither side hurts the other."""

from __future__ import annotations

import os
import signal

from tests.store.actors import die_with_the_lock_and_leave_a_child, fork_in_a_read, fork_while_busy, keys, put


def test_a_forked_child_and_its_parent_both_go_on_and_nothing_either_was_told_is_lost(sqlite_url, start, open_database):
    assert start(fork_while_busy, sqlite_url).hear() == 0
    kept = keys(open_database(sqlite_url))
    assert [key for key in kept if not key.startswith("busy")] == ["child-1", "child-2", "parent", "third"]


def test_a_child_forked_in_the_middle_of_a_read_refuses_the_database_rather_than_harm_it(sqlite_url, start, open_database):
    assert start(fork_in_a_read, sqlite_url).hear() == 0
    assert keys(open_database(sqlite_url)) == ["parent"]


def test_a_child_does_not_keep_the_lock_of_a_parent_that_died(sqlite_url, start, open_database):
    parent = start(die_with_the_lock_and_leave_a_child, sqlite_url)
    child = parent.hear()
    try:
        assert parent.hear() == "holding"
        parent.kill()
        database = open_database(sqlite_url, lock_seconds=2)
        database.write(lambda unit: put(unit, "after"))
        assert keys(database) == ["after", "before"]
    finally:
        os.kill(child, signal.SIGKILL)

"""Works that are committed together: what one of them breaks, what all of them lose, and what nobody is told too early."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError, IntegrityError

from gateway.errors import NotFound, Unavailable
from gateway.store import sqlite_engines, sqlite_writer
from tests.store.actors import keys, lose_a_commit, put, write_together

FULL = "x" * 4_000_000
MANY_ROWS = text(
    """INSERT INTO intake_message
    SELECT hex(randomblob(16)), organization, format, message_key || '-' || many.key, revision, content_sha256,
           hex(randomblob(2000)), received_at, client, referral, kept, cuts
    FROM intake_message, json_each('[' || rtrim(replace(hex(zeroblob(1000)), '0', '1,'), ',') || ']') AS many"""
)  # more than one row a statement: SQLite can undo it alone


@pytest.fixture(autouse=True)
def one_group(monkeypatch):
    monkeypatch.setattr(sqlite_writer, "GROUP_SECONDS", 30)


@pytest.fixture
def database(sqlite_url, open_database):
    return open_database(sqlite_url, lock_seconds=10)


@pytest.fixture
def small_disk(monkeypatch):
    """As many pages as the empty schema has, and a few."""
    limit_pages(monkeypatch, 200)
    return monkeypatch


def limit_pages(monkeypatch, pages):
    monkeypatch.setattr(sqlite_engines, "_WRITER_PRAGMAS", (*sqlite_engines._WRITER_PRAGMAS, f"PRAGMA max_page_count={pages}"))


@dataclass
class Disk:
    folder: Path
    grow: Callable[[], object]


@pytest.fixture
def disk(tmp_path, monkeypatch):
    """A small disk of its own; where none may be mounted, SQLite's own limit stands in for it."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounting = ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(folder)]
    if os.geteuid() == 0 and subprocess.run(mounting, capture_output=True, check=False).returncode == 0:
        yield Disk(folder, lambda: subprocess.run(["mount", "-o", "remount,size=8m", str(folder)], check=True))
        subprocess.run(["umount", "-l", str(folder)], check=True)
    else:
        limit_pages(monkeypatch, 400)
        yield Disk(folder, monkeypatch.undo)


def test_nobody_is_answered_before_the_commit_of_all(database):
    seen = []
    outcomes = write_together(database, [lambda unit: put(unit, "a"), lambda unit: seen.append(keys(database))])
    assert seen == [[]]
    assert not any(isinstance(outcome, Exception) for outcome in outcomes)
    assert keys(database) == ["a"]


def test_a_constraint_and_a_refusal_end_their_own_work_only(database):
    def refuse(unit):
        put(unit, "refused")
        raise NotFound

    outcomes = write_together(
        database,
        [
            lambda unit: put(unit, "a"),
            lambda unit: (put(unit, "broken"), put(unit, "a")),
            refuse,
            lambda unit: put(unit, "b"),
        ],
    )
    assert [isinstance(outcome, Exception) and type(outcome) for outcome in outcomes] == [False, IntegrityError, NotFound, False]
    assert keys(database) == ["a", "b"]


def test_a_work_sees_nothing_of_one_that_failed_before_it_in_the_group(database):
    seen = []

    def refuse(unit):
        put(unit, "refused")
        raise NotFound

    write_together(
        database, [refuse, lambda unit: seen.append(unit.connection.execute(text("SELECT count(*) FROM intake_message")).scalar())]
    )
    assert seen == [0]


def test_a_disk_full_inside_a_group_is_an_outage_for_every_member_and_nothing_is_half_stored(small_disk, database):
    database.write(lambda unit: put(unit, "before"))
    outcomes = write_together(
        database, [lambda unit: put(unit, "a"), lambda unit: put(unit, "b", FULL), lambda unit: put(unit, "c"), lambda unit: put(unit, "d")]
    )
    assert [type(outcome) for outcome in outcomes[:2]] == [Unavailable, Unavailable]
    # those behind the full disk were a group of their own, and small enough
    assert keys(database) == ["before", "c", "d"]


def test_after_a_full_disk_the_same_process_writes_again_once_there_is_room(small_disk, database):
    with pytest.raises(Unavailable):
        database.write(lambda unit: put(unit, "a", FULL))
    small_disk.undo()
    assert database.ready()
    database.write(lambda unit: put(unit, "b", FULL))
    assert keys(database) == ["b"]


def test_a_work_that_takes_no_notice_of_a_full_disk_can_write_nothing_more(small_disk, database):
    heard = []

    def go_on_regardless(unit):
        for key in "bc":
            try:
                put(unit, key, FULL if key == "b" else "{}")
            except (DBAPIError, Unavailable) as failure:
                heard.append(type(failure).__name__)
        return "kept, I say"

    outcomes = write_together(database, [lambda unit: put(unit, "a"), go_on_regardless])
    assert [type(outcome) for outcome in outcomes] == [Unavailable, Unavailable]
    assert heard == ["OperationalError", "TransactionLost"]
    assert keys(database) == []


def test_a_full_disk_that_left_the_transaction_alive_costs_its_own_work_only(small_disk, database):
    outcomes = write_together(
        database, [lambda unit: put(unit, "a"), lambda unit: unit.connection.execute(MANY_ROWS), lambda unit: put(unit, "b")]
    )
    assert [isinstance(outcome, Exception) and type(outcome) for outcome in outcomes] == [False, Unavailable, False]
    assert keys(database) == ["a", "b"]


def test_a_failed_commit_is_never_tried_again_and_ends_this_process_writing(sqlite_url, start, open_database):
    told = start(lose_a_commit, sqlite_url).hear()
    assert told == {"lost": ["Unavailable"] * 4, "later": "Unavailable", "heard": ["broken"], "ready": [False, False]}
    another = open_database(sqlite_url)
    another.write(lambda unit: put(unit, "after"))
    assert keys(another) == ["after", "before"]


def test_a_disk_that_fills_up_loses_nothing_that_was_told_and_keeps_nothing_else(sqlite_url, disk, open_database):
    shutil.copyfile(sqlite_url.removeprefix("sqlite:///"), disk.folder / "gateway.db")
    url, told = f"sqlite:///{disk.folder}/gateway.db", []
    database = open_database(url, free_space_floor_bytes=0)
    with suppress(Unavailable):
        for key in (f"n-{number:04}" for number in range(1000)):
            database.write(lambda unit, key=key: put(unit, key, "x" * 20_000))
            told.append(key)
    assert 0 < len(told) < 1000
    assert keys(database) == told
    database.close()
    disk.grow()
    after = open_database(url, free_space_floor_bytes=0)
    after.write(lambda unit: put(unit, "z", "x" * 20_000))
    assert keys(after) == [*told, "z"]
    after.close()


def test_a_write_inside_a_write_is_our_mistake(database):
    with pytest.raises(RuntimeError):
        database.write(lambda unit: database.write(lambda inner: None))

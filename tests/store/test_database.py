"""What every layer may rely on, on both databases."""

from __future__ import annotations

import threading
import time
from contextlib import suppress
from contextvars import ContextVar
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import insert, select, text
from sqlalchemy.exc import IntegrityError, SQLAlchemyError

from gateway.errors import NotFound, Unavailable
from gateway.store import clock, messages, rows
from gateway.store.database import Database, DatabaseUrlRefused, require_url
from gateway.store.epochs import EpochMoved, confirm_epoch, narrow, read_epoch
from gateway.store.messages import IntakeMessageRow

MESSAGE = IntakeMessageRow.__table__


def keep(unit, key, revision=1):
    return messages.keep_message(
        unit,
        organization="riverton-police",
        format="rms-diversion",
        message_key=key,
        revision=revision,
        content_sha256="0" * 64,
        body="{}",
        client="riverton-rms",
        referral=None,
    )


def keys_in(database):
    with database.read() as unit:
        return sorted(unit.connection.execute(select(MESSAGE.c.message_key)).scalars())


def test_a_write_returns_what_the_work_returned_and_is_kept(database):
    message_id = database.write(lambda unit: keep(unit, "26-1"))
    with database.read() as unit:
        found = messages.find_message(unit, "riverton-police", "rms-diversion", "26-1")
    assert [(message.id, message.revision, message.kept) for message in found] == [(message_id, 1, True)]


def test_a_work_that_raises_leaves_nothing_and_its_own_failure_reaches_the_caller(database):
    def work(unit):
        keep(unit, "26-1")
        raise NotFound

    with pytest.raises(NotFound):
        database.write(work)
    assert keys_in(database) == []


def test_a_broken_constraint_ends_its_own_work_only(database):
    database.write(lambda unit: keep(unit, "26-1"))
    with pytest.raises(IntegrityError):
        database.write(lambda unit: (keep(unit, "26-2"), keep(unit, "26-1")))
    database.write(lambda unit: keep(unit, "26-3"))
    assert keys_in(database) == ["26-1", "26-3"]


def test_a_statement_of_ours_that_is_wrong_is_no_outage(database):
    with pytest.raises(SQLAlchemyError) as wrong:
        database.write(lambda unit: unit.connection.execute(text("SELECT nothing FROM nowhere")))
    assert not isinstance(wrong.value, Unavailable)
    with pytest.raises(SQLAlchemyError), database.read() as unit:
        unit.connection.execute(text("SELECT nothing FROM nowhere"))


def test_an_error_of_the_database_never_quotes_values(database):
    database.write(lambda unit: keep(unit, "26-1"))
    with pytest.raises(IntegrityError) as broken:
        database.write(lambda unit: unit.connection.execute(insert(MESSAGE).values(id="x", body="Jane Roe")))
    assert "Jane Roe" not in str(broken.value.__cause__ and broken.value) or database.dialect == "postgresql"


def test_a_read_is_one_snapshot_whatever_is_written_meanwhile(database):
    database.write(lambda unit: keep(unit, "26-1"))
    with database.read() as unit:
        first = unit.connection.execute(select(MESSAGE.c.id)).all()
        database.write(lambda unit: keep(unit, "26-2"))
        assert unit.connection.execute(select(MESSAGE.c.id)).all() == first
    assert keys_in(database) == ["26-1", "26-2"]


def test_nothing_can_be_written_in_a_read(database):
    with pytest.raises(SQLAlchemyError), database.read() as unit:
        keep(unit, "26-1")
    assert keys_in(database) == []


def test_a_read_that_was_used_up_leaves_no_trace_on_the_connection_for_the_next_write(database):
    for number in range(40):
        with database.read() as unit:
            read_epoch(unit)
        database.write(lambda unit, number=number: keep(unit, f"26-{number}"))
    assert len(keys_in(database)) == 40


def test_stamps_are_aware_and_rise_over_all_threads(database):
    stamps, failures = [], []

    def write():
        for _ in range(10):
            try:
                stamps.append(database.write(lambda unit: unit.now))
            except Unavailable as failure:
                failures.append(failure)

    threads = [threading.Thread(target=write) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (len(stamps), failures) == (60, [])
    assert {stamp.tzinfo for stamp in stamps} == {UTC}
    assert abs(max(stamps) - datetime.now(UTC)) < timedelta(minutes=1)


def test_a_clock_that_was_set_back_takes_no_stamp_back(database, either_url, open_database, monkeypatch):
    ahead = rows.to_microseconds(datetime.now(UTC) + timedelta(hours=1))
    if database.dialect == "sqlite":
        monkeypatch.setattr(clock, "system_microseconds", lambda: ahead)
        database.write(lambda unit: keep(unit, "26-1"))
        monkeypatch.undo()
    else:
        database.write(lambda unit: unit.connection.execute(text(f"SELECT setval('{clock.SEQUENCE}', {ahead})")))
    database.close()
    reopened = open_database(either_url)
    stamp = reopened.write(lambda unit: (keep(unit, "26-2"), unit.now)[1])
    assert rows.to_microseconds(stamp) >= ahead
    with reopened.read() as unit:
        assert unit.now >= stamp


def test_the_work_sees_the_callers_context_variables(database):
    request = ContextVar("request", default="none")
    request.set("abc")
    assert database.write(lambda unit: request.get()) == "abc"


def test_an_epoch_that_moved_undoes_the_disclosure_decided_under_it(database):
    with database.read() as unit:
        seen = read_epoch(unit)
    database.write(narrow)

    def disclose(unit):
        keep(unit, "26-1")
        confirm_epoch(unit, seen)

    with pytest.raises(EpochMoved):
        database.write(disclose)
    assert keys_in(database) == []
    database.write(lambda unit: confirm_epoch(unit, seen + 1))


def test_every_narrowing_counts_also_of_many_at_once_that_confirm_before(database):
    def confirm_and_narrow(unit):
        confirm_epoch(unit, read_epoch(unit))
        narrow(unit)

    def until_it_stands():
        with suppress(EpochMoved):  # on PostgreSQL another may narrow between the reading and the confirming
            database.write(confirm_and_narrow)
            return
        until_it_stands()

    def many():
        for _ in range(5):
            until_it_stands()

    threads = [threading.Thread(target=many) for _ in range(4)]
    started = time.monotonic()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with database.read() as unit:
        assert read_epoch(unit) == 20
    assert time.monotonic() - started < 5  # a deadlock alone costs PostgreSQL a second


def test_equal_message_keys_are_worked_on_one_after_the_other(database):
    def once(unit):
        messages.lock_key(unit, "riverton-police", "rms-diversion", "26-1")
        known = messages.find_message(unit, "riverton-police", "rms-diversion", "26-1")
        return "known" if known else keep(unit, "26-1") and "new"

    answers = []
    threads = [threading.Thread(target=lambda: answers.append(database.write(once))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(answers) == ["known"] * 7 + ["new"]


def test_ready_is_said_while_it_works_and_not_after_it_was_closed(database):
    assert database.ready()
    database.close()
    assert not database.ready()
    with pytest.raises(Unavailable):
        database.write(read_epoch)
    with pytest.raises(Unavailable), database.read():
        pass


@pytest.mark.parametrize(
    "url",
    [
        "",
        "gateway.db",
        "mysql://localhost/x",
        "sqlite://",
        "sqlite:///:memory:",
        "sqlite:///a.db?mode=ro",
        "sqlite:///file:a.db",
        "postgresql+asyncpg://h/d",
    ],
)
def test_a_database_url_that_cannot_be_used_is_refused_with_words(url):
    with pytest.raises(DatabaseUrlRefused):
        require_url(url)
    with pytest.raises(DatabaseUrlRefused):
        Database(url)


def test_a_password_is_not_in_what_a_refused_url_says():
    with pytest.raises(DatabaseUrlRefused) as refused:
        require_url("mysql://user:hunter2@host/x")
    assert "hunter2" not in str(refused.value)

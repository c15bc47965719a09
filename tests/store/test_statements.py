"""Statements put together once: what goes in and comes out is what SQLAlchemy would give, and its errors are raised alike."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from sqlalchemy import bindparam, select
from sqlalchemy.exc import DBAPIError, IntegrityError

from gateway.store.messages import IntakeMessageRow
from gateway.store.referrals import OfferRow, ReferralPartRow
from gateway.store.statements import Rows, Statement, one_of
from gateway.store.units import TransactionLost, Unit

MESSAGE = IntakeMessageRow.__table__
OFFER = OfferRow.__table__
PART = ReferralPartRow.__table__
AT = datetime(2026, 3, 1, 12, 30, 15, 123456, tzinfo=UTC)


def a_message(**changed):
    return {
        "id": "one", "organization": "police", "format": "rms-diversion", "message_key": "A/1", "revision": 1, "content_sha256": "00",
        "body": "{}", "received_at": AT, "client": "rms", "referral": None, "kept": True, "cuts": [["/a", "b"]], **changed,
    }  # fmt: skip


@pytest.fixture
def database(either_url, open_database):
    return open_database(either_url)


def test_every_type_comes_back_as_it_went_in(database):
    add, read = Rows(MESSAGE), Statement(select(MESSAGE).where(MESSAGE.c.id == bindparam("key")))
    for rows in ([a_message()], [a_message(id="two", revision=2), a_message(id="three", revision=3, referral="r", kept=False, cuts=[])]):
        database.write(lambda unit, rows=rows: add.write(unit, rows))
    with database.read() as unit:
        assert read.mapping(unit, {"key": "one"}) == a_message()
        assert read.mapping(unit, {"key": "three"}) == a_message(id="three", revision=3, referral="r", kept=False, cuts=[])
        assert read.first(unit, {"key": "none"}) is read.mapping(unit, {"key": "none"}) is None
        by_sqlalchemy = unit.connection.execute(select(MESSAGE).order_by(MESSAGE.c.id)).all()
        ours = Statement(select(MESSAGE).order_by(MESSAGE.c.id))
        assert ours.all(unit) == [tuple(row) for row in by_sqlalchemy]
        assert ours.mappings(unit) == [dict(row._mapping) for row in by_sqlalchemy]


@pytest.mark.parametrize("wanted", [[], ["a"], ["a", "c", "none"], ["it's", 'two "words"', "ü\n", "{b,c}"]])
def test_a_list_is_one_value_whatever_stands_in_it(database, wanted):
    kept = ["a", "b", "c", "it's", 'two "words"', "ü\n", "{b,c}"]
    rows = [{"referral": "r", "name": name, "resource_type": "Task", "resource_id": "x"} for name in kept]
    database.write(lambda unit: Rows(PART).write(unit, rows))
    named = Statement(lambda dialect: select(PART.c.name).where(one_of(PART.c.name, "names", dialect)))
    with database.read() as unit:
        assert sorted(named.scalars(unit, {"names": wanted})) == sorted(set(wanted) & set(kept))


def test_a_value_that_is_missing_is_no_null(database):
    read = Statement(select(MESSAGE.c.id).where(MESSAGE.c.id == bindparam("key")))
    with database.read() as unit, pytest.raises(KeyError):
        read.all(unit, {"other": "one"})
    incomplete = a_message()
    del incomplete["referral"]
    for rows in ([incomplete], [incomplete, incomplete]):
        with pytest.raises(KeyError):
            database.write(lambda unit, rows=rows: Rows(MESSAGE).write(unit, rows))


def test_a_list_that_would_make_another_statement_each_time_is_refused(database):
    listed = Statement(select(MESSAGE.c.id).where(MESSAGE.c.id.in_(bindparam("ids", expanding=True))))
    with database.read() as unit, pytest.raises(TypeError, match="one_of"):
        listed.all(unit, {"ids": ["one"]})


def test_an_error_is_raised_as_sqlalchemy_raises_it_and_names_no_value(database):
    def twice(unit):
        Rows(MESSAGE).write(unit, [a_message(body="a secret")])
        Rows(MESSAGE).write(unit, [a_message(body="a secret", id="two")])

    with pytest.raises(IntegrityError) as refused:
        database.write(twice)
    assert isinstance(refused.value, DBAPIError)
    assert "a secret" not in str(refused.value).partition("DETAIL")[0]
    assert refused.value.params is None
    with database.read() as unit:
        assert Statement(select(MESSAGE.c.id)).all(unit) == []


def test_on_sqlite_nothing_runs_alone_outside_a_transaction(sqlite_url, open_database):
    database = open_database(sqlite_url)

    def alone(unit: Unit) -> None:
        driver = unit.connection.connection.dbapi_connection
        driver.rollback()  # as a full disk does
        Rows(MESSAGE).write(unit, [a_message()])

    with pytest.raises(Exception) as told:
        database.write(alone)
    assert isinstance(told.value, TransactionLost) or type(told.value).__name__ == "Unavailable"
    with database.read() as unit:
        assert Statement(select(MESSAGE.c.id)).all(unit) == []

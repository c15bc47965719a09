"""Whatever is done to the audit log behind the gateway's back is found, and the first fault is named."""

from __future__ import annotations

import json

import pytest
from sqlalchemy import select, update
from typer.testing import CliRunner

from gateway.__main__ import make_cli
from gateway.audit.sequencer import ALARM_SECONDS, Sequencer
from gateway.audit.tree import Tree
from gateway.audit.verification import Noted, verify
from gateway.store.audit import AUDIT, AuditRow
from gateway.store.audit_chain import CHECKPOINT, LINK
from gateway.store.ids import new_id
from tests.audit.chains import TABLES, add_row, add_rows, links, make_chain, run_sql, sequence_all

ROWS = 12
COLUMNS = [(table, column.name) for table in TABLES for column in table.c]
INSERTED = "INSERT INTO audit_event SELECT '{id}', recorded, organization, client, action, outcome, policy_row, referral, body"


@pytest.fixture
def chain(database):
    """Twelve linked rows under three checkpoints."""
    make_chain(database, rows=ROWS, batch_rows=4)
    assert verify(database).fault is None
    return database


def fault_of(database, noted=None):
    return verify(database, noted).fault


def id_at(database, sequence):
    return dict(links(database))[sequence]


def change(database, table, key, column, value):
    """Write one value into the row with this primary key."""
    (primary,) = table.primary_key.columns
    database.write(lambda unit: unit.connection.execute(update(table).where(primary == key).values({column: value})) and None)


def flipped(value):
    """The same value with one bit turned."""
    if isinstance(value, str):
        return f"{value[:-1]}{chr(ord(value[-1]) ^ 1)}"
    if value is None:
        return "x"
    return value ^ (1 << 40) if isinstance(value, int) else value.replace(microsecond=value.microsecond ^ 1)


def keys_of(database, table):
    """Primary keys in the order of the chain."""
    if table is AUDIT:
        return [audit_id for _, audit_id in links(database)]
    (primary,) = table.primary_key.columns
    with database.read() as unit:
        return list(unit.connection.execute(select(primary).order_by(primary)).scalars())


# --- a flipped bit ---


@pytest.mark.parametrize("place", [0, 1, -1], ids=["first", "second", "last"])
@pytest.mark.parametrize(("table", "column"), COLUMNS, ids=lambda each: getattr(each, "name", each))
def test_a_flipped_bit_in_any_column_is_found(chain, table, column, place):
    keys = keys_of(chain, table)
    key = keys[place]
    with chain.read() as unit:
        (primary,) = table.primary_key.columns
        value = unit.connection.execute(select(table.c[column]).where(primary == key)).scalar_one()
    change(chain, table, key, column, flipped(value))
    fault = fault_of(chain)
    assert fault is not None
    if table is not CHECKPOINT:
        assert fault.sequence == place % ROWS + 1
    if table is AUDIT:
        assert fault.audit_id == key


@pytest.mark.parametrize("column", [column.name for column in AUDIT.c if not column.primary_key and column.name != "recorded"])
@pytest.mark.parametrize("change_text", [lambda text: f"{text or ''} ", lambda text: "", lambda text: (text or "a").upper()[:-1]])
def test_a_text_made_longer_emptied_or_changed_is_found(chain, column, change_text):
    with chain.read() as unit:
        audit_id, value = unit.connection.execute(select(AUDIT.c.id, AUDIT.c[column]).where(AUDIT.c.id == id_at(chain, 5))).one()
    change(chain, AUDIT, audit_id, column, change_text(value))
    assert (fault_of(chain).sequence, fault_of(chain).audit_id) == (5, audit_id)


def test_an_absent_value_is_not_an_empty_one(chain):
    without = next(audit_id for _, audit_id in links(chain) if value_of(chain, audit_id, "referral") is None)
    change(chain, AUDIT, without, "referral", "")
    assert fault_of(chain).audit_id == without


def test_a_value_taken_away_is_found(chain):
    given = next(audit_id for _, audit_id in links(chain) if value_of(chain, audit_id, "referral") is not None)
    change(chain, AUDIT, given, "referral", None)
    assert fault_of(chain).audit_id == given


def value_of(database, audit_id, column):
    with database.read() as unit:
        return unit.connection.execute(select(AUDIT.c[column]).where(AUDIT.c.id == audit_id)).scalar_one()


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE audit_event SET body = CAST(body AS BLOB) WHERE id = :id",
        "UPDATE audit_event SET body = CAST(X'ff' AS TEXT) WHERE id = :id",
        "UPDATE audit_event SET body = body || char(0) || 'x' WHERE id = :id",
        "UPDATE audit_event SET recorded = CAST(recorded AS BLOB) WHERE id = :id",
        "UPDATE audit_event SET recorded = recorded + 0.5 WHERE id = :id",
        "UPDATE audit_event SET id = CAST(id AS BLOB) WHERE id = :id",
        "UPDATE audit_link SET leaf = CAST(X'ff' AS TEXT) WHERE audit_id = :id",
        "UPDATE audit_link SET chain = CAST(chain AS BLOB) WHERE audit_id = :id",
        "UPDATE audit_checkpoint SET at = CAST(at AS BLOB) WHERE size = 8",
        "UPDATE audit_checkpoint SET root = CAST(X'ff' AS TEXT) WHERE size = 8",
    ],
)
def test_what_only_sqlite_can_keep_is_found_and_stops_no_verification(sqlite_url, open_database, statement):
    database = open_database(sqlite_url)
    make_chain(database)
    run_sql(database, statement, id=id_at(database, 8))
    assert fault_of(database).sequence == 8


# --- rows and links that are missing, added, moved or doubled ---


def test_a_missing_row_is_found(chain):
    audit_id = id_at(chain, 7)
    run_sql(chain, "DELETE FROM audit_event WHERE id = :id", id=audit_id)
    assert fault_of(chain) == type(fault_of(chain))("the audit row is missing", 7, audit_id)


@pytest.mark.parametrize("sequence", [1, 7, 12])
def test_a_missing_link_is_found(chain, sequence):
    run_sql(chain, "DELETE FROM audit_link WHERE sequence = :n", n=sequence)
    assert fault_of(chain).sequence == sequence


@pytest.mark.parametrize("sequence", [1, 7, 12])
def test_a_row_that_is_missing_together_with_its_link_is_found(chain, sequence):
    run_sql(chain, "DELETE FROM audit_event WHERE id = :id", "DELETE FROM audit_link WHERE audit_id = :id", id=id_at(chain, sequence))
    assert fault_of(chain).sequence == sequence


def test_links_closed_up_over_a_missing_one_are_found(chain):
    run_sql(chain, "DELETE FROM audit_event WHERE id = :id", "DELETE FROM audit_link WHERE audit_id = :id", id=id_at(chain, 7))
    for sequence in range(8, ROWS + 1):
        run_sql(chain, "UPDATE audit_link SET sequence = sequence - 1 WHERE sequence = :n", n=sequence)
    assert fault_of(chain).sequence == 7


@pytest.mark.parametrize("kept", [0, 8, 10])
def test_a_truncated_tail_is_found_by_the_checkpoint_over_it(chain, kept):
    run_sql(
        chain,
        "DELETE FROM audit_event WHERE id IN (SELECT audit_id FROM audit_link WHERE sequence > :n)",
        "DELETE FROM audit_link WHERE sequence > :n",
        n=kept,
    )
    assert fault_of(chain).sequence == kept + 1


@pytest.mark.parametrize("size", [4, 8, 12])
def test_a_missing_checkpoint_is_found(chain, size):
    run_sql(chain, "DELETE FROM audit_checkpoint WHERE size = :n", n=size)
    assert fault_of(chain) is not None


def test_an_added_row_is_found(chain):
    added = new_id()
    run_sql(chain, f"{INSERTED.format(id=added)} FROM audit_event WHERE id = :id", id=id_at(chain, 3))
    assert fault_of(chain).audit_id == added


@pytest.mark.parametrize("number", [-1, 0, 13, 99])
def test_an_added_link_is_found(chain, number):
    copied = "SELECT :n, 'another', leaf, subtree, chain FROM audit_link WHERE sequence = 12"
    run_sql(chain, f"INSERT INTO audit_link {copied}", n=number)
    assert fault_of(chain) is not None


def test_two_rows_that_changed_their_content_with_each_other_are_found(chain):
    third, ninth = id_at(chain, 3), id_at(chain, 9)
    names = [name for name in AuditRow.__slots__ if name not in ("id",)]
    with chain.read() as unit:
        rows = {row.id: row for row in unit.connection.execute(select(AUDIT)).all()}
    for name in names:
        change(chain, AUDIT, third, name, getattr(rows[ninth], name))
        change(chain, AUDIT, ninth, name, getattr(rows[third], name))
    assert (fault_of(chain).sequence, fault_of(chain).audit_id) == (3, third)


def test_two_links_that_changed_places_are_found(chain):
    for new, old in ((99, 5), (5, 6), (6, 99)):
        run_sql(chain, "UPDATE audit_link SET sequence = :new WHERE sequence = :old", new=new, old=old)
    assert fault_of(chain).sequence == 5


def test_two_links_that_changed_their_rows_are_found(chain):
    fifth, sixth = id_at(chain, 5), id_at(chain, 6)
    for sequence, audit_id in ((5, "aside"), (6, fifth), (5, sixth)):
        run_sql(chain, "UPDATE audit_link SET audit_id = :id WHERE sequence = :n", n=sequence, id=audit_id)
    assert (fault_of(chain).sequence, fault_of(chain).audit_id) == (5, sixth)


def test_a_link_whose_row_and_hashes_were_all_made_to_fit_is_found_by_the_next(chain):
    """Row, leaf, subtree and chain of one link as an attacker who knows the code would write them."""
    from gateway.audit.tree import chain_hash, leaf_hash

    third = id_at(chain, 3)
    change(chain, AUDIT, third, "outcome", "refused")
    with chain.read() as unit:
        before = unit.connection.execute(select(LINK.c.chain).where(LINK.c.sequence == 2)).scalar_one()
        row = unit.connection.execute(select(AUDIT).where(AUDIT.c.id == third)).one()
    from gateway.store.rows import to_microseconds

    stored = [getattr(row, name) for name in AuditRow.__slots__]
    stored[1] = str(to_microseconds(row.recorded))
    leaf = leaf_hash([None if value is None else value.encode() for value in stored])
    for column, value in (("leaf", leaf.hex()), ("subtree", leaf.hex()), ("chain", chain_hash(before, 3, leaf))):
        change(chain, LINK, 3, column, value)
    assert fault_of(chain).sequence == 4


# --- rows that wait ---


def test_rows_that_wait_are_counted_and_are_no_fault(chain):
    add_rows(chain, 3)
    verified = verify(chain)
    assert (verified.fault, verified.size, verified.unlinked) == (None, ROWS, 3)


def test_rows_that_wait_longer_than_the_alarm_are_a_fault(chain):
    (oldest,) = add_rows(chain, seconds_ago=ALARM_SECONDS + 1)
    add_rows(chain)
    fault = fault_of(chain)
    assert (fault.sequence, fault.audit_id) == (ROWS + 1, oldest)


@pytest.mark.parametrize(
    "statement",
    [
        "DELETE FROM audit_unlinked WHERE id = :id",
        "DELETE FROM audit_event WHERE id = :id",
        "UPDATE audit_event SET recorded = recorded + 1 WHERE id = :id",
        "UPDATE audit_unlinked SET recorded = recorded + 1 WHERE id = :id",
    ],
)
def test_a_row_that_waits_and_was_changed_in_its_time_or_taken_away_is_found(chain, statement):
    (audit_id,) = add_rows(chain)
    run_sql(chain, statement, id=audit_id)
    assert fault_of(chain).audit_id == audit_id


def test_a_linked_row_that_waits_again_is_found(chain):
    run_sql(chain, "INSERT INTO audit_unlinked SELECT recorded, id FROM audit_event WHERE id = :id", id=id_at(chain, 2))
    assert fault_of(chain).audit_id == id_at(chain, 2)


# --- what was noted elsewhere ---


def test_a_chain_that_grew_still_contains_what_was_noted(chain):
    noted = [verified_as_noted(chain)]
    for _ in range(5):
        add_rows(chain, 3)
        run_sql(chain, "UPDATE audit_lease SET until = 0")
        sequence_all(Sequencer(chain, "again", batch_rows=2))
        noted.append(verified_as_noted(chain))
    assert [fault_of(chain, each) for each in [Noted(0, Tree().root()), *noted]] == [None] * 7


def verified_as_noted(database):
    verified = verify(database)
    return Noted(verified.size, verified.root)


def test_a_chain_cut_back_to_an_earlier_checkpoint_is_found_by_what_was_noted(chain):
    noted = verified_as_noted(chain)
    run_sql(
        chain,
        "DELETE FROM audit_event WHERE id IN (SELECT audit_id FROM audit_link WHERE sequence > 8)",
        "DELETE FROM audit_link WHERE sequence > 8",
        "DELETE FROM audit_checkpoint WHERE size > 8",
    )
    assert fault_of(chain) is None
    assert fault_of(chain, noted).sequence == 9


def test_a_chain_that_was_made_anew_is_found_by_what_was_noted(chain):
    noted = verified_as_noted(chain)
    run_sql(
        chain,
        "UPDATE audit_event SET outcome = 'refused' WHERE id = (SELECT audit_id FROM audit_link WHERE sequence = 5)",
        "DELETE FROM audit_link",
        "DELETE FROM audit_checkpoint",
        "DELETE FROM audit_lease",
        "INSERT INTO audit_unlinked SELECT recorded, id FROM audit_event",
    )
    assert sequence_all(Sequencer(chain, "forger")) == ROWS
    assert fault_of(chain) is None
    assert fault_of(chain, noted) is not None


# --- at large, and by the command ---


def test_an_empty_log_is_whole(database):
    verified = verify(database)
    assert (verified.fault, verified.size, verified.unlinked, verified.root) == (None, 0, 0, Tree().root())


def test_ten_thousand_rows_are_verified_and_one_changed_among_them_is_found(database):
    for _ in range(20):
        database.write(lambda unit: [add_row(unit, number=number) for number in range(500)] and None)
    sequence_all(Sequencer(database, "one"))
    verified = verify(database)
    assert (verified.fault, verified.size) == (None, 10_000)
    change(database, AUDIT, id_at(database, 9_876), "client", "another")
    assert fault_of(database).sequence == 9_876


def run_command(url, *arguments):
    return CliRunner().invoke(make_cli(["audit"]), ["audit", "verify", *arguments], env={"CRISIS_GATEWAY_DATABASE_URL": url})


def test_the_command_says_that_the_log_is_whole_and_what_to_note(chain, database_url):
    ran = run_command(database_url)
    assert ran.exit_code == 0
    verified = verify(chain)
    assert f"{ROWS} links, 3 checkpoints; 0 rows wait" in ran.output
    noted = f"{verified.size}:{verified.root}"
    assert noted in ran.output
    assert run_command(database_url, "--against", noted).exit_code == 0


def test_the_command_names_the_first_fault_with_its_sequence_and_audit_id(chain, database_url):
    fifth, ninth = id_at(chain, 5), id_at(chain, 9)
    for audit_id in (ninth, fifth):
        change(chain, AUDIT, audit_id, "policy_row", "A02")
    ran = run_command(database_url)
    assert ran.exit_code == 1
    assert f"sequence 5, audit id {fifth}" in ran.output
    assert ninth not in ran.output
    found = json.loads(run_command(database_url, "--json").output)
    assert found["fault"] == {"what": "the audit row is not the one that was linked", "sequence": 5, "audit_id": fifth}
    assert (found["size"], found["root"]) == (4, None)


def test_the_command_says_as_json_what_was_found(database, database_url):
    add_rows(database, 2)
    ran = run_command(database_url, "--json")
    found = json.loads(ran.output)
    assert (ran.exit_code, found["fault"], found["size"], found["unlinked"]) == (0, None, 0, 2)
    assert 0 < found["lag_seconds"] < ALARM_SECONDS


def test_the_command_tells_how_long_rows_wait_and_fails_when_that_is_too_long(chain, database_url):
    add_rows(chain)
    assert "1 rows wait for their link, the oldest for" in run_command(database_url).output
    add_rows(chain, seconds_ago=ALARM_SECONDS + 1)
    assert run_command(database_url).exit_code == 1


@pytest.mark.parametrize("against", ["12", "12:xyz", "-1:" + "0" * 64, ""])
def test_the_command_refuses_what_is_no_size_and_root(database_url, against):
    assert run_command(database_url, "--against", against).exit_code == 2


def test_the_command_finds_another_root_than_the_noted_one(chain, database_url):
    ran = run_command(database_url, "--against", f"{ROWS}:{'0' * 64}")
    assert ran.exit_code == 1
    assert f"sequence {ROWS}" in ran.output

"""Audit rows to sequence, what became of them, and other processes that sequence."""

from __future__ import annotations

from contextlib import closing
from datetime import timedelta

from sqlalchemy import select, text

from gateway.audit.sequencer import Sequencer
from gateway.audit.verification import verify
from gateway.store import audit_chain
from gateway.store.audit import AUDIT, UNLINKED, AuditRow, insert_audit
from gateway.store.audit_chain import CHECKPOINT, LINK
from gateway.store.database import Database
from gateway.store.ids import new_id

TABLES = (AUDIT, LINK, CHECKPOINT)
REFERRALS = (None, "0190a0b0-0000-7000-8000-000000000000")


def add_row(unit, seconds_ago=0.0, number=0):
    """One audit row, in a unit; returns its id."""
    row = AuditRow(
        id=new_id(),
        recorded=unit.now - timedelta(seconds=seconds_ago),
        organization="clinic",
        client="clinic-ehr",
        action="read",
        outcome="success",
        policy_row="A01",
        referral=REFERRALS[number % 2],
        body=f'{{"resourceType":"AuditEvent","number":{number},"note":"é"}}',
    )
    insert_audit(unit, row)
    return row.id


def add_rows(database, count=1, seconds_ago=0.0):
    """Audit rows in one transaction; returns their ids."""
    return database.write(lambda unit: [add_row(unit, seconds_ago, number) for number in range(count)])


def sequence_all(sequencer):
    """Link all that waits; returns how many."""
    linked = 0
    while done := sequencer.step():
        linked += done
    return linked


def make_chain(database, rows=12, batch_rows=4):
    """A chain with several checkpoints."""
    add_rows(database, rows)
    assert sequence_all(Sequencer(database, "maker", batch_rows=batch_rows)) == rows


def links(database):
    """(sequence, audit id) of every link, by sequence."""
    with database.read() as unit:
        return [tuple(row) for row in unit.connection.execute(select(LINK.c.sequence, LINK.c.audit_id).order_by(LINK.c.sequence))]


def waiting_ids(database):
    with database.read() as unit:
        return set(unit.connection.execute(select(UNLINKED.c.id)).scalars())


def run_sql(database, *statements, **values):
    """Statements behind the gateway's back, in one transaction."""
    database.write(lambda unit: [unit.connection.execute(text(statement), values) for statement in statements] and None)


def assert_whole(database, ids):
    """The chain verifies, and exactly these rows are in it, each once, numbered without gap."""
    verified = verify(database)
    assert verified.fault is None
    linked = links(database)
    assert [sequence for sequence, _ in linked] == list(range(1, len(linked) + 1))
    assert sorted(audit_id for _, audit_id in linked) == sorted(ids)
    assert (verified.size, verified.unlinked) == (len(ids), 0)


# --- other processes ---


def sequence_until_told(pipe, url, name, batch_rows, lease_seconds):
    """Sequence again and again, and say how many rows that were."""
    with closing(Database(url, lock_seconds=10)) as database:
        sequencer, linked = Sequencer(database, name, batch_rows=batch_rows, lease_seconds=lease_seconds), 0
        pipe.send("ready")
        while not pipe.poll():
            linked += sequencer.step()
        pipe.send(linked)


def stop_inside_a_batch(pipe, url):
    """Link one batch, then say "inside" from within the next one, after its links were written and before COMMIT."""
    with closing(Database(url, lock_seconds=10)) as database:
        sequencer = Sequencer(database, "dies", batch_rows=3)
        sequencer.step()
        append = audit_chain.append_links

        def append_and_hang(*arguments):
            append(*arguments)
            pipe.send("inside")
            pipe.recv()

        audit_chain.append_links = append_and_hang
        sequencer.step()

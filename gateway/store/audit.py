"""Audit rows: one for each disclosure or refusal, in the transaction of what it tells of. Never changed, never deleted here.

Each goes in together with an entry of the queue from which the sequencer numbers and chains it (store/audit_chain.py): a chained
head under lock would let one disclosure wait for the other.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from sqlalchemy import Column, Index, Text, bindparam, insert, select
from sqlalchemy.exc import SQLAlchemyError
from sqlmodel import Field

from gateway.errors import Unavailable
from gateway.store.database import Unit
from gateway.store.rows import KEYED, Instant, Row
from gateway.store.statements import Statement


class AuditEventRow(Row, table=True):
    """One FHIR AuditEvent (`body`) and the columns it is found by. referral: null where it is about none."""

    __tablename__ = "audit_event"
    __table_args__ = (Index("audit_event_time", "recorded", "id"), Index("audit_event_organization", "organization", "recorded"))

    id: str = Field(primary_key=True)
    recorded: datetime = Field(sa_type=Instant)
    organization: str
    client: str
    action: str
    outcome: str
    policy_row: str
    referral: str | None = Field(default=None, index=True)
    body: str = Field(sa_column=Column(Text, nullable=False))


class AuditUnlinkedRow(Row, table=True):
    """An audit row that waits for its place in the chain."""

    __tablename__ = "audit_unlinked"
    __table_args__ = (KEYED,)

    recorded: datetime = Field(sa_type=Instant, primary_key=True)
    id: str = Field(primary_key=True)


AUDIT: Final[Any] = AuditEventRow.__table__  # type: ignore[attr-defined]
UNLINKED: Final[Any] = AuditUnlinkedRow.__table__  # type: ignore[attr-defined]


@dataclass(frozen=True, slots=True)
class AuditRow:
    """A stored audit row. body: the AuditEvent as JSON text."""

    id: str
    recorded: datetime
    organization: str
    client: str
    action: str
    outcome: str
    policy_row: str
    referral: str | None
    body: str


def insert_audit(unit: Unit, row: AuditRow) -> None:
    """Append a row. Raises Unavailable when it cannot be written: no audit row, no answer."""
    try:
        values = {name: getattr(row, name) for name in AuditRow.__slots__}
        _INSERT.run(unit, values)
        if unit.connection.dialect.name != "postgresql":
            _QUEUE.run(unit, values)
    except SQLAlchemyError as fault:
        raise Unavailable from fault


def _inserting(dialect: str) -> Any:
    """The row; on PostgreSQL, where each statement would cost a way to the server, its queue entry with it."""
    adding = insert(AUDIT).values({name: bindparam(name) for name in AuditRow.__slots__})
    if dialect != "postgresql":
        return adding
    added = adding.returning(AUDIT.c.recorded, AUDIT.c.id).cte("added")
    return insert(UNLINKED).from_select(["recorded", "id"], select(added.c.recorded, added.c.id))


_INSERT: Final = Statement(_inserting)
_QUEUE: Final = Statement(insert(UNLINKED))


def find_audit(
    unit: Unit, *, organization: str | None = None, client: str | None = None, referral: str | None = None, limit: int = 1000
) -> list[AuditRow]:
    """Rows in order of time, cut down to an organisation, client or referral where given; the first `limit` of them."""
    query = select(*(AUDIT.c[name] for name in AuditRow.__slots__))
    for column, wanted in ((AUDIT.c.organization, organization), (AUDIT.c.client, client), (AUDIT.c.referral, referral)):
        if wanted is not None:
            query = query.where(column == wanted)
    return [AuditRow(*row) for row in unit.connection.execute(query.order_by(AUDIT.c.recorded, AUDIT.c.id).limit(limit))]

"""Audit rows: one for each disclosure or refusal, in the transaction of what it tells of. Never changed, never deleted here."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Final

from sqlalchemy import Column, Index, Text, insert, select
from sqlalchemy.exc import SQLAlchemyError
from sqlmodel import Field

from gateway.errors import Unavailable
from gateway.store.database import Unit
from gateway.store.rows import Instant, Row


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


_AUDIT = AuditEventRow.__table__  # type: ignore[attr-defined]
_INSERT: Final = insert(_AUDIT)


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
        unit.connection.execute(_INSERT, {name: getattr(row, name) for name in AuditRow.__slots__})
    except SQLAlchemyError as fault:
        raise Unavailable from fault


def find_audit(
    unit: Unit, *, organization: str | None = None, client: str | None = None, referral: str | None = None, limit: int = 1000
) -> list[AuditRow]:
    """Rows in order of time, cut down to an organisation, client or referral where given; the first `limit` of them."""
    query = select(*(_AUDIT.c[name] for name in AuditRow.__slots__))
    for column, wanted in ((_AUDIT.c.organization, organization), (_AUDIT.c.client, client), (_AUDIT.c.referral, referral)):
        if wanted is not None:
            query = query.where(column == wanted)
    return [AuditRow(*row) for row in unit.connection.execute(query.order_by(_AUDIT.c.recorded, _AUDIT.c.id).limit(limit))]

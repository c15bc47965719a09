"""The referral's own row: its progress, its parts and its offers. Nobody but referral/ reads or writes it.

No column holds a person's data or free text: ids, codes and times only (`routing` and `issues` are codes and field names).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from sqlalchemy import Column, Index, Text, bindparam, insert, select, update
from sqlmodel import Field

from gateway.store.database import Unit
from gateway.store.rows import Instant, Row


class ReferralRow(Row, table=True):
    """One referral of one sender; `receipt` is what the sender knows it by."""

    __tablename__ = "referral"
    __table_args__ = (Index("referral_of_message", "organization", "format", "message_key", unique=True),)

    id: str = Field(primary_key=True)
    receipt: str = Field(unique=True)
    organization: str
    format: str
    message_key: str
    revision: int
    protocol: str
    phase: str  # open, accepted, returned, closed
    round: int
    rerouted: bool = False  # a newer message has changed what an open referral asks for, in this round
    routing: str = Field(sa_column=Column(Text, nullable=False))
    issues: str = Field(sa_column=Column(Text, nullable=False))
    next_step: str = Field(sa_column=Column(Text, nullable=False))
    view_word: str
    view_since: datetime = Field(sa_type=Instant)
    entered_at: datetime = Field(sa_type=Instant)
    final_at: datetime = Field(sa_type=Instant)
    closes_at: datetime = Field(sa_type=Instant)
    accepted_by: str | None = None
    accepted_at: datetime | None = Field(default=None, sa_type=Instant)
    en_route_at: datetime | None = Field(default=None, sa_type=Instant)
    on_scene_at: datetime | None = Field(default=None, sa_type=Instant)
    contact_made_at: datetime | None = Field(default=None, sa_type=Instant)
    engaged_at: datetime | None = Field(default=None, sa_type=Instant)
    not_engaged_at: datetime | None = Field(default=None, sa_type=Instant)
    returned_at: datetime | None = Field(default=None, sa_type=Instant)
    cancelled_at: datetime | None = Field(default=None, sa_type=Instant)
    closed_at: datetime | None = Field(default=None, sa_type=Instant)


class ReferralPartRow(Row, table=True):
    """Which resource of the sender's domain stands for which part of its message."""

    __tablename__ = "referral_part"

    referral: str = Field(primary_key=True)
    name: str = Field(primary_key=True)
    resource_type: str
    resource_id: str = Field(index=True)


class OfferRow(Row, table=True):
    """One offer to one organisation; it never reopens."""

    __tablename__ = "offer"

    id: str = Field(primary_key=True)
    referral: str
    round: int
    receiver: str
    service: str
    task_id: str = Field(unique=True)
    placer: str = Field(unique=True)
    state: str  # open, accepted, declined, expired, withdrawn, revoked, given-back, completed
    offered_at: datetime = Field(sa_type=Instant)
    accept_by: datetime = Field(sa_type=Instant)
    ended_at: datetime | None = Field(default=None, sa_type=Instant)

    __table_args__ = (Index("offer_of_referral", "referral", "offered_at"),)


class RoutingDecisionRow(Row, table=True):
    """Every decision routing took, with its inputs, so that it can be replayed."""

    __tablename__ = "routing_decision"

    id: str = Field(primary_key=True)
    referral: str = Field(index=True)
    decided_at: datetime = Field(sa_type=Instant)
    rule: str
    protocol: str
    snapshot: str = Field(sa_column=Column(Text, nullable=False))
    chosen: str | None = None


@dataclass(frozen=True, slots=True)
class Part:
    """A part of a message and the resource that holds it."""

    name: str
    resource_type: str
    resource_id: str


_REFERRAL = ReferralRow.__table__  # type: ignore[attr-defined]
_PART = ReferralPartRow.__table__  # type: ignore[attr-defined]
_OFFER = OfferRow.__table__  # type: ignore[attr-defined]
_DECISION = RoutingDecisionRow.__table__  # type: ignore[attr-defined]


_INSERT: Final = {table: insert(table) for table in (_REFERRAL, _PART, _OFFER, _DECISION)}
_REFERRAL_BY_ID: Final = select(_REFERRAL).where(_REFERRAL.c.id == bindparam("key"))
_REFERRAL_BY_RECEIPT: Final = select(_REFERRAL).where(_REFERRAL.c.receipt == bindparam("key"))
_REFERRAL_BY_MESSAGE: Final = select(_REFERRAL).where(
    _REFERRAL.c.organization == bindparam("organization"),
    _REFERRAL.c.format == bindparam("format"),
    _REFERRAL.c.message_key == bindparam("message_key"),
)
_PARTS_OF: Final = select(_PART).where(_PART.c.referral == bindparam("key")).order_by(_PART.c.name)
_OFFERS_OF: Final = select(_OFFER).where(_OFFER.c.referral == bindparam("key")).order_by(_OFFER.c.offered_at, _OFFER.c.id)
_OFFER_BY_ID: Final = select(_OFFER).where(_OFFER.c.id == bindparam("key"))
_OFFER_BY_TASK: Final = select(_OFFER).where(_OFFER.c.task_id == bindparam("key"))


def _one(unit: Unit, statement: Any, **asked: str) -> dict[str, Any] | None:
    row = unit.connection.execute(statement, asked).mappings().first()
    return dict(row) if row is not None else None


def add_referral(unit: Unit, values: dict[str, Any]) -> ReferralRow:
    """Insert a referral; `values` are its columns."""
    unit.connection.execute(_INSERT[_REFERRAL], values)
    return ReferralRow(**values)


def find_referral(unit: Unit, referral_id: str) -> ReferralRow | None:
    """Read a referral by id; take the ledger's lock first when what is read decides a write."""
    found = _one(unit, _REFERRAL_BY_ID, key=referral_id)
    return ReferralRow(**found) if found else None


def find_by_receipt(unit: Unit, receipt: str, organization: str) -> ReferralRow | None:
    """Read a sender's own referral; a foreign receipt is as unknown as one that never was."""
    found = _one(unit, _REFERRAL_BY_RECEIPT, key=receipt)
    return ReferralRow(**found) if found and found["organization"] == organization else None


def find_by_any_receipt(unit: Unit, receipt: str) -> ReferralRow | None:
    """Read a referral by its receipt alone: for the operator's commands, never for a caller."""
    found = _one(unit, _REFERRAL_BY_RECEIPT, key=receipt)
    return ReferralRow(**found) if found else None


def find_by_message(unit: Unit, organization: str, format_name: str, message_key: str) -> ReferralRow | None:
    """Read the referral a sender's message key stands for."""
    found = _one(unit, _REFERRAL_BY_MESSAGE, organization=organization, format=format_name, message_key=message_key)
    return ReferralRow(**found) if found else None


def change_referral(unit: Unit, referral_id: str, **values: Any) -> None:
    """Set columns of a referral whose ledger head this unit has locked."""
    unit.connection.execute(update(_REFERRAL).where(_REFERRAL.c.id == referral_id).values(**values))


def add_parts(unit: Unit, referral_id: str, parts: Sequence[Part]) -> None:
    """Note which resources hold the parts of the message."""
    if parts:
        rows = [
            {"referral": referral_id, "name": part.name, "resource_type": part.resource_type, "resource_id": part.resource_id}
            for part in parts
        ]
        unit.connection.execute(_INSERT[_PART], rows)


def parts_of(unit: Unit, referral_id: str) -> list[Part]:
    """The parts of a referral, ordered by name."""
    rows = unit.connection.execute(_PARTS_OF, {"key": referral_id}).mappings()
    return [Part(row["name"], row["resource_type"], row["resource_id"]) for row in rows]


def referrals_with_resource(unit: Unit, resource_id: str) -> list[str]:
    """The referrals a resource of the sender's domain is part of, oldest first."""
    rows = unit.connection.execute(select(_PART.c.referral).where(_PART.c.resource_id == resource_id).order_by(_PART.c.referral))
    return [row[0] for row in rows]


def add_offer(unit: Unit, offer: OfferRow) -> None:
    """Insert an offer."""
    unit.connection.execute(_INSERT[_OFFER], offer.model_dump())


def offers_of(unit: Unit, referral_id: str) -> list[OfferRow]:
    """All offers of a referral, oldest first."""
    return [OfferRow(**row) for row in unit.connection.execute(_OFFERS_OF, {"key": referral_id}).mappings()]


def find_offer(unit: Unit, offer_id: str) -> OfferRow | None:
    """Read one offer by id."""
    found = _one(unit, _OFFER_BY_ID, key=offer_id)
    return OfferRow(**found) if found else None


def offer_of_task(unit: Unit, task_id: str) -> OfferRow | None:
    """Read the offer a receiver's Task stands for."""
    found = _one(unit, _OFFER_BY_TASK, key=task_id)
    return OfferRow(**found) if found else None


def change_offer(unit: Unit, offer_id: str, **values: Any) -> None:
    """Set columns of an offer whose referral's ledger head this unit has locked."""
    unit.connection.execute(update(_OFFER).where(_OFFER.c.id == offer_id).values(**values))


def keep_decision(unit: Unit, values: dict[str, Any]) -> None:
    """Store one routing decision; `values` are its columns."""
    unit.connection.execute(_INSERT[_DECISION], values)


def decisions_of(unit: Unit, referral_id: str) -> list[dict[str, Any]]:
    """Every decision taken for a referral, oldest first."""
    rows = unit.connection.execute(select(_DECISION).where(_DECISION.c.referral == referral_id).order_by(_DECISION.c.id)).mappings()
    return [dict(row) for row in rows]

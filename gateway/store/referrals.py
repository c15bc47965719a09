"""The referral's own row: its progress, its parts and its offers. Nobody but referral/ reads or writes it.

No column holds a person's data or free text: ids, codes and times only (`routing` and `issues` are codes and field names).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from typing import Any, Final

from sqlalchemy import Column, Index, Text, bindparam, insert, select, update
from sqlmodel import Field

from gateway.store.database import Unit
from gateway.store.rows import KEYED, Instant, Row
from gateway.store.statements import Rows, Statement


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
    __table_args__ = (KEYED,)

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
class Referral:
    """A row of `referral` as read."""

    id: str
    receipt: str
    organization: str
    format: str
    message_key: str
    revision: int
    protocol: str
    phase: str
    round: int
    rerouted: bool
    routing: str
    issues: str
    next_step: str
    view_word: str
    view_since: datetime
    entered_at: datetime
    final_at: datetime
    closes_at: datetime
    accepted_by: str | None = None
    accepted_at: datetime | None = None
    en_route_at: datetime | None = None
    on_scene_at: datetime | None = None
    contact_made_at: datetime | None = None
    engaged_at: datetime | None = None
    not_engaged_at: datetime | None = None
    returned_at: datetime | None = None
    cancelled_at: datetime | None = None
    closed_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Offer:
    """A row of `offer` as read."""

    id: str
    referral: str
    round: int
    receiver: str
    service: str
    task_id: str
    placer: str
    state: str
    offered_at: datetime
    accept_by: datetime
    ended_at: datetime | None = None


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


_REFERRAL_COLUMNS: Final = [_REFERRAL.c[name] for name in Referral.__slots__]
_OFFER_COLUMNS: Final = [_OFFER.c[name] for name in Offer.__slots__]
_KEY: Final[Any] = bindparam("key")
_ADD_REFERRAL: Final = Statement(insert(_REFERRAL))
_ADD_PARTS: Final = Rows(_PART)
_ADD_OFFER: Final = Statement(insert(_OFFER))
_ADD_DECISION: Final = Statement(insert(_DECISION))
_REFERRAL_BY_ID: Final = Statement(select(*_REFERRAL_COLUMNS).where(_REFERRAL.c.id == _KEY))
_REFERRAL_BY_RECEIPT: Final = Statement(select(*_REFERRAL_COLUMNS).where(_REFERRAL.c.receipt == _KEY))
_REFERRAL_BY_MESSAGE: Final = Statement(
    select(*_REFERRAL_COLUMNS).where(
        _REFERRAL.c.organization == bindparam("sender"),
        _REFERRAL.c.format == bindparam("form"),
        _REFERRAL.c.message_key == _KEY,
    )
)
_PARTS_OF: Final = Statement(
    select(_PART.c.name, _PART.c.resource_type, _PART.c.resource_id).where(_PART.c.referral == _KEY).order_by(_PART.c.name)
)
_WITH_RESOURCE: Final = Statement(select(_PART.c.referral).where(_PART.c.resource_id == _KEY).order_by(_PART.c.referral))
_OFFERS_OF: Final = Statement(select(*_OFFER_COLUMNS).where(_OFFER.c.referral == _KEY).order_by(_OFFER.c.offered_at, _OFFER.c.id))
_OFFER_BY_ID: Final = Statement(select(*_OFFER_COLUMNS).where(_OFFER.c.id == _KEY))
_OFFER_BY_TASK: Final = Statement(select(*_OFFER_COLUMNS).where(_OFFER.c.task_id == _KEY))


@cache
def _changing(table: Any, names: tuple[str, ...]) -> Statement:
    return Statement(update(table).where(table.c.id == _KEY).values({name: bindparam(name) for name in names}))


def add_referral(unit: Unit, referral: Referral) -> None:
    """Insert a referral."""
    _ADD_REFERRAL.run(unit, _columns(referral))


def _columns(row: Referral | Offer) -> dict[str, Any]:
    return {name: getattr(row, name) for name in row.__slots__}


def _referral(unit: Unit, statement: Statement, values: dict[str, Any]) -> Referral | None:
    row = statement.first(unit, values)
    return Referral(*row) if row is not None else None


def find_referral(unit: Unit, referral_id: str) -> Referral | None:
    """Read a referral by id; take the ledger's lock first when what is read decides a write."""
    return _referral(unit, _REFERRAL_BY_ID, {"key": referral_id})


def find_by_receipt(unit: Unit, receipt: str, organization: str) -> Referral | None:
    """Read a sender's own referral; a foreign receipt is as unknown as one that never was."""
    found = _referral(unit, _REFERRAL_BY_RECEIPT, {"key": receipt})
    return found if found and found.organization == organization else None


def find_by_any_receipt(unit: Unit, receipt: str) -> Referral | None:
    """Read a referral by its receipt alone: for the operator's commands, never for a caller."""
    return _referral(unit, _REFERRAL_BY_RECEIPT, {"key": receipt})


def find_by_message(unit: Unit, organization: str, format_name: str, message_key: str) -> Referral | None:
    """Read the referral a sender's message key stands for."""
    return _referral(unit, _REFERRAL_BY_MESSAGE, {"sender": organization, "form": format_name, "key": message_key})


def change_referral(unit: Unit, referral_id: str, **values: Any) -> None:
    """Set columns of a referral whose ledger head this unit has locked."""
    _changing(_REFERRAL, tuple(values)).run(unit, {"key": referral_id, **values})


def add_parts(unit: Unit, referral_id: str, parts: Sequence[Part]) -> None:
    """Note which resources hold the parts of the message."""
    _ADD_PARTS.write(
        unit,
        [
            {"referral": referral_id, "name": part.name, "resource_type": part.resource_type, "resource_id": part.resource_id}
            for part in parts
        ],
    )


def parts_of(unit: Unit, referral_id: str) -> list[Part]:
    """The parts of a referral, ordered by name."""
    return [Part(*row) for row in _PARTS_OF.all(unit, {"key": referral_id})]


def referrals_with_resource(unit: Unit, resource_id: str) -> list[str]:
    """The referrals a resource of the sender's domain is part of, oldest first."""
    return _WITH_RESOURCE.scalars(unit, {"key": resource_id})


def add_offer(unit: Unit, offer: Offer) -> None:
    """Insert an offer."""
    _ADD_OFFER.run(unit, _columns(offer))


def offers_of(unit: Unit, referral_id: str) -> list[Offer]:
    """All offers of a referral, oldest first."""
    return [Offer(*row) for row in _OFFERS_OF.all(unit, {"key": referral_id})]


def find_offer(unit: Unit, offer_id: str) -> Offer | None:
    """Read one offer by id."""
    row = _OFFER_BY_ID.first(unit, {"key": offer_id})
    return Offer(*row) if row is not None else None


def offer_of_task(unit: Unit, task_id: str) -> Offer | None:
    """Read the offer a receiver's Task stands for."""
    row = _OFFER_BY_TASK.first(unit, {"key": task_id})
    return Offer(*row) if row is not None else None


def change_offer(unit: Unit, offer_id: str, **values: Any) -> None:
    """Set columns of an offer whose referral's ledger head this unit has locked."""
    _changing(_OFFER, tuple(values)).run(unit, {"key": offer_id, **values})


def keep_decision(unit: Unit, values: dict[str, Any]) -> None:
    """Store one routing decision; `values` are its columns."""
    _ADD_DECISION.run(unit, values)

"""Permits, and the parties to a referral they follow from.

`visible` holds permits only: no row, a row of another policy epoch or one outside its time means hidden. Only
`gateway.access.records` imports this module; it writes rows, the evaluator in `gateway.access` decides which.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from typing import Any, Final

from sqlalchemy import ColumnElement, Index, bindparam, delete, func, insert, select, update
from sqlmodel import Field

from gateway.store.criteria import BASE, Principal
from gateway.store.database import Unit
from gateway.store.destinations import upserting
from gateway.store.rows import Instant, Row


class VisibleRow(Row, table=True):
    """One permit: this organisation, for this purpose, may see this element class of this resource from then till then."""

    __tablename__ = "visible"
    __table_args__ = (
        Index("visible_page", "organization", "purpose", "type", "element_class", "last_updated", "resource"),
        Index("visible_of", "resource", "organization"),
    )

    organization: str = Field(primary_key=True)
    purpose: str = Field(primary_key=True)
    type: str
    last_updated: datetime = Field(sa_type=Instant)
    resource: str = Field(primary_key=True)
    element_class: str = Field(primary_key=True)
    valid_from: datetime = Field(sa_type=Instant, primary_key=True)
    valid_to: datetime = Field(sa_type=Instant)
    policy_epoch: str


class PartyRow(Row, table=True):
    """An organisation that is or was party to a referral. role: "sender" or "addressee"."""

    __tablename__ = "party"

    referral: str = Field(primary_key=True)
    organization: str = Field(primary_key=True)
    role: str
    opened_at: datetime = Field(sa_type=Instant)
    closed_at: datetime | None = Field(default=None, sa_type=Instant)
    keeps_task: bool = False


class GrantRow(Row, table=True):
    """An organisation's directory entry that another organisation may read, because they share a referral."""

    __tablename__ = "directory_grant"

    organization: str = Field(primary_key=True)
    reader: str = Field(primary_key=True)


_VISIBLE = VisibleRow.__table__  # type: ignore[attr-defined]
_PARTY = PartyRow.__table__  # type: ignore[attr-defined]
_GRANT = GrantRow.__table__  # type: ignore[attr-defined]


_IDS: Final[Any] = bindparam("ids", expanding=True)
_DELETE_PERMITS: Final = delete(_VISIBLE).where(_VISIBLE.c.resource.in_(_IDS))
_PARTIES: Final = select(_PARTY).where(_PARTY.c.referral.in_(_IDS)).order_by(_PARTY.c.referral, _PARTY.c.organization)
_ONE_PARTY: Final = select(_PARTY.c.referral).where(
    _PARTY.c.referral == bindparam("referral"), _PARTY.c.organization == bindparam("organization")
)
_VISIBLE_IDS: Final = select(_VISIBLE.c.resource).where(
    _VISIBLE.c.organization == bindparam("organization"),
    _VISIBLE.c.purpose == bindparam("purpose"),
    _VISIBLE.c.policy_epoch == bindparam("policy_epoch"),
    _VISIBLE.c.valid_from <= bindparam("at", type_=Instant),
    _VISIBLE.c.valid_to > bindparam("at", type_=Instant),
    _VISIBLE.c.element_class == BASE,
    _VISIBLE.c.resource.in_(_IDS),
)
"""As `permitted`, put together once: it is asked at every read."""


@dataclass(frozen=True, slots=True)
class Party:
    """A row of `party`."""

    referral: str
    organization: str
    role: str
    closed: bool
    keeps_task: bool


def permitted(principal: Principal, table: Any = _VISIBLE) -> ColumnElement[bool]:
    """The condition that a row of `visible` is a permit of this principal that stands at this time."""
    columns = table.c
    condition: ColumnElement[bool] = (
        (columns.organization == principal.organization)
        & (columns.purpose == principal.purpose)
        & (columns.policy_epoch == principal.policy_epoch)
        & (columns.valid_from <= principal.at)
        & (columns.valid_to > principal.at)
    )
    return condition


def replace_permits(unit: Unit, resource_ids: Sequence[str], permits: Iterable[Mapping[str, Any]]) -> None:
    """Put the permits of some resources in the place of all they had. permits: columns of `visible`."""
    for start in range(0, len(resource_ids), 500):
        unit.connection.execute(_DELETE_PERMITS, {"ids": list(resource_ids[start : start + 500])})
    rows = [dict(permit) for permit in permits]
    if rows:
        unit.connection.execute(_putting(unit.connection.dialect.name), rows)


@cache
def _putting(dialect: str) -> Any:
    """Insert permits; one that another transaction has just put there as well is replaced, for both were decided alike."""
    statement = upserting(dialect, _VISIBLE)
    keys = [column.name for column in _VISIBLE.primary_key]
    others = {column.name: statement.excluded[column.name] for column in _VISIBLE.columns if column.name not in keys}
    return statement.on_conflict_do_update(index_elements=keys, set_=others)


def visible_ids(unit: Unit, principal: Principal, resource_ids: Iterable[str]) -> frozenset[str]:
    """Which of these resources the principal may know of."""
    wanted = sorted(set(resource_ids))
    if not wanted:
        return frozenset()
    asked = {
        "organization": principal.organization,
        "purpose": principal.purpose,
        "policy_epoch": principal.policy_epoch,
        "at": principal.at,
        "ids": wanted,
    }
    return frozenset(row[0] for row in unit.connection.execute(_VISIBLE_IDS, asked))


def open_party(unit: Unit, referral: str, organization: str, role: str) -> None:
    """Make an organisation party to a referral, or open it again."""
    unit.connection.execute(delete(_PARTY).where(_PARTY.c.referral == referral, _PARTY.c.organization == organization))
    unit.connection.execute(
        insert(_PARTY).values(referral=referral, organization=organization, role=role, opened_at=unit.now, keeps_task=False)
    )


def close_party(unit: Unit, referral: str, organization: str, *, keeps_task: bool) -> None:
    """End an organisation's part in a referral."""
    unit.connection.execute(
        update(_PARTY)
        .where(_PARTY.c.referral == referral, _PARTY.c.organization == organization)
        .values(closed_at=unit.now, keeps_task=keeps_task)
    )


def parties_in(unit: Unit, referrals: Iterable[str]) -> dict[str, list[Party]]:
    """The parties of each of these referrals, closed ones included."""
    wanted = sorted(set(referrals))
    found: dict[str, list[Party]] = {referral: [] for referral in wanted}
    if wanted:
        for row in unit.connection.execute(_PARTIES, {"ids": wanted}).mappings():
            party = Party(row["referral"], row["organization"], row["role"], row["closed_at"] is not None, row["keeps_task"])
            found[party.referral].append(party)
    return found


def is_party(unit: Unit, referral: str, organization: str) -> bool:
    """Whether an organisation is or was party to a referral."""
    return unit.connection.execute(_ONE_PARTY, {"referral": referral, "organization": organization}).first() is not None


def add_grant(unit: Unit, organization: str, reader: str) -> bool:
    """Let `reader` read the directory entry of `organization`; False when it already may.

    On PostgreSQL the first grants of one organisation wait for each other, to the end of their transactions, so that each sees
    those before it.
    """
    if reader in readers_of(unit, organization):
        return False
    if unit.connection.dialect.name == "postgresql":
        number = int.from_bytes(hashlib.sha256(f"grant\0{organization}".encode()).digest()[:8], signed=True)
        unit.connection.execute(select(func.pg_advisory_xact_lock(number)))
    granting = upserting(unit.connection.dialect.name, _GRANT).on_conflict_do_nothing()
    return bool(unit.connection.execute(granting, {"organization": organization, "reader": reader}).rowcount)


def readers_of(unit: Unit, organization: str) -> list[str]:
    """Who was given the directory entry of an organisation."""
    query = select(_GRANT.c.reader).where(_GRANT.c.organization == organization).order_by(_GRANT.c.reader)
    return [row[0] for row in unit.connection.execute(query)]

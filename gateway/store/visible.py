"""Permits, and the parties to a referral they follow from.

`visible` holds permits only: no row, a row of another policy epoch or one outside its time means hidden. Only
`gateway.access.records` imports this module; it writes rows, the evaluator in `gateway.access` decides which.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from sqlalchemy import BigInteger, ColumnElement, Index, and_, bindparam, delete, func, literal_column, select, update
from sqlmodel import Field

from gateway.store.criteria import Principal
from gateway.store.database import Unit
from gateway.store.rows import KEYED, Instant, Row
from gateway.store.statements import Rows, Statement, one_of, upserting


class VisibleRow(Row, table=True):
    """One permit: this organisation, for this purpose, may see these element classes of this resource from then till then.

    The spans of one resource do not overlap. element_classes: as `spelt` writes them; "base" is always among them.
    """

    __tablename__ = "visible"
    __table_args__ = (
        Index("visible_page", "organization", "purpose", "type", "last_updated", "resource"),
        Index("visible_of", "resource", "organization"),
        KEYED,
    )

    organization: str = Field(primary_key=True)
    purpose: str = Field(primary_key=True)
    type: str
    last_updated: datetime = Field(sa_type=Instant)
    resource: str = Field(primary_key=True)
    element_classes: str
    valid_from: datetime = Field(sa_type=Instant, primary_key=True)
    valid_to: datetime = Field(sa_type=Instant)
    policy_epoch: str


class PartyRow(Row, table=True):
    """An organisation that is or was party to a referral. role: "sender" or "addressee"."""

    __tablename__ = "party"
    __table_args__ = (KEYED,)

    referral: str = Field(primary_key=True)
    organization: str = Field(primary_key=True)
    role: str
    opened_at: datetime = Field(sa_type=Instant)
    closed_at: datetime | None = Field(default=None, sa_type=Instant)
    keeps_task: bool = False


class GrantRow(Row, table=True):
    """An organisation's directory entry that another organisation may read, because they share a referral."""

    __tablename__ = "directory_grant"
    __table_args__ = (KEYED,)

    organization: str = Field(primary_key=True)
    reader: str = Field(primary_key=True)


_VISIBLE = VisibleRow.__table__  # type: ignore[attr-defined]
_PARTY = PartyRow.__table__  # type: ignore[attr-defined]
_GRANT = GrantRow.__table__  # type: ignore[attr-defined]


def _replacing(statement: Any) -> Any:
    """An INSERT that puts its row in the place of the one that has its key."""
    keys = [column.name for column in statement.table.primary_key]
    others = {column.name: statement.excluded[column.name] for column in statement.table.columns if column.name not in keys}
    return statement.on_conflict_do_update(index_elements=keys, set_=others)


_PERMITS: Final = Rows(_VISIBLE, _replacing)
_DELETE_PERMITS: Final = Statement(lambda dialect: delete(_VISIBLE).where(one_of(_VISIBLE.c.resource, "ids", dialect)))
_THIS_PARTY: Final = and_(_PARTY.c.referral == bindparam("in_referral"), _PARTY.c.organization == bindparam("of"))
_PARTIES: Final = Statement(
    lambda dialect: (
        select(*(_PARTY.c[name] for name in ("referral", "organization", "role", "closed_at", "keeps_task")))
        .where(one_of(_PARTY.c.referral, "ids", dialect))
        .order_by(_PARTY.c.referral, _PARTY.c.organization)
    )
)
_ONE_PARTY: Final = Statement(select(_PARTY.c.referral).where(_THIS_PARTY))
_PARTIES_TO_PUT: Final = Rows(_PARTY, _replacing)
_CLOSE_PARTY: Final = Statement(
    update(_PARTY).where(_THIS_PARTY).values(closed_at=bindparam("closed_at"), keeps_task=bindparam("keeps_task"))
)
_GRANTING: Final = Statement(lambda dialect: upserting(dialect, _GRANT).on_conflict_do_nothing())
_LOCK: Final = Statement(select(func.pg_advisory_xact_lock(bindparam("number", type_=BigInteger))))
_READERS: Final = Statement(select(_GRANT.c.reader).where(_GRANT.c.organization == bindparam("of")).order_by(_GRANT.c.reader))


@dataclass(frozen=True, slots=True)
class Party:
    """A row of `party`."""

    referral: str
    organization: str
    role: str
    closed: bool
    keeps_task: bool


def permitted(table: Any) -> ColumnElement[bool]:
    """The condition that a row of `visible` is a permit that stands, for whom `asked_by` says."""
    columns = table.c
    return and_(
        columns.organization == bindparam("of"),
        columns.purpose == bindparam("for_purpose"),
        columns.policy_epoch == bindparam("epoch"),
        columns.valid_from <= bindparam("at", type_=Instant),
        columns.valid_to > bindparam("at", type_=Instant),
    )


def asked_by(principal: Principal) -> dict[str, Any]:
    """The values that `permitted` needs."""
    return {
        "of": principal.organization,
        "for_purpose": principal.purpose,
        "epoch": principal.policy_epoch,
        "at": principal.at,
    }


def opens(permit: Any, element_class: Any, dialect: str) -> ColumnElement[bool]:
    """The condition that a permit opens index rows of an element class."""
    line: Any = literal_column("chr(10)" if dialect == "postgresql" else "char(10)")
    place = func.strpos if dialect == "postgresql" else func.instr
    return place(permit.c.element_classes, line.concat(element_class).concat(line)) > literal_column("0")


def spelt(element_classes: Iterable[str]) -> str:
    """Element classes as a permit keeps them: one a line, with a line end before the first as well."""
    return "".join(f"\n{name}" for name in sorted(element_classes)) + "\n"


_VISIBLE_IDS: Final = Statement(
    lambda dialect: select(_VISIBLE.c.resource).where(permitted(_VISIBLE), one_of(_VISIBLE.c.resource, "ids", dialect))
)


def replace_permits(unit: Unit, resource_ids: Sequence[str], permits: Iterable[Mapping[str, Any]]) -> None:
    """Put the permits of some resources in the place of all they had. permits: columns of `visible`."""
    for start in range(0, len(resource_ids), 500):
        _DELETE_PERMITS.run(unit, {"ids": list(resource_ids[start : start + 500])})
    add_permits(unit, permits)


def add_permits(unit: Unit, permits: Iterable[Mapping[str, Any]]) -> None:
    """Write permits, columns of `visible`; one that stands already, or that another transaction has just put there, is replaced."""
    _PERMITS.write(unit, list(permits))


def visible_ids(unit: Unit, principal: Principal, resource_ids: Iterable[str]) -> frozenset[str]:
    """Which of these resources the principal may know of."""
    wanted = sorted(set(resource_ids))
    if not wanted:
        return frozenset()
    return frozenset(_VISIBLE_IDS.scalars(unit, {**asked_by(principal), "ids": wanted}))


def open_party(unit: Unit, referral: str, organization: str, role: str) -> None:
    """Make an organisation party to a referral, or open it again."""
    party = {"referral": referral, "organization": organization, "role": role}
    _PARTIES_TO_PUT.write(unit, [{**party, "opened_at": unit.now, "closed_at": None, "keeps_task": False}])


def close_party(unit: Unit, referral: str, organization: str, *, keeps_task: bool) -> None:
    """End an organisation's part in a referral."""
    _CLOSE_PARTY.run(unit, {"in_referral": referral, "of": organization, "closed_at": unit.now, "keeps_task": keeps_task})


def parties_in(unit: Unit, referrals: Iterable[str]) -> dict[str, list[Party]]:
    """The parties of each of these referrals, closed ones included."""
    wanted = sorted(set(referrals))
    found: dict[str, list[Party]] = {referral: [] for referral in wanted}
    if wanted:
        for referral, organization, role, closed_at, keeps_task in _PARTIES.all(unit, {"ids": wanted}):
            found[referral].append(Party(referral, organization, role, closed_at is not None, keeps_task))
    return found


def is_party(unit: Unit, referral: str, organization: str) -> bool:
    """Whether an organisation is or was party to a referral."""
    return _ONE_PARTY.first(unit, {"in_referral": referral, "of": organization}) is not None


def add_grant(unit: Unit, organization: str, reader: str) -> bool:
    """Let `reader` read the directory entry of `organization`; False when it already may.

    On PostgreSQL the first grants of one organisation wait for each other, to the end of their transactions, so that each sees
    those before it.
    """
    if reader in readers_of(unit, organization):
        return False
    if unit.connection.dialect.name == "postgresql":
        number = int.from_bytes(hashlib.sha256(f"grant\0{organization}".encode()).digest()[:8], signed=True)
        _LOCK.first(unit, {"number": number})
    return bool(_GRANTING.run(unit, {"organization": organization, "reader": reader}))


def readers_of(unit: Unit, organization: str) -> list[str]:
    """Who was given the directory entry of an organisation."""
    return _READERS.scalars(unit, {"of": organization})

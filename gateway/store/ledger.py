"""The responsibility ledger's tables: entries that are only ever added, and one head a referral to lock.

Which entry may follow is decided in referral/responsibility.py; here is only order and durability.
"""

from __future__ import annotations

import json
from typing import Any, Final

from sqlalchemy import Column, Text, bindparam, insert, select, update
from sqlmodel import Field

from gateway.store.database import Unit
from gateway.store.rows import Row


class LedgerHeadRow(Row, table=True):
    """The newest entry of a referral's ledger, and who holds the referral now. Every move locks it first."""

    __tablename__ = "ledger_head"

    referral: str = Field(primary_key=True)
    sequence: int
    holder: str
    hash: str
    closed: bool = False


class LedgerEntryRow(Row, table=True):
    """One entry as canonical JSON text; its primary key makes a second entry of one number impossible."""

    __tablename__ = "ledger_entry"

    referral: str = Field(primary_key=True)
    sequence: int = Field(primary_key=True)
    content: str = Field(sa_column=Column(Text, nullable=False))


_HEAD = LedgerHeadRow.__table__  # type: ignore[attr-defined]
_ENTRY = LedgerEntryRow.__table__  # type: ignore[attr-defined]
_ADD_HEAD: Final = insert(_HEAD)
_LOCK_HEAD: Final = select(_HEAD).where(_HEAD.c.referral == bindparam("key")).with_for_update()
_MOVE_HEAD: Final = (
    update(_HEAD)
    .where(_HEAD.c.referral == bindparam("key"))
    .values({name: bindparam(name) for name in ("sequence", "holder", "hash", "closed")})
)
_ADD_ENTRY: Final = insert(_ENTRY)
_ENTRIES_OF: Final = select(_ENTRY.c.content).where(_ENTRY.c.referral == bindparam("key")).order_by(_ENTRY.c.sequence)


def open_ledger(unit: Unit, referral_id: str, holder: str) -> None:
    """Create the head of a new referral, before its first entry."""
    unit.connection.execute(_ADD_HEAD, {"referral": referral_id, "sequence": 0, "holder": holder, "hash": "", "closed": False})


def lock_head(unit: Unit, referral_id: str) -> LedgerHeadRow | None:
    """Take the referral's lock for the rest of this unit (a row lock on PostgreSQL; the write section on SQLite)."""
    row = unit.connection.execute(_LOCK_HEAD, {"key": referral_id}).mappings().first()
    return LedgerHeadRow(**row) if row is not None else None


def holder_of(unit: Unit, referral_id: str) -> str | None:
    """Who holds a referral, without taking the lock."""
    return unit.connection.execute(select(_HEAD.c.holder).where(_HEAD.c.referral == referral_id)).scalar_one_or_none()


def add_entry(unit: Unit, referral_id: str, sequence: int, content: dict[str, Any], *, holder: str, closed: bool) -> None:
    """Append an entry and move the head; the caller holds the lock."""
    text = json.dumps(content, sort_keys=True, separators=(",", ":"))
    unit.connection.execute(_ADD_ENTRY, {"referral": referral_id, "sequence": sequence, "content": text})
    moved = {"sequence": sequence, "holder": holder, "hash": content["hash"], "closed": closed}
    unit.connection.execute(_MOVE_HEAD, {"key": referral_id, **moved})


def entries_of(unit: Unit, referral_id: str) -> list[dict[str, Any]]:
    """All entries of a referral in order."""
    rows = unit.connection.execute(_ENTRIES_OF, {"key": referral_id})
    return [json.loads(row[0]) for row in rows]


def ledgers(unit: Unit) -> list[str]:
    """The ids of every referral that has a ledger."""
    return [row[0] for row in unit.connection.execute(select(_HEAD.c.referral).order_by(_HEAD.c.referral))]

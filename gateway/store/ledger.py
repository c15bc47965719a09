"""The responsibility ledger's tables: entries that are only ever added, and one head a referral to lock.

Which entry may follow is decided in referral/responsibility.py; here is only order and durability.
"""

from __future__ import annotations

import json
from typing import Any, Final

from sqlalchemy import Column, Text, bindparam, insert, select, update
from sqlmodel import Field

from gateway.store.database import Unit
from gateway.store.rows import KEYED, Row
from gateway.store.statements import Statement


class LedgerHeadRow(Row, table=True):
    """The newest entry of a referral's ledger, and who holds the referral now. Every move locks it first."""

    __tablename__ = "ledger_head"
    __table_args__ = (KEYED,)

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
_ADD_HEAD: Final = Statement(insert(_HEAD))
_LOCK_HEAD: Final = Statement(select(_HEAD.c.holder).where(_HEAD.c.referral == bindparam("key")).with_for_update())
_MOVE_HEAD: Final = Statement(
    update(_HEAD)
    .where(_HEAD.c.referral == bindparam("key"))
    .values({name: bindparam(name) for name in ("sequence", "holder", "hash", "closed")})
)
_ADD_ENTRY: Final = Statement(insert(_ENTRY))
_ENTRIES_OF: Final = Statement(select(_ENTRY.c.content).where(_ENTRY.c.referral == bindparam("key")).order_by(_ENTRY.c.sequence))


def open_ledger(unit: Unit, referral_id: str, holder: str) -> None:
    """Create the head of a new referral, before its first entry."""
    _ADD_HEAD.run(unit, {"referral": referral_id, "sequence": 0, "holder": holder, "hash": "", "closed": False})


def lock_head(unit: Unit, referral_id: str) -> bool:
    """Take the referral's lock for the rest of this unit (PostgreSQL: a row lock; SQLite: the write section); False: no ledger."""
    return _LOCK_HEAD.first(unit, {"key": referral_id}) is not None


def holder_of(unit: Unit, referral_id: str) -> str | None:
    """Who holds a referral, without taking the lock."""
    return unit.connection.execute(select(_HEAD.c.holder).where(_HEAD.c.referral == referral_id)).scalar_one_or_none()


def add_entry(unit: Unit, referral_id: str, sequence: int, content: dict[str, Any], *, holder: str, closed: bool) -> None:
    """Append an entry and move the head; the caller holds the lock."""
    text = json.dumps(content, sort_keys=True, separators=(",", ":"))
    _ADD_ENTRY.run(unit, {"referral": referral_id, "sequence": sequence, "content": text})
    moved = {"sequence": sequence, "holder": holder, "hash": content["hash"], "closed": closed}
    _MOVE_HEAD.run(unit, {"key": referral_id, **moved})


def entries_of(unit: Unit, referral_id: str) -> list[dict[str, Any]]:
    """All entries of a referral in order."""
    return [json.loads(content) for content in _ENTRIES_OF.scalars(unit, {"key": referral_id})]


def ledgers(unit: Unit) -> list[str]:
    """The ids of every referral that has a ledger."""
    return [row[0] for row in unit.connection.execute(select(_HEAD.c.referral).order_by(_HEAD.c.referral))]

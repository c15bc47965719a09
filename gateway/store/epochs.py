"""The consent epoch: a number that rises whenever what somebody may see narrows.

A disclosure is decided under the epoch it read and is written down only if that epoch still stands when it commits. On
SQLite the write section alone makes that true. On PostgreSQL who confirms holds a shared advisory lock to its commit, and who
narrows an exclusive one: a narrowing waits for disclosures under way, and none begun before it commits after it.

A transaction that meets a busy epoch lock while it holds row locks would wait for somebody who may be waiting for those rows.
It is rolled back instead and run again with the epoch lock taken first, so that no circle of waiting can form.
"""

from __future__ import annotations

from typing import Final

from sqlalchemy import func, insert, select, update
from sqlmodel import Field

from gateway.store.rows import Row
from gateway.store.statements import Statement
from gateway.store.units import RunAgain, Unit

_KEY: Final = 0x6372_6765  # one advisory lock a database
_NAME: Final = "consent"


class EpochMoved(Exception):
    """What somebody may see has narrowed since the decision: it must be taken again."""


class EpochRow(Row, table=True):
    """The one row holds the number; it is made by the first narrowing."""

    __tablename__ = "epoch"

    name: str = Field(primary_key=True)
    number: int


_EPOCH = EpochRow.__table__  # type: ignore[attr-defined]
_READ: Final = Statement(select(_EPOCH.c.number).where(_EPOCH.c.name == _NAME))
_RAISE: Final = Statement(update(_EPOCH).where(_EPOCH.c.name == _NAME).values(number=_EPOCH.c.number + 1))
_BEGIN: Final = Statement(insert(_EPOCH))
_TRY: Final = {
    "shared": Statement(select(func.pg_try_advisory_xact_lock_shared(_KEY))),
    "exclusive": Statement(select(func.pg_try_advisory_xact_lock(_KEY))),
}
_TAKE: Final = {
    "shared": Statement(select(func.pg_advisory_xact_lock_shared(_KEY))),
    "exclusive": Statement(select(func.pg_advisory_xact_lock(_KEY))),
}


def read_epoch(unit: Unit) -> int:
    """The epoch as this unit sees it; 0 before the first narrowing."""
    row = _READ.first(unit)
    return int(row[0]) if row is not None else 0


def narrow(unit: Unit) -> None:
    """Begin a new epoch: to be called by every write that takes from what somebody may see."""
    _hold(unit, "exclusive")
    if _RAISE.run(unit) == 0:
        _BEGIN.run(unit, {"name": _NAME, "number": 1})


def hold_epoch(unit: Unit) -> None:
    """Hold the epoch still for the rest of this write: what is decided in it from here on still holds when it commits."""
    _hold(unit, "shared")


def confirm_epoch(unit: Unit, seen: int) -> None:
    """Hold the epoch still for the rest of this write. Raises EpochMoved when it is not `seen` any more."""
    _hold(unit, "shared")
    if read_epoch(unit) != seen:
        raise EpochMoved


def _hold(unit: Unit, mode: str) -> None:
    """Take the epoch lock without waiting, or have the work run again with the lock first."""
    if unit.connection.dialect.name != "postgresql" or unit.advisory_locks.get(_KEY) in (mode, "exclusive"):
        return
    taken = _TRY[mode].first(unit)
    if taken is None or not taken[0]:
        raise RunAgain(_take_exclusive if mode == "exclusive" else _take_shared)
    unit.advisory_locks[_KEY] = mode


def _take_shared(unit: Unit) -> None:
    _TAKE["shared"].first(unit)
    unit.advisory_locks[_KEY] = "shared"


def _take_exclusive(unit: Unit) -> None:
    _TAKE["exclusive"].first(unit)
    unit.advisory_locks[_KEY] = "exclusive"

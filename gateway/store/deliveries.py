"""The outbox as a person sees it: what is due, what was given up or may have arrived, and what to do with it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from sqlalchemy import and_, func, literal_column, select, update

from gateway.store import destinations
from gateway.store.database import Unit
from gateway.store.outbox import LEASED, OUTBOX, State

TO_LOOK_AT: Final[tuple[Any, ...]] = (literal_column("'dead'"), literal_column("'unknown'"))


@dataclass(frozen=True, slots=True)
class Delivery:
    """A row as a person sees it."""

    id: str
    kind: str
    destination: str
    subject: str
    state: State
    generation: int
    sent_generation: int
    due_at: datetime
    attempt: int
    tries: int
    first_attempt_at: datetime | None
    finished_at: datetime | None
    last_status: int | None
    last_issue_codes: tuple[str, ...]


def dead_letters(unit: Unit) -> list[Delivery]:
    """What was given up, oldest first."""
    return _in_state(unit, "dead")


def unknowns(unit: Unit) -> list[Delivery]:
    """What may or may not have arrived, oldest first."""
    return _in_state(unit, "unknown")


def find_delivery(unit: Unit, delivery: str) -> Delivery | None:
    """One row by its id."""
    row = unit.connection.execute(select(OUTBOX).where(OUTBOX.c.id == delivery)).mappings().first()
    return _delivery(row) if row is not None else None


def replay(unit: Unit, delivery: str) -> bool:
    """Try a dead or unknown row again, now and under the same delivery id; False when it is neither."""
    row = unit.connection.execute(
        update(OUTBOX)
        .where(OUTBOX.c.id == delivery, OUTBOX.c.state.in_(("dead", "unknown")))
        .values(state="due", due_at=unit.now, tries=0, first_attempt_at=None, finished_at=None)
        .returning(OUTBOX.c.kind, OUTBOX.c.destination)
    ).first()
    if row is not None:
        destinations.let_through(unit, row.kind, row.destination)
    return row is not None


def discard(unit: Unit, delivery: str) -> bool:
    """Give up a dead or unknown row for good; False when it is neither."""
    looked_at = and_(OUTBOX.c.id == delivery, OUTBOX.c.state.in_(("dead", "unknown")))
    return unit.connection.execute(update(OUTBOX).where(looked_at).values(state="dropped", finished_at=unit.now)).rowcount == 1


def counts(unit: Unit) -> dict[tuple[str, str], int]:
    """Rows by (kind, state)."""
    rows = unit.connection.execute(select(OUTBOX.c.kind, OUTBOX.c.state, func.count()).group_by(OUTBOX.c.kind, OUTBOX.c.state))
    return {(kind, state): count for kind, state, count in rows}


def unfinished(unit: Unit) -> dict[tuple[str, str], int]:
    """Rows by (kind, state) that are not done and not dropped; through the indexes of these states, whatever was done before."""
    found: dict[tuple[str, str], int] = {}
    for states in (OUTBOX.c.state == literal_column("'due'"), OUTBOX.c.state.in_(LEASED), OUTBOX.c.state.in_(TO_LOOK_AT)):
        counted = select(OUTBOX.c.kind, OUTBOX.c.state, func.count()).where(states).group_by(OUTBOX.c.kind, OUTBOX.c.state)
        found |= {(kind, state): count for kind, state, count in unit.connection.execute(counted)}
    return found


def oldest_due(unit: Unit) -> dict[str, datetime]:
    """Since when the oldest row of each kind has been due, of those whose time has come."""
    is_overdue = and_(OUTBOX.c.state == literal_column("'due'"), OUTBOX.c.due_at <= unit.now)
    oldest = select(OUTBOX.c.kind, func.min(OUTBOX.c.due_at)).where(is_overdue).group_by(OUTBOX.c.kind)
    return {row[0]: row[1] for row in unit.connection.execute(oldest)}


def _in_state(unit: Unit, state: str) -> list[Delivery]:
    rows = unit.connection.execute(select(OUTBOX).where(OUTBOX.c.state == state).order_by(OUTBOX.c.id))
    return [_delivery(row) for row in rows.mappings()]


def _delivery(row: Any) -> Delivery:
    values = {name: row[name] for name in Delivery.__slots__}
    return Delivery(**{**values, "last_issue_codes": tuple(json.loads(row["last_issue_codes"]))})

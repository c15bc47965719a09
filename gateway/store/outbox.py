"""The outbox: what is still to be done or sent, written in the transaction that made it necessary.

A row holds no content and is one per (kind, destination, subject): a newer event marks it dirty by raising its generation,
and what leaves is the state of the sending time, so that nothing overtakes. States: due → claimed → (sending →) done, or
back to due, or dead (a person must look), unknown (it may have arrived; a person must look), dropped.

Each step of a worker is conditional on (lease token, attempt): who lost the lease changes nothing any more. How long to
wait and what an answer means is decided in delivery/retry.py, not here.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache
from typing import Any, Final, Literal

from sqlalchemy import Column, ColumnElement, Index, Text, UniqueConstraint, and_, case, func, literal, literal_column, select, text, update
from sqlmodel import Field

from gateway.store import destinations
from gateway.store.database import Unit
from gateway.store.ids import new_id
from gateway.store.rows import Instant, Row

State = Literal["due", "claimed", "sending", "done", "dead", "unknown", "dropped"]
Verdict = Literal["done", "retry", "dead", "unknown", "dropped"]
Dropped = Literal["dropped", "sent", "absent"]

REPEATABLE_KINDS: Final = frozenset({"callback"})
"""Kinds whose receiver tells a repetition by the delivery id, so that an interrupted sending is simply sent again."""


class OutboxRow(Row, table=True):
    """One job or delivery. No column holds content, a name or a peer's text."""

    __tablename__ = "outbox"
    __table_args__ = (
        UniqueConstraint("kind", "destination", "subject", name="uq_outbox_what"),
        Index(
            "ix_outbox_due",
            "kind",
            "destination",
            "due_at",
            "id",
            sqlite_where=text("state = 'due'"),
            postgresql_where=text("state = 'due'"),
        ),
        Index(
            "ix_outbox_leased",
            "kind",
            "destination",
            "lease_until",
            sqlite_where=text("state IN ('claimed', 'sending')"),
            postgresql_where=text("state IN ('claimed', 'sending')"),
        ),
        Index(
            "ix_outbox_to_look_at",
            "state",
            sqlite_where=text("state IN ('dead', 'unknown')"),
            postgresql_where=text("state IN ('dead', 'unknown')"),
        ),
    )

    id: str = Field(primary_key=True)
    kind: str
    destination: str
    subject: str
    state: str
    generation: int = 1  # raised by every event; higher than what was sent: dirty
    sending_generation: int = 0  # of the sending under way, or of the last one
    sent_generation: int = 0  # the last one the peer took
    held_generation: int = 0  # the first one the peer may hold; 0: it holds nothing
    due_at: datetime = Field(sa_type=Instant)
    lease_token: str | None = None
    lease_until: datetime | None = Field(default=None, sa_type=Instant)
    worker: str | None = None
    attempt: int = 0  # claims so far: with the token it fences off who lost the lease
    tries: int = 0  # failed tries since the last event; backoff counts them
    first_attempt_at: datetime | None = Field(default=None, sa_type=Instant)
    finished_at: datetime | None = Field(default=None, sa_type=Instant)
    last_status: int | None = None  # HTTP status of the peer's last answer; None: there was none
    last_issue_codes: str = Field(default="[]", sa_column=Column(Text, nullable=False))


OUTBOX: Final[Any] = OutboxRow.__table__  # type: ignore[attr-defined]
LEASED: Final[tuple[ColumnElement[str], ...]] = (
    literal_column("'claimed'"),
    literal_column("'sending'"),
)  # literals, so that planners see the partial index fit


@dataclass(frozen=True, slots=True)
class Claimed:
    """A row in the hands of one worker, until its lease ends.

    tries: failed tries since the last event. first_attempt_at: when the first of them began.
    held_generation: the first generation the peer may already hold; 0 for none.
    """

    id: str
    kind: str
    destination: str
    subject: str
    generation: int
    attempt: int
    lease_token: str
    tries: int
    first_attempt_at: datetime
    held_generation: int

    @property
    def delivery_id(self) -> str:
        """The same for every try of one generation, so that a receiver can tell a repetition."""
        return f"{self.id}.{self.generation}"


@dataclass(frozen=True, slots=True)
class Result:
    """How a try ended.

    wait: for "retry", the time until the next one. may_hold: the peer may have taken what was sent.
    status, issue_codes: all that is kept of the peer's answer.
    """

    verdict: Verdict
    wait: timedelta = timedelta(0)
    may_hold: bool = False
    status: int | None = None
    issue_codes: tuple[str, ...] = ()


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


# --- written by the referral, in its own transaction ---


def enqueue(unit: Unit, kind: str, destination: str, subject: str, *, due_at: datetime | None = None) -> None:
    """Something is to be done or sent: a new row, or the present one made dirty.

    due_at: aware UTC, default now; it replaces the time of a row that waits. A row under way is gone through again after.
    """
    destinations.know_destination(unit, kind, destination)
    fresh = {
        "id": new_id(),
        "kind": kind,
        "destination": destination,
        "subject": subject,
        "state": "due",
        "generation": 1,
        "sending_generation": 0,
        "sent_generation": 0,
        "held_generation": 0,
        "due_at": due_at if due_at is not None else unit.now,
        "attempt": 0,
        "tries": 0,
        "last_issue_codes": "[]",
    }
    unit.connection.execute(_enqueueing(unit.connection.dialect.name), fresh)


@cache
def _enqueueing(dialect: str) -> Any:
    statement = destinations.upserting(dialect, OUTBOX)
    dirty = {
        "generation": OUTBOX.c.generation + 1,
        "state": case((OUTBOX.c.state.in_(LEASED), OUTBOX.c.state), else_="due"),
        "due_at": statement.excluded.due_at,
        # a new event is a new thing to send: it has its own seven days
        "tries": 0,
        "first_attempt_at": None,
        "finished_at": None,
    }
    return statement.on_conflict_do_update(index_elements=["kind", "destination", "subject"], set_=dirty)


def drop(unit: Unit, kind: str, destination: str, subject: str) -> Dropped:
    """What was to be sent may not be any more.

    Returns "dropped" when the peer holds nothing of it, "sent" when it holds or may hold an earlier state (the caller
    may enqueue again to tell it), "absent" when there never was such a row.
    """
    row = unit.connection.execute(
        select(OUTBOX.c.id, OUTBOX.c.state, OUTBOX.c.held_generation).where(_what(kind, destination, subject)).with_for_update()
    ).first()
    if row is None:
        return "absent"
    if row.state == "sending":
        return "sent"
    if row.state != "done":
        # the token stays: the worker that holds the claim finds the row dropped when it wants to begin
        unit.connection.execute(update(OUTBOX).where(OUTBOX.c.id == row.id).values(state="dropped", finished_at=unit.now))
    return "sent" if row.held_generation > 0 else "dropped"


def cancel_due(unit: Unit, kind: str, destination: str, subject: str) -> None:
    """A job that waits is not needed any more; does nothing where there is none."""
    unit.connection.execute(
        update(OUTBOX)
        .where(_what(kind, destination, subject), OUTBOX.c.state.in_(("due", "claimed")))
        .values(state="dropped", finished_at=unit.now)
    )


def peer_may_hold(unit: Unit, kind: str, destination: str, subject: str) -> bool:
    """Whether the peer holds, or may hold, something of this subject."""
    found = unit.connection.execute(select(OUTBOX.c.held_generation, OUTBOX.c.state).where(_what(kind, destination, subject))).first()
    return found is not None and (found.held_generation > 0 or found.state == "sending")


# --- the worker's steps ---


def begin_sending(unit: Unit, claimed: Claimed, *, lease_seconds: float, conditional_create: bool | None = None) -> Claimed | None:
    """Mark that the first byte is about to leave, in the unit that decided and audited what leaves.

    Returns the claim with the generation that now leaves, or None when the lease was lost or the row dropped: then the
    caller rolls back and sends nothing. conditional_create: what the peer says of itself; kept for whoever finds this
    row if we die. The lease starts anew.
    """
    row = (
        unit.connection.execute(
            update(OUTBOX)
            .where(_mine(claimed), OUTBOX.c.state == "claimed")
            .values(
                state="sending",
                sending_generation=OUTBOX.c.generation,
                lease_until=unit.now + timedelta(seconds=lease_seconds),
            )
            .returning(OUTBOX)
        )
        .mappings()
        .first()
    )
    if row is None:
        return None
    if conditional_create is not None:
        destinations.keep_ability(unit, claimed.kind, claimed.destination, conditional_create=conditional_create)
    return as_claimed(row)


def renew(unit: Unit, claimed: Claimed, *, lease_seconds: float) -> bool:
    """Start the lease anew; False when it was lost."""
    return _change(unit, and_(_mine(claimed), OUTBOX.c.state.in_(LEASED)), lease_until=unit.now + timedelta(seconds=lease_seconds))


def release(unit: Unit, claimed: Claimed) -> bool:
    """Give a claimed row back untried (the worker stops, or came too late to begin)."""
    return _change(unit, and_(_mine(claimed), OUTBOX.c.state == "claimed"), state="due", lease_token=None, lease_until=None, worker=None)


def finish(unit: Unit, claimed: Claimed, result: Result) -> bool:
    """Keep how a try ended; False when the lease was lost, and then nothing is changed.

    A row that became dirty meanwhile is due again. A job whose own effect was to cancel its row is finished as it is.
    """
    row = unit.connection.execute(
        select(OUTBOX.c.state, OUTBOX.c.generation, OUTBOX.c.sending_generation, OUTBOX.c.held_generation, OUTBOX.c.due_at)
        .where(_mine(claimed))
        .with_for_update()
    ).first()
    if row is None or row.state not in ("claimed", "sending", "dropped"):
        return False
    values: dict[str, Any] = {
        "lease_token": None,
        "lease_until": None,
        "worker": None,
        "last_status": result.status,
        "last_issue_codes": json.dumps(list(result.issue_codes)),
    }
    tried = row.sending_generation if row.state == "sending" else claimed.generation
    if row.state == "sending" and result.may_hold and row.held_generation == 0:
        values["held_generation"] = tried
    if result.verdict == "done":
        values |= {"sent_generation": tried, "tries": 0}
    if row.state != "dropped":
        values |= _next(unit, result, dirty=row.generation > tried)
    return _change(unit, _mine(claimed), **values)


def _next(unit: Unit, result: Result, *, dirty: bool) -> dict[str, Any]:
    """State and time after a try."""
    if result.verdict == "retry":
        failed = {"tries": OUTBOX.c.tries + 1, "first_attempt_at": func.coalesce(OUTBOX.c.first_attempt_at, instant(unit.now))}
        return {"state": "due", "due_at": unit.now + result.wait, **failed}
    if dirty:
        # due_at was set by the event; a peer that refused the older state is asked about the newer one
        return {"state": "due"}
    return {"state": result.verdict, "finished_at": unit.now}


# --- for a person ---


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
    return _change(unit, looked_at, state="dropped", finished_at=unit.now)


def counts(unit: Unit) -> dict[tuple[str, str], int]:
    """Rows by (kind, state)."""
    rows = unit.connection.execute(select(OUTBOX.c.kind, OUTBOX.c.state, func.count()).group_by(OUTBOX.c.kind, OUTBOX.c.state))
    return {(kind, state): count for kind, state, count in rows}


def _in_state(unit: Unit, state: str) -> list[Delivery]:
    rows = unit.connection.execute(select(OUTBOX).where(OUTBOX.c.state == state).order_by(OUTBOX.c.id))
    return [_delivery(row) for row in rows.mappings()]


def _delivery(row: Any) -> Delivery:
    values = {name: row[name] for name in Delivery.__slots__}
    return Delivery(**{**values, "last_issue_codes": tuple(json.loads(row["last_issue_codes"]))})


def as_claimed(row: Any) -> Claimed:
    """A claim from a row just written."""
    return Claimed(**{name: row[name] for name in Claimed.__slots__})


def _what(kind: str, destination: str, subject: str) -> ColumnElement[bool]:
    return and_(OUTBOX.c.kind == kind, OUTBOX.c.destination == destination, OUTBOX.c.subject == subject)


def _mine(claimed: Claimed) -> ColumnElement[bool]:
    """The fence: this claim, and no later one."""
    return and_(OUTBOX.c.id == claimed.id, OUTBOX.c.lease_token == claimed.lease_token, OUTBOX.c.attempt == claimed.attempt)


def _change(unit: Unit, where: ColumnElement[bool], **values: Any) -> bool:
    return unit.connection.execute(update(OUTBOX).where(where).values(**values)).rowcount == 1


def instant(at: datetime) -> Any:
    """A time as a bound value of the column's own type, where SQLAlchemy could not tell it."""
    return literal(at, Instant())

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

from sqlalchemy import (
    Column,
    ColumnElement,
    Index,
    Text,
    UniqueConstraint,
    and_,
    bindparam,
    case,
    func,
    literal_column,
    select,
    text,
    update,
)
from sqlmodel import Field

from gateway.store import destinations
from gateway.store.database import Unit
from gateway.store.ids import new_id
from gateway.store.rows import Instant, Row
from gateway.store.statements import Statement, upserting

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
)  # literals, so that planners see the partial index fit, and no list to a Statement

WAITING: Final[tuple[ColumnElement[str], ...]] = (literal_column("'due'"), literal_column("'claimed'"))


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
    _ENQUEUE.run(unit, fresh)


def _enqueueing(dialect: str) -> Any:
    statement = upserting(dialect, OUTBOX).values({name: bindparam(name) for name in _FRESH})
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


_FRESH: Final = (
    "id",
    "kind",
    "destination",
    "subject",
    "state",
    "generation",
    "sending_generation",
    "sent_generation",
    "held_generation",
    "due_at",
    "attempt",
    "tries",
    "last_issue_codes",
)
_ENQUEUE: Final = Statement(_enqueueing)
_WHAT: Final = and_(OUTBOX.c.kind == bindparam("of_kind"), OUTBOX.c.destination == bindparam("to"), OUTBOX.c.subject == bindparam("about"))
_MINE: Final = and_(OUTBOX.c.id == bindparam("row"), OUTBOX.c.lease_token == bindparam("token"), OUTBOX.c.attempt == bindparam("claim"))
"""The fence: this claim, and no later one."""

_LOOK_AT: Final = Statement(select(OUTBOX.c.id, OUTBOX.c.state, OUTBOX.c.held_generation).where(_WHAT).with_for_update())
_DROP: Final = Statement(
    update(OUTBOX).where(OUTBOX.c.id == bindparam("row")).values(state="dropped", finished_at=bindparam("finished_at"))
)
_CANCEL: Final = Statement(
    update(OUTBOX).where(_WHAT, OUTBOX.c.state.in_(WAITING)).values(state="dropped", finished_at=bindparam("finished_at"))
)
CLAIM_COLUMNS: Final = tuple(OUTBOX.c[name] for name in Claimed.__slots__)
_BEGIN: Final = Statement(
    update(OUTBOX)
    .where(_MINE, OUTBOX.c.state == literal_column("'claimed'"))
    .values(state="sending", sending_generation=OUTBOX.c.generation, lease_until=bindparam("until", type_=Instant))
    .returning(*CLAIM_COLUMNS)
)
_RENEW: Final = Statement(update(OUTBOX).where(_MINE, OUTBOX.c.state.in_(LEASED)).values(lease_until=bindparam("until", type_=Instant)))
_RELEASE: Final = Statement(
    update(OUTBOX)
    .where(_MINE, OUTBOX.c.state == literal_column("'claimed'"))
    .values(state="due", lease_token=None, lease_until=None, worker=None)
)
_UNDER_WAY: Final = Statement(
    select(OUTBOX.c.state, OUTBOX.c.generation, OUTBOX.c.sending_generation, OUTBOX.c.held_generation).where(_MINE).with_for_update()
)


def drop(unit: Unit, kind: str, destination: str, subject: str) -> Dropped:
    """What was to be sent may not be any more.

    Returns "dropped" when the peer holds nothing of it, "sent" when it holds or may hold an earlier state (the caller
    may enqueue again to tell it), "absent" when there never was such a row.
    """
    found = _LOOK_AT.first(unit, _named(kind, destination, subject))
    if found is None:
        return "absent"
    row, state, held_generation = found
    if state == "sending":
        return "sent"
    if state != "done":
        # the token stays: the worker that holds the claim finds the row dropped when it wants to begin
        _DROP.run(unit, {"row": row, "finished_at": unit.now})
    return "sent" if held_generation > 0 else "dropped"


def cancel_due(unit: Unit, kind: str, destination: str, subject: str) -> None:
    """A job that waits is not needed any more; does nothing where there is none."""
    _CANCEL.run(unit, {**_named(kind, destination, subject), "finished_at": unit.now})


# --- the worker's steps ---


def begin_sending(unit: Unit, claimed: Claimed, *, lease_seconds: float, conditional_create: bool | None = None) -> Claimed | None:
    """Mark that the first byte is about to leave, in the unit that decided and audited what leaves.

    Returns the claim with the generation that now leaves, or None when the lease was lost or the row dropped: then the
    caller rolls back and sends nothing. conditional_create: what the peer says of itself; kept for whoever finds this
    row if we die. The lease starts anew.
    """
    row = _BEGIN.first(unit, {**_fence(claimed), "until": unit.now + timedelta(seconds=lease_seconds)})
    if row is None:
        return None
    if conditional_create is not None:
        destinations.keep_ability(unit, claimed.kind, claimed.destination, conditional_create=conditional_create)
    return Claimed(*row)


def renew(unit: Unit, claimed: Claimed, *, lease_seconds: float) -> bool:
    """Start the lease anew; False when it was lost."""
    return _RENEW.run(unit, {**_fence(claimed), "until": unit.now + timedelta(seconds=lease_seconds)}) == 1


def release(unit: Unit, claimed: Claimed) -> bool:
    """Give a claimed row back untried (the worker stops, or came too late to begin)."""
    return _RELEASE.run(unit, _fence(claimed)) == 1


def finish(unit: Unit, claimed: Claimed, result: Result) -> bool:
    """Keep how a try ended; False when the lease was lost, and then nothing is changed.

    A row that became dirty meanwhile is due again. A job whose own effect was to cancel its row is finished as it is.
    """
    row = _UNDER_WAY.first(unit, _fence(claimed))
    if row is None or row[0] not in ("claimed", "sending", "dropped"):
        return False
    state, generation, sending_generation, held_generation = row
    values: dict[str, Any] = {
        "lease_token": None,
        "lease_until": None,
        "worker": None,
        "last_status": result.status,
        "last_issue_codes": json.dumps(list(result.issue_codes)),
    }
    tried = sending_generation if state == "sending" else claimed.generation
    if state == "sending" and result.may_hold and held_generation == 0:
        values["held_generation"] = tried
    if result.verdict == "done":
        values |= {"sent_generation": tried, "tries": 0}
    if state != "dropped":
        values |= _next(unit, result, dirty=generation > tried)
    statement = _finishing(tuple(values), has_failed=state != "dropped" and result.verdict == "retry")
    return statement.run(unit, {**_fence(claimed), **values, "now": unit.now}) == 1


@cache
def _finishing(names: tuple[str, ...], *, has_failed: bool) -> Statement:
    values: dict[str, Any] = {name: bindparam(name) for name in names}
    if has_failed:
        began = func.coalesce(OUTBOX.c.first_attempt_at, bindparam("now", type_=Instant))
        values |= {"tries": OUTBOX.c.tries + 1, "first_attempt_at": began}
    return Statement(update(OUTBOX).where(_MINE).values(values))


def _next(unit: Unit, result: Result, *, dirty: bool) -> dict[str, Any]:
    """State and time after a try."""
    if result.verdict == "retry":
        return {"state": "due", "due_at": unit.now + result.wait}
    if dirty:
        # due_at was set by the event; a peer that refused the older state is asked about the newer one
        return {"state": "due"}
    return {"state": result.verdict, "finished_at": unit.now}


def _named(kind: str, destination: str, subject: str) -> dict[str, Any]:
    return {"of_kind": kind, "to": destination, "about": subject}


def _fence(claimed: Claimed) -> dict[str, Any]:
    return {"row": claimed.id, "token": claimed.lease_token, "claim": claimed.attempt}

"""Claiming rows of the outbox: one short statement by which a worker gets work that nobody else has.

A destination's concurrency is counted where it is taken, so that many hosts together never press a clinic harder than
agreed. A lease that ended frees its row here; times are the unit's, which is the database's clock and never goes back.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import and_, case, exists, func, literal_column, or_, select, text, update

from gateway.store import destinations
from gateway.store.database import Unit
from gateway.store.destinations import DESTINATION
from gateway.store.ids import new_secret
from gateway.store.outbox import LEASED, OUTBOX, REPEATABLE_KINDS, Claimed, as_claimed, instant

_CLAIM_LOCK: Final = 0x6372_6F75  # PostgreSQL: one claim at a time, or two would count the same free places
_IS_DUE: Final = OUTBOX.c.state == literal_column("'due'")


def has_work(unit: Unit, kinds: Collection[str]) -> bool:
    """Whether a claim would find anything: asked before the write section is taken."""
    due = exists().where(
        _IS_DUE,
        OUTBOX.c.kind == DESTINATION.c.kind,
        OUTBOX.c.destination == DESTINATION.c.destination,
        OUTBOX.c.due_at <= unit.now,
    )
    callable_now = select(DESTINATION.c.kind).where(DESTINATION.c.kind.in_(kinds), destinations.may_be_called(unit.now), due)
    expired = select(OUTBOX.c.id).where(OUTBOX.c.state.in_(LEASED), OUTBOX.c.lease_until <= unit.now)
    return any(unit.connection.execute(query.limit(1)).first() is not None for query in (callable_now, expired))


def claim(unit: Unit, *, worker: str, limit: int, lease_seconds: float, kinds: Collection[str], concurrency: int = 2) -> list[Claimed]:
    """Take up to `limit` due rows, the longest due first.

    concurrency: most rows of one (kind, destination) under way at a time, over all workers; one while its circuit is half open.
    """
    postgres = unit.connection.dialect.name == "postgresql"
    if postgres:
        unit.connection.execute(select(func.pg_advisory_xact_lock(_CLAIM_LOCK)))
    _free_expired(unit)
    chosen = _due_postgresql(unit, kinds, concurrency, limit) if postgres else _due_sqlite(unit, kinds, concurrency, limit)
    rows = unit.connection.execute(
        update(OUTBOX)
        .where(OUTBOX.c.id.in_(chosen))
        .values(
            state="claimed",
            lease_token=new_secret(),
            lease_until=unit.now + timedelta(seconds=lease_seconds),
            worker=worker,
            attempt=OUTBOX.c.attempt + 1,
            first_attempt_at=func.coalesce(OUTBOX.c.first_attempt_at, instant(unit.now)),
        )
        .returning(OUTBOX)
    )
    return [as_claimed(row) for row in sorted(rows.mappings(), key=lambda row: (row["due_at"], row["id"]))]


def _free_expired(unit: Unit) -> None:
    """A dead worker's rows go to others: what it had only claimed always, what it was sending where a repetition does no harm."""
    expired = select(OUTBOX.c.id).where(OUTBOX.c.state.in_(LEASED), OUTBOX.c.lease_until <= unit.now).with_for_update(skip_locked=True)
    idempotent_peer = exists().where(
        DESTINATION.c.kind == OUTBOX.c.kind,
        DESTINATION.c.destination == OUTBOX.c.destination,
        DESTINATION.c.conditional_create.is_(True),
    )
    again = or_(
        OUTBOX.c.state == "claimed",
        OUTBOX.c.kind.in_(REPEATABLE_KINDS),
        OUTBOX.c.generation > OUTBOX.c.sending_generation,  # a newer state goes out as an update, whatever became of the older
        idempotent_peer,
    )
    unit.connection.execute(
        update(OUTBOX)
        .where(OUTBOX.c.id.in_(expired))
        .values(
            state=case((again, "due"), else_="unknown"),
            held_generation=_held_after_sending(),
            tries=OUTBOX.c.tries + 1,
            lease_token=None,
            lease_until=None,
        )
    )


def _held_after_sending() -> Any:
    """The first generation the peer may hold, once what was sent may have arrived."""
    begun = and_(OUTBOX.c.held_generation == 0, OUTBOX.c.state == "sending")
    return case((begun, OUTBOX.c.sending_generation), else_=OUTBOX.c.held_generation)


def _busy() -> Any:
    """How many rows of a destination are under way (correlated to it)."""
    under_way = OUTBOX.alias("under_way")
    return (
        select(func.count())
        .where(
            under_way.c.kind == DESTINATION.c.kind,
            under_way.c.destination == DESTINATION.c.destination,
            under_way.c.state.in_(LEASED),
        )
        .correlate(DESTINATION)
        .scalar_subquery()
    )


def _due_postgresql(unit: Unit, kinds: Collection[str], concurrency: int, limit: int) -> Any:
    """The ids as one subquery: per destination its oldest due rows, through the partial index, whatever the backlog elsewhere."""
    places = case((DESTINATION.c.open_until.is_not(None), 1), else_=concurrency)
    oldest = (
        select(OUTBOX.c.id, OUTBOX.c.due_at, func.row_number().over(order_by=(OUTBOX.c.due_at, OUTBOX.c.id)).label("place"))
        .where(
            _IS_DUE,
            OUTBOX.c.kind == DESTINATION.c.kind,
            OUTBOX.c.destination == DESTINATION.c.destination,
            OUTBOX.c.due_at <= unit.now,
        )
        .order_by(OUTBOX.c.due_at, OUTBOX.c.id)
        .limit(concurrency)
        .lateral("oldest")
    )
    candidates = (
        select(oldest.c.id, oldest.c.due_at)
        .select_from(DESTINATION.join(oldest, text("true")))
        .where(DESTINATION.c.kind.in_(kinds), destinations.may_be_called(unit.now), oldest.c.place <= places - _busy())
        .order_by(oldest.c.due_at, oldest.c.id)
        .limit(limit)
        .subquery("candidates")
    )
    return select(OUTBOX.c.id).where(OUTBOX.c.id.in_(select(candidates.c.id)), _IS_DUE).with_for_update(skip_locked=True)


def _due_sqlite(unit: Unit, kinds: Collection[str], concurrency: int, limit: int) -> Sequence[str]:
    """The ids by small index reads: which destinations have work and a free place, then each one's oldest rows.

    The write section keeps everybody else out between the reads.
    """
    places = case((DESTINATION.c.open_until.is_not(None), 1), else_=concurrency)
    waiting = OUTBOX.alias("waiting")
    oldest = (
        select(waiting.c.due_at)
        .where(
            waiting.c.state == literal_column("'due'"),
            waiting.c.kind == DESTINATION.c.kind,
            waiting.c.destination == DESTINATION.c.destination,
        )
        .order_by(waiting.c.due_at, waiting.c.id)
        .limit(1)
        .correlate(DESTINATION)
        .scalar_subquery()
    )
    peers = (
        select(DESTINATION.c.kind, DESTINATION.c.destination, (places - _busy()).label("free"))
        .where(DESTINATION.c.kind.in_(kinds), destinations.may_be_called(unit.now), oldest <= unit.now, _busy() < places)
        .order_by(oldest)
        .limit(limit)
    )
    found: list[tuple[datetime, str]] = []
    for peer in unit.connection.execute(peers).all():
        rows = unit.connection.execute(
            select(OUTBOX.c.due_at, OUTBOX.c.id)
            .where(_IS_DUE, OUTBOX.c.kind == peer.kind, OUTBOX.c.destination == peer.destination, OUTBOX.c.due_at <= unit.now)
            .order_by(OUTBOX.c.due_at, OUTBOX.c.id)
            .limit(peer.free)
        )
        found.extend((row.due_at, row.id) for row in rows)
    return [row_id for _, row_id in sorted(found)[:limit]]

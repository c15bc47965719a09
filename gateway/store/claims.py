"""Claiming rows of the outbox: one short statement by which a worker gets work that nobody else has.

A destination's concurrency is counted where it is taken, so that many hosts together never press a clinic harder than
agreed. A lease that ended frees its row here; times are the unit's, which is the database's clock and never goes back.
"""

from __future__ import annotations

from collections.abc import Collection
from datetime import timedelta
from typing import Any, Final

from sqlalchemy import Integer, and_, bindparam, case, exists, func, literal_column, or_, select, text, update

from gateway.store import destinations
from gateway.store.database import Unit
from gateway.store.destinations import DESTINATION
from gateway.store.ids import new_secret
from gateway.store.outbox import CLAIM_COLUMNS, LEASED, OUTBOX, REPEATABLE_KINDS, Claimed
from gateway.store.rows import Instant
from gateway.store.statements import Statement, one_of

_CLAIM_LOCK: Final = 0x6372_6F75  # PostgreSQL: one claim at a time, or two would count the same free places
_NOW: Final[Any] = bindparam("now", type_=Instant)
_CONCURRENCY: Final[Any] = bindparam("concurrency", type_=Integer)
_LIMIT: Final[Any] = bindparam("most", type_=Integer)
_IS_DUE: Final = OUTBOX.c.state == literal_column("'due'")
_OF_DESTINATION: Final = and_(OUTBOX.c.kind == DESTINATION.c.kind, OUTBOX.c.destination == DESTINATION.c.destination)
_EXPIRED: Final = and_(OUTBOX.c.state.in_(LEASED), OUTBOX.c.lease_until <= _NOW)
_PLACES: Final = case((DESTINATION.c.open_until.is_not(None), 1), else_=_CONCURRENCY)


def _callable(dialect: str) -> Any:
    return and_(one_of(DESTINATION.c.kind, "kinds", dialect), destinations.may_be_called(_NOW))


def has_work(unit: Unit, kinds: Collection[str]) -> bool:
    """Whether a claim would find anything: asked before the write section is taken."""
    asked = {"now": unit.now, "kinds": sorted(kinds)}
    return _ANY_DUE.first(unit, asked) is not None or _ANY_EXPIRED.first(unit, asked) is not None


_ANY_DUE: Final = Statement(
    lambda dialect: (
        select(DESTINATION.c.kind)
        .where(_callable(dialect), exists().where(_IS_DUE, _OF_DESTINATION, OUTBOX.c.due_at <= _NOW))
        .limit(literal_column("1"))
    )
)
_ANY_EXPIRED: Final = Statement(select(OUTBOX.c.id).where(_EXPIRED).limit(literal_column("1")))


def claim(unit: Unit, *, worker: str, limit: int, lease_seconds: float, kinds: Collection[str], concurrency: int = 2) -> list[Claimed]:
    """Take up to `limit` due rows, the longest due first.

    concurrency: most rows of one (kind, destination) under way at a time, over all workers; one while its circuit is half open.
    """
    asked = {"now": unit.now, "kinds": sorted(kinds), "concurrency": concurrency, "most": limit}
    if unit.connection.dialect.name == "postgresql":
        _LOCK_CLAIMS.first(unit)
        _free_expired(unit)
    else:
        _free_expired(unit)
        asked["ids"] = _due_sqlite(unit, asked)
        if not asked["ids"]:
            return []
    taken = {"token": new_secret(), "until": unit.now + timedelta(seconds=lease_seconds), "by": worker}
    rows = _CLAIM.all(unit, {**asked, **taken})
    return [Claimed(*row[2:]) for row in sorted(rows, key=lambda row: (row[0], row[1]))]


def _free_expired(unit: Unit) -> None:
    """A dead worker's rows go to others: what it had only claimed always, what it was sending where a repetition does no harm."""
    if _ANY_EXPIRED.first(unit, {"now": unit.now}) is not None:
        _FREE.run(unit, {"now": unit.now, "repeatable": sorted(REPEATABLE_KINDS)})


def _freeing(dialect: str) -> Any:
    idempotent_peer = exists().where(_OF_DESTINATION, DESTINATION.c.conditional_create.is_(True))
    again = or_(
        OUTBOX.c.state == "claimed",
        one_of(OUTBOX.c.kind, "repeatable", dialect),
        OUTBOX.c.generation > OUTBOX.c.sending_generation,  # a newer state goes out as an update, whatever became of the older
        idempotent_peer,
    )
    return (
        update(OUTBOX)
        .where(OUTBOX.c.id.in_(select(OUTBOX.c.id).where(_EXPIRED).with_for_update(skip_locked=True)))
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


def _claiming(dialect: str) -> Any:
    chosen = _due_postgresql() if dialect == "postgresql" else one_of(OUTBOX.c.id, "ids", dialect)
    return (
        update(OUTBOX)
        .where(chosen)
        .values(
            state="claimed",
            lease_token=bindparam("token"),
            lease_until=bindparam("until", type_=Instant),
            worker=bindparam("by"),
            attempt=OUTBOX.c.attempt + 1,
            first_attempt_at=func.coalesce(OUTBOX.c.first_attempt_at, _NOW),
        )
        .returning(OUTBOX.c.due_at, OUTBOX.c.id.label("row"), *CLAIM_COLUMNS)
    )


def _due_postgresql() -> Any:
    """The rows by one subquery: per destination its oldest due ones, through the partial index, whatever the backlog elsewhere."""
    oldest = (
        select(OUTBOX.c.id, OUTBOX.c.due_at, func.row_number().over(order_by=(OUTBOX.c.due_at, OUTBOX.c.id)).label("place"))
        .where(_IS_DUE, _OF_DESTINATION, OUTBOX.c.due_at <= _NOW)
        .order_by(OUTBOX.c.due_at, OUTBOX.c.id)
        .limit(_CONCURRENCY)
        .lateral("oldest")
    )
    candidates = (
        select(oldest.c.id, oldest.c.due_at)
        .select_from(DESTINATION.join(oldest, text("true")))
        .where(_callable("postgresql"), oldest.c.place <= _PLACES - _busy())
        .order_by(oldest.c.due_at, oldest.c.id)
        .limit(_LIMIT)
        .subquery("candidates")
    )
    return OUTBOX.c.id.in_(select(OUTBOX.c.id).where(OUTBOX.c.id.in_(select(candidates.c.id)), _IS_DUE).with_for_update(skip_locked=True))


def _peers(dialect: str) -> Any:
    """SQLite: which destinations have work and a free place, the longest waiting first."""
    waiting = OUTBOX.alias("waiting")
    oldest = (
        select(waiting.c.due_at)
        .where(
            waiting.c.state == literal_column("'due'"),
            waiting.c.kind == DESTINATION.c.kind,
            waiting.c.destination == DESTINATION.c.destination,
        )
        .order_by(waiting.c.due_at, waiting.c.id)
        .limit(literal_column("1"))
        .correlate(DESTINATION)
        .scalar_subquery()
    )
    return (
        select(DESTINATION.c.kind, DESTINATION.c.destination, (_PLACES - _busy()).label("free"))
        .where(_callable(dialect), oldest <= _NOW, _busy() < _PLACES)
        .order_by(oldest)
        .limit(_LIMIT)
    )


def _due_sqlite(unit: Unit, asked: dict[str, Any]) -> list[str]:
    """The ids by small index reads: which destinations have work and a free place, then each one's oldest rows.

    The write section keeps everybody else out between the reads.
    """
    found: list[tuple[Any, str]] = []
    for kind, destination, free in _PEERS.all(unit, asked):
        rows = _OLDEST_OF.all(unit, {"of_kind": kind, "to": destination, "now": unit.now, "most": min(free, asked["most"])})
        found.extend((row[0], row[1]) for row in rows)
    return [row_id for _, row_id in sorted(found)[: asked["most"]]]


_LOCK_CLAIMS: Final = Statement(select(func.pg_advisory_xact_lock(_CLAIM_LOCK)))
_FREE: Final = Statement(_freeing)
_CLAIM: Final = Statement(_claiming)
_PEERS: Final = Statement(_peers)
_OLDEST_OF: Final = Statement(
    select(OUTBOX.c.due_at, OUTBOX.c.id)
    .where(_IS_DUE, OUTBOX.c.kind == bindparam("of_kind"), OUTBOX.c.destination == bindparam("to"), OUTBOX.c.due_at <= _NOW)
    .order_by(OUTBOX.c.due_at, OUTBOX.c.id)
    .limit(_LIMIT)
)

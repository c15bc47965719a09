"""The audit chain's tables: links that number and chain audit rows, checkpoints over them, and the lease of who adds to them.

What is hashed, and how, is decided in audit/; here is order and durability. A link or checkpoint is only ever added. Which rows
wait is told by the queue that goes in with each of them (store/audit.py), never by their time: on PostgreSQL a row stamped earlier
may be committed later, and a clock may have been set back.

Rows are read as the bytes that are stored, with a word on their type: SQLite keeps any type in any column, and text of it that is no
UTF-8 could not even be read otherwise.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache
from typing import Any, Final, cast

from sqlalchemy import (
    BigInteger,
    Column,
    ColumnElement,
    Integer,
    LargeBinary,
    Text,
    UniqueConstraint,
    and_,
    bindparam,
    delete,
    func,
    insert,
    literal_column,
    or_,
    select,
    text,
    true,
    update,
)
from sqlalchemy import cast as as_type
from sqlmodel import Field

from gateway.store.audit import AUDIT, UNLINKED, AuditRow
from gateway.store.database import Unit
from gateway.store.rows import Instant, Row, from_microseconds
from gateway.store.statements import upserting

_SEQUENCER: Final = "sequencer"
_STREAMED_ROWS: Final = 1000
_NUMBER: Final = BigInteger().with_variant(Integer(), "sqlite")  # SQLite: the row's own number, and so no second index

Value = bytes | None


class AuditLinkRow(Row, table=True):
    """One audit row's place. subtree: root of the largest perfect subtree that ends with this leaf. Hashes in hexadecimal."""

    __tablename__ = "audit_link"
    __table_args__ = (UniqueConstraint("audit_id", name="uq_audit_link_audit_id"),)

    sequence: int = Field(sa_column=Column(_NUMBER, primary_key=True, autoincrement=False))
    audit_id: str
    leaf: str
    subtree: str
    chain: str


class AuditCheckpointRow(Row, table=True):
    """What the first `size` links amount to. hash: over this checkpoint and the one before it."""

    __tablename__ = "audit_checkpoint"

    size: int = Field(sa_column=Column(_NUMBER, primary_key=True, autoincrement=False))
    root: str
    chain: str
    at: datetime = Field(sa_type=Instant)
    hash: str


class AuditLeaseRow(Row, table=True):
    """Who adds to the chain now; one row. beat: how often the lease was taken or renewed."""

    __tablename__ = "audit_lease"

    name: str = Field(primary_key=True)
    holder: str
    token: str
    beat: int = Field(sa_column=Column(BigInteger, nullable=False))
    until: datetime = Field(sa_type=Instant)


LINK: Final[Any] = AuditLinkRow.__table__  # type: ignore[attr-defined]
CHECKPOINT: Final[Any] = AuditCheckpointRow.__table__  # type: ignore[attr-defined]
LEASE: Final[Any] = AuditLeaseRow.__table__  # type: ignore[attr-defined]


@dataclass(frozen=True, slots=True)
class Link:
    """A row's place in the chain, as written."""

    sequence: int
    audit_id: str
    leaf: str
    subtree: str
    chain: str


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A checkpoint, as written."""

    size: int
    root: str
    chain: str
    at: datetime
    hash: str


@dataclass(frozen=True, slots=True)
class Lease:
    """The lease as it was read."""

    holder: str
    token: str
    beat: int
    until: datetime


@dataclass(frozen=True, slots=True)
class Waiting:
    """A row that is to be linked. values: its columns in the order of AuditRow, as stored."""

    recorded: datetime
    id: str
    values: tuple[Value, ...]


@dataclass(frozen=True, slots=True)
class Linked:
    """A link as it is found, beside the audit row it names. values: None where there is no such row. is_typed: each column has its type."""

    sequence: int
    audit_id: Value
    leaf: Value
    subtree: Value
    chain: Value
    values: tuple[Value, ...] | None
    is_typed: bool


@dataclass(frozen=True, slots=True)
class KeptCheckpoint:
    """A checkpoint as it is found. at: microseconds since 1970 in decimal."""

    size: int
    root: Value
    chain: Value
    at: Value
    hash: Value
    is_typed: bool


# --- the lease ---


def read_lease(unit: Unit) -> Lease | None:
    """The lease as it stands; None before anybody took it."""
    row = unit.connection.execute(select(*(LEASE.c[name] for name in Lease.__slots__))).first()
    return Lease(*row) if row is not None else None


def take_lease(unit: Unit, *, holder: str, token: str, seconds: float, abandoned: Lease | None = None) -> bool:
    """Take the lease or renew it; False while another has it. The rest of this unit is then done by nobody else at the same time.

    abandoned: a lease of another that may be taken before its end, if it is still the same one.
    """
    free = or_(LEASE.c.token == token, LEASE.c.until <= unit.now)
    if abandoned is not None:
        free = or_(free, and_(LEASE.c.token == abandoned.token, LEASE.c.beat == abandoned.beat))
    mine = {"holder": holder, "token": token, "until": unit.now + timedelta(seconds=seconds)}
    taking = update(LEASE).where(LEASE.c.name == _SEQUENCER, free).values(beat=LEASE.c.beat + 1, **mine)
    if unit.connection.execute(taking).rowcount == 1:
        return True
    first = (
        upserting(unit.connection.dialect.name, LEASE)
        .values(name=_SEQUENCER, beat=1, **mine)
        .on_conflict_do_nothing()
        .returning(LEASE.c.beat)
    )
    return unit.connection.execute(first).first() is not None


def release_lease(unit: Unit, token: str) -> None:
    """Let another have the lease at once; does nothing when it is another's already."""
    unit.connection.execute(update(LEASE).where(LEASE.c.token == token).values(until=unit.now))


# --- what waits ---


def oldest_unlinked(unit: Unit) -> tuple[datetime, str] | None:
    """Time and id of the row that waits longest; None when none waits."""
    row = unit.connection.execute(select(UNLINKED.c.recorded, UNLINKED.c.id).order_by(UNLINKED.c.recorded, UNLINKED.c.id).limit(1)).first()
    return (row[0], row[1]) if row is not None else None


def count_unlinked(unit: Unit) -> int:
    """How many rows wait."""
    return int(unit.connection.execute(select(func.count()).select_from(UNLINKED)).scalar_one())


def unlinked_rows(unit: Unit, limit: int) -> list[Waiting]:
    """The rows that wait longest. A queued id that has no row (any more), or a link already, is left where it is: verification finds it."""
    query, found = _waiting(unit.connection.dialect.name, limit), list[Waiting]()
    after = {"recorded": from_microseconds(-1), "id": ""}
    while len(found) < limit:
        page = unit.connection.execute(query, after).all()
        found += [Waiting(row[0], row[1], tuple(row[3:])) for row in page if row[2]]
        if len(page) < limit:
            break
        after = {"recorded": page[-1][0], "id": page[-1][1]}
    return found[:limit]


@cache
def _waiting(dialect: str, limit: int) -> Any:
    """One page of the queue, each entry with its row beside it: outer joins, as planners keep to their order, from the queue on."""
    is_after = or_(
        UNLINKED.c.recorded > bindparam("recorded"), and_(UNLINKED.c.recorded == bindparam("recorded"), UNLINKED.c.id > bindparam("id"))
    )
    return (
        select(
            UNLINKED.c.recorded,
            UNLINKED.c.id,
            and_(AUDIT.c.id.is_not(None), LINK.c.audit_id.is_(None)),
            *_raw(dialect, AUDIT, AuditRow.__slots__),
        )
        .outerjoin(AUDIT, _queued())
        .outerjoin(LINK, LINK.c.audit_id == UNLINKED.c.id)
        .where(UNLINKED.c.recorded >= bindparam("recorded"), is_after)
        .order_by(UNLINKED.c.recorded, UNLINKED.c.id)
        .limit(literal_column(str(limit)))  # a value the planner does not know would let it read all of the chain
    )


# --- the chain's end ---


def last_link(unit: Unit) -> Link | None:
    """The newest link."""
    row = unit.connection.execute(select(*(LINK.c[name] for name in Link.__slots__)).order_by(LINK.c.sequence.desc()).limit(1)).first()
    return Link(*row) if row is not None else None


def last_checkpoint(unit: Unit) -> Checkpoint | None:
    """The newest checkpoint."""
    columns = (CHECKPOINT.c[name] for name in Checkpoint.__slots__)
    row = unit.connection.execute(select(*columns).order_by(CHECKPOINT.c.size.desc()).limit(1)).first()
    return Checkpoint(*row) if row is not None else None


def subtrees(unit: Unit, sequences: Sequence[int]) -> list[str]:
    """The subtree hashes of these links, in order of sequence; fewer than asked for where a link is missing."""
    rows = unit.connection.execute(select(LINK.c.subtree).where(LINK.c.sequence.in_(sequences)).order_by(LINK.c.sequence))
    return list(rows.scalars())


def append_links(unit: Unit, waiting: Sequence[Waiting], links: Sequence[Link], checkpoint: Checkpoint) -> None:
    """Add links and the checkpoint over them, and take their rows, as unlinked_rows gave them, out of the queue.

    The caller holds the lease in this unit.
    """
    unit.connection.execute(insert(LINK), [{name: getattr(link, name) for name in Link.__slots__} for link in links])
    unit.connection.execute(insert(CHECKPOINT), {name: getattr(checkpoint, name) for name in Checkpoint.__slots__})
    just_linked = select(LINK.c.audit_id).where(LINK.c.sequence >= links[0].sequence)
    between = UNLINKED.c.recorded.between(waiting[0].recorded, waiting[-1].recorded)
    unit.connection.execute(delete(UNLINKED).where(between, UNLINKED.c.id.in_(just_linked)))


# --- all of it, as it is found ---


def prepare_long_reading(unit: Unit) -> None:
    """Let this unit read for longer than a request may, in order and row by row rather than by sorting all of it first (PostgreSQL)."""
    if unit.connection.dialect.name == "postgresql":
        unit.connection.execute(text("SET LOCAL statement_timeout = 0"))
        unit.connection.execute(text("SET LOCAL cursor_tuple_fraction = 0.000001"))


def linked_rows(unit: Unit) -> Iterator[Linked]:
    """Every link with its audit row, by sequence; read as they are asked for."""
    dialect = unit.connection.dialect.name
    query = (
        select(
            LINK.c.sequence,
            *_raw(dialect, LINK, ("audit_id", "leaf", "subtree", "chain")),
            _is_typed(dialect, LINK),
            _is_typed(dialect, AUDIT),
            AUDIT.c.id.is_not(None),
            *_raw(dialect, AUDIT, AuditRow.__slots__),
        )
        .outerjoin(AUDIT, AUDIT.c.id == LINK.c.audit_id)
        .order_by(LINK.c.sequence)
    )
    for row in _stream(unit, query):
        sequence, audit_id, leaf, subtree, chain, link_typed, row_typed, is_there, *values = row
        is_typed = bool(link_typed and (row_typed or not is_there))
        yield Linked(sequence, audit_id, leaf, subtree, chain, tuple(values) if is_there else None, is_typed)


def kept_checkpoints(unit: Unit) -> Iterator[KeptCheckpoint]:
    """Every checkpoint, by size; read as they are asked for."""
    dialect = unit.connection.dialect.name
    raw = _raw(dialect, CHECKPOINT, ("root", "chain", "at", "hash"))
    query = select(CHECKPOINT.c.size, *raw, _is_typed(dialect, CHECKPOINT)).order_by(CHECKPOINT.c.size)
    for size, root, chain, at, its_hash, is_typed in _stream(unit, query):
        yield KeptCheckpoint(size, root, chain, at, its_hash, bool(is_typed))


def rows_without_link(unit: Unit) -> Iterator[tuple[Value, bool]]:
    """(id, whether it waits for a link) of every audit row that no link names, oldest first; read as they are asked for."""
    query = (
        select(*_raw(unit.connection.dialect.name, AUDIT, ("id",)), UNLINKED.c.id.is_not(None))
        .outerjoin(LINK, LINK.c.audit_id == AUDIT.c.id)
        .outerjoin(UNLINKED, _queued())
        .where(LINK.c.audit_id.is_(None))
        .order_by(AUDIT.c.recorded, AUDIT.c.id)
    )
    for row in _stream(unit, query):
        yield row[0], bool(row[1])


def idle_in_queue(unit: Unit) -> bytes | None:
    """The first queued id that no sequencer would take, as it has no row (any more) or was linked before; None when there is none."""
    dialect = unit.connection.dialect.name
    query = (
        select(*_raw(dialect, UNLINKED, ("id",)))
        .outerjoin(AUDIT, _queued())
        .outerjoin(LINK, LINK.c.audit_id == UNLINKED.c.id)
        .where(or_(AUDIT.c.id.is_(None), LINK.c.audit_id.is_not(None), ~_is_typed(dialect, UNLINKED)))
        .order_by(UNLINKED.c.recorded, UNLINKED.c.id)
        .limit(1)
    )
    return cast(Value, unit.connection.execute(query).scalar())


def _stream(unit: Unit, query: Any) -> Iterator[Any]:
    return iter(unit.connection.execute(query, execution_options={"yield_per": _STREAMED_ROWS}))


def _queued() -> ColumnElement[bool]:
    """Queue entry and audit row belong together; a row whose time was changed since is not the one that waits."""
    return and_(AUDIT.c.recorded == UNLINKED.c.recorded, AUDIT.c.id == UNLINKED.c.id)


def _raw(dialect: str, table: Any, names: Sequence[str]) -> list[ColumnElement[Any]]:
    """Columns as the bytes that stand in the database."""
    if dialect == "sqlite":
        return [as_type(table.c[name], LargeBinary) for name in names]
    return [cast(ColumnElement[Any], func.convert_to(as_type(table.c[name], Text), "UTF8", type_=LargeBinary)) for name in names]


def _is_typed(dialect: str, table: Any) -> ColumnElement[bool]:
    """Whether every column of a row has the type it was declared with; PostgreSQL keeps no other."""
    if dialect != "sqlite":
        return true()
    kinds = ((column, "integer" if isinstance(column.type, (Instant, Integer)) else "text") for column in table.c)
    return and_(*(func.typeof(column).in_([kind, "null"] if column.nullable else [kind]) for column, kind in kinds))

"""Where deliveries go: what is known of each destination's health and abilities, shared by every worker of every host.

Holds no address, no token and nothing of any message: an address is read from the registry at sending time.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import Boolean, ColumnElement, and_, bindparam, literal_column, or_, select, update
from sqlmodel import Field

from gateway.store.database import Unit
from gateway.store.rows import Instant, Row
from gateway.store.statements import Statement, upserting


class DestinationRow(Row, table=True):
    """One peer, under the kind of what is sent to it ("gateway" for jobs, which need no peer)."""

    __tablename__ = "destination"

    kind: str = Field(primary_key=True)
    destination: str = Field(primary_key=True)
    failures: int = 0  # consecutive failed calls
    open_until: datetime | None = Field(default=None, sa_type=Instant)  # set: nothing is sent before it, and then one probe
    conditional_create: bool | None = None  # said by its CapabilityStatement; None: never asked


DESTINATION: Final[Any] = DestinationRow.__table__  # type: ignore[attr-defined]


_KNOWN_HERE: Final = "destinations.known"
_THIS: Final = and_(DESTINATION.c.kind == bindparam("of_kind"), DESTINATION.c.destination == bindparam("to"))
_KNOWN: Final = Statement(select(literal_column("1")).where(_THIS))
_KNOW: Final = Statement(
    lambda dialect: (
        upserting(dialect, DESTINATION)
        .values({name: bindparam(name) for name in ("kind", "destination", "failures")})
        .on_conflict_do_nothing()
    )
)
_REACHED: Final = Statement(
    update(DESTINATION)
    .where(_THIS, or_(DESTINATION.c.failures > 0, DESTINATION.c.open_until.is_not(None)))
    .values(failures=0, open_until=None)
)
_KEEP_ABILITY: Final = Statement(
    update(DESTINATION)
    .where(_THIS, DESTINATION.c.conditional_create.is_distinct_from(bindparam("ability", type_=Boolean)))
    .values(conditional_create=bindparam("ability", type_=Boolean))
)


@dataclass(frozen=True, slots=True)
class Destination:
    """A destination as the deliveries command shows it."""

    kind: str
    destination: str
    failures: int
    open_until: datetime | None
    conditional_create: bool | None


def know_destination(unit: Unit, kind: str, destination: str) -> None:
    """Make sure that claims see this destination."""
    known: set[tuple[str, str]] = unit.memo.setdefault(_KNOWN_HERE, set())
    if (kind, destination) in known:
        return
    known.add((kind, destination))
    if _KNOWN.first(unit, {"of_kind": kind, "to": destination}) is None:
        _KNOW.run(unit, {"kind": kind, "destination": destination, "failures": 0})


def may_be_called(now: Any) -> ColumnElement[bool]:
    """True in SQL for a destination whose circuit is closed, or open for long enough to be probed."""
    return or_(DESTINATION.c.open_until.is_(None), DESTINATION.c.open_until <= now)


def note_reached(unit: Unit, kind: str, destination: str) -> None:
    """The peer answered for itself, be it with a refusal: its circuit closes."""
    _REACHED.run(unit, {"of_kind": kind, "to": destination})


def note_failure(unit: Unit, kind: str, destination: str) -> int:
    """Count a call the peer did not answer for itself; returns how many came in a row."""
    return int(
        unit.connection.execute(
            update(DESTINATION).where(_is(kind, destination)).values(failures=DESTINATION.c.failures + 1).returning(DESTINATION.c.failures)
        ).scalar_one()
    )


def hold_off(unit: Unit, kind: str, destination: str, wait: timedelta) -> None:
    """Send nothing to this destination for a while; a longer wait that already stands is kept."""
    until = unit.now + wait
    unit.connection.execute(
        update(DESTINATION)
        .where(_is(kind, destination), or_(DESTINATION.c.open_until.is_(None), DESTINATION.c.open_until < until))
        .values(open_until=until)
    )


def let_through(unit: Unit, kind: str, destination: str) -> None:
    """A person wants the next try now: the circuit is half open from here on."""
    unit.connection.execute(
        update(DESTINATION).where(_is(kind, destination), DESTINATION.c.open_until > unit.now).values(open_until=unit.now)
    )


def keep_ability(unit: Unit, kind: str, destination: str, *, conditional_create: bool) -> None:
    """Keep what the peer's CapabilityStatement says, for whoever finds an interrupted delivery to it."""
    _KEEP_ABILITY.run(unit, {"of_kind": kind, "to": destination, "ability": conditional_create})


def find_destination(unit: Unit, kind: str, destination: str) -> Destination | None:
    """What is known of one destination."""
    row = unit.connection.execute(select(DESTINATION).where(_is(kind, destination))).mappings().first()
    return Destination(**row) if row is not None else None


def held_off(unit: Unit) -> list[Destination]:
    """Destinations that are not called now, in order of their key."""
    rows = unit.connection.execute(
        select(DESTINATION).where(DESTINATION.c.open_until > unit.now).order_by(DESTINATION.c.kind, DESTINATION.c.destination)
    )
    return [Destination(**row) for row in rows.mappings()]


def _is(kind: str, destination: str) -> ColumnElement[bool]:
    return and_(DESTINATION.c.kind == kind, DESTINATION.c.destination == destination)

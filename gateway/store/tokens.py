"""Access tokens and used assertions: what makes a token good in every process, and an assertion good once.

Of a token only its SHA-256 is stored, so that who reads the database can call nobody. Of a `jti` too: it is a peer's text of any
characters, and is only ever compared. Rows past their time are swept a few at a time by the inserts that follow.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import Integer, Table, bindparam, delete, insert, select, tuple_
from sqlmodel import Field

from gateway.store.registry import ClientRow, OrganizationRow
from gateway.store.rows import KEYED, Instant, Row
from gateway.store.statements import Statement, upserting
from gateway.store.units import Unit

SWEEP_ROWS: Final = 20
SWEEP_AFTER: Final = timedelta(hours=1)
"""Rows are kept so long past their time: a holder still hears "expired", and hosts whose clocks differ forget no `jti` early."""


class AccessTokenRow(Row, table=True):
    """One access token. digest: SHA-256 of it in hex. token_id: names it in logs and is not part of it."""

    __tablename__ = "access_token"
    __table_args__ = (KEYED,)

    digest: str = Field(primary_key=True)
    token_id: str
    client: str
    organization: str
    scopes: str
    purpose: str
    issued_at: datetime = Field(sa_type=Instant)
    expires_at: datetime = Field(sa_type=Instant, index=True)


class AssertionReplayRow(Row, table=True):
    """A used assertion. jti_digest: SHA-256 of its jti in hex. It may be used again after expires_at."""

    __tablename__ = "assertion_replay"
    __table_args__ = (KEYED,)

    issuer: str = Field(primary_key=True)
    jti_digest: str = Field(primary_key=True)
    expires_at: datetime = Field(sa_type=Instant, index=True)


_TOKEN: Final[Table] = AccessTokenRow.__table__  # type: ignore[attr-defined]
_REPLAY: Final[Table] = AssertionReplayRow.__table__  # type: ignore[attr-defined]
_CLIENT: Final[Table] = ClientRow.__table__  # type: ignore[attr-defined]
_ORGANIZATION: Final[Table] = OrganizationRow.__table__  # type: ignore[attr-defined]


@dataclass(frozen=True, slots=True)
class NewToken:
    """A token to be kept. scopes: canonical text. lifetime: from the stamp of the write on."""

    token: str = field(repr=False)
    token_id: str
    client: str
    organization: str
    scopes: str
    purpose: str
    lifetime: timedelta


@dataclass(frozen=True, slots=True)
class FoundToken:
    """A stored token beside its client and organisation as they are registered now.

    registered_organization: whom the client speaks for now. is_expired: by the clock of the database.
    """

    token_id: str
    client: str
    organization: str
    scopes: str
    purpose: str
    is_expired: bool
    suspended: bool
    registered_organization: str
    registered_scopes: str
    registered_purposes: frozenset[str]
    organization_name: str
    postures: frozenset[str]


# Built once: this is the one query of every request.
_FIND: Final = Statement(
    select(
        _TOKEN.c.token_id,
        _TOKEN.c.client,
        _TOKEN.c.organization,
        _TOKEN.c.scopes,
        _TOKEN.c.purpose,
        _TOKEN.c.expires_at,
        _CLIENT.c.suspended,
        _CLIENT.c.organization.label("registered_organization"),
        _CLIENT.c.scopes.label("registered_scopes"),
        _CLIENT.c.purposes.label("registered_purposes"),
        _ORGANIZATION.c.name.label("organization_name"),
        _ORGANIZATION.c.postures,
    )
    .join(_CLIENT, _CLIENT.c.id == _TOKEN.c.client)
    .join(_ORGANIZATION, _ORGANIZATION.c.key == _TOKEN.c.organization)
    .where(_TOKEN.c.digest == bindparam("digest"))
)

_INSERT: Final = Statement(insert(_TOKEN))
_IS_USED: Final = Statement(
    select(_REPLAY.c.expires_at).where(
        _REPLAY.c.issuer == bindparam("by"), _REPLAY.c.jti_digest == bindparam("jti"), _REPLAY.c.expires_at > bindparam("now")
    )
)


def _using(dialect: str) -> Any:
    statement = upserting(dialect, _REPLAY)
    return statement.on_conflict_do_update(
        index_elements=[_REPLAY.c.issuer, _REPLAY.c.jti_digest],
        set_={"expires_at": statement.excluded.expires_at},
        where=_REPLAY.c.expires_at <= bindparam("now", type_=Instant),
    ).returning(_REPLAY.c.expires_at)


def _sweeping(table: Table) -> Any:
    """Delete a few rows long past their time. Two sweeps at once pass each other by; neither waits."""
    keys = list(table.primary_key.columns)
    old: Any = (
        select(*keys).where(table.c.expires_at < bindparam("before")).order_by(table.c.expires_at).limit(bindparam("most", type_=Integer))
    )
    return delete(table).where(tuple_(*keys).in_(old.with_for_update(skip_locked=True)))


_USE: Final = Statement(_using)
_SWEEP_TOKENS: Final = Statement(_sweeping(_TOKEN))
_SWEEP_REPLAYS: Final = Statement(_sweeping(_REPLAY))


def insert_token(unit: Unit, new: NewToken) -> None:
    """Keep a token, and sweep a few that are long past their time."""
    _INSERT.run(
        unit,
        {
            "digest": _digest(new.token),
            "token_id": new.token_id,
            "client": new.client,
            "organization": new.organization,
            "scopes": new.scopes,
            "purpose": new.purpose,
            "issued_at": unit.now,
            "expires_at": unit.now + new.lifetime,
        },
    )
    _SWEEP_TOKENS.run(unit, {"before": unit.now - SWEEP_AFTER, "most": SWEEP_ROWS})


def find_token(unit: Unit, token: str) -> FoundToken | None:
    """A token, expired or not, whose client and organisation are still registered."""
    row = _FIND.mapping(unit, {"digest": _digest(token)})
    if row is None:
        return None
    expires_at, purposes, postures = row.pop("expires_at"), row.pop("registered_purposes"), row.pop("postures")
    return FoundToken(**row, is_expired=expires_at <= unit.now, registered_purposes=frozenset(purposes), postures=frozenset(postures))


def is_used(unit: Unit, issuer: str, jti: str, *, now: datetime) -> bool:
    """Whether an assertion was used and is not past its time; asked before the write section, where `use_assertion` decides."""
    return _IS_USED.first(unit, {"by": issuer, "jti": _digest(jti), "now": now}) is not None


def use_assertion(unit: Unit, issuer: str, jti: str, *, expires_at: datetime, now: datetime) -> bool:
    """Use an assertion up; False when it was used before and is not past its time. Of two at once exactly one is told True.

    now: the time `exp` was compared with. Not the unit's stamp, which stays ahead of a clock that was set back: rows would look
    expired, and be swept, while their assertions are still taken.
    """
    # on PostgreSQL the second waits here for the first to commit and then finds its row unexpired
    if _USE.first(unit, {"issuer": issuer, "jti_digest": _digest(jti), "expires_at": expires_at, "now": now}) is None:
        return False
    _SWEEP_REPLAYS.run(unit, {"before": now - SWEEP_AFTER, "most": SWEEP_ROWS})
    return True


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()

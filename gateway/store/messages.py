"""Messages as they were taken in, after the cut, and the key by which a message sent again is known. Never changed.

A key is unique within (organisation, format, key, revision): what another organisation sent under the same number is another
message. Which revision counts is decided in referral/.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from sqlalchemy import BigInteger, Column, Index, Text, bindparam, func, insert, select
from sqlmodel import Field

from gateway.store.database import Unit
from gateway.store.ids import new_id
from gateway.store.rows import Instant, JsonText, Row
from gateway.store.statements import Statement


class IntakeMessageRow(Row, table=True):
    """One message. body: canonical JSON after the cut. kept: false once a purge has emptied the body.

    revision: the sender's own, from 1; of a format that merges the number of what its messages say together. Below 1 stands a
    message that came too late to change anything and is kept as it came.
    cuts: for each place that was cut out, its RFC 6901 pointer and the keyed hash of what stood there; never the text.
    """

    __tablename__ = "intake_message"
    __table_args__ = (Index("intake_message_key", "organization", "format", "message_key", "revision", unique=True),)

    id: str = Field(primary_key=True)
    organization: str
    format: str
    message_key: str
    revision: int
    content_sha256: str
    body: str = Field(sa_column=Column(Text, nullable=False))
    received_at: datetime = Field(sa_type=Instant)
    client: str
    referral: str | None = Field(default=None, index=True)
    kept: bool = True
    cuts: list[list[str]] = Field(sa_column=Column(JsonText, nullable=False))


_MESSAGE = IntakeMessageRow.__table__  # type: ignore[attr-defined]


@dataclass(frozen=True, slots=True)
class Message:
    """A stored message as read."""

    id: str
    organization: str
    format: str
    message_key: str
    revision: int
    content_sha256: str
    body: str
    received_at: datetime
    client: str
    referral: str | None
    kept: bool
    cuts: list[list[str]]


_COLUMNS = [_MESSAGE.c[name] for name in Message.__slots__]
_INSERT: Final = Statement(insert(_MESSAGE))
_LOCK: Final = Statement(select(func.pg_advisory_xact_lock(bindparam("number", type_=BigInteger))))
_REVISIONS: Final = Statement(
    select(*_COLUMNS)
    .where(
        _MESSAGE.c.organization == bindparam("organization"),
        _MESSAGE.c.format == bindparam("format"),
        _MESSAGE.c.message_key == bindparam("message_key"),
    )
    .order_by(_MESSAGE.c.revision)
)


def lock_key(unit: Unit, organization: str, format_name: str, message_key: str) -> None:
    """Let one write at a time work on a message key, until its end; on SQLite the write section does so already.

    Two different keys that share a hash only wait for each other.
    """
    if unit.connection.dialect.name == "postgresql":
        spelt = f"intake\0{organization}\0{format_name}\0{message_key}".encode()
        number = int.from_bytes(hashlib.sha256(spelt).digest()[:8], signed=True)
        _LOCK.first(unit, {"number": number})


def find_message(unit: Unit, organization: str, format_name: str, message_key: str) -> list[Message]:
    """Every revision of a message that came, the lowest first: what counts is the last."""
    asked = {"organization": organization, "format": format_name, "message_key": message_key}
    return [Message(*row) for row in _REVISIONS.all(unit, asked)]


def messages_of(unit: Unit, referral: str) -> list[Message]:
    """Every message that belongs to a referral, in order of arrival."""
    query = select(*_COLUMNS).where(_MESSAGE.c.referral == referral).order_by(_MESSAGE.c.received_at, _MESSAGE.c.id)
    return [Message(*row) for row in unit.connection.execute(query)]


def keep_message(
    unit: Unit,
    *,
    organization: str,
    format: str,  # noqa: A002 (the word of the table)
    message_key: str,
    revision: int,
    content_sha256: str,
    body: str,
    client: str,
    referral: str | None,
    cuts: Sequence[tuple[str, str]] = (),
) -> str:
    """Store a message and return its id; the caller holds the key's lock and found no such revision.

    cuts: (pointer, keyed hash) of what was cut out of it.
    """
    message_id = new_id()
    _INSERT.run(
        unit,
        {
            "id": message_id,
            "organization": organization,
            "format": format,
            "message_key": message_key,
            "revision": revision,
            "content_sha256": content_sha256,
            "body": body,
            "received_at": unit.now,
            "client": client,
            "referral": referral,
            "kept": True,
            "cuts": [list(cut) for cut in cuts],
        },
    )
    return message_id

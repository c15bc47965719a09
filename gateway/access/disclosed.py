"""The values that stand on either side of the door.

`Held` is what the layers below a door may work with and nothing can render; `Disclosed`, `Outcome` and `Static` are all that can
be rendered or sent. A `Disclosed` is sealed: it asks for a value that `gateway.access.records` alone imports, so no other module
can make one, copy one with other content, or forge one by subclassing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import InitVar, dataclass, field
from datetime import datetime
from typing import Any, Final, Literal, Protocol

from gateway.errors import Failure
from gateway.store.ids import new_id
from gateway.store.registry import Client

Words = Literal["narrow", "response", "wide", "task"]


@dataclass(frozen=True, slots=True)
class VersionedId:
    """One version of one resource, as an audit row names it."""

    type: str
    id: str
    version: int

    def __str__(self) -> str:
        return f"{self.type}/{self.id}/_history/{self.version}"


@dataclass(frozen=True, slots=True)
class Held:
    """A stored resource in the hands of the layers below the doors; nothing in web, mllp or delivery can render it.

    body: the whole resource as stored, a copy that the holder may change and hand to `records.replace`.
    last_updated: aware UTC. domain: key of the organisation whose record it is.
    referral: the referral it was first written for. origin_id, origin_version: set on copies only.
    """

    id: str
    type: str
    version: int
    last_updated: datetime
    domain: str
    data_class: str
    referral: str | None
    origin_id: str | None
    origin_version: int | None
    body: dict[str, Any] = field(repr=False)

    @property
    def reference(self) -> str:
        """The relative reference of this resource, such as "Task/0190…"."""
        return f"{self.type}/{self.id}"

    def says(self, content: dict[str, Any]) -> bool:
        """Whether its content is this already; id, version and time left aside."""
        return _content(self.body) == _content(content)

    @property
    def versioned(self) -> VersionedId:
        """This version, for audit rows and ledgers."""
        return VersionedId(self.type, self.id, self.version)


def _content(resource: dict[str, Any]) -> dict[str, Any]:
    meta = {name: value for name, value in (resource.get("meta") or {}).items() if name not in ("versionId", "lastUpdated")}
    return {name: value for name, value in resource.items() if name not in ("id", "meta")} | ({"meta": meta} if meta else {})


class Recipient(Protocol):
    """To whom something leaves: a `Caller` that asked, or a `Reader`."""

    @property
    def client_id(self) -> str: ...
    @property
    def organization(self) -> str: ...
    @property
    def purpose(self) -> str: ...
    @property
    def request_id(self) -> str: ...


@dataclass(frozen=True, slots=True)
class Reader:
    """To whom something leaves, asked for or not: what an audit row says of a recipient."""

    client_id: str
    organization: str
    purpose: str
    request_id: str

    @classmethod
    def of(cls, recipient: Recipient) -> Reader:
        """The reader a caller is."""
        return cls(recipient.client_id, recipient.organization, recipient.purpose, recipient.request_id)

    @classmethod
    def of_client(cls, client: Client) -> Reader:
        """The reader a registered client is when something leaves towards it unasked."""
        return cls(client.id, client.organization, next(iter(sorted(client.purposes)), ""), new_id())


@dataclass(frozen=True, slots=True)
class ConsentState:
    """What the Consents of one person say about one flow at one time.

    state: "none" nothing on file · "claimed" asserted, not confirmed · "confirmed" the discloser confirmed it · "denied".
    consent: the Consent version the state rests on; None with "none".
    """

    state: Literal["none", "claimed", "confirmed", "denied"]
    consent: VersionedId | None = None


@dataclass(frozen=True, slots=True)
class ViewPermit:
    """Which words a sender may read about its referral now (DESIGN §5).

    row: policy row. words: "narrow" received, returned, closed · "response" adds what a responder team does · "wide" adds what
    the person authorized · "task" what a covered sender reads on its Task. also_response: the response words are permitted beside
    these. since: when the Consent that widens became so; None where nothing widens.
    """

    row: str
    words: Words
    consent: VersionedId | None
    since: datetime | None = None
    also_response: bool = False
    asked_response: bool = False
    sender: str = ""
    holder: str | None = None
    referral: str | None = None


class Withheld(Failure):
    """The door decided against a disclosure that another layer had planned; nothing leaves.

    row: the policy row, for the audit row and never for the recipient.
    """

    code, text = "not-found", "Nothing is known under this address."

    def __init__(self, row: str) -> None:
        self.row = row
        super().__init__()


class _Seal:
    """Proof of coming from the records; there is one."""

    __slots__ = ()


# Imported by gateway.access.records alone; tests/rules walks the sources for any other name of it.
_SEAL: Final = _Seal()


@dataclass(frozen=True, slots=True)
class Disclosed:
    """Something that was decided, audited and may leave.

    kind: "resource", "searchset", "bundle", "view", "dry-run" or "ledger".
    body: bytes as stored, or a JSON value to be written by `profiles.strict_json.to_json`.
    status: HTTP status a door answers with. headers: hints named as HTTP names them (ETag, Last-Modified, Location).
    """

    kind: str
    body: bytes | dict[str, Any] = field(repr=False)
    seal: InitVar[_Seal]
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self, seal: _Seal) -> None:
        if seal is not _SEAL or type(self) is not Disclosed:
            raise TypeError("only gateway.access.records makes a Disclosed")


@dataclass(frozen=True, slots=True)
class Outcome:
    """A refusal: a row of the failure table, field paths of the caller's own request and the request id. No content."""

    failure: Failure
    request_id: str


@dataclass(frozen=True, slots=True)
class Static:
    """Something that holds nothing of any record: metadata, a schema, a health word."""

    body: bytes | dict[str, Any] | list[Any] | str
    status: int = 200
    media_type: str = "application/json"
    headers: Mapping[str, str] = field(default_factory=dict)

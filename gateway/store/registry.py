"""Who takes part: organisations, what they are and offer, and the clients that speak for them.

Written by `crisis-gateway parties apply` and `client …` alone. Nothing is ever deleted: an organisation with a referral stays
known, a client that may not speak any more is suspended. Holds public keys and addresses, never a secret.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final

from sqlalchemy import Column, Index, bindparam, delete, insert, select, update
from sqlmodel import Field

from gateway.store.database import Unit
from gateway.store.rows import JsonText, Row
from gateway.store.statements import Statement


class OrganizationRow(Row, table=True):
    """An organisation, known by the key of the operator's parties file."""

    __tablename__ = "organization"

    key: str = Field(primary_key=True)
    name: str
    postures: list[str] = Field(sa_column=Column(JsonText, nullable=False))
    services: list[str] = Field(sa_column=Column(JsonText, nullable=False))
    channel_kind: str | None = None
    channel_address: str | None = None
    channel_client: str | None = None


class OrganizationServiceRow(Row, table=True):
    """A service an organisation is a candidate for: the index of `organization.services`."""

    __tablename__ = "organization_service"
    __table_args__ = (Index("organization_service_of", "service", "organization"),)

    organization: str = Field(primary_key=True)
    service: str = Field(primary_key=True)


class ClientRow(Row, table=True):
    """A registered system. Either `jwks` (a JWK set) or `jwks_url` is set."""

    __tablename__ = "client"

    id: str = Field(primary_key=True)
    organization: str = Field(index=True)
    scopes: str
    purposes: list[str] = Field(sa_column=Column(JsonText, nullable=False))
    jwks: dict[str, Any] | None = Field(default=None, sa_column=Column(JsonText, nullable=True))
    jwks_url: str | None = None
    callback: str | None = None
    suspended: bool = False


_ORGANIZATION = OrganizationRow.__table__  # type: ignore[attr-defined]
_SERVICE = OrganizationServiceRow.__table__  # type: ignore[attr-defined]
_CLIENT = ClientRow.__table__  # type: ignore[attr-defined]


_ORGANIZATIONS: Final = "registry.organizations"
_PURPOSES: Final = "registry.purposes"
_ONE_ORGANIZATION: Final = Statement(select(_ORGANIZATION).where(_ORGANIZATION.c.key == bindparam("of")))
_ONE_CLIENT: Final = Statement(select(_CLIENT).where(_CLIENT.c.id == bindparam("of")))
_PURPOSES_OF: Final = Statement(select(_CLIENT.c.purposes).where(_CLIENT.c.organization == bindparam("of")))
_CALLBACKS: Final = Statement(
    select(_CLIENT.c.id, _CLIENT.c.callback)
    .where(_CLIENT.c.organization == bindparam("of"), _CLIENT.c.callback.is_not(None), _CLIENT.c.suspended.is_(False))
    .order_by(_CLIENT.c.id)
)
_SERVING: Final = Statement(
    select(_ORGANIZATION)
    .join(_SERVICE, _SERVICE.c.organization == _ORGANIZATION.c.key)
    .where(_SERVICE.c.service == bindparam("of"))
    .order_by(_ORGANIZATION.c.key)
)


@dataclass(frozen=True, slots=True)
class Channel:
    """How an organisation is reached unasked. client_id: who the gateway is there, where it was told."""

    kind: str
    address: str
    client_id: str | None = None


@dataclass(frozen=True, slots=True)
class Organization:
    """A party as registered. postures: codes of access.posture. services: codes of our service-type code system, sorted."""

    key: str
    name: str
    postures: frozenset[str]
    services: tuple[str, ...] = ()
    channel: Channel | None = None


@dataclass(frozen=True, slots=True)
class Client:
    """A registered system. scopes: as registered, with blanks between. purposes: v3 ActReason codes it may ask for."""

    id: str
    organization: str
    scopes: str
    purposes: frozenset[str]
    jwks: dict[str, Any] | None = field(default=None, repr=False)
    jwks_url: str | None = None
    callback: str | None = None
    suspended: bool = False


def find_organization(unit: Unit, key: str) -> Organization | None:
    """An organisation by its key; read once a unit."""
    known: dict[str, Organization | None] = unit.memo.setdefault(_ORGANIZATIONS, {})
    if key not in known:
        row = _ONE_ORGANIZATION.mapping(unit, {"of": key})
        known[key] = _organization(row) if row is not None else None
    return known[key]


def organizations(unit: Unit) -> list[Organization]:
    """Every organisation, by key."""
    rows = unit.connection.execute(select(_ORGANIZATION).order_by(_ORGANIZATION.c.key)).mappings().all()
    return [_organization(row) for row in rows]


def organizations_serving(unit: Unit, service: str) -> list[Organization]:
    """The candidates for a service, by key, so that the order is the same every time."""
    return [_organization(row) for row in _SERVING.mappings(unit, {"of": service})]


def put_organization(unit: Unit, organization: Organization) -> None:
    """Write an organisation as it is from now on."""
    channel = organization.channel
    values = {
        "name": organization.name,
        "postures": sorted(organization.postures),
        "services": sorted(set(organization.services)),
        "channel_kind": channel.kind if channel else None,
        "channel_address": channel.address if channel else None,
        "channel_client": channel.client_id if channel else None,
    }
    unit.memo.pop(_ORGANIZATIONS, None)
    changed = unit.connection.execute(update(_ORGANIZATION).where(_ORGANIZATION.c.key == organization.key).values(**values))
    if changed.rowcount == 0:
        unit.connection.execute(insert(_ORGANIZATION).values(key=organization.key, **values))
    unit.connection.execute(delete(_SERVICE).where(_SERVICE.c.organization == organization.key))
    if organization.services:
        rows = [{"organization": organization.key, "service": service} for service in sorted(set(organization.services))]
        unit.connection.execute(insert(_SERVICE), rows)


def client_of(unit: Unit, client_id: str) -> Client | None:
    """A registered client, suspended or not."""
    row = _ONE_CLIENT.mapping(unit, {"of": client_id})
    return _client(row) if row is not None else None


def clients(unit: Unit) -> list[Client]:
    """Every client, by id."""
    return [_client(row) for row in unit.connection.execute(select(_CLIENT).order_by(_CLIENT.c.id)).mappings().all()]


def put_client(unit: Unit, client: Client) -> None:
    """Write a client as it is from now on."""
    values = {
        "organization": client.organization,
        "scopes": client.scopes,
        "purposes": sorted(client.purposes),
        "jwks": client.jwks,
        "jwks_url": client.jwks_url,
        "callback": client.callback,
        "suspended": client.suspended,
    }
    unit.memo.pop(_PURPOSES, None)
    changed = unit.connection.execute(update(_CLIENT).where(_CLIENT.c.id == client.id).values(**values))
    if changed.rowcount == 0:
        unit.connection.execute(insert(_CLIENT).values(id=client.id, **values))


def callback_of(unit: Unit, organization: str) -> list[tuple[str, str]]:
    """(client id, address) of every system of an organisation that wants to be called back; suspended ones are not."""
    return [(row[0], row[1]) for row in _CALLBACKS.all(unit, {"of": organization})]


def organization_purposes(unit: Unit, key: str) -> frozenset[str]:
    """Every purpose some client of an organisation is registered for; read once a unit."""
    known: dict[str, frozenset[str]] = unit.memo.setdefault(_PURPOSES, {})
    if key not in known:
        known[key] = frozenset(purpose for purposes in _PURPOSES_OF.scalars(unit, {"of": key}) for purpose in purposes)
    return known[key]


def _organization(row: Any) -> Organization:
    channel = Channel(row["channel_kind"], row["channel_address"], row["channel_client"]) if row["channel_kind"] else None
    return Organization(row["key"], row["name"], frozenset(row["postures"]), tuple(row["services"]), channel)


def _client(row: Any) -> Client:
    return Client(
        id=row["id"],
        organization=row["organization"],
        scopes=row["scopes"],
        purposes=frozenset(row["purposes"]),
        jwks=row["jwks"],
        jwks_url=row["jwks_url"],
        callback=row["callback"],
        suspended=bool(row["suspended"]),
    )

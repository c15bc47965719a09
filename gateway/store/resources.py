"""Resources: the current row of each, all their versions, their visibility classes and the referrals they belong to.

Only `gateway.access.records` imports this module. It decides nothing: who may see a row is told by `store.visible`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Column, Index, Text, insert, select, update
from sqlmodel import Field

from gateway.store.database import Unit
from gateway.store.ids import new_id
from gateway.store.rows import Instant, Row


class ResourceRow(Row, table=True):
    """The current version of a resource; `body` holds the bytes that are served."""

    __tablename__ = "resource"
    __table_args__ = (Index("resource_by_origin", "origin_id", "domain"), Index("resource_by_domain", "domain", "type"))

    id: str = Field(primary_key=True)
    type: str
    domain: str
    data_class: str
    referral: str | None = None
    version: int
    last_updated: datetime = Field(sa_type=Instant)
    deleted: bool = False
    origin_id: str | None = None
    origin_version: int | None = None
    visibility_class: str
    body: str = Field(sa_column=Column(Text, nullable=False))


class ResourceVersionRow(Row, table=True):
    """Every version ever stored, the current one included."""

    __tablename__ = "resource_version"

    id: str = Field(primary_key=True)
    version: int = Field(primary_key=True)
    last_updated: datetime = Field(sa_type=Instant)
    body: str = Field(sa_column=Column(Text, nullable=False))
    visibility_class: str
    author: str


class VisibilityClassRow(Row, table=True):
    """A distinct (domain, data class, label set, element class). labels: sorted "system|code", one a line."""

    __tablename__ = "visibility_class"
    __table_args__ = (Index("visibility_class_of", "domain", "data_class"),)

    id: str = Field(primary_key=True)
    domain: str
    data_class: str
    labels: str = Field(sa_column=Column(Text, nullable=False))
    element_class: str


class ResourceReferralRow(Row, table=True):
    """Membership of a resource in a referral; a Patient copy serves several referrals of the same person."""

    __tablename__ = "resource_referral"
    __table_args__ = (Index("resource_referral_of", "referral", "resource"),)

    resource: str = Field(primary_key=True)
    referral: str = Field(primary_key=True)


_RESOURCE = ResourceRow.__table__  # type: ignore[attr-defined]
_VERSION = ResourceVersionRow.__table__  # type: ignore[attr-defined]
_CLASS = VisibilityClassRow.__table__  # type: ignore[attr-defined]
_REFERRAL = ResourceReferralRow.__table__  # type: ignore[attr-defined]


@dataclass(frozen=True, slots=True)
class Stored:
    """A row of `resource` as read."""

    id: str
    type: str
    domain: str
    data_class: str
    referral: str | None
    version: int
    last_updated: datetime
    deleted: bool
    origin_id: str | None
    origin_version: int | None
    visibility_class: str
    body: str


_COLUMNS = [_RESOURCE.c[name] for name in Stored.__slots__]


def insert_resource(unit: Unit, stored: Stored, *, author: str) -> None:
    """Store the first version and its membership."""
    unit.connection.execute(insert(_RESOURCE).values(**{name: getattr(stored, name) for name in Stored.__slots__}))
    _keep_version(unit, stored, author)
    if stored.referral is not None:
        unit.connection.execute(insert(_REFERRAL).values(resource=stored.id, referral=stored.referral))


def update_resource(unit: Unit, stored: Stored, *, expected_version: int, author: str) -> bool:
    """Store the next version; False when the current one is no longer `expected_version` (nothing is written)."""
    changed = unit.connection.execute(
        update(_RESOURCE)
        .where(_RESOURCE.c.id == stored.id, _RESOURCE.c.version == expected_version)
        .values(
            version=stored.version,
            last_updated=stored.last_updated,
            origin_version=stored.origin_version,
            visibility_class=stored.visibility_class,
            body=stored.body,
        )
    )
    if changed.rowcount != 1:
        return False
    _keep_version(unit, stored, author)
    return True


def _keep_version(unit: Unit, stored: Stored, author: str) -> None:
    unit.connection.execute(
        insert(_VERSION).values(
            id=stored.id,
            version=stored.version,
            last_updated=stored.last_updated,
            body=stored.body,
            visibility_class=stored.visibility_class,
            author=author,
        )
    )


def add_to_referral(unit: Unit, resource_id: str, referral: str) -> None:
    """Make a resource part of a referral; does nothing when it already is."""
    known = select(_REFERRAL.c.resource).where(_REFERRAL.c.resource == resource_id, _REFERRAL.c.referral == referral)
    if unit.connection.execute(known).first() is None:
        unit.connection.execute(insert(_REFERRAL).values(resource=resource_id, referral=referral))


def find_resource(unit: Unit, resource_id: str) -> Stored | None:
    """The current row of a resource."""
    return next(iter(find_resources(unit, [resource_id])), None)


def find_resources(unit: Unit, resource_ids: Sequence[str]) -> list[Stored]:
    """The current rows of several resources, ordered by id; unknown ids are left out."""
    if not resource_ids:
        return []
    rows = unit.connection.execute(select(*_COLUMNS).where(_RESOURCE.c.id.in_(sorted(set(resource_ids)))).order_by(_RESOURCE.c.id))
    return [Stored(*row) for row in rows]


def find_copies(unit: Unit, origin_ids: Iterable[str], domain: str | None = None) -> list[Stored]:
    """The copies of some origins, in one domain or in all, oldest first."""
    wanted = sorted(set(origin_ids))
    if not wanted:
        return []
    query = select(*_COLUMNS).where(_RESOURCE.c.origin_id.in_(wanted))
    if domain is not None:
        query = query.where(_RESOURCE.c.domain == domain)
    return [Stored(*row) for row in unit.connection.execute(query.order_by(_RESOURCE.c.id))]


def resources_of(unit: Unit, referral: str, domain: str | None = None) -> list[Stored]:
    """The resources of a referral, in one domain or in all, oldest first."""
    query = select(*_COLUMNS).join(_REFERRAL, _REFERRAL.c.resource == _RESOURCE.c.id).where(_REFERRAL.c.referral == referral)
    if domain is not None:
        query = query.where(_RESOURCE.c.domain == domain)
    return [Stored(*row) for row in unit.connection.execute(query.order_by(_RESOURCE.c.id))]


def resources_in(unit: Unit, domain: str, resource_type: str | None = None) -> list[Stored]:
    """The resources of one domain, oldest first."""
    query = select(*_COLUMNS).where(_RESOURCE.c.domain == domain)
    if resource_type is not None:
        query = query.where(_RESOURCE.c.type == resource_type)
    return [Stored(*row) for row in unit.connection.execute(query.order_by(_RESOURCE.c.id))]


def members(unit: Unit, referrals: Iterable[str], resource_type: str) -> list[tuple[str, str | None]]:
    """(id, origin id) of the resources of one type in any of these referrals, in all domains."""
    query = select(_RESOURCE.c.id, _RESOURCE.c.origin_id).join(_REFERRAL, _REFERRAL.c.resource == _RESOURCE.c.id)
    query = query.where(_REFERRAL.c.referral.in_(sorted(set(referrals))), _RESOURCE.c.type == resource_type)
    return [(row[0], row[1]) for row in unit.connection.execute(query.distinct().order_by(_RESOURCE.c.id))]


def copy_ids(unit: Unit, origin_ids: Iterable[str]) -> list[str]:
    """Ids of the copies of some origins, in all domains."""
    query = select(_RESOURCE.c.id).where(_RESOURCE.c.origin_id.in_(sorted(set(origin_ids)))).order_by(_RESOURCE.c.id)
    return [row[0] for row in unit.connection.execute(query)]


def own_request_domain(unit: Unit, referral: str) -> str | None:
    """The domain of a referral's own ServiceRequest, which is no copy: its sender's."""
    query = select(_RESOURCE.c.domain).join(_REFERRAL, _REFERRAL.c.resource == _RESOURCE.c.id)
    query = query.where(_REFERRAL.c.referral == referral, _RESOURCE.c.type == "ServiceRequest", _RESOURCE.c.origin_id.is_(None))
    row = unit.connection.execute(query.order_by(_RESOURCE.c.id).limit(1)).first()
    return str(row[0]) if row is not None else None


def referrals_of(unit: Unit, resource_ids: Iterable[str]) -> dict[str, list[str]]:
    """The referrals each resource belongs to."""
    wanted = sorted(set(resource_ids))
    found: dict[str, list[str]] = {resource_id: [] for resource_id in wanted}
    if wanted:
        query = select(_REFERRAL.c.resource, _REFERRAL.c.referral).where(_REFERRAL.c.resource.in_(wanted)).order_by(_REFERRAL.c.referral)
        for resource_id, referral in unit.connection.execute(query):
            found[resource_id].append(referral)
    return found


def domains_of(unit: Unit) -> list[str]:
    """Every domain that holds a resource."""
    return [row[0] for row in unit.connection.execute(select(_RESOURCE.c.domain).distinct().order_by(_RESOURCE.c.domain))]


def versions_of(unit: Unit, resource_id: str) -> list[tuple[int, datetime, str, str]]:
    """All versions of a resource as (version, last_updated, author, body), oldest first."""
    query = select(_VERSION.c.version, _VERSION.c.last_updated, _VERSION.c.author, _VERSION.c.body).where(_VERSION.c.id == resource_id)
    return [(row[0], row[1], row[2], row[3]) for row in unit.connection.execute(query.order_by(_VERSION.c.version))]


def class_id(unit: Unit, *, domain: str, data_class: str, labels: str, element_class: str) -> str:
    """The id of a visibility class, made on first use."""
    query = select(_CLASS.c.id).where(
        _CLASS.c.domain == domain, _CLASS.c.data_class == data_class, _CLASS.c.labels == labels, _CLASS.c.element_class == element_class
    )
    found = unit.connection.execute(query).first()
    if found is not None:
        return str(found[0])
    made = new_id()
    unit.connection.execute(
        insert(_CLASS).values(id=made, domain=domain, data_class=data_class, labels=labels, element_class=element_class)
    )
    return made

"""Resources: the current row of each, all their versions, their visibility classes and the referrals they belong to.

Only `gateway.access.records` imports this module. It decides nothing: who may see a row is told by `store.visible`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from sqlalchemy import Column, Index, Text, bindparam, insert, select, update
from sqlmodel import Field

from gateway.store.database import Unit
from gateway.store.rows import KEYED, Instant, Row
from gateway.store.statements import Rows, Statement, one_of


class ResourceRow(Row, table=True):
    """The current version of a resource; `body` holds the bytes that are served. author: client id, or "gateway"."""

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
    author: str
    body: str = Field(sa_column=Column(Text, nullable=False))


class ResourceVersionRow(Row, table=True):
    """Every version that a newer one has taken the place of."""

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
    __table_args__ = (Index("visibility_class_of", "domain", "data_class"), KEYED)

    id: str = Field(primary_key=True)
    domain: str
    data_class: str
    labels: str = Field(sa_column=Column(Text, nullable=False))
    element_class: str


class ResourceReferralRow(Row, table=True):
    """Membership of a resource in a referral; a Patient copy serves several referrals of the same person. type: of the resource."""

    __tablename__ = "resource_referral"
    __table_args__ = (Index("resource_referral_of", "referral", "type", "resource"), KEYED)

    resource: str = Field(primary_key=True)
    referral: str = Field(primary_key=True)
    type: str


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
    author: str
    body: str


STORED_COLUMNS = [_RESOURCE.c[name] for name in Stored.__slots__]


_REFERRAL_KEY: Final = _REFERRAL.c.referral == bindparam("referral")
_IN_DOMAIN: Final = _RESOURCE.c.domain == bindparam("domain")
_INSERT_RESOURCES: Final = Rows(_RESOURCE)
_KEEP_FORMER: Final = Statement(insert(_VERSION))
_INSERT_MEMBERSHIPS: Final = Rows(_REFERRAL)
_CHANGED: Final = ("version", "last_updated", "origin_version", "visibility_class", "author", "body")
_RENEW: Final = Statement(
    update(_RESOURCE)
    .where(_RESOURCE.c.id == bindparam("key"), _RESOURCE.c.version == bindparam("expected"))
    .values({name: bindparam(name) for name in _CHANGED})
)
_MEMBERSHIP: Final = Statement(select(_REFERRAL.c.resource).where(_REFERRAL.c.resource == bindparam("resource"), _REFERRAL_KEY))
_BY_ID: Final = Statement(lambda dialect: select(*STORED_COLUMNS).where(one_of(_RESOURCE.c.id, "ids", dialect)).order_by(_RESOURCE.c.id))
_DOMAINS_BY_ID: Final = Statement(lambda dialect: select(_RESOURCE.c.id, _RESOURCE.c.domain).where(one_of(_RESOURCE.c.id, "ids", dialect)))
_REFERRALS_OF: Final = Statement(
    lambda dialect: (
        select(_REFERRAL.c.resource, _REFERRAL.c.referral)
        .where(one_of(_REFERRAL.c.resource, "ids", dialect))
        .order_by(_REFERRAL.c.referral)
    )
)
_CLASSES: Final = Statement(lambda dialect: select(_CLASS.c.id).where(one_of(_CLASS.c.id, "ids", dialect)))
_INSERT_CLASSES: Final = Rows(_CLASS, lambda statement: statement.on_conflict_do_nothing())


def _copies(dialect: str) -> Any:
    return select(*STORED_COLUMNS).where(one_of(_RESOURCE.c.origin_id, "ids", dialect)).order_by(_RESOURCE.c.id)


_COPIES: Final = Statement(_copies)
_COPIES_IN: Final = Statement(lambda dialect: _copies(dialect).where(_IN_DOMAIN))
_MEMBERS_OF: Final = (
    select(*STORED_COLUMNS).join(_REFERRAL, _REFERRAL.c.resource == _RESOURCE.c.id).where(_REFERRAL_KEY).order_by(_RESOURCE.c.id)
)
_OF_REFERRAL: Final = Statement(_MEMBERS_OF)
_OF_REFERRAL_IN: Final = Statement(_MEMBERS_OF.where(_IN_DOMAIN))
_OWN_REQUESTS: Final = Statement(
    lambda dialect: (
        select(_REFERRAL.c.referral, _RESOURCE.c.domain)
        .join(_REFERRAL, _REFERRAL.c.resource == _RESOURCE.c.id)
        .where(one_of(_REFERRAL.c.referral, "ids", dialect), _REFERRAL.c.type == "ServiceRequest", _RESOURCE.c.origin_id.is_(None))
        .order_by(_RESOURCE.c.id)
    )
)


def insert_resources(unit: Unit, stored: Sequence[Stored]) -> None:
    """Store the first versions of some resources and their membership."""
    _INSERT_RESOURCES.write(unit, [{name: getattr(each, name) for name in Stored.__slots__} for each in stored])
    _INSERT_MEMBERSHIPS.write(
        unit, [{"resource": each.id, "referral": each.referral, "type": each.type} for each in stored if each.referral is not None]
    )


def update_resource(unit: Unit, stored: Stored, *, former: Stored) -> bool:
    """Store the next version and keep the former; False when that is no longer the current one (nothing is written)."""
    renewed = {name: getattr(stored, name) for name in _CHANGED}
    if _RENEW.run(unit, {"key": former.id, "expected": former.version, **renewed}) != 1:
        return False
    _KEEP_FORMER.run(unit, {name: getattr(former, name) for name in ResourceVersionRow.model_fields})
    return True


def add_to_referral(unit: Unit, resource_id: str, resource_type: str, referral: str) -> bool:
    """Make a resource part of a referral; False when it already was."""
    membership = {"resource": resource_id, "referral": referral, "type": resource_type}
    if _MEMBERSHIP.first(unit, membership) is not None:
        return False
    _INSERT_MEMBERSHIPS.write(unit, [membership])
    return True


def find_resource(unit: Unit, resource_id: str) -> Stored | None:
    """The current row of a resource."""
    return next(iter(find_resources(unit, [resource_id])), None)


def find_resources(unit: Unit, resource_ids: Sequence[str]) -> list[Stored]:
    """The current rows of several resources, ordered by id; unknown ids are left out."""
    if not resource_ids:
        return []
    return [Stored(*row) for row in _BY_ID.all(unit, {"ids": sorted(set(resource_ids))})]


def find_copies(unit: Unit, origin_ids: Iterable[str], domain: str | None = None) -> list[Stored]:
    """The copies of some origins, in one domain or in all, oldest first."""
    wanted = sorted(set(origin_ids))
    if not wanted:
        return []
    if domain is None:
        return [Stored(*row) for row in _COPIES.all(unit, {"ids": wanted})]
    return [Stored(*row) for row in _COPIES_IN.all(unit, {"ids": wanted, "domain": domain})]


def resources_of(unit: Unit, referral: str, domain: str | None = None) -> list[Stored]:
    """The resources of a referral, in one domain or in all, oldest first."""
    if domain is None:
        return [Stored(*row) for row in _OF_REFERRAL.all(unit, {"referral": referral})]
    return [Stored(*row) for row in _OF_REFERRAL_IN.all(unit, {"referral": referral, "domain": domain})]


def resources_in(unit: Unit, domain: str, resource_type: str | None = None) -> list[Stored]:
    """The resources of one domain, oldest first."""
    query = select(*STORED_COLUMNS).where(_RESOURCE.c.domain == domain)
    if resource_type is not None:
        query = query.where(_RESOURCE.c.type == resource_type)
    return [Stored(*row) for row in unit.connection.execute(query.order_by(_RESOURCE.c.id))]


def domains_by_id(unit: Unit, resource_ids: Iterable[str]) -> dict[str, str]:
    """The domain of each of these resources; unknown ids are left out."""
    return {row[0]: row[1] for row in _DOMAINS_BY_ID.all(unit, {"ids": sorted(set(resource_ids))})}


def own_request_domains(unit: Unit, referrals: Iterable[str]) -> dict[str, str]:
    """The domain of each referral's own ServiceRequest, which is no copy: its sender's. One without is left out."""
    rows = _OWN_REQUESTS.all(unit, {"ids": sorted(set(referrals))})
    return {row[0]: row[1] for row in reversed(rows)}


def referrals_of(unit: Unit, resource_ids: Iterable[str]) -> dict[str, list[str]]:
    """The referrals each resource belongs to."""
    wanted = sorted(set(resource_ids))
    found: dict[str, list[str]] = {resource_id: [] for resource_id in wanted}
    if wanted:
        for resource_id, referral in _REFERRALS_OF.all(unit, {"ids": wanted}):
            found[resource_id].append(referral)
    return found


def domains_of(unit: Unit) -> list[str]:
    """Every domain that holds a resource."""
    return [row[0] for row in unit.connection.execute(select(_RESOURCE.c.domain).distinct().order_by(_RESOURCE.c.domain))]


@dataclass(frozen=True, slots=True)
class VisibilityClass:
    """What resources have in common that are judged alike. labels: sorted "system|code", one a line."""

    domain: str
    data_class: str
    labels: str
    element_class: str

    @property
    def id(self) -> str:
        """The same for the same content, on every host: nobody has to look it up."""
        spelt = f"{self.domain}\0{self.data_class}\0{self.labels}\0{self.element_class}"
        return hashlib.sha256(spelt.encode()).hexdigest()[:32]


def keep_classes(unit: Unit, classes: Iterable[VisibilityClass]) -> None:
    """Make the rows of classes that have none yet."""
    wanted = {each.id: each for each in classes}
    known = set(_CLASSES.scalars(unit, {"ids": sorted(wanted)}))
    missing = [
        {"id": key, "domain": each.domain, "data_class": each.data_class, "labels": each.labels, "element_class": each.element_class}
        for key, each in sorted(wanted.items())
        if key not in known
    ]
    _INSERT_CLASSES.write(unit, missing)

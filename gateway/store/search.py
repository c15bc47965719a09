"""Index rows and the one query over them.

Every table the query touches is joined to the permits of the principal: the resource itself, each index row by its element
class, and the target of a reference. Only `gateway.access.records` imports this module.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from sqlalchemy import ColumnElement, Index, LargeBinary, and_, bindparam, delete, exists, false, func, insert, or_, select
from sqlmodel import Field

from gateway.store.criteria import BASE, Principal, Query, Reference, Token
from gateway.store.database import Unit
from gateway.store.rows import KEYED, Instant, Row
from gateway.store.statements import Statement
from gateway.store.visible import _VISIBLE, permitted


class SearchTokenRow(Row, table=True):
    """A coded value or identifier of a resource. system is "" where the element has none."""

    __tablename__ = "search_token"
    __table_args__ = (Index("search_token_value", "type", "param", "code", "resource", "system"), KEYED)

    resource: str = Field(primary_key=True)
    type: str
    param: str = Field(primary_key=True)
    system: str = Field(primary_key=True)
    code: str = Field(primary_key=True)
    element_class: str


class SearchReferenceRow(Row, table=True):
    """A reference of a resource to `target` ("Type/id")."""

    __tablename__ = "search_reference"
    __table_args__ = (Index("search_reference_target", "type", "param", "target", "resource"), KEYED)

    resource: str = Field(primary_key=True)
    type: str
    param: str = Field(primary_key=True)
    target: str = Field(primary_key=True)
    element_class: str


class SearchSealRow(Row, table=True):
    """The one key that seals continuation links; made on first use, so that every process of a database shares it."""

    __tablename__ = "search_seal"

    name: str = Field(primary_key=True)
    key: bytes = Field(sa_type=LargeBinary)
    made_at: datetime = Field(sa_type=Instant)


_TOKEN = SearchTokenRow.__table__  # type: ignore[attr-defined]
_REFERENCE = SearchReferenceRow.__table__  # type: ignore[attr-defined]
_SEAL = SearchSealRow.__table__  # type: ignore[attr-defined]


@dataclass(frozen=True, slots=True)
class Indexed:
    """A resource and what it is to be found by."""

    id: str
    type: str
    tokens: Sequence[Token]
    references: Sequence[Reference]


_INSERT_TOKEN: Final = Statement(insert(_TOKEN))
_INSERT_REFERENCE: Final = Statement(insert(_REFERENCE))
_DELETE_TOKENS: Final = Statement(delete(_TOKEN).where(_TOKEN.c.resource == bindparam("id")))
_DELETE_REFERENCES: Final = Statement(delete(_REFERENCE).where(_REFERENCE.c.resource == bindparam("id")))
_HOLDERS: Final = Statement(
    select(_TOKEN.c.resource)
    .where(
        _TOKEN.c.type == bindparam("of_type"),
        _TOKEN.c.param == "identifier",
        _TOKEN.c.system == bindparam("in_system"),
        _TOKEN.c.code == bindparam("value"),
    )
    .order_by(_TOKEN.c.resource)
)
_SEAL_KEY: Final = Statement(select(_SEAL.c.key).where(_SEAL.c.name == "continuation"))


def index_resources(unit: Unit, resources: Sequence[Indexed], *, are_new: bool = False) -> None:
    """Put these index rows in the place of those the resources had. are_new: they had none."""
    for resource in () if are_new else resources:
        _DELETE_TOKENS.run(unit, {"id": resource.id})
        _DELETE_REFERENCES.run(unit, {"id": resource.id})
    _INSERT_TOKEN.run_each(unit, [row for resource in resources for row in _token_rows(resource)])
    _INSERT_REFERENCE.run_each(unit, [row for resource in resources for row in _reference_rows(resource)])


def _token_rows(resource: Indexed) -> Iterator[dict[str, str]]:
    rows = {(row.param, row.system or "", row.code or ""): row.element_class for row in resource.tokens}
    for (param, system, code), element_class in rows.items():
        yield {
            "resource": resource.id,
            "type": resource.type,
            "param": param,
            "system": system,
            "code": code,
            "element_class": element_class,
        }


def _reference_rows(resource: Indexed) -> Iterator[dict[str, str]]:
    rows = {(row.param, row.target): row.element_class for row in resource.references}
    for (param, target), element_class in rows.items():
        yield {"resource": resource.id, "type": resource.type, "param": param, "target": target, "element_class": element_class}


def _has_permit(principal: Principal, resource: ColumnElement[str], element_class: ColumnElement[str] | str) -> ColumnElement[bool]:
    permit = _VISIBLE.alias()
    return exists().where(permitted(principal, permit), permit.c.resource == resource, permit.c.element_class == element_class)


def _token_condition(query: Query, principal: Principal, wanted: Token) -> ColumnElement[bool]:
    row = _TOKEN.alias()
    condition = [row.c.resource == _VISIBLE.c.resource, row.c.type == query.type, row.c.param == wanted.param]
    if wanted.system is not None:
        condition.append(row.c.system == wanted.system)
    if wanted.code is not None:
        condition.append(row.c.code == wanted.code)
    return exists().where(*condition, _has_permit(principal, row.c.resource, row.c.element_class))


def _reference_condition(query: Query, principal: Principal, wanted: Reference) -> ColumnElement[bool]:
    row, target = _REFERENCE.alias(), _VISIBLE.alias()
    refers = exists().where(
        row.c.resource == _VISIBLE.c.resource,
        row.c.type == query.type,
        row.c.param == wanted.param,
        row.c.target == wanted.target,
        _has_permit(principal, row.c.resource, row.c.element_class),
    )
    # a reference to a hidden resource behaves like one to nothing
    known = exists().where(
        target.c.resource == wanted.target.partition("/")[2],
        target.c.type == wanted.target.partition("/")[0],
        target.c.element_class == BASE,
        permitted(principal, target),
    )
    return and_(refers, known)


def _conditions(query: Query, principal: Principal, horizon: datetime | None) -> list[ColumnElement[bool]]:
    conditions: list[ColumnElement[bool]] = [permitted(principal), _VISIBLE.c.type == query.type, _VISIBLE.c.element_class == BASE]
    for alternatives in query.all_of:
        options = [
            _token_condition(query, principal, wanted) if isinstance(wanted, Token) else _reference_condition(query, principal, wanted)
            for wanted in alternatives
        ]
        conditions.append(or_(*options) if options else false())
    for span in query.spans:
        if span.start is not None:
            conditions.append(_VISIBLE.c.last_updated >= span.start)
        if span.end is not None:
            conditions.append(_VISIBLE.c.last_updated < span.end)
    conditions.extend(_VISIBLE.c.resource.in_(sorted(ids)) for ids in query.ids)
    if horizon is not None:
        conditions.append(_VISIBLE.c.last_updated < horizon)
    return conditions


def find_page(
    unit: Unit, query: Query, principal: Principal, *, after: tuple[datetime, str] | None, limit: int, horizon: datetime | None
) -> list[tuple[datetime, str]]:
    """The next (last_updated, resource id) after a key, in that order, of what the principal may see."""
    conditions = _conditions(query, principal, horizon)
    if after is not None:
        at, resource_id = after
        conditions.append(
            or_(_VISIBLE.c.last_updated > at, and_(_VISIBLE.c.last_updated == at, _VISIBLE.c.resource > resource_id)),
        )
    statement = select(_VISIBLE.c.last_updated, _VISIBLE.c.resource).where(*conditions)
    rows = unit.connection.execute(statement.order_by(_VISIBLE.c.last_updated, _VISIBLE.c.resource).limit(limit))
    return [(row[0], row[1]) for row in rows]


def count_matches(unit: Unit, query: Query, principal: Principal, *, cap: int, horizon: datetime | None) -> int | None:
    """How many the principal may see; None when more than `cap`, the same for everyone."""
    inner = select(_VISIBLE.c.resource).where(*_conditions(query, principal, horizon)).limit(cap + 1).subquery()
    found = int(unit.connection.execute(select(func.count()).select_from(inner)).scalar_one())
    return found if found <= cap else None


def holders_of_identifier(unit: Unit, resource_type: str, system: str, value: str) -> list[str]:
    """Ids of resources with this identifier, whoever may see them; for the layers below the doors only."""
    return _HOLDERS.scalars(unit, {"of_type": resource_type, "in_system": system, "value": value})


def find_seal(unit: Unit) -> bytes | None:
    """The key that seals continuation links, if it was made."""
    row = _SEAL_KEY.first(unit)
    return bytes(row[0]) if row is not None else None


def keep_seal(unit: Unit, key: bytes) -> bytes:
    """Keep this key unless there is one already; returns the one that stands."""
    found = find_seal(unit)
    if found is None:
        unit.connection.execute(insert(_SEAL).values(name="continuation", key=key, made_at=unit.now))
    return found or key

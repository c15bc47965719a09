"""Index rows and the one query over them.

Every table the query touches is joined to the permits of the principal: the resource itself, each index row by the element
classes that the same permit opens, and the target of a reference by its own. Only `gateway.access.records` imports this module.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import Any, Final, NamedTuple

from sqlalchemy import (
    ColumnElement,
    Index,
    Integer,
    LargeBinary,
    and_,
    bindparam,
    delete,
    exists,
    false,
    func,
    insert,
    literal_column,
    or_,
    select,
)
from sqlmodel import Field

from gateway.store.criteria import Principal, Query, Reference, Token
from gateway.store.database import Unit
from gateway.store.rows import KEYED, Instant, Row
from gateway.store.statements import Rows, Statement, one_of
from gateway.store.visible import _VISIBLE, asked_by, opens, permitted


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


_INSERT_TOKENS: Final = Rows(_TOKEN)
_INSERT_REFERENCES: Final = Rows(_REFERENCE)
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
    _INSERT_TOKENS.write(unit, [row for resource in resources for row in _token_rows(resource)])
    _INSERT_REFERENCES.write(unit, [row for resource in resources for row in _reference_rows(resource)])


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


class _Kind(NamedTuple):
    """How one value is asked for. is_rare: few resources have it, so a query begins with them."""

    is_token: bool
    has_system: bool
    has_code: bool
    is_rare: bool


@dataclass(frozen=True, slots=True)
class _Shape:
    """What a query's statement depends on; its values go in beside. Two queries of one shape are one statement.

    spans: whether start and end are given.
    """

    all_of: tuple[tuple[_Kind, ...], ...]
    spans: tuple[tuple[bool, bool], ...]
    ids: int
    is_continued: bool
    is_count: bool


def _shape(query: Query, *, is_continued: bool = False, is_count: bool = False) -> _Shape:
    return _Shape(
        tuple(tuple(_kind(wanted) for wanted in alternatives) for alternatives in query.all_of),
        tuple((span.start is not None, span.end is not None) for span in query.spans),
        len(query.ids),
        is_continued,
        is_count,
    )


def _kind(wanted: Token | Reference) -> _Kind:
    if isinstance(wanted, Token):
        has_code = wanted.code is not None
        return _Kind(True, wanted.system is not None, has_code, wanted.param == "identifier" and has_code)
    return _Kind(False, True, True, not wanted.target.startswith("Organization/"))


def _values(query: Query, principal: Principal, horizon: datetime, limit: int) -> dict[str, Any]:
    """The values of a query under the names that `_statement` gives them."""
    values: dict[str, Any] = {**asked_by(principal), "of_type": query.type, "most": limit, "horizon": horizon}
    for place, alternatives in enumerate(query.all_of):
        for at, wanted in enumerate(alternatives):
            name = f"v{place}_{at}"
            values[f"{name}_param"] = wanted.param
            if isinstance(wanted, Token):
                values |= {f"{name}_system": wanted.system, f"{name}_code": wanted.code}
            else:
                kind, _, resource_id = wanted.target.partition("/")
                values |= {f"{name}_target": wanted.target, f"{name}_type": kind, f"{name}_id": resource_id}
    for place, span in enumerate(query.spans):
        values |= {f"start{place}": span.start, f"end{place}": span.end}
    for place, ids in enumerate(query.ids):
        values[f"ids{place}"] = sorted(ids)
    return values


def _value_condition(name: str, kind: _Kind, dialect: str) -> ColumnElement[bool]:
    """That a resource has one wanted value, in an index row that its permit opens."""
    row = (_TOKEN if kind.is_token else _REFERENCE).alias()
    asked = [row.c.type == bindparam("of_type"), row.c.param == bindparam(f"{name}_param")]
    if not kind.is_token:
        asked.append(row.c.target == bindparam(f"{name}_target"))
    elif kind.has_system:
        asked.append(row.c.system == bindparam(f"{name}_system"))
    if kind.is_token and kind.has_code:
        asked.append(row.c.code == bindparam(f"{name}_code"))
    # a subquery with a limit is asked for each permit by its key, whatever a planner without values would rather join
    opened: Any = select(literal_column("1")).where(
        *asked, row.c.resource == _VISIBLE.c.resource, opens(_VISIBLE, row.c.element_class, dialect)
    )
    conditions: list[ColumnElement[bool]] = [opened.limit(literal_column("1")).scalar_subquery().is_not(None)]
    if kind.is_rare:
        conditions.append(_VISIBLE.c.resource.in_(select(row.c.resource).where(*asked)))
    if not kind.is_token:  # a reference to a hidden resource behaves as one to nothing
        target = _VISIBLE.alias()
        named = (target.c.resource == bindparam(f"{name}_id"), target.c.type == bindparam(f"{name}_type"))
        conditions.append(exists().where(*named, permitted(target)))
    return and_(*conditions)


def _conditions(shape: _Shape, dialect: str) -> Iterator[ColumnElement[bool]]:
    yield permitted(_VISIBLE)
    yield _VISIBLE.c.type == bindparam("of_type")
    for place, alternatives in enumerate(shape.all_of):
        options = [_value_condition(f"v{place}_{at}", kind, dialect) for at, kind in enumerate(alternatives)]
        yield or_(*options) if options else false()
    for place, (has_start, has_end) in enumerate(shape.spans):
        if has_start:
            yield _VISIBLE.c.last_updated >= bindparam(f"start{place}", type_=Instant)
        if has_end:
            yield _VISIBLE.c.last_updated < bindparam(f"end{place}", type_=Instant)
    for place in range(shape.ids):
        yield one_of(_VISIBLE.c.resource, f"ids{place}", dialect)
    yield _VISIBLE.c.last_updated < bindparam("horizon", type_=Instant)
    if shape.is_continued:
        at: Any = bindparam("after_at", type_=Instant)
        after: Any = bindparam("after_id")
        yield or_(_VISIBLE.c.last_updated > at, and_(_VISIBLE.c.last_updated == at, _VISIBLE.c.resource > after))


@lru_cache(maxsize=512)
def _statement(shape: _Shape) -> Statement:
    most = bindparam("most", type_=Integer)

    def build(dialect: str) -> Any:
        conditions = list(_conditions(shape, dialect))
        if shape.is_count:
            inner = select(_VISIBLE.c.resource).where(*conditions).limit(most).subquery()
            return select(func.count()).select_from(inner)
        page = select(_VISIBLE.c.last_updated, _VISIBLE.c.resource).where(*conditions)
        return page.order_by(_VISIBLE.c.last_updated, _VISIBLE.c.resource).limit(most)

    return Statement(build)


def find_page(
    unit: Unit, query: Query, principal: Principal, *, after: tuple[datetime, str] | None, limit: int, horizon: datetime
) -> list[tuple[datetime, str]]:
    """The next (last_updated, resource id) after a key, in that order, of what the principal may see."""
    values = _values(query, principal, horizon, limit)
    if after is not None:
        values |= {"after_at": after[0], "after_id": after[1]}
    statement = _statement(_shape(query, is_continued=after is not None))
    return [(row[0], row[1]) for row in statement.all(unit, values)]


def count_matches(unit: Unit, query: Query, principal: Principal, *, cap: int, horizon: datetime) -> int | None:
    """How many the principal may see; None when more than `cap`, the same for everyone."""
    statement = _statement(_shape(query, is_count=True))
    found = int(statement.scalars(unit, _values(query, principal, horizon, cap + 1))[0])
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

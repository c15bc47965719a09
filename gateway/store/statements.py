"""Statements put together once: SQLAlchemy writes the SQL and converts the values, the driver runs it.

A Core statement is compiled anew, or at least looked up, at every execution, which costs far more than the driver does for a row
(docs/performance.md). A `Statement` is compiled once for each dialect; what is left for an execution is its values. Errors are
raised as SQLAlchemy would raise them, so nobody has to know which of the two ran a statement.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from operator import itemgetter
from typing import Any, Final

from sqlalchemy import ARRAY, ColumnElement, Dialect, Text, bindparam, func, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import DBAPIError
from sqlalchemy.types import TypeDecorator, TypeEngine

from gateway.store.units import TransactionLost, Unit

Values = Mapping[str, Any]
Build = Callable[[str], Any]
_BY_NAME: Final = re.compile(r"%\((\w+)\)s")


class Statement:
    """One statement, as Core or as a function that makes it for a dialect's name.

    Every value is bound under the name of its `bindparam`, of an INSERT under the names of the columns; one that is missing is a
    KeyError. Lists go in by `one_of`, not by `in_`.
    """

    __slots__ = ("_made", "_plans")

    def __init__(self, made: Any) -> None:
        self._made: Build = made if callable(made) and not hasattr(made, "compile") else lambda _dialect: made
        self._plans: dict[str, Plan] = {}

    def all(self, unit: Unit, values: Values | None = None) -> list[tuple[Any, ...]]:
        """Every row."""
        plan = self._plan(unit)
        rows = plan.run(unit, plan.bound(values)).fetchall()
        return rows if plan.as_read is None else [plan.as_read(row) for row in rows]

    def first(self, unit: Unit, values: Values | None = None) -> tuple[Any, ...] | None:
        """The first row, or None."""
        plan = self._plan(unit)
        cursor = plan.run(unit, plan.bound(values))
        row: tuple[Any, ...] | None = cursor.fetchone()
        cursor.close()  # SQLite ends a statement only when it is read to its end or closed
        return row if row is None or plan.as_read is None else plan.as_read(row)

    def scalars(self, unit: Unit, values: Values | None = None) -> list[Any]:
        """The first column of every row."""
        return [row[0] for row in self.all(unit, values)]

    def mappings(self, unit: Unit, values: Values | None = None) -> list[dict[str, Any]]:
        """Every row by the names of its columns."""
        names = self._plan(unit).names
        return [dict(zip(names, row, strict=True)) for row in self.all(unit, values)]

    def mapping(self, unit: Unit, values: Values | None = None) -> dict[str, Any] | None:
        """The first row by the names of its columns, or None."""
        row = self.first(unit, values)
        return dict(zip(self._plan(unit).names, row, strict=True)) if row is not None else None

    def run(self, unit: Unit, values: Values | None = None) -> int:
        """Write, and say how many rows that were."""
        plan = self._plan(unit)
        cursor = plan.run(unit, plan.bound(values))
        count = int(cursor.rowcount)
        cursor.close()
        return count

    def run_each(self, unit: Unit, rows: Iterable[Values]) -> None:
        """Write once for each of these values; nothing where there are none."""
        plan = self._plan(unit)
        bound = [plan.bound(row) for row in rows]
        if bound:
            plan.run_each(unit, bound)

    def _plan(self, unit: Unit) -> Plan:
        dialect = unit.connection.dialect
        plan = self._plans.get(dialect.name)
        if plan is None:
            plan = self._plans[dialect.name] = Plan(self._made(dialect.name), dialect)
        return plan


class Plan:
    """A statement compiled for one dialect. Values go to the driver by place, on both."""

    __slots__ = ("_converted", "_dialect", "_required", "_template", "_wanted", "as_read", "names", "sql")

    def __init__(self, statement: Any, dialect: Dialect) -> None:
        compiled = statement.compile(dialect=dialect)
        self._dialect = dialect
        self.sql: Final = _BY_NAME.sub("%s", str(compiled)) if compiled.positiontup is None else str(compiled)
        if "POSTCOMPILE" in self.sql:
            raise TypeError("a list goes into a Statement by one_of")
        columns = list(getattr(statement, "exported_columns", ()))
        self.names: Final = tuple(str(column.key) for column in columns)
        self.as_read: Final = _reader([_of_result(column.type, dialect) for column in columns])
        order = compiled.positiontup if compiled.positiontup is not None else _BY_NAME.findall(str(compiled))
        binds = [compiled.binds[name] for name in order]
        converts = [_of_bind(bind.type, dialect) for bind in binds]
        self._template = [
            None if bind.required else (convert(bind.effective_value) if convert is not None else bind.effective_value)
            for bind, convert in zip(binds, converts, strict=True)
        ]
        required = [at for at, bind in enumerate(binds) if bind.required]
        self._required = required if len(required) < len(binds) else None
        self._wanted = _getter([order[at] for at in required])
        self._converted = [(at, convert) for at, convert in enumerate(converts) if convert is not None and binds[at].required]

    def bound(self, values: Values | None) -> list[Any]:
        """The values as the driver takes them. Raises KeyError for one that is missing."""
        given = self._wanted(values or {})
        if self._required is None:
            bound = list(given)
        else:
            bound = list(self._template)
            for at, value in zip(self._required, given, strict=True):
                bound[at] = value
        for at, convert in self._converted:
            bound[at] = convert(bound[at])
        return bound

    def run(self, unit: Unit, bound: Any) -> Any:
        driver = _driver(unit)
        try:
            return driver.execute(self.sql, bound)
        except self._dialect.loaded_dbapi.Error as fault:
            raise self._wrapped(unit, driver, fault) from fault

    def run_each(self, unit: Unit, bound: Sequence[Any]) -> None:
        driver = _driver(unit)
        try:
            cursor = driver.cursor()
            cursor.executemany(self.sql, bound)
            cursor.close()
        except self._dialect.loaded_dbapi.Error as fault:
            raise self._wrapped(unit, driver, fault) from fault

    def _wrapped(self, unit: Unit, driver: Any, fault: Any) -> BaseException:
        """As SQLAlchemy raises it: without the values, the connection given up where it is lost."""
        lost = self._dialect.is_disconnect(fault, driver, None)
        if lost:
            unit.connection.invalidate(fault)
        base = self._dialect.loaded_dbapi.Error
        wrapped: BaseException = DBAPIError.instance(
            self.sql, None, fault, base, hide_parameters=True, connection_invalidated=lost, dialect=self._dialect, ismulti=None
        )
        return wrapped


def _getter(names: Sequence[str]) -> Callable[[Values], Sequence[Any]]:
    """What takes the values of some names out of a mapping, in order."""
    if len(names) == 1:
        name = names[0]
        return lambda values: (values[name],)
    return itemgetter(*names) if names else lambda _values: ()


def _driver(unit: Unit) -> Any:
    """The driver's connection. Raises TransactionLost on SQLite where nothing was begun: the statement would stand alone."""
    driver = unit.connection.connection.dbapi_connection
    if not getattr(driver, "in_transaction", True):
        raise TransactionLost
    return driver


def _of_bind(kind: TypeEngine[Any], dialect: Dialect) -> Callable[[Any], Any] | None:
    found = kind if isinstance(kind, TypeDecorator) else kind.dialect_impl(dialect)
    return found.bind_processor(dialect)


def _of_result(kind: TypeEngine[Any], dialect: Dialect) -> Callable[[Any], Any] | None:
    found = kind if isinstance(kind, TypeDecorator) else kind.dialect_impl(dialect)
    return found.result_processor(dialect, None)


def _reader(processors: Sequence[Callable[[Any], Any] | None]) -> Callable[[tuple[Any, ...]], tuple[Any, ...]] | None:
    """What makes a row of values of a row of the driver; None where they are the same."""
    converted = [(at, processor) for at, processor in enumerate(processors) if processor is not None]
    if not converted:
        return None

    def as_read(row: tuple[Any, ...]) -> tuple[Any, ...]:
        values = list(row)
        for at, processor in converted:
            values[at] = processor(values[at])
        return tuple(values)

    return as_read


class Rows:
    """Rows of a table, written together: PostgreSQL takes one statement with a list for each column, SQLite a row at a time.

    finish: what the INSERT is to have beside, such as ON CONFLICT; two rows of one call never have one key.
    """

    __slots__ = ("_listed", "_names", "_single")

    def __init__(self, table: Any, finish: Callable[[Any], Any] = lambda statement: statement) -> None:
        self._names = [column.name for column in table.columns]

        def listed(dialect: str) -> Any:
            lists = [bindparam(column.name, type_=ARRAY(column.type, dimensions=1), required=True) for column in table.columns]
            rows = func.unnest(*lists).table_valued(*self._names).render_derived()
            return finish(upserting(dialect, table).from_select(self._names, select(*(rows.c[name] for name in self._names))))

        self._listed = Statement(listed)
        self._single = Statement(lambda dialect: finish(upserting(dialect, table)))

    def write(self, unit: Unit, rows: Sequence[Values]) -> None:
        """Write these rows; nothing where there are none. Raises KeyError for a missing column."""
        if not rows:
            return
        if unit.connection.dialect.name == "postgresql" and len(rows) > 1:
            self._listed.run(unit, {name: [row[name] for row in rows] for name in self._names})
        else:
            self._single.run_each(unit, rows)


def upserting(dialect: str, table: Any) -> Any:
    """The dialect's INSERT, which knows ON CONFLICT."""
    return postgresql.insert(table) if dialect == "postgresql" else sqlite.insert(table)


class _JsonArray(TypeDecorator[Any]):
    """A list of texts as SQLite's json_each reads it."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: Any, dialect: Dialect) -> str:
        """Write the list as JSON."""
        del dialect
        return json.dumps(list(value))


def one_of(column: ColumnElement[Any], name: str, dialect: str) -> ColumnElement[bool]:
    """That a text column has one of the values of a list, which is one value for the driver: the statement stays the same."""
    if dialect == "postgresql":
        return column == func.any(bindparam(name, type_=ARRAY(Text, dimensions=1), required=True))
    listed = func.json_each(bindparam(name, type_=_JsonArray, required=True)).table_valued("value")
    return column.in_(select(listed.c.value))

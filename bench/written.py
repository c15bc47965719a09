"""Which rows an operation really writes, found by comparing the whole database before and after, and the same rows once more.

From the difference a Template is made: rows of the same tables and sizes under other ids, as often as wanted. A row that was changed
counts as written anew. The store's clock is left out, since it is no row of a message, and so is what the audit sequencer adds beside,
in batches of its own.
"""

from __future__ import annotations

import re
from typing import Any, Final

from sqlalchemy import UniqueConstraint
from sqlmodel import SQLModel

from bench.template import Template
from gateway.store.clock import StoreClockRow
from gateway.store.database import Database
from gateway.store.migrations import import_tables
from gateway.store.rows import Instant

_UUID: Final = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}")
_LEFT_OUT: Final = frozenset({StoreClockRow.__tablename__, "audit_link", "audit_checkpoint", "audit_lease"})

Rows = dict[str, set[tuple[Any, ...]]]
"""By table, each row with its columns in the order of the table."""


def table_names() -> list[str]:
    """The tables of the gateway, but for those left out."""
    import_tables()
    return [table.name for table in SQLModel.metadata.sorted_tables if table.name not in _LEFT_OUT]


def _columns(name: str) -> list[str]:
    return [column.name for column in SQLModel.metadata.tables[name].columns]


def snapshot(database: Database) -> Rows:
    """Every row there is; only for a database that holds little."""
    with database.read() as unit:
        found = {}
        for name in table_names():
            columns = ", ".join(f'"{column}"' for column in _columns(name))
            found[name] = {tuple(row) for row in unit.connection.exec_driver_sql(f'SELECT {columns} FROM "{name}"')}
        return found


def difference(before: Rows, after: Rows) -> Rows:
    """The rows that are new or changed."""
    return {name: rows for name in after if (rows := after[name] - before[name])}


def template_of(before: Rows, written: Rows) -> Template:
    """What to write again. Ids that were there before stay, unless a written row is known by them."""
    known = {found for rows in before.values() for row in rows for value in row if isinstance(value, str) for found in _UUID.findall(value)}
    fresh: set[str] = set()
    words: set[str] = set()
    for name, rows in written.items():
        keys = _unique_places(name)
        for row in rows:
            for value in row:
                fresh |= set(_UUID.findall(value)) - known if isinstance(value, str) else set()
            for places in keys:
                values = [row[at] for at in places]
                own = [found for value in values if isinstance(value, str) for found in _UUID.findall(value)]
                fresh |= set(own)
                if not own:
                    words.add([value for value in values if isinstance(value, str)][-1])
    instants = {
        name: [at for at, column in enumerate(SQLModel.metadata.tables[name].columns) if isinstance(column.type, Instant)]
        for name in written
    }
    rows_of = {name: sorted(rows, key=str) for name, rows in written.items()}
    return Template({name: _columns(name) for name in written}, rows_of, tuple(sorted(fresh)), tuple(sorted(words)), instants)


def _unique_places(name: str) -> list[list[int]]:
    """The places of the columns of each unique set of a table."""
    table = SQLModel.metadata.tables[name]
    order = {column.name: at for at, column in enumerate(table.columns)}
    sets = [list(table.primary_key.columns)]
    sets += [list(each.columns) for each in table.constraints if isinstance(each, UniqueConstraint)]
    sets += [list(index.columns) for index in table.indexes if index.unique]
    return [[order[column.name] for column in columns] for columns in sets]

"""Fills a database with Tasks, as an EHR's page of its work finds them after a year: in bulk, below the doors.

What is written is one real referral that was offered and accepted, again and again under other ids: its Tasks and ServiceRequests
with their versions, index and permits, the referral's row, offer, parties and ledger. The person and the other resources are left
out, since they would be a gigabyte that no measured query touches.
"""

from __future__ import annotations

from typing import Any, Final

from bench.template import Template, Written
from gateway.store.database import Database, Unit

_AT_ONCE: Final = 250
_APART_MICROSECONDS: Final = 1_000
_NOT_NEEDED: Final = frozenset({"audit_event", "audit_unlinked", "intake_message", "referral_part", "access_token", "assertion_replay"})
_KEPT_TYPES: Final = frozenset({"Task", "ServiceRequest"})  # whether a Task may be told rests on who sent the request
_OF_A_RESOURCE: Final = {
    "resource": "id",
    "resource_version": "id",
    "resource_referral": "resource",
    "search_token": "resource",
    "search_reference": "resource",
    "visible": "resource",
}


def fill(database: Database, referral: Template, tasks: int) -> None:
    """Write a referral with its Task so many times. referral: all rows of one that was accepted."""
    kept = {row["id"] for row in _as_dicts(referral, "resource") if row["type"] in _KEPT_TYPES}

    def is_left_out(table: str, row: dict[str, Any]) -> bool:
        column = _OF_A_RESOURCE.get(table)
        return table in _NOT_NEEDED or (column is not None and row[column] not in kept)

    template = referral.without(is_left_out)
    earlier = template.earlier()
    for start in range(0, tasks, _AT_ONCE):
        copies = [earlier((number + 1) * _APART_MICROSECONDS) for number in range(start, min(start + _AT_ONCE, tasks))]
        rows = {name: [row for copy in copies for row in copy[name]] for name in template.rows}
        database.write(lambda unit, rows=rows: _write(unit, template, rows))  # type: ignore[misc]
    if database.dialect == "postgresql":
        database.write(lambda unit: unit.connection.exec_driver_sql("ANALYZE"))  # as autovacuum does within a minute


def _write(unit: Unit, template: Template, rows: Written) -> None:
    for name in rows:
        if unit.connection.dialect.name == "sqlite":
            unit.connection.exec_driver_sql(template.statements("?")[name], rows[name])
            continue
        driver: Any = unit.connection.connection.driver_connection
        columns = ", ".join(f'"{column}"' for column in template.columns[name])
        with driver.cursor().copy(f'COPY "{name}" ({columns}) FROM STDIN') as copy:
            for row in rows[name]:
                copy.write_row(row)


def _as_dicts(template: Template, table: str) -> list[dict[str, Any]]:
    return [dict(zip(template.columns[table], row, strict=True)) for row in template.rows[table]]

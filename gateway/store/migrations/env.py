"""Alembic's way in: runs revisions on the connection it is handed, inside the transaction that is already open."""

from __future__ import annotations

from typing import Any, Literal

from alembic import context
from sqlalchemy import String
from sqlmodel import SQLModel
from sqlmodel.sql.sqltypes import AutoString

from gateway.store.migrations import import_tables
from gateway.store.rows import Instant, JsonText


def plain_type(kind: str, found: Any, _context: object) -> str | Literal[False]:
    """Write our own column types as what the database knows: a revision must not change with our code."""
    if kind != "type":
        return False
    if isinstance(found, (Instant, JsonText)):
        return "sa.BigInteger()" if isinstance(found, Instant) else "sa.Text()"
    return (
        "sa.String()" if isinstance(found, (AutoString, String)) and found.length is None and type(found) in (AutoString, String) else False
    )


import_tables()
connection = context.config.attributes["connection"]
context.configure(
    connection=connection,
    target_metadata=SQLModel.metadata,
    compare_type=True,
    compare_server_default=True,
    render_item=plain_type,
    render_as_batch=connection.dialect.name == "sqlite",
)
context.run_migrations()

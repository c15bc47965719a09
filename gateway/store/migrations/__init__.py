"""The schema's history: Alembic revisions that run on SQLite and PostgreSQL, and the commands on them.

A revision is numbered, never edited once merged, and lets yesterday's code run. An upgrade is one transaction on either database:
it is there as a whole or not at all.
"""

from __future__ import annotations

import importlib
import pkgutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, func, select, text
from sqlmodel import SQLModel

import gateway.store
from gateway.store.database import Database, Unit

FOLDER: Final = Path(__file__).parent
_UPGRADE_SECONDS: Final = 600
_LOCK: Final = 0x6372_6D67  # PostgreSQL: one upgrade at a time


class UnknownRevision(Exception):
    """A newer release has upgraded the database; the message names the revision. Nothing was changed."""


@dataclass(frozen=True, slots=True)
class State:
    """Where a database stands. current: its revision, None for an empty one. head: the newest this release knows.

    is_known: whether this release knows the current revision; else a newer one has been at work.
    """

    current: str | None
    head: str | None
    is_known: bool = True

    @property
    def is_current(self) -> bool:
        """Whether there is nothing to upgrade."""
        return self.current == self.head

    @property
    def advice(self) -> str:
        """What an operator does about a database that is not current, in a sentence."""
        if self.is_known:
            return f"the database is at revision {self.current or 'none'}, not {self.head}: run crisis-gateway db upgrade"
        return f"the database is at revision {self.current}, which only a newer release knows: run that release"


def import_tables() -> None:
    """Import every module of the store, so that the metadata knows all tables."""
    for module in pkgutil.iter_modules(gateway.store.__path__, f"{gateway.store.__name__}."):
        if not module.ispkg:
            importlib.import_module(module.name)


def configuration(connection: Connection) -> Config:
    """Alembic's settings for a connection that is in a transaction; env.py reads it from them."""
    config = Config()
    config.set_main_option("script_location", str(FOLDER).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = connection
    return config


def upgrade(database_url: str) -> State:
    """Bring a database to the newest revision and return where it stood before. Raises Unavailable, UnknownRevision."""
    database = Database(database_url, lock_seconds=_UPGRADE_SECONDS, pool_size=2)
    try:
        return database.write(_upgrade)
    finally:
        database.close()


def _upgrade(unit: Unit) -> State:
    if unit.connection.dialect.name == "postgresql":
        unit.connection.execute(text("SET LOCAL statement_timeout = 0"))
        unit.connection.execute(select(func.pg_advisory_xact_lock(_LOCK)))
    before = state_of(unit)
    if not before.is_known:
        raise UnknownRevision(before.advice)
    command.upgrade(configuration(unit.connection), "head")
    return before


def check(database_url: str) -> State:
    """Where a database stands. Raises Unavailable."""
    database = Database(database_url, pool_size=2)
    try:
        with database.read() as unit:
            return state_of(unit)
    finally:
        database.close()


def state_of(unit: Unit) -> State:
    """Where the database of a unit stands."""
    scripts = ScriptDirectory(str(FOLDER))
    current = MigrationContext.configure(unit.connection).get_current_revision()
    known = {script.revision for script in scripts.walk_revisions()}
    return State(current, scripts.get_current_head(), current is None or current in known)


def differences(unit: Unit) -> list[Any]:
    """What differs between the tables of the code and those of the database, in Alembic's words; empty when nothing does."""
    import_tables()
    context = MigrationContext.configure(unit.connection, opts={"compare_type": True, "compare_server_default": True})
    return list(compare_metadata(context, SQLModel.metadata))

"""Fresh databases for tests: a SQLite file, or a PostgreSQL database where CRISIS_TEST_POSTGRES_URL names a server.

The schema is made by the migrations once a run and copied for each test, so that every test also proves them.
"""

from __future__ import annotations

import atexit
import os
import shutil
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from functools import cache
from pathlib import Path
from uuid import uuid4

import psycopg
from psycopg import sql
from sqlalchemy import make_url

from gateway.store import migrations
from gateway.store.database import Database

POSTGRES = os.environ.get("CRISIS_TEST_POSTGRES_URL", "")


@contextmanager
def fresh_database_url(folder: Path) -> Iterator[str]:
    """The URL of an empty, migrated database that no other test uses; gone afterwards."""
    if POSTGRES:
        with migrated_postgres() as url:
            yield url
    else:
        yield fresh_sqlite_url(folder)


def fresh_sqlite_url(folder: Path) -> str:
    """The URL of an empty, migrated SQLite database in a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "gateway.db"
    shutil.copyfile(_sqlite_template(), file)
    return f"sqlite:///{file}"


@contextmanager
def migrated_postgres() -> Iterator[str]:
    """The URL of an empty, migrated PostgreSQL database."""
    with postgres_database(template=_postgres_template()) as url:
        yield url


@contextmanager
def postgres_database(template: str | None = None) -> Iterator[str]:
    """The URL of a new PostgreSQL database, dropped afterwards with whoever is still connected."""
    name = f"crisis_test_{uuid4().hex[:16]}"
    source = sql.SQL(" TEMPLATE {}").format(sql.Identifier(template)) if template else sql.SQL("")
    _on_server(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)) + source)
    try:
        yield _url_of(name)
    finally:
        _on_server(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


@cache
def _sqlite_template() -> Path:
    folder = Path(tempfile.mkdtemp(prefix="crisis-template-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    file = folder / "template.db"
    _make_schema(f"sqlite:///{file}")
    with closing(sqlite3.connect(file)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    return file


@cache
def _postgres_template() -> str:
    name = f"crisis_template_{uuid4().hex[:16]}"
    _on_server(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
    atexit.register(lambda: _on_server(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name))))
    _make_schema(_url_of(name))
    return name


def _make_schema(url: str) -> None:
    """By the migrations; a table so new that none makes it yet is made beside (and turns tests/store/test_migrations.py red)."""
    migrations.upgrade(url)
    migrations.import_tables()
    with closing(Database(url)) as database:
        database.create_tables()


def _url_of(database: str) -> str:
    return make_url(POSTGRES).set(drivername="postgresql", database=database).render_as_string(hide_password=False)


def _on_server(statement: sql.Composable) -> None:
    with psycopg.connect(_url_of(make_url(POSTGRES).database or "postgres"), autocommit=True) as connection:
        connection.execute(statement)

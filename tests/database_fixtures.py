"""Databases for tests below the gateway: one of SQLite, one of PostgreSQL where a server is named, and other processes at them.

A conftest.py names those it wants.
"""

from __future__ import annotations

import pytest

from gateway.store.database import Database
from tests.databases import POSTGRES, fresh_sqlite_url, migrated_postgres
from tests.store.actors import Actor


def require_postgres():
    """Skip the test where no server is named."""
    if not POSTGRES:
        pytest.skip("CRISIS_TEST_POSTGRES_URL names no server")


@pytest.fixture
def sqlite_url(tmp_path):
    return fresh_sqlite_url(tmp_path / "database")


@pytest.fixture
def postgres_url():
    require_postgres()
    with migrated_postgres() as url:
        yield url


@pytest.fixture
def open_database():
    """Opens databases, and closes them after the test."""
    opened = []

    def open_one(url, **options):
        opened.append(Database(url, **options))
        return opened[-1]

    yield open_one
    for database in opened:
        database.close()


@pytest.fixture
def start():
    """Starts other processes, and ends them after the test."""
    started = []

    def start_one(act, *args):
        started.append(Actor(act, *args))
        return started[-1]

    yield start_one
    for actor in started:
        actor.end()

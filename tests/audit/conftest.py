"""A migrated database with audit rows, on SQLite, or on PostgreSQL where a URL is given, and other processes at it."""

from __future__ import annotations

import pytest

from gateway.store.database import Database
from tests.databases import POSTGRES, fresh_sqlite_url, migrated_postgres
from tests.store.actors import Actor


@pytest.fixture
def sqlite_url(tmp_path):
    return fresh_sqlite_url(tmp_path / "database")


@pytest.fixture
def postgres_url():
    if not POSTGRES:
        pytest.skip("CRISIS_TEST_POSTGRES_URL names no server")
    with migrated_postgres() as url:
        yield url


@pytest.fixture
def open_database():
    opened = []

    def open_one(url):
        opened.append(Database(url, lock_seconds=10))
        return opened[-1]

    yield open_one
    for database in opened:
        database.close()


@pytest.fixture
def database(database_url, open_database):
    return open_database(database_url)


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

"""Databases for the store's own tests: SQLite always, PostgreSQL beside it where a server is named."""

from __future__ import annotations

import pytest

from gateway.store.database import Database
from tests.databases import POSTGRES, fresh_sqlite_url, migrated_postgres, postgres_database
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


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.peers)])
def either_url(request):
    return request.getfixturevalue("sqlite_url" if request.param == "sqlite" else "postgres_url")


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.peers)])
def empty_url(request, tmp_path):
    """A database without any table."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path}/empty.db"
        return
    if not POSTGRES:
        pytest.skip("CRISIS_TEST_POSTGRES_URL names no server")
    with postgres_database() as url:
        yield url


@pytest.fixture
def open_database():
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


@pytest.fixture
def database(either_url, open_database):
    return open_database(either_url, lock_seconds=3)

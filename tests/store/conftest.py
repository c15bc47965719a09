"""Databases for the store's own tests: SQLite always, PostgreSQL beside it where a server is named."""

from __future__ import annotations

import pytest

from tests.database_fixtures import open_database, postgres_url, require_postgres, sqlite_url, start
from tests.databases import postgres_database

__all__ = ["open_database", "postgres_url", "sqlite_url", "start"]


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.peers)])
def either_url(request):
    return request.getfixturevalue("sqlite_url" if request.param == "sqlite" else "postgres_url")


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.peers)])
def empty_url(request, tmp_path):
    """A database without any table."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path}/empty.db"
        return
    require_postgres()
    with postgres_database() as url:
        yield url


@pytest.fixture
def database(either_url, open_database):
    return open_database(either_url, lock_seconds=3)

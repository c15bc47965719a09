"""A migrated database with audit rows, on SQLite, or on PostgreSQL where a URL is given, and other processes at it."""

from __future__ import annotations

import pytest

from tests.database_fixtures import open_database, postgres_url, sqlite_url, start

__all__ = ["open_database", "postgres_url", "sqlite_url", "start"]


@pytest.fixture
def database(database_url, open_database):
    return open_database(database_url)

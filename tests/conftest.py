"""Fixtures of the whole suite: a fresh gateway a test, on SQLite, or on PostgreSQL where a URL is given."""

from __future__ import annotations

import pytest

from tests.databases import fresh_database_url
from tests.world import make_world


@pytest.fixture
def database_url(tmp_path):
    with fresh_database_url(tmp_path) as url:
        yield url


@pytest.fixture
def gateway(tmp_path, database_url):
    world = make_world(tmp_path, database_url)
    yield world
    world.services.database.close()

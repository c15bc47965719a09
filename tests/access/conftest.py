"""A database and one referral in it."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.store.database import Database
from tests.access.case import PARTIES, Case, publish_all
from tests.access.store import fresh_database, register


@pytest.fixture
def database(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Database:
    register(monkeypatch, PARTIES, frozenset({"TREAT", "COC"}))
    made = fresh_database(tmp_path)
    publish_all(made)
    return made


@pytest.fixture
def case(database: Database) -> Case:
    return Case(database)

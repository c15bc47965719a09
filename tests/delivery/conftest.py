"""Fixtures of delivery: a database, keys, and far ends that are closed after each test."""

from __future__ import annotations

import pytest

from gateway.keys import KeyRing
from gateway.store.database import Database
from tests.delivery.peers import Ehr, Rms


@pytest.fixture
def database(database_url):
    opened = Database(database_url)
    yield opened
    opened.close()


@pytest.fixture
def keys(tmp_path):
    return KeyRing(tmp_path / "keys")


@pytest.fixture
def make_ehr(keys):
    made = []

    def make(**behaviour):
        made.append(Ehr(keys, **behaviour))
        return made[-1]

    yield make
    for ehr in made:
        ehr.close()


@pytest.fixture
def ehr(make_ehr):
    return make_ehr()


@pytest.fixture
def rms():
    opened = Rms()
    yield opened
    opened.close()

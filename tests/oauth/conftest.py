"""One gateway for all tests that only ask and change nothing that the next one reads."""

from __future__ import annotations

import pytest

from tests.databases import fresh_database_url
from tests.world import make_world


@pytest.fixture(scope="module")
def quiet_gateway(tmp_path_factory):
    """A gateway shared by the tests of a module: assertions are used up, parties stay as they are."""
    folder = tmp_path_factory.mktemp("gateway")
    with fresh_database_url(folder) as url:
        world = make_world(folder, url)
        yield world
        world.services.database.close()


@pytest.fixture
def unwritable(monkeypatch):
    """Make a gateway fail every write from now on, so that a test sees that none was tried."""

    def forbid(world):
        def write(self, work):
            raise AssertionError("a write was tried")

        monkeypatch.setattr(type(world.services.database), "write", write)

    return forbid

"""A shell in an empty folder."""

from __future__ import annotations

import pytest

from tests.commands.shell import Shell


@pytest.fixture
def shell(tmp_path):
    return Shell(tmp_path)

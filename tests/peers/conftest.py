"""Peers of the whole run: each is started when a test first asks for it, and stopped at the end."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.peers.machine import outside_environment
from tests.peers.postgres import throw_away_server
from tests.peers.skips import pytest_make_collect_report, pytest_runtest_makereport

__all__ = ["pytest_make_collect_report", "pytest_runtest_makereport"]

DEMO_SECONDS = 240


@pytest.fixture(scope="session")
def postgres_url():
    with throw_away_server() as url:
        yield url


@pytest.fixture(scope="session")
def demo_folder(tmp_path_factory):
    """What `make demo ARGS="--once --save DIR"` stored and sent."""
    folder = tmp_path_factory.mktemp("demo")
    done = subprocess.run(
        [sys.executable, "-m", "gateway", "demo", "--once", "--save", folder / "saved"],
        cwd=folder,
        env=outside_environment(),
        capture_output=True,
        text=True,
        timeout=DEMO_SECONDS,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
    return folder / "saved"

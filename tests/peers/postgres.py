"""A PostgreSQL server for the peers, gone when the tests are; Debian's is installed where we may and there is none."""

from __future__ import annotations

import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn

import pytest

from bench.postgres import Server, find_binaries, new_database, running_server
from tests.peers.machine import install

__all__ = ["NoPostgres", "Server", "new_database", "no_postgres", "own_server", "throw_away_server"]

PACKAGES = ("postgresql",)
SETTINGS = {"max_connections": 200}  # two test processes with several pools each


class NoPostgres(Exception):
    """PostgreSQL is not on this machine and could not be installed."""


@contextmanager
def own_server() -> Iterator[Server]:
    """A running server in a folder of its own. Raises NoPostgres."""
    binaries = find_binaries()
    if binaries is None:
        install(PACKAGES)
        binaries = find_binaries()
    if binaries is None:
        raise NoPostgres
    folder = Path(tempfile.mkdtemp(prefix="crisis-postgres-"))  # not pytest's: the server's account must get in
    try:
        with running_server(folder, binaries, "--no-sync", *_collation(binaries), settings=SETTINGS) as server:
            yield server
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def throw_away_server() -> Iterator[str]:
    """The URL of its maintenance database; skips the test when PostgreSQL is not to be had."""
    try:
        with own_server() as server:
            yield server.url
    except NoPostgres:
        no_postgres()


def no_postgres() -> NoReturn:
    """Skip the test, and say what to install."""
    pytest.skip(f"PostgreSQL is not on this machine; on Debian: apt-get install {' '.join(PACKAGES)}")


def _collation(binaries: Path) -> list[str]:
    """English, as on most servers, where the version can without a system locale: text does not sort by bytes there."""
    version = subprocess.run([binaries / "postgres", "--version"], capture_output=True, text=True, timeout=10, check=True).stdout
    found = re.search(r"(\d+)\.?", version)
    return ["--locale-provider=icu", "--icu-locale=en-US"] if found and int(found[1]) >= 15 else []

"""Fresh databases to measure on: a SQLite file, and one on a PostgreSQL server, given by CRISIS_BENCH_POSTGRES_URL or our own.

Where there is no PostgreSQL, the bench says so and goes on.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from bench.postgres import find_binaries, running_server

GIVEN: Final = "CRISIS_BENCH_POSTGRES_URL"


def sqlite_url(folder: Path, name: str) -> str:
    """The URL of a database file that is not there yet."""
    return f"sqlite:///{folder / name}.db"


@contextmanager
def postgres_server(folder: Path) -> Iterator[str | None]:
    """The URL of a server's maintenance database; None where there is no PostgreSQL."""
    given, binaries = os.environ.get(GIVEN), find_binaries()
    if given:
        yield given
    elif binaries is None:
        yield None
    else:
        own = folder / "postgres"
        own.mkdir(parents=True)
        with running_server(own, binaries) as server:
            yield server.url

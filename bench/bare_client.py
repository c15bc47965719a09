"""Connections that write a template's rows as fast as the database takes them: `python -m bench.bare_client`, plan on stdin.

One commit a message and nothing else: no validation, no reading, no deciding. SQLite has one writer, so one connection.
"""

from __future__ import annotations

import sqlite3
import sys
import threading
import time
from collections.abc import Callable
from contextlib import closing

import msgspec
import psycopg

from bench.template import Template, Written

PRAGMAS = ("PRAGMA journal_mode=WAL", "PRAGMA synchronous=FULL", "PRAGMA cache_size=-8000", "PRAGMA temp_store=MEMORY")
"""As the gateway's own writer has them."""


class BarePlan(msgspec.Struct):
    """What to write. sqlite: the path of its file, else postgres_url. start_at: seconds since 1970, for all processes together."""

    template: Template
    connections: int
    start_at: float
    seconds: float
    sqlite: str | None = None
    postgres_url: str | None = None


def run(plan: BarePlan) -> list[float]:
    """The milliseconds of each message, of all connections."""
    if plan.sqlite is not None:
        return _on_sqlite(plan, plan.sqlite)
    taken: list[list[float]] = [[] for _ in range(plan.connections)]
    threads = [threading.Thread(target=_on_postgres, args=(plan, milliseconds)) for milliseconds in taken]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return [each for milliseconds in taken for each in milliseconds]


def _on_sqlite(plan: BarePlan, path: str) -> list[float]:
    statements = plan.template.statements("?")
    milliseconds: list[float] = []
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        for pragma in PRAGMAS:
            connection.execute(pragma)

        def write(rows: Written) -> None:
            connection.execute("BEGIN IMMEDIATE")
            for name, statement in statements.items():
                connection.executemany(statement, rows[name])
            connection.execute("COMMIT")

        _repeat(plan, write, milliseconds)
    return milliseconds


def _on_postgres(plan: BarePlan, milliseconds: list[float]) -> None:
    statements = plan.template.statements("%s")
    with psycopg.connect(str(plan.postgres_url), prepare_threshold=0) as connection:

        def write(rows: Written) -> None:
            with connection.pipeline(), connection.cursor() as cursor:
                for name, statement in statements.items():
                    cursor.executemany(statement, rows[name])
                connection.commit()

        _repeat(plan, write, milliseconds)


def _repeat(plan: BarePlan, write: Callable[[Written], None], milliseconds: list[float]) -> None:
    rows = plan.template.again()
    time.sleep(max(0.0, plan.start_at - time.time()))
    until = time.perf_counter() + plan.seconds
    while (began := time.perf_counter()) < until:
        write(rows())
        milliseconds.append((time.perf_counter() - began) * 1000)


if __name__ == "__main__":
    done = run(msgspec.msgpack.decode(sys.stdin.buffer.read(), type=BarePlan))
    sys.stdout.buffer.write(msgspec.msgpack.encode(done))

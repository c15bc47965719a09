"""Fresh databases to measure on: a SQLite file, and one on a PostgreSQL server, given by CRISIS_BENCH_POSTGRES_URL or our own.

A server of our own is made in the bench's folder with the settings of a new installation, so each commit is flushed to the disk, and
is gone afterwards. Installs nothing: where there is no PostgreSQL, the bench says so and goes on.
"""

from __future__ import annotations

import os
import pwd
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final
from uuid import uuid4

import psycopg
from psycopg import sql

from bench.load import BenchFailed
from bench.system import free_port

GIVEN: Final = "CRISIS_BENCH_POSTGRES_URL"
START_SECONDS: Final = 60
STOP_SECONDS: Final = 30


def sqlite_url(folder: Path, name: str) -> str:
    """The URL of a database file that is not there yet."""
    return f"sqlite:///{folder / name}.db"


@contextmanager
def postgres_server(folder: Path) -> Iterator[str | None]:
    """The URL of a server's maintenance database; None where there is no PostgreSQL."""
    given, binaries = os.environ.get(GIVEN), _find_binaries()
    if given:
        yield given
    elif binaries is None:
        yield None
    else:
        with _own_server(folder / "postgres", binaries) as url:
            yield url


@contextmanager
def postgres_database(server_url: str) -> Iterator[str]:
    """The URL of an empty database on a server, dropped afterwards."""
    name = f"bench_{uuid4().hex}"
    with psycopg.connect(server_url, autocommit=True) as connection:
        connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
        try:
            yield f"{server_url.rpartition('/')[0]}/{name}"
        finally:
            connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


def _find_binaries() -> Path | None:
    """The folder with initdb and postgres: of the PATH, else Debian's newest version."""
    on_path = shutil.which("postgres")
    candidates = [Path(on_path).resolve().parent] if on_path else []
    candidates += sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=_version_of, reverse=True)
    return next((folder for folder in candidates if (folder / "initdb").exists() and (folder / "postgres").exists()), None)


def _version_of(binaries: Path) -> int:
    found = re.match(r"\d+", binaries.parent.name)
    return int(found[0]) if found else 0


def _as_whom(folder: Path) -> dict[str, Any]:
    """How to start it: PostgreSQL refuses to run as root, so root hands it to another account."""
    plain: dict[str, Any] = {
        "cwd": folder,
        "env": {"PATH": os.environ.get("PATH", os.defpath), "HOME": str(folder), "LC_ALL": "C", "TZ": "UTC"},
    }
    if os.geteuid() != 0:
        return plain
    accounts = {account.pw_name: account for account in pwd.getpwall()}
    account = accounts.get("postgres") or accounts["nobody"]
    os.chown(folder, account.pw_uid, account.pw_gid)
    return {**plain, "user": account.pw_uid, "group": account.pw_gid, "extra_groups": []}


@contextmanager
def _own_server(folder: Path, binaries: Path) -> Iterator[str]:
    folder.mkdir(parents=True)
    run, port = _as_whom(folder), free_port()
    arguments = ["-D", "data", "--auth=trust", "--username=crisis", "--encoding=UTF8"]
    made = subprocess.run([binaries / "initdb", *arguments], **run, capture_output=True, text=True, timeout=START_SECONDS, check=False)
    if made.returncode:
        raise BenchFailed(f"initdb: {made.stderr[-500:]}")
    options = {"listen_addresses": "127.0.0.1", "port": port, "unix_socket_directories": ""}
    command = [str(binaries / "postgres"), "-D", "data", *(part for name, value in options.items() for part in ("-c", f"{name}={value}"))]
    with (folder / "log").open("wb") as log:
        server = subprocess.Popen(command, **run, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True)
    url = f"postgresql://crisis@127.0.0.1:{port}/postgres"
    try:
        _wait(url, server)
        yield url
    finally:
        server.send_signal(signal.SIGINT)  # a fast shutdown, which ends sessions and waits for none
        try:
            server.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()


def _wait(url: str, server: subprocess.Popen[bytes]) -> None:
    until = time.monotonic() + START_SECONDS
    while True:
        try:
            psycopg.connect(url, connect_timeout=2).close()
        except psycopg.OperationalError:
            if server.poll() is not None or time.monotonic() > until:
                raise BenchFailed("PostgreSQL does not answer") from None
            time.sleep(0.1)
        else:
            return

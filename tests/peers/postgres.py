"""A PostgreSQL server of our own: made in a temporary folder, on a free port of loopback, gone when the tests are."""

from __future__ import annotations

import os
import pwd
import re
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

import psycopg
import pytest
from psycopg import sql

from tests.peers.machine import free_port, install

START_SECONDS = 60
STOP_SECONDS = 30
USER = "crisis"
PACKAGES = ("postgresql",)


@contextmanager
def throw_away_server() -> Iterator[str]:
    """The URL of its maintenance database; skips the test when PostgreSQL is not to be had."""
    binaries = _find_binaries()
    if binaries is None:
        install(PACKAGES)
        binaries = _find_binaries()
    if binaries is None:
        pytest.skip(f"PostgreSQL is not on this machine; on Debian: apt-get install {' '.join(PACKAGES)}")
    account = _unprivileged_account()
    folder = Path(tempfile.mkdtemp(prefix="crisis-postgres-"))  # not pytest's: the server's account must get in
    try:
        if account:
            os.chown(folder, account.pw_uid, account.pw_gid)
        _init(binaries, folder, account)
        with _served(binaries, folder, account) as url:
            yield url
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def new_database(server_url: str) -> Iterator[str]:
    """The URL of an empty database on a server, dropped afterwards with whoever is still connected."""
    name = f"peer_{uuid4().hex}"
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


def _unprivileged_account() -> pwd.struct_passwd | None:
    """Whom the server runs as when we are root, which it refuses."""
    if os.geteuid() != 0:
        return None
    accounts = {account.pw_name: account for account in pwd.getpwall()}
    return accounts.get("postgres") or accounts["nobody"]


def _as(account: pwd.struct_passwd | None, folder: Path) -> dict[str, object]:
    run = {"cwd": folder, "env": {"PATH": os.environ.get("PATH", os.defpath), "HOME": str(folder), "LC_ALL": "C", "TZ": "UTC"}}
    return {**run, "user": account.pw_uid, "group": account.pw_gid, "extra_groups": []} if account else run


def _init(binaries: Path, folder: Path, account: pwd.struct_passwd | None) -> None:
    arguments = ["-D", "data", "--auth=trust", f"--username={USER}", "--encoding=UTF8", "--no-sync", *_collation(binaries)]
    done = subprocess.run(
        [binaries / "initdb", *arguments], **_as(account, folder), capture_output=True, text=True, timeout=START_SECONDS, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def _collation(binaries: Path) -> list[str]:
    """English, as on most servers, where the version can without a system locale: text does not sort by bytes there."""
    version = subprocess.run([binaries / "postgres", "--version"], capture_output=True, text=True, timeout=10, check=True).stdout
    found = re.search(r"(\d+)\.?", version)
    return ["--locale-provider=icu", "--icu-locale=en-US"] if found and int(found[1]) >= 15 else []


@contextmanager
def _served(binaries: Path, folder: Path, account: pwd.struct_passwd | None) -> Iterator[str]:
    port = free_port()
    options = {
        "listen_addresses": "127.0.0.1",
        "port": port,
        "unix_socket_directories": "",
        "max_connections": 200,  # two test processes with several pools each
        "fsync": "on",
    }
    command = [binaries / "postgres", "-D", "data", *(part for name, value in options.items() for part in ("-c", f"{name}={value}"))]
    with (folder / "log").open("wb") as log:
        server = subprocess.Popen(command, **_as(account, folder), stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    url = f"postgresql://{USER}@127.0.0.1:{port}/postgres"
    try:
        _wait(url, server, folder / "log")
        yield url
    finally:
        server.send_signal(2)  # SIGINT: a fast shutdown, which ends sessions and waits for none
        try:
            server.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()


def _wait(url: str, server: subprocess.Popen[bytes], log: Path) -> None:
    until = time.monotonic() + START_SECONDS
    while True:
        try:
            psycopg.connect(url, connect_timeout=2).close()
        except psycopg.OperationalError:
            assert server.poll() is None, log.read_text(errors="replace")[-2000:]
            assert time.monotonic() < until, f"PostgreSQL does not answer after {START_SECONDS} s"
            time.sleep(0.1)
        else:
            return

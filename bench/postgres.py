"""A PostgreSQL server of one's own, for the bench and for the tests: made in a folder, on a free port of loopback, gone afterwards.

Installs nothing. Each commit is flushed, as on a new installation.
"""

from __future__ import annotations

import os
import pwd
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final
from uuid import uuid4

import psycopg
from psycopg import sql

from bench.load import BenchFailed
from bench.system import free_port

USER: Final = "crisis"
START_SECONDS: Final = 60
STOP_SECONDS: Final = 30


def find_binaries() -> Path | None:
    """The folder with initdb and postgres: of the PATH, else Debian's newest version; None where there is no PostgreSQL."""
    on_path = shutil.which("postgres")
    candidates = [Path(on_path).resolve().parent] if on_path else []
    candidates += sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=_version_of, reverse=True)
    return next((folder for folder in candidates if (folder / "initdb").exists() and (folder / "postgres").exists()), None)


def _version_of(binaries: Path) -> int:
    found = re.match(r"\d+", binaries.parent.name)
    return int(found[0]) if found else 0


@dataclass(slots=True)
class Server:
    """A server in a folder of its own, which can be stopped and started again. settings: beside what is needed."""

    binaries: Path
    folder: Path
    settings: Mapping[str, object] = field(default_factory=dict)
    port: int = field(default_factory=free_port)
    _process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Of its maintenance database."""
        return f"postgresql://{USER}@127.0.0.1:{self.port}/postgres"

    def make(self, *arguments: str) -> None:
        """Make its files. arguments: for initdb, beside what is needed. Raises BenchFailed."""
        fixed = ("-D", "data", "--auth=trust", f"--username={USER}", "--encoding=UTF8")
        command, run = [self.binaries / "initdb", *fixed, *arguments], _as_whom(self.folder)
        made = subprocess.run(command, **run, capture_output=True, text=True, timeout=START_SECONDS, check=False)
        if made.returncode:
            raise BenchFailed(f"initdb: {made.stderr[-500:]}")

    def start(self) -> None:
        """Start it and wait until it answers. Raises BenchFailed."""
        options = {"listen_addresses": "127.0.0.1", "port": self.port, "unix_socket_directories": "", **self.settings}
        pairs = (part for name, value in options.items() for part in ("-c", f"{name}={value}"))
        command, run = [str(self.binaries / "postgres"), "-D", "data", *pairs], _as_whom(self.folder)
        with (self.folder / "log").open("ab") as log:
            # a group of its own: Ctrl-C is for whoever started it, who then stops it
            self._process = subprocess.Popen(command, **run, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True)
        _wait(self.url, self._process, self.folder / "log")

    def stop(self, how: signal.Signals = signal.SIGINT) -> None:
        """End it. SIGINT: a fast shutdown, which ends sessions and waits for none; SIGQUIT: at once, as by a crash."""
        if self._process is None:
            return
        self._process.send_signal(how)
        try:
            self._process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process = None


@contextmanager
def running_server(folder: Path, binaries: Path, *arguments: str, settings: Mapping[str, object] | None = None) -> Iterator[Server]:
    """A new server in an empty folder that any account may enter, stopped afterwards. arguments: for initdb. Raises BenchFailed."""
    server = Server(binaries, folder, settings or {})
    server.make(*arguments)
    try:
        server.start()
        yield server
    finally:
        server.stop()


@contextmanager
def new_database(server_url: str) -> Iterator[str]:
    """The URL of an empty database on a server, dropped afterwards with whoever is still connected."""
    name = f"crisis_{uuid4().hex}"
    with psycopg.connect(server_url, autocommit=True) as connection:
        connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
        try:
            yield f"{server_url.rpartition('/')[0]}/{name}"
        finally:
            connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


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


def _wait(url: str, server: subprocess.Popen[bytes], log: Path) -> None:
    until = time.monotonic() + START_SECONDS
    while True:
        try:
            psycopg.connect(url, connect_timeout=2).close()
        except psycopg.OperationalError:
            if server.poll() is not None or time.monotonic() > until:
                raise BenchFailed(f"PostgreSQL does not answer: {log.read_text(errors='replace')[-500:]}") from None
            time.sleep(0.1)
        else:
            return

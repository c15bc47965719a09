"""A real gateway for a peer to talk to: `serve --with-worker` as processes of its own, on a fresh database."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import requests

from gateway.demo.processes import Processes
from tests.peers.machine import free_port

START_SECONDS = 30


@contextmanager
def running_gateway(folder: Path, parties: Path, database_url: str) -> Iterator[str]:
    """The base URL of a gateway with the parties of a file.

    folder: for its keys and logs. database_url: of an empty database.
    """
    port = free_port()
    base_url = f"http://127.0.0.1:{port}"
    environment = {
        "CRISIS_GATEWAY_DATABASE_URL": database_url,
        "CRISIS_GATEWAY_BASE_URL": base_url,
        "CRISIS_GATEWAY_BIND": f"127.0.0.1:{port}",
        "CRISIS_GATEWAY_KEYS": str(folder / "keys"),
        "CRISIS_GATEWAY_ALLOW_PRIVATE_ADDRESSES": "true",
    }
    processes = Processes(folder, environment)
    try:
        processes.run("gateway", "db", "upgrade")
        processes.run("gateway", "parties", "apply", str(parties))
        processes.start("gateway", "gateway", "serve", "--with-worker")
        processes.wait_listening([port], START_SECONDS)
        _wait_ready(base_url)
        yield base_url
        processes.require_running()
    finally:
        processes.stop()


def _wait_ready(base_url: str) -> None:
    until = time.monotonic() + START_SECONDS
    while (answer := requests.get(f"{base_url}/readyz", timeout=10)).status_code != 200:
        assert time.monotonic() < until, f"/readyz answers {answer.status_code}"
        time.sleep(0.1)

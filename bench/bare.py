"""The limit of the database: the rows an operation writes, written by nobody who thinks. A process for each core."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Final

import msgspec

from bench.bare_client import BarePlan
from bench.load import ROOT, BenchFailed
from bench.template import Template

START_SECONDS: Final = 1.0
"""Until every process has begun: together they are the load."""


def write_bare(template: Template, database_url: str, *, connections: int, seconds: float) -> list[float]:
    """The milliseconds of each message that was written within the seconds. Raises BenchFailed."""
    scheme, _, place = database_url.partition(":///")
    sqlite = str(Path(place)) if scheme == "sqlite" else None
    processes = 1 if sqlite else min(connections, os.cpu_count() or 1)
    shares = [connections // processes + (at < connections % processes) for at in range(processes)]
    start_at = time.time() + START_SECONDS
    plans = [BarePlan(template, share, start_at, seconds, sqlite=sqlite, postgres_url=None if sqlite else database_url) for share in shares]
    clients = [
        subprocess.Popen(
            [sys.executable, "-m", "bench.bare_client"], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        for _ in plans
    ]
    for client, plan in zip(clients, plans, strict=True):
        assert client.stdin is not None
        client.stdin.write(msgspec.msgpack.encode(plan))
        client.stdin.close()
        client.stdin = None  # it has all: communicate() would close it again
    milliseconds: list[float] = []
    for client in clients:
        said, complaint = client.communicate(timeout=seconds + 60)
        if client.returncode or not said:
            raise BenchFailed(f"bare database: {complaint.decode(errors='replace')[-500:]}")
        milliseconds += msgspec.msgpack.decode(said, type=list[float])
    if not milliseconds:
        raise BenchFailed("bare database: nothing was written")
    return milliseconds

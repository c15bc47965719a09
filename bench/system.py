"""The gateway as an operator runs it: `serve` and `worker` as processes of their own, with the settings of production.

Two things differ: addresses may be private, since all is on one machine, and limits of a client's requests are off. Says how long a
start takes and what each process holds in memory.
"""

from __future__ import annotations

import contextlib
import http.client
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Final

from bench.load import ROOT, BenchFailed
from gateway.settings import Settings, variable

START_SECONDS: Final = 60.0
STOP_SECONDS: Final = 20.0
RATE_LIMIT: Final = "_requests_per_second"


def free_port() -> int:
    """A port of loopback that nothing listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def gateway_environment(port: int, database_url: str, folder: Path) -> dict[str, str]:
    """The settings of the measured gateway; nothing of an operator's own."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("CRISIS_")}
    ours = {
        "database_url": database_url,
        "base_url": f"http://127.0.0.1:{port}",
        "bind": f"127.0.0.1:{port}",
        "keys": str(folder / "keys"),
        "allow_private_addresses": "true",
    }
    ours |= {known.name: "0" for known in fields(Settings) if known.name.endswith(RATE_LIMIT)}
    path = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])  # the code beside this file is measured
    return {**kept, "PYTHONPATH": path, **{variable(name): value for name, value in ours.items()}}


class Running:
    """Processes of one gateway, started and stopped by name."""

    def __init__(self, folder: Path, environment: Mapping[str, str]) -> None:
        self.folder, self.environment = folder, dict(environment)
        self._processes: dict[str, subprocess.Popen[bytes]] = {}

    def run(self, *arguments: str) -> None:
        """Run `python -m …` to its end. Raises BenchFailed."""
        done = subprocess.run(
            [sys.executable, "-m", *arguments],
            cwd=self.folder,
            env=self.environment,
            capture_output=True,
            timeout=START_SECONDS,
            check=False,
        )
        if done.returncode:
            raise BenchFailed(f"{' '.join(arguments[:3])}: {done.stderr.decode(errors='replace')[-500:]}")

    def start(self, name: str, *arguments: str) -> None:
        """Start `python -m …`; what it says goes to <name>.log."""
        with (self.folder / f"{name}.log").open("ab") as log:
            self._processes[name] = subprocess.Popen(
                [sys.executable, "-m", *arguments],
                cwd=self.folder,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # its whole group can be ended, and Ctrl-C is for the bench alone
            )

    def start_answering(self, name: str, port: int, path: str, *arguments: str) -> float:
        """Start a server and wait for its first 200; the milliseconds that took. Raises BenchFailed."""
        began = time.perf_counter()
        self.start(name, *arguments)
        while not _answers(port, path):
            self.require_running()
            if time.perf_counter() - began > START_SECONDS:
                raise BenchFailed(f"{name} does not answer after {START_SECONDS:.0f} s")
            time.sleep(0.01)
        return (time.perf_counter() - began) * 1000

    def stop(self, name: str) -> None:
        """Stop one, gently first."""
        process = self._processes.pop(name)
        process.terminate()
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()

    def stop_all(self) -> None:
        """Stop everything, the newest first."""
        for name in reversed(list(self._processes)):
            self.stop(name)

    def require_running(self) -> None:
        """Raise BenchFailed if one of them has ended."""
        for name, process in self._processes.items():
            if process.poll() is not None:
                log = (self.folder / f"{name}.log").read_text(encoding="utf-8", errors="replace")
                raise BenchFailed(f"{name} ended with exit {process.returncode}: {log[-500:]}")

    def times_logged(self, name: str, event: str) -> int:
        """How often a process logged an event."""
        return (self.folder / f"{name}.log").read_text(encoding="utf-8", errors="replace").count(f'"event": "{event}"')

    def memory(self) -> list[tuple[str, float]]:
        """(process, PSS in MiB): a server's first process is gunicorn's own, those below it answer requests. Linux only."""
        found = []
        for name, process in self._processes.items():
            found.append((name, _pss(process.pid)))
            found += [(f"{name}, process {number}", _pss(child)) for number, child in enumerate(_children(process.pid), 1)]
        return [(name, mebibytes) for name, mebibytes in found if mebibytes]


def _answers(port: int, path: str) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", path)
        return connection.getresponse().status == 200
    except OSError:
        return False
    finally:
        connection.close()


def _children(pid: int) -> list[int]:
    with contextlib.suppress(OSError):
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    return []


def _pss(pid: int) -> float:
    """Proportional set size in MiB: pages shared with other processes count in parts."""
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) / 1024
    return 0.0

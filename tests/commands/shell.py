"""`crisis-gateway` as a shell runs it: a process of its own, with settings of its own and nothing of ours."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import requests

from tests.rules.trees import ROOT

START_SECONDS = 20


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass
class Shell:
    """A folder to work in and the settings of one gateway."""

    folder: Path
    port: int = field(default_factory=free_port)
    more: dict[str, str] = field(default_factory=dict)

    @property
    def base_url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def environment(self) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith("CRISIS_")}
        return {
            **kept,
            "PYTHONPATH": str(ROOT),
            "CRISIS_GATEWAY_DATABASE_URL": f"sqlite:///{self.folder / 'gateway.db'}",
            "CRISIS_GATEWAY_BASE_URL": self.base_url,
            "CRISIS_GATEWAY_BIND": f"127.0.0.1:{self.port}",
            "CRISIS_GATEWAY_KEYS": str(self.folder / "keys"),
            **self.more,
        }

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "gateway", *arguments]
        return subprocess.run(command, cwd=self.folder, env=self.environment, capture_output=True, text=True, timeout=60, check=False)

    @contextlib.contextmanager
    def serving(self, *options: str) -> Iterator[subprocess.Popen[bytes]]:
        """The server, answering; ended afterwards with all that belongs to it."""
        log = self.folder / "serve.log"
        with log.open("wb") as said:
            command = [sys.executable, "-m", "gateway", "serve", *options]
            process = subprocess.Popen(command, cwd=self.folder, env=self.environment, stdout=said, stderr=said, start_new_session=True)
        try:
            self.wait_ready(process, log)
            yield process
        finally:
            process.terminate()
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()

    def wait_ready(self, process: subprocess.Popen[bytes], log: Path) -> None:
        until = time.monotonic() + START_SECONDS
        while time.monotonic() < until:
            assert process.poll() is None, log.read_text()
            with contextlib.suppress(requests.RequestException):
                if requests.get(f"{self.base_url}/readyz", timeout=2).status_code == 200:
                    return
            time.sleep(0.05)
        raise AssertionError(f"not ready: {log.read_text()}")

"""Processes of the demo: each with a log of its own, and none left behind."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from gateway.demo.failing import DemoFailed

COMMAND_SECONDS: Final = 30
STOP_SECONDS: Final = 5
LOG_LINES: Final = 15


def free_port(wanted: int | None = None) -> int:
    """`wanted` if nothing listens there, else any free port of this machine."""
    for port in (wanted, 0):
        if port is None:
            continue
        with contextlib.suppress(OSError), socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(("127.0.0.1", port))
            return int(probe.getsockname()[1])
    raise DemoFailed("no free port on this machine")


def _log_end(log: Path) -> str:
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines() if log.exists() else []
    return "\n".join(lines[-LOG_LINES:]) or "(it said nothing)"


class Processes:
    """Starts modules of this installation as processes of their own and stops all of them, in reverse order."""

    def __init__(self, folder: Path, environment: Mapping[str, str]) -> None:
        self.folder = folder
        # Settings of the operator's own gateway must not leak into the demo.
        kept = {name: value for name, value in os.environ.items() if not name.startswith("CRISIS_")}
        self.environment = {**kept, "PYTHONUNBUFFERED": "1", **environment}
        self._running: list[tuple[str, subprocess.Popen[bytes]]] = []

    def run(self, *arguments: str) -> str:
        """Run `python -m …` to its end and give what it printed. Raises DemoFailed."""
        said = " ".join(arguments[:4])
        try:
            done = subprocess.run(
                [sys.executable, "-m", *arguments],
                cwd=self.folder,
                env=self.environment,
                capture_output=True,
                text=True,
                timeout=COMMAND_SECONDS,
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise DemoFailed(f"{said}: not done after {COMMAND_SECONDS} s") from None
        if done.returncode:
            raise DemoFailed(f"{said}: exit {done.returncode}\n{(done.stderr or done.stdout).strip()[-2000:]}")
        return done.stdout

    def start(self, name: str, *arguments: str) -> None:
        """Start `python -m …`; what it says goes to <name>.log."""
        with (self.folder / f"{name}.log").open("wb") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", *arguments],
                cwd=self.folder,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # Ctrl-C is for the demo, which then stops them in order
            )
        self._running.append((name, process))

    def require_running(self) -> None:
        """Raise DemoFailed, with the end of its log, if one of them has ended."""
        for name, process in self._running:
            if process.poll() is not None:
                raise DemoFailed(f"{name} ended with exit {process.returncode}:\n{_log_end(self.folder / f'{name}.log')}")

    def wait_listening(self, ports: Sequence[int], seconds: float) -> None:
        """Wait until something listens on every port. Raises DemoFailed."""
        until = time.monotonic() + seconds
        waiting = list(ports)
        while waiting:
            self.require_running()
            waiting = [port for port in waiting if not _listens(port)]
            if waiting and time.monotonic() > until:
                raise DemoFailed(f"nothing listens on port {waiting[0]} after {seconds:.0f} s")
            time.sleep(0.05)

    def stop(self) -> None:
        """Stop everything that was started, gently first, then for good."""
        for _, process in reversed(self._running):
            if process.poll() is None:
                process.terminate()
        until = time.monotonic() + STOP_SECONDS
        for _, process in reversed(self._running):
            try:
                process.wait(max(0.1, until - time.monotonic()))
            except subprocess.TimeoutExpired:
                # its whole group: a server's own children must not outlive it
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                process.wait()
        self._running.clear()


def _listens(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=0.5):
        return True
    return False

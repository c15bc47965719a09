"""Server and worker beside each other on one machine: two processes, one life."""

from __future__ import annotations

import contextlib
import ctypes
import signal
import subprocess
import sys
import threading
import time
from types import FrameType
from typing import Final

import structlog

from gateway.settings import Settings

log = structlog.get_logger(__name__)

RESTART_SECONDS: Final = 2.0
LOOK_SECONDS: Final = 0.2
STOP_MARGIN_SECONDS: Final = 10
PR_SET_PDEATHSIG: Final = 1


def serve_with_worker(settings: Settings) -> int:
    """Run both until SIGTERM, SIGINT or the end of the server; returns the server's exit code.

    A worker that ends is started again: its rows wait in the outbox meanwhile. When the server ends so does the worker.
    """
    told = threading.Event()

    def tell(_signal: int, _frame: FrameType | None) -> None:
        told.set()

    for each in (signal.SIGTERM, signal.SIGINT):
        signal.signal(each, tell)
    server, worker = _start("serve"), _start("worker")
    ended_at = 0.0
    while not told.wait(LOOK_SECONDS) and server.poll() is None:
        if worker.poll() is None:
            continue
        if not ended_at:
            ended_at = time.monotonic()
            log.error("worker ended", exit=worker.returncode)
        elif time.monotonic() - ended_at > RESTART_SECONDS:
            worker, ended_at = _start("worker"), 0.0
    code = _stop(server, settings.graceful_seconds + STOP_MARGIN_SECONDS)
    _stop(worker, settings.graceful_seconds + STOP_MARGIN_SECONDS)
    return 0 if told.is_set() else code or 1


def _start(command: str) -> subprocess.Popen[bytes]:
    # a group of its own: Ctrl-C of a terminal reaches us alone, and both are then stopped in order
    return subprocess.Popen(  # noqa: S603 (our own command)
        [sys.executable, "-m", "gateway", command],
        start_new_session=True,
        preexec_fn=_end_with_parent,  # noqa: PLW1509 (this process has one thread)
    )


def _end_with_parent() -> None:
    """In the child, on Linux: SIGTERM when the parent is gone, however it went, so that the port is free for its successor."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


def _stop(process: subprocess.Popen[bytes], seconds: float) -> int:
    if process.poll() is None:
        process.terminate()
    try:
        return process.wait(seconds)
    except subprocess.TimeoutExpired:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        return process.wait()

"""Processes that are kept alive as a supervisor on a machine does: who dies is started again, and its death is written down."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

STOP_SECONDS: Final = 15.0
LOOK_SECONDS: Final = 0.05


@dataclass(slots=True)
class Kept:
    """One process that shall run. wanted: off while it is stopped on purpose."""

    name: str
    arguments: tuple[str, ...]
    environment: Mapping[str, str]
    process: subprocess.Popen[bytes] | None = None
    wanted: bool = True
    began_at: float = 0.0


@dataclass(slots=True)
class Processes:
    """Everything one site runs. folder: for the logs. deaths: process id and exit code of each end nobody asked for."""

    folder: Path
    deaths: list[tuple[int, int]] = field(default_factory=list)
    _kept: dict[str, Kept] = field(default_factory=dict)
    _lock: threading.RLock = field(default_factory=threading.RLock, repr=False)
    _ended: threading.Event = field(default_factory=threading.Event, repr=False)
    _thread: threading.Thread | None = None

    def keep(self, name: str, *arguments: str, environment: Mapping[str, str]) -> None:
        """Start `python -m …` and keep it running; what it says goes to <name>.log."""
        with self._lock:
            kept = self._kept[name] = Kept(name, arguments, environment)
            self._start(kept)
        if self._thread is None:
            self._thread = threading.Thread(target=self._supervise, name="supervisor", daemon=True)
            self._thread.start()

    def pid(self, name: str) -> int:
        """Of the present process of that name; 0 while there is none."""
        process = self._kept[name].process
        return process.pid if process is not None and process.poll() is None else 0

    def children(self, name: str) -> list[int]:
        """The processes below it: those of a server that answer."""
        pid = self.pid(name)
        with contextlib.suppress(OSError):
            return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
        return []

    def kill(self, name: str) -> bool:
        """`kill -9` of it and everything below it, as the end of a container does; False when it was dead already."""
        pid = self.pid(name)
        if not pid:
            return False
        with contextlib.suppress(ProcessLookupError):
            os.killpg(pid, signal.SIGKILL)
            return True
        return False

    def stop(self, name: str) -> None:
        """End it for now, gently first."""
        with self._lock:
            kept = self._kept[name]
            kept.wanted = False
            process, kept.process = kept.process, None
        if process is not None:
            _end(process)

    def start(self, name: str) -> None:
        """Let it run again."""
        with self._lock:
            kept = self._kept[name]
            kept.wanted = True
            if kept.process is None:
                self._start(kept)

    def forget(self, name: str) -> None:
        """Stop it for good."""
        self.stop(name)
        del self._kept[name]

    def stop_all(self) -> None:
        """Stop everything, the newest first."""
        self._ended.set()
        if self._thread is not None:
            self._thread.join()
        for name in reversed(list(self._kept)):
            self.stop(name)

    def names(self) -> list[str]:
        """Who is kept."""
        return list(self._kept)

    def log(self, name: str) -> str:
        """All it said."""
        file = self.folder / f"{name}.log"
        return file.read_text(encoding="utf-8", errors="replace") if file.exists() else ""

    def _supervise(self) -> None:
        while not self._ended.wait(LOOK_SECONDS):
            with self._lock:
                for kept in list(self._kept.values()):
                    if kept.process is None or kept.process.poll() is None:
                        continue
                    self.deaths.append((kept.process.pid, kept.process.returncode))
                    with contextlib.suppress(ProcessLookupError):
                        os.killpg(kept.process.pid, signal.SIGKILL)  # what it left behind still holds its port
                    kept.process = None
                    if kept.wanted:
                        self._start(kept)

    def _start(self, kept: Kept) -> None:
        kept.began_at = time.monotonic()
        with (self.folder / f"{kept.name}.log").open("ab") as log:
            kept.process = subprocess.Popen(
                [sys.executable, "-m", *kept.arguments],
                cwd=self.folder,
                env=dict(kept.environment),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )


def _end(process: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(ProcessLookupError):
        process.terminate()
    try:
        process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()

"""`python -m tests.faults.launch serve|worker …`: the real command of the gateway, in this process, with faults that can be ordered.

Everything is wrapped from outside, before the command begins: no line of the gateway knows of it. FAULTS_ROOM is the folder of
ordered faults (room.py), FAULTS_CLOCK a file with the seconds by which this process's clock is wrong, FAULTS_WAITS a folder for
the times it waited for SQLite's write section.
"""

from __future__ import annotations

import functools
import os
import signal
import struct
import sys
import threading
import time
from collections.abc import Callable
from contextlib import nullcontext
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final

from sqlalchemy import make_url

from tests.faults.points import POINTS, Point, find, target_of
from tests.faults.room import KILL, Room, seen_file

LINGER_SECONDS: Final = 0.3
"""Before a blow inside the write section: whoever were told too early, before the COMMIT, would have heard of it by then."""


def wrap_points(room: Room, dialect: str) -> None:
    """Put every point of this database into place. Raises LookupError when one is gone."""
    for name, point in POINTS.items():
        owner, attribute, function = find(target_of(point, dialect))
        setattr(owner, attribute, _struck(name, point, function, room))


def _struck(name: str, point: Point, function: Callable[..., Any], room: Room) -> Callable[..., Any]:
    @functools.wraps(function)
    def call(*arguments: Any, **named: Any) -> Any:
        if point.when == "before" and point.fits(arguments, None):
            _strike(room.hit(name, os.getpid()), in_section=point.in_section)
        result = function(*arguments, **named)
        if point.when == "after" and point.fits(arguments, result):
            _strike(room.hit(name, os.getpid()), in_section=point.in_section)
        return result

    return call


def _strike(action: str | None, *, in_section: bool) -> None:
    if action is None:
        return
    if action == KILL:
        time.sleep(LINGER_SECONDS if in_section else 0)
        os.kill(os.getpid(), signal.SIGKILL)
    with nullcontext() if in_section else _section:
        os.kill(os.getpid(), signal.SIGSTOP)
        time.sleep(0.1)  # whichever thread the signal reaches first: this one goes no further before all are stopped


_section = threading.Lock()
"""Held by the thread of this process that has SQLite's write section: who shall stop outside it waits for its end."""


def wrap_section() -> None:
    """Follow who has SQLite's write section."""
    owner, attribute, acquire = find("gateway.store.sqlite_lock:WriteLock.acquire")
    _, _, release = find("gateway.store.sqlite_lock:WriteLock.release")

    def follow(lock: Any) -> None:
        acquire(lock)
        _section.acquire()

    def leave(lock: Any) -> None:
        if _section.locked():
            _section.release()
        release(lock)

    setattr(owner, attribute, follow)
    owner.release = leave


def wrap_clock(file: Path) -> None:
    """Let the machine's time of day be wrong by what stands in a file; monotonic time stays right, as it does on a machine."""
    real, real_ns = time.time, time.time_ns

    def wrong() -> float:
        try:
            seconds = float(file.read_text() or 0)
        except FileNotFoundError:
            return 0.0
        if seconds:
            seen_file(file).touch()  # the proof that somebody lived by this clock
        return seconds

    class Wrong(datetime):
        @classmethod
        def now(cls, tz: Any = None) -> datetime:
            return datetime.now(tz) + timedelta(seconds=wrong())

    time.time = lambda: real() + wrong()
    time.time_ns = lambda: real_ns() + int(wrong() * 1e9)
    for name in ("gateway.delivery.channels.smart", "gateway.delivery.channels.callback"):
        owner, _, _ = find(f"{name}:datetime")
        owner.datetime = Wrong


def wrap_waits(folder: Path) -> None:
    """Write down how long each wait for the write section took, each commit, and each write from its order to its answer."""
    for target, kind in (
        ("gateway.store.sqlite_lock:WriteLock.acquire", "lock"),
        ("gateway.store.sqlite_writer:SqliteWriter._commit", "commit"),
        ("gateway.store.sqlite_writer:SqliteWriter.write", "write"),
    ):
        owner, attribute, function = find(target)
        setattr(owner, attribute, _timed(function, folder, kind))


def _timed(function: Callable[..., Any], folder: Path, kind: str) -> Callable[..., Any]:
    @functools.wraps(function)
    def call(*arguments: Any, **named: Any) -> Any:
        began = time.monotonic()
        try:
            return function(*arguments, **named)
        finally:
            took = time.monotonic() - began
            with (folder / f"{kind}-{os.getpid()}").open("ab") as file:
                file.write(struct.pack("d", took))

    return call


def main() -> None:
    """Wrap, then run the command."""
    import gateway.commands.serve
    import gateway.commands.worker  # noqa: F401 (all modules are there before any is wrapped)
    from gateway.__main__ import main as command

    dialect = make_url(os.environ["CRISIS_GATEWAY_DATABASE_URL"]).get_backend_name()
    wrap_points(Room(Path(os.environ["FAULTS_ROOM"])), dialect)
    wrap_section()
    if clock := os.environ.get("FAULTS_CLOCK"):
        wrap_clock(Path(clock))
    if waits := os.environ.get("FAULTS_WAITS"):
        wrap_waits(Path(waits))
    command(sys.argv[1:])


if __name__ == "__main__":
    main()

"""The machine at its worst: a process that stands still, a clock that steps, a disk that is full, a database server that restarts."""

from __future__ import annotations

import signal
import time
from collections import Counter
from functools import partial
from typing import Final

from tests.faults.case import Case
from tests.faults.evidence import read_pushes
from tests.faults.room import STOP, Fired
from tests.faults.scene import DidNotHappen, Scene
from tests.faults.site import CALL_SECONDS, EHR, LEASE_SECONDS, LOCK_SECONDS, Plan

BOUND_SECONDS: Final = 2 * LOCK_SECONDS + 1.5
"""What a request may wait for a writer that stands still: its turn, its end, and some for a busy machine."""

STEP_SECONDS: Final = 3600.0
FEW: Final = 4
TIMES_TO_SLEEP: Final = 8


def writer_stands_still(scene: Scene) -> None:
    """SIGSTOP of a server process inside its write section: the others hear 503 in bounded time (SQLite), or go on (PostgreSQL)."""
    scene.people.wait_for(3)
    fired = scene.strike("in-intake", action=STOP)
    began = time.monotonic()
    time.sleep(LOCK_SECONDS * 2 + CALL_SECONDS)
    answers = [each for each in scene.people.heard.answers if each.at > began]
    slowest = max((each.seconds for each in answers), default=0.0)
    refused = sum(each.status == 503 for each in answers)
    scene.wake(fired)
    if not refused:
        raise DidNotHappen("nobody had to wait for the process that stood still")
    if slowest > BOUND_SECONDS:
        scene.faults.append(f"an answer took {slowest:.1f} s while the writer stood still")
    scene.said.append(f"{refused} × 503, slowest answer {slowest:.1f} s")
    scene.people.wait_for(FEW)


def worker_oversleeps(point: str, scene: Scene) -> None:
    """SIGSTOP of a worker past its lease: another one takes over, and the first, awake again, sends and finishes nothing."""
    scene.second_worker()
    scene.people.wait_for(2)
    fired = _asleep(point, scene)
    held = scene.held_by(fired.pid)
    scene.people.stop_sending()
    time.sleep(LEASE_SECONDS + 2)
    scene.until("the row is another's, or done", lambda: not scene.held_by(fired.pid))
    scene.wake(fired)
    time.sleep(1.0)
    sent = Counter(push.task for push in read_pushes(scene.site.requests_log(EHR), scene.site.base_url) if push.task in held)
    most = 2 if point == "after-send" and scene.site.plan.honours else 1  # it was sent already when it fell asleep
    scene.faults += [f"Task {task} was sent {count} times" for task, count in sent.items() if count > most]
    scene.said.append(f"{len(held)} rows in its hands")
    scene.people.go_on()
    scene.people.wait_for(FEW)


def _asleep(point: str, scene: Scene) -> Fired:
    """A worker that stands still. Where another thread of it has the write section just then it is woken: that is another case."""
    for _ in range(TIMES_TO_SLEEP):
        fired = scene.strike(point, action=STOP, nth=1)
        if scene.site.write_section_comes_free():
            return fired
        scene.wake(fired)
    raise DidNotHappen(f"{point} never stood still without the write section")


def clock_steps(process: str, seconds: float, scene: Scene) -> None:
    """The time of day of server or worker is wrong by an hour for a while, and then right again.

    What waits for a time afterwards, a retry and the end of a dead worker's lease, must not wait for that hour.
    """
    scene.people.wait_for(3)
    before = len(scene.people.heard.acknowledged)
    scene.site.clock(process).write_text(str(seconds))
    time.sleep(4.0)
    meanwhile = len(scene.people.heard.acknowledged) - before
    scene.require_stamped(process)
    scene.site.clock(process).write_text("0")
    scene.people.wait_for(2)
    scene.site.behave(EHR, status=503, status_count=2)
    scene.strike("after-claim")
    scene.people.wait_for(FEW)
    scene.said.append(f"{meanwhile} acknowledged while it was wrong")


def disk_full(scene: Scene) -> None:
    """A real ENOSPC where a small disk can be mounted: what was answered is there, what was not is not, and then there is room again."""
    scene.people.wait_for(3)
    disk = scene.site.disk
    assert disk is not None
    disk.fill(scene.writers())
    scene.until("a group that was not kept", lambda: "SQLITE_FULL" in scene.logs() or "SQLITE_IOERR" in scene.logs())
    time.sleep(2.0)
    refused = sum(each.status == 503 for each in scene.people.heard.answers)
    disk.free(scene.writers())
    scene.people.wait_for(FEW)
    if not refused:
        raise DidNotHappen("nobody was refused")
    scene.said.append(f"{disk.is_called}, {refused} × 503")


def database_restarts(how: signal.Signals, scene: Scene) -> None:
    """PostgreSQL ends under load and is there again."""
    server = scene.site.server
    assert server is not None
    scene.people.wait_for(3)
    server.stop(how)
    scene.pause(0.5, 2.0)
    server.start()
    scene.people.wait_for(FEW)
    silent = sum(each.status == 503 for each in scene.people.heard.answers)
    scene.said.append(f"{silent} × 503")


def one_writer(processes: int, scene: Scene) -> None:
    """Server processes and a worker write to one SQLite database as fast as the senders can send."""
    del processes
    scene.people.wait_for(3)
    time.sleep(scene.load_seconds)
    waits, commits, writes = (scene.waits(kind) for kind in ("lock", "commit", "write"))
    if len(waits) < 50:
        raise DidNotHappen(f"only {len(waits)} waits for the write section")
    worst = max(waits) * 1000
    scene.said.append(f"{len(waits)} waits for the write section, p99 {_p99(waits):.0f} ms, longest {worst:.0f} ms")
    scene.said.append(f"longest commit {max(commits) * 1000:.0f} ms, longest write {max(writes) * 1000:.0f} ms")
    if worst > scene.longest_wait_ms:
        scene.faults.append(f"a process waited {worst:.0f} ms for the write section")
    errors = sorted({each.status for each in scene.people.heard.answers if each.status >= 500})
    if errors:
        scene.faults.append(f"answers {errors}")


def _p99(values: list[float]) -> float:
    return sorted(values)[len(values) * 99 // 100] * 1000


STILL: Final = (
    Case("writer stands still", "SIGSTOP inside the write section", writer_stands_still),
    *(
        Case(f"worker oversleeps {point}", "SIGSTOP past the lease", partial(worker_oversleeps, point))
        for point in ("after-claim", "before-send", "after-send")
    ),
)
CLOCK: Final = tuple(
    Case(
        f"clock of {process} {seconds / 3600:+.0f} h",
        "the time of day is wrong, then right",
        partial(clock_steps, process, seconds),
        same_clock=False,
        spoils=True,
    )
    for process in ("server", "worker")
    for seconds in (STEP_SECONDS, -STEP_SECONDS)
)
DISK: Final = (
    Case("disk full", "inside a group commit", disk_full, Plan(small_disk=True, settings=(("free_space_floor_bytes", "0"),)), ("sqlite",)),
)
RESTART: Final = tuple(
    Case(f"PostgreSQL {word}", "restarted under load", partial(database_restarts, how), databases=("postgresql",))
    for word, how in (("restarts", signal.SIGINT), ("crashes", signal.SIGQUIT))
)
BLIND: Final = (Case("blind worker oversleeps", "SIGSTOP past the lease", partial(worker_oversleeps, "after-send"), Plan(honours=False)),)
ONE_WRITER: Final = tuple(
    Case(
        f"one writer, {processes} processes",
        "and a worker, under load",
        partial(one_writer, processes),
        Plan(processes=processes, waits=True, settings=(("lock_seconds", "10"),)),
        ("sqlite",),
        senders=4,
        pause_seconds=0.0,
        backlog=80,
        readers=4,
    )
    for processes in (1, 2, 4)
)

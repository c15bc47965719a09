"""What a case has in its hands: the site under load, and the ways to strike it. Each way proves that the blow landed."""

from __future__ import annotations

import os
import random
import signal
import struct
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from tests.faults.evidence import ask, unfinished
from tests.faults.people import People
from tests.faults.points import POINTS
from tests.faults.room import KILL, STOP, Fired, seen_file
from tests.faults.site import Site, wait_until

STRIKE_SECONDS: Final = 40.0


class DidNotHappen(Exception):
    """The fault of a case never came: nothing was shown by it."""


@dataclass(slots=True)
class Scene:
    """One case under way. killed: processes that died of SIGKILL. said: what the table tells of it. faults: what its own eyes saw.

    load_seconds: how long a measured load lasts. longest_wait_ms: that a wait for the write section may last.
    """

    site: Site
    people: People
    random: random.Random
    killed: int = 0
    said: list[str] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)
    load_seconds: float = 12.0
    longest_wait_ms: float = 250.0

    def strike(self, point: str, *, action: str = KILL, nth: int | None = None) -> Fired:
        """Order a fault at a point and wait until it came. Raises DidNotHappen."""
        room = self.site.rooms[POINTS[point].process]
        before = set(room.fired())
        room.arm(point, action, nth or self.random.randint(1, 4))
        self._until(f"the fault at {point}", lambda: set(room.fired()) - before)
        (fired,) = set(room.fired()) - before
        if action == KILL:
            self.require_dead(fired.pid)
        else:
            self._until(f"{point} stands still", lambda: state_of(fired.pid) == "T")
        return fired

    def require_dead(self, pid: int) -> None:
        """A process is gone and it was SIGKILL that ended it. Raises DidNotHappen."""
        self._until(f"the death of {pid}", lambda: state_of(pid) in ("", "Z"))
        self._until(
            f"the word that {pid} was killed",
            lambda: (
                (pid, -signal.SIGKILL) in self.site.processes.deaths or f"(pid:{pid}) was sent SIGKILL" in self.site.processes.log("server")
            ),
        )
        self.killed += 1

    def kill(self, name: str) -> None:
        """`kill -9` of a process and everything below it."""
        pid = self.site.processes.pid(name)
        if self.site.processes.kill(name):
            self._until(f"the death of {name}", lambda: self.site.processes.pid(name) != pid)
            self.killed += 1

    def kill_one(self, pid: int) -> None:
        """`kill -9` of one process alone."""
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
            self.killed += 1

    def wake(self, fired: Fired) -> None:
        """Let a stopped process go on; it can be struck again."""
        assert fired.action == STOP
        self.site.rooms[POINTS[fired.point].process].forget(fired)
        os.kill(fired.pid, signal.SIGCONT)

    def pause(self, low: float, high: float | None = None) -> None:
        """Let some time pass, drawn from the seed."""
        time.sleep(self.random.uniform(low, high if high is not None else low))

    def until(self, what: str, look: Callable[[], object], seconds: float = STRIKE_SECONDS) -> None:
        """Wait for what the fault must have led to. Raises DidNotHappen."""
        self._until(what, look, seconds)

    # --- what has come of it ---

    def unknown(self) -> int:
        """Deliveries that may or may not have arrived."""
        return int(ask(self.site, "SELECT count(*) FROM outbox WHERE state = 'unknown'")[0][0])

    def tries(self) -> int:
        """Failed tries of deliveries that are still to be made."""
        return int(ask(self.site, "SELECT coalesce(sum(tries), 0) FROM outbox WHERE kind = 'deliver'")[0][0])

    def held_by(self, pid: int) -> list[str]:
        """What one worker has in its hands: the Task of a delivery, or the subject of a job."""
        rows = ask(self.site, "SELECT worker, subject FROM outbox WHERE state IN ('claimed', 'sending')")
        return [row.subject for row in rows if str(row.worker).endswith(f":{pid}")]

    def logs(self) -> str:
        """All that the gateway's processes said."""
        return "".join(self.site.processes.log(name) for name in self.gateway())

    def gateway(self) -> list[str]:
        """The names of the gateway's own processes."""
        return [name for name in self.site.processes.names() if name.startswith(("server", "worker"))]

    def waits(self, kind: str) -> list[float]:
        """Seconds of each wait for the write section ("lock"), or of each write ("write")."""
        files = (self.site.folder / "waits").glob(f"{kind}-*")
        return [value for file in files for (value,) in struct.iter_unpack("d", _whole(file.read_bytes()))]

    def require_stamped(self, process: str) -> None:
        """A process lived by its wrong clock. Raises DidNotHappen."""
        if not seen_file(self.site.clock(process)).exists():
            raise DidNotHappen(f"the {process} never looked at its clock")

    # --- more ways to strike ---

    def quieten(self) -> None:
        """Nothing new, and all that was begun is done."""
        self.people.stop_sending()
        self._until("everything is done", lambda: unfinished(self.site) == 0)

    def second_worker(self) -> None:
        """From now on two workers run."""
        if self.site.workers < 2:
            name = self.site.start_worker()
            self._until("a second worker", lambda: "worker started" in self.site.processes.log(name))

    def writers(self) -> list[int]:
        """The processes that write to the database."""
        parents = [self.site.processes.pid(name) for name in self.gateway()]
        return [pid for pid in (*parents, *self.site.processes.children("server")) if pid]

    def restore(self) -> None:
        """End every fault: nothing more strikes, everybody behaves, all that was stopped runs."""
        for room in self.site.rooms.values():
            for fired in room.fired():
                if fired.action == STOP and state_of(fired.pid) == "T":
                    os.kill(fired.pid, signal.SIGCONT)
            room.clear()
        for name in self.site.processes.names():
            self.site.processes.start(name)
        for process in self.site.rooms:
            self.site.clock(process).unlink(missing_ok=True)
        wait_until("the gateway answers again", self.site.ready)

    @staticmethod
    def _until(what: str, look: Callable[[], object], seconds: float = STRIKE_SECONDS) -> None:
        try:
            wait_until(what, look, seconds)
        except TimeoutError as late:
            raise DidNotHappen(str(late)) from None


def _whole(data: bytes) -> bytes:
    """Without a last value that is being written just now."""
    return data[: len(data) // 8 * 8]


def state_of(pid: int) -> str:
    """The kernel's letter for a process: T stopped, Z ended and not yet buried; empty for none."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][:1]
    except OSError:
        return ""

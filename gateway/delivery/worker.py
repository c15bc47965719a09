"""The worker: takes rows of the outbox and does what they stand for, until it is told to stop.

A job runs in one transaction with the end of its row. A sending is three steps with no transaction open between them: the
channel is opened; then what leaves is decided anew, audited and marked as `sending` in one transaction; after the call its
outcome is kept in another. Any number of workers, threads and hosts may run beside each other. Beside its lanes it runs the
audit sequencer, which one worker at a time has.

It never retries within a try, never sends what was decided when it was queued, and logs ids, codes and times only.
"""

from __future__ import annotations

import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType
from typing import Any, Final

import structlog

from gateway.access.disclosed import Disclosed
from gateway.audit import sequencer
from gateway.audit.sequencer import Sequencer
from gateway.delivery.channels.channel import Channel, NotOpened, Opened
from gateway.delivery.retry import Reply, RetryRules, circuit_wait, judge, wait_before_retry
from gateway.delivery.routes import Route, find_route, make_channels
from gateway.errors import Unavailable
from gateway.services import Services
from gateway.store import claims, destinations, outbox
from gateway.store.database import Unit
from gateway.store.outbox import Claimed, Result

log = structlog.get_logger(__name__)

Job = Callable[[Unit, Services, str], None]
Preparation = Callable[[Unit, Services, str, str], Disclosed | None]

LEFT_OF_A_CALL: Final = 1.5
"""What must be left of a lease before the first byte, in calls: the call's total time, and some for a pause of this process."""

POLL_SECONDS: Final = 0.25
SENDERS: Final = 8
JOBBERS: Final = 8
"""So many jobs wait for the write section together, and on SQLite are one commit."""

PER_DESTINATION: Final = 2
JOBS_AT_ONCE: Final = 32
LAST_LINKS_SECONDS: Final = 10.0
"""How long a worker that stops goes on linking audit rows; what is left is the next one's."""


class LeaseLost(Exception):
    """Somebody else has the row, or it was dropped: roll back and leave it alone."""


@dataclass(frozen=True, slots=True)
class Lane:
    """Threads of their own for one sort of work, so that a slow clinic never holds up a deadline."""

    kinds: frozenset[str]
    threads: int
    per_destination: int


class Worker:
    """One worker process.

    jobs: by kind; called with (unit, services, subject), each within one transaction. preparations: by kind; called with
    (unit, services, subject, destination) when something is about to leave; None when nothing may leave any more.
    channels: by the name of the registry's channel kinds, and "callback"; default all there are. lease_seconds: how long a row
    stays ours when we die; more than a call may take; default that of the settings.
    """

    def __init__(
        self,
        services: Services,
        *,
        jobs: Mapping[str, Job],
        preparations: Mapping[str, Preparation],
        channels: Mapping[str, Channel] | None = None,
        lease_seconds: float | None = None,
        senders: int = SENDERS,
        per_destination: int = PER_DESTINATION,
        route: Callable[[Unit, str, str], Route | None] = find_route,
    ) -> None:
        self.services = services
        self.jobs = jobs
        self.preparations = preparations
        self.channels = channels if channels is not None else make_channels(services)
        self.lease_seconds = lease_seconds or services.settings.lease_seconds
        self.send_seconds = min(LEFT_OF_A_CALL * services.settings.call_seconds, self.lease_seconds / 2)
        self.rules = RetryRules.from_settings(services.settings)
        self.name = f"{socket.gethostname()}:{os.getpid()}"
        self.lanes = (
            Lane(frozenset(jobs), JOBBERS, JOBS_AT_ONCE),
            Lane(frozenset(preparations), senders, per_destination),
        )
        self.sequencer = Sequencer(services.database, self.name)
        self._route = route
        self._stop = threading.Event()

    # --- the loop ---

    def run_once(self) -> int:
        """Take what is due now, do it, and return how many rows that were."""
        done = 0
        for lane in self.lanes:
            rows = self._claim(lane, lane.threads)
            with ThreadPoolExecutor(max_workers=lane.threads, thread_name_prefix="delivery") as pool:
                list(pool.map(self.work, rows))
            done += len(rows)
        return done

    def run_forever(self) -> None:
        """Work until `stop` or SIGTERM; what is under way then is brought to its end."""
        log.info("worker started", worker=self.name)
        with self._told_by_signals():
            threads = [threading.Thread(target=self._run_lane, args=(lane,), name="lane") for lane in self.lanes]
            threads.append(threading.Thread(target=self._run_sequencer, name="sequencer"))
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            self.finish_sequencing()  # the lanes' last rows, too
        log.info("worker stopped", worker=self.name)

    def stop(self) -> None:
        """Take nothing more."""
        self._stop.set()

    @contextmanager
    def _told_by_signals(self) -> Iterator[None]:
        def told(_number: int, _frame: FrameType | None) -> None:
            self.stop()

        if threading.current_thread() is not threading.main_thread():
            yield  # beside a server, which stops us itself
            return
        before = {number: signal.signal(number, told) for number in (signal.SIGTERM, signal.SIGINT)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _run_lane(self, lane: Lane) -> None:
        under_way: set[Future[None]] = set()
        with ThreadPoolExecutor(max_workers=lane.threads, thread_name_prefix="delivery") as pool:
            while not self._stop.is_set():
                under_way = {future for future in under_way if not future.done()}
                rows = self._claim_safely(lane, lane.threads - len(under_way))
                under_way |= {pool.submit(self.work, row) for row in rows}
                if not rows and len(under_way) == lane.threads:
                    wait(under_way, timeout=POLL_SECONDS, return_when=FIRST_COMPLETED)
                elif not rows:
                    self._stop.wait(POLL_SECONDS)

    def _run_sequencer(self) -> None:
        while not self._stop.is_set():
            if not self._sequence_safely(self.sequencer.run_once):
                self._stop.wait(sequencer.POLL_SECONDS)

    def finish_sequencing(self) -> None:
        """Link what audit rows wait, where this worker may and while there is time, and let another go on."""
        ends_at = time.monotonic() + LAST_LINKS_SECONDS
        while self._sequence_safely(self.sequencer.run_once) and time.monotonic() < ends_at:
            pass
        self._sequence_safely(self.sequencer.release)

    def _sequence_safely(self, step: Callable[[], bool | None]) -> bool:
        try:
            return bool(step())
        except Exception as error:  # noqa: BLE001 (rows wait, loudly, and the lanes go on)
            log.error("audit sequencing failed", worker=self.name, error=type(error).__name__)
            self._stop.wait(1.0)
            return False

    def _claim_safely(self, lane: Lane, places: int) -> list[Claimed]:
        try:
            return self._claim(lane, places)
        except Exception as error:  # noqa: BLE001 (the delivery loop outlives a database that is away)
            log.error("claim failed", worker=self.name, error=type(error).__name__)
            self._stop.wait(1.0)
            return []

    def _claim(self, lane: Lane, places: int) -> list[Claimed]:
        if places <= 0 or not lane.kinds:
            return []
        database = self.services.database
        with database.read() as unit:
            # asked without the write section: an idle worker costs a reader only
            if not claims.has_work(unit, lane.kinds):
                return []
        return database.write(
            lambda unit: claims.claim(
                unit,
                worker=self.name,
                limit=places,
                lease_seconds=self.lease_seconds,
                kinds=lane.kinds,
                concurrency=lane.per_destination,
            )
        )

    # --- one row ---

    def work(self, claimed: Claimed) -> None:
        """Bring one claimed row to the end of this try. Raises nothing: what fails is kept in the row, or its lease ends."""
        known: dict[str, Any] = {"delivery": claimed.id, "kind": claimed.kind, "attempt": claimed.attempt}
        try:
            if claimed.kind in self.jobs:
                self._do(claimed)
            else:
                self._send(claimed)
        except LeaseLost:
            log.info("row left to others", **known)
        except Unavailable:
            log.warning("store out of reach", **known)
        except Exception as error:  # noqa: BLE001 (one row that cannot be worked must not end the worker)
            # the name of the error only: its text may quote what was being sent
            log.error("row failed", error=type(error).__name__, **known)
            self._fail(claimed)

    def _do(self, claimed: Claimed) -> None:
        """Run a job; its effect and the end of its row commit together or not at all."""
        handler = self.jobs[claimed.kind]

        def effect(unit: Unit) -> None:
            # the job first, the row last: a job locks its referral's ledger before anything else, as every move does
            handler(unit, self.services, claimed.subject)
            if not outbox.finish(unit, claimed, Result("done")):
                raise LeaseLost

        self.services.database.write(effect)
        log.info("job done", delivery=claimed.id, kind=claimed.kind)

    def _send(self, claimed: Claimed) -> None:
        with self.services.database.read() as unit:
            route = self._route(unit, claimed.kind, claimed.destination)
        channel = self.channels.get(route.channel) if route is not None else None
        if route is None or channel is None:
            self._settle(claimed, Reply(None, ("no-channel",), begun=False, refused_by_us=True), repeatable=True)
            return
        try:
            opened = channel.open(route.address, route.client_id)
        except NotOpened as closed:
            self._settle(claimed, closed.reply, repeatable=True)
            return
        with opened:
            self._send_through(opened, claimed)

    def _send_through(self, opened: Opened, claimed: Claimed) -> None:
        leased_at = time.monotonic()  # before the store stamps the new lease, so that ours ends earlier
        prepared = self._prepare(opened, claimed)
        if prepared is None:
            log.info("nothing leaves", delivery=claimed.id, kind=claimed.kind)
            return
        sending, disclosed, repeatable = prepared
        if self.lease_seconds - (time.monotonic() - leased_at) < self.send_seconds:
            self._settle(sending, Reply(None, ("late",), begun=False), repeatable=True, our_fault=True)
            return
        try:
            reply = opened.send(sending, disclosed)
        except Exception as error:  # noqa: BLE001 (whatever it is, the row must say that something may have left)
            log.error("send failed", delivery=claimed.id, kind=claimed.kind, error=type(error).__name__)
            reply = Reply(None, ("exception",), begun=True)
        self._settle(sending, reply, repeatable=repeatable)

    def _prepare(self, opened: Opened, claimed: Claimed) -> tuple[Claimed, Disclosed, bool] | None:
        """Decide, audit and mark in one transaction; None when nothing may leave any more."""
        preparation = self.preparations[claimed.kind]

        def decide(unit: Unit) -> tuple[Claimed, Disclosed, bool] | None:
            disclosed = preparation(unit, self.services, claimed.subject, claimed.destination)
            if disclosed is None:
                if not outbox.finish(unit, claimed, Result("dropped")):
                    raise LeaseLost
                return None
            repeatable = opened.repeatable(claimed, disclosed)
            sending = outbox.begin_sending(unit, claimed, lease_seconds=self.lease_seconds, conditional_create=repeatable)
            if sending is None:
                raise LeaseLost  # and with it goes the audit row: nothing leaves
            return sending, disclosed, repeatable

        return self.services.database.write(decide)

    def _settle(self, claimed: Claimed, reply: Reply, *, repeatable: bool, our_fault: bool = False) -> None:
        """Keep the outcome of a try, and what it says of the destination."""
        judged = judge(reply, repeatable=repeatable, repeated=claimed.held_generation == claimed.generation)

        def keep(unit: Unit) -> str | None:
            verdict, pause = judged.verdict, None
            if verdict == "retry":
                pause = wait_before_retry(self.rules, claimed.tries + 1, unit.now - claimed.first_attempt_at, reply.retry_after)
                verdict = "retry" if pause is not None else "dead"
            result = Result(verdict, may_hold=judged.may_hold, status=reply.status, issue_codes=reply.issue_codes)
            if pause is not None:
                result = Result("retry", pause, judged.may_hold, reply.status, reply.issue_codes)
            kept = outbox.finish(unit, claimed, result)
            if judged.reached:
                destinations.note_reached(unit, claimed.kind, claimed.destination)
            elif judged.reached is False and not our_fault:
                failures = destinations.note_failure(unit, claimed.kind, claimed.destination)
                waits = [wait for wait in (circuit_wait(self.rules, failures), pause if reply.retry_after else None) if wait]
                if waits:
                    destinations.hold_off(unit, claimed.kind, claimed.destination, max(waits))
            return verdict if kept else None

        verdict = self.services.database.write(keep)
        log.info(
            "try ended",
            delivery=claimed.id,
            kind=claimed.kind,
            attempt=claimed.attempt,
            verdict=verdict or "lease lost",
            status=reply.status,
            codes=reply.issue_codes,
        )

    def _fail(self, claimed: Claimed) -> None:
        """A fault of our own: try again later, as for a peer that is down, but do not blame the peer."""
        try:
            self._settle(claimed, Reply(None, ("exception",), begun=False), repeatable=True, our_fault=True)
        except Exception as error:  # noqa: BLE001 (the lease ends by itself)
            log.error("outcome not kept", delivery=claimed.id, error=type(error).__name__)

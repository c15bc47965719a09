"""Who lives through the faults: two records systems that send and repeat what was not answered, a clinic that answers, a reader.

Each is a thread that behaves as its real counterpart: after a lost connection or a 503 it says the same again. What each was told is
written down with the times before and after, so that it can be held against what is found at the end.
"""

from __future__ import annotations

import copy
import itertools
import json
import random
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, Final

import requests

import mappings
from conformance.standins.client import NoToken
from conformance.standins.receiver import live_task_id
from profiles.strict_json import JsonFault
from tests.faults.site import CALL_SECONDS, CLINIC, EHR, HOSPITAL, HOSPITAL_RMS, POLICE, POLICE_RMS, Site, wait_until

NO_ANSWER: Final = (requests.RequestException, NoToken)
SENDERS: Final = ((POLICE_RMS, POLICE), (HOSPITAL_RMS, HOSPITAL))
PAUSE_SECONDS: Final = 0.1
_numbers = itertools.count(1)


@dataclass(frozen=True, slots=True)
class Acknowledged:
    """A receipt that a sender read. tries: how often it had to say its message."""

    client: str
    organization: str
    key: str
    receipt: str
    status: int
    tries: int
    at: float


@dataclass(frozen=True, slots=True)
class Acceptance:
    """A Task the clinic took. sent_at: before its first PUT; kept_at: when it read that it was taken, None where it never did."""

    task: str
    sent_at: float
    kept_at: float | None


@dataclass(frozen=True, slots=True)
class View:
    """A word a sender read of its own referral. at: when the answer was there."""

    client: str
    receipt: str
    word: str
    at: float
    source: str = "read"


@dataclass(frozen=True, slots=True)
class Answered:
    """One answer to a request. at: when it was there; seconds: how long it took."""

    who: str
    status: int
    seconds: float
    at: float


@dataclass(slots=True)
class Heard:
    """Everything anybody was told."""

    acknowledged: list[Acknowledged] = field(default_factory=list)
    acceptances: dict[str, Acceptance] = field(default_factory=dict)
    declined: set[str] = field(default_factory=set)
    views: list[View] = field(default_factory=list)
    answers: list[Answered] = field(default_factory=list)
    silent: list[tuple[str, float]] = field(default_factory=list)  # (who, seconds) of calls without an answer


class People:
    """The threads of one case. seed: decides which Tasks are accepted, declined and left alone. heard: what was told is added to it.

    twice: the clinic says each acceptance twice at once, on one version. backlog: no new referral begins while so many have not
    reached the EHR, else a long outage would end in hours of work.
    """

    def __init__(
        self,
        site: Site,
        heard: Heard,
        seed: int,
        *,
        senders: int = 2,
        pause_seconds: float = PAUSE_SECONDS,
        seconds: float = CALL_SECONDS,
        twice: bool = False,
        backlog: int = 20,
        readers: int = 1,
    ) -> None:
        self.site, self.heard, self._twice = site, heard, twice
        self.pairs: list[list[int | None]] = []
        self._random = random.Random(seed)
        self._sending, self._busy, self._moving = False, 0, threading.Lock()
        self._backlog, self._known = backlog, len(heard.acknowledged)
        self._ended = threading.Event()
        self._pause_seconds, self._seconds = pause_seconds, seconds
        self._clients = {client_id: site.client(client_id, seconds) for client_id, _ in SENDERS}
        self._receiver = site.receiver()
        self._seen: set[str] = set()
        self._log_at = _size(site)
        self._senders = [threading.Thread(target=self._send_on, args=SENDERS[number % 2], daemon=True) for number in range(senders)]
        self._others = [threading.Thread(target=each, daemon=True) for each in (self._answer_on, *[self._read_on] * readers)]

    def __enter__(self) -> People:
        self.go_on()
        for thread in (*self._senders, *self._others):
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        for thread in (*self._senders, *self._others):
            thread.join(30)

    def stop_sending(self) -> None:
        """New referrals end; what was begun is said until it is answered."""
        with self._moving:
            self._sending = False
        wait_until("the senders have their answers", lambda: self._busy == 0)

    def go_on(self) -> None:
        """New referrals begin."""
        self._sending = True

    def wait_for(self, count: int, seconds: float = 60.0) -> None:
        """Until so many more referrals were acknowledged from now on. Raises TimeoutError."""
        wanted, until = len(self.heard.acknowledged) + count, time.monotonic() + seconds
        while len(self.heard.acknowledged) < wanted:
            if time.monotonic() > until:
                raise TimeoutError(f"{count} more referrals: not after {seconds:.0f} s")
            time.sleep(0.02)

    # --- the senders ---

    def _send_on(self, client_id: str, organization: str) -> None:
        while not self._ended.is_set():
            with self._moving:
                sends = self._sending and len(self.heard.acknowledged) - self._known - len(self._seen) < self._backlog
                self._busy += sends
            if sends:
                self._refer(client_id, organization)
                with self._moving:
                    self._busy -= 1
            self._ended.wait(self._pause_seconds if sends else 0.05)

    def _refer(self, client_id: str, organization: str) -> None:
        message = a_message()
        body = json.dumps(message).encode()
        for tries in itertools.count(1):
            if self._ended.is_set():
                return
            answer = self._call(
                client_id,
                lambda: self._clients[client_id].call_again(
                    "POST", "/intake/rms-diversion", body=body, headers={"Content-Type": "application/json"}
                ),
            )
            if answer is not None and answer.status in (200, 201):
                told = Acknowledged(
                    client_id, organization, message["request_number"], answer.json()["receipt"], answer.status, tries, time.monotonic()
                )
                self.heard.acknowledged.append(told)
                self.heard.views.append(View(client_id, told.receipt, answer.json()["status"], told.at, "receipt"))
                return
            if answer is not None and answer.status not in (401, 429, 500, 503):
                return  # written down among the answers, and found there
            self._ended.wait(0.1)

    # --- the clinic ---

    def _answer_on(self) -> None:
        while not self._ended.is_set():
            for task_id in self._pushed():
                self._answer(task_id)
            self._ended.wait(0.05)

    def _pushed(self) -> list[str]:
        """Tasks that reached the EHR since the last look, from its raw log."""
        found = []
        with self.site.requests_log(EHR).open("rb") as log:
            log.seek(self._log_at)
            for line in log:
                if not line.endswith(b"\n"):
                    break
                self._log_at += len(line)
                found += tasks_of(json.loads(line), self.site.base_url)
        return [task for task in dict.fromkeys(found) if task not in self._seen]

    def _answer(self, task_id: str) -> None:
        self._seen.add(task_id)
        drawn = self._random.random()
        if drawn < 0.6:
            self._move(task_id, "accepted")
        elif drawn < 0.8:
            self._move(task_id, "rejected")

    def _move(self, task_id: str, status: str) -> None:
        """Say it until it is known to be taken, or the Task shows that it cannot be any more."""
        sent_at: float | None = None
        while not self._ended.is_set():
            read = self._call(EHR, lambda: self._receiver.read(f"Task/{task_id}"))
            if read is None or read.status != 200:
                if read is not None and read.status in (404, 410):
                    return
                self._ended.wait(0.1)
                continue
            task = read.json()
            if task["status"] == status and sent_at is not None:
                self._keep(task_id, status, sent_at, time.monotonic())
                return
            if task["status"] != "requested":
                return
            sent_at = sent_at or time.monotonic()
            self._keep(task_id, status, sent_at, None)
            version = str(read.answer_headers.get("ETag"))
            if 200 in self._put({**task, "status": status}, version):
                self._keep(task_id, status, sent_at, time.monotonic())
                return

    def _put(self, task: dict[str, Any], version: str) -> list[int | None]:
        """Put a Task, once or twice at the same time; the statuses, None for no answer."""
        with ThreadPoolExecutor(2) as pool:
            puts = [pool.submit(self._call, EHR, lambda: self._receiver.put(task, version)) for _ in range(2 if self._twice else 1)]
            statuses = [answer.status if (answer := put.result()) is not None else None for put in puts]
        self.pairs.append(statuses)
        return statuses

    def _keep(self, task_id: str, status: str, sent_at: float, kept_at: float | None) -> None:
        if status == "accepted":
            self.heard.acceptances[task_id] = Acceptance(task_id, sent_at, kept_at)
        else:
            self.heard.declined.add(task_id)

    # --- the reader ---

    def _read_on(self) -> None:
        while not self._ended.wait(min(0.05, self._pause_seconds)):
            known = self.heard.acknowledged
            if known:
                told = known[-1 - int(self._random.random() ** 2 * len(known))]  # the newest are read more often
                self._read(told)

    def _read(self, told: Acknowledged) -> None:
        answer = self._call(told.client, lambda: self._clients[told.client].call_again("GET", f"/referrals/{told.receipt}"))
        if answer is not None and answer.status == 200:
            self.heard.views.append(View(told.client, told.receipt, answer.json()["status"], time.monotonic()))

    # --- all ---

    def _call(self, who: str, call: Callable[[], Any]) -> Any:
        began = time.monotonic()
        try:
            answer = call()
        except (*NO_ANSWER, JsonFault):
            self.heard.silent.append((who, time.monotonic() - began))
            return None
        now = time.monotonic()
        self.heard.answers.append(Answered(who, answer.status, now - began, now))
        return answer


def a_message() -> dict[str, Any]:
    """A diversion request of another person under another number each time."""
    number = next(_numbers)
    message: dict[str, Any] = copy.deepcopy(mappings.load("rms-diversion").schema["examples"][0])
    message.pop("consents", None)
    message["request_number"] = f"FAULT-{number:06d}"
    message["person"]["identifier"] = f"FAULT-P-{number:06d}"
    message["person"]["name"]["family"] = f"Marsh-{number}"
    return message


def tasks_of(line: dict[str, Any], base_url: str) -> list[str]:
    """The live Tasks a logged push of offers speaks of, where the EHR took it."""
    if not line["request"].startswith("POST /fhir ") or line["status"] not in (200, None):
        return []
    entries = json.loads(line["body"]).get("entry", [])
    named = (live_task_id(entry["resource"], base_url) for entry in entries if entry["resource"].get("status") == "requested")
    return [task for task in named if task]


def _size(site: Site) -> int:
    log = site.requests_log(EHR)
    return log.stat().st_size if log.exists() else 0


__all__ = ["CLINIC", "Acceptance", "Acknowledged", "Answered", "Heard", "People", "View", "a_message", "tasks_of"]

"""What the stand-in EHR does by itself with a Task that reached it: accept, decline, or accept twice at once."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import requests

from conformance.exchange import Exchange
from conformance.standins.behaviour import Behaviour
from conformance.standins.client import NoToken
from conformance.standins.receiver import NotAnswerable, Receiver


@dataclass(slots=True)
class Answering:
    """Answers in threads of its own, so that a push is never kept waiting. Each Task is answered once."""

    receiver: Receiver
    behaviour: Behaviour
    answers: list[dict[str, Any]] = field(default_factory=list)
    _answered: set[str] = field(default_factory=set)
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def take_up(self, task_id: str) -> None:
        """A Task reached the EHR: answer it after the told time, if the stand-in answers by itself."""
        wanted = self.behaviour.answer
        if wanted == "manual":
            return
        with self._lock:
            if task_id in self._answered:
                return
            self._answered.add(task_id)
        timer = threading.Timer(self.behaviour.answer_after_seconds, self._answer, (task_id, wanted))
        timer.daemon = True
        timer.start()

    def _answer(self, task_id: str, wanted: str) -> None:
        if wanted == "accept-twice":
            self._at_once(task_id)
        elif wanted == "accept":
            self._keep(task_id, wanted, lambda: self.receiver.accept(task_id))
        else:
            self._keep(task_id, wanted, lambda: self.receiver.decline(task_id))

    def _at_once(self, task_id: str) -> None:
        """Two acceptances on one version, as an EHR that was clicked twice sends them."""
        read = self.receiver.read(f"Task/{task_id}")
        task = read.json() if read.status == 200 else None
        if not isinstance(task, Mapping):
            self._keep(task_id, "accept-twice", lambda: read)
            return
        version = str(read.answer_headers.get("ETag") or f'W/"{task["meta"]["versionId"]}"')
        with ThreadPoolExecutor(2) as pool:
            for _ in range(2):
                pool.submit(self._keep, task_id, "accept-twice", lambda: self.receiver.put({**task, "status": "accepted"}, version))

    def _keep(self, task_id: str, wanted: str, act: Callable[[], Exchange]) -> None:
        try:
            status: int | str = act().status
        except (requests.RequestException, NoToken, NotAnswerable) as error:
            status = type(error).__name__
        with self._lock:
            self.answers.append({"task": task_id, "answer": wanted, "status": status})

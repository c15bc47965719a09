"""Where the time of one operation goes: `python -m bench.profile`, on the in-process world of the tests and a SQLite file.

Counts the SQL statements of each operation and samples the stacks of all threads a thousand times a second. A sample belongs to
the innermost frame that is in the table below. There is no HTTP server, no socket and no second process in it, so it tells shares,
not rates; `python -m bench` tells those.
"""

from __future__ import annotations

import argparse
import logging
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import Any, Final

import structlog
from sqlalchemy import Engine, event

from bench.people import a_message
from gateway.commands.worker import make_worker
from gateway.store.migrations import upgrade
from gateway.store.statements import Plan
from gateway.store.units import Unit
from tests.world import Actor, World, make_world

INTERVAL_SECONDS: Final = 0.001
WARM_TIMES: Final = 3
PLACES: Final = (  # the first that a frame's path contains
    ("bench/profile.py", ""),
    ("tests/", ""),
    ("/threading.py", ""),
    ("/concurrent/futures/", ""),
    ("/queue.py", ""),
    ("werkzeug/test.py", ""),
    ("gateway/store/migrations", ""),
    ("gateway/store/sqlite_lock.py", "SQLite: lock and commit"),
    ("gateway/store/sqlite_writer.py", "SQLite: lock and commit"),
    ("sqlalchemy/", "SQL: SQLAlchemy and the driver"),
    ("gateway/store/", "SQL: the store's own code"),
    ("profiles/strict_json.py", "JSON in and out"),
    ("/json/", "JSON in and out"),
    ("profiles/", "validation"),
    ("jsonschema_rs", "validation"),
    ("mappings/", "mapping"),
    ("gateway/access/", "access: decisions, index, permits"),
    ("gateway/referral/", "referral: offers, ledger, copies"),
    ("gateway/audit/", "audit rows"),
    ("gateway/oauth/", "OAuth: tokens and signatures"),
    ("joserfc/", "OAuth: tokens and signatures"),
    ("cryptography/", "OAuth: tokens and signatures"),
    ("gateway/delivery/", "worker: claims"),
    ("gateway/", "HTTP: Flask and doors"),
    ("flask/", "HTTP: Flask and doors"),
    ("werkzeug/", "HTTP: Flask and doors"),
)


class Sampler:
    """Samples what every other thread does while it runs."""

    def __init__(self) -> None:
        self.places: Counter[str] = Counter()
        self.functions: Counter[str] = Counter()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="sampler")

    def __enter__(self) -> Sampler:
        self._thread.start()
        return self

    def __exit__(self, *_ignored: object) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        own = threading.get_ident()
        while not self._stop.wait(INTERVAL_SECONDS):
            for ident, frame in sys._current_frames().items():
                if ident != own:
                    self._take(frame)

    def _take(self, innermost: FrameType) -> None:
        frame: FrameType | None = innermost
        while frame is not None:
            path = frame.f_code.co_filename
            place = next((name for part, name in PLACES if part in path), None)
            if place is not None:
                if place and not _waits(innermost):
                    self.places[place] += 1
                    self.functions[f"{'/'.join(Path(path).parts[-3:])}:{frame.f_code.co_name}"] += 1
                return
            frame = frame.f_back


def _waits(frame: FrameType) -> bool:
    return frame.f_code.co_filename.endswith(("threading.py", "queue.py", "thread.py"))


def main() -> None:
    """Profile every operation and print a table of shares."""
    parser = argparse.ArgumentParser(prog="python -m bench.profile", description=__doc__)
    parser.add_argument("--times", type=int, default=100, choices=range(1, 101), metavar="N", help="each operation is done (100, the most)")
    parser.add_argument("--functions", type=int, default=0, help="so many functions are named for each operation (0)")
    parser.add_argument("--statements", type=int, default=0, help="so many statements are shown for each operation (0)")
    asked = parser.parse_args()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    sys.setswitchinterval(0.00001)  # else the sampler gets its turn only where the others wait
    with tempfile.TemporaryDirectory(prefix="bench-profile-") as folder:
        url = f"sqlite:///{folder}/profile.db"
        upgrade(url)
        world = make_world(Path(folder), url)
        for _, do in _operations(world, WARM_TIMES):
            do()
        for name, do in _operations(world, asked.times):
            _profile(name, do, asked)
        world.services.database.close()


def _operations(world: World, times: int) -> Iterator[tuple[str, Callable[[], Any]]]:
    """Each operation so many times, as a function; those before it have left what it needs."""
    rms, ehr = world.as_rms, world.as_alder_ehr
    messages = [a_message() for _ in range(times)]
    assert rms.token
    assert ehr.token
    yield "intake", lambda: [rms.send(message) for message in messages]
    yield "offer (worker)", lambda: _work_off(world)
    tasks = ehr.search("Task", f"?status=requested&_count={times}")
    assert len(tasks) == times
    yield "Task read", lambda: [ehr.get(f"/fhir/Task/{task['id']}") for task in tasks]
    yield "Task search page", lambda: [ehr.get("/fhir/Task?status=requested&_count=20") for _ in range(times)]
    yield "Task update", lambda: [ehr.put(task, status="accepted") for task in tasks]
    forms = [_token_form(ehr) for _ in range(times)]
    yield "token", lambda: [ehr.http.post("/oauth/token", data=form) for form in forms]


def _token_form(actor: Actor) -> dict[str, str]:
    kind = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
    form = {"grant_type": "client_credentials", "scope": actor.scope}
    return {**form, "client_assertion_type": kind, "client_assertion": actor.assertion()}


def _work_off(world: World) -> None:
    worker = make_worker(world.services)
    while worker.run_once():
        pass


class Statements:
    """Counts what reaches the driver, and the seconds it spends there: exact where the sampler's share is a guess."""

    def __init__(self) -> None:
        self.texts: Counter[str] = Counter()
        self.seconds = 0.0
        self._began: dict[int, float] = {}
        self._run, self._run_each = Plan.run, Plan.run_each

    def __enter__(self) -> Statements:
        event.listen(Engine, "before_cursor_execute", self._before)
        event.listen(Engine, "after_cursor_execute", self._after)
        Plan.run, Plan.run_each = self._counted(self._run), self._counted(self._run_each)  # type: ignore[method-assign]
        return self

    def __exit__(self, *_ignored: object) -> None:
        event.remove(Engine, "before_cursor_execute", self._before)
        event.remove(Engine, "after_cursor_execute", self._after)
        Plan.run, Plan.run_each = self._run, self._run_each  # type: ignore[method-assign]

    def _counted(self, run: Callable[..., Any]) -> Callable[..., Any]:
        def counted(plan: Plan, unit: Unit, bound: Any) -> Any:
            self._before(None, None, plan.sql)
            try:
                return run(plan, unit, bound)
            finally:
                self._after()

        return counted

    def _before(self, _connection: object, _cursor: object, statement: str, *_more: object) -> None:
        self.texts[" ".join(statement.split())] += 1
        self._began[threading.get_ident()] = time.perf_counter()

    def _after(self, *_ignored: object) -> None:
        self.seconds += time.perf_counter() - self._began[threading.get_ident()]


def _profile(name: str, do: Callable[[], Any], asked: argparse.Namespace) -> None:
    """Do it, and print what was seen."""
    times = asked.times
    began = time.perf_counter()
    with Statements() as statements, Sampler() as sampler:
        do()
    milliseconds = (time.perf_counter() - began) * 1000 / times
    words: Counter[str] = Counter()
    for text, number in statements.texts.items():
        words[text.split(None, 1)[0].upper()] += number
    counted = ", ".join(f"{word} {number / times:.1f}" for word, number in words.most_common())
    driver = statements.seconds * 1000 / times
    print(f"\n{name}: {milliseconds:.1f} ms, {driver:.1f} of them in the driver; {words.total() / times:.1f} statements ({counted})")
    total = sampler.places.total() or 1
    for place, samples in sampler.places.most_common():
        print(f"  {samples / total:5.0%}  {place}")
    for function, samples in sampler.functions.most_common(asked.functions):
        print(f"    {samples / total:5.1%}  {function}")
    for text, number in statements.texts.most_common(asked.statements):
        print(f"    {number / times:5.1f} x  {text[:60]} … {text[-60:]}")


if __name__ == "__main__":
    main()

"""One gateway on one fresh database with its people, and what an operation was seen to write there."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from bench import looking, stock, written
from bench.empty_route import PATH as EMPTY
from bench.load import ask, request, run_load
from bench.people import CAD, CLINIC, EHR, FORM, RMS, Person, a_message, an_eido, make_people
from bench.system import Running, free_port, gateway_environment
from bench.template import Template
from gateway.store.database import Database

JSON: Final = {"Content-Type": "application/json"}
FHIR: Final = {"Content-Type": "application/fhir+json"}
WARM_CLIENTS: Final = 8  # so that each server process has some of them
WARM_TIMES: Final = 24
WARM_SECONDS: Final = 30.0


@dataclass(slots=True)
class Site:
    """A running gateway. limit_url: a second database of the same schema, for the bare writes. templates: by operation."""

    name: str
    port: int
    empty_port: int
    limit_url: str
    running: Running
    database: Database
    people: dict[str, Person]
    start_milliseconds: float
    templates: dict[str, Template] = field(default_factory=dict)

    def task_page(self, query: str, headers: dict[str, str]) -> dict[str, Any]:
        """A page of the EHR's Tasks."""
        page: dict[str, Any] = json.loads(ask("GET", f"/fhir/Task{query}", self.port, headers))
        return page

    def tasks(self, state: str, limit: int) -> list[dict[str, Any]]:
        """Tasks of the EHR as it is served them, by the state of their offers. Read one by one: a search is what is to be measured."""
        headers = self.people[EHR].authorization()
        return [
            json.loads(ask("GET", f"/fhir/Task/{each}", self.port, headers)) for each in looking.tasks(self.database, CLINIC, state, limit)
        ]

    def send(self, headers: dict[str, str]) -> None:
        """One message, answered."""
        ask("POST", "/intake/rms-diversion", self.port, {**headers, **JSON}, a_message(), expect=201)

    def hand_over(self, headers: dict[str, str]) -> None:
        """One EIDO, answered."""
        ask("POST", "/intake/eido", self.port, {**headers, **JSON}, an_eido(), expect=201)

    def start_worker(self) -> None:
        """Start the one worker process."""
        self.running.start("worker", "gateway", "worker")


@contextmanager
def open_site(name: str, folder: Path, database_url: str, limit_url: str) -> Iterator[Site]:
    """Make the databases, start everything and stop it again. folder: for keys and logs; it is made."""
    folder.mkdir(parents=True)
    port, empty_port = free_port(), free_port()
    people = make_people(folder)
    for person in people.values():
        person.port = port
    running = Running(folder, gateway_environment(port, database_url, folder))
    beside = Running(folder, gateway_environment(empty_port, limit_url, folder))
    try:
        for each in (running, beside):
            each.run("gateway", "db", "upgrade")
        running.run("gateway", "parties", "apply", "parties.toml")
        milliseconds = running.start_answering("server", port, "/readyz", "gateway", "serve")
        beside.start_answering("empty", empty_port, EMPTY, "bench.empty_route")
        database = Database(database_url)
        try:
            yield Site(name, port, empty_port, limit_url, running, database, people, milliseconds)
        finally:
            database.close()
    finally:
        beside.stop_all()
        running.stop_all()


def prepare(site: Site, tasks: int) -> None:
    """See what each operation writes, then fill the database with Tasks; the worker runs afterwards."""
    rms, ehr, cad = (site.people[client].authorization() for client in (RMS, EHR, CAD))
    _warm(site, rms, ehr, cad)
    _see_the_eido(site, cad)
    clean = before = written.snapshot(site.database)
    since = _stamp(site)
    site.send(rms)
    before = _keep(site, "intake", before)
    site.start_worker()
    looking.wait_for_offers(site.database, since, 1)
    site.templates["offer"] = _template(before, now := written.snapshot(site.database))
    site.templates["intake to first offer"] = _template(clean, now)
    before = now
    task = next(each for each in site.tasks("open", 10) if each["meta"]["versionId"] == "1")
    before = written.snapshot(site.database)
    ask("GET", f"/fhir/Task/{task['id']}", site.port, ehr)
    before = _keep(site, "Task read", before)
    site.task_page("?status=requested", ehr)
    before = _keep(site, "Task search page", before)
    _accept(site, task, ehr)
    now = written.snapshot(site.database)
    site.templates["Task update"] = _template(before, now)
    accepted = _template(clean, now)
    ask("POST", "/oauth/token", site.port, {"Content-Type": FORM}, site.people[EHR].token_form())
    _keep(site, "token", now)
    stock.fill(site.database, accepted, tasks)


def _see_the_eido(site: Site, cad: dict[str, str]) -> None:
    """What the intake of one writes, seen while no worker runs; its offer is made and the worker stopped before anything else is seen."""
    since, before = _stamp(site), written.snapshot(site.database)
    site.hand_over(cad)
    _keep(site, "intake-eido", before)
    site.start_worker()
    looking.wait_for_offers(site.database, since, 1)
    site.running.stop("worker")


def _warm(site: Site, rms: dict[str, str], ehr: dict[str, str], cad: dict[str, str]) -> None:
    """Everything some times, so that each process has loaded what it needs and what is written once for all is there.

    The worker is stopped again: what intake alone writes can then be seen.
    """
    site.start_worker()
    since = _stamp(site)

    def several(requests: list[bytes], expect: int = 200) -> None:
        run_load(site.port, requests, clients=WARM_CLIENTS, seconds=WARM_SECONDS, expect=expect)

    def one(method: str, path: str, headers: dict[str, str], body: bytes = b"") -> bytes:
        return request(method, path, site.port, headers, body)

    several([one("POST", "/intake/rms-diversion", {**rms, **JSON}, a_message()) for _ in range(WARM_TIMES)], 201)
    several([one("POST", "/intake/eido", {**cad, **JSON}, an_eido()) for _ in range(WARM_TIMES)], 201)
    looking.wait_for_offers(site.database, since, 2 * WARM_TIMES)
    tasks = site.tasks("open", WARM_TIMES)
    several([one("GET", f"/fhir/Task/{task['id']}", ehr) for task in tasks])
    several([one("GET", "/fhir/Task?status=requested", ehr)] * WARM_TIMES)
    several([one("PUT", *_with_headers(task, ehr)) for task in tasks])
    several([one("POST", "/oauth/token", {"Content-Type": FORM}, site.people[EHR].token_form()) for _ in range(WARM_TIMES)])
    site.running.stop("worker")


def _with_headers(task: dict[str, Any], ehr: dict[str, str]) -> tuple[str, dict[str, str], bytes]:
    path, body = acceptance(task)
    return path, {**ehr, **FHIR, "If-Match": 'W/"1"'}, body


def _accept(site: Site, task: dict[str, Any], ehr: dict[str, str]) -> None:
    path, headers, body = _with_headers(task, ehr)
    ask("PUT", path, site.port, headers, body)


def acceptance(task: dict[str, Any]) -> tuple[str, bytes]:
    """The path and the body by which an EHR accepts a Task it was served."""
    return f"/fhir/Task/{task['id']}", json.dumps({**task, "status": "accepted"}).encode()


def _stamp(site: Site) -> int:
    with site.database.read() as unit:
        return int(unit.now.timestamp() * 1_000_000)


def _template(before: written.Rows, after: written.Rows) -> Template:
    return written.template_of(before, written.difference(before, after))


def _keep(site: Site, name: str, before: written.Rows) -> written.Rows:
    now = written.snapshot(site.database)
    site.templates[name] = _template(before, now)
    return now

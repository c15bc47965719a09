"""The cases: what is sent, and what must stand in the database afterwards for its figure to count."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Final

from bench import looking
from bench.bare import write_bare
from bench.client import Result
from bench.empty_route import PATH as EMPTY
from bench.load import BenchFailed, ask, request, run_load
from bench.people import CAD, CLINIC, EHR, FORM, RMS, a_message, an_eido
from bench.report import Figure, figure
from bench.site import FHIR, JSON, Site, acceptance

INTAKE: Final = "intake"
OFFERED: Final = "intake to first offer"
EIDO: Final = "intake-eido"
DRAIN: Final = "worker drain"
UPDATE: Final = "Task update"
READ: Final = "Task read"
SEARCH: Final = "Task search page"
TOKEN: Final = "token"  # noqa: S105 (a name)
PAGE: Final = "/fhir/Task?status=accepted&_count=20"
PAGE_ENTRIES: Final = 20
MESSAGES_A_SECOND: Final = 500
"""So many are made beforehand; a case that is faster ends earlier."""

TOKENS_A_SECOND: Final = 600
BURST_CLIENTS: Final = 4
READ_TASKS: Final = 1_000
ACCEPTED_TASKS: Final = 3_000
UNBEARABLE_SECONDS: Final = 5.0
WORKER_THREADS: Final = 8
"""The worker makes so many offers at a time (JOBBERS in gateway/delivery/worker.py)."""


@dataclass(slots=True)
class Bench:
    """One run on one site. tell: called with each row as it comes; note: with what no row can say."""

    site: Site
    clients: Sequence[int]
    seconds: float
    tell: Callable[[Figure], None]
    note: Callable[[str], None]
    rows: list[Figure] = field(default_factory=list)

    def run(self) -> list[Figure]:
        """Every case, at every number of clients."""
        for clients in self.clients:
            self._empty_route(clients)
        for clients in self.clients:
            self._intake(clients)
        self._drain()
        for clients, tasks in self._shared_tasks():
            self._update(clients, tasks)
        self._read_cases()
        for clients in self.clients:
            self._eido(clients)
        return self.rows

    # --- limits ---

    def _empty_route(self, clients: int) -> None:
        requests = [request("GET", EMPTY, self.site.empty_port, {})]
        result = run_load(self.site.empty_port, requests, clients=clients, seconds=self.seconds, expect=200, endless=True)
        self._keep(self._of(result, "empty route", clients))

    def _limits(self, case: str, clients: int, *, empty: bool = True) -> list[Figure]:
        """The rows that bound a case, the bare database measured now if it was not before."""
        name = f"bare database: {case}"
        connections = 1 if self.site.name == "sqlite" else clients
        found = self._find(name, connections)
        if found is None:
            template = self.site.templates["offer" if case == DRAIN else case]
            milliseconds = write_bare(template, self.site.limit_url, connections=connections, seconds=self.seconds)
            found = figure(name, self.site.name, connections, milliseconds, self.seconds)
            self._keep(found)
        route = self._find("empty route", clients) if empty else None
        return [found, route] if route else [found]

    # --- the main job ---

    def _intake(self, clients: int) -> None:
        limits, whole = self._limits(INTAKE, clients), self._limits(OFFERED, clients)
        result = self._posted(RMS, "/intake/rms-diversion", a_message, clients)
        self._keep(self._of(result, INTAKE, clients, limits=limits))
        sent, since = len(result.milliseconds), int(result.began_at * 1_000_000)
        stamps = self._offers(since, sent)
        answered_at = since + int(result.seconds * 1_000_000)
        last = max(offered for _, offered in stamps)
        waits = [(offered - entered) / 1000 for entered, offered in stamps]
        self._keep(figure(OFFERED, self.site.name, clients, waits, (max(last, answered_at) - since) / 1_000_000, whole))
        behind = sum(offered > answered_at for _, offered in stamps)
        after = max(0, last - answered_at) / 1_000_000
        when = f"{self.site.name}, {clients} clients, at the last receipt"
        self.note(f"{when}: {behind} of {sent} offers were not made, {after:.1f} s later all were")

    def _eido(self, clients: int) -> None:
        """A 911 centre's incidents; their offers go to a team that no other case looks at."""
        limits = self._limits(EIDO, clients)
        result = self._posted(CAD, "/intake/eido", an_eido, clients)
        self._keep(self._of(result, EIDO, clients, limits=limits))
        self._offers(int(result.began_at * 1_000_000), len(result.milliseconds))

    def _posted(self, client: str, path: str, make: Callable[[], bytes], clients: int) -> Result:
        """New messages of a sender, with one audit row for each receipt. Raises BenchFailed."""
        headers = {**self.site.people[client].authorization(), **JSON}
        count = math.ceil(self.seconds * MESSAGES_A_SECOND)
        requests = [request("POST", path, self.site.port, headers, make()) for _ in range(count)]
        before = looking.audit_rows(self.site.database, client)
        result = run_load(self.site.port, requests, clients=clients, seconds=self.seconds, expect=201)
        self._require_audit(client, "intake success", before, result)
        return result

    def _drain(self) -> None:
        """A burst while no worker runs, then the worker alone."""
        limits = self._limits(DRAIN, WORKER_THREADS, empty=False)
        self.site.running.stop("worker")
        headers = {**self.site.people[RMS].authorization(), **JSON}
        count = max(40, math.ceil(self.seconds * 60))
        requests = [request("POST", "/intake/rms-diversion", self.site.port, headers, a_message()) for _ in range(count)]
        result = run_load(self.site.port, requests, clients=BURST_CLIENTS, seconds=60, expect=201)
        self.site.start_worker()
        offered = sorted(at for _, at in self._offers(int(result.began_at * 1_000_000), len(result.milliseconds)))
        lowest = min(limits, key=lambda limit: limit.per_second)
        rate = (len(offered) - 1) / ((offered[-1] - offered[0]) / 1_000_000)
        ratio = round(rate / lowest.per_second, 3)
        self._keep(Figure(DRAIN, self.site.name, WORKER_THREADS, round(rate, 1), None, None, lowest.name, ratio))

    def _offers(self, since: int, wanted: int) -> list[tuple[int, int]]:
        """When each referral came and was first offered; each offer has one audit row. Raises BenchFailed."""
        stamps = looking.wait_for_offers(self.site.database, since, wanted)
        audited = looking.offer_audits(self.site.database, since)
        if not len(stamps) == wanted == audited:
            raise BenchFailed(f"{wanted} messages, {len(stamps)} referrals with an offer, {audited} audit rows of offers")
        return stamps

    # --- the EHR ---

    def _shared_tasks(self) -> Iterator[tuple[int, list[tuple[str, bytes]]]]:
        """The Tasks that the intake cases left open, by number of clients: more of them for more clients."""
        tasks = [acceptance(task) for task in self.site.tasks("open", ACCEPTED_TASKS)]
        weights = [1 + math.log2(clients) for clients in self.clients]
        start = 0
        for clients, weight in zip(self.clients, weights, strict=True):
            end = start + int(len(tasks) * weight / sum(weights))
            yield clients, tasks[start:end]
            start = end

    def _update(self, clients: int, tasks: list[tuple[str, bytes]]) -> None:
        headers = {**self.site.people[EHR].authorization(), **FHIR, "If-Match": 'W/"1"'}
        self._audited(UPDATE, clients, "update success", [request("PUT", path, self.site.port, headers, body) for path, body in tasks])

    def _read_cases(self) -> None:
        tasks = looking.tasks(self.site.database, CLINIC, "accepted", READ_TASKS)
        Random(1).shuffle(tasks)  # noqa: S311 (no secret)
        for clients in self.clients:
            headers = self.site.people[EHR].authorization()
            reads = [request("GET", f"/fhir/Task/{task}", self.site.port, headers) for task in tasks]
            self._audited(READ, clients, "read success", reads, endless=True)
        for clients in self._bearable(SEARCH, PAGE, PAGE_ENTRIES):
            headers = self.site.people[EHR].authorization()
            self._audited(SEARCH, clients, "search success", [request("GET", PAGE, self.site.port, headers)], endless=True)
        for clients in self.clients:
            self._token(clients)

    def _bearable(self, case: str, path: str, entries: int) -> Sequence[int]:
        """The numbers of clients to measure with: one alone where a single answer takes so long that more would only wait."""
        began = time.perf_counter()
        page = json.loads(ask("GET", path, self.site.port, self.site.people[EHR].authorization()))
        if len(page["entry"]) != entries:
            raise BenchFailed(f"{case}: {len(page['entry'])} entries, not {entries}")
        if (seconds := time.perf_counter() - began) < UNBEARABLE_SECONDS:
            return self.clients
        self.note(f"{self.site.name}, {case}: one answer takes {seconds:.1f} s, so it was not asked for by more than one client")
        return (1,)

    def _token(self, clients: int) -> None:
        limits, ehr = self._limits(TOKEN, clients), self.site.people[EHR]
        forms = [ehr.token_form() for _ in range(math.ceil(self.seconds * TOKENS_A_SECOND))]
        requests = [request("POST", "/oauth/token", self.site.port, {"Content-Type": FORM}, form) for form in forms]
        result = run_load(self.site.port, requests, clients=clients, seconds=self.seconds, expect=200)
        stored = looking.tokens_since(self.site.database, EHR, int(result.began_at * 1_000_000))
        if stored != len(result.milliseconds):
            raise BenchFailed(f"{TOKEN}: {len(result.milliseconds)} answers, {stored} tokens stored")
        self._keep(self._of(result, TOKEN, clients, limits=limits))

    # --- what all share ---

    def _audited(self, case: str, clients: int, event: str, requests: list[bytes], *, endless: bool = False) -> None:
        """A case of the EHR: one audit row for each answer, or the run has failed."""
        limits = self._limits(case, clients)
        before = looking.audit_rows(self.site.database, EHR)
        result = run_load(self.site.port, requests, clients=clients, seconds=self.seconds, expect=200, endless=endless)
        self._require_audit(EHR, event, before, result)
        self._keep(self._of(result, case, clients, limits=limits))

    def _require_audit(self, client: str, event: str, before: dict[str, int], result: Result) -> None:
        after = looking.audit_rows(self.site.database, client)
        more = {name: number - before.get(name, 0) for name, number in after.items() if number != before.get(name, 0)}
        if more != {event: len(result.milliseconds)}:
            raise BenchFailed(f"{len(result.milliseconds)} answers, but these audit rows: {more}")

    def _of(self, result: Result, name: str, clients: int, *, limits: Sequence[Figure] = ()) -> Figure:
        if not result.milliseconds:
            raise BenchFailed(f"{name}: nothing was sent")
        if result.busy > 0.5:
            self.note(f"{self.site.name}, {name}, {clients} clients: the load client used {result.busy:.0%} of a core")
        return figure(name, self.site.name, clients, result.milliseconds, result.seconds, limits)

    def _find(self, name: str, clients: int) -> Figure | None:
        return next((row for row in self.rows if row.name == name and row.clients == clients), None)

    def _keep(self, row: Figure) -> None:
        self.rows.append(row)
        self.tell(row)

"""Read and search: decided in a read unit, answered only after the audit row committed under the same epoch.

A hidden, foreign, ended and never-existed resource are one: NotFound. After the query every resource of the answer is decided
again in full; a difference between the two is a defect, fails the request and alarms.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlencode

import msgspec
import structlog

from gateway.access.decision import Permit
from gateway.access.disclosed import Disclosed, Held
from gateway.access.records.continuation import close_key, open_key, seal_key
from gateway.access.records.facts import Facts
from gateway.access.records.rendering import kept, patients_of, shown, targets_in
from gateway.access.records.sealing import disclosed, version_headers
from gateway.audit.events import AuditFacts, record
from gateway.errors import NotFound, Unavailable
from gateway.oauth.context import Caller
from gateway.store.criteria import Query
from gateway.store.database import Database, Unit
from gateway.store.epochs import EpochMoved, confirm_epoch, read_epoch
from gateway.store.resources import Stored, find_resource, find_resources
from gateway.store.search import count_matches, find_page
from gateway.store.visible import visible_ids
from profiles.strict_json import to_json

log = structlog.get_logger()
ATTEMPTS: Final = 4
TOTAL_CAP: Final = 250


class VisibilityFault(RuntimeError):
    """The compiled permits and the full decision differ: nothing leaves, and a person must look."""


@dataclass(frozen=True, slots=True)
class SearchRequest:
    """A search as gateway.fhir.search read it.

    used: the parameters that were used, as sent, for the self link. count: entries a page. cursor: a sealed continuation.
    base_url: of the FHIR endpoint, without a slash at the end.
    """

    query: Query
    used: tuple[tuple[str, str], ...]
    count: int
    cursor: str | None
    base_url: str


@dataclass(frozen=True, slots=True)
class _Answer:
    kind: str
    body: bytes
    facts: AuditFacts
    headers: dict[str, str]


def read(database: Database, caller: Caller, resource_type: str, id: str) -> Disclosed:  # noqa: A002 (FHIR's own word)
    """Answer GET or HEAD of one resource; either is a disclosure. Raises NotFound, Unavailable."""

    def decide(unit: Unit) -> _Answer:
        facts = Facts.of(unit)
        stored, permit = find_readable(facts, caller, resource_type, id)
        return _resource_answer(facts, caller, stored, permit, "read")

    return _audited(database, decide)


def search(database: Database, caller: Caller, request: SearchRequest) -> Disclosed:
    """Answer a type search with a searchset of what the caller may see. Raises Malformed (continuation), Unavailable."""
    seal = seal_key(database)

    def decide(unit: Unit) -> _Answer:
        return _searchset(Facts.of(unit), caller, request, seal)

    return _audited(database, decide, with_horizon=True)


def find_readable(facts: Facts, caller: Caller, resource_type: str, resource_id: str) -> tuple[Stored, Permit]:
    """A resource the caller may see now, and the permit. Raises NotFound, VisibilityFault."""
    principal = facts.principal(caller.organization, caller.postures, caller.purpose)
    stored = find_resource(facts.unit, resource_id) if visible_ids(facts.unit, principal, [resource_id]) else None
    if stored is None or stored.type != resource_type or stored.deleted:
        raise NotFound
    return stored, decided_again(facts, caller, stored)


def served_to(unit: Unit, caller: Caller, held: Held) -> dict[str, Any]:
    """What this caller reads of a resource it is about to change: its change is applied to that, and to nothing it cannot see.

    For comparing within the unit only: no door renders a plain dict, and no audit row is written. Raises as `require` does.
    """
    facts = Facts.of(unit)
    stored, permit = find_readable(facts, caller, held.type, held.id)
    return _kept_of(facts, caller, [(stored, permit)])[0]


def decided_again(facts: Facts, caller: Caller, stored: Stored) -> Permit:
    """The full decision on a resource the permits already showed. Raises VisibilityFault where it denies."""
    decision = facts.decide(stored, caller.organization, caller.postures, caller.purpose, facts.unit.now)
    if isinstance(decision, Permit):
        return decision
    log.critical("permits and decision differ", resource=stored.id, organization=caller.organization, policy_row=decision.row)
    raise VisibilityFault


def answer_resource(unit: Unit, caller: Caller, stored: Stored, permit: Permit, event: str) -> Disclosed:
    """A resource as the answer of a write: the audit row goes into the same unit."""
    answer = _resource_answer(Facts.of(unit), caller, stored, permit, event)
    record(unit, answer.facts)
    return disclosed(answer.kind, answer.body, headers=answer.headers)


def _resource_answer(facts: Facts, caller: Caller, stored: Stored, permit: Permit, event: str) -> _Answer:
    left = _kept_of(facts, caller, [(stored, permit)])[0]
    return _Answer(
        "resource",
        shown(stored, facts.body(stored), left),
        _audit_facts(caller, event, [(stored, permit)], [left]),
        version_headers(stored),
    )


def _kept_of(facts: Facts, caller: Caller, permitted: Sequence[tuple[Stored, Permit]]) -> list[dict[str, Any]]:
    principal = facts.principal(caller.organization, caller.postures, caller.purpose)
    targets = [targets_in(facts.body(stored)) for stored, _ in permitted]
    known = visible_ids(facts.unit, principal, set().union(*targets))
    found = []
    for (stored, permit), named in zip(permitted, targets, strict=True):
        left = kept(facts.body(stored), permit, named, known)
        if left is None:
            log.critical("a permit keeps nothing", resource=stored.id, policy_row=permit.row)
            raise VisibilityFault
        found.append(left)
    return found


def _audit_facts(
    caller: Caller, event: str, permitted: Sequence[tuple[Stored, Permit]], left: Sequence[dict[str, Any]], query: str | None = None
) -> AuditFacts:
    referrals = {stored.referral for stored, _ in permitted}
    return AuditFacts(
        event=event,
        client=caller.client_id,
        organization=caller.organization,
        purpose=caller.purpose,
        request_id=caller.request_id,
        policy_rows=tuple(sorted({permit.row for _, permit in permitted})),
        entities=tuple(f"{stored.type}/{stored.id}/_history/{stored.version}" for stored, _ in permitted),
        consents=tuple(sorted({str(permit.consent) for _, permit in permitted if permit.consent is not None})),
        patients=patients_of(left),
        query=query,
        referral=referrals.pop() if len(referrals) == 1 else None,
    )


def _searchset(facts: Facts, caller: Caller, request: SearchRequest, seal: bytes) -> _Answer:
    unit, query = facts.unit, request.query
    principal = facts.principal(caller.organization, caller.postures, caller.purpose)
    bound = f"{caller.organization} {caller.purpose} {query.type}?{urlencode(request.used)}"
    after = open_key(seal, request.cursor, bound) if request.cursor is not None else None
    horizon = unit.shown_before
    total = count_matches(unit, query, principal, cap=TOTAL_CAP, horizon=horizon)
    page = find_page(unit, query, principal, after=after, limit=request.count + 1, horizon=horizon) if request.count else []
    rows = {stored.id: stored for stored in find_resources(unit, [resource_id for _, resource_id in page[: request.count]])}
    found = [rows[resource_id] for _, resource_id in page[: request.count]]
    facts.load(found)
    permitted = [(stored, decided_again(facts, caller, stored)) for stored in found]
    left = _kept_of(facts, caller, permitted)
    address = f"{request.base_url}/{query.type}"
    links = [{"relation": "self", "url": _address(address, request.used)}]
    if len(page) > request.count > 0:
        links.append(
            {"relation": "next", "url": _address(address, (*request.used, ("_page", close_key(seal, page[request.count - 1], bound))))}
        )
    bundle: dict[str, Any] = {"resourceType": "Bundle", "type": "searchset"}
    if total is not None:
        bundle["total"] = total
    bundle["link"] = links
    entries = [
        {
            "fullUrl": f"{address}/{stored.id}",
            "resource": msgspec.Raw(shown(stored, facts.body(stored), resource)),
            "search": {"mode": "match"},
        }
        for stored, resource in zip(found, left, strict=True)
    ]
    if entries:
        bundle["entry"] = entries
    asked = f"{query.type}?{urlencode(request.used)}"
    return _Answer("searchset", to_json(bundle), _audit_facts(caller, "search", permitted, left, asked), {})


def _address(address: str, used: Sequence[tuple[str, str]]) -> str:
    return f"{address}?{urlencode(used)}" if used else address


def _audited(database: Database, decide: Callable[[Unit], _Answer], *, with_horizon: bool = False) -> Disclosed:
    """Decide, write the one audit row under the epoch it was decided in, answer; else decide again."""
    for _ in range(ATTEMPTS):
        with database.read(with_horizon=with_horizon) as unit:
            seen = read_epoch(unit)
            answer = decide(unit)

        def work(unit: Unit, seen: int = seen, answer: _Answer = answer) -> None:
            confirm_epoch(unit, seen)
            record(unit, answer.facts)

        try:
            database.write(work)
        except EpochMoved:
            continue
        return disclosed(answer.kind, answer.body, headers=answer.headers)
    raise Unavailable

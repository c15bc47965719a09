"""What is found when the dust has settled: the database as it lies there, the raw logs of the peers, and what the commands say."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import requests
from sqlalchemy import text

from conformance.standins.client import NoToken
from conformance.standins.receiver import live_task_id
from gateway.referral.ledger import read_entries
from gateway.referral.protocol import protocol_for
from gateway.referral.responsibility import verify
from gateway.store import audit_chain, referrals
from gateway.store.audit import find_audit
from gateway.store.ledger import holder_of
from profiles.namespace import identifier_system
from tests.faults.people import Heard
from tests.faults.site import EHR, HOSPITAL_RMS, Site

TAKEN: Final = frozenset({"accepted", "completed", "given-back"})
WORK: Final = ("offer", "deliver", "callback")
OWN_SYSTEMS: Final = (identifier_system("copy"), identifier_system("placer"), "urn:ietf:rfc:3986")
REFUSED: Final = frozenset({401, 408, 429, 503})
"""Answers by which a peer says that it took nothing."""


@dataclass(frozen=True, slots=True)
class Offer:
    """One offer as stored."""

    task: str
    receiver: str
    state: str


@dataclass(frozen=True, slots=True)
class Referral:
    """One referral as stored. faults: of its ledger. holder: by the ledger's head; last_holder: by its entries."""

    id: str
    receipt: str
    organization: str
    key: str
    holder: str | None
    last_holder: str | None
    offers: tuple[Offer, ...]
    faults: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Push:
    """One request with content that reached a peer. status: None where its answer was lost. taken: (type, criterion) it made anew.

    unguarded: entries that make something without ifNoneExist.
    """

    task: str
    at: datetime
    status: int | None
    made: tuple[tuple[str, str], ...]
    unguarded: int
    creates: bool

    @property
    def refused(self) -> bool:
        """Whether the peer said that it took nothing."""
        return self.status in REFUSED


@dataclass(frozen=True, slots=True)
class Told:
    """A callback that reached the sender's system. word: of the view."""

    receipt: str
    word: str
    at: datetime


@dataclass(frozen=True, slots=True)
class Noted:
    """One audit row. tasks: the Tasks it names."""

    event: str
    client: str
    organization: str
    referral: str | None
    recorded: datetime
    tasks: frozenset[str]


@dataclass(frozen=True, slots=True)
class Delivery:
    """One row of the outbox."""

    kind: str
    subject: str
    state: str
    sent: bool


@dataclass(slots=True)
class Evidence:
    """All of one case. read_back: receipt → (status, receipt in the answer). held: how many the EHR holds of each (type, identifier)."""

    heard: Heard
    referrals: dict[str, Referral] = field(default_factory=dict)
    read_back: dict[str, tuple[int, str]] = field(default_factory=dict)
    pushes: list[Push] = field(default_factory=list)
    told: list[Told] = field(default_factory=list)
    audit: list[Noted] = field(default_factory=list)
    outbox: list[Delivery] = field(default_factory=list)
    unlinked: int = 0
    held: dict[tuple[str, str], int] = field(default_factory=dict)
    commands: dict[str, tuple[int, str]] = field(default_factory=dict)
    logs: dict[str, str] = field(default_factory=dict)
    honours: bool = True
    same_clock: bool = True  # whether the gateway's times can be held against the peers'


def gather(site: Site, heard: Heard) -> Evidence:
    """Look at everything. The gateway must be up."""
    found = Evidence(heard, honours=site.plan.honours)
    _from_database(site, found)
    found.pushes = read_pushes(site.requests_log(EHR), site.base_url)
    found.told = read_callbacks(site.requests_log(HOSPITAL_RMS))
    found.held = _held(site.state(EHR)["resources"])
    found.read_back = _read_back(site, heard)
    found.commands = {name: site.command(*name.split()) for name in ("ledger verify", "audit verify")}
    found.logs = {name: site.processes.log(name) for name in site.processes.names()}
    return found


def unfinished(site: Site) -> int:
    """Rows of the outbox that are still to be done now."""
    left = "SELECT count(*) FROM outbox WHERE kind IN ('offer', 'deliver', 'callback') AND state IN ('due', 'claimed', 'sending')"
    return int(ask(site, left)[0][0])


def ask(site: Site, question: str) -> list[Any]:
    """Rows of the database as it lies there."""
    with site.database.read() as unit:
        return list(unit.connection.execute(text(question)))


def unlinked(site: Site) -> int:
    """Audit rows that wait for their link."""
    with site.database.read() as unit:
        return audit_chain.count_unlinked(unit)


def _from_database(site: Site, found: Evidence) -> None:
    with site.database.read() as unit:
        found.unlinked = audit_chain.count_unlinked(unit)
        found.outbox = [
            Delivery(row.kind, row.subject, row.state, row.sent_generation > 0)
            for row in unit.connection.execute(text("SELECT kind, subject, state, sent_generation FROM outbox"))
            if row.kind in WORK
        ]
        for row in unit.connection.execute(text("SELECT id, receipt, organization, message_key, format FROM referral")).mappings():
            entries = read_entries(unit, row["id"])
            fallback = protocol_for(row["format"]).fallback_owner
            held_by = [entry for entry in entries if entry.kind in ("enter", "accept", "return")]
            last = held_by[-1] if held_by else None
            found.referrals[row["receipt"]] = Referral(
                row["id"],
                row["receipt"],
                row["organization"],
                row["message_key"],
                holder_of(unit, row["id"]),
                None if last is None else last.from_organization if last.kind == "accept" else last.to_organization,
                tuple(Offer(offer.task_id, offer.receiver, offer.state) for offer in referrals.offers_of(unit, row["id"])),
                tuple(verify(entries, fallback)),
            )
        found.audit = [_noted(row) for row in find_audit(unit, limit=1_000_000)]


def _noted(row: Any) -> Noted:
    body = json.loads(row.body)
    tasks = {
        entity["what"]["reference"].split("/")[1]
        for entity in body["entity"]
        if str(entity.get("what", {}).get("reference", "")).startswith("Task/")
    }
    event = next((each["code"] for each in body["subtype"] if "audit-event" in each["system"]), body["subtype"][-1]["code"])
    return Noted(event, row.client, row.organization, row.referral, row.recorded, frozenset(tasks))


def _read_back(site: Site, heard: Heard) -> dict[str, tuple[int, str]]:
    clients = {told.client: site.client(told.client, 20.0) for told in heard.acknowledged}
    found = {}
    for told in heard.acknowledged:
        for _ in range(3):
            try:
                answer = clients[told.client].call_again("GET", f"/referrals/{told.receipt}")
            except (requests.RequestException, NoToken):
                continue
            found[told.receipt] = (answer.status, str(answer.json().get("receipt")) if answer.status == 200 else "")
            break
    return found


def read_pushes(log: Path, base_url: str) -> list[Push]:
    """Every push in the EHR's raw log."""
    return [push for line in _lines(log) if line["request"].startswith("POST /fhir ") and (push := push_of(line, base_url)) is not None]


def push_of(line: Mapping[str, Any], base_url: str) -> Push | None:
    """One logged push; None where it speaks of no Task of this gateway."""
    entries = json.loads(line["body"]).get("entry", [])
    tasks = [task for entry in entries if (task := live_task_id(entry["resource"], base_url))]
    if not tasks:
        return None
    try:
        answered = json.loads(line["answer"]).get("entry", [])
    except ValueError:
        answered = []
    made = [
        name
        for entry, said in zip(entries, answered, strict=False)
        if str(said.get("response", {}).get("status", "")).startswith("201")
        for name in _names(entry["resource"])
    ]
    unguarded = sum(entry["request"]["method"] == "POST" and not entry["request"].get("ifNoneExist") for entry in entries)
    creates = any(entry["request"]["method"] == "POST" for entry in entries)
    return Push(tasks[0], datetime.fromisoformat(line["at"]), line["status"], tuple(made), unguarded, creates)


def read_callbacks(log: Path) -> list[Told]:
    """Every callback in the RMS's raw log that was answered or whose answer was lost."""
    lines = [line for line in _lines(log) if line["request"].startswith("POST /diversion-status ")]
    bodies = [(json.loads(line["body"]), datetime.fromisoformat(line["at"])) for line in lines]
    return [Told(body["receipt"], body["status"], at) for body, at in bodies]


def _lines(log: Path) -> Iterable[dict[str, Any]]:
    return [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()] if log.exists() else []


def _names(resource: Mapping[str, Any]) -> list[tuple[str, str]]:
    """(type, "system|value") of each identifier that names this resource alone; a case number is that of many."""
    found = resource.get("identifier") or []
    listed = found if isinstance(found, list) else [found]
    return [(resource["resourceType"], f"{item['system']}|{item['value']}") for item in listed if item.get("system") in OWN_SYSTEMS]


def _held(resources: Mapping[str, list[dict[str, Any]]]) -> dict[tuple[str, str], int]:
    return dict(Counter(name for each in resources.values() for resource in each for name in _names(resource)))

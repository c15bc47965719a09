"""A jurisdiction's protocol: routing rows, hard stops, timers and authorities, read from a data file.

A protocol that has gaps or shadowed rows is refused when it is loaded; nothing here looks at a database.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from functools import cache
from importlib import resources
from itertools import product
from typing import Any, Final


class ProtocolFault(ValueError):
    """The protocol file has a gap, a shadowed row or an unknown input; the message names each."""


@dataclass(frozen=True, slots=True)
class Rule:
    """One row: `when` maps an input to the values it holds for; an input not named holds for all.

    next: what the sender is told to do where this row decides; None for the text of its door.
    """

    id: str
    when: Mapping[str, frozenset[str]]
    targets: tuple[str, ...]
    reason: str
    level: int
    pathway: str
    next: str | None = None

    def holds(self, inputs: Mapping[str, str]) -> bool:
        """Whether every named input has one of the values named for it."""
        return all(inputs[name] in values for name, values in self.when.items())


@dataclass(frozen=True, slots=True)
class Protocol:
    """What one jurisdiction has agreed on; times are durations counted from the entry of a referral.

    responder_teams: services whose acceptance is a response, of which a dispatch centre reads how it goes.
    """

    id: str
    version: str
    inputs: Mapping[str, tuple[str, ...]]
    exclusions: tuple[str, ...]
    hard_stops: tuple[Rule, ...]
    rows: tuple[Rule, ...]
    accept_within: timedelta
    final_after: timedelta
    sender_closes_after: timedelta
    follow_up_within: timedelta
    offers_at_once: int
    coordinator: str
    coordinator_name: str
    fallback_owner: str
    named_person: str
    next_by_door: Mapping[str, str]
    stopped_next: str
    drop_off: tuple[str, ...]
    responder_teams: frozenset[str] = frozenset()

    @property
    def reference(self) -> str:
        """Name and version as the ledger keeps it."""
        return f"{self.id}|{self.version}"


def combinations(protocol: Protocol) -> Iterator[dict[str, str]]:
    """Every combination of input values the table must answer."""
    names = list(protocol.inputs)
    for values in product(*protocol.inputs.values()):
        yield dict(zip(names, values, strict=True))


def require_complete(protocol: Protocol) -> None:
    """Refuse a table with a gap, a row that never decides, a value no input has, or a door whose sender is told nothing.

    Raises ProtocolFault naming every fault.
    """
    faults = [
        f"{rule.id}: {name} has no value {sorted(values - set(protocol.inputs.get(name, ())))}"
        for rule in (*protocol.hard_stops, *protocol.rows)
        for name, values in rule.when.items()
        if values - set(protocol.inputs.get(name, ()))
    ]
    faults += [f"next has no text for {door}" for door in protocol.inputs.get("door", ()) if door not in protocol.next_by_door]
    if not faults:
        used: set[str] = set()
        for inputs in combinations(protocol):
            first = next((rule for rule in (*protocol.hard_stops, *protocol.rows) if rule.holds(inputs)), None)
            if first is None:
                faults.append(f"no row answers {inputs}")
            else:
                used.add(first.id)
        faults += [f"{rule.id} is shadowed: it never decides" for rule in (*protocol.hard_stops, *protocol.rows) if rule.id not in used]
    if faults:
        raise ProtocolFault("; ".join(faults))


def _rule(row: Mapping[str, Any]) -> Rule:
    return Rule(
        id=row["id"],
        when={name: frozenset(values) for name, values in row["when"].items()},
        targets=tuple(row.get("targets", ())),
        reason=row.get("reason", row.get("pathway", "")),
        level=row.get("level", 4),
        pathway=row.get("pathway", "hard stop"),
        next=row.get("next"),
    )


def read_protocol(document: Mapping[str, Any]) -> Protocol:
    """Build a Protocol from the parsed JSON of a protocol file; raises ProtocolFault."""
    protocol = Protocol(
        id=document["id"],
        version=document["version"],
        inputs={name: tuple(values) for name, values in document["inputs"].items()},
        exclusions=tuple(document["exclusions"]),
        hard_stops=tuple(_rule(row) for row in document["hard_stops"]),
        rows=tuple(_rule(row) for row in document["rows"]),
        accept_within=timedelta(minutes=document["accept_within_minutes"]),
        final_after=timedelta(minutes=document["final_after_minutes"]),
        sender_closes_after=timedelta(days=document["sender_closes_after_days"]),
        follow_up_within=timedelta(days=document["follow_up_within_days"]),
        offers_at_once=document["offers_at_once"],
        coordinator=document["coordinator"]["key"],
        coordinator_name=document["coordinator"]["name"],
        fallback_owner=document["fallback_owner"],
        named_person=document["named_person"],
        next_by_door=document["next"],
        stopped_next=document["stopped_next"],
        drop_off=tuple(document["drop_off"]),
        responder_teams=frozenset(document.get("responder_teams", ())),
    )
    require_complete(protocol)
    return protocol


PROTOCOL_OF_FORMAT: Final[Mapping[str, str]] = {"rms-diversion": "lead", "eido": "crisis-call"}


def protocol_for(format_name: str) -> Protocol:
    """The protocol that routes what comes in by an intake format."""
    return shipped_protocol(PROTOCOL_OF_FORMAT[format_name])


@cache
def shipped_protocol(name: str) -> Protocol:
    """Load one of the protocols that come with the gateway."""
    text = resources.files("gateway.referral").joinpath("protocols", f"{name}.json").read_text(encoding="utf-8")
    return read_protocol(json.loads(text))

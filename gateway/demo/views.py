"""What each side reads at a moment: rows made from the gateway's answers to that side, and from nothing else."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from gateway.demo.failing import DemoFailed
from gateway.demo.terminal import clock
from gateway.demo.town import Answer, StandIn

View = list[tuple[str, str]]


def require(answer: Answer, status: int, what: str) -> Answer:
    """The answer, if it has the status that the story needs. Raises DemoFailed."""
    if answer.status != status:
        raise DemoFailed(f"{what}: status {answer.status} instead of {status}\n{json.dumps(answer.body, indent=1)[:1500]}")
    return answer


@dataclass(frozen=True, slots=True)
class Kept:
    """What of a sender's message may reach no receiver. label: what it is called in a receiver's rows."""

    label: str
    values: Sequence[str]


def senders_view(view: Mapping[str, Any], read_before: Mapping[str, Any] | None) -> View:
    """Rows of `GET /referrals/<receipt>`: all that it holds. read_before: the view read before this one; its `next` is not told twice."""
    then = view.get("next") or {}
    rows = [("status", str(view["status"])), ("since", f"{clock(view['since'])} UTC")]
    if read_before is not None and read_before.get("next") == then:
        rows.append(("next", "the same as before"))
    elif isinstance(then, Mapping):
        rows += [(f"next: {name}", value if isinstance(value, str) else json.dumps(value)) for name, value in then.items() if value]
    else:
        rows.append(("next", str(then)))
    return [*rows, ("issues", str(len(view.get("issues") or []))), ("receipt", str(view["receipt"]))]


@dataclass(frozen=True, slots=True)
class ClinicsFile:
    """What one clinic can read at the gateway about one Task, each part as it was answered."""

    task: dict[str, Any]
    patient: Answer
    request: Answer
    encounter: Answer
    flags: Sequence[dict[str, Any]]
    consents: Sequence[dict[str, Any]]
    related: Sequence[dict[str, Any]]
    places: Sequence[dict[str, Any]]


def read_file(ehr: StandIn, task_id: str, parts: Mapping[str, str] | None = None) -> ClinicsFile:
    """Read a Task and what it leads to, as the clinic. parts: references to follow where the Task has none any more."""
    task = require(ehr.tell("read", address=f"Task/{task_id}"), 200, f"{ehr.name} reads its Task").body
    known = parts or references(task)
    patient, request = (ehr.tell("read", address=known[name]) for name in ("for", "focus"))
    about = f"?patient={known['for']}"
    return ClinicsFile(
        task=task,
        patient=patient,
        request=request,
        encounter=ehr.tell("read", address=known["encounter"]) if "encounter" in known else Answer(404, None),
        flags=_found(ehr, f"Flag{about}"),
        consents=_found(ehr, f"Consent{about}"),
        related=_found(ehr, f"RelatedPerson{about}"),
        places=[place.body for place in _places(ehr, request.body) if place.status == 200],
    )


def references(task: Mapping[str, Any]) -> dict[str, str]:
    """Where a Task leads: for, focus and encounter. Raises DemoFailed when it does not lead to a person and an order."""
    found = {name: str(task[name]["reference"]) for name in ("for", "focus", "encounter") if task.get(name, {}).get("reference")}
    if not {"for", "focus"} <= found.keys():
        raise DemoFailed("the clinic's Task leads to no person or no order")
    return found


def _found(ehr: StandIn, search: str) -> list[dict[str, Any]]:
    bundle = require(ehr.tell("read", address=search), 200, f"{ehr.name} searches {search.partition('?')[0]}").body
    return [entry["resource"] for entry in bundle.get("entry", []) if entry.get("search", {}).get("mode", "match") == "match"]


def _places(ehr: StandIn, request: Mapping[str, Any]) -> list[Answer]:
    """The locations an order names: where to go, and what of a call is only a hint of it."""
    named = [*request.get("locationReference", []), *request.get("supportingInfo", [])]
    addresses = [str(each["reference"]) for each in named if str(each.get("reference", "")).startswith("Location/")]
    return [ehr.tell("read", address=address) for address in addresses]


def clinics_view(file: ClinicsFile, kept: Kept) -> View:
    """Rows of a receiver's file. kept: what it may not have; counted in all that it was answered."""
    rows = [("Task", f"{file.task['status']}, version {file.task['meta']['versionId']}")]
    if file.patient.status != 200:
        return [*rows, ("Patient", f"HTTP {file.patient.status}"), ("ServiceRequest", f"HTTP {file.request.status}")]
    patient, request = file.patient.body, file.request.body
    rows.append(("person", _person(patient)))
    rows += [(item["system"], item["value"]) for item in patient.get("telecom", [])[:1] if {"system", "value"} <= item.keys()]
    rows += [("place", _place(place)) for place in file.places]
    rows += [("related", _related(person)) for person in file.related]
    rows.append(("asked for", _text(request.get("code", {}))))
    rows += [("reason", ", ".join(_text(reason) for reason in request.get("reasonCode", [])))] if request.get("reasonCode") else []
    rows += [("safety", ", ".join(_text(flag.get("code", {})) for flag in file.flags))] if file.flags else []
    rows += [("Consent", _consent(consent)) for consent in file.consents]
    return [*rows, (kept.label, f"{len(seen_of(file, kept))} of {len(kept.values)} values sent")]


def seen_of(file: ClinicsFile, kept: Kept) -> list[str]:
    """Which of the values that stay with the sender stand anywhere in what the receiver was answered."""
    lists = (file.flags, file.consents, file.related, file.places)
    everything = json.dumps([file.task, file.patient.body, file.request.body, file.encounter.body, *map(list, lists)])
    return [value for value in kept.values if value in everything]


def _place(place: Mapping[str, Any]) -> str:
    address = place.get("address", {})
    lines = [*address.get("line", []), *(address[name] for name in ("city", "state") if address.get(name))]
    return ": ".join(part for part in (place.get("name", ""), ", ".join(lines)) if part) or "?"


def _related(person: Mapping[str, Any]) -> str:
    name = (person.get("name") or [{}])[0]
    said = name.get("text") or " ".join([*name.get("given", []), name.get("family", "")]).strip() or "not named"
    relations = ", ".join(_text(relation).lower() for relation in person.get("relationship", []))
    phone = next((str(item["value"]) for item in person.get("telecom", []) if "value" in item), None)
    return f"{said} ({relations})" + (f", {phone}" if phone else "")


def _person(patient: Mapping[str, Any]) -> str:
    names = patient.get("name") or [{}]
    name = names[0].get("text") or " ".join([*names[0].get("given", []), names[0].get("family", "")]).strip()
    born = f", born {patient['birthDate']}" if patient.get("birthDate") else ""
    return f"{name or 'not identified'}, {patient.get('gender', 'gender not said')}{born}"


def _text(concept: Mapping[str, Any]) -> str:
    codings = concept.get("coding") or [{}]
    return str(concept.get("text") or codings[0].get("display") or codings[0].get("code") or "?")


def _consent(consent: Mapping[str, Any]) -> str:
    kinds = [coding.get("code") for category in consent.get("category", []) for coding in category.get("coding", [])]
    kind = next((code for code in kinds if code in ("status-sharing", "provider-sharing")), "consent")
    verified = any(item.get("verified") for item in consent.get("verification", []))
    source = "with its source" if consent.get("sourceAttachment") or consent.get("sourceReference") else "no source"
    return f"{kind}, {source}, {'verified' if verified else 'not verified'}"

"""The sender's own record of a referral: every mapped resource in the sender's domain, and the parent Task.

A newer message makes new versions of the same resources; a part it no longer holds is retired, never deleted.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import mappings
from gateway.access import records
from gateway.access.records import Draft, Held
from gateway.errors import NotFound
from gateway.referral.consent_parts import left_out, part_names
from gateway.referral.protocol import Protocol
from gateway.referral.tasks import parent_task
from gateway.store import referrals, registry
from gateway.store.database import Unit
from gateway.store.ids import new_id, new_number
from gateway.store.referrals import Part, Referral
from mappings import Mapped
from profiles import namespace

LOCAL: Final = "urn:local:"

# How a part that a newer message no longer holds is taken back, by type: R4 has a status for each.
RETIRED: Final[Mapping[str, Mapping[str, Any]]] = {
    "Communication": {"status": "entered-in-error"},
    "Flag": {"status": "inactive"},
    "Location": {"status": "inactive"},
    "Observation": {"status": "entered-in-error"},
    "QuestionnaireResponse": {"status": "entered-in-error"},
    "RelatedPerson": {"active": False},
}


def _resolved(value: Any, address_of: Mapping[str, str]) -> Any:
    """Turn `urn:local:<name>` references into addresses of the store."""
    if isinstance(value, dict):
        made = {}
        for key, child in value.items():
            if isinstance(child, str):
                made[key] = address_of[child.removeprefix(LOCAL)] if child.startswith(LOCAL) else child
            else:
                made[key] = _resolved(child, address_of) if isinstance(child, (dict, list)) else child
        return made
    if isinstance(value, list):
        return [_resolved(child, address_of) for child in value]
    return value


def _known_patient(unit: Unit, domain: str, patient: Mapping[str, Any]) -> Held | None:
    """The Patient the sender's own person identifier names in its own domain; nothing else makes two people one."""
    for identifier in patient.get("identifier") or ():
        if identifier.get("system") == namespace.SID_PERSON and identifier.get("value"):
            return records.hold_by_identifier(unit, domain, "Patient", identifier["system"], identifier["value"])
    return None


def write_sender_record(unit: Unit, referral: Referral, mapped: Mapped, protocol: Protocol) -> dict[str, Held]:
    """Write or renew the sender's resources; returns them by part name."""
    known = {part.name: part for part in referrals.parts_of(unit, referral.id)}
    held = records.hold_each(unit, [part.resource_id for part in known.values()])
    held_of = {name: held[part.resource_id] for name, part in known.items() if part.resource_id in held}
    if "patient" not in known:
        patient = _known_patient(unit, referral.organization, mapped.resources["patient"])
        held_of |= {"patient": patient} if patient is not None else {}
    sender = f"Organization/{referral.organization}"
    name_of = part_names(mapped.resources, {name: each.body for name, each in held_of.items()}, sender)
    ids = {name: each.id for name, each in held_of.items()}
    ids |= {name: new_id() for name in (*name_of.values(), "task") if name not in ids}
    address_of = {name: f"{resource['resourceType']}/{ids[name_of[name]]}" for name, resource in mapped.resources.items()}
    address_of["sender"] = sender
    contents = {name_of[name]: _resolved(resource, address_of) for name, resource in mapped.resources.items()}
    written = _renewed(unit, referral, contents, held_of, known)
    drafts = {name: Draft(content, mappings.data_class(name), id=ids[name]) for name, content in contents.items() if name not in held_of}
    if "task" not in known:
        drafts["task"] = Draft(_parent(unit, referral, contents, ids, protocol), "TASK", id=ids["task"])
    added = [name for name in (*contents, "task") if name not in known]
    types = {name: content["resourceType"] for name, content in contents.items()} | {"task": "Task"}
    referrals.add_parts(unit, referral.id, [Part(name, types[name], ids[name]) for name in added])
    made = records.create_all(unit, list(drafts.values()), domain=referral.organization, referral=referral.id)
    written |= dict(zip(drafts, made, strict=True))
    records.open_parties(unit, referral.id, referral.organization)
    return written


def _renewed(
    unit: Unit, referral: Referral, contents: Mapping[str, dict[str, Any]], held_of: Mapping[str, Held], known: Mapping[str, Part]
) -> dict[str, Held]:
    """New versions of what is there and has changed; what the message no longer holds is taken back."""
    written = {}
    for name, held in held_of.items():
        if name in contents:
            written[name] = held if held.says(contents[name]) else records.replace(unit, held, contents[name])
            if name not in known:
                records.attach(unit, written[name], referral.id)
        elif name != "task":
            taken_back = _taken_back(held)
            written[name] = records.replace(unit, held, taken_back) if taken_back is not None else held
    return written


def _taken_back(held: Held) -> dict[str, Any] | None:
    """What a part becomes that a newer message does not hold any more; None where it stays as it is."""
    if held.type == "Consent":
        return left_out(held.body)
    retired = {**held.body, **RETIRED.get(held.type, {})}
    return retired if retired != held.body else None


def _parent(
    unit: Unit, referral: Referral, contents: Mapping[str, dict[str, Any]], ids: Mapping[str, str], protocol: Protocol
) -> dict[str, Any]:
    sender = registry.find_organization(unit, referral.organization)
    if sender is None:
        raise NotFound
    return parent_task(
        request_id=ids["request"],
        patient_id=ids["patient"],
        priority=contents["request"].get("priority", "routine"),
        sender=sender,
        protocol=protocol,
        placer=new_number(),
        now=unit.now,
    )

"""The sender's own record of a referral: every mapped resource in the sender's domain, and the parent Task.

A newer message makes new versions of the same resources; a part it no longer holds is retired, never deleted.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import mappings
from gateway.access import records
from gateway.access.records import Held
from gateway.errors import NotFound
from gateway.referral.protocol import Protocol
from gateway.referral.tasks import parent_task
from gateway.store import referrals, registry
from gateway.store.database import Unit
from gateway.store.ids import new_id, new_secret
from gateway.store.referrals import Part, ReferralRow
from mappings import Mapped
from profiles import namespace

# How a part that a newer message no longer holds is taken back, by type: R4 has a status for each.
RETIRED: Final[Mapping[str, Mapping[str, Any]]] = {
    "Consent": {"status": "inactive"},
    "Flag": {"status": "inactive"},
    "Location": {"status": "inactive"},
    "Observation": {"status": "entered-in-error"},
    "QuestionnaireResponse": {"status": "entered-in-error"},
    "RelatedPerson": {"active": False},
}


def _resolved(value: Any, address_of: Mapping[str, str]) -> Any:
    """Turn `urn:local:<name>` references into addresses of the store."""
    if isinstance(value, dict):
        return {key: _resolved(child, address_of) for key, child in value.items()}
    if isinstance(value, list):
        return [_resolved(child, address_of) for child in value]
    if isinstance(value, str) and value.startswith("urn:local:"):
        return address_of[value.removeprefix("urn:local:")]
    return value


def _known_patient(unit: Unit, domain: str, patient: Mapping[str, Any]) -> Held | None:
    """The Patient the sender's own person identifier names in its own domain; nothing else makes two people one."""
    for identifier in patient.get("identifier") or ():
        if identifier.get("system") == namespace.SID_PERSON and identifier.get("value"):
            return records.hold_by_identifier(unit, domain, "Patient", identifier["system"], identifier["value"])
    return None


def write_sender_record(unit: Unit, referral: ReferralRow, mapped: Mapped, protocol: Protocol) -> dict[str, Held]:
    """Write or renew the sender's resources; returns them by part name."""
    known = {part.name: part for part in referrals.parts_of(unit, referral.id)}
    held_of = {name: records.hold(unit, part.resource_type, part.resource_id) for name, part in known.items()}
    if "patient" not in known:
        held_of["patient"] = _known_patient(unit, referral.organization, mapped.resources["patient"])
    ids = {name: held.id for name, held in held_of.items() if held is not None}
    ids |= {name: new_id() for name in mapped.resources if name not in ids}
    address_of = {name: f"{resource['resourceType']}/{ids[name]}" for name, resource in mapped.resources.items()}
    address_of["sender"] = f"Organization/{referral.organization}"
    written: dict[str, Held] = {}
    for name, resource in mapped.resources.items():
        content = _resolved(resource, address_of)
        written[name] = _write_part(unit, referral, name, content, ids[name], held_of.get(name), is_new=name not in known)
    for name, part in known.items():
        held = held_of[name]
        if name not in mapped.resources and name != "task" and held is not None:
            written[name] = records.replace(unit, held, {**held.body, **RETIRED.get(part.resource_type, {})})
    if "task" not in known:
        written["task"] = _write_parent(unit, referral, written, protocol)
    records.open_parties(unit, referral.id, referral.organization)
    return written


def _write_part(
    unit: Unit, referral: ReferralRow, name: str, content: dict[str, Any], resource_id: str, held: Held | None, *, is_new: bool
) -> Held:
    if is_new:
        referrals.add_part(unit, referral.id, Part(name, content["resourceType"], resource_id))
    if held is not None:
        replaced = records.replace(unit, held, content)
        if is_new:
            records.attach(unit, replaced, referral.id)
        return replaced
    return records.create(
        unit,
        content,
        domain=referral.organization,
        data_class=mappings.data_class(name),
        referral=referral.id,
        id=resource_id,
    )


def _write_parent(unit: Unit, referral: ReferralRow, written: Mapping[str, Held], protocol: Protocol) -> Held:
    sender = registry.find_organization(unit, referral.organization)
    if sender is None:
        raise NotFound
    request = written["request"]
    task_id = new_id()
    task = parent_task(
        request_id=request.id,
        patient_id=written["patient"].id,
        priority=request.body.get("priority", "routine"),
        sender=sender,
        protocol=protocol,
        placer=new_secret()[:22],
        now=unit.now,
    )
    referrals.add_part(unit, referral.id, Part("task", "Task", task_id))
    return records.create(unit, task, domain=referral.organization, data_class="TASK", referral=referral.id, id=task_id)

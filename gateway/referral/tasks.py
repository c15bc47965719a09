"""The Tasks the gateway hosts: one parent in the sender's domain, one child for each receiver it was offered to.

Built here as R4 JSON; how a Task may move stands in states.py. Source: SDOHCC 3.0.0 TaskForReferralManagement.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any, Final

from gateway.referral.copies import PLACER_TYPE
from gateway.referral.protocol import Protocol
from gateway.store.registry import Organization
from profiles import namespace

FULFILL: Final = {
    "coding": [{"system": "http://hl7.org/fhir/CodeSystem/task-code", "code": "fulfill", "display": "Fulfill the focal request"}]
}
BUSINESS_STATUS: Final = f"{namespace.NAMESPACE}/CodeSystem/business-status"
BSER_STATUS: Final = "http://hl7.org/fhir/us/bser/CodeSystem/TaskBusinessStatusCS"
TASK_INPUT: Final = f"{namespace.NAMESPACE}/CodeSystem/task-input"
ENDED_ELEMENTS: Final = ("for", "focus", "encounter", "input", "output", "note", "reasonReference")


def instant(at: datetime) -> str:
    """A FHIR dateTime in UTC with milliseconds."""
    return at.isoformat(timespec="milliseconds")


def organization_reference(key: str, name: str) -> dict[str, str]:
    """A reference to an organisation of the directory."""
    return {"reference": f"Organization/{key}", "display": name}


def parent_task(
    *, request_id: str, patient_id: str, priority: str, sender: Organization, protocol: Protocol, placer: str, now: datetime
) -> dict[str, Any]:
    """The Task that carries the sender's own request; its owner is the coordinating organisation."""
    return {
        "resourceType": "Task",
        "identifier": [{"type": PLACER_TYPE, "system": namespace.SID_PLACER, "value": placer}],
        "status": "requested",
        "intent": "order",
        "priority": priority,
        "code": FULFILL,
        "focus": {"reference": f"ServiceRequest/{request_id}"},
        "for": {"reference": f"Patient/{patient_id}"},
        "authoredOn": instant(now),
        "lastModified": instant(now),
        "requester": organization_reference(sender.key, sender.name),
        "owner": {"display": protocol.coordinator_name},
    }


def child_task(
    *,
    request_address: str,
    patient_address: str,
    encounter_address: str | None,
    priority: str,
    sender: Organization,
    receiver: Organization,
    placer: str,
    accept_by: datetime,
    follow_up_by: datetime,
    now: datetime,
) -> dict[str, Any]:
    """The Task by which a referral is offered to one receiver. Addresses are `Type/id` of the receiver's copies."""
    task: dict[str, Any] = {
        "resourceType": "Task",
        "identifier": [{"type": PLACER_TYPE, "system": namespace.SID_PLACER, "value": placer}],
        "status": "requested",
        "intent": "order",
        "priority": priority,
        "code": FULFILL,
        "focus": {"reference": request_address},
        "for": {"reference": patient_address},
        "authoredOn": instant(now),
        "lastModified": instant(now),
        "requester": organization_reference(sender.key, sender.name),
        "owner": organization_reference(receiver.key, receiver.name),
        "restriction": {"period": {"end": instant(follow_up_by)}},
        "input": [
            {
                "type": {"coding": [{"system": TASK_INPUT, "code": "accept-by"}], "text": "Accept or decline by"},
                "valueDateTime": instant(accept_by),
            }
        ],
    }
    if encounter_address is not None:
        task["encounter"] = {"reference": encounter_address}
    return task


def ended(task: dict[str, Any], status: str, now: datetime) -> dict[str, Any]:
    """A Task whose offer ended: its receiver keeps it without person, focus and input, and without a reason."""
    kept = {key: value for key, value in task.items() if key not in ENDED_ELEMENTS}
    return {**kept, "status": status, "lastModified": instant(now)}


def with_business_status(task: dict[str, Any], code: str, text: str, now: datetime, *, bser: str | None = None) -> dict[str, Any]:
    """Set businessStatus in both code systems (BSeR's where it has a code for it)."""
    codings = [{"system": BUSINESS_STATUS, "code": code}]
    if bser is not None:
        codings.append({"system": BSER_STATUS, "code": bser})
    return {**task, "businessStatus": {"coding": codings, "text": text}, "lastModified": instant(now)}

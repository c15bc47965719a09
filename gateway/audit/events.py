"""AuditEvents in the shape of IHE BALP: one row for each disclosure or refusal, with ids and codes only.

Never a token, a body, a name or a failure's reason in free text. Unknown callers are not written here (store.security_log).
Source: FHIR R4 AuditEvent; IHE ITI Basic Audit Log Patterns (patterns Read, Query, Update, PrivacyDisclosure.Source).
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Protocol

from gateway.errors import Failure, Unavailable
from gateway.store import audit
from gateway.store.audit import AuditRow, find_audit
from gateway.store.database import Database, Unit
from gateway.store.ids import new_id
from profiles import namespace
from profiles.strict_json import to_json

_TYPE: Final = "http://terminology.hl7.org/CodeSystem/audit-event-type"
_INTERACTION: Final = "http://hl7.org/fhir/restful-interaction"
_DICOM: Final = "http://dicom.nema.org/resources/ontology/DCM"
_LIFECYCLE: Final = "http://terminology.hl7.org/CodeSystem/iso-21089-lifecycle"
_ROLE: Final = "http://terminology.hl7.org/CodeSystem/object-role"
_ENTITY: Final = "http://terminology.hl7.org/CodeSystem/audit-entity-type"
_BALP_ENTITY: Final = "https://profiles.ihe.net/ITI/BALP/CodeSystem/BasicAuditEntityType"
_PARTICIPATION: Final = "http://terminology.hl7.org/CodeSystem/v3-ParticipationType"
_ACT_REASON: Final = "http://terminology.hl7.org/CodeSystem/v3-ActReason"
_EVENT: Final = namespace.code_system("audit-event")

REST: Final = {"system": _TYPE, "code": "rest", "display": "RESTful Operation"}
EXPORT: Final = {"system": _DICOM, "code": "110106", "display": "Export"}
DISCLOSE: Final = {"system": _LIFECYCLE, "code": "disclose", "display": "Disclose Record Lifecycle Event"}

# what happened → AuditEvent.action (C create, R read, U update, D delete, E execute) and the subtype of the FHIR interaction.
_ACTIONS: Final[Mapping[str, tuple[str, str | None]]] = {
    "read": ("R", "read"),
    "search": ("E", "search-type"),
    "update": ("U", "update"),
    "patch": ("U", "patch"),
    "create": ("C", "create"),
    "delete": ("D", "delete"),
}
_EXPORTS: Final = frozenset({"deliver", "callback", "offer"})


class Asker(Protocol):
    """Whom a row is about."""

    @property
    def client_id(self) -> str: ...
    @property
    def organization(self) -> str: ...
    @property
    def purpose(self) -> str: ...
    @property
    def request_id(self) -> str: ...


@dataclass(frozen=True, slots=True)
class AuditFacts:
    """What one row says.

    event: "read", "search", "update", "patch", "offer", "deliver", "callback", "intake", "cancel", "dry-run", "ledger" or another
    word of our own. policy_rows: rows the decision rests on. entities, consents: "Type/id/_history/n". patients: "Patient/id".
    query: the query as asked. failure: code of a refusal, None for a disclosure. referral: its id.
    """

    event: str
    client: str
    organization: str
    purpose: str
    request_id: str
    policy_rows: tuple[str, ...] = ()
    entities: tuple[str, ...] = ()
    consents: tuple[str, ...] = ()
    patients: tuple[str, ...] = ()
    query: str | None = None
    referral: str | None = None
    failure: str | None = None


def record(unit: Unit, facts: AuditFacts) -> None:
    """Write the one row of a disclosure or refusal, in the transaction of what it tells of."""
    event_id = new_id()
    row = AuditRow(
        id=event_id,
        recorded=unit.now,
        organization=facts.organization,
        client=facts.client,
        action=facts.event,
        outcome="success" if facts.failure is None else "refused",
        policy_row=" ".join(facts.policy_rows),
        referral=facts.referral,
        body=to_json(audit_event(event_id, unit.now.isoformat(timespec="milliseconds"), facts)).decode(),
    )
    audit.insert_audit(unit, row)


def record_refusal(database: Database, caller: Asker, failure: Failure, *, event: str, target: str | None = None) -> None:
    """Write the one row of a refusal to a known caller; call it once the refused unit has rolled back.

    event: as in AuditFacts. target: the address asked for, such as "Task/0190…", kept as a query and never resolved.
    Raises Unavailable: without the row there is no answer either.
    """
    if isinstance(failure, Unavailable):
        return  # the store is out of reach, or was: nothing was decided that a row could tell
    facts = AuditFacts(
        event=event,
        client=caller.client_id,
        organization=caller.organization,
        purpose=caller.purpose,
        request_id=caller.request_id,
        policy_rows=(getattr(failure, "row", ""),) if getattr(failure, "row", "") else (),
        query=target,
        failure=failure.code,
    )
    database.write(lambda unit: record(unit, facts))


def audit_rows(unit: Unit, **wanted: Any) -> list[AuditRow]:
    """Audit rows in order of time; `wanted` as for store.audit.find_audit."""
    return find_audit(unit, **wanted)


def audit_event(event_id: str, recorded: str, facts: AuditFacts) -> dict[str, Any]:
    """The FHIR R4 AuditEvent of one row. recorded: an instant."""
    action, interaction = _ACTIONS.get(facts.event, ("R", None))
    if facts.event in _EXPORTS:
        kind, subtypes = EXPORT, [DISCLOSE, {"system": _EVENT, "code": facts.event}]
    else:
        kind = REST
        subtypes = [{"system": _INTERACTION, "code": interaction} if interaction else {"system": _EVENT, "code": facts.event}]
    made: dict[str, Any] = {
        "resourceType": "AuditEvent",
        "id": event_id,
        "type": kind,
        "subtype": subtypes,
        "action": action,
        "recorded": recorded,
        "outcome": "0" if facts.failure is None else "4",
    }
    if facts.failure is not None:
        made["outcomeDesc"] = facts.failure
    if facts.purpose:
        made["purposeOfEvent"] = [{"coding": [{"system": _ACT_REASON, "code": facts.purpose}]}]
    made["agent"] = _agents(facts)
    made["source"] = {
        "observer": {"display": "crisis-referral-gateway"},
        "type": [{"system": "http://terminology.hl7.org/CodeSystem/security-source-type", "code": "4", "display": "Application Server"}],
    }
    made["entity"] = _entities(facts)
    return made


def _agents(facts: AuditFacts) -> list[dict[str, Any]]:
    policy = [f"{namespace.NAMESPACE}/policy/{row}" for row in facts.policy_rows]
    client = {
        "type": {"coding": [{"system": _DICOM, "code": "110152", "display": "Destination Role ID"}]},
        "who": {"identifier": {"system": namespace.identifier_system("client"), "value": facts.client}},
        "requestor": facts.event not in _EXPORTS,
        **({"policy": policy} if policy else {}),
    }
    organization = {
        "type": {"coding": [{"system": _PARTICIPATION, "code": "IRCP", "display": "information recipient"}]},
        "who": {"identifier": {"system": namespace.identifier_system("organization"), "value": facts.organization}},
        "requestor": False,
    }
    gateway = {
        "type": {"coding": [{"system": _DICOM, "code": "110153", "display": "Source Role ID"}]},
        "who": {"display": "crisis-referral-gateway"},
        "requestor": False,
    }
    return [client, organization, gateway]


def _entities(facts: AuditFacts) -> list[dict[str, Any]]:
    system_object = {"system": _ENTITY, "code": "2", "display": "System Object"}
    domain_resource = {"system": _ROLE, "code": "4", "display": "Domain Resource"}
    found: list[dict[str, Any]] = [
        {
            "what": {"identifier": {"value": facts.request_id}},
            "type": {"system": _BALP_ENTITY, "code": "XrequestId"},
        }
    ]
    found += [
        {
            "what": {"reference": patient},
            "type": {"system": _ENTITY, "code": "1", "display": "Person"},
            "role": {"system": _ROLE, "code": "1", "display": "Patient"},
        }
        for patient in facts.patients
    ]
    found += [{"what": {"reference": entity}, "type": system_object, "role": domain_resource} for entity in facts.entities]
    found += [
        {
            "what": {"reference": consent},
            "type": system_object,
            "role": domain_resource,
            "description": "consent the decision rests on",
        }
        for consent in facts.consents
    ]
    if facts.referral is not None:
        found.append(
            {
                "what": {"identifier": {"system": namespace.identifier_system("referral"), "value": facts.referral}},
                "type": system_object,
            }
        )
    if facts.query is not None:
        found.append(
            {
                "type": system_object,
                "role": {"system": _ROLE, "code": "24", "display": "Query"},
                "query": base64.b64encode(facts.query.encode()).decode(),
            }
        )
    return found

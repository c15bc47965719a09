"""One valid resource of each kind the tests break, and the way to break it at one place."""

from __future__ import annotations

import copy
from decimal import Decimal
from typing import Any

GONE = object()

SERVICE_REQUEST: dict[str, Any] = {
    "resourceType": "ServiceRequest",
    "id": "sr-1",
    "meta": {
        "versionId": "1",
        "lastUpdated": "2026-11-24T10:15:00.120Z",
        "tag": [{"system": "urn:oid:2.16.840.1.113883.4.1", "code": "a b"}],
    },
    "text": {"status": "generated", "div": '<div xmlns="http://www.w3.org/1999/xhtml"><p>Diversion&#160;request</p></div>'},
    "contained": [{"resourceType": "Practitioner", "id": "officer", "name": [{"family": "Okafor"}]}],
    "extension": [{"url": "https://example.org/fhir/StructureDefinition/door", "valueCode": "pre-booking"}],
    "identifier": [{"use": "official", "system": "https://example.org/requests", "value": "2026-0042", "period": {"start": "2026-11-24"}}],
    "status": "active",
    "intent": "order",
    "category": [
        {"coding": [{"system": "https://example.org/category", "code": "diversion", "display": "Diversion"}], "text": "Diversion"}
    ],
    "priority": "urgent",
    "code": {"coding": [{"system": "https://example.org/service", "code": "crisis-stabilization"}]},
    "orderDetail": [{"text": "warm hand-off"}],
    "subject": {"reference": "Patient/p-1", "type": "Patient", "display": "Unidentified person"},
    "encounter": {"reference": "Encounter/e-1"},
    "occurrencePeriod": {"start": "2026-11-24T09:00:00-08:00", "end": "2026-11-24T18:00:00Z"},
    "authoredOn": "2026-11-24T09:01:00-08:00",
    "requester": {"reference": "#officer"},
    "performer": [{"reference": "https://ehr.example/fhir/Organization/clinic/_history/3"}],
    "note": [{"authorString": "Officer", "time": "2026-11-24", "text": "calm"}],
}
PATIENT: dict[str, Any] = {
    "resourceType": "Patient",
    "id": "p-1",
    "active": True,
    "name": [{"use": "usual", "family": "Doe", "given": ["Jo", "Lee"], "_given": [None, {"id": "g2"}]}],
    "telecom": [{"system": "phone", "value": "555-0100", "rank": 1}],
    "gender": "unknown",
    "_gender": {"extension": [{"url": "https://example.org/ext", "valueString": "not asked"}]},
    "birthDate": "1990-02",
    "deceasedBoolean": False,
    "address": [{"use": "temp", "line": ["under the bridge"], "city": "Riverton"}],
    "contact": [{"relationship": [{"text": "sister"}], "telecom": [{"system": "phone", "value": "555-0101"}]}],
    "communication": [{"language": {"coding": [{"system": "urn:ietf:bcp:47", "code": "en"}]}, "preferred": True}],
    "photo": [{"contentType": "image/png", "data": "aGVsbG8=", "size": 5}],
}
TASK: dict[str, Any] = {
    "resourceType": "Task",
    "id": "t-1",
    "status": "requested",
    "intent": "order",
    "code": {"coding": [{"system": "http://hl7.org/fhir/CodeSystem/task-code", "code": "fulfill"}]},
    "focus": {"reference": "ServiceRequest/sr-1"},
    "for": {"reference": "Patient/p-1"},
    "authoredOn": "2026-11-24T10:00:00Z",
    "lastModified": "2026-11-24T11:00:00Z",
    "owner": {"reference": "Organization/clinic"},
    "restriction": {"repetitions": 1, "period": {"end": "2026-11-25"}, "recipient": [{"reference": "Organization/clinic"}]},
    "input": [{"type": {"text": "age"}, "valueQuantity": {"value": Decimal("34.0"), "system": "http://unitsofmeasure.org", "code": "a"}}],
    "output": [{"type": {"text": "when"}, "valueInstant": "2026-11-24T11:00:00Z"}],
}
OBSERVATION: dict[str, Any] = {
    "resourceType": "Observation",
    "status": "final",
    "code": {"coding": [{"system": "http://loinc.org", "code": "44249-1"}]},
    "subject": {"reference": "Patient/p-1"},
    "effectiveDateTime": "2026-11-24",
    "valueInteger": 4,
    "referenceRange": [{"low": {"value": 1}, "high": {"value": 9}}],
    "component": [{"code": {"coding": [{"system": "http://loinc.org", "code": "44250-9"}]}, "valueString": "several days"}],
}
CONSENT: dict[str, Any] = {
    "resourceType": "Consent",
    "status": "active",
    "scope": {"coding": [{"system": "http://terminology.hl7.org/CodeSystem/consentscope", "code": "patient-privacy"}]},
    "category": [{"coding": [{"system": "http://loinc.org", "code": "59284-0"}]}],
    "patient": {"reference": "Patient/p-1"},
    "dateTime": "2026-11-24",
    "policyRule": {"text": "42 CFR Part 2"},
    "verification": [{"verified": False, "verificationDate": "2026-11-24"}],
    "provision": {
        "type": "permit",
        "period": {"start": "2026-11-24", "end": "2027-11-24"},
        "actor": [{"role": {"text": "recipient"}, "reference": {"reference": "Organization/clinic"}}],
        "provision": [{"type": "deny", "securityLabel": [{"system": "http://terminology.hl7.org/CodeSystem/v3-ActCode", "code": "SUD"}]}],
    },
}
SCREENING: dict[str, Any] = {
    "resourceType": "QuestionnaireResponse",
    "questionnaire": "https://example.org/Questionnaire/exclusions|1.0",
    "status": "completed",
    "subject": {"reference": "Patient/p-1"},
    "authored": "2026-11-24T10:00:00Z",
    "item": [
        {
            "linkId": "1",
            "text": "Weapons?",
            "answer": [{"valueBoolean": False, "item": [{"linkId": "1.1", "answer": [{"valueTime": "09:30:00"}]}]}],
        },
        {"linkId": "2", "item": [{"linkId": "2.1", "answer": [{"valueCoding": {"code": "no"}}, {"valueDecimal": Decimal("1.50")}]}]},
    ],
}
ENCOUNTER: dict[str, Any] = {
    "resourceType": "Encounter",
    "status": "in-progress",
    "class": {"system": "http://terminology.hl7.org/CodeSystem/v3-ActCode", "code": "FLD"},
    "subject": {"reference": "Patient/p-1"},
    "period": {"start": "2026-11-24T09:00:00Z"},
    "location": [{"location": {"reference": "Location/l-1"}, "status": "active"}],
}
ORGANIZATION: dict[str, Any] = {
    "resourceType": "Organization",
    "name": "Northside Crisis Clinic",
    "telecom": [{"system": "phone", "value": "555-0199", "use": "work"}],
    "address": [{"use": "work", "city": "Riverton"}],
}
PROVENANCE: dict[str, Any] = {
    "resourceType": "Provenance",
    "target": [{"reference": "ServiceRequest/sr-1/_history/1"}],
    "recorded": "2026-11-24T10:00:00.000+00:00",
    "agent": [{"who": {"reference": "Organization/police"}}],
    "entity": [{"role": "source", "what": {"identifier": {"system": "https://example.org/messages", "value": "m-1"}}}],
    "signature": [
        {
            "type": [{"system": "urn:iso-astm:E1762-95:2013", "code": "1.2.840.10065.1.12.1.1"}],
            "when": "2026-11-24T10:00:00Z",
            "who": {"display": "Police"},
            "sigFormat": "application/jose",
            "data": "aGVsbG8=",
        }
    ],
}
FLAG: dict[str, Any] = {
    "resourceType": "Flag",
    "status": "active",
    "code": {"coding": [{"system": "https://example.org/safety", "code": "dog-on-premises"}]},
    "subject": {"reference": "Patient/p-1"},
    "period": {"start": "2026-11-24T09:00:00Z", "end": "2026-11-24T10:00:00+00:30"},
}
LOCATION: dict[str, Any] = {
    "resourceType": "Location",
    "status": "active",
    "mode": "instance",
    "name": "5th and Main",
    "position": {"longitude": Decimal("-122.330000"), "latitude": Decimal("47.6")},
    "hoursOfOperation": [{"daysOfWeek": ["mon", "tue"], "openingTime": "08:00:00"}],
}
BUNDLE: dict[str, Any] = {
    "resourceType": "Bundle",
    "type": "transaction",
    "entry": [
        {
            "fullUrl": "urn:uuid:0c3151bd-1cbf-4d64-b04d-cd9187a4c6e0",
            "resource": {"resourceType": "Patient", "gender": "female", "name": [{"text": "Doe"}]},
            "request": {"method": "POST", "url": "Patient", "ifNoneExist": "identifier=https://example.org|1"},
        },
        {
            "fullUrl": "urn:uuid:4d1c8b9e-3d0e-4a6b-9d8a-0b9e3f1d7a55",
            "resource": {
                "resourceType": "Encounter",
                "status": "planned",
                "class": {"code": "FLD"},
                "subject": {"reference": "urn:uuid:0c3151bd-1cbf-4d64-b04d-cd9187a4c6e0"},
            },
            "request": {"method": "POST", "url": "Encounter"},
        },
        {
            "fullUrl": "urn:uuid:7b4a4a4c-55e2-4b62-8f0b-6b7d2c9e1f10",
            "resource": {
                "resourceType": "ServiceRequest",
                "status": "active",
                "intent": "order",
                "subject": {"reference": "urn:uuid:0c3151bd-1cbf-4d64-b04d-cd9187a4c6e0"},
                "encounter": {"reference": "urn:uuid:4d1c8b9e-3d0e-4a6b-9d8a-0b9e3f1d7a55"},
            },
            "request": {"method": "POST", "url": "ServiceRequest"},
        },
    ],
}
SEARCH_SET: dict[str, Any] = {
    "resourceType": "Bundle",
    "type": "searchset",
    "total": 1,
    "link": [{"relation": "self", "url": "https://gw.example/fhir/Task?status=requested"}],
    "entry": [
        {
            "fullUrl": "https://gw.example/fhir/Task/t-1",
            "resource": {"resourceType": "Task", "id": "t-1", "status": "requested", "intent": "order"},
            "search": {"mode": "match"},
        }
    ],
}
TIMED: dict[str, Any] = {
    "resourceType": "ServiceRequest",
    "status": "active",
    "intent": "plan",
    "subject": {"identifier": {"value": "x"}},
    "occurrenceTiming": {
        "repeat": {
            "frequency": 1,
            "period": 2,
            "periodUnit": "d",
            "boundsDuration": {"value": 1, "system": "http://unitsofmeasure.org", "code": "h"},
        }
    },
    "quantityRange": {"low": {"value": 1}, "high": {"value": 3}},
}

VALID: dict[str, dict[str, Any]] = {
    name: value for name, value in globals().items() if name.isupper() and isinstance(value, dict) and "resourceType" in value
}


def broken(specimen: str | dict[str, Any], pointer: str, value: Any) -> dict[str, Any]:
    """A copy of a specimen with one value set, added or taken away (GONE) at an RFC 6901 pointer."""
    made = copy.deepcopy(VALID[specimen] if isinstance(specimen, str) else specimen)
    steps = pointer.split("/")[1:]
    node: Any = made
    for step in steps[:-1]:
        node = node[int(step)] if isinstance(node, list) else node[step]
    last: Any = int(steps[-1]) if isinstance(node, list) else steps[-1]
    if value is GONE:
        del node[last]
    elif isinstance(node, list) and last == len(node):
        node.append(copy.deepcopy(value))
    else:
        node[last] = copy.deepcopy(value)
    return made

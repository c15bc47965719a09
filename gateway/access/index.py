"""What a resource can be found by, and which element class each index row belongs to.

An index row is of the class "base" only where every reader of the resource reads the element it came from; every other row has
the class of its parameter (an identifier: of its system), which a permit opens only when its keep-list keeps the element.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from gateway.store.criteria import BASE, Reference, Token

# type → parameter → element. A parameter that is not here is not searchable. FHIR R4 search parameter registry.
TOKENS: Final[Mapping[str, Mapping[str, str]]] = {
    "Task": {"status": "status", "identifier": "identifier", "code": "code", "business-status": "businessStatus", "priority": "priority"},
    "ServiceRequest": {"status": "status", "identifier": "identifier", "category": "category", "code": "code", "priority": "priority"},
    "Patient": {"identifier": "identifier", "gender": "gender"},
    "Encounter": {"status": "status", "identifier": "identifier", "class": "class"},
    "Consent": {"status": "status", "identifier": "identifier", "category": "category"},
    "Flag": {"identifier": "identifier"},
    "Location": {"status": "status", "identifier": "identifier"},
    "RelatedPerson": {"identifier": "identifier", "active": "active"},
    "Provenance": {},
    "Organization": {"identifier": "identifier", "active": "active"},
}
REFERENCES: Final[Mapping[str, Mapping[str, str]]] = {
    "Task": {"owner": "owner", "patient": "for", "subject": "for", "requester": "requester", "focus": "focus"},
    "ServiceRequest": {
        "patient": "subject",
        "subject": "subject",
        "encounter": "encounter",
        "requester": "requester",
        "performer": "performer",
    },
    "Patient": {},
    "Encounter": {"patient": "subject", "subject": "subject"},
    "Consent": {"patient": "patient"},
    "Flag": {"patient": "subject", "subject": "subject"},
    "Location": {},
    "RelatedPerson": {"patient": "patient"},
    "Provenance": {"target": "target"},
    "Organization": {},
}
# The system of an element that holds a bare code (R4 value sets); a caller may name it or leave it out.
CODE_SYSTEMS: Final[Mapping[tuple[str, str], str]] = {
    ("Task", "status"): "http://hl7.org/fhir/task-status",
    ("Task", "priority"): "http://hl7.org/fhir/request-priority",
    ("ServiceRequest", "status"): "http://hl7.org/fhir/request-status",
    ("ServiceRequest", "priority"): "http://hl7.org/fhir/request-priority",
    ("Patient", "gender"): "http://hl7.org/fhir/administrative-gender",
    ("Encounter", "status"): "http://hl7.org/fhir/encounter-status",
    ("Consent", "status"): "http://hl7.org/fhir/consent-state-codes",
    ("Location", "status"): "http://hl7.org/fhir/location-status",
}
# A longer value is not indexed: PostgreSQL refuses index rows beyond a third of a page.
_LONGEST: Final = 500
BASE_PARAMETERS: Final = frozenset({"status", "owner"})
_LOCAL: Final = re.compile(r"([A-Z][A-Za-z]+)/([A-Za-z0-9\-.]{1,64})(?:/_history/[A-Za-z0-9\-.]{1,64})?")


def local_target(address: Any) -> str | None:
    """ "Type/id" of a relative reference, without its version; None for any other address."""
    match = _LOCAL.fullmatch(address) if isinstance(address, str) else None
    return f"{match[1]}/{match[2]}" if match else None


def tokens_of(resource: Mapping[str, Any]) -> list[Token]:
    """The rows of `search_token` of a resource."""
    resource_type = str(resource.get("resourceType"))
    return [
        Token(name, system, code, _element_class(name, system))
        for name, element in TOKENS.get(resource_type, {}).items()
        for system, code in _codes(resource.get(element), CODE_SYSTEMS.get((resource_type, name), ""))
        if len(system) + len(code) <= _LONGEST
    ]


def references_of(resource: Mapping[str, Any]) -> list[Reference]:
    """The rows of `search_reference` of a resource: its references to resources of this store."""
    found = []
    for name, element in REFERENCES.get(str(resource.get("resourceType")), {}).items():
        values = resource.get(element)
        for value in values if isinstance(values, list) else [values]:
            target = local_target(value.get("reference")) if isinstance(value, Mapping) else None
            if target is not None and not (name == "patient" and not target.startswith("Patient/")):
                found.append(Reference(name, target, _element_class(name, "")))
    return found


def element_classes(resource: Mapping[str, Any], kept: Mapping[str, Any]) -> frozenset[str]:
    """The element classes of a resource that a permit opens: those whose every index row is still there in what it keeps."""
    full, left = _rows(resource), _rows(kept)
    classes = {element_class for _, element_class in full}
    return frozenset({BASE}) | {name for name in classes if {row for row in full if row[1] == name} <= left}


def _rows(resource: Mapping[str, Any]) -> set[tuple[tuple[str | None, ...], str]]:
    rows: set[tuple[tuple[str | None, ...], str]] = {((row.param, row.system, row.code), row.element_class) for row in tokens_of(resource)}
    return rows | {((row.param, row.target), row.element_class) for row in references_of(resource)}


def _element_class(parameter: str, system: str) -> str:
    if parameter in BASE_PARAMETERS:
        return BASE
    # a line end would end the class in a permit's list of them; no R4 uri has one
    return f"identifier:{' '.join(system.splitlines())}" if parameter == "identifier" else parameter


def _codes(value: Any, system: str) -> Iterator[tuple[str, str]]:
    """(system, code) of a code, Coding, CodeableConcept or Identifier, or of a list of them."""
    if isinstance(value, list):
        for entry in value:
            yield from _codes(entry, system)
    elif isinstance(value, bool):
        yield "http://hl7.org/fhir/special-values", "true" if value else "false"
    elif isinstance(value, str):
        yield system, value
    elif isinstance(value, Mapping):
        if "coding" in value:
            yield from _codes(value["coding"], "")
        code = value.get("code", value.get("value"))
        if isinstance(code, str):
            yield str(value.get("system") or ""), code

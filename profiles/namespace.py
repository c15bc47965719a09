"""The addresses of what is ours: code systems, identifier systems, profiles. Nothing else may spell them out in code."""

from __future__ import annotations

from typing import Final

NAMESPACE: Final = "https://crisis-referral-gateway.org/fhir"

SID_RECEIPT: Final = f"{NAMESPACE}/sid/receipt"
SID_PLACER: Final = f"{NAMESPACE}/sid/placer"
SID_FILLER: Final = f"{NAMESPACE}/sid/filler"
SID_COPY: Final = f"{NAMESPACE}/sid/copy"
SID_PERSON: Final = f"{NAMESPACE}/sid/person"
SID_RMS_CASE_NUMBER: Final = f"{NAMESPACE}/sid/rms-case-number"
SID_RMS_REQUEST_NUMBER: Final = f"{NAMESPACE}/sid/rms-request-number"
SID_INCIDENT: Final = f"{NAMESPACE}/sid/incident"
SID_ORI: Final = f"{NAMESPACE}/sid/ori"


def code_system(name: str) -> str:
    """The system URL of one of our code systems, such as "service-type"."""
    return f"{NAMESPACE}/CodeSystem/{name}"


def identifier_system(name: str) -> str:
    """The system URL of one of our identifiers, such as "receipt"."""
    return f"{NAMESPACE}/sid/{name}"


def structure_definition(name: str) -> str:
    """The canonical URL of one of our profiles or extensions."""
    return f"{NAMESPACE}/StructureDefinition/{name}"

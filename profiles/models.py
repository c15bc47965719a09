"""The fhir.resources classes we use, in one place: the R4B modules, since the bare import gives R5.

They build and check what is authored off the hot path; tests parse all output with them. They check shape, not codes (profiles.engine
does), and rewrite decimals and instants: nothing received is ever passed through them.
"""

from __future__ import annotations

from typing import Any, Final

from fhir.resources.R4B.auditevent import AuditEvent
from fhir.resources.R4B.bundle import Bundle
from fhir.resources.R4B.capabilitystatement import CapabilityStatement
from fhir.resources.R4B.communication import Communication
from fhir.resources.R4B.consent import Consent
from fhir.resources.R4B.documentreference import DocumentReference
from fhir.resources.R4B.encounter import Encounter
from fhir.resources.R4B.flag import Flag
from fhir.resources.R4B.location import Location
from fhir.resources.R4B.observation import Observation
from fhir.resources.R4B.operationoutcome import OperationOutcome
from fhir.resources.R4B.organization import Organization
from fhir.resources.R4B.parameters import Parameters
from fhir.resources.R4B.patient import Patient
from fhir.resources.R4B.provenance import Provenance
from fhir.resources.R4B.questionnaireresponse import QuestionnaireResponse
from fhir.resources.R4B.relatedperson import RelatedPerson
from fhir.resources.R4B.servicerequest import ServiceRequest
from fhir.resources.R4B.task import Task

from profiles.strict_json import to_json

_CLASSES: Final = (
    AuditEvent,
    Bundle,
    CapabilityStatement,
    Communication,
    Consent,
    DocumentReference,
    Encounter,
    Flag,
    Location,
    Observation,
    OperationOutcome,
    Organization,
    Parameters,
    Patient,
    Provenance,
    QuestionnaireResponse,
    RelatedPerson,
    ServiceRequest,
    Task,
)
MODELS: Final[dict[str, Any]] = {made.__name__: made for made in _CLASSES}


def parse_with_models(resource: dict[str, Any]) -> Any:
    """Parse a resource with its class.

    Raises KeyError for a type without a class here, pydantic.ValidationError for a shape the class refuses.
    """
    return MODELS[resource["resourceType"]].model_validate_json(to_json(resource))

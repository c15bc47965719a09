"""The CapabilityStatement, made of the table the routes are made of: it says what is there and nothing more."""

from __future__ import annotations

from typing import Any, Final

from gateway.fhir.interactions import FHIR_JSON, INTERACTIONS, PATCH, PATCH_JSON, search_parameters

FHIR_VERSION: Final = "4.0.1"
# The day this table last changed; R4 wants a date, and a statement that changes by the hour would be a lie.
DATE: Final = "2026-11-24"


def capability_statement(base_url: str, software_version: str) -> dict[str, Any]:
    """The CapabilityStatement of this server. base_url: of the FHIR endpoint.

    The token endpoint stands in the SMART configuration: the older oauth-uris extension demands an authorize endpoint beside it.
    """
    security: dict[str, Any] = {
        "cors": False,
        "service": [
            {
                "coding": [
                    {
                        "system": "http://terminology.hl7.org/CodeSystem/restful-security-service",
                        "code": "SMART-on-FHIR",
                        "display": "SMART-on-FHIR",
                    }
                ]
            }
        ],
        "description": "SMART backend services: private_key_jwt, client credentials, system scopes.",
    }
    return {
        "resourceType": "CapabilityStatement",
        "status": "active",
        "date": DATE,
        "kind": "instance",
        "software": {"name": "crisis-referral-gateway", "version": software_version},
        "implementation": {"description": "Crisis referral gateway", "url": base_url},
        "fhirVersion": FHIR_VERSION,
        "format": ["json", FHIR_JSON],
        "patchFormat": [PATCH_JSON],
        "rest": [{"mode": "server", "security": security, "resource": [_resource(name) for name in sorted(INTERACTIONS)]}],
    }


def _resource(resource_type: str) -> dict[str, Any]:
    offered = INTERACTIONS[resource_type]
    return {
        "type": resource_type,
        "interaction": [{"code": interaction.code} for interaction in offered],
        "versioning": "versioned-update" if PATCH in offered else "versioned",
        "readHistory": False,
        "updateCreate": False,
        "referencePolicy": ["literal", "local"],
        "searchParam": [{"name": name, "type": kind} for name, kind in search_parameters(resource_type).items()],
    }

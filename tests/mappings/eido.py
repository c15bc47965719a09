"""EIDOs for these tests: the published examples, NENA's own sample where it is on the machine, and small changes of them."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from typing import Any

import pytest

import mappings
from gateway.referral.reading import Taken, read_message
from profiles import engine
from tests.profiles.shared_material import SHARED

FORMAT = mappings.load("eido")
SCHEMA = FORMAT.schema
EXAMPLES = SCHEMA["examples"]
TRANSFER, INCIDENT, UPDATE = EXAMPLES
VALIDATOR = engine.r4()
AT = "2026-11-24T02:30:00.000-08:00"
LATER = "2026-11-24T03:30:00.000-08:00"

SAMPLE = SHARED / "publicsafety" / "eido" / "sample-call-transfer-eido.json"
needs_sample = pytest.mark.skipif(not SAMPLE.is_file(), reason="NENA's sample EIDO (../shared/publicsafety/eido) is not on this machine")


def the_sample() -> dict[str, Any]:
    """NENA's published sample, as it is."""
    sample: dict[str, Any] = json.loads(SAMPLE.read_text(encoding="utf-8"))
    return sample


def take(message: Any, *, strict: bool = False) -> Taken:
    """Send an EIDO, or raw bytes, through parse, cut, check, map and validate."""
    body = message if isinstance(message, bytes) else json.dumps(message).encode()
    return read_message(VALIDATOR, b"k" * 32, "eido", body, strict=strict)


def resources(message: Any, kind: str) -> list[dict[str, Any]]:
    """What a message becomes, of one type."""
    return [resource for resource in take(message).mapped.resources.values() if resource["resourceType"] == kind]


def changed(message: dict[str, Any], change: Callable[[dict[str, Any]], Any]) -> dict[str, Any]:
    """A copy after a change."""
    found = copy.deepcopy(message)
    change(found)
    return found


def component(component_id: str, at: str = AT, **members: Any) -> dict[str, Any]:
    """A component with its prologue."""
    agency = {"$ref": "911.riverton-county.example"}
    return {"$id": component_id, "lastUpdateTimeStamp": at, "updatedByAgencyReference": agency, **members}


def with_part(message: dict[str, Any], name: str, *parts: dict[str, Any]) -> dict[str, Any]:
    """A copy with components added to one list."""
    return changed(message, lambda found: found.setdefault(name, []).extend(parts))


def of_type(code: str) -> dict[str, Any]:
    """The incident of the examples with another common type."""
    return changed(INCIDENT, lambda found: found["incidentComponent"].update(incidentTypeCommonRegistryText=code))

"""The smallest valid thing of each kind; a test states only what it is about."""

from __future__ import annotations

import copy
import itertools
from typing import Any

import mappings

_numbers = itertools.count(1)


def an_rms_message(**changes: Any) -> dict[str, Any]:
    """A diversion request that every service may be asked about; `changes` replace top-level fields (None removes one)."""
    message = copy.deepcopy(mappings.load("rms-diversion").schema["examples"][0])
    message["request_number"] = f"RPD-2026-{next(_numbers):06d}"
    message["revision"] = 1
    message.pop("consents", None)
    for name, value in changes.items():
        if value is None:
            message.pop(name, None)
        else:
            message[name] = value
    return message


def an_eido(**changes: Any) -> dict[str, Any]:
    """An incident with a Patient, as a 911 centre sends it; `changes` replace top-level members (None removes one)."""
    number = next(_numbers)
    message = copy.deepcopy(mappings.load("eido").schema["examples"][1])
    message["$id"] = f"urn:emergency:uid:incidentid:{number:08x}:911.riverton-county.example"
    for name, value in changes.items():
        if value is None:
            message.pop(name, None)
        else:
            message[name] = value
    return message


SIGNED = {
    "method": "signed",
    "source": {"title": "Authorization to share status", "content_type": "text/plain", "data": "SSBhbGxvdyBpdC4="},
}
AUTHORIZATIONS = {
    "signed by the person, confirmed by the clinic": SIGNED,
    "signed by the person, attached by the officer": SIGNED,
    "ticked by the officer": {"method": "ticked"},
    "ticked by the officer, confirmed by the clinic": {"method": "ticked"},
    "revoked": SIGNED,
    "past its period": {**SIGNED, "date": "2024-01-01T10:00:00Z", "expires": "2024-12-31"},
}


def an_authorization(how: str, *, discloses: str = "alder-case-management") -> list[dict[str, Any]] | None:
    """The consents of a message by which its receiver may tell the sender how it went; how: a word of AUTHORIZATIONS, or none."""
    if how == "none on file":
        return None
    consent = {
        "kind": "status-sharing",
        "decision": "permit",
        "status": "active",
        "given_by": {"relation": "self"},
        "obtained_by": "Dana Whitfield",
        "date": "2026-11-24T02:18:00Z",
        "expires": "2099-12-31",
        "discloses": [discloses],
        "recipients": ["sender"],
        "information": "Whether the referral was accepted, whether contact was made, and whether I take part",
        "purposes": ["COC"],
        "right_to_revoke_told": True,
        "consequences_told": True,
    }
    return [{**consent, **AUTHORIZATIONS[how]}]


def a_patch(*operations: tuple[str, str, Any]) -> list[dict[str, Any]]:
    """A JSON Patch from (op, path, value)."""
    return [{"op": op, "path": path, "value": value} for op, path, value in operations]

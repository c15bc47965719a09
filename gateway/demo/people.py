"""Who takes part in the demo and what the officer's system sends. Everybody is invented; the times are near now.

What the 911 centre sends is in call.py.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

import mappings

POLICE: Final = "riverton-police"
CLINIC: Final = "northside-clinic"
CENTER: Final = "harbor-crisis-center"
COUNTY: Final = "riverton-911"
TEAM: Final = "juniper-mobile"
NAMES: Final[Mapping[str, str]] = {
    POLICE: "Riverton Police Department",
    CLINIC: "Northside Crisis Clinic",
    CENTER: "Harbor Crisis Center",
    COUNTY: "Riverton County 911",
    TEAM: "Juniper Mobile Crisis",
    "coordinator": "Crisis coordination centre",
}
EHR_CLIENTS: Final[Mapping[str, str]] = {CLINIC: "northside-ehr", CENTER: "harbor-ehr", TEAM: "juniper-ehr"}
EHR_SCOPE: Final = (
    "system/Task.rus system/ServiceRequest.rs system/Patient.rs system/RelatedPerson.rs system/Encounter.rs system/Consent.rus "
    "system/Flag.rs system/Location.rs"
)
# A diversion request goes to lead-case-management first and to crisis-stabilization next, a 911 call to mobile-crisis first.
SERVICES: Final[Mapping[str, str]] = {CLINIC: "lead-case-management", CENTER: "crisis-stabilization", TEAM: "mobile-crisis"}


@dataclass(frozen=True, slots=True)
class Sender:
    """A sender's system: its client id, whose it is, what it posts, where it is called back, and which stand-in plays it."""

    client: str
    organization: str
    posture: str
    format: str
    callback_path: str
    standin: str

    @property
    def scope(self) -> str:
        """What it may do at the gateway."""
        return f"__gateway.intake.{self.format}"


RMS: Final = Sender("riverton-rms", POLICE, "criminal_justice_agency", "rms-diversion", "/diversion-status", "rms")
CAD: Final = Sender("county-cad", COUNTY, "emergency_dispatch", "eido", "/call-status", "cad")


def parties_toml(ports: Mapping[str, int]) -> str:
    """The parties file of the demo. ports: of each stand-in, by client id."""
    parts = []
    for sender in (RMS, CAD):
        parts.append(f'[organization.{sender.organization}]\nname = "{NAMES[sender.organization]}"\npostures = ["{sender.posture}"]\n')
        parts.append(
            f'[client.{sender.client}]\norganization = "{sender.organization}"\njwks = "{sender.client}/jwks.json"\n'
            f'scopes = "{sender.scope}"\npurposes = ["COC"]\n'
            f'callback = {{ address = "http://127.0.0.1:{ports[sender.client]}{sender.callback_path}" }}\n'
        )
    for organization, client in EHR_CLIENTS.items():
        parts.append(
            f'[organization.{organization}]\nname = "{NAMES[organization]}"\npostures = ["covered_entity"]\n'
            f'services = ["{SERVICES[organization]}"]\n'
            f'channel = {{ kind = "fhir-rest", address = "http://127.0.0.1:{ports[client]}/fhir" }}\n'
        )
        parts.append(
            f'[client.{client}]\norganization = "{organization}"\njwks = "{client}/jwks.json"\nscopes = "{EHR_SCOPE}"\n'
            'purposes = ["TREAT"]\n'
        )
    return "\n".join(parts)


def _message(now: datetime, number: int, example: int) -> dict[str, Any]:
    """One of the published examples, moved to `now`: the officer met the person half an hour ago."""
    published = mappings.load("rms-diversion").schema["examples"][example]
    shift = now - datetime.fromisoformat(published["requested_at"])
    message: dict[str, Any] = moved(published, shift)
    message["request_number"] = f"RPD-{now:%Y}-{number:06d}"
    message["agency"] = {**message["agency"], "case_number": f"{now:%Y}-{number:06d}"}
    message.pop("consents", None)
    return message


def moved(value: Any, shift: timedelta) -> Any:
    """The same with each date-time moved; dates without a time (of birth) stay."""
    if isinstance(value, dict):
        return {name: moved(child, shift) for name, child in value.items()}
    if isinstance(value, list):
        return [moved(child, shift) for child in value]
    if isinstance(value, str) and len(value) >= 20 and value[10] == "T":
        return (datetime.fromisoformat(value) + shift).isoformat(timespec="seconds")
    return value


def _status_sharing(now: datetime, **more: Any) -> dict[str, Any]:
    return {
        "kind": "status-sharing",
        "decision": "permit",
        "status": "active",
        "given_by": {"relation": "self"},
        "obtained_by": "Dana Whitfield",
        "date": (now - timedelta(minutes=12)).isoformat(timespec="seconds"),
        "expires": (now + timedelta(days=90)).date().isoformat(),
        "discloses": [CLINIC, CENTER],
        "recipients": ["sender"],
        "information": "Whether the referral was accepted, whether contact was made, and whether I take part",
        "purposes": ["COC"],
        "right_to_revoke_told": True,
        "consequences_told": True,
        **more,
    }


def with_officers_tick(now: datetime) -> dict[str, Any]:
    """A person who agrees to talk; the officer ticked that the outcome may be shared."""
    message = _message(now, 118204, 0)
    message["person"]["identifier"] = "RPD-P-20931"
    return {**message, "consents": [_status_sharing(now, method="ticked")]}


def with_signed_authorization(now: datetime) -> dict[str, Any]:
    """Another person, who signed an authorization; the officer's system attaches it."""
    message = _message(now, 118377, 0)
    message["person"] |= {
        "identifier": "RPD-P-30412",
        "name": {"family": "Okonjo", "given": ["Ray"]},
        "birth_date": "1978-02-09",
        "gender": "male",
        "phone": "+1 206 555 0158",
    }
    message.pop("related_contacts", None)
    message["narrative"] = "Ray asks for a place in the programme and a bed that is quiet. Calm, speaks freely."
    text = b"I, Ray Okonjo, allow the clinic to tell Riverton Police how my referral went. I can take this back at any time."
    source = {
        "title": "Authorization to share status, form RPD-17",
        "content_type": "text/plain",
        "hash": base64.b64encode(hashlib.sha1(text, usedforsecurity=False).digest()).decode(),  # FHIR Attachment.hash is SHA-1
        "data": base64.b64encode(text).decode(),
    }
    return {**message, "consents": [_status_sharing(now, method="signed", source=source)]}


def of_somebody_unidentified(now: datetime) -> dict[str, Any]:
    """A person whose name nobody knows, without any consent; the officer leaves it to the protocol whom to ask."""
    message = _message(now, 118590, 1)
    message.pop("services_requested", None)
    return message


def justice_values(message: Mapping[str, Any]) -> list[str]:
    """What of a message belongs to the agency alone: case number, statutes and charges in its own words."""
    offences = message.get("probable_cause", {}).get("offences", [])
    found = [message["agency"].get("case_number"), *(offence.get(name) for offence in offences for name in ("statute", "description"))]
    return [str(value) for value in found if value]

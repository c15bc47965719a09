"""A receiver's copies of a sender's resources: made for an offer, replaced by each newer version of their origin.

A copy lives in the receiver's domain under an id of its own, so that nothing on the wire links the two domains.
What may be in it is decided by access.records; here references are rewritten and the receiver's numbers added.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from gateway.access import records
from gateway.access.records import Draft, Held
from gateway.store.database import Unit
from gateway.store.ids import new_id
from gateway.store.registry import Organization
from mappings.loading import code_maps
from profiles import namespace
from profiles.strict_json import canonical_json

PLACER_TYPE: Final = {
    "coding": [{"system": "http://terminology.hl7.org/CodeSystem/v2-0203", "code": "PLAC", "display": "Placer Identifier"}]
}
WITH_IDENTIFIER: Final = frozenset(
    {"Patient", "RelatedPerson", "Encounter", "ServiceRequest", "Consent", "Flag", "Location", "Observation"}
)
PURPOSE: Final = "TREAT"


@dataclass(frozen=True, slots=True)
class Receiver:
    """To whom copies go in one offer: the organisation, the placer number it knows the referral by, and what it is asked for.

    service: a code of our service-type code system.
    """

    organization: Organization
    placer: str
    service: str


def _rewrite(value: Any, address_of: Mapping[str, str]) -> Any:
    """Point references at the receiver's copies; one to something that was not copied is dropped.

    address_of: origin `Type/id` → copy `Type/id`; Organizations keep their address. Returns None for a dropped reference.
    """
    if isinstance(value, dict):
        if isinstance(value.get("reference"), str):
            reference = value["reference"]
            if reference.startswith(("Organization/", "#")):
                return value
            return {**value, "reference": address_of[reference]} if reference in address_of else None
        kept = {key: _rewrite(child, address_of) for key, child in value.items()}
        return {key: child for key, child in kept.items() if child is not None and child not in ([], {})}
    if isinstance(value, list):
        return [child for child in (_rewrite(item, address_of) for item in value) if child not in (None, {})]
    return value


def _as_received(content: dict[str, Any], held: Held, copy_id: str, receiver: Receiver) -> dict[str, Any]:
    """Add what is the receiver's own: an identifier of the copy, the placer number, the order's new intent, the service it is asked for."""
    if held.type in WITH_IDENTIFIER:
        content["identifier"] = [{"system": namespace.SID_COPY, "value": copy_id}, *content.get("identifier", [])]
    if held.type == "QuestionnaireResponse":
        content["identifier"] = {"system": namespace.SID_COPY, "value": copy_id}
    if held.type == "ServiceRequest":
        content["intent"] = "filler-order"
        content["identifier"] = [
            {"system": namespace.SID_COPY, "value": copy_id},
            {"type": PLACER_TYPE, "system": namespace.SID_PLACER, "value": receiver.placer},
        ]
        content["code"] = code_maps()["service"].translate(receiver.service, "concept") or content.get("code")
        content["performer"] = [{"reference": f"Organization/{receiver.organization.key}", "display": receiver.organization.name}]
    return content


def write_copies(unit: Unit, origins: Iterable[Held], receiver: Receiver, referral: str) -> dict[str, Held]:
    """Make or renew the receiver's copies of what it may have; returns them by their origin's `Type/id`.

    An origin the receiver may not have is left out, and so is every reference to it.
    """
    found = list(origins)
    contents = records.redact_all_for(unit, found, receiver.organization, PURPOSE)
    permitted = [(held, content) for held, content in zip(found, contents, strict=True) if content is not None]
    copies = records.hold_copies(unit, [held.id for held, _ in permitted], receiver.organization.key)
    ids = {held.id: copies[held.id].id if held.id in copies else new_id() for held, _ in permitted}
    address_of = {held.reference: f"{held.type}/{ids[held.id]}" for held, _ in permitted}
    ready = [(held, _as_received(_rewrite(content, address_of), held, ids[held.id], receiver)) for held, content in permitted]
    drafts = {held.reference: Draft(content, held.data_class, held, ids[held.id]) for held, content in ready if held.id not in copies}
    made = records.create_all(unit, list(drafts.values()), domain=receiver.organization.key, referral=referral)
    written = dict(zip(drafts, made, strict=True))
    for held, content in ready:
        copy = copies.get(held.id)
        if copy is not None:
            renewed = copy if _is_as_it_was(copy, held, content) else records.replace(unit, copy, content, origin=held)
            records.attach(unit, renewed, referral)
            written[held.reference] = renewed
    return written


def _is_as_it_was(copy: Held, origin: Held, content: dict[str, Any]) -> bool:
    """Whether renewing would change nothing: the same version of the origin, the same content but for the receiver's own words."""
    own: dict[str, Any] = {name: copy.body[name] for name in ("verification", "status") if copy.type == "Consent" and name in copy.body}
    return copy.origin_version == origin.version and copy.says({**content, **own})


def shared_digest(copies: Iterable[Held]) -> str:
    """SHA-256 over what a receiver was given: type, id and version of each copy, in order of address."""
    listed = sorted([held.type, held.id, held.version] for held in copies)
    return hashlib.sha256(canonical_json(listed)).hexdigest()

"""The named functions of the eido table, and what is told to a sender of an EIDO that is taken in nevertheless.

A dangling reference, a place that cannot be read or a second Patient is named and goes on: an emergency call is not refused for it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from decimal import Decimal
from typing import Any, Final

from mappings.functions import Fault, check_function, value_function
from mappings.readers.eido import PATIENT
from mappings.readers.eido_components import LISTS, components_of, entries_of, instant_of
from mappings.readers.json_pointer import escaped
from mappings.readers.niem_person import list_in, text_in
from mappings.readers.pidf_lo import NotReadable, read_pidf_lo

ACT_CODE: Final = "http://terminology.hl7.org/CodeSystem/v3-ActCode"
URI: Final = "urn:ietf:rfc:3986"
EIDO_ID: Final = "https://crisis-referral-gateway.org/fhir/sid/eido"
_URI_LIKE: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:[!-~]+", re.ASCII)
_BCP47: Final = re.compile(r"[a-z]{3}", re.ASCII)
# ISO 639-3 codes that BCP 47 writes with two letters; of the others the code is the tag (RFC 5646 §2.2.1).
TWO_LETTERS: Final = dict(
    pair.split(":")
    for pair in (  # noqa: SIM905 (one a line is two screens of it)
        "afr:af amh:am ara:ar asm:as aze:az bel:be ben:bn bod:bo bos:bs bul:bg cat:ca ces:cs cym:cy dan:da deu:de ell:el eng:en est:et "
        "eus:eu fas:fa fij:fj fin:fi fra:fr gle:ga guj:gu hat:ht hau:ha heb:he hin:hi hmo:ho hrv:hr hun:hu hye:hy ibo:ig ind:id isl:is "
        "ita:it jpn:ja kan:kn kat:ka kaz:kk khm:km kin:rw kir:ky kor:ko kur:ku lao:lo lat:la lav:lv lin:ln lit:lt mah:mh mal:ml mar:mr "
        "mkd:mk mlg:mg mlt:mt mon:mn msa:ms mya:my nav:nv nep:ne nld:nl nor:no orm:om pan:pa pol:pl por:pt pus:ps que:qu ron:ro run:rn "
        "rus:ru san:sa sin:si slk:sk slv:sl smo:sm sna:sn snd:sd som:so sot:st spa:es sqi:sq srp:sr swa:sw swe:sv tam:ta tel:te tgk:tg "
        "tgl:tl tha:th tir:ti ton:to tuk:tk tur:tr twi:tw uig:ug ukr:uk urd:ur uzb:uz vie:vi wol:wo xho:xh yid:yi yor:yo zho:zh zul:zu"
    ).split()
)


@value_function("eido-identifier")
def eido_identifier(component_id: str | None) -> dict[str, Any] | None:
    """The identifier of a component's `$id`: a URI as one, anything else under a system of ours; the sender gave it."""
    if not component_id:
        return None
    system = URI if _URI_LIKE.fullmatch(component_id) else EIDO_ID
    return {"system": system, "value": component_id, "assigner": {"reference": "urn:local:sender"}}


@value_function("eido-priority")
def eido_priority(number: Decimal | int | None) -> str:
    """Request priority of incidentCommonPriorityNumber, of which 10 is the highest; a call without one is urgent."""
    if number is None:
        return "urgent"
    return "stat" if number >= 9 else "asap" if number >= 7 else "urgent" if number >= 4 else "routine"


@value_function("eido-encounter-class")
def eido_encounter_class(call_id: str | None) -> dict[str, str]:
    """VR for a call, which nobody came to; FLD for an incident without one (v3 ActCode)."""
    return {"system": ACT_CODE, "code": "VR", "display": "virtual"} if call_id else {"system": ACT_CODE, "code": "FLD", "display": "field"}


@value_function("eido-waiting")
def eido_waiting(started: str | None, answered: str | None) -> list[dict[str, Any]] | None:
    """Encounter.statusHistory of the time until the call was answered; None where the two times do not follow each other."""
    first, last = instant_of(started), instant_of(answered)
    if first is None or last is None or last < first:
        return None
    return [{"status": "arrived", "period": {"start": started, "end": answered}}]


@value_function("eido-language")
def eido_language(code: str | None) -> dict[str, Any] | None:
    """The concept of a language with the BCP 47 tag of an ISO 639-3 code; None for what is none."""
    found = (code or "").strip().lower()
    tag = TWO_LETTERS.get(found, found) if _BCP47.fullmatch(found) else None
    return {"coding": [{"system": "urn:ietf:bcp:47", "code": tag}]} if tag else None


@value_function("eido-street")
def eido_street(given: dict[str, str] | None) -> list[str] | None:
    """Address lines of a civic address: number and street, then what is within the building (RFC 5139 §3)."""
    civic = given or {}
    number = "".join(civic.get(name, "") for name in ("HNO", "HNS"))
    street = [number, *(civic.get(name, "") for name in ("PRD", "RD", "STS", "POD"))]
    within = [civic.get("BLD", ""), *(f"{word} {civic[name]}" for name, word in WITHIN.items() if civic.get(name)), civic.get("LOC", "")]
    lines = [" ".join(part for part in street if part), ", ".join(part for part in within if part)]
    return [line for line in lines if line] or None


WITHIN: Final = {"FLR": "Floor", "UNIT": "Unit", "ROOM": "Room"}
PLACE_NAMES: Final = {
    "CurrentIncident": "Place of the incident",
    "InitialIncident": "First reported place of the incident",
    "Caller": "Location of the caller, not known to be the person's",
    "RoutingLocation": "Location by which the call was routed, not the person's",
    "TowerLocation": "Cell that took the call, not the person's location",
}


@value_function("eido-place-name")
def eido_place_name(kind: str | None, civic: dict[str, str] | None) -> str:
    """Location.name: what kind of location of the call it is, so that nobody takes it for another; a place by its own name."""
    found = civic or {}
    own = next((found[name] for name in ("LMK", "NAM") if found.get(name)), None)
    what = PLACE_NAMES.get(kind or "", "Location named in the call")
    return f"{what}: {own}" if own and kind not in ("RoutingLocation", "TowerLocation") else what


@value_function("eido-place-text")
def eido_place_text(description: str | None, radius: Decimal | None) -> str | None:
    """Location.description: the sender's words, and how exactly a point is known."""
    parts = [description] if description else []
    if radius:
        parts.append(f"Known to within {radius} m.")
    return " ".join(parts) or None


@value_function("eido-unidentified")
def eido_unidentified(name: dict[str, Any] | None) -> bool:
    """For routing: whether nobody has said who the person is."""
    return not name


@value_function("eido-looks")
def eido_looks(looks: list[str] | None, age: str | None, years: int | None) -> str | None:
    """What a base Patient has no element for and whoever looks for the person needs; None where nothing was said."""
    parts = [f"Description of the person: {'; '.join(looks)}"] if looks else []
    if age or years is not None:
        parts.append(f"Estimated age: {age or years}")
    return ". ".join(parts) or None


@value_function("eido-state")
def eido_state(state: list[str] | None) -> str | None:
    """What the call taker wrote down of the person's state. No Condition: nobody has examined anybody."""
    return f"Reported to the 911 centre, not a diagnosis: {'; '.join(state)}" if state else None


# --- checks ---


def _nodes(node: Any, pointer: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Every object of a JSON value with its pointer; a JSON-LD context holds none of ours."""
    pending = [(node, pointer)]
    while pending:
        value, here = pending.pop()
        if isinstance(value, dict):
            yield here, value
            pending += [(child, f"{here}/{escaped(name)}") for name, child in reversed(value.items()) if name != "@context"]
        elif isinstance(value, list):
            pending += [(child, f"{here}/{index}") for index, child in reversed(list(enumerate(value)))]


@check_function("eido-references")
def eido_references(message: dict[str, Any]) -> Iterator[Fault]:
    """Name each reference that leads to nothing in the message; it is legal on the wire, and what it meant is missing."""
    nodes = list(_nodes(message, ""))
    known = {text_in(node.get("$id")) for _, node in nodes}
    for pointer, node in nodes:
        reference = text_in(node.get("$ref"))
        if reference and reference not in known:
            yield Fault(f"{pointer}/$ref", "not-found", "The reference leads to no component of the message.", "warning")


@check_function("eido-ids")
def eido_ids(message: dict[str, Any]) -> Iterator[Fault]:
    """Two components of one list with one `$id` leave open which of them holds."""
    for name in LISTS:
        seen: set[str] = set()
        for pointer, component in entries_of(message, name):
            component_id = text_in(component.get("$id"))
            if component_id in seen:
                yield Fault(f"{pointer}/$id", "duplicate", "Two components of this list have the same $id.")
            seen.update([component_id] if component_id else [])


@check_function("eido-one-patient")
def eido_one_patient(message: dict[str, Any]) -> Iterator[Fault]:
    """A referral is for one person: of several Patients the first is taken."""
    patients = [
        pointer
        for pointer, person in entries_of(message, "personComponent")
        if PATIENT in [text_in(role) for role in list_in(person.get("personIncidentRoleRegistryText"))]
    ]
    for pointer in patients[1:]:
        text = "A referral is for one person; the first with the role Patient is taken, this one is not."
        yield Fault(f"{pointer}/personIncidentRoleRegistryText", "business-rule", text, "warning")


@check_function("eido-locations")
def eido_locations(message: dict[str, Any]) -> Iterator[Fault]:
    """Tell of a location that is not used: it is given by an address only, cannot be read, or may not be handed on."""
    stamps = [instant_of(component.get("lastUpdateTimeStamp")) for _, component in components_of(message)]
    now = max((stamp for stamp in stamps if stamp is not None), default=None)
    for pointer, component in entries_of(message, "locationComponent"):
        value = component.get("locationByValue")
        if not isinstance(value, str) or not value.strip():
            if component.get("locationByReferenceUrl"):
                text = "The location is given by its address only, which is not called."
                yield Fault(f"{pointer}/locationByReferenceUrl", "informational", text, "information")
            continue
        yield from _of_document(f"{pointer}/locationByValue", value, now)


def _of_document(pointer: str, value: str, now: Any) -> Iterator[Fault]:
    try:
        document = read_pidf_lo(value)
    except NotReadable:
        yield Fault(
            pointer, "structure", "No PIDF-LO that can be read; a document type is never read. The location was not used.", "warning"
        )
        return
    until = instant_of(document.kept_until)
    if not document.may_be_passed_on:
        yield Fault(pointer, "suppressed", "The location says that it may not be handed on; it was not used.", "warning")
    elif until is not None and now is not None and until <= now:
        yield Fault(pointer, "suppressed", "The location says that it may not be kept any longer; it was not used.", "warning")
    elif not document.civic and document.latitude is None:
        text = "Neither a civic address nor a point or circle; other shapes are not read."
        yield Fault(pointer, "not-supported", text, "information")


@check_function("eido-call-times")
def eido_call_times(message: dict[str, Any]) -> Iterator[Fault]:
    """A call answered before it started: two clocks disagree, and the time of waiting is left out."""
    for pointer, call in entries_of(message, "callComponent"):
        started, answered = instant_of(call.get("callStartTimestamp")), instant_of(call.get("answerDate"))
        if started is not None and answered is not None and answered < started:
            yield Fault(
                f"{pointer}/answerDate", "value", "The call was answered before it started; the time of waiting is left out.", "warning"
            )

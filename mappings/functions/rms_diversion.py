"""The named functions of the rms-diversion table: what its rows cannot say in the table language.

Each is total over what the format's schema admits and has a test in tests/mappings/test_functions.py.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date
from typing import Any, Final

from mappings.functions import Fault, check_function, value_function

ACT_CODE: Final = "http://terminology.hl7.org/CodeSystem/v3-ActCode"
DATA_OPERATION: Final = "http://terminology.hl7.org/CodeSystem/v3-DataOperation"
CLASSES: Final = {"VR": "virtual", "HH": "home health", "FLD": "field"}
CRITERIA: Final = (
    "under-18",
    "not-amenable",
    "delivery-for-profit",
    "exploits-minors",
    "promoting-prostitution",
    "disqualifying-history",
    "no-contact-order",
    "open-treatment-court-case",
)
# A fact reported twice counts as the less safe of the two.
UNSAFE_FIRST: Final = ("present", "unknown", "absent")
OLDEST_YEARS: Final = 130


@value_function("organisation-reference")
def organisation_reference(key: str) -> str:
    """The reference of an organisation key; "sender" is whoever sends the message."""
    return "urn:local:sender" if key == "sender" else f"Organization/{key}"


@value_function("encounter-class")
def encounter_class(mode: str | None, place_type: str | None) -> dict[str, str]:
    """VR where the contact was by phone or video, HH at a residence, else FLD (v3 ActCode definitions)."""
    code = "VR" if mode in ("phone", "video") else "HH" if place_type == "residence" else "FLD"
    return {"system": ACT_CODE, "code": code, "display": CLASSES[code]}


@value_function("location-name")
def location_name(place: str | None, address: dict[str, Any] | None, _coordinates: Any) -> str:
    """US Core Location.name is 1..1: the place in words, else its address, else that there are only coordinates."""
    if place:
        return place.strip()
    found = address or {}
    parts = [*(line for line in found.get("line") or () if line), *(found[name] for name in ("city", "state") if found.get(name))]
    return ", ".join(part.strip() for part in parts) or "Place of the contact"


@value_function("hazards-text")
def hazards_text(hazards: list[str] | None) -> str | None:
    """Location.description of the hazards, or None where there are none."""
    return f"Hazards: {'; '.join(hazard.strip() for hazard in hazards)}" if hazards else None


@value_function("person-note")
def person_note(description: str | None, age_band: str | None, veteran: str | None) -> str | None:
    """What a base Patient has no element for and whoever meets the person needs, or None where nothing was said."""
    parts = []
    if description and description.strip():
        parts.append(f"Description of the person: {description.strip()}")
    if age_band and age_band != "unknown":
        parts.append(f"Estimated age: {age_band}.")
    if veteran == "yes":
        parts.append("Veteran.")
    return " ".join(parts) or None


@value_function("consent-terms")
def consent_terms(decision: str, method: str | None, revoke_told: bool | None, consequences_told: bool | None) -> str:
    """Consent.policyRule.text: how the decision was recorded and what the person was told, for whoever is asked to confirm it."""
    told = {True: "yes", False: "no", None: "not stated"}
    return (
        f"{decision}; recorded as {method or 'not stated'}; told of the right to revoke: {told[revoke_told]}; "
        f"told of redisclosure and consequences: {told[consequences_told]}"
    )


@value_function("handoff-note")
def handoff_note(requested: bool | None, wait_location: str | None, wait_until: str | None, phone: str | None) -> str | None:
    """The note of a warm hand-off, or None where none is asked for."""
    if not requested:
        return None
    parts = ["Warm hand-off: the officer waits with the person"]
    if wait_location:
        parts.append(f"at {wait_location.strip()}")
    if wait_until:
        parts.append(f"until {wait_until}")
    return " ".join(parts) + (f"; call {phone.strip()}." if phone else ".")


@value_function("contact-note")
def contact_note(allowed: str | None, prefer: str | None, leave_message: bool | None, best_time: str | None) -> str | None:
    """The note on how the person wants to be reached, or None where nothing was said."""
    parts = []
    if allowed == "no":
        parts.append("the person must not be contacted directly")
    if prefer:
        parts.append(f"prefers {prefer}")
    if leave_message is not None:
        parts.append("a message may be left" if leave_message else "leave no message")
    if best_time:
        parts.append(f"best time: {best_time.strip()}")
    return f"Contact: {'; '.join(parts)}." if parts else None


@value_function("consent-performer")
def consent_performer(relation: str, name: str | None) -> dict[str, str]:
    """Who gave the consent: the person, or somebody who may act for them, by name."""
    if relation == "self":
        return {"reference": "urn:local:patient"}
    return {"type": "RelatedPerson", "display": (name or "").strip() or relation.replace("-", " ")}


@value_function("provenance-activity")
def provenance_activity(revision: int) -> dict[str, Any]:
    """CREATE for a first revision, UPDATE for each later one (v3 DataOperation)."""
    code = "CREATE" if revision == 1 else "UPDATE"
    return {"coding": [{"system": DATA_OPERATION, "code": code, "display": "create" if code == "CREATE" else "revise"}]}


@value_function("is-true")
def is_true(value: bool | None) -> bool:
    """A boolean for routing: absent is false."""
    return value is True


@value_function("or-unknown")
def or_unknown(value: str | None) -> str:
    """A code for routing: absent is unknown."""
    return value or "unknown"


@value_function("minor")
def minor(birth_date: str | None, age_band: str | None, requested_at: str) -> str:
    """Whether the person is under 18 on the day of the request: yes, no or unknown. A partial birth date may leave it unknown."""
    if birth_date:
        youngest, oldest = _age(birth_date, requested_at, latest=True), _age(birth_date, requested_at, latest=False)
        return "no" if youngest >= 18 else "yes" if oldest < 18 else "unknown"
    if not age_band or age_band == "unknown":
        return "unknown"
    return "yes" if age_band == "under-18" else "no"


def _age(birth_date: str, on: str, *, latest: bool) -> int:
    """Full years, where a missing month or day of birth is taken as the latest or the earliest."""
    parts = [int(part) for part in birth_date.split("-")]
    month = parts[1] if len(parts) > 1 else (12 if latest else 1)
    day = parts[2] if len(parts) > 2 else (31 if latest else 1)
    today = date.fromisoformat(on[:10])
    return today.year - parts[0] - ((today.month, today.day) < (month, day))


@value_function("exclusion-answers")
def exclusion_answers(
    exclusions: list[dict[str, Any]] | None,
    approval: dict[str, Any] | None,
    birth_date: str | None,
    age_band: str | None,
    requested_at: str,
) -> dict[str, str]:
    """Every criterion with yes, no, unknown or overridden; what was not answered is unknown.

    An override counts with a supervisor's approval only. A birth date or age band under 18 outweighs a "no" to under-18.
    """
    answers = dict.fromkeys(CRITERIA, "unknown")
    for entry in exclusions or ():
        overridden = entry["answer"] == "yes" and entry.get("override_reason") and approval
        answers[entry["criterion"]] = "overridden" if overridden else entry["answer"]
    if minor(birth_date, age_band, requested_at) == "yes" and answers["under-18"] != "overridden":
        answers["under-18"] = "yes"
    return answers


@value_function("safety-states")
def safety_states(facts: list[dict[str, Any]] | None) -> dict[str, str]:
    """Reported safety facts by code: present, unknown or absent; of two reports the less safe one."""
    states: dict[str, str] = {}
    for fact in facts or ():
        known = states.get(fact["code"], "absent")
        states[fact["code"]] = min(known, fact["state"], key=UNSAFE_FIRST.index)
    return states


@value_function("has-status-consent")
def has_status_consent(consents: list[dict[str, Any]] | None) -> bool:
    """Whether the message claims an active consent to share the status. A claim: it opens nothing by itself."""
    return any((entry["kind"], entry["decision"], entry["status"]) == ("status-sharing", "permit", "active") for entry in consents or ())


def _dict(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


@check_function("one-answer-a-criterion")
def one_answer_a_criterion(message: dict[str, Any]) -> Iterator[Fault]:
    """A criterion answered twice leaves open which answer holds."""
    seen: set[str] = set()
    entries = message.get("exclusions")
    for index, entry in enumerate(entries if isinstance(entries, list) else ()):
        criterion = _dict(entry).get("criterion")
        if isinstance(criterion, str):
            if criterion in seen:
                yield Fault(f"/exclusions/{index}/criterion", "duplicate", "The criterion is answered twice.")
            seen.add(criterion)


@check_function("overrides-approved")
def overrides_approved(message: dict[str, Any]) -> Iterator[Fault]:
    """Tell the sender of an override that does not count: no supervisor stands behind it."""
    if _dict(message.get("officer")).get("supervisor_approval"):
        return
    entries = message.get("exclusions")
    for index, entry in enumerate(entries if isinstance(entries, list) else ()):
        if _dict(entry).get("override_reason") and _dict(entry).get("answer") == "yes":
            text = "An override counts only with officer.supervisor_approval; the answer stands."
            yield Fault(f"/exclusions/{index}/override_reason", "business-rule", text, "warning")


@check_function("age-agrees-with-answer")
def age_agrees_with_answer(message: dict[str, Any]) -> Iterator[Fault]:
    """A person under 18 by birth date or age band, and a "no" to under-18: the unsafe one is used, and the sender is told."""
    person = _dict(message.get("person"))
    entries = message.get("exclusions")
    try:
        is_minor = minor(person.get("birth_date"), person.get("age_band"), message["requested_at"]) == "yes"
    except (KeyError, TypeError, ValueError, AttributeError):
        return  # the schema's own faults speak of these fields
    for index, entry in enumerate(entries if isinstance(entries, list) else ()):
        if is_minor and _dict(entry).get("criterion") == "under-18" and _dict(entry).get("answer") == "no":
            text = "The age of the person says otherwise; the person is treated as under 18."
            yield Fault(f"/exclusions/{index}/answer", "business-rule", text, "warning")


@check_function("plausible-birth-date")
def plausible_birth_date(message: dict[str, Any]) -> Iterator[Fault]:
    """A birth date more than 130 years back is a typing error."""
    try:
        age = _age(_dict(message.get("person"))["birth_date"], message["requested_at"], latest=True)
    except (KeyError, TypeError, ValueError, AttributeError, IndexError):
        return
    if age > OLDEST_YEARS:
        yield Fault("/person/birth_date", "value", f"The birth date lies more than {OLDEST_YEARS} years back.")


@check_function("medical-emergency-answered")
def medical_emergency_answered(message: dict[str, Any]) -> Iterator[Fault]:
    """Tell the sender up front that a referral stops where nobody said whether there is a medical emergency."""
    facts = message.get("safety_facts")
    if isinstance(facts, list) and not all(isinstance(_dict(fact).get("code"), str) for fact in facts):
        return  # the schema's own faults speak of these entries
    if not any(fact["code"] == "medical-emergency" for fact in (facts if isinstance(facts, list) else ())):
        text = "Whether there is a medical emergency is not answered; that counts as unknown, and the referral stops."
        yield Fault("/safety_facts", "business-rule", text, "warning")

"""What the Consents of one person say about one flow. Pure: `gateway.access.records` finds the Consents and asks here.

A Consent asserted by a party that gains by it widens nothing: it is "claimed" until the receiving organisation has verified it in
its own domain. A refusal or a revocation, wherever it was filed among the linked domains, denies. What cannot be understood
(a modifierExtension, no provision.type) never permits; as a deny it is taken at its widest.
Source: 42 CFR 2.31; FHIR R4 Consent.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final, Literal

from gateway.access.disclosed import ConsentState, VersionedId
from gateway.access.times import span_of
from profiles import namespace

KIND_SYSTEM: Final = namespace.code_system("consent-kind")
PROVIDER_SHARING: Final = "provider-sharing"
STATUS_SHARING: Final = "status-sharing"
EXPIRY_EXTENSION: Final = namespace.structure_definition("consent-expiry")
ENDED: Final = frozenset({"inactive", "rejected"})
RECIPIENT: Final = "IRCP"
DISCLOSER: Final = "CST"


@dataclass(frozen=True, slots=True)
class Flow:
    """kind: of consent that opens it. disclosing, recipient: organisation keys. confirmer: whose verification counts."""

    kind: str
    disclosing: str
    recipient: str
    purpose: str
    confirmer: str


@dataclass(frozen=True, slots=True)
class Filed:
    """A Consent as it stands in one domain. body: the stored resource. filed_by: whose record it was first, for a copy its origin's."""

    version: VersionedId
    domain: str
    last_updated: datetime
    body: Mapping[str, Any] = field(repr=False)
    filed_by: str = ""


def state_of(filed: Iterable[Filed], flow: Flow, now: datetime) -> ConsentState:
    """The state of a flow at a time: a refusal before everything, a revocation before what was given earlier, a claim last.

    What was revoked is opened again only by another Consent, given after the revocation and confirmed like any.
    """
    found: dict[str, list[Filed]] = {}
    for consent in filed:
        if flow.kind in _kinds(consent.body):
            found.setdefault(_word(consent, flow, now), []).append(consent)
    if "denied" in found:
        return ConsentState("denied", found["denied"][0].version)
    revoked = max(found.get("revoked", ()), key=lambda consent: consent.last_updated, default=None)
    confirmed = [consent for consent in found.get("confirmed", ()) if revoked is None or _given_after(consent.body, revoked.last_updated)]
    if confirmed:
        return ConsentState("confirmed", confirmed[0].version)
    if revoked is not None:
        return ConsentState("denied", revoked.version)
    return ConsentState("claimed", found["claimed"][0].version) if "claimed" in found else ConsentState("none")


def changes_of(filed: Iterable[Filed]) -> list[datetime]:
    """The times at which one of these Consents starts or ends, in order."""
    times = set()
    for consent in filed:
        period = _mapping(_mapping(consent.body.get("provision")).get("period"))
        start, end = span_of(str(period.get("start"))), span_of(str(period.get("end")))
        given = span_of(str(consent.body.get("dateTime")))
        spans = (start[0] if start else None, end[1] if end else None, given[0] if given else None)
        times |= {span for span in spans if span is not None}
    return sorted(times)


def _word(consent: Filed, flow: Flow, now: datetime) -> Literal["none", "claimed", "confirmed", "revoked", "denied"]:
    body, status = consent.body, consent.body.get("status")
    provision = _mapping(body.get("provision"))
    denies = _denies(provision, flow.recipient)
    if status in ENDED:
        if provision.get("type") == "deny":
            return "none"  # a withdrawn refusal refuses no more
        return "revoked" if denies or _is_about(provision, flow.recipient) else "none"
    if status != "active":
        return "none"
    if denies:
        return "denied" if _covers(provision, now) else "none"
    if provision.get("type") == "deny" or not _covers(provision, now):
        return "none"
    return "confirmed" if _is_confirmed(consent, flow, now) else "claimed"


def _is_about(provision: Mapping[str, Any], recipient: str) -> bool:
    """Whether an ended permit was about this recipient; one that names nobody we know was about all."""
    keys = {organization_key(actor.get("reference")) for actor in _actors(provision, RECIPIENT)}
    return not keys or recipient in keys or None in keys


def _given_after(consent: Mapping[str, Any], at: datetime) -> bool:
    """Whether a Consent was given after a time; a date alone counts from its beginning."""
    given = span_of(str(consent.get("dateTime")))
    return given is not None and given[0] >= at


def _denies(provision: Mapping[str, Any], recipient: str) -> bool:
    """Whether a provision, or one below it, refuses this recipient; a deny that names nobody we know refuses all."""
    if provision.get("type") == "deny":
        named = _actors(provision, RECIPIENT)
        keys = {organization_key(actor.get("reference")) for actor in named}
        if not named or recipient in keys or None in keys:
            return True
    nested = provision.get("provision")
    return isinstance(nested, list) and any(_denies(_mapping(child), recipient) for child in nested)


def _is_confirmed(consent: Filed, flow: Flow, now: datetime) -> bool:
    body = consent.body
    given = span_of(str(body.get("dateTime")))
    provision = _mapping(body.get("provision"))
    recipients = {organization_key(actor.get("reference")) for actor in _actors(provision, RECIPIENT)}
    return (
        consent.domain == flow.confirmer
        and any(_mapping(entry).get("verified") is True for entry in _list(body.get("verification")))
        and provision.get("type") == "permit"
        and given is not None
        and given[0] <= now
        and not _has_modifier(body)
        and flow.disclosing in disclosers(consent)
        and flow.recipient in recipients
        and flow.purpose in {_mapping(coding).get("code") for coding in _list(provision.get("purpose"))}
        and not missing_elements(body)
    )


def disclosers(consent: Filed) -> frozenset[str]:
    """The organisations a Consent names as disclosing; where it names none that is known, the domain it was filed in."""
    named = [organization_key(reference) for reference in _list(consent.body.get("organization"))]
    named += [organization_key(actor.get("reference")) for actor in _actors(_mapping(consent.body.get("provision")), DISCLOSER)]
    keys = frozenset(key for key in named if key is not None)
    return keys or frozenset({consent.filed_by or consent.domain})


def missing_elements(consent: Mapping[str, Any]) -> list[str]:
    """Which of the ten elements of 42 CFR 2.31(a) a Consent lacks, in the order of the law; empty when it is complete."""
    provision = _mapping(consent.get("provision"))
    policies = [_mapping(policy) for policy in _list(consent.get("policy"))]
    has_policy = any(policy.get("uri") for policy in policies)
    attached = _mapping(consent.get("sourceAttachment"))  # a title alone is no signature
    has_source = any(attached.get(name) for name in ("data", "url", "hash")) or _names(consent.get("sourceReference"))
    ends = _mapping(provision.get("period")).get("end")
    expires = any(_mapping(extension).get("url") == EXPIRY_EXTENSION for extension in _list(consent.get("extension")))
    present = {
        "patient": _names(consent.get("patient")),
        "discloser": any(_names(reference) for reference in _list(consent.get("organization")))
        or any(_names(actor.get("reference")) for actor in _actors(provision, DISCLOSER)),
        "information": any(provision.get(name) for name in ("class", "securityLabel", "code", "dataPeriod", "data")),
        "recipient": any(_names(actor.get("reference")) for actor in _actors(provision, RECIPIENT)),
        "purpose": bool(provision.get("purpose")),
        "right to revoke": has_policy or bool(consent.get("policyRule")),
        "expiry": bool(ends) or expires,
        "signature": has_source,
        "date signed": bool(consent.get("dateTime")),
        "consequences and redisclosure": has_policy,
    }
    return [name for name, is_there in present.items() if not is_there]


def organization_key(reference: Any) -> str | None:
    """The organisation a reference names, or None for a class, a display alone or a stranger."""
    address = _mapping(reference).get("reference")
    if isinstance(address, str) and address.startswith("Organization/"):
        return address.removeprefix("Organization/").partition("/")[0]
    return None


def carried_over(stored: Mapping[str, Any], renewed: dict[str, Any]) -> dict[str, Any]:
    """A copy of a Consent renewed from its origin: what its receiver verified stays only while the terms stay the same.

    An ended Consent stays ended: only a new one can open again what a person has closed.
    """
    carried = {name: value for name, value in renewed.items() if name != "verification"}
    if stored.get("verification") and _terms(stored) == _terms(renewed):
        carried["verification"] = stored["verification"]
    return ended_stays_ended(stored, carried)


def ended_stays_ended(stored: Mapping[str, Any], renewed: dict[str, Any]) -> dict[str, Any]:
    """The renewed Consent with the stored status where that had ended it; a refusal is never ended by what stood there before."""
    permits = "deny" not in (_mapping(each.get("provision")).get("type") for each in (stored, renewed))
    if stored.get("status") in ENDED and permits and renewed.get("status") not in ENDED:
        return {**renewed, "status": stored["status"]}
    return renewed


def _terms(consent: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in consent.items() if name not in ("id", "meta", "identifier", "status", "verification")}


def _kinds(consent: Mapping[str, Any]) -> frozenset[str]:
    return frozenset(
        str(_mapping(coding).get("code"))
        for category in _list(consent.get("category"))
        for coding in _list(_mapping(category).get("coding"))
        if _mapping(coding).get("system") == KIND_SYSTEM
    )


def _covers(provision: Mapping[str, Any], now: datetime) -> bool:
    """Whether now lies in provision.period; a period that cannot be read covers nothing."""
    period = _mapping(provision.get("period"))
    for name in ("start", "end"):
        if period.get(name) is None:
            continue
        span = span_of(str(period[name]))
        if span is None or (now < span[0] if name == "start" else now >= span[1]):
            return False
    return True


def _actors(provision: Mapping[str, Any], role: str) -> Sequence[Mapping[str, Any]]:
    return [
        _mapping(actor)
        for actor in _list(provision.get("actor"))
        if role in {_mapping(coding).get("code") for coding in _list(_mapping(_mapping(actor).get("role")).get("coding"))}
    ]


def _names(reference: Any) -> bool:
    named = _mapping(reference)
    return any(named.get(name) for name in ("reference", "identifier", "display"))


def _has_modifier(value: Any) -> bool:
    if isinstance(value, Mapping):
        return "modifierExtension" in value or any(_has_modifier(child) for child in value.values())
    return isinstance(value, list) and any(_has_modifier(child) for child in value)


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []

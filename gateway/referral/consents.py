"""The receiver's word on a Consent: it confirms what the officer only claimed, takes that back, or ends the Consent.

The one write a receiver may make to a copy. It is its own record of what it has seen: a signed form, or the person.
"""

from __future__ import annotations

from typing import Any, Final

from gateway.access import records
from gateway.access.disclosed import Disclosed
from gateway.errors import Invalid
from gateway.fhir.conditional import require_match
from gateway.fhir.patch import apply_patch
from gateway.oauth.context import Caller
from gateway.referral import ledger as ledgers
from gateway.referral.after_consent import follow_consent
from gateway.referral.merge import require_no_modifier, taken_over
from gateway.referral.protocol import protocol_for
from gateway.referral.tasks import instant
from gateway.services import Services
from gateway.store import referrals
from gateway.store.database import Unit
from profiles.issues import Issue

CHANGEABLE: Final = frozenset({"verification", "status"})


def patch_consent(services: Services, caller: Caller, consent_id: str, patch: list[Any], if_match: str | None) -> Disclosed:
    """JSON Patch of `verification`, or of `status` from active to inactive.

    Raises NotFound, PreconditionMissing, VersionConflict, Malformed, Invalid.
    """

    def work(unit: Unit) -> Disclosed:
        seen = records.require(unit, caller, "Consent", consent_id)
        affected = records.referrals_of_person(unit, seen)
        for referral_id in affected:  # lock order: ids are time-ordered and sorted, so that two patches cannot deadlock
            referral = referrals.find_referral(unit, referral_id)
            if referral is not None:
                ledgers.lock(unit, referral_id, protocol_for(referral.format))
        held = records.require(unit, caller, "Consent", consent_id)
        require_match(if_match, held.version)
        served = records.served_to(unit, caller, held)
        wanted = apply_patch(served, patch)
        _require_only_verification(served, wanted)
        consent = _merged(held.body, served, wanted)
        _require_valid(services, consent)
        written = held if consent == held.body else records.replace(unit, held, _stamped(held.body, consent, unit))
        for referral_id in affected:
            follow_consent(unit, referral_id, actor=caller.client_id)
        return records.disclose_written(unit, caller, written)

    return services.database.write(work)


def _require_only_verification(served: dict[str, Any], wanted: dict[str, Any]) -> None:
    require_no_modifier(wanted)
    names = {*served, *wanted} - CHANGEABLE
    faults = [
        Issue("error", "business-rule", "Only verification, and status to inactive, are the receiver's to change.", (f"Consent.{name}",))
        for name in sorted(names)
        if served.get(name) != wanted.get(name)
    ]
    old, new = served.get("status"), wanted.get("status")
    if old != new and (old, new) != ("active", "inactive"):
        faults.append(Issue("error", "business-rule", "A Consent's status may only go from active to inactive.", ("Consent.status",)))
    if faults:
        raise Invalid(faults)


def _merged(stored: dict[str, Any], served: dict[str, Any], wanted: dict[str, Any]) -> dict[str, Any]:
    """The stored Consent with what the receiver may change of it."""
    taken = {name: taken_over(stored.get(name), served.get(name), wanted.get(name)) for name in sorted(CHANGEABLE)}
    rest = {name: value for name, value in stored.items() if taken.get(name, value) is not None}
    return rest | {name: value for name, value in taken.items() if value is not None}


def _require_valid(services: Services, consent: dict[str, Any]) -> None:
    faults = [issue for issue in services.validator.validate(consent) if issue.severity == "error"]
    if faults:
        raise Invalid(faults)


def _stamped(stored: dict[str, Any], consent: dict[str, Any], unit: Unit) -> dict[str, Any]:
    """A verification without a date gets the date it was received on (Consent.verification.verificationDate)."""
    before = stored.get("verification") or []
    stamped = [
        {**entry, "verificationDate": instant(unit.now)}
        if entry.get("verified") and "verificationDate" not in entry and entry not in before
        else entry
        for entry in consent.get("verification") or []
    ]
    return {**consent, "verification": stamped} if stamped else consent

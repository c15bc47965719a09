"""What a referral does when a Consent of its person changed: an offer that may no longer be told of ends at once."""

from __future__ import annotations

from gateway.access import records
from gateway.referral import ledger as ledgers
from gateway.referral.copies import PURPOSE
from gateway.referral.offers import GATEWAY, ask_next, end_offer
from gateway.referral.protocol import protocol_for
from gateway.referral.roll_up import roll_up
from gateway.referral.sender_view import refresh_view
from gateway.store import referrals, registry
from gateway.store.database import Unit


def follow_consent(unit: Unit, referral_id: str, *, actor: str) -> None:
    """End the open offers whose receiver may not have the Patient any more, and refresh what the sender reads.

    The caller holds the referral's lock. An accepted referral stays where it is: its holder has met the person.
    """
    referral = referrals.find_referral(unit, referral_id)
    if referral is None:
        return
    patient = next((part for part in referrals.parts_of(unit, referral_id) if part.name == "patient"), None)
    held = records.hold(unit, "Patient", patient.resource_id) if patient else None
    ledger = ledgers.lock(unit, referral_id, protocol_for(referral.format))
    ended = False
    for offer in referrals.offers_of(unit, referral_id):
        organization = registry.find_organization(unit, offer.receiver)
        if offer.state != "open" or organization is None or held is None:
            continue
        if records.redact_for(unit, held, organization, PURPOSE) is None:
            end_offer(unit, ledger, offer, "revoked", actor=GATEWAY if actor == "" else actor, authority="consent")
            ended = True
    if ended:
        ask_next(unit, referral_id)
    roll_up(unit, referral_id)
    refresh_view(unit, referral_id)

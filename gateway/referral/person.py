"""One person, several referrals of one sender: what a message changes of the person reaches every one of them.

Whoever changes the person first locks all of these referrals, in the order of their ids, so that two of them cannot wait for
each other.
"""

from __future__ import annotations

from gateway.access import records
from gateway.referral import ledger as ledgers
from gateway.referral.after_consent import follow_consent
from gateway.referral.copies import Receiver, write_copies
from gateway.referral.offers import DELIVER
from gateway.referral.protocol import protocol_for
from gateway.store import outbox, referrals, registry
from gateway.store.database import Unit
from gateway.store.referrals import Referral

ALIVE = ("open", "accepted")


def lock_with_others(unit: Unit, referral: Referral) -> list[str]:
    """Lock a referral and every other live one of its person; returns the ids of the others."""
    others = _others(unit, referral)
    for referral_id in sorted([referral.id, *others]):
        found = referral if referral_id == referral.id else referrals.find_referral(unit, referral_id)
        if found is not None:
            ledgers.lock(unit, referral_id, protocol_for(found.format))
    return others


def follow_person(unit: Unit, referral: Referral, others: list[str], *, actor: str) -> None:
    """After the person's record or Consents changed: renew the Patient's copies of the other referrals, end offers it may close.

    others: what `lock_with_others` locked.
    """
    patient = next((part for part in referrals.parts_of(unit, referral.id) if part.name == "patient"), None)
    origin = records.hold(unit, "Patient", patient.resource_id) if patient else None
    for other_id in others:
        for offer in referrals.offers_of(unit, other_id):
            organization = registry.find_organization(unit, offer.receiver)
            if offer.state not in ALIVE or organization is None or origin is None:
                continue
            before = records.hold_copy(unit, origin.id, organization.key)
            copies = write_copies(unit, [origin], Receiver(organization, offer.placer, offer.service), other_id)
            now = copies.get(origin.reference)
            if organization.channel is not None and now is not None and (before is None or before.version != now.version):
                outbox.enqueue(unit, DELIVER, organization.key, offer.task_id)
        follow_consent(unit, other_id, actor=actor)


def _others(unit: Unit, referral: Referral) -> list[str]:
    patient = next((part for part in referrals.parts_of(unit, referral.id) if part.name == "patient"), None)
    if patient is None:
        return []
    found = []
    for other_id in referrals.referrals_with_resource(unit, patient.resource_id):
        other = referrals.find_referral(unit, other_id) if other_id != referral.id else None
        if other is not None and other.phase in ALIVE:
            found.append(other_id)
    return found

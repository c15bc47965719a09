"""A newer version of a message the gateway knows: what it changes depends on how far the referral has come.

Before acceptance routing is redone; after it the copies are replaced and the holder is told, and nothing is re-routed;
after the close it is kept only; after `returned` it begins a new round.
"""

from __future__ import annotations

import json

import structlog

from gateway.access import records
from gateway.oauth.context import Caller
from gateway.referral import ledger as ledgers
from gateway.referral.after_consent import follow_consent
from gateway.referral.copies import Receiver, write_copies
from gateway.referral.ledger import LockedLedger
from gateway.referral.offers import CLOSE, DELIVER, GATEWAY, ask_next, end_offer, origins_of
from gateway.referral.protocol import Protocol, protocol_for
from gateway.referral.roll_up import roll_up
from gateway.referral.routing import RoutingDecision, decide, next_step
from gateway.referral.sender_record import write_sender_record
from gateway.referral.sender_view import refresh_view
from gateway.referral.tasks import instant
from gateway.services import Services
from gateway.store import outbox, referrals, registry
from gateway.store.database import Unit
from gateway.store.referrals import OfferRow, ReferralRow
from mappings import Mapped

log = structlog.get_logger(__name__)


def take_newer(unit: Unit, services: Services, caller: Caller, referral: ReferralRow, mapped: Mapped, revision: int, issues: str) -> None:
    """Apply a newer version of the sender's message to its referral."""
    del services
    protocol = protocol_for(referral.format)
    ledger = ledgers.lock(unit, referral.id, protocol)
    current = referrals.find_referral(unit, referral.id)
    if current is None or current.phase == "closed" or current.cancelled_at is not None or current.closes_at <= unit.now:
        return  # kept, and changes nothing
    referrals.change_referral(
        unit, referral.id, revision=revision, issues=issues, routing=json.dumps(mapped.routing, default=str, sort_keys=True)
    )
    write_sender_record(unit, current, mapped, protocol)
    decision = decide(protocol, mapped.routing)
    if current.phase == "returned":
        _begin_round(unit, current, protocol, mapped)
        return
    referrals.change_referral(unit, referral.id, next_step=json.dumps(next_step(protocol, mapped.routing, current.entered_at), default=str))
    if current.phase == "open":
        _route_again(unit, ledger, current, decision)
    else:
        _tell_holder(unit, current, decision)
    renew_other_copies(unit, current)
    follow_consent(unit, referral.id, actor=caller.client_id)


def _begin_round(unit: Unit, referral: ReferralRow, protocol: Protocol, mapped: Mapped) -> None:
    """The sender asks again after `returned`: the same receipt, a new round with times of its own."""
    referrals.change_referral(
        unit,
        referral.id,
        phase="open",
        round=referral.round + 1,
        returned_at=None,
        entered_at=unit.now,
        final_at=unit.now + protocol.final_after,
        closes_at=unit.now + protocol.sender_closes_after,
        next_step=json.dumps(next_step(protocol, mapped.routing, unit.now), default=str),
    )
    outbox.enqueue(unit, CLOSE, GATEWAY, referral.id, due_at=unit.now + protocol.sender_closes_after)
    roll_up(unit, referral.id)
    refresh_view(unit, referral.id)
    ask_next(unit, referral.id)


def _route_again(unit: Unit, ledger: LockedLedger, referral: ReferralRow, decision: RoutingDecision) -> None:
    """Offers the new decision would not have made end; the others get the newer content."""
    for offer in referrals.offers_of(unit, referral.id):
        if offer.state != "open":
            continue
        if decision.stopped or offer.service not in decision.targets:
            end_offer(unit, ledger, offer, "withdrawn", actor=GATEWAY, authority=decision.rule)
        else:
            _renew(unit, referral, offer)
    ask_next(unit, referral.id)


def _tell_holder(unit: Unit, referral: ReferralRow, decision: RoutingDecision) -> None:
    """After acceptance the holder gets the newer content; a new hard stop is put before it and before a person."""
    for offer in referrals.offers_of(unit, referral.id):
        if offer.state not in ("accepted", "given-back"):
            continue
        _renew(unit, referral, offer)
        if decision.stopped:
            task = records.hold(unit, "Task", offer.task_id)
            if task is not None:
                note = {"time": instant(unit.now), "text": f"The sender now reports a hard stop of the protocol: {decision.rule}."}
                records.replace(unit, task, {**task.body, "note": [*task.body.get("note", []), note], "lastModified": instant(unit.now)})
            log.warning("hard stop after acceptance", referral=referral.id, rule=decision.rule, holder=offer.receiver)


def _renew(unit: Unit, referral: ReferralRow, offer: OfferRow) -> None:
    organization = registry.find_organization(unit, offer.receiver)
    if organization is None:
        return
    write_copies(unit, origins_of(unit, referral), Receiver(organization, offer.placer, offer.service), referral.id)
    records.open_parties(unit, referral.id, organization.key)
    if organization.channel is not None:
        outbox.enqueue(unit, DELIVER, organization.key, offer.task_id)


def renew_other_copies(unit: Unit, referral: ReferralRow) -> None:
    """A Patient is one over a sender's referrals: its copies at receivers of the others are renewed as well."""
    patient = next((part for part in referrals.parts_of(unit, referral.id) if part.name == "patient"), None)
    if patient is None:
        return
    for other_id in referrals.referrals_with_resource(unit, patient.resource_id):
        other = referrals.find_referral(unit, other_id) if other_id != referral.id else None
        if other is None or other.phase not in ("open", "accepted"):
            continue
        origin = records.hold(unit, "Patient", patient.resource_id)
        for offer in referrals.offers_of(unit, other_id):
            organization = registry.find_organization(unit, offer.receiver)
            if offer.state in ("open", "accepted") and organization is not None and origin is not None:
                write_copies(unit, [origin], Receiver(organization, offer.placer, offer.service), other_id)
                if organization.channel is not None:
                    outbox.enqueue(unit, DELIVER, organization.key, offer.task_id)

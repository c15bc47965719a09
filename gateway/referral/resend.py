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
from gateway.referral.person import follow_person, lock_with_others
from gateway.referral.protocol import Protocol, protocol_for
from gateway.referral.roll_up import roll_up
from gateway.referral.routing import RoutingDecision, decide, next_step
from gateway.referral.sender_record import write_sender_record
from gateway.referral.sender_view import has_come, refresh_view
from gateway.referral.tasks import instant
from gateway.services import Services
from gateway.store import outbox, referrals, registry
from gateway.store.database import Unit
from gateway.store.referrals import Offer, Referral
from mappings import Mapped

log = structlog.get_logger(__name__)


def take_newer(unit: Unit, services: Services, caller: Caller, referral: Referral, mapped: Mapped, revision: int, issues: str) -> None:
    """Apply a newer version of the sender's message to its referral.

    What the sender reads of it, `issues` and `next`, follows the message alone, however far the referral has come unseen.
    """
    del services
    protocol = protocol_for(referral.format)
    others = lock_with_others(unit, referral)
    ledger = ledgers.lock(unit, referral.id, protocol)
    current = referrals.find_referral(unit, referral.id)
    if current is None or current.cancelled_at is not None or current.closes_at <= unit.now:
        return  # the sender's own view is closed: kept, and changes nothing
    asks_anew = current.phase == "returned" and has_come(current.returned_at, unit.now)
    from_then = unit.now if asks_anew else current.entered_at
    referrals.change_referral(
        unit,
        referral.id,
        revision=revision,
        issues=issues,
        routing=json.dumps(mapped.routing, default=str, sort_keys=True),
        next_step=json.dumps(next_step(protocol, mapped.routing, from_then), default=str),
    )
    if current.phase == "closed":
        return  # its holder is done with it: nobody is told, and the sender does not read that
    write_sender_record(unit, current, mapped, protocol)
    decision = decide(protocol, mapped.routing)
    if asks_anew:
        _begin_round(unit, current, protocol)
    elif current.phase == "accepted":
        _tell_holder(unit, current, decision)
    else:
        _route_again(unit, ledger, current, decision)
    follow_person(unit, current, others, actor=caller.client_id)
    follow_consent(unit, referral.id, actor=caller.client_id)


def _begin_round(unit: Unit, referral: Referral, protocol: Protocol) -> None:
    """The sender asks again after `returned`: the same receipt, a new round with times of its own."""
    closes_at = unit.now + protocol.sender_closes_after
    referrals.change_referral(
        unit,
        referral.id,
        phase="open",
        round=referral.round + 1,
        rerouted=False,
        returned_at=None,
        entered_at=unit.now,
        final_at=unit.now + protocol.final_after,
        closes_at=closes_at,
    )
    outbox.enqueue(unit, CLOSE, GATEWAY, referral.id, due_at=closes_at)
    roll_up(unit, referral.id)
    refresh_view(unit, referral.id)
    ask_next(unit, referral.id)


def _route_again(unit: Unit, ledger: LockedLedger, referral: Referral, decision: RoutingDecision) -> None:
    """Offers the new decision would not have made end; the others get the newer content.

    From here on `returned` waits for the final time: said at once, its absence would tell a sender that somebody has accepted.
    """
    referrals.change_referral(unit, referral.id, phase="open", returned_at=None, rerouted=True)
    for offer in referrals.offers_of(unit, referral.id):
        if offer.state != "open":
            continue
        if decision.stopped or offer.service not in decision.targets:
            end_offer(unit, ledger, offer, "withdrawn", actor=GATEWAY, authority=decision.rule)
        else:
            _renew(unit, referral, offer)
    ask_next(unit, referral.id)


def _tell_holder(unit: Unit, referral: Referral, decision: RoutingDecision) -> None:
    """After acceptance the holder gets the newer content; a new hard stop is put before it and before a person."""
    for offer in referrals.offers_of(unit, referral.id):
        if offer.state != "accepted":
            continue
        _renew(unit, referral, offer)
        if decision.stopped:
            task = records.hold(unit, "Task", offer.task_id)
            if task is not None:
                note = {"time": instant(unit.now), "text": f"The sender now reports a hard stop of the protocol: {decision.rule}."}
                records.replace(unit, task, {**task.body, "note": [*task.body.get("note", []), note], "lastModified": instant(unit.now)})
            log.warning("hard stop after acceptance", referral=referral.id, rule=decision.rule, holder=offer.receiver)


def _renew(unit: Unit, referral: Referral, offer: Offer) -> None:
    organization = registry.find_organization(unit, offer.receiver)
    if organization is None:
        return
    write_copies(unit, origins_of(unit, referral), Receiver(organization, offer.placer, offer.service), referral.id)
    records.open_parties(unit, referral.id, organization.key)
    if organization.channel is not None:
        outbox.enqueue(unit, DELIVER, organization.key, offer.task_id)

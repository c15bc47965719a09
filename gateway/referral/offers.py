"""Offers: the disclosure of a referral to one organisation, and every way an offer ends.

An offer is a unit of work of its own, the same code for the first, the next and the fallback target: routing decision,
the receiver's copies, its Task, ledger entry, audit and delivery row commit together. An offer never reopens.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, Final

from gateway.access import records
from gateway.access.disclosed import Disclosed
from gateway.access.records import Held
from gateway.referral import ledger as ledgers
from gateway.referral.copies import Receiver, shared_digest, write_copies
from gateway.referral.ledger import LockedLedger
from gateway.referral.protocol import Protocol, protocol_for
from gateway.referral.roll_up import roll_up
from gateway.referral.routing import RoutingDecision, decide
from gateway.referral.sender_view import refresh_view
from gateway.referral.tasks import child_task, ended
from gateway.services import Services
from gateway.store import outbox, referrals, registry
from gateway.store.database import Unit
from gateway.store.ids import new_id, new_number
from gateway.store.referrals import Offer, Referral
from gateway.store.registry import Organization

OFFER: Final = "offer"
DEADLINE: Final = "deadline"
DELIVER: Final = "deliver"
CLOSE: Final = "close"
RETURN: Final = "return"
GATEWAY: Final = "gateway"
PROVIDER_POSTURES: Final = frozenset({"covered_entity", "business_associate", "part2_program"})
ENDS: Final = {"declined": "decline", "expired": "expire", "withdrawn": "withdraw", "revoked": "revoke"}


def _candidates(unit: Unit, referral: Referral, decision: RoutingDecision) -> Iterator[tuple[str, Organization]]:
    """Organisations still to be asked in this round, in the protocol's order of services."""
    asked = {offer.receiver for offer in referrals.offers_of(unit, referral.id) if offer.round == referral.round}
    for service in decision.targets:
        for organization in registry.organizations_serving(unit, service):
            if organization.key not in asked and organization.key != referral.organization and organization.postures & PROVIDER_POSTURES:
                asked.add(organization.key)
                yield service, organization


def _keep_decision(unit: Unit, referral: Referral, decision: RoutingDecision, chosen: str | None) -> None:
    referrals.keep_decision(
        unit,
        {
            "id": new_id(),
            "referral": referral.id,
            "decided_at": unit.now,
            "rule": decision.rule,
            "protocol": decision.protocol,
            "snapshot": json.dumps(decision.as_json(), sort_keys=True),
            "chosen": chosen,
        },
    )


def _write_offer(unit: Unit, referral: Referral, ledger: LockedLedger, service: str, organization: Organization) -> Offer | None:
    """Copies, Task and rows of one offer; None when this organisation may not be told of the person."""
    receiver = Receiver(organization, new_number(), service)
    copies = write_copies(unit, origins_of(unit, referral), receiver, referral.id)
    parts = {part.name: f"{part.resource_type}/{part.resource_id}" for part in referrals.parts_of(unit, referral.id)}
    patient, request = copies.get(parts["patient"]), copies.get(parts["request"])
    if patient is None or request is None:
        return None
    sender = registry.find_organization(unit, referral.organization)
    assert sender is not None  # noqa: S101 (an organisation with a referral is never deleted)
    encounter = copies.get(parts.get("encounter", ""))
    protocol = ledger.protocol
    accept_by = min(unit.now + protocol.accept_within, referral.final_at)
    task = records.create(
        unit,
        child_task(
            request_address=f"ServiceRequest/{request.id}",
            patient_address=f"Patient/{patient.id}",
            encounter_address=f"Encounter/{encounter.id}" if encounter else None,
            priority=request.body.get("priority", "routine"),
            sender=sender,
            receiver=organization,
            placer=receiver.placer,
            accept_by=accept_by,
            follow_up_by=unit.now + protocol.follow_up_within,
            now=unit.now,
        ),
        domain=organization.key,
        data_class="TASK",
        referral=referral.id,
    )
    offer = Offer(
        id=new_id(),
        referral=referral.id,
        round=referral.round,
        receiver=organization.key,
        service=service,
        task_id=task.id,
        placer=receiver.placer,
        state="open",
        offered_at=unit.now,
        accept_by=accept_by,
    )
    referrals.add_offer(unit, offer)
    ledgers.append(
        unit,
        ledger,
        "offer",
        from_organization=ledger.standing.holder or "",
        to_organization=organization.key,
        actor=GATEWAY,
        authority=service,
        offer=offer.id,
        shared_sha256=shared_digest([*copies.values(), task]),
        labels=tuple(sorted({held.data_class for held in copies.values()})),
    )
    records.open_parties(unit, referral.id, organization.key)
    records.grant_organization(unit, referral.organization, organization.key)
    records.audit_offer(unit, referral.id, organization, [*copies.values(), task])
    return offer


def origins_of(unit: Unit, referral: Referral) -> list[Held]:
    """The sender's resources of this referral, without the parent Task."""
    ids = [part.resource_id for part in referrals.parts_of(unit, referral.id) if part.name != "task"]
    return list(records.hold_each(unit, ids).values())


def make_offers(unit: Unit, services: Services, referral_id: str) -> None:
    """The job "offer": ask the next organisation, or give the referral back when none is left.

    Does nothing where the referral was accepted, cancelled or closed meanwhile.
    """
    del services
    referral = referrals.find_referral(unit, referral_id)
    if referral is None:
        return
    ledger = ledgers.lock(unit, referral_id, protocol_for(referral.format))
    referral = referrals.find_referral(unit, referral_id)
    if referral is None or referral.phase != "open":
        return
    decision = decide(ledger.protocol, json.loads(referral.routing))
    open_count = len(ledger.standing.open_offers)
    candidates = _candidates(unit, referral, decision) if unit.now < referral.final_at and not decision.stopped else iter(())
    for service, organization in candidates:
        if open_count >= ledger.protocol.offers_at_once:
            break
        offer = _write_offer(unit, referral, ledger, service, organization)
        _keep_decision(unit, referral, decision, organization.key if offer else None)
        if offer is None:
            continue
        open_count += 1
        outbox.enqueue(unit, DEADLINE, GATEWAY, offer.id, due_at=offer.accept_by)
        if organization.channel is not None:
            outbox.enqueue(unit, DELIVER, organization.key, offer.task_id)
    if open_count == 0:
        _keep_decision(unit, referral, decision, None)
        give_back_to_sender(unit, referral)


def give_back_to_sender(unit: Unit, referral: Referral) -> None:
    """Nobody took it: the sender, who held it all along, reads `returned`, at once or where it asked anew at the final time."""
    at = max(unit.now, referral.final_at) if referral.rerouted else unit.now
    referrals.change_referral(unit, referral.id, phase="returned", returned_at=at)
    if at > unit.now:
        outbox.enqueue(unit, RETURN, GATEWAY, referral.id, due_at=at)
    roll_up(unit, referral.id)
    refresh_view(unit, referral.id)


def say_returned(unit: Unit, services: Services, referral_id: str) -> None:
    """The job "return": the time has come at which the sender reads that nobody took its referral."""
    del services
    referral = referrals.find_referral(unit, referral_id)
    if referral is not None:
        ledgers.lock(unit, referral_id, protocol_for(referral.format))
        roll_up(unit, referral_id)
        refresh_view(unit, referral_id)


def end_offer(
    unit: Unit, ledger: LockedLedger, offer: Offer, state: str, *, actor: str, authority: str, task: dict[str, Any] | None = None
) -> Held:
    """End an open offer without acceptance: ledger, Task, access and delivery in one.

    state: declined, expired, withdrawn or revoked. task: the Task's content before it is stripped (default: as stored);
    its status becomes rejected for a decline and cancelled otherwise. Returns the Task as it now is.
    """
    holder = ledger.standing.holder or ""
    said_by, said_to = (offer.receiver, holder) if state == "declined" else (holder, offer.receiver)
    ledgers.append(
        unit, ledger, ENDS[state], from_organization=said_by, to_organization=said_to, actor=actor, authority=authority, offer=offer.id
    )
    referrals.change_offer(unit, offer.id, state=state, ended_at=unit.now)
    outbox.cancel_due(unit, DEADLINE, GATEWAY, offer.id)
    held = records.hold(unit, "Task", offer.task_id)
    assert held is not None  # noqa: S101 (an offer and its Task commit together)
    stripped = ended(task if task is not None else held.body, "rejected" if state == "declined" else "cancelled", unit.now)
    replaced = records.replace(unit, held, stripped)
    records.close_parties(unit, ledger.referral, offer.receiver)
    if outbox.drop(unit, DELIVER, offer.receiver, offer.task_id) == "sent" and state != "declined":
        outbox.enqueue(unit, DELIVER, offer.receiver, offer.task_id)  # it has it already: let it read the cancel
    return replaced


def end_open_offers(unit: Unit, ledger: LockedLedger, state: str, *, actor: str, authority: str, but: str = "") -> None:
    """End every open offer of a referral (but one)."""
    for offer in referrals.offers_of(unit, ledger.referral):
        if offer.state == "open" and offer.id != but:
            end_offer(unit, ledger, offer, state, actor=actor, authority=authority)


def expire_offer(unit: Unit, services: Services, offer_id: str) -> None:
    """The job "deadline": an offer nobody answered ends, and the next organisation is asked."""
    del services
    offer = referrals.find_offer(unit, offer_id)
    referral = referrals.find_referral(unit, offer.referral) if offer else None
    if offer is None or referral is None:
        return
    ledger = ledgers.lock(unit, referral.id, protocol_for(referral.format))
    offer = referrals.find_offer(unit, offer_id)
    if offer is None or offer.state != "open":
        return  # an answer came first and holds
    if unit.now < offer.accept_by:
        outbox.enqueue(unit, DEADLINE, GATEWAY, offer_id, due_at=offer.accept_by)
        return
    end_offer(unit, ledger, offer, "expired", actor=GATEWAY, authority="accept-by")
    ask_next(unit, referral.id)


def ask_next(unit: Unit, referral_id: str) -> None:
    """Queue the job that makes the next offer."""
    outbox.enqueue(unit, OFFER, GATEWAY, referral_id)


def prepare_delivery(unit: Unit, services: Services, task_id: str, receiver: str) -> Disclosed | None:
    """Decide again, at sending time, what of an offer leaves towards its receiver; None when nothing does any more.

    The body is {"mode": "create" | "update", "resources": [...]}. An ended offer leaves as its bare Task, to those who had it.
    """
    del services
    offer = referrals.offer_of_task(unit, task_id)
    organization = registry.find_organization(unit, receiver)
    if offer is None or organization is None or offer.receiver != receiver:
        return None
    referral = referrals.find_referral(unit, offer.referral)
    if referral is None:
        return None
    lock_for_delivery(unit, referral, protocol_for(referral.format))
    offer = referrals.offer_of_task(unit, task_id)
    task = records.hold(unit, "Task", task_id)
    if offer is None or task is None:
        return None
    if offer.state in ("open", "accepted", "completed"):
        copies = records.hold_copies(unit, [held.id for held in origins_of(unit, referral)], receiver)
        helds = [*copies.values(), task]
    else:
        helds = [task]
    try:
        return records.disclose_bundle(unit, helds, organization, "TREAT", event="deliver", referral=referral.id, required=task)
    except records.Withheld:
        return None


def lock_for_delivery(unit: Unit, referral: Referral, protocol: Protocol) -> None:
    """Order a sending after every move of the referral that commits before it."""
    ledgers.lock(unit, referral.id, protocol)

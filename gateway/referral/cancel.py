"""The sender takes its referral back: the same answer in every state, whoever may hold it."""

from __future__ import annotations

from gateway.access import records
from gateway.access.disclosed import Disclosed
from gateway.errors import NotFound
from gateway.oauth.context import Caller
from gateway.referral import ledger as ledgers
from gateway.referral.ledger import LockedLedger
from gateway.referral.offers import DELIVER, GATEWAY, OFFER, end_open_offers
from gateway.referral.protocol import protocol_for
from gateway.referral.roll_up import roll_up
from gateway.referral.sender_view import disclose, refresh_view
from gateway.referral.tasks import with_business_status
from gateway.services import Services
from gateway.store import outbox, referrals, registry
from gateway.store.database import Unit
from gateway.store.referrals import Referral


def cancel(services: Services, caller: Caller, receipt: str) -> Disclosed:
    """Answer `POST /referrals/<receipt>/cancel`: 200 `closed` in every state.

    Before acceptance the offers end and the ledger closes; after it the holder is asked to stop. Raises NotFound.
    """

    def work(unit: Unit) -> Disclosed:
        referral = referrals.find_by_receipt(unit, receipt, caller.organization)
        if referral is None:
            raise NotFound
        ledger = ledgers.lock(unit, referral.id, protocol_for(referral.format))
        referral = referrals.find_by_receipt(unit, receipt, caller.organization)
        if referral is None:
            raise NotFound
        if referral.cancelled_at is None:
            _cancel(unit, caller, ledger, referral)
            referral = referrals.find_by_receipt(unit, receipt, caller.organization) or referral
        return disclose(unit, referral, caller, event="cancel")

    return services.database.write(work)


def _cancel(unit: Unit, caller: Caller, ledger: LockedLedger, referral: Referral) -> None:
    referrals.change_referral(unit, referral.id, cancelled_at=unit.now)
    if referral.phase in ("open", "returned"):
        end_open_offers(unit, ledger, "withdrawn", actor=caller.client_id, authority="sender-cancel")
        outbox.cancel_due(unit, OFFER, GATEWAY, referral.id)
        ledgers.append(
            unit,
            ledger,
            "close",
            from_organization=referral.organization,
            to_organization=referral.organization,
            actor=caller.client_id,
            authority="sender-cancel",
            outcome="withdrawn-by-sender",
        )
        referrals.change_referral(unit, referral.id, phase="closed", closed_at=unit.now)
    elif referral.phase == "accepted":
        _ask_holder(unit, caller, ledger, referral)
    roll_up(unit, referral.id)
    refresh_view(unit, referral.id)


def _ask_holder(unit: Unit, caller: Caller, ledger: LockedLedger, referral: Referral) -> None:
    """After acceptance a cancel is a request: started work is the holder's to stop (BSeR 5.2, COW abort)."""
    holder = ledger.standing.holder or ""
    ledgers.append(
        unit,
        ledger,
        "cancel-request",
        from_organization=referral.organization,
        to_organization=holder,
        actor=caller.client_id,
        authority="sender-cancel",
    )
    if holder == ledger.protocol.fallback_owner:
        _close_with_coordinator(unit, ledger, referral)
        return
    for offer in referrals.offers_of(unit, referral.id):
        held = records.hold(unit, "Task", offer.task_id) if offer.state == "accepted" else None
        organization = registry.find_organization(unit, offer.receiver)
        if held is None or organization is None:
            continue
        records.replace(
            unit, held, with_business_status(held.body, "cancellation-requested", "Cancellation requested", unit.now, bser="5.2")
        )
        if organization.channel is not None:
            outbox.enqueue(unit, DELIVER, organization.key, offer.task_id)


def _close_with_coordinator(unit: Unit, ledger: LockedLedger, referral: Referral) -> None:
    """What was given back to the protocol's fallback owner has nobody else who could confirm a cancel."""
    holder = ledger.protocol.fallback_owner
    ledgers.append(
        unit,
        ledger,
        "close",
        from_organization=holder,
        to_organization=holder,
        actor=GATEWAY,
        authority="cancel-confirmed",
        outcome="withdrawn-by-sender",
    )
    referrals.change_referral(unit, referral.id, phase="closed", closed_at=unit.now)

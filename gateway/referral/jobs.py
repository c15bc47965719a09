"""The jobs the worker runs, by kind: each one function of this layer, each in a unit that also finishes its row."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from gateway.access.disclosed import Disclosed
from gateway.referral import ledger as ledgers
from gateway.referral.offers import CLOSE, DEADLINE, DELIVER, OFFER, RETURN, expire_offer, make_offers, prepare_delivery, say_returned
from gateway.referral.protocol import protocol_for
from gateway.referral.roll_up import roll_up
from gateway.referral.sender_view import CALLBACK, prepare_callback, refresh_view
from gateway.services import Services
from gateway.store import outbox, referrals
from gateway.store.database import Unit

Job = Callable[[Unit, Services, str], None]
Preparation = Callable[[Unit, Services, str, str], Disclosed | None]


def close_view(unit: Unit, services: Services, referral_id: str) -> None:
    """The job "close": the sender's view says `closed` once the protocol's fixed time has passed.

    A referral that nobody took by then ends with its sender; one that was accepted goes on with its holder, unseen.
    """
    del services
    referral = referrals.find_referral(unit, referral_id)
    if referral is None:
        return
    ledger = ledgers.lock(unit, referral_id, protocol_for(referral.format))
    referral = referrals.find_referral(unit, referral_id)
    if referral is None:
        return
    if unit.now < referral.closes_at:
        outbox.enqueue(unit, CLOSE, "gateway", referral_id, due_at=referral.closes_at)
        return
    if referral.phase == "returned":
        ledgers.append(
            unit,
            ledger,
            "close",
            from_organization=referral.organization,
            to_organization=referral.organization,
            actor="gateway",
            authority="sender-closes-after",
            outcome="not-placed",
        )
        referrals.change_referral(unit, referral_id, phase="closed", closed_at=unit.now)
    roll_up(unit, referral_id)
    refresh_view(unit, referral_id)


JOBS: Final[Mapping[str, Job]] = {OFFER: make_offers, DEADLINE: expire_offer, RETURN: say_returned, CLOSE: close_view}
PREPARATIONS: Final[Mapping[str, Preparation]] = {DELIVER: prepare_delivery, CALLBACK: prepare_callback}

"""The parent Task, which holds only what its sender may read: children's progress rolled up, or the word of its view.

Rules: completed if a child is completed and none is open; in-progress, accepted if any is; requested while any is
asked or to be asked; rejected if all declined; failed otherwise.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from gateway.access import records
from gateway.access.disclosed import ViewPermit
from gateway.errors import NotFound
from gateway.referral.sender_view import permit_of, word_of
from gateway.referral.tasks import instant, with_business_status
from gateway.store import referrals
from gateway.store.database import Unit
from gateway.store.referrals import Referral

OPEN_STATUSES = frozenset({"requested", "accepted", "in-progress", "on-hold"})


def rolled_up(children: Sequence[str], *, still_asking: bool) -> str:
    """The parent's status from its children's statuses.

    children: Task.status of every offer made; still_asking: whether the next organisation is yet to be asked.
    """
    present = set(children)
    if "completed" in present and not present & OPEN_STATUSES:
        return "completed"
    for status in ("in-progress", "on-hold", "accepted"):
        if status in present:
            return status
    if "requested" in present or still_asking or not present:
        return "requested"
    return "rejected" if present <= {"rejected", "cancelled"} and "rejected" in present else "failed"


def _children(unit: Unit, referral_id: str) -> list[str]:
    found = []
    for offer in referrals.offers_of(unit, referral_id):
        held = records.hold(unit, "Task", offer.task_id)
        if held is not None:
            found.append(str(held.body["status"]))
    return found


def _wanted(unit: Unit, referral: Referral, task: dict[str, Any], permit: ViewPermit) -> dict[str, Any]:
    word, _ = word_of(referral, permit, unit.now)
    if referral.cancelled_at is not None:
        return {**task, "status": "cancelled"}
    if permit.words == "task":
        return {**task, "status": rolled_up(_children(unit, referral.id), still_asking=referral.phase in ("open", "returned"))}
    changed = with_business_status({**task, "status": "requested"}, word, word, unit.now)
    return changed if word != "received" or "businessStatus" in task else task


def roll_up(unit: Unit, referral_id: str) -> None:
    """Write the parent Task if what its sender may read of it has changed."""
    referral = referrals.find_referral(unit, referral_id)
    if referral is None:
        raise NotFound
    part = next((part for part in referrals.parts_of(unit, referral_id) if part.name == "task"), None)
    held = records.hold(unit, "Task", part.resource_id) if part else None
    if held is None:
        return
    wanted = _wanted(unit, referral, dict(held.body), permit_of(unit, referral))
    if {**wanted, "lastModified": None} != {**held.body, "lastModified": None}:
        records.replace(unit, held, {**wanted, "lastModified": instant(unit.now)})

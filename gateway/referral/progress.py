"""What a receiver does with its Task: accept, decline, report, complete. One unit of work each, under the referral's lock.

An update is read against what its caller is served, never against what is stored: what it cannot see it can neither test, copy
nor write away. Only the owner's elements are taken; whatever else differs from what was served is refused.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, Final

from gateway.access import records
from gateway.access.disclosed import Disclosed
from gateway.access.records import Held
from gateway.access.redaction import cut_criminal_history
from gateway.errors import Invalid, Malformed, NotFound
from gateway.fhir.conditional import require_match
from gateway.fhir.patch import apply_patch
from gateway.oauth.context import Caller
from gateway.referral import ledger as ledgers
from gateway.referral.ledger import LockedLedger
from gateway.referral.merge import require_no_modifier, taken_over
from gateway.referral.offers import DEADLINE, GATEWAY, ask_next, end_offer, end_open_offers
from gateway.referral.protocol import protocol_for
from gateway.referral.roll_up import roll_up
from gateway.referral.sender_view import refresh_view
from gateway.referral.states import OWNER, StateTable, has_outcome, milestones_in, state_table
from gateway.referral.tasks import instant
from gateway.services import Services
from gateway.store import outbox, referrals
from gateway.store.database import Unit
from gateway.store.referrals import Offer, Referral
from profiles.issues import Issue

MILESTONE_COLUMNS: Final = {
    "en-route": "en_route_at",
    "on-scene": "on_scene_at",
    "contact-made": "contact_made_at",
    "engaged": "engaged_at",
    "not-engaged": "not_engaged_at",
}
ACKNOWLEDGING: Final = frozenset({"received"})
RECEIVED: Final = "received"
SERVER_ELEMENTS: Final = frozenset({"id", "meta", "lastModified"})

Change = Callable[[dict[str, Any]], dict[str, Any]]


def update_task(services: Services, caller: Caller, task_id: str, task: dict[str, Any], if_match: str | None) -> Disclosed:
    """PUT: take the owner's elements of a whole Task.

    The body names its id (R4 http, 3.1.0.7). Raises NotFound, PreconditionMissing, VersionConflict, Malformed, Invalid,
    IllegalTransition.
    """
    if task.get("resourceType") != "Task" or task.get("id") != task_id:
        raise Malformed((Issue("error", "structure", "The body is not the Task of this address.", ("Task.id",)),))
    issues = services.validator.validate(task)
    return _change(services, caller, task_id, if_match, lambda _served: task, issues)


def patch_task(services: Services, caller: Caller, task_id: str, patch: list[Any], if_match: str | None) -> Disclosed:
    """JSON Patch (RFC 6902) over the Task as served; the same rules as PUT."""
    return _change(services, caller, task_id, if_match, lambda served: apply_patch(served, patch), [])


def _change(services: Services, caller: Caller, task_id: str, if_match: str | None, change: Change, issues: list[Issue]) -> Disclosed:
    def work(unit: Unit) -> Disclosed:
        offer = referrals.offer_of_task(unit, task_id)
        referral = referrals.find_referral(unit, offer.referral) if offer else None
        if offer is None or referral is None:
            raise NotFound
        ledger = ledgers.lock(unit, referral.id, protocol_for(referral.format))
        held = records.require(unit, caller, "Task", task_id)
        require_match(if_match, held.version)
        if any(issue.severity == "error" for issue in issues):
            raise Invalid(issues)
        offer, referral = _again(unit, task_id)
        served = records.served_to(unit, caller, held)
        wanted = change(served)
        task = _merge(held.body, served, wanted, services)
        if wanted.get("status") in ACKNOWLEDGING and held.body["status"] == "requested":
            _acknowledge_once(unit, caller, ledger, offer)
        written = _move(unit, caller, ledger, referral, offer, held, task)
        return records.disclose_written(unit, caller, written)

    return services.database.write(work)


def _again(unit: Unit, task_id: str) -> tuple[Offer, Referral]:
    """Read the rows once more, now that the lock is held."""
    offer = referrals.offer_of_task(unit, task_id)
    referral = referrals.find_referral(unit, offer.referral) if offer else None
    if offer is None or referral is None:
        raise NotFound
    return offer, referral


def _period_end(task: Mapping[str, Any]) -> Any:
    return ((task.get("restriction") or {}).get("period") or {}).get("end")


def _merge(stored: dict[str, Any], served: dict[str, Any], wanted: dict[str, Any], services: Services) -> dict[str, Any]:
    """The stored Task with the owner's elements of the wanted one; raises Invalid for any other difference from what was served."""
    _require_only_owned(served, wanted)
    table = state_table()
    owned = [name for name in table.owner_elements if "." not in name]
    left = {name: taken_over(stored.get(name), served.get(name), wanted.get(name)) for name in owned}
    if left["status"] is None:
        left["status"] = stored["status"]
    left["status"] = table.synonyms.get(str(left["status"]), left["status"])
    taken, _ = cut_criminal_history({name: value for name, value in left.items() if value is not None}, services.keys.cut_key)
    merged: dict[str, Any] = {name: value for name, value in stored.items() if name not in owned or name in taken} | taken
    if _period_end(wanted) is not None:
        restriction = stored.get("restriction") or {}
        merged["restriction"] = {**restriction, "period": {**(restriction.get("period") or {}), "end": _period_end(wanted)}}
    issues = [issue for issue in services.validator.validate(merged) if issue.severity == "error"]
    if issues:
        raise Invalid(issues)
    return merged


def _require_only_owned(served: Mapping[str, Any], wanted: Mapping[str, Any]) -> None:
    require_no_modifier(wanted)
    free = {name for name in state_table().owner_elements if "." not in name} | SERVER_ELEMENTS | {"restriction"}
    faults = [
        Issue("error", "business-rule", "This element is not the receiver's to change.", (f"Task.{name}",))
        for name, value in wanted.items()
        if name not in free and value != served.get(name)
    ]
    restriction = wanted.get("restriction")
    if restriction is not None and _without_end(restriction) != _without_end(served.get("restriction") or {}):
        faults.append(Issue("error", "business-rule", "Only restriction.period.end is the receiver's to change.", ("Task.restriction",)))
    if faults:
        raise Invalid(faults)


def _without_end(restriction: Any) -> Any:
    """A restriction without its end; what has another shape is left as it is, and so differs from what was served."""
    period = restriction.get("period") if isinstance(restriction, dict) else None
    if not isinstance(period, dict):
        return restriction
    rest = {name: value for name, value in restriction.items() if name != "period"}
    before = {name: value for name, value in period.items() if name != "end"}
    return {**rest, **({"period": before} if before else {})}


def _same(old: Mapping[str, Any], new: Mapping[str, Any], table: StateTable) -> bool:
    names = [name for name in table.owner_elements if "." not in name]
    return all(old.get(name) == new.get(name) for name in names) and _period_end(old) == _period_end(new)


def _move(unit: Unit, caller: Caller, ledger: LockedLedger, referral: Referral, offer: Offer, held: Held, task: dict[str, Any]) -> Held:
    """Apply one legal move and all that follows from it; returns the Task as it now is."""
    table = state_table()
    if _same(held.body, task, table):
        return held  # an EHR that lost our answer says the same again; that is no move
    transition = table.require_transition(held.body["status"], task["status"], OWNER)
    if task["status"] in table.outcome_needed and not has_outcome(task):
        raise Invalid((Issue("error", "required", "A completed Task says what came of it.", ("Task.output", "Task.businessStatus")),))
    task["lastModified"] = instant(unit.now)
    if transition.effect == "decline":
        declined = end_offer(unit, ledger, offer, "declined", actor=caller.client_id, authority=transition.id, task=task)
        ask_next(unit, referral.id)
        return declined
    replaced = records.replace(unit, held, task)
    if transition.effect == "accept":
        _accept(unit, caller, ledger, referral, offer, authority=transition.id)
    elif transition.effect == "acknowledge":
        _append_acknowledge(unit, caller, ledger, offer, authority=transition.id)
    elif transition.effect == "complete":
        _complete(unit, caller, ledger, referral, offer, authority=transition.id)
    elif transition.effect == "give-back":
        _give_back(unit, caller, ledger, referral, offer, authority=transition.id)
    if transition.effect != "acknowledge":
        _note_milestones(unit, referral, task)
    if transition.effect == "give-back":
        referrals.change_referral(unit, referral.id, en_route_at=None, on_scene_at=None)  # no team is on its way any more
    roll_up(unit, referral.id)
    refresh_view(unit, referral.id)
    return replaced


def _acknowledge_once(unit: Unit, caller: Caller, ledger: LockedLedger, offer: Offer) -> None:
    """A receiver's system says that it has the request: kept in the ledger the first time, and no move of the Task."""
    known = any(entry.kind == "acknowledge" and entry.offer == offer.id for entry in ledgers.read_entries(unit, ledger.referral))
    if not known:
        _append_acknowledge(unit, caller, ledger, offer, authority=RECEIVED)


def _append_acknowledge(unit: Unit, caller: Caller, ledger: LockedLedger, offer: Offer, *, authority: str) -> None:
    """A provisional answer: it is kept and moves nothing."""
    ledgers.append(
        unit,
        ledger,
        "acknowledge",
        from_organization=offer.receiver,
        to_organization=ledger.standing.holder or "",
        actor=caller.client_id,
        authority=authority,
        offer=offer.id,
    )


def _accept(unit: Unit, caller: Caller, ledger: LockedLedger, referral: Referral, offer: Offer, *, authority: str) -> None:
    """The addressee takes the responsibility; whoever else was asked is withdrawn in the same transaction."""
    end_open_offers(unit, ledger, "withdrawn", actor=caller.client_id, authority="first-acceptance", but=offer.id)
    ledgers.append(
        unit,
        ledger,
        "accept",
        from_organization=offer.receiver,
        to_organization=ledger.standing.holder or "",
        actor=caller.client_id,
        authority=authority,
        offer=offer.id,
    )
    referrals.change_offer(unit, offer.id, state="accepted")
    referrals.change_referral(unit, referral.id, phase="accepted", accepted_by=offer.receiver, accepted_at=unit.now)
    outbox.cancel_due(unit, DEADLINE, GATEWAY, offer.id)


def _complete(unit: Unit, caller: Caller, ledger: LockedLedger, referral: Referral, offer: Offer, *, authority: str) -> None:
    ledgers.append(
        unit,
        ledger,
        "close",
        from_organization=offer.receiver,
        to_organization=offer.receiver,
        actor=caller.client_id,
        authority=authority,
        outcome="completed",
    )
    referrals.change_offer(unit, offer.id, state="completed", ended_at=unit.now)
    referrals.change_referral(unit, referral.id, phase="closed", closed_at=unit.now)


def _give_back(unit: Unit, caller: Caller, ledger: LockedLedger, referral: Referral, offer: Offer, *, authority: str) -> None:
    """What fails after acceptance goes to the protocol's fallback owner, who cannot decline.

    If the sender has asked for the cancel, the receiver's `cancelled` confirms it and the ledger closes.
    """
    fallback = ledger.protocol.fallback_owner
    ledgers.append(
        unit, ledger, "return", from_organization=offer.receiver, to_organization=fallback, actor=caller.client_id, authority=authority
    )
    referrals.change_offer(unit, offer.id, state="given-back", ended_at=unit.now)
    if referral.cancelled_at is not None:
        ledgers.append(
            unit,
            ledger,
            "close",
            from_organization=fallback,
            to_organization=fallback,
            actor=GATEWAY,
            authority="cancel-confirmed",
            outcome="withdrawn-by-sender",
        )
        referrals.change_referral(unit, referral.id, phase="closed", closed_at=unit.now)


def _note_milestones(unit: Unit, referral: Referral, task: Mapping[str, Any]) -> None:
    """Keep when a team set out and came, when contact was made and whether the person engaged; the first time of each stands."""
    columns = [MILESTONE_COLUMNS[name] for name in milestones_in(task)]
    found: dict[str, datetime | None] = {column: unit.now for column in columns if getattr(referral, column) is None}
    if "engaged_at" in found and referral.not_engaged_at is not None:
        found["not_engaged_at"] = None  # a person who did not come at first and then did, engaged
    if found:
        referrals.change_referral(unit, referral.id, **found)

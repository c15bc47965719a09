"""What leaves besides reads and searches: offers, deliveries, the sender's view, dry runs, ledger prints, answers of writes.

Each decides inside the unit that writes its audit row, under an epoch that cannot move before the unit commits.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, Final, cast

from gateway.access.consent import STATUS_SHARING, Filed, Flow, state_of
from gateway.access.decision import Permit, Question
from gateway.access.disclosed import ConsentState, Disclosed, Held, Reader, Recipient, ViewPermit, Withheld, Words
from gateway.access.keep import cut_to
from gateway.access.labels import labels_of, with_obligations
from gateway.access.records.facts import Facts
from gateway.access.records.permits import stand_still
from gateway.access.records.reading import answer_resource
from gateway.access.records.rendering import kept, patients_of, targets_in
from gateway.access.records.sealing import disclosed
from gateway.access.times import span_of
from gateway.audit.events import AuditFacts, record
from gateway.oauth.context import Caller
from gateway.store.database import Unit
from gateway.store.ids import new_id
from gateway.store.registry import Organization
from gateway.store.resources import Stored, find_resource, find_resources

OPERATOR: Final = Reader("operator", "operator", "HOPERAT", "")


def redact_for(unit: Unit, held: Held, receiver: Organization, purpose: str) -> dict[str, Any] | None:
    """What a receiver's copy of one resource may hold; see `redact_all_for`."""
    return redact_all_for(unit, [held], receiver, purpose)[0]


def redact_all_for(unit: Unit, helds: Sequence[Held], receiver: Organization, purpose: str) -> list[dict[str, Any] | None]:
    """What a receiver's copies may hold: cut to the keep-list, carrying the obligations; None where it may have none.

    The content has no id and no version; references still name the origin's domain and are the caller's to rewrite. A
    verification is never copied: it counts only where it was given.
    """
    stand_still(unit)
    facts = Facts.of(unit)
    found = {stored.id: stored for stored in find_resources(unit, [held.id for held in helds])}
    facts.load(list(found.values()))
    return [_copy_content(facts, found.get(held.id), held, receiver, purpose) for held in helds]


def _copy_content(facts: Facts, stored: Stored | None, held: Held, receiver: Organization, purpose: str) -> dict[str, Any] | None:
    if stored is None or stored.domain == receiver.key:
        return None
    decision = facts.policy.decide(
        Question(
            relation="addressee",
            data_class=stored.data_class,
            postures=receiver.postures,
            purpose=purpose,
            consent=facts.sharing_state(stored, receiver.key, purpose, facts.unit.now),
            labels=labels_of(held.body),
            origin_postures=facts.postures_of(stored.domain),
        )
    )
    if not isinstance(decision, Permit) or decision.keep is None:
        return None
    left = cut_to(decision.keep, held.body)
    if left is None:
        return None
    content = {name: value for name, value in left.items() if name not in ("id", "verification")}
    content["meta"] = {name: value for name, value in left.get("meta", {}).items() if name not in ("versionId", "lastUpdated")}
    return with_obligations(content, decision.obligations)


def audit_offer(unit: Unit, referral: str, organization: Organization, helds: Sequence[Held]) -> None:
    """Write the audit row of an offer: these copies may be read by the organisation from now on."""
    facts = Facts.of(unit)
    permitted = [
        (stored, decision)
        for stored in find_resources(unit, [held.id for held in helds])
        if isinstance(decision := _decide(facts, stored, organization, "TREAT"), Permit)
    ]
    reader = Reader(_channel_client(organization), organization.key, "TREAT", new_id())
    _record(unit, reader, "offer", permitted, [held.body for held in helds], referral)


def disclose_bundle(
    unit: Unit,
    helds: Sequence[Held],
    recipient_organization: Organization,
    purpose: str,
    client: str | None = None,
    *,
    event: str,
    referral: str,
    required: Held | None = None,
) -> Disclosed:
    """Decide once more, at sending time, what of these resources leaves towards their organisation.

    The body is {"mode": "create" | "update", "resources": [...]}: "update" where only the required one leaves. A resource that may
    not leave any more is left out. client: of the channel. Raises Withheld when `required`, or everything, is denied.
    """
    stand_still(unit)
    facts = Facts.of(unit)
    found = {stored.id: stored for stored in find_resources(unit, [held.id for held in helds])}
    ordered = [found[held.id] for held in helds if held.id in found]
    facts.load(ordered)
    permitted = []
    for stored in ordered:
        decision = _decide(facts, stored, recipient_organization, purpose)
        if isinstance(decision, Permit):
            permitted.append((stored, decision))
        elif required is not None and stored.id == required.id:
            raise Withheld(decision.row)
    if not permitted:
        raise Withheld("no-row")
    targets = {stored.id: targets_in(facts.body(stored)) for stored, _ in permitted}
    known = _known_ids(facts, targets, recipient_organization, purpose)
    cut = [kept(facts.body(stored), permit, targets[stored.id], known) for stored, permit in permitted]
    resources = [left for left in cut if left is not None]
    reader = Reader(client or _channel_client(recipient_organization), recipient_organization.key, purpose, new_id())
    _record(unit, reader, event, permitted, resources, referral)
    only_required = required is not None and [resource["id"] for resource in resources] == [required.id]
    return disclosed("bundle", {"mode": "update" if only_required else "create", "resources": resources})


def disclose_written(unit: Unit, caller: Caller, held: Held, *, event: str = "update") -> Disclosed:
    """The answer of a PUT or PATCH: the resource as its writer may read it now.

    A write may end the writer's own access (a revocation does): then the answer says only that it was kept.
    """
    stand_still(unit)
    facts = Facts.of(unit)
    stored = find_resource(unit, held.id)
    decision = facts.decide(stored, caller.organization, caller.postures, caller.purpose, unit.now) if stored is not None else None
    if stored is not None and isinstance(decision, Permit):
        return answer_resource(unit, caller, stored, decision, event)
    record(
        unit,
        AuditFacts(
            event,
            caller.client_id,
            caller.organization,
            caller.purpose,
            caller.request_id,
            entities=(str(held.versioned),),
            referral=held.referral,
        ),
    )
    issue = {"severity": "information", "code": "informational", "details": {"text": "The change was kept."}}
    return disclosed("kept", {"resourceType": "OperationOutcome", "issue": [issue]})


def consent_state(
    unit: Unit, *, referral: str, kind: str, disclosing: str, recipient: str, purpose: str, now: datetime, confirmer: str | None = None
) -> ConsentState:
    """What the Consents of a referral's person say, in all linked domains, about one flow.

    kind: "provider-sharing" or "status-sharing". confirmer: whose verification counts (default: the disclosing organisation).
    """
    flow = Flow(kind, disclosing, recipient, purpose, confirmer or disclosing)
    return state_of(Facts.of(unit).filed((referral,)), flow, now)


def view_permit(
    unit: Unit, *, sender: Organization, holder: str | None, referral: str, purpose: str, now: datetime, asked_response: bool = False
) -> ViewPermit:
    """Which words a sender may read about its referral at a time. Raises Withheld where it may read none.

    holder: key of the organisation that accepted; None before. asked_response: the sender asked a responder team for a response;
    only then may a dispatch centre read the words of one.
    """
    stand_still(unit)
    facts = Facts.of(unit)
    filed: tuple[Filed, ...] = ()  # no Consent says anything before somebody holds the referral
    state = ConsentState("none")
    if holder is not None:
        filed = facts.filed((referral,))
        state = state_of(filed, Flow(STATUS_SHARING, holder, sender.key, purpose, holder), now)
    question = Question(
        relation="view",
        data_class="VIEW",
        postures=sender.postures,
        purpose=purpose,
        consent=state,
        holder_postures=facts.postures_of(holder) if holder is not None else frozenset(),
    )
    permits = [permit for permit in facts.policy.permits(question) if asked_response or permit.words != "response"]
    if not permits:
        raise Withheld("no-row")
    first = permits[0]
    since = None
    if first.consent is not None and state.state == "confirmed":
        since = next((_since(found.last_updated, found.body) for found in filed if found.version == first.consent), None)
    return ViewPermit(
        row=first.row,
        words=cast(Words, first.words),
        consent=first.consent,
        since=since,
        also_response=any(permit.words == "response" for permit in permits),
        asked_response=asked_response,
        sender=sender.key,
        holder=holder,
        referral=referral,
    )


def disclose_view(
    unit: Unit,
    reader: Recipient,
    sender_view: dict[str, Any],
    permit: ViewPermit,
    *,
    referral: str,
    event: str,
    status: int = 200,
    location: str | None = None,
) -> Disclosed:
    """Let the sender's view leave: receipt, GET, callback, answer of a cancel. Its word must be one the permit has.

    Raises Withheld when the reader is not that sender, the permit does not stand any more, or the view says more than it permits.
    """
    facts = Facts.of(unit)
    sender = facts.organization(reader.organization)
    if sender is None or (permit.sender, permit.referral) != (reader.organization, referral):
        raise Withheld(permit.row)
    again = view_permit(
        unit, sender=sender, holder=permit.holder, referral=referral, purpose="COC", now=unit.now, asked_response=permit.asked_response
    )
    words = facts.policy.words[again.words] | (facts.policy.words["response"] if again.also_response else frozenset())
    if again.row != permit.row or sender_view.get("status") not in words or not set(sender_view) <= facts.policy.view_fields:
        raise Withheld(again.row)
    consents = (str(again.consent),) if again.consent is not None else ()
    record(
        unit,
        AuditFacts(
            event,
            reader.client_id,
            reader.organization,
            reader.purpose,
            reader.request_id,
            (again.row,),
            consents=consents,
            referral=referral,
        ),
    )
    return disclosed("view", sender_view, status=status, headers={"Location": location} if location is not None else None)


def disclose_dry_run(unit: Unit, caller: Caller, body: dict[str, Any]) -> Disclosed:
    """Let a dry run leave: the caller's own message, mapped. Raises Withheld."""
    permit = _require(Facts.of(unit), "own", "DRYRUN", caller.postures, caller.purpose)
    record(unit, AuditFacts("dry-run", caller.client_id, caller.organization, caller.purpose, caller.request_id, (permit.row,)))
    return disclosed("dry-run", body)


def disclose_ledger(unit: Unit, lines: Iterable[str], *, referral: str | None = None) -> Disclosed:
    """Let a ledger print leave to the operator. The body is {"lines": [...]}. Raises Withheld."""
    permit = _require(Facts.of(unit), "operator", "LEDGER", frozenset({"operator"}), OPERATOR.purpose)
    record(
        unit, AuditFacts("ledger", OPERATOR.client_id, OPERATOR.organization, OPERATOR.purpose, new_id(), (permit.row,), referral=referral)
    )
    return disclosed("ledger", {"lines": list(lines)})


def _require(facts: Facts, relation: str, data_class: str, postures: frozenset[str], purpose: str) -> Permit:
    decision = facts.policy.decide(Question(relation, data_class, postures, purpose, ConsentState("none")))
    if not isinstance(decision, Permit):
        raise Withheld(decision.row)
    return decision


def _decide(facts: Facts, stored: Stored, organization: Organization, purpose: str) -> Any:
    return facts.decide(stored, organization.key, organization.postures, purpose, facts.unit.now)


def _known_ids(facts: Facts, leaving: Mapping[str, set[str]], organization: Organization, purpose: str) -> set[str]:
    """Ids a delivery may name: what leaves with it, and whatever else its receiver may read. leaving: id → ids it names."""
    known = set(leaving)
    others = find_resources(facts.unit, sorted(set().union(*leaving.values()) - known))
    return known | {stored.id for stored in others if isinstance(_decide(facts, stored, organization, purpose), Permit)}


def _channel_client(organization: Organization) -> str:
    channel = organization.channel
    return (channel.client_id if channel is not None else None) or organization.key


def _record(
    unit: Unit, reader: Reader, event: str, permitted: Sequence[tuple[Stored, Permit]], resources: Sequence[dict[str, Any]], referral: str
) -> None:
    record(
        unit,
        AuditFacts(
            event=event,
            client=reader.client_id,
            organization=reader.organization,
            purpose=reader.purpose,
            request_id=reader.request_id,
            policy_rows=tuple(sorted({permit.row for _, permit in permitted})),
            entities=tuple(f"{stored.type}/{stored.id}/_history/{stored.version}" for stored, _ in permitted),
            consents=tuple(sorted({str(permit.consent) for _, permit in permitted if permit.consent is not None})),
            patients=patients_of(resources),
            referral=referral,
        ),
    )


def _since(confirmed_at: datetime, consent: Any) -> datetime:
    """When a confirmed Consent became effective: its confirmation, or the start of its period if that came later."""
    period = (consent.get("provision") or {}).get("period") or {}
    start = span_of(str(period.get("start")))
    return max(confirmed_at, start[0]) if start is not None else confirmed_at

"""Compiling permits: the evaluator runs here when something is written, and leaves only what is permitted.

A resource is judged for each organisation that stands in a relation to it and each purpose that organisation is registered for.
Permits are cut where a Consent of the person starts or ends.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from typing import Any

from gateway.access.consent import changes_of
from gateway.access.decision import Permit
from gateway.access.records.facts import ADDRESSEE, DIRECTORY, Facts
from gateway.store.criteria import ALWAYS, FOREVER
from gateway.store.database import Unit
from gateway.store.epochs import hold_epoch
from gateway.store.people import linked_referrals
from gateway.store.registry import organization_purposes
from gateway.store.resources import Stored, domains_of, find_resources, resources_in, resources_of
from gateway.store.visible import replace_permits, spelt


def stand_still(unit: Unit) -> None:
    """Hold the epoch for the rest of the unit, so that what is decided in it still holds when it commits."""
    hold_epoch(unit)


def compile_permits(unit: Unit, resources: Sequence[Stored]) -> None:
    """Write the permits of these resources anew."""
    stand_still(unit)
    facts = Facts.of(unit)
    facts.load(resources)
    rows = [row for stored in resources if not stored.deleted for row in _permits(facts, stored)]
    replace_permits(unit, [stored.id for stored in resources], rows)


def compile_referrals(unit: Unit, referrals: Iterable[str]) -> None:
    """Write the permits of everything in these referrals anew."""
    found = {stored.id: stored for referral in referrals for stored in resources_of(unit, referral)}
    compile_permits(unit, list(found.values()))


def compile_person(unit: Unit, referrals: Iterable[str]) -> None:
    """Write the permits of everything in any referral of the person of these referrals anew."""
    compile_referrals(unit, linked_referrals(unit, referrals))


def rebuild_visible(unit: Unit, domain: str | None = None) -> int:
    """Write all permits anew, of one domain or of all; returns how many resources were judged.

    For `db reindex`, a new policy table, and an organisation whose postures or purposes changed (its old permits are void).
    """
    Facts.forget(unit)
    judged = 0
    for found in [domain] if domain is not None else domains_of(unit):
        resources = resources_in(unit, found)
        compile_permits(unit, resources)
        judged += len(resources)
    return judged


def compile_ids(unit: Unit, resource_ids: Sequence[str]) -> None:
    """Write the permits of these resources anew."""
    compile_permits(unit, find_resources(unit, resource_ids))


def _candidates(facts: Facts, stored: Stored) -> Iterator[str]:
    if stored.data_class == DIRECTORY:
        yield from facts.readers(stored.domain)
    elif any(party.organization == stored.domain for party in facts.parties(stored)):
        yield stored.domain


def _permits(facts: Facts, stored: Stored) -> Iterator[dict[str, Any]]:
    for key in _candidates(facts, stored):
        organization = facts.organization(key)
        if organization is None:
            continue
        for purpose in sorted(organization_purposes(facts.unit, key)):
            for classes, start, end in _spans(facts, stored, key, organization.postures, purpose):
                yield {
                    "organization": key,
                    "purpose": purpose,
                    "type": stored.type,
                    "last_updated": stored.last_updated,
                    "resource": stored.id,
                    "element_classes": spelt(classes),
                    "valid_from": start,
                    "valid_to": end,
                    "policy_epoch": facts.policy.epoch_for(organization.postures),
                }


def _spans(
    facts: Facts, stored: Stored, key: str, postures: frozenset[str], purpose: str
) -> Iterator[tuple[frozenset[str], datetime, datetime]]:
    """(element classes, from, till) of what is permitted; spans of the same classes that touch are one."""
    now = facts.unit.now
    turns: list[datetime] = []
    if ADDRESSEE in facts.relations(stored, key):  # to nobody else a Consent matters
        turns = [turn for turn in changes_of(facts.filed(facts.referrals(stored))) if turn > now]
    since, open_now = ALWAYS, _classes(facts, stored, key, postures, purpose, now)
    for turn in turns:
        classes = _classes(facts, stored, key, postures, purpose, turn)
        if classes != open_now:
            if open_now:
                yield open_now, since, turn
            since, open_now = turn, classes
    if open_now:
        yield open_now, since, FOREVER


def _classes(facts: Facts, stored: Stored, key: str, postures: frozenset[str], purpose: str, at: datetime) -> frozenset[str]:
    decision = facts.decide(stored, key, postures, purpose, at)
    if not isinstance(decision, Permit) or decision.keep is None:
        return frozenset()
    return facts.opened_by(stored, decision.keep)

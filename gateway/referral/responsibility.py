"""The responsibility ledger's rules: who holds a referral, and which entry may follow.

Pure: entries in, a verdict out. The nine invariants are checked on every new entry and again by `verify`.
An entry never holds narrative: only codes, keys, hashes and times.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

from profiles.strict_json import canonical_json

KINDS: Final = frozenset(
    {"enter", "offer", "acknowledge", "accept", "decline", "expire", "withdraw", "revoke", "return", "cancel-request", "close"}
)
OUTCOMES: Final = frozenset({"completed", "withdrawn-by-sender", "not-placed"})
GENESIS: Final = "0" * 64
_TOKEN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:|/-]{0,199}\Z")


class ResponsibilityBroken(RuntimeError):
    """An entry would break an invariant of the ledger; nothing may be committed with it."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of the ledger. Times are ISO 8601 in UTC; `offer` names the offer an entry speaks of."""

    referral: str
    sequence: int
    kind: str
    from_organization: str
    to_organization: str
    actor: str
    authority: str
    protocol: str
    at: str
    offer: str = ""
    outcome: str = ""
    shared_sha256: str = ""
    labels: tuple[str, ...] = ()
    previous_hash: str = GENESIS
    hash: str = ""

    def computed_hash(self) -> str:
        """SHA-256 over the canonical JSON of all but `hash` itself."""
        content = self.as_dict()
        del content["hash"]
        return hashlib.sha256(canonical_json(content)).hexdigest()

    def as_dict(self) -> dict[str, Any]:
        """The entry as it is stored."""
        return {name: getattr(self, name) for name in self.__slots__}


@dataclass(slots=True)
class Standing:
    """What a run of entries amounts to."""

    holder: str | None = None
    previous_holder: str | None = None
    sender: str = ""
    closed: bool = False
    open_offers: dict[str, str] = field(default_factory=dict)
    ended_offers: set[str] = field(default_factory=set)
    last_hash: str = GENESIS
    sequence: int = 0


def _check_shape(entry: Entry, standing: Standing) -> list[str]:
    faults = []
    if entry.kind not in KINDS:
        faults.append("unknown kind")
    if entry.sequence != standing.sequence + 1:
        faults.append("sequence has a gap")
    if entry.previous_hash != standing.last_hash or entry.hash != entry.computed_hash():
        faults.append("invariant 8: the chain of hashes is broken")
    tokens = (entry.from_organization, entry.to_organization, entry.actor, entry.authority, entry.protocol, *entry.labels)
    if any(value and not _TOKEN.match(value) for value in tokens):
        faults.append("invariant 9: an entry holds more than codes")
    if (entry.kind == "enter") != (standing.sequence == 0):
        faults.append("invariant 1: the first entry, and only it, enters the referral")
    if standing.closed:
        faults.append("invariant 1: nothing follows the close")
    return faults


def _check_offer_end(entry: Entry, standing: Standing) -> list[str]:
    """Accept, decline, expire, withdraw and revoke speak of an open offer and its addressee."""
    if entry.offer not in standing.open_offers:
        return ["invariant 2: the entry names no open offer"]
    addressee = standing.open_offers[entry.offer]
    named = entry.from_organization if entry.kind in ("accept", "decline") else entry.to_organization
    return [] if named == addressee else ["invariant 2: only the addressed organisation answers an offer"]


def _check_rule(entry: Entry, standing: Standing, fallback_owner: str) -> list[str]:
    kind = entry.kind
    if kind in ("accept", "decline", "expire", "withdraw", "revoke"):
        faults = _check_offer_end(entry, standing)
        if kind in ("expire", "withdraw", "revoke") and entry.from_organization != standing.holder:
            faults.append("invariant 6: what ends without an answer stays with the holder")
        return faults
    if kind == "offer" and entry.from_organization != standing.holder:
        return ["invariant 1: only the holder's referral can be offered"]
    if kind == "offer" and (not entry.offer or entry.offer in standing.open_offers or entry.offer in standing.ended_offers):
        return ["invariant 4: an offer never reopens"]
    if kind == "return":
        faults = [] if entry.from_organization == standing.holder else ["invariant 5: only the holder can return"]
        if entry.to_organization not in {standing.previous_holder, fallback_owner}:
            faults.append("invariant 5: a return goes to the previous holder or the fallback owner")
        return faults
    if kind == "close" and entry.outcome not in OUTCOMES:
        return ["invariant 7: closing needs an outcome"]
    if kind == "close" and standing.open_offers:
        return ["invariant 4: offers are still open"]
    return []


def _apply(entry: Entry, standing: Standing) -> None:
    kind = entry.kind
    if kind == "enter":
        standing.holder = standing.sender = entry.to_organization
    elif kind == "offer":
        standing.open_offers[entry.offer] = entry.to_organization
    elif kind in ("decline", "expire", "withdraw", "revoke"):
        standing.ended_offers.add(entry.offer)
        del standing.open_offers[entry.offer]
    elif kind == "accept":
        # Invariant 4: the caller withdraws the others in the same transaction; verify() sees that none stays open.
        standing.ended_offers.add(entry.offer)
        del standing.open_offers[entry.offer]
        standing.previous_holder, standing.holder = standing.holder, entry.from_organization
    elif kind == "return":
        standing.previous_holder, standing.holder = standing.holder, entry.to_organization
    elif kind == "close":
        standing.closed = True
    standing.last_hash, standing.sequence = entry.hash, entry.sequence


def take(entry: Entry, standing: Standing, fallback_owner: str) -> list[str]:
    """Check one entry against what came before and apply it; returns the invariants it breaks."""
    faults = _check_shape(entry, standing) + _check_rule(entry, standing, fallback_owner)
    if not faults:
        _apply(entry, standing)
    return faults


def standing_of(entries: Iterable[Entry], fallback_owner: str) -> Standing:
    """Replay a ledger. Raises ResponsibilityBroken naming the first entry that breaks an invariant."""
    standing = Standing()
    for entry in entries:
        faults = take(entry, standing, fallback_owner)
        if faults:
            raise ResponsibilityBroken(f"entry {entry.sequence}: {'; '.join(faults)}")
    return standing


def verify(entries: Sequence[Entry], fallback_owner: str) -> list[str]:
    """Every broken invariant of a stored ledger, an entry each; an empty list is a sound ledger."""
    standing, found = Standing(), []
    if not entries:
        return ["invariant 1: the ledger is empty"]
    for entry in entries:
        faults = take(entry, standing, fallback_owner)
        if faults:
            found += [f"entry {entry.sequence}: {fault}" for fault in faults]
            break
    if not found and standing.holder != standing.sender and standing.open_offers:
        found.append("invariant 4: an offer is open beside an acceptance")
    return found


def next_entry(standing: Standing, fallback_owner: str, content: Mapping[str, Any]) -> Entry:
    """Chain, check and apply one new entry.

    content: the fields of Entry but sequence and hashes. Raises ResponsibilityBroken.
    """
    entry = Entry(**content, sequence=standing.sequence + 1, previous_hash=standing.last_hash)
    entry = replace(entry, hash=entry.computed_hash())
    faults = take(entry, standing, fallback_owner)
    if faults:
        raise ResponsibilityBroken("; ".join(faults))
    return entry

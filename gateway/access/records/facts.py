"""What a decision about a stored resource rests on, read once a unit: parties, the person's Consents, organisations, origin.

The same `Facts.decide` compiles the permits when something is written and decides again when it leaves.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any, Final

from gateway.access import policy as policies
from gateway.access.consent import PROVIDER_SHARING, Filed, Flow, state_of
from gateway.access.decision import Decision, Deny, Permit, Question
from gateway.access.disclosed import ConsentState, VersionedId
from gateway.access.index import element_classes
from gateway.access.keep import cut_to
from gateway.access.labels import labels_of
from gateway.store.criteria import Principal
from gateway.store.database import Unit
from gateway.store.people import linked_consents
from gateway.store.registry import Organization, find_organization
from gateway.store.resources import Stored, domains_by_id, own_request_domains, referrals_of
from gateway.store.visible import Party, parties_in, readers_of
from profiles.strict_json import parse_stored

DIRECTORY: Final = "DIRECTORY"
ADDRESSEE: Final = "addressee"


PERSONAL: Final = frozenset({"Patient", "Consent"})
_FACTS: Final = "access.facts"


class Facts:
    """The facts of one unit of work, read once; a write of this unit that may change one of them makes it forget them all."""

    @classmethod
    def of(cls, unit: Unit) -> Facts:
        """The facts of a unit as they stand now."""
        found: Facts | None = unit.memo.get(_FACTS)
        if found is None:
            found = unit.memo[_FACTS] = cls(unit)
        return found

    @staticmethod
    def forget(unit: Unit) -> None:
        """Read everything anew from here on: Consents, people or organisations have changed."""
        unit.memo.pop(_FACTS, None)

    @staticmethod
    def forget_written(unit: Unit, types: Iterable[str]) -> None:
        """Resources of these types were written: what is known of a person goes when a Patient or a Consent is among them."""
        if not PERSONAL.isdisjoint(types):
            Facts.forget(unit)

    @staticmethod
    def forget_parties(unit: Unit) -> None:
        """Who is party to what, or reads which directory entry, has changed; what is known of a person stays."""
        found: Facts | None = unit.memo.get(_FACTS)
        if found is not None:
            found._parties.clear()
            found._readers.clear()

    def __init__(self, unit: Unit) -> None:
        self.unit = unit
        self.policy = policies.shipped()
        self._referrals: dict[str, tuple[str, ...]] = {}
        self._parties: dict[str, list[Party]] = {}
        self._filed: dict[str, dict[str, Filed]] = {}
        self._organizations: dict[str, Organization | None] = {}
        self._senders: dict[str, str] = {}
        self._origins: dict[str, str | None] = {}
        self._readers: dict[str, list[str]] = {}
        self._labels: dict[tuple[str, int], frozenset[str]] = {}
        self._bodies: dict[tuple[str, int], dict[str, Any]] = {}
        self._opened: dict[tuple[str, int, str], frozenset[str]] = {}

    def principal(self, organization: str, postures: frozenset[str], purpose: str) -> Principal:
        """For whom a query of this unit is asked."""
        return Principal(organization, purpose, self.policy.epoch_for(postures), self.unit.now)

    def organization(self, key: str) -> Organization | None:
        """A registered organisation."""
        if key not in self._organizations:
            self._organizations[key] = find_organization(self.unit, key)
        return self._organizations[key]

    def postures_of(self, key: str | None) -> frozenset[str] | None:
        """What an organisation is; None where that is not known."""
        found = self.organization(key) if key is not None else None
        return found.postures if found is not None else None

    def load(self, resources: Sequence[Stored]) -> None:
        """Read the referrals and parties of several resources at once."""
        unread = [stored.id for stored in resources if stored.id not in self._referrals]
        if unread:
            self._referrals |= {key: tuple(found) for key, found in referrals_of(self.unit, unread).items()}
        wanted = {referral for stored in resources for referral in self._referrals[stored.id]} - set(self._parties)
        if wanted:
            self._parties |= parties_in(self.unit, wanted)
        self.load_origins(resources)

    def referrals(self, stored: Stored) -> tuple[str, ...]:
        """The referrals a resource belongs to."""
        if stored.id not in self._referrals:
            self.load([stored])
        return self._referrals[stored.id]

    def parties(self, stored: Stored) -> list[Party]:
        """Who is or was party to a referral of the resource."""
        referrals = self.referrals(stored)
        if any(referral not in self._parties for referral in referrals):
            self.load([stored])
        return [party for referral in referrals for party in self._parties[referral]]

    def readers(self, organization: str) -> list[str]:
        """Who may read an organisation's directory entry, itself included."""
        if organization not in self._readers:
            self._readers[organization] = [organization, *readers_of(self.unit, organization)]
        return self._readers[organization]

    def filed(self, referrals: Iterable[str]) -> tuple[Filed, ...]:
        """Every Consent of the person of these referrals, in the sender's domain and wherever it was copied or filed."""
        wanted = sorted(referrals)
        if unread := [referral for referral in wanted if referral not in self._filed]:
            self._load_filed({*unread, *(known for known in self._parties if known not in self._filed)})
        if len(wanted) == 1:
            return tuple(self._filed[wanted[0]].values())
        found = {key: filed for referral in wanted for key, filed in self._filed[referral].items()}
        return tuple(found[key] for key in sorted(found))

    def _load_filed(self, referrals: Iterable[str]) -> None:
        """Read the Consents of several referrals at once."""
        linked = linked_consents(self.unit, referrals)
        self.load_origins(stored for found in linked.values() for stored in found)
        self._filed |= {referral: {stored.id: self._filed_as(stored) for stored in found} for referral, found in linked.items()}

    def _filed_as(self, stored: Stored) -> Filed:
        filed_by = self._origins.get(stored.origin_id) if stored.origin_id is not None else stored.domain
        version = VersionedId(stored.type, stored.id, stored.version)
        return Filed(version, stored.domain, stored.last_updated, self.body(stored), filed_by or stored.domain)

    def sharing_state(self, stored: Stored, recipient: str, purpose: str, at: datetime) -> ConsentState:
        """What the person says about this organisation having what the sender recorded."""
        flow = Flow(PROVIDER_SHARING, self.origin_domain(stored) or "", recipient, purpose, recipient)
        return state_of(self.filed(self.referrals(stored)), flow, at)

    def origin_domain(self, stored: Stored) -> str | None:
        """Whose record a resource goes back to: its origin's domain, or that of the referral's sender."""
        if stored.origin_id is not None:
            if stored.origin_id not in self._origins:
                self.load_origins([stored])
            return self._origins[stored.origin_id]
        referrals = self.referrals(stored)
        return self.sender(referrals[0]) if referrals else stored.domain

    def load_origins(self, resources: Iterable[Stored]) -> None:
        """Read where several copies come from at once."""
        unread = {stored.origin_id for stored in resources if stored.origin_id is not None} - set(self._origins)
        if unread:
            found = domains_by_id(self.unit, unread)
            self._origins |= {origin: found.get(origin) for origin in unread}

    def sender(self, referral: str) -> str | None:
        """The domain of a referral's own request; a receiver's is always a copy."""
        found = self._senders.get(referral)
        if found is None:  # a request that is still to be written is asked for again
            self._senders |= own_request_domains(self.unit, {referral, *(known for known in self._parties if known not in self._senders)})
            found = self._senders.get(referral)
        return found

    def labels(self, stored: Stored) -> frozenset[str]:
        """The security labels of a version."""
        version = (stored.id, stored.version)
        if version not in self._labels:
            self._labels[version] = labels_of(self.body(stored))
        return self._labels[version]

    def body(self, stored: Stored) -> dict[str, Any]:
        """The resource of a row, read once; not to be changed."""
        version = (stored.id, stored.version)
        if version not in self._bodies:
            self._bodies[version] = body_of(stored)
        return self._bodies[version]

    def opened_by(self, stored: Stored, keep: str) -> frozenset[str]:
        """The element classes that a keep-list opens of a version; none where it keeps nothing of it."""
        key = (stored.id, stored.version, keep)
        if key not in self._opened:
            kept = cut_to(keep, self.body(stored))
            self._opened[key] = element_classes(self.body(stored), kept) if kept is not None else frozenset()
        return self._opened[key]

    def relations(self, stored: Stored, organization: str) -> list[str]:
        """What an organisation is to a resource; empty for a stranger. Another domain's record is always a stranger's."""
        if stored.data_class == DIRECTORY:
            return ["granted"] if organization in self.readers(stored.domain) else []
        if organization != stored.domain:
            return []
        mine = [party for party in self.parties(stored) if party.organization == organization]
        found = sorted({party.role for party in mine if not party.closed})
        if not found and stored.type == "Task" and any(party.keeps_task for party in mine):
            return ["former-addressee"]
        return found

    def decide(self, stored: Stored, organization: str, postures: frozenset[str], purpose: str, at: datetime) -> Decision:
        """The full decision on one resource for one organisation and purpose at one time."""
        denied: Decision = Deny("no-party", "not a party to the referral")
        for relation in self.relations(stored, organization):
            asked, consent = relation, ConsentState("none")
            if relation == ADDRESSEE:
                consent = self.sharing_state(stored, organization, purpose, at)
                if consent.state == "denied" and stored.type == "Task":
                    asked = "former-addressee"  # who may not have the person any more still has the proof of being asked
            decision = self.policy.decide(
                Question(
                    relation=asked,
                    data_class=stored.data_class,
                    postures=postures,
                    purpose=purpose,
                    consent=consent,
                    labels=self.labels(stored),
                    origin_postures=self.postures_of(self.origin_domain(stored)) if asked == ADDRESSEE else frozenset(),
                )
            )
            if isinstance(decision, Permit):
                return decision
            denied = decision
        return denied


def body_of(stored: Stored) -> dict[str, Any]:
    """The resource of a row."""
    body: dict[str, Any] = parse_stored(stored.body)
    return body

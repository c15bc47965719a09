"""The policy table: rows as data, deny wins, no row denies.

Decides on a `Question` alone and reads no store. Refuses at load a row with an unknown word, and an asterisk in a permit:
a permit names what it permits.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib import resources
from typing import Any, Final

from gateway.access import posture
from gateway.access.decision import Decision, Deny, Permit, Question

EVERY: Final = frozenset({"*"})
CONSENT_STATES: Final = frozenset({"none", "claimed", "confirmed", "denied"})
RELATIONS: Final = frozenset({"addressee", "former-addressee", "sender", "granted", "view", "own", "operator"})
# The widest first: where several rows permit, the sender reads by the widest.
WORDS: Final = ("wide", "task", "response", "narrow")


@dataclass(frozen=True, slots=True)
class Row:
    """One row. Sets are alternatives; `postures_none`, `holder_none` exclude; `origin_any` demands one of them."""

    id: str
    relation: frozenset[str]
    data_class: frozenset[str]
    postures: frozenset[str]
    purpose: frozenset[str]
    consent: frozenset[str]
    decision: str
    basis: str
    postures_none: frozenset[str] = frozenset()
    holder_none: frozenset[str] = frozenset()
    origin_any: frozenset[str] = frozenset()
    keep: str | None = None
    labels: str | None = None
    words: str | None = None
    obligations: frozenset[str] = frozenset()

    def covers(self, question: Question) -> bool:
        """Whether this row speaks of the question."""
        return (
            question.relation in self.relation
            and _in(question.data_class, self.data_class)
            and (self.postures == EVERY or bool(self.postures & question.postures))
            and _in(question.purpose, self.purpose)
            and _in(question.consent.state, self.consent)
            and not self.postures_none & question.postures
            and (not self.holder_none or (question.holder_postures is not None and not self.holder_none & question.holder_postures))
            and (not self.origin_any or question.origin_postures is None or bool(self.origin_any & question.origin_postures))
        )


def _in(word: str, words: frozenset[str]) -> bool:
    return words == EVERY or word in words


@dataclass(frozen=True, slots=True)
class Policy:
    """A loaded table. epoch: changes with every change of the table or the keep-lists; permits of another epoch are void."""

    rows: tuple[Row, ...]
    labels: Mapping[str, frozenset[str]]
    words: Mapping[str, frozenset[str]]
    view_fields: frozenset[str]
    epoch: str
    _deny: Mapping[str, tuple[Row, ...]] = field(init=False, repr=False, compare=False)  # by relation, in their order
    _permit: Mapping[str, tuple[Row, ...]] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        for name in ("deny", "permit"):
            found = {
                relation: tuple(row for row in self.rows if row.decision == name and relation in row.relation) for relation in RELATIONS
            }
            object.__setattr__(self, f"_{name}", found)

    def decide(self, question: Question) -> Decision:
        """The decision on one question: the first deny that covers it, else the first permit, else a denial."""
        denial = self._denial(question)
        return (
            denial or next(self._permits(question), None) or Deny("no-row", "no row of the policy permits this", question.consent.consent)
        )

    def permits(self, question: Question) -> list[Permit]:
        """Every permit that covers the question, the widest words first; none when a row denies it."""
        if self._denial(question) is not None:
            return []
        return sorted(self._permits(question), key=lambda permit: WORDS.index(permit.words) if permit.words else len(WORDS))

    def epoch_for(self, postures: frozenset[str]) -> str:
        """The epoch of permits of an organisation: a change of what it is voids them as well."""
        return f"{self.epoch}:{hashlib.sha256(' '.join(sorted(postures)).encode()).hexdigest()[:8]}"

    def _denial(self, question: Question) -> Deny | None:
        consent = question.consent.consent
        if (
            not posture.known_postures(question.postures, question.relation)
            or question.purpose not in posture.PURPOSES
            or question.data_class not in posture.DATA_CLASSES
            or question.consent.state not in CONSENT_STATES
        ):
            return Deny("unknown", "an unknown posture, purpose, class or consent state", consent)
        for row in self._deny.get(question.relation, ()):
            if row.covers(question):
                return Deny(row.id, row.basis, consent)
        return None

    def _permits(self, question: Question) -> Iterator[Permit]:
        for row in self._permit.get(question.relation, ()):
            # every label must be known to the row: an unlisted sensitivity is one nobody thought of
            if row.covers(question) and question.labels <= self.labels.get(row.labels or "", frozenset()):
                yield Permit(row.id, row.keep, row.obligations, question.consent.consent, row.words)


_SETS: Final = ("relation", "data_class", "postures", "purpose", "consent", "postures_none", "holder_none", "origin_any", "obligations")
_VOCABULARY: Final[Mapping[str, frozenset[str]]] = {
    "relation": RELATIONS,
    "data_class": posture.DATA_CLASSES,
    "postures": posture.POSTURES | {posture.OPERATOR},
    "purpose": posture.PURPOSES,
    "consent": CONSENT_STATES,
    "postures_none": posture.POSTURES,
    "holder_none": posture.POSTURES,
    "origin_any": posture.POSTURES,
}


def load_policy(document: Mapping[str, Any], keep_lists: Mapping[str, Any]) -> Policy:
    """Build a table from its JSON. keep_lists: the document of keep_lists.json. Raises ValueError naming the row."""
    labels = {name: frozenset(codes) for name, codes in document["labels"].items()}
    rows = tuple(_row(source, keep_lists, labels, document["words"]) for source in document["rows"])
    if len({row.id for row in rows}) != len(rows):
        raise ValueError("policy rows have equal ids")
    digest = hashlib.sha256(json.dumps([document, keep_lists], sort_keys=True).encode()).hexdigest()[:16]
    return Policy(
        rows,
        labels,
        {name: frozenset(words) for name, words in document["words"].items()},
        frozenset(document["view_fields"]),
        digest,
    )


def _row(source: Mapping[str, Any], keep_lists: Mapping[str, Any], labels: Mapping[str, Any], words: Mapping[str, Any]) -> Row:
    columns: dict[str, Any] = {name: frozenset(value) if name in _SETS else value for name, value in source.items()}
    row = Row(**columns)
    for name, known in _VOCABULARY.items():
        wanted: frozenset[str] = getattr(row, name)
        if wanted == EVERY and row.decision == "deny" and name != "relation":
            continue
        if not wanted <= known:
            raise ValueError(f"policy row {row.id}: {name} has a word that is not known")
    if row.decision not in ("permit", "deny") or not row.basis:
        raise ValueError(f"policy row {row.id}: neither permit nor deny, or without a basis")
    for name, value, known_names in (("keep", row.keep, keep_lists), ("labels", row.labels, labels), ("words", row.words, words)):
        if value is not None and value not in known_names:
            raise ValueError(f"policy row {row.id}: {name} names nothing")
    return row


def _document(name: str) -> Any:
    return json.loads(resources.files("gateway.access").joinpath(name).read_text(encoding="utf-8"))


@cache
def shipped() -> Policy:
    """The table this version ships."""
    return load_policy(_document("policy.json"), keep_documents())


@cache
def keep_documents() -> Mapping[str, Mapping[str, list[str]]]:
    """The keep-lists as data: name → resource type → element paths."""
    loaded: Mapping[str, Mapping[str, list[str]]] = _document("keep_lists.json")
    return loaded

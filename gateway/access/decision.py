"""A decision explains itself: a permit with what it keeps and rests on, or a denial with the row that said so."""

from __future__ import annotations

from dataclasses import dataclass

from gateway.access.disclosed import ConsentState, VersionedId


@dataclass(frozen=True, slots=True)
class Question:
    """Everything a policy row may ask about.

    relation: what the recipient is to the record: "addressee", "former-addressee", "sender", "granted", "view", "own", "operator".
    postures: of the recipient. holder_postures, origin_postures: of the organisation that holds the referral, and of the one
    whose record was copied; None where it is not known, which no row that asks for them covers.
    labels: "system|code" of meta.security.
    """

    relation: str
    data_class: str
    postures: frozenset[str]
    purpose: str
    consent: ConsentState
    labels: frozenset[str] = frozenset()
    holder_postures: frozenset[str] | None = frozenset()
    origin_postures: frozenset[str] | None = frozenset()


@dataclass(frozen=True, slots=True)
class Permit:
    """row: the policy row. keep: name of a keep-list. obligations: v3 codes the wire must carry. words: of a sender's view."""

    row: str
    keep: str | None
    obligations: frozenset[str]
    consent: VersionedId | None
    words: str | None = None


@dataclass(frozen=True, slots=True)
class Deny:
    """row: the policy row, or "no-row" or "unknown". reason: for the AuditEvent; never sent to the recipient."""

    row: str
    reason: str
    consent: VersionedId | None = None


Decision = Permit | Deny

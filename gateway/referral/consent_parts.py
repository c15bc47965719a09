"""Which Consent of a newer message is which of an earlier one: known by what it says, never by its place in the list.

A message may come again with its consents in another order, with one more or one less. What it leaves out is taken from the
record as far as it permitted; a refusal stays until the sender says that it was withdrawn.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

from profiles.strict_json import canonical_json

PREFIX: Final = "consent-"
LEFT_OUT: Final = {"status": "entered-in-error"}
"""Of a permit that a newer message does not hold any more: it opens nothing, and is no revocation either (R4 consent-state-codes)."""

# A name of the mapping for the organisation that sends; in the store it has its address.
_SENDER: Final = "urn:local:sender"


def part_names(contents: Mapping[str, dict[str, Any]], held: Mapping[str, dict[str, Any]], sender: str) -> dict[str, str]:
    """The part name of every mapped resource: its own, for a Consent that of the equal one that is there already.

    contents: mapped resources by local name. held: stored resources by part name. sender: address of the sending organisation.
    """
    known: dict[bytes, list[str]] = {}
    for name in sorted(held, key=_number):
        if name.startswith(PREFIX):
            known.setdefault(_identity(held[name], sender), []).append(name)
    free = _free_names(held)
    names = {}
    for name, content in contents.items():
        if not name.startswith(PREFIX):
            names[name] = name
            continue
        same = known.get(_identity(content, sender))
        names[name] = same.pop(0) if same else next(free)
    return names


def left_out(consent: Mapping[str, Any]) -> dict[str, Any] | None:
    """What becomes of a Consent that a newer message does not hold; None where it stays as it is."""
    provision = consent.get("provision") or {}
    if consent.get("status") != "active" or provision.get("type") == "deny":
        return None
    return {**consent, **LEFT_OUT}


def _identity(consent: Mapping[str, Any], sender: str) -> bytes:
    """What makes two Consents one: kind, permit or refusal, between whom, and when it was given."""
    provision = consent.get("provision") or {}
    actors = sorted(
        canonical_json([actor.get("role"), _address(actor.get("reference"), sender)]).decode() for actor in _list(provision, "actor")
    )
    disclosing = sorted(canonical_json(_address(reference, sender)).decode() for reference in _list(consent, "organization"))
    return canonical_json([consent.get("category"), provision.get("type"), actors, disclosing, consent.get("dateTime")])


def _address(reference: Any, sender: str) -> Any:
    if isinstance(reference, Mapping) and reference.get("reference") == _SENDER:
        return {**reference, "reference": sender}
    return reference


def _list(value: Mapping[str, Any], name: str) -> list[Any]:
    found = value.get(name)
    return found if isinstance(found, list) else []


def _number(name: str) -> int:
    digits = name.removeprefix(PREFIX)
    return int(digits) if digits.isdecimal() else 0


def _free_names(held: Iterable[str]) -> Iterator[str]:
    highest = max((_number(name) for name in held if name.startswith(PREFIX)), default=0)
    while True:
        highest += 1
        yield f"{PREFIX}{highest}"

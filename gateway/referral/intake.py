"""Taking a sender's message in: cut, map, validate, keep. The first half of job 1, and what happens when it comes again.

Parsing, mapping and validation come before the write section. Nothing is stored of a message with a fault.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import mappings
from gateway.access import records
from gateway.access.disclosed import Disclosed
from gateway.access.redaction import cut_criminal_history, unread_places
from gateway.errors import DuplicateKey, Invalid, Malformed, TooCostly, TooLarge
from gateway.oauth.context import Caller
from gateway.referral import ledger as ledgers
from gateway.referral.offers import CLOSE, GATEWAY, ask_next
from gateway.referral.person import follow_person, lock_with_others
from gateway.referral.protocol import Protocol, protocol_for
from gateway.referral.resend import take_newer
from gateway.referral.routing import next_step
from gateway.referral.sender_record import write_sender_record
from gateway.referral.sender_view import disclose
from gateway.services import Services
from gateway.store import messages, outbox, referrals
from gateway.store.database import Unit
from gateway.store.ids import new_id, new_secret
from gateway.store.referrals import ReferralRow
from mappings import Mapped
from profiles.engine import Validator
from profiles.issues import Issue
from profiles.strict_json import JsonFault, canonical_json, parse_json

MAX_ISSUES: Final = 200
UNREAD: Final = "The content is no text and was not looked into: see to it yourself that it holds no answer of a criminal-history system."
_OF_TYPE: Final = re.compile(r"\.ofType\((\w)(\w*)\)")


@dataclass(frozen=True, slots=True)
class Taken:
    """A message that was read, cut, mapped and found good; nothing of it is stored yet."""

    format: str
    key: str
    revision: int
    source: Any
    sha256: str
    mapped: Mapped
    issues: tuple[Issue, ...]
    cuts: tuple[tuple[str, str], ...] = ()


def parse_body(body: bytes) -> Any:
    """Read a JSON body strictly. Raises Malformed, TooCostly or TooLarge, naming the place."""
    try:
        return parse_json(body)
    except JsonFault as fault:
        issue = (
            Issue("error", {"too-deep": "too-costly", "too-large": "too-long"}.get(fault.kind, "structure"), fault.text, (), fault.pointer),
        )
        if fault.kind == "too-deep":
            raise TooCostly(issue) from None
        if fault.kind == "too-large":
            raise TooLarge(issue) from None
        raise Malformed(issue) from None


def read_message(validator: Validator, cut_key: bytes, format_name: str, body: bytes, *, strict: bool) -> Taken:
    """Parse, cut, check, map and validate one message; needs no store.

    cut_key: key of the hashes kept of text that was cut out. Raises Malformed, TooCostly, TooLarge or Invalid (one issue a fault:
    source field and FHIR element).
    """
    source = parse_body(body)
    if not isinstance(source, dict):
        raise Malformed("The message is not a JSON object.")
    form = mappings.load(format_name)
    source, cuts = cut_criminal_history(source, cut_key)
    found = [_issue(issue) for issue in form.check(source, strict)]
    _require_good(found)
    key, revision = form.key(source)
    source = {**source, "revision": revision}  # 1.0 and 1 are one integer (JSON Schema §6.1.1), and so one content
    mapped = form.apply(source)
    found += [_issue(issue) for issue in mapped.issues]
    found += _validated(validator, mapped)
    _require_good(found)
    found += [
        Issue(
            "warning",
            "suppressed",
            "Text that looks like the answer of a criminal-history system was removed before storing.",
            (),
            cut.pointer,
        )
        for cut in cuts
    ]
    found += [Issue("information", "informational", UNREAD, (), pointer) for pointer in unread_places(source)]
    digest = hashlib.sha256(canonical_json(source)).hexdigest()
    return Taken(
        format_name, key, revision, source, digest, mapped, tuple(found[:MAX_ISSUES]), tuple((cut.pointer, cut.keyed_hash) for cut in cuts)
    )


def _issue(found: Any) -> Issue:
    return Issue(found.severity, found.code, found.text, tuple(found.expression), found.source)


def _require_good(found: Sequence[Issue]) -> None:
    faults = [issue for issue in found if issue.severity in ("error", "fatal")]
    if faults:
        raise Invalid(faults[:MAX_ISSUES])


def _validated(validator: Validator, mapped: Mapped) -> list[Issue]:
    """The faults the mapped resources have as R4, each with the source field its value came from."""
    source_of = {row.target: row.source for row in mapped.trace}
    found = []
    for name, resource in mapped.resources.items():
        for issue in validator.validate(resource):
            if issue.severity == "error":
                place = issue.expression[0] if issue.expression else ""
                found.append(Issue(issue.severity, issue.code, issue.text, issue.expression, _source_of(source_of, f"{name}:{place}")))
    return found


def _source_of(source_of: Mapping[str, str | None], place: str) -> str | None:
    """The source field of an element, or of the nearest one around it that came from a field."""
    place = _OF_TYPE.sub(lambda choice: choice[1].upper() + choice[2], place)  # FHIRPath's value.ofType(string) is valueString in JSON
    while "." in place:
        if source_of.get(place) is not None:
            return source_of[place]
        place = place.rpartition(".")[0]
    return None


def take_in(services: Services, caller: Caller, format_name: str, body: bytes, *, strict: bool, dry_run: bool) -> Disclosed:
    """Answer `POST /intake/<format>`: 201 with a new receipt, 200 with a known one, or the dry run's Bundle and trace.

    Raises what `read_message` raises, DuplicateKey, Unavailable.
    """
    taken = read_message(services.validator, services.keys.cut_key, format_name, body, strict=strict)
    if dry_run:
        shown = dry_run_body(taken, caller.organization)
        return services.database.write(lambda unit: records.disclose_dry_run(unit, caller, shown))
    protocol = protocol_for(format_name)
    return services.database.write(lambda unit: _keep(unit, services, caller, taken, protocol))


def dry_run_body(taken: Taken, organization: str) -> dict[str, Any]:
    """What the sender's own record would be: a collection Bundle, the trace, and the fields no rule used."""
    entries = [{"fullUrl": f"urn:local:{name}", "resource": resource} for name, resource in taken.mapped.resources.items()]
    bundle = {"resourceType": "Bundle", "type": "collection", "entry": entries}
    return {
        "bundle": _with_urns(bundle, organization),
        "trace": [{"rule": row.rule, "source": row.source, "target": row.target, "map": row.map} for row in taken.mapped.trace],
        "unused": list(taken.mapped.unused),
        "issues": [issue.as_json() for issue in taken.issues],
        "routing": taken.mapped.routing,
    }


def _with_urns(bundle: dict[str, Any], organization: str) -> dict[str, Any]:
    """Replace local names by urn:uuid of the name, which is what a Bundle may use as fullUrl (RFC 9562 version 5)."""
    from uuid import NAMESPACE_URL, uuid5  # noqa: PLC0415 (only the dry run needs it)

    def walk(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: walk(child) for key, child in value.items()}
        if isinstance(value, list):
            return [walk(child) for child in value]
        if value == "urn:local:sender":
            return f"Organization/{organization}"
        if isinstance(value, str) and value.startswith("urn:local:"):
            return f"urn:uuid:{uuid5(NAMESPACE_URL, value)}"
        return value

    walked: dict[str, Any] = walk(bundle)
    return walked


def _keep(unit: Unit, services: Services, caller: Caller, taken: Taken, protocol: Protocol) -> Disclosed:
    """One message inside the write section: new, the same again, newer, older, or the same number with other content."""
    messages.lock_key(unit, caller.organization, taken.format, taken.key)
    known = messages.find_message(unit, caller.organization, taken.format, taken.key)
    referral = referrals.find_by_message(unit, caller.organization, taken.format, taken.key)
    same = next((message for message in known if message.revision == taken.revision), None)
    if same is not None and same.content_sha256 != taken.sha256:
        raise DuplicateKey((Issue("error", "duplicate", DuplicateKey.text, (), "/request_number"),))
    if referral is None:
        referral = _enter(unit, caller, taken, protocol)
        return disclose(unit, referral, caller, event="intake", status=201)
    if same is None:
        _keep_message(unit, caller, taken, referral.id)
        if taken.revision > max(message.revision for message in known):
            take_newer(unit, services, caller, referral, taken.mapped, taken.revision, _stored_issues(taken))
    current = referrals.find_by_message(unit, caller.organization, taken.format, taken.key)
    assert current is not None  # noqa: S101 (it was there a moment ago, and nothing deletes referrals here)
    return disclose(unit, current, caller, event="intake")


def _stored_issues(taken: Taken) -> str:
    return json.dumps([issue.as_json() for issue in taken.issues])


def _keep_message(unit: Unit, caller: Caller, taken: Taken, referral_id: str) -> None:
    messages.keep_message(
        unit,
        organization=caller.organization,
        format=taken.format,
        message_key=taken.key,
        revision=taken.revision,
        content_sha256=taken.sha256,
        body=canonical_json(taken.source).decode(),
        client=caller.client_id,
        referral=referral_id,
        cuts=taken.cuts,
    )


def _enter(unit: Unit, caller: Caller, taken: Taken, protocol: Protocol) -> ReferralRow:
    """A new referral: the sender's record, the first ledger entry and the job "offer"."""
    referral_id = new_id()
    routing = json.dumps(taken.mapped.routing, default=str, sort_keys=True)
    referral = referrals.add_referral(
        unit,
        {
            "id": referral_id,
            "receipt": new_secret()[:26],
            "organization": caller.organization,
            "format": taken.format,
            "message_key": taken.key,
            "revision": taken.revision,
            "protocol": protocol.reference,
            "phase": "open",
            "round": 1,
            "rerouted": False,
            "routing": routing,
            "issues": _stored_issues(taken),
            "next_step": json.dumps(next_step(protocol, taken.mapped.routing, unit.now), default=str),
            "view_word": "received",
            "view_since": unit.now,
            "entered_at": unit.now,
            "final_at": unit.now + protocol.final_after,
            "closes_at": unit.now + protocol.sender_closes_after,
        },
    )
    _keep_message(unit, caller, taken, referral_id)
    ledgers.open_ledger(unit, referral_id, protocol, sender=caller.organization, actor=caller.client_id)
    write_sender_record(unit, referral, taken.mapped, protocol)
    follow_person(unit, referral, lock_with_others(unit, referral), actor=caller.client_id)
    ask_next(unit, referral_id)
    outbox.enqueue(unit, CLOSE, GATEWAY, referral_id, due_at=referral.closes_at)
    return referral

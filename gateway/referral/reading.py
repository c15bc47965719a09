"""Reading a sender's message: parse, cut, check, map and validate, before anything is stored and without a store.

What comes out is good or was refused with every fault named. The same function serves the intake, its dry run and the shell.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import mappings
from gateway.access.redaction import cut_criminal_history, unread_places
from gateway.errors import Invalid, Malformed, TooCostly, TooLarge
from mappings import Format, Mapped
from profiles.engine import Validator
from profiles.issues import Issue
from profiles.strict_json import JsonFault, canonical_json, parse_json

MAX_ISSUES: Final = 200
UNREAD: Final = "The content is no text and was not looked into: see to it yourself that it holds no answer of a criminal-history system."
REMOVED: Final = "Text that looks like the answer of a criminal-history system was removed before storing."
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
    source, cuts = cut_criminal_history(form.plain(source), cut_key)
    return understand(validator, form, source, [(cut.pointer, cut.keyed_hash) for cut in cuts], strict=strict)


def understand(validator: Validator, form: Format, source: dict[str, Any], cuts: Sequence[tuple[str, str]], *, strict: bool) -> Taken:
    """Check, map and validate a message that was cut. cuts: (pointer, keyed hash) of what was cut out of it. Raises Invalid."""
    found = [_issue(issue) for issue in form.check(source, strict)]
    _require_good(found)
    key, revision = form.key(source)
    if not form.merges:
        source = {**source, "revision": revision}  # 1.0 and 1 are one integer (JSON Schema §6.1.1), and so one content
    mapped = form.apply(source)
    found += [_issue(issue) for issue in mapped.issues]
    found += _validated(validator, mapped)
    _require_good(found)
    found += [Issue("warning", "suppressed", REMOVED, (), pointer) for pointer, _ in cuts]
    found += [Issue("information", "informational", UNREAD, (), pointer) for pointer in unread_places(source)]
    digest = hashlib.sha256(canonical_json(source)).hexdigest()
    return Taken(form.name, key, revision, source, digest, mapped, tuple(found[:MAX_ISSUES]), tuple(cuts))


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

"""The transaction Bundle by which resources are pushed into a receiver's FHIR server, and the reading of its answer.

Each entry carries the identifier by which the receiver knows it again, so that a repetition makes no second copy. What is
in the resources was decided before; here only ids, versions and references take the form the wire needs.
"""

from __future__ import annotations

import uuid
from collections.abc import Collection, Mapping, Sequence
from typing import Any, Final, Literal
from urllib.parse import quote

from profiles import namespace

NOT_PUSHED: Final = frozenset({"Provenance"})
"""Without an identifier there is no way to push it twice and have it once (R4 Provenance has none)."""

OUR_SYSTEMS: Final = (namespace.SID_COPY, namespace.SID_PLACER)
"""Identifier systems in the order they are trusted to be unique for a resource of one type."""

_URI_SYSTEM: Final = "urn:ietf:rfc:3986"
_NAMES: Final = uuid.UUID("6f5d4f43-7a24-5b0c-9a44-2a1d1c4e6b10")  # for ids that are no UUIDs

ISSUE_TYPES: Final = frozenset(
    "invalid structure required value invariant security login unknown expired forbidden suppressed processing not-supported "  # noqa: SIM905
    "duplicate multiple-matches not-found deleted too-long code-invalid extension too-costly business-rule conflict transient "
    "lock-error no-store exception timeout incomplete throttled informational".split()
)
"""http://hl7.org/fhir/R4/valueset-issue-type.html: nothing else of a peer's answer is kept, lest it hold a name."""


class Unsendable(Exception):
    """A resource that could not be told from a second one at the receiver; a defect of ours, seen before anything leaves."""


def transaction_bundle(
    resources: Sequence[dict[str, Any]], base_url: str, mode: Literal["create", "update"], updates: Collection[str] = ()
) -> dict[str, Any]:
    """The transaction that brings `resources` (R4 JSON, with id) into a receiver's server.

    base_url: the gateway's own, for what is referred to and not pushed. mode: "create" by conditional create, "update" by
    conditional update (both create what is not there). updates: types the receiver can update so; of these, what has changed
    since it was first written is updated in either mode, for an older referral may have brought its first version (a Patient
    is one over all of them). Raises Unsendable.
    Source: FHIR R4 http.html#transaction, #ccreate, #cond-update.
    """
    pushed = [resource for resource in resources if resource["resourceType"] not in NOT_PUSHED]
    full_urls = {f"{resource['resourceType']}/{resource['id']}": f"urn:uuid:{_uuid_of(resource['id'])}" for resource in pushed}
    fhir_base = f"{base_url.rstrip('/')}/fhir/"
    entries = []
    for resource in pushed:
        kind = resource["resourceType"]
        address = f"{kind}/{resource['id']}"
        criterion = "identifier=" + quote("|".join(_identifier_of(resource)), safe="")
        request = {"method": "POST", "url": kind, "ifNoneExist": criterion}
        renewed = kind in updates and resource.get("meta", {}).get("versionId", "1") != "1"
        if mode == "update" or renewed:
            request = {"method": "PUT", "url": f"{kind}?{criterion}"}
        body = _for_the_wire(_point(resource, full_urls, fhir_base), fhir_base + address)
        entries.append({"fullUrl": full_urls[address], "resource": body, "request": request})
    return {"resourceType": "Bundle", "type": "transaction", "entry": entries}


def pushed_types(resources: Sequence[dict[str, Any]]) -> frozenset[str]:
    """The resource types a push would write."""
    return frozenset(resource["resourceType"] for resource in resources) - NOT_PUSHED


def _uuid_of(resource_id: str) -> uuid.UUID:
    try:
        return uuid.UUID(resource_id)
    except ValueError:
        return uuid.uuid5(_NAMES, resource_id)


def _identifier_of(resource: Mapping[str, Any]) -> tuple[str, str]:
    """System and value of the identifier that names this resource alone."""
    held = resource.get("identifier", [])
    found = {item.get("system"): item.get("value") for item in (held if isinstance(held, list) else [held]) if isinstance(item, dict)}
    for system in (*OUR_SYSTEMS, *found):
        value = found.get(system)
        if system and isinstance(value, str) and value:
            # a separator of the search grammar inside a value is escaped there (FHIR R4 search.html#escaping)
            return _escape(system), _escape(value)
    raise Unsendable(resource["resourceType"])


def _escape(value: str) -> str:
    for character in ("\\", "|", "$", ","):
        value = value.replace(character, f"\\{character}")
    return value


def _point(value: Any, full_urls: Mapping[str, str], fhir_base: str) -> Any:
    """Let references lead to the entries of this Bundle, or to the gateway by absolute URL."""
    if isinstance(value, dict):
        pointed = {key: _point(child, full_urls, fhir_base) for key, child in value.items()}
        if isinstance(value.get("reference"), str):
            pointed["reference"] = _target(value["reference"], full_urls, fhir_base)
        return pointed
    if isinstance(value, list):
        return [_point(item, full_urls, fhir_base) for item in value]
    return value


def _target(reference: str, full_urls: Mapping[str, str], fhir_base: str) -> str:
    local = reference.removeprefix(fhir_base)
    unversioned = local.partition("/_history/")[0]
    if unversioned in full_urls:
        return full_urls[unversioned]
    if local.startswith("#") or ":" in local.partition("/")[0]:
        return reference
    return fhir_base + local.lstrip("/")


def _for_the_wire(resource: dict[str, Any], address: str) -> dict[str, Any]:
    """Drop what the receiver's server sets itself, and say where the live resource is."""
    meta = {key: value for key, value in resource.get("meta", {}).items() if key not in ("versionId", "lastUpdated")}
    body = {key: value for key, value in resource.items() if key not in ("id", "meta", "resourceType")}
    if resource["resourceType"] == "Task":
        # the receiver's Task is a copy: it is answered at this address (DESIGN §3)
        live = {"system": _URI_SYSTEM, "value": address}
        body["identifier"] = [*(item for item in body.get("identifier", []) if item != live), live]
    return {"resourceType": resource["resourceType"], "meta": {**meta, "source": address}, **body}


def entry_statuses(answer: Any) -> list[int] | None:
    """The status of each entry of a transaction-response, or None when the answer is none."""
    if not isinstance(answer, dict) or answer.get("resourceType") != "Bundle" or answer.get("type") != "transaction-response":
        return None
    statuses = []
    for entry in answer.get("entry") or []:
        response = entry.get("response") if isinstance(entry, dict) else None
        word = str(response.get("status", "")) if isinstance(response, dict) else ""
        if not (word[:3].isascii() and word[:3].isdigit() and word[3:4] in ("", " ")):
            return None
        statuses.append(int(word[:3]))
    return statuses


def issue_codes(answer: Any) -> tuple[str, ...]:
    """The issue types of an OperationOutcome, or of those inside a Bundle's entries; at most ten, in order."""
    found: dict[str, None] = {}
    for outcome in _outcomes(answer):
        issues = outcome.get("issue")
        for issue in issues if isinstance(issues, list) else []:
            code = issue.get("code") if isinstance(issue, dict) else None
            if isinstance(code, str) and code in ISSUE_TYPES:
                found[code] = None
    return tuple(found)[:10]


def _outcomes(answer: Any) -> list[dict[str, Any]]:
    if not isinstance(answer, dict):
        return []
    if answer.get("resourceType") == "OperationOutcome":
        return [answer]
    entries = answer.get("entry") if answer.get("resourceType") == "Bundle" else None
    responses = [entry.get("response") for entry in entries or [] if isinstance(entry, dict)]
    return [response["outcome"] for response in responses if isinstance(response, dict) and isinstance(response.get("outcome"), dict)]

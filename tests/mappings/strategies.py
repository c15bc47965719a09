"""Messages that the published schema admits, made from the schema itself; times are put in the order in which they may happen."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import Any

from hypothesis import strategies as st

from mappings.checker import resolve
from tests.mappings.messages import SCHEMA

ZONE = timezone(timedelta(hours=-8))
NOON = datetime(2026, 11, 24, 12, tzinfo=ZONE)

_text = st.text(st.characters(codec="utf-8", categories=("L", "N", "P", "S", "Zs")), min_size=1, max_size=12)
_spoken = _text.filter(lambda text: not text.isspace() and not text.lstrip().startswith("urn:local:"))
_instants = st.integers(0, 3600).map(lambda seconds: (NOON + timedelta(seconds=seconds)).isoformat())
_dates = st.dates(max_value=datetime(2003, 1, 1).date(), min_value=datetime(1930, 1, 1).date()).map(str)  # noqa: DTZ001 (only its date)

BY_DEFINITION: dict[str, st.SearchStrategy[Any]] = {
    "line": _spoken,
    "text": _spoken,
    "number": st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._/#-]{0,8}", fullmatch=True),
    "instant": _instants,
    "date": _dates | _dates.map(lambda day: day[:7]) | _dates.map(lambda day: day[:4]),
    "day_or_instant": _dates | _instants,
    "phone": st.from_regex(r"\+1 [0-9]{3} [0-9]{4}", fullmatch=True),
    "email": st.from_regex(r"[a-z.]{1,6}@[a-z]{1,6}\.example", fullmatch=True),
    "organisation": st.sampled_from(["sender", "alder-case-management", "northside-clinic"]),
}


def of_schema(node: Any) -> st.SearchStrategy[Any]:
    """Values of a subschema; lists are short, optional fields come and go."""
    reference = node.get("$ref", "").rpartition("/")[2]
    if reference in BY_DEFINITION:
        return BY_DEFINITION[reference]
    found = resolve(SCHEMA, node)
    kind = found["type"]
    if kind == "object":
        fields = {name: of_schema(child) for name, child in found["properties"].items()}
        needed = set(found.get("required", ()))
        return st.fixed_dictionaries(
            {name: field for name, field in fields.items() if name in needed},
            optional={name: field for name, field in fields.items() if name not in needed},
        ).filter(lambda made: len(made) >= found.get("minProperties", 0))
    if kind == "array":
        unique = {"unique_by": str} if found.get("uniqueItems") else {}
        return st.lists(of_schema(found["items"]), max_size=2, **unique)
    if kind == "string":
        return st.sampled_from(found["enum"]) if "enum" in found else _written(found)
    if kind == "boolean":
        return st.booleans()
    low = found.get("minimum", found.get("exclusiveMinimum"))
    if kind == "integer":
        return st.integers(low, found["maximum"])
    return st.integers(low + 1, int(found["maximum"])) | st.decimals(low, found["maximum"], places=3).filter(lambda n: n > low).map(float)


def _written(found: dict[str, Any]) -> st.SearchStrategy[str]:
    if found.get("format") == "base64":
        return st.sampled_from(["", "YQ==", "SGVsbG8="])
    if found["pattern"].startswith("^https"):
        return st.just("https://rms.example/form.pdf")
    return st.from_regex(found["pattern"].replace("$", r"\Z"), fullmatch=True)


def _made_possible(message: dict[str, Any]) -> dict[str, Any]:
    """Put times in order, answer each criterion once, and let a person have a name or none: what the schema says across fields."""
    person = message["person"]
    if person.get("unidentified"):
        person.pop("name", None)
    else:
        person.setdefault("identifier", "P-1")
        person.setdefault("name", {"family": "Marsh"})
    contact, handoff = message["contact"], message.get("warm_handoff", {})
    times = sorted([contact["started_at"], contact.get("ended_at", contact["started_at"]), message["requested_at"]])
    contact["started_at"], message["requested_at"] = times[0], times[2]
    if "ended_at" in contact:
        contact["ended_at"] = times[1]
    if "wait_until" in handoff:
        handoff["wait_until"] = (NOON + timedelta(hours=2)).isoformat()
    for consent in message.get("consents", ()):
        if "expires" in consent:
            consent["expires"] = "2027-01-31"
        if not consent.get("source", {"url": 1}).keys() & {"url", "data", "title"}:
            consent["source"]["title"] = "Form"
    for offence in message.get("probable_cause", {}).get("offences", ()):
        if "amount" in offence.get("drug", {}):
            offence["drug"].setdefault("unit", "g")
    message["exclusions"] = list({entry["criterion"]: entry for entry in message["exclusions"]}.values())
    return message


def messages() -> st.SearchStrategy[dict[str, Any]]:
    """Diversion requests that must be accepted."""
    return of_schema(SCHEMA).map(_made_possible)

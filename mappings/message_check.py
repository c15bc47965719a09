"""Hold a message against its format: the published JSON Schema, unknown fields, times that contradict each other, named checks.

Every fault is reported, each with the JSON pointer of its field; none carries a value of the message.
Source: JSON Schema draft 2020-12; the dates are those of FHIR R4 (a day that does not exist is a fault).
"""

from __future__ import annotations

import base64
import binascii
import re
from calendar import monthrange
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, date, datetime, timedelta
from typing import Any, Final

import jsonschema_rs

from mappings.checker import resolve
from mappings.functions import CHECKS, Fault
from mappings.model import RESERVED
from mappings.readers.json_pointer import MISSING, compile_path, escaped, pointer_below, values
from mappings.rules import Order, Table

MAX_FAULTS: Final = 200
# The zones of R4's dateTime; Python reads offsets up to a day.
DATE_TIME: Final = re.compile(r"\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}(\.\d{1,9})?(Z|[+-]((0\d|1[0-3]):[0-5]\d|14:00))", re.ASCII)
DATE: Final = re.compile(r"\d{4}(-\d{2}(-\d{2})?)?", re.ASCII)
FIRST_ZONE: Final = timedelta(hours=14)
LAST_ZONE: Final = timedelta(hours=12)
DAY: Final = timedelta(days=1)

# kind of JSON Schema fault → (issue-type code, sentence); {limit} and {format} are the schema's own, never the message's
SENTENCES: Final[Mapping[str, tuple[str, str]]] = {
    "required": ("required", "The field is needed."),
    "type": ("structure", "The field is of another JSON type than the schema names."),
    "enum": ("code-invalid", "The code is not one of those the schema lists."),
    "const": ("value", "The field has only one possible value here."),
    "maxLength": ("too-long", "The text is longer than {limit} characters."),
    "minLength": ("value", "The text is shorter than {limit} characters."),
    "maxItems": ("too-long", "The list has more than {limit} entries."),
    "minItems": ("required", "The list has fewer than {limit} entries."),
    "maximum": ("value", "The number is larger than {limit}."),
    "minimum": ("value", "The number is smaller than {limit}."),
    "exclusiveMinimum": ("value", "The number must be larger than {limit}."),
    "pattern": ("value", "The text is not written as the schema asks."),
    "uniqueItems": ("value", "An entry of the list stands twice."),
    "minProperties": ("required", "The object has no field."),
    "anyOf": ("required", "One of several fields is needed; the schema names them."),
    "falseSchema": ("business-rule", "The field has no place beside the others."),
}
# Keywords that speak of one plain value: a wrong value breaks several at once and is one fault, told by the first of these.
OF_A_VALUE: Final = ("type", "enum", "maxLength", "format", "minLength", "pattern", "maximum", "minimum", "exclusiveMinimum")
FORMATS: Final[Mapping[str, str]] = {
    "date-time": "Not an instant that exists, with its time zone, such as 2026-11-24T02:14:00-08:00.",
    "date": "Not a date that exists, written YYYY, YYYY-MM or YYYY-MM-DD.",
    "day-or-instant": "Not a date, or an instant with its time zone, that exists.",
    "base64": "Not base64 (RFC 4648 §4).",
}


def span_of(text: Any) -> tuple[datetime, datetime] | None:
    """First and last instant that a FHIR date or dateTime may mean, in UTC; None where it is no such time.

    A date has no zone: it is taken at its widest, from the first place on Earth where the day starts to the last where it
    ends, so that only what contradicts everywhere is a contradiction.
    """
    if not isinstance(text, str):
        return None
    try:
        if DATE_TIME.fullmatch(text):
            at = datetime.fromisoformat(text).astimezone(UTC)
            return at, at
        if DATE.fullmatch(text):
            first, last = _days_of(text)
            return _midnight(first) - FIRST_ZONE, _midnight(last) + DAY + LAST_ZONE
    except (ValueError, OverflowError):
        return None
    return None


def _midnight(day: date) -> datetime:
    return datetime(day.year, day.month, day.day, tzinfo=UTC)


def _days_of(text: str) -> tuple[date, date]:
    parts = [int(part) for part in text.split("-")]
    if len(parts) == 3:
        day = date(parts[0], parts[1], parts[2])
        return day, day
    if len(parts) == 1:
        return date(parts[0], 1, 1), date(parts[0], 12, 31)
    return date(parts[0], parts[1], 1), date(parts[0], parts[1], monthrange(parts[0], parts[1])[1])


def _is_date_time(text: Any) -> bool:
    return not isinstance(text, str) or (DATE_TIME.fullmatch(text) is not None and span_of(text) is not None)


def _is_date(text: Any) -> bool:
    return not isinstance(text, str) or (DATE.fullmatch(text) is not None and span_of(text) is not None)


def _is_day_or_instant(text: Any) -> bool:
    return _is_date(text) or _is_date_time(text)


def _is_base64(text: Any) -> bool:
    # R4 base64Binary; a lone regex over megabytes is slower than the C decoder by orders
    if not isinstance(text, str):
        return True
    try:
        base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return False
    return True


def compile_schema(schema: Mapping[str, Any]) -> Callable[[Any], Iterator[Fault]]:
    """A closure that yields every fault of a message against the schema; formats are asserted."""
    checks = {"date-time": _is_date_time, "date": _is_date, "day-or-instant": _is_day_or_instant, "base64": _is_base64}
    validator = jsonschema_rs.Draft202012Validator(dict(schema), validate_formats=True, formats=checks)

    def faults(message: Any) -> Iterator[Fault]:
        found: dict[tuple[str, str], tuple[int, Fault]] = {}
        for error in validator.iter_errors(message):
            kind: Any = error.kind  # its members depend on the keyword; the package's types do not say so
            pointer = "".join(f"/{escaped(str(step))}" for step in error.instance_path)
            if kind.name == "required":
                pointer += f"/{escaped(kind.property)}"
            rank = OF_A_VALUE.index(kind.name) if kind.name in OF_A_VALUE else 0
            place = (pointer, "" if kind.name in OF_A_VALUE else kind.name)
            if place not in found or rank < found[place][0]:
                found[place] = (rank, _fault_of(kind, pointer))
            if len(found) >= MAX_FAULTS:
                break  # more are not told, and a message of nothing but faults must not cost more than a good one
        yield from (fault for _, fault in found.values())

    return faults


def _fault_of(kind: Any, pointer: str) -> Fault:
    if kind.name == "format":
        return Fault(pointer, "value", FORMATS.get(kind.format, "Not of the format the schema names."))
    code, text = SENTENCES.get(kind.name, ("value", "The field breaks a rule of the schema."))
    return Fault(pointer, code, text.format(limit=getattr(kind, "limit", "")))


def unknown_fields(schema: Mapping[str, Any], message: Any) -> Iterator[str]:
    """Pointers of the fields the schema does not describe; below such a field nothing is looked at."""
    pending: list[tuple[Any, Any, str]] = [(schema, message, "")]
    while pending:
        subschema, value, pointer = pending.pop()
        node = resolve(schema, subschema)
        if isinstance(value, dict) and "properties" in node:
            for name, child in value.items():
                here = f"{pointer}/{escaped(name)}"
                if name in node["properties"]:
                    pending.append((node["properties"][name], child, here))
                else:
                    yield here
        elif isinstance(value, list) and "items" in node:
            pending.extend((node["items"], child, f"{pointer}/{index}") for index, child in enumerate(value))


def reserved_texts(message: Any) -> Iterator[Fault]:
    """Texts that would be taken for a reference of the mapping's own output."""
    for value, pointer in values(message, ""):
        if isinstance(value, str) and value.lstrip().startswith(RESERVED):
            yield Fault(pointer, "value", f"The text begins with {RESERVED}, which is reserved.")


def order_faults(table: Table, message: Any) -> Iterator[Fault]:
    """Times that contradict each other by the table's `orders`."""
    for order in table.orders:
        items = [(None, "")]
        if order.each:
            found = compile_path(order.each)(message, None)
            items = [(item, f"{order.each}/{i}") for i, item in enumerate(found)] if isinstance(found, list) else []
        for item, base in items:
            if _contradicts(order, message, item):
                yield Fault(pointer_below(base, order.later), "value", order.text)


def _contradicts(order: Order, message: Any, item: Any) -> bool:
    earlier, later = (compile_path(path)(message, item) for path in (order.earlier, order.later))
    if earlier is MISSING or later is MISSING:
        return False
    first, last = span_of(earlier), span_of(later)
    return first is not None and last is not None and first[0] > last[1]


def named_faults(table: Table, message: dict[str, Any]) -> Iterator[Fault]:
    """What the table's registered checks find."""
    for name in table.checks:
        yield from CHECKS[name](message)

"""Values of FHIR R4 primitive types: is this JSON value one of them?

A test takes any JSON value and answers None, or a sentence on what is wrong; it never repeats the value. The patterns are those of the
specification, written so that matching is linear, with the rules a pattern cannot hold: real days, number ranges, lengths.
Source: https://hl7.org/fhir/R4/datatypes.html#primitive.
"""

from __future__ import annotations

import math
import re
from calendar import monthrange
from collections.abc import Callable
from decimal import Decimal
from typing import Any, Final

PrimitiveTest = Callable[[Any], str | None]

_YEAR = r"(?!0000)[0-9]{4}"
_TIME = r"(?:[01][0-9]|2[0-3]):[0-5][0-9]:(?:[0-5][0-9]|60)(?:\.[0-9]+)?"
_ZONE = r"(?:Z|[+-](?:(?:0[0-9]|1[0-3]):[0-5][0-9]|14:00))"
_DAY = rf"({_YEAR})-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])"

_DATE: Final = re.compile(rf"{_DAY}|{_YEAR}(?:-(?:0[1-9]|1[0-2]))?", re.ASCII)
_DATE_TIME: Final = re.compile(rf"{_DAY}(?:T{_TIME}{_ZONE})?|{_YEAR}(?:-(?:0[1-9]|1[0-2]))?", re.ASCII)
_INSTANT: Final = re.compile(rf"{_DAY}T{_TIME}{_ZONE}", re.ASCII)
_BASE64: Final = re.compile(r"(?:[A-Za-z0-9+/]{4})*+(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?", re.ASCII)
_CONTROL: Final = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f]")
_UUID_URN: Final = re.compile(r"urn:uuid:[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", re.ASCII | re.IGNORECASE)
_OID_URN: Final = re.compile(r"urn:oid:[0-2](?:\.(?:0|[1-9][0-9]*))+", re.ASCII)
_UUID: Final = re.compile(r"urn:uuid:[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", re.ASCII)

# "FHIR strings SHALL NOT exceed 1MB in size" (datatypes, string); the definition counts 1024*1024 characters.
_STRING_CHARACTERS: Final = 1024 * 1024
_INT_MAX: Final = 2**31 - 1


def _boolean(value: Any) -> str | None:
    return None if value is True or value is False else "A JSON true or false is needed."


def _whole(low: int, high: int) -> PrimitiveTest:
    text = f"A JSON whole number from {low} to {high} is needed."
    return lambda value: None if type(value) is int and low <= value <= high else text


def _decimal(value: Any) -> str | None:
    if type(value) is int or (type(value) is Decimal and value.is_finite()) or (type(value) is float and math.isfinite(value)):
        return None
    return "A JSON number is needed."


def _string(value: Any) -> str | None:
    if type(value) is not str:
        return "A JSON string is needed."
    if not value:
        return "A string is never empty."
    if len(value) > _STRING_CHARACTERS:
        return "A string is at most 1 MB long."
    return "A string holds no control characters but tab, CR and LF." if _CONTROL.search(value) else None


def _matching(pattern: str | re.Pattern[str], text: str) -> PrimitiveTest:
    match = re.compile(pattern, re.ASCII).fullmatch if isinstance(pattern, str) else pattern.fullmatch

    def test(value: Any) -> str | None:
        if type(value) is not str:
            return "A JSON string is needed."
        return None if match(value) else text

    return test


def _dated(pattern: re.Pattern[str], text: str) -> PrimitiveTest:
    match = pattern.fullmatch

    def test(value: Any) -> str | None:
        if type(value) is not str:
            return "A JSON string is needed."
        found = match(value)
        if found is None:
            return text
        year, month, day = found.groups()
        if day is not None and day > "28" and int(day) > monthrange(int(year), int(month))[1]:
            return "The calendar has no such day."
        return None

    return test


def _uri(value: Any) -> str | None:
    if type(value) is not str:
        return "A JSON string is needed."
    if not value or any(character in value for character in " \t\n\r\x0b\x0c"):
        return "A URI has no white space and is never empty."
    if value[:9] == "urn:uuid:" and not _UUID_URN.fullmatch(value):
        return "After urn:uuid: stands a UUID."
    if value[:8] == "urn:oid:" and not _OID_URN.fullmatch(value):
        return "After urn:oid: stands an OID."
    return None


def _base64(value: Any) -> str | None:
    if type(value) is not str:
        return "A JSON string is needed."
    return None if value and _BASE64.fullmatch("".join(value.split())) else "Base64 text is needed."


PRIMITIVES: Final[dict[str, PrimitiveTest]] = {
    "boolean": _boolean,
    "integer": _whole(-(2**31), _INT_MAX),
    "unsignedInt": _whole(0, _INT_MAX),
    "positiveInt": _whole(1, _INT_MAX),
    "decimal": _decimal,
    "string": _string,
    "markdown": _string,
    "xhtml": _string,  # the narrative rules look inside
    # The prose narrows the published pattern to single spaces: "no whitespace other than single spaces in the contents".
    "code": _matching(r"[^\s\x00-\x1f]+(?: [^\s\x00-\x1f]+)*", "A code has no outer white space and only single spaces inside."),
    "id": _matching(r"[A-Za-z0-9\-.]{1,64}", "An id is 1 to 64 letters, digits, - and ."),
    "uri": _uri,
    "url": _uri,
    "canonical": _uri,
    "uuid": _matching(_UUID, "A UUID as urn:uuid: in lower case is needed."),
    "oid": _matching(_OID_URN, "An OID as urn:oid: is needed."),
    "base64Binary": _base64,
    "date": _dated(_DATE, "A date is YYYY, YYYY-MM or YYYY-MM-DD."),
    "dateTime": _dated(_DATE_TIME, "A dateTime is a date, or a day with a time to the second and its zone."),
    "instant": _dated(_INSTANT, "An instant is a day with a time to the second and its zone."),
    "time": _matching(_TIME, "A time is hh:mm:ss without a zone."),
}


def not_after(start: str, end: str) -> bool:
    """Whether start <= end is certain, for two valid values of date, dateTime or instant.

    Two values that agree as far as both go and then differ in precision are not comparable in FHIRPath: the invariant's result is empty,
    which is not true. HL7's validator refuses such a period, so a receiver may, and so do we.
    """
    if "T" in start and "T" in end:
        return _seconds(start) <= _seconds(end)
    shared = min(len(start.partition("T")[0]), len(end.partition("T")[0]))
    if start[:shared] != end[:shared]:
        return start[:shared] < end[:shared]
    return len(start) == len(end) == shared


def _seconds(moment: str) -> Decimal:
    """Seconds on the UTC line; a leap second counts as the first one of the next minute."""
    day, _, clock = moment.partition("T")
    local, zone = (clock[:-1], 0) if clock.endswith("Z") else (clock[:-6], int(clock[-5:-3]) * 60 + int(clock[-2:]))
    if clock[-6:-5] == "-":
        zone = -zone
    year, month, date = (int(part) for part in day.split("-"))
    hours, minutes, seconds = local.split(":")
    # Days of the proleptic Gregorian calendar, counted without datetime: its years end at 9999, and zones would overflow there.
    shifted, moved = (year - 1, month + 9) if month <= 2 else (year, month - 3)
    days = 365 * shifted + shifted // 4 - shifted // 100 + shifted // 400 + (153 * moved + 2) // 5 + date
    return Decimal((days * 24 * 60 + int(hours) * 60 + int(minutes) - zone) * 60) + Decimal(seconds)

"""Accessors of a NIEM person in JSON, where every element is a list of objects: nothing is indexed blindly.

Source: NIEM 4 nc:PersonType as NENA-STA-021.1b carries it (NIEMComponents/nc.yaml).
"""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from typing import Any, Final

OLDEST_YEARS: Final = 130

Path = tuple[str, ...]

# Paths through the lists of an ncPersonComponent by field of the tree; of a single one the first entry that says something counts.
NAME: Final[dict[str, Path]] = {
    "family": ("name", "personSurName", "value"),
    "suffix": ("name", "suffix", "value"),
    "full": ("name", "personFullName", "value"),
}
GIVEN: Final[dict[str, tuple[Path, ...]]] = {"given": (("name", "personGivenName", "value"), ("name", "personMiddleName", "value"))}
PERSON: Final[dict[str, Path]] = {
    "birth_date": ("birthDate", "date", "value"),
    "sex": ("sexCode", "simpleType"),
    "language": ("primaryLanguage", "languageCode", "simpleType"),
    "age": ("ageDescription", "value"),
}
SAID: Final[dict[str, tuple[Path, ...]]] = {
    "looks": (("description", "value"), ("generalAppearanceDescription", "value")),
    "state": (
        ("mentalState", "value"),
        ("moodDescription", "value"),
        ("medicalCondition", "text", "value"),
        ("medicationRequired", "value"),
        ("physicalDisability", "value"),
    ),
}


def texts_at(node: Any, pointer: str, path: Path) -> Iterator[tuple[str, str]]:
    """Each text at the end of a path; of a list the entries in turn, of `name` only the first, for the others are aliases."""
    if not path:
        if text_in(node):
            yield pointer, text_in(node)
        return
    child = node.get(path[0]) if isinstance(node, dict) else None
    below = f"{pointer}/{path[0]}"
    if not isinstance(child, list):
        yield from texts_at(child, below, path[1:])
        return
    for index, entry in enumerate(child[:1] if path[0] == "name" else child):
        yield from texts_at(entry, f"{below}/{index}", path[1:])


def years_at(niem: Any, base: str) -> Iterator[tuple[str, int]]:
    """Ages in whole years; a measure in another unit is no age of somebody one looks for by years."""
    for index, measure in enumerate(list_in(niem.get("ageMeasure") if isinstance(niem, dict) else None)):
        units = [text for _, text in texts_at(measure, "", ("timeUnitCode", "simpleType"))]
        for name in ("integerValue", "unsignedIntegerValue") if units in ([], ["ANN"]) else ():
            for place, entry in enumerate(list_in(measure.get(name) if isinstance(measure, dict) else None)):
                years = entry.get("value") if isinstance(entry, dict) else None
                if isinstance(years, (int, Decimal)) and not isinstance(years, bool) and 0 <= years <= OLDEST_YEARS and years == int(years):
                    yield f"{base}/ageMeasure/{index}/{name}/{place}/value", int(years)


def list_in(value: Any) -> list[Any]:
    """A list, or none."""
    return value if isinstance(value, list) else []


def text_in(value: Any) -> str:
    """A text without blanks around it; "" for anything else."""
    return value.strip() if isinstance(value, str) else ""

"""What of a receiver's write is stored. A receiver writes on what it was served: what was hidden from it stays as it is stored."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gateway.access.keep import modifier_places
from gateway.errors import Invalid
from profiles.issues import Issue


def taken_over(stored: Any, served: Any, wanted: Any) -> Any:
    """One element as it is to be stored; None where it is to be absent.

    stored, served, wanted: the element as it is, as its writer may read it, and as the writer wants it; None where absent. Entries
    of a list are looked at one by one; of a list that was cut nothing is taken out, and what is new comes behind.
    """
    if wanted == served:
        return stored
    if not isinstance(stored, list) or not isinstance(wanted, list):
        return wanted
    shown = served or []
    if len(shown) != len(stored):
        return [*stored, *(entry for entry in wanted if entry not in stored and entry not in shown)]
    left = list(range(len(shown)))
    found = []
    for entry in wanted:
        place = next((place for place in left if shown[place] == entry), None)
        if place is not None:
            left.remove(place)
        found.append(entry if place is None else stored[place])
    return found


def require_no_modifier(wanted: Mapping[str, Any]) -> None:
    """Refuse what would change the meaning of all the rest (R4 extensibility, 2.4.1): no part of it could be shown. Raises Invalid."""
    text = "A modifierExtension or implicitRules is not taken here."
    places = modifier_places(wanted)
    if places:
        raise Invalid([Issue("error", "not-supported", text, (place,)) for place in places])

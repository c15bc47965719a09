"""The components of an EIDO: which there are, when each was last updated, and two EIDOs of one incident as one.

An EIDO is a snapshot of what one agency knew; a component counts by its own time stamp, not by the message it came in. What a later
message leaves out stays: an EIDO may carry only what has changed.
Source: NENA-STA-021.1b (EIDO 1.0), PrologueType and EmergencyIncidentDataObjectType.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any, Final

from mappings.message_check import DATE_TIME
from mappings.readers.json_pointer import escaped
from mappings.readers.reader import Merge

STAMP: Final = "lastUpdateTimeStamp"
INCIDENT: Final = "incidentComponent"
LISTS: Final = (
    "mergeComponent",
    "linkComponent",
    "callComponent",
    "callbackComponent",
    "dispatchComponent",
    "alarmsSensorsComponent",
    "agencyComponent",
    "agentComponent",
    "notesComponent",
    "additionalDataComponent",
    "locationComponent",
    "personComponent",
    "vehicleComponent",
    "emergencyResourceComponent",
)

Instant = tuple[datetime, str]


def instant_of(text: Any) -> Instant | None:
    """A time stamp to compare by: the UTC second, and the digits of its fraction, of which Python's own would keep six."""
    found = DATE_TIME.fullmatch(text) if isinstance(text, str) else None
    if found is None:
        return None
    fraction = found[1] or ""
    try:
        second = datetime.fromisoformat(str(text).replace(fraction, "", 1) if fraction else str(text)).astimezone(UTC)
    except (ValueError, OverflowError):
        return None
    return second, fraction.strip(".").rstrip("0")


def entries_of(message: dict[str, Any], name: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Pointer and content of each entry of a list that is one, and of the incident, which there is at most once."""
    found = message.get(name)
    if name == INCIDENT and isinstance(found, dict):
        yield f"/{name}", found
    for index, entry in enumerate(found if isinstance(found, list) else ()):
        if isinstance(entry, dict):
            yield f"/{name}/{index}", entry


def components_of(message: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Every component with its pointer, the incident first."""
    for name in (INCIDENT, *LISTS):
        yield from entries_of(message, name)


def merge(stored: dict[str, Any], sent: dict[str, Any]) -> Merge:
    """What is known of an incident after one more message about it.

    Stored components keep their places and new ones follow, so that what was made of a component stays at its place.
    """
    merging = _Merging()
    header = merging.newer("", _header(stored), _header(sent), "")
    message = dict(header)
    if INCIDENT in stored or INCIDENT in sent:
        message[INCIDENT] = merging.newer(f"/{INCIDENT}", stored.get(INCIDENT), sent.get(INCIDENT), f"/{INCIDENT}")
    for name in LISTS:
        if name in stored or name in sent:
            message[name] = merging.list_of(name, _entries(stored, name), _entries(sent, name))
    return Merge(message, merging.changed, merging.older, tuple(merging.conflicts), merging.taken)


class _Merging:
    def __init__(self) -> None:
        self.changed = False
        self.older = False
        self.conflicts: list[str] = []
        self.taken: dict[str, str] = {}

    def list_of(self, name: str, stored: list[Any], sent: list[Any]) -> list[Any]:
        merged = list(stored)
        places = {_id(entry): place for place, entry in enumerate(stored)}
        for index, entry in enumerate(sent):
            place = places.get(_id(entry))
            if place is None:
                places[_id(entry)] = place = len(merged)
                merged.append(None)
            merged[place] = self.newer(f"/{name}/{index}", merged[place], entry, f"/{name}/{place}")
        return merged

    def newer(self, pointer: str, stored: Any, sent: Any, place: str) -> Any:
        """Of two versions of one component the one that counts. pointer: of the sent one. place: where it stands after."""
        if not isinstance(sent, dict):
            return stored
        if not isinstance(stored, dict):
            return self._take(pointer, sent, place)
        before, now = instant_of(stored.get(STAMP)), instant_of(sent.get(STAMP))
        if before == now:
            if not same(_without_stamp(stored), _without_stamp(sent)):
                self.conflicts.append(pointer or f"/{STAMP}")
            return stored
        if now is None or (before is not None and now < before):
            self.older = True
            return stored
        return self._take(pointer, sent, place)

    def _take(self, pointer: str, sent: Any, place: str) -> Any:
        self.changed = True
        # the message itself is no part that everything else stands under: of it each field is one
        self.taken |= {pointer: place} if pointer else {f"/{escaped(name)}": f"/{escaped(name)}" for name in sent}
        return sent


def same(one: Any, other: Any) -> bool:
    """Whether two JSON values are equal; true is not 1."""
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(same(value, other[name]) for name, value in one.items())
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(same(*pair) for pair in zip(one, other, strict=True))
    return isinstance(one, bool) == isinstance(other, bool) and bool(one == other)


def _header(message: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in message.items() if name != INCIDENT and name not in LISTS}


def _entries(message: dict[str, Any], name: str) -> list[Any]:
    return [entry for _, entry in entries_of(message, name)]


def _without_stamp(component: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in component.items() if name != STAMP}


def _id(component: dict[str, Any]) -> str:
    return str(component.get("$id")).strip()

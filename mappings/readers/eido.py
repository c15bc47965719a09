"""An EIDO as the tree its table reads: components joined by their `$id`, persons and places by what the message says they are.

The person in crisis is who has the role Patient, and nobody else: a caller is a caller, a suspect stays on the public-safety side.
The person's place is the incident's, or one the Patient refers to; where a call came from or was routed by is a location of the
call. What does not resolve is left out here and named by a check. Nothing is fetched by URL.
Source: NENA-STA-021.1b (EIDO 1.0); NIEM 4 nc:PersonType; RFC 3966 (tel).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from mappings.readers.eido_components import STAMP, Instant, components_of, entries_of, instant_of, merge
from mappings.readers.eido_locations import INCIDENT_PLACES, OF_THE_NETWORK, PLACES, Part, is_plain, kind_of, location_fields
from mappings.readers.markup import text_of
from mappings.readers.niem_person import GIVEN, NAME, PERSON, SAID, Path, list_in, text_in, texts_at, years_at
from mappings.readers.reader import READERS, Reader, View

PATIENT: Final = "Patient"
CALLERS: Final = ("Caller", "ReportingParty")
# Other roles (Suspect, Victim, Witness …) are the agency's business and are not mapped.
RELATED: Final = (*CALLERS, "PatientRelative", "PatientAcquaintance", "VictimRelative")
STATUSES: Final = ("Active", "ResourcesAssigned", "ResourcesEnroute", "ResourcesOnscene", "Closed", "Cancelled", "ReOpened")

# Where in the schema a place of the tree comes from; list entries are *.
FIELDS: Final = {
    "/key": "/$id",
    "/incident_id": "/$id",
    "/incident_type": "/incidentComponent/incidentTypeCommonRegistryText",
    "/incident_status": "/incidentComponent/incidentStatusCommonRegistryText/*",
    "/newest": f"/{STAMP}",
    "/issuer": "/issuingElementIdentification",
    "/agency": "/updatedByAgencyReference",
    "/incident": "/incidentComponent",
    "/call": "/callComponent/*",
    "/patient": "/personComponent/*",
    "/patient/callback": "/callbackComponent/*/callBackInformationUri",
    "/related/*": "/personComponent/*",
    "/related/*/callback": "/callbackComponent/*/callBackInformationUri",
    "/place": "/locationComponent/*",
    "/place/civic": "/locationComponent/*/locationByValue",
    "/place/point": "/locationComponent/*/locationByValue",
    "/call_locations/*": "/locationComponent/*",
    "/call_locations/*/civic": "/locationComponent/*/locationByValue",
    "/call_locations/*/point": "/locationComponent/*/locationByValue",
    "/notes/*": "/notesComponent/*",
}


def plain(message: Any) -> Any:
    """The message with each note, which is HTML5, as text: so that whoever looks for something in it reads what a person would."""
    notes = message.get("notesComponent") if isinstance(message, dict) else None
    if not isinstance(notes, list):
        return message
    return {**message, "notesComponent": [_plain_note(note) for note in notes]}


def _plain_note(note: Any) -> Any:
    text = note.get("notesActionComments") if isinstance(note, dict) else None
    return {**note, "notesActionComments": text_of(text)} if isinstance(text, str) else note


def view(message: Any) -> View:
    """The tree of a message; view.json beside its table has the fields."""
    if not isinstance(message, dict):
        return View()
    return _Reading(message).read()


def reference_in(value: Any) -> str:
    """The `$id` a reference names; "" where it is none."""
    return text_in(value.get("$ref")) if isinstance(value, dict) else ""


class _Reading:
    """One message while it is read."""

    def __init__(self, message: dict[str, Any]) -> None:
        self.message = message
        self.view = View()
        self.by_id: dict[tuple[str, str], Part] = {}
        for pointer, component in components_of(message):
            kind = pointer.split("/")[1]
            self.by_id.setdefault((kind, text_in(component.get("$id"))), (pointer, component))
            self.view.used |= {f"{pointer}/$id", f"{pointer}/{STAMP}"}

    def read(self) -> View:
        self._header()
        self._incident()
        calls = list(entries_of(self.message, "callComponent"))
        if calls:
            self._put_below("/call", min(calls, key=_first_started))
        persons = list(entries_of(self.message, "personComponent"))
        patient = next((part for part in persons if PATIENT in self._roles(part)), None)
        callbacks = self._callbacks(calls, persons)
        if patient is not None:
            self.view.tree["patient"] = self._person("/patient", patient, callbacks.pop(patient[0], None))
        self.view.tree["related"] = []
        for part in persons:
            roles = self._roles(part)
            if PATIENT not in roles and any(role in RELATED for role in roles):
                self._related(part, callbacks.pop(part[0], None))
        for pointer, callback in callbacks.items():
            if pointer.startswith("/callComponent"):
                self._related(None, callback)
        self._locations(patient)
        self._notes()
        return self.view

    # --- placing ---

    def _put(self, place: str, value: Any, source: str) -> Any:
        """A value of the tree that one place of the message gives; returns it."""
        self.view.at[place] = source
        return value

    def _put_below(self, place: str, part: Part) -> None:
        self.view.tree[place[1:]] = part[1]
        self.view.below[place] = part[0]

    def _find(self, kind: str, reference: Any, pointer: str) -> Part | None:
        found = self.by_id.get((kind, reference_in(reference)))
        self.view.used.add(f"{pointer}/$ref")
        return found

    def _referred(self, part: Part, name: str, kind: str) -> Iterator[Part]:
        for index, reference in enumerate(list_in(part[1].get(name))):
            found = self._find(kind, reference, f"{part[0]}/{name}/{index}")
            if found is not None:
                yield found

    # --- the parts ---

    def _header(self) -> None:
        tree = self.view.tree
        ids = [("/$id", self.message.get("$id"))]
        ids += [(f"{pointer}/$id", incident.get("$id")) for pointer, incident in entries_of(self.message, "incidentComponent")]
        calls = list(entries_of(self.message, "callComponent"))
        if calls:
            first = min(calls, key=_first_started)
            ids.append((f"{first[0]}/$id", first[1].get("$id")))
        for pointer, value in ids:
            if text_in(value):
                tree["key"] = self._put("/key", text_in(value), pointer)
                if not pointer.startswith("/callComponent"):
                    tree["incident_id"] = self._put("/incident_id", text_in(value), pointer)
                break
        stamps = [(pointer, component.get(STAMP)) for pointer, component in [("", self.message), *components_of(self.message)]]
        known = [(at, pointer, stamp) for pointer, stamp in stamps if (at := instant_of(stamp)) is not None]
        if known:
            _, pointer, stamp = max(known, key=lambda found: found[0])
            tree["newest"] = self._put("/newest", stamp, f"{pointer}/{STAMP}")
        self.view.used |= {"/eidoVersion", f"/{STAMP}"}
        issuer = text_in(self.message.get("issuingElementIdentification"))
        if issuer:
            tree["issuer"] = self._put("/issuer", issuer, "/issuingElementIdentification")
        self._agency()

    def _agency(self) -> None:
        """The agency that sends: who updated the EIDO last, else the first that received the call."""
        agency = reference_in(self.message.get("updatedByAgencyReference"))
        if agency:
            self.view.tree["agency"] = self._put("/agency", agency, "/updatedByAgencyReference/$ref")
            return
        for pointer, component in entries_of(self.message, "agencyComponent"):
            if "CallReceiving" in list_in(component.get("agencyRoleDescriptionRegistryText")) and text_in(component.get("$id")):
                self.view.tree["agency"] = self._put("/agency", text_in(component["$id"]), f"{pointer}/$id")
                return

    def _incident(self) -> None:
        for pointer, incident in entries_of(self.message, "incidentComponent"):
            self._put_below("/incident", (pointer, incident))
            history = list_in(incident.get("incidentStatusCommonRegistryText"))
            known = [(index, text_in(word)) for index, word in enumerate(history) if text_in(word) in STATUSES]
            if known:
                index, word = known[-1]
                self.view.tree["incident_status"] = self._put(
                    "/incident_status", word, f"{pointer}/incidentStatusCommonRegistryText/{index}"
                )
            kind = text_in(incident.get("incidentTypeCommonRegistryText"))  # the registry has one code with a blank behind it
            if kind:
                self.view.tree["incident_type"] = self._put("/incident_type", kind, f"{pointer}/incidentTypeCommonRegistryText")

    def _roles(self, part: Part) -> list[str]:
        return [text_in(role) for role in list_in(part[1].get("personIncidentRoleRegistryText"))]

    def _callbacks(self, calls: list[Part], persons: list[Part]) -> dict[str, Part]:
        """Pointer of a person → how it is called back; under the pointer of a call what is no known person's.

        A number belongs to the person who refers to it, else to who called; it is nobody else's.
        """
        found: dict[str, Part] = {}
        for person in persons:
            callback = self._find("callbackComponent", person[1].get("callBackReference"), f"{person[0]}/callBackReference")
            if callback is not None:
                found[person[0]] = callback
        taken = {callback[0] for callback in found.values()}
        for call in calls:
            callback = self._find("callbackComponent", call[1].get("callBackReference"), f"{call[0]}/callBackReference")
            if callback is None or callback[0] in taken:
                continue
            caller = self._caller_of(call, persons)
            if caller is None or caller[0] not in found:
                found[caller[0] if caller is not None else call[0]] = callback
                taken.add(callback[0])
        return found

    def _caller_of(self, call: Part, persons: list[Part]) -> Part | None:
        callers = [person for person in persons if any(role in CALLERS for role in self._roles(person))]
        named = {reference_in(reference) for reference in list_in(call[1].get("personReference"))}
        call_id = text_in(call[1].get("$id"))
        linked = [
            person
            for person in callers
            if text_in(person[1].get("$id")) in named or call_id in map(text_in, list_in(person[1].get("callIdentifier")))
        ]
        if linked:
            return linked[0]
        return callers[0] if len(callers) == 1 else None

    def _related(self, part: Part | None, callback: Part | None) -> None:
        place = f"/related/{len(self.view.tree['related'])}"
        if part is None:
            self.view.tree["related"].append({"callback": self._callback(f"{place}/callback", callback)})
            return
        person = self._person(place, part, callback)
        roles = [(index, role) for index, role in enumerate(self._roles(part)) if role in RELATED]
        person["roles"] = [
            self._put(f"{place}/roles/{at}", role, f"{part[0]}/personIncidentRoleRegistryText/{index}")
            for at, (index, role) in enumerate(roles)
        ]
        self.view.tree["related"].append(person)

    def _person(self, place: str, part: Part, callback: Part | None) -> dict[str, Any]:
        """A person as plain fields; what NIEM gives as lists of lists is read entry by entry, the first that says something."""
        pointer, component = part
        niem = component.get("ncPersonComponent")
        self.view.used |= {f"{pointer}/personIncidentRoleRegistryText/{index}" for index in range(len(self._roles(part)))}
        base = f"{pointer}/ncPersonComponent"
        name = self._fields(f"{place}/name", niem, base, NAME, GIVEN)
        person = self._fields(place, niem, base, PERSON, SAID)
        if name:
            person["name"] = self._put(f"{place}/name", name, f"{base}/name")
        for source, years in years_at(niem, base):
            person["age_years"] = self._put(f"{place}/age_years", years, source)
            break
        if callback is not None:
            person["callback"] = self._callback(f"{place}/callback", callback)
        return person

    def _fields(self, place: str, niem: Any, base: str, single: dict[str, Path], several: dict[str, tuple[Path, ...]]) -> dict[str, Any]:
        made: dict[str, Any] = {}
        for name, path in single.items():
            for source, text in texts_at(niem, base, path):
                made[name] = self._put(f"{place}/{name}", text, source)
                break
        for name, paths in several.items():
            texts = [found for path in paths for found in texts_at(niem, base, path)]
            if texts:
                each = [self._put(f"{place}/{name}/{at}", text, source) for at, (source, text) in enumerate(texts)]
                made[name] = self._put(f"{place}/{name}", each, texts[0][0])
        return made

    def _callback(self, place: str, callback: Part | None) -> dict[str, Any]:
        """Telephone numbers of a callback component and, where there is none, its other addresses."""
        if callback is None:
            return {}
        pointer, component = callback
        uris = [(f"{pointer}/callBackInformationUri/{at}", uri) for at, uri in enumerate(list_in(component.get("callBackInformationUri")))]
        updated = component.get("updatedCbn")
        if isinstance(updated, dict):  # newer than the number the call came from
            uris.insert(0, (f"{pointer}/updatedCbn/updatedCbnIdentifierUri", updated.get("updatedCbnIdentifierUri")))
        numbers = [(source, text_in(uri)[4:]) for source, uri in uris if text_in(uri).lower().startswith("tel:")]
        phones = [(source, number) for source, number in numbers if number.strip() and is_plain(number)]
        others = [] if phones else [(source, text_in(uri)) for source, uri in uris if text_in(uri).lower().startswith(("sip:", "sips:"))]
        made: dict[str, Any] = {}
        for name, entries in (("phones", phones), ("addresses", others)):
            if entries:
                made[name] = [self._put(f"{place}/{name}/{at}", text, source) for at, (source, text) in enumerate(entries)]
        return made

    def _locations(self, patient: Part | None) -> None:
        """The person's place, and the locations of the call."""
        parts = [part for part in entries_of(self.message, "locationComponent") if kind_of(part) in PLACES]
        of_person = None
        for part in self._places_of_person(parts, patient):
            found = self._location("/place", part)
            if found is not None:
                self.view.tree["place"], of_person = found, part[0]
                break
        self.view.tree["call_locations"] = []
        for part in parts:
            if part[0] != of_person and kind_of(part) not in INCIDENT_PLACES:
                found = self._location(f"/call_locations/{len(self.view.tree['call_locations'])}", part)
                if found is not None:
                    self.view.tree["call_locations"].append(found)

    def _places_of_person(self, parts: list[Part], patient: Part | None) -> Iterator[Part]:
        """Where the person may be, the best first."""
        for kind in INCIDENT_PLACES:
            yield from (part for part in parts if kind_of(part) == kind)
        if patient is not None:
            for part in self._referred(patient, "locationReference", "locationComponent"):
                if kind_of(part) in PLACES and kind_of(part) not in OF_THE_NETWORK:
                    yield part

    def _location(self, place: str, part: Part) -> dict[str, Any] | None:
        fields = location_fields(part, instant_of(self.view.tree.get("newest")))
        if fields.keys() <= {"type"}:
            return None
        self.view.used |= {source for _, source in fields.values()}
        return {name: self._put(f"{place}/{name}", value, source) for name, (value, source) in fields.items()}

    def _notes(self) -> None:
        self.view.tree["notes"] = []
        for part in entries_of(self.message, "notesComponent"):
            place = f"/notes/{len(self.view.tree['notes'])}"
            found = part[1].get("notesActionComments")
            text = text_of(found) if isinstance(found, str) else ""
            if text:
                note = {"text": self._put(f"{place}/text", text, f"{part[0]}/notesActionComments")}
                if instant_of(part[1].get(STAMP)) is not None:
                    note["at"] = self._put(f"{place}/at", part[1][STAMP], f"{part[0]}/{STAMP}")
                self.view.tree["notes"].append(note)


def _first_started(part: Part) -> tuple[bool, Instant | None, str]:
    started = instant_of(part[1].get("callStartTimestamp"))
    return started is None, started, text_in(part[1].get("$id"))


READERS["eido"] = Reader(plain, view, merge, FIELDS)

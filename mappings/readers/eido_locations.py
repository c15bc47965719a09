"""What is taken of a location of an EIDO: how it is typed, the sender's words, and of its PIDF-LO the part that may be handed on.

Of a location that finds a switch or a cell only the area is taken, and a point that is not well known is none.
Source: NENA-STA-021.1b, LocationInformationType and its registry of location types; RFC 4119 §2.2.5 for the rules of use.
"""

from __future__ import annotations

from typing import Any, Final

from mappings.model import RESERVED
from mappings.readers.eido_components import Instant, instant_of
from mappings.readers.niem_person import text_in
from mappings.readers.pidf_lo import NotReadable, PidfLo, read_pidf_lo

INCIDENT_PLACES: Final = ("CurrentIncident", "InitialIncident")
# Made for finding a switch or a cell: never the place of a person.
OF_THE_NETWORK: Final = ("RoutingLocation", "TowerLocation")
PLACES: Final = (*INCIDENT_PLACES, "Caller", "Other", *OF_THE_NETWORK)
POINT_RADIUS_METRES: Final = 300  # known no better than this, a place is an area and has no point
AREA: Final = ("country", "A1", "A2", "A3")

Part = tuple[str, dict[str, Any]]


def kind_of(part: Part) -> str:
    """The type of a location, of the registry; "" where it has none."""
    return text_in(part[1].get("locationTypeDescriptionRegistryText"))


def location_fields(part: Part, now: Instant | None) -> dict[str, tuple[Any, str]]:
    """type, description, civic and point of a location, each with the pointer it came from.

    now: the newest time stamp of the message, by which a location may have expired; there is no other clock.
    """
    pointer, component = part
    fields: dict[str, tuple[Any, str]] = {"type": (kind_of(part), f"{pointer}/locationTypeDescriptionRegistryText")}
    of_network = kind_of(part) in OF_THE_NETWORK
    text = text_in(component.get("locationDescriptionText"))
    if text and not of_network:
        fields["description"] = (text, f"{pointer}/locationDescriptionText")
    document = _pidf_lo(component)
    if document is None or not is_usable(document, now):
        return fields
    source = f"{pointer}/locationByValue"
    civic = {name: text for name, text in document.civic.items() if (not of_network or name in AREA) and is_plain(text)}
    if civic:
        fields["civic"] = (civic, source)
    radius = document.radius_metres or 0
    if document.latitude is not None and not of_network and radius <= POINT_RADIUS_METRES:
        point = {"latitude": document.latitude, "longitude": document.longitude}
        fields["point"] = (point if not radius else {**point, "radius": radius}, source)
    return fields


def is_plain(text: str) -> bool:
    """Whether a text taken out of another one may be placed: what the mapping would take for a reference of its own may not."""
    return not text.lstrip().startswith(RESERVED)


def is_usable(document: PidfLo, now: Instant | None) -> bool:
    """Whether its own rules of use let a location be handed on."""
    until = instant_of(document.kept_until)
    return document.may_be_passed_on and (until is None or now is None or now < until)


def _pidf_lo(component: dict[str, Any]) -> PidfLo | None:
    """The document of a location; None where there is none that can be read."""
    text = component.get("locationByValue")
    try:
        return read_pidf_lo(text) if isinstance(text, str) and text.strip() else None
    except NotReadable:
        return None

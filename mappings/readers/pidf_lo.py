"""The part of a PIDF-LO that is taken in: civic address, a point or circle, method, and the rules of its use.

A document with a DTD is not read, so that no entity is ever expanded and nothing is fetched. Shapes but point and circle, and
locations by reference, are left out.
Source: RFC 4119 (usage rules, §2.2.5), RFC 5139 (civic), RFC 5491 (shapes).
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Final
from xml.parsers import expat

MAX_DEPTH: Final = 64
CIVIC: Final = frozenset("country A1 A2 A3 A4 A5 A6 PRD RD STS POD HNO HNS LMK LOC FLR NAM PC BLD UNIT ROOM".split())  # noqa: SIM905
SHAPES: Final = frozenset({"Point", "Circle"})
_NUMBER: Final = re.compile(r"[+-]?\d{1,3}(\.\d{1,15})?", re.ASCII)
_RADIUS: Final = re.compile(r"\d{1,7}(\.\d{1,6})?", re.ASCII)
_METRE: Final = "urn:ogc:def:uom:EPSG::9001"


class NotReadable(ValueError):
    """The text is no XML that is read here."""


@dataclass(slots=True)
class PidfLo:
    """civic: element name of RFC 5139 → text. latitude, longitude: WGS 84. radius_metres: of a circle.

    may_be_passed_on: false where the document says that its receiver must not hand it on. kept_until: as written, or None.
    """

    civic: dict[str, str] = field(default_factory=dict)
    latitude: Decimal | None = None
    longitude: Decimal | None = None
    radius_metres: Decimal | None = None
    may_be_passed_on: bool = True
    kept_until: str | None = None


class _Reading:
    def __init__(self) -> None:
        self.found = PidfLo()
        self.path: list[str] = []
        self.texts: list[list[str]] = []
        self.has_civic = self.has_shape = False
        self.metres = True

    def start(self, name: str, attributes: dict[str, str]) -> None:
        if len(self.path) >= MAX_DEPTH:
            raise NotReadable("nested too deeply")
        self.path.append(name.rpartition(" ")[2])
        self.texts.append([])
        if self.path[-1] == "radius":
            self.metres = attributes.get("uom", _METRE) == _METRE

    def data(self, text: str) -> None:
        if self.texts:
            self.texts[-1].append(text)

    def end(self, _name: str) -> None:
        name, text = self.path.pop(), "".join(self.texts.pop()).strip()
        above = self.path[-1] if self.path else ""
        if name == "civicAddress":
            self.has_civic = True
        elif name in SHAPES:
            self.has_shape = True
        elif above == "civicAddress" and not self.has_civic and name in CIVIC and text:
            self.found.civic.setdefault(name, text)
        elif above in SHAPES and not self.has_shape:
            self._shape(name, text)
        elif name == "retransmission-allowed":
            self.found.may_be_passed_on = text.lower() not in ("false", "no", "0")
        elif name == "retention-expiry" and text:
            self.found.kept_until = text

    def _shape(self, name: str, text: str) -> None:
        if name == "pos":
            parts = text.split()
            if len(parts) in (2, 3) and all(_NUMBER.fullmatch(part) for part in parts[:2]):
                latitude, longitude = Decimal(parts[0]), Decimal(parts[1])
                if abs(latitude) <= 90 and abs(longitude) <= 180:
                    self.found.latitude, self.found.longitude = latitude, longitude
        elif name == "radius" and self.metres and _RADIUS.fullmatch(text):
            self.found.radius_metres = Decimal(text)


def _refuse(*_arguments: object) -> None:
    raise NotReadable("a document type is not read")


def read_pidf_lo(text: str) -> PidfLo:
    """Read the first civic address and the first shape of a document. Raises NotReadable."""
    reading = _Reading()
    parser = expat.ParserCreate(namespace_separator=" ")
    parser.buffer_text = True
    parser.StartDoctypeDeclHandler = _refuse
    parser.StartElementHandler = reading.start
    parser.EndElementHandler = reading.end
    parser.CharacterDataHandler = reading.data
    try:
        parser.Parse(text, True)
    except (expat.ExpatError, UnicodeError, ValueError) as error:
        raise NotReadable(str(error)) from None
    return reading.found

"""Which interactions exist for which type, and how a request asks for them: Prefer, media types.

The table is what the routes offer; the capability statement is made of it and a test holds the two together.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from gateway.access.index import REFERENCES, TOKENS

FHIR_JSON: Final = "application/fhir+json"
PATCH_JSON: Final = "application/json-patch+json"
RESOURCE_TYPES: Final = frozenset({FHIR_JSON, "application/json"})
PATCH_TYPES: Final = frozenset({PATCH_JSON})
MAX_BYTES: Final = 1_000_000
_PREFERENCE: Final = re.compile(r"\s*([A-Za-z-]+)\s*=\s*\"?([A-Za-z-]+)\"?\s*")


@dataclass(frozen=True, slots=True)
class Interaction:
    """code: of http://hl7.org/fhir/ValueSet/type-restful-interaction. letter: of the SMART scope it needs."""

    code: str
    letter: str


READ: Final = Interaction("read", "r")
SEARCH: Final = Interaction("search-type", "s")
UPDATE: Final = Interaction("update", "u")
PATCH: Final = Interaction("patch", "u")

INTERACTIONS: Final[Mapping[str, tuple[Interaction, ...]]] = {
    "Consent": (READ, PATCH, SEARCH),
    "Encounter": (READ, SEARCH),
    "Flag": (READ, SEARCH),
    "Location": (READ, SEARCH),
    "Organization": (READ, SEARCH),
    "Patient": (READ, SEARCH),
    "Provenance": (READ, SEARCH),
    "RelatedPerson": (READ, SEARCH),
    "ServiceRequest": (READ, SEARCH),
    "Task": (READ, UPDATE, PATCH, SEARCH),
}


def search_parameters(resource_type: str) -> dict[str, str]:
    """The search parameters of a type and their kinds: "token", "reference", "date"."""
    return {
        "_id": "token",
        "_lastUpdated": "date",
        **dict.fromkeys(TOKENS[resource_type], "token"),
        **dict.fromkeys(REFERENCES[resource_type], "reference"),
    }


def prefers_strict(header: str | None) -> bool:
    """Whether `Prefer: handling=strict` is among the preferences; where both are sent, the first counts (RFC 7240 §2)."""
    for part in re.split(r"[,;]", header or ""):
        match = _PREFERENCE.fullmatch(part)
        if match is not None and match[1].lower() == "handling":
            return match[2].lower() == "strict"
    return False


def accepts_json(header: str | None) -> bool:
    """Whether an Accept header leaves a JSON representation possible (RFC 9110 §12.5.1)."""
    if header is None or not header.strip():
        return True
    best: dict[str, float] = {}
    for part in header.split(","):
        media, *parameters = (piece.strip().lower() for piece in part.split(";"))
        quality = next((parameter[2:] for parameter in parameters if parameter.startswith("q=")), "1")
        best[media] = float(quality) if re.fullmatch(r"[01](?:\.\d{0,3})?", quality) else 0.0
    return any(media in best and best[media] > 0 for media in (FHIR_JSON, "application/json", "application/*", "*/*"))

"""The compiled facts of FHIR R4 as the validator reads them.

Made by profiles.compile; where they come from stands in package/README.md. Holds no prose and offers no lookup of meaning.
"""

from __future__ import annotations

import gzip
import json
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files
from typing import Any, NotRequired, TypedDict, cast


class ElementFact(TypedDict):
    """One element: `types` or `like` (the type whose children it has), cardinality where it differs from 0..1."""

    types: NotRequired[list[str | dict[str, list[str]]]]
    like: NotRequired[str]
    min: NotRequired[int]
    max: NotRequired[str]
    binding: NotRequired[str]
    rules: NotRequired[list[str]]


class TypeFact(TypedDict):
    """One type or one backbone element (named by its path); kind is absent on the latter."""

    elements: dict[str, ElementFact]
    kind: NotRequired[str]
    abstract: NotRequired[bool]
    rules: NotRequired[list[str]]


@dataclass(frozen=True, slots=True)
class Facts:
    """Everything the engine knows of R4.

    types: by type name or backbone path. sets: required value sets, URL -> system -> codes. unexpanded: sets whose codes the
    core package does not carry. resource_types: names that may stand in resourceType.
    """

    types: dict[str, TypeFact]
    primitives: dict[str, Any]
    sets: dict[str, dict[str, frozenset[str]]]
    unexpanded: frozenset[str]
    resource_types: frozenset[str]


@lru_cache(maxsize=1)
def r4_facts() -> Facts:
    """Read the shipped facts once for the process."""
    raw = json.loads(gzip.decompress((files("profiles") / "package" / "r4.json.gz").read_bytes()))
    types = cast("dict[str, TypeFact]", raw["types"])
    return Facts(
        types=types,
        primitives=raw["primitives"],
        sets={url: {system: frozenset(codes) for system, codes in systems.items()} for url, systems in raw["sets"].items()},
        unexpanded=frozenset(raw["unexpanded"]),
        resource_types=frozenset(name for name, fact in types.items() if fact.get("kind") == "resource" and not fact.get("abstract")),
    )

"""Messages of the rms-diversion format for these tests: taken apart, changed at one place, sent through the real intake."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from typing import Any

import mappings
from gateway.referral.reading import Taken, read_message
from mappings.checker import resolve
from profiles import engine

FORMAT = mappings.load("rms-diversion")
SCHEMA = FORMAT.schema
EXAMPLES = SCHEMA["examples"]
VALIDATOR = engine.r4()
CUT_KEY = b"k" * 32

Steps = tuple[str | int, ...]


def take(message: Any, *, strict: bool = False) -> Taken:
    """Send a message, or raw bytes, through parse, cut, check, map and validate."""
    body = message if isinstance(message, bytes) else json.dumps(message).encode()
    return read_message(VALIDATOR, CUT_KEY, "rms-diversion", body, strict=strict)


def errors_of(resource: dict[str, Any]) -> list[Any]:
    """What the validator holds against a resource."""
    return [issue for issue in VALIDATOR.validate(resource) if issue.severity in ("error", "fatal")]


def nodes(value: Any, steps: Steps = ()) -> Iterator[tuple[Steps, Any]]:
    """Every place of a JSON value with what stands there, the root first."""
    yield steps, value
    pairs = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for step, child in pairs:
        yield from nodes(child, (*steps, step))


def leaves(value: Any) -> list[tuple[Steps, Any]]:
    """Every place that holds a plain value."""
    return [(steps, node) for steps, node in nodes(value) if not isinstance(node, (dict, list))]


def pointer(steps: Steps) -> str:
    """RFC 6901."""
    return "".join("/" + str(step).replace("~", "~0").replace("/", "~1") for step in steps)


def at(value: Any, place: str) -> Any:
    """What stands at a JSON pointer; KeyError or IndexError where nothing does."""
    for step in place.split("/")[1:]:
        name = step.replace("~1", "/").replace("~0", "~")
        value = value[int(name)] if isinstance(value, list) else value[name]
    return value


def with_value(message: Any, steps: Steps, value: Any) -> Any:
    """A copy of the message with another value at one place."""
    changed = copy.deepcopy(message)
    node = changed
    for step in steps[:-1]:
        node = node[step]
    node[steps[-1]] = value
    return changed


def without(message: Any, steps: Steps) -> Any:
    """A copy of the message without one place."""
    changed = copy.deepcopy(message)
    node = changed
    for step in steps[:-1]:
        node = node[step]
    del node[steps[-1]]
    return changed


def schema_nodes(node: Any = SCHEMA, place: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """Every field the schema describes, as a pointer with * for the entries of a list."""
    resolved = resolve(SCHEMA, node)
    yield place, resolved
    for name, child in resolved.get("properties", {}).items():
        yield from schema_nodes(child, f"{place}/{name}")
    if "items" in resolved:
        yield from schema_nodes(resolved["items"], f"{place}/*")


def schema_of(steps: Steps) -> dict[str, Any]:
    """The subschema of one place of a message."""
    node = resolve(SCHEMA, SCHEMA)
    for step in steps:
        node = resolve(SCHEMA, node["items"] if isinstance(step, int) else node["properties"][step])
    return node

"""The kit's own diversion requests: the first example of the schema the target publishes, under numbers of this run.

Taking the target's example keeps the kit independent of how a jurisdiction extends the format.
"""

from __future__ import annotations

import copy
import itertools
import re
import secrets
from collections.abc import Callable
from typing import Any, Final

from conformance.verdicts import Failed, NotDemonstrated

KEY: Final = "request_number"
VERSION: Final = "revision"
ADDED: Final = " (corrected)"
_REMARK: Final = re.compile(r"note|narrative|description|remark|comment|text|detail", re.IGNORECASE)


class Messages:
    """Makes messages; asks for the schema once, when the first one is made."""

    def __init__(self, get_schema: Callable[[], dict[str, Any]]) -> None:
        self._get_schema = get_schema
        self._schema: dict[str, Any] | None = None
        self._run = secrets.token_hex(4).upper()
        self._numbers = itertools.count(1)

    @property
    def schema(self) -> dict[str, Any]:
        """The published JSON Schema."""
        if self._schema is None:
            self._schema = self._get_schema()
        return self._schema

    def example(self) -> dict[str, Any]:
        """The first published example, as it is. Raises Failed when there is none."""
        examples = self.schema.get("examples")
        if not isinstance(examples, list) or not examples or not isinstance(examples[0], dict):
            raise Failed("the schema has no example")
        made: dict[str, Any] = copy.deepcopy(examples[0])
        return made

    def new(self, **changes: Any) -> dict[str, Any]:
        """A request under a number not used before, revision 1; `changes` replace members, None removes one."""
        number = f"{self._run}-{next(self._numbers):04d}"
        message = self.example() | {KEY: f"KIT-{number}", VERSION: 1}
        person = message.get("person")
        if isinstance(person, dict) and isinstance(person.get("identifier"), str):
            # the agency's own number makes two requests be about one person, whom an earlier offer may still show
            person["identifier"] = f"KITP-{number}"
        # an authorization of the person would widen what the sender may read, and the checks are about the narrow view
        message.pop("consents", None)
        for name, value in changes.items():
            message[name] = value
        return {name: value for name, value in message.items() if value is not None}

    def other_content(self, message: dict[str, Any]) -> dict[str, Any]:
        """The same number and revision with another content that is just as valid. Raises NotDemonstrated."""
        places = self._free_texts(self.schema, message, ())
        if not places:
            raise NotDemonstrated("the schema's example has no free text that could be changed without breaking the schema")
        # a remark first: another text may be a name the target looks up in a table
        place = next((place for place in places if _REMARK.search(str(place[-1]))), places[0])
        changed = copy.deepcopy(message)
        held: Any = changed
        for step in place[:-1]:
            held = held[step]
        held[place[-1]] = f"{held[place[-1]]}{ADDED}"
        return changed

    def _free_texts(self, schema: Any, value: Any, place: tuple[Any, ...]) -> list[tuple[Any, ...]]:
        """The places of the texts of the message that its schema leaves free."""
        schema = self._resolved(schema)
        if isinstance(value, str):
            return [place] if place and place[-1] != KEY and _is_free(schema, value) else []
        children: list[tuple[Any, Any, Any]] = []
        if isinstance(value, dict):
            named = schema.get("properties", {})
            children = [(named[name], child, name) for name, child in value.items() if name in named]
        elif isinstance(value, list) and isinstance(schema.get("items"), dict):
            children = [(schema["items"], child, index) for index, child in enumerate(value)]
        return [found for child_schema, child, step in children for found in self._free_texts(child_schema, child, (*place, step))]

    def _resolved(self, schema: Any) -> dict[str, Any]:
        """Follow a local $ref of the schema; {} for anything that is not a plain schema."""
        for _ in range(16):
            reference = schema.get("$ref") if isinstance(schema, dict) else None
            if not isinstance(reference, str) or not reference.startswith("#/"):
                break
            schema = self.schema
            for step in reference[2:].split("/"):
                schema = schema.get(step.replace("~1", "/").replace("~0", "~"), {}) if isinstance(schema, dict) else {}
        return schema if isinstance(schema, dict) else {}

    def required_member(self) -> str:
        """A required member other than number and revision. Raises NotDemonstrated."""
        for name in self.schema.get("required", []):
            if name not in (KEY, VERSION):
                return str(name)
        raise NotDemonstrated("the schema requires nothing but the number")


def _is_free(schema: dict[str, Any], value: str) -> bool:
    """Whether a text may get a few more words and still fit its schema."""
    limit = schema.get("maxLength", len(value) + len(ADDED))
    free = schema.get("type") == "string" and not {"enum", "const", "format"} & schema.keys() and len(value) + len(ADDED) <= limit
    return free and _still_matches(schema.get("pattern"), f"{value}{ADDED}")


def _still_matches(pattern: Any, value: str) -> bool:
    """Whether a text matches a schema's pattern; one that this language cannot read is taken not to."""
    if pattern is None:
        return True
    try:
        return isinstance(pattern, str) and re.search(pattern, value) is not None
    except re.error:
        return False

"""What a message holds that stays with its sender, taken out of the free text that goes to others.

A table names the fields to keep back (a case number, an offence) and the schema's definitions that are free text. Where such a text
repeats one of these values, the value is replaced by `[removed]` in all that is mapped for others; the message itself, justice
resources and routing keep it. It finds what the message itself names, as it is written there, and nothing told in other words.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from mappings.checker import resolve
from mappings.readers.json_pointer import escaped, steps_of
from mappings.rules import EVERY, Withheld

REMOVED: Final = "[removed]"
SHORTEST: Final = 4  # shorter pieces stand in any sentence
_DASHES: Final = "-\N{HYPHEN}\N{NON-BREAKING HYPHEN}\N{FIGURE DASH}\N{EN DASH}\N{EM DASH}\N{MINUS SIGN}"
_GAP: Final = rf"[\s{re.escape(_DASHES)}]{{0,8}}+"
_WITHOUT_GAPS: Final = {ord(dash): None for dash in _DASHES}

Texts = dict[str, Any]  # name of a member (or EVERY) → what is below it; a free text is an empty dict


class Withholding:
    """The free texts of one format and what must not be repeated in them, compiled once."""

    def __init__(self, withheld: Withheld, schema: Mapping[str, Any]) -> None:
        self._numbers = [steps_of(path) for path in withheld.numbers]
        self._phrases = [steps_of(path) for path in withheld.phrases]
        definitions = frozenset(f"#/$defs/{name}" for name in withheld.texts)
        self._texts = _texts_of(schema, schema, definitions, (), {*self._numbers, *self._phrases}) or {}

    def remove(self, message: Any) -> tuple[Any, list[str]]:
        """The message with what is kept back removed from its free text, and the pointers of the texts that held it."""
        phrases = [text for steps in self._phrases for text in _values(message, steps)]
        numbers = [_squeezed(text) for steps in self._numbers for text in _values(message, steps)]
        patterns = {_squeezed(text): _phrase_pattern(text) for text in phrases if len(text.strip()) >= SHORTEST}
        patterns |= {number: _number_pattern(number) for number in numbers if len(number) >= SHORTEST}
        if not patterns or not self._texts:
            return message, []
        # the longest first: of "theft" and "theft of a bicycle" no word is left over
        parts = sorted(patterns.items(), key=lambda part: (-len(part[0]), part[0]))
        found: list[str] = []
        return _masked(message, self._texts, parts, "", found), found


def _texts_of(
    schema: Mapping[str, Any], node: Any, definitions: frozenset[str], steps: tuple[str, ...], held: set[tuple[str, ...]]
) -> Texts | None:
    """The free texts below a subschema; None where there are none. held: the fields kept back, which are no text for others."""
    reference = node.get("$ref")
    if reference in definitions:
        return None if steps in held else {}
    members = resolve(schema, node)
    members = {**members.get("properties", {}), **({EVERY: members["items"]} if "items" in members else {})}
    found = {name: _texts_of(schema, child, definitions, (*steps, name), held) for name, child in members.items()}
    return {name: texts for name, texts in found.items() if texts is not None} or None


def _values(node: Any, steps: tuple[str, ...]) -> Iterator[str]:
    if not steps:
        if isinstance(node, str):
            yield node
    elif steps[0] == EVERY:
        for entry in node if isinstance(node, list) else ():
            yield from _values(entry, steps[1:])
    elif isinstance(node, dict):
        yield from _values(node.get(steps[0]), steps[1:])


def _squeezed(text: str) -> str:
    """A text without case, white space and dashes."""
    return "".join(text.casefold().split()).translate(_WITHOUT_GAPS)


def _number_pattern(squeezed: str) -> str:
    return _GAP.join(re.escape(character) for character in squeezed)


def _phrase_pattern(phrase: str) -> str:
    return r"\s+".join(re.escape(word) for word in phrase.split())


def _masked(node: Any, texts: Texts, parts: list[tuple[str, str]], pointer: str, found: list[str]) -> Any:
    if not texts:
        return _masked_text(node, parts, pointer, found) if isinstance(node, str) else node
    if isinstance(node, list) and EVERY in texts:
        return [_masked(entry, texts[EVERY], parts, f"{pointer}/{place}", found) for place, entry in enumerate(node)]
    if isinstance(node, dict):
        changed = {
            name: _masked(node[name], below, parts, f"{pointer}/{escaped(name)}", found) for name, below in texts.items() if name in node
        }
        return {**node, **changed}
    return node


def _masked_text(text: str, parts: list[tuple[str, str]], pointer: str, found: list[str]) -> str:
    squeezed = _squeezed(text)
    standing = [pattern for part, pattern in parts if part in squeezed]  # most texts hold none, and a pattern is dear to compile
    if not standing:
        return text
    left = re.sub(rf"(?<![^\W_])(?:{'|'.join(standing)})(?![^\W_])", REMOVED, text, flags=re.IGNORECASE)
    if left != text:
        found.append(pointer)
    return left

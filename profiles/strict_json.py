"""JSON in and out without loss and without surprises.

Read by the standard library's parser, which keeps decimals as written; everything RFC 8259 leaves to chance is refused: duplicate
keys, NaN and Infinity, a byte order mark, lone surrogates, and numbers, depths and node counts whose handling has no bound.
Knows nothing of FHIR.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from decimal import Decimal
from typing import Any, Final

import msgspec

# Strings are skipped whole; possessive repeats keep the scan linear on hostile input.
_TOKENS: Final = re.compile(rb'"(?:[^"\\]|\\.)*+"|[\[\]{},]', re.DOTALL)
# Longer literals and larger exponents have no use in a resource, and expanding them costs without bound.
_NUMBER_CHARACTERS: Final = 100
_EXPONENT: Final = 400

_plain = msgspec.json.Encoder(decimal_format="number")
_sorted = msgspec.json.Encoder(decimal_format="number", order="sorted")
_stored = msgspec.json.Decoder(float_hook=Decimal)


class JsonFault(Exception):
    """The bytes are not JSON that this gateway reads.

    kind: "structure", "too-deep" or "too-large". pointer: RFC 6901, "" when the place is unknown. text: holds no value.
    """

    def __init__(self, kind: str, pointer: str, text: str) -> None:
        super().__init__(text)
        self.kind, self.pointer, self.text = kind, pointer, text


def parse_json(data: bytes, *, max_depth: int = 64, max_nodes: int = 100_000) -> Any:
    """Read one JSON text; numbers with a fraction or exponent become Decimal, others int.

    max_depth: open arrays and objects at any point. max_nodes: values in the whole text.
    Raises JsonFault. Depth and size are decided before the parser runs.
    """
    text = _decode(data)
    _require_bounds(data, max_depth, max_nodes)
    doubled: list[tuple[dict[str, Any], str]] = []

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        made = dict(pairs)
        if len(made) != len(pairs):
            seen: set[str] = set()
            doubled.append((made, next(key for key, _ in pairs if key in seen or seen.add(key))))  # type: ignore[func-returns-value]
        return made

    try:
        value = json.loads(text, parse_float=_decimal, parse_int=_integer, parse_constant=_constant, object_pairs_hook=unique)
    except json.JSONDecodeError as fault:
        raise JsonFault("structure", "", f"The body is not JSON: line {fault.lineno}, column {fault.colno}.") from None
    if doubled:
        raise JsonFault("structure", _pointer_of_doubled(value, doubled), "An object has the same key twice.")
    if "\\u" in text:
        _require_whole_characters(value)
    return value


def parse_stored(text: str) -> Any:
    """Read JSON that this gateway wrote itself from what `parse_json` took: the same values, without asking again."""
    return _stored.decode(text)


def canonical_json(value: Any) -> bytes:
    """The one text of a value, to compare and to hash: keys sorted, no spaces, decimals with the digits they came with."""
    return _sorted.encode(value)


def to_json(value: Any) -> bytes:
    """Write JSON in the order it came, decimals as numbers with the digits they came with."""
    return _plain.encode(value)


def pointer(steps: tuple[str | int, ...]) -> str:
    """Write an RFC 6901 pointer."""
    return "".join("/" + str(step).replace("~", "~0").replace("/", "~1") for step in steps)


def _decode(data: bytes) -> str:
    if data.startswith(b"\xef\xbb\xbf"):
        raise JsonFault("structure", "", "The body starts with a byte order mark (RFC 8259 §8.1).")
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        raise JsonFault("structure", "", "The body is not UTF-8.") from None


def _require_bounds(data: bytes, max_depth: int, max_nodes: int) -> None:
    opens = data.count(b"[") + data.count(b"{")
    if opens <= max_depth and opens + data.count(b",") < max_nodes:
        return  # even if every one of these characters counted, the bounds would hold
    depth, nodes = 0, 1
    for match in _TOKENS.finditer(data):
        token = match[0]
        if token in (b"[", b"{"):
            depth += 1
            nodes += 1
        elif token in (b"]", b"}"):
            depth -= 1
        elif token == b",":
            nodes += 1
        if depth > max_depth:
            raise JsonFault("too-deep", "", f"The body is nested more than {max_depth} levels deep.")
        if nodes > max_nodes:
            raise JsonFault("too-large", "", f"The body has more than {max_nodes} values.")


def _decimal(literal: str) -> Decimal:
    exponent = literal.lower().partition("e")[2]
    if len(literal) > _NUMBER_CHARACTERS or (exponent and abs(int(exponent)) > _EXPONENT):
        raise JsonFault("structure", "", "A number is longer or larger than any use of it.")
    return Decimal(literal)


def _integer(literal: str) -> int:
    if len(literal) > _NUMBER_CHARACTERS:
        raise JsonFault("structure", "", "A number is longer or larger than any use of it.")
    return int(literal)


def _constant(_literal: str) -> Any:
    raise JsonFault("structure", "", "NaN and Infinity are not JSON.")


def _walk(value: Any) -> Iterator[tuple[tuple[str | int, ...], Any]]:
    stack: list[tuple[tuple[str | int, ...], Any]] = [((), value)]
    while stack:
        steps, node = stack.pop()
        yield steps, node
        if isinstance(node, dict):
            stack.extend(((*steps, key), child) for key, child in reversed(node.items()))
        elif isinstance(node, list):
            stack.extend(((*steps, index), child) for index, child in reversed(list(enumerate(node))))


def _pointer_of_doubled(value: Any, doubled: list[tuple[dict[str, Any], str]]) -> str:
    # An object dropped by an outer doubled key is not in the tree any more; the outer one is.
    keys = {id(made): key for made, key in doubled}
    return next((pointer((*steps, keys[id(node)])) for steps, node in _walk(value) if id(node) in keys), "")


def _require_whole_characters(value: Any) -> None:
    for steps, node in _walk(value):
        texts = node if isinstance(node, dict) else (node,)
        for text in texts:
            if isinstance(text, str) and not _is_whole(text):
                raise JsonFault("structure", pointer(steps) if text is node else "", "A string holds half of a surrogate pair.")


def _is_whole(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True

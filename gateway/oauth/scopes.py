"""SMART scopes as sets of single permissions: read, compared, cut down to each other, and written in one canonical form.

Only system scopes and our own `__gateway.` names are held: patient/ and user/ need a patient or a user, whom a backend client
does not have. What is not understood is left out, never widened: a granular scope loses its filter only by losing the scope.
Source: SMART App Launch 2.2, scopes-and-launch-context.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from profiles.facts import r4_facts

LETTERS: Final = "cruds"
ANY_TYPE: Final = "*"
LONGEST_TEXT: Final = 8192
_V1: Final = {"read": "rs", "write": "cud", "*": "cruds"}
_TOKENS: Final = re.compile(r"[\x21\x23-\x5b\x5d-\x7e ]*")  # RFC 6749 §3.3: scope-tokens with blanks between them
_SYSTEM: Final = re.compile(r"system/([A-Za-z]+|\*)\.(read|write|\*|(?=[cruds])c?r?u?d?s?)")
_OWN: Final = re.compile(r"__[A-Za-z0-9][A-Za-z0-9._-]*")


class ScopeMalformed(ValueError):
    """The text is no OAuth scope: a character that none may have, or longer than any use of it."""


@dataclass(frozen=True, slots=True)
class Scopes:
    """What a client may ask for, or a token is good for.

    permissions: (resource type or "*", one letter of "cruds"); what "*" covers is not named beside it. names: custom scopes.
    """

    permissions: frozenset[tuple[str, str]] = frozenset()
    names: frozenset[str] = frozenset()

    def __post_init__(self) -> None:
        # one set of permissions has one form, so that equal scopes are equal values
        kept = {(kind, letter) for kind, letter in self.permissions if kind == ANY_TYPE or (ANY_TYPE, letter) not in self.permissions}
        object.__setattr__(self, "permissions", frozenset(kept))

    def __bool__(self) -> bool:
        return bool(self.permissions or self.names)

    def __str__(self) -> str:
        return " ".join(self._tokens())

    def covers(self, resource_type: str, letter: str) -> bool:
        """Whether an interaction of this letter on this type is permitted; "*" asks for all types."""
        return (resource_type, letter) in self.permissions or (ANY_TYPE, letter) in self.permissions

    def has(self, name: str) -> bool:
        """Whether a custom scope is held, such as "__gateway.intake.rms-diversion"."""
        return name in self.names

    def has_prefix(self, prefix: str) -> bool:
        """Whether any custom scope that begins so is held."""
        return any(name.startswith(prefix) for name in self.names)

    def intersect(self, other: Scopes) -> Scopes:
        """What both permit, letter by letter: a wildcard on one side is cut down to the types of the other."""
        ours = {permission for permission in self.permissions if other.covers(*permission)}
        theirs = {permission for permission in other.permissions if self.covers(*permission)}
        return Scopes(frozenset(ours | theirs), self.names & other.names)

    def _tokens(self) -> Iterator[str]:
        for kind in sorted({kind for kind, _ in self.permissions}):
            letters = "".join(letter for letter in LETTERS if (kind, letter) in self.permissions)
            yield f"system/{kind}.{letters}"
        yield from sorted(self.names)


@lru_cache(maxsize=1024)
def parse_scopes(text: str) -> Scopes:
    """Read an OAuth scope text, v2 letters and v1 words alike. Raises ScopeMalformed.

    Left out: scopes nobody defined, letters out of order or doubled, types R4 does not have, patient/ and user/, and granular
    scopes (`?…`), whose filter is not supported here and must not be ignored.
    """
    if len(text) > LONGEST_TEXT or not _TOKENS.fullmatch(text):
        raise ScopeMalformed("not an OAuth scope (RFC 6749 §3.3)")
    permissions: set[tuple[str, str]] = set()
    names: set[str] = set()
    for token in text.split(" "):
        found = _SYSTEM.fullmatch(token)
        if found is not None and (found[1] == ANY_TYPE or found[1] in r4_facts().resource_types):
            permissions |= {(found[1], letter) for letter in _V1.get(found[2], found[2])}
        elif _OWN.fullmatch(token):
            names.add(token)
    return Scopes(frozenset(permissions), frozenset(names))

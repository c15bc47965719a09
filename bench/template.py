"""Rows to be written again and again under other ids; light, since the bare database's clients must start at once."""

from __future__ import annotations

import os
import re
import secrets
import time
from collections.abc import Callable
from typing import Any, Final
from uuid import UUID

import msgspec

_LONGEST_KEY: Final = 120
_LATEST: Final = 7_000_000_000_000_000  # microseconds: a later instant means "never"

Written = dict[str, list[tuple[Any, ...]]]
"""Rows by table, in an order in which they can be written."""


class Template(msgspec.Struct, frozen=True):
    """Rows to write again. ids: UUIDs that are others each time; words: other unique values, kept at their length.

    columns: the names by table. instants: the places of those that are times.
    """

    columns: dict[str, list[str]]
    rows: Written
    ids: tuple[str, ...]
    words: tuple[str, ...]
    instants: dict[str, list[int]]

    @property
    def count(self) -> int:
        """How many rows."""
        return sum(len(rows) for rows in self.rows.values())

    @property
    def size(self) -> int:
        """How many characters."""
        return sum(len(str(value)) for rows in self.rows.values() for row in rows for value in row)

    def again(self) -> Callable[[], Written]:
        """A function that gives the rows under new ids each time: in keys only, for long bodies take time."""
        make = self._maker(_LONGEST_KEY)
        return lambda: make(0)

    def earlier(self) -> Callable[[int], Written]:
        """A function that gives the rows under new ids everywhere, in bodies too, so many microseconds earlier."""
        return self._maker(None)

    def _maker(self, longest: int | None) -> Callable[[int], Written]:
        pattern = re.compile("(" + "|".join(map(re.escape, sorted((*self.ids, *self.words), key=len, reverse=True))) + ")")

        def cut(row: tuple[Any, ...]) -> list[tuple[int, list[str]]]:
            """The places of a row where an id stands, and the text there cut at its ids."""
            texts = [(at, value) for at, value in enumerate(row) if isinstance(value, str) and (longest is None or len(value) <= longest)]
            return [(at, parts) for at, value in texts if len(parts := pattern.split(value)) > 1]

        prepared = {name: [(row, cut(row)) for row in rows] for name, rows in self.rows.items()}

        def make(microseconds: int) -> Written:
            new = self._new_names()

            def changed(row: tuple[Any, ...], places: list[tuple[int, list[str]]], instants: list[int]) -> tuple[Any, ...]:
                values = list(row)
                for at, parts in places:
                    values[at] = "".join([new.get(part, part) for part in parts])
                for at in instants:
                    if values[at] and values[at] < _LATEST:
                        values[at] -= microseconds
                return tuple(values)

            return {name: [changed(*each, self.instants[name]) for each in rows] for name, rows in prepared.items()}

        return make

    def without(self, gone: Callable[[str, dict[str, Any]], bool]) -> Template:
        """The same without some rows; gone: asked with the table and the row by column."""
        kept = {}
        for name, rows in self.rows.items():
            kept[name] = [row for row in rows if not gone(name, dict(zip(self.columns[name], row, strict=True)))]
        return msgspec.structs.replace(self, rows={name: rows for name, rows in kept.items() if rows})

    def statements(self, placeholder: str) -> dict[str, str]:
        """By table, the statement that inserts a row, with the driver's placeholder."""
        return {name: _insert(name, self.columns[name], placeholder) for name in self.rows}

    def _new_names(self) -> dict[str, str]:
        ids = sorted(_new_id() for _ in self.ids)  # in the order of the old ones, which is that of time
        return dict(zip(self.ids, ids, strict=True)) | {word: secrets.token_hex(len(word))[: len(word)] for word in self.words}


def _insert(name: str, columns: list[str], placeholder: str) -> str:
    listed = ", ".join(f'"{column}"' for column in columns)
    return f'INSERT INTO "{name}" ({listed}) VALUES ({", ".join([placeholder] * len(columns))})'


def _new_id() -> str:
    """As the store's own: a UUIDv7, so that inserts stay at one end of every index."""
    milliseconds = time.time_ns() // 1_000_000
    return str(UUID(int=milliseconds << 80 | 7 << 76 | 2 << 62 | (int.from_bytes(os.urandom(9)) >> 10) | secrets.randbits(12) << 64))

"""What a format whose messages are no plain tree brings along: the tree its table reads, and how two of its messages become one.

A table addresses the tree; sender, trace and issues speak of the message. `View` keeps where each part of the tree came from.
Every function here is total: a message that its schema would refuse is read as far as it can be.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final


@dataclass(slots=True)
class View:
    """A message as its table reads it.

    tree: what the table's paths start at. below: pointer into the tree → the pointer in the message that everything under it
    follows. at: the same for a value made of one place of the message, whatever stands under it. used: places of the message the
    reader itself went by, such as the ids by which parts are joined.
    """

    tree: dict[str, Any] = field(default_factory=dict)
    below: dict[str, str] = field(default_factory=dict)
    at: dict[str, str] = field(default_factory=dict)
    used: set[str] = field(default_factory=set)

    def source_of(self, pointer: str) -> str:
        """The place in the message that a place of the tree came from; "" where the reader made it of the whole."""
        head, rest = pointer, ""
        while head:
            if head in self.at:
                return self.at[head]
            if head in self.below:
                return self.below[head] + rest
            head, _, step = head.rpartition("/")
            rest = f"/{step}{rest}"
        return ""


@dataclass(frozen=True, slots=True)
class Merge:
    """Two messages about one thing as one.

    message: the merged one. changed: whether it says anything the stored one did not. conflicts: places in the sent message of
    parts that came before with the same time stamp and other content. taken: place of each part of the sent message that
    counts from now on → its place in the merged one. older: whether a part of the sent message is older than what is stored of it.
    """

    message: dict[str, Any]
    changed: bool
    older: bool
    conflicts: tuple[str, ...]
    taken: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Reader:
    """plain: the message with its marked-up text as text. view: the tree. merge: (stored, sent) → one message.

    fields: place in the tree → field of the schema (list entries as *), for faults of what is not there.
    """

    plain: Callable[[Any], Any]
    view: Callable[[Any], View]
    merge: Callable[[dict[str, Any], dict[str, Any]], Merge]
    fields: Mapping[str, str]


READERS: Final[dict[str, Reader]] = {}

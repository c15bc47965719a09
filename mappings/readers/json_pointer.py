"""The path language of JSON sources: RFC 6901 pointers, and "." for the current item of a repeated group.

`/person/name/family` starts at the message, `./family` at the item, `.` is the item itself. A number picks an entry of a list.
There are no wildcards: repetition is the group's business, so that each value has exactly one place.
Reading never fails: what is absent, null or of another shape is MISSING.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from enum import Enum
from typing import Any, Final


class Missing(Enum):
    """The kind of MISSING: no value, which is something else than null."""

    MISSING = "missing"


MISSING: Final = Missing.MISSING
Reader = Callable[[Any, Any], Any]  # (message, item) → value or MISSING


def is_path(path: str) -> bool:
    """Say whether `path` is of this language."""
    if path == ".":
        return True
    head, _, rest = path.partition("/")
    return head in ("", ".") and bool(rest) and all(rest.split("/"))


def is_relative(path: str) -> bool:
    """Say whether `path` starts at the current item."""
    return path.startswith(".")


def steps_of(path: str) -> tuple[str, ...]:
    """The member names that `path` walks through, unescaped."""
    return tuple(step.replace("~1", "/").replace("~0", "~") for step in path.split("/")[1:])


def pointer_below(base: str, path: str) -> str:
    """The JSON pointer of `path` where the current item stands at `base`."""
    return base + path[1:] if is_relative(path) else path


def escaped(name: str) -> str:
    """One member name as a pointer step (RFC 6901 §3)."""
    return name.replace("~", "~0").replace("/", "~1")


def compile_path(path: str) -> Reader:
    """Turn a path into a closure of (message, item); null counts as MISSING."""
    steps = steps_of(path)
    relative = is_relative(path)
    if len(steps) == 1 and not steps[0].isdecimal():
        only = steps[0]

        def read_member(message: Any, item: Any) -> Any:
            node = item if relative else message
            value = node.get(only) if isinstance(node, dict) else None
            return MISSING if value is None else value

        return read_member

    def read(message: Any, item: Any) -> Any:
        node = item if relative else message
        for step in steps:
            if isinstance(node, dict):
                node = node.get(step)
            elif isinstance(node, list) and step.isdecimal() and int(step) < len(node):
                node = node[int(step)]
            else:
                return MISSING
        return MISSING if node is None else node

    return read


def values(tree: Any, pointer: str) -> Iterator[tuple[Any, str]]:
    """Each plain value in `tree`, which stands at `pointer`, with its own pointer, in document order."""
    pending = [(tree, pointer)]
    while pending:
        node, here = pending.pop()
        if isinstance(node, dict):
            pending.extend((child, f"{here}/{escaped(name)}") for name, child in reversed(node.items()))
        elif isinstance(node, list):
            pending.extend((child, f"{here}/{index}") for index, child in reversed(list(enumerate(node))))
        else:
            yield node, here

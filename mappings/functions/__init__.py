"""Named functions for what the table language leaves out on purpose; a table refers to them by name, each has a test.

A value function takes the source values a rule names (None for what is absent) and returns the value, or None for
nothing; it is total over what the format's schema admits. A check takes the message and yields its faults.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Final, NamedTuple

ValueFunction = Callable[..., Any]


class Fault(NamedTuple):
    """What a check found: the field, an issue-type code, a sentence without values."""

    source: str
    code: str
    text: str
    severity: str = "error"


CheckFunction = Callable[[dict[str, Any]], Iterable[Fault]]

VALUES: Final[dict[str, ValueFunction]] = {}
CHECKS: Final[dict[str, CheckFunction]] = {}


def value_function(name: str) -> Callable[[ValueFunction], ValueFunction]:
    """Register a value function under the name that tables use."""

    def register(function: ValueFunction) -> ValueFunction:
        VALUES[name] = function
        return function

    return register


def check_function(name: str) -> Callable[[CheckFunction], CheckFunction]:
    """Register a check under the name that tables use."""

    def register(function: CheckFunction) -> CheckFunction:
        CHECKS[name] = function
        return function

    return register

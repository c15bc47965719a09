"""The checks, a module a subject. Each is a function that returns when the rule holds and raises what it found otherwise."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import Final

from conformance.session import Session

ROLES: Final = ("gateway",)
MODULES: Final = ("discovery", "token", "assertions", "access", "tasks", "intake", "malformed", "receipts")

Run = Callable[[Session], None]


@dataclass(frozen=True, slots=True)
class Check:
    """One check. requirements: ids of requirements.csv. likely_cause: what usually is behind a failure, for the person who fixes it."""

    id: str
    title: str
    role: str
    requirements: tuple[str, ...]
    likely_cause: str
    explanation: str
    run: Run


_REGISTERED: Final[dict[str, Check]] = {}


def check(id: str, title: str, *requirements: str, likely: str) -> Callable[[Run], Run]:  # noqa: A002 (a check's own word)
    """Register a function as a check of a gateway; its docstring explains it."""

    def register(run: Run) -> Run:
        if id in _REGISTERED:
            raise ValueError(f"two checks are called {id}")
        _REGISTERED[id] = Check(id, title, "gateway", requirements, likely, " ".join((run.__doc__ or "").split()), run)
        return run

    return register


def all_checks() -> tuple[Check, ...]:
    """Every check, in the order in which they are run."""
    for name in MODULES:
        import_module(f"conformance.checks.{name}")
    return tuple(_REGISTERED.values())

"""A case: one fault on one sort of site, and how it is told."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from tests.faults.scene import Scene
from tests.faults.site import Plan

BOTH: Final = ("sqlite", "postgresql")
USUAL: Final = Plan()
Act = Callable[[Scene], None]


@dataclass(frozen=True, slots=True)
class Case:
    """act: brings the fault about and raises DidNotHappen where it did not come. databases: where it can.

    twice: the clinic says each acceptance twice at once. same_clock: whether the gateway's times
    can be held against the peers'. spoils: the next case needs a new site. senders, pause_seconds, backlog, readers: of the load.
    """

    name: str
    about: str
    act: Act
    plan: Plan = USUAL
    databases: tuple[str, ...] = BOTH
    twice: bool = False
    same_clock: bool = True
    spoils: bool = False
    senders: int = 2
    pause_seconds: float = 0.1
    backlog: int = 20
    readers: int = 1

"""Every case, in an order that lets cases of one sort of site follow each other, and the short form of them."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Final

from tests.faults import kills, machine, peers
from tests.faults.case import Case

SHORT_MOMENTS: Final = 6


def all_cases(moments: int = 50) -> list[Case]:
    """moments: of random deaths."""
    usual = (*kills.CASES, kills.random_case(moments), *peers.CASES, *machine.STILL, *machine.RESTART)
    return _by_site([*usual, *kills.BLIND, *peers.BLIND_CASES, *machine.BLIND, *machine.CLOCK, *machine.DISK, *machine.ONE_WRITER])


def short_cases() -> list[Case]:
    """What a change is tried with: the same faults one after the other, looked at once in the end."""
    return _by_site(
        [
            Case("kill everywhere", "at each point in turn", kills.everywhere),
            kills.random_case(SHORT_MOMENTS),
            Case("EHR at its worst", "one way after the other", partial(peers.in_turn, ("silent", "garbage", "500", "429", "twice"))),
            Case("blind EHR at its worst", "the same without ifNoneExist", peers.blind_in_turn, peers.BLIND),
            *(case for case in machine.STILL if case.name in ("writer stands still", "worker oversleeps before-send")),
            *(case for case in machine.RESTART if case.name == "PostgreSQL crashes"),
            *(case for case in machine.ONE_WRITER if case.plan.processes == 2),
        ]
    )


def _by_site(cases: Sequence[Case]) -> list[Case]:
    plans = list(dict.fromkeys(case.plan for case in cases))
    return sorted(cases, key=lambda case: plans.index(case.plan))

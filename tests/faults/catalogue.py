"""Every case, in an order that lets cases of one sort of site follow each other."""

from __future__ import annotations

from tests.faults import kills, machine, peers
from tests.faults.case import Case


def all_cases(moments: int = 50) -> list[Case]:
    """moments: of random deaths."""
    usual = (*kills.CASES, kills.random_case(moments), *peers.CASES, *machine.STILL, *machine.RESTART)
    cases = [*usual, *kills.BLIND, *peers.BLIND_CASES, *machine.BLIND, *machine.CLOCK, *machine.DISK, *machine.ONE_WRITER]
    plans = list(dict.fromkeys(case.plan for case in cases))
    return sorted(cases, key=lambda case: plans.index(case.plan))

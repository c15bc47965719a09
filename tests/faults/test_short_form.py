"""The short form of the faults on SQLite; tests/peers/test_faults.py has it on PostgreSQL, `make faults` has all of them."""

from __future__ import annotations

import pytest

from tests.faults.catalogue import short_cases
from tests.faults.run import Runner

# the rest of the short form takes longer than a change should wait
CASES = {case.name: case for case in short_cases() if case.name in ("kill everywhere", "blind EHR at its worst", "one writer, 2 processes")}


@pytest.mark.parametrize("name", CASES)
def test_after_a_fault_nothing_is_lost_twice_told_or_unproven(name):
    with Runner("sqlite", seed=1, short=True) as runner:
        row = runner.run(CASES[name])
    assert row.ok, row.faults

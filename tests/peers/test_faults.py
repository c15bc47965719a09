"""The short form of the faults on PostgreSQL: the same promises, kept by leases and locks instead of one writer."""

from __future__ import annotations

import pytest

from tests.faults.catalogue import short_cases
from tests.faults.run import Runner
from tests.peers.postgres import NoPostgres, no_postgres

pytestmark = pytest.mark.peers

CASES = [case for case in short_cases() if "postgresql" in case.databases]


@pytest.fixture(scope="module")
def runner():
    try:
        with Runner("postgresql", seed=1, short=True) as made:
            yield made
    except NoPostgres:
        no_postgres()


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_after_a_fault_nothing_is_lost_twice_told_or_unproven(runner, case):
    row = runner.run(case)
    assert row.ok, row.faults

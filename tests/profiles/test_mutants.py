"""Each fault is found, under the right code, at the one element it is in; what is valid passes, however odd it looks."""

from __future__ import annotations

import json

import pytest

from profiles.engine import r4
from tests.profiles.mutants import MUTANTS
from tests.profiles.specimens import VALID, broken


@pytest.mark.parametrize("name", sorted(VALID))
def test_an_unbroken_specimen_is_valid(name):
    assert r4().validate(VALID[name]) == []


@pytest.mark.parametrize(
    ("specimen", "pointer", "value", "code", "expression"), MUTANTS, ids=[f"{index}-{row[0]}-{row[1]}" for index, row in enumerate(MUTANTS)]
)
def test_one_fault_is_found_where_it_is(specimen, pointer, value, code, expression):
    found = r4().validate(broken(specimen, pointer, value))
    assert (code, (expression,) if expression else ()) in [(issue.code, issue.expression) for issue in found]
    assert all(issue.severity == "error" for issue in found)


def test_nearly_every_fault_makes_one_issue_only():
    crowds = [row[:3] for row in MUTANTS if len(r4().validate(broken(*row[:3]))) > 1]
    assert len(crowds) < len(MUTANTS) * 0.12, crowds


SECRET = "Jane Q. Public, 078-05-1120"


@pytest.mark.parametrize("name", sorted(VALID))
def test_no_issue_repeats_a_value_or_an_odd_key(name):
    said = json.dumps([issue.as_json() for issue in r4().validate(poisoned(VALID[name]))])
    assert "error" in said
    assert "Jane" not in said
    assert "078" not in said


def poisoned(value):
    """Every string replaced by a secret, and a secret key added to every object; resourceType stays."""
    if isinstance(value, dict):
        return {SECRET: 1, **{key: item if key == "resourceType" else poisoned(item) for key, item in value.items()}}
    if isinstance(value, list):
        return [poisoned(item) for item in value]
    return SECRET if isinstance(value, str) else value

"""Every check passes on a gateway that keeps the rules, and turns red on one that breaks exactly its rule."""

import pytest

from conformance.checks import all_checks
from conformance.runner import run
from tests.conformance.mutations import MUTATIONS
from tests.conformance.reference_server import Reference
from tests.conformance.served import make_parties, serving


@pytest.fixture(scope="module")
def parties(tmp_path_factory):
    return make_parties(tmp_path_factory.mktemp("kit"))


def verdicts(kind, parties):
    with serving(kind, parties) as gateway:
        results = run(gateway.base_url, parties, all_checks(), timeout=3, settle_seconds=0)
    return {result.check: (result.verdict, result.text) for result in results}


def test_a_gateway_that_keeps_the_rules_passes_every_check(parties):
    found = verdicts(Reference, parties)
    assert {check: end for check, end in found.items() if end[0] != "pass"} == {}
    assert len(found) == len(all_checks())


@pytest.mark.parametrize(("kind", "red"), [pytest.param(kind, red, id=name) for name, kind, red in MUTATIONS])
def test_a_gateway_that_breaks_one_rule_fails_the_checks_of_that_rule_and_no_other(kind, red, parties):
    found = verdicts(kind, parties)
    assert {check: end for check, end in found.items() if end[0] not in ("pass", "warn")}.keys() == red
    assert {found[check][0] for check in red} == {"fail"}


def test_every_check_has_a_mutation_that_it_alone_or_first_sees():
    proven = {check for _, _, red in MUTATIONS for check in red}
    assert proven == {check.id for check in all_checks()}

"""The Task state machine: every row allowed, every other move refused with the legal ones named."""

import itertools

import pytest

from gateway.errors import IllegalTransition
from gateway.referral.states import OWNER, REQUESTER, has_outcome, milestones_in, state_table

TABLE = state_table()
STATUSES = ["draft", "requested", "accepted", "rejected", "in-progress", "on-hold", "completed", "failed", "cancelled", "entered-in-error"]
MINE = "https://crisis-referral-gateway.org/fhir/CodeSystem/business-status"


@pytest.mark.parametrize(("old", "new", "by"), sorted(TABLE.transitions))
def test_each_row_of_the_table_is_a_legal_move(old, new, by):
    assert TABLE.require_transition(old, new, by).new == new


@pytest.mark.parametrize(
    ("old", "new"), [pair for pair in itertools.product(STATUSES, STATUSES) if (*pair, OWNER) not in TABLE.transitions]
)
def test_every_other_move_of_an_owner_is_refused_and_names_the_legal_ones(old, new):
    with pytest.raises(IllegalTransition) as refused:
        TABLE.require_transition(old, new, OWNER)
    assert set(refused.value.legal) == TABLE.legal_next(old, OWNER)
    assert all(status in refused.value.issues[0].text for status in refused.value.legal)


@pytest.mark.parametrize("status", sorted(TABLE.terminal))
def test_nothing_leaves_a_final_status(status):
    assert TABLE.legal_next(status, OWNER) == TABLE.legal_next(status, REQUESTER) == frozenset()


def test_peers_words_for_requested_and_accepted_are_read():
    assert TABLE.require_transition("requested", "ready", OWNER).effect == "accept"


def coded(code, system=MINE, **more):
    return {"status": "in-progress", "businessStatus": {"coding": [{"system": system, "code": code}]}, **more}


@pytest.mark.parametrize(
    ("task", "said"),
    [
        (coded("contacted"), {"contact-made"}),
        (coded("kept-first-visit"), {"engaged"}),
        (coded("unable-to-contact"), {"not-engaged"}),
        (coded("5.1.2", "http://hl7.org/fhir/us/bser/CodeSystem/TaskBusinessStatusCS"), {"not-engaged"}),
        (coded("appointment-scheduled"), set()),
        ({"status": "in-progress"}, {"contact-made"}),
        ({"status": "accepted"}, set()),
        (
            {"status": "completed", "output": [{"valueCodeableConcept": {"coding": [{"system": MINE, "code": "person-declined"}]}}]},
            {"not-engaged"},
        ),
        ({"status": "completed", "output": [{"valueString": "done"}]}, {"engaged"}),
        (coded("contacted", "http://example.org/foreign"), {"contact-made"}),
    ],
)
def test_a_tasks_codes_say_what_happened_with_the_person(task, said):
    assert milestones_in(task) == said


def test_an_outcome_is_an_output_or_a_business_status():
    assert has_outcome({"output": [{}]})
    assert has_outcome(coded("engaged"))
    assert not has_outcome({"status": "completed"})

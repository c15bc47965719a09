"""Routing by the shipped protocol: hard stops first, unknown counts as unsafe, a bad table is refused."""

import copy
import json
from datetime import UTC, datetime
from importlib import resources

import pytest

import mappings
from gateway.referral.protocol import ProtocolFault, combinations, protocol_for, read_protocol
from gateway.referral.routing import decide, inputs_of, next_step

LEAD = protocol_for("rms-diversion")
ANSWERED = dict.fromkeys(LEAD.exclusions, "no")


def message(**changes):
    return {
        "door": "arrest-diversion",
        "agreement_to_talk": "yes",
        "exclusions": ANSWERED,
        "safety": {"medical-emergency": "absent"},
        **changes,
    }


def document():
    return json.loads(resources.files("gateway.referral").joinpath("protocols", "lead.json").read_text())


@pytest.mark.parametrize("door", ["arrest-diversion", "social-contact", "community"])
def test_every_door_asks_lead_case_management_first_and_crisis_stabilization_next(door):
    decision = decide(LEAD, message(door=door))
    assert decision.targets == ("lead-case-management", "crisis-stabilization")
    assert not decision.stopped


@pytest.mark.parametrize("criterion", LEAD.exclusions)
@pytest.mark.parametrize("answer", ["yes", "unknown", "maybe"])
def test_an_exclusion_that_applies_or_is_not_known_stops_the_referral(criterion, answer):
    decision = decide(LEAD, message(exclusions={**ANSWERED, criterion: answer}))
    assert decision.stopped
    assert decision.targets == ()


@pytest.mark.parametrize("criterion", LEAD.exclusions)
def test_an_unanswered_exclusion_counts_as_unknown(criterion):
    answers = {name: answer for name, answer in ANSWERED.items() if name != criterion}
    assert decide(LEAD, message(exclusions=answers)).rule == "lead-stop-unanswered"


def test_an_exclusion_a_supervisor_overrode_does_not_stop():
    assert not decide(LEAD, message(exclusions={**ANSWERED, "under-18": "overridden"})).stopped


@pytest.mark.parametrize("state", ["present", "unknown"])
def test_a_medical_emergency_comes_before_everything(state):
    decision = decide(LEAD, message(safety={"medical-emergency": state}, exclusions={}))
    assert decision.rule == "lead-stop-medical"


@pytest.mark.parametrize("safety", [{}, None, {"weapon-seen": "absent"}, {"medical-emergency": ""}, {"medical-emergency": "perhaps"}])
def test_a_medical_emergency_nobody_spoke_of_is_unknown_and_stops(safety):
    assert decide(LEAD, message(safety=safety)).rule == "lead-stop-medical"


def test_each_published_example_goes_where_it_should():
    form = mappings.load("rms-diversion")
    decided = [decide(LEAD, form.apply(example).routing).rule for example in form.schema["examples"]]
    # the third and its newer revision leave a criterion unanswered on purpose
    assert decided == ["lead-arrest", "lead-arrest", "lead-stop-unanswered", "lead-community", "lead-stop-unanswered"]


@pytest.mark.parametrize("answer", ["no", "unknown", None])
def test_diversion_is_voluntary(answer):
    assert decide(LEAD, message(agreement_to_talk=answer)).rule == "lead-stop-voluntary"


def test_a_sender_may_narrow_the_services_but_not_add_one():
    assert decide(LEAD, message(services_requested=["crisis-stabilization"])).targets == ("crisis-stabilization",)
    assert decide(LEAD, message(services_requested=["shelter"])).targets == ("lead-case-management", "crisis-stabilization")


def test_every_combination_of_inputs_has_exactly_one_answer():
    for inputs in combinations(LEAD):
        assert any(rule.holds(inputs) for rule in (*LEAD.hard_stops, *LEAD.rows))


def test_a_decision_can_be_replayed_from_its_snapshot():
    routing = message(safety={"medical-emergency": "unknown"})
    kept = decide(LEAD, routing).as_json()
    rule = next(rule for rule in (*LEAD.hard_stops, *LEAD.rows) if rule.holds(kept["inputs"]))
    assert rule.id == kept["rule"]
    assert kept["inputs"] == inputs_of(LEAD, routing)


def without_a_row(found):
    found["rows"].pop()
    return "no row answers"


def with_a_shadowed_row(found):
    found["rows"].append({"id": "late", "when": {"door": ["community"]}, "targets": [], "pathway": "x"})
    return "late is shadowed"


def with_a_value_no_input_has(found):
    found["rows"][0]["when"]["door"] = ["trapdoor"]
    return "has no value"


@pytest.mark.parametrize("spoil", [without_a_row, with_a_shadowed_row, with_a_value_no_input_has])
def test_a_table_with_gaps_or_shadowed_rows_is_refused_when_loaded(spoil):
    found = copy.deepcopy(document())
    reason = spoil(found)
    with pytest.raises(ProtocolFault, match=reason):
        read_protocol(found)


def test_next_depends_on_the_senders_own_message_and_the_protocol_alone():
    entered = datetime(2026, 11, 24, 3, tzinfo=UTC)
    step = next_step(LEAD, message(warm_handoff={"requested": True, "phone": "+15550100"}), entered)
    assert step["final_time"] == "2026-11-24T04:00:00+00:00"
    assert step["call"] == "+15550100"
    assert step["protocol"] == "lead|1.0.0"

"""The trace is exact: each value of the output has one origin, and each value of the message is used or listed."""

from __future__ import annotations

import json
from collections import defaultdict

import pytest
from hypothesis import HealthCheck, given, settings

from mappings.loading import code_maps
from mappings.rules import walk
from profiles.strict_json import parse_json
from tests.mappings.messages import EXAMPLES, FORMAT, at, errors_of, leaves, pointer, take, with_value
from tests.mappings.strategies import messages

RULES = {rule.id: rule for resource in FORMAT.table.resources for rule, _, _ in walk(resource.group)}
COLLECTED = {collect.id for collect in FORMAT.table.collects}


def fhirpath(steps):
    """Steps below a resource as the trace writes them: .name[0].given[1]."""
    return "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in steps)


def output_of(mapped):
    """Everything the mapping made: local name and type → content."""
    made = {f"{name}:{resource['resourceType']}": resource for name, resource in mapped.resources.items()}
    return {**made, "routing:routing": mapped.routing}


def plain(value):
    return value.strip() if isinstance(value, str) else value


def require_origin(row, value, message):
    """Hold one trace row against the message and the value that stands at its target."""
    if row.source is None:
        assert row.rule in COLLECTED or RULES[row.rule].function or RULES[row.rule].value == value
        return
    came_from = at(message, row.source)
    if row.function:
        assert RULES[row.rule].function == row.function
    elif row.map:
        forms = code_maps()[row.map].forms
        assert forms[RULES[row.rule].form][came_from] == value
    else:
        assert plain(came_from) == value


def require_exact(mapped, message):
    rows = defaultdict(list)
    for row in mapped.trace:
        rows[row.target].append(row)
    found = set()
    for root, content in output_of(mapped).items():
        for steps, _ in leaves(content):
            if steps == ("resourceType",):
                continue
            above = [(root + fhirpath(steps[:length]), steps[:length]) for length in range(1, len(steps) + 1)]
            covering = [(target, place) for target, place in above if target in rows]
            assert len(covering) == 1, f"{root}{fhirpath(steps)} has {len(covering)} origins"
            target, place = covering[0]
            found.add(target)
            assert len({row.rule for row in rows[target]}) == 1
            assert len(rows[target]) == 1 or all(row.function for row in rows[target])
            for row in rows[target]:
                require_origin(row, at(content, pointer(place)), message)
    traced_to_nothing = {target for target in set(rows) - found if not target.startswith("routing:")}
    assert traced_to_nothing == set()


def require_complete(mapped, message):
    """Each value of the message feeds something or is listed as unused, never both."""
    used, unused = {row.source for row in mapped.trace}, set(mapped.unused)
    for steps, value in leaves(message):
        around = {pointer(steps[:length]) for length in range(1, len(steps) + 1)}
        assert value is None or around & used or pointer(steps) in unused, f"{pointer(steps)} is neither traced nor listed"
    assert used & unused == set()


@pytest.mark.parametrize("message", EXAMPLES, ids=lambda message: message["request_number"])
def test_each_value_an_example_becomes_has_exactly_one_origin(message):
    body = parse_json(json.dumps(message).encode())
    mapped = take(message).mapped
    require_exact(mapped, body)
    require_complete(mapped, body)


@settings(max_examples=80, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
@given(messages())
def test_whatever_the_schema_admits_is_accepted_valid_and_traced(message):
    taken = take(message, strict=True)
    require_exact(taken.mapped, parse_json(json.dumps(message).encode()))
    require_complete(taken.mapped, message)
    assert taken.mapped.issues == []
    assert [issue for resource in taken.mapped.resources.values() for issue in errors_of(resource)] == []


def test_the_test_itself_sees_a_trace_that_points_elsewhere():
    mapped = FORMAT.apply(EXAMPLES[0])
    wrong = [row._replace(source="/person/name/family") if row.rule == "patient-birth-date" else row for row in mapped.trace]
    mapped.trace[:] = wrong
    with pytest.raises(AssertionError):
        require_exact(mapped, EXAMPLES[0])


def test_the_test_itself_sees_a_value_without_an_origin():
    mapped = FORMAT.apply(EXAMPLES[0])
    mapped.resources["patient"]["name"][0]["prefix"] = ["Dr."]
    with pytest.raises(AssertionError, match="0 origins"):
        require_exact(mapped, EXAMPLES[0])


def test_indexes_of_the_trace_are_those_of_message_and_resource():
    mapped = FORMAT.apply(EXAMPLES[0])
    origin = {row.target: row.source for row in mapped.trace}
    assert origin["patient:Patient.name[0].given[1]"] == "/person/name/given/1"
    assert origin["consent-2:Consent.provision.actor[0].reference.reference"] == "/consents/1/recipients/0"
    assert origin["offence-2:Observation.valueCodeableConcept.text"] == "/probable_cause/offences/1/description"
    # only present facts become Flags, so the number of the Flag is not the index of the fact
    assert origin["safety-3:Flag.code"] == "/safety_facts/2/code"


def test_a_field_nobody_knows_is_listed_as_unused_wherever_it_stands():
    message = with_value(EXAMPLES[0], ("shift",), "night")
    message = with_value(message, ("exclusions", 2, "remark"), "asked twice")
    message = with_value(message, ("contact", "location", "address", "floor"), {"of": ["three", 4]})
    assert set(FORMAT.apply(message).unused) == {
        "/shift",
        "/exclusions/2/remark",
        "/contact/location/address/floor/of/0",
        "/contact/location/address/floor/of/1",
    }


def test_the_same_message_gives_the_same_bytes_and_leaves_the_message_as_it_was():
    before = json.dumps(EXAMPLES[0])
    first, again = FORMAT.apply(EXAMPLES[0]), FORMAT.apply(EXAMPLES[0])
    assert (first.resources, first.trace) == (again.resources, again.trace)
    assert json.dumps(EXAMPLES[0]) == before


def test_changing_a_mapped_resource_does_not_change_the_next_one():
    FORMAT.apply(EXAMPLES[0]).resources["encounter"]["type"][0]["coding"][0]["code"] = "changed"
    FORMAT.apply(EXAMPLES[0]).resources["request"]["category"][0]["coding"][0]["code"] = "changed"
    again = FORMAT.apply(EXAMPLES[0]).resources
    assert again["encounter"]["type"][0]["coding"][0]["code"] == "law-enforcement-contact"
    assert again["request"]["category"][0]["coding"][0]["code"] == "arrest-diversion"

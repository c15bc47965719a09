"""A table that is wrong is refused when it is loaded, with every defect named. Each test plants one into the shipped table."""

from __future__ import annotations

import copy
import json
from pathlib import Path

import pytest

import mappings
from mappings.engine import Format
from mappings.loading import code_maps
from mappings.rules import read_table
from tests.mappings.messages import SCHEMA

FOLDER = Path(mappings.__file__).parent / "rms-diversion"
SHIPPED = json.loads((FOLDER / "table.json").read_text(encoding="utf-8"))


@pytest.fixture
def table():
    return copy.deepcopy(SHIPPED)


def rules_of(table, name):
    return next(resource for resource in table["resources"] if resource["name"] == name)["rules"]


def defects(table, schema=SCHEMA, maps=None):
    with pytest.raises(mappings.MappingDefect) as refused:
        Format(read_table(table), schema, code_maps() if maps is None else maps)
    return " ".join(refused.value.defects)


def test_the_shipped_table_is_taken(table):
    assert Format(read_table(table), SCHEMA, code_maps()).name == "rms-diversion"


PLANTED = [
    ("two rules for one target", {"id": "planted", "target": "gender", "value": "male"}, "fill the same target gender"),
    ("two copies for one target", {"id": "planted", "target": "birthDate", "from": "/requested_at"}, "fill the same target birthDate"),
    ("an unknown code map", {"id": "planted", "target": "x", "from": "/door", "map": "doors"}, "no code map doors"),
    ("a map with gaps", {"id": "planted", "target": "x", "from": "/urgency", "map": "gender"}, "code map gender does not know asap"),
    ("a map with gaps in a list", {"id": "planted", "target": "x", "from": "/needs", "map": "nature"}, "map nature does not know food"),
    ("an unknown function", {"id": "planted", "target": "x", "from": "/door", "function": "guess"}, "no function guess"),
    ("a field the schema has not", {"id": "planted", "target": "x", "from": "/person/shoe_size"}, "/person/shoe_size is not in the schema"),
    ("an item outside a list", {"id": "planted", "target": "x", "from": "./code"}, "./code has no item to start from"),
    ("a path of another language", {"id": "planted", "target": "x", "from": "$.door"}, "$.door is no source path"),
    ("a condition on no field", {"id": "planted", "target": "x", "value": 1, "when": {"present": "/nil"}}, "/nil is not in the schema"),
    ("a rule id twice", {"id": "patient-active", "target": "x", "value": 1}, "rule id patient-active stands twice"),
    ("a rule without id", {"target": "x", "value": 1}, "a rule has no id"),
    ("a rule without target", {"id": "planted", "value": 1}, "rule planted: no target"),
    ("neither value nor source", {"id": "planted", "target": "x"}, "exactly one of value and from"),
    ("value and source", {"id": "planted", "target": "x", "value": 1, "from": "/door"}, "exactly one of value and from"),
    ("several sources and no function", {"id": "planted", "target": "x", "from": ["/door", "/urgency"]}, "several sources need a function"),
    ("a map and a function", {"id": "planted", "target": "x", "from": "/door", "map": "door", "function": "is-true"}, "exclude each other"),
    (
        "too few values for a function",
        {"id": "planted", "target": "x", "from": "/door", "function": "minor"},
        "takes another number of values",
    ),
    ("a member nobody reads", {"id": "planted", "target": "x", "value": 1, "default": 2}, "unknown member default"),
    ("a form that is none", {"id": "planted", "target": "x", "from": "/door", "map": "door", "as": "codes"}, "unknown form codes"),
    ("a target that is no path", {"id": "planted", "target": "name[0", "value": 1}, "name[0 is no path step"),
    ("a condition that is none", {"id": "planted", "target": "x", "value": 1, "when": {"path": "/door", "like": "a"}}, "condition"),
    ("a reference to no resource", {"id": "planted", "target": "x", "value": {"reference": "urn:local:nobody"}}, "refers to nobody"),
    ("a reference to one of many", {"id": "planted", "target": "x", "value": {"reference": "urn:local:consent"}}, "refers to consent"),
    ("a list under each that is none", {"each": "/person", "target": "x[a]", "rules": []}, "/person is no list in the schema"),
    ("an each without a place", {"each": "/needs", "rules": []}, "must be one list at the end"),
    ("a target beside a bare condition", {"when": {"present": "/door"}, "target": "x", "rules": []}, "a group without each has no target"),
]


@pytest.mark.parametrize(("member", "named"), [row[1:] for row in PLANTED], ids=[row[0] for row in PLANTED])
def test_a_table_with_a_defect_is_refused_and_the_defect_is_named(table, member, named):
    rules_of(table, "patient").append(member)
    assert named in defects(table)


def test_conditions_that_exclude_each_other_may_fill_one_target(table):
    rules_of(table, "patient").extend(
        [
            {"id": "one", "target": "multipleBirthInteger", "value": 1, "when": {"path": "/door", "equals": "community"}},
            {"id": "other", "target": "multipleBirthInteger", "value": 2, "when": {"path": "/door", "equals": "social-contact"}},
        ]
    )
    assert Format(read_table(table), SCHEMA, code_maps())


def test_a_map_may_have_gaps_where_a_condition_keeps_the_code_away(table):
    rule = {"id": "one", "target": "x", "from": "/urgency", "map": "gender", "when": {"path": "/urgency", "in": ["asap"]}}
    rules_of(table, "patient").append(rule)
    named = defects(table)
    assert "does not know asap" in named
    assert "does not know routine" not in named


def test_a_resource_that_stands_twice_is_refused(table):
    table["resources"].append({**table["resources"][0], "rules": []})
    assert "resource patient stands twice" in defects(table)


def test_a_resource_without_a_data_class_is_refused(table):
    del table["resources"][0]["data_class"]
    assert "resource patient: no data class" in defects(table)


def test_a_check_nobody_registered_is_refused(table):
    table["checks"].append("horoscope")
    assert "no check horoscope" in defects(table)


def test_an_order_of_fields_that_do_not_exist_is_refused(table):
    table["orders"].append({"id": "planted", "earlier": "/a", "later": "/requested_at", "text": "-"})
    assert "order planted: /a is not in the schema" in defects(table)


def test_a_key_that_is_no_field_is_refused(table):
    table["key"]["number"] = "/ticket"
    assert "/ticket is not in the schema" in defects(table)


@pytest.mark.parametrize(
    ("withheld", "named"),
    [
        ({"numbers": ["/agency/docket"]}, "withheld: /agency/docket is not in the schema"),
        ({"phrases": ["/probable_cause/offences/*/plea"]}, "withheld: /probable_cause/offences/0/plea is not in the schema"),
        ({"texts": ["line", "verse"]}, "withheld: the schema defines no verse"),
        ({"words": []}, "withheld: unknown member words"),
    ],
)
def test_what_is_to_be_withheld_and_does_not_exist_is_refused(table, withheld, named):
    table["withheld"] |= withheld
    assert named in defects(table)


def test_references_to_be_collected_from_no_resource_are_refused(table):
    table["collect"].append({"id": "planted", "resource": "request", "target": "insurance", "of": ["coverage"]})
    assert "collect planted: no resource coverage" in defects(table)


def test_a_code_that_the_schema_gains_is_missed_in_its_map(table):
    schema = copy.deepcopy(SCHEMA)
    schema["properties"]["door"]["enum"].append("back-door")
    assert "rule request-door: code map door does not know back-door" in defects(table, schema)


def test_every_defect_is_named_at_once(table):
    rules_of(table, "patient").extend([row[1] for row in PLANTED[2:6]])
    named = defects(table)
    assert all(text in named for _, _, text in PLANTED[2:6])

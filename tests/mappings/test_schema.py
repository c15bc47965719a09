"""The published schema: bounded everywhere, every field of it used, every code of it mapped, and its examples true."""

from __future__ import annotations

import re

import jsonschema_rs
import pytest

from mappings.loading import code_maps
from mappings.rules import walk
from profiles.models import parse_with_models
from tests.mappings.messages import EXAMPLES, FORMAT, SCHEMA, errors_of, schema_nodes, take

FIELDS = dict(schema_nodes())
RULES = [(rule, repeats) for resource in FORMAT.table.resources for rule, _, repeats in walk(resource.group)]
EXAMPLE = pytest.mark.parametrize("message", EXAMPLES, ids=lambda message: f"{message['request_number']}-{message['revision']}")


def field(path, repeats):
    """A rule's source as a pointer from the root, with * for the entries of lists."""
    base = ""
    for each in repeats:
        base = (base + each[1:] if each.startswith(".") else each) + "/*"
    return re.sub(r"/\d+(?=/|$)", "/*", base + path[1:] if path.startswith(".") else path)


READ = {field(source, repeats) for rule, repeats in RULES for source in rule.sources}


def test_the_schema_is_one():
    jsonschema_rs.meta.validate({name: member for name, member in SCHEMA.items() if name != "examples"})


@pytest.mark.parametrize("place", [place for place, node in FIELDS.items() if node["type"] == "string"])
def test_every_text_has_a_longest(place):
    assert {"enum", "maxLength"} & FIELDS[place].keys()


@pytest.mark.parametrize("place", [place for place, node in FIELDS.items() if node["type"] == "array"])
def test_every_list_has_a_most(place):
    assert "maxItems" in FIELDS[place]


@pytest.mark.parametrize("place", [place for place, node in FIELDS.items() if node["type"] in ("number", "integer")])
def test_every_number_has_a_range(place):
    assert "maximum" in FIELDS[place]
    assert {"minimum", "exclusiveMinimum"} & FIELDS[place].keys()


@pytest.mark.parametrize("place", [place for place, node in FIELDS.items() if node["type"] not in ("object", "array")])
def test_every_field_is_read_by_a_rule_of_its_own(place):
    assert {place, place.removesuffix("/*")} & READ


def test_every_rule_is_reached_by_an_example():
    reached = {row.rule for message in EXAMPLES for row in FORMAT.apply(message).trace}
    assert {rule.id for rule, _ in RULES} - reached == set()


@pytest.mark.parametrize("place", [place for place, node in FIELDS.items() if "enum" in node])
def test_every_code_is_known_to_each_map_that_translates_it(place):
    used = {
        rule.code_map for rule, repeats in RULES if rule.code_map and place.removesuffix("/*") in {field(s, repeats) for s in rule.sources}
    }
    used |= {rule.code_map for rule, repeats in RULES if rule.code_map and place in {field(s, repeats) for s in rule.sources}}
    missing = {(name, code) for name in used for code in FIELDS[place]["enum"] if not code_maps()[name].knows(code)}
    assert missing == set()


@pytest.mark.parametrize("name", sorted({rule.code_map for rule, _ in RULES if rule.code_map}))
def test_a_code_map_translates_what_the_schema_names_and_nothing_else(name):
    places = {field(source, repeats) for rule, repeats in RULES if rule.code_map == name for source in rule.sources}
    codes = {code for place in places for code in (FIELDS.get(place, {}) | FIELDS.get(f"{place}/*", {})).get("enum", ())}
    assert set(code_maps()[name].forms["code"]) == codes


@EXAMPLE
@pytest.mark.parametrize("strict", [True, False])
def test_a_published_example_is_accepted_as_it_is(message, strict):
    taken = take(message, strict=strict)
    assert taken.issues == ()
    assert taken.mapped.unused == []
    assert (taken.key, taken.revision) == (message["request_number"], message["revision"])


@EXAMPLE
def test_a_published_example_becomes_resources_without_a_fault(message):
    resources = take(message).mapped.resources
    assert {resource["resourceType"] for resource in resources.values()} >= {
        "Patient",
        "Encounter",
        "ServiceRequest",
        "QuestionnaireResponse",
        "Provenance",
    }
    assert [issue for resource in resources.values() for issue in errors_of(resource)] == []


@EXAMPLE
def test_the_model_classes_parse_what_an_example_becomes(message):
    for resource in take(message).mapped.resources.values():
        parse_with_models(resource)


def test_the_examples_come_by_all_three_doors_and_one_person_has_no_name():
    assert {message["door"] for message in EXAMPLES} == set(FIELDS["/door"]["enum"])
    assert any(message["person"].get("unidentified") for message in EXAMPLES)
    assert any(message["revision"] > 1 for message in EXAMPLES)

"""Code maps are ConceptMaps: every one shipped is valid R4, and a faulty one is refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import mappings
from mappings.code_maps import read_code_map
from mappings.rules import walk
from tests.mappings.messages import errors_of

FILES = sorted((Path(mappings.__file__).parent / "codes").glob("*.json"))


def a_map(*elements, **group):
    return {"resourceType": "ConceptMap", "name": "m", "group": [{"target": "urn:t", "element": list(elements), **group}]}


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_a_shipped_code_map_is_a_valid_conceptmap_named_as_its_file(file):
    resource = json.loads(file.read_text(encoding="utf-8"))
    assert errors_of(resource) == []
    assert resource["name"] == file.stem
    assert [element["code"] for group in resource["group"] for element in group["element"] if not element.get("target")] == []


def test_a_code_has_the_four_forms():
    found = read_code_map(a_map({"code": "a", "display": "Say A", "target": [{"code": "A", "display": "Ay"}]}))
    coding = {"system": "urn:t", "code": "A", "display": "Ay"}
    assert [found.translate("a", form) for form in ("code", "coding", "concept", "text")] == [
        "A",
        coding,
        {"coding": [coding], "text": "Say A"},
        "Say A",
    ]


@pytest.mark.parametrize("code", ["b", "", None, 1, ["a"], {}])
def test_what_a_map_does_not_know_has_no_translation(code):
    assert read_code_map(a_map({"code": "a", "target": [{"code": "A"}]})).translate(code, "code") is None


def test_a_map_may_name_one_code_for_all_it_does_not_know():
    found = read_code_map(a_map({"code": "a", "target": [{"code": "A"}]}, unmapped={"mode": "fixed", "code": "O"}))
    assert found.translate("zzz", "code") == "O"
    assert found.knows("zzz")


@pytest.mark.parametrize(
    "resource",
    [
        {"resourceType": "ValueSet", "name": "m"},
        {"resourceType": "ConceptMap", "name": "m"},
        a_map({"code": "a", "target": [{"code": "A"}, {"code": "B"}]}),
    ],
)
def test_a_map_that_is_none_or_has_two_answers_is_refused(resource):
    with pytest.raises(mappings.MappingDefect, match="code map m"):
        read_code_map(resource)


def test_only_shipped_formats_are_loaded():
    assert mappings.formats() == ("eido", "rms-diversion")
    for name in ("codes", "../mappings", "", "functions"):
        with pytest.raises(KeyError):
            mappings.load(name)


def test_every_code_map_is_used_by_a_format():
    tables = [mappings.load(name).table for name in mappings.formats()]
    used = {rule.code_map for table in tables for resource in table.resources for rule, _, _ in walk(resource.group)}
    assert {file.stem for file in FILES} - used == set()


def test_a_part_has_one_data_class_whatever_format_it_comes_by():
    formats = [mappings.load(name) for name in mappings.formats()]
    names = {resource.name for form in formats for resource in form.table.resources if resource.type}
    for name in names:
        assert len({form.data_class(name) for form in formats} - {None}) == 1, name

"""The committed facts are what the publisher's package says, and nothing but facts."""

from __future__ import annotations

import gzip
import json
import tomllib

import pytest

from profiles.bindings import unchecked_sets
from profiles.compile import FACTS_FILE, compile_package, facts_text, main, write_facts
from profiles.engine import unchecked_rules
from profiles.facts import r4_facts
from profiles.primitives import PRIMITIVES
from tests.profiles.shared_material import SHARED, needs_shared

NAMED = (
    *("Patient", "Encounter", "ServiceRequest", "Task", "Consent", "QuestionnaireResponse"),
    *("Flag", "Location", "Provenance", "Bundle", "Observation", "Organization"),
)


@needs_shared
def test_compiling_the_package_again_gives_the_committed_facts(tmp_path):
    facts = compile_package(SHARED / "fhir/packages/hl7.fhir.r4.core-4.0.1.tgz")
    assert facts_text(facts) == gzip.decompress(FACTS_FILE.read_bytes())
    write_facts(facts, tmp_path / "again.gz")
    write_facts(facts, tmp_path / "once-more.gz")
    assert (tmp_path / "again.gz").read_bytes() == (tmp_path / "once-more.gz").read_bytes()


@needs_shared
def test_another_guide_is_refused():
    with pytest.raises(ValueError, match=r"hl7\.fhir\.r4\.core"):
        compile_package(SHARED / "fhir/packages/hl7.fhir.us.core-7.0.0.tgz")


def test_the_command_asks_for_one_package(capsys):
    assert main([]) == 2
    assert "usage" in capsys.readouterr().err


def test_every_resource_type_and_primitive_of_r4_is_there():
    facts = r4_facts()
    assert len(facts.resource_types) == 146
    assert set(facts.primitives) == set(PRIMITIVES)
    assert set(NAMED) <= facts.resource_types
    assert facts.resource_types.isdisjoint({"Resource", "DomainResource", "SubscriptionTopic", "Element"})


def test_only_four_required_value_sets_stay_unexpanded():
    assert r4_facts().unexpanded == {
        "http://hl7.org/fhir/ValueSet/currencies",
        "http://hl7.org/fhir/ValueSet/mimetypes",
        "http://hl7.org/fhir/ValueSet/ucum-units",
        "http://loinc.org/vs/LL379-9",
    }
    assert unchecked_sets(r4_facts()) == {"http://hl7.org/fhir/ValueSet/ucum-units", "http://loinc.org/vs/LL379-9"}


def test_the_facts_are_small_and_hold_no_prose():
    assert FACTS_FILE.stat().st_size < 200_000
    texts = []
    waiting = [json.loads(gzip.decompress(FACTS_FILE.read_bytes()))["types"]]
    while waiting:
        node = waiting.pop()
        waiting.extend(node.values() if isinstance(node, dict) else node if isinstance(node, list) else ())
        texts.extend([node] if isinstance(node, str) else [])
    assert not [text for text in texts if " " in text]


@pytest.mark.parametrize("name", NAMED)
def test_no_invariant_of_a_referrals_resources_is_left_unchecked(name):
    assert unchecked_rules(name) == frozenset()


def test_what_is_left_unchecked_is_said():
    assert "sdf-1" in unchecked_rules("StructureDefinition")


def test_the_facts_travel_with_the_distribution():
    with (FACTS_FILE.parents[2] / "pyproject.toml").open("rb") as handle:
        patterns = tomllib.load(handle)["tool"]["setuptools"]["package-data"]["*"]
    assert any(FACTS_FILE.match(pattern) for pattern in patterns)

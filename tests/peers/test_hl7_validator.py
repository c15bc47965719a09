"""HL7's reference validator over everything the demo stored and sent: no errors, and ours agrees."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.peers.machine import REPOSITORY, outside_environment
from tests.peers.reference_validator import ask_hl7, ask_ours, errors_of
from tests.peers.saved_resources import kinds_in, stored_files, write_wire_resources

pytestmark = pytest.mark.peers

OF_A_REFERRAL = (
    *("Patient", "RelatedPerson", "Encounter", "ServiceRequest", "Task", "Consent", "QuestionnaireResponse", "Flag", "Location"),
    *("Communication", "Provenance"),
)
SENT_TO_AN_EHR = ("Patient", "RelatedPerson", "Encounter", "ServiceRequest", "Task", "Flag", "Location")
US_CORE = "http://hl7.org/fhir/us/core/StructureDefinition/us-core-"
# Types of the referral that have a parent in US Core; a resource without meta.profile would not be held against it.
WITH_A_PARENT = {
    "Patient": f"{US_CORE}patient",
    "RelatedPerson": f"{US_CORE}relatedperson",
    "Encounter": f"{US_CORE}encounter",
    "ServiceRequest": f"{US_CORE}servicerequest",
    "QuestionnaireResponse": f"{US_CORE}questionnaireresponse",
    "Location": f"{US_CORE}location",
    "Provenance": f"{US_CORE}provenance",
}


@dataclass
class Checked:
    """Every resource of one demo with the two verdicts on it."""

    stored: list[Path]
    wire: list[Path]
    hl7: dict[Path, dict[str, Any]]
    ours: dict[Path, dict[str, Any]]

    def kinds(self, files: list[Path]) -> Counter[str]:
        return Counter(kind for file in files for kind in kinds_in(json.loads(file.read_bytes())))


@pytest.fixture(scope="module")
def checked(demo_folder, tmp_path_factory):
    stored = stored_files(demo_folder)
    wire = write_wire_resources(demo_folder, tmp_path_factory.mktemp("wire") / "resources")
    return Checked(stored, wire, ask_hl7([*stored, *wire]), ask_ours([*stored, *wire]))


def test_hl7s_validator_finds_no_error_in_what_was_stored_or_sent(checked):
    errors = errors_of(checked.hl7)
    assert not errors, "\n".join(errors)


def test_our_validator_agrees_with_hl7s_on_every_resource(checked):
    errors = errors_of(checked.ours)
    assert not errors, "\n".join(errors)
    assert {file.name: verdict["valid"] for file, verdict in checked.ours.items()} == {
        file.name: verdict["valid"] for file, verdict in checked.hl7.items()
    }


@pytest.mark.parametrize("kind", OF_A_REFERRAL)
def test_each_type_of_a_referral_was_stored_and_checked(checked, kind):
    assert checked.kinds(checked.stored)[kind] >= 1


@pytest.mark.parametrize("kind", SENT_TO_AN_EHR)
def test_each_type_an_ehr_needs_crossed_a_wire_and_was_checked(checked, kind):
    assert checked.kinds(checked.wire)[kind] >= 1


@pytest.mark.parametrize("kind", WITH_A_PARENT)
def test_what_has_a_parent_in_us_core_was_held_against_it(checked, kind):
    resources = [json.loads(file.read_bytes()) for file in checked.stored if file.parent.name == kind]
    assert [resource["id"] for resource in resources if WITH_A_PARENT[kind] not in resource.get("meta", {}).get("profile", ())] == []


def test_hl7s_validator_sees_a_planted_error(checked, tmp_path):
    patient = json.loads(next(file for file in checked.stored if file.parent.name == "Patient").read_bytes())
    del patient["identifier"]
    planted = tmp_path / "planted.json"
    planted.write_text(json.dumps({**patient, "gender": "banana"}))
    found = " ".join(errors_of(ask_hl7([planted])))
    assert "Patient.identifier" in found
    assert "banana" in found


@pytest.mark.parametrize("format_name", ["rms-diversion", "eido"])
def test_the_bundle_of_every_published_example_is_valid(tmp_path, format_name):
    examples = sorted((REPOSITORY / "mappings" / format_name / "examples").glob("*.json"))
    bundles = []
    for example in examples:
        done = subprocess.run(
            [sys.executable, "-m", "gateway", "map", format_name, example],
            env=outside_environment(),
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        bundles.append(tmp_path / example.name)
        bundles[-1].write_text(done.stdout)
    assert len(bundles) >= 3
    errors = errors_of(ask_hl7(bundles))
    assert not errors, "\n".join(errors)

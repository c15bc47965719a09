"""Verdicts line by line as HL7's validator writes them, and the classes that parse what we author."""

from __future__ import annotations

import io
import json

import pytest

from profiles import jobs
from profiles.models import MODELS, parse_with_models
from profiles.strict_json import to_json
from tests.profiles.specimens import PATIENT, VALID


def answers(*lines):
    out = io.StringIO()
    status = jobs.run([line if isinstance(line, str) else json.dumps(line) for line in lines], out)
    return status, [json.loads(line) for line in out.getvalue().splitlines()]


@pytest.fixture
def patient_file(tmp_path):
    file = tmp_path / "patient.json"
    file.write_bytes(to_json(PATIENT))
    return str(file)


def test_a_valid_file_gets_the_reference_validators_line(patient_file):
    status, verdicts = answers({"file": patient_file, "profiles": []}, "\n")
    assert status == 0
    assert verdicts == [{"file": patient_file, "valid": True, "errors": 0, "warnings": 0, "issues": []}]


def test_a_fault_is_told_with_severity_code_place_and_text(tmp_path):
    file = tmp_path / "bad.json"
    file.write_bytes(to_json({**PATIENT, "gender": "F"}))
    status, [verdict] = answers({"file": str(file)})
    assert status == 1
    assert (verdict["valid"], verdict["errors"], verdict["warnings"]) == (False, 1, 0)
    [issue] = verdict["issues"]
    assert list(issue) == ["severity", "code", "where", "text"]
    assert (issue["severity"], issue["code"], issue["where"]) == ("error", "code-invalid", "Patient.gender")


def test_what_was_wished_for_and_not_done_is_a_warning(patient_file):
    _, [verdict] = answers({"file": patient_file, "profiles": ["https://example.org/mine"], "load": ["x.tgz"]})
    assert verdict["valid"]
    assert verdict["warnings"] == 2


@pytest.mark.parametrize("content", [b"{", b"\xff", b'{"resourceType": "Patient", "resourceType": "Task"}', b"[" * 100, b"<Patient/>"])
def test_a_file_that_is_no_json_gets_a_fatal_verdict(tmp_path, content):
    file = tmp_path / "odd.json"
    file.write_bytes(content)
    status, [verdict] = answers({"file": str(file)})
    assert status == 1
    assert verdict["issues"][0]["severity"] == "fatal"


@pytest.mark.parametrize("line", ["{", "[]", '"x"', "{}", '{"file": 5}', '{"file": "x", "profiles": "y"}', "[" * 5000])
def test_a_line_that_is_no_job_is_answered_and_the_next_goes_on(patient_file, line):
    status, verdicts = answers(line, {"file": patient_file, "profiles": None})
    assert status == 2
    assert [verdict["valid"] for verdict in verdicts] == [False, True]


def test_a_missing_file_gets_its_verdict():
    status, [verdict] = answers({"file": "/nowhere/at/all.json"})
    assert status == 1
    assert verdict["issues"][0]["code"] == "exception"


@pytest.mark.parametrize("name", sorted(name for name in VALID if VALID[name]["resourceType"] in MODELS))
def test_the_classes_read_every_specimen(name):
    assert parse_with_models(VALID[name]).get_resource_type() == VALID[name]["resourceType"]


def test_the_classes_are_those_of_r4b_and_not_of_r5():
    assert all(".R4B." in made.__module__ for made in MODELS.values())

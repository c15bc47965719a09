"""`crisis-gateway map FORMAT FILE`: the dry run without a server."""

from __future__ import annotations

import json

import pytest
import typer
from typer.testing import CliRunner

from gateway.commands import map as command
from tests.mappings.messages import EXAMPLES, errors_of, with_value


@pytest.fixture
def run(tmp_path):
    cli = typer.Typer()
    command.register(cli)
    cli.command("other")(lambda: None)  # with a single command typer takes no name

    def run_map(message, *options, format_name="rms-diversion"):
        file = tmp_path / "message.json"
        file.write_bytes(message if isinstance(message, bytes) else json.dumps(message).encode())
        return CliRunner().invoke(cli, ["map", format_name, str(file), *options])

    return run_map


@pytest.mark.parametrize("message", EXAMPLES, ids=lambda message: message["request_number"])
def test_the_bundle_of_a_message_is_printed_and_is_valid(run, message):
    result = run(message, "--organization", "riverton-police")
    assert result.exit_code == 0
    bundle = json.loads(result.stdout)
    assert (bundle["resourceType"], bundle["type"]) == ("Bundle", "collection")
    assert errors_of(bundle) == []
    assert "urn:local:" not in result.stdout
    assert "Organization/riverton-police" in result.stdout


def test_with_trace_the_origin_of_each_value_is_printed_too(run):
    shown = json.loads(run(EXAMPLES[0], "--trace").stdout)
    assert set(shown) == {"bundle", "trace", "unused", "issues", "routing"}
    family = {"rule": "patient-family", "source": "/person/name/family", "target": "patient:Patient.name[0].family", "map": None}
    assert family in shown["trace"]


def test_numbers_are_printed_with_the_digits_they_came_with(run):
    body = json.dumps(EXAMPLES[0]).replace("47.48201", "47.4820100").encode()
    assert "47.4820100" in run(body).stdout


def test_an_unknown_field_is_named_and_refused_only_when_strict(run):
    message = with_value(EXAMPLES[0], ("shift",), "night")
    lenient = json.loads(run(message, "--trace").stdout)
    assert lenient["unused"] == ["/shift"]
    strict = run(message, "--strict")
    assert strict.exit_code == 1
    [issue] = json.loads(strict.stderr)["issue"]
    assert issue["diagnostics"] == "source field: /shift"


@pytest.mark.parametrize("body", [b"{", b"[]", b'{"request_number": 1}'])
def test_faults_are_an_operationoutcome_on_standard_error(run, body):
    result = run(body)
    assert (result.exit_code, result.stdout) == (1, "")
    outcome = json.loads(result.stderr)
    assert errors_of(outcome) == []
    assert outcome["issue"]


def test_an_unknown_format_is_a_usage_error_that_names_the_known_ones(run):
    result = run(EXAMPLES[0], format_name="fax")
    assert result.exit_code == 2
    assert "rms-diversion" in result.stderr


def test_a_file_that_is_not_there_is_a_usage_error(run, tmp_path):
    cli = typer.Typer()
    command.register(cli)
    result = CliRunner().invoke(cli, ["rms-diversion", str(tmp_path / "nowhere.json")])
    assert result.exit_code == 2
    assert "nowhere.json" in result.stderr.replace("\n", "").replace("│", "").replace(" ", "")


def test_a_message_may_come_by_standard_input():
    cli = typer.Typer()
    command.register(cli)
    result = CliRunner().invoke(cli, ["rms-diversion", "-"], input=json.dumps(EXAMPLES[1]))
    assert result.exit_code == 0
    assert json.loads(result.stdout)["resourceType"] == "Bundle"

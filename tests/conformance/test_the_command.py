"""crisis-conformance as its user meets it: exits, reports, and a clients file whose every fault is named."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
from pathlib import Path
from xml.etree import ElementTree

import pytest
import requests
from typer.testing import CliRunner

from conformance.__main__ import app
from conformance.checks import all_checks
from conformance.keys import make_keys
from conformance.report import curl_line, shown_body
from conformance.wire import REDACTED, redacted_text
from tests.conformance.mutations import ReadsNoAudience
from tests.conformance.reference_server import Reference
from tests.conformance.served import ROLES, make_parties, serving


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    made = tmp_path_factory.mktemp("kit")
    make_parties(made)
    lines = [f'[{role}]\nclient_id = "kit-{role}"\nkey = "{role}.key.json"\nscope = "{scope}"\n' for role, (_, scope) in ROLES.items()]
    (made / "clients.toml").write_text("\n".join(lines))
    return made


@pytest.fixture(scope="module")
def parties(folder):
    return make_parties(folder)


def kit(*arguments):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def test_a_conforming_gateway_exits_0_and_the_report_is_readable_by_ci(folder, parties, tmp_path):
    junit, report = tmp_path / "junit.xml", tmp_path / "run.json"
    with serving(Reference, parties) as gateway:
        done = kit(
            "run",
            "--target",
            gateway.base_url,
            "--client",
            folder / "clients.toml",
            "--only",
            "task-read",
            "--only",
            "token-es384",
            "--junit",
            junit,
            "--json",
            report,
        )
    assert done.exit_code == 0, done.output
    assert "2 pass" in done.output
    suite = ElementTree.parse(junit).getroot()
    assert (suite.get("tests"), suite.get("failures")) == ("2", "0")
    assert json.loads(report.read_text())["verdict"] == "pass"


def test_a_failure_exits_1_and_shows_exchange_clause_cause_and_curl_line_without_credentials(folder, parties, tmp_path):
    junit, report, wire = tmp_path / "junit.xml", tmp_path / "run.json", tmp_path / "wire"
    with serving(ReadsNoAudience, parties) as gateway:
        arguments = ("--only", "token-wrong-audience", "--junit", junit, "--json", report, "--wire", wire)
        done = kit("run", "--target", gateway.base_url, "--client", folder / "clients.toml", *arguments)
        tokens = list(gateway.tokens)
    assert done.exit_code == 1
    for shown in (
        "https://www.rfc-editor.org/rfc/rfc7523#section-3",
        "likely",
        "POST http://127.0.0.1",
        "→ 200",
        "curl -i -X POST",
        "$ASSERTION",
    ):
        assert shown in done.output
    assert ElementTree.parse(junit).find(".//failure").text
    everything = done.output + junit.read_text() + report.read_text() + "".join(file.read_text() for file in wire.glob("*.http"))
    assert not any(token in everything for token in tokens)
    assert not re.search(r"eyJ[A-Za-z0-9_-]+\.eyJ", everything)


def test_a_run_in_which_nothing_could_be_shown_does_not_pass(folder, parties):
    class Silent(Reference):
        def offer(self, client):
            made = super().offer(client)
            self.held["Task", made].parties.clear()
            return made

    with serving(Silent, parties) as gateway:
        done = kit("run", "--target", gateway.base_url, "--client", folder / "clients.toml", "--only", "task-read", "--timeout", "0.3")
    assert "not demonstrated" in done.output
    assert done.exit_code == 1


def test_strict_fails_what_is_not_demonstrated(folder, parties, tmp_path):
    reduced = folder / "three.toml"
    reduced.write_text((folder / "clients.toml").read_text().partition("[other_sender]")[0])
    with serving(Reference, parties) as gateway:
        arguments = ("run", "--target", gateway.base_url, "--client", reduced, "--only", "receipt-foreign", "--only", "task-read")
        assert kit(*arguments).exit_code == 0
        assert kit(*arguments, "--strict").exit_code == 1


def test_a_dead_target_exits_3(folder):
    done = kit("run", "--target", "http://127.0.0.1:9", "--client", folder / "clients.toml")
    assert done.exit_code == 3


@pytest.mark.parametrize("wrong", [("--only", "no-such-check"), ("--role", "banana"), ("--target", "ftp://x")])
def test_wrong_use_exits_2(folder, wrong):
    assert kit("run", "--target", "http://127.0.0.1:9", "--client", folder / "clients.toml", *wrong).exit_code == 2


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("", ("[sender] is missing", "[receiver] is missing", "[stranger] is missing")),
        ("not toml [", ("not TOML",)),
        (
            '[sender]\nclient_id = "a"\ncolour = "red"\n[banana]\n',
            ("unknown member colour", "needs key", "needs scope", "[banana] is not a party"),
        ),
        ('[sender]\nclient_id = "a"\nkey = "gone.json"\nscope = "x"\n', ("gone.json",)),
    ],
)
def test_every_fault_of_the_clients_file_is_named_at_once(tmp_path, content, said):
    file = tmp_path / "clients.toml"
    file.write_text(content)
    done = kit("run", "--target", "http://127.0.0.1:9", "--client", file)
    assert done.exit_code == 2
    for sentence in said:
        assert sentence in done.output


def test_a_public_key_is_no_key_to_act_with(tmp_path, folder):
    make_keys(tmp_path, "a")
    text = (folder / "clients.toml").read_text().replace("sender.key.json", str(tmp_path / "a.jwks.json"), 1)
    (folder / "public.toml").write_text(text)
    done = kit("run", "--target", "http://127.0.0.1:9", "--client", folder / "public.toml")
    assert done.exit_code == 2
    assert "no private part" in done.output


def test_every_check_can_be_explained_with_its_clauses():
    for check in all_checks():
        done = kit("explain", check.id)
        assert done.exit_code == 0
        assert all(name in done.output for name in check.requirements)


def test_coverage_names_what_no_check_covers_and_why():
    done = kit("coverage")
    assert done.exit_code == 0
    assert "SMART-KEY-8" in done.output
    assert "CRG-INT-6" not in done.output


def test_a_report_tells_nothing_of_a_person():
    body = json.dumps(
        {"resourceType": "Patient", "name": [{"family": "Okafor", "given": ["Ada", "May"]}], "birthDate": "1990-02-03"}
    ).encode()
    assert not any(word in shown_body(body) for word in ("Okafor", "Ada", "May", "1990"))


@pytest.mark.parametrize(
    "text",
    [
        '{"access_token": "s3cr3t", "expires_in": 300}',
        "grant_type=x&client_assertion=s3cr3t",
        "client_assertion=s3cr3t&a=b",
        "/fhir/Task?access_token=s3cr3t",
        '{"access_token":"s3\\"cr3t"}',
    ],
)
def test_no_credential_stays_in_a_text(text):
    assert "cr3t" not in redacted_text(text)
    assert REDACTED in redacted_text(text)


def test_the_curl_line_of_a_search_holds_no_token(parties):
    from conformance.exchange import Exchange

    exchange = Exchange("GET", "http://h/fhir/Task?access_token=abc", {"Authorization": "Bearer abc"}, b"", 401, {}, b"", 0.1)
    assert "abc" not in curl_line(exchange)


@pytest.mark.parametrize(("kind", "path"), [("rms", "/control/state"), ("cad", "/control/state"), ("ehr", "/fhir/metadata")])
def test_a_stand_in_starts_as_a_process_says_where_it_listens_and_ends_on_sigterm(tmp_path, kind, path):
    port = _free_port()
    command = [sys.executable, "-m", "conformance", "standin", kind, "--port", str(port), "--state", str(tmp_path / "s")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[2]) as process:
        try:
            said = json.loads(process.stdout.readline())
            assert said["standin"] == kind
            assert Path(said["jwks"]).exists()
            assert requests.get(said["listening"] + path, timeout=5).status_code == 200
        finally:
            begun = time.monotonic()
            process.terminate()
            process.wait(timeout=10)
        assert time.monotonic() - begun < 5
        assert process.returncode == 0


def _free_port():
    import socket

    with socket.socket() as made:
        made.bind(("127.0.0.1", 0))
        return made.getsockname()[1]

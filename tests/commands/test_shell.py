"""The commands as an operator meets them: real processes, a real port, a fresh folder."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import time
from pathlib import Path

import pytest
import requests
from joserfc.jwk import ECKey

from gateway.__main__ import COMMANDS
from gateway.settings import described
from tests.builders import an_rms_message

PARTIES = """
[organization.riverton-police]
name = "Riverton Police Department"
postures = ["criminal_justice_agency"]

[organization.alder]
name = "Alder Case Management"
postures = ["covered_entity"]
services = ["lead-case-management"]

[client.rms]
organization = "riverton-police"
jwks = "rms.jwks.json"
scopes = "__gateway.intake.rms-diversion"
purposes = ["COC"]

[client.ehr]
organization = "alder"
jwks = "ehr.jwks.json"
scopes = "system/Task.rus system/Patient.rs"
purposes = ["TREAT"]
"""


def set_up(shell):
    for name in ("rms", "ehr"):
        key = ECKey.generate_key("P-384", auto_kid=True)
        (shell.folder / f"{name}.jwks.json").write_text(json.dumps({"keys": [key.as_dict(private=False)]}))
        (shell.folder / f"{name}.key.json").write_text(json.dumps(key.as_dict(private=True)))
    (shell.folder / "parties.toml").write_text(PARTIES)
    for command in (("db", "upgrade"), ("parties", "apply", "parties.toml")):
        done = shell.run(*command)
        assert done.returncode == 0, done.stderr


def bearer(shell, client):
    done = shell.run("token", client, "--key", f"{client}.key.json")
    assert done.returncode == 0, done.stderr
    return {"Authorization": f"Bearer {done.stdout.strip()}"}


def wait_for(look, seconds=15):
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        found = look()
        if found:
            return found
        time.sleep(0.1)
    raise AssertionError("not seen in time")


@pytest.fixture
def running(shell):
    set_up(shell)
    with shell.serving("--with-worker") as process:
        yield shell, process


def test_an_operator_starts_it_and_the_main_job_works_with_what_the_commands_give(running):
    shell, _ = running
    rms, ehr = bearer(shell, "rms"), bearer(shell, "ehr")
    sent = requests.post(f"{shell.base_url}/intake/rms-diversion", json=an_rms_message(), headers=rms, timeout=10)
    assert sent.status_code == 201, sent.text

    def offered():
        return requests.get(f"{shell.base_url}/fhir/Task?status=requested", headers=ehr, timeout=10).json().get("entry")

    task = wait_for(offered)[0]["resource"]
    headers = {**ehr, "If-Match": f'W/"{task["meta"]["versionId"]}"', "Content-Type": "application/fhir+json"}
    accepted = requests.put(f"{shell.base_url}/fhir/Task/{task['id']}", json={**task, "status": "accepted"}, headers=headers, timeout=10)
    assert accepted.status_code == 200, accepted.text
    printed = shell.run("ledger", "print", sent.json()["receipt"])
    assert "accept" in printed.stdout
    assert "all invariants hold" in printed.stdout
    assert shell.run("ledger", "verify").returncode == 0
    suspended = shell.run("client", "suspend", "ehr")
    assert suspended.returncode == 0
    assert requests.get(f"{shell.base_url}/fhir/Task", headers=ehr, timeout=10).status_code == 401
    assert shell.run("token", "ehr", "--key", "ehr.key.json").returncode == 1
    assert shell.run("client", "resume", "ehr").returncode == 0
    assert requests.get(f"{shell.base_url}/fhir/Task", headers=bearer(shell, "ehr"), timeout=10).status_code == 200


def test_a_worker_that_is_killed_is_started_again_and_the_offer_is_made(running):
    shell, process = running
    first = children(process.pid, "worker")
    os.kill(first, signal.SIGKILL)
    sent = requests.post(f"{shell.base_url}/intake/rms-diversion", json=an_rms_message(), headers=bearer(shell, "rms"), timeout=10)
    assert sent.status_code == 201
    ehr = bearer(shell, "ehr")
    assert wait_for(lambda: requests.get(f"{shell.base_url}/fhir/Task", headers=ehr, timeout=10).json().get("entry"), 30)
    assert children(process.pid, "worker") != first


def test_server_and_worker_go_when_whoever_started_them_is_killed(running):
    shell, process = running
    worker = children(process.pid, "worker")
    process.kill()
    process.wait()
    assert wait_for(lambda: not alive(worker) and not answers(shell), 40)


def answers(shell):
    with contextlib.suppress(requests.RequestException):
        requests.get(f"{shell.base_url}/healthz", timeout=1)
        return True
    return False


def alive(pid):
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    return False


def children(parent, word):
    """The id of the child process whose command line has this word."""
    for entry in Path("/proc").iterdir():
        with contextlib.suppress(OSError, IndexError):
            mine = entry.name.isdigit() and int((entry / "stat").read_text().rpartition(")")[2].split()[1]) == parent
            if mine and word in (entry / "cmdline").read_text().split("\0"):
                return int(entry.name)
    return None


def test_every_command_has_help_and_says_what_it_is_for(shell):
    done = shell.run("--help")
    assert done.returncode == 0
    for command in COMMANDS:
        assert f" {command} " in done.stdout


def test_nothing_starts_on_a_database_that_was_not_upgraded(shell):
    for command in (("serve",), ("worker", "--once"), ("ledger", "verify"), ("parties", "show")):
        done = shell.run(*command)
        assert done.returncode == 1
        assert "crisis-gateway db upgrade" in done.stderr
        assert "Traceback" not in done.stderr


def test_every_wrong_setting_is_named_in_one_message_and_no_value_is(shell):
    shell.more = {"CRISIS_GATEWAY_PROCESSES": "many", "CRISIS_GATEWAY_BASE_URL": "gopher://x", "CRISIS_GATEWAY_SHOE_SIZE": "44"}
    done = shell.run("serve")
    assert done.returncode == 2
    for name in shell.more:
        assert name in done.stderr
    assert "gopher" not in done.stderr
    assert "Traceback" not in done.stderr


def test_doctor_prints_every_setting_and_what_is_wrong(shell):
    done = shell.run("doctor")
    assert done.returncode == 1
    for name, _, about in described():
        assert name in done.stdout
        assert about in done.stdout
    assert "run crisis-gateway db upgrade" in done.stdout
    assert shell.run("db", "upgrade").returncode == 0
    assert shell.run("doctor").returncode == 0


def test_a_clients_life_from_the_shell(shell):
    set_up(shell)
    added = shell.run(
        "client", "add", "second", "--organization", "alder", "--jwks", "ehr.jwks.json", "--scopes", "system/Task.rs", "--purpose", "TREAT"
    )
    assert (added.returncode, added.stdout.split()) == (0, ["adds", "client", "second"])
    shown = json.loads(shell.run("client", "show", "second").stdout)
    assert (shown["organization"], shown["scopes"], shown["suspended"]) == ("alder", "system/Task.rs", False)
    assert shell.run("client", "keys", "second", "--jwks", "rms.jwks.json").returncode == 0
    assert json.loads(shell.run("client", "show", "second").stdout)["keys"] != shown["keys"]
    assert "second" in shell.run("client", "list").stdout
    assert shell.run("client", "show", "nobody").returncode == 1
    refused = shell.run(
        "client", "add", "x", "--organization", "nowhere", "--jwks", "ehr.key.json", "--scopes", "a/b.c", "--purpose", "FUN"
    )
    assert refused.returncode == 1
    assert len(refused.stderr.splitlines()) == 3

"""Other people's clients at the running gateway: what they do by themselves must work, with nothing of ours in between."""

from __future__ import annotations

import asyncio
import json
import time
from dataclasses import dataclass
from typing import Any

import pytest
from joserfc.jwk import ECKey

from conformance.exchange import Http
from conformance.keys import make_keys
from conformance.standins.client import SmartClient
from tests.builders import an_rms_message
from tests.peers.node import run_script
from tests.peers.running_gateway import running_gateway

pytestmark = pytest.mark.peers

PARTIES = """
[organization.riverton-police]
name = "Riverton Police Department"
postures = ["criminal_justice_agency"]

[organization.alder-case-management]
name = "Alder Case Management"
postures = ["covered_entity"]
services = ["lead-case-management"]

[client.riverton-rms]
organization = "riverton-police"
jwks = "riverton-rms.jwks.json"
scopes = "__gateway.intake.rms-diversion"
purposes = ["COC"]

[client.alder-ehr]
organization = "alder-case-management"
jwks = "alder-ehr.jwks.json"
scopes = "system/Task.rus system/ServiceRequest.rs system/Patient.rs system/Encounter.rs"
purposes = ["TREAT"]
"""
OAUTH4WEBAPI = "oauth4webapi@3.8.8"
WAIT_SECONDS = 20
READS = ("Task", "ServiceRequest", "Patient")


@dataclass
class Referred:
    """A gateway where a clinic has been asked. clinic_jwks: the private keys of the clinic's client."""

    base_url: str
    message: dict[str, Any]
    clinic_jwks: dict[str, Any]


@pytest.fixture(scope="module")
def referred(tmp_path_factory):
    folder = tmp_path_factory.mktemp("clients")
    key = ECKey.generate_key("P-384", {"alg": "ES384", "key_ops": ["sign"]}, auto_kid=True)
    public = {name: value for name, value in key.as_dict(private=False).items() if name != "key_ops"}
    (folder / "alder-ehr.jwks.json").write_text(json.dumps({"keys": [public]}))
    officer = make_keys(folder, "riverton-rms")
    (folder / "parties.toml").write_text(PARTIES)
    with running_gateway(folder, folder / "parties.toml", f"sqlite:///{folder / 'gateway.db'}") as base_url:
        message = an_rms_message()
        rms = SmartClient(base_url, "riverton-rms", officer, "__gateway.intake.rms-diversion", Http("rms", "gateway"))
        headers = {"Content-Type": "application/json"}
        answer = rms.call_again("POST", "/intake/rms-diversion", body=json.dumps(message).encode(), headers=headers)
        assert answer.status == 201, answer.answer
        _wait_for_the_offer(SmartClient(base_url, "alder-ehr", [key], "system/Task.rs", Http("clinic", "gateway")))
        yield Referred(base_url, message, {"keys": [key.as_dict(private=True)]})


def _wait_for_the_offer(clinic):
    until = time.monotonic() + WAIT_SECONDS
    while not clinic.call_again("GET", "/fhir/Task?status=requested").json().get("entry"):
        assert time.monotonic() < until, "the worker makes no offer"
        time.sleep(0.2)


@pytest.mark.filterwarnings("default")  # theirs, not ours to mend
def test_cumulus_gets_a_token_by_discovery_and_reads_the_referral(referred):
    cumulus = pytest.importorskip("cumulus_fhir_support", reason="cumulus-fhir-support is not installed: make install-dev")

    async def read():
        client = cumulus.FhirClient(f"{referred.base_url}/fhir", READS, smart_client_id="alder-ehr", smart_jwks=referred.clinic_jwks)
        async with client:
            found = (await client.request("GET", "Task?status=requested", retry_delays=[])).json()
            (task,) = [entry["resource"] for entry in found["entry"]]
            again, request, patient = [
                (await client.request("GET", address, retry_delays=[])).json()
                for address in (f"Task/{task['id']}", task["focus"]["reference"], task["for"]["reference"])
            ]
            return client.capabilities, task, again, request, patient

    capabilities, task, again, request, patient = asyncio.run(read())
    assert capabilities["fhirVersion"] == "4.0.1"
    assert again == task
    assert (task["intent"], task["owner"]["reference"]) == ("order", "Organization/alder-case-management")
    assert (request["resourceType"], request["status"], request["intent"]) == ("ServiceRequest", "active", "filler-order")
    assert request["subject"]["reference"] == task["for"]["reference"]
    assert patient["name"][0]["family"] == referred.message["person"]["name"]["family"]
    assert patient["birthDate"] == referred.message["person"]["birth_date"]
    assert referred.message["agency"]["case_number"] not in json.dumps([task, request, patient])


def test_oauth4webapi_on_node_gets_a_token_by_rfc_8414_and_searches(referred, tmp_path):
    asked = {
        "issuer": referred.base_url,
        "clientId": "alder-ehr",
        "jwk": referred.clinic_jwks["keys"][0],
        "scope": "system/Task.rs",
        "search": f"{referred.base_url}/fhir/Task?owner=Organization/alder-case-management",
    }
    answer = run_script(tmp_path, "oauth4webapi_client.mjs", (OAUTH4WEBAPI,), asked)
    assert answer["token"] == {"token_type": "bearer", "expires_in": 300, "scope": "system/Task.rs"}
    assert (answer["status"], answer["body"]["type"]) == (200, "searchset")
    assert {entry["resource"]["resourceType"] for entry in answer["body"]["entry"]} == {"Task"}

"""A whole gateway on a fresh database: real tokens, real HTTP routes, and people who act through them.

Only the far ends are replaced: `as_rms`, `as_ehr` … are clients with keys of their own; the worker runs when a test says so.
"""

from __future__ import annotations

import json
import time
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

from flask import Flask
from joserfc import jwt
from joserfc.jwk import ECKey
from werkzeug.test import Client, TestResponse

from gateway.app import create_app, make_services
from gateway.audit.events import audit_rows
from gateway.commands.parties import apply_parties
from gateway.referral.ledger import read_entries
from gateway.referral.responsibility import Entry, verify
from gateway.services import Services
from gateway.settings import Settings
from gateway.store import outbox, referrals
from gateway.store.audit import AuditRow
from gateway.store.database import Unit
from gateway.store.ledger import holder_of
from gateway.store.referrals import Referral

BASE = "http://gateway.test"
FHIR_JSON = "application/fhir+json"
PATCH_JSON = "application/json-patch+json"

PARTIES = """
[organization.riverton-police]
name = "Riverton Police Department"
postures = ["criminal_justice_agency"]

[organization.lakeside-police]
name = "Lakeside Police Department"
postures = ["criminal_justice_agency"]

[organization.county-911]
name = "County 911"
postures = ["emergency_dispatch"]

[organization.harbor-911]
name = "Harbor Police 911"
postures = ["emergency_dispatch", "criminal_justice_agency"]

[organization.mercy-hospital]
name = "Mercy Hospital"
postures = ["covered_entity"]

[organization.alder-case-management]
name = "Alder Case Management"
postures = ["covered_entity"]
services = ["lead-case-management"]

[organization.birch-case-management]
name = "Birch Case Management"
postures = ["covered_entity"]
services = ["lead-case-management"]

[organization.northside-clinic]
name = "Northside Crisis Clinic"
postures = ["covered_entity"]
services = ["crisis-stabilization"]

[organization.juniper-mobile-crisis]
name = "Juniper Mobile Crisis"
postures = ["covered_entity"]
services = ["mobile-crisis"]

[organization.willow-program]
name = "Willow Program"
postures = ["part2_program"]
services = ["mobile-crisis"]

[organization.cedar-clinic]
name = "Cedar Clinic"
postures = ["covered_entity"]
services = ["sobering"]
"""

SENDERS = {
    "rms": "riverton-police",
    "other-rms": "lakeside-police",
    "cad": "county-911",
    "police-cad": "harbor-911",
    "hospital": "mercy-hospital",
}
RECEIVERS = {
    "alder-ehr": "alder-case-management",
    "birch-ehr": "birch-case-management",
    "northside-ehr": "northside-clinic",
    "cedar-ehr": "cedar-clinic",
    "juniper-ehr": "juniper-mobile-crisis",
    "willow-ehr": "willow-program",
}
INTAKE = "__gateway.intake.rms-diversion"
EIDO_INTAKE = f"{INTAKE} __gateway.intake.eido"
RECEIVER_SCOPES = (
    "system/Task.rus system/ServiceRequest.rs system/Patient.rs system/Encounter.rs system/Consent.rus system/Flag.rs system/Location.rs"
)


SCOPES = {"hospital": f"{INTAKE} system/Task.rs", "cad": EIDO_INTAKE, "police-cad": EIDO_INTAKE}


def _scopes_of(client: str) -> str:
    return SCOPES.get(client, INTAKE if client in SENDERS else RECEIVER_SCOPES)


def _parties_file(folder: Path) -> Path:
    lines = [PARTIES]
    for client, organization in {**SENDERS, **RECEIVERS}.items():
        scopes = _scopes_of(client)
        purpose = "COC" if client in SENDERS else "TREAT"
        lines.append(
            f'[client.{client}]\norganization = "{organization}"\njwks = "{client}.jwks.json"\n'
            f'scopes = "{scopes}"\npurposes = ["{purpose}"]\n'
        )
    file = folder / "parties.toml"
    file.write_text("\n".join(lines))
    return file


@dataclass
class Actor:
    """A client of the gateway with a key of its own."""

    name: str
    http: Client
    key: ECKey
    scope: str
    _token: str | None = None

    def assertion(self, **claims: Any) -> str:
        now = int(time.time())
        content = {"iss": self.name, "sub": self.name, "aud": f"{BASE}/oauth/token", "exp": now + 200, "jti": str(uuid4()), **claims}
        return jwt.encode({"alg": "ES384", "kid": self.key.kid, "typ": "JWT"}, content, self.key, algorithms=["ES384"])

    def ask_token(self, **form: Any) -> TestResponse:
        return self.http.post(
            "/oauth/token",
            data={
                "grant_type": "client_credentials",
                "scope": self.scope,
                "client_assertion_type": "urn:ietf:params:oauth:client-assertion-type:jwt-bearer",
                "client_assertion": self.assertion(),
                **form,
            },
        )

    @property
    def token(self) -> str:
        if self._token is None:
            answer = self.ask_token()
            assert answer.status_code == 200, answer.get_data(as_text=True)
            self._token = answer.json["access_token"]
        return self._token

    def with_scope(self, scope: str) -> Actor:
        """The same client with a token of another scope."""
        return Actor(self.name, self.http, self.key, scope)

    def call(self, method: str, path: str, **more: Any) -> TestResponse:
        headers = {"Authorization": f"Bearer {self.token}", **more.pop("headers", {})}
        return self.http.open(path, method=method, headers=headers, **more)

    def get(self, path: str, **more: Any) -> TestResponse:
        return self.call("GET", path, **more)

    # the sender's moves
    def send(self, message: Any, *, query: str = "", **headers: str) -> TestResponse:
        body = message if isinstance(message, (bytes, str)) else json.dumps(message)
        return self.call("POST", f"/intake/rms-diversion{query}", data=body, content_type="application/json", headers=headers)

    def hand_over(self, eido: Any, *, query: str = "", **headers: str) -> TestResponse:
        """A 911 centre's call."""
        return self.call("POST", f"/intake/eido{query}", data=json.dumps(eido), content_type="application/json", headers=headers)

    def status_of(self, receipt: str) -> str:
        return self.get(f"/referrals/{receipt}").json["status"]

    def cancel(self, receipt: str) -> TestResponse:
        return self.call("POST", f"/referrals/{receipt}/cancel")

    # the receiver's moves
    def search(self, resource_type: str, query: str = "") -> list[dict[str, Any]]:
        answer = self.get(f"/fhir/{resource_type}{query}")
        assert answer.status_code == 200, answer.get_data(as_text=True)
        return [entry["resource"] for entry in answer.json.get("entry", []) if entry.get("search", {}).get("mode", "match") == "match"]

    def open_tasks(self) -> list[dict[str, Any]]:
        return [task for task in self.search("Task") if task["status"] == "requested"]

    def the_task(self) -> dict[str, Any]:
        tasks = self.open_tasks()
        assert len(tasks) == 1, tasks
        return tasks[0]

    def put(self, task: dict[str, Any], *, if_match: str | None = "current", **changes: Any) -> TestResponse:
        wanted = {**task, **changes}
        headers = {} if if_match is None else {"If-Match": f'W/"{task["meta"]["versionId"]}"' if if_match == "current" else if_match}
        return self.call("PUT", f"/fhir/Task/{task['id']}", data=json.dumps(wanted), content_type=FHIR_JSON, headers=headers)

    def patch(self, resource: dict[str, Any], operations: list[dict[str, Any]], *, if_match: str | None = "current") -> TestResponse:
        headers = {} if if_match is None else {"If-Match": f'W/"{resource["meta"]["versionId"]}"' if if_match == "current" else if_match}
        path = f"/fhir/{resource['resourceType']}/{resource['id']}"
        return self.call("PATCH", path, data=json.dumps(operations), content_type=PATCH_JSON, headers=headers)

    def confirm(self, consent: dict[str, Any]) -> TestResponse:
        return self.patch(consent, [{"op": "add", "path": "/verification", "value": [{"verified": True}]}])


@dataclass
class World:
    """The gateway, its people and its worker."""

    app: Flask
    services: Services
    actors: dict[str, Actor] = field(default_factory=dict)

    def __getattr__(self, name: str) -> Actor:
        if name.startswith("as_"):
            return self.actors[name.removeprefix("as_").replace("_", "-")]
        raise AttributeError(name)

    def work(self) -> None:
        """Run every job that is due, and deliveries, until nothing is left to do now."""
        from gateway.delivery.worker import Worker
        from gateway.referral.jobs import JOBS, PREPARATIONS

        worker = Worker(self.services, jobs=JOBS, preparations=PREPARATIONS)
        for _ in range(50):
            if worker.run_once() == 0:
                return
        raise AssertionError("the worker never comes to rest")

    def _referral(self, unit: Unit, receipt: str) -> Referral:
        found = referrals.find_by_any_receipt(unit, receipt)
        assert found is not None, receipt
        return found

    def holder_of(self, receipt: str) -> str | None:
        """Who holds a referral, by the ledger."""
        with self.services.database.read() as unit:
            return holder_of(unit, self._referral(unit, receipt).id)

    def ledger_of(self, receipt: str) -> list[Entry]:
        """The ledger's entries, in order; it is sound."""
        with self.services.database.read() as unit:
            entries = read_entries(unit, self._referral(unit, receipt).id)
        assert verify(entries, "coordinator") == []
        return entries

    def audit(self, **wanted: Any) -> list[AuditRow]:
        """Audit rows in order of time."""
        with self.services.database.read() as unit:
            return audit_rows(unit, **wanted)

    def pass_deadline(self, receipt: str) -> None:
        """Let the accept deadline of the open offers be over, as if the clock had gone on."""

        def work(unit: Unit) -> None:
            for offer in referrals.offers_of(unit, self._referral(unit, receipt).id):
                if offer.state == "open":
                    referrals.change_offer(unit, offer.id, accept_by=unit.now - timedelta(seconds=1))
                    outbox.enqueue(unit, "deadline", "gateway", offer.id)

        self.services.database.write(work)

    def pass_final_time(self, receipt: str) -> None:
        """Let the protocol's final time be over."""

        def work(unit: Unit) -> None:
            referral = self._referral(unit, receipt)
            gone = unit.now - timedelta(seconds=1)
            changes = {"final_at": gone} | ({"returned_at": gone} if referral.returned_at is not None else {})
            referrals.change_referral(unit, referral.id, **changes)
            outbox.enqueue(unit, "return", "gateway", referral.id)

        self.services.database.write(work)
        self.work()

    def pass_closing_time(self, receipt: str) -> None:
        """Let the protocol's fixed time after entry be over."""

        def work(unit: Unit) -> None:
            referral = self._referral(unit, receipt)
            referrals.change_referral(unit, referral.id, closes_at=unit.now - timedelta(seconds=1))
            outbox.enqueue(unit, "close", "gateway", referral.id)

        self.services.database.write(work)
        self.work()

    def refer(self, sender: str = "rms", **changes: Any) -> str:
        """Send a message, run the jobs, and return the receipt."""
        from tests.builders import an_rms_message

        answer = self.actors[sender].send(an_rms_message(**changes))
        assert answer.status_code == 201, answer.get_data(as_text=True)
        self.work()
        return str(answer.json["receipt"])


def make_world(folder: Path, database_url: str) -> World:
    """Start a gateway on an empty database with the usual parties."""
    keys = {name: ECKey.generate_key("P-384", auto_kid=True) for name in {**SENDERS, **RECEIVERS}}
    for name, key in keys.items():
        (folder / f"{name}.jwks.json").write_text(json.dumps({"keys": [key.as_dict(private=False)]}))
    settings = Settings.from_environment(
        {
            "CRISIS_GATEWAY_DATABASE_URL": database_url,
            "CRISIS_GATEWAY_BASE_URL": BASE,
            "CRISIS_GATEWAY_KEYS": str(folder / "keys"),
            "CRISIS_GATEWAY_ALLOW_PRIVATE_ADDRESSES": "true",
        }
    )
    services = make_services(settings)
    apply_parties(services.database, _parties_file(folder))
    app = create_app(services)
    world = World(app, services)
    for name, key in keys.items():
        world.actors[name] = Actor(name, app.test_client(), key, _scopes_of(name))
    return world

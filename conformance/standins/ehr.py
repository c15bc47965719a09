"""A stand-in for a provider's EHR: a FHIR server that receives, with an authorization server and a person at the keyboard.

It checks the gateway as strictly as a real one, keeps what it was given, and answers at the gateway as a client of its own.
It refuses resources that are no valid R4.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

from flask import Flask, Response, jsonify, request

from conformance.exchange import Http
from conformance.keys import make_keys
from conformance.standins.answering import Answering
from conformance.standins.behaviour import Behaviour, UnknownBehaviour
from conformance.standins.client import SmartClient
from conformance.standins.fhir_store import FhirStore, NotTaken
from conformance.standins.gateway_keys import GatewayKeys
from conformance.standins.receiver import NotAnswerable, Receiver, live_task_id
from conformance.standins.server import as_told, body_json, fhir_answer, make_app, may_fail, now_text, outcome, spoil_answer
from conformance.standins.token_desk import Refused, TokenDesk
from conformance.wire import WireLog
from profiles.engine import r4
from profiles.issues import operation_outcome

TYPES: Final = ("Consent", "Encounter", "Flag", "Location", "Patient", "QuestionnaireResponse", "RelatedPerson", "ServiceRequest", "Task")
SCOPES: Final = "system/Task.rus system/ServiceRequest.rs system/Patient.rs system/Encounter.rs system/Consent.rus"


class Ehr:
    """The parts of one stand-in EHR. base_url: its own; gateway_url: without /fhir; folder: for its keys and its log."""

    def __init__(
        self,
        base_url: str,
        gateway_url: str,
        folder: Path,
        *,
        client_id: str = "standin-ehr",
        scope: str = SCOPES,
        name: str = "ehr",
        wire: WireLog | None = None,
    ) -> None:
        self.base_url, self.gateway_url, self.name = base_url, gateway_url, name
        self.behaviour = Behaviour()
        http = Http(name, "gateway", wire)
        self.receiver = Receiver(SmartClient(gateway_url, client_id, make_keys(folder), scope, http))
        self.store = FhirStore(lambda: self.behaviour.conditional_create)
        self.desk = TokenDesk(f"{base_url}/oauth/token", GatewayKeys(gateway_url, http))
        self.answering = Answering(self.receiver, self.behaviour)
        self.app = make_app(name, folder, self.behaviour, wire)
        _public_routes(self.app, self)
        _fhir_routes(self.app, self)
        _control_routes(self.app, self)

    def smart_configuration(self) -> dict[str, Any]:
        """What SMART discovery says."""
        return {
            "token_endpoint": self.desk.url,
            "token_endpoint_auth_methods_supported": ["private_key_jwt"],
            "token_endpoint_auth_signing_alg_values_supported": ["ES384"],
            "grant_types_supported": ["client_credentials"],
            "scopes_supported": [f"system/{kind}.cu" for kind in TYPES],
            "code_challenge_methods_supported": ["S256"],
            "capabilities": ["client-confidential-asymmetric", "permission-v2"],
        }

    def capability_statement(self) -> dict[str, Any]:
        """What the FHIR server offers."""
        conditional = self.behaviour.conditional_create
        codes = ("read", "search-type", "create", "update")
        resources = [
            {
                "type": kind,
                "interaction": [{"code": code} for code in codes],
                "conditionalCreate": conditional,
                "conditionalUpdate": conditional,
            }
            for kind in TYPES
        ]
        return {
            "resourceType": "CapabilityStatement",
            "status": "active",
            "date": now_text(),
            "kind": "instance",
            "fhirVersion": "4.0.1",
            "format": ["json"],
            "implementation": {"description": "Stand-in EHR", "url": f"{self.base_url}/fhir"},
            "rest": [{"mode": "server", "resource": resources, "interaction": [{"code": "transaction"}]}],
        }


def _public_routes(app: Flask, ehr: Ehr) -> None:
    @app.get("/fhir/.well-known/smart-configuration")
    def smart_configuration() -> Response:
        return jsonify(ehr.smart_configuration())

    @app.get("/fhir/metadata")
    def metadata() -> Response:
        return fhir_answer(ehr.capability_statement())

    @app.post("/oauth/token")
    def token() -> Response:
        try:
            if ehr.behaviour.take("refuse_tokens"):
                raise Refused("invalid_client", "told to refuse", 401)
            made = ehr.desk.issue(request.form.to_dict(flat=False))
        except Refused as refused:
            answer = jsonify({"error": refused.error, "error_description": refused.description})
            answer.status_code = refused.status
            return answer
        answer = jsonify(made)
        answer.headers["Cache-Control"], answer.headers["Pragma"] = "no-store", "no-cache"
        return answer


def _unauthorized() -> Response:
    return outcome(401, "login", "A token of this server is needed.", **{"WWW-Authenticate": "Bearer"})


def _fhir_routes(app: Flask, ehr: Ehr) -> None:
    @app.post("/fhir")
    @may_fail
    def transaction() -> Response:
        if not ehr.desk.knows(request.headers.get("Authorization")):
            return _unauthorized()
        bundle = body_json()
        faults = [issue for issue in r4().validate(bundle) if issue.severity in ("error", "fatal")]
        if faults:
            return fhir_answer(operation_outcome(faults), 422)
        try:
            answer = ehr.store.transaction(bundle)
        except NotTaken as refused:
            return outcome(refused.status, refused.code, refused.text)
        for entry in bundle.get("entry", []):
            task = entry["resource"]
            live = live_task_id(task, ehr.gateway_url) if task.get("resourceType") == "Task" and task.get("status") == "requested" else None
            if live:
                ehr.answering.take_up(live)
        return spoil_answer(ehr.behaviour, fhir_answer(answer))

    @app.get("/fhir/<kind>/<id_>")
    @may_fail
    def read(kind: str, id_: str) -> Response:
        if not ehr.desk.knows(request.headers.get("Authorization")):
            return _unauthorized()
        found = ehr.store.find(kind, id_)
        return outcome(404, "not-found", "Not here.") if found is None else fhir_answer(found, ETag=f'W/"{found["meta"]["versionId"]}"')

    @app.get("/fhir/<kind>")
    @may_fail
    def search(kind: str) -> Response:
        if not ehr.desk.knows(request.headers.get("Authorization")):
            return _unauthorized()
        try:
            found = ehr.store.search(kind, request.query_string.decode())
        except NotTaken as refused:
            return outcome(refused.status, refused.code, refused.text)
        entries = [{"fullUrl": f"{ehr.base_url}/fhir/{kind}/{held['id']}", "resource": held, "search": {"mode": "match"}} for held in found]
        return fhir_answer({"resourceType": "Bundle", "type": "searchset", "total": len(found), **({"entry": entries} if entries else {})})


def _asked() -> dict[str, Any]:
    asked = body_json() or {}
    if not isinstance(asked, dict):
        raise UnknownBehaviour("a control call is a JSON object")
    return asked


def _control_routes(app: Flask, ehr: Ehr) -> None:
    receiver = ehr.receiver

    @app.errorhandler(NotAnswerable)
    def nothing(fault: NotAnswerable) -> Response:
        answer = jsonify({"error": str(fault)})
        answer.status_code = 409
        return answer

    @app.get("/control/state")
    def state() -> Response:
        held = {kind: ehr.store.search(kind) for kind in ehr.store.counts()}
        content = {"counts": ehr.store.counts(), "resources": held, "answers": ehr.answering.answers, "behaviour": ehr.behaviour.as_json()}
        return fhir_answer(content)

    @app.post("/control/forget-tokens")
    def forget() -> Response:
        ehr.desk.forget_tokens()
        receiver.client.forget_token()
        return jsonify({})

    @app.post("/control/read")
    def read_there() -> Response:
        return as_told(receiver.read(str(_asked().get("address", "Task"))))

    @app.post("/control/accept")
    def accept() -> Response:
        return as_told(receiver.accept(receiver.open_task(_asked().get("task"))))

    @app.post("/control/decline")
    def decline() -> Response:
        asked = _asked()
        return as_told(receiver.decline(receiver.open_task(asked.get("task")), str(asked.get("reason", "no capacity"))))

    @app.post("/control/progress")
    def progress() -> Response:
        asked = _asked()
        if not isinstance(asked.get("task"), str) or not isinstance(asked.get("status"), str):
            raise UnknownBehaviour('progress is {"task": id, "status": code, "elements": {…}}')
        return as_told(receiver.progress(asked["task"], asked["status"], asked.get("elements") or {}))

    @app.post("/control/complete")
    def complete() -> Response:
        asked = _asked()
        if not isinstance(asked.get("task"), str):
            raise UnknownBehaviour('complete is {"task": id}')
        return as_told(receiver.complete(asked["task"]))

    @app.post("/control/confirm-consent")
    def confirm() -> Response:
        asked = _asked()
        return as_told(receiver.confirm_consent(asked.get("consent"), verified=bool(asked.get("verified", True))))

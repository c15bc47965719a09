"""A compact gateway that keeps the public contract in memory, so that each check can be proven on one that breaks its rule.

Every rule is a method of its own: a mutation overrides one of them (mutations.py). It routes to one receiver, keeps nothing,
and is no gateway: it knows neither policy nor consent nor delivery.
"""

from __future__ import annotations

import base64
import contextlib
import json
import secrets
import threading
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import jsonpatch
from flask import Flask, Response, request
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, RSAKey
from werkzeug.exceptions import HTTPException

from profiles.engine import r4
from profiles.issues import Issue, operation_outcome
from profiles.strict_json import JsonFault, canonical_json, parse_json

INTAKE = "__gateway.intake.rms-diversion"
MOVES = {
    "requested": {"accepted", "rejected"},
    "accepted": {"in-progress", "completed", "on-hold", "failed", "cancelled"},
    "in-progress": {"completed", "on-hold", "failed", "cancelled"},
}
OWNED = {"status", "statusReason", "businessStatus", "output", "note"}
EXAMPLE = {
    "request_number": "EX-1",
    "revision": 1,
    "door": "arrest-diversion",
    "person": {"family": "Example", "given": "Robin"},
    "note": "Found at the bus station.",
}
TEXT = {"type": "string"}
SCHEMA = {
    "type": "object",
    "required": ["request_number", "revision", "door"],
    "properties": {
        "request_number": TEXT,
        "revision": {"type": "integer"},
        "door": {"type": "string", "enum": ["arrest-diversion", "social-contact"]},
        "person": {"type": "object", "properties": {"family": TEXT, "given": TEXT}},
        "note": {"$ref": "#/$defs/remark"},
    },
    "$defs": {"remark": {"type": "string", "maxLength": 400}},
    "examples": [EXAMPLE],
}


class Refusal(Exception):
    """What is answered instead."""

    def __init__(self, status: int, code: str, text: str, expression: tuple[str, ...] = ()) -> None:
        self.status, self.code, self.text, self.expression = status, code, text, expression
        super().__init__(text)


class NoToken(Exception):
    """A token request fails as RFC 6749 §5.2 says."""

    def __init__(self, error: str, status: int = 401) -> None:
        self.error, self.status = error, status
        super().__init__(error)


@dataclass
class Client:
    id: str
    organization: str
    scopes: set[str]
    keys: dict[str, ECKey | RSAKey]


@dataclass
class Referral:
    receipt: str
    organization: str
    since: str
    revisions: dict[int, bytes]
    issues: list[dict[str, Any]]
    task: str = ""
    closed_at: str | None = None


@dataclass
class Held:
    body: dict[str, Any]
    parties: set[str]
    version: int = 1


def instant() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")


no_lock = contextlib.nullcontext()


@dataclass
class Reference:
    """One gateway. base_url: under which it is served. receiver: the organisation that is asked."""

    base_url: str
    clients: dict[str, Client]
    receiver: str = "kit-clinic"
    tokens: dict[str, tuple[Client, set[str], float]] = field(default_factory=dict)
    jtis: set[tuple[str, str]] = field(default_factory=set)
    referrals: dict[tuple[str, str], Referral] = field(default_factory=dict)
    held: dict[tuple[str, str], Held] = field(default_factory=dict)
    lock: Any = field(default_factory=threading.RLock)

    # discovery
    def smart_configuration(self) -> dict[str, Any]:
        return {
            "token_endpoint": f"{self.base_url}/oauth/token",
            "jwks_uri": f"{self.base_url}/oauth/jwks",
            "grant_types_supported": ["client_credentials"],
            "capabilities": ["client-confidential-asymmetric", "permission-v2"],
            "code_challenge_methods_supported": ["S256"],
            "scopes_supported": ["system/Task.rus"],
            "token_endpoint_auth_methods_supported": ["private_key_jwt"],
            "token_endpoint_auth_signing_alg_values_supported": ["ES384", "RS384"],
        }

    def authorization_server(self) -> dict[str, Any]:
        return {"issuer": self.base_url, **self.smart_configuration()}

    def jwks(self) -> dict[str, Any]:
        return {"keys": [ECKey.generate_key("P-384", auto_kid=True).as_dict(private=False)]}

    def capability_statement(self) -> dict[str, Any]:
        offered = {"Task": ["read", "search-type", "update", "patch"], "Patient": ["read", "search-type"], "ServiceRequest": ["read"]}
        resources = [{"type": kind, "interaction": [{"code": code} for code in codes]} for kind, codes in offered.items()]
        return {
            "resourceType": "CapabilityStatement",
            "status": "active",
            "date": instant(),
            "kind": "instance",
            "fhirVersion": "4.0.1",
            "format": ["json"],
            "implementation": {"description": "reference"},
            "rest": [{"mode": "server", "resource": resources}],
        }

    def smart_media_type(self) -> str:
        return "application/json"

    # the token endpoint
    def require_grant(self, form: dict[str, str]) -> None:
        if form.get("grant_type") != "client_credentials":
            raise NoToken("unsupported_grant_type" if form.get("grant_type") else "invalid_request", 400)

    def token(self, form: dict[str, str]) -> dict[str, Any]:
        self.require_grant(form)
        client = self.require_client(form.get("client_assertion", ""))
        scopes = self.granted(client, form.get("scope", "").split())
        value = secrets.token_urlsafe(24)
        self.tokens[value] = (client, scopes, time.time() + 300)
        return {"access_token": value, "token_type": "bearer", "expires_in": 300, "scope": " ".join(sorted(scopes))}

    def granted(self, client: Client, asked: list[str]) -> set[str]:
        scopes = set(asked) & client.scopes
        if not scopes:
            raise NoToken("invalid_scope", 400)
        return scopes

    def require_client(self, assertion: str) -> Client:
        try:
            header, claims = (json.loads(decoded(part)) for part in assertion.split(".")[:2])
        except ValueError:
            raise NoToken("invalid_client") from None
        client = self.client_named(claims)
        self.require_algorithm(header)
        claims = self.verified(assertion, header, client)
        checks = (
            self.audience_fits(claims.get("aud")),
            self.not_past(claims.get("exp")),
            self.not_too_far(claims.get("exp")),
            self.jti_is_text(claims.get("jti")),
        )
        if not all(checks) or not self.jti_is_new(client.id, claims.get("jti"), assertion):
            raise NoToken("invalid_client")
        return client

    def client_named(self, claims: dict[str, Any]) -> Client:
        if claims.get("iss") != claims.get("sub") or claims.get("sub") not in self.clients:
            raise NoToken("invalid_client")
        return self.clients[claims["sub"]]

    def require_algorithm(self, header: dict[str, Any]) -> None:
        if header.get("alg") not in ("ES384", "RS384"):
            raise NoToken("invalid_client")

    def key_of(self, client: Client, header: dict[str, Any]) -> Any:
        return client.keys.get(header.get("kid", ""))

    def verified(self, assertion: str, header: dict[str, Any], client: Client) -> dict[str, Any]:
        key = self.key_of(client, header)
        try:
            if key is None:
                raise ValueError
            return jwt.decode(assertion, key, algorithms=["ES384", "RS384"]).claims
        except (JoseError, ValueError):
            raise NoToken("invalid_client") from None

    def audience_fits(self, audience: Any) -> bool:
        return audience == f"{self.base_url}/oauth/token"

    def not_past(self, exp: Any) -> bool:
        return isinstance(exp, int) and exp > time.time() - 30

    def not_too_far(self, exp: Any) -> bool:
        return isinstance(exp, int) and exp <= time.time() + 330

    def jti_is_text(self, jti: Any) -> bool:
        return isinstance(jti, str) and jti != ""

    def jti_is_new(self, issuer: str, jti: Any, assertion: str) -> bool:
        with self.lock:
            new = (issuer, jti) not in self.jtis
            self.jtis.add((issuer, jti))
            return new

    # who calls, and may they
    def bearer(self) -> str:
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        return token if scheme.lower() == "bearer" else ""

    def caller(self) -> tuple[Client, set[str]]:
        found = self.tokens.get(self.bearer())
        if found is None or found[2] < time.time():
            raise Refusal(401, "login", "A valid access token is needed.")
        return found[0], found[1]

    def fhir_caller(self, kind: str, letter: str) -> Client:
        client, scopes = self.caller()
        if not any(scope.startswith(f"system/{kind}.") and letter in scope.rpartition(".")[2] for scope in scopes):
            raise Refusal(403, "forbidden", "The access token does not cover this.")
        return client

    def intake_caller(self) -> Client:
        client, scopes = self.caller()
        if INTAKE not in scopes:
            raise Refusal(403, "forbidden", "The access token does not cover this.")
        return client

    def may_see(self, client: Client, kind: str, held: Held) -> bool:
        return client.organization in held.parties

    def not_found(self, *, exists: bool) -> Refusal:
        return Refusal(404, "not-found", "Nothing is known under this address.")

    def find(self, client: Client, kind: str, id_: str) -> Held:
        held = self.held.get((kind, id_))
        if held is None or not self.may_see(client, kind, held):
            raise self.not_found(exists=held is not None)
        return held

    def search(self, client: Client, kind: str, query: dict[str, str]) -> list[Held]:
        found = [held for (type_, _), held in self.held.items() if type_ == kind and self.may_see(client, kind, held)]
        if "status" in query:
            found = [held for held in found if held.body.get("status") == query["status"]]
        return [held for held in found if held.body["id"] == query.get("_id", held.body["id"])]

    # progress
    def require_match(self, if_match: str | None, held: Held) -> None:
        if if_match is None:
            raise Refusal(428, "required", "If-Match with the version last read is needed.")
        if if_match != f'W/"{held.version}"':
            raise Refusal(412, "conflict", "The resource has changed.")

    def require_move(self, old: str, new: str) -> None:
        legal = MOVES.get(old, set())
        if new != old and new not in legal:
            raise Refusal(422, "business-rule", f"No move from {old} to {new}. Legal: {', '.join(sorted(legal))}.", ("Task.status",))

    def require_valid(self, task: dict[str, Any]) -> None:
        for issue in r4().validate(task):
            if issue.severity == "error":
                raise Refusal(422, issue.code, issue.text, issue.expression)

    def require_owned(self, served: dict[str, Any], wanted: dict[str, Any]) -> None:
        for name, value in wanted.items():
            if name not in OWNED | {"id", "meta", "lastModified"} and value != served.get(name):
                raise Refusal(422, "business-rule", "Not the receiver's to change.", (f"Task.{name}",))

    def update(self, client: Client, id_: str, if_match: str | None, change: Any) -> Held:
        with self.lock:
            held = self.find(client, "Task", id_)
            self.require_match(if_match, held)
            wanted = change(held.body)
            self.require_valid(wanted)
            self.require_owned(held.body, wanted)
            self.require_move(held.body["status"], wanted["status"])
            self.write(held, {**held.body, **{name: wanted[name] for name in OWNED if name in wanted}})
            if wanted["status"] == "rejected":
                self.end_offer(held, "rejected")
            return held

    def write(self, held: Held, body: dict[str, Any]) -> None:
        held.version += 1
        held.body = {**body, "meta": {"versionId": str(held.version), "lastUpdated": instant()}}

    def end_offer(self, task: Held, status: str) -> None:
        for reference in (task.body["for"], task.body["focus"]):
            kind, _, id_ = reference["reference"].partition("/")
            self.held[kind, id_].parties.clear()
        self.write(task, {name: value for name, value in task.body.items() if name not in ("for", "focus", "input")} | {"status": status})

    # intake
    def parse(self, body: bytes) -> Any:
        try:
            return parse_json(body)
        except JsonFault as fault:
            raise Refusal(413 if fault.kind == "too-deep" else 400, "structure", fault.text) from None

    def check(self, message: Any, *, strict: bool) -> list[Issue]:
        if not isinstance(message, dict):
            raise Refusal(400, "structure", "Not an object.")
        for name in SCHEMA["required"]:
            self.require_member(message, name)
        unknown = [name for name in message if name not in SCHEMA["properties"]]
        if unknown and strict:
            raise Refusal(422, "structure", f"Unknown member {unknown[0]}.")
        return [Issue("warning", "not-supported", f"Unknown member {name}.") for name in unknown]

    def require_member(self, message: dict[str, Any], name: str) -> None:
        if name not in message:
            raise Refusal(422, "required", f"The member {name} is needed.")

    def key(self, client: Client, message: dict[str, Any]) -> tuple[str, str]:
        return client.organization, message.get("request_number", "")

    def take_in(self, client: Client, message: dict[str, Any], issues: list[Issue]) -> tuple[Referral, int]:
        with self.lock:
            known = self.known(client, message)
            revision, content = message.get("revision", 1), self.content(message)
            if known is None:
                return self.enter(client, message, content, issues), 201
            if not self.same_content(known.revisions.get(revision, content), content):
                raise Refusal(409, "duplicate", "This number was sent with other content.")
            known.revisions[revision] = content
            return known, 200

    def known(self, client: Client, message: dict[str, Any]) -> Referral | None:
        return self.referrals.get(self.key(client, message))

    def content(self, message: dict[str, Any]) -> bytes:
        return canonical_json(message)

    def same_content(self, old: bytes, new: bytes) -> bool:
        return old == new

    def enter(self, client: Client, message: dict[str, Any], content: bytes, issues: list[Issue]) -> Referral:
        shown = [issue.as_json() for issue in issues]
        revisions = {message.get("revision", 1): content}
        referral = Referral(secrets.token_urlsafe(20)[:26], client.organization, instant(), revisions, shown)
        self.referrals[self.key(client, message)] = referral
        referral.task = self.offer(client)
        return referral

    def offer(self, client: Client) -> str:
        person = self.keep({"resourceType": "Patient", "name": [{"family": "Example"}]})
        subject = {"reference": f"Patient/{person}"}
        order = self.keep({"resourceType": "ServiceRequest", "status": "active", "intent": "filler-order", "subject": subject})
        return self.keep(
            {
                "resourceType": "Task",
                "status": "requested",
                "intent": "order",
                "priority": "urgent",
                "focus": {"reference": f"ServiceRequest/{order}"},
                "for": subject,
                "requester": {"reference": f"Organization/{client.organization}"},
                "owner": {"reference": f"Organization/{self.receiver}", "display": "Kit Clinic"},
            }
        )

    def keep(self, body: dict[str, Any]) -> str:
        id_ = str(uuid4())
        self.held[body["resourceType"], id_] = Held(
            {**body, "id": id_, "meta": {"versionId": "1", "lastUpdated": instant()}}, {self.receiver}
        )
        return id_

    # the sender's view
    def view(self, referral: Referral) -> dict[str, Any]:
        final = {"instruction": "wait here", "final_time": referral.since}
        return {
            "receipt": referral.receipt,
            "status": self.word(referral),
            "since": referral.closed_at or referral.since,
            "next": final,
            "issues": referral.issues,
        }

    def view_etag(self, referral: Referral) -> str:
        return f'W/"{self.word(referral)}"'

    def word(self, referral: Referral) -> str:
        if referral.closed_at:
            return "closed"
        return "returned" if self.held["Task", referral.task].body["status"] == "rejected" else "received"

    def find_receipt(self, client: Client, receipt: str) -> Referral:
        found = next((each for each in self.referrals.values() if each.receipt == receipt), None)
        if found is None or not self.is_senders(client, found):
            raise self.not_found(exists=found is not None)
        return found

    def is_senders(self, client: Client, referral: Referral) -> bool:
        return referral.organization == client.organization

    def cancel(self, referral: Referral) -> tuple[dict[str, Any], int]:
        with self.lock:
            task = self.held["Task", referral.task]
            if referral.closed_at is None:
                referral.closed_at = instant()
                if task.body["status"] == "requested":
                    self.withdraw(task)
            return self.view(referral), 200

    def withdraw(self, task: Held) -> None:
        self.end_offer(task, "cancelled")

    def dry_run(self, client: Client, message: dict[str, Any], issues: list[Issue]) -> dict[str, Any]:
        return {"bundle": {"resourceType": "Bundle", "type": "collection"}, "trace": []}


def decoded(part: str) -> bytes:
    return base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))


def fhir(body: dict[str, Any], status: int = 200, **headers: str) -> Response:
    made = Response(json.dumps(body, default=str), status, content_type="application/fhir+json")
    made.headers.update({name.replace("_", "-"): value for name, value in headers.items()})
    return made


def make_app(gateway: Reference) -> Flask:
    """The reference as a WSGI application."""
    app = Flask(__name__)

    def resource(held: Held) -> Response:
        return fhir(held.body, ETag=f'W/"{held.version}"', Last_Modified="Tue, 24 Nov 2026 03:00:00 GMT")

    @app.errorhandler(Refusal)
    def refused(refusal: Refusal) -> Response:
        answer = fhir(operation_outcome([Issue("error", refusal.code, refusal.text, refusal.expression)]), refusal.status)
        if refusal.status == 401:
            answer.headers["WWW-Authenticate"] = "Bearer"
        return answer

    @app.errorhandler(NoToken)
    def no_token(fault: NoToken) -> tuple[dict[str, str], int]:
        return {"error": fault.error}, fault.status

    @app.errorhandler(HTTPException)
    def unknown(fault: HTTPException) -> Response:
        return refused(Refusal(fault.code or 500, "not-supported", "Not offered."))

    @app.after_request
    def number(answer: Response) -> Response:
        answer.headers["X-Request-Id"] = str(uuid4())
        return answer

    @app.get("/fhir/.well-known/smart-configuration")
    def smart() -> Response:
        return Response(json.dumps(gateway.smart_configuration()), content_type=gateway.smart_media_type())

    @app.get("/.well-known/oauth-authorization-server")
    def server() -> dict[str, Any]:
        return gateway.authorization_server()

    @app.get("/oauth/jwks")
    def jwks() -> dict[str, Any]:
        return gateway.jwks()

    @app.get("/fhir/metadata")
    def metadata() -> Response:
        return fhir(gateway.capability_statement())

    @app.post("/oauth/token")
    def token() -> tuple[dict[str, Any], int, dict[str, str]]:
        return gateway.token(request.form.to_dict()), 200, {"Cache-Control": "no-store"}

    @app.get("/fhir/<kind>/<id_>")
    def read(kind: str, id_: str) -> Response:
        return resource(gateway.find(gateway.fhir_caller(kind, "r"), kind, id_))

    @app.get("/fhir/<kind>")
    def search(kind: str) -> Response:
        found = gateway.search(gateway.fhir_caller(kind, "s"), kind, request.args.to_dict())
        entries = [{"resource": held.body, "search": {"mode": "match"}} for held in found]
        return fhir({"resourceType": "Bundle", "type": "searchset", "total": len(found), **({"entry": entries} if entries else {})})

    @app.route("/fhir/Task/<id_>", methods=["PUT", "PATCH"])
    def update(id_: str) -> Response:
        client = gateway.fhir_caller("Task", "u")
        body = gateway.parse(request.get_data())
        patched = (lambda served: jsonpatch.apply_patch(served, body)) if request.method == "PATCH" else (lambda _served: body)
        return resource(gateway.update(client, id_, request.headers.get("If-Match"), patched))

    @app.get("/intake/rms-diversion/schema")
    def schema() -> dict[str, Any]:
        return SCHEMA

    @app.post("/intake/rms-diversion")
    def intake() -> Any:
        client = gateway.intake_caller()
        message = gateway.parse(request.get_data())
        issues = gateway.check(message, strict="handling=strict" in request.headers.get("Prefer", ""))
        if request.args.get("dry-run") == "true":
            return gateway.dry_run(client, message, issues)
        referral, status = gateway.take_in(client, message, issues)
        return gateway.view(referral), status, {"Location": f"/referrals/{referral.receipt}"}

    @app.get("/referrals/<receipt>")
    def view(receipt: str) -> tuple[dict[str, Any], int, dict[str, str]]:
        referral = gateway.find_receipt(gateway.intake_caller(), receipt)
        return gateway.view(referral), 200, {"ETag": gateway.view_etag(referral)}

    @app.post("/referrals/<receipt>/cancel")
    def cancel(receipt: str) -> tuple[dict[str, Any], int]:
        return gateway.cancel(gateway.find_receipt(gateway.intake_caller(), receipt))

    return app

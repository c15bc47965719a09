"""Far ends for the tests of delivery: real HTTP servers in threads, told beforehand how to behave."""

from __future__ import annotations

import json
import threading
import time
from collections import deque
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import SimpleNamespace
from urllib.parse import parse_qs, unquote

from joserfc import jwt
from joserfc.jwk import KeySet


class Server:
    """An HTTP server on a free port of this machine; `answer(request)` returns (status, headers, body bytes) or None to hang up."""

    def __init__(self):
        server = self
        self.requests = []

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def handle_any(self):
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                request = SimpleNamespace(method=self.command, path=self.path, headers=self.headers, body=body, handler=self)
                server.requests.append(request)
                answer = server.answer(request)
                if answer is None:
                    self.close_connection = True
                    return
                status, headers, content = answer
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            do_GET = do_POST = do_PUT = handle_any  # noqa: N815

            def log_message(self, *args):
                pass

        self._http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._http.daemon_threads = True
        self.base = f"http://127.0.0.1:{self._http.server_address[1]}"
        self._thread = threading.Thread(target=self._http.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        self._thread.start()

    def answer(self, request):
        raise NotImplementedError

    def close(self):
        self._http.shutdown()
        self._http.server_close()


def as_json(status, document, headers=None):
    return status, {"Content-Type": "application/json", **(headers or {})}, json.dumps(document).encode()


def outcome(status, code, headers=None, text="Jane Roe was here"):
    """An OperationOutcome whose text must never be kept."""
    document = {"resourceType": "OperationOutcome", "issue": [{"severity": "error", "code": code, "diagnostics": text}]}
    return as_json(status, document, headers)


class Ehr(Server):
    """A FHIR server that stores what a transaction brings, by identifier, and does first what `script` says.

    script: one word a push. "ok", "hang-up" (before it stored), "lose" (stored, no answer), "slow", "trickle", "html", "half",
    or (status, issue code, headers).
    """

    def __init__(self, gateway_keys, *, conditional=True, discovery="smart", token_seconds=300):
        self.keys, self.conditional, self.discovery, self.token_seconds = gateway_keys, conditional, discovery, token_seconds
        self.script = deque()
        self.stored = {}  # (type, criterion) -> list of resources
        self.pushes = []
        self.tokens = []
        self.good_tokens = set()
        self.token_endpoint = None
        self.slow_seconds = 1.0
        super().__init__()
        self.address = f"{self.base}/fhir"

    def answer(self, request):
        path = request.path.partition("?")[0]
        if request.method == "GET" and path == "/fhir/.well-known/smart-configuration":
            return self.smart()
        if request.method == "GET" and path == "/fhir/metadata":
            return self.metadata()
        if request.method == "POST" and path == "/token":
            return self.token(request)
        if request.method == "POST" and path == "/fhir":
            return self.push(request)
        return outcome(404, "not-found")

    def smart(self):
        if self.discovery != "smart":
            return outcome(404, "not-found")
        return as_json(200, {"token_endpoint": self.token_endpoint or f"{self.base}/token"})

    def metadata(self):
        rest = {"mode": "server"}
        if self.conditional:
            types = ("Patient", "ServiceRequest", "Task", "Encounter")
            rest["resource"] = [{"type": name, "conditionalCreate": True, "conditionalUpdate": True} for name in types]
        if self.discovery == "extension":
            inner = [{"url": "token", "valueUri": f"{self.base}/token"}]
            url = "http://fhir-registry.smarthealthit.org/StructureDefinition/oauth-uris"
            rest["security"] = {"extension": [{"url": url, "extension": inner}]}
        return as_json(200, {"resourceType": "CapabilityStatement", "rest": [rest]})

    def token(self, request):
        form = {name: values[0] for name, values in parse_qs(request.body.decode()).items()}
        decoded = jwt.decode(form["client_assertion"], KeySet.import_key_set(self.keys.public_jwks()), algorithms=["ES384"])
        self.tokens.append({"header": decoded.header, "claims": decoded.claims, "form": form})
        token = f"token-{len(self.tokens)}"
        self.good_tokens.add(token)
        return as_json(200, {"access_token": token, "token_type": "bearer", "expires_in": self.token_seconds})

    def push(self, request):
        if request.headers.get("Authorization", "").removeprefix("Bearer ") not in self.good_tokens:
            return outcome(401, "login")
        bundle = json.loads(request.body)
        self.pushes.append(bundle)
        word = self.script.popleft() if self.script else "ok"
        if isinstance(word, tuple):
            return outcome(*word)
        if word == "hang-up":
            return None
        if word == "html":
            return 200, {"Content-Type": "text/html"}, b"<html>Please log in</html>"
        if word == "slow":
            time.sleep(self.slow_seconds)
        answers = [self.store(entry) for entry in bundle["entry"]]
        if word == "half":
            answers = answers[:1]
        if word == "lose":
            return None
        answer = as_json(200, {"resourceType": "Bundle", "type": "transaction-response", "entry": answers})
        if word == "trickle":
            return self.trickle(request, answer[2])
        return answer

    @staticmethod
    def trickle(request, content):
        """Answer byte by byte: each byte well before any read timeout, the whole never in time."""
        request.handler.send_response(200)
        request.handler.send_header("Content-Length", str(len(content)))
        request.handler.end_headers()
        try:
            for byte in content:
                request.handler.wfile.write(bytes([byte]))
                request.handler.wfile.flush()
                time.sleep(0.05)
        except OSError:
            pass

    def store(self, entry):
        request = entry["request"]
        if request["method"] == "POST":
            key = (request["url"], unquote(request.get("ifNoneExist", "")))
            if self.conditional and self.stored.get(key):
                return {"response": {"status": "200 OK"}}
            self.stored.setdefault(key, []).append(entry["resource"])
        else:
            kind, _, criterion = request["url"].partition("?")
            self.stored[(kind, unquote(criterion))] = [entry["resource"]]
        return {"response": {"status": "201 Created"}}

    def all_of(self, kind):
        return [resource for (found, _), resources in self.stored.items() if found == kind for resource in resources]


class Rms(Server):
    """A sender's system: keeps what is posted to it and answers by `script` (a status, or (status, headers))."""

    def __init__(self):
        self.script = deque()
        super().__init__()
        self.address = f"{self.base}/diversion-status"

    def answer(self, request):
        word = self.script.popleft() if self.script else 204
        status, headers = word if isinstance(word, tuple) else (word, {})
        return status, headers, b""


PATIENT_ID = "0193a000-0000-7000-8000-000000000001"
REQUEST_ID = "0193a000-0000-7000-8000-000000000002"
TASK_ID = "0193a000-0000-7000-8000-000000000003"
SID = "https://crisis-referral-gateway.org/fhir/sid"


def referral_resources(status="requested"):
    """The smallest push: Patient, ServiceRequest, Task, and a Provenance that stays here."""
    return [
        {"resourceType": "Patient", "id": PATIENT_ID, "identifier": [{"system": f"{SID}/copy", "value": PATIENT_ID}]},
        {
            "resourceType": "ServiceRequest",
            "id": REQUEST_ID,
            "meta": {"versionId": "3", "lastUpdated": "2026-11-24T10:00:00Z", "security": [{"code": "R"}]},
            "identifier": [{"system": f"{SID}/copy", "value": REQUEST_ID}, {"system": f"{SID}/placer", "value": "P-1"}],
            "subject": {"reference": f"Patient/{PATIENT_ID}"},
            "requester": {"reference": "Organization/riverton-police"},
        },
        {
            "resourceType": "Task",
            "id": TASK_ID,
            "identifier": [{"system": f"{SID}/placer", "value": "P-1"}],
            "status": status,
            "focus": {"reference": f"ServiceRequest/{REQUEST_ID}"},
            "for": {"reference": f"Patient/{PATIENT_ID}"},
        },
        {"resourceType": "Provenance", "id": "x", "target": [{"reference": f"Task/{TASK_ID}"}]},
    ]


def disclosed(mode="create", status="requested"):
    """What the one door would hand over; the channels read its body only."""
    return SimpleNamespace(body={"mode": mode, "resources": referral_resources(status)})

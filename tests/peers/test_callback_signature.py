"""A callback of a running gateway is proven, on Node and by libraries that are not ours, with the key the gateway publishes."""

from __future__ import annotations

import base64
import hashlib
import json
import threading
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from queue import Empty, Queue
from typing import Any

import pytest
import requests
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

[client.riverton-rms]
organization = "riverton-police"
jwks = "riverton-rms.jwks.json"
scopes = "__gateway.intake.rms-diversion"
purposes = ["COC"]
callback = {{ address = "{address}" }}
"""
PACKAGES = ("http-message-signatures@1.0.6", "jose@6.2.18", "structured-headers@2.1.0")
WAIT_SECONDS = 20


@dataclass
class Listener:
    """An HTTP server of nobody's library: what reached it, and a key set it can be told to publish."""

    base_url: str
    heard: Queue[dict[str, Any]] = field(default_factory=Queue)
    jwks: dict[str, Any] = field(default_factory=dict)


@contextmanager
def listening():
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            body = self.rfile.read(int(self.headers["Content-Length"]))
            fields = {name.lower(): value for name, value in self.headers.items()}
            found.heard.put({"method": self.command, "url": found.base_url + self.path, "headers": fields, "body": body})
            self.send_response(204)
            self.end_headers()

        def do_GET(self):
            said = json.dumps(found.jwks).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(said)))
            self.end_headers()
            self.wfile.write(said)

        def log_message(self, *args):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    found = Listener(f"http://127.0.0.1:{server.server_port}")
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield found
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@dataclass
class Called:
    """A gateway, the callback it made, and who may judge it."""

    gateway_url: str
    listener: Listener
    request: dict[str, Any]
    receipt: str
    folder: Any

    @property
    def jwks(self):
        return requests.get(f"{self.gateway_url}/oauth/jwks", timeout=10).json()

    def judged(self, *changed, jwks=None):
        """The verdict of the script on requests. jwks: address of the key set; the gateway's where none is named."""
        sent = [{**request, "body": base64.b64encode(request["body"]).decode()} for request in changed]
        return run_script(
            self.folder, "callback_receiver.mjs", PACKAGES, {"jwks": jwks or f"{self.gateway_url}/oauth/jwks", "requests": sent}
        )


@pytest.fixture(scope="module")
def called(tmp_path_factory):
    folder = tmp_path_factory.mktemp("callback")
    officer = make_keys(folder, "riverton-rms")
    with listening() as listener:
        (folder / "parties.toml").write_text(PARTIES.format(address=f"{listener.base_url}/diversion-status"))
        with running_gateway(folder, folder / "parties.toml", f"sqlite:///{folder / 'gateway.db'}") as base_url:
            rms = SmartClient(base_url, "riverton-rms", officer, "__gateway.intake.rms-diversion", Http("rms", "gateway"))
            headers = {"Content-Type": "application/json"}
            receipt = rms.call_again("POST", "/intake/rms-diversion", body=json.dumps(an_rms_message()).encode(), headers=headers).json()
            assert rms.call_again("POST", f"/referrals/{receipt['receipt']}/cancel").status == 200
            try:
                request = listener.heard.get(timeout=WAIT_SECONDS)
            except Empty:
                pytest.fail("the worker made no callback")
            yield Called(base_url, listener, request, receipt["receipt"], tmp_path_factory.mktemp("node"))


def with_header(request, **fields):
    return {**request, "headers": {**request["headers"], **{name.replace("_", "-"): value for name, value in fields.items()}}}


def with_body(request, body):
    digest = base64.b64encode(hashlib.sha256(body).digest()).decode()
    return with_header({**request, "body": body}, content_digest=f"sha-256=:{digest}:")


def test_a_library_that_is_not_ours_proves_a_callback_with_the_published_key(called):
    assert json.loads(called.request["body"]).items() >= {"receipt": called.receipt, "status": "closed"}.items()
    assert called.judged(called.request) == [{"kid": called.jwks["keys"][0]["kid"]}]


def test_it_refuses_what_was_changed_on_the_way(called):
    request = called.request
    other = request["body"].replace(b'"closed"', b'"accepted"')
    assert other != request["body"]
    changed = {
        "another body": {**request, "body": other},
        "another body with its digest": with_body(request, other),
        "another delivery id": with_header(request, crisis_delivery_id="another"),
        "another content type": with_header(request, content_type="text/plain"),
        "another address": {**request, "url": f"{called.listener.base_url}/elsewhere"},
        "another method": {**request, "method": "PUT"},
        "another tag": with_header(request, signature_input=request["headers"]["signature-input"].replace("crisis-referral", "other")),
        "another time": with_header(request, signature_input=request["headers"]["signature-input"].replace("created=1", "created=2")),
        "no signature": {**request, "headers": {k: v for k, v in request["headers"].items() if not k.startswith("signature")}},
    }
    refused = dict(zip(changed, called.judged(*changed.values()), strict=True))
    assert {name: verdict for name, verdict in refused.items() if "refused" not in verdict} == {}
    assert refused["another body"] == {"refused": "Content-Digest"}
    assert refused["another body with its digest"] == {"refused": "signature"}


def test_it_refuses_a_callback_under_another_key_of_the_same_name(called):
    ours = called.jwks["keys"][0]
    stranger = ECKey.generate_key("P-384").as_dict(private=False)
    called.listener.jwks = {"keys": [{**ours, "x": stranger["x"], "y": stranger["y"]}]}
    assert called.judged(called.request, jwks=f"{called.listener.base_url}/jwks") == [{"refused": "signature"}]


def test_it_refuses_a_callback_whose_key_is_not_published(called):
    called.listener.jwks = {"keys": [{**called.jwks["keys"][0], "kid": "another"}]}
    assert called.judged(called.request, jwks=f"{called.listener.base_url}/jwks") == [{"refused": "ERR_JWKS_NO_MATCHING_KEY"}]

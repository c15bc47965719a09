"""Reading a key set over HTTP: from a real server, within bounds, and through the token endpoint."""

from __future__ import annotations

import json
import threading
import time
from dataclasses import replace

import pytest
from joserfc.jwk import ECKey

from gateway.delivery import jwks_fetch
from gateway.delivery.jwks_fetch import fresh_seconds, make_fetch
from gateway.errors import Unavailable
from gateway.store.registry import Client, client_of, put_client
from tests.delivery.peers import Server, as_json
from tests.oauth.signing import ask, claims_of, sign
from tests.oauth.test_assertion import given, refused

KEY = ECKey.generate_key("P-384", auto_kid=True)
SET = {"keys": [KEY.as_dict(private=False)]}


class KeyServer(Server):
    """Publishes a key set, or whatever a test wants instead."""

    def __init__(self):
        self.said = as_json(200, SET)
        super().__init__()

    def answer(self, request):
        return self.said


@pytest.fixture
def server():
    made = KeyServer()
    yield made
    made.close()


def fetch(server, **options):
    return make_fetch(**{"allow_private": True, **options})(f"{server.base}/jwks")


def test_a_key_set_is_read_as_smart_says(server):
    found = fetch(server)
    assert found.document == SET
    assert found.fresh_seconds is None
    [request] = server.requests
    assert (request.method, request.path, request.headers["Accept"]) == ("GET", "/jwks", "application/json")
    assert "Authorization" not in request.headers


@pytest.mark.parametrize(
    "said",
    [
        None,
        (404, {}, b"{}"),
        (500, {}, b"{}"),
        (204, {}, b""),
        (302, {"Location": "/other"}, b""),
        (200, {}, b"<html>"),
        (200, {}, b""),
        (200, {}, b'{"keys": [], "keys": []}'),
        (200, {}, b"[" * 5000),
        (200, {}, b'{"keys": [NaN]}'),
        (200, {}, json.dumps({"keys": ["x" * 70_000]}).encode()),
        (200, {}, b" " * 2_000_000),
    ],
)
def test_any_other_answer_is_like_none(server, said):
    server.said = said
    with pytest.raises(Unavailable):
        fetch(server)
    assert len(server.requests) == 1


def test_a_private_address_is_not_called_unless_the_operator_says_so(server):
    for url in (f"{server.base}/jwks", server.base.replace("http:", "https:"), "https://169.254.169.254/jwks", "https://[::1]/jwks"):
        with pytest.raises(Unavailable):
            make_fetch(allow_private=False)(url)
    assert server.requests == []


@pytest.mark.parametrize(
    "url", ["", "x", "file:///etc/passwd", "https://user@rms.example/", "ftp://rms.example/", "https://rms.example/#x"]
)
def test_what_is_no_address_is_not_called(url):
    with pytest.raises(Unavailable):
        make_fetch(allow_private=True)(url)


def test_a_server_that_does_not_answer_in_time_is_given_up(server, monkeypatch):
    assert jwks_fetch.TOTAL_SECONDS == 5.0
    monkeypatch.setattr(jwks_fetch, "TOTAL_SECONDS", 0.2)
    may_answer = threading.Event()
    server.answer = lambda request: may_answer.wait(5) and None
    began = time.monotonic()
    with pytest.raises(Unavailable):
        fetch(server)
    assert time.monotonic() - began < 2
    may_answer.set()


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"Cache-Control": "max-age=60"}, 60),
        ({"Cache-Control": "public, Max-Age = 60"}, 60),
        ({"Cache-Control": 'max-age="60"'}, 60),
        ({"Cache-Control": "max-age=60, max-age=10"}, 10),
        ({"Cache-Control": "no-store"}, 0),
        ({"Cache-Control": "no-cache, max-age=60"}, 0),
        ({"Cache-Control": "NO-STORE"}, 0),
        ({"Cache-Control": "max-age=0"}, 0),
        ({"Cache-Control": "max-age=-1"}, 0),
        ({"Cache-Control": "max-age=a"}, 0),
        ({"Cache-Control": "max-age"}, 0),
        ({"Cache-Control": "public"}, None),
        ({"Cache-Control": ""}, None),
        ({"Cache-Control": "max-age=60", "Age": "50"}, 10),
        ({"Cache-Control": "max-age=60", "Age": "500"}, 0),
    ],
)
def test_how_long_a_set_may_be_used_is_what_its_server_says(headers, seconds):
    assert fresh_seconds(headers) == seconds


@pytest.fixture
def remote(gateway, server):
    client = Client("remote-rms", "riverton-police", "__gateway.intake.rms-diversion", frozenset({"COC"}), jwks_url=f"{server.base}/jwks")
    gateway.services.database.write(lambda unit: put_client(unit, client))
    return gateway


def test_a_client_with_a_key_address_gets_a_token(remote, server):
    for header in ({}, {"jku": f"{server.base}/jwks"}):
        given(ask(remote.as_rms, sign(KEY, claims_of("remote-rms"), header=header)))
    assert len(server.requests) == 1


@pytest.mark.parametrize("jku", ["https://attacker.example/jwks", "/jwks"])
def test_another_key_address_in_the_assertion_is_neither_taken_nor_called(remote, server, jku):
    refused(ask(remote.as_rms, sign(KEY, claims_of("remote-rms"), header={"jku": jku})))
    assert server.requests == []


def test_a_key_set_out_of_reach_is_said_in_the_form_of_oauth(remote, server):
    server.said = (503, {}, b"")
    answer = ask(remote.as_rms, sign(KEY, claims_of("remote-rms")))
    assert (answer.status_code, answer.json["error"]) == (503, "temporarily_unavailable")
    assert answer.headers["Retry-After"] == "5"
    assert answer.headers["Cache-Control"] == "no-store"


def test_an_unknown_client_makes_nobody_call(remote, server):
    refused(ask(remote.as_rms, sign(KEY, claims_of("nobody"), header={"jku": f"{server.base}/jwks"})))
    assert server.requests == []


def test_the_keys_of_a_suspended_client_are_not_asked_for(remote, server):
    def suspend(unit):
        put_client(unit, replace(client_of(unit, "remote-rms"), suspended=True))

    remote.services.database.write(suspend)
    refused(ask(remote.as_rms, sign(KEY, claims_of("remote-rms"))))
    assert server.requests == []

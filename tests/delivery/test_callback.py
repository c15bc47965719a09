"""The callback channel: signed so that the sender's system can prove who spoke."""

from __future__ import annotations

import json
from types import SimpleNamespace

import pytest
from http_message_signatures import HTTPMessageVerifier, HTTPSignatureKeyResolver, InvalidSignature, algorithms
from joserfc.jwk import KeySet

from gateway.delivery.channels.callback import Callback
from gateway.delivery.channels.channel import NotOpened
from gateway.store.outbox import Claimed

VIEW = {"receipt": "r-1", "status": "closed", "since": "2026-11-24T12:00:00.000+00:00", "next": {}, "issues": []}


@pytest.fixture
def channel(keys):
    return Callback(keys, allow_private=True)


def claimed(generation=1):
    return Claimed("0193a", "callback", "riverton-rms", "referral", generation, 3, "token", 0, None, 0)


def post(channel, rms, generation=1):
    with channel.open(rms.address, None) as opened:
        return opened.send(claimed(generation), SimpleNamespace(body=VIEW))


class Published(HTTPSignatureKeyResolver):
    """What a receiver has: GET /oauth/jwks."""

    def __init__(self, keys):
        self.keys = KeySet.import_key_set(keys.public_jwks())

    def resolve_public_key(self, key_id):
        return self.keys.get_by_kid(key_id).public_key


def verify(rms, keys, **changes):
    request = rms.requests[-1]
    headers = {**dict(request.headers.items()), **changes.get("headers", {})}
    message = SimpleNamespace(method="POST", url=changes.get("url", rms.address), headers=headers)
    verifier = HTTPMessageVerifier(signature_algorithm=algorithms.ECDSA_P384_SHA384, key_resolver=Published(keys))
    return verifier.verify(message, body=changes.get("body", request.body))


def test_a_callback_says_the_view_and_is_verified_with_the_published_key(channel, rms, keys):
    assert post(channel, rms).accepted
    assert json.loads(rms.requests[-1].body) == VIEW
    (result,) = verify(rms, keys)
    covered = set(result.covered_components)
    assert {'"@method"', '"@target-uri"', '"content-digest"', '"content-type"', '"crisis-delivery-id"'} <= covered
    assert result.parameters["keyid"] == keys.kid
    assert "created" in result.parameters


@pytest.mark.parametrize(
    "changes",
    [
        {"body": b'{"status":"accepted"}'},
        {"url": "http://127.0.0.1/elsewhere"},
        {"headers": {"Crisis-Delivery-Id": "another"}},
        {"headers": {"Content-Type": "text/plain"}},
    ],
)
def test_whatever_is_changed_on_the_way_breaks_the_signature(channel, rms, keys, changes):
    post(channel, rms)
    with pytest.raises(InvalidSignature):
        verify(rms, keys, **changes)


def test_the_delivery_id_is_the_same_for_every_try_of_one_state(channel, rms):
    post(channel, rms)
    post(channel, rms)
    post(channel, rms, generation=2)
    ids = [request.headers["Crisis-Delivery-Id"] for request in rms.requests]
    assert ids == ["0193a.1", "0193a.1", "0193a.2"]


@pytest.mark.parametrize(
    ("status", "accepted"), [(200, True), (202, True), (204, True), (409, True), (400, False), (410, False), (500, False), (302, False)]
)
def test_any_two_hundred_is_a_yes_and_so_is_a_known_repetition(channel, rms, status, accepted):
    rms.script.append((status, {"Location": "/elsewhere"}))
    reply = post(channel, rms)
    assert (reply.status, reply.accepted) == (status, accepted)
    assert len(rms.requests) == 1


def test_a_callback_address_that_may_not_be_called_is_not_called(keys, rms):
    with pytest.raises(NotOpened) as closed:
        Callback(keys, allow_private=False).open(rms.address, None)
    assert closed.value.reply.refused_by_us
    assert rms.requests == []

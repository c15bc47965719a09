"""Assertions that must not get a token: each is good but for one thing, so that only that thing can be why it is refused."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time
from typing import Any, Final
from uuid import uuid4

from joserfc.jwk import ECKey

from conformance.checks import check
from conformance.exchange import Exchange
from conformance.expect import expect_status, json_object
from conformance.session import Session
from conformance.verdicts import Failed

P384: Final = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFC7634D81F4372DDF581A0DB248B0A77AECEC196ACCC52973
"""Order of the curve: (r, n - s) is a valid signature wherever (r, s) is."""


def expect_refused(session: Session, answer: Exchange, what: str) -> None:
    """invalid_client in the form of RFC 6749 §5.2, without a token."""
    expect_status(answer, 400, 401, why=what)
    document = json_object(answer)
    if "access_token" in document:
        raise Failed(f"a token was given: {what}", answer)
    error = document.get("error")
    if error == "invalid_request":
        session.warn(f"{what}: the error is invalid_request; invalid_client says it better")
    elif error != "invalid_client":
        raise Failed(f"the error is not invalid_client: {what}", answer)


def _expect_good_first(session: Session) -> None:
    """The same client does get a token, so that a refusal afterwards is about the assertion."""
    expect_status(session.receiver.ask_token(), 200, why="an ordinary assertion of this client is refused, so no refusal proves anything")


def _refuses(session: Session, what: str, **claims: Any) -> None:
    _expect_good_first(session)
    expect_refused(session, session.receiver.ask_token(session.receiver.assertion(**claims)), what)


@check(
    "token-replayed-assertion",
    "An assertion is good once",
    "SMART-KEY-2",
    "RFC7523-1",
    likely="used jti values are not kept, or only in the memory of one of several processes",
)
def replayed(session: Session) -> None:
    """The same text a second time is refused."""
    assertion = session.receiver.assertion()
    expect_status(session.receiver.ask_token(assertion), 200)
    expect_refused(session, session.receiver.ask_token(assertion), "the assertion was used before")


@check(
    "token-reused-jti",
    "A jti is good once, whatever else the assertion says",
    "SMART-KEY-2",
    "RFC7523-1",
    likely="replay is recognised by the assertion's text or hash; ECDSA signatures can be rewritten without the key",
)
def reused_jti(session: Session) -> None:
    """A jti in a new assertion is refused, and so is the old one with its signature turned into the other valid one."""
    jti = str(uuid4())
    assertion = session.receiver.assertion(jti=jti)
    expect_status(session.receiver.ask_token(assertion), 200)
    again = session.receiver.assertion(jti=jti, exp=int(time.time()) + 120)
    expect_refused(session, session.receiver.ask_token(again), "its jti was used before")
    key = session.receiver.keys[0]
    if isinstance(key, ECKey):
        expect_refused(session, session.receiver.ask_token(_turned(assertion)), "the assertion was used before with the other signature")


@check(
    "token-replay-race",
    "Of one assertion sent many times at once, one gets a token",
    "SMART-KEY-2",
    "RFC7523-1",
    likely="the jti is looked up first and kept later, instead of inserted and refused by a unique key",
)
def replay_race(session: Session) -> None:
    """Eight equal requests at the same moment: one 200, seven refusals."""
    assertion = session.receiver.assertion()
    answers = session.at_once([lambda: session.receiver.ask_token(assertion)] * 8)
    given = [answer for answer in answers if answer.status == 200]
    if len(given) != 1:
        raise Failed(f"{len(given)} of 8 equal assertions got a token", (given or answers)[-1])
    for answer in answers:
        if answer.status != 200:
            expect_refused(session, answer, "the assertion is being used")


@check("token-expired", "An assertion past its exp is refused", "RFC7523-2", likely="exp is not read, or the leeway is minutes")
def expired(session: Session) -> None:
    """Five minutes past, which no leeway covers."""
    _refuses(session, "exp is five minutes past", exp=int(time.time()) - 300)


@check(
    "token-exp-too-far",
    "An assertion whose exp is more than five minutes ahead is refused",
    "SMART-KEY-3",
    likely="a general JWT library checks that exp has not passed and nothing else",
)
def exp_too_far(session: Session) -> None:
    """An hour ahead, and no exp at all."""
    _refuses(session, "exp is an hour ahead", exp=int(time.time()) + 3600)
    _refuses(session, "there is no exp", exp=None)


@check(
    "token-wrong-audience",
    "An assertion for another audience is refused",
    "RFC7523-3",
    likely="aud is not compared, or compared as a prefix",
)
def wrong_audience(session: Session) -> None:
    """Another server's token endpoint, this one with a slash behind, several audiences at once, and none."""
    endpoint = session.receiver.discover()
    for audience in ("https://other.example/oauth/token", f"{endpoint}/", [endpoint, "https://other.example/oauth/token"], None):
        _refuses(session, "aud is not the token endpoint alone", aud=audience)


@check(
    "token-foreign-key",
    "An assertion signed with a key that is not the client's is refused",
    "SMART-KEY-4",
    "RFC7523-4",
    likely="the signature is not verified, or with a key the assertion itself brought",
)
def foreign_key(session: Session) -> None:
    """A new key under the client's kid, a new key under its own kid, and the key of another client."""
    _expect_good_first(session)
    strange = ECKey.generate_key("P-384", auto_kid=True)
    client = session.receiver
    forged = (
        client.assertion(strange, kid=str(client.keys[0].kid)),
        client.assertion(strange),
        client.assertion(session.stranger.keys[0]),
    )
    for assertion in forged:
        expect_refused(session, client.ask_token(assertion), "it is not signed with the client's key")


@check("token-missing-jti", "An assertion without a jti is refused", "SMART-KEY-5", likely="replay is only looked for where a jti is sent")
def missing_jti(session: Session) -> None:
    """None, an empty one, and one that is not a text."""
    for jti in (None, "", 7):
        _refuses(session, "jti is missing or no text", jti=jti)


@check(
    "token-issuer-is-subject",
    "An assertion whose iss and sub differ, or name no client, is refused",
    "SMART-KEY-6",
    likely="only one of the two claims is looked at",
)
def issuer_is_subject(session: Session) -> None:
    """Another iss, another sub, and a client nobody registered."""
    other = session.stranger.client_id
    for claims in ({"iss": other}, {"sub": other}, {"iss": "nobody-registered", "sub": "nobody-registered"}):
        _refuses(session, "iss and sub are not the client", **claims)


@check(
    "token-unsigned",
    "An assertion with alg none is refused",
    "SMART-KEY-7",
    likely="the algorithm is taken from the assertion's own header",
)
def unsigned(session: Session) -> None:
    """With and without a signature part, and in other spellings of none."""
    _expect_good_first(session)
    for name in ("none", "None", "nOnE"):
        header = {"alg": name, "kid": str(session.receiver.keys[0].kid), "typ": "JWT"}
        for signature in ("", "c2lnbmF0dXJl"):
            assertion = f"{_part(header)}.{_part(session.receiver.claims())}.{signature}"
            expect_refused(session, session.receiver.ask_token(assertion), "alg is none")


@check(
    "token-hs256",
    "An assertion signed with the public key as a shared secret is refused",
    "SMART-KEY-7",
    likely="the verifying library picks the algorithm by the header and the key by kid, and takes a public key for a secret",
)
def hs256(session: Session) -> None:
    """HS256 keyed with the PEM and with the JWK of the client's public key."""
    _expect_good_first(session)
    key = session.receiver.keys[0]
    secrets = (key.as_pem(private=False), json.dumps(key.as_dict(private=False)).encode())
    for secret in secrets:
        signed = f"{_part({'alg': 'HS256', 'kid': str(key.kid), 'typ': 'JWT'})}.{_part(session.receiver.claims())}"
        mac = hmac.new(secret, signed.encode(), hashlib.sha256).digest()
        expect_refused(session, session.receiver.ask_token(f"{signed}.{_b64(mac)}"), "alg is HS256")


def _b64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _part(value: dict[str, Any]) -> str:
    return _b64(json.dumps(value).encode())


def _turned(assertion: str) -> str:
    """The same ES384 assertion with (r, n - s) for (r, s)."""
    head, claims, signature = assertion.split(".")
    raw = base64.urlsafe_b64decode(signature + "=" * (-len(signature) % 4))
    turned = P384 - int.from_bytes(raw[48:], "big")
    return f"{head}.{claims}.{_b64(raw[:48] + turned.to_bytes(48, 'big'))}"

"""The checks of a client assertion through the token endpoint: each refusal beside what is permitted next to it."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time
from contextlib import suppress
from dataclasses import replace
from decimal import Decimal

import pytest
from hypothesis import given as given_by_hypothesis
from hypothesis import strategies as st
from joserfc.jwk import ECKey, RSAKey

from gateway.errors import OAuthFailure
from gateway.oauth.assertion import NOT_PROVEN, AssertionRefused, prove
from gateway.oauth.jwks import usable_keys
from gateway.oauth.purpose import bind_purpose
from gateway.store.registry import Client, client_of, put_client
from tests.oauth.signing import TOKEN_URL, ask, claims_of, part, sign
from tests.world import BASE

RSA = RSAKey.generate_key(2048, auto_kid=True)


@pytest.fixture
def rms(quiet_gateway):
    return quiet_gateway.as_rms


def refused(answer, *, status=401, error="invalid_client"):
    """Whether an answer is a refusal in the form of RFC 6749 §5.2; its description."""
    assert (answer.status_code, answer.json["error"]) == (status, error), answer.json
    assert set(answer.json) == {"error", "error_description"}
    assert answer.headers["Cache-Control"] == "no-store"
    assert answer.headers["Pragma"] == "no-cache"
    assert "WWW-Authenticate" not in answer.headers
    description = answer.json["error_description"]
    assert all(0x20 <= ord(character) <= 0x7E and character not in '"\\' for character in description)
    return description


def given(answer):
    assert answer.status_code == 200, answer.json
    return answer.json


def with_keys(world, name, **changes):
    """Register a client of the same organisation as the RMS under another name."""
    client = Client(name, "riverton-police", "__gateway.intake.rms-diversion", frozenset({"COC"}))
    world.services.database.write(lambda unit: put_client(unit, replace(client, **changes)))
    return name


def public(*keys, **members):
    return {"keys": [{**key.as_dict(private=False), "kid": key.kid, **members} for key in keys]}


# check 2


@pytest.mark.parametrize("kind", ["", "urn:ietf:params:oauth:client-assertion-type:saml2-bearer", "jwt-bearer"])
def test_another_assertion_type_is_refused(rms, kind):
    refused(rms.ask_token(client_assertion_type=kind), status=400)


def test_no_assertion_is_refused(rms):
    refused(rms.ask_token(client_assertion=""), status=400)


@pytest.mark.parametrize(
    "text",
    [
        "x",
        "a.b",
        "a.b.c.d",
        "..",
        "a.b.c",
        "ÿ.ÿ.ÿ",
        " ".join(["e30.e30.e30"] * 2),
        part(b"[]") + "." + part(b"{}") + ".x",
        part(b"null") + "." + part(b"{}") + ".x",
        part(b"{}") + "." + part(b'"text"') + ".x",
        part(b"{") + "." + part(b"{}") + ".x",
        part(b"\xff\xfe") + "." + part(b"{}") + ".x",
        part(b"\xef\xbb\xbf{}") + "." + part(b"{}") + ".x",
        part(b'{"alg":"ES384","alg":"none"}') + "." + part(b"{}") + ".x",
        part(b'{"alg":"ES384"}') + "." + part(b'{"iss":"rms","iss":"cad"}') + ".x",
        part(b"{}") + "." + part(b'{"exp":NaN}') + ".x",
        part(b"{}") + "." + part(b'{"exp":Infinity}') + ".x",
        part(b"{}") + "." + part(b'{"iss":"\\ud800"}') + ".x",
        part(b"{}") + "." + part(b'{"exp":' + b"9" * 9000 + b"}") + ".x",
        part(b"{}") + "." + part(b'{"exp":1e999999999}') + ".x",
        part(b"{}") + "." + part(b'{"a":' + b"[" * 2000 + b"]" * 2000 + b"}") + ".x",
        part(b'{"a":' * 900 + b"1" + b"}" * 900) + "." + part(b"{}") + ".x",
        part(b'{"a":"' + b"x" * 9000 + b'"}') + "." + part(b"{}") + ".x",
        part(b"{}") + "." + part(b"{}") + "." + "x" * 17000,
        part(b"{}") + "." + part(b"[" + b"1," * 1500 + b"1]") + ".x",
    ],
)
def test_what_is_no_signed_jwt_is_refused_as_such(rms, text):
    assert "not a signed JWT" in refused(ask(rms, text), status=400)


def test_a_clients_own_members_are_ignored(rms):
    given(
        ask(rms, sign(rms.key, claims_of("rms", azp="x", deep={"a": {"b": [1, 2.5, None]}}), header={"x-own": "y", "jwk": {"kty": "oct"}}))
    )


# check 3


@pytest.mark.parametrize(
    "algorithm", ["none", "None", "HS256", "HS384", "RS256", "ES256", "ES512", "PS384", "EdDSA", "", 7, None, [], {}, True]
)
def test_another_algorithm_is_refused(rms, algorithm):
    refused(ask(rms, sign(rms.key, claims_of("rms"), header={"alg": algorithm})))


def test_the_public_key_as_a_shared_secret_is_refused(rms):
    for secret in (rms.key.as_pem(private=False), json.dumps(rms.key.as_dict(private=False)).encode()):
        signed = part(json.dumps({"alg": "HS256", "kid": rms.key.kid}).encode()) + "." + part(json.dumps(claims_of("rms")).encode())
        refused(ask(rms, f"{signed}.{part(hmac.new(secret, signed.encode(), hashlib.sha256).digest())}"))


@pytest.mark.parametrize("kid", [None, "", 7, [], {}, True])
def test_an_assertion_that_names_no_key_is_refused(rms, kid):
    assert "kid" in refused(ask(rms, sign(rms.key, claims_of("rms"), header={"kid": kid})))


@pytest.mark.parametrize("kid", ["unknown", '"', "\\", "ü", "\x00", "a" * 5000, "' OR 1=1", "\u2028"])
def test_an_odd_or_unknown_kid_is_refused_like_a_bad_signature(rms, kid):
    assert refused(ask(rms, sign(rms.key, claims_of("rms"), header={"kid": kid}))) == NOT_PROVEN


@pytest.mark.parametrize("kind", ["at+jwt", "JWE", "application/at+jwt", "", 7, [], {}, False])
def test_a_token_of_another_kind_is_refused(rms, kind):
    assert "typ" in refused(ask(rms, sign(rms.key, claims_of("rms"), header={"typ": kind})))


@pytest.mark.parametrize("kind", ["JWT", "jwt", "client-authentication+jwt", None])
def test_a_jwt_is_taken_with_and_without_its_typ(rms, kind):
    given(ask(rms, sign(rms.key, claims_of("rms"), header={"typ": kind})))


@pytest.mark.parametrize("crit", [["exp"], ["b64"], [], "exp", None, {}])
def test_a_critical_header_is_refused(rms, crit):
    head = {"alg": "ES384", "kid": rms.key.kid, "typ": "JWT", "crit": crit}
    refused(ask(rms, sign(rms.key, claims_of("rms"), header=json.dumps(head).encode())))


# check 4


@pytest.mark.parametrize(
    "changes",
    [
        {"sub": "cad"},
        {"iss": "cad"},
        {"sub": None},
        {"iss": None},
        {"iss": ["rms"], "sub": ["rms"]},
        {"iss": {"a": 1}, "sub": {"a": 1}},
        {"iss": 7, "sub": 7},
        {"iss": True, "sub": True},
    ],
)
def test_iss_and_sub_must_both_be_the_client(rms, changes):
    assert "iss and sub" in refused(ask(rms, sign(rms.key, claims_of("rms", **changes))))


@pytest.mark.parametrize("name", ["nobody", "", "RMS", "rms ", "rms\x00", "ü", "a" * 3000, "\n"])
def test_an_unknown_client_is_refused_like_a_bad_signature(rms, name):
    assert refused(ask(rms, sign(rms.key, claims_of(name)))) == NOT_PROVEN


def test_another_clients_key_proves_nobody(quiet_gateway):
    assert refused(ask(quiet_gateway.as_rms, sign(quiet_gateway.as_cad.key, claims_of("rms")))) == NOT_PROVEN


def test_a_suspended_client_is_refused_like_a_bad_signature(quiet_gateway):
    key = ECKey.generate_key("P-384", auto_kid=True)
    name = with_keys(quiet_gateway, "suspended-rms", jwks=public(key))
    given(ask(quiet_gateway.as_rms, sign(key, claims_of(name))))
    with_keys(quiet_gateway, name, jwks=public(key), suspended=True)
    assert refused(ask(quiet_gateway.as_rms, sign(key, claims_of(name)))) == NOT_PROVEN


def test_the_parameter_client_id_must_be_the_client(rms):
    given(rms.ask_token(client_id="rms"))
    refused(rms.ask_token(client_id="cad"), status=400, error="invalid_request")


# check 5


@pytest.mark.parametrize("jku", ["https://attacker.example/jwks", "", None, 7, []])
def test_a_key_address_that_is_not_registered_is_refused(rms, jku):
    head = {"alg": "ES384", "kid": rms.key.kid, "typ": "JWT", "jku": jku}
    assert refused(ask(rms, sign(rms.key, claims_of("rms"), header=json.dumps(head).encode()))) == NOT_PROVEN


# checks 6 and 7


def test_rs384_is_taken_from_a_client_with_an_rsa_key(quiet_gateway):
    name = with_keys(quiet_gateway, "rsa-rms", jwks=public(RSA))
    given(ask(quiet_gateway.as_rms, sign(RSA, claims_of(name), algorithm="RS384")))


@pytest.mark.parametrize(
    "members", [{"use": "enc"}, {"key_ops": ["sign"]}, {"key_ops": "verify"}, {"alg": "RS256"}, {"kid": "another"}, {"d": "AQAB"}]
)
def test_a_key_that_may_not_verify_proves_nobody(quiet_gateway, members):
    name = with_keys(quiet_gateway, "odd-key-rms", jwks=public(RSA, **members))
    assert refused(ask(quiet_gateway.as_rms, sign(RSA, claims_of(name), algorithm="RS384"))) == NOT_PROVEN


@pytest.mark.parametrize("members", [{"use": "sig"}, {"key_ops": ["verify"]}, {"key_ops": ["sign", "verify"]}, {"alg": "RS384"}])
def test_a_key_that_says_it_verifies_does(quiet_gateway, members):
    name = with_keys(quiet_gateway, "fit-key-rms", jwks=public(RSA, **members))
    given(ask(quiet_gateway.as_rms, sign(RSA, claims_of(name), algorithm="RS384")))


def test_two_keys_with_one_kid_prove_nobody(quiet_gateway):
    other = ECKey.generate_key("P-384", {"kid": "same"})
    mine = ECKey.generate_key("P-384", {"kid": "same"})
    name = with_keys(quiet_gateway, "doubled-rms", jwks=public(mine, other))
    for key in (mine, other):
        assert refused(ask(quiet_gateway.as_rms, sign(key, claims_of(name)))) == NOT_PROVEN


def test_keys_of_two_kinds_may_share_a_kid(quiet_gateway):
    mine = ECKey.generate_key("P-384", {"kid": "same"})
    rsa = RSAKey.import_key({**RSA.as_dict(private=True), "kid": "same"})
    name = with_keys(quiet_gateway, "two-kinds-rms", jwks=public(mine, rsa))
    given(ask(quiet_gateway.as_rms, sign(mine, claims_of(name))))
    given(ask(quiet_gateway.as_rms, sign(rsa, claims_of(name), algorithm="RS384")))


def test_a_p256_key_does_not_verify_es384(quiet_gateway):
    small = ECKey.generate_key("P-256", auto_kid=True)
    name = with_keys(quiet_gateway, "small-rms", jwks=public(small))
    assert refused(ask(quiet_gateway.as_rms, sign(small, claims_of(name)))) == NOT_PROVEN


@pytest.mark.parametrize("signature", [b"", b"\x00" * 96, b"\x01" * 95, b"\x01" * 97, b"\xff" * 96, b"x" * 400])
def test_a_wrong_signature_is_refused(rms, signature):
    signed = sign(rms.key, claims_of("rms")).rpartition(".")[0]
    assert refused(ask(rms, f"{signed}.{part(signature)}")) == NOT_PROVEN


def test_a_changed_claim_is_refused(rms):
    head, _, signature = sign(rms.key, claims_of("rms")).split(".")
    assert refused(ask(rms, f"{head}.{part(json.dumps(claims_of('rms')).encode())}.{signature}")) == NOT_PROVEN


def test_a_key_the_assertion_brings_itself_proves_nobody(rms):
    strange = ECKey.generate_key("P-384", {"kid": rms.key.kid})
    header = {"jwk": {**strange.as_dict(private=False)}, "x5c": ["AAAA"], "x5u": "https://attacker.example/"}
    assert refused(ask(rms, sign(strange, claims_of("rms"), header=header))) == NOT_PROVEN


# check 8


@pytest.mark.parametrize("audience", [TOKEN_URL, BASE, [TOKEN_URL], [BASE]])
def test_the_token_endpoint_or_the_issuer_is_the_audience(rms, audience):
    given(ask(rms, sign(rms.key, claims_of("rms", aud=audience))))


@pytest.mark.parametrize(
    "audience",
    [
        f"{TOKEN_URL}/",
        f"{BASE}/",
        f"{TOKEN_URL}?",
        "https://other.example/oauth/token",
        "http://GATEWAY.test/oauth/token",
        [TOKEN_URL, BASE],
        [TOKEN_URL, "https://other.example/"],
        [[TOKEN_URL]],
        [],
        {},
        {"url": TOKEN_URL},
        "",
        7,
        None,
    ],
)
def test_another_audience_or_several_are_refused(rms, audience):
    assert "aud" in refused(ask(rms, sign(rms.key, claims_of("rms", aud=audience))))


# check 9


@pytest.mark.parametrize("claim", ["exp", "nbf", "iat"])
@pytest.mark.parametrize("value", ['"1"', "true", "[]", "{}", "9" * 90, "1e300"])
def test_a_time_that_is_none_is_refused(rms, claim, value):
    content = json.dumps(claims_of("rms", **{claim: None}))[:-1] + f', "{claim}": {value}}}'
    refused(ask(rms, sign(rms.key, content.encode())))


@pytest.mark.parametrize(
    ("ahead", "named"), [(-300, "past its exp"), (3600, "five minutes"), (10**12, "five minutes"), (-(10**15), "past")]
)
def test_an_assertion_past_its_time_or_good_for_too_long_is_refused(rms, ahead, named):
    assert named in refused(ask(rms, sign(rms.key, claims_of("rms", exp=int(time.time()) + ahead))))


def test_an_assertion_without_an_end_is_refused(rms):
    refused(ask(rms, sign(rms.key, claims_of("rms", exp=None))))
    refused(ask(rms, sign(rms.key, claims_of("rms", exp=int(time.time()) + 100.5))))


@pytest.mark.parametrize(
    ("times", "accepted"),
    [
        ({"exp": 1}, True),
        ({"exp": 330}, True),
        ({"exp": 331}, False),
        ({"exp": -29}, True),
        ({"exp": -30}, False),
        ({"nbf": 30}, True),
        ({"nbf": 31}, False),
        ({"iat": 30}, True),
        ({"iat": 31}, False),
        ({"iat": -10_000}, True),
        ({"nbf": Decimal("0.5")}, True),
    ],
)
def test_clocks_may_differ_by_half_a_minute_and_no_more(times, accepted):
    now, key = 1_800_000_000, ECKey.generate_key("P-384", auto_kid=True)
    claims = {"iss": "rms", "sub": "rms", "aud": TOKEN_URL, "exp": now + 200, "jti": "a"}
    claims |= {name: float(now + seconds) if isinstance(seconds, Decimal) else now + seconds for name, seconds in times.items()}

    def result():
        proven = prove(
            sign(key, claims),
            client_id=None,
            audiences=frozenset({TOKEN_URL}),
            now=float(now),
            find_client=lambda name: Client(name, "riverton-police", "", frozenset()),
            find_keys=lambda client, kid: usable_keys(public(key)),
        )
        assert proven.forget_at.timestamp() == claims["exp"] + 30

    if accepted:
        result()
    else:
        with pytest.raises(AssertionRefused):
            result()


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
SIGNER = ECKey.generate_key("P-384", {"kid": "signer"})


@given_by_hypothesis(
    st.dictionaries(st.sampled_from(["iss", "sub", "aud", "exp", "nbf", "iat", "jti", "extensions"]), json_values),
    st.dictionaries(st.sampled_from(["alg", "kid", "typ", "crit", "jku", "jwk", "b64", "x5c"]), json_values),
)
def test_no_content_of_an_assertion_breaks_the_checks(claims, header):
    members = {"alg": "ES384", "kid": "signer", **header}
    content = {"iss": "rms", "sub": "rms", "aud": TOKEN_URL, "exp": 1_800_000_000, "jti": "a", **claims}
    text = sign(SIGNER, json.dumps(content).encode(), header=json.dumps(members).encode())
    # a refusal is what is expected; anything else that is raised fails the test
    with suppress(AssertionRefused, OAuthFailure):
        proven = prove(
            text,
            client_id=None,
            audiences=frozenset({TOKEN_URL}),
            now=1_800_000_000.0,
            find_client=lambda name: Client(name, "riverton-police", "", frozenset()),
            find_keys=lambda client, kid: usable_keys(public(SIGNER)),
        )
        assert bind_purpose(proven.claims, frozenset({"COC"})) == "COC"


# check 10


@pytest.mark.parametrize("jti", [None, "", 7, [], {}, True, "a" * 257])
def test_an_assertion_without_a_usable_jti_is_refused(rms, jti):
    assert "jti" in refused(ask(rms, sign(rms.key, claims_of("rms", jti=jti))))


@pytest.mark.parametrize("jti", ["a", "\x00", "ü" * 256, "'; DROP TABLE client; --", '"\\', "\ud83d\ude00"])
def test_any_text_is_a_jti_once(rms, jti):
    given(ask(rms, sign(rms.key, claims_of("rms", jti=jti))))
    assert "jti" in refused(ask(rms, sign(rms.key, claims_of("rms", jti=jti))))


def test_refused_assertions_cost_no_write(quiet_gateway, unwritable):
    rms = quiet_gateway.as_rms
    used = rms.assertion()
    given(ask(rms, used))
    unwritable(quiet_gateway)
    for assertion in (
        "garbage",
        sign(rms.key, claims_of("nobody")),
        sign(quiet_gateway.as_cad.key, claims_of("rms")),
        sign(rms.key, claims_of("rms", aud="https://other.example/")),
        sign(rms.key, claims_of("rms", exp=int(time.time()) + 3600)),
        sign(rms.key, claims_of("rms", jti=None)),
        used,
    ):
        assert ask(rms, assertion).status_code in (400, 401)
    assert ask(rms, rms.assertion(), scope="system/Task.rs").status_code == 400


def test_the_same_signature_turned_is_no_second_use(rms):
    order = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFC7634D81F4372DDF581A0DB248B0A77AECEC196ACCC52973
    assertion = rms.assertion()
    head, claims, signature = assertion.split(".")
    raw = base64.urlsafe_b64decode(signature + "==")
    turned = raw[:48] + (order - int.from_bytes(raw[48:])).to_bytes(48)
    given(ask(rms, assertion))
    assert "jti" in refused(ask(rms, f"{head}.{claims}.{part(turned)}"))


def test_the_registered_client_is_read_as_it_is_now(quiet_gateway):
    old, new = (ECKey.generate_key("P-384", auto_kid=True) for _ in range(2))
    name = with_keys(quiet_gateway, "rotating-rms", jwks=public(old))
    given(ask(quiet_gateway.as_rms, sign(old, claims_of(name))))
    with_keys(quiet_gateway, name, jwks=public(new))
    assert refused(ask(quiet_gateway.as_rms, sign(old, claims_of(name)))) == NOT_PROVEN
    given(ask(quiet_gateway.as_rms, sign(new, claims_of(name))))
    with quiet_gateway.services.database.read() as unit:
        assert client_of(unit, name).jwks == public(new)

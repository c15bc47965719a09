"""What may be registered as a client's public keys, and which keys of a set may verify."""

from __future__ import annotations

import base64

import pytest
from joserfc.jwk import ECKey, OctKey, OKPKey, RSAKey

from gateway.oauth.jwks import KeysRefused, require_public_keys, usable_keys

EC = ECKey.generate_key("P-384", auto_kid=True)
P256 = ECKey.generate_key("P-256", auto_kid=True)
RSA = RSAKey.generate_key(2048, auto_kid=True)


def jwk(key=EC, **changes):
    members = {**key.as_dict(private=False), "kid": key.kid, **changes}
    return {name: value for name, value in members.items() if value is not None}


def refused(*keys):
    with pytest.raises(KeysRefused) as fault:
        require_public_keys({"keys": list(keys)})
    assert EC.as_dict(private=True)["d"] not in str(fault.value)
    return fault.value.place


@pytest.mark.parametrize("key", [EC, P256, RSA])
def test_public_keys_of_the_two_kinds_may_be_registered(key):
    document = {"keys": [jwk(key, use="sig", alg="ES384", x5c=["AAAA"])]}
    assert require_public_keys(document) == document


def test_several_keys_may_be_registered_so_that_they_can_be_rotated():
    assert len(usable_keys(require_public_keys({"keys": [jwk(), jwk(P256), jwk(RSA)]}))) == 3


@pytest.mark.parametrize("document", [None, [], "keys", {}, {"keys": None}, {"keys": {}}, jwk()])
def test_what_is_no_key_set_is_refused(document):
    with pytest.raises(KeysRefused, match="not a JWK set"):
        require_public_keys(document)


def test_none_and_more_than_twenty_keys_are_refused():
    assert refused() == "keys"
    assert refused(*(jwk(kid=str(number)) for number in range(21))) == "keys"
    assert len(require_public_keys({"keys": [jwk(kid=str(number)) for number in range(20)]})["keys"]) == 20


def test_a_set_of_more_than_64_kb_is_refused():
    with pytest.raises(KeysRefused, match="longer than"):
        require_public_keys({"keys": [jwk(x5c=["A" * 66_000])]})


@pytest.mark.parametrize("member", ["d", "p", "q", "dp", "dq", "qi", "oth", "k"])
def test_a_private_member_is_refused_and_named(member):
    assert refused(jwk(P256), jwk(**{member: "AQAB"})) == f"keys[1].{member}"


def test_a_whole_private_key_is_refused():
    assert refused(EC.as_dict(private=True)) == "keys[0].d"
    assert refused(RSA.as_dict(private=True)) == "keys[0].d"


@pytest.mark.parametrize("key", [OctKey.generate_key(256).as_dict(), OKPKey.generate_key("Ed25519").as_dict(private=False)])
def test_secrets_and_other_kinds_of_keys_are_refused(key):
    assert refused({**key, "kid": "a"}) in ("keys[0].k", "keys[0].kty")


@pytest.mark.parametrize("kid", [None, "", 7, [], "a" * 257])
def test_a_key_without_a_kid_is_refused(kid):
    assert refused(jwk(kid=kid)) == "keys[0].kid"


def test_two_keys_with_one_kid_are_refused():
    assert refused(jwk(kid="a"), jwk(P256, kid="b"), jwk(RSA, kid="a")) == "keys[2].kid"


@pytest.mark.parametrize("curve", ["P-521", "secp256k1", "Ed25519", "", None, 7, []])
def test_another_curve_is_refused(curve):
    assert refused(jwk(crv=curve)) == "keys[0].crv"


def test_another_curve_with_its_own_point_is_refused():
    assert refused(jwk(ECKey.generate_key("P-521", auto_kid=True))) == "keys[0].crv"


@pytest.mark.parametrize("bits", [512, 1024, 2047, 8193, 16384])
def test_an_rsa_key_too_short_or_too_long_is_refused(bits):
    modulus = base64.urlsafe_b64encode(((1 << (bits - 1)) | 1).to_bytes((bits + 7) // 8)).rstrip(b"=").decode()
    assert refused(jwk(RSA, n=modulus)) == "keys[0].n"


def test_an_rsa_exponent_made_to_be_slow_is_refused():
    assert refused(jwk(RSA, e="AQAAAAAAAQ")) == "keys[0].e"
    assert refused(jwk(RSA, e="AQ")) == "keys[0]"


@pytest.mark.parametrize(("key", "name"), [(EC, "x"), (EC, "y"), (RSA, "n"), (RSA, "e")])
@pytest.mark.parametrize("value", [None, 7, [], "", "ü", "a b", "a+b/", "A" * 3000])
def test_a_value_that_is_not_base64url_is_refused(key, name, value):
    assert refused(jwk(key, **{name: value})) == f"keys[0].{name}"


@pytest.mark.parametrize("value", ["A", "AQAB", "AAAA", "a" * 64, "_" * 65])
def test_a_point_that_is_not_on_the_curve_is_refused(value):
    assert refused(jwk(x=value)) == "keys[0]"


@pytest.mark.parametrize("entry", [None, "key", 7, []])
def test_a_key_that_is_no_object_is_refused(entry):
    assert refused(entry) == "keys[0]"


def test_a_set_read_later_loses_only_the_keys_that_are_not_fit():
    weak = jwk(RSA, kid="weak", n="AQAB")
    found = usable_keys({"keys": [jwk(), weak, "x", jwk(RSA, kid="leaked", d="AQAB"), jwk(P256, kid="enc", use="enc"), {"kty": "oct"}]})
    assert [key.kid for key in found] == [EC.kid]


@pytest.mark.parametrize(
    ("key", "changes", "algorithm", "verifies"),
    [
        (EC, {}, "ES384", True),
        (EC, {"alg": "ES384"}, "ES384", True),
        (EC, {"alg": "ES512"}, "ES384", False),
        (EC, {}, "RS384", False),
        (P256, {}, "ES384", False),
        (RSA, {}, "RS384", True),
        (RSA, {"alg": "PS384"}, "RS384", False),
        (RSA, {}, "ES384", False),
    ],
)
def test_a_key_verifies_the_one_algorithm_of_its_kind(key, changes, algorithm, verifies):
    [found] = usable_keys({"keys": [jwk(key, **changes)]})
    assert found.verifies(algorithm) is verifies

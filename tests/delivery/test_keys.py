"""The gateway's own keys: made once, whole, for its own eyes."""

from __future__ import annotations

import json
import multiprocessing
import stat
import time

import pytest
from joserfc import jwt
from joserfc.jwk import ECKey, KeySet

from gateway.keys import KeyRing, KeyRingBroken


def rights(path):
    return stat.S_IMODE(path.stat().st_mode)


def test_the_first_start_makes_a_folder_that_nobody_else_reads(tmp_path):
    folder = tmp_path / "deep" / "keys"
    KeyRing(folder)
    assert rights(folder) == 0o700
    assert {rights(file) for file in folder.iterdir()} == {0o600}


def test_a_second_start_reads_the_same_keys(tmp_path):
    first, second = KeyRing(tmp_path / "keys"), KeyRing(str(tmp_path / "keys"))
    assert first.public_jwks() == second.public_jwks()
    assert first.cut_key == second.cut_key
    assert len(first.cut_key) == 32


def _start(folder, barrier, results):
    barrier.wait()
    ring = KeyRing(folder)
    results.put((ring.kid, ring.cut_key))


def test_two_processes_that_start_at_once_have_one_ring(tmp_path):
    context = multiprocessing.get_context("fork")
    barrier, results = context.Barrier(4), context.Queue()
    starts = [context.Process(target=_start, args=(tmp_path / "keys", barrier, results)) for _ in range(4)]
    for start in starts:
        start.start()
    seen = {results.get(timeout=20) for _ in starts}
    for start in starts:
        start.join()
    assert len(seen) == 1


def test_a_start_that_was_cut_off_is_finished_by_the_next(tmp_path):
    whole = KeyRing(tmp_path / "keys")
    (tmp_path / "keys" / "ring.json").unlink()
    (tmp_path / "keys" / "signing.json").unlink()
    finished = KeyRing(tmp_path / "keys")
    assert finished.cut_key == whole.cut_key
    assert finished.kid != whole.kid


@pytest.mark.parametrize("name", ["signing.json", "cut.key"])
def test_a_missing_file_is_named_and_not_made_anew(tmp_path, name):
    KeyRing(tmp_path / "keys")
    (tmp_path / "keys" / name).unlink()
    with pytest.raises(KeyRingBroken, match=f"{name}: missing"):
        KeyRing(tmp_path / "keys")


@pytest.mark.parametrize("name", ["signing.json", "cut.key"])
@pytest.mark.parametrize("content", [b"", b"{", b'{"keys": []}', b"\xff\xfe", b"c2VjcmV0LXNlY3JldA=="])
def test_a_broken_file_is_named_and_its_content_is_not_told(tmp_path, name, content):
    KeyRing(tmp_path / "keys")
    (tmp_path / "keys" / name).write_bytes(content)
    with pytest.raises(KeyRingBroken, match=name) as broken:
        KeyRing(tmp_path / "keys")
    assert "c2VjcmV0" not in str(broken.value)


def test_a_file_that_others_can_read_is_refused(tmp_path):
    KeyRing(tmp_path / "keys")
    (tmp_path / "keys" / "signing.json").chmod(0o644)
    with pytest.raises(KeyRingBroken, match=r"signing\.json: rights 0644"):
        KeyRing(tmp_path / "keys")


def test_a_folder_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(KeyRingBroken, match="file"):
        KeyRing(tmp_path / "file" / "keys")


def test_the_published_keys_hold_no_private_part_and_carry_their_thumbprint(tmp_path):
    published = KeyRing(tmp_path / "keys").public_jwks()["keys"]
    assert [(key["kty"], key["crv"], key["use"], key["alg"]) for key in published] == [("EC", "P-384", "sig", "ES384")]
    assert "d" not in published[0]
    assert published[0]["kid"] == ECKey.import_key(published[0]).thumbprint()


def test_the_next_and_the_retired_key_are_published_and_the_current_one_signs(tmp_path):
    ring = KeyRing(tmp_path / "keys")
    file = tmp_path / "keys" / "signing.json"
    content = json.loads(file.read_text())
    others = [{"status": status, "jwk": ECKey.generate_key("P-384").as_dict(private=True)} for status in ("next", "retired")]
    file.write_text(json.dumps({"keys": [*others, *content["keys"]]}))
    again = KeyRing(tmp_path / "keys")
    assert again.kid == ring.kid
    assert len(again.public_jwks()["keys"]) == 3


def test_two_current_keys_stop_the_start(tmp_path):
    KeyRing(tmp_path / "keys")
    file = tmp_path / "keys" / "signing.json"
    content = json.loads(file.read_text())
    file.write_text(json.dumps({"keys": content["keys"] * 2}))
    with pytest.raises(KeyRingBroken, match="exactly one"):
        KeyRing(tmp_path / "keys")


def test_an_assertion_names_the_gateway_and_the_endpoint_is_short_lived_and_used_once(tmp_path):
    ring = KeyRing(tmp_path / "keys")
    first, second = (ring.sign_assertion("https://gateway.example", "https://ehr.example/token") for _ in range(2))
    decoded = jwt.decode(first, KeySet.import_key_set(ring.public_jwks()), algorithms=["ES384"])
    assert decoded.header == {"alg": "ES384", "kid": ring.kid, "typ": "JWT"}
    claims = decoded.claims
    assert (claims["iss"], claims["sub"], claims["aud"]) == (
        "https://gateway.example",
        "https://gateway.example",
        "https://ehr.example/token",
    )
    assert 0 < claims["exp"] - time.time() <= 300
    assert claims["jti"] != jwt.decode(second, KeySet.import_key_set(ring.public_jwks()), algorithms=["ES384"]).claims["jti"]


def test_a_ring_shows_no_key(tmp_path):
    ring = KeyRing(tmp_path / "keys")
    assert ring.cut_key.hex() not in repr(ring)
    assert "keys" in repr(ring)

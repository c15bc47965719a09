"""Unknown callers are counted by reason, and logged at a bounded rate without a word of what they sent."""

from __future__ import annotations

from collections import Counter

import pytest
from structlog.testing import capture_logs

from gateway.store import security_log
from gateway.store.security_log import count_unknown_caller, unknown_callers
from tests.oauth.signing import ask, claims_of, sign


@pytest.fixture(autouse=True)
def nothing_counted(monkeypatch):
    monkeypatch.setattr(security_log, "_counted", Counter())
    monkeypatch.setattr(security_log, "_logged", {})


def test_a_flood_is_one_line_and_a_number():
    with capture_logs() as lines:
        for _ in range(1000):
            count_unknown_caller("signature")
    assert unknown_callers() == {"signature": 1000}
    assert [line["reason"] for line in lines] == ["signature"]


def test_the_next_line_says_how_many_there_were_since(monkeypatch):
    monkeypatch.setattr(security_log, "LINE_SECONDS", 0.0)
    with capture_logs() as lines:
        count_unknown_caller("signature")
        count_unknown_caller("replay")
        count_unknown_caller("signature")
    assert [(line["reason"], line["since_last_line"]) for line in lines] == [("signature", 1), ("replay", 1), ("signature", 1)]


def test_each_refusal_is_counted_by_the_check_that_failed(quiet_gateway):
    rms = quiet_gateway.as_rms
    used = rms.assertion()
    ask(rms, used)
    with capture_logs() as lines:
        ask(rms, used)
        ask(rms, "garbage")
        ask(rms, sign(rms.key, claims_of("nobody-of-this-name")))
        ask(rms, sign(quiet_gateway.as_cad.key, claims_of("rms")))
        ask(rms, sign(rms.key, claims_of("rms", aud="https://other.example/")))
        rms.http.get("/fhir/Task", headers={"Authorization": "Bearer " + "a" * 43})
    assert unknown_callers() == {"replay": 1, "unreadable": 1, "client": 1, "key": 1, "aud": 1, "bad-token": 1}
    assert "nobody-of-this-name" not in str(lines)
    assert "other.example" not in str(lines)


def test_callers_that_prove_themselves_are_not_counted(quiet_gateway):
    quiet_gateway.as_rms.ask_token()
    quiet_gateway.as_rms.ask_token(scope="system/Task.rs")
    assert unknown_callers() == {}

"""The fhir-rest channel towards a receiver's server, and the bounds of every call."""

from __future__ import annotations

import json
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from types import SimpleNamespace

import pytest
import requests
import responses

from gateway.delivery import outbound
from gateway.delivery.channels.channel import NotOpened
from gateway.delivery.channels.fhir_rest import FhirRest
from gateway.delivery.channels.smart import SmartClient
from gateway.delivery.outbound import Calls
from gateway.store.outbox import Claimed
from tests.delivery.peers import as_json, disclosed, outcome

BASE = "https://gateway.example"


@pytest.fixture
def channel(keys):
    return FhirRest(SmartClient(keys, BASE, allow_private=True), BASE)


def claimed(generation=1, held_generation=0):
    return Claimed("d1", "deliver", "clinic", "task", generation, 1, "token", 0, None, held_generation)


def push(channel, ehr, mode="create", row=None, status="requested"):
    with channel.open(ehr.address, None) as opened:
        return opened.send(row or claimed(), disclosed(mode, status))


def test_a_referral_is_pushed_by_discovery_token_and_transaction(channel, ehr, keys):
    reply = push(channel, ehr)
    assert (reply.status, reply.accepted) == (200, True)
    assert {kind for kind, _ in ehr.stored} == {"Patient", "ServiceRequest", "Task"}
    token = ehr.tokens[0]
    assert token["header"] == {"alg": "ES384", "kid": keys.kid, "typ": "JWT"}
    assert (token["claims"]["iss"], token["claims"]["sub"], token["claims"]["aud"]) == (BASE, BASE, f"{ehr.base}/token")
    assert token["form"]["grant_type"] == "client_credentials"
    assert "system/Task.cu" in token["form"]["scope"].split()


def test_the_client_id_is_the_one_the_receiver_gave(channel, ehr):
    with channel.open(ehr.address, "gateway-at-northside"):
        assert ehr.tokens[0]["claims"]["iss"] == "gateway-at-northside"


def test_discovery_falls_back_to_the_capability_statement(channel, make_ehr):
    assert push(channel, make_ehr(discovery="extension")).accepted


def test_a_receiver_without_a_token_endpoint_gets_nothing(channel, make_ehr):
    ehr = make_ehr(discovery="none")
    with pytest.raises(NotOpened) as closed:
        channel.open(ehr.address, None)
    assert closed.value.reply.issue_codes == ("no-token-endpoint",)
    assert closed.value.reply.refused_by_us
    assert ehr.pushes == []


def test_a_foreign_token_endpoint_never_sees_an_assertion(channel, make_ehr):
    ehr, thief = make_ehr(), make_ehr()
    ehr.token_endpoint = f"{thief.base}/token"
    with pytest.raises(NotOpened) as closed:
        channel.open(ehr.address, None)
    assert closed.value.reply.issue_codes == ("token-endpoint-foreign-host",)
    assert thief.requests == []


def test_a_token_is_asked_for_once_and_not_kept_past_its_time(channel, make_ehr):
    ehr = make_ehr()
    push(channel, ehr)
    push(channel, ehr)
    assert len(ehr.tokens) == 1
    hasty = make_ehr(token_seconds=0.2)
    push(channel, hasty)
    time.sleep(0.6)  # a token counts for a second at least, and half of so short a life is margin
    push(channel, hasty)
    assert len(hasty.tokens) == 2


def test_threads_share_one_token(channel, ehr):
    with ThreadPoolExecutor(4) as pool:
        replies = list(pool.map(lambda _: push(channel, ehr), range(4)))
    assert all(reply.accepted for reply in replies)
    assert len(ehr.tokens) == 1


def test_a_refused_token_is_replaced_once(channel, ehr):
    push(channel, ehr)
    ehr.good_tokens.clear()  # the receiver forgot what it gave
    reply = push(channel, ehr)
    assert reply.accepted
    assert len(ehr.tokens) == 2
    assert len(ehr.pushes) == 2


def test_a_receiver_that_refuses_every_token_is_asked_twice_and_no_more(channel, ehr, monkeypatch):
    monkeypatch.setattr(ehr, "push", lambda request: outcome(401, "login"))
    reply = push(channel, ehr)
    assert (reply.status, reply.accepted) == (401, False)
    assert sum(request.path == "/fhir" for request in ehr.requests) == 2


def test_pushing_twice_stores_once(channel, ehr):
    push(channel, ehr)
    assert push(channel, ehr).accepted
    assert all(len(found) == 1 for found in ehr.stored.values())


def test_a_newer_state_overwrites_what_the_receiver_may_hold(channel, ehr):
    push(channel, ehr)
    push(channel, ehr, row=claimed(generation=2, held_generation=1), status="cancelled")
    assert [task["status"] for task in ehr.all_of("Task")] == ["cancelled"]


def test_a_repetition_is_safe_only_where_every_pushed_type_has_conditional_create(channel, make_ehr):
    able, unable = make_ehr(), make_ehr(conditional=False)
    with channel.open(able.address, None) as opened:
        assert opened.repeatable(claimed(), disclosed())
    with channel.open(unable.address, None) as opened:
        assert not opened.repeatable(claimed(), disclosed())


@pytest.mark.parametrize(
    ("word", "status", "codes"),
    [
        ((422, "value"), 422, ("value",)),
        ((500, "exception"), 500, ("exception",)),
        ((412, "multiple-matches"), 412, ("multiple-matches",)),
        ((302, "informational", {"Location": "http://169.254.169.254/latest"}), 302, ("informational",)),
        ("html", 200, ("broken-answer",)),
        ("half", 200, ("broken-answer",)),
        ("hang-up", None, ("broken-answer",)),
    ],
)
def test_of_an_answer_only_status_and_issue_codes_are_kept(channel, ehr, word, status, codes):
    ehr.script.append(word)
    reply = push(channel, ehr)
    assert (reply.status, reply.issue_codes, reply.accepted) == (status, codes, False)
    assert "Jane" not in repr(reply)
    assert len(ehr.pushes) == 1


def test_an_entry_that_was_not_taken_fails_the_push(channel, ehr, monkeypatch):
    taken = ehr.store
    refuse = lambda entry: {"response": {"status": "422 Unprocessable"}} if entry["resource"]["resourceType"] == "Task" else taken(entry)  # noqa: E731
    monkeypatch.setattr(ehr, "store", refuse)
    reply = push(channel, ehr)
    assert (reply.status, reply.accepted, reply.in_part) == (422, False, True)


def test_retry_after_is_read(channel, ehr):
    ehr.script.append((429, "throttled", {"Retry-After": "17"}))
    assert push(channel, ehr).retry_after.total_seconds() == 17


def test_an_answer_that_trickles_ends_at_the_total_time(channel, ehr):
    ehr.script.append("trickle")
    began = time.monotonic()
    reply = push(replace(channel, call_seconds=0.6), ehr)
    assert time.monotonic() - began < 2.0  # the whole answer would take ten seconds
    assert (reply.status, reply.issue_codes, reply.begun) == (None, ("timeout",), True)


def test_a_slow_receiver_ends_at_the_total_time(channel, ehr):
    ehr.script.append("slow")
    assert push(replace(channel, call_seconds=0.3), ehr).issue_codes == ("timeout",)


def test_an_answer_without_end_is_not_read_to_it(channel, ehr, monkeypatch):
    monkeypatch.setattr(outbound, "ANSWER_BYTES", 1000)
    monkeypatch.setattr(ehr, "push", lambda request: as_json(200, {"filling": "x" * 5000}))
    assert push(channel, ehr).issue_codes == ("answer-too-long",)


@pytest.mark.parametrize("path", ["smart", "metadata"])
@pytest.mark.parametrize("status", [500, 503, 429])
def test_a_receiver_whose_discovery_fails_is_tried_later_and_gets_no_content(channel, ehr, monkeypatch, path, status):
    monkeypatch.setattr(ehr, path, lambda: outcome(status, "transient", {"Retry-After": "5"}))
    with pytest.raises(NotOpened) as closed:
        channel.open(ehr.address, None)
    reply = closed.value.reply
    assert (reply.status, reply.begun, reply.refused_by_us) == (status, False, False)
    assert ehr.pushes == []


@pytest.mark.parametrize(
    "answer",
    [
        as_json(400, {"error": "invalid_client", "error_description": "Jane Roe"}),
        as_json(401, {"error": "invalid_client"}),
        as_json(500, {}),
        as_json(200, {"token_type": "bearer"}),
        as_json(200, {"access_token": "a\r\nX-Evil: 1", "token_type": "bearer"}),
        as_json(200, {"access_token": "abc", "token_type": "mac"}),
        as_json(200, ["abc"]),
        (200, {}, b"not json"),
        (302, {"Location": "http://169.254.169.254/"}, b""),
        None,
    ],
)
def test_a_token_endpoint_that_gives_no_good_token_opens_nothing(channel, ehr, monkeypatch, answer):
    monkeypatch.setattr(ehr, "token", lambda request: answer)
    with pytest.raises(NotOpened) as closed:
        channel.open(ehr.address, None)
    reply = closed.value.reply
    assert (reply.begun, reply.refused_by_us) == (False, False)
    assert "Jane" not in repr(reply)
    assert ehr.pushes == []


@pytest.mark.parametrize("address", ["http://ehr.example/fhir", "https://10.0.0.1/fhir", "https://[::1]/fhir", "https://2130706433/fhir"])
def test_a_registered_address_that_may_not_be_called_is_not_called(keys, address):
    channel = FhirRest(SmartClient(keys, BASE, allow_private=False), BASE)
    with pytest.raises(NotOpened) as closed:
        channel.open(address, None)
    assert closed.value.reply.refused_by_us


def test_a_name_is_resolved_once_for_its_connection_and_the_judged_address_is_called(channel, ehr, monkeypatch):
    port = int(ehr.base.rpartition(":")[2])
    asked, real = [], socket.getaddrinfo

    def rebinding(host, *args, **kwargs):
        if host != "ehr.test":
            return real(host, *args, **kwargs)
        asked.append(host)
        answer = "127.0.0.1" if len(asked) == 1 else "169.254.169.254"
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (answer, port))]

    monkeypatch.setattr(socket, "getaddrinfo", rebinding)
    ehr.token_endpoint = f"http://ehr.test:{port}/token"
    with channel.open(f"http://ehr.test:{port}/fhir", None) as opened:
        assert opened.send(claimed(), disclosed()).accepted
    assert asked == ["ehr.test"]
    assert ehr.requests[0].headers["Host"] == f"ehr.test:{port}"


def test_no_session_can_be_led_elsewhere_by_a_redirect(ehr, monkeypatch):
    monkeypatch.setattr(ehr, "metadata", lambda: (307, {"Location": f"{ehr.base}/elsewhere"}, b""))
    with Calls(lambda address: None, allow_private=True) as calls:
        session = calls.prepare(requests.Session())
        assert session.get(f"{ehr.address}/metadata", allow_redirects=True).status_code == 307
    assert [request.path for request in ehr.requests] == ["/fhir/metadata"]


def test_a_proxy_of_the_environment_is_not_used(channel, ehr, monkeypatch):
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    assert push(channel, ehr).accepted


@responses.activate
def test_the_wire_towards_a_receiver_over_https(keys):
    base = "https://ehr.northside.example/fhir"
    smart = {"token_endpoint": "https://ehr.northside.example/token", "scopes_supported": ["system/*.cruds", "system/*.write"]}
    responses.get(f"{base}/.well-known/smart-configuration", json=smart)
    responses.get(f"{base}/metadata", json={"resourceType": "CapabilityStatement"})
    responses.post("https://ehr.northside.example/token", json={"access_token": "abc", "token_type": "Bearer", "expires_in": 300})
    responses.post(base, json={"resourceType": "Bundle", "type": "transaction-response", "entry": [{"response": {"status": "201"}}] * 3})
    channel = FhirRest(SmartClient(keys, BASE, allow_private=False), BASE)
    reply = push(channel, SimpleNamespace(address=base))
    assert reply.accepted
    pushed = responses.calls[-1].request
    assert pushed.headers["Authorization"] == "Bearer abc"
    assert pushed.headers["Content-Type"] == "application/fhir+json"
    assert json.loads(pushed.body)["type"] == "transaction"
    assert "scope=system%2F%2A.cruds" in responses.calls[2].request.body

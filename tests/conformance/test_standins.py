"""The stand-ins are real: they check the gateway as strictly as a peer would, keep what they got, and misbehave exactly as told."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import socket
import threading
import time
from datetime import UTC, datetime, timedelta
from urllib.parse import urlsplit
from uuid import uuid4

import pytest
import requests
from http_message_signatures import HTTPMessageSigner, HTTPSignatureKeyResolver, algorithms
from joserfc import jwt
from joserfc.jwk import ECKey
from werkzeug.serving import make_server

from conformance.keys import make_keys
from conformance.standins.client import ASSERTION_TYPE
from conformance.standins.ehr import Ehr
from conformance.standins.rms import Rms
from conformance.wire import WireLog
from tests.conformance.reference_server import EXAMPLE, Reference
from tests.conformance.served import Quiet, clients_of, make_parties, serving

FHIR_JSON = "application/fhir+json"
SYSTEM = "https://crisis-referral-gateway.org/fhir/sid/copy"


class Gateway(Reference):
    """The reference, with one key of its own that the stand-ins can look up."""

    def jwks(self):
        return {"keys": [self.own_key.as_dict(private=False)]}


Gateway.own_key = ECKey.generate_key("P-384", auto_kid=True)


@contextlib.contextmanager
def listening(build):
    """Serve an application that must know its own address."""
    late = {}

    def dispatch(environ, start):
        return late["app"](environ, start)

    server = make_server("127.0.0.1", 0, dispatch, threaded=True, request_handler=Quiet)
    made = build(f"http://127.0.0.1:{server.port}")
    late["app"] = made.app
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield made
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture(scope="module")
def parties(tmp_path_factory):
    return make_parties(tmp_path_factory.mktemp("keys"))


@pytest.fixture
def gateway(parties):
    with serving(Gateway, parties) as made:
        yield made


@pytest.fixture
def ehr(gateway, tmp_path):
    keys = make_keys(tmp_path / "ehr")
    gateway.clients["kit-receiver"].keys = {str(key.kid): key for key in keys}
    wire = WireLog(tmp_path / "wire")
    with listening(
        lambda base: Ehr(base, gateway.base_url, tmp_path / "ehr", client_id="kit-receiver", scope="system/Task.rus", wire=wire)
    ) as made:
        yield made


@pytest.fixture
def rms(gateway, tmp_path):
    keys = make_keys(tmp_path / "rms")
    gateway.clients["kit-sender"].keys = {str(key.kid): key for key in keys}
    with listening(lambda base: Rms(base, gateway.base_url, tmp_path / "rms", client_id="kit-sender")) as made:
        yield made


def assertion(ehr, key=Gateway.own_key, alg="ES384", **changes):
    now = int(time.time())
    claims = {"iss": "gateway", "sub": "gateway", "aud": f"{ehr.base_url}/oauth/token", "exp": now + 200, "jti": str(uuid4()), **changes}
    header = {"alg": alg, "kid": Gateway.own_key.kid, "typ": "JWT"}
    return jwt.encode(header, {name: value for name, value in claims.items() if value is not None}, key, algorithms=[alg])


def ask(ehr, made):
    form = {"grant_type": "client_credentials", "scope": "system/*.cu", "client_assertion_type": ASSERTION_TYPE, "client_assertion": made}
    return requests.post(f"{ehr.base_url}/oauth/token", data=form, timeout=5)


def push(ehr, bundle, token=None):
    token = token or ask(ehr, assertion(ehr)).json()["access_token"]
    headers = {"Authorization": f"Bearer {token}", "Content-Type": FHIR_JSON}
    return requests.post(f"{ehr.base_url}/fhir", json=bundle, headers=headers, timeout=5)


def a_bundle(gateway=None, task="t-1", number="1", method="POST", status="requested"):
    patient = {"resourceType": "Patient", "identifier": [{"system": SYSTEM, "value": f"p|{number}"}]}
    address = f"{gateway.base_url if gateway else 'http://elsewhere.example'}/fhir/Task/{task}"
    live = {"system": "urn:ietf:rfc:3986", "value": address}
    job = {
        "resourceType": "Task",
        "meta": {"source": address},
        "identifier": [{"system": SYSTEM, "value": f"t|{number}"}, live],
        "status": status,
        "intent": "order",
        "for": {"reference": "urn:uuid:6f5d4f43-7a24-4b0c-9a44-2a1d1c4e6b10"},
    }

    def request(kind, value):
        criterion = f"identifier={SYSTEM.replace(':', '%3A').replace('/', '%2F')}%7C{value}%5C%7C{number}"
        return (
            {"method": "POST", "url": kind, "ifNoneExist": criterion}
            if method == "POST"
            else {"method": "PUT", "url": f"{kind}?{criterion}"}
        )

    return {
        "resourceType": "Bundle",
        "type": "transaction",
        "entry": [
            {"fullUrl": "urn:uuid:6f5d4f43-7a24-4b0c-9a44-2a1d1c4e6b10", "resource": patient, "request": request("Patient", "p")},
            {"fullUrl": "urn:uuid:6f5d4f43-7a24-4b0c-9a44-2a1d1c4e6b11", "resource": job, "request": request("Task", "t")},
        ],
    }


def state(standin):
    return requests.get(f"{standin.base_url}/control/state", timeout=5).json()


def behave(standin, **behaviour):
    answer = requests.post(f"{standin.base_url}/control", json={"behaviour": behaviour}, timeout=5)
    assert answer.status_code == 200, answer.text


def wait_for(found, seconds=5):
    ends = time.monotonic() + seconds
    while not found() and time.monotonic() < ends:
        time.sleep(0.02)
    return found()


def test_the_ehr_gives_a_token_for_a_good_assertion_of_the_gateway(ehr):
    answer = ask(ehr, assertion(ehr))
    assert answer.status_code == 200
    assert answer.json()["token_type"] == "bearer"
    assert answer.headers["Cache-Control"] == "no-store"


@pytest.mark.parametrize(
    "broken",
    [
        {"aud": "https://other.example/oauth/token"},
        {"exp": int(time.time()) - 100},
        {"exp": int(time.time()) + 4000},
        {"exp": None},
        {"jti": None},
        {"sub": "another"},
        {"key": ECKey.generate_key("P-384")},
    ],
    ids=lambda broken: next(iter(broken)),
)
def test_the_ehr_refuses_an_assertion_that_is_wrong_in_one_thing(ehr, broken):
    answer = ask(ehr, assertion(ehr, **broken))
    assert (answer.status_code, answer.json()["error"]) == (401, "invalid_client")


def test_the_ehr_takes_an_assertion_once(ehr):
    made = assertion(ehr)
    assert ask(ehr, made).status_code == 200
    assert ask(ehr, made).status_code == 401


def test_without_a_token_of_its_own_the_ehr_takes_nothing(ehr):
    assert push(ehr, a_bundle(), token="invented").status_code == 401
    assert state(ehr)["counts"] == {}


def test_a_transaction_sent_twice_is_stored_once_and_its_references_lead_to_what_was_stored(ehr):
    first, second = push(ehr, a_bundle()), push(ehr, a_bundle())
    assert [entry["response"]["status"] for entry in first.json()["entry"]] == ["201 Created", "201 Created"]
    assert [entry["response"]["status"] for entry in second.json()["entry"]] == ["200 OK", "200 OK"]
    held = state(ehr)
    assert held["counts"] == {"Patient": 1, "Task": 1}
    assert held["resources"]["Task"][0]["for"]["reference"] == f"Patient/{held['resources']['Patient'][0]['id']}"


def test_a_conditional_update_makes_a_new_version_of_the_same_resource(ehr):
    push(ehr, a_bundle())
    answer = push(ehr, a_bundle(method="PUT", status="cancelled"))
    assert [entry["response"]["status"] for entry in answer.json()["entry"]] == ["200 OK", "200 OK"]
    task = state(ehr)["resources"]["Task"][0]
    assert (task["status"], task["meta"]["versionId"]) == ("cancelled", "2")


def test_of_a_transaction_with_a_bad_entry_nothing_is_stored(ehr):
    bundle = a_bundle()
    bundle["entry"][1]["request"]["ifNoneExist"] = "_lastUpdated=gt2020"
    assert push(ehr, bundle).status_code == 400
    assert state(ehr)["counts"] == {}


def test_the_ehr_refuses_what_is_no_valid_r4(ehr):
    bundle = a_bundle(status="banana")
    assert push(ehr, bundle).status_code == 422
    assert state(ehr)["counts"] == {}


def test_an_ehr_without_conditional_create_says_so_and_stores_a_second_copy(ehr):
    behave(ehr, conditional_create=False)
    push(ehr, a_bundle())
    push(ehr, a_bundle())
    assert state(ehr)["counts"] == {"Patient": 2, "Task": 2}
    statement = requests.get(f"{ehr.base_url}/fhir/metadata", timeout=5).json()
    assert not any(each["conditionalCreate"] for each in statement["rest"][0]["resource"])


def test_a_told_status_comes_so_often_and_no_more(ehr):
    behave(ehr, status=503, status_count=2, retry_after_seconds=7)
    token = ask(ehr, assertion(ehr)).json()["access_token"]
    answers = [push(ehr, a_bundle(), token) for _ in range(3)]
    assert [answer.status_code for answer in answers] == [503, 503, 200]
    assert answers[0].headers["Retry-After"] == "7"


def test_a_lost_answer_leaves_the_resource_stored(ehr):
    token = ask(ehr, assertion(ehr)).json()["access_token"]
    behave(ehr, lose_answers=1)
    with pytest.raises(requests.ConnectionError):
        push(ehr, a_bundle(), token)
    assert state(ehr)["counts"] == {"Patient": 1, "Task": 1}
    assert push(ehr, a_bundle(), token).status_code == 200
    assert state(ehr)["counts"] == {"Patient": 1, "Task": 1}


def test_a_garbled_answer_leaves_the_resource_stored(ehr):
    behave(ehr, garble_answers=1)
    token = ask(ehr, assertion(ehr)).json()["access_token"]
    answer = push(ehr, a_bundle(), token)
    assert answer.status_code == 200
    with pytest.raises(ValueError):
        answer.json()
    assert state(ehr)["counts"] == {"Patient": 1, "Task": 1}


def test_a_doubled_answer_is_the_same_answer_twice_on_one_connection(ehr):
    token = ask(ehr, assertion(ehr)).json()["access_token"]
    behave(ehr, double_answers=1)
    body = json.dumps(a_bundle()).encode()
    with socket.create_connection(("127.0.0.1", urlsplit(ehr.base_url).port), 5) as connection:
        fields = f"Host: ehr\r\nAuthorization: Bearer {token}\r\nContent-Type: {FHIR_JSON}\r\nContent-Length: {len(body)}\r\n"
        connection.sendall(f"POST /fhir HTTP/1.1\r\n{fields}Connection: close\r\n\r\n".encode() + body)
        heard = b"".join(iter(lambda: connection.recv(65_536), b""))
    assert heard.count(b"transaction-response") == 2
    assert state(ehr)["counts"] == {"Patient": 1, "Task": 1}


def test_a_slow_ehr_is_slow_and_tokens_are_refused_so_often(ehr):
    behave(ehr, slow_seconds=0.3, refuse_tokens=1)
    assert ask(ehr, assertion(ehr)).status_code == 401
    token = ask(ehr, assertion(ehr)).json()["access_token"]
    begun = time.monotonic()
    push(ehr, a_bundle(), token)
    assert time.monotonic() - begun >= 0.3


@pytest.mark.parametrize(
    "wanted", [{"banana": 1}, {"status": "503"}, {"status": 200}, {"answer": "perhaps"}, {"slow_seconds": -1}, {"lose_answers": True}]
)
def test_an_unknown_behaviour_is_refused_and_changes_nothing(ehr, wanted):
    before = state(ehr)["behaviour"]
    assert requests.post(f"{ehr.base_url}/control", json={"behaviour": {"retry_after_seconds": 3, **wanted}}, timeout=5).status_code == 400
    assert state(ehr)["behaviour"] == before


def test_the_control_address_is_for_this_machine_alone(ehr):
    answer = ehr.app.test_client().get("/control/state", environ_base={"REMOTE_ADDR": "192.0.2.7"})
    assert answer.status_code == 403


def referred(gateway, rms):
    answer = requests.post(f"{rms.base_url}/control/send", json={"message": {**EXAMPLE, "request_number": str(uuid4())}}, timeout=5).json()
    assert answer["status"] == 201, answer
    receipt = answer["body"]["receipt"]
    task = next(each.task for each in gateway.referrals.values() if each.receipt == receipt)
    return receipt, task


@pytest.mark.parametrize(
    ("told", "status", "answers"), [("accept", "accepted", [200]), ("decline", "rejected", [200]), ("accept-twice", "accepted", [200, 412])]
)
def test_the_ehr_answers_a_pushed_task_at_the_gateway_as_told(gateway, ehr, rms, told, status, answers):
    _, task = referred(gateway, rms)
    behave(ehr, answer=told, answer_after_seconds=0.05)
    push(ehr, a_bundle(gateway, task))
    assert wait_for(lambda: len(state(ehr)["answers"]) == len(answers))
    assert sorted(answer["status"] for answer in state(ehr)["answers"]) == answers
    assert gateway.held["Task", task].body["status"] == status


def test_a_task_pushed_again_is_not_answered_again(gateway, ehr, rms):
    _, task = referred(gateway, rms)
    behave(ehr, answer="accept")
    push(ehr, a_bundle(gateway, task))
    push(ehr, a_bundle(gateway, task))
    assert wait_for(lambda: state(ehr)["answers"])
    time.sleep(0.1)
    assert len(state(ehr)["answers"]) == 1


def test_a_person_at_the_ehr_accepts_reports_and_completes(gateway, ehr, rms):
    _, task = referred(gateway, rms)

    def act(name, **asked):
        return requests.post(f"{ehr.base_url}/control/{name}", json=asked, timeout=5).json()["status"]

    assert act("accept") == 200
    assert act("progress", task=task, status="in-progress", elements={"note": [{"text": "met at the station"}]}) == 200
    assert act("complete", task=task) == 200
    assert gateway.held["Task", task].body["status"] == "completed"
    assert requests.post(f"{ehr.base_url}/control/accept", json={}, timeout=5).status_code == 409


def test_the_rms_reads_and_withdraws_its_request(gateway, rms):
    receipt, _ = referred(gateway, rms)
    assert requests.post(f"{rms.base_url}/control/read", json={"receipt": receipt}, timeout=5).json()["body"]["status"] == "received"
    assert requests.post(f"{rms.base_url}/control/cancel", json={"receipt": receipt}, timeout=5).json()["body"]["status"] == "closed"
    assert state(rms)["receipts"][receipt]["status"] == "closed"


def test_a_silent_gateway_and_a_refused_client_are_said_in_a_word(gateway, rms):
    rms.client.base_url = "http://127.0.0.1:9"
    answer = requests.post(f"{rms.base_url}/control/read", json={"receipt": "r"}, timeout=5)
    assert (answer.status_code, answer.json()) == (502, {"error": "the gateway did not answer (ConnectionError)"})
    rms.client.base_url = gateway.base_url
    gateway.clients["kit-sender"].keys = {}
    answer = requests.post(f"{rms.base_url}/control/read", json={"receipt": "r"}, timeout=5)
    assert answer.status_code == 502
    assert "invalid_client" in answer.json()["error"]


class OwnKey(HTTPSignatureKeyResolver):
    def resolve_private_key(self, key_id):
        return Gateway.own_key.private_key


COVERED = ("@method", "@target-uri", "content-digest", "content-type", "crisis-delivery-id")


def call_back(
    rms,
    body=b'{"receipt":"r-1","status":"closed"}',
    *,
    covered=COVERED,
    kid=None,
    created=None,
    tag="crisis-referral-callback",
    sent=None,
    url=None,
):
    headers = {
        "Content-Type": "application/json",
        "Crisis-Delivery-Id": "d-1",
        "Content-Digest": f"sha-256=:{base64.b64encode(hashlib.sha256(body).digest()).decode()}:",
    }
    target = f"{rms.base_url}/diversion-status"
    prepared = requests.Request("POST", url or target, headers=headers, data=body).prepare()
    signer = HTTPMessageSigner(signature_algorithm=algorithms.ECDSA_P384_SHA384, key_resolver=OwnKey())
    signer.sign(
        prepared,
        key_id=kid or Gateway.own_key.kid,
        created=created or datetime.now(UTC),
        label="gateway",
        tag=tag,
        covered_component_ids=covered,
        use_existing_digest=True,
    )
    prepared.url = target
    if sent is not None:
        prepared.body = sent
        prepared.headers["Content-Length"] = str(len(sent))
    with requests.Session() as session:
        return session.send(prepared, timeout=5)


def test_the_rms_takes_a_callback_the_gateway_signed(rms):
    assert call_back(rms).status_code == 204
    kept = state(rms)
    assert [callback["verified"] for callback in kept["callbacks"]] == [True]
    assert kept["receipts"]["r-1"]["status"] == "closed"
    assert call_back(rms).status_code == 204
    assert [callback["repeated"] for callback in state(rms)["callbacks"]] == [False, True]


@pytest.mark.parametrize(
    "broken",
    [
        {"sent": b'{"receipt":"r-1","status":"accept"}'},
        {"covered": ("@method", "@target-uri")},
        {"covered": ("@method", "content-digest")},
        {"kid": "unknown"},
        {"tag": "another"},
        {"created": datetime.now(UTC) - timedelta(hours=1)},
        {"url": "http://elsewhere.example/diversion-status"},
    ],
    ids=lambda broken: next(iter(broken)),
)
def test_the_rms_refuses_a_callback_that_is_not_proven(rms, broken):
    assert call_back(rms, **broken).status_code == 401
    assert state(rms)["receipts"] == {}


def test_the_rms_refuses_a_callback_without_a_signature(rms):
    assert requests.post(f"{rms.base_url}/diversion-status", json={"receipt": "r-1"}, timeout=5).status_code == 401


def test_what_crossed_the_wire_is_kept_in_order_and_without_credentials(ehr, tmp_path):
    made = assertion(ehr)
    token = ask(ehr, made).json()["access_token"]
    push(ehr, a_bundle(), token)
    files = sorted((tmp_path / "wire").glob("*.http"))
    assert [file.name.partition("-")[2] for file in files] == ["gateway-ehr.http", "ehr-gateway.http", "gateway-ehr.http"]
    text = "".join(file.read_text() for file in files) + (tmp_path / "ehr" / "requests.jsonl").read_text()
    assert token not in text
    assert made not in text
    assert made.split(".")[2] not in text
    assert '"resourceType": "Patient"' in text
    lines = [json.loads(line) for line in (tmp_path / "ehr" / "requests.jsonl").read_text().splitlines()]
    assert [(line["request"].split()[1], line["status"]) for line in lines] == [("/oauth/token", 200), ("/fhir", 200)]


def test_a_private_key_is_readable_by_its_owner_alone_and_not_published(tmp_path):
    make_keys(tmp_path, rsa=True)
    assert (tmp_path / "key.json").stat().st_mode & 0o077 == 0
    assert all("d" not in key and "p" not in key for key in json.loads((tmp_path / "jwks.json").read_text())["keys"])


def test_clients_keep_their_keys_over_restarts(tmp_path, parties):
    first = [key.kid for key in make_keys(tmp_path)]
    assert [key.kid for key in make_keys(tmp_path)] == first
    assert clients_of(parties)

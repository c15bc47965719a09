"""The first bucket: who asks too often is refused, by what it proved to be, without a row, a write or a signature check."""

from __future__ import annotations

import pytest

from gateway.app import create_app
from gateway.errors import Throttled
from gateway.oauth import assertion
from gateway.services import Services
from gateway.settings import Settings
from gateway.store.security_log import unknown_callers
from gateway.web.limits import Buckets, site_of

BAD = {"Authorization": f"Bearer {'x' * 43}"}


@pytest.fixture
def limited(gateway):
    """The same gateway, with room for `burst` requests at once and hardly any after them."""

    def make(*, client=0, unknown=0):
        old = gateway.services
        settings = Settings.from_environment(
            {
                "CRISIS_GATEWAY_DATABASE_URL": old.settings.database_url,
                "CRISIS_GATEWAY_BASE_URL": old.settings.base_url,
                "CRISIS_GATEWAY_ALLOW_PRIVATE_ADDRESSES": "true",
                "CRISIS_GATEWAY_CLIENT_REQUESTS_PER_SECOND": str(client),
                "CRISIS_GATEWAY_UNKNOWN_REQUESTS_PER_SECOND": str(unknown),
            }
        )
        return create_app(Services(settings, old.database, old.validator, old.keys, old.key_sets)).test_client()

    return make


def until_throttled(ask, most=60):
    """Ask until the answer is 429, and return it with how many came before."""
    for count in range(most):
        answer = ask()
        if answer.status_code == 429:
            return answer, count
    raise AssertionError("never throttled")


def form_of(actor):
    return {
        "grant_type": "client_credentials",
        "client_assertion_type": "urn:ietf:params:oauth:client-assertion-type:jwt-bearer",
        "client_assertion": actor.assertion(),
    }


def test_a_client_that_asks_too_often_waits_and_leaves_no_row(gateway, limited):
    http, headers = limited(client=1), {"Authorization": f"Bearer {gateway.as_alder_ehr.token}"}
    before = len(gateway.audit())
    answer, answered = until_throttled(lambda: http.get("/fhir/Task", headers=headers))
    assert answered >= 2
    assert answer.json["issue"][0]["code"] == "throttled"
    assert int(answer.headers["Retry-After"]) >= 1
    assert len(gateway.audit()) - before == answered
    others = {"Authorization": f"Bearer {gateway.as_birch_ehr.token}"}
    assert http.get("/fhir/Task", headers=others).status_code == 200


def test_bad_tokens_of_one_address_are_refused_and_a_known_caller_there_is_not(gateway, limited):
    http = limited(unknown=1)
    answer, refused = until_throttled(lambda: http.get("/fhir/Task", headers=BAD))
    assert refused >= 5
    assert answer.headers["Retry-After"]
    assert "WWW-Authenticate" not in answer.headers
    headers = {"Authorization": f"Bearer {gateway.as_alder_ehr.token}"}
    assert http.get("/fhir/Task", headers=headers).status_code == 200
    assert http.get("/fhir/Task", headers=BAD, environ_base={"REMOTE_ADDR": "192.0.2.7"}).status_code == 401


def test_a_flood_at_the_token_endpoint_has_no_signature_checked(gateway, limited, monkeypatch):
    http = limited(unknown=1)
    checked = []
    real = assertion._require_signature
    monkeypatch.setattr(assertion, "_require_signature", lambda *given: (checked.append(1), real(*given)))
    before = unknown_callers().get("throttled", 0)
    answer, answered = until_throttled(lambda: http.post("/oauth/token", data=form_of(gateway.as_rms)))
    assert len(checked) == answered >= 5
    assert answer.json["error"] == "temporarily_unavailable"
    assert int(answer.headers["Retry-After"]) >= 1
    assert unknown_callers()["throttled"] == before + 1
    elsewhere = http.post("/oauth/token", data=form_of(gateway.as_rms), environ_base={"REMOTE_ADDR": "2001:db8::7"})
    assert elsewhere.status_code == 200


def test_a_forwarded_address_is_not_believed(limited):
    http = limited(unknown=1)
    numbers = iter(range(60))
    until_throttled(lambda: http.get("/fhir/Task", headers={**BAD, "X-Forwarded-For": f"192.0.2.{next(numbers)}"}))


def test_without_a_token_and_at_public_addresses_nobody_is_counted(limited):
    http = limited(unknown=1, client=1)
    for path, status in (("/fhir/Task", 401), ("/fhir/metadata", 200), ("/oauth/jwks", 200), ("/healthz", 200)):
        assert {http.get(path).status_code for _ in range(20)} == {status}


def test_zero_is_no_limit(gateway, limited):
    http, headers = limited(), {"Authorization": f"Bearer {gateway.as_alder_ehr.token}"}
    assert {http.get("/fhir/Nothing", headers=headers).status_code for _ in range(30)} == {404}
    assert {http.get("/fhir/Task", headers=BAD).status_code for _ in range(200)} == {401}


def test_the_defaults_leave_room_for_a_burst_of_any_kit_or_clinic():
    assert (Settings().client_requests_per_second, Settings().unknown_requests_per_second) == (2000, 200)


class Clock:
    now = 1000.0

    def __call__(self):
        return self.now


def taken(buckets, key, most=1000):
    """How many can be taken at once now."""
    for count in range(most):
        try:
            buckets.take(key)
        except Throttled:
            return count
    return most


def test_a_bucket_is_full_at_first_and_fills_by_its_rate():
    clock = Clock()
    buckets = Buckets(20, 100, clock=clock)
    assert taken(buckets, "a") == 100
    clock.now += 0.5
    assert taken(buckets, "a") == 10
    clock.now += 3600
    assert taken(buckets, "a") == 100
    assert taken(buckets, "b") == 100


def test_the_wait_that_is_told_is_long_enough():
    clock = Clock()
    buckets = Buckets(0.1, 1, clock=clock)
    buckets.take("a")
    with pytest.raises(Throttled) as refused:
        buckets.take("a")
    clock.now += refused.value.retry_after_seconds
    buckets.take("a")


def test_who_keeps_asking_while_refused_is_answered_at_the_rate_all_the_same():
    clock = Clock()
    buckets = Buckets(10, 10, clock=clock)
    taken(buckets, "a")
    answered = 0
    for _ in range(100):
        clock.now += 0.02
        answered += taken(buckets, "a", most=1)
    assert answered in (19, 20)


def test_only_so_many_keys_are_remembered_and_the_latest_stay():
    buckets = Buckets(1, 2, clock=Clock(), max_keys=100)
    for number in range(5000):
        buckets.take(f"192.0.2.{number}")
    assert len(buckets) == 100
    buckets.take("192.0.2.4999")
    with pytest.raises(Throttled):
        buckets.take("192.0.2.4999")


@pytest.mark.parametrize(
    ("address", "site"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::1", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("", ""),
        ("a socket", "a socket"),
    ],
)
def test_addresses_of_one_machine_are_counted_together(address, site):
    assert site_of(address) == site

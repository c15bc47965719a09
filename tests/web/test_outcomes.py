"""One table from failure to answer; a refusal to a known caller leaves one audit row, and nothing of what it refused."""

from __future__ import annotations

import inspect

import pytest

from gateway import errors
from gateway.access.disclosed import Withheld
from gateway.app import create_app
from gateway.errors import Failure, OAuthFailure, Unavailable
from gateway.web import outcomes
from tests.builders import an_rms_message

ISSUE_CODES = {
    400: {"structure"},
    401: {"login", "expired"},
    403: {"forbidden"},
    404: {"not-found"},
    405: {"not-supported"},
    406: {"not-supported"},
    409: {"duplicate"},
    410: {"deleted"},
    412: {"conflict"},
    413: {"too-long", "too-costly"},
    415: {"not-supported"},
    422: {"value", "business-rule"},
    428: {"required"},
    429: {"throttled"},
    500: {"exception"},
    503: {"transient"},
}


def every_failure():
    found = [kind for _, kind in inspect.getmembers(errors, inspect.isclass) if issubclass(kind, Failure)]
    return [*found, Withheld]


def without_a_row(kinds):
    return [kind.__name__ for kind in kinds if kind not in outcomes.STATUSES and not issubclass(kind, OAuthFailure)]


def test_every_failure_has_a_row_of_its_own():
    assert without_a_row(every_failure()) == []


def test_a_planted_failure_without_a_row_is_found():
    class Planted(Failure):
        pass

    assert without_a_row([*every_failure(), Planted]) == ["Planted"]


def test_every_row_answers_with_the_issue_code_of_its_status():
    for kind, status in outcomes.STATUSES.items():
        assert kind.code in ISSUE_CODES[status], kind


class Stumbled(Exception):
    pass


def broken_app(gateway):
    app = create_app(gateway.services)

    def stumble(*_args):
        raise Stumbled("the person's name is Jamie Marsh")

    app.view_functions = {**app.view_functions, "health.healthz": stumble}
    return app


def test_anything_else_is_a_500_with_a_fixed_text_and_the_request_id(gateway):
    answer = broken_app(gateway).test_client().get("/healthz")
    assert answer.status_code == 500
    assert answer.json["issue"] == [{"severity": "error", "code": "exception", "details": {"text": Failure.text}}]
    assert answer.json["id"] == answer.headers["X-Request-Id"]
    assert "Jamie" not in answer.get_data(as_text=True) + str(answer.headers)


def test_a_refusal_to_a_known_caller_leaves_exactly_one_audit_row_with_its_code(gateway):
    before = len(gateway.audit())
    refused = [
        gateway.as_alder_ehr.get("/fhir/Patient/never"),
        gateway.as_rms.get("/fhir/Task"),
        gateway.as_rms.send("{"),
        gateway.as_rms.send(an_rms_message(door="trapdoor")),
        gateway.as_alder_ehr.call("DELETE", "/fhir/Task/1"),
    ]
    rows = gateway.audit()[before:]
    assert [answer.status_code for answer in refused] == [404, 403, 400, 422, 405]
    assert [row.outcome for row in rows] == ["refused"] * 5
    assert [row.action for row in rows][:3] == ["read", "search", "intake"]
    assert not any("trapdoor" in row.body for row in rows)


def test_unknown_callers_cost_no_row(gateway):
    before = len(gateway.audit())
    for _ in range(5):
        gateway.app.test_client().get("/fhir/Task", headers={"Authorization": "Bearer never-given"})
    assert len(gateway.audit()) == before


def test_without_its_audit_row_a_refusal_is_not_answered_but_503(gateway, monkeypatch):
    token = gateway.as_alder_ehr.token

    def unwritable(*_args, **_more):
        raise Unavailable

    monkeypatch.setattr(outcomes, "record_refusal", unwritable)
    answer = gateway.app.test_client().get("/fhir/Patient/never", headers={"Authorization": f"Bearer {token}"})
    assert answer.status_code == 503
    assert answer.headers["Retry-After"]


@pytest.mark.parametrize(
    ("headers", "body", "status"),
    [
        ({}, b"x" * 300_000, 413),
        ({"Content-Type": "text/plain"}, b"{}", 415),
        ({"Content-Type": "application/xml"}, b"<a/>", 415),
    ],
)
def test_a_body_that_is_too_long_or_of_another_kind_is_refused_unread(gateway, headers, body, status):
    answer = gateway.as_rms.call("POST", "/intake/rms-diversion", data=body, headers={"Content-Type": "application/json", **headers})
    assert answer.status_code == status


def test_only_json_is_offered(gateway):
    assert gateway.as_alder_ehr.get("/fhir/Task", headers={"Accept": "application/fhir+xml"}).status_code == 406
    both = {"Accept": "application/fhir+xml, application/fhir+json;q=0.5"}
    assert gateway.as_alder_ehr.get("/fhir/Task", headers=both).status_code == 200

"""Audit rows: valid AuditEvents, one for each event, with ids and codes only."""

from __future__ import annotations

import base64
import json

import pytest

from gateway.access.disclosed import Withheld
from gateway.audit.events import AuditFacts, audit_event, audit_rows, record_refusal
from gateway.errors import NotFound, Unavailable
from gateway.store.database import Database
from profiles import engine
from tests.access.case import a_caller

FULL = AuditFacts(
    event="search",
    client="c",
    organization="clinic",
    purpose="TREAT",
    request_id="r-1",
    policy_rows=("A01", "A04"),
    entities=("Task/1/_history/2",),
    consents=("Consent/3/_history/1",),
    patients=("Patient/4",),
    query="Task?status=requested",
    referral="5",
)


@pytest.mark.parametrize(
    "event", ["read", "search", "update", "patch", "offer", "deliver", "callback", "intake", "cancel", "dry-run", "ledger"]
)
@pytest.mark.parametrize("failure", [None, "not-found"])
def test_every_row_is_a_valid_audit_event(event: str, failure: str | None) -> None:
    from dataclasses import replace

    made = audit_event("0190a0b0-0000-7000-8000-000000000000", "2026-11-24T12:00:00.000+00:00", replace(FULL, event=event, failure=failure))
    assert [issue for issue in engine.r4().validate(json.loads(json.dumps(made))) if issue.severity == "error"] == []


def test_a_row_says_who_what_why_and_on_which_ground() -> None:
    made = audit_event("x", "2026-11-24T12:00:00Z", FULL)
    assert made["purposeOfEvent"][0]["coding"][0]["code"] == "TREAT"
    assert [policy.rsplit("/", 1)[1] for policy in made["agent"][0]["policy"]] == ["A01", "A04"]
    assert [agent["who"].get("identifier", {}).get("value") for agent in made["agent"]] == ["c", "clinic", None]
    queries = [entity["query"] for entity in made["entity"] if "query" in entity]
    assert [base64.b64decode(query).decode() for query in queries] == ["Task?status=requested"]
    references = [entity.get("what", {}).get("reference") for entity in made["entity"]]
    assert {"Task/1/_history/2", "Consent/3/_history/1", "Patient/4"} <= set(references)


def test_a_refusal_writes_one_row_with_the_policy_row_and_no_words(database: Database) -> None:
    record_refusal(database, a_caller("clinic"), Withheld("N03"), event="read", target="Patient/secret")
    record_refusal(database, a_caller("clinic"), NotFound(), event="read", target="Patient/secret")
    with database.read() as unit:
        rows = audit_rows(unit, client="clinic-client")
    assert [(row.outcome, row.policy_row) for row in rows] == [("refused", "N03"), ("refused", "")]
    assert "secret" not in rows[0].body  # the address asked for is in the query, base64, and nowhere else
    assert json.loads(rows[0].body)["outcomeDesc"] == "not-found"


def test_a_store_out_of_reach_is_not_written_to(database: Database) -> None:
    record_refusal(database, a_caller("clinic"), Unavailable(), event="read")
    with database.read() as unit:
        assert audit_rows(unit, client="clinic-client") == []

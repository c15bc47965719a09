"""What leaves unasked, the answers of writes, and the seal: nobody but the records makes a Disclosed."""

from __future__ import annotations

import ast
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import gateway
from gateway.access import records
from gateway.access.disclosed import Disclosed, Reader, ViewPermit
from gateway.access.records import Held, Withheld
from gateway.audit.events import audit_rows
from gateway.errors import NotFound, VersionConflict
from gateway.store import registry
from gateway.store.database import Unit
from tests.access.case import Case, a_caller, a_consent


def organization(unit: Unit, key: str) -> registry.Organization:
    found = registry.find_organization(unit, key)
    assert found is not None
    return found


def deliver(case: Case, helds: list[Held], *, to: str = "clinic") -> Disclosed:
    return case.database.write(
        lambda unit: records.disclose_bundle(
            unit, helds, organization(unit, to), "TREAT", event="deliver", referral=case.referral, required=case.copies[to]["Task"]
        )
    )


def rows(case: Case, action: str) -> list[Any]:
    with case.database.read() as unit:
        return [row for row in audit_rows(unit, referral=case.referral) if row.action == action]


def test_a_delivery_carries_the_copies_and_writes_one_audit_row(case: Case) -> None:
    copies = case.record(a_consent()).offer()
    sent = deliver(case, list(copies.values()))
    assert isinstance(sent.body, dict)
    assert sent.body["mode"] == "create"
    assert {resource["id"] for resource in sent.body["resources"]} == {held.id for held in copies.values()}
    (row,) = rows(case, "deliver")
    assert row.organization == "clinic"
    assert "A01" in row.policy_row


def test_what_was_queued_before_a_revocation_does_not_leave_after_it(case: Case) -> None:
    copies = case.record(a_consent()).offer()
    case.change(case.recorded["Consent"], status="inactive")
    sent = deliver(case, list(copies.values()))
    assert isinstance(sent.body, dict)
    assert [resource["resourceType"] for resource in sent.body["resources"]] == ["Task"]
    assert sent.body["mode"] == "update"
    assert "for" not in sent.body["resources"][0]


def test_an_ended_offer_delivers_its_bare_task_only(case: Case) -> None:
    copies = case.record().offer()
    case.close()
    sent = deliver(case, list(copies.values()))
    assert isinstance(sent.body, dict)
    assert [resource["resourceType"] for resource in sent.body["resources"]] == ["Task"]


def test_a_delivery_to_a_stranger_is_withheld_and_leaves_no_row(case: Case) -> None:
    copies = case.record().offer()
    case.copies["second-clinic"] = copies
    with pytest.raises(Withheld):
        deliver(case, list(copies.values()), to="second-clinic")
    assert rows(case, "deliver") == []


def test_a_delivery_names_nothing_its_receiver_may_not_know(case: Case) -> None:
    copies = case.record().offer()
    case.change(copies["Encounter"], subject={"reference": case.recorded["Patient"].reference})
    sent = deliver(case, list(copies.values()))
    assert case.recorded["Patient"].id not in str(sent.body)


def view(case: Case, word: str, *, reader: Reader | None = None, permit_of: str = "police", **more: Any) -> Disclosed:
    asked = reader or Reader("rms", "police", "COC", "r")
    body = {"receipt": "x", "status": word, "since": "2026-11-24T00:00:00Z", "next": {}, "issues": [], **more}

    def work(unit: Unit) -> Disclosed:
        permit = records.view_permit(
            unit, sender=organization(unit, permit_of), holder="clinic", referral=case.referral, purpose="COC", now=unit.now
        )
        return records.disclose_view(unit, asked, body, permit, referral=case.referral, event="read")

    return case.database.write(work)


@pytest.mark.parametrize("word", ["received", "returned", "closed"])
def test_a_police_sender_reads_the_narrow_words(case: Case, word: str) -> None:
    case.record(a_consent("status-sharing")).offer()
    assert view(case, word).body["status"] == word  # type: ignore[index]
    (row,) = rows(case, "read")
    assert row.policy_row == "V01"


@pytest.mark.parametrize("word", ["accepted", "contact-made", "engaged", "not-engaged", "en-route", "on-scene", "declined", ""])
def test_no_other_word_leaves_without_the_authorization(case: Case, word: str) -> None:
    case.record(a_consent("status-sharing")).offer()
    with pytest.raises(Withheld):
        view(case, word)
    assert rows(case, "read") == []


def test_with_the_confirmed_authorization_the_wide_words_leave_and_the_row_names_the_consent(case: Case) -> None:
    case.record(a_consent("status-sharing")).offer()
    confirmed = case.confirm()
    view(case, "accepted")
    (row,) = rows(case, "read")
    assert row.policy_row == "V02"
    assert f"Consent/{confirmed.id}/_history/{confirmed.version}" in row.body
    with pytest.raises(Withheld):
        view(case, "on-scene")


def test_a_view_with_more_fields_than_the_policy_names_is_withheld(case: Case) -> None:
    case.record().offer()
    with pytest.raises(Withheld):
        view(case, "received", holder="clinic")


def test_a_view_leaves_to_its_own_sender_only(case: Case) -> None:
    case.record().offer()
    with pytest.raises(Withheld):
        view(case, "received", reader=Reader("x", "second-clinic", "COC", "r"))


def test_a_forged_permit_says_no_more_than_the_policy(case: Case) -> None:
    case.record().offer()
    forged = ViewPermit("V02", "wide", None, sender="police", holder="clinic", referral=case.referral)
    body = {"receipt": "x", "status": "accepted", "since": "", "next": {}, "issues": []}
    with pytest.raises(Withheld):
        case.database.write(
            lambda unit: records.disclose_view(
                unit, Reader("rms", "police", "COC", "r"), body, forged, referral=case.referral, event="read"
            )
        )


def test_the_answer_of_a_write_is_the_resource_as_its_writer_reads_it(case: Case) -> None:
    task = case.record().offer()["Task"]

    def work(unit: Unit) -> Disclosed:
        held = records.require(unit, a_caller("clinic"), "Task", task.id)
        return records.disclose_written(unit, a_caller("clinic"), records.replace(unit, held, {**held.body, "status": "accepted"}))

    answer = case.database.write(work)
    assert answer.headers["ETag"] == 'W/"2"'
    assert b'"accepted"' in answer.body  # type: ignore[operator]
    assert len(rows(case, "update")) == 1


def test_a_write_that_ends_the_writers_own_access_answers_without_content(case: Case) -> None:
    copies = case.record(a_consent()).offer()

    def work(unit: Unit) -> Disclosed:
        held = records.require(unit, a_caller("clinic"), "Consent", copies["Consent"].id)
        return records.disclose_written(unit, a_caller("clinic"), records.replace(unit, held, {**held.body, "status": "inactive"}))

    answer = case.database.write(work)
    assert answer.body["resourceType"] == "OperationOutcome"  # type: ignore[index]


@pytest.mark.parametrize("who", ["second-clinic", "police", "jail-clinic"])
def test_nobody_else_may_take_hold_of_a_task_to_change_it(case: Case, who: str) -> None:
    task = case.record().offer()["Task"]
    with pytest.raises(NotFound):
        case.database.write(lambda unit: records.require(unit, a_caller(who), "Task", task.id))


def test_a_version_that_is_not_current_cannot_be_replaced(case: Case) -> None:
    task = case.record().offer()["Task"]
    case.change(task, status="accepted")
    with pytest.raises(VersionConflict):
        case.database.write(lambda unit: records.replace(unit, task, {**task.body, "status": "rejected"}))


def test_labels_only_rise(case: Case) -> None:
    label = {"system": "http://terminology.hl7.org/CodeSystem/v3-ActCode", "code": "SDV"}
    copies = case.record().offer()
    case.change(copies["Flag"], meta={"security": [label]})
    lowered = case.change(copies["Flag"], meta={})
    assert label in lowered.body["meta"]["security"]
    with pytest.raises(NotFound):
        records.read(case.database, a_caller("clinic"), "Flag", copies["Flag"].id)


def test_an_offer_is_audited_with_what_may_be_read_from_then_on(case: Case) -> None:
    copies = case.record().offer()
    case.database.write(lambda unit: records.audit_offer(unit, case.referral, organization(unit, "clinic"), list(copies.values())))
    (row,) = rows(case, "offer")
    assert all(held.id in row.body for held in copies.values())


# ---- the seal


def test_a_disclosed_cannot_be_made_without_the_seal(case: Case) -> None:
    with pytest.raises(TypeError):
        Disclosed("resource", b"{}")  # type: ignore[call-arg]
    for forged in (None, object(), "seal"):
        with pytest.raises(TypeError):
            Disclosed("resource", b"{}", forged)  # type: ignore[arg-type]
    task = case.record().offer()["Task"]
    genuine = records.read(case.database, a_caller("clinic"), "Task", task.id)
    with pytest.raises((TypeError, ValueError)):
        replace(genuine, body=b"other")  # type: ignore[call-arg]
    with pytest.raises(AttributeError):
        genuine.body = b"other"  # type: ignore[misc]


def test_a_disclosed_cannot_be_subclassed_into_one() -> None:
    class Forged(Disclosed):
        def __post_init__(self, seal: Any) -> None:
            super().__post_init__(seal)

    with pytest.raises(TypeError):
        Forged("resource", b"{}", None)  # type: ignore[arg-type]


STORES = {"gateway.store.resources", "gateway.store.search", "gateway.store.visible"}


def breaches(source: str, module: str) -> list[str]:
    """Uses of the seal, of Disclosed's constructor, or of the guarded stores in a module that may not."""
    found = []
    inside = module.startswith("gateway.access.records")
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom):
            names = {f"{node.module}.{alias.name}" for alias in node.names} | {str(node.module)}
        elif isinstance(node, ast.Import):
            names = {alias.name for alias in node.names}
        else:
            names = set()
        if any(name.endswith("._SEAL") for name in names) and module != "gateway.access.records.sealing":
            found.append("takes the seal")
        if names & STORES and not inside and not module.startswith("gateway.store."):
            found.append("reads a guarded store")
        if isinstance(node, ast.Call) and getattr(node.func, "id", getattr(node.func, "attr", "")) == "Disclosed" and not inside:
            found.append("makes a Disclosed")
        if isinstance(node, ast.Attribute) and node.attr == "_SEAL":
            found.append("takes the seal")
    return found


def test_only_the_records_hold_the_seal_and_read_the_guarded_stores() -> None:
    root = Path(gateway.__file__).parent
    found = {}
    for file in sorted(root.rglob("*.py")):
        module = ".".join(("gateway", *file.relative_to(root).with_suffix("").parts)).removesuffix(".__init__")
        if wrong := breaches(file.read_text(encoding="utf-8"), module):
            found[module] = wrong
    assert found == {}


@pytest.mark.parametrize(
    ("planted", "breach"),
    [
        ("from gateway.access.disclosed import _SEAL, Disclosed\nDisclosed('resource', b'', _SEAL)", "takes the seal"),
        ("from gateway.access import disclosed\nx = disclosed.Disclosed('resource', b'', disclosed._SEAL)", "makes a Disclosed"),
        ("from gateway.store.resources import find_resource", "reads a guarded store"),
        ("from gateway.store import visible", "reads a guarded store"),
        ("import gateway.store.search", "reads a guarded store"),
    ],
)
def test_a_planted_breach_is_found(planted: str, breach: str) -> None:
    assert breach in breaches(planted, "gateway.web.fhir")

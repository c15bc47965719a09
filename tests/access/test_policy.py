"""The policy table: every row is needed, an empty table denies everything, an unknown word denies."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from gateway.access import policy, records
from gateway.access.decision import Deny, Permit, Question
from gateway.access.disclosed import ConsentState
from gateway.errors import NotFound
from gateway.store import registry
from gateway.store.database import Database
from tests.access.case import Case, a_caller, a_consent


def ask(relation: str = "addressee", data_class: str = "DEMO", *, consent: str = "none", **changes: Any) -> Question:
    asked = Question(relation, data_class, frozenset({"covered_entity"}), "TREAT", ConsentState(consent))  # type: ignore[arg-type]
    return replace(asked, **changes)


POLICE = frozenset({"criminal_justice_agency"})
DISPATCH = frozenset({"emergency_dispatch"})
PERMITTED: dict[str, Question] = {
    "A01": ask(),
    "A02": ask(data_class="LOGI"),
    "A03": ask(data_class="REFERRAL"),
    "A04": ask(data_class="TASK"),
    "A05": ask(data_class="CONSENT"),
    "A06": ask(data_class="SAFETY"),
    "A07": ask(data_class="PLACE"),
    "A08": ask(data_class="PROVENANCE"),
    "A09": ask(data_class="RELATED"),
    "F01": ask("former-addressee", "TASK", consent="denied"),
    "G01": ask("granted", "DIRECTORY"),
    "S01": ask("sender", "TASK"),
    "V01": ask("view", "VIEW", postures=POLICE),
    "V02": ask("view", "VIEW", postures=POLICE, consent="confirmed"),
    "V03": ask("view", "VIEW", postures=DISPATCH),
    "V04": ask("view", "VIEW"),
    "D01": ask("own", "DRYRUN", postures=POLICE),
    "L01": ask("operator", "LEDGER", postures=frozenset({"operator"}), purpose="HOPERAT"),
}
DENIED: dict[str, Question] = {
    "N01": ask(data_class="JUSTICE"),
    "N02": ask(data_class="SCREEN"),
    "N03": ask(consent="denied"),
    "N04": ask(postures=frozenset({"covered_entity", "criminal_justice_agency"})),
    "N05": ask(origin_postures=frozenset({"part2_program"})),
    "N06": ask(data_class="NOTES"),
}


def without(row_id: str) -> policy.Policy:
    shipped = policy.shipped()
    return replace(shipped, rows=tuple(row for row in shipped.rows if row.id != row_id))


def rows_that_permit(table: policy.Policy, question: Question) -> list[str]:
    return [permit.row for permit in table.permits(question)]


def test_every_row_has_a_scenario_and_every_scenario_a_row() -> None:
    assert {row.id for row in policy.shipped().rows} == set(PERMITTED) | set(DENIED)


@pytest.mark.parametrize("row_id", sorted(PERMITTED))
def test_a_permit_stands_and_falls_with_its_row(row_id: str) -> None:
    question = PERMITTED[row_id]
    assert row_id in rows_that_permit(policy.shipped(), question)
    assert row_id not in rows_that_permit(without(row_id), question)
    others = rows_that_permit(without(row_id), question)
    assert not others or question.relation == "view"  # a sender's words fall back to narrower ones


@pytest.mark.parametrize("row_id", sorted(DENIED))
def test_a_denial_names_its_row(row_id: str) -> None:
    decision = policy.shipped().decide(DENIED[row_id])
    assert isinstance(decision, Deny)
    assert decision.row == row_id
    changed = without(row_id).decide(DENIED[row_id])
    assert isinstance(changed, Permit) or changed.row != row_id


@pytest.mark.parametrize("row_id", sorted(PERMITTED))
def test_an_emptied_table_denies_everything(row_id: str) -> None:
    emptied = replace(policy.shipped(), rows=())
    assert isinstance(emptied.decide(PERMITTED[row_id]), Deny)
    assert emptied.permits(PERMITTED[row_id]) == []


@pytest.mark.parametrize(
    "changes",
    [
        {"postures": frozenset({"covered_entity", "soothsayer"})},
        {"postures": frozenset()},
        {"postures": frozenset({"operator"})},
        {"purpose": "HMARKT"},
        {"purpose": "BTG"},
        {"purpose": ""},
        {"data_class": "DREAMS"},
        {"relation": "neighbour"},
        {"consent": ConsentState("perhaps")},  # type: ignore[arg-type]
        {"labels": frozenset({"http://terminology.hl7.org/CodeSystem/v3-ActCode|HIV"})},
        {"labels": frozenset({"http://terminology.hl7.org/CodeSystem/v3-Confidentiality|V"})},
        {"labels": frozenset({"|", "http://terminology.hl7.org/CodeSystem/v3-Confidentiality|N"})},
        {"origin_postures": None},
    ],
)
def test_an_unknown_word_denies(changes: dict[str, Any]) -> None:
    assert isinstance(policy.shipped().decide(ask(**changes) if "consent" not in changes else replace(ask(), **changes)), Deny)


def test_every_label_must_be_permitted() -> None:
    known = "http://terminology.hl7.org/CodeSystem/v3-Confidentiality|R"
    unknown = "http://terminology.hl7.org/CodeSystem/v3-ActCode|SDV"
    assert isinstance(policy.shipped().decide(ask(labels=frozenset({known}))), Permit)
    assert isinstance(policy.shipped().decide(ask(labels=frozenset({known, unknown}))), Deny)


@pytest.mark.parametrize(
    "damage",
    [
        lambda rows: rows[0].update(purpose=["*"]),
        lambda rows: rows[0].update(postures=["*"]),
        lambda rows: rows[0].update(consent=["maybe"]),
        lambda rows: rows[0].update(keep="nothing-of-that-name"),
        lambda rows: rows[0].update(decision="allow"),
        lambda rows: rows[0].update(basis=""),
        lambda rows: rows[0].update(id=rows[1]["id"]),
        lambda rows: rows[0].update(data_class=["DEMOO"]),
    ],
)
def test_a_damaged_table_is_refused_at_load(damage: Callable[[list[dict[str, Any]]], None]) -> None:
    document = copy.deepcopy(policy._document("policy.json"))
    policy.load_policy(document, policy.keep_documents())
    damage(document["rows"])
    with pytest.raises(ValueError, match="polic"):
        policy.load_policy(document, policy.keep_documents())


def _use(monkeypatch: pytest.MonkeyPatch, table: policy.Policy) -> None:
    monkeypatch.setattr(policy, "shipped", lambda: table)


def test_with_an_emptied_table_nothing_leaves_by_any_way(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    copies = case.record(a_consent()).offer()
    _use(monkeypatch, replace(policy.shipped(), rows=()))
    case.database.write(records.rebuild_visible)
    for name, held in copies.items():
        with pytest.raises(NotFound):
            records.read(case.database, a_caller("clinic"), name, held.id)
    police = a_caller("police", "COC")

    def leaving(unit: Any) -> list[Callable[[], object]]:
        clinic, sender = registry.find_organization(unit, "clinic"), registry.find_organization(unit, "police")
        assert clinic is not None
        assert sender is not None
        return [
            lambda: records.disclose_bundle(unit, list(copies.values()), clinic, "TREAT", event="deliver", referral=case.referral),
            lambda: records.view_permit(unit, sender=sender, holder=None, referral=case.referral, purpose="COC", now=unit.now),
            lambda: records.disclose_dry_run(unit, police, {}),
            lambda: records.disclose_ledger(unit, ["a line"]),
        ]

    for place in range(4):
        with pytest.raises(records.Withheld):
            case.database.write(lambda unit, place=place: leaving(unit)[place]())
    assert case.database.write(lambda unit: records.redact_for(unit, case.recorded["Patient"], _clinic(unit), "TREAT")) is None


def _clinic(unit: Any) -> registry.Organization:
    found = registry.find_organization(unit, "clinic")
    assert found is not None
    return found


@pytest.mark.parametrize(("row_id", "resource_type"), [("A01", "Patient"), ("A02", "Encounter"), ("A06", "Flag"), ("A05", "Consent")])
def test_without_its_row_a_class_is_neither_copied_nor_read(
    case: Case, monkeypatch: pytest.MonkeyPatch, row_id: str, resource_type: str
) -> None:
    copies = case.record(a_consent()).offer()
    records.read(case.database, a_caller("clinic"), resource_type, copies[resource_type].id)
    _use(monkeypatch, without(row_id))
    case.database.write(records.rebuild_visible)
    with pytest.raises(NotFound):
        records.read(case.database, a_caller("clinic"), resource_type, copies[resource_type].id)
    assert case.database.write(lambda unit: records.redact_for(unit, case.recorded[resource_type], _clinic(unit), "TREAT")) is None


def test_a_changed_table_hides_everything_until_permits_are_rebuilt(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    task = case.record().offer()["Task"]
    _use(monkeypatch, replace(policy.shipped(), epoch="another"))
    with pytest.raises(NotFound):
        records.read(case.database, a_caller("clinic"), "Task", task.id)
    assert case.database.write(records.rebuild_visible) > 0
    records.read(case.database, a_caller("clinic"), "Task", task.id)


def test_a_part_2_programs_record_is_offered_to_nobody_yet(database: Database) -> None:
    assert Case(database, sender="program").record().offer("clinic") == {}

"""What Consents open and close: pure decisions first, then through the door."""

from __future__ import annotations

import copy
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from gateway.access import records
from gateway.access.consent import Filed, Flow, carried_over, ended_stays_ended, missing_elements, state_of
from gateway.access.disclosed import VersionedId
from gateway.errors import NotFound
from gateway.store import registry
from gateway.store.database import Database, Unit
from tests.access.case import Case, a_caller, a_consent

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
TELL_POLICE = Flow("status-sharing", "clinic", "police", "COC", "clinic")
VERIFIED = [{"verified": True}]


def filed(body: dict[str, Any], domain: str = "clinic") -> Filed:
    return Filed(VersionedId("Consent", "c", 1), domain, NOW, {"patient": {"reference": "Patient/p"}, **body})


def status_consent(**changes: Any) -> dict[str, Any]:
    return a_consent("status-sharing", **{"verification": VERIFIED, **changes})


def word(*consents: Filed, flow: Flow = TELL_POLICE, now: datetime = NOW) -> str:
    return state_of(consents, flow, now).state


def test_a_complete_consent_verified_by_the_discloser_is_confirmed() -> None:
    assert word(filed(status_consent())) == "confirmed"


def changed(path: str, value: Any) -> dict[str, Any]:
    body = copy.deepcopy(status_consent())
    place: Any = body
    *parents, last = path.split(".")
    for step in parents:
        place = place[int(step)] if step.isdigit() else place[step]
    if value is None:
        place.pop(last)
    else:
        place[last] = value
    return body


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("verification", None),
        ("verification", [{"verified": False}]),
        ("verification", [{"verified": "true"}]),
        ("organization", [{"reference": "Organization/second-clinic"}]),
        ("provision.actor.0.reference", {"reference": "Organization/other-police"}),
        ("provision.actor.0.reference", {"display": "police"}),
        ("provision.actor", None),
        ("provision.purpose", None),
        ("provision.purpose.0.code", "HMARKT"),
        ("provision.class", None),
        ("provision.type", None),
        ("policy", None),
        ("sourceAttachment", None),
        ("dateTime", None),
        ("modifierExtension", [{"url": "urn:x", "valueBoolean": True}]),
        ("provision.period.end", None),
    ],
)
def test_a_consent_that_lacks_anything_is_a_claim(path: str, value: Any) -> None:
    assert word(filed(changed(path, value))) == "claimed"


def test_a_verification_in_another_domain_confirms_nothing() -> None:
    assert word(filed(status_consent(), domain="police")) == "claimed"


@pytest.mark.parametrize("status", ["draft", "proposed", "entered-in-error", None, "banana"])
def test_a_consent_that_is_not_in_force_is_none(status: str | None) -> None:
    assert word(filed(status_consent(status=status))) == "none"


@pytest.mark.parametrize(
    ("at", "expected"),
    [
        (datetime(2025, 12, 31, 23, 59, tzinfo=UTC), "none"),
        (datetime(2026, 1, 1, tzinfo=UTC), "confirmed"),
        (datetime(2099, 12, 31, 23, 59, tzinfo=UTC), "confirmed"),
        (datetime(2100, 1, 1, tzinfo=UTC), "none"),
    ],
)
def test_a_consent_counts_in_its_period_only(at: datetime, expected: str) -> None:
    assert word(filed(status_consent()), now=at) == expected


def test_a_period_that_cannot_be_read_covers_nothing() -> None:
    assert word(filed(changed("provision.period.start", "soon"))) == "none"


@pytest.mark.parametrize(
    "refusal",
    [
        status_consent(status="inactive"),
        status_consent(status="rejected"),
        status_consent(provision={"type": "deny"}),
        status_consent(provision={"type": "permit", "provision": [{"type": "deny"}]}),
        status_consent(provision={**a_consent("status-sharing")["provision"], "type": "deny"}),
    ],
)
@pytest.mark.parametrize("domain", ["police", "clinic", "second-clinic"])
def test_a_refusal_or_revocation_anywhere_denies_whatever_else_permits(refusal: dict[str, Any], domain: str) -> None:
    assert word(filed(status_consent()), filed(refusal, domain)) == "denied"


def test_a_withdrawn_refusal_and_one_for_somebody_else_deny_nothing() -> None:
    withdrawn = status_consent(status="inactive", provision={"type": "deny"})
    other = copy.deepcopy(status_consent())
    other["provision"]["type"] = "deny"
    other["provision"]["actor"][0]["reference"] = {"reference": "Organization/insurer"}
    assert word(filed(withdrawn), filed(other)) == "none"


def test_a_consent_of_another_kind_says_nothing() -> None:
    assert word(filed(a_consent("provider-sharing", verification=VERIFIED))) == "none"


def test_one_that_names_no_discloser_opens_what_its_filing_domain_holds() -> None:
    by_class = copy.deepcopy(status_consent())
    by_class.pop("organization")
    by_class["provision"]["actor"].append(
        {"role": {"coding": [{"code": "CST"}]}, "reference": {"display": "the program that takes this referral"}}
    )
    assert word(filed(by_class)) == "confirmed"
    assert word(filed(by_class, "second-clinic")) == "claimed"


@pytest.mark.parametrize(
    ("path", "element"),
    [
        ("organization", "discloser"),
        ("provision.class", "information"),
        ("provision.actor", "recipient"),
        ("provision.purpose", "purpose"),
        ("provision.period", "expiry"),
        ("sourceAttachment", "signature"),
        ("dateTime", "date signed"),
    ],
)
def test_each_missing_element_of_the_law_is_named(path: str, element: str) -> None:
    assert missing_elements({**changed(path, None), "patient": {"reference": "Patient/p"}}) == [element]


def test_a_consent_without_policy_or_patient_lacks_what_they_carry() -> None:
    assert missing_elements(changed("policy", None)) == ["patient", "right to revoke", "consequences and redisclosure"]


def test_a_renewed_copy_keeps_the_verification_only_while_its_terms_stay() -> None:
    stored = {**status_consent(), "id": "copy"}
    assert carried_over(stored, a_consent("status-sharing"))["verification"] == VERIFIED
    wider = a_consent("status-sharing", organization=[{"reference": "Organization/clinic"}, {"reference": "Organization/lab"}])
    assert "verification" not in carried_over(stored, {**wider, "verification": VERIFIED})


def test_an_ended_copy_stays_ended() -> None:
    assert carried_over(status_consent(status="inactive"), a_consent("status-sharing"))["status"] == "inactive"


# ---- through the door


def words(case: Case, now: datetime | None = None) -> str:
    def work(unit: Unit) -> str:
        sender = registry.find_organization(unit, case.sender)
        assert sender is not None
        permit = records.view_permit(
            unit, sender=sender, holder="clinic", referral=case.referral, purpose="COC", now=now or unit.now, asked_response=True
        )
        return permit.words

    return case.database.write(work)


Step = Callable[[Case], object]


@pytest.mark.parametrize(
    ("authorization", "expected"),
    [
        ([], "narrow"),
        ([lambda case: case.confirm()], "wide"),
        ([lambda case: case.change(case.recorded["Consent"], verification=VERIFIED)], "narrow"),
        ([lambda case: case.confirm(), lambda case: case.change(case.recorded["Consent"], status="inactive")], "narrow"),
        ([lambda case: case.confirm(), lambda case: case.change(case.copies["clinic"]["Consent"], status="inactive")], "narrow"),
        ([lambda case: case.confirm(), lambda case: case.change(case.copies["clinic"]["Consent"], verification=[])], "narrow"),
    ],
    ids=["asserted", "confirmed", "self-verified by the sender", "revoked at the sender", "revoked at the clinic", "taken back"],
)
def test_the_sender_reads_wide_words_only_by_the_persons_own_confirmed_authorization(
    case: Case, authorization: list[Step], expected: str
) -> None:
    case.record(a_consent("status-sharing")).offer()
    for step in authorization:
        step(case)
    assert words(case) == expected


def test_a_verification_the_sender_sent_is_not_copied(case: Case) -> None:
    copies = case.record(a_consent("status-sharing", verification=VERIFIED)).offer()
    assert "verification" not in copies["Consent"].body
    assert words(case) == "narrow"


def test_confirmed_words_end_with_the_period(case: Case) -> None:
    case.record(a_consent("status-sharing")).offer()
    case.confirm()
    assert words(case, datetime(2100, 6, 1, tzinfo=UTC)) == "narrow"


@pytest.mark.parametrize(("sender", "expected"), [("police", "narrow"), ("dispatch", "response"), ("hospital", "task")])
def test_without_authorization_each_sender_reads_its_own_words(database: Database, sender: str, expected: str) -> None:
    case = Case(database, sender=sender).record()
    case.offer()
    assert words(case) == expected


@pytest.mark.parametrize("sender", ["dispatch", "hospital"])
def test_of_a_part_2_program_every_sender_reads_narrow_words(database: Database, sender: str) -> None:
    case = Case(database, sender=sender).record()

    def work(unit: Unit) -> str:
        organization = registry.find_organization(unit, sender)
        assert organization is not None
        return records.view_permit(
            unit, sender=organization, holder="program", referral=case.referral, purpose="COC", now=unit.now, asked_response=True
        ).words

    assert database.write(work) == "narrow"


def test_a_dispatcher_that_asked_no_team_reads_narrow_words(database: Database) -> None:
    case = Case(database, sender="dispatch").record()

    def work(unit: Unit) -> str:
        organization = registry.find_organization(unit, "dispatch")
        assert organization is not None
        return records.view_permit(unit, sender=organization, holder="clinic", referral=case.referral, purpose="COC", now=unit.now).words

    assert database.write(work) == "narrow"


@pytest.mark.parametrize("where", ["sender", "receiver"])
def test_a_revocation_hides_every_copy_at_once_and_leaves_the_bare_task(case: Case, where: str) -> None:
    copies = case.record(a_consent()).offer()
    clinic = a_caller("clinic")
    case.change(case.recorded["Consent"] if where == "sender" else copies["Consent"], status="inactive")
    for name, held in copies.items():
        if name != "Task":
            with pytest.raises(NotFound):
                records.read(case.database, clinic, name, held.id)
    assert b'"for"' not in records.read(case.database, clinic, "Task", copies["Task"].id).body  # type: ignore[operator]


def naming(*recipients: str, kind: str = "provider-sharing", **changes: Any) -> dict[str, Any]:
    """A consent with these recipients."""
    body = a_consent(kind, **changes)
    [actor] = body["provision"]["actor"]
    body["provision"]["actor"] = [{**actor, "reference": {"reference": f"Organization/{key}"}} for key in recipients]
    return body


def test_a_revocation_is_about_those_it_named_and_about_all_where_it_named_nobody() -> None:
    told = Flow("provider-sharing", "police", "clinic", "TREAT", "clinic")
    ended = {"status": "inactive"}
    assert word(filed(naming("second-clinic", **ended)), flow=told) == "none"
    assert word(filed(naming("clinic", "second-clinic", **ended)), flow=told) == "denied"
    assert word(filed(naming(**ended)), flow=told) == "denied"


def test_only_a_consent_given_after_the_revocation_and_confirmed_opens_again() -> None:
    revoked = filed(status_consent(status="inactive"))
    later = (NOW + timedelta(hours=1)).isoformat()
    at = NOW + timedelta(hours=2)
    assert word(revoked, filed(status_consent()), now=at) == "denied"
    assert word(revoked, filed(status_consent(dateTime=later, verification=None)), now=at) == "denied"
    assert word(revoked, filed(status_consent(dateTime=later)), now=at) == "confirmed"
    assert word(revoked, filed(status_consent(dateTime=later)), now=NOW) == "denied"


def test_a_refusal_wins_over_a_consent_given_later() -> None:
    refusal = filed(status_consent(provision={**a_consent("status-sharing")["provision"], "type": "deny"}))
    later = (NOW + timedelta(hours=1)).isoformat()
    assert word(refusal, filed(status_consent(dateTime=later)), now=NOW + timedelta(hours=2)) == "denied"


def test_a_consent_that_names_no_discloser_opens_what_its_filing_domain_holds_also_as_a_copy() -> None:
    body = status_consent(organization=None)
    copied = Filed(VersionedId("Consent", "c", 1), "clinic", NOW, {"patient": {"reference": "Patient/p"}, **body}, filed_by="police")
    assert word(copied) == "claimed"


@pytest.mark.parametrize("source", [{"title": "form 17"}, {"contentType": "application/pdf"}, {}, None])
def test_a_source_that_holds_nothing_is_no_signature(source: Any) -> None:
    assert "signature" in missing_elements(a_consent(sourceAttachment=source))


def test_a_consent_dated_in_the_future_does_not_count_yet() -> None:
    assert word(filed(status_consent(dateTime="2098-01-01"))) == "claimed"


@pytest.mark.parametrize("status", ["inactive", "rejected"])
def test_a_refusal_that_takes_the_place_of_an_ended_permit_is_in_force(status: str) -> None:
    ended = a_consent(status=status)
    refusal = a_consent(provision={**a_consent()["provision"], "type": "deny"})
    assert carried_over(ended, refusal)["status"] == "active"
    assert ended_stays_ended(ended, refusal)["status"] == "active"
    assert ended_stays_ended(ended, a_consent())["status"] == status


def test_a_revocation_in_one_referral_ends_the_other_referrals_of_the_person(database: Database) -> None:
    first = Case(database).record(naming("clinic", "second-clinic"))
    first.offer("clinic")
    second = Case(database).record(patient=first.recorded["Patient"])
    copies = second.offer("second-clinic")
    records.read(database, a_caller("second-clinic"), "ServiceRequest", copies["ServiceRequest"].id)
    first.change(first.copies["clinic"]["Consent"], status="inactive")
    with pytest.raises(NotFound):
        records.read(database, a_caller("second-clinic"), "ServiceRequest", copies["ServiceRequest"].id)


def test_a_refusal_filed_later_by_another_linked_domain_ends_it_in_all(case: Case) -> None:
    copies = case.record().offer()
    case.offer("second-clinic")
    patient = case.copies["second-clinic"]["Patient"].reference
    refusal = a_consent(provision={"type": "deny"}, patient={"reference": patient})
    case.database.write(lambda unit: records.create(unit, refusal, domain="second-clinic", data_class="CONSENT", referral=case.referral))
    with pytest.raises(NotFound):
        records.read(case.database, a_caller("clinic"), "Patient", copies["Patient"].id)


def test_a_refused_person_is_offered_to_nobody(case: Case) -> None:
    assert case.record(a_consent(provision={"type": "deny"})).offer() == {}


def test_permits_are_cut_where_a_refusal_starts(case: Case) -> None:
    start = datetime.now(UTC) + timedelta(days=30)
    refusal = a_consent(provision={"type": "deny", "period": {"start": start.isoformat(timespec="seconds")}})
    copies = case.record(refusal).offer()
    records.read(case.database, a_caller("clinic"), "Patient", copies["Patient"].id)
    from sqlalchemy import text

    with case.database.read() as unit:
        ends = (
            unit.connection.execute(text("SELECT DISTINCT valid_to FROM visible WHERE resource = :id"), {"id": copies["Patient"].id})
            .scalars()
            .all()
        )
    assert ends == [int(start.timestamp()) * 1_000_000]

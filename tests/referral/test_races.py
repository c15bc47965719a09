"""Two moves of one referral at once: exactly one wins, one organisation holds it, and the ledger stays sound."""

from __future__ import annotations

import dataclasses
import threading
from datetime import timedelta

import pytest

from gateway.referral import protocol as protocols
from gateway.referral.offers import expire_offer, make_offers
from gateway.store import referrals
from tests.builders import an_rms_message

ROUNDS = 6


def at_once(*moves):
    """Run every move in a thread of its own, all let go at one moment; their results in order."""
    gate = threading.Barrier(len(moves))
    results = [None] * len(moves)

    def run(number, move):
        gate.wait()
        results[number] = move()

    threads = [threading.Thread(target=run, args=pair) for pair in enumerate(moves)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    return results


def expire(gateway, receipt):
    """The deadline job as the worker runs it, at a time when the offer is over."""
    database = gateway.services.database

    def overdue(unit):
        referral = referrals.find_by_any_receipt(unit, receipt)
        offer = next(each for each in referrals.offers_of(unit, referral.id) if each.state == "open")
        referrals.change_offer(unit, offer.id, accept_by=unit.now - timedelta(seconds=1))
        return offer.id

    offer_id = database.write(overdue)
    return lambda: database.write(lambda unit: expire_offer(unit, gateway.services, offer_id))


def kinds(gateway, receipt):
    return [entry.kind for entry in gateway.ledger_of(receipt)]


@pytest.mark.parametrize("round_", range(ROUNDS))
def test_an_acceptance_racing_its_deadline_wins_or_finds_its_task_cancelled(gateway, round_):
    receipt = gateway.refer()
    ehr = gateway.as_alder_ehr
    task = ehr.the_task()
    answer, _ = at_once(lambda: ehr.put(task, status="accepted"), expire(gateway, receipt))
    gateway.work()
    if answer.status_code == 200:
        assert gateway.holder_of(receipt) == "alder-case-management"
        assert kinds(gateway, receipt) == ["enter", "offer", "accept"]
        assert gateway.as_birch_ehr.search("Task") == []
    else:
        assert answer.status_code == 412
        lost = ehr.get(f"/fhir/Task/{task['id']}").json
        assert lost["status"] == "cancelled"
        assert not {"statusReason", "note", "for", "focus"} & set(lost)
        assert gateway.holder_of(receipt) == "riverton-police"
        assert kinds(gateway, receipt) == ["enter", "offer", "expire", "offer"]
        assert gateway.as_birch_ehr.the_task()


@pytest.mark.parametrize("round_", range(ROUNDS))
def test_an_acceptance_racing_a_cancel_leaves_one_holder_and_the_sender_reads_the_same(gateway, round_):
    receipt = gateway.refer()
    ehr, rms = gateway.as_alder_ehr, gateway.as_rms
    task, _ = ehr.the_task(), rms.token
    answer, cancelled = at_once(lambda: ehr.put(task, status="accepted"), lambda: rms.cancel(receipt))
    assert (cancelled.status_code, cancelled.json["status"]) == (200, "closed")
    gateway.work()
    if answer.status_code == 200:
        assert gateway.holder_of(receipt) == "alder-case-management"
        assert kinds(gateway, receipt) == ["enter", "offer", "accept", "cancel-request"]
    else:
        assert answer.status_code == 412
        assert kinds(gateway, receipt) == ["enter", "offer", "withdraw", "close"]
        assert ehr.get(f"/fhir/{task['for']['reference']}").status_code == 404


@pytest.mark.parametrize("round_", range(ROUNDS))
def test_of_two_acceptances_at_once_the_first_holds_and_the_other_is_withdrawn(gateway, monkeypatch, round_):
    both = dataclasses.replace(protocols.shipped_protocol("lead"), offers_at_once=2)
    monkeypatch.setattr(protocols, "shipped_protocol", lambda _name: both)
    receipt = gateway.refer()
    asked = [gateway.as_alder_ehr, gateway.as_birch_ehr]
    tasks = [ehr.the_task() for ehr in asked]
    moves = [lambda ehr=ehr, task=task: ehr.put(task, status="accepted") for ehr, task in zip(asked, tasks, strict=True)]
    answers = at_once(*moves)
    assert sorted(answer.status_code for answer in answers) == [200, 412]
    winner = next(ehr for ehr, answer in zip(asked, answers, strict=True) if answer.status_code == 200)
    loser, task = next((e, t) for e, t, answer in zip(asked, tasks, answers, strict=True) if answer.status_code == 412)
    assert gateway.holder_of(receipt) == {"alder-ehr": "alder-case-management", "birch-ehr": "birch-case-management"}[winner.name]
    assert sorted(kinds(gateway, receipt)) == ["accept", "enter", "offer", "offer", "withdraw"]
    assert loser.get(f"/fhir/Task/{task['id']}").json["status"] == "cancelled"
    assert loser.get(f"/fhir/{task['for']['reference']}").status_code == 404


def test_of_sixteen_equal_acceptances_one_moves_the_task(gateway):
    receipt = gateway.refer()
    ehr = gateway.as_alder_ehr
    task = ehr.the_task()
    answers = at_once(*[lambda: ehr.put(task, status="accepted")] * 16)
    assert sorted(answer.status_code for answer in answers) == [200] + [412] * 15
    assert kinds(gateway, receipt) == ["enter", "offer", "accept"]


def test_a_newer_version_racing_an_acceptance_loses_neither(gateway):
    message = an_rms_message()
    receipt = gateway.as_rms.send(message).json["receipt"]
    gateway.work()
    ehr, rms = gateway.as_alder_ehr, gateway.as_rms
    task = ehr.the_task()
    answer, newer = at_once(
        lambda: ehr.put(task, status="accepted"), lambda: rms.send({**message, "revision": 2, "narrative": "Now in the lobby"})
    )
    assert newer.status_code == 200
    gateway.work()
    if answer.status_code == 200:
        assert gateway.holder_of(receipt) == "alder-case-management"
    order = ehr.get(f"/fhir/{task['focus']['reference']}")
    assert "lobby" in order.get_data(as_text=True)


def test_offers_of_one_sender_made_at_once_are_all_made(gateway):
    receipts = [gateway.as_rms.send(an_rms_message()).json["receipt"] for _ in range(8)]
    database = gateway.services.database
    with database.read() as unit:
        ids = [referrals.find_by_any_receipt(unit, receipt).id for receipt in receipts]
    at_once(*[lambda each=each: database.write(lambda unit: make_offers(unit, gateway.services, each)) for each in ids])
    assert len(gateway.as_alder_ehr.open_tasks()) == 8

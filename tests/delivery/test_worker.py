"""The worker over a real outbox, real channels and far ends that misbehave."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import threading
import time
from datetime import timedelta
from types import SimpleNamespace

import pytest

from gateway.delivery.routes import Route
from gateway.delivery.worker import Worker
from gateway.store import claims, deliveries, destinations, outbox
from gateway.store.database import Database
from tests.delivery.peers import disclosed

BASE = "https://gateway.example"


class Gateway:
    """A worker with everything it needs, and the referral's part played by the test."""

    def __init__(self, database, keys, **settings):
        quick = {
            "base_url": BASE,
            "allow_private_addresses": True,
            "retry_first_seconds": 0.05,
            "retry_jitter": 0.0,
            "circuit_first_seconds": 30,
            "call_seconds": 20.0,
            "lease_seconds": 90.0,
        }
        self.services = SimpleNamespace(settings=SimpleNamespace(**{**quick, **settings}), database=database, keys=keys)
        self.database = database
        self.keys = keys
        self.routes = {}
        self.prepared = []
        self.ran = []
        self.status = "requested"
        self.may_leave = True
        self.job = lambda unit, subject: None

    def worker(self, **options):
        def route(_unit, _kind, destination):
            return self.routes.get(destination)

        preparations = {"deliver": self.prepare, "callback": self.prepare_view}
        return Worker(self.services, jobs={"offer": self.run}, preparations=preparations, route=route, **options)

    def run(self, unit, services, subject):
        self.job(unit, subject)
        self.ran.append(subject)

    def prepare(self, unit, services, subject, destination):
        self.prepared.append(subject)
        outbox.enqueue(unit, "audit", "row", f"{subject}-{len(self.prepared)}")  # stands for the audit row of this attempt
        return disclosed(status=self.status) if self.may_leave else None

    def prepare_view(self, unit, services, subject, destination):
        return SimpleNamespace(body={"receipt": subject, "status": "closed"})

    def put(self, subject="task-1", destination="clinic", kind="deliver"):
        self.database.write(lambda unit: outbox.enqueue(unit, kind, destination, subject))

    def settle(self, worker=None, seconds=5.0):
        """Run until nothing is due any more, now or within the compressed backoff."""
        worker = worker or self.worker()
        until = time.monotonic() + seconds
        idle = 0
        while time.monotonic() < until and idle < 6:
            idle = 0 if worker.run_once() else idle + 1
            time.sleep(0.03)

    def states(self, kind="deliver"):
        with self.database.read() as unit:
            return {state: count for (found, state), count in deliveries.counts(unit).items() if found == kind}

    def audits(self):
        return sum(self.states("audit").values())

    def dead(self):
        with self.database.read() as unit:
            return deliveries.dead_letters(unit)


@pytest.fixture
def gateway(database, keys, ehr):
    made = Gateway(database, keys)
    made.routes["clinic"] = Route("fhir-rest", ehr.address)
    return made


def test_a_delivery_arrives_and_its_row_is_done(gateway, ehr):
    gateway.put()
    assert gateway.worker().run_once() == 1
    assert gateway.states() == {"done": 1}
    assert len(ehr.all_of("Task")) == 1
    assert gateway.audits() == 1
    assert gateway.worker().run_once() == 0


@pytest.mark.parametrize(
    "script",
    [
        [(500, "exception")],
        [(503, "transient")],
        ["hang-up"],
        ["lose"],
        ["html"],
        ["half"],
        [(409, "conflict")],
        ["lose", (500, "exception")],
    ],
)
def test_what_failed_is_sent_again_and_stored_once(gateway, ehr, script):
    ehr.script.extend(script)
    gateway.put()
    gateway.settle()
    assert gateway.states() == {"done": 1}
    assert len(ehr.pushes) == len(script) + 1
    assert all(len(found) == 1 for found in ehr.stored.values())
    assert gateway.audits() == len(ehr.pushes)


@pytest.mark.parametrize("word", ["lose", "hang-up", (500, "exception"), "html"])
def test_towards_a_peer_without_conditional_create_a_doubtful_sending_waits_for_a_person(gateway, make_ehr, word):
    ehr = make_ehr(conditional=False)
    gateway.routes["clinic"] = Route("fhir-rest", ehr.address)
    ehr.script.append(word)
    gateway.put()
    gateway.settle()
    assert gateway.states() == {"unknown": 1}
    assert len(ehr.pushes) == 1


@pytest.mark.parametrize("answer", [(422, "value"), (400, "structure"), (403, "forbidden"), (412, "multiple-matches")])
def test_a_refusal_for_good_is_a_dead_letter_with_status_and_codes_only(gateway, ehr, answer):
    ehr.script.append(answer)
    gateway.put()
    gateway.settle()
    (letter,) = gateway.dead()
    assert (letter.last_status, letter.last_issue_codes) == (answer[0], (answer[1],))
    assert "Jane" not in repr(letter)
    assert len(ehr.pushes) == 1


def test_retry_after_holds_off_the_destination_and_not_the_others(gateway, ehr, make_ehr):
    other = make_ehr()
    gateway.routes["other"] = Route("fhir-rest", other.address)
    ehr.script.append((429, "throttled", {"Retry-After": "1"}))
    gateway.put("task-1")
    gateway.worker().run_once()
    began = time.monotonic()
    gateway.put("task-2")
    gateway.put("task-3", destination="other")
    assert gateway.worker().run_once() == 1
    assert (len(ehr.pushes), len(other.pushes)) == (1, 1)
    while gateway.states() != {"done": 3} and time.monotonic() < began + 5:
        gateway.worker().run_once()
        time.sleep(0.05)
    assert 0.9 < time.monotonic() - began < 4
    assert len(ehr.pushes) == 3


def test_no_try_after_the_last_and_the_letter_is_dead(database, keys, ehr):
    gateway = Gateway(database, keys, retry_give_up_seconds=0.3)
    gateway.routes["clinic"] = Route("fhir-rest", ehr.address)
    ehr.script.extend([(500, "exception")] * 50)
    gateway.put()
    gateway.settle(seconds=3)
    (letter,) = gateway.dead()
    assert (letter.last_status, letter.last_issue_codes) == (500, ("exception",))
    assert len(ehr.pushes) > 1


def test_a_peer_that_is_down_costs_no_audit_row_and_its_circuit_opens(database, keys, make_ehr):
    gateway = Gateway(database, keys, circuit_after_failures=3)
    ehr = make_ehr()
    gateway.routes["clinic"] = Route("fhir-rest", ehr.address)
    ehr.close()
    gateway.put()
    gateway.settle()
    with database.read() as unit:
        peer = destinations.find_destination(unit, "deliver", "clinic")
        assert peer.failures == 3
        assert peer.open_until > unit.now
    assert gateway.states() == {"due": 1}
    assert gateway.prepared == []
    assert gateway.audits() == 0


def test_a_half_open_circuit_lets_one_probe_through_and_closes_on_its_success(gateway, ehr):
    for number in range(4):
        gateway.put(f"task-{number}")
    gateway.database.write(lambda unit: destinations.hold_off(unit, "deliver", "clinic", timedelta(hours=1)))
    assert gateway.worker().run_once() == 0
    gateway.database.write(lambda unit: destinations.let_through(unit, "deliver", "clinic"))
    assert gateway.worker().run_once() == 1
    gateway.settle()
    assert gateway.states() == {"done": 4}


def test_what_became_newer_while_it_was_sent_is_sent_again_as_an_update(gateway, ehr, monkeypatch):
    pushed = ehr.push

    def meanwhile(request):
        if not ehr.pushes:
            gateway.status = "cancelled"
            gateway.put()  # also shows that no transaction is open during the call
        return pushed(request)

    monkeypatch.setattr(ehr, "push", meanwhile)
    gateway.put()
    gateway.settle()
    assert [bundle["entry"][-1]["resource"]["status"] for bundle in ehr.pushes] == ["requested", "cancelled"]
    assert [bundle["entry"][-1]["request"]["method"] for bundle in ehr.pushes] == ["POST", "PUT"]
    assert [task["status"] for task in ehr.all_of("Task")] == ["cancelled"]
    assert gateway.states() == {"done": 1}


def test_a_newer_state_after_a_lost_answer_is_an_update(gateway, ehr):
    ehr.script.append("lose")
    gateway.put()
    gateway.worker().run_once()
    gateway.status = "cancelled"
    gateway.put()
    gateway.settle()
    assert [task["status"] for task in ehr.all_of("Task")] == ["cancelled"]


def test_a_drop_before_the_first_byte_stops_the_sending_and_takes_its_audit_row_along(gateway, ehr, monkeypatch):
    described = ehr.metadata

    def meanwhile():
        assert gateway.database.write(lambda unit: outbox.drop(unit, "deliver", "clinic", "task-1")) == "dropped"
        return described()

    monkeypatch.setattr(ehr, "metadata", meanwhile)
    gateway.put()
    gateway.settle()
    assert gateway.prepared == ["task-1"]
    assert (gateway.states(), ehr.pushes, gateway.audits()) == ({"dropped": 1}, [], 0)


def test_what_may_not_leave_any_more_is_dropped(gateway, ehr):
    gateway.may_leave = False
    gateway.put()
    gateway.settle()
    assert (gateway.states(), ehr.pushes) == ({"dropped": 1}, [])


def test_a_destination_without_a_channel_is_a_dead_letter(gateway):
    gateway.put(destination="nobody")
    gateway.settle()
    assert gateway.dead()[0].last_issue_codes == ("no-channel",)


def test_two_workers_never_send_the_same_row(gateway, ehr):
    for number in range(24):
        gateway.put(f"task-{number}")
    start = threading.Barrier(2)

    def work():
        start.wait()
        gateway.settle(gateway.worker(per_destination=4))

    threads = [threading.Thread(target=work) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert gateway.states() == {"done": 24}
    assert sorted(gateway.prepared) == sorted(f"task-{number}" for number in range(24))
    assert len(ehr.pushes) == 24


def test_a_slow_clinic_does_not_hold_up_another_nor_a_deadline(gateway, ehr, make_ehr):
    quick = make_ehr()
    gateway.routes["quick"] = Route("fhir-rest", quick.address)
    ehr.slow_seconds = 2.0
    ehr.script.extend(["slow"] * 2)
    for number in range(6):
        gateway.put(f"task-{number}")
    worker = gateway.worker()
    running = threading.Thread(target=worker.run_forever)
    running.start()
    try:
        until = time.monotonic() + 1.5
        while len(ehr.pushes) < 2 and time.monotonic() < until:
            time.sleep(0.02)
        gateway.put("task-q", destination="quick")
        gateway.put("referral-1", destination="gateway", kind="offer")
        while (not quick.stored or not gateway.ran) and time.monotonic() < until:
            time.sleep(0.02)
        assert quick.stored
        assert gateway.ran == ["referral-1"]
        assert ehr.stored == {}
        assert len(ehr.pushes) == 2
    finally:
        worker.stop()
        running.join()


# --- killed between states ---


def abandon(gateway, *, sending, conditional_create=None):
    """What a worker leaves behind that died: a lease that ends by itself."""

    def take(unit):
        (row,) = claims.claim(unit, worker="dead", limit=1, lease_seconds=-1, kinds={"deliver", "callback"})
        if sending:
            outbox.begin_sending(unit, row, lease_seconds=-1, conditional_create=conditional_create)
        return row

    return gateway.database.write(take)


def test_a_worker_killed_before_sending_is_replaced(gateway, ehr):
    gateway.put()
    abandon(gateway, sending=False)
    gateway.settle()
    assert gateway.states() == {"done": 1}
    assert len(ehr.pushes) == 1


def test_a_worker_killed_while_sending_is_replaced_where_the_peer_recognises_a_repetition(gateway, ehr):
    gateway.put()
    abandon(gateway, sending=True, conditional_create=True)
    gateway.settle()
    assert gateway.states() == {"done": 1}


def test_a_worker_killed_while_sending_leaves_a_question_elsewhere(gateway, ehr):
    gateway.put()
    abandon(gateway, sending=True, conditional_create=False)
    gateway.settle()
    assert (gateway.states(), ehr.pushes) == ({"unknown": 1}, [])


def test_an_interrupted_callback_is_posted_again_under_its_delivery_id(gateway, rms):
    gateway.routes["riverton-rms"] = Route("callback", rms.address)
    gateway.put("referral-1", destination="riverton-rms", kind="callback")
    row = abandon(gateway, sending=True)
    gateway.settle()
    assert gateway.states("callback") == {"done": 1}
    assert [request.headers["Crisis-Delivery-Id"] for request in rms.requests] == [row.delivery_id]
    assert json.loads(rms.requests[0].body) == {"receipt": "referral-1", "status": "closed"}


def test_a_worker_that_wakes_after_its_lease_changes_nothing(gateway, ehr):
    gateway.put()
    row = abandon(gateway, sending=False)
    gateway.settle()
    gateway.worker().work(row)
    assert gateway.states() == {"done": 1}
    assert len(ehr.pushes) == 1
    assert gateway.audits() == 1


def test_a_sending_that_would_outlast_its_lease_is_not_begun(gateway, ehr, monkeypatch):
    times = iter([0.0] + [1000.0] * 100)
    monkeypatch.setattr("gateway.delivery.worker.time", SimpleNamespace(monotonic=lambda: next(times)))
    gateway.put()
    gateway.worker().run_once()
    assert ehr.pushes == []
    assert gateway.states() == {"due": 1}
    with gateway.database.read() as unit:
        assert destinations.find_destination(unit, "deliver", "clinic").failures == 0


# --- jobs ---


def test_a_jobs_effect_and_the_end_of_its_row_commit_together(gateway):
    gateway.job = lambda unit, subject: outbox.enqueue(unit, "audit", "row", subject)
    gateway.put("referral-1", destination="gateway", kind="offer")
    gateway.settle()
    assert (gateway.states("offer"), gateway.audits()) == ({"done": 1}, 1)


def test_a_job_that_fails_leaves_no_effect_and_is_tried_again(gateway):
    failures = iter([True, True, False])

    def job(unit, subject):
        outbox.enqueue(unit, "audit", "row", subject)
        if next(failures):
            raise RuntimeError("Jane Roe")

    gateway.job = job
    gateway.put("referral-1", destination="gateway", kind="offer")
    gateway.worker().run_once()
    assert (gateway.states("offer"), gateway.audits()) == ({"due": 1}, 0)
    gateway.settle()
    assert (gateway.states("offer"), gateway.audits(), gateway.ran) == ({"done": 1}, 1, ["referral-1"])


def test_a_job_whose_lease_went_to_another_worker_has_no_effect(gateway):
    gateway.put("referral-1", destination="gateway", kind="offer")

    def take(seconds):
        return lambda unit: claims.claim(unit, worker="w", limit=1, lease_seconds=seconds, kinds={"offer"})[0]

    old = gateway.database.write(take(-1))
    gateway.database.write(take(60))
    gateway.job = lambda unit, subject: outbox.enqueue(unit, "audit", "row", subject)
    gateway.worker().work(old)
    assert (gateway.audits(), gateway.states("offer")) == (0, {"claimed": 1})


def test_a_fault_of_ours_while_preparing_is_tried_again_and_not_blamed_on_the_peer(gateway, ehr):
    prepare, faults = gateway.prepare, iter([True, False])

    def faulty(unit, services, subject, destination):
        if next(faults):
            raise KeyError("Jane Roe")
        return prepare(unit, services, subject, destination)

    gateway.prepare = faulty
    gateway.put()
    gateway.settle()
    assert gateway.states() == {"done": 1}
    with gateway.database.read() as unit:
        assert destinations.find_destination(unit, "deliver", "clinic").failures == 0


# --- stopping ---


def _serve(url, keys, routes, ready):
    gateway = Gateway(Database(url), keys)  # connections are opened after the fork, never before
    gateway.routes = routes
    ready.set()
    gateway.worker().run_forever()
    gateway.database.close()


def test_sigterm_brings_what_is_under_way_to_its_end(gateway, ehr, database_url):
    ehr.slow_seconds = 0.8
    ehr.script.append("slow")
    gateway.put()
    context = multiprocessing.get_context("fork")
    ready = context.Event()
    process = context.Process(target=_serve, args=(database_url, gateway.keys, gateway.routes, ready))
    process.start()
    assert ready.wait(10)
    until = time.monotonic() + 10
    while not ehr.pushes and time.monotonic() < until:
        time.sleep(0.02)
    os.kill(process.pid, signal.SIGTERM)
    process.join(10)
    assert process.exitcode == 0
    assert gateway.states() == {"done": 1}

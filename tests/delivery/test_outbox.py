"""The outbox: one row a thing to do, claimed by lease, fenced against who lost it."""

from __future__ import annotations

import dataclasses
import threading
from datetime import timedelta

import pytest

from gateway.store import claims, deliveries, destinations, outbox
from gateway.store.outbox import Result

KINDS = {"deliver", "callback", "offer"}
DONE = Result("done", may_hold=True, status=200)


class Box:
    """The outbox in the words of the tests; each call is a transaction of its own."""

    def __init__(self, database):
        self.database = database

    def __getattr__(self, name):
        function = getattr(outbox, name, None) or getattr(deliveries, name)
        return lambda *args, **options: self.database.write(lambda unit: function(unit, *args, **options))

    def put(self, subject="task-1", destination="clinic", kind="deliver", **options):
        self.enqueue(kind, destination, subject, **options)

    def claim(self, *, worker="w", limit=10, lease_seconds=60, kinds=KINDS, concurrency=10):
        return self.database.write(
            lambda unit: claims.claim(unit, worker=worker, limit=limit, lease_seconds=lease_seconds, kinds=kinds, concurrency=concurrency)
        )

    def has_work(self, kinds=KINDS):
        with self.database.read() as unit:
            return claims.has_work(unit, kinds)

    def send(self, claimed, *, lease_seconds=60, conditional_create=None):
        return self.begin_sending(claimed, lease_seconds=lease_seconds, conditional_create=conditional_create)

    def note(self, name, *args, **options):
        return self.database.write(lambda unit: getattr(destinations, name)(unit, *args, **options))

    def later(self, **delta):
        return self.database.write(lambda unit: unit.now + timedelta(**delta))

    def state(self, claimed):
        return self.find_delivery(claimed.id).state


@pytest.fixture
def box(database):
    return Box(database)


def test_a_row_is_claimed_once_and_finished(box):
    box.put()
    (row,) = box.claim()
    assert (row.kind, row.destination, row.subject, row.generation, row.attempt) == ("deliver", "clinic", "task-1", 1, 1)
    assert box.claim() == []
    sending = box.send(row)
    assert box.finish(sending, DONE)
    assert box.state(row) == "done"
    assert not box.has_work()


def test_there_is_one_row_for_a_destination_and_a_subject(box):
    for _ in range(3):
        box.put()
    assert box.counts() == {("deliver", "due"): 1}
    (row,) = box.claim()
    assert row.generation == 3


def test_a_row_is_not_taken_before_its_time(box):
    box.put(due_at=box.later(hours=1))
    assert not box.has_work()
    assert box.claim() == []


def test_enqueueing_again_replaces_the_time_of_a_row_that_waits(box):
    box.put(due_at=box.later(hours=1))
    box.put()
    assert len(box.claim()) == 1


def test_the_longest_due_comes_first(box):
    for subject, minutes in (("b", 2), ("a", 3), ("c", 1)):
        box.put(subject, due_at=box.later(minutes=-minutes))
    assert [row.subject for row in box.claim(limit=2)] == ["a", "b"]


def test_a_destinations_concurrency_is_counted_over_all_workers(box):
    for number in range(5):
        box.put(f"task-{number}")
        box.put(f"task-{number}", destination="other")
    first = box.claim(worker="one", concurrency=2)
    second = box.claim(worker="two", concurrency=2)
    assert sorted(row.destination for row in first) == ["clinic", "clinic", "other", "other"]
    assert second == []
    box.finish(box.send(next(row for row in first if row.destination == "clinic")), DONE)
    assert [row.destination for row in box.claim(concurrency=2)] == ["clinic"]


def test_a_backlog_of_one_destination_does_not_hide_another(box):
    for number in range(30):
        box.put(f"task-{number}", due_at=box.later(minutes=-10))
    box.put(destination="other")
    assert sorted({row.destination for row in box.claim(limit=4, concurrency=2)}) == ["clinic", "other"]


def test_only_the_kinds_asked_for_are_taken(box):
    box.put(kind="offer", destination="gateway")
    assert box.claim(kinds={"deliver"}) == []
    assert not box.has_work({"deliver"})
    assert len(box.claim(kinds={"offer"})) == 1


def test_many_workers_at_once_never_take_the_same_row(box):
    for number in range(40):
        box.put(f"task-{number}", destination=f"clinic-{number % 4}")
    taken, start = [], threading.Barrier(4)

    def work(name):
        start.wait()
        while rows := box.claim(worker=name, limit=3, concurrency=100):
            taken.extend(row.id for row in rows)

    threads = [threading.Thread(target=work, args=(f"w{number}",)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(taken) == len(set(taken)) == 40


# --- leases ---


def test_an_abandoned_claim_goes_to_anyone_and_its_old_holder_changes_nothing(box):
    box.put()
    (old,) = box.claim(worker="dead", lease_seconds=-1)
    assert box.has_work()
    (new,) = box.claim(worker="alive")
    assert (new.id, new.attempt) == (old.id, 2)
    assert box.send(old) is None
    assert not box.finish(old, DONE)
    assert not box.renew(old, lease_seconds=60)
    assert not box.release(old)
    assert box.state(new) == "claimed"
    assert box.finish(box.send(new), DONE)


@pytest.mark.parametrize("forged", [{"attempt": 2}, {"lease_token": "another"}])
def test_token_and_attempt_must_both_be_those_of_the_claim(box, forged):
    box.put()
    (row,) = box.claim()
    other = dataclasses.replace(row, **forged)
    assert box.send(other) is None
    assert not box.finish(other, DONE)
    assert not box.release(other)
    assert box.send(row) is not None


def test_a_claim_whose_lease_ended_and_that_nobody_took_may_still_begin(box):
    box.put()
    (row,) = box.claim(lease_seconds=-1)
    assert box.send(row) is not None


def test_a_renewed_lease_is_kept(box):
    box.put()
    (row,) = box.claim(lease_seconds=-1)
    assert box.renew(row, lease_seconds=60)
    assert box.claim() == []


def test_a_released_row_is_due_at_once_and_counts_no_try(box):
    box.put()
    (row,) = box.claim()
    assert box.release(row)
    (again,) = box.claim()
    assert (again.tries, again.attempt) == (0, 2)


@pytest.mark.parametrize(
    ("kind", "conditional_create", "state"),
    [("deliver", True, "claimed"), ("deliver", False, "unknown"), ("deliver", None, "unknown"), ("callback", None, "claimed")],
)
def test_an_interrupted_sending_is_repeated_only_where_it_does_no_harm(box, kind, conditional_create, state):
    box.put(kind=kind)
    (row,) = box.claim()
    sending = box.send(row, lease_seconds=-1, conditional_create=conditional_create)
    taken = box.claim()
    assert box.state(row) == state
    assert not box.finish(sending, DONE)
    assert [again.held_generation for again in taken] == ([1] if state == "claimed" else [])


def test_an_interrupted_sending_of_an_older_state_is_followed_by_the_newer_one(box):
    box.put()
    box.send(box.claim()[0], lease_seconds=-1, conditional_create=False)
    box.put()
    (again,) = box.claim()
    assert (again.generation, again.held_generation) == (2, 1)


def test_a_sending_that_lasts_is_left_alone(box):
    box.put()
    box.send(box.claim()[0])
    assert box.claim() == []


# --- dirty rows ---


def test_an_event_while_claimed_leaves_with_the_same_sending(box):
    box.put()
    (row,) = box.claim()
    box.put()
    sending = box.send(row)
    assert sending.generation == 2
    assert sending.delivery_id != row.delivery_id
    box.finish(sending, DONE)
    assert box.state(row) == "done"


@pytest.mark.parametrize("verdict", ["done", "dead", "unknown"])
def test_an_event_while_sending_makes_the_row_due_again(box, verdict):
    box.put()
    sending = box.send(box.claim()[0])
    box.put()
    assert box.state(sending) == "sending"
    box.finish(sending, Result(verdict, may_hold=True))
    (again,) = box.claim()
    assert (again.generation, again.held_generation, again.tries) == (2, 1, 0)


def test_an_event_while_sending_does_not_shorten_the_wait_of_a_failing_peer(box):
    box.put()
    sending = box.send(box.claim()[0])
    box.put()
    box.finish(sending, Result("retry", timedelta(minutes=5)))
    assert box.claim() == []


def test_a_job_that_enqueues_itself_runs_again_at_that_time(box):
    box.put(kind="offer", destination="gateway")
    (row,) = box.claim()
    box.put(kind="offer", destination="gateway", due_at=box.later(hours=1))
    box.finish(row, Result("done"))
    assert box.state(row) == "due"
    assert box.claim() == []


# --- drop ---


def test_what_has_not_left_is_dropped(box):
    assert box.drop("deliver", "clinic", "task-1") == "absent"
    box.put()
    assert box.drop("deliver", "clinic", "task-1") == "dropped"
    assert box.claim() == []
    assert box.drop("deliver", "clinic", "task-1") == "dropped"


def test_a_drop_between_claim_and_first_byte_stops_the_sending(box):
    box.put()
    (row,) = box.claim()
    assert box.drop("deliver", "clinic", "task-1") == "dropped"
    assert box.send(row) is None


def test_a_drop_while_sending_says_sent(box):
    box.put()
    sending = box.send(box.claim()[0])
    assert box.drop("deliver", "clinic", "task-1") == "sent"
    assert box.finish(sending, DONE)


def test_a_drop_after_a_sending_says_sent_and_a_newer_state_can_follow(box):
    box.put()
    box.finish(box.send(box.claim()[0]), DONE)
    assert box.drop("deliver", "clinic", "task-1") == "sent"
    box.put()
    assert box.drop("deliver", "clinic", "task-1") == "sent"
    assert box.claim() == []
    box.put()
    assert len(box.claim()) == 1


@pytest.mark.parametrize(("may_hold", "said"), [(True, "sent"), (False, "dropped")])
def test_a_drop_while_waiting_to_try_again_says_what_the_peer_may_hold(box, may_hold, said):
    box.put()
    box.finish(box.send(box.claim()[0]), Result("retry", timedelta(hours=1), may_hold=may_hold))
    assert box.drop("deliver", "clinic", "task-1") == said


def test_a_row_dropped_and_enqueued_again_is_not_begun_by_the_claim_of_before(box):
    box.put()
    (old,) = box.claim()
    box.drop("deliver", "clinic", "task-1")
    box.put()
    assert box.send(old) is None
    assert not box.finish(old, DONE)
    assert len(box.claim()) == 1


def test_a_cancelled_job_does_not_run_and_may_cancel_itself(box):
    box.put(kind="offer", destination="gateway")
    box.cancel_due("offer", "gateway", "task-1")
    assert box.claim() == []
    box.put(kind="offer", destination="gateway")
    (row,) = box.claim()
    box.cancel_due("offer", "gateway", "task-1")
    assert box.finish(row, Result("done"))
    assert box.state(row) == "dropped"
    box.cancel_due("offer", "gateway", "nothing")


# --- destinations ---


def test_nothing_is_sent_to_a_destination_held_off_and_then_one_probe(box):
    for number in range(3):
        box.put(f"task-{number}")
    box.note("hold_off", "deliver", "clinic", timedelta(hours=1))
    assert not box.has_work()
    assert box.claim() == []
    box.note("let_through", "deliver", "clinic")
    probe = box.claim()
    assert len(probe) == 1
    assert box.claim() == []
    box.note("note_reached", "deliver", "clinic")
    assert len(box.claim()) == 2


def test_failures_are_counted_until_the_peer_answers(box):
    box.put()
    assert [box.note("note_failure", "deliver", "clinic") for _ in range(3)] == [1, 2, 3]
    box.note("note_reached", "deliver", "clinic")
    assert box.note("find_destination", "deliver", "clinic").failures == 0


def test_a_longer_wait_that_stands_is_kept(box):
    box.put()
    box.note("hold_off", "deliver", "clinic", timedelta(hours=2))
    before = box.note("find_destination", "deliver", "clinic").open_until
    box.note("hold_off", "deliver", "clinic", timedelta(seconds=1))
    assert box.note("find_destination", "deliver", "clinic").open_until == before


# --- for a person ---


def test_a_dead_letter_shows_status_and_codes_and_can_be_replayed_under_its_id(box):
    box.put()
    sending = box.send(box.claim()[0])
    box.finish(sending, Result("dead", status=422, issue_codes=("value",)))
    box.note("hold_off", "deliver", "clinic", timedelta(hours=1))
    (dead,) = box.dead_letters()
    assert (dead.last_status, dead.last_issue_codes, dead.state) == (422, ("value",), "dead")
    assert box.replay(dead.id)
    (again,) = box.claim()
    assert again.delivery_id == sending.delivery_id
    assert not box.replay(dead.id)


def test_an_unknown_row_is_listed_and_can_be_given_up(box):
    box.put()
    box.finish(box.send(box.claim()[0]), Result("unknown", may_hold=True))
    (unknown,) = box.unknowns()
    assert box.discard(unknown.id)
    assert box.unknowns() == []
    assert not box.discard(unknown.id)
    assert not box.replay("no such row")


def test_a_new_event_revives_a_dead_row(box):
    box.put()
    box.finish(box.send(box.claim()[0]), Result("dead", status=422))
    box.put()
    (again,) = box.claim()
    assert (again.tries, again.generation) == (0, 2)


def test_no_column_of_the_outbox_holds_content():
    assert set(outbox.OUTBOX.columns.keys()) == {
        "id", "kind", "destination", "subject", "state", "generation", "sending_generation", "sent_generation", "held_generation",
        "due_at", "lease_token", "lease_until", "worker", "attempt", "tries", "first_attempt_at", "finished_at", "last_status",
        "last_issue_codes",
    }  # fmt: skip

"""What the sender reads: three words without the person's confirmed authorization, never who and never why."""

from __future__ import annotations

import time
from typing import Final
from uuid import uuid4

from conformance.checks import check
from conformance.checks.intake import MEMBERS
from conformance.exchange import Exchange
from conformance.expect import expect_equal, expect_refusal, expect_status, json_object
from conformance.session import Session
from conformance.verdicts import Failed

NARROW: Final = frozenset({"received", "returned", "closed"})


def _word(answer: Exchange) -> str:
    expect_status(answer, 200)
    view = json_object(answer)
    if view.keys() != MEMBERS:
        raise Failed(f"the receipt has the members {', '.join(sorted(view))}", answer)
    if view["status"] not in NARROW:
        raise Failed(f"without authorization the sender reads {view['status']}", answer)
    return str(view["status"])


@check(
    "receipt-says-nothing-of-acceptance",
    "Without authorization the receipt is the same before and after acceptance",
    "CRG-REC-2",
    "CRG-REC-3",
    likely="the sender's status is made from the Task's status",
)
def says_nothing_of_acceptance(session: Session) -> None:
    """`received` while the request waits, after it was accepted and while it is in progress; not a byte of the answer differs."""
    offer = session.new_offer()
    before = session.view(offer.receipt)
    if _word(before) != "received":
        raise Failed("the word is not received while the request waits", before)
    expect_status(session.put_task(offer.task, offer.etag, status="accepted"), 200)
    etag = session.read_task(offer.id).answer_headers.get("ETag")
    expect_status(session.patch_task(offer.id, [{"op": "replace", "path": "/status", "value": "in-progress"}], etag), 200)
    time.sleep(session.settle_seconds)  # a view that follows by a job shows it now
    after = session.view(offer.receipt)
    if _word(after) != "received":
        raise Failed("the word changes with the acceptance", after)
    if before.answer != after.answer:
        raise Failed("the answers before and after acceptance differ", after)
    for name in ("ETag", "Last-Modified"):
        if before.answer_headers.get(name) != after.answer_headers.get(name):
            raise Failed(f"{name} moves with the acceptance", after)
    expect_equal(before, after, (), "the answers before and after acceptance")


@check(
    "receipt-says-nothing-of-decline",
    "The receipt says neither who was asked nor that somebody declined",
    "CRG-REC-3",
    likely="the Task's owner or statusReason reaches the sender's view",
)
def says_nothing_of_decline(session: Session) -> None:
    """After a decline with a reason: received or returned, and neither the reason nor the receiver's name or key in it."""
    offer = session.new_offer()
    reason = f"kit reason {uuid4()}"
    expect_status(session.put_task(offer.task, offer.etag, status="rejected", statusReason={"text": reason}), 200)
    answer = session.view(offer.receipt)
    if _word(answer) == "closed":
        raise Failed("a decline closes the sender's view", answer)
    owner = offer.task.get("owner", {})
    secrets = [reason, owner.get("display"), session.parties["receiver"].organization, session.parties["receiver"].client_id, offer.id]
    text = answer.answer.decode("utf-8", "backslashreplace") + str(dict(answer.answer_headers))
    if any(secret and str(secret) in text for secret in secrets):
        raise Failed("the receipt names the receiver, its Task or its reason", answer)


@check(
    "receipt-cancel-equal-bytes",
    "A cancel answers the same before and after acceptance",
    "CRG-REC-4",
    likely="after acceptance the cancel becomes a request to the holder, and the answer says so",
)
def cancel_equal_bytes(session: Session) -> None:
    """200 closed both times, equal to the byte but for receipt, times and request id; and the same again."""
    waiting, taken = session.new_offer(), session.new_offer()
    expect_status(session.put_task(taken.task, taken.etag, status="accepted"), 200)
    first, second = session.cancel(waiting.receipt), session.cancel(taken.receipt)
    for answer in (first, second):
        if _word(answer) != "closed":
            raise Failed("a cancel is not answered with closed", answer)
    expect_equal(first, second, (waiting.receipt, taken.receipt), "a cancel before and one after acceptance")
    again = session.cancel(taken.receipt)
    expect_equal(second, again, (), "a cancel and its repetition")


@check(
    "receipt-closed-after-cancel",
    "After a cancel the receipt reads closed and the receiver is no longer asked",
    "CRG-REC-4",
    "CRG-REC-5",
    likely="the cancel reaches the sender's view and not the offer, or the other way round",
)
def closed_after_cancel(session: Session) -> None:
    """GET says closed; the offered Task reads cancelled and can no longer be accepted, nor the person read."""
    offer = session.new_offer()
    person = "/".join(str(offer.task.get("for", {}).get("reference", "")).split("/")[-2:])
    expect_status(session.cancel(offer.receipt), 200)
    view = session.view(offer.receipt)
    if _word(view) != "closed":
        raise Failed("the receipt does not read closed after the cancel", view)
    task = session.read_task(offer.id)
    expect_status(task, 200)
    if json_object(task).get("status") != "cancelled":
        raise Failed("the withdrawn Task does not read cancelled", task)
    etag = task.answer_headers.get("ETag")
    late = session.patch_task(offer.id, [{"op": "replace", "path": "/status", "value": "accepted"}], etag)
    expect_refusal(late, 422, "business-rule")
    if person and session.covers("receiver", "Patient", "r"):
        expect_refusal(session.receiver.call("GET", f"/fhir/{person}"), 404, "not-found")


@check(
    "receipt-foreign",
    "Another sender's receipt is a receipt that never existed",
    "CRG-REC-6",
    likely="a receipt is looked up first and its sender compared afterwards, with an answer of its own",
)
def foreign(session: Session) -> None:
    """Read and cancel of a foreign receipt are 404, equal to one that never existed, and change nothing."""
    other = session.other_sender
    receipt = session.refer()
    never = f"{uuid4()}"[: len(receipt)]
    for act in (session.view, session.cancel):
        here, there = act(receipt, other), act(never, other)
        expect_refusal(here, 404, "not-found")
        expect_equal(here, there, (receipt, never), "a foreign receipt and one that never existed")
    if _word(session.view(receipt)) == "closed":
        raise Failed("a foreign cancel closed the referral")

"""The receiver's Task: read, answered on the version read, moved only as the workflow allows, won by one."""

from __future__ import annotations

from conformance.checks import check
from conformance.exchange import Exchange
from conformance.expect import FHIR_TYPES, expect_outcome, expect_refusal, expect_status, json_object
from conformance.session import Offer, Session
from conformance.verdicts import Failed
from profiles.engine import r4


def _expect_unmoved(session: Session, offer: Offer) -> None:
    again = session.read_task(offer.id)
    expect_status(again, 200)
    task = json_object(again)
    if (task.get("status"), task.get("meta", {}).get("versionId")) != ("requested", offer.task["meta"]["versionId"]):
        raise Failed("the refused request changed the Task", again)


@check(
    "task-read",
    "The receiver reads a valid Task with its version",
    "FHIR-READ-1",
    "CRG-TASK-1",
    likely="the ETag is a hash of the body instead of the version, or stored JSON was changed by hand",
)
def read(session: Session) -> None:
    """It is valid R4, waits as `requested`, and ETag and Last-Modified agree with meta."""
    offer = session.open_offer()
    if offer.answer.media_type not in FHIR_TYPES:
        raise Failed(f"served as {offer.answer.media_type or 'nothing'}", offer.answer)
    faults = [issue for issue in r4().validate(offer.task) if issue.severity in ("error", "fatal")]
    if faults:
        raise Failed(f"not valid R4: {', '.join(faults[0].expression)}: {faults[0].text}", offer.answer)
    if offer.answer.answer_headers.get("ETag") != offer.etag:
        raise Failed("ETag is not the weak tag of meta.versionId", offer.answer)
    if "Last-Modified" not in offer.answer.answer_headers:
        session.warn("the Task is served without Last-Modified")
    organization = session.parties["receiver"].organization
    owner = offer.task.get("owner", {}).get("reference", "")
    if organization and not str(owner).endswith(f"Organization/{organization}"):
        raise Failed("Task.owner is not the receiver's organisation", offer.answer)


@check(
    "task-if-match-stale",
    "An update on an older version is 412 and changes nothing",
    "FHIR-LOCK-1",
    "CRG-TASK-2",
    likely="If-Match is read and not compared, or compared outside the transaction that writes",
)
def stale(session: Session) -> None:
    """PUT and PATCH with a version that is not the current one."""
    offer = session.open_offer()
    for version in ('W/"0"', 'W/"99999"'):
        expect_refusal(session.put_task(offer.task, version, status="accepted"), 412, "conflict")
    patch = [{"op": "replace", "path": "/status", "value": "accepted"}]
    expect_refusal(session.patch_task(offer.id, patch, 'W/"0"'), 412, "conflict")
    _expect_unmoved(session, offer)


@check(
    "task-if-match-missing",
    "An update without If-Match is 428 and changes nothing",
    "CRG-TASK-3",
    likely="a missing If-Match is taken as agreement with whatever is stored",
)
def missing(session: Session) -> None:
    """PUT and PATCH without the header."""
    offer = session.open_offer()
    expect_refusal(session.put_task(offer.task, None, status="accepted"), 428, "required")
    patch = [{"op": "replace", "path": "/status", "value": "accepted"}]
    expect_refusal(session.patch_task(offer.id, patch, None), 428, "required")
    _expect_unmoved(session, offer)


@check(
    "task-illegal-move",
    "A move the workflow does not have is 422 and names the legal ones",
    "CRG-TASK-4",
    likely="any code of task-status is taken, or the refusal does not say what would be legal",
)
def illegal_move(session: Session) -> None:
    """From `requested` neither completed, on-hold nor draft can follow; accepted and rejected are named."""
    offer = session.open_offer()
    for status in ("completed", "on-hold", "draft"):
        answer = session.put_task(offer.task, offer.etag, status=status)
        issues = expect_refusal(answer, 422, "business-rule")
        said = " ".join(str(issue.get("details", {}).get("text", "")) + str(issue.get("diagnostics", "")) for issue in issues)
        if "accepted" not in said or "rejected" not in said:
            raise Failed("the refusal does not name accepted and rejected as the legal moves", answer)
    _expect_unmoved(session, offer)


@check(
    "task-unknown-status",
    "A status that is no FHIR code is 422 and changes nothing",
    "FHIR-BIND-1",
    likely="required bindings are not checked on what comes in",
)
def unknown_status(session: Session) -> None:
    """`banana` is refused with the element's path."""
    offer = session.open_offer()
    answer = session.put_task(offer.task, offer.etag, status="banana")
    expect_status(answer, 422)
    issues = expect_outcome(answer)
    if not any("Task.status" in path for issue in issues for path in issue.get("expression", [])):
        raise Failed("no issue names Task.status", answer)
    _expect_unmoved(session, offer)


@check(
    "task-owner-elements",
    "What is not the receiver's to change is refused",
    "CRG-TASK-5",
    likely="the body of a PUT replaces the stored Task as a whole",
)
def owner_elements(session: Session) -> None:
    """Another priority, requester or person than was served is 422; nothing of the update is taken."""
    offer = session.open_offer()
    other = "routine" if offer.task.get("priority") != "routine" else "stat"
    for elements in ({"priority": other}, {"requester": {"display": "Somebody else"}}, {"for": {"display": "Somebody else"}}):
        expect_refusal(session.put_task(offer.task, offer.etag, status="accepted", **elements), 422)
    _expect_unmoved(session, offer)


@check(
    "task-accept",
    "An acceptance on the current version is taken and makes a new version",
    "FHIR-LOCK-2",
    "CRG-TASK-6",
    likely="the answer shows the Task before the update, or the version does not move",
)
def accept(session: Session) -> None:
    """PUT accepted answers 200 with the new version; the old version is stale from then on, and progress goes by PATCH."""
    offer = session.new_offer()
    answer = session.put_task(offer.task, offer.etag, status="accepted")
    expect_status(answer, 200)
    again = session.read_task(offer.id)
    expect_status(again, 200)
    task = json_object(again)
    if task.get("status") != "accepted":
        raise Failed("the Task does not read accepted afterwards", again)
    if again.answer_headers.get("ETag") == offer.etag or answer.answer_headers.get("ETag") != again.answer_headers.get("ETag"):
        raise Failed("the update's answer does not carry the new version", answer)
    expect_refusal(session.put_task(offer.task, offer.etag, status="rejected"), 412, "conflict")
    patch = [{"op": "replace", "path": "/status", "value": "in-progress"}]
    moved = session.patch_task(offer.id, patch, again.answer_headers["ETag"])
    expect_status(moved, 200)
    if json_object(session.read_task(offer.id)).get("status") != "in-progress":
        raise Failed("the Task does not read in-progress after the PATCH", moved)


@check(
    "task-one-winner",
    "Of two answers at the same moment exactly one is taken",
    "FHIR-LOCK-1",
    "CRG-TASK-7",
    likely="the version is compared before the lock is taken",
)
def one_winner(session: Session) -> None:
    """Three acceptances and three declines on one version: one 200, five 412, and the Task reads what was answered 200."""
    offer = session.new_offer()
    wanted = ["accepted", "rejected"] * 3

    def move(status: str, number: int) -> Exchange:
        return session.put_task(offer.task, offer.etag, status=status, note=[{"text": f"answer {number}"}])

    answers = session.at_once([lambda s=status, n=number: move(s, n) for number, status in enumerate(wanted)])  # type: ignore[misc]
    won = [status for status, answer in zip(wanted, answers, strict=True) if answer.status == 200]
    if len(won) != 1:
        raise Failed(f"{len(won)} of 6 answers on one version were taken", answers[-1])
    for answer in answers:
        if answer.status != 200:
            expect_refusal(answer, 412, "conflict")
    again = session.read_task(offer.id)
    if json_object(again).get("status") != won[0]:
        raise Failed("the Task does not read what was answered with 200", again)


@check(
    "task-declined-loses-person",
    "A receiver that declined no longer sees the person",
    "CRG-TASK-8",
    likely="access hangs on having been asked, not on being asked now",
)
def declined_loses_person(session: Session) -> None:
    """After `rejected` the Patient it read is 404, and its Task stays, without the person."""
    session.require_scope("receiver", "Patient", "r")
    offer = session.new_offer()
    person = offer.task.get("for", {}).get("reference", "")
    address = f"/fhir/{'/'.join(str(person).split('/')[-2:])}"
    expect_status(session.receiver.call("GET", address), 200, why="the receiver cannot read the person of its Task")
    expect_status(session.put_task(offer.task, offer.etag, status="rejected"), 200)
    expect_refusal(session.receiver.call("GET", address), 404, "not-found")
    again = session.read_task(offer.id)
    expect_status(again, 200)
    kept = json_object(again)
    if kept.get("status") != "rejected" or kept.keys() & {"for", "focus", "input"}:
        raise Failed("the ended Task does not read rejected without for, focus and input", again)

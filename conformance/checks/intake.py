"""The sender's door: one number is one referral, however often and however fast it is sent."""

from __future__ import annotations

from typing import Final

from conformance.checks import check
from conformance.expect import INSTANT, expect_outcome, expect_refusal, expect_status, json_object, member
from conformance.messages import VERSION
from conformance.session import Session
from conformance.verdicts import Failed
from profiles.strict_json import to_json

MEMBERS: Final = frozenset({"receipt", "status", "since", "next", "issues"})


@check(
    "intake-schema",
    "The schema is public and its example is taken as it is",
    "CRG-INT-1",
    likely="the schema was changed without its example",
)
def schema(session: Session) -> None:
    """GET …/schema without a token; the first example posted unchanged is 201, or 200 where it was posted before."""
    example = session.messages.example()
    answer = session.post(example)
    expect_status(answer, 200, 201)
    session.receipt_of(answer)


@check(
    "intake-receipt",
    "A request gets 201, a Location and a receipt of five members",
    "CRG-INT-2",
    "CRG-REC-1",
    likely="the receipt carries the resource made instead of the sender's view",
)
def receipt(session: Session) -> None:
    """The body is exactly receipt, status, since, next, issues; GET of the Location says the same."""
    answer = session.post(session.messages.new())
    expect_status(answer, 201)
    view = json_object(answer)
    if view.keys() != MEMBERS:
        raise Failed(f"the receipt has the members {', '.join(sorted(view))}", answer)
    name = session.receipt_of(answer)
    if view["status"] != "received":
        raise Failed("the first word is not received", answer)
    if not isinstance(view["since"], str) or not INSTANT.fullmatch(view["since"]):
        raise Failed("since is no instant", answer)
    if not isinstance(view["issues"], list):
        raise Failed("issues is no list", answer)
    location = answer.answer_headers.get("Location", "")
    if location not in (f"/referrals/{name}", f"{session.target}/referrals/{name}"):
        raise Failed("Location is not /referrals/<receipt>", answer)
    again = session.sender.call("GET", location)
    expect_status(again, 200)
    if json_object(again) != view:
        raise Failed("GET of the receipt says something else", again)


@check(
    "intake-same-again",
    "The same request again is 200 with the same receipt",
    "CRG-INT-3",
    likely="the key is the body's hash or the HTTP request, not the sender's own number",
)
def same_again(session: Session) -> None:
    """Unchanged, and with its members in another order and other white space."""
    message = session.messages.new()
    first = session.post(message)
    expect_status(first, 201)
    turned = "{ " + ",\n ".join(f"{_text(name)}: {_text(value)}" for name, value in reversed(message.items())) + " }"
    for answer in (session.post(message), session.post(turned.encode())):
        expect_status(answer, 200)
        if session.receipt_of(answer) != session.receipt_of(first):
            raise Failed("the same request got another receipt", answer)


def _text(value: object) -> str:
    return to_json(value).decode()


@check(
    "intake-other-content",
    "The same number and revision with other content is 409",
    "CRG-INT-4",
    likely="a repeated number overwrites, or is answered as a repetition without comparing the content",
)
def other_content(session: Session) -> None:
    """409 with `duplicate`; the first content stands, so that it is still 200 to send it again."""
    message = session.messages.new()
    expect_status(session.post(message), 201)
    expect_refusal(session.post(session.messages.other_content(message)), 409, "duplicate")
    expect_status(session.post(message), 200)


@check(
    "intake-revisions",
    "A newer and an older revision are 200 with the same receipt",
    "CRG-INT-5",
    likely="the revision is part of the receipt's key",
)
def revisions(session: Session) -> None:
    """Revision 3, then 5, then 4 of one number."""
    message = session.messages.new(**{VERSION: 3})
    first = session.post(message)
    expect_status(first, 201)
    for number in (5, 4):
        answer = session.post(session.messages.other_content(message) | {VERSION: number})
        expect_status(answer, 200)
        if session.receipt_of(answer) != session.receipt_of(first):
            raise Failed("another revision got another receipt", answer)


@check(
    "intake-sixteen-at-once",
    "Sixteen equal requests at once make one referral",
    "CRG-INT-6",
    likely="the number is looked up first and inserted later, without a unique key or a lock",
)
def sixteen_at_once(session: Session) -> None:
    """One 201, fifteen 200, one receipt."""
    message = session.messages.new()
    session.sender.token()
    answers = session.at_once([lambda: session.post(message)] * 16)
    statuses = sorted(answer.status for answer in answers)
    odd = next((answer for answer in answers if answer.status not in (200, 201)), None)
    if statuses != [200] * 15 + [201]:
        raise Failed(f"answered {', '.join(f'{statuses.count(each)} × {each}' for each in sorted(set(statuses)))}", odd)
    receipts = {session.receipt_of(answer) for answer in answers}
    if len(receipts) != 1:
        raise Failed(f"{len(receipts)} receipts for one request", answers[-1])


@check(
    "intake-numbers-are-the-senders",
    "Another sender's equal number is another referral",
    "CRG-INT-7",
    likely="the number is unique over all senders, which also tells that somebody else used it",
)
def numbers_are_the_senders(session: Session) -> None:
    """The same message of another agency is 201 with a receipt of its own."""
    other = session.other_sender
    message = session.messages.new()
    first = session.post(message)
    expect_status(first, 201)
    second = session.post(message, client=other)
    expect_status(second, 201)
    if session.receipt_of(first) == session.receipt_of(second):
        raise Failed("two senders got one receipt", second)


@check(
    "intake-dry-run",
    "A dry run shows the result and keeps nothing",
    "CRG-INT-8",
    likely="the dry run goes through the store and is not rolled back",
)
def dry_run(session: Session) -> None:
    """200 with a Bundle somewhere in it; afterwards the number is free, with other content as well."""
    message = session.messages.new()
    answer = session.post(session.messages.other_content(message), query="?dry-run=true")
    expect_status(answer, 200)
    if not _holds_bundle(json_object(answer)):
        raise Failed("the dry run shows no Bundle", answer)
    expect_status(session.post(message), 201, why="the number of a dry run is not free any more")


def _holds_bundle(value: object) -> bool:
    if isinstance(value, dict):
        return value.get("resourceType") == "Bundle" or any(_holds_bundle(child) for child in value.values())
    return isinstance(value, list) and any(_holds_bundle(child) for child in value)


@check(
    "intake-missing-member",
    "A request without a required member is 422, names it, and keeps nothing",
    "CRG-INT-9",
    likely="the schema is published and not applied",
)
def missing_member(session: Session) -> None:
    """One required member left out; the corrected message under the same number is 201."""
    name = session.messages.required_member()
    message = session.messages.new()
    answer = session.post({key: value for key, value in message.items() if key != name})
    expect_status(answer, 400, 422)
    issues = expect_outcome(answer)
    if answer.status == 400:
        session.warn("a missing member is answered 400; 422 says that the JSON was read")
    if not any(name in str(issue) for issue in issues):
        raise Failed(f"no issue names {name}", answer)
    expect_status(session.post(message), 201, why="the number of a refused request is not free any more")


@check(
    "intake-unknown-member-strict",
    "Under Prefer: handling=strict an unknown member is refused, without it reported",
    "CRG-INT-10",
    likely="Prefer is not read, so that a misspelt member is lost in silence",
)
def unknown_member_strict(session: Session) -> None:
    """422 naming the member under strict; 201 with an issue naming it otherwise."""
    message = session.messages.new(kit_member_nobody_knows="x")
    answer = session.post(message, Prefer="handling=strict")
    expect_status(answer, 422)
    if not any("kit_member_nobody_knows" in str(issue) for issue in expect_outcome(answer)):
        raise Failed("no issue names the unknown member", answer)
    lenient = session.post(message)
    expect_status(lenient, 201)
    if "kit_member_nobody_knows" not in str(member(lenient, "issues", list)):
        raise Failed("the receipt's issues do not name the unknown member", lenient)

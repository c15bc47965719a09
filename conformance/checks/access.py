"""Who may ask what: closed without a token, by type to the wrong kind of caller, and silent about what is somebody else's."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final
from uuid import uuid4

from conformance.checks import check
from conformance.exchange import Exchange
from conformance.expect import expect_equal, expect_refusal, expect_status, json_object, member
from conformance.session import INTAKE, Offer, Session
from conformance.standins.client import FHIR_JSON, SmartClient
from conformance.verdicts import Failed

CLOSED: Final = (
    ("GET", "/fhir/Task"),
    ("GET", "/fhir/Task/0"),
    ("PUT", "/fhir/Task/0"),
    ("PATCH", "/fhir/Task/0"),
    ("GET", "/fhir/Patient"),
    ("POST", INTAKE),
    ("GET", "/referrals/0"),
    ("POST", "/referrals/0/cancel"),
)


def _expect_challenge(answer: Exchange) -> None:
    expect_refusal(answer, 401, "login", "expired", "unknown")
    if not answer.answer_headers.get("WWW-Authenticate", "").lower().startswith("bearer"):
        raise Failed("401 without WWW-Authenticate: Bearer", answer)


@check(
    "access-no-token",
    "Without a token every address but the public ones answers 401 and says how to come in",
    "RFC6750-1",
    "CRG-ACC-1",
    likely="a route was added without the guard, or the guard answers without WWW-Authenticate",
)
def no_token(session: Session) -> None:
    """No Authorization header at all, on reads, writes and searches."""
    for method, path in CLOSED:
        _expect_challenge(session.anonymous.send(method, session.target + path))


@check(
    "access-invented-token",
    "A token the server did not give answers 401",
    "RFC6750-1",
    "RFC6750-3",
    likely="the token's form is checked and not whether it was given, or the header's scheme is not looked at",
)
def invented_token(session: Session) -> None:
    """An invented one, an unsigned JWT, an assertion in place of a token, another scheme."""
    assertion = session.receiver.assertion()
    unsigned = "eyJhbGciOiJub25lIn0.eyJzY29wZSI6InN5c3RlbS8qLmNydWRzIn0."
    for value in (f"Bearer {uuid4()}", f"Bearer {unsigned}", f"Bearer {assertion}", "Basic YTpi", "Bearer"):
        _expect_challenge(session.get("/fhir/Task", Authorization=value))


@check(
    "access-token-in-query",
    "A token in the address is not taken",
    "RFC6750-2",
    likely="the framework's token reader also looks at the query; addresses stand in logs",
)
def token_in_query(session: Session) -> None:
    """A good token as access_token in the query answers 401."""
    answer = session.get(f"/fhir/Task?access_token={session.receiver.token()}")
    expect_status(answer, 401)


@check(
    "access-sender-on-fhir",
    "A sender's token opens no FHIR resource, whether it exists or not",
    "CRG-ACC-2",
    likely="the scope is compared per resource found, so that what is not found answers before the scope is looked at",
)
def sender_on_fhir(session: Session) -> None:
    """Search, read and write with the sender's token are 403, and equal for a Task that exists and one that never did."""
    offer = session.open_offer()
    expect_refusal(session.sender.call("GET", "/fhir/Task"), 403, "forbidden")
    expect_refusal(session.sender.call("GET", "/fhir/Patient"), 403, "forbidden")
    for call in _calls(session, session.sender, offer):
        here, never, own = call()
        expect_refusal(here, 403, "forbidden")
        expect_equal(here, never, own, "a Task that exists and one that never did")


@check(
    "access-receiver-on-intake",
    "A receiver's token posts no request and reads no receipt",
    "CRG-ACC-2",
    likely="any valid token is taken at the intake",
)
def receiver_on_intake(session: Session) -> None:
    """The receiver's token is 403 at the intake and at a receipt of this run."""
    message = session.messages.new()
    expect_refusal(session.post(message, client=session.receiver), 403, "forbidden")
    receipt = session.refer()
    expect_refusal(session.view(receipt, session.receiver), 403, "forbidden")
    expect_refusal(session.cancel(receipt, session.receiver), 403, "forbidden")


def _calls(session: Session, client: SmartClient, offer: Offer) -> list[Callable[[], tuple[Exchange, Exchange, tuple[str, str]]]]:
    """Read, PUT and PATCH of the offered Task and of one that never existed, as the given client."""
    never = str(uuid4())
    own = (offer.id, never)
    patch = [{"op": "replace", "path": "/status", "value": "accepted"}]

    def read() -> tuple[Exchange, Exchange, tuple[str, str]]:
        return session.read_task(offer.id, client), session.read_task(never, client), own

    def put() -> tuple[Exchange, Exchange, tuple[str, str]]:
        there = session.put_task(offer.task, offer.etag, client=client, status="accepted")
        return there, session.put_task(offer.task | {"id": never}, offer.etag, client=client, status="accepted"), own

    def patching() -> tuple[Exchange, Exchange, tuple[str, str]]:
        return session.patch_task(offer.id, patch, offer.etag, client), session.patch_task(never, patch, offer.etag, client), own

    return [read, put, patching]


@check(
    "access-foreign-task",
    "Somebody else's Task is a Task that never existed",
    "CRG-ACC-3",
    "CRG-ACC-4",
    likely="access is decided after the resource was found, with an answer of its own, or the search counts before it hides",
)
def foreign_task(session: Session) -> None:
    """Another provider reads, puts, patches and searches it: 404 and no match, equal to a Task that never was. The owner still has it."""
    session.require_scope("stranger", "Task", "rus")
    offer = session.open_offer()
    for call in _calls(session, session.stranger, offer):
        here, never, own = call()
        expect_refusal(here, 404, "not-found")
        expect_equal(here, never, own, "a foreign Task and one that never existed")
    never_id = str(uuid4())
    found = session.stranger.call("GET", f"/fhir/Task?_id={offer.id}")
    nothing = session.stranger.call("GET", f"/fhir/Task?_id={never_id}")
    expect_status(found, 200)
    if json_object(found).get("entry") or json_object(found).get("total"):
        raise Failed("a search by _id finds or counts a foreign Task", found)
    expect_equal(found, nothing, (offer.id, never_id), "a search for a foreign Task and one for a Task that never existed")
    still = session.read_task(offer.id)
    expect_status(still, 200)
    if json_object(still).get("status") != "requested":
        raise Failed("the stranger's write changed the Task", still)


@check(
    "access-foreign-person",
    "The person of a referral is unknown to a provider that was not asked",
    "CRG-ACC-3",
    likely="only Task is guarded by party, and what it refers to by scope alone",
)
def foreign_person(session: Session) -> None:
    """What the Task refers to can be read by the receiver and is 404 to another provider, equal to what never existed."""
    offer = session.open_offer()
    for name in ("for", "focus"):
        reference = member_reference(offer, name)
        address = reference.partition("/_history/")[0]
        kind = address.partition("/")[0]
        session.require_scope("stranger", kind, "r")
        session.require_scope("receiver", kind, "r")
        expect_status(session.receiver.call("GET", f"/fhir/{address}"), 200, why="the receiver cannot read what its Task refers to")
        never = str(uuid4())
        here = session.stranger.call("GET", f"/fhir/{address}", headers={"Accept": FHIR_JSON})
        there = session.stranger.call("GET", f"/fhir/{kind}/{never}", headers={"Accept": FHIR_JSON})
        expect_refusal(here, 404, "not-found")
        expect_equal(here, there, (address.partition("/")[2], never), f"a foreign {kind} and one that never existed")


def member_reference(offer: Offer, name: str) -> str:
    """The relative reference of a Task's element. Raises Failed."""
    reference = member(offer.answer, name, dict).get("reference")
    if not isinstance(reference, str) or "/" not in reference:
        raise Failed(f"Task.{name} has no reference", offer.answer)
    return "/".join(reference.split("/")[-2:]) if reference.startswith("http") else reference

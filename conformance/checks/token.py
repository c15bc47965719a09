"""The token endpoint, as a well-behaved client meets it: what is given, to whom, for how long."""

from __future__ import annotations

from typing import Any, Final

from conformance.checks import check
from conformance.exchange import Exchange
from conformance.expect import expect_status, json_object, member
from conformance.keys import Key, algorithm_of
from conformance.session import Session
from conformance.verdicts import Failed, NotApplicable, NotDemonstrated

LONGEST_SECONDS: Final = 300


def expect_token(session: Session, answer: Exchange) -> dict[str, Any]:
    """A token answer of RFC 6749 §5.1 with what SMART adds."""
    expect_status(answer, 200)
    document = json_object(answer)
    member(answer, "access_token", str)
    if str(document.get("token_type", "")).lower() != "bearer":
        raise Failed("token_type is not bearer", answer)
    seconds = member(answer, "expires_in", int)
    if seconds > LONGEST_SECONDS:
        session.warn(f"expires_in is {seconds}; it SHOULD NOT exceed {LONGEST_SECONDS}")
    member(answer, "scope", str)
    if "no-store" not in answer.answer_headers.get("Cache-Control", ""):
        raise Failed("the answer with the token lacks Cache-Control: no-store", answer)
    if "refresh_token" in document:
        session.warn("a refresh token is given to a backend client; it SHOULD NOT be")
    return document


def expect_works(session: Session, answer: Exchange) -> None:
    """The token opens what its scope names."""
    token = member(answer, "access_token", str)
    read = session.get("/fhir/Task?_count=1", Authorization=f"Bearer {token}", Accept="application/fhir+json")
    expect_status(read, 200, why="the token just given is not taken")


def _key(session: Session, algorithm: str) -> Key:
    found = next((key for key in session.parties["receiver"].keys if algorithm_of(key) == algorithm), None)
    if found is None:
        raise NotDemonstrated(f"the clients file gives the receiver no {algorithm} key")
    return found


def _require_offered(session: Session, algorithm: str) -> None:
    smart = json_object(session.get("/fhir/.well-known/smart-configuration"))
    if algorithm not in (smart.get("token_endpoint_auth_signing_alg_values_supported") or []):
        raise NotApplicable(f"{algorithm} is not offered")


@check(
    "token-es384",
    "An ES384 assertion gets a token that works",
    "SMART-BS-1",
    "SMART-BS-2",
    "SMART-KEY-1",
    likely="the OAuth library's own list of algorithms has no ES384, or the key was imported with the wrong curve",
)
def es384(session: Session) -> None:
    """The token has type, lifetime and scope, is not to be cached, and opens the receiver's own Tasks."""
    key = _key(session, "ES384")
    _require_offered(session, "ES384")
    answer = session.receiver.ask_token(session.receiver.assertion(key))
    expect_token(session, answer)
    expect_works(session, answer)


@check(
    "token-rs384",
    "An RS384 assertion gets a token that works",
    "SMART-BS-1",
    "SMART-KEY-1",
    likely="the OAuth library's own list of algorithms has no RS384",
)
def rs384(session: Session) -> None:
    """As with ES384; needs an RSA key of the receiver in the clients file."""
    key = _key(session, "RS384")
    _require_offered(session, "RS384")
    answer = session.receiver.ask_token(session.receiver.assertion(key))
    expect_token(session, answer)
    expect_works(session, answer)


@check(
    "token-scope-not-widened",
    "No token carries a scope that was not asked for or not registered",
    "SMART-BS-3",
    likely="the scope of the request is copied into the token without comparing it with the registration",
)
def scope_not_widened(session: Session) -> None:
    """Asking for one scope gives that one; asking for a scope the client does not have is refused or not granted."""
    own = session.parties["receiver"].scope.split()
    few = session.receiver.ask_token(scope=own[0])
    expect_token(session, few)
    granted = set(str(json_object(few)["scope"]).split())
    if not _letters(granted) <= _letters({own[0]}):
        raise Failed("more scope was granted than asked for", few)
    foreign = "system/MedicationAdministration.cruds"
    answer = session.receiver.ask_token(scope=f"{own[0]} {foreign}")
    if answer.status == 200:
        widened = _letters(set(str(member(answer, "scope", str)).split())) - _letters(set(own))
        if widened:
            raise Failed("a scope that is not registered was granted", answer)
        return
    expect_status(answer, 400)
    if json_object(answer).get("error") != "invalid_scope":
        raise Failed("the refusal's error is not invalid_scope", answer)


def _letters(scopes: set[str]) -> set[str]:
    """Scopes taken apart to one letter each, so that `system/Task.rs` covers `system/Task.r`."""
    made = set()
    for scope in scopes:
        name, dot, letters = scope.rpartition(".")
        plain = scope.startswith("system/") and dot and letters.isalpha() and letters not in ("read", "write")
        made |= {f"{name}.{letter}" for letter in letters} if plain else {scope}
    return made


@check(
    "token-grant-type",
    "A grant that is not offered is refused as such",
    "RFC6749-1",
    likely="the grant type is not looked at because only one is implemented",
)
def grant_type(session: Session) -> None:
    """`password` is 400 unsupported_grant_type (or unauthorized_client), and no grant at all 400 invalid_request."""
    for sent, errors in (
        ("password", ("unsupported_grant_type", "unauthorized_client")),
        (None, ("invalid_request", "unsupported_grant_type")),
    ):
        answer = session.receiver.ask_token(grant_type=sent)
        expect_status(answer, 400)
        if json_object(answer).get("error") not in errors:
            raise Failed(f"the error is not {' or '.join(errors)}", answer)

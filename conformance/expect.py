"""What the checks say of an answer, each with one exact sentence when it does not hold."""

from __future__ import annotations

import re
from typing import Any, Final

from conformance.exchange import Exchange
from conformance.verdicts import Failed
from profiles.engine import r4
from profiles.strict_json import JsonFault

FHIR_TYPES: Final = ("application/fhir+json", "application/json")
INSTANT: Final = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?(?:Z|[+-]\d\d:\d\d)")
_HTTP_DATE: Final = re.compile(r"(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun), \d\d [A-Z][a-z]{2} \d{4} \d\d:\d\d:\d\d GMT")
_UUID: Final = re.compile(r"[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}", re.IGNORECASE)
VOLATILE: Final = frozenset({"date", "x-request-id", "request-id", "x-correlation-id", "server", "connection", "keep-alive"})


def expect_status(exchange: Exchange, *statuses: int, why: str = "") -> None:
    """The answer has one of these statuses."""
    if exchange.status not in statuses:
        wanted = " or ".join(str(status) for status in statuses)
        raise Failed(f"answered {exchange.status} instead of {wanted}{': ' if why else ''}{why}", exchange)


def json_object(exchange: Exchange) -> dict[str, Any]:
    """The answer is a JSON object."""
    try:
        document = exchange.json()
    except JsonFault as fault:
        raise Failed(f"the answer is not JSON: {fault.text}", exchange) from None
    if not isinstance(document, dict):
        raise Failed("the answer is not a JSON object", exchange)
    return document


def member(exchange: Exchange, name: str, kind: type) -> Any:
    """A member of the answer's object, of that type and not empty."""
    value = json_object(exchange).get(name)
    if not isinstance(value, kind) or isinstance(value, bool) is not (kind is bool) or value in ("", [], {}):
        raise Failed(f"the answer has no {name} of type {kind.__name__}", exchange)
    return value


def expect_outcome(exchange: Exchange, *codes: str) -> list[dict[str, Any]]:
    """The answer is a valid OperationOutcome with an error; one of its issues has one of the codes. Gives the issues."""
    document = json_object(exchange)
    if document.get("resourceType") != "OperationOutcome":
        raise Failed("the refusal is not an OperationOutcome", exchange)
    faults = [issue for issue in r4().validate(document) if issue.severity in ("error", "fatal")]
    if faults:
        raise Failed(f"the OperationOutcome is not valid R4: {', '.join(faults[0].expression)} {faults[0].text}", exchange)
    issues: list[dict[str, Any]] = document["issue"]
    if not any(issue["severity"] in ("error", "fatal") for issue in issues):
        raise Failed("no issue of the OperationOutcome is an error", exchange)
    if codes and not any(issue["code"] in codes for issue in issues):
        raise Failed(f"no issue has the code {' or '.join(codes)}", exchange)
    return issues


def expect_refusal(exchange: Exchange, status: int, *codes: str) -> list[dict[str, Any]]:
    """The answer is this status with an OperationOutcome."""
    expect_status(exchange, status)
    return expect_outcome(exchange, *codes)


def without_traces(exchange: Exchange, *own: str) -> tuple[int, bytes, dict[str, str]]:
    """An answer without what may rightly differ between two requests: the request's id, its moment, and `own` (ids asked for).

    Two answers that are equal after this tell a caller nothing apart.
    """
    traces = [value for name, value in exchange.answer_headers.items() if name.lower() in VOLATILE and len(value) > 3]

    def clean(text: str) -> str:
        for trace in (*own, *traces):
            text = text.replace(trace, "·")
        return _HTTP_DATE.sub("·", INSTANT.sub("·", _UUID.sub("·", text)))

    headers = {name.lower(): "·" if name.lower() in VOLATILE else clean(value) for name, value in exchange.answer_headers.items()}
    return exchange.status, clean(exchange.answer.decode("utf-8", "backslashreplace")).encode(), headers


def expect_equal(first: Exchange, second: Exchange, own: tuple[str, ...], what: str) -> None:
    """Two answers cannot be told apart."""
    one, two = without_traces(first, *own), without_traces(second, *own)
    if one[0] != two[0]:
        raise Failed(f"{what}: {one[0]} and {two[0]}", second)
    if one[1] != two[1]:
        raise Failed(f"{what}: the bodies differ", second)
    if one[2] != two[2]:
        differing = sorted(name for name in {*one[2], *two[2]} if one[2].get(name) != two[2].get(name))
        raise Failed(f"{what}: the header fields {', '.join(differing)} differ", second)

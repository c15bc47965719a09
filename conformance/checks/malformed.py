"""Bodies that are no JSON a careful reader takes: refused with a reason, and nothing of them is kept."""

from __future__ import annotations

from typing import Any

from conformance.checks import check
from conformance.expect import expect_outcome, expect_status
from conformance.messages import KEY
from conformance.session import Session
from profiles.strict_json import to_json


def _text(message: dict[str, Any]) -> str:
    return to_json(message).decode()


def _refused(session: Session, message: dict[str, Any], body: str | bytes, *statuses: int) -> None:
    """The body is refused with an OperationOutcome, and the message's number is still free."""
    answer = session.post(body if isinstance(body, bytes) else body.encode())
    expect_status(answer, *(statuses or (400,)))
    expect_outcome(answer)
    expect_status(session.post(message), 201, why="the number of a refused request is not free any more")


@check(
    "intake-duplicate-keys",
    "A body with a member twice is refused",
    "RFC8259-1",
    "CRG-INT-11",
    likely="the standard JSON parsers keep the last of two equal members in silence",
)
def duplicate_keys(session: Session) -> None:
    """The request number twice, with different values: which one is meant is a guess."""
    message = session.messages.new()
    _refused(session, message, f'{{"{KEY}": "another", {_text(message)[1:]}')


@check("intake-nan", "NaN and Infinity are refused", "RFC8259-2", "CRG-INT-11", likely="Python's parser takes them unless told not to")
def nan(session: Session) -> None:
    """Neither is JSON."""
    for word in ("NaN", "Infinity", "-Infinity"):
        message = session.messages.new()
        _refused(session, message, f'{_text(message)[:-1]}, "kit_number": {word}}}')


@check(
    "intake-too-deep",
    "A body nested deeper than 64 is refused",
    "CRG-INT-11",
    likely="depth is left to the parser, which ends in a stack overflow or a 500",
)
def too_deep(session: Session) -> None:
    """65 levels, and 100,000: refused with 400 or 413, never 500."""
    for depth in (65, 100_000):
        message = session.messages.new()
        _refused(session, message, f'{_text(message)[:-1]}, "kit_deep": {"[" * depth}{"]" * depth}}}', 400, 413)


@check(
    "intake-not-json",
    "A body that is not JSON is 400",
    "CRG-INT-11",
    likely="the parser's own error reaches the framework and becomes a 500",
)
def not_json(session: Session) -> None:
    """Nothing, half an object, a list, two values, and bytes that are no UTF-8."""
    message = session.messages.new()
    text = _text(message)
    for body in (b"", text[:-1].encode(), f"[{text}]".encode(), f"{text}{text}".encode(), text[:-1].encode() + b', "kit": "\xff\xfe"}'):
        answer = session.post(body)
        expect_status(answer, 400)
        expect_outcome(answer)
    expect_status(session.post(message), 201, why="the number of a refused request is not free any more")

"""What a run says: lines for a terminal, JSON of a stable shape. Each failure comes with exchange, clause, likely cause and curl line.

Credentials and what is said of persons are struck out: a report is mailed around.
"""

from __future__ import annotations

import json
import re
import shlex
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, Final

from conformance.exchange import Exchange
from conformance.requirements import Requirement
from conformance.verdicts import VERDICTS, Result, worst
from conformance.wire import REDACTED, Message, redacted_headers, redacted_text

MARKS: Final = {"pass": "✓", "fail": "✗", "warn": "!", "not demonstrated": "?", "not applicable": "–", "error": "‼"}
SHOWN_CHARACTERS: Final = 2000
_PERSONAL: Final = (
    "family|given|birthDate|birth_date|date_of_birth|line|address|telecom|phone|name|first_name|last_name|"
    "display|div|text|narrative|note|value"
)
_PERSONAL_TEXT: Final = re.compile(rf'("(?:{_PERSONAL})"\s*:\s*)("(?:[^"\\]|\\.)*"|\[\s*(?:"(?:[^"\\]|\\.)*"\s*,?\s*)+\])')


def terminal_lines(result: Result, requirements: Mapping[str, Requirement]) -> list[str]:
    """One check's lines: the verdict, and what a person needs to find the fault."""
    lines = [f"{MARKS[result.verdict]} {result.check:<34} {result.verdict:<16} {result.title}"]
    if result.text:
        lines.append(f"    {result.text}")
    if result.verdict not in ("fail", "error"):
        return lines
    lines += [f"    rule     {each.id}: {each.wording}\n             {each.url}" for each in _known(result, requirements)]
    lines.append(f"    likely   {result.likely_cause}")
    if result.shown is not None:
        lines += [f"    | {line}" for line in exchange_text(result.shown).splitlines()]
        lines.append(f"    try      {curl_line(result.shown)}")
    return lines


def summary_line(results: Sequence[Result]) -> str:
    """How many of each verdict."""
    counts = Counter(result.verdict for result in results)
    return ", ".join(f"{counts[verdict]} {verdict}" for verdict in reversed(VERDICTS) if counts[verdict])


def _known(result: Result, requirements: Mapping[str, Requirement]) -> list[Requirement]:
    return [requirements[name] for name in result.requirements if name in requirements]


def shown_body(body: bytes) -> str:
    """A body for a report: credentials and personal texts struck out, cut to a bound. Issue texts stay readable."""
    text = redacted_text(body.decode("utf-8", "backslashreplace"))
    if '"OperationOutcome"' not in text:
        text = _PERSONAL_TEXT.sub(rf"\1{json.dumps(REDACTED)}", text)
    return text if len(text) <= SHOWN_CHARACTERS else f"{text[:SHOWN_CHARACTERS]}… ({len(text)} characters)"


def exchange_text(exchange: Exchange) -> str:
    """Request and answer as text."""
    request = Message(f"{exchange.method} {redacted_text(exchange.url)}", exchange.headers, shown_body(exchange.body).encode())
    answer = Message(f"→ {exchange.status}", exchange.answer_headers, shown_body(exchange.answer).encode())
    return f"{request.text().rstrip()}\n\n{answer.text().rstrip()}"


def curl_line(exchange: Exchange) -> str:
    """A line for a shell that makes the request again; $TOKEN and $ASSERTION stand for what was struck out."""
    parts = ["curl", "-i", "-X", exchange.method, shlex.quote(redacted_text(exchange.url).replace(REDACTED, "$TOKEN"))]
    for name, value in exchange.headers.items():
        if name.lower() == "authorization":
            parts.append('-H "Authorization: Bearer $TOKEN"')
        elif name.lower() in ("accept", "content-type", "if-match", "prefer"):
            parts.append(f"-H {shlex.quote(f'{name}: {value}')}")
    body = shown_body(exchange.body)
    if "client_assertion=" in body:
        plain = "&".join(part for part in body.split("&") if not part.startswith("client_assertion="))
        parts.append(f'--data {shlex.quote(plain)} --data-urlencode "client_assertion=$ASSERTION"')
    elif exchange.body:
        parts.append(f"--data-binary {shlex.quote(body)}" if REDACTED not in body and "… (" not in body else "--data-binary @body.json")
    return " ".join(parts)


def as_json(results: Sequence[Result], target: str, role: str, requirements: Mapping[str, Requirement]) -> dict[str, Any]:
    """The whole run as JSON."""
    return {
        "schema": 1,
        "target": target,
        "role": role,
        "verdict": worst(results),
        "counts": {verdict: sum(result.verdict == verdict for result in results) for verdict in VERDICTS},
        "checks": [_check_json(result, requirements) for result in results],
    }


def _check_json(result: Result, requirements: Mapping[str, Requirement]) -> dict[str, Any]:
    bad = result.verdict in ("fail", "error")
    return {
        "id": result.check,
        "title": result.title,
        "verdict": result.verdict,
        "text": result.text,
        "seconds": round(result.seconds, 3),
        "requirements": [{"id": each.id, "url": each.url} for each in _known(result, requirements)],
        "warnings": list(result.warnings),
        "likely_cause": result.likely_cause if bad else None,
        "curl": curl_line(result.shown) if bad and result.shown else None,
        "exchanges": [_exchange_json(exchange) for exchange in result.exchanges] if bad else [],
    }


def _exchange_json(exchange: Exchange) -> dict[str, Any]:
    return {
        "method": exchange.method,
        "url": redacted_text(exchange.url),
        "headers": redacted_headers(exchange.headers),
        "body": shown_body(exchange.body),
        "status": exchange.status,
        "answer_headers": redacted_headers(exchange.answer_headers),
        "answer": shown_body(exchange.answer),
        "seconds": round(exchange.seconds, 4),
    }

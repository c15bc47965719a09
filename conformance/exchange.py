"""One request and its answer, and the sending of it. Follows no redirect, uses no proxy, retries nothing.

A kit that judges others must see what was said exactly: nothing here repairs, decodes or hides an answer.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import requests
from requests.structures import CaseInsensitiveDict

from conformance.wire import Message, WireLog
from profiles.strict_json import parse_json

CALL_SECONDS: Final = 30.0


@dataclass(frozen=True, slots=True)
class Exchange:
    """A request and the answer it got, as bytes."""

    method: str
    url: str
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(repr=False)
    status: int
    answer_headers: Mapping[str, str] = field(repr=False)
    answer: bytes = field(repr=False)
    seconds: float

    def json(self) -> Any:
        """The answer as strict JSON. Raises profiles.strict_json.JsonFault."""
        return parse_json(self.answer)

    @property
    def media_type(self) -> str:
        """The answer's media type without parameters, in lower case."""
        return self.answer_headers.get("Content-Type", "").partition(";")[0].strip().lower()


Observer = Callable[[Exchange], None]


@dataclass(slots=True)
class Http:
    """Sends as one party to another; hands every exchange to the observer and the wire log.

    caller, peer: names in the wire log's file names. Safe between threads: each call has a session of its own.
    """

    caller: str
    peer: str
    wire: WireLog | None = None
    observer: Observer | None = None
    timeout_seconds: float = CALL_SECONDS

    def send(self, method: str, url: str, *, headers: Mapping[str, str] | None = None, body: bytes | None = None) -> Exchange:
        """Make one call. Raises requests.RequestException when no answer came."""
        number = self.wire.number() if self.wire else 0
        begun = time.monotonic()
        with requests.Session() as session:
            session.trust_env = False
            request = session.prepare_request(requests.Request(method, url, headers=dict(headers or {}), data=body))
            try:
                answer = session.send(request, timeout=self.timeout_seconds, allow_redirects=False)
            except requests.RequestException as error:
                if self.wire:
                    self.wire.save(
                        number, self.caller, self.peer, _said(request, body), Message(f"(no answer: {type(error).__name__})", {}, b"")
                    )
                raise
        exchange = Exchange(
            method,
            url,
            CaseInsensitiveDict(request.headers),
            body or b"",
            answer.status_code,
            answer.headers,
            answer.content,
            time.monotonic() - begun,
        )
        if self.wire:
            heard = Message(f"HTTP/1.1 {answer.status_code} {answer.reason or ''}".rstrip(), answer.headers, answer.content)
            self.wire.save(number, self.caller, self.peer, _said(request, body), heard)
        if self.observer:
            self.observer(exchange)
        return exchange


def _said(request: requests.PreparedRequest, body: bytes | None) -> Message:
    return Message(f"{request.method} {request.url} HTTP/1.1", request.headers, body or b"")

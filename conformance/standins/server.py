"""What the stand-ins are made of: an HTTP server, a record of what reached it, and a control address for this machine alone."""

from __future__ import annotations

import ipaddress
import json
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, TypeVar

import requests
from flask import Flask, Response, g, jsonify, request
from werkzeug.exceptions import HTTPException
from werkzeug.serving import WSGIRequestHandler, make_server

from conformance.exchange import Exchange
from conformance.standins.behaviour import Behaviour, UnknownBehaviour
from conformance.standins.client import NoToken
from conformance.wire import Message, WireLog, redacted_headers, redacted_text
from profiles.issues import Issue, operation_outcome
from profiles.strict_json import JsonFault, parse_json, to_json

FHIR_JSON: Final = "application/fhir+json"
View = TypeVar("View", bound=Callable[..., Response])
GARBLE: Final = b'{"resourceType": "Bundle", "type": "transac\x00 ...'
LOST: Final = "(the stand-in closed the connection without an answer)"


class RequestLog:
    """requests.jsonl: every request that reached a stand-in and what it answered, one line each, credentials struck out."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = threading.Lock()

    def add(self, entry: dict[str, Any]) -> None:
        """Append one line."""
        with self._lock, self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(entry) + "\n")


class _Quiet(WSGIRequestHandler):
    """Says nothing on the terminal."""

    def log(self, type: str, message: str, *args: Any) -> None:  # noqa: A002 (the parent's name)
        """Requests are kept in requests.jsonl instead."""


def now_text() -> str:
    """This moment as a FHIR instant."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")


def fhir_answer(body: dict[str, Any], status: int = 200, **headers: str) -> Response:
    """A FHIR JSON answer."""
    return Response(to_json(body), status, headers=headers, content_type=FHIR_JSON)


def outcome(status: int, code: str, text: str, **headers: str) -> Response:
    """A refusal as OperationOutcome."""
    return fhir_answer(operation_outcome([Issue("error", code, text)]), status, **headers)


def body_json() -> Any:
    """The request's body as strict JSON; None when it is empty. Raises JsonFault."""
    data = request.get_data()
    return parse_json(data) if data else None


def make_app(name: str, folder: Path, behaviour: Behaviour, wire: WireLog | None, caller: str = "gateway") -> Flask:
    """A Flask application that keeps what reaches it, answers /control on loopback only, and misbehaves as told.

    name: of the stand-in in the wire log. caller: who is taken to call the other addresses.
    """
    app = Flask(f"standin-{name}")
    log = RequestLog(folder / "requests.jsonl")

    @app.before_request
    def begin() -> Response | None:
        if request.path.startswith("/control"):
            return None if _from_here() else Response(status=403)
        g.number = wire.number() if wire else 0
        return _misbehave(behaviour) if getattr(app.view_functions.get(request.endpoint or ""), "may_fail", False) else None

    @app.after_request
    def keep(answer: Response) -> Response:
        if request.path.startswith("/control"):
            return answer
        lost = getattr(g, "lost", False)
        heard = Message(LOST if lost else f"HTTP/1.1 {answer.status}", dict(answer.headers), answer.get_data())
        if wire:
            wire.save(g.number, caller, name, _request_message(), heard)
        log.add(_log_entry(answer, lost=lost))
        return answer

    @app.errorhandler(JsonFault)
    def not_json(fault: JsonFault) -> Response:
        return outcome(400, "structure", fault.text)

    @app.errorhandler(UnknownBehaviour)
    def unknown(fault: UnknownBehaviour) -> Response:
        return Response(to_json({"error": str(fault)}), 400, content_type="application/json")

    @app.errorhandler(NoToken)
    @app.errorhandler(requests.RequestException)
    def gateway_silent(fault: Exception) -> Response:
        word = str(fault) if isinstance(fault, NoToken) else f"the gateway did not answer ({type(fault).__name__})"
        return Response(to_json({"error": word}), 502, content_type="application/json")

    @app.errorhandler(HTTPException)
    def refused(fault: HTTPException) -> Response:
        return outcome(fault.code or 500, "not-found" if fault.code == 404 else "not-supported", fault.name)

    @app.post("/control")
    def control() -> Response:
        wanted = body_json()
        if not isinstance(wanted, dict) or not isinstance(wanted.get("behaviour"), dict):
            raise UnknownBehaviour('a control call is {"behaviour": {…}}')
        behaviour.change(wanted["behaviour"])
        return jsonify(behaviour.as_json())

    return app


def may_fail(view: View) -> View:
    """Mark a view that the told statuses and delays apply to."""
    view.may_fail = True  # type: ignore[attr-defined]
    return view


def _from_here() -> bool:
    return request.remote_addr is not None and ipaddress.ip_address(request.remote_addr).is_loopback


def _misbehave(behaviour: Behaviour) -> Response | None:
    if behaviour.slow_seconds:
        time.sleep(behaviour.slow_seconds)
    if behaviour.status is not None and behaviour.take("status_count"):
        headers = {} if behaviour.retry_after_seconds is None else {"Retry-After": str(behaviour.retry_after_seconds)}
        return outcome(behaviour.status, "throttled" if behaviour.status == 429 else "transient", "Told to fail.", **headers)
    return None


def spoil_answer(behaviour: Behaviour, answer: Response) -> Response:
    """Lose, garble or double an answer, if the stand-in was told to; what was asked is done by then."""
    connection: socket.socket | None = request.environ.get("werkzeug.socket")
    if behaviour.take("lose_answers"):
        g.lost = True
        if connection is not None:
            connection.shutdown(socket.SHUT_RDWR)
    elif behaviour.take("garble_answers"):
        return Response(GARBLE, 200, content_type=FHIR_JSON)
    elif behaviour.take("double_answers") and connection is not None:
        content = answer.get_data()
        fields = f"Content-Type: {answer.content_type}\r\nContent-Length: {len(content)}\r\n"
        connection.sendall(f"HTTP/1.1 {answer.status}\r\n{fields}\r\n".encode() + content)
    return answer


def _request_message() -> Message:
    target = request.full_path if request.query_string else request.path
    return Message(f"{request.method} {target} HTTP/1.1", dict(request.headers), request.get_data())


def _log_entry(answer: Response, *, lost: bool) -> dict[str, Any]:
    message = _request_message()
    return {
        "at": now_text(),
        "request": redacted_text(message.start),
        "headers": redacted_headers(message.headers),
        "body": redacted_text(message.body.decode("utf-8", "backslashreplace")),
        "status": None if lost else answer.status_code,
        "answer": redacted_text(answer.get_data(as_text=True)),
    }


def as_told(exchange: Exchange) -> Response:
    """Give a control call what the gateway answered: status, header fields and body, credentials struck out."""
    try:
        body = exchange.json() if exchange.answer else None
    except JsonFault:
        body = exchange.answer.decode("utf-8", "backslashreplace")
    content = {"status": exchange.status, "headers": redacted_headers(exchange.answer_headers), "body": body}
    return Response(to_json(content), 200, content_type="application/json")


def serve(app: Flask, bind: str, port: int, announcement: dict[str, Any]) -> None:
    """Serve until SIGTERM or Ctrl-C; says on standard output, in one line of JSON, when it listens."""
    server = make_server(bind, port, app, threaded=True, request_handler=_Quiet)

    def stop(*_: object) -> None:
        threading.Thread(target=server.shutdown, daemon=True).start()

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    sys.stdout.write(json.dumps({"listening": f"http://{bind}:{server.port}", **announcement}) + "\n")
    sys.stdout.flush()
    server.serve_forever()
    server.server_close()

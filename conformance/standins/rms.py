"""A stand-in for a sender's system, police records or CAD: posts messages, reads and withdraws them, and takes signed callbacks."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

from flask import Flask, Response, jsonify, request

from conformance.exchange import Exchange, Http
from conformance.keys import make_keys
from conformance.standins.behaviour import Behaviour, UnknownBehaviour
from conformance.standins.callbacks import NotSigned, Received, require_signed
from conformance.standins.client import SmartClient
from conformance.standins.gateway_keys import GatewayKeys
from conformance.standins.server import as_told, body_json, fhir_answer, make_app, may_fail, now_text, spoil_answer
from conformance.wire import WireLog
from profiles.strict_json import JsonFault, parse_json, to_json

DELIVERY_ID: Final = "Crisis-Delivery-Id"


@dataclass(frozen=True, slots=True)
class Kind:
    """What a sender's system speaks: the intake format it posts, and where it takes callbacks."""

    format: str
    callback_path: str

    @property
    def scope(self) -> str:
        """The scope its format needs."""
        return f"__gateway.intake.{self.format}"


KINDS: Final[Mapping[str, Kind]] = {"rms": Kind("rms-diversion", "/diversion-status"), "cad": Kind("eido", "/call-status")}


class Rms:
    """The parts of one stand-in sender. base_url: its own; gateway_url: of the gateway; folder: for its keys and its log."""

    def __init__(
        self,
        base_url: str,
        gateway_url: str,
        folder: Path,
        *,
        kind: Kind = KINDS["rms"],
        client_id: str = "standin-rms",
        scope: str | None = None,
        name: str = "rms",
        wire: WireLog | None = None,
    ) -> None:
        self.base_url, self.name, self.kind = base_url, name, kind
        self.behaviour = Behaviour()
        http = Http(name, "gateway", wire)
        self.client = SmartClient(gateway_url, client_id, make_keys(folder), scope or kind.scope, http)
        self.gateway_keys = GatewayKeys(gateway_url, http)
        self.receipts: dict[str, dict[str, Any]] = {}
        self.callbacks: list[dict[str, Any]] = []
        self._lock = threading.Lock()
        self.app = make_app(name, folder, self.behaviour, wire)
        _callback_route(self.app, self)
        _control_routes(self.app, self)

    def send(self, message: dict[str, Any], *, dry_run: bool = False, strict: bool = False) -> Exchange:
        """Post a message and remember its receipt."""
        headers = {"Content-Type": "application/json", **({"Prefer": "handling=strict"} if strict else {})}
        path = f"/intake/{self.kind.format}{'?dry-run=true' if dry_run else ''}"
        return self._remembered(self.client.call_again("POST", path, body=to_json(message), headers=headers))

    def read(self, receipt: str) -> Exchange:
        """Ask for the present word."""
        return self._remembered(self.client.call_again("GET", f"/referrals/{quote(receipt, safe='')}"))

    def cancel(self, receipt: str) -> Exchange:
        """Take a request back."""
        return self._remembered(self.client.call_again("POST", f"/referrals/{quote(receipt, safe='')}/cancel"))

    def _remembered(self, answer: Exchange) -> Exchange:
        try:
            view = answer.json() if answer.status in (200, 201) else None
        except JsonFault:
            view = None
        if isinstance(view, dict) and isinstance(view.get("receipt"), str):
            with self._lock:
                self.receipts[view["receipt"]] = view
        return answer

    def take_callback(self, received: Received) -> tuple[int, str]:
        """Judge and keep a callback; returns the HTTP status and a word for the log."""
        entry: dict[str, Any] = {"at": now_text(), "delivery_id": received.headers.get(DELIVERY_ID), "verified": False}
        try:
            entry["kid"] = require_signed(received, self.gateway_keys)
            entry["body"] = parse_json(received.body)
            entry["verified"] = True
        except NotSigned as fault:
            entry["problem"] = str(fault)
        except JsonFault as fault:
            entry["problem"] = fault.text
        with self._lock:
            known = entry["verified"] and any(
                other["verified"] and other["delivery_id"] == entry["delivery_id"] is not None for other in self.callbacks
            )
            entry["repeated"] = known
            self.callbacks.append(entry)
            body = entry.get("body")
            if entry["verified"] and not known and isinstance(body, dict) and isinstance(body.get("receipt"), str):
                self.receipts[body["receipt"]] = body
        return (204, "taken") if entry["verified"] else (401, entry["problem"])


def _callback_route(app: Flask, rms: Rms) -> None:
    @app.post(rms.kind.callback_path)
    @may_fail
    def called_back() -> Response:
        received = Received("POST", f"{rms.base_url}{rms.kind.callback_path}", dict(request.headers), request.get_data())
        status, word = rms.take_callback(received)
        answer = Response(status=204) if status == 204 else Response(to_json({"error": word}), status, content_type="application/json")
        return spoil_answer(rms.behaviour, answer)


def _control_routes(app: Flask, rms: Rms) -> None:
    @app.get("/control/state")
    def state() -> Response:
        return fhir_answer({"receipts": rms.receipts, "callbacks": rms.callbacks, "behaviour": rms.behaviour.as_json()})

    @app.post("/control/send")
    def send() -> Response:
        asked = body_json()
        if not isinstance(asked, dict) or not isinstance(asked.get("message"), dict):
            raise UnknownBehaviour('send is {"message": {…}, "dry_run": false, "strict": false}')
        return as_told(rms.send(asked["message"], dry_run=asked.get("dry_run") is True, strict=asked.get("strict") is True))

    @app.post("/control/read")
    def read() -> Response:
        return as_told(rms.read(_receipt()))

    @app.post("/control/cancel")
    def cancel() -> Response:
        return as_told(rms.cancel(_receipt()))

    @app.post("/control/forget-tokens")
    def forget() -> Response:
        rms.client.forget_token()
        return jsonify({})


def _receipt() -> str:
    asked = body_json()
    if not isinstance(asked, dict) or not isinstance(asked.get("receipt"), str):
        raise UnknownBehaviour('this call is {"receipt": "…"}')
    return str(asked["receipt"])

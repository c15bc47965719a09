"""The gateway as a SMART Backend Services client of a receiver: discovery, abilities, token.

The token endpoint is asked of the receiver itself and must be its own (addresses.require_same_peer). Tokens are kept in
memory until they expire and are never stored or logged. A receiver without a token endpoint gets nothing.
Source: SMART App Launch 2.2 backend-services, conformance; the older oauth-uris extension of its CapabilityStatement.
"""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

from authlib.common.errors import AuthlibBaseError
from authlib.common.urls import add_params_to_qs
from authlib.integrations.requests_client import OAuth2Session
from requests import Response

from gateway.delivery.addresses import Address, AddressRefused, require_address, require_same_peer
from gateway.delivery.bundles import issue_codes
from gateway.delivery.channels.channel import NotOpened
from gateway.delivery.outbound import CALL_ERRORS, Answer, CallFailed, Calls
from gateway.delivery.retry import Reply, read_retry_after
from gateway.keys import KeyRing
from profiles.strict_json import JsonFault, parse_json

PEER_SECONDS: Final = 600.0
"""How long what a peer says of itself is taken for true."""

TOKEN_MARGIN_SECONDS: Final = 30.0
TOKEN_CAP_SECONDS: Final = 3600.0

AUTH_METHOD: Final = "private_key_jwt"
ASSERTION_TYPE: Final = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
OAUTH_URIS: Final = "http://fhir-registry.smarthealthit.org/StructureDefinition/oauth-uris"
WRITTEN_TYPES: Final = (
    "Consent",
    "Encounter",
    "Flag",
    "Location",
    "Patient",
    "QuestionnaireResponse",
    "RelatedPerson",
    "ServiceRequest",
    "Task",
)
BROAD_SCOPES: Final = ("system/*.cu", "system/*.cru", "system/*.cruds", "system/*.write", "system/*.*")
"""Taken, narrowest first, where the peer names its scopes and the granular ones are not among them."""

_TOKEN: Final = re.compile(r"[A-Za-z0-9._~+/=-]{1,8192}\Z")


@dataclass(frozen=True, slots=True)
class Peer:
    """What a receiver says of itself. scope: what the gateway asks for there."""

    token_endpoint: str
    scope: str
    creates: frozenset[str]  # types with conditional create
    updates: frozenset[str]  # types with conditional update


@dataclass(slots=True)
class SmartClient:
    """Discovery and tokens of all receivers of this process; safe between threads.

    client_id: who the gateway is where a registration names nothing else. also_allowed: hosts the operator allowed as token
    endpoints beside a receiver's own.
    """

    keys: KeyRing
    client_id: str
    allow_private: bool
    also_allowed: Collection[str] = ()
    _peers: dict[str, tuple[float, Peer]] = field(default_factory=dict, repr=False)
    _tokens: dict[tuple[str, str, str], tuple[float, str]] = field(default_factory=dict, repr=False)
    _asking: dict[tuple[str, str, str], threading.Lock] = field(default_factory=dict, repr=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def peer(self, calls: Calls, address: Address) -> Peer:
        """Discover a receiver, or remember it. Raises NotOpened."""
        with self._lock:
            known = self._peers.get(address.url)
        if known is not None and known[0] > time.monotonic():
            return known[1]
        base = address.url.rstrip("/")
        smart = _read_json(calls, f"{base}/.well-known/smart-configuration", "application/json")
        capability = _read_json(calls, f"{base}/metadata", "application/fhir+json")
        endpoint = smart.get("token_endpoint") or _oauth_uri(capability)
        if not isinstance(endpoint, str):
            raise NotOpened(Reply(None, ("no-token-endpoint",), begun=False, refused_by_us=True))
        try:
            require_same_peer(require_address(endpoint, allow_private=self.allow_private), address, self.also_allowed)
        except AddressRefused as refused:
            raise NotOpened(Reply(None, (f"token-endpoint-{refused.code}",), begun=False, refused_by_us=True)) from None
        peer = Peer(endpoint, _scope(smart), *_abilities(capability))
        with self._lock:
            self._peers[address.url] = (time.monotonic() + PEER_SECONDS, peer)
        return peer

    def forget(self, address: Address, peer: Peer, client_id: str | None, refused: str) -> None:
        """A token was refused: ask for a new one, unless another thread did, and look whether the peer moved."""
        key = self._key(peer, client_id)
        with self._lock:
            self._peers.pop(address.url, None)
            if key in self._tokens and self._tokens[key][1] == refused:
                del self._tokens[key]

    def token(self, calls: Calls, peer: Peer, client_id: str | None) -> str:
        """An access token for a receiver. Raises NotOpened."""
        key = self._key(peer, client_id)
        with self._lock:
            one_asks = self._asking.setdefault(key, threading.Lock())
        # some servers end the older token when they give a newer one: threads share one, and only one of them asks for it
        with one_asks:
            with self._lock:
                known = self._tokens.get(key)
            if known is not None and known[0] > time.monotonic():
                return known[1]
            token, seconds = self._fetch(calls, *key)
            with self._lock:
                self._tokens[key] = (time.monotonic() + seconds - min(TOKEN_MARGIN_SECONDS, seconds / 2), token)
            return token

    def _key(self, peer: Peer, client_id: str | None) -> tuple[str, str, str]:
        return peer.token_endpoint, client_id or self.client_id, peer.scope

    def _fetch(self, calls: Calls, endpoint: str, client_id: str, scope: str) -> tuple[str, float]:
        """Ask a token endpoint with private_key_jwt (RFC 7523 §2.2); returns the token and its seconds."""
        answers: list[Response] = []

        def keep(response: Response) -> Response:
            answers.append(response)
            return response

        def assert_client(_auth: Any, _method: str, uri: str, headers: Any, body: str) -> tuple[str, Any, str]:
            assertion = self.keys.sign_assertion(client_id, endpoint)
            added = [("client_assertion_type", ASSERTION_TYPE), ("client_assertion", assertion)]
            return uri, headers, add_params_to_qs(body or "", added)

        session = calls.prepare(OAuth2Session(client_id, token_endpoint_auth_method=AUTH_METHOD, scope=scope))
        session.register_client_auth_method((AUTH_METHOD, assert_client))  # type: ignore[attr-defined]
        session.register_compliance_hook("access_token_response", keep)  # type: ignore[attr-defined]
        try:
            token = session.fetch_token(endpoint, grant_type="client_credentials", allow_redirects=False)  # type: ignore[attr-defined]
        except (AuthlibBaseError, *CALL_ERRORS) as error:
            raise NotOpened(self._refused(calls, answers, error)) from None
        value, seconds = token.get("access_token"), token.get("expires_in", 60)
        bearer = str(token.get("token_type", "")).lower() == "bearer"
        if not bearer or not isinstance(value, str) or not _TOKEN.match(value):
            raise NotOpened(Reply(answers[-1].status_code if answers else None, ("token-form",), begun=False))
        lasts = float(seconds) if isinstance(seconds, int | float) and not isinstance(seconds, bool) else 60.0
        return value, min(max(lasts, 1.0), TOKEN_CAP_SECONDS)

    @staticmethod
    def _refused(calls: Calls, answers: list[Response], error: Exception) -> Reply:
        if answers:
            # invalid_client and the like may be a rotation under way: tried again until the seven days are over
            after = read_retry_after(answers[-1].headers.get("Retry-After"), datetime.now(UTC))
            status = answers[-1].status_code
            return Reply(None if status < 500 and status != 429 else status, ("token-refused",), after, begun=False)
        failed = calls.adapter.failure(error)
        return Reply(None, (failed.code,), begun=False, refused_by_us=failed.refused)


def read_reply(answer: Answer, *, begun: bool) -> Reply:
    """Status, issue codes and Retry-After of an answer."""
    try:
        codes = issue_codes(parse_json(answer.content))
    except JsonFault:
        codes = ()
    after = read_retry_after(answer.headers.get("Retry-After"), datetime.now(UTC))
    return Reply(answer.status, codes, after, begun=begun)


def failed_reply(failed: CallFailed, *, begun: bool) -> Reply:
    """The reply of a call that brought no answer."""
    return Reply(None, (failed.code,), begun=begun and failed.begun, refused_by_us=failed.refused)


def _read_json(calls: Calls, url: str, media_type: str) -> Mapping[str, Any]:
    """A public JSON document of a receiver; empty where it does not have it. Raises NotOpened where it may have it later."""
    try:
        answer = calls.call("GET", url, headers={"Accept": media_type})
    except CallFailed as failed:
        raise NotOpened(failed_reply(failed, begun=False)) from None
    if answer.status >= 500 or answer.status in (408, 425, 429):
        raise NotOpened(read_reply(answer, begun=False))
    try:
        document = parse_json(answer.content) if answer.status == 200 else {}
    except JsonFault:
        return {}
    return document if isinstance(document, dict) else {}


def _list(value: Any) -> list[dict[str, Any]]:
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def _servers(capability: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [rest for rest in _list(capability.get("rest")) if rest.get("mode") == "server"]


def _oauth_uri(capability: Mapping[str, Any]) -> Any:
    for rest in _servers(capability):
        security = rest.get("security")
        for extension in _list(security.get("extension")) if isinstance(security, dict) else []:
            if extension.get("url") == OAUTH_URIS:
                for part in _list(extension.get("extension")):
                    if part.get("url") == "token":
                        return part.get("valueUri")
    return None


def _abilities(capability: Mapping[str, Any]) -> tuple[frozenset[str], frozenset[str]]:
    """Types with conditional create, and with conditional update."""
    resources = [resource for rest in _servers(capability) for resource in _list(rest.get("resource"))]
    creates = frozenset(str(resource.get("type")) for resource in resources if resource.get("conditionalCreate") is True)
    updates = frozenset(str(resource.get("type")) for resource in resources if resource.get("conditionalUpdate") is True)
    return creates, updates


def _scope(smart: Mapping[str, Any]) -> str:
    """The narrowest scope by which the peer lets us write: create and update of the types we push."""
    granular = [f"system/{kind}.cu" for kind in WRITTEN_TYPES]
    named = smart.get("scopes_supported")
    offered = {scope for scope in named if isinstance(scope, str)} if isinstance(named, list) else set()
    if not offered or offered.issuperset(granular):
        return " ".join(granular)
    return next((scope for scope in BROAD_SCOPES if scope in offered), " ".join(granular))

"""Channel `callback`: the sender's view, posted to the address the sender registered and signed by the gateway.

Signed after RFC 9421 with ecdsa-p384-sha384 and the key whose kid is in /oauth/jwks, over method, target, content digest
(RFC 9530), content type and the delivery id. The id stays the same over all tries of one state, so that a receiver can tell
a repetition; a refused one (409) therefore counts as taken.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, Final, Self

import requests
from http_message_signatures import HTTPMessageSigner, HTTPSignatureKeyResolver, algorithms

from gateway.access.disclosed import Disclosed
from gateway.delivery.addresses import Address, AddressRefused, require_address, require_same_peer
from gateway.delivery.channels.channel import NotOpened
from gateway.delivery.channels.smart import failed_reply, read_reply
from gateway.delivery.outbound import TOTAL_SECONDS, CallFailed, Calls
from gateway.delivery.retry import Reply
from gateway.keys import KeyRing
from gateway.store.outbox import Claimed
from profiles.strict_json import to_json

DELIVERY_ID: Final = "Crisis-Delivery-Id"
COVERED: Final = ("@method", "@target-uri", "content-digest", "content-type", DELIVERY_ID.lower())
LABEL: Final = "gateway"
TAG: Final = "crisis-referral-callback"


class _OwnKey(HTTPSignatureKeyResolver):
    """The gateway's current key, by its kid."""

    def __init__(self, keys: KeyRing) -> None:
        self.keys = keys

    def resolve_private_key(self, key_id: str) -> Any:
        if key_id != self.keys.kid:
            raise KeyError(key_id)
        return self.keys.private_key


@dataclass(frozen=True, slots=True)
class Callback:
    """Posts to senders' systems. ca_file: certificates to trust instead of the system's."""

    keys: KeyRing
    allow_private: bool
    ca_file: str | None = None
    call_seconds: float = TOTAL_SECONDS

    def open(self, address: str, client_id: str | None) -> OpenCallback:
        """Check the address; there is nothing to ask beforehand. Raises NotOpened."""
        del client_id
        try:
            registered = require_address(address, allow_private=self.allow_private)
        except AddressRefused as refused:
            raise NotOpened(Reply(None, (refused.code,), begun=False, refused_by_us=True)) from None
        calls = Calls(lambda target: require_same_peer(target, registered), allow_private=self.allow_private, ca_file=self.ca_file)
        return OpenCallback(self, calls, registered)

    def sign(self, request: requests.PreparedRequest, body: bytes) -> requests.PreparedRequest:
        """Add Content-Digest, Signature-Input and Signature."""
        signer = HTTPMessageSigner(signature_algorithm=algorithms.ECDSA_P384_SHA384, key_resolver=_OwnKey(self.keys))
        signer.sign(
            request,
            key_id=self.keys.kid,
            created=datetime.now(UTC),
            label=LABEL,
            tag=TAG,
            covered_component_ids=COVERED,
            body=body,
        )
        return request


@dataclass(slots=True)
class OpenCallback:
    """A registered address, checked."""

    channel: Callback
    calls: Calls
    registered: Address

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.calls.close()

    def repeatable(self, claimed: Claimed, disclosed: Disclosed) -> bool:
        """Always: the delivery id tells a repetition."""
        del claimed, disclosed
        return True

    def send(self, claimed: Claimed, disclosed: Disclosed) -> Reply:
        """Post the view. Any 2xx is a yes; what stands in the answer is not read."""
        body = disclosed.body if isinstance(disclosed.body, bytes) else to_json(disclosed.body)
        headers = {"Accept": "application/json", "Content-Type": "application/json", DELIVERY_ID: claimed.delivery_id}
        self.calls.allow_seconds(self.channel.call_seconds)

        def sign(request: requests.PreparedRequest) -> requests.PreparedRequest:
            return self.channel.sign(request, body)

        try:
            answer = self.calls.call("POST", self.registered.url, headers=headers, body=body, auth=sign)
        except CallFailed as failed:
            return failed_reply(failed, begun=True)
        reply = read_reply(answer, begun=True)
        if 200 <= answer.status < 300 or answer.status == 409:
            return Reply(answer.status, reply.issue_codes, accepted=True)
        return reply

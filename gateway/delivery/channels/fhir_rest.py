"""Channel `fhir-rest`: one transaction Bundle into a receiver's FHIR server, made idempotent by conditional requests.

No answer's text is kept or logged: a delivery remembers status and issue codes only.
"""

from __future__ import annotations

from dataclasses import dataclass
from types import TracebackType
from typing import Any, Final, Literal, Self

from gateway.access.disclosed import Disclosed
from gateway.delivery.addresses import Address, AddressRefused, require_address, require_same_peer
from gateway.delivery.bundles import Unsendable, entry_statuses, issue_codes, pushed_types, transaction_bundle
from gateway.delivery.channels.channel import NotOpened
from gateway.delivery.channels.smart import Peer, SmartClient, failed_reply, read_reply
from gateway.delivery.outbound import TOTAL_SECONDS, Answer, CallFailed, Calls
from gateway.delivery.retry import Reply
from gateway.store.outbox import Claimed
from profiles.strict_json import JsonFault, parse_json, to_json

FHIR_JSON: Final = "application/fhir+json"


@dataclass(frozen=True, slots=True)
class FhirRest:
    """Pushes into FHIR servers. base_url: the gateway's own. ca_file: certificates to trust instead of the system's.

    call_seconds: what opening may take, and sending again.
    """

    smart: SmartClient
    base_url: str
    ca_file: str | None = None
    call_seconds: float = TOTAL_SECONDS

    def open(self, address: str, client_id: str | None) -> OpenFhirRest:
        """Discover the receiver and get a token. Raises NotOpened."""
        try:
            registered = require_address(address, allow_private=self.smart.allow_private)
        except AddressRefused as refused:
            raise NotOpened(Reply(None, (refused.code,), begun=False, refused_by_us=True)) from None
        calls = Calls(self._allowed(registered), allow_private=self.smart.allow_private, ca_file=self.ca_file)
        try:
            calls.allow_seconds(self.call_seconds)
            peer = self.smart.peer(calls, registered)
            token = self.smart.token(calls, peer, client_id)
        except BaseException:
            calls.close()
            raise
        return OpenFhirRest(self, calls, registered, peer, client_id, token)

    def _allowed(self, registered: Address) -> Any:
        return lambda address: require_same_peer(address, registered, self.smart.also_allowed)


@dataclass(slots=True)
class OpenFhirRest:
    """A receiver that is there, and a token it gave us."""

    channel: FhirRest
    calls: Calls
    registered: Address
    peer: Peer
    client_id: str | None
    token: str

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.calls.close()

    def repeatable(self, claimed: Claimed, disclosed: Disclosed) -> bool:
        """Whether the receiver offers the conditional request for every type of this push."""
        able = self.peer.updates if _mode(claimed, disclosed) == "update" else self.peer.creates
        return pushed_types(_resources(disclosed)) <= able

    def send(self, claimed: Claimed, disclosed: Disclosed) -> Reply:
        """Push. A token that is refused is replaced once."""
        try:
            mode = _mode(claimed, disclosed)
            bundle = transaction_bundle(_resources(disclosed), self.channel.base_url, mode, self.peer.updates)
        except Unsendable:
            return Reply(None, ("no-identifier",), begun=False, refused_by_us=True)
        body = to_json(bundle)
        self.calls.allow_seconds(self.channel.call_seconds)
        try:
            answer = self._post(body)
            if answer.status == 401:
                # it refused the caller, so it did not take the content
                self.channel.smart.forget(self.registered, self.peer, self.client_id, self.token)
                self.token = self.channel.smart.token(self.calls, self.peer, self.client_id)
                answer = self._post(body)
        except NotOpened as closed:
            return closed.reply
        except CallFailed as failed:
            return failed_reply(failed, begun=True)
        return _judge(answer, len(bundle["entry"]))

    def _post(self, body: bytes) -> Answer:
        headers = {
            "Accept": FHIR_JSON,
            "Authorization": f"Bearer {self.token}",
            "Content-Type": FHIR_JSON,
            "Prefer": "return=minimal",
        }
        return self.calls.call("POST", self.registered.url, headers=headers, body=body)


def _resources(disclosed: Disclosed) -> list[dict[str, Any]]:
    resources = disclosed.body.get("resources") if isinstance(disclosed.body, dict) else None
    if not isinstance(resources, list):
        raise TypeError("a delivery discloses a bundle")
    return resources


def _mode(claimed: Claimed, disclosed: Disclosed) -> Literal["create", "update"]:
    """Conditional create leaves what the peer has as it is: once it may hold an older state, the newer one is an update."""
    older = 0 < claimed.held_generation < claimed.generation
    asked = isinstance(disclosed.body, dict) and disclosed.body.get("mode") == "update"
    return "update" if asked or older else "create"


def _judge(answer: Answer, entries: int) -> Reply:
    """Whether the transaction-response says of every entry that it was taken."""
    reply = read_reply(answer, begun=True)
    if not 200 <= answer.status < 300:
        return reply
    try:
        document = parse_json(answer.content)
    except JsonFault:
        return Reply(answer.status, ("broken-answer",))
    statuses = entry_statuses(document)
    if statuses is None or len(statuses) != entries:
        return Reply(answer.status, ("broken-answer",))
    worst = max((status for status in statuses if not 200 <= status < 300), default=None)
    if worst is None:
        return Reply(answer.status, reply.issue_codes, accepted=True)
    # a transaction is all or nothing, so a peer that fails single entries did not keep to it: judged by its worst entry
    return Reply(worst, issue_codes(document), reply.retry_after, in_part=True)

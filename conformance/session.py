"""One run against one gateway: who the kit acts as, what it has posted, and every exchange of the check at hand.

Knows the public contract of a referral gateway and nothing of how one is built. What it posts it withdraws at the end.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final
from urllib.parse import quote, urlencode

import requests

from conformance.exchange import Exchange, Http
from conformance.expect import expect_status, json_object, member
from conformance.messages import Messages
from conformance.parties import INTAKE_SCOPE, Party
from conformance.standins.client import FHIR_JSON, NoToken, SmartClient
from conformance.standins.receiver import PATCH_JSON
from conformance.verdicts import Failed, NotDemonstrated
from conformance.wire import WireLog
from profiles.strict_json import JsonFault, to_json

POLL_SECONDS: Final = 0.15
SLOWEST_POLL_SECONDS: Final = 1.0
SETTLE_SECONDS: Final = 1.0
PAGES: Final = 50
INTAKE: Final = "/intake/rms-diversion"


class Offer:
    """A Task the receiver was offered for a request of this run."""

    def __init__(self, task: dict[str, Any], receipt: str, answer: Exchange) -> None:
        self.task, self.receipt, self.answer = task, receipt, answer

    @property
    def id(self) -> str:
        """The Task's id."""
        return str(self.task["id"])

    @property
    def etag(self) -> str:
        """The version read, as If-Match takes it."""
        return f'W/"{self.task["meta"]["versionId"]}"'


class Session:
    """The checks' hands.

    timeout: seconds to wait for an offer to reach the receiver. settle_seconds: to wait before saying that nothing changed.
    """

    def __init__(
        self,
        target: str,
        parties: Mapping[str, Party],
        *,
        timeout: float = 20.0,
        settle_seconds: float = SETTLE_SECONDS,
        wire: WireLog | None = None,
    ) -> None:
        self.settle_seconds = settle_seconds
        self.target = target.rstrip("/")
        self.timeout = timeout
        self.parties = parties
        self.exchanges: list[Exchange] = []
        self.warnings: list[str] = []
        self.receipts: list[tuple[SmartClient, str]] = []
        self._lock = threading.Lock()
        self._wire = wire
        self._clients = {role: self._client(party) for role, party in parties.items()}
        self._offer: Offer | None = None
        self.anonymous = Http("kit", "target", wire, self._keep)
        self.messages = Messages(self.get_schema)

    # who
    def _client(self, party: Party) -> SmartClient:
        return SmartClient(self.target, party.client_id, party.keys, party.scope, Http(party.role, "target", self._wire, self._keep))

    @property
    def sender(self) -> SmartClient:
        """The agency that posts."""
        return self._clients["sender"]

    @property
    def receiver(self) -> SmartClient:
        """The provider that is asked."""
        return self._clients["receiver"]

    @property
    def stranger(self) -> SmartClient:
        """A provider that is party to nothing here."""
        return self._clients["stranger"]

    @property
    def other_sender(self) -> SmartClient:
        """Another agency with the intake scope. Raises NotDemonstrated where the clients file names none."""
        for role in ("other_sender", "stranger"):
            if role in self._clients and INTAKE_SCOPE in self.parties[role].scope.split():
                return self._clients[role]
        raise NotDemonstrated(f"the clients file names no second client with the scope {INTAKE_SCOPE}: add [other_sender]")

    def covers(self, role: str, kind: str, letter: str) -> bool:
        """Whether a party's scope, as the clients file has it, covers an interaction (c, r, u, d, s) on a resource type."""
        return any(_covers(scope, kind, letter) for scope in self.parties[role].scope.split())

    def require_scope(self, role: str, kind: str, letters: str) -> None:
        """A check about what is hidden needs a caller who could see the type. Raises NotDemonstrated."""
        if not all(self.covers(role, kind, letter) for letter in letters):
            raise NotDemonstrated(f"the scope of [{role}] in the clients file does not cover system/{kind}.{letters}")

    # what was said
    def _keep(self, exchange: Exchange) -> None:
        with self._lock:
            self.exchanges.append(exchange)

    def warn(self, text: str) -> None:
        """Note a SHOULD that is not kept."""
        self.warnings.append(text)

    def get(self, path: str, **headers: str) -> Exchange:
        """A call without a token."""
        return self.anonymous.send("GET", self.target + path, headers={"Accept": "application/json", **headers})

    def get_schema(self) -> dict[str, Any]:
        """The published schema of rms-diversion."""
        answer = self.get(f"{INTAKE}/schema")
        expect_status(answer, 200)
        return json_object(answer)

    # the sender's moves
    def post(self, message: Mapping[str, Any] | bytes, *, client: SmartClient | None = None, query: str = "", **headers: str) -> Exchange:
        """Post a message as the sender; a receipt that comes back is withdrawn at the end of the run."""
        who = client or self.sender
        body = message if isinstance(message, bytes) else to_json(message)
        answer = who.call("POST", INTAKE + query, body=body, headers={"Content-Type": "application/json", **headers})
        if answer.status in (200, 201) and not query:
            self._remember(who, answer)
        return answer

    def _remember(self, who: SmartClient, answer: Exchange) -> None:
        try:
            document = answer.json()
        except JsonFault:
            return
        receipt = document.get("receipt") if isinstance(document, dict) else None
        if isinstance(receipt, str):
            with self._lock:
                self.receipts.append((who, receipt))

    def receipt_of(self, answer: Exchange) -> str:
        """The receipt in an answer. Raises Failed."""
        return str(member(answer, "receipt", str))

    def refer(self, **changes: Any) -> str:
        """Post a new request and give its receipt."""
        answer = self.post(self.messages.new(**changes))
        expect_status(answer, 201)
        return self.receipt_of(answer)

    def view(self, receipt: str, client: SmartClient | None = None) -> Exchange:
        """Read a receipt."""
        return (client or self.sender).call("GET", f"/referrals/{quote(receipt, safe='')}")

    def cancel(self, receipt: str, client: SmartClient | None = None) -> Exchange:
        """Take a request back."""
        return (client or self.sender).call("POST", f"/referrals/{quote(receipt, safe='')}/cancel")

    # the receiver's moves
    def read_task(self, task_id: str, client: SmartClient | None = None) -> Exchange:
        """Read a Task."""
        return (client or self.receiver).call("GET", f"/fhir/Task/{task_id}")

    def put_task(self, task: Mapping[str, Any], if_match: str | None, *, client: SmartClient | None = None, **elements: Any) -> Exchange:
        """Put a Task with some elements changed."""
        headers = {"Content-Type": FHIR_JSON, **({"If-Match": if_match} if if_match else {})}
        return (client or self.receiver).call("PUT", f"/fhir/Task/{task['id']}", body=to_json({**task, **elements}), headers=headers)

    def patch_task(self, task_id: str, operations: list[Any], if_match: str | None, client: SmartClient | None = None) -> Exchange:
        """Patch a Task (RFC 6902)."""
        headers = {"Content-Type": PATCH_JSON, **({"If-Match": if_match} if if_match else {})}
        return (client or self.receiver).call("PATCH", f"/fhir/Task/{task_id}", body=to_json(operations), headers=headers)

    def open_tasks(self) -> dict[str, dict[str, Any]]:
        """The Tasks that wait for the receiver's answer, by id. Raises Failed when the search is not answered with a Bundle."""
        organization = self.parties["receiver"].organization
        query = {"status": "requested", **({"owner": f"Organization/{organization}"} if organization else {})}
        found: dict[str, dict[str, Any]] = {}
        address: str | None = f"/fhir/Task?{urlencode(query)}"
        for _ in range(PAGES):
            if address is None:
                break
            answer = self.receiver.call("GET", address)
            expect_status(answer, 200)
            bundle = json_object(answer)
            if bundle.get("resourceType") != "Bundle" or bundle.get("type") != "searchset":
                raise Failed("the search was not answered with a searchset Bundle", answer)
            for entry in bundle.get("entry", []):
                resource = entry.get("resource", {})
                if resource.get("resourceType") == "Task" and isinstance(resource.get("id"), str):
                    found[resource["id"]] = resource
            address = next((link.get("url") for link in bundle.get("link", []) if link.get("relation") == "next"), None)
        return found

    def new_offer(self, **changes: Any) -> Offer:
        """Post a request and wait until the receiver is asked. Raises NotDemonstrated when it never is."""
        before = self.open_tasks().keys()
        receipt = self.refer(**changes)
        ends_at, pause = time.monotonic() + self.timeout, POLL_SECONDS
        while True:
            fresh = {key: task for key, task in self.open_tasks().items() if key not in before}
            if fresh:
                newest = max(fresh.values(), key=lambda task: str(task.get("meta", {}).get("lastUpdated", "")))
                return self._read_offer(str(newest["id"]), receipt)
            if time.monotonic() >= ends_at:
                raise NotDemonstrated(
                    f"no Task reached the receiver within {self.timeout:g} s: "
                    "is it a candidate for the service that is asked first, and is the worker running?"
                )
            time.sleep(pause)
            pause = min(pause * 1.5, SLOWEST_POLL_SECONDS)

    def _read_offer(self, task_id: str, receipt: str) -> Offer:
        answer = self.read_task(task_id)
        expect_status(answer, 200)
        task = json_object(answer)
        if not isinstance(task.get("meta"), dict) or "versionId" not in task["meta"] or task.get("id") != task_id:
            raise Failed("the Task has no id or meta.versionId", answer)
        return Offer(task, receipt, answer)

    def open_offer(self) -> Offer:
        """An offer that still waits for its answer; shared by the checks that should leave it as it is."""
        if self._offer is not None:
            again = self._read_offer(self._offer.id, self._offer.receipt)
            if again.task.get("status") == "requested":
                self._offer = again
                return again
        self._offer = self.new_offer()
        return self._offer

    def at_once(self, calls: Sequence[Callable[[], Exchange]]) -> list[Exchange]:
        """Make the calls at the same moment; their answers in the order of `calls`."""
        gate = threading.Barrier(len(calls))

        def go(call: Callable[[], Exchange]) -> Exchange:
            gate.wait(timeout=self.timeout)
            return call()

        with ThreadPoolExecutor(len(calls)) as pool:
            return list(pool.map(go, calls))

    def _posted(self) -> list[tuple[SmartClient, str]]:
        return list({receipt: (client, receipt) for client, receipt in self.receipts}.values())

    def tidy_up(self) -> None:
        """Withdraw everything this run posted; what fails here is no matter of a check."""
        for client, receipt in self._posted():
            try:
                self.cancel(receipt, client)
            except (requests.RequestException, NoToken):
                return


def _covers(scope: str, kind: str, letter: str) -> bool:
    resource, _, letters = scope.removeprefix("system/").partition(".")
    if resource not in (kind, "*") or "?" in letters:
        return False
    return letter in {"read": "rs", "write": "cud", "*": "cruds"}.get(letters, letters)

"""The clinic's side of the stand-in EHR: a SMART client of the gateway that reads its Tasks and answers them.

Every answer is made on the version last read, with If-Match, the way a careful EHR does it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlsplit

from conformance.exchange import Exchange
from conformance.standins.client import FHIR_JSON, SmartClient
from profiles.strict_json import JsonFault, to_json

PATCH_JSON: Final = "application/json-patch+json"
PAGES: Final = 20
OUTCOME: Final = {"type": {"text": "outcome"}, "valueString": "Seen and engaged."}


class NotAnswerable(Exception):
    """There is no such Task, or none that is open."""


@dataclass(frozen=True, slots=True)
class Receiver:
    """Acts at the gateway as one provider organisation."""

    client: SmartClient

    def read(self, address: str) -> Exchange:
        """Read `Type/id`, or a search such as `Task?status=requested`."""
        return self.client.call_again("GET", f"/fhir/{address}")

    def search(self, query: str) -> list[dict[str, Any]]:
        """All matches of a search, over its pages. Raises NotAnswerable when the gateway refuses it."""
        found: list[dict[str, Any]] = []
        address: str | None = f"/fhir/{query}"
        for _ in range(PAGES):
            if address is None:
                break
            answer = self.client.call_again("GET", address)
            bundle = answer.json() if answer.status == 200 else {}
            if bundle.get("resourceType") != "Bundle":
                raise NotAnswerable(f"the search was answered with status {answer.status}")
            found += [entry["resource"] for entry in bundle.get("entry", []) if entry.get("search", {}).get("mode", "match") == "match"]
            address = next((link["url"] for link in bundle.get("link", []) if link.get("relation") == "next"), None)
        return found

    def open_task(self, task_id: str | None = None) -> str:
        """The id of the Task meant: the one named, or the newest that waits for an answer. Raises NotAnswerable."""
        if task_id:
            return task_id
        tasks = self.search("Task?status=requested")
        if not tasks:
            raise NotAnswerable("no Task waits for an answer")
        return str(max(tasks, key=lambda task: str(task.get("meta", {}).get("lastUpdated", "")))["id"])

    def put_status(self, task_id: str, status: str, **elements: Any) -> Exchange:
        """Read the Task and put it back with another status (and other elements of the owner)."""
        read = self.read(f"Task/{task_id}")
        if read.status != 200:
            return read
        task = {**_task(read), "status": status, **elements}
        return self.put(task, str(read.answer_headers.get("ETag") or f'W/"{task["meta"]["versionId"]}"'))

    def put(self, task: Mapping[str, Any], if_match: str) -> Exchange:
        """Put a whole Task."""
        headers = {"Content-Type": FHIR_JSON, "If-Match": if_match}
        return self.client.call_again("PUT", f"/fhir/Task/{task['id']}", body=to_json(dict(task)), headers=headers)

    def patch(self, address: str, operations: Sequence[Mapping[str, Any]]) -> Exchange:
        """Read `Type/id` and patch it (RFC 6902)."""
        read = self.read(address)
        if read.status != 200:
            return read
        version = str(read.answer_headers.get("ETag") or f'W/"{read.json()["meta"]["versionId"]}"')
        headers = {"Content-Type": PATCH_JSON, "If-Match": version}
        return self.client.call_again("PATCH", f"/fhir/{address}", body=to_json(list(operations)), headers=headers)

    def accept(self, task_id: str) -> Exchange:
        """Take the responsibility."""
        return self.put_status(task_id, "accepted")

    def decline(self, task_id: str, reason: str = "no capacity") -> Exchange:
        """Say no; the reason is for the clinic's own record and the coordinator."""
        return self.put_status(task_id, "rejected", statusReason={"text": reason})

    def progress(self, task_id: str, status: str, elements: Mapping[str, Any]) -> Exchange:
        """Report by JSON Patch. elements: other elements of the owner, such as businessStatus."""
        changes = {"status": status, **elements}
        return self.patch(f"Task/{task_id}", [{"op": "add", "path": f"/{name}", "value": value} for name, value in changes.items()])

    def complete(self, task_id: str) -> Exchange:
        """Say that the work is done and what came of it."""
        return self.put_status(task_id, "completed", output=[OUTCOME])

    def confirm_consent(self, consent_id: str | None, *, verified: bool = True) -> Exchange:
        """Say that the person's authorization was seen. consent_id: None takes the newest. Raises NotAnswerable."""
        if consent_id is None:
            consents = self.search("Consent")
            if not consents:
                raise NotAnswerable("the gateway shows no Consent")
            consent_id = str(max(consents, key=lambda each: str(each["meta"]["lastUpdated"]))["id"])
        return self.patch(f"Consent/{consent_id}", [{"op": "add", "path": "/verification", "value": [{"verified": verified}]}])


def _task(read: Exchange) -> dict[str, Any]:
    try:
        task = read.json()
    except JsonFault:
        raise NotAnswerable("the gateway's Task is not JSON") from None
    if not isinstance(task, dict) or task.get("resourceType") != "Task":
        raise NotAnswerable("the gateway's answer is not a Task")
    return task


def live_task_id(pushed: Mapping[str, Any], base_url: str) -> str | None:
    """The id of the gateway's live Task that a pushed copy names, if it is this gateway's.

    A copy carries the live Task's address as meta.source and as an identifier of system urn:ietf:rfc:3986.
    """
    named = [item.get("value") for item in pushed.get("identifier", []) if item.get("system") == "urn:ietf:rfc:3986"]
    for address in (*named, pushed.get("meta", {}).get("source")):
        if isinstance(address, str) and address.startswith(f"{base_url}/fhir/Task/"):
            return urlsplit(address).path.rpartition("/")[2]
    return None

"""What can happen in the town, one step each: it happens, and what was answered is shown.

Each step needs the answer the story is about; another answer ends the demo as failed.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from gateway.demo.failing import DemoFailed
from gateway.demo.people import CLINIC, EHR_CLIENTS, NAMES, Sender
from gateway.demo.terminal import Terminal, clock
from gateway.demo.town import StandIn, Town
from gateway.demo.views import ClinicsFile, Kept, clinics_view, read_file, require, seen_of, senders_view
from gateway.referral.protocol import protocol_for
from gateway.referral.responsibility import Entry, standing_of
from gateway.referral.tasks import BUSINESS_STATUS

FALLBACK: Final = protocol_for("rms-diversion").fallback_owner


@dataclass(slots=True)
class Case:
    """One referral of the story.

    kept: what of the message may reach nobody else. view: as its sender read it last. told: the words its sender came to read,
    each with the time from which it was true.
    """

    sender: Sender
    called: str
    kept: Kept = field(repr=False)
    receipt: str = ""
    task: str = ""
    view: dict[str, Any] | None = field(default=None, repr=False)
    told: dict[str, str] = field(default_factory=dict)


class Steps:
    """Acts through the town's systems and shows it on the terminal. Raises DemoFailed."""

    def __init__(self, town: Town, terminal: Terminal) -> None:
        self.town, self.terminal = town, terminal
        self.seen: set[str] = set()

    def system_of(self, case: Case) -> StandIn:
        """The system a case was sent by."""
        return self.town.cad if case.sender.client == self.town.cad.name else self.town.rms

    def send(self, case: Case, message: Mapping[str, Any], what: str, *, status: int = 201) -> None:
        """The sender's system posts a message. status: 201 for a new referral, 200 for more of one that is known."""
        system = self.system_of(case)
        view = require(system.tell("send", message=message), status, f"{system.name} sends").body
        self.terminal.exchange(system.name, "gateway", f"POST /intake/{case.sender.format}", status, f"{what}: {view['status']}")
        if status == 201:
            case.receipt = view["receipt"]
            self.town.receipts.append(case.receipt)
            for issue in view["issues"]:
                self.terminal.note(f"taken, with a {issue['severity']}: {issue['details']['text']} {issue['diagnostics']}")
        elif view["receipt"] != case.receipt:
            raise DemoFailed(f"{system.name} got another receipt for what it had sent before")
        self._told(case, view)

    def offered(self, case: Case, organization: str) -> ClinicsFile:
        """Wait until an offer reaches an EHR, and read there what came."""
        case.task, _ = self.town.pushed_task(organization, self.seen)
        return self._pushed(case, organization, 1)

    def renewed(self, case: Case, organization: str, pushed_before: int) -> ClinicsFile:
        """Wait until an EHR got what it holds anew, and read there what it is now."""
        return self._pushed(case, organization, pushed_before + 1)

    def file(self, case: Case, organization: str) -> ClinicsFile:
        """What a receiver can read of a case now."""
        return read_file(self.town.ehrs[organization], case.task)

    def own_persons(self, organization: str) -> list[dict[str, Any]]:
        """The persons an EHR holds in its own store, as the gateway pushed them."""
        found: list[dict[str, Any]] = self.town.ehrs[organization].state()["resources"].get("Patient", [])
        return found

    def pushes(self, case: Case, organization: str) -> list[tuple[int, int]]:
        """Status and number of resources of each push of a case's Task, from the EHR's own log."""
        log = self.town.ehrs[organization].requests()
        pushed = [entry for entry in log if entry["request"].startswith("POST /fhir ") and case.task in entry["body"]]
        return [(int(entry["status"]), len(json.loads(entry["body"])["entry"])) for entry in pushed]

    def _pushed(self, case: Case, organization: str, wanted: int) -> ClinicsFile:
        ehr = self.town.ehrs[organization]
        found = self.town.wait(f"a push in the log of {ehr.name}", lambda: self.pushes(case, organization)[wanted - 1 :] or None)
        status, count = found[-1]
        self.terminal.exchange("gateway", ehr.name, "POST /fhir (transaction)", status, f"{count} resources")
        file = self.file(case, organization)
        leaked = seen_of(file, case.kept)
        if leaked:
            raise DemoFailed(f"{len(leaked)} values that stay with the sender reached {NAMES[organization]}")
        return file

    def answer(self, case: Case, organization: str, answer: str) -> None:
        """The receiver accepts or declines."""
        ehr = self.town.ehrs[organization]
        said = require(ehr.tell(answer, task=case.task), 200, f"{NAMES[organization]}: {answer}")
        self.terminal.exchange(ehr.name, "gateway", f"PUT /fhir/Task/{short(case.task)}", said.status, f"status {said.body['status']}")

    def report(self, case: Case, organization: str, business_status: str | None = None) -> None:
        """The receiver says how far it is."""
        ehr = self.town.ehrs[organization]
        elements = {"businessStatus": {"coding": [{"system": BUSINESS_STATUS, "code": business_status}]}} if business_status else {}
        answer = ehr.tell("progress", task=case.task, status="in-progress", elements=elements)
        said = require(answer, 200, f"{NAMES[organization]} reports").body["status"]
        shown = f"status {said}, {business_status}" if business_status else f"status {said}"
        self.terminal.exchange(ehr.name, "gateway", f"PATCH /fhir/Task/{short(case.task)}", answer.status, shown)

    def confirm(self, case: Case) -> None:
        """The clinic says that it has seen the person's authorization."""
        ehr = self.town.ehrs[CLINIC]
        file = read_file(ehr, case.task)
        consent = next((each for each in file.consents if each.get("sourceAttachment")), None)
        if consent is None:
            raise DemoFailed("the clinic reads no Consent with a source")
        said = require(ehr.tell("confirm-consent", consent=consent["id"]), 200, "the clinic confirms the authorization")
        verified = f"verified {json.dumps(said.body['verification'][0]['verified'])}"
        self.terminal.exchange(ehr.name, "gateway", f"PATCH /fhir/Consent/{short(consent['id'])}", said.status, verified)

    def lost(self, organization: str, task: str, parts: Mapping[str, str]) -> None:
        """A receiver whose offer ended can no longer read the person. parts: where its Task had led."""
        ehr = self.town.ehrs[organization]
        gone = read_file(ehr, task, parts)
        if gone.patient.status != 404 or gone.request.status != 404:
            raise DemoFailed(f"{NAMES[organization]} can still read the person")
        self.terminal.exchange(EHR_CLIENTS[organization], "gateway", f"GET /fhir/Patient/{short(parts['for'])}", gone.patient.status)

    def called_back(self, case: Case, word: str | None) -> str:
        """Wait for a signed callback about a case; None takes any newer word than `accepted`."""
        system = self.system_of(case)

        def look() -> dict[str, Any] | None:
            for callback in reversed(system.state()["callbacks"]):
                body: dict[str, Any] = callback.get("body") or {}
                wanted = body.get("status") == word if word else body.get("status") != "accepted"
                if callback["verified"] and body.get("receipt") == case.receipt and wanted:
                    return body
            return None

        view = self.town.wait(f"a signed callback at {system.name}", look)
        self._told(case, view)
        self.terminal.exchange("gateway", system.name, f"POST {case.sender.callback_path}", 204, f"signature verified: {view['status']}")
        return str(view["status"])

    def read(self, case: Case, expected: str) -> dict[str, Any]:
        """The sender reads its receipt, and nothing but the word it may read."""
        system = self.system_of(case)
        view: dict[str, Any] = require(system.tell("read", receipt=case.receipt), 200, f"{system.name} reads the receipt").body
        if view["status"] != expected:
            raise DemoFailed(f"{system.name} reads {view['status']!r} where {expected!r} is what it may learn")
        named = [key for key in EHR_CLIENTS if key in json.dumps(view) or NAMES[key] in json.dumps(view)]
        if named:
            raise DemoFailed(f"what {system.name} reads names who has the referral")
        self._told(case, view)
        return view

    def compare(self, case: Case, organization: str, *, expected: str, holder: str) -> None:
        """Sender and receiver side by side, and who holds the referral."""
        view = self.read(case, expected)
        file = self.file(case, organization)
        self.terminal.side_by_side(
            f"{case.called} reads", senders_view(view, case.view), f"{NAMES[organization]} reads", clinics_view(file, case.kept)
        )
        case.view = view
        entries = self.entries(case)
        standing = standing_of(entries, FALLBACK)
        self.terminal.holder(str(standing.holder), entries[-1])
        if standing.holder != holder:
            raise DemoFailed(f"{standing.holder} holds the referral where {holder} should")

    def two_senders(self, left: Case, right: Case) -> None:
        """What two senders came to read, word by word, and how often each was called back."""
        self.terminal.side_by_side(f"{left.called} has read", self._words(left), f"{right.called} has read", self._words(right))

    def _words(self, case: Case) -> Sequence[tuple[str, str]]:
        callbacks = [each for each in self.system_of(case).state()["callbacks"] if (each.get("body") or {}).get("receipt") == case.receipt]
        return [*((word, f"since {clock(since)} UTC") for word, since in case.told.items()), ("callbacks", str(len(callbacks)))]

    def _told(self, case: Case, view: Mapping[str, Any]) -> None:
        case.told.setdefault(str(view["status"]), str(view["since"]))

    def entries(self, case: Case) -> list[Entry]:
        """The ledger of a case."""
        return [Entry(**{**line, "labels": tuple(line["labels"])}) for line in self.town.ledger(case.receipt)]

    def proof(self, case: Case) -> None:
        """What can be shown afterwards: the ledger, and who was told what."""
        self.terminal.ledger(self.entries(case))
        self.terminal.audit(self.town.audit(case.receipt))


def short(reference: str) -> str:
    """The end of an id, which is enough to tell two apart in a line."""
    return f"…{reference[-8:]}"

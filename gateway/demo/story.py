"""The three scenes. Each step needs the answer the story is about; another answer ends the demo as failed."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

from gateway.demo import people
from gateway.demo.failing import DemoFailed
from gateway.demo.people import CENTER, CLINIC, EHR_CLIENTS, NAMES, POLICE
from gateway.demo.terminal import Terminal
from gateway.demo.town import Town
from gateway.demo.views import ClinicsFile, clinics_view, justice_seen, officers_view, read_file, references, require
from gateway.referral.protocol import protocol_for
from gateway.referral.responsibility import Entry, standing_of

FALLBACK: Final = protocol_for("rms-diversion").fallback_owner


@dataclass(slots=True)
class Case:
    """One referral of the story."""

    message: dict[str, Any] = field(repr=False)
    receipt: str
    task: str = ""
    view: dict[str, Any] | None = field(default=None, repr=False)  # as the officer's system read it last


class Story:
    """Tells what happens in a town, scene by scene. Raises DemoFailed."""

    def __init__(self, town: Town, terminal: Terminal) -> None:
        self.town, self.terminal = town, terminal
        self.seen: set[str] = set()

    def tell(self) -> None:
        """All three scenes."""
        self.only_the_officers_tick()
        self.the_persons_authorization()
        self.declined_and_taken()

    def only_the_officers_tick(self) -> None:
        """Scene 1."""
        self.terminal.scene(
            "1  Only the officer's tick",
            "The officer ticked that the person agrees to share the outcome. What does the officer learn when the clinic accepts?",
        )
        case = self.refer(people.with_officers_tick(datetime.now(UTC)))
        self.offered(case, CLINIC)
        self.compare(case, CLINIC, expected="received", holder=POLICE)
        self.answer(case, CLINIC, "accept")
        self.compare(case, CLINIC, expected="received", holder=CLINIC)
        self.proof(case)

    def the_persons_authorization(self) -> None:
        """Scene 2."""
        self.terminal.scene(
            "2  The person's own authorization, confirmed by the clinic",
            "Another person signed an authorization. The officer attached it; that alone is a claim. Then the clinic confirms it.",
        )
        case = self.refer(people.with_signed_authorization(datetime.now(UTC)))
        self.offered(case, CLINIC)
        self.answer(case, CLINIC, "accept")
        self.compare(case, CLINIC, expected="received", holder=CLINIC)
        self.confirm(case)
        self.called_back(case, "accepted")
        self.compare(case, CLINIC, expected="accepted", holder=CLINIC)
        ehr = self.town.ehrs[CLINIC]
        answer = require(ehr.tell("progress", task=case.task, status="in-progress"), 200, "the clinic reports")
        self.terminal.exchange(
            ehr.name, "gateway", f"PATCH /fhir/Task/{_short(case.task)}", answer.status, f"status {answer.body['status']}"
        )
        word = self.called_back(case, None)
        self.compare(case, CLINIC, expected=word, holder=CLINIC)
        self.proof(case)

    def declined_and_taken(self) -> None:
        """Scene 3."""
        self.terminal.scene(
            "3  Declined by the first, taken by the second",
            "Nobody knows this person's name, and there is no consent. The first clinic is full.",
        )
        case = self.refer(people.of_somebody_unidentified(datetime.now(UTC)))
        file = self.offered(case, CLINIC)
        parts = references(file.task)
        self.compare(case, CLINIC, expected="received", holder=POLICE)
        first = case.task
        self.answer(case, CLINIC, "decline")
        self.offered(case, CENTER)
        gone = read_file(self.town.ehrs[CLINIC], first, parts)
        if gone.patient.status != 404 or gone.request.status != 404:
            raise DemoFailed("the clinic that declined can still read the person")
        self.terminal.exchange(EHR_CLIENTS[CLINIC], "gateway", f"GET /fhir/Patient/{_short(parts['for'])}", gone.patient.status)
        self.answer(case, CENTER, "accept")
        self.compare(case, CENTER, expected="received", holder=CENTER)
        self.proof(case)

    def refer(self, message: dict[str, Any]) -> Case:
        """The officer's system posts a request."""
        answer = require(self.town.rms.tell("send", message=message), 201, "the officer's request")
        view = answer.body
        self.terminal.exchange(
            self.town.rms.name, "gateway", "POST /intake/rms-diversion", answer.status, f"{message['request_number']}: {view['status']}"
        )
        self.town.receipts.append(view["receipt"])
        return Case(message, view["receipt"])

    def offered(self, case: Case, organization: str) -> ClinicsFile:
        """Wait until an offer reaches an EHR, and read there what came."""
        case.task, _ = self.town.pushed_task(organization, self.seen)
        ehr = self.town.ehrs[organization]
        status, count = self._push(ehr.name, case.task)
        self.terminal.exchange("gateway", ehr.name, "POST /fhir (transaction)", status, f"{count} resources")
        file = read_file(ehr, case.task)
        leaked = justice_seen(file, people.justice_values(case.message))
        if leaked:
            raise DemoFailed(f"{len(leaked)} values of justice data reached {NAMES[organization]}")
        return file

    def _push(self, ehr: str, task: str) -> tuple[int, int]:
        """Status and number of resources of the push that brought a Task, from the EHR's own log."""

        def look() -> tuple[int, int] | None:
            for line in reversed((self.town.folder / ehr / "requests.jsonl").read_text(encoding="utf-8").splitlines()):
                entry = json.loads(line)
                if entry["request"].startswith("POST /fhir ") and task in entry["body"]:
                    return int(entry["status"]), len(json.loads(entry["body"])["entry"])
            return None

        return self.town.wait(f"the push in the log of {ehr}", look)

    def answer(self, case: Case, organization: str, answer: str) -> None:
        """The clinic accepts or declines."""
        ehr = self.town.ehrs[organization]
        said = require(ehr.tell(answer, task=case.task), 200, f"{NAMES[organization]}: {answer}")
        self.terminal.exchange(ehr.name, "gateway", f"PUT /fhir/Task/{_short(case.task)}", said.status, f"status {said.body['status']}")

    def confirm(self, case: Case) -> None:
        """The clinic says that it has seen the person's authorization."""
        ehr = self.town.ehrs[CLINIC]
        file = read_file(ehr, case.task)
        consent = next((each for each in file.consents if each.get("sourceAttachment")), None)
        if consent is None:
            raise DemoFailed("the clinic reads no Consent with a source")
        said = require(ehr.tell("confirm-consent", consent=consent["id"]), 200, "the clinic confirms the authorization")
        self.terminal.exchange(
            ehr.name,
            "gateway",
            f"PATCH /fhir/Consent/{_short(consent['id'])}",
            said.status,
            f"verified {json.dumps(said.body['verification'][0]['verified'])}",
        )

    def called_back(self, case: Case, word: str | None) -> str:
        """Wait for a signed callback about a case; None takes any newer word than `accepted`."""

        def look() -> str | None:
            for callback in reversed(self.town.rms.state()["callbacks"]):
                body = callback.get("body") or {}
                if callback["verified"] and body.get("receipt") == case.receipt:
                    said = str(body["status"])
                    if said == word or (word is None and said != "accepted"):
                        return said
            return None

        said = self.town.wait("a signed callback at the officer's system", look)
        self.terminal.exchange("gateway", self.town.rms.name, "POST /diversion-status", 204, f"signature verified: {said}")
        return said

    def compare(self, case: Case, organization: str, *, expected: str, holder: str) -> None:
        """Officer and clinic side by side, and who holds the referral."""
        view = require(self.town.rms.tell("read", receipt=case.receipt), 200, "the officer reads the receipt").body
        file = read_file(self.town.ehrs[organization], case.task)
        self.terminal.side_by_side(
            "the officer's system reads",
            officers_view(view, case.view),
            f"{NAMES[organization]} reads",
            clinics_view(file, people.justice_values(case.message)),
        )
        case.view = view
        entries = self.entries(case)
        standing = standing_of(entries, FALLBACK)
        self.terminal.holder(str(standing.holder), entries[-1])
        if view["status"] != expected:
            raise DemoFailed(f"the officer's system reads {view['status']!r} where {expected!r} is all it may learn")
        if standing.holder != holder:
            raise DemoFailed(f"{standing.holder} holds the referral where {holder} should")
        self._require_nothing_named(view)

    def _require_nothing_named(self, view: Mapping[str, Any]) -> None:
        text = json.dumps(view)
        named = [key for key in (CLINIC, CENTER) if key in text or NAMES[key] in text]
        if named:
            raise DemoFailed("the officer's view names a clinic")

    def entries(self, case: Case) -> list[Entry]:
        """The ledger of a case."""
        return [Entry(**{**line, "labels": tuple(line["labels"])}) for line in self.town.ledger(case.receipt)]

    def proof(self, case: Case) -> None:
        """What can be shown afterwards: the ledger, and who was told what."""
        self.terminal.ledger(self.entries(case))
        self.terminal.audit(self.town.audit(case.receipt))


def _short(reference: str) -> str:
    """The end of an id, which is enough to tell two apart in a line."""
    return f"…{reference[-8:]}"

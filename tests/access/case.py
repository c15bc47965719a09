"""One referral written straight through the door, without HTTP: who takes part, what was recorded, who was offered it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

from gateway.access import records
from gateway.access.records import Held
from gateway.oauth.context import Caller
from gateway.store import registry
from gateway.store.database import Database, Unit
from profiles import namespace

PARTIES = {
    "police": ("criminal_justice_agency",),
    "dispatch": ("emergency_dispatch",),
    "hospital": ("covered_entity",),
    "clinic": ("covered_entity",),
    "second-clinic": ("covered_entity",),
    "program": ("part2_program",),
    "jail-clinic": ("covered_entity", "criminal_justice_agency"),
    "strange": ("covered_entity", "soothsayer"),
}
CLASS_OF = {
    "Patient": "DEMO",
    "RelatedPerson": "RELATED",
    "Encounter": "LOGI",
    "ServiceRequest": "REFERRAL",
    "Consent": "CONSENT",
    "Flag": "SAFETY",
    "Location": "PLACE",
    "Provenance": "PROVENANCE",
    "QuestionnaireResponse": "SCREEN",
    "Observation": "JUSTICE",
    "Task": "TASK",
}
COPIED = (
    "Patient",
    "RelatedPerson",
    "Encounter",
    "ServiceRequest",
    "Consent",
    "Flag",
    "Location",
    "Provenance",
    "QuestionnaireResponse",
    "Observation",
)


def a_caller(organization: str, purpose: str = "TREAT", *, postures: tuple[str, ...] | None = None) -> Caller:
    """A token of a client of this organisation; scopes are the guard's affair."""
    return Caller(
        client_id=f"{organization}-client",
        organization=organization,
        organization_name=organization,
        postures=frozenset(PARTIES[organization] if postures is None else postures),
        purpose=purpose,
        scopes=None,  # type: ignore[arg-type]
        token_id="0" * 16,
        request_id="request-1",
    )


def a_consent(kind: str = "provider-sharing", **changes: Any) -> dict[str, Any]:
    """A Consent with all ten elements of 42 CFR 2.31(a): the clinic may tell the police, or the police may tell the clinic."""
    disclosing, recipient = ("police", "clinic") if kind == "provider-sharing" else ("clinic", "police")
    return {
        "resourceType": "Consent",
        "status": "active",
        "scope": {"coding": [{"system": "http://terminology.hl7.org/CodeSystem/consentscope", "code": "patient-privacy"}]},
        "category": [{"coding": [{"system": namespace.code_system("consent-kind"), "code": kind}]}],
        "dateTime": "2026-01-01",
        "organization": [{"reference": f"Organization/{disclosing}"}],
        "sourceAttachment": {"contentType": "application/pdf", "title": "signed form", "data": "c2lnbmVk"},
        "policy": [{"uri": "https://example.org/authorization-form"}],
        "provision": {
            "type": "permit",
            "period": {"start": "2026-01-01", "end": "2099-12-31"},
            "actor": [
                {
                    "role": {"coding": [{"system": "http://terminology.hl7.org/CodeSystem/v3-ParticipationType", "code": "IRCP"}]},
                    "reference": {"reference": f"Organization/{recipient}"},
                }
            ],
            "class": [{"system": "http://hl7.org/fhir/resource-types", "code": "Task"}],
            "purpose": [{"system": "http://terminology.hl7.org/CodeSystem/v3-ActReason", "code": "COC"}],
        },
        **changes,
    }


def _recorded(patient: str) -> dict[str, dict[str, Any]]:
    subject = {"reference": f"Patient/{patient}"}
    return {
        "RelatedPerson": {"resourceType": "RelatedPerson", "patient": subject, "active": True},
        "Encounter": {
            "resourceType": "Encounter",
            "identifier": [
                {"system": namespace.SID_RMS_CASE_NUMBER, "value": "26-0001"},
                {"system": namespace.SID_INCIDENT, "value": "I-77"},
            ],
            "status": "in-progress",
            "class": {"system": "http://terminology.hl7.org/CodeSystem/v3-ActCode", "code": "FLD"},
            "subject": subject,
            "participant": [{"type": [{"text": "arresting officer"}], "individual": {"display": "Officer Gray"}}],
        },
        "ServiceRequest": {
            "resourceType": "ServiceRequest",
            "status": "active",
            "intent": "order",
            "subject": subject,
            "requester": {"reference": "Organization/police"},
            "reasonCode": [{"coding": [{"system": "urn:charges", "code": "69.50.4013"}], "text": "needs help"}],
            "note": [{"authorString": "Officer Gray", "text": "calm, asks for help"}],
        },
        "Flag": {"resourceType": "Flag", "status": "active", "code": {"text": "no weapons seen"}, "subject": subject},
        "Location": {"resourceType": "Location", "status": "active", "name": "5th and Main"},
        "Provenance": {
            "resourceType": "Provenance",
            "target": [subject],
            "recorded": "2026-11-24T10:00:00Z",
            "agent": [{"role": [{"text": "arresting officer"}], "who": {"reference": "Organization/police"}}],
        },
        "QuestionnaireResponse": {"resourceType": "QuestionnaireResponse", "status": "completed", "subject": subject},
        "Observation": {"resourceType": "Observation", "status": "final", "code": {"text": "offence"}, "subject": subject},
    }


@dataclass
class Case:
    """One referral of one sender and the copies its receivers were given."""

    database: Database
    sender: str = "police"
    referral: str = ""
    recorded: dict[str, Held] = field(default_factory=dict)
    copies: dict[str, dict[str, Held]] = field(default_factory=dict)

    def record(self, *consents: dict[str, Any], patient: Held | None = None) -> Case:
        """Write the sender's own record; `patient`: of an earlier referral of the same person."""
        self.referral = str(uuid4())
        self.database.write(lambda unit: self._record(unit, consents, patient))
        return self

    def _record(self, unit: Unit, consents: tuple[dict[str, Any], ...], patient: Held | None) -> None:
        if patient is None:
            person = {"resourceType": "Patient", "name": [{"family": "Doe"}], "gender": "male"}
            person["identifier"] = [{"system": namespace.SID_PERSON, "value": f"P-{self.referral}"}]
            patient = records.create(unit, person, domain=self.sender, data_class="DEMO", referral=self.referral)
        else:
            records.attach(unit, patient, self.referral)
        self.recorded["Patient"] = patient
        for name, resource in _recorded(patient.id).items():
            self.recorded[name] = self._write(unit, resource)
        for consent in consents:
            self.recorded["Consent"] = self._write(unit, {**consent, "patient": {"reference": f"Patient/{patient.id}"}})
        records.open_parties(unit, self.referral, self.sender)

    def _write(self, unit: Unit, resource: dict[str, Any]) -> Held:
        return records.create(unit, resource, domain=self.sender, data_class=CLASS_OF[resource["resourceType"]], referral=self.referral)

    def parent_task(self) -> Held:
        """The sender's own Task."""
        task = {"resourceType": "Task", "status": "requested", "intent": "order", "for": {"reference": self.recorded["Patient"].reference}}
        return self.database.write(lambda unit: records.create(unit, task, domain=self.sender, data_class="TASK", referral=self.referral))

    def offer(self, receiver: str = "clinic", purpose: str = "TREAT") -> dict[str, Held]:
        """Make the receiver's copies and its Task, as an offer does; returns them by type."""
        self.copies[receiver] = self.database.write(lambda unit: self._offer(unit, receiver, purpose))
        return self.copies[receiver]

    def _offer(self, unit: Unit, receiver: str, purpose: str) -> dict[str, Held]:
        organization = registry.find_organization(unit, receiver)
        assert organization is not None
        made: dict[str, Held] = {}
        for name in COPIED:
            held = self.recorded.get(name)
            content = records.redact_for(unit, held, organization, purpose) if held is not None else None
            if held is None or content is None:
                continue
            for element in ("subject", "patient"):
                if element in content:
                    content[element] = {"reference": made["Patient"].reference}
            if name == "Provenance":
                content["target"] = [{"reference": made["Patient"].reference}]
            made[name] = records.create(unit, content, domain=receiver, data_class=held.data_class, referral=self.referral, origin=held)
        if "Patient" in made:
            made["Task"] = records.create(unit, self._task(made, receiver), domain=receiver, data_class="TASK", referral=self.referral)
        records.open_parties(unit, self.referral, receiver)
        records.grant_organization(unit, self.sender, receiver)
        return made

    def _task(self, made: dict[str, Held], receiver: str) -> dict[str, Any]:
        return {
            "resourceType": "Task",
            "identifier": [{"system": namespace.SID_PLACER, "value": str(uuid4())}],
            "status": "requested",
            "intent": "order",
            "focus": {"reference": made["ServiceRequest"].reference},
            "for": {"reference": made["Patient"].reference},
            "requester": {"reference": f"Organization/{self.sender}"},
            "owner": {"reference": f"Organization/{receiver}"},
        }

    def close(self, receiver: str = "clinic") -> None:
        """End the offer: the receiver keeps its bare Task."""
        self.database.write(lambda unit: records.close_parties(unit, self.referral, receiver))

    def change(self, held: Held, **changes: Any) -> Held:
        """Write the next version of a resource."""

        def work(unit: Unit) -> Held:
            current = records.hold(unit, held.type, held.id)
            assert current is not None
            return records.replace(unit, current, {**current.body, **changes})

        return self.database.write(work)

    def confirm(self, receiver: str = "clinic") -> Held:
        """The receiver verifies its copy of the Consent."""
        return self.change(self.copies[receiver]["Consent"], verification=[{"verified": True}])


def publish_all(database: Database) -> None:
    """Publish the parties' directory entries."""

    def work(unit: Unit) -> None:
        for key in PARTIES:
            records.publish_organization(unit, key, key.title())

    database.write(work)

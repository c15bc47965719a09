"""The four scenes, each a few steps."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from gateway.demo import call, people
from gateway.demo.failing import DemoFailed
from gateway.demo.people import CAD, CENTER, CLINIC, COUNTY, POLICE, RMS, TEAM
from gateway.demo.steps import Case, Steps
from gateway.demo.views import Kept, references


def tell(steps: Steps) -> None:
    """All four scenes. Raises DemoFailed."""
    of_the_officer = only_the_officers_tick(steps)
    the_persons_authorization(steps)
    declined_and_taken(steps)
    a_call_handed_over(steps, of_the_officer)


def _refer(steps: Steps, message: Mapping[str, Any]) -> Case:
    case = Case(RMS, "the officer's system", Kept("justice data", people.justice_values(message)))
    steps.send(case, message, message["request_number"])
    return case


def only_the_officers_tick(steps: Steps) -> Case:
    """Scene 1."""
    steps.terminal.scene(
        "1  Only the officer's tick",
        "The officer ticked that the person agrees to share the outcome. What does the officer learn when the clinic accepts?",
    )
    case = _refer(steps, people.with_officers_tick(datetime.now(UTC)))
    steps.offered(case, CLINIC)
    steps.compare(case, CLINIC, expected="received", holder=POLICE)
    steps.answer(case, CLINIC, "accept")
    steps.compare(case, CLINIC, expected="received", holder=CLINIC)
    steps.proof(case)
    return case


def the_persons_authorization(steps: Steps) -> None:
    """Scene 2."""
    steps.terminal.scene(
        "2  The person's own authorization, confirmed by the clinic",
        "Another person signed an authorization. The officer attached it; that alone is a claim. Then the clinic confirms it.",
    )
    case = _refer(steps, people.with_signed_authorization(datetime.now(UTC)))
    steps.offered(case, CLINIC)
    steps.answer(case, CLINIC, "accept")
    steps.compare(case, CLINIC, expected="received", holder=CLINIC)
    steps.confirm(case)
    steps.called_back(case, "accepted")
    steps.compare(case, CLINIC, expected="accepted", holder=CLINIC)
    steps.report(case, CLINIC)
    word = steps.called_back(case, None)
    steps.compare(case, CLINIC, expected=word, holder=CLINIC)
    steps.proof(case)


def declined_and_taken(steps: Steps) -> None:
    """Scene 3."""
    steps.terminal.scene(
        "3  Declined by the first, taken by the second",
        "Nobody knows this person's name, and there is no consent. The first clinic is full.",
    )
    case = _refer(steps, people.of_somebody_unidentified(datetime.now(UTC)))
    first = steps.offered(case, CLINIC).task
    steps.compare(case, CLINIC, expected="received", holder=POLICE)
    steps.answer(case, CLINIC, "decline")
    steps.offered(case, CENTER)
    steps.lost(CLINIC, first["id"], references(first))
    steps.answer(case, CENTER, "accept")
    steps.compare(case, CENTER, expected="received", holder=CENTER)
    steps.proof(case)


def a_call_handed_over(steps: Steps, of_the_officer: Case) -> None:
    """Scene 4. of_the_officer: the case of scene 1, which a clinic accepted as well."""
    steps.terminal.scene(
        "4  A 911 call, handed to a mobile team",
        "A mother calls 911. The centre's CAD posts an EIDO: who calls and how the call was routed, nothing yet of who needs help. Whether "
        "somebody comes is a matter of safety, so a 911 centre reads how the response it asked for goes; of the person it reads nothing.",
    )
    message = call.of_a_mother(datetime.now(UTC))
    case = Case(CAD, "the 911 centre", Kept("stays at 911", call.values_of_the_centre(message)))
    steps.send(case, message, "a call and its caller")
    steps.offered(case, TEAM)
    steps.compare(case, TEAM, expected="received", holder=COUNTY)
    steps.answer(case, TEAM, "accept")
    steps.called_back(case, "accepted")
    steps.report(case, TEAM, "en-route")
    steps.called_back(case, "en-route")

    steps.terminal.note("The mother, still on the line, says who her son is and where. The CAD sends these two components and no more.")
    pushed, before = len(steps.pushes(case, TEAM)), steps.file(case, TEAM)
    steps.send(case, call.with_the_persons_name(datetime.now(UTC), message), "same receipt, newer components", status=200)
    after = steps.renewed(case, TEAM, pushed)
    name = after.patient.body["name"]
    if references(before.task) != references(after.task) or before.patient.body["name"] == name:
        raise DemoFailed("the team's copy of the person was not replaced by the newer one")
    if [person["name"] for person in steps.own_persons(TEAM)] != [name]:
        raise DemoFailed("the team's own system does not hold the newer copy in place of the older one")
    steps.compare(case, TEAM, expected="en-route", holder=TEAM)

    steps.report(case, TEAM, "on-scene")
    steps.called_back(case, "on-scene")
    steps.read(case, "on-scene")
    steps.read(of_the_officer, "received")
    steps.two_senders(case, replace(of_the_officer, called="the officer of scene 1"))
    steps.terminal.note(
        "Both were accepted. Police read no more without the person's own authorization; a 911 centre reads of its response."
    )
    steps.terminal.gap()
    steps.proof(case)

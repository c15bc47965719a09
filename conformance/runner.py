"""Runs checks against one target, one after the other, and turns every end into a verdict. A check never stops the run."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from typing import Final

import requests

from conformance.checks import Check
from conformance.parties import Party
from conformance.session import SETTLE_SECONDS, Session
from conformance.standins.client import NoToken
from conformance.standins.receiver import NotAnswerable
from conformance.verdicts import ERROR, FAIL, NOT_APPLICABLE, NOT_DEMONSTRATED, PASS, WARN, Failed, NotApplicable, NotDemonstrated, Result
from conformance.wire import WireLog

TRIPPED: Final = (LookupError, TypeError, ValueError, AttributeError, ArithmeticError)
"""What a check raises when an answer is of a shape it did not think of: the kit's fault, told as such."""


class Unreachable(Exception):
    """Nothing answers under the target's address."""


def run(
    target: str,
    parties: Mapping[str, Party],
    checks: Iterable[Check],
    *,
    timeout: float = 20.0,
    settle_seconds: float = SETTLE_SECONDS,
    wire: WireLog | None = None,
    report: Callable[[Result], None] | None = None,
) -> list[Result]:
    """Run the checks and withdraw what they posted. report: called with each result as it comes. Raises Unreachable."""
    session = Session(target, parties, timeout=timeout, settle_seconds=settle_seconds, wire=wire)
    try:
        session.get("/fhir/metadata")
    except requests.RequestException as error:
        raise Unreachable(f"{target} does not answer ({type(error).__name__})") from None
    results = []
    for check in checks:
        result = _run_one(session, check)
        results.append(result)
        if report:
            report(result)
    session.tidy_up()
    return results


def _run_one(session: Session, check: Check) -> Result:
    session.exchanges, session.warnings = [], []
    begun = time.monotonic()
    shown = None
    try:
        check.run(session)
        verdict, text = (WARN, "; ".join(session.warnings)) if session.warnings else (PASS, "")
    except Failed as failed:
        verdict, text, shown = FAIL, failed.text, failed.exchange
    except NotDemonstrated as missing:
        verdict, text = NOT_DEMONSTRATED, str(missing)
    except NotApplicable as missing:
        verdict, text = NOT_APPLICABLE, str(missing)
    except NoToken as missing:
        verdict, text = NOT_DEMONSTRATED, f"a client of the clients file gets no token: {missing}"
    except (requests.RequestException, NotAnswerable) as error:
        verdict, text = ERROR, f"no answer came, or none that could be read ({type(error).__name__})"
    except TRIPPED as error:
        verdict, text = ERROR, f"the check itself tripped over an answer ({type(error).__name__}); please report it"
    exchanges = tuple(session.exchanges)
    return Result(
        check=check.id,
        title=check.title,
        verdict=verdict,
        text=text,
        requirements=check.requirements,
        likely_cause=check.likely_cause,
        seconds=time.monotonic() - begun,
        exchanges=exchanges,
        shown=shown or (exchanges[-1] if exchanges and verdict in (FAIL, ERROR) else None),
        warnings=tuple(session.warnings),
    )

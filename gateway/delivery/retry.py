"""What a peer's answer means for a delivery, and when to try again.

Everything here is a pure function of the answer, the rules and the tries so far; the worker and the store act on it.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any, Final

from gateway.store.outbox import Verdict

TRUST_RETRY_AFTER_TRIES: Final = 5
"""So many times a peer's own Retry-After may be shorter than our backoff; a peer that says 0 for ever is not hammered."""


@dataclass(frozen=True, slots=True)
class RetryRules:
    """How long to wait and when to stop. Seconds everywhere; a demo compresses them by settings of these names."""

    retry_first_seconds: float = 30
    retry_cap_seconds: float = 3600
    retry_give_up_seconds: float = 7 * 86_400  # a clinic may be closed for a long weekend
    retry_after_cap_seconds: float = 86_400  # a longer Retry-After is a mistake or a trap
    retry_jitter: float = 0.2  # up to so much is added, so that what failed together does not return together
    circuit_after_failures: int = 5
    circuit_first_seconds: float = 30
    circuit_cap_seconds: float = 900

    @classmethod
    def from_settings(cls, settings: Any) -> RetryRules:
        """Take what the settings name, and the defaults for the rest."""
        defaults = cls()
        return cls(**{name: getattr(settings, name, getattr(defaults, name)) for name in cls.__slots__})


@dataclass(frozen=True, slots=True)
class Reply:
    """How a call ended, without a word of what the peer said.

    status: HTTP status; None when no answer came. issue_codes: FHIR issue types of its OperationOutcome, or one short word of
    ours. begun: a byte of the content may have left. accepted: a 2xx that says of each part that it was taken. in_part: one that
    says so of some parts only. refused_by_us: we do not call such a peer at all, so that trying again changes nothing.
    """

    status: int | None
    issue_codes: tuple[str, ...] = ()
    retry_after: timedelta | None = None
    begun: bool = True
    accepted: bool = False
    in_part: bool = False
    refused_by_us: bool = False


@dataclass(frozen=True, slots=True)
class Judgement:
    """What follows.

    may_hold: the peer may have taken the content. reached: the peer itself answered and is well; None: it was not asked.
    """

    verdict: Verdict
    may_hold: bool
    reached: bool | None


# Status → (verdict, may the peer have taken it, is the peer well). "repeat" is "retry" where a repetition does no harm
# and "unknown" where it could make a second copy. A status that is not here goes by its hundred.
ANSWERS: Final[dict[int, tuple[str, bool, bool]]] = {
    401: ("retry", False, False),  # keys of either side may be in rotation; one new token was tried already
    408: ("retry", False, False),  # it did not read the request to its end
    409: ("retry", False, True),  # another request is at the same resources, perhaps our own lost one
    412: ("dead", False, True),  # several resources carry our identifier: a person must clean up there
    425: ("retry", False, False),
    429: ("retry", False, False),
    503: ("retry", False, False),
}
HUNDREDS: Final[dict[int, tuple[str, bool, bool]]] = {
    1: ("dead", False, True),
    2: ("repeat", True, True),  # a 2xx that does not say what became of the content (RFC 9110 allows it, FHIR does not)
    3: ("dead", False, True),  # redirects are not followed: the address must be registered anew
    4: ("dead", False, True),
    5: ("repeat", True, False),
}


def judge(reply: Reply, *, repeatable: bool, repeated: bool) -> Judgement:
    """What a reply means.

    repeatable: the peer recognises a repetition. repeated: an earlier try of the same content may have been taken, so that
    a "duplicate" means that it was.
    """
    if reply.accepted:
        return Judgement("done", may_hold=True, reached=True)
    if reply.refused_by_us:
        return Judgement("dead", may_hold=False, reached=None)
    if reply.status is None:
        if not reply.begun:
            return Judgement("retry", may_hold=False, reached=False)
        return Judgement("retry" if repeatable else "unknown", may_hold=True, reached=False)
    if reply.status in (409, 422) and "duplicate" in reply.issue_codes and repeated:
        return Judgement("done", may_hold=True, reached=True)
    word, may_hold, reached = ANSWERS.get(reply.status) or HUNDREDS.get(reply.status // 100, HUNDREDS[4])
    may_hold = (may_hold or reply.in_part) and reply.begun
    if word == "repeat":
        word = "retry" if repeatable or not reply.begun else "unknown"
    verdict: Verdict = "retry" if word == "retry" else "unknown" if word == "unknown" else "dead"
    return Judgement(verdict, may_hold, reached)


def wait_before_retry(
    rules: RetryRules, tries: int, elapsed: timedelta, retry_after: timedelta | None = None, *, chance: float | None = None
) -> timedelta | None:
    """Time until the next try, or None when a person must look.

    tries: failed tries, this one included, 1 or more. elapsed: since the first of them. The wait doubles from
    retry_first_seconds to retry_cap_seconds; the last try is retry_give_up_seconds after the first. chance: 0 to 1, for
    tests; else random.
    """
    rest = rules.retry_give_up_seconds - elapsed.total_seconds()
    if rest <= 0:
        return None
    backoff = min(rules.retry_cap_seconds, rules.retry_first_seconds * 2.0 ** min(tries - 1, 40))
    wait = backoff
    if retry_after is not None:
        asked = min(max(retry_after.total_seconds(), 1.0), rules.retry_after_cap_seconds)
        wait = asked if tries <= TRUST_RETRY_AFTER_TRIES else max(asked, backoff)
    share = random.random() if chance is None else chance  # noqa: S311 (spreads load; nothing rests on it)
    # the last try comes at the end of the time, not before it
    return timedelta(seconds=min(wait * (1 + rules.retry_jitter * share), rest))


def circuit_wait(rules: RetryRules, failures: int) -> timedelta | None:
    """How long a destination is left alone after so many failures in a row; None while its circuit stays closed."""
    over = failures - rules.circuit_after_failures
    if over < 0:
        return None
    return timedelta(seconds=min(rules.circuit_cap_seconds, rules.circuit_first_seconds * 2.0 ** min(over, 40)))


def read_retry_after(value: str | None, now: datetime) -> timedelta | None:
    """A Retry-After field as a wait: seconds or an HTTP-date (RFC 9110 §10.2.3); None when absent or neither.

    now: aware UTC.
    """
    text = (value or "").strip()
    if text.isascii() and text.isdigit():
        return timedelta(seconds=min(int(text[:12]), 10**9))
    try:
        at = parsedate_to_datetime(text)
    except (ValueError, IndexError, TypeError, OverflowError):
        return None
    at = at if at.tzinfo is not None else at.replace(tzinfo=UTC)
    return max(at - now, timedelta(0))

"""What an answer means, and when a delivery is tried again."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import pytest

from gateway.delivery.retry import Reply, RetryRules, circuit_wait, judge, read_retry_after, wait_before_retry

RULES = RetryRules()
START = timedelta(0)


def seconds(tries, elapsed=START, retry_after=None, chance=0.0):
    wait = wait_before_retry(RULES, tries, elapsed, retry_after, chance=chance)
    return None if wait is None else wait.total_seconds()


def test_the_wait_doubles_from_thirty_seconds_to_an_hour():
    assert [seconds(tries) for tries in range(1, 10)] == [30, 60, 120, 240, 480, 960, 1920, 3600, 3600]
    assert seconds(100_000) == 3600


def test_jitter_only_adds():
    assert seconds(1, chance=1.0) == 36
    assert all(30 <= wait_before_retry(RULES, 1, START).total_seconds() <= 36 for _ in range(50))


def test_the_last_try_is_seven_days_after_the_first_and_then_a_person_must_look():
    week = timedelta(days=7)
    assert seconds(200, week - timedelta(minutes=10)) == 600
    assert seconds(200, week) is None
    assert seconds(1, week + timedelta(days=1)) is None


def test_retry_after_is_honoured_and_clamped():
    assert seconds(1, retry_after=timedelta(seconds=2)) == 2
    assert seconds(1, retry_after=timedelta(seconds=300)) == 300
    assert seconds(1, retry_after=timedelta(0)) == 1
    assert seconds(1, retry_after=timedelta(days=3)) == 86_400


def test_a_peer_that_always_says_now_is_not_hammered():
    assert seconds(6, retry_after=timedelta(0)) == 960


NOW = datetime(2026, 11, 24, 12, 0, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("field", "expected"),
    [
        ("120", 120),
        (" 7 ", 7),
        ("0", 0),
        ("Tue, 24 Nov 2026 12:01:00 GMT", 60),
        ("Tue, 24 Nov 2026 11:00:00 GMT", 0),
        ("Tuesday, 24-Nov-26 12:00:30 GMT", 30),
        ("999999999999999999999", 10**9),
        ("-5", None),
        ("1.5", None),
        ("soon", None),
        ("", None),
        (None, None),
        ("²", None),
        ("Tue, 99 Nov 2026 12:01:00 GMT", None),
    ],
)
def test_retry_after_is_read_as_seconds_or_http_date(field, expected):
    wait = read_retry_after(field, NOW)
    assert (wait.total_seconds() if wait is not None else None) == expected


@pytest.mark.parametrize(
    ("reply", "repeatable", "verdict", "may_hold", "reached"),
    [
        (Reply(200, accepted=True), False, "done", True, True),
        (Reply(200, ("broken-answer",)), True, "retry", True, True),
        (Reply(200, ("broken-answer",)), False, "unknown", True, True),
        (Reply(302), True, "dead", False, True),
        (Reply(400, ("structure",)), True, "dead", False, True),
        (Reply(401), True, "retry", False, False),
        (Reply(403), True, "dead", False, True),
        (Reply(404), True, "dead", False, True),
        (Reply(408), False, "retry", False, False),
        (Reply(409), True, "retry", False, True),
        (Reply(410), True, "dead", False, True),
        (Reply(412), True, "dead", False, True),
        (Reply(422, ("duplicate",)), True, "dead", False, True),
        (Reply(425), False, "retry", False, False),
        (Reply(429), False, "retry", False, False),
        (Reply(500), True, "retry", True, False),
        (Reply(500), False, "unknown", True, False),
        (Reply(502), False, "unknown", True, False),
        (Reply(503), False, "retry", False, False),
        (Reply(504), True, "retry", True, False),
        (Reply(599), True, "retry", True, False),
        (Reply(418), True, "dead", False, True),
        (Reply(422, ("value",), in_part=True), True, "dead", True, True),
        (Reply(None, ("timeout",), begun=True), True, "retry", True, False),
        (Reply(None, ("timeout",), begun=True), False, "unknown", True, False),
        (Reply(None, ("no-connection",), begun=False), False, "retry", False, False),
        (Reply(None, ("private-address",), begun=False, refused_by_us=True), True, "dead", False, None),
        (Reply(500, begun=False), False, "retry", False, False),
    ],
)
def test_every_answer_has_a_meaning(reply, repeatable, verdict, may_hold, reached):
    judged = judge(reply, repeatable=repeatable, repeated=False)
    assert (judged.verdict, judged.may_hold, judged.reached) == (verdict, may_hold, reached)


@pytest.mark.parametrize("status", [409, 422])
def test_a_duplicate_counts_as_success_when_an_earlier_try_may_have_been_taken(status):
    assert judge(Reply(status, ("duplicate",)), repeatable=False, repeated=True).verdict == "done"


def test_a_circuit_opens_after_five_failures_and_for_longer_each_time():
    assert [circuit_wait(RULES, failures) for failures in (0, 4)] == [None, None]
    assert [circuit_wait(RULES, failures).total_seconds() for failures in (5, 6, 7, 50)] == [30, 60, 120, 900]


def test_settings_compress_the_times_they_name():
    rules = RetryRules.from_settings(SimpleNamespace(retry_first_seconds=0.1))
    assert (rules.retry_first_seconds, rules.retry_cap_seconds) == (0.1, 3600)

"""Column types and ids."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta, timezone
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.store.ids import new_id, new_number, new_secret
from gateway.store.rows import Instant, JsonText, from_microseconds, to_microseconds


@given(st.datetimes(timezones=st.just(UTC)))
def test_an_instant_comes_back_to_the_microsecond(at):
    assert from_microseconds(to_microseconds(at)) == at


def test_an_instant_of_another_zone_is_the_same_instant():
    eastern = datetime(2026, 11, 24, 7, 0, 0, 1, tzinfo=timezone(timedelta(hours=-5)))
    assert from_microseconds(to_microseconds(eastern)) == datetime(2026, 11, 24, 12, 0, 0, 1, tzinfo=UTC)


def test_a_time_without_zone_is_refused():
    with pytest.raises(ValueError, match="zone"):
        Instant().process_bind_param(datetime(2026, 11, 24, 7), None)  # noqa: DTZ001 (that is what is refused)


def test_nothing_stays_nothing():
    assert (Instant().process_bind_param(None, None), Instant().process_result_value(None, None)) == (None, None)
    assert (JsonText().process_bind_param(None, None), JsonText().process_result_value(None, None)) == (None, None)


def test_json_text_keeps_its_value_and_refuses_what_is_no_json():
    value = {"b": [1, None, "ü"], "a": {}}
    assert JsonText().process_result_value(JsonText().process_bind_param(value, None), None) == value
    with pytest.raises(ValueError):
        JsonText().process_bind_param(float("nan"), None)


def test_an_id_is_a_uuid_of_version_7_with_the_time_in_front():
    before = datetime.now(UTC)
    made = UUID(new_id())
    at = datetime.fromtimestamp((made.int >> 80) / 1000, UTC)
    assert (made.version, made.variant) == (7, "specified in RFC 4122")
    assert before - timedelta(milliseconds=1) <= at <= datetime.now(UTC)


def test_ids_share_nothing_but_their_time():
    made = [UUID(new_id()).int for _ in range(2000)]
    assert len(set(made)) == 2000
    random_bits = [((value >> 64) & 0xFFF) << 62 | value & ((1 << 62) - 1) for value in made]
    for bit in range(74):
        assert 800 < sum(value >> bit & 1 for value in random_bits) < 1200


def test_secrets_are_long_and_their_own():
    made = {new_secret() for _ in range(100)}
    assert (len(made), {len(secret) for secret in made}) == (100, {43})


def test_a_number_begins_with_no_dash_and_is_told_from_every_other():
    made = {new_number() for _ in range(2000)}
    assert len(made) == 2000
    assert all(re.fullmatch(r"[0-9A-HJKMNP-TV-Z]{26}", number) for number in made)

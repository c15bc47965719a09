"""An assertion is good once: in every process, after a restart, and when sent many times at once."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest

from gateway.app import create_app, make_services
from gateway.store import tokens
from gateway.store.database import Database
from gateway.store.tokens import is_used, use_assertion
from tests.oauth.signing import ask, claims_of, sign
from tests.oauth.test_assertion import given, refused
from tests.world import Actor

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
SOON = NOW + timedelta(minutes=5)


@pytest.fixture
def database(database_url):
    opened = Database(database_url)
    yield opened
    opened.close()


def use(database, jti, *, issuer="rms", expires_at=SOON, now=NOW):
    return database.write(lambda unit: use_assertion(unit, issuer, jti, expires_at=expires_at, now=now))


def count(database):
    with database.read() as unit:
        return len(unit.connection.execute(tokens.AssertionReplayRow.__table__.select()).all())


def in_another_process(world, name):
    """The same client before a second gateway on the same database."""
    services = make_services(world.services.settings)
    actor = world.actors[name]
    return services, Actor(name, create_app(services).test_client(), actor.key, actor.scope)


def test_an_assertion_used_in_one_process_is_used_in_all(gateway):
    services, elsewhere = in_another_process(gateway, "rms")
    first, second = gateway.as_rms.assertion(), gateway.as_rms.assertion()
    given(ask(gateway.as_rms, first))
    refused(ask(elsewhere, first))
    given(ask(elsewhere, second))
    refused(ask(gateway.as_rms, second))
    services.database.close()


def test_an_assertion_stays_used_after_a_restart(gateway):
    assertion = gateway.as_rms.assertion()
    given(ask(gateway.as_rms, assertion))
    gateway.services.database.close()
    services, after = in_another_process(gateway, "rms")
    assert "jti" in refused(ask(after, assertion))
    given(after.ask_token())
    services.database.close()


def test_a_jti_is_used_whatever_else_the_assertion_says(gateway):
    rms = gateway.as_rms
    given(ask(rms, sign(rms.key, claims_of("rms", jti="the-same"))))
    refused(ask(rms, sign(rms.key, claims_of("rms", jti="the-same", exp=int(time.time()) + 60))))


def test_two_clients_may_use_one_jti(gateway):
    for actor in (gateway.as_rms, gateway.as_cad):
        given(ask(actor, sign(actor.key, claims_of(actor.name, jti="the-same"))))


def test_of_an_assertion_sent_many_times_at_once_one_gets_a_token(gateway):
    services, _ = in_another_process(gateway, "rms")
    apps = [gateway.app, create_app(services)]
    assertion = gateway.as_rms.assertion()

    def send(number):
        actor = Actor("rms", apps[number % 2].test_client(), gateway.as_rms.key, gateway.as_rms.scope)
        return ask(actor, assertion)

    with ThreadPoolExecutor(12) as pool:
        answers = list(pool.map(send, range(24)))
    assert sorted(answer.status_code for answer in answers) == [200] + [401] * 23
    assert all("jti" in refused(answer) for answer in answers if answer.status_code != 200)
    services.database.close()


def test_of_two_uses_at_once_the_write_decides(database):
    with ThreadPoolExecutor(8) as pool:
        results = list(pool.map(lambda number: use(database, f"jti-{number % 3}"), range(24)))
    assert results.count(True) == 3
    assert count(database) == 3


def test_a_jti_may_be_used_again_once_it_is_past_its_time(database):
    assert use(database, "a")
    assert not use(database, "a", now=SOON - timedelta(seconds=1), expires_at=SOON + timedelta(minutes=5))
    assert use(database, "a", now=SOON, expires_at=SOON + timedelta(minutes=5))
    assert not use(database, "a", now=SOON, expires_at=SOON + timedelta(minutes=5))
    assert count(database) == 1


def test_what_is_used_can_be_seen_before_the_write(database):
    assert use(database, "a")
    with database.read() as unit:
        assert is_used(unit, "rms", "a", now=NOW)
        assert not is_used(unit, "rms", "a", now=SOON)
        assert not is_used(unit, "rms", "b", now=NOW)
        assert not is_used(unit, "cad", "a", now=NOW)


def test_a_clock_that_is_set_back_brings_no_assertion_back(database):
    ahead = NOW + timedelta(days=1)
    assert use(database, "of-tomorrow", now=ahead, expires_at=ahead + timedelta(minutes=5))
    assert use(database, "a")
    for number in range(5):
        assert use(database, f"other-{number}")
    assert not use(database, "a")


def test_rows_long_past_their_time_are_swept_a_few_at_a_time(database, monkeypatch):
    monkeypatch.setattr(tokens, "SWEEP_ROWS", 3)
    for number in range(10):
        use(database, f"old-{number}")
    assert count(database) == 10
    late = SOON + timedelta(hours=2)
    use(database, "new-1", now=late, expires_at=late + timedelta(minutes=5))
    assert count(database) == 8
    for number in range(2, 6):
        use(database, f"new-{number}", now=late, expires_at=late + timedelta(minutes=5))
    assert count(database) == 5


def test_a_token_that_could_not_be_kept_leaves_its_assertion_unused(database):
    def fail_after(unit):
        assert use_assertion(unit, "rms", "a", expires_at=SOON, now=NOW)
        raise LookupError

    with pytest.raises(LookupError):
        database.write(fail_after)
    assert use(database, "a")

"""Key sets read by their address: for how long one is used, when it is asked for again, and that nobody can make it a flood."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from joserfc.jwk import ECKey

from gateway.errors import Unavailable
from gateway.oauth.key_sets import FetchedKeys, KeySets
from gateway.store.registry import Client

OLD, NEW = (ECKey.generate_key("P-384", {"kid": kid}) for kid in ("old", "new"))
URL = "https://rms.example/jwks"


def document(*keys):
    return {"keys": [key.as_dict(private=False) for key in keys]}


class Far:
    """A client's key server, and the clock."""

    def __init__(self):
        self.now = 1000.0
        self.asked = []
        self.document = document(OLD)
        self.fresh_seconds = None
        self.down = False
        self.sets = KeySets(self.fetch, clock=lambda: self.now)

    def fetch(self, url):
        self.asked.append((url, self.now))
        if self.down:
            raise Unavailable
        return FetchedKeys(self.document, self.fresh_seconds)

    def client(self, name="rms", url=URL, **more):
        return Client(name, "riverton-police", "", frozenset(), jwks_url=url, **more)

    def keys(self, kid="old", **client):
        return [key.kid for key in self.sets.keys_with(self.client(**client), kid)]


@pytest.fixture
def far():
    return Far()


def test_a_set_is_used_for_five_minutes_where_its_server_says_nothing(far):
    for far.now in (1000, 1001, 1299.9):
        assert far.keys() == ["old"]
    assert len(far.asked) == 1
    far.now = 1300
    assert far.keys() == ["old"]
    assert len(far.asked) == 2


@pytest.mark.parametrize(("seconds", "until"), [(60, 60), (3600, 3600), (10**9, 24 * 3600)])
def test_a_set_is_used_as_long_as_its_server_allows_and_at_most_a_day(far, seconds, until):
    far.fresh_seconds = seconds
    far.keys()
    far.now = 1000 + until - 0.1
    far.keys()
    assert len(far.asked) == 1
    far.now = 1000 + until
    far.keys()
    assert len(far.asked) == 2


@pytest.mark.parametrize("seconds", [0.0, -5.0])
def test_what_may_not_be_kept_is_asked_for_each_time(far, seconds):
    far.fresh_seconds = seconds
    for _ in range(3):
        far.now += 1
        assert far.keys() == ["old"]
    assert len(far.asked) == 3


def test_a_new_key_works_at_once(far):
    far.keys()
    far.document = document(OLD, NEW)
    assert far.keys("new") == ["new"]
    assert len(far.asked) == 2


def test_invented_kids_make_at_most_one_fetch_in_thirty_seconds(far):
    far.keys()
    for number in range(20):
        far.now += 1
        assert far.keys(f"invented-{number}") == []
    assert len(far.asked) == 2
    far.now += 11
    assert far.keys("invented") == []
    assert len(far.asked) == 3


def test_the_limit_on_fetches_is_each_clients_own(far):
    for name in ("rms", "cad"):
        far.keys(name=name)
        far.keys("invented", name=name)
    assert len(far.asked) == 4


def test_a_set_past_its_time_is_not_used_when_its_server_is_down(far):
    far.keys()
    far.down, far.now = True, 1301
    with pytest.raises(Unavailable):
        far.keys()


def test_a_fresh_set_is_used_when_its_server_is_down(far):
    far.keys()
    far.down = True
    with pytest.raises(Unavailable):
        far.keys("new")
    assert far.keys() == ["old"]


def test_a_server_that_is_down_is_left_alone_for_a_moment(far):
    far.down = True
    for far.now in (1000, 1001, 1004.9):
        with pytest.raises(Unavailable):
            far.keys()
    assert len(far.asked) == 1
    far.down, far.now = False, 1005
    assert far.keys() == ["old"]


@pytest.mark.parametrize("found", [None, [], {}, {"keys": []}, {"keys": "x"}])
def test_an_answer_that_is_no_key_set_is_like_none(far, found):
    far.document = found
    with pytest.raises(Unavailable):
        far.keys()


def test_a_set_without_a_fit_key_proves_nobody(far):
    far.document = {"keys": [{"kty": "oct", "kid": "old", "k": "AAAA"}]}
    assert far.keys() == []


def test_a_changed_address_is_asked_at_once(far):
    far.keys()
    far.keys(url="https://rms.example/other")
    assert [url for url, _ in far.asked] == [URL, "https://rms.example/other"]


def test_inline_keys_are_read_as_registered_and_nothing_is_asked(far):
    def inline(keys):
        return Client("rms", "riverton-police", "", frozenset(), jwks=keys)

    for _ in range(2):
        assert [key.kid for key in far.sets.keys_with(inline(document(OLD)), "old")] == ["old"]
    assert far.sets.keys_with(inline(document(NEW)), "old") == ()
    assert far.sets.keys_with(inline(None), "old") == ()
    assert far.sets.keys_with(inline({"keys": []}), "old") == ()
    assert far.asked == []


def test_many_at_once_share_one_fetch():
    may_answer = threading.Event()
    asked = []

    def fetch(url):
        asked.append(url)
        may_answer.wait(5)
        return FetchedKeys(document(OLD))

    sets = KeySets(fetch)
    client = Client("rms", "riverton-police", "", frozenset(), jwks_url=URL)
    with ThreadPoolExecutor(8) as pool:
        waiting = [pool.submit(sets.keys_with, client, "old") for _ in range(8)]
        may_answer.set()
        assert all(len(each.result(5)) == 1 for each in waiting)
    assert len(asked) == 1


def test_known_keys_are_not_held_up_while_an_unknown_one_is_looked_for():
    may_answer, is_asked = threading.Event(), threading.Event()
    asked = []

    def fetch(url):
        asked.append(url)
        if len(asked) > 1:
            is_asked.set()
            may_answer.wait(5)
        return FetchedKeys(document(OLD))

    sets = KeySets(fetch)
    client = Client("rms", "riverton-police", "", frozenset(), jwks_url=URL)
    sets.keys_with(client, "old")
    with ThreadPoolExecutor(1) as pool:
        looking = pool.submit(sets.keys_with, client, "invented")
        assert is_asked.wait(5)
        assert len(sets.keys_with(client, "old")) == 1
        may_answer.set()
        assert looking.result(5) == ()

"""The nine invariants of the responsibility ledger, each by the entry that would break it."""

from dataclasses import asdict, replace

import pytest

from gateway.referral.responsibility import Entry, ResponsibilityBroken, Standing, next_entry, standing_of, verify

FALLBACK = "coordinator"


def content(kind, origin, to, **more):
    return {
        "referral": "r1",
        "kind": kind,
        "from_organization": origin,
        "to_organization": to,
        "actor": "client",
        "authority": "T05",
        "protocol": "lead|1.0.0",
        "at": "2026-11-24T03:00:00.000000+00:00",
        **more,
    }


def chain(*contents):
    standing = Standing()
    return standing, [next_entry(standing, FALLBACK, each) for each in contents]


ENTER = content("enter", "police", "police")
OFFER_A = content("offer", "police", "clinic-a", offer="o1")
OFFER_B = content("offer", "police", "clinic-b", offer="o2")
ACCEPT_A = content("accept", "clinic-a", "police", offer="o1")
WITHDRAW_B = content("withdraw", "police", "clinic-b", offer="o2")


def test_one_organisation_holds_it_from_the_first_entry_to_the_close():
    standing, _ = chain(ENTER)
    assert standing.holder == "police"
    standing, _ = chain(ENTER, OFFER_A, ACCEPT_A, content("close", "clinic-a", "clinic-a", outcome="completed"))
    assert (standing.holder, standing.closed) == ("clinic-a", True)


def test_a_provisional_answer_moves_nothing():
    standing, _ = chain(ENTER, OFFER_A, content("acknowledge", "clinic-a", "police", offer="o1"))
    assert standing.holder == "police"


@pytest.mark.parametrize(
    "end",
    [
        content("decline", "clinic-a", "police", offer="o1"),
        content("expire", "police", "clinic-a", offer="o1"),
        content("revoke", "police", "clinic-a", offer="o1"),
        WITHDRAW_B | {"to_organization": "clinic-a", "offer": "o1"},
    ],
)
def test_an_offer_that_ends_without_acceptance_leaves_the_holder(end):
    standing, _ = chain(ENTER, OFFER_A, end)
    assert standing.holder == "police"
    assert not standing.open_offers


@pytest.mark.parametrize(
    ("before", "broken", "invariant"),
    [
        ((), OFFER_A, "invariant 1"),
        ((ENTER,), ENTER, "invariant 1"),
        ((ENTER,), content("offer", "clinic-a", "clinic-b", offer="o1"), "invariant 1"),
        ((ENTER, OFFER_A), content("accept", "clinic-b", "police", offer="o1"), "invariant 2"),
        ((ENTER,), ACCEPT_A, "invariant 2"),
        ((ENTER, OFFER_A, content("decline", "clinic-a", "police", offer="o1")), OFFER_A, "invariant 4"),
        ((ENTER, OFFER_A, OFFER_B), content("close", "police", "police", outcome="not-placed"), "invariant 4"),
        ((ENTER, OFFER_A, ACCEPT_A), content("return", "clinic-a", "clinic-b"), "invariant 5"),
        ((ENTER, OFFER_A), content("return", "clinic-a", "police"), "invariant 5"),
        ((ENTER, OFFER_A), content("expire", "clinic-b", "clinic-a", offer="o1"), "invariant 6"),
        ((ENTER,), content("close", "police", "police"), "invariant 7"),
        ((ENTER,), content("close", "police", "police", outcome="better"), "invariant 7"),
        ((ENTER,), content("offer", "police", "clinic-a", offer="o1", labels=("John said he",)), "invariant 9"),
        ((ENTER, content("close", "police", "police", outcome="not-placed")), OFFER_A, "invariant 1"),
    ],
)
def test_an_entry_that_breaks_an_invariant_is_refused_by_its_number(before, broken, invariant):
    standing, _ = chain(*before)
    with pytest.raises(ResponsibilityBroken, match=invariant):
        next_entry(standing, FALLBACK, broken)


@pytest.mark.parametrize("to", ["police", FALLBACK])
def test_a_return_goes_to_the_previous_holder_or_the_fallback_owner(to):
    standing, _ = chain(ENTER, OFFER_A, ACCEPT_A, content("return", "clinic-a", to))
    assert standing.holder == to


def test_an_offer_left_open_beside_an_acceptance_is_found():
    _, entries = chain(ENTER, OFFER_A, OFFER_B, ACCEPT_A)
    assert verify(entries, FALLBACK) == ["invariant 4: an offer is open beside an acceptance"]
    _, entries = chain(ENTER, OFFER_A, OFFER_B, WITHDRAW_B, ACCEPT_A)
    assert verify(entries, FALLBACK) == []


@pytest.mark.parametrize("name", sorted(asdict(Entry(**ENTER, sequence=1))))
def test_a_change_to_any_field_of_any_entry_is_found(name):
    _, entries = chain(ENTER, OFFER_A, ACCEPT_A)
    old = getattr(entries[1], name)
    entries[1] = replace(entries[1], **{name: old + 1 if isinstance(old, int) else (*old, "x") if isinstance(old, tuple) else old + "x"})
    assert verify(entries, FALLBACK)


@pytest.mark.parametrize("cut", [0, 1])
def test_a_missing_entry_is_found(cut):
    _, entries = chain(ENTER, OFFER_A, ACCEPT_A)
    del entries[cut]
    assert verify(entries, FALLBACK)
    with pytest.raises(ResponsibilityBroken):
        standing_of(entries, FALLBACK)


def test_an_empty_ledger_is_not_sound():
    assert verify([], FALLBACK)

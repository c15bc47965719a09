"""Scopes: what is read, what is left out, and that no intersection ever widens."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.oauth.scopes import LETTERS, ScopeMalformed, Scopes, parse_scopes

KINDS = ["Task", "Patient", "Consent", "*"]


@st.composite
def scope_sets(draw):
    permissions = draw(st.sets(st.tuples(st.sampled_from(KINDS), st.sampled_from(LETTERS))))
    names = draw(st.sets(st.sampled_from(["__gateway.intake.eido", "__gateway.intake.rms-diversion", "__introspect"])))
    return Scopes(frozenset(permissions), frozenset(names))


@pytest.mark.parametrize(
    ("text", "letters"),
    [
        ("system/Task.rs", "rs"),
        ("system/Task.cruds", "cruds"),
        ("system/Task.rd", "rd"),
        ("system/Task.r system/Task.s", "rs"),
        ("system/Task.read", "rs"),
        ("system/Task.write", "cud"),
        ("system/Task.*", "cruds"),
        ("system/*.rs", "rs"),
        ("system/*.*", "cruds"),
    ],
)
def test_a_scope_covers_its_letters_and_no_other(text, letters):
    scopes = parse_scopes(text)
    assert [letter for letter in LETTERS if scopes.covers("Task", letter)] == list(letters)


@pytest.mark.parametrize(
    "text",
    [
        "system/Task.sr",
        "system/Task.dus",
        "system/Task.rr",
        "system/Task.",
        "system/Task",
        "system/Task.x",
        "system/Task.READ",
        "system/Task.rs?status=requested",
        "system/Task.rs?",
        "system/Nothing.rs",
        "system/task.rs",
        "system/DomainResource.rs",
        "system/Task.rs/",
        "xsystem/Task.rs",
        "patient/Task.rs",
        "user/Task.rs",
        "user/*.*",
        "openid",
        "fhirUser",
        "launch",
        "offline_access",
        "gateway.intake.rms-diversion",
        "__",
        "*",
        "",
        "   ",
    ],
)
def test_what_is_not_understood_is_left_out(text):
    assert not parse_scopes(text)


def test_a_scope_left_out_takes_nothing_from_those_beside_it():
    assert str(parse_scopes("system/Task.r launch patient/Task.cruds system/Patient.rs?_id=1")) == "system/Task.r"


@pytest.mark.parametrize("text", ['system/Task.r"', "system\\Task.r", "system/Task.r\n", "a\tb", "süd", "a\x00", "a\x7f", "a " * 5000])
def test_a_text_that_is_no_oauth_scope_is_malformed(text):
    with pytest.raises(ScopeMalformed):
        parse_scopes(text)


def test_writing_never_implies_reading():
    assert not parse_scopes("system/Task.cud").covers("Task", "r")


def test_a_type_does_not_stand_for_all_types():
    assert not parse_scopes("system/Task.rs").covers("*", "r")


def test_a_name_is_held_whole_and_found_by_its_beginning():
    scopes = parse_scopes("__gateway.intake.rms-diversion")
    assert scopes.has("__gateway.intake.rms-diversion")
    assert not scopes.has("__gateway.intake.rms")
    assert scopes.has_prefix("__gateway.intake.")
    assert not scopes.has_prefix("__gateway.admin")


@pytest.mark.parametrize(
    ("asked", "registered", "granted"),
    [
        ("system/*.rs", "system/Task.rus system/Patient.r", "system/Patient.r system/Task.rs"),
        ("system/Task.rus", "system/*.rs", "system/Task.rs"),
        ("system/*.rs", "system/*.cr", "system/*.r"),
        ("system/Task.read", "system/Task.cruds", "system/Task.rs"),
        ("system/Task.cruds", "system/Task.write", "system/Task.cud"),
        ("system/Task.r __x", "system/Task.s __y", ""),
        ("__x __y", "__y __z", "__y"),
        ("system/*.r system/Task.u", "system/Task.ru", "system/Task.ru"),
    ],
)
def test_what_is_granted_is_cut_down_letter_by_letter(asked, registered, granted):
    assert str(parse_scopes(asked).intersect(parse_scopes(registered))) == granted


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("system/Task.s system/Task.r", "system/Task.rs"),
        ("__b __a system/Task.u system/*.r system/Task.r", "system/*.r system/Task.u __a __b"),
        ("system/Task.*", "system/Task.cruds"),
        ("system/*.rs system/Task.rs", "system/*.rs"),
    ],
)
def test_equal_scopes_have_one_text(text, canonical):
    assert str(parse_scopes(text)) == canonical


@given(scope_sets(), scope_sets())
def test_an_intersection_permits_exactly_what_both_permit(ours, theirs):
    both = ours.intersect(theirs)
    for kind in [*KINDS, "Observation"]:
        for letter in LETTERS:
            assert both.covers(kind, letter) == (ours.covers(kind, letter) and theirs.covers(kind, letter))
    assert both.names == ours.names & theirs.names
    assert both == theirs.intersect(ours)


@given(scope_sets())
def test_a_canonical_text_reads_back_as_the_same_scopes(scopes):
    assert parse_scopes(str(scopes)) == scopes
    assert hash(parse_scopes(str(scopes))) == hash(scopes)
    assert bool(scopes) == bool(str(scopes))


@given(st.text(max_size=60))
def test_no_text_breaks_the_reader(text):
    try:
        parse_scopes(text)
    except ScopeMalformed:
        assert set(text) - set(map(chr, range(0x20, 0x7F))) or set(text) & set('"\\')

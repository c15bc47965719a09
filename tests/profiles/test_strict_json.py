"""What is read as JSON, and what is refused before anybody looks at its content."""

from __future__ import annotations

import time
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from profiles import namespace
from profiles.strict_json import JsonFault, canonical_json, parse_json, to_json

TREES = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**30), 10**30) | st.text(st.characters(exclude_categories=["Cs"]), max_size=8),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(st.characters(exclude_categories=["Cs"]), max_size=5), inner, max_size=4)
    ),
    max_leaves=20,
)


@pytest.mark.parametrize(
    ("data", "kind", "pointer"),
    [
        (b'{"a": {"b": 1, "b": 2}}', "structure", "/a/b"),
        (b'{"x": [{"y/z": 1, "y/z": 1}]}', "structure", "/x/0/y~1z"),
        (b'{"a": {"b": 1, "b": 2}, "a": 3}', "structure", "/a"),
        (b'{"a": NaN}', "structure", ""),
        (b'{"a": -Infinity}', "structure", ""),
        (b'\xef\xbb\xbf{"a": 1}', "structure", ""),
        (b'{"a": "\xff"}', "structure", ""),
        (b'{"a": "\\ud800"}', "structure", "/a"),
        (b'{"a": ["ok", "\\udc00x"]}', "structure", "/a/1"),
        (b'{"\\ud800": 1}', "structure", ""),
        (b'{"a": 1e99999999}', "structure", ""),
        (b'{"a": ' + b"9" * 5000 + b"}", "structure", ""),
        (b'{"a": 1,}', "structure", ""),
        (b"{'a': 1}", "structure", ""),
        (b'{"a": 01}', "structure", ""),
        (b'{"a": 1} {"b": 2}', "structure", ""),
        (b'{"a": "line\nbreak"}', "structure", ""),
        (b"", "structure", ""),
        (b"\x00", "structure", ""),
        (b"[" * 65 + b"]" * 65, "too-deep", ""),
        (b'{"a":' * 100_000, "too-deep", ""),
        (b"[" + b"1," * 100_000 + b"1]", "too-large", ""),
    ],
)
def test_what_json_leaves_to_chance_is_refused(data, kind, pointer):
    with pytest.raises(JsonFault) as fault:
        parse_json(data)
    assert (fault.value.kind, fault.value.pointer) == (kind, pointer)


def test_a_fault_never_repeats_the_data():
    with pytest.raises(JsonFault) as fault:
        parse_json(b'{"ssn": "078-05-1120", "ssn": "078-05-1120", "n": 1')
    assert "078" not in fault.value.text


def test_brackets_inside_strings_count_for_nothing():
    assert parse_json(b'{"a": "' + b"[{" * 500 + b'\\""}')["a"].startswith("[{")


def test_depth_up_to_the_limit_is_read():
    assert parse_json(b"[" * 64 + b"]" * 64)


def test_a_whole_surrogate_pair_is_one_character():
    assert parse_json(b'"\\ud83d\\ude91"') == "\U0001f691"


def test_decimals_keep_their_digits_and_integers_stay_integers():
    value = parse_json(b'{"b": 1.50, "a": 7, "c": 1.0E+2}')
    assert value == {"b": Decimal("1.50"), "a": 7, "c": Decimal("1.0E+2")}
    assert isinstance(value["a"], int)
    assert to_json(value) == b'{"b":1.50,"a":7,"c":1.0E+2}'


def test_the_canonical_text_ignores_order_and_space_but_not_digits():
    assert canonical_json(parse_json(b'{"b": 1.50, "a": [1]}')) == b'{"a":[1],"b":1.50}'
    assert canonical_json(parse_json(b'{"a": 1.5}')) != canonical_json(parse_json(b'{"a": 1.50}'))


def test_reading_is_linear_in_the_length_of_hostile_strings():
    started = time.process_time()
    with pytest.raises(JsonFault):
        parse_json(b"[" * 70 + b'"' + b"\\" * 1_000_001)
    assert time.process_time() - started < 1


@given(TREES)
def test_what_is_written_is_read_again_unchanged(tree):
    assert parse_json(to_json(tree)) == tree
    assert parse_json(canonical_json(tree)) == tree


def test_every_address_of_ours_stands_under_one_namespace():
    assert namespace.SID_RECEIPT == namespace.identifier_system("receipt") == "https://crisis-referral-gateway.org/fhir/sid/receipt"
    assert namespace.code_system("service-type") == "https://crisis-referral-gateway.org/fhir/CodeSystem/service-type"
    assert namespace.structure_definition("referral-task").startswith(namespace.NAMESPACE + "/StructureDefinition/")

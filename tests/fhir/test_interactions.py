"""What the FHIR specification says without HTTP: preconditions, patches, searches, preferences, the capability statement."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from gateway.errors import Failure, Invalid, Malformed, PreconditionMissing, TooCostly, VersionConflict
from gateway.fhir.capability import capability_statement
from gateway.fhir.conditional import etag, require_match
from gateway.fhir.interactions import INTERACTIONS, accepts_json, prefers_strict, search_parameters
from gateway.fhir.patch import MAX_OPERATIONS, apply_patch
from gateway.fhir.search import parse_search
from gateway.store.criteria import Reference, Span, Token
from profiles import engine

TASK = {"resourceType": "Task", "id": "t", "status": "requested", "note": [{"text": "a"}]}


@pytest.mark.parametrize("header", ['W/"3"', '"3"', 'W/"2", W/"3"', ' W/"3" ', etag(3)])
def test_the_current_version_matches(header: str) -> None:
    require_match(header, 3)


@pytest.mark.parametrize(
    ("header", "failure"),
    [
        (None, PreconditionMissing),
        ("", PreconditionMissing),
        ("*", PreconditionMissing),
        ('W/"2"', VersionConflict),
        ('W/"33"', VersionConflict),
        ('W/"03"', VersionConflict),
        ("3", Malformed),
        ("W/3", Malformed),
        ('W/"3"x', Malformed),
        ('W/"3" W/"2"', Malformed),
    ],
)
def test_any_other_precondition_is_refused(header: str | None, failure: type[Failure]) -> None:
    with pytest.raises(failure):
        require_match(header, 3)


def test_a_patch_changes_a_copy() -> None:
    patched = apply_patch(
        TASK, [{"op": "replace", "path": "/status", "value": "accepted"}, {"op": "add", "path": "/note/-", "value": {"text": "b"}}]
    )
    assert patched == {**TASK, "status": "accepted", "note": [{"text": "a"}, {"text": "b"}]}
    assert TASK["status"] == "requested"


@pytest.mark.parametrize(
    ("patch", "failure", "place"),
    [
        ({}, Malformed, ""),
        ("x", Malformed, ""),
        ([1], Malformed, "/0/op"),
        ([{"op": "replace", "path": "/status"}], Malformed, "/0/value"),
        ([{"op": ["add"], "path": "/x", "value": 1}], Malformed, "/0/op"),
        ([{"op": "spin", "path": "/x"}], Malformed, "/0/op"),
        ([{"op": "add", "path": "status", "value": 1}], Malformed, "/0/path"),
        ([{"op": "add", "path": 5, "value": 1}], Malformed, "/0/path"),
        ([{"op": "move", "path": "/a", "from": 3}], Malformed, "/0/from"),
        ([{"op": "test", "path": "/status", "value": "requested"}, {"op": "remove", "path": "/nothing"}], Invalid, "/1/path"),
        ([{"op": "test", "path": "/status", "value": "accepted"}], Invalid, "/0"),
        ([{"op": "add", "path": "/note/9", "value": {}}], Invalid, "/0/path"),
        ([{"op": "replace", "path": "/note/x", "value": {}}], Invalid, "/0/path"),
        ([{"op": "add", "path": "/status/x", "value": {}}], Invalid, "/0/path"),
        ([{"op": "move", "path": "/note/0/text", "from": "/note"}], Invalid, "/0/path"),
        ([{"op": "replace", "path": "", "value": []}], Invalid, ""),
        ([{"op": "remove", "path": ""}], Invalid, "/0/path"),
    ],
)
def test_a_bad_patch_is_refused_and_named(patch: Any, failure: type[Failure], place: str) -> None:
    with pytest.raises(failure) as caught:
        apply_patch(TASK, patch)
    assert caught.value.issues[0].source == place


@pytest.mark.parametrize("path", ["/id", "/resourceType"])
def test_a_patch_changes_neither_type_nor_id(path: str) -> None:
    with pytest.raises(Invalid):
        apply_patch(TASK, [{"op": "replace", "path": path, "value": "x"}])


def test_a_patch_without_bound_is_refused() -> None:
    with pytest.raises(TooCostly):
        apply_patch(TASK, [{"op": "test", "path": "/status", "value": "requested"}] * (MAX_OPERATIONS + 1))
    doubling = [{"op": "add", "path": "/a", "value": ["x" * 1000]}] + [{"op": "copy", "from": "/a", "path": "/a/-"}] * 60
    with pytest.raises(TooCostly):
        apply_patch(TASK, doubling)


@pytest.mark.parametrize(
    ("header", "strict"),
    [
        (None, False),
        ("handling=strict", True),
        ("return=minimal; handling=strict", True),
        ("handling=lenient", False),
        ("handling=lenient,handling=strict", False),
    ],
)
def test_strict_handling_is_read_from_prefer(header: str | None, strict: bool) -> None:
    assert prefers_strict(header) is strict


@pytest.mark.parametrize(
    ("header", "accepted"),
    [
        (None, True),
        ("*/*", True),
        ("application/fhir+json", True),
        ("application/json;q=0.5, text/html", True),
        ("application/fhir+json; fhirVersion=4.0", True),
        ("application/fhir+xml", False),
        ("application/fhir+json;q=0", False),
        ("text/html", False),
    ],
)
def test_only_json_is_offered(header: str | None, accepted: bool) -> None:
    assert accepts_json(header) is accepted


def parse(resource_type: str, *params: tuple[str, str], strict: bool = False) -> Any:
    return parse_search(resource_type, params, base_url="http://g/fhir", strict=strict)


def test_a_search_is_read_into_what_it_asks() -> None:
    wanted = parse(
        "Task",
        ("status", "requested,accepted"),
        ("owner", "http://g/fhir/Organization/a"),
        ("_lastUpdated", "ge2026-11"),
        ("_id", "x,y"),
        ("_count", "500"),
    )
    assert [list(entry) for entry in wanted.query.all_of] == [
        [Token("status", None, "requested"), Token("status", None, "accepted")],
        [Reference("owner", "Organization/a")],
    ]
    assert wanted.query.spans == (Span(datetime(2026, 11, 1, tzinfo=UTC), None),)
    assert wanted.query.ids == (frozenset({"x", "y"}),)
    assert wanted.count == 100


@pytest.mark.parametrize(
    ("prefix", "start", "end"),
    [
        ("", (2026, 11, 24), (2026, 11, 25)),
        ("eq", (2026, 11, 24), (2026, 11, 25)),
        ("gt", (2026, 11, 25), None),
        ("ge", (2026, 11, 24), None),
        ("lt", None, (2026, 11, 24)),
        ("le", None, (2026, 11, 25)),
    ],
)
def test_a_prefix_speaks_of_the_whole_span_of_a_date(prefix: str, start: Any, end: Any) -> None:
    (span,) = parse("Task", ("_lastUpdated", f"{prefix}2026-11-24")).query.spans
    assert span == Span(datetime(*start, tzinfo=UTC) if start else None, datetime(*end, tzinfo=UTC) if end else None)


@pytest.mark.parametrize(
    "param",
    [
        ("status:not", "requested"),
        ("status:missing", "true"),
        ("owner:identifier", "a|b"),
        ("owner:Patient", "x"),
        ("_lastUpdated", "ne2026"),
        ("_lastUpdated", "sa2026-01-01"),
        ("_lastUpdated", "2026-13-01"),
        ("_lastUpdated", "2026-02-30"),
        ("_lastUpdated", "yesterday"),
        ("_lastUpdated", "2026-01-01,2026-01-02"),
        ("_count", "-1"),
        ("_count", "ten"),
        ("_count", "٣"),
        ("_format", "xml"),
        ("status", "|"),
        ("status", "a|b|c"),
        ("status", ",".join(["x"] * 51)),
    ],
)
def test_what_would_widen_a_search_if_ignored_is_refused(param: tuple[str, str]) -> None:
    with pytest.raises(Malformed) as caught:
        parse("Task", param)
    assert caught.value.issues[0].source is not None


def test_an_unknown_parameter_is_left_out_or_under_strict_handling_refused() -> None:
    wanted = parse("Task", ("colour", "red"), ("status", "requested"), ("_sort", "-authored-on"))
    assert wanted.used == (("status", "requested"),)
    with pytest.raises(Malformed) as caught:
        parse("Task", ("colour", "red"), ("taste", "sour"), strict=True)
    assert [issue.source for issue in caught.value.issues] == ["?colour", "?taste"]


def test_an_escaped_separator_is_part_of_the_value() -> None:
    (entry,) = parse("Task", ("identifier", r"urn:x|a\,b\|c")).query.all_of
    assert list(entry) == [Token("identifier", "urn:x", "a,b|c")]


def test_the_capability_statement_is_valid_and_says_what_is_offered() -> None:
    made = capability_statement("http://g/fhir", "1")
    assert [issue for issue in engine.r4().validate(made) if issue.severity == "error"] == []
    told = {entry["type"]: entry for entry in made["rest"][0]["resource"]}
    assert set(told) == set(INTERACTIONS)
    for name, entry in told.items():
        assert [interaction["code"] for interaction in entry["interaction"]] == [offered.code for offered in INTERACTIONS[name]]
        assert {param["name"]: param["type"] for param in entry["searchParam"]} == search_parameters(name)

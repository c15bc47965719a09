"""What a body may be: one media type, UTF-8, not encoded; and a query that says a thing once."""

from __future__ import annotations

import gzip
import json

import pytest

from tests.builders import an_rms_message
from tests.world import FHIR_JSON, PATCH_JSON

REFUSED = [
    ({"Content-Encoding": "gzip"}, None),
    ({"Content-Encoding": "identity, gzip"}, None),
    ({"Content-Encoding": "br"}, None),
    ({}, "utf-16"),
    ({}, "iso-8859-1"),
    ({}, "utf8"),
]
TAKEN = [({}, None), ({"Content-Encoding": "identity"}, None), ({"Content-Encoding": ""}, "UTF-8"), ({}, '"utf-8"')]


def typed(media_type, charset):
    return media_type if charset is None else f"{media_type}; charset={charset}"


def send(gateway, body, headers, charset, query=""):
    content_type = typed("application/json", charset)
    return gateway.as_rms.call("POST", f"/intake/rms-diversion{query}", data=body, content_type=content_type, headers=headers)


@pytest.mark.parametrize(("headers", "charset"), REFUSED)
def test_a_message_that_is_encoded_or_of_another_charset_is_refused(gateway, headers, charset):
    answer = send(gateway, json.dumps(an_rms_message()), headers, charset)
    assert (answer.status_code, answer.json["issue"][0]["code"]) == (415, "not-supported")


def test_a_compressed_message_is_refused_as_such_and_not_as_bad_json(gateway):
    assert send(gateway, gzip.compress(b"{}"), {"Content-Encoding": "gzip"}, None).status_code == 415


@pytest.mark.parametrize(("headers", "charset"), TAKEN)
def test_a_message_in_utf_8_is_taken_however_that_is_said(gateway, headers, charset):
    assert send(gateway, json.dumps(an_rms_message()), headers, charset).status_code == 201


@pytest.mark.parametrize(("headers", "charset"), REFUSED)
def test_a_write_and_a_search_by_post_that_are_encoded_or_of_another_charset_are_refused(gateway, headers, charset):
    gateway.refer()
    ehr = gateway.as_alder_ehr
    task = ehr.the_task()
    headers = {"If-Match": f'W/"{task["meta"]["versionId"]}"', **headers}
    place = f"/fhir/Task/{task['id']}"
    put = ehr.call("PUT", place, data=json.dumps(task), content_type=typed(FHIR_JSON, charset), headers=headers)
    patch = ehr.call("PATCH", place, data="[]", content_type=typed(PATCH_JSON, charset), headers=headers)
    form = typed("application/x-www-form-urlencoded", charset)
    search = ehr.call("POST", "/fhir/Task/_search", data="status=requested", content_type=form, headers=headers)
    assert [answer.status_code for answer in (put, patch, search)] == [415, 415, 415]


@pytest.mark.parametrize("charset", [None, "utf-8", "UTF-8"])
def test_a_write_in_utf_8_is_taken(gateway, charset):
    gateway.refer()
    ehr = gateway.as_alder_ehr
    task = ehr.the_task()
    answer = ehr.call(
        "PUT",
        f"/fhir/Task/{task['id']}",
        data=json.dumps({**task, "status": "accepted"}),
        content_type=typed(FHIR_JSON, charset),
        headers={"If-Match": f'W/"{task["meta"]["versionId"]}"'},
    )
    assert answer.status_code == 200


@pytest.mark.parametrize("query", ["?dry-run=false&dry-run=true", "?dry-run=true&dry-run=false", "?dry-run=true&dry-run=true"])
def test_a_parameter_that_stands_twice_is_refused_and_nothing_is_stored(gateway, query):
    message = an_rms_message()
    answer = send(gateway, json.dumps(message), {}, None, query)
    assert (answer.status_code, answer.json["issue"][0]["code"]) == (422, "value")
    assert gateway.as_rms.send(message).status_code == 201

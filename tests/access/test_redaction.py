"""The cut of criminal-history answers: what has the shape of one goes, what an officer wrote stays."""

from __future__ import annotations

import time

import pytest

from gateway.access.redaction import REMOVED, cut_criminal_history

KEY = b"k" * 32

WANTED = """Ran subject on the MDT.
1L01WA017000
WA0170000
***MESSAGE KEY QW SEARCHES WANTED PERSON FILE
MKE/WANTED PERSON
ORI/WA0170000 NAM/DOE,JOHN SEX/M RAC/W DOB/19800101
OFF/FAILURE TO APPEAR
OCA/26-1234 NIC/W146203706
Subject calm and talking to us."""

HISTORY = """THIS NCIC INTERSTATE IDENTIFICATION INDEX RESPONSE IS THE RESULT OF YOUR INQUIRY ON NAM/DOE,JOHN

NAME          FBI NO.    INQUIRY DATE
DOE,JOHN      123456AA1  2026/11/24

1-ARRESTED OR RECEIVED 2019/02/02
  Charge 1: theft
END OF III RESPONSE
He agreed to go."""


@pytest.mark.parametrize(
    "answer",
    [
        "NIC/W146203706",
        "nic/w146203706 nam/doe, john dob/19800101",
        "NIC/\nW146203706",
        "N\u200bIC/W146203706",
        "ＮＩＣ／W146203706",
        "FBI/123456AA1",
        "FBI NO. 123456AA1",
        "SID/WA12345678",
        "MKE/WANTED PERSON",
        "ORI/WA0170000 OCA/26-1",
        "ORI/WA0170000\nOCA/26-1\nVLD/20261124",
        "NAM/DOE,JOHN DOB/19800101 SEX/M RAC/W",
        "***** NCIC HIT *****\nDOE, JOHN",
        "***** BEGIN\n NCIC RESPONSE\n*****\nDOE JOHN",
        "QW RESPONSE: NO RECORD",
        "QWA RESPONSE\nNO WANT",
        "QH.WA0170000.NAM/DOE,JOHN",
        "QR WA0170000",
        "QV.WA0170000.LIC/ABC123",
        "IR.WA0170000.12:34",
        "FQ.WA0170000",
        "DQ WA0170000 NAM/DOE",
        "INTERSTATE IDENTIFICATION INDEX\nDOE JOHN 3 ARRESTS",
        "III RESPONSE:\nMULTIPLE ARRESTS",
        "NLETS MESSAGE 123\nDOE JOHN",
        "NO NCIC WANT NAM/DOE,JOHN DOB/19800101",
    ],
)
def test_an_answer_of_a_criminal_history_system_is_cut(answer: str) -> None:
    left, cuts = cut_criminal_history({"narrative": answer}, KEY)
    assert left["narrative"].replace(REMOVED, "").strip() == ""
    assert {cut.pointer for cut in cuts} == {"/narrative"}


@pytest.mark.parametrize(
    "prose",
    [
        "Checked with NCIC, clear.",
        "NCIC and III checks done by dispatch, no wants.",
        "NCIC check: clear, no hits",
        "Queried NLETS for license, valid.",
        "The Interstate Identification Index was not queried.",
        "no III record was requested",
        "Officer met subject (W/M, 5'10\"/180 lbs) at 5th/Main, DOB/1980.",
        "QH Smith agreed to talk.",
        "CR 12 and DR Smith; QR code on poster",
        "SUBJECT AGREED TO TALK. NO WANTS PER NCIC. CASE MANAGER CALLED.",
        "FBI agent called at 10/24.",
        "His SID card number is unknown",
        "and/or his/her OFF/ON",
        "WA0170000",
        "*** URGENT *** please call back",
        "",
    ],
)
def test_what_an_officer_wrote_stays(prose: str) -> None:
    assert cut_criminal_history({"narrative": prose}, KEY) == ({"narrative": prose}, [])


@pytest.mark.parametrize(
    ("text", "before", "after"),
    [
        (WANTED, "Ran subject on the MDT.\n", "\nSubject calm and talking to us."),
        (HISTORY, "", "\nHe agreed to go."),
        ("Dispatch read back NIC/W146203706 and he sat down.", "Dispatch read back ", " and he sat down."),
        (WANTED.replace("\n", "\r\n"), "Ran subject on the MDT.\r\n", "\r\nSubject calm and talking to us."),
    ],
)
def test_the_prose_around_an_answer_stays(text: str, before: str, after: str) -> None:
    left, cuts = cut_criminal_history(text, KEY)
    assert left == f"{before}{REMOVED}{after}"
    assert len(cuts) == 1


def test_two_answers_are_two_cuts() -> None:
    text = f"{WANTED}\nLater we asked again and waited for a while before dispatch came back to us.\nQW RESPONSE: NO RECORD"
    left, cuts = cut_criminal_history(text, KEY)
    assert left.count(REMOVED) == len(cuts) == 2
    assert "came back to us" in left


def test_an_answer_spread_over_the_entries_of_a_list_is_cut_in_each() -> None:
    lines = ["Ran him.", "MKE/WANTED PERSON", "DOE, JOHN", "OCA/26-1", "He was calm."]
    left, cuts = cut_criminal_history({"a/b": {"lines": lines}}, KEY)
    assert left["a/b"]["lines"] == ["Ran him.", REMOVED, REMOVED, REMOVED, "He was calm."]
    assert [cut.pointer for cut in cuts] == ["/a~1b/lines/1", "/a~1b/lines/2", "/a~1b/lines/3"]


def test_a_field_named_by_an_answer_goes_with_it() -> None:
    assert cut_criminal_history({"x": {"NIC/W146203706": "DOE"}, "y": 1}, KEY)[0] == {"x": {}, "y": 1}


def test_the_hash_is_keyed_and_the_message_is_left_as_it_is() -> None:
    message = {"n": ["x", {"deep": "NIC/W146203706"}], "number": 5, "flag": True, "nothing": None}
    left, (cut,) = cut_criminal_history(message, KEY)
    assert message["n"][1] == {"deep": "NIC/W146203706"}  # type: ignore[index]
    assert left == {"n": ["x", {"deep": REMOVED}], "number": 5, "flag": True, "nothing": None}
    assert len(cut.keyed_hash) == 64
    assert cut_criminal_history(message, KEY)[1][0] == cut
    assert cut_criminal_history(message, b"q" * 32)[1][0].keyed_hash != cut.keyed_hash


def test_what_was_cut_is_not_cut_again() -> None:
    once, _ = cut_criminal_history({"n": WANTED}, KEY)
    assert cut_criminal_history(once, KEY) == (once, [])


@pytest.mark.parametrize(
    "text", ["*" * 200_000, "FBI NO" + " " * 200_000, "NAM/X " * 30_000, "NIC/W1234567 ok then\n" * 8_000, "END OF " * 30_000]
)
def test_hostile_text_costs_no_more_than_its_length(text: str) -> None:
    started = time.process_time()
    cut_criminal_history({"n": text}, KEY)
    assert time.process_time() - started < 3

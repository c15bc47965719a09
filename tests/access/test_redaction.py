"""The cut of criminal-history answers: what has the shape of one goes, what an officer wrote stays."""

from __future__ import annotations

import base64
import hashlib
import random
import time
from collections.abc import Callable

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from gateway.access.criminal_shapes import may_hold_answer
from gateway.access.redaction import REMOVED, _marks, cut_criminal_history, unread_places

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


FORM = f"I, Jamie, allow it.\n\n{WANTED}"
FORM_LEFT = f"I, Jamie, allow it.\n\n{WANTED.partition('1L01')[0]}{REMOVED}\nSubject calm and talking to us."


def encoded(text: str, encoding: str = "utf-8") -> str:
    return base64.b64encode(text.encode(encoding)).decode()


def in_lines(text: str, width: int = 64, end: str = "\r\n") -> str:
    return end.join(text[place : place + width] for place in range(0, len(text), width))


@pytest.mark.parametrize(
    ("value", "encoding"),
    [
        (encoded(FORM), "utf-8"),
        (encoded(FORM, "utf-16"), "utf-16"),
        (encoded(FORM, "utf-16-be"), "utf-16-be"),
        (encoded(FORM, "utf-16-le"), "utf-16-le"),
        (encoded("\ufeff" + FORM), "utf-8-sig"),
        (in_lines(encoded(FORM)), "utf-8"),
        (in_lines(encoded(FORM), 76, "\n"), "utf-8"),
        (in_lines(encoded(FORM), 76, " "), "utf-8"),
        (encoded(FORM).rstrip("="), "utf-8"),
    ],
)
def test_an_answer_in_base64_is_cut_inside_and_encoded_again(value: str, encoding: str) -> None:
    left, cuts = cut_criminal_history({"source": {"data": value}}, KEY)
    assert base64.b64decode(left["source"]["data"], validate=True).decode(encoding) == FORM_LEFT
    assert [cut.pointer for cut in cuts] == ["/source/data"]


def test_base64_in_letters_of_latin_1_and_in_the_url_alphabet_is_cut_too() -> None:
    text = f"señora ¿sí? ÿÿÿ>>>??? {FORM}"
    value = base64.urlsafe_b64encode(text.encode("latin-1")).decode()
    assert "-" in value
    left, cuts = cut_criminal_history([value], KEY)
    assert base64.urlsafe_b64decode(left[0]).decode("latin-1").startswith("señora ¿sí?")
    assert "W146203706" not in base64.urlsafe_b64decode(left[0]).decode("latin-1")
    assert len(cuts) == 1


@pytest.mark.parametrize(
    "text",
    [
        f"data:text/plain;base64,{encoded(FORM)}",
        f"data:text/plain;charset=utf-8;base64,{encoded(FORM)}",
        f"The form: {encoded(FORM)} (attached)",
        f'<img alt="x" src="data:text/html;base64,{encoded(FORM)}">',
        encoded(encoded(FORM)),
        encoded("NIC/W146203706"),
        encoded("FBI/1234"),
    ],
)
def test_base64_is_found_in_data_urls_inside_prose_and_in_base64(text: str) -> None:
    left, cuts = cut_criminal_history({"anything": {"at": ["x", {"all": text}]}}, KEY)
    assert [cut.pointer for cut in cuts] == ["/anything/at/1/all"]
    assert cut_criminal_history(left, KEY) == (left, [])


def test_the_text_around_base64_stays() -> None:
    left, _ = cut_criminal_history(f"The form: {encoded('NIC/W146203706')} (attached)", KEY)
    assert left == f"The form: {encoded(REMOVED)} (attached)"


def test_base64_in_a_list_of_lines_and_in_a_name_is_cut() -> None:
    left, cuts = cut_criminal_history({"lines": ["x", encoded("NIC/W146203706")], encoded("NIC/W146203706"): 1}, KEY)
    assert left == {"lines": ["x", encoded(REMOVED)]}
    assert {cut.pointer for cut in cuts} == {"/lines/1", ""}


def test_hash_and_size_of_an_attachment_go_only_where_it_was_changed() -> None:
    digest = base64.b64encode(hashlib.sha1(b"x", usedforsecurity=False).digest()).decode()
    of_content = {"hash": digest, "size": 5, "title": "NIC/W146203706"}
    changed, whole = {"data": encoded(FORM), **of_content}, {"data": encoded("I, Jamie, allow it."), **of_content}
    (one, other), _ = cut_criminal_history([changed, whole], KEY)
    assert set(one) == {"data", "title"}
    assert other == {**whole, "title": REMOVED}


@pytest.mark.parametrize(
    "text",
    [
        "ce0evpB4EA85g95np1MKX3rZK1g=",
        "SSwgSmFtaWUgTWFyc2gsIGFsbG93IHRoZSBwcm9ncmFtbWUgdG8gdGVsbCB0aGUgYWdlbmN5IGhvdyBteSByZWZlcnJhbCB3ZW50Lg==",
        "Patrol car at bay 3",
        "https://rms.riverton-police.example/forms/30077.pdf",
        "a" * 1000,
        "----------------------------------------",
        "R&B; <b>calm</b> &amp; quiet, age < 30",
        "{\\rtf1\\ansi Calm and talking to us.\\par}",
    ],
)
def test_what_only_looks_encoded_or_marked_up_stays_as_it_is(text: str) -> None:
    message = {"data": text, "hash": "x"}
    assert cut_criminal_history(message, KEY) == (message, [])


@pytest.mark.parametrize(
    "markup",
    [
        "<p>Calm.</p><p>NIC/<b>W14</b>6203706</p>",
        "<div>Calm.<br/>NIC&#47;W146203706</div>",
        "Calm.<br>NIC&#x2F;&nbsp;W146203706",
        "{\\rtf1\\ansi{\\b Calm.}\\par NIC/{\\b W14}6203706\\par}",
        "{\\rtf1\\ansi Calm.\\par NIC\\'2fW146203706}",
    ],
)
def test_markup_hides_no_answer(markup: str) -> None:
    for text in (markup, base64.b64encode(markup.encode()).decode()):
        left, cuts = cut_criminal_history(text, KEY)
        shown = left if text == markup else base64.b64decode(left).decode()
        assert len(cuts) == 1
        assert REMOVED in shown
        assert "6203706" not in shown
        assert "Calm." in shown


PICTURE = base64.b64encode(random.Random(7).randbytes(3000)).decode()
PDF = base64.b64encode(b"%PDF-1.4\nBT (scanned) Tj ET\n%%EOF").decode()


def test_what_is_no_text_is_named_and_left_as_it_is() -> None:
    message = {
        "consents": [{"source": {"data": PDF}}, {"source": {"data": encoded(FORM)}}],
        "other": [PICTURE, f"data:image/png;base64,{PICTURE[:60]}", in_lines(PICTURE)],
        "data": "not base64 at all",
        "hash": "ce0evpB4EA85g95np1MKX3rZK1g=",
        "narrative": "word " * 200,
    }
    assert unread_places(message) == ["/consents/0/source/data", "/other/0", "/other/1", "/other/2"]
    assert cut_criminal_history(message["other"], KEY) == (message["other"], [])


@pytest.mark.parametrize(
    "text",
    [
        PICTURE * 60,
        encoded("calm " * 40_000),
        encoded(encoded(encoded(encoded("calm " * 15_000)))),
        "A" * 250_000,
        "A\n" * 125_000,
        "AAAAAAAAAAAA\n\n\n\n\n\n\n\n" * 12_000,
        f"{'A' * 13}!" * 18_000,
        "<p " * 80_000,
        "<!--" * 60_000,
        "&amp;" * 50_000,
        "{\\rtf" + "\\par{" * 40_000,
    ],
    ids=lambda text: text[:8],
)
def test_hostile_encodings_cost_no_more_than_their_length(text: str) -> None:
    started = time.process_time()
    cut_criminal_history({"n": text}, KEY)
    unread_places({"data": text})
    assert time.process_time() - started < 3


@pytest.mark.parametrize(
    "text", ["*" * 200_000, "FBI NO" + " " * 200_000, "NAM/X " * 30_000, "NIC/W1234567 ok then\n" * 8_000, "END OF " * 30_000]
)
def test_hostile_text_costs_no_more_than_its_length(text: str) -> None:
    started = time.process_time()
    cut_criminal_history({"n": text}, KEY)
    assert time.process_time() - started < 3


PIECES = (
    "NIC", "FBI", "SID", "NO", "NO.", "NUMBER", "NBR", "#", "MKE", "MESSAGE", "KEY", "SEARCHES", "NCIC", "NLETS",
    "N-DEX", "NDEX", "CJIS", "III", "CCH", "INTERSTATE", "IDENTIFICATION", "INDEX", "RESPONSE", "RECORD", "RECORDS",
    "HIT", "RAP SHEET", "INQUIRY", "THE", "FOLLOWING", "CONFIRM", "WARRANT", "WITH", "ORI", "RESULT", "OF", "YOUR",
    "REQUEST", "FOR", "QW", "QH", "IR", "YQ", "ZW", "WANTED", "PERSON", "CRIMINAL", "HISTORY", "WA0170000", "WA",
    "W146203706", "123456AA1", "12345678", "DOE", "***", "**", "*", "/", ":", ".", ",", "-", "=", " ", "  ", "\n",
    "\t",
)  # fmt: skip


def _spelt(pieces: list[tuple[Callable[[str], str], str]]) -> str:
    return "".join(spell(piece) for spell, piece in pieces)


@settings(max_examples=3000, deadline=None)
@given(
    st.lists(st.tuples(st.sampled_from(PIECES), st.sampled_from((str, str.lower, str.title)))).map(
        lambda found: "".join(f(p) for p, f in found)
    )
)
@example("FBINUMBER12345")
@example("nic:w146203706")
@example("SID NO 1234567")
@example("QW.WA0170000")
@example("IR WA0170000")
@example("III RESPONSE")
def test_what_the_quick_look_lets_pass_has_no_shape_of_an_answer(text: str) -> None:
    if not may_hold_answer(text):
        assert _marks(text) == []


@pytest.mark.parametrize("text", [WANTED, HISTORY, WANTED.lower(), "a \u212aEY", "<b>x</b>", "x &amp; y", "{\\rtf1 x}"])
def test_the_quick_look_lets_nothing_pass_that_it_cannot_judge(text: str) -> None:
    assert may_hold_answer(text)


def test_the_quick_look_lets_ordinary_words_pass() -> None:
    for text in ("Sat on the kerb, calm and talking.", "2026-03-01T12:00:00-08:00", "urgent", "RPD-2026-118204"):
        assert not may_hold_answer(text)

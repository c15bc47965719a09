"""The shapes of criminal-history answers, as data for `redaction`: message headers, banners, numbers, field codes.

Every repeat is bounded or possessive, so that hostile text costs no more than its length. Source: NCIC Operating Manual message
formats, NLETS User Guide headers, III record responses.
"""

from __future__ import annotations

import re
from typing import Final

# Message keys of inquiries and answers; one counts only with an ORI or a response word after it.
_KEYS: Final = (
    "(?:QWA|QWE|QWI|QWF|QW|QHA|QH|QRA|QR|QVC|QV|QGG|QG|QA|QB|QMC|QM|QIC|QI|QND|QSP|QXS|QPO|QO|ZW|IQ|IR|FQ|FR|AQ|AR|RQ|RR|DQ|DR|"
    "KQ|KR|HQ|HR|CQ|CR|SQ|SR|TQ|TR|YQ|YR)"
)
_ORI: Final = r"[A-Z]{2}(?=[A-Z0-9]{0,6}[0-9])[A-Z0-9]{7}\b"
_ANSWER: Final = r"(?:RESPONSE|RESP|REPLY|RETURN|HIT|RESULTS?|RECORDS?|RAP\s?SHEET|MESSAGE|INQUIRY)"
_S: Final = r"\s{0,8}"
_LINE: Final = r"^[ \t>*=#-]{0,40}+"
_ANY_CASE: Final = re.IGNORECASE | re.MULTILINE
_AS_WRITTEN: Final = re.MULTILINE

# One of these is enough. (kind, pattern)
STRONG: Final[tuple[tuple[str, re.Pattern[str]], ...]] = (
    ("ncic-number", re.compile(rf"\bNIC{_S}[/:]{_S}[A-Z]\s?\d{{4,10}}\b", _ANY_CASE)),
    ("fbi-number", re.compile(rf"\bFBI{_S}(?:/|(?:NO\b\.?|NUMBER|NBR|#){_S}[:/.]?){_S}\d[\dA-Z]{{3,9}}\b", _ANY_CASE)),
    ("state-id", re.compile(rf"\bSID{_S}(?:/|(?:NO\b\.?|NUMBER|#){_S}[:/.]?){_S}(?:[A-Z]{{2}}\s?)?\d{{4,10}}[A-Z]?\b", _ANY_CASE)),
    ("message-key", re.compile(rf"\bMKE{_S}/{_S}[A-Z0-9*]", _ANY_CASE)),
    ("message-key", re.compile(rf"(?<![A-Za-z0-9]){_KEYS}(?:{_S}[./,]{_S}|\s{{1,8}}){_ORI}", _AS_WRITTEN)),
    (
        "message-key",
        re.compile(rf"(?<![A-Za-z0-9]){_KEYS}\s{{1,8}}{_ANSWER}\b(?={_S}(?:[:*.=-]|$)|\s{{1,8}}[A-Z]{{2}})", _AS_WRITTEN),
    ),
    ("message-key", re.compile(r"\bMESSAGE\s{1,8}KEY\s{1,8}[A-Z]{1,4}\s{1,8}SEARCHES\b", _ANY_CASE)),
    (
        "ncic-banner",
        re.compile(
            r"(?<!\*)\*{3,}+[^*]{0,160}?\b(?:NCIC|NLETS|III|INTERSTATE|CRIMINAL\s{1,8}HISTORY|WANTED\s{1,8}PERSON|CCH)\b"
            r"[^*]{0,160}\*{2}",
            _ANY_CASE,
        ),
    ),
    (
        "ncic-response",
        re.compile(rf"{_LINE}(?:NCIC|NLETS|N-?DEX|CJIS|III|CCH)(?:\s{{1,8}}III)?\s{{1,8}}{_ANSWER}[ \t]{{0,8}}(?:[:*=-]|$)", _AS_WRITTEN),
    ),
    ("ncic-response", re.compile(rf"\bNO\s{{1,8}}NCIC\s{{1,8}}(?:WANTS?|RECORDS?)\s{{1,8}}[A-Z]{{3}}{_S}/", _ANY_CASE)),
    (
        "ncic-response",
        re.compile(r"\bTHE\s{1,8}FOLLOWING\b[^.\n]{0,80}\b(?:NCIC|III|NLETS)\s{1,8}(?:RECORD|RESPONSE|FILE)", _ANY_CASE),
    ),
    (
        "ncic-response",
        re.compile(r"\bCONFIRM\s{1,8}(?:WARRANT|RECORD|STATUS|THEFT|MISSING)[^.\n]{0,60}\sWITH\s{1,8}ORI\b", _ANY_CASE),
    ),
    (
        "iii-response",
        re.compile(
            r"\bINTERSTATE\s{1,8}IDENTIFICATION\s{1,8}INDEX\s{1,8}(?:\(III\)\s{1,8})?(?:RESPONSE|RECORD|REPLY|HIT|RETURN)\b", _ANY_CASE
        ),
    ),
    (
        "iii-response",
        re.compile(
            rf"{_LINE}(?:[A-Z]{{2,20}}\s{{1,4}}){{0,4}}INTERSTATE\s{{1,8}}IDENTIFICATION\s{{1,8}}INDEX"
            r"(?:\s{1,8}\(?III\)?)?[ \t*:=-]{0,40}$",
            _AS_WRITTEN,
        ),
    ),
    (
        "iii-response",
        re.compile(
            r"\bFBI\s{1,8}IDENTIFICATION\s{1,8}RECORD\b|\bRESULT\s{1,8}OF\s{1,8}YOUR\s{1,8}(?:RECORD\s{1,8}REQUEST|INQUIRY)\s{1,8}(?:FOR|ON)\b",
            _ANY_CASE,
        ),
    ),
    (
        "nlets-header",
        re.compile(
            rf"\bNLETS\s{{1,8}}(?:MESSAGE|RESPONSE|HEADER|TEXT|ISN|REPLY|CONTROL)\b(?={_S}(?:[:#*=-]|$|[A-Z0-9./]{{0,24}}\d))", _ANY_CASE
        ),
    ),
)

# Fields of a record, each a code and a slash. Those of the first group stand nowhere but in such records.
RECORD_FIELDS: Final = frozenset(
    "OCA ORI VLD NIC DOW FPC MNU OFF LKI LKA DLU MKE FBI SID CRR DOV OOC WNO NOA OFS EXL DNA IMN ORA XST".split()  # noqa: SIM905
)
PERSON_FIELDS: Final = frozenset(
    "NAM SEX RAC DOB HGT WGT EYE HAI SKN SMT SOC OLN OLS OLY MIS DTE ENT LIC LIS LIY LIT VIN VYR VMA VMO VST VCO BRD ISD ERD "  # noqa: SIM905
    "EXP CTZ POB ADO ETN AKA PWI PAK CIN ATN PUR REF CTI SVC SVD CMC AGY ARR CHG".split()
)
FIELD: Final = re.compile(r"(?<![A-Za-z0-9/])([A-Z]{3})[ \t]{0,8}/\s{0,8}(?=[^\s/])", re.IGNORECASE)

# Every shape above needs one of these, which cost far less to look for: in ASCII of any case, or a message key as it is written.
_HINTS: Final = (
    "/",
    "***",
    "nic",
    "fbi",
    "sid",
    "nlets",
    "dex",
    "cjis",
    "iii",
    "cch",
    "ncic",
    "searches",
    "confirm",
    "interstate",
    "result",
)
_KEY_HINT: Final = re.compile(r"(?:Q[A-Z]{1,2}|ZW|[ACDFHIKRSTY][QR])[\s./,]")


def may_hold_answer(text: str) -> bool:
    """Whether a text may hold one of the shapes. False only for ASCII without markup in which none of them can stand."""
    if not text.isascii() or "<" in text or "&" in text or text.startswith("{\\rtf"):
        return True
    small = text.lower()
    return any(hint in small for hint in _HINTS) or _KEY_HINT.search(text) is not None


END: Final = re.compile(
    r"\bEND\s{1,8}OF\s{1,8}(?:\w{1,20}\s{1,8})?(?:MESSAGE|RESPONSE|RECORD|FILE|III|NCIC|NLETS|TEXT)\b[^\n]*+", _ANY_CASE
)

# Words that go on with a record after a blank line.
SECTION: Final = re.compile(
    r"\b(?:ARREST|CHARGE|DISPOSITION|CYCLE|COURT|SENTENCE|FINGERPRINT|ALIAS|RECORD|WARRANT|CAUTION|IDENTIFICATION|CUSTODY|AGENCY|"
    r"CONVICT|FELONY|MISDEMEANOR|EXTRADIT|INQUIRY|SCARS|CITIZEN|ENTERED|OFFENSE|NAME|NCIC|NLETS|III)"
)

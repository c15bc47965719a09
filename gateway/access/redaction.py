"""The cut of criminal-history answers: text in the shape of an NCIC, III or NLETS response goes before anything is stored.

What the agency wrote itself stays; a mention of a check ("checked with NCIC, clear") is no response. Where the shape is there, the
whole block goes, wherever in a message it stands, also when it is spread over lines or over the entries of a list: better a
sentence too many than a record. What stands in base64 (an attached form, a data: URL) is read, cut and encoded again where it is
text; `unread_places` names what is no text. Reads no store and keeps no text: the caller gets places and keyed hashes.
Source: CJIS Security Policy (dissemination to authorized recipients only); NCIC Operating Manual message formats.
"""

from __future__ import annotations

import hashlib
import hmac
import html
import re
import unicodedata
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Final

from gateway.access.base64_text import base64_in, is_base64, read_base64
from gateway.access.criminal_shapes import END, FIELD, PERSON_FIELDS, RECORD_FIELDS, SECTION, STRONG, may_hold_answer

REMOVED: Final = "[removed: criminal-history response]"


@dataclass(frozen=True, slots=True)
class Cut:
    """pointer: RFC 6901 place in the message. kind: the shape that gave it away. keyed_hash: HMAC-SHA256 of what was cut, hex."""

    pointer: str
    kind: str
    keyed_hash: str


_REACH: Final = 320  # characters between two fields of one run
_END_REACH: Final = 20_000  # characters from a mark to the line that ends its response
_SMALL_WORD: Final = re.compile(r"(?<=[\s.;,])[A-Z]?[a-z]{2,}")
_BLANK_LINE: Final = re.compile(r"\n[ \t]*+\n")

_DATA_URL: Final = re.compile(r"data:[^,\s]{0,200};base64,", re.IGNORECASE)
_SHORT_NAME: Final = 64
_NESTED: Final = 3  # base64 in base64 is opened this often
_DOCUMENT: Final = 256  # from this many characters base64 is taken for a document, and no number or digest
_PDF: Final = "JVBER"  # its strings are compressed or in codes of its own, also where all of it is in ASCII
_OF_CONTENT: Final = ("hash", "size")  # R4 Attachment: true of the content as it was

_LINE_TAGS: Final = "br|p|div|tr|td|th|li|ul|ol|table|tbody|thead|pre|hr|h[1-6]|head|body|html|title|section|article"
_HTML: Final = re.compile(
    rf"(?P<line></?(?:{_LINE_TAGS})(?:[\s/][^<>]{{0,500}})?>)"
    r"|</?(?:b|i|u|s|a|em|strong|span|font|small|big|code|tt|sub|sup|mark|center)(?:\s[^<>]{0,500})?>|<!--[^<>]{0,500}-->"
    r"|(?P<entity>&(?:#\d{1,6}|#[xX][0-9a-fA-F]{1,5}|[A-Za-z]{2,8});)",
    re.IGNORECASE,
)
_RTF: Final = re.compile(
    r"(?P<line>\\(?:par|line|cell|row|tab)(?![a-z]) ?)|\\'(?P<byte>[0-9a-fA-F]{2})|\\[a-z]{1,32}+-?\d{0,10}+ ?|\\\*|[{}]"
)


@dataclass(frozen=True, slots=True)
class _Mark:
    start: int
    end: int
    kind: str


@dataclass(slots=True)
class _Found:
    """What one run finds. encoded: pointers of the texts whose base64 was changed."""

    key: bytes
    cuts: list[Cut] = field(default_factory=list)
    encoded: set[str] = field(default_factory=set)

    def add(self, pointer: str, kind: str, text: str) -> None:
        self.cuts.append(Cut(pointer, kind, _hash(self.key, text)))


def cut_criminal_history(tree: Any, key: bytes) -> tuple[Any, list[Cut]]:
    """The message without criminal-history answers, and where they stood; the message itself is left as it is.

    tree: a JSON value. key: of the hashes, 16 bytes or more. Deterministic: the same message is cut the same way again.
    The `hash` and `size` beside an attachment that was changed go: they would be false.
    """
    found = _Found(key)
    return _walk(tree, "", found), found.cuts


def unread_places(tree: Any) -> list[str]:
    """Pointers of the attachments that are no text (PDF, images): nothing could be looked for in them."""
    found: list[str] = []
    pending = [("", "", tree)]
    while pending:
        pointer, name, value = pending.pop()
        if isinstance(value, dict):
            pending += [(_below(pointer, each), each, child) for each, child in reversed(value.items())]
        elif isinstance(value, list):
            pending += [(f"{pointer}/{place}", "", child) for place, child in reversed(list(enumerate(value)))]
        elif isinstance(value, str) and _is_unread(name, value):
            found.append(pointer)
    return found


def _is_unread(name: str, value: str) -> bool:
    url = _DATA_URL.match(value)
    content = (value[url.end() :] if url else value).strip()
    if not url and name != "data" and len(content) < _DOCUMENT:
        return False
    return is_base64(content) and (content.startswith(_PDF) or read_base64(content) is None)


def _below(pointer: str, name: str) -> str:
    return f"{pointer}/{name.replace('~', '~0').replace('/', '~1')}"


def _walk(value: Any, pointer: str, found: _Found) -> Any:
    if isinstance(value, str):
        return _cut_text(value, pointer, found)
    if isinstance(value, list):
        if len(value) > 1 and all(isinstance(entry, str) for entry in value):
            return _cut_lines(value, pointer, found)
        return [_walk(entry, f"{pointer}/{place}", found) for place, entry in enumerate(value)]
    if isinstance(value, dict):
        return _walk_members(value, pointer, found)
    return value


def _walk_members(members: dict[str, Any], pointer: str, found: _Found) -> dict[str, Any]:
    left = {}
    for name, child in members.items():
        kind = _kind_of_name(name) if len(name) <= _SHORT_NAME else _kind_in(name)
        if kind is not None:  # a record used as a field's name: the field goes with it
            found.add(pointer, kind, name)
        else:
            left[name] = _walk(child, _below(pointer, name), found)
    if any(_below(pointer, name) in found.encoded for name in left):
        return {name: child for name, child in left.items() if name not in _OF_CONTENT}
    return left


def _kind_in(name: str) -> str | None:
    """The shape that a field's name gives away; None for an ordinary name."""
    inside = _Found(b"")
    return inside.cuts[0].kind if _cut_text(name, "", inside) != name else None


_kind_of_name = lru_cache(maxsize=4096)(_kind_in)
"""For names as schemas have them, which come again with every message."""


def _cut_text(text: str, pointer: str, found: _Found, depth: int = 0) -> str:
    if not may_hold_answer(text):
        return _cut_encoded(text, pointer, found, depth)
    plain, origin = _plain(text)
    left, place = [], 0
    for block in _blocks(plain):
        start, end = origin[block.start], origin[block.end]
        left += [text[place:start], REMOVED]
        found.add(pointer, block.kind, text[start:end])
        place = end
    return _cut_encoded("".join([*left, text[place:]]) if left else text, pointer, found, depth)


def _cut_encoded(text: str, pointer: str, found: _Found, depth: int) -> str:
    """The text with the base64 in it cut inside and encoded again."""
    if depth >= _NESTED or len(text) < 12:
        return text
    left, place = [], 0
    for start, end in base64_in(text):
        readable = read_base64(text[start:end])
        if readable is None:
            continue
        kept = _cut_text(readable.text, pointer, found, depth + 1)
        if kept != readable.text:
            found.encoded.add(pointer)
            left += [text[place:start], readable.encode(kept)]
            place = end
    return "".join([*left, text[place:]]) if left else text


def _cut_lines(lines: list[str], pointer: str, found: _Found) -> list[str]:
    """Entries of a list are the lines of one text: a response may be spread over them."""
    plains = [_plain(line) for line in lines]
    joined = "\n".join(plain for plain, _ in plains)
    blocks = _blocks(joined)
    left, offset = [], 0
    for place, (line, (plain, origin)) in enumerate(zip(lines, plains, strict=True)):
        kept, done = [], 0
        for block in blocks:
            start, end = max(block.start - offset, 0), min(block.end - offset, len(plain))
            if start >= end:
                continue
            kept += [line[done : origin[start]], REMOVED]
            found.add(f"{pointer}/{place}", block.kind, line[origin[start] : origin[end]])
            done = origin[end]
        left.append(_cut_encoded("".join([*kept, line[done:]]), f"{pointer}/{place}", found, 0))
        offset += len(plain) + 1
    return left


def _hash(key: bytes, text: str) -> str:
    return hmac.new(key, text.encode("utf-8", "surrogatepass"), hashlib.sha256).hexdigest()


def _plain(text: str) -> tuple[str, list[int]]:
    """The text as a reader sees it (no invisible characters, no markup, one kind of slash and space), and where each character stood."""
    if text.startswith("{\\rtf"):
        return _unmarked(text, _RTF)
    if ("<" in text or "&" in text) and _HTML.search(text):
        return _unmarked(text, _HTML)
    return _folded(text)


def _unmarked(text: str, markup: re.Pattern[str]) -> tuple[str, list[int]]:
    """The text without its markup: a mark that begins a line is a line end, a character written as a mark is the character."""
    parts: list[str] = []
    origin: list[int] = []
    place = 0
    for mark in [*markup.finditer(text), None]:
        between, places = _folded(text[place : mark.start() if mark else len(text)])
        parts.append(between)
        origin += [place + each for each in places[:-1]]
        if mark:
            shown = _shown(mark)
            parts.append(shown)
            origin += [mark.start()] * len(shown)
            place = mark.end()
    return "".join(parts), [*origin, len(text)]


def _shown(mark: re.Match[str]) -> str:
    groups = mark.groupdict()
    if groups["line"]:
        return "\n"
    if groups.get("byte"):
        return chr(int(groups["byte"], 16))
    return html.unescape(groups["entity"])[:1] if groups.get("entity") else ""


def _folded(text: str) -> tuple[str, list[int]]:
    if text.isascii() and "\r" not in text:
        return text, list(range(len(text) + 1))
    plain, origin = [], []
    for place, character in enumerate(text):
        if unicodedata.category(character) == "Cf" or (character == "\n" and text[place - 1 : place] == "\r"):
            continue
        folded = "\n" if character == "\r" else unicodedata.normalize("NFKC", character)
        folded = {"⁄": "/", "∕": "/", "\u2028": "\n", "\u2029": "\n", "∗": "*"}.get(folded, folded)
        plain.append(folded[:1] or character)
        origin.append(place)
    return "".join(plain), [*origin, len(text)]


def _marks(text: str) -> list[_Mark]:
    found = [_Mark(match.start(), match.end(), kind) for kind, pattern in STRONG for match in pattern.finditer(text)]
    fields = [match for match in FIELD.finditer(text) if match[1].upper() in RECORD_FIELDS | PERSON_FIELDS]
    strong = sorted(mark.start for mark in found)
    run: list[re.Match[str]] = []
    for match in [*fields, None]:
        if match is not None and (not run or match.start() - run[-1].end() <= _REACH):
            run.append(match)
            continue
        if _is_record(run):
            found += [_Mark(field.start(), field.end(), "field-run") for field in run]
        else:
            found += [_Mark(field.start(), field.end(), "field-run") for field in run if _near(field.start(), strong)]
        run = [match] if match is not None else []
    return sorted(found, key=lambda mark: mark.start)


def _is_record(run: list[re.Match[str]]) -> bool:
    """Two fields of records, or one beside two of a person, or four of a person: nobody writes that by hand."""
    names = {match[1].upper() for match in run}
    records, persons = len(names & RECORD_FIELDS), len(names & PERSON_FIELDS)
    return records >= 2 or (records == 1 and persons >= 2) or persons >= 4


def _near(place: int, strong: Sequence[int]) -> bool:
    after = bisect_left(strong, place - _REACH)
    return after < len(strong) and strong[after] <= place + _REACH


def _blocks(text: str) -> list[_Mark]:
    """The blocks to cut, in order, none touching another."""
    blocks: list[_Mark] = []
    ends = [match.end() for match in END.finditer(text)]
    for mark in _marks(text):
        if blocks and mark.end <= blocks[-1].end:
            continue
        start, end = _grow(text, mark, ends)
        last = blocks[-1] if blocks else None
        if last and (start <= last.end or (start - last.end <= _REACH and _same_record(text[last.end : start]))):
            blocks[-1] = _Mark(last.start, max(last.end, end), last.kind)
        else:
            blocks.append(_Mark(start, end, mark.kind))
    return blocks


def _same_record(between: str) -> bool:
    return not between.strip() or _is_terminal(between)


def _grow(text: str, mark: _Mark, ends: Sequence[int]) -> tuple[int, int]:
    """From a mark to the whole of its block: the terminal's lines around it, and all up to an end line where there is one."""
    start = text.rfind("\n", 0, mark.start) + 1
    if not _is_terminal(text[start : mark.start]):
        start = mark.start
    else:
        for line_start, line_end in _lines_before(text, start):
            if not _is_terminal(text[line_start:line_end]) or not text[line_start:line_end].strip():
                break
            start = line_start
    closing = bisect_left(ends, mark.end)
    if closing < len(ends) and ends[closing] - mark.end <= _END_REACH:
        return start, ends[closing]
    return start, _end_of_terminal(text, mark)


def _end_of_terminal(text: str, mark: _Mark) -> int:
    if not any(character.isupper() for character in text[mark.start : mark.end]):
        # typed in small letters: its case tells nothing, so the paragraph goes
        blank = _BLANK_LINE.search(text, mark.end)
        return blank.start() if blank else len(text)
    line_end = text.find("\n", mark.end)
    line_end = len(text) if line_end < 0 else line_end
    prose = _SMALL_WORD.search(text, mark.end, line_end)
    if prose is not None:
        return max(mark.end, mark.end + len(text[mark.end : prose.start()].rstrip(" \t")))
    end, place = line_end, line_end + 1
    while place < len(text):
        stop = text.find("\n", place)
        stop = len(text) if stop < 0 else stop
        line = text[place:stop]
        after_blank = not text[end:place].strip("\n \t") and text[end:place].count("\n") > 1
        if line.strip():
            if not _is_terminal(line) or (after_blank and not SECTION.search(line)):
                break
            end = stop
        place = stop + 1
    return end


def _lines_before(text: str, start: int) -> Iterator[tuple[int, int]]:
    while start > 0:
        line_end = start - 1
        start = text.rfind("\n", 0, line_end) + 1
        yield start, line_end


def _is_terminal(line: str) -> bool:
    """Whether a line looks like a terminal wrote it: no small letters but in at most one word in ten."""
    words = re.findall(r"[A-Za-z]{2,}", line)
    small = sum(1 for word in words if not word.isupper())
    return small * 10 <= len(words)

"""HTML as the text a person reads: elements, comments, scripts and styles gone, entities resolved, lines where blocks were.

What comes out holds nothing that a browser would take for a tag, however often it was escaped, and no control or invisible
formatting character. The time it takes grows with the length of the text and nothing else; the standard library's parser can be
made to look at a text again for each of its characters.
"""

from __future__ import annotations

import html
import re
import unicodedata
from typing import Final

BLOCKS: Final = frozenset(
    "address article aside blockquote br dd div dl dt fieldset figure footer form h1 h2 h3 h4 h5 h6 header hr li main nav ol p pre "  # noqa: SIM905
    "section table td th tr ul".split()
)
UNREAD: Final = ("script", "style", "template")
ROUNDS: Final = 8
_TAG: Final = re.compile(r"<(?=[A-Za-z/!?])")
_NAME: Final = re.compile(r"/?([A-Za-z][A-Za-z0-9]{0,15})?")
_ENTITY: Final = re.compile(r"&#?[A-Za-z0-9]")
_BLANKS: Final = re.compile(r"[ \t\u00a0]+")
_LINES: Final = re.compile(r" ?\n[ \n]*")
_SMALL: Final = {ord(letter): ord(letter.lower()) for letter in "ABCDEFGHIJKLMNOPQRSTUVWXYZ"}
_HIDDEN: Final = frozenset({"Cc", "Cf", "Cs", "Co", "Cn"})


def text_of(markup: str) -> str:
    """The text of an HTML fragment; plain text comes back as it is but for blanks and characters nobody sees."""
    text = markup
    for _ in range(ROUNDS):  # "&lt;b&gt;" is text to one system and a tag to the next
        if not _TAG.search(text) and not _ENTITY.search(text):
            break
        text, before = html.unescape(_without_tags(text)), text
        if text == before:
            break
    return _TAG.sub("", without_controls(text))


def _without_tags(text: str) -> str:
    parts = []
    place = 0
    ends = _Ends(text)
    while True:
        start = text.find("<", place)
        if start < 0:
            parts.append(text[place:])
            return "".join(parts)
        parts.append(text[place:start])
        put, place = _markup_at(text, start, ends)
        parts.append(put)


class _Ends:
    """Where marks end in a text; where the last of each stands is looked up once, so that none is searched for in vain again."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.lower = text.translate(_SMALL)  # of ASCII only, as elements are: lowering others may change a text's length
        self.last: dict[str, int] = {}

    def after(self, mark: str, start: int) -> int | None:
        """The place behind the next `mark` (in small letters); None where there is none."""
        if mark not in self.last:
            self.last[mark] = self.lower.rfind(mark)
        return self.lower.index(mark, start) + len(mark) if start <= self.last[mark] else None


def _markup_at(text: str, start: int, ends: _Ends) -> tuple[str, int]:
    """What stands for the markup at `start`, and where the text goes on. What is opened and never closed was no markup: only its
    bracket goes, for whoever wrote "pulse <Jim 60" meant something."""
    if _TAG.match(text, start) is None:
        return "<", start + 1
    if text.startswith("<!--", start):
        return "", ends.after("-->", start + 4) or start + 4
    found = _NAME.match(text, start + 1)
    name = (found[1] or "").lower() if found is not None else ""
    end = ends.after(">", start)
    if end is None:
        return "", start + 1
    if name in UNREAD and text[start + 1] != "/":
        closing = ends.after(f"</{name}", end)
        return "", end if closing is None else ends.after(">", closing) or closing
    return "\n" if name in BLOCKS else "", end


def without_controls(text: str) -> str:
    """Text without control, formatting and unpaired characters; line ends stay, runs of blanks become one."""
    kept = text.replace("\r\n", "\n").replace("\r", "\n").replace("\u2028", "\n").replace("\u2029", "\n")
    kept = "".join(character for character in kept if character in "\n\t" or unicodedata.category(character) not in _HIDDEN)
    return _LINES.sub("\n", _BLANKS.sub(" ", kept)).strip()

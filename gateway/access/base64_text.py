"""Text that stands in base64: where, in which encoding, and how to write it back. What is no text is left alone.

Reads either alphabet, with line breaks and without padding too; refuses nothing and keeps nothing.
Source: RFC 4648 §4 and §5; R4 base64Binary.
"""

from __future__ import annotations

import base64
import binascii
import re
from dataclasses import dataclass
from typing import Final

# The shortest criminal-history shape ("FBI/1234") is eleven characters of base64 and a sign of padding.
_RUN: Final = re.compile(r"[A-Za-z0-9+/_-]{11,}+(?:[ \t\r]*+\n\s*+[A-Za-z0-9+/_-]++)*+={0,2}")
_WHOLE: Final = re.compile(r"[A-Za-z0-9+/_\s-]{11,}+={0,2}\s*+")
_CONTROLS: Final = bytes({*range(32), 127} - {*b"\t\n\f\r"})
_BEYOND_ASCII: Final = bytes(range(128, 256))


@dataclass(frozen=True, slots=True)
class EncodedText:
    """A text that stood in base64. encoding: Python's name of its character encoding."""

    text: str
    encoding: str
    url_alphabet: bool
    padded: bool

    def encode(self, text: str) -> str:
        """Another text, written the same way."""
        content = text.encode(self.encoding, "replace")
        encoded = (base64.urlsafe_b64encode if self.url_alphabet else base64.b64encode)(content).decode()
        return encoded if self.padded else encoded.rstrip("=")


def is_base64(text: str) -> bool:
    """Whether all of a text looks like base64, in lines or not."""
    return _RUN.fullmatch(text) is not None


def base64_in(text: str) -> list[tuple[int, int]]:
    """Where base64 may stand in a text: the whole, however it was broken into lines, or runs inside it."""
    if _WHOLE.fullmatch(text) and read_base64(text) is not None:
        return [(0, len(text))]
    return [match.span() for match in _RUN.finditer(text)]


def read_base64(encoded: str) -> EncodedText | None:
    """The text in some base64, or None where it is no base64 or no text."""
    digits = "".join(encoded.split()).rstrip("=")
    url_alphabet = "-" in digits or "_" in digits
    standard = digits.replace("-", "+").replace("_", "/") if url_alphabet else digits
    whole = len(standard) - (len(standard) % 4 == 1)
    try:
        content = binascii.a2b_base64(standard[:whole] + "=" * (-whole % 4))
    except ValueError:
        return None
    for encoding in _encodings_of(content):
        try:
            return EncodedText(content.decode(encoding), encoding, url_alphabet, not url_alphabet or "=" in encoded)
        except UnicodeDecodeError:
            continue
    return None


def _encodings_of(content: bytes) -> tuple[str, ...]:
    """The encodings a text may be in, likeliest first; none for what is no text."""
    if content[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return ("utf-16-le",) if content[:1] == b"\xff" else ("utf-16-be",)
    if b"\0" in content:  # UTF-16 without its mark: every other byte of a text in Latin letters is 0
        even, odd = content[::2].count(0), content[1::2].count(0)
        if min(even, odd) or max(even, odd) * 10 < len(content) * 4:
            return ()
        return ("utf-16-be",) if even else ("utf-16-le",)
    # of random bytes one in nine is a control character, and a third are letters of ASCII
    if len(content.translate(None, _CONTROLS)) * 20 < len(content) * 19:
        return ()
    in_ascii = len(content.translate(None, _CONTROLS + _BEYOND_ASCII))
    return ("utf-8", "latin-1") if in_ascii * 10 >= len(content) * 7 else ("utf-8",)

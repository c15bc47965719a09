"""The narrative's XHTML: well-formed, only what R4 lets stand there, nothing that runs or loads.

Parses with expat; document types are refused, and so are HTML's named characters, which XML does not know. It does not repair.
Source: FHIR R4 narrative (https://hl7.org/fhir/R4/narrative.html), invariants txt-1 and txt-2.
"""

from __future__ import annotations

import re
from typing import Any, Final
from xml.parsers import expat

_XHTML: Final = "http://www.w3.org/1999/xhtml"


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


_ELEMENTS: Final = _words(
    "div p br h1 h2 h3 h4 h5 h6 a span b em i strong small big tt dfn q var abbr acronym cite blockquote hr address bdo kbd sub sup"
    " ul ol li dl dt dd pre table caption colgroup col thead tr tfoot tbody th td code samp img map area ins del"
)
_ANY: Final = _words("title style class id lang xml:lang dir accesskey tabindex xmlns xml:space align")
_OF_TABLES: Final = _words(
    "span width valign char charoff abbr axis headers scope rowspan colspan summary frame rules cellspacing cellpadding border height"
)
_OF_ELEMENT: Final = {
    **dict.fromkeys(_words("table caption colgroup col thead tr tfoot tbody th td"), _OF_TABLES),
    "a": _words("href name rel rev target type hreflang charset coords shape"),
    "img": _words("src alt width height longdesc usemap ismap border hspace vspace"),
    "map": _words("name"),
    "area": _words("shape coords href nohref alt"),
    **dict.fromkeys(_words("q blockquote ins del"), _words("cite datetime")),
    **dict.fromkeys(_words("ul ol li"), _words("type start value compact")),
    "pre": _words("width"),
    "hr": _words("size width noshade"),
    "br": _words("clear"),
}
_SCHEME: Final = re.compile(r"[\s\x00-\x20]*+([A-Za-z][A-Za-z0-9+.\-]*):", re.ASCII)
_SAFE_SCHEMES: Final = frozenset({"http", "https", "mailto", "tel", "ftp", "urn", "cid"})
_DEPTH: Final = 200


class _Refused(Exception):
    """Carries the invariant's key and a sentence."""

    def __init__(self, key: str, text: str) -> None:
        super().__init__(text)
        self.key, self.text = key, text


def narrative_fault(div: str) -> tuple[str, str] | None:
    """What is wrong with Narrative.div, as (invariant key, sentence), or None."""
    if not div.startswith("<div"):
        return "txt-1", "The narrative is one XHTML div."
    reader = _Reader()
    parser = expat.ParserCreate(namespace_separator=" ")
    parser.StartElementHandler = reader.start
    parser.EndElementHandler = reader.end
    parser.CharacterDataHandler = reader.text
    parser.StartDoctypeDeclHandler = reader.refuse
    parser.ProcessingInstructionHandler = reader.refuse
    try:
        parser.Parse(div.encode("utf-8", "replace"), True)
    except expat.ExpatError:
        return "txt-1", "The narrative is not well-formed XML."
    except _Refused as refused:
        return refused.key, refused.text
    return None if reader.has_content else ("txt-2", "The narrative has no content that can be read.")


class _Reader:
    def __init__(self) -> None:
        self.depth = 0
        self.has_content = False

    def start(self, name: str, attributes: dict[str, str]) -> None:
        space, _, local = name.rpartition(" ")
        self.depth += 1
        if space != _XHTML or (self.depth == 1 and local != "div"):
            raise _Refused("txt-1", "The narrative is one div in the XHTML namespace.")
        if local not in _ELEMENTS or self.depth > _DEPTH:
            raise _Refused("txt-1", "The narrative holds an element that may not stand there.")
        allowed = _OF_ELEMENT.get(local, frozenset())
        for written, value in attributes.items():
            attribute = written.replace("http://www.w3.org/XML/1998/namespace ", "xml:")
            if attribute not in _ANY and attribute not in allowed:
                raise _Refused("txt-1", "The narrative holds an attribute that may not stand there.")
            if not _is_harmless(local, attribute, value):
                raise _Refused("txt-1", "The narrative holds an address or a style that may not stand there.")
        self.has_content = self.has_content or local == "img"

    def end(self, _name: str) -> None:
        self.depth -= 1

    def text(self, data: str) -> None:
        self.has_content = self.has_content or not data.isspace()

    def refuse(self, *_parts: Any) -> None:
        raise _Refused("txt-1", "The narrative holds a document type or a processing instruction.")


def _is_harmless(element: str, attribute: str, value: str) -> bool:
    if attribute == "style":
        folded = "".join(value.lower().split())
        return not any(word in folded for word in ("expression(", "javascript:", "url(", "@import", "behavior:", "-moz-binding"))
    if attribute not in ("href", "src", "cite", "longdesc"):
        return True
    # Browsers drop control characters inside a scheme before they read it.
    scheme = _SCHEME.match("".join(c for c in value if c > " "))
    if scheme is None:
        return True
    word = scheme[1].lower()
    return word in _SAFE_SCHEMES or (
        word == "data" and element == "img" and value.lower().startswith("data:image/") and "svg" not in value[:24].lower()
    )

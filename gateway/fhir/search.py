"""Reading a search: parameters to a query, without knowing who asks.

Refuses modifiers, prefixes and parameters that are not offered where ignoring them would widen the result (R4 search, 3.1.1.1.2);
an unknown parameter is refused under strict handling and otherwise left out of the self link. A value with a control character
matches nothing.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Final

from gateway.access.index import CODE_SYSTEMS, local_target
from gateway.access.records import SearchRequest
from gateway.access.times import span_of
from gateway.errors import Malformed
from gateway.fhir.interactions import search_parameters
from gateway.store.criteria import Query, Reference, Span, Token
from profiles.issues import Issue

DEFAULT_COUNT: Final = 20
MAX_COUNT: Final = 100
MAX_PARAMETERS: Final = 30
MAX_ALTERNATIVES: Final = 50
# What a reference without a type can point at, by parameter; R4 search parameter targets that this gateway holds.
_TARGETS: Final = {
    "owner": ("Organization",),
    "requester": ("Organization",),
    "performer": ("Organization",),
    "patient": ("Patient",),
    "subject": ("Patient",),
    "focus": ("ServiceRequest",),
    "encounter": ("Encounter",),
    "target": ("Task", "ServiceRequest", "Patient", "Encounter", "Consent", "Flag", "Location", "RelatedPerson"),
}
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_RESULT: Final = frozenset({"_count", "_page", "_format", "_sort"})


def parse_search(resource_type: str, params: Sequence[tuple[str, str]], *, base_url: str, strict: bool) -> SearchRequest:
    """Read the parameters of one type search.

    params: (name, value) pairs as sent, decoded. base_url: of the FHIR endpoint. strict: `Prefer: handling=strict`.
    Raises Malformed with one issue a fault.
    """
    if len(params) > MAX_PARAMETERS:
        raise Malformed((_fault("", "too-costly", f"A search has at most {MAX_PARAMETERS} parameters."),))
    reader = _Reader(resource_type, base_url.rstrip("/"), strict)
    for name, value in params:
        reader.take(name, value)
    return reader.request()


def _fault(name: str, code: str, text: str) -> Issue:
    return Issue("error", code, text, (), f"?{name}" if name else None)


class _Reader:
    """Collects what one search asks; faults are gathered, so that a caller learns of all at once."""

    def __init__(self, resource_type: str, base_url: str, strict: bool) -> None:
        self.type, self.base_url, self.strict = resource_type, base_url, strict
        self.known = search_parameters(resource_type)
        self.all_of: list[list[Token | Reference]] = []
        self.spans: list[Span] = []
        self.ids: list[frozenset[str]] = []
        self.used: list[tuple[str, str]] = []
        self.faults: list[Issue] = []
        self.count = DEFAULT_COUNT
        self.cursor: str | None = None

    def take(self, name: str, value: str) -> None:
        """Read one parameter."""
        plain, _, modifier = name.partition(":")
        if name in _RESULT:
            self._take_result(name, value)
        elif plain not in self.known:
            self._unknown(name)
        elif not value.strip(" "):
            self._unknown(name, "The parameter has no value.")
        elif modifier and not (self.known[plain] == "reference" and modifier in _TARGETS.get(plain, ())):
            self.faults.append(_fault(plain, "not-supported", "This modifier is not offered here."))
        else:
            self._take_criterion(plain, value, modifier)
            self.used.append((name, value))

    def request(self) -> SearchRequest:
        """The finished search. Raises Malformed with everything that was wrong."""
        if self.faults:
            raise Malformed(self.faults)
        if self.count != DEFAULT_COUNT:
            self.used.append(("_count", str(self.count)))
        all_of = tuple([wanted for wanted in alternatives if _may_be_stored(wanted)] for alternatives in self.all_of)
        ids = tuple(frozenset(wanted for wanted in some if not _CONTROL.search(wanted)) for some in self.ids)
        query = Query(self.type, all_of, tuple(self.spans), ids)
        return SearchRequest(query, tuple(self.used), self.count, self.cursor, self.base_url)

    def _unknown(self, name: str, text: str = "This search parameter is not offered here.") -> None:
        if self.strict:
            self.faults.append(_fault(name[:64], "not-supported", text))

    def _take_result(self, name: str, value: str) -> None:
        if name == "_count":
            if value.isascii() and value.isdigit() and len(value) <= 9:
                self.count = min(int(value), MAX_COUNT)
            else:
                self.faults.append(_fault(name, "value", "_count is a whole number."))
        elif name == "_page":
            self.cursor = value
        elif name == "_sort" and value != "_lastUpdated":
            self._unknown(name, "Results are sorted by _lastUpdated only.")
        elif name == "_format" and value not in ("json", "application/json", "application/fhir+json", "application/fhir json"):
            self.faults.append(_fault(name, "not-supported", "Only JSON is offered."))

    def _alternatives(self, name: str, value: str) -> list[str]:
        parts = [part for part in _split(value, ",") if part]
        if len(parts) > MAX_ALTERNATIVES:
            self.faults.append(_fault(name, "too-costly", f"A parameter has at most {MAX_ALTERNATIVES} values."))
            return []
        return parts

    def _take_criterion(self, name: str, value: str, modifier: str) -> None:
        readers: dict[str, Callable[[str, str, str], None]] = {
            "token": self._token,
            "reference": self._reference,
            "date": self._last_updated,
        }
        (self._id if name == "_id" else readers[self.known[name]])(name, value, modifier)

    def _id(self, _name: str, value: str, _modifier: str) -> None:
        self.ids.append(frozenset(_unescaped(part) for part in self._alternatives("_id", value)))

    def _token(self, name: str, value: str, _modifier: str) -> None:
        wanted: list[Token | Reference] = []
        implied = CODE_SYSTEMS.get((self.type, name))
        for part in self._alternatives(name, value):
            pieces = [_unescaped(piece) for piece in _split(part, "|")]
            if len(pieces) == 1:
                wanted.append(Token(name, None, pieces[0]))
            elif len(pieces) == 2 and pieces[1]:
                wanted.append(Token(name, pieces[0] if pieces[0] or implied is None else implied, pieces[1]))
            elif len(pieces) == 2 and pieces[0]:
                wanted.append(Token(name, pieces[0], None))
            else:
                self.faults.append(_fault(name, "value", "A token is code, system|code, |code or system|."))
        self.all_of.append(wanted)

    def _reference(self, name: str, value: str, modifier: str) -> None:
        wanted: list[Token | Reference] = []
        for part in self._alternatives(name, value):
            address = _unescaped(part).removeprefix(f"{self.base_url}/")
            targets = [local_target(address)] if "/" in address else [f"{kind}/{address}" for kind in _TARGETS.get(name, ())]
            # an address of another server, or of no form at all, is one nothing here refers to
            wanted += [Reference(name, target) for target in targets if target and (not modifier or target.startswith(f"{modifier}/"))]
        self.all_of.append(wanted)

    def _last_updated(self, name: str, value: str, _modifier: str) -> None:
        parts = self._alternatives(name, value)
        prefix = next((known for known in ("eq", "gt", "ge", "lt", "le") if value.startswith(known)), "")
        span = span_of(value.removeprefix(prefix).replace(" ", "+")) if len(parts) == 1 else None
        if span is None:
            self.faults.append(_fault(name, "value", "_lastUpdated is one date or instant with eq, gt, ge, lt or le before it."))
        else:
            self.spans.append(_span(prefix or "eq", *span))


def _may_be_stored(wanted: Token | Reference) -> bool:
    """Whether anything could have this value: one with a control character matches nothing, and PostgreSQL takes no NUL."""
    values = (wanted.target,) if isinstance(wanted, Reference) else (wanted.system, wanted.code)
    return not any(_CONTROL.search(value) for value in values if value)


def _span(prefix: str, start: datetime, end: datetime) -> Span:
    """The times a prefix wants of the span a value stands for (R4 search, 3.1.1.4.6)."""
    spans = {"eq": Span(start, end), "gt": Span(end, None), "ge": Span(start, None), "lt": Span(None, start), "le": Span(None, end)}
    return spans[prefix]


def _split(value: str, separator: str) -> list[str]:
    r"""Split at a separator that is not escaped by a backslash (R4 search, 3.1.1.4.0.1)."""
    parts, part, escaped = [], [], False
    for character in value:
        if escaped:
            part += ["\\", character]
            escaped = False
        elif character == "\\":
            escaped = True
        elif character == separator:
            parts.append("".join(part))
            part = []
        else:
            part.append(character)
    return [*parts, "".join([*part, "\\" if escaped else ""])]


def _unescaped(value: str) -> str:
    left, escaped = [], False
    for character in value:
        if character == "\\" and not escaped:
            escaped = True
        else:
            left.append(character)
            escaped = False
    return "".join(left)

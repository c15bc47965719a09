"""The invariants of R4 data types, natively: key -> what must hold of the JSON object, and words for when it does not.

Written by hand from the published expressions, because FHIRPath costs 20 to 90 microseconds each. A rule sees one object and never
raises on a malformed one: what is wrong with its shape is another rule's finding.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, NamedTuple

from profiles.primitives import PRIMITIVES, not_after
from profiles.reading import child, children, count, has, has_choice, number, text

_UCUM: Final = "http://unitsofmeasure.org"


class Rule(NamedTuple):
    """holds: True when the object keeps the rule. says: a sentence without data."""

    holds: Callable[[dict[str, Any]], bool]
    says: str


def _period_runs_forward(node: dict[str, Any]) -> bool:
    start, end = text(node, "start"), text(node, "end")
    if not start or not end or PRIMITIVES["dateTime"](start) or PRIMITIVES["dateTime"](end):
        return True
    return not_after(start, end)


def _range_runs_upward(node: dict[str, Any]) -> bool:
    low, high = child(node, "low"), child(node, "high")
    bottom, top = number(low, "value"), number(high, "value")
    if bottom is None or top is None or any(low.get(k) != high.get(k) for k in ("system", "code", "unit")):
        return True  # other units: deciding would need conversion
    return bottom <= top


def _is_ucum(node: dict[str, Any]) -> bool:
    return (has(node, "code") or not has(node, "value")) and (not has(node, "system") or text(node, "system") == _UCUM)


def _is_not_negative(name: str) -> Callable[[dict[str, Any]], bool]:
    def holds(node: dict[str, Any]) -> bool:
        value = number(node, name)
        return value is None or value >= 0

    return holds


def _needs(name: str, other: str) -> Callable[[dict[str, Any]], bool]:
    return lambda node: not has(node, name) or has(node, other)


def _is_positive_ucum(node: dict[str, Any]) -> bool:
    value = number(node, "value")
    return _is_ucum(node) and (value is None or value > 0)


def _is_count(node: dict[str, Any]) -> bool:
    value = node.get("value")
    return _is_ucum(node) and (not has(node, "code") or text(node, "code") == "1") and "." not in str(value)


def _ratio_is_whole(node: dict[str, Any]) -> bool:
    numerator, denominator = has(node, "numerator"), has(node, "denominator")
    return numerator == denominator and (numerator or has(node, "extension"))


def _parameter_has_one_content(node: dict[str, Any]) -> bool:
    part, value, resource = has(node, "part"), has_choice(node, "value"), has(node, "resource")
    return (not value and not resource) if part else value != resource


def _offset_goes_with_when(node: dict[str, Any]) -> bool:
    when = node.get("when")
    return not has(node, "offset") or (
        isinstance(when, list) and bool(when) and not any(w in ("C", "CM", "CD", "CV") for w in when if isinstance(w, str))
    )


def _trigger_names_what_it_needs(node: dict[str, Any]) -> bool:
    kind = text(node, "type")
    return (
        (kind != "named-event" or has(node, "name"))
        and (kind != "periodic" or has_choice(node, "timing"))
        and (not kind.startswith("data-") or has(node, "data"))
    )


TYPE_RULES: Final[dict[str, Rule]] = {
    "age-1": Rule(_is_positive_ucum, "An age is a positive quantity in UCUM units with a code."),
    "att-1": Rule(_needs("data", "contentType"), "An attachment with data names its content type."),
    "cnt-3": Rule(_is_count, "A count is a whole number with the UCUM code 1."),
    "cpt-2": Rule(_needs("value", "system"), "A contact point with a value names its system."),
    "dis-1": Rule(_is_ucum, "A distance is in UCUM units with a code."),
    "drq-1": Rule(lambda n: has(n, "path") != has(n, "searchParam"), "Either path or searchParam is needed, not both."),
    "drq-2": Rule(lambda n: has(n, "path") != has(n, "searchParam"), "Either path or searchParam is needed, not both."),
    "drt-1": Rule(
        lambda n: not has(n, "code") or (text(n, "system") == _UCUM and has(n, "value")), "A duration with a code is in UCUM units."
    ),
    "exp-1": Rule(lambda n: has(n, "expression") or has(n, "reference"), "An expression has a text or a reference."),
    "Parameters.parameter:inv-1": Rule(_parameter_has_one_content, "A parameter has either parts, or a value, or a resource."),
    "per-1": Rule(_period_runs_forward, "The start of a period is not after its end, in comparable precision."),
    "qty-3": Rule(_needs("code", "system"), "A quantity with a unit code names the code's system."),
    "rat-1": Rule(_ratio_is_whole, "A ratio has numerator and denominator, or neither and an extension."),
    "rng-2": Rule(_range_runs_upward, "The low end of a range is not above its high end."),
    "sqty-1": Rule(lambda n: not has(n, "comparator"), "A comparator may not stand here."),
    "tim-1": Rule(lambda n: not has(n, "duration") or has(n, "durationUnit"), "A duration needs its unit."),
    "tim-2": Rule(lambda n: not has(n, "period") or has(n, "periodUnit"), "A period needs its unit."),
    "tim-4": Rule(_is_not_negative("duration"), "A duration is not negative."),
    "tim-5": Rule(_is_not_negative("period"), "A period is not negative."),
    "tim-6": Rule(_needs("periodMax", "period"), "periodMax needs period."),
    "tim-7": Rule(_needs("durationMax", "duration"), "durationMax needs duration."),
    "tim-8": Rule(_needs("countMax", "count"), "countMax needs count."),
    "tim-9": Rule(_offset_goes_with_when, "An offset needs when, and not a meal itself."),
    "tim-10": Rule(lambda n: not has(n, "timeOfDay") or not has(n, "when"), "timeOfDay and when exclude each other."),
    "trd-1": Rule(lambda n: not has(n, "data") or not has_choice(n, "timing"), "A trigger has data or timing, not both."),
    "trd-2": Rule(_needs("condition", "data"), "A condition needs data."),
    "trd-3": Rule(_trigger_names_what_it_needs, "A trigger has the element its type asks for."),
    # Of the elements of a collection the rule stands on each one.
    "org-2": Rule(lambda n: text(n, "use") != "home", "An organization's address is never its home."),
    "org-3": Rule(lambda n: text(n, "use") != "home", "An organization's contact point is never at home."),
    "con-1": Rule(lambda n: has(n, "summary") or has(n, "assessment"), "A stage has a summary or an assessment."),
    "con-2": Rule(lambda n: has(n, "code") or has(n, "detail"), "Evidence has a code or details."),
    "obs-3": Rule(lambda n: has(n, "low") or has(n, "high") or has(n, "text"), "A reference range has low, high or text."),
    "pat-1": Rule(
        lambda n: any(has(n, k) for k in ("name", "telecom", "address", "organization")),
        "A contact has a name, telecom, address or organization.",
    ),
    "qrs-1": Rule(
        lambda n: not (has(n, "answer") and has(n, "item")), "An item has answers or items; items under an answer stand in the answer."
    ),
    "sev-1": Rule(lambda n: not has(n, "name") or not has(n, "query"), "An entity has a name or a query, not both."),
    "app-1": Rule(lambda n: has(n, "type") or has(n, "actor"), "A participant has a type or an actor."),
    "bdl-5": Rule(
        lambda n: any(has(n, k) for k in ("resource", "request", "response")), "An entry has a resource, a request or a response."
    ),
    "bdl-8": Rule(lambda n: "/_history/" not in text(n, "fullUrl"), "fullUrl names no version."),
}

_CHOICES: Final = frozenset({"choice", "open-choice"})
_BOUNDED: Final = frozenset({"boolean", "decimal", "integer", "string", "text", "url", "open-choice"})
_WITH_OPTIONS: Final = frozenset({"choice", "open-choice", "decimal", "integer", "date", "dateTime", "time", "string", "quantity"})


def _is(*kinds: str) -> Callable[[dict[str, Any]], bool]:
    return lambda node: text(node, "type") in kinds


def _item_nests_rightly(node: dict[str, Any]) -> bool:
    kind = text(node, "type")
    return (kind != "group" or has(node, "item")) and (kind != "display" or not has(node, "item"))


TYPE_RULES.update(
    {
        "que-1": Rule(_item_nests_rightly, "A group has items, a display has none."),
        "que-3": Rule(lambda n: not _is("display")(n) or not has(n, "code"), "A display item has no code."),
        "que-4": Rule(lambda n: not has(n, "answerOption") or not has(n, "answerValueSet"), "Options stand in the item or in a value set."),
        "que-5": Rule(
            lambda n: text(n, "type") in _WITH_OPTIONS or not (has(n, "answerValueSet") or has(n, "answerOption")),
            "Only items of a type that is chosen or written have options.",
        ),
        "que-6": Rule(
            lambda n: not _is("display")(n) or not (has(n, "required") or has(n, "repeats")),
            "A display item is neither required nor repeated.",
        ),
        "que-7": Rule(lambda n: text(n, "operator") != "exists" or has(n, "answerBoolean"), "The operator exists compares with a boolean."),
        "que-8": Rule(lambda n: not _is("group", "display")(n) or not has(n, "initial"), "Groups and displays have no initial value."),
        "que-9": Rule(lambda n: not _is("display")(n) or not has(n, "readOnly"), "A display item is never readOnly."),
        "que-10": Rule(lambda n: text(n, "type") in _BOUNDED or not has(n, "maxLength"), "Only simple items have a maximum length."),
        "que-11": Rule(lambda n: not has(n, "answerOption") or not has(n, "initial"), "An item with options marks the initial one there."),
        # The published expression counts "> 2" where its words say "more than one"; stricter would refuse what HL7 accepts.
        "que-12": Rule(lambda n: count(n, "enableWhen") <= 2 or has(n, "enableBehavior"), "Several conditions need enableBehavior."),
        "que-13": Rule(
            lambda n: n.get("repeats") is True or len(children(n, "initial")) <= 1, "Only a repeating item has several initial values."
        ),
    }
)

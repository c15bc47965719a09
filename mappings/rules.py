"""The shape of a mapping table: resources, groups and rules as frozen values, read from a format's `table.json`.

A rule fills one value: {id, target, from, map, as, function, required, when, value}. A group repeats its rules for each item of
a source list (`each`) or holds them under a condition (`when`). What a rule may say is capped here; a row that would
need more names a function (mappings/functions), which has a test of its own.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

from mappings.model import MappingDefect

RULE_MEMBERS: Final = frozenset({"id", "target", "from", "map", "as", "function", "required", "when", "value"})
GROUP_MEMBERS: Final = frozenset({"each", "target", "when", "rules"})
RESOURCE_MEMBERS: Final = frozenset({"name", "type", "data_class", "each", "when", "rules"})
WITHHELD_MEMBERS: Final = frozenset({"numbers", "phrases", "texts"})
CONDITIONS: Final = frozenset({"present", "absent", "equals", "in"})
FORMS: Final = frozenset({"code", "coding", "concept", "text"})
EVERY: Final = "*"  # in the path of a withheld field: each entry of a list
STEP: Final = re.compile(r"(_?[A-Za-z][A-Za-z0-9_-]*)(?:\[([a-z0-9-]+)\])?")


@dataclass(frozen=True, slots=True)
class Condition:
    """A test of one source path. kind: present, absent, equals or in; values: what it is compared with."""

    path: str
    kind: str
    values: tuple[Any, ...] = ()


@dataclass(frozen=True, slots=True)
class Step:
    """One step of a target path; slot: name of the list entry ("name[0]", "identifier[case]"), None where there is no list."""

    name: str
    slot: str | None


@dataclass(frozen=True, slots=True)
class Rule:
    """One value: from `sources` (none: the constant `value`) through `code_map` or `function` to `target`."""

    id: str
    target: str
    steps: tuple[Step, ...]
    sources: tuple[str, ...]
    code_map: str | None
    form: str
    function: str | None
    required: bool
    when: tuple[Condition, ...]
    value: Any


@dataclass(frozen=True, slots=True)
class Group:
    """Rules that repeat for each item of a list, or that share a condition. steps: where each item's element stands."""

    each: str | None
    steps: tuple[Step, ...]
    when: tuple[Condition, ...]
    members: tuple[Rule | Group, ...]


@dataclass(frozen=True, slots=True)
class ResourceRules:
    """The rules of one resource; with `each` one resource an item, named <name>-1, <name>-2 and so on. type None: not a resource."""

    name: str
    type: str | None
    data_class: str
    group: Group


@dataclass(frozen=True, slots=True)
class Collect:
    """References gathered after the rules ran: every resource named in `of` (empty: all others) into one list of `resource`."""

    id: str
    resource: str
    target: str
    of: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Order:
    """Two instants of which the first may not be the later one. each: list the relative paths stand in."""

    id: str
    each: str | None
    earlier: str
    later: str
    text: str


@dataclass(frozen=True, slots=True)
class Withheld:
    """What nobody but the sender reads, also where free text repeats it.

    numbers, phrases: source paths of its fields, with * for list entries. texts: names of the schema's $defs that are free text.
    """

    numbers: tuple[str, ...]
    phrases: tuple[str, ...]
    texts: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Key:
    """Source paths of what a message is known by. revision: None where messages of one number are merged by their parts."""

    number: str
    revision: str | None


@dataclass(frozen=True, slots=True)
class Table:
    """A whole mapping table.

    reader: name of the one that makes the tree of a message; None where the message is one. checks: names of registered checks.
    withheld: what no other party reads, by the message's own fields.
    """

    format: str
    version: str
    reader: str | None
    key: Key
    resources: tuple[ResourceRules, ...]
    collects: tuple[Collect, ...]
    orders: tuple[Order, ...]
    checks: tuple[str, ...]
    withheld: Withheld


def walk(group: Group, each: tuple[str, ...] = ()) -> Iterator[tuple[Rule, tuple[Group, ...], tuple[str, ...]]]:
    """Every rule of a group with the groups it stands in and the `each` paths around it, outermost first."""
    yield from _walk(group, (), each)


def _walk(group: Group, around: tuple[Group, ...], each: tuple[str, ...]) -> Iterator[tuple[Rule, tuple[Group, ...], tuple[str, ...]]]:
    inside = (*around, group)
    repeats = (*each, group.each) if group.each else each
    for member in group.members:
        if isinstance(member, Rule):
            yield member, inside, repeats
        else:
            yield from _walk(member, inside, repeats)


def read_table(raw: dict[str, Any]) -> Table:
    """Read a table; raises MappingDefect for a member or form the language does not have."""
    defects: list[str] = []
    resources = tuple(_resource(entry, defects) for entry in raw["resources"])
    collects = tuple(Collect(c["id"], c["resource"], c["target"], tuple(c["of"])) for c in raw.get("collect", ()))
    orders = tuple(Order(o["id"], o.get("each"), o["earlier"], o["later"], o["text"]) for o in raw.get("orders", ()))
    withheld = raw.get("withheld", {})
    _only(withheld, WITHHELD_MEMBERS, "withheld", defects)
    if defects:
        raise MappingDefect(defects)
    key, checks = Key(raw["key"]["number"], raw["key"].get("revision")), tuple(raw.get("checks", ()))
    kept = Withheld(*(tuple(withheld.get(name, ())) for name in ("numbers", "phrases", "texts")))
    return Table(raw["format"], raw["version"], raw.get("reader"), key, resources, collects, orders, checks, kept)


def _resource(raw: dict[str, Any], defects: list[str]) -> ResourceRules:
    _only(raw, RESOURCE_MEMBERS, f"resource {raw.get('name')}", defects)
    if raw.get("type") and not raw.get("data_class"):
        defects.append(f"resource {raw.get('name')}: no data class")
    group = Group(raw.get("each"), (), _conditions(raw.get("when"), defects), _members(raw["rules"], defects))
    return ResourceRules(raw["name"], raw.get("type"), raw.get("data_class", ""), group)


def _members(raw: list[dict[str, Any]], defects: list[str]) -> tuple[Rule | Group, ...]:
    return tuple(_group(entry, defects) if "rules" in entry else _rule(entry, defects) for entry in raw)


def _group(raw: dict[str, Any], defects: list[str]) -> Group:
    _only(raw, GROUP_MEMBERS, f"group {raw.get('each') or raw.get('when')}", defects)
    steps = _steps(raw["target"], defects) if "target" in raw else ()
    return Group(raw.get("each"), steps, _conditions(raw.get("when"), defects), _members(raw["rules"], defects))


def _rule(raw: dict[str, Any], defects: list[str]) -> Rule:
    name = str(raw.get("id") or "")
    if not name:
        defects.append(f"a rule has no id: {sorted(raw)}, target {raw.get('target')}")
    _only(raw, RULE_MEMBERS, f"rule {name}", defects)
    if ("value" in raw) == ("from" in raw):
        defects.append(f"rule {name}: exactly one of value and from is needed")
    form = raw.get("as", "code")
    if form not in FORMS:
        defects.append(f"rule {name}: unknown form {form}")
    source = raw.get("from", [])
    sources = (source,) if isinstance(source, str) else tuple(source)
    if len(sources) > 1 and not raw.get("function"):
        defects.append(f"rule {name}: several sources need a function")
    if raw.get("map") and raw.get("function"):
        defects.append(f"rule {name}: map and function exclude each other")
    if not raw.get("target"):
        defects.append(f"rule {name}: no target")
    when = _conditions(raw.get("when"), defects)
    target = str(raw.get("target") or "none")
    steps = _steps(target, defects)
    return Rule(name, target, steps, sources, raw.get("map"), form, raw.get("function"), bool(raw.get("required")), when, raw.get("value"))


def _steps(target: str, defects: list[str]) -> tuple[Step, ...]:
    steps = []
    for part in target.split("."):
        match = STEP.fullmatch(part)
        if match is None:
            defects.append(f"target {target}: {part} is no path step")
            continue
        steps.append(Step(match[1], match[2]))
    return tuple(steps)


def _conditions(raw: Any, defects: list[str]) -> tuple[Condition, ...]:
    if raw is None:
        return ()
    return tuple(_condition(entry, defects) for entry in (raw if isinstance(raw, list) else [raw]))


def _condition(raw: dict[str, Any], defects: list[str]) -> Condition:
    kinds = CONDITIONS & set(raw)
    if len(kinds) != 1 or set(raw) - kinds - {"path"}:
        defects.append(f"condition {sorted(raw)}: a path and one of {', '.join(sorted(CONDITIONS))} is needed")
        return Condition("/", "present")
    kind = next(iter(kinds))
    if kind in ("present", "absent"):
        return Condition(raw[kind], kind)
    return Condition(raw["path"], kind, tuple(raw["in"]) if kind == "in" else (raw["equals"],))


def _only(raw: dict[str, Any], known: frozenset[str], what: str, defects: list[str]) -> None:
    defects.extend(f"{what}: unknown member {name}" for name in sorted(set(raw) - known))

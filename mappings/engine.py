"""A message format as one object: its published schema, what is wrong with a message, and the message as FHIR R4.

Everything is compiled when the format is loaded; a defect of the shipped files stops the load. It knows no HTTP, no store,
no clock and no other party: the same message always gives the same result.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from decimal import Decimal
from typing import Any, Final

from mappings.checker import defects_of
from mappings.code_maps import CodeMap
from mappings.compile import compile_resource
from mappings.functions import Fault
from mappings.message_check import MAX_FAULTS, compile_schema, named_faults, order_faults, reserved_texts, unknown_fields
from mappings.model import RESERVED, MapIssue, Mapped, MappingDefect, TraceRow
from mappings.readers.json_pointer import compile_path, is_relative, values
from mappings.readers.reader import Merge, Reader, View
from mappings.rules import Collect, Group, ResourceRules, Rule, Table
from mappings.trace import Run
from mappings.withheld import Withholding

ROUTING: Final = "routing"
JUSTICE: Final = "JUSTICE"
TAKEN_OUT: Final = "The text repeats a case number, statute or offence that stays with the sender; it was removed from what providers read."


class Format:
    """One message format. name: as in `/intake/<name>`. schema: the published JSON Schema, with `examples`."""

    def __init__(
        self,
        table: Table,
        schema: dict[str, Any],
        maps: Mapping[str, CodeMap],
        reader: Reader | None = None,
        view_schema: Mapping[str, Any] | None = None,
    ) -> None:
        """Compile; raises MappingDefect naming everything that is wrong with table, maps and schema.

        reader, view_schema: of a format whose table reads another tree than the message, and what that tree may hold.
        """
        defects = defects_of(table, maps, schema, view_schema)
        if (table.key.revision is None) != (reader is not None):
            defects.append("a key has a revision, or a reader that merges messages by their parts")
        if defects:
            raise MappingDefect(defects)
        self._reader = reader
        self.name = table.format
        self.version = table.version
        self.schema = schema
        self.table = table
        self._schema_faults = compile_schema(schema)
        self._builders = [(compile_resource(resource, maps), _is_senders_own(resource)) for resource in table.resources]
        self._withholding = Withholding(table.withheld, schema)
        self._number = compile_path(table.key.number)
        self._revision = compile_path(table.key.revision) if table.key.revision is not None else None
        self._elements = _elements_by_field(table, reader.fields if reader is not None else {})
        self._data_classes = {resource.name: resource.data_class for resource in table.resources if resource.type}

    @property
    def merges(self) -> bool:
        """Whether a message is one more part of what is known, ordered by its parts' time stamps, and no numbered revision."""
        return self._reader is not None

    @property
    def key_field(self) -> str:
        """The field of the schema that has the key."""
        return self.table.key.number if self._reader is None else self._reader.fields[self.table.key.number]

    def key(self, source: Mapping[str, Any]) -> tuple[str, int]:
        """Request number and revision of a message that `check` found good; where a format merges, 1. Raises ValueError for none."""
        number = self._number(self._tree(source), None)
        revision = 1 if self._revision is None else self._revision(source, None)
        if not isinstance(number, str) or not isinstance(revision, (int, Decimal)):
            raise ValueError("the message has no request number and revision")
        return number.strip(), int(revision)  # 1.0 is an integer to JSON Schema (§6.1.1)

    def plain(self, source: Any) -> Any:
        """The message with marked-up text as plain text; what comes after, the cut as well, reads it as a person would."""
        return source if self._reader is None else self._reader.plain(source)

    def merge(self, stored: dict[str, Any], sent: dict[str, Any]) -> Merge:
        """What is known after one more message of the same key; only of a format that merges."""
        if self._reader is None:
            raise TypeError(f"{self.name} has revisions")
        return self._reader.merge(stored, sent)

    def _tree(self, source: Any) -> Any:
        return source if self._reader is None else self._reader.view(source).tree

    def check(self, source: Any, strict: bool) -> list[MapIssue]:
        """Every fault of a message; fields the schema does not know are errors when strict, else information."""
        faults = list(self._schema_faults(source))
        unknown: list[MapIssue] = []
        if isinstance(source, dict):
            wrong = {fault.source for fault in faults}
            later = [*self._order_faults(source), *named_faults(self.table, source), *reserved_texts(source)]
            faults += [fault for fault in later if fault.source not in wrong]
            unknown = [_unknown(pointer, strict) for pointer in unknown_fields(self.schema, source)]
        if faults:
            # exact places cost a whole mapping: not for a message of nothing but faults
            places = self._places(source) if len(faults) < MAX_FAULTS else {}
            found = [MapIssue(f.severity, f.code, f.text, f.source, self._expression(f.source, places)) for f in faults]
            unknown = [*found, *unknown]
        return sorted(unknown, key=lambda issue: issue.severity != "error")[:MAX_FAULTS]

    def apply(self, source: Mapping[str, Any]) -> Mapped:
        """The message as resources, with the trace of every value. Never raises: what cannot be mapped is an issue."""
        for_others, removed = self._withholding.remove(source)
        view = None if self._reader is None else self._reader.view(source)
        own = source if view is None else view.tree
        others = own if for_others is source else self._tree(for_others)
        run = Run(own)
        made: dict[str, dict[str, Any]] = {}
        for build, is_senders_own in self._builders:
            run.message = own if is_senders_own else others
            made.update(build(run))
        if view is not None:
            _lead_back(run, view)
        if removed:
            places = _places_in(run.rows)
            run.issues += [MapIssue("warning", "business-rule", TAKEN_OUT, place, self._expression(place, places)) for place in removed]
        routing = made.pop(ROUTING, {})
        for collect in self.table.collects:
            _gather(collect, made, run)
        unused = [pointer for value, pointer in values(source, "") if value is not None and pointer not in run.read]
        return Mapped(made, run.rows, unused, run.issues, routing)

    def _order_faults(self, source: dict[str, Any]) -> list[Fault]:
        if self._reader is None or not self.table.orders:
            return list(order_faults(self.table, source))
        view = self._reader.view(source)
        return [fault._replace(source=view.source_of(fault.source)) for fault in order_faults(self.table, view.tree)]

    def data_class(self, local_name: str) -> str | None:
        """The data class of a resource by its local name ("consent-2"); None for a name the table does not make."""
        return self._data_classes.get(local_name) or self._data_classes.get(local_name.rpartition("-")[0])

    def _places(self, source: Any) -> dict[str, list[str]]:
        """Where each field of this very message goes: field → FHIRPaths with indexes."""
        return _places_in(self.apply(source).trace) if isinstance(source, dict) else {}

    def _expression(self, pointer: str, places: Mapping[str, list[str]]) -> tuple[str, ...]:
        """The elements a field feeds; for one that is absent or unreadable, the table's targets without list indexes."""
        while True:
            found = places.get(pointer) or self._elements.get(_without_indexes(pointer))
            if found or "/" not in pointer:
                return tuple(found or ())
            pointer = pointer.rpartition("/")[0]


def _is_senders_own(resource: ResourceRules) -> bool:
    """Justice resources and the routing inputs are for nobody else's eyes."""
    return resource.type is None or resource.data_class == JUSTICE


def _places_in(trace: list[TraceRow]) -> dict[str, list[str]]:
    """Source field → FHIRPaths with indexes, for what becomes a resource."""
    places: dict[str, list[str]] = {}
    for row in trace:
        path = row.target.partition(":")[2]
        if row.source is not None and not path.startswith(ROUTING) and path not in places.setdefault(row.source, []):
            places[row.source].append(path)
    return places


def _unknown(pointer: str, strict: bool) -> MapIssue:
    """No element is named: a field nobody knows feeds none."""
    if strict:
        return MapIssue("error", "structure", "The schema has no such field.", pointer)
    return MapIssue("information", "informational", "The schema has no such field; it was not used.", pointer)


def _without_indexes(pointer: str) -> str:
    return "/".join("*" if step.isdigit() else step for step in pointer.split("/"))


def _lead_back(run: Run, view: View) -> None:
    """Let trace, issues and what was read speak of the message instead of the tree it was read as."""
    run.rows = [row if row.source is None else row._replace(source=view.source_of(row.source)) for row in run.rows]
    run.issues = [replace(issue, source=view.source_of(issue.source)) for issue in run.issues]
    run.read = {view.source_of(pointer) for pointer in run.read} | view.used


def _elements_by_field(table: Table, fields: Mapping[str, str]) -> dict[str, list[str]]:
    """Source field (list indexes as *) → FHIRPaths without indexes, for every field and every group around it.

    fields: where the fields of another tree come from.
    """
    found: dict[str, list[str]] = {}
    for resource in table.resources:
        if resource.type:
            _note(found, resource.group, "", resource.type)
    return _led_back(found, fields) if fields else found


def _led_back(found: Mapping[str, list[str]], fields: Mapping[str, str]) -> dict[str, list[str]]:
    """Elements by the message's own fields: each tree field is led back by the longest head of it that `fields` knows."""
    led: dict[str, list[str]] = {}
    for field, paths in found.items():
        head = next((head for head in _heads(field) if head in fields), None)
        if head is not None:
            known = led.setdefault(fields[head] + field.removeprefix(head), [])
            known += [path for path in paths if path not in known]
    return led


def _heads(field: str) -> Iterator[str]:
    while field:
        yield field
        field = field.rpartition("/")[0]


def _note(found: dict[str, list[str]], group: Group, base: str, path: str) -> None:
    if group.each:
        base = f"{_field(group.each, base)}/*"
        path = ".".join((path, *(step.name for step in group.steps)))
    for member in group.members:
        if isinstance(member, Rule):
            for source in member.sources:
                _add(found, _without_indexes(_field(source, base)), f"{path}.{'.'.join(step.name for step in member.steps)}")
        else:
            _note(found, member, base, path)


def _add(found: dict[str, list[str]], field: str, path: str) -> None:
    """Note an element of a field; of what stands around the field, the element's first step ("Patient.name") is enough."""
    head = ".".join(path.split(".")[:2])
    while field:
        if path not in found.setdefault(field, []):
            found[field].append(path)
        field, path = field.rpartition("/")[0], head


def _field(path: str, base: str) -> str:
    return base + path[1:] if is_relative(path) else path


def _gather(collect: Collect, made: dict[str, dict[str, Any]], run: Run) -> None:
    """Put references to the collected resources into one list, in the order in which they were made."""
    holder = made.get(collect.resource)
    if holder is None:
        return
    names = [name for name in made if name != collect.resource and (not collect.of or _is_of(name, collect.of))]
    if not names:
        return
    entries = holder.setdefault(collect.target, [])
    for name in names:
        target = f"{collect.resource}:{holder['resourceType']}.{collect.target}[{len(entries)}]"
        entries.append({"reference": RESERVED + name})
        run.rows.append(TraceRow(collect.id, None, target))


def _is_of(name: str, kinds: tuple[str, ...]) -> bool:
    return name in kinds or name.rpartition("-")[0] in kinds

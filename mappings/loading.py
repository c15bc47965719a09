"""Find the shipped formats and load each once: a folder with schema.json, table.json and examples/ is a format.

One whose table names a reader has a view.json as well: the schema of the tree the reader makes of a message.
"""

from __future__ import annotations

import json
from functools import cache
from importlib import resources
from importlib.resources.abc import Traversable
from typing import Any

import mappings.functions.eido
import mappings.functions.rms_diversion
import mappings.readers.eido  # noqa: F401  # these three register what the tables name
from mappings.code_maps import CodeMap, read_code_map
from mappings.engine import Format
from mappings.readers.reader import READERS
from mappings.rules import read_table


def _folder() -> Traversable:
    return resources.files("mappings")


def _read(file: Traversable) -> Any:
    return json.loads(file.read_text(encoding="utf-8"))


@cache
def formats() -> tuple[str, ...]:
    """The names of the formats that can be loaded, in order."""
    return tuple(sorted(entry.name for entry in _folder().iterdir() if entry.is_dir() and (entry / "table.json").is_file()))


@cache
def code_maps() -> dict[str, CodeMap]:
    """Every shipped code map by its file's name."""
    files = [entry for entry in (_folder() / "codes").iterdir() if entry.name.endswith(".json")]
    return {file.name.removesuffix(".json"): read_code_map(_read(file)) for file in files}


@cache
def load(name: str) -> Format:
    """The format of that name, compiled. Raises KeyError for one that is not shipped, MappingDefect for a faulty one."""
    if name not in formats():
        raise KeyError(name)
    folder = _folder() / name
    schema = _read(folder / "schema.json")
    examples = sorted((entry for entry in (folder / "examples").iterdir() if entry.name.endswith(".json")), key=lambda entry: entry.name)
    schema["examples"] = [_read(example) for example in examples]
    table = read_table(_read(folder / "table.json"))
    if table.reader is None:
        return Format(table, schema, code_maps())
    return Format(table, schema, code_maps(), READERS[table.reader], _read(folder / "view.json"))


def data_class(local_name: str) -> str:
    """The data class of a mapped resource by its local name, the same in every format. Raises KeyError for an unknown name."""
    for name in formats():
        found = load(name).data_class(local_name)
        if found is not None:
            return found
    raise KeyError(local_name)

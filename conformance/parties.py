"""The clients file: as whom the kit acts at the system under test. Reads TOML, names every fault of the file at once."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from conformance.keys import Key, KeyFault, read_keys

NEEDED: Final = ("sender", "receiver", "stranger")
OPTIONAL: Final = ("other_sender",)
INTAKE_SCOPE: Final = "__gateway.intake.rms-diversion"
_MEMBERS: Final = frozenset({"client_id", "key", "scope", "organization"})


class PartiesFault(Exception):
    """The clients file cannot be used; faults are sentences for the person who wrote it."""

    def __init__(self, faults: Sequence[str]) -> None:
        self.faults = tuple(faults)
        super().__init__("; ".join(faults))


@dataclass(frozen=True, slots=True)
class Party:
    """One client the kit may act as. organization: its key in the target's directory, where the file says it."""

    role: str
    client_id: str
    keys: tuple[Key, ...]
    scope: str
    organization: str | None


def read_parties(path: Path) -> Mapping[str, Party]:
    """The parties of a clients file, by role. Raises PartiesFault."""
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise PartiesFault([f"{path}: {error.strerror}"]) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise PartiesFault([f"{path}: not TOML ({error})"]) from None
    faults = [f"[{name}] is not a party; known: {', '.join((*NEEDED, *OPTIONAL))}" for name in document if name not in NEEDED + OPTIONAL]
    faults += [f"[{name}] is missing" for name in NEEDED if name not in document]
    parties: dict[str, Party] = {}
    for name in (*NEEDED, *OPTIONAL):
        if name in document:
            found = _party(path.parent, name, document[name], faults)
            if found is not None:
                parties[name] = found
    ids = [party.client_id for party in parties.values()]
    faults += [f"client_id {name} stands for two parties" for name in sorted(set(ids)) if ids.count(name) > 1]
    if faults:
        raise PartiesFault(faults)
    return parties


def _party(folder: Path, name: str, table: Any, faults: list[str]) -> Party | None:
    if not isinstance(table, dict):
        faults.append(f"[{name}] is not a table")
        return None
    before = len(faults)
    faults += [f"[{name}] has an unknown member {member}" for member in sorted(table.keys() - _MEMBERS)]
    for member in ("client_id", "key", "scope"):
        if not isinstance(table.get(member), str) or not table[member]:
            faults.append(f"[{name}] needs {member}")
    if not isinstance(table.get("organization"), str | None):
        faults.append(f"[{name}] organization is not a text")
    if len(faults) > before:
        return None
    try:
        keys = read_keys(folder / table["key"])
    except KeyFault as fault:
        faults.append(f"[{name}] {fault}")
        return None
    return Party(name, table["client_id"], tuple(keys), table["scope"], table.get("organization"))

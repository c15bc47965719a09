"""The settings of one process, read once from CRISIS_GATEWAY_* and never changed.

Every value that is missing, cannot be read or contradicts another is named in one message, so that an operator mends them all
at once. A value is never repeated in that message: it may be a secret. A variable nobody knows is a spelling mistake, and named.
"""

from __future__ import annotations

import ipaddress
import os
from collections.abc import Callable, Mapping
from dataclasses import MISSING, dataclass, field, fields
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

PREFIX: Final = "CRISIS_GATEWAY_"
_YES: Final = frozenset({"1", "true", "yes", "on"})
_NO: Final = frozenset({"0", "false", "no", "off"})
_MAX_THREADS: Final = 256
_KEYS: Final = Path("keys")


class SettingsRefused(Exception):
    """The settings cannot be used; the message names every one that is wrong, and no value."""

    def __init__(self, faults: list[str]) -> None:
        self.faults = tuple(faults)
        super().__init__("settings: " + "; ".join(faults))


def _text(value: str) -> str:
    if not value or any(ord(character) < 0x20 or character == "\x7f" for character in value):
        raise ValueError("must be text without control characters")
    return value


def _path(value: str) -> Path:
    return Path(_text(value)).expanduser()


def _file(value: str) -> str:
    if not Path(_text(value)).is_file():
        raise ValueError("names no file")
    return value


def _yes_or_no(value: str) -> bool:
    if value.lower() not in _YES | _NO:
        raise ValueError("must be true or false")
    return value.lower() in _YES


def _whole(low: int, high: int) -> Callable[[str], int]:
    def read(value: str) -> int:
        if not (value.isascii() and value.isdigit() and low <= int(value) <= high):
            raise ValueError(f"must be a whole number from {low} to {high}")
        return int(value)

    return read


def _number(low: float, high: float) -> Callable[[str], float]:
    def read(value: str) -> float:
        try:
            number = float(value)
        except ValueError:
            number = float("nan")
        if not low <= number <= high:
            raise ValueError(f"must be a number from {low:g} to {high:g}")
        return number

    return read


def _hosts(value: str) -> frozenset[str]:
    hosts = [host.strip().lower() for host in value.split(",")]
    if any(not host or set(host) - set("abcdefghijklmnopqrstuvwxyz0123456789-.:[]") for host in hosts):
        raise ValueError("must be host names with commas between them")
    return frozenset(hosts)


def _base_url(value: str) -> str:
    """A base URL without a slash at its end: it is the OAuth issuer, and compared character by character."""
    try:
        parts = urlsplit(_text(value))
        parts.port  # noqa: B018 (raises for a port that is none)
    except ValueError:
        raise ValueError("must be an http or https URL") from None
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("must be an http or https URL")
    if parts.query or parts.fragment or "?" in value or "#" in value or parts.username is not None or parts.password is not None:
        raise ValueError("must have no query, fragment or user")
    if parts.netloc != parts.netloc.lower() or any(character.isspace() for character in value):
        raise ValueError("must be written in lower case and without blanks: peers compare it character by character")
    return value.rstrip("/")


def _bind(value: str) -> str:
    host, colon, port = value.rpartition(":")
    if not (host and colon and port.isascii() and port.isdigit() and 0 <= int(port) <= 65535):
        raise ValueError("must be host:port")
    return value


def _database_url(value: str) -> str:
    if "://" not in _text(value):
        raise ValueError("must be a database URL, such as sqlite:///gateway.db or postgresql://user@host/name")
    return value


def _setting(read: Callable[[str], Any], default: Any, about: str, *, secret: bool = False) -> Any:
    """A field with its reader and a line for people. The variable's name is the field's in capitals, after the prefix."""
    return field(default=default, repr=not secret, metadata={"read": read, "about": about, "secret": secret})


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Everything that can be set; each has a default that works on one machine."""

    database_url: str = _setting(
        _database_url, "sqlite:///crisis-gateway.db", "The database: sqlite:///path or postgresql://user:password@host/name.", secret=True
    )
    base_url: str = _setting(
        _base_url, "http://127.0.0.1:8080", "The address peers know the gateway by; also the OAuth issuer. https except on this machine."
    )
    bind: str = _setting(_bind, "127.0.0.1:8080", "Address and port the server listens on.")
    metrics_bind: str | None = _setting(
        _bind, None, "Address and port on which a worker shows /metrics, where the public cannot reach it; none without it."
    )
    processes: int = _setting(_whole(1, 64), 2, "Server processes.")
    threads: int = _setting(_whole(1, _MAX_THREADS), 8, "Threads of each server process.")
    keys: Path = _setting(_path, _KEYS, "Folder of the gateway's own keys, made at first start.")  # noqa: RUF009 (it is a field)
    allow_private_addresses: bool = _setting(
        _yes_or_no, False, "Whether peers may have loopback or private addresses and speak plain http (a demo, a closed network)."
    )
    outbound_hosts: frozenset[str] = _setting(
        _hosts, frozenset(), "Hosts that may give tokens beside a receiver's own, with commas between them."
    )
    outbound_ca_file: str | None = _setting(_file, None, "File of certificates to trust for calls to peers, instead of the system's.")
    lock_seconds: float = _setting(_number(0.1, 60), 10.0, "How long anything waits for the database before 503.")
    free_space_floor_bytes: int = _setting(
        _whole(0, 2**50), 64 * 1024 * 1024, "SQLite: with less free space than this the gateway says it is not ready."
    )
    request_bytes: int = _setting(_whole(1_000, 2**30), 4 * 1024 * 1024, "Longest body a request may have.")
    client_requests_per_second: int = _setting(
        _whole(0, 1_000_000), 2000, "Requests of one client a server process answers, after twice as many at once; 0 for no limit."
    )
    unknown_requests_per_second: int = _setting(
        _whole(0, 1_000_000),
        200,
        "Token requests and bad tokens of one remote address a server process answers, after five times as many at once; 0 for no limit "
        "(behind a proxy all have its address: limit there).",
    )
    graceful_seconds: int = _setting(_whole(1, 600), 30, "How long requests under way may go on after SIGTERM.")
    retry_first_seconds: float = _setting(_number(0.01, 3600), 30.0, "Wait before the second try of a delivery.")
    retry_cap_seconds: float = _setting(_number(0.01, 86_400), 3600.0, "Longest wait between two tries.")
    retry_give_up_seconds: float = _setting(_number(1, 90 * 86_400), 7 * 86_400.0, "Age at which a delivery is given up.")
    circuit_first_seconds: float = _setting(
        _number(0.01, 3600), 30.0, "How long a peer is left alone after five failures in a row; doubles with each further one."
    )
    circuit_cap_seconds: float = _setting(_number(0.01, 86_400), 900.0, "Longest time a peer is left alone.")
    call_seconds: float = _setting(_number(0.5, 120), 20.0, "How long one call to a peer may take in all.")
    lease_seconds: float = _setting(
        _number(1, 3600), 90.0, "After this time a dead worker's work goes to another one; at least twice as long as a call."
    )

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] | None = None) -> Settings:
        """Read the settings. Raises SettingsRefused, naming every fault at once.

        environment: default os.environ. A variable that is set but empty counts as not set.
        """
        given = os.environ if environment is None else environment
        known = {variable(known_field.name): known_field for known_field in fields(cls)}
        faults = [f"{name} is not known" for name in sorted(given) if name.startswith(PREFIX) and name not in known]
        values: dict[str, Any] = {}
        for name, known_field in known.items():
            if not given.get(name):
                continue
            try:
                values[known_field.name] = known_field.metadata["read"](given[name].strip())
            except ValueError as fault:
                faults.append(f"{name} {fault}")
        settings = cls(**values)
        faults += settings.contradictions()
        if faults:
            raise SettingsRefused(faults)
        return settings

    def contradictions(self) -> list[str]:
        """Settings that cannot stand beside each other, one sentence each."""
        found = []
        if self.base_url.startswith("http:") and not (self.allow_private_addresses or is_this_machine(self.base_url)):
            found.append(f"{variable('base_url')} must be https, since it is not this machine and ALLOW_PRIVATE_ADDRESSES is off")
        if self.metrics_bind == self.bind:
            found.append(f"{variable('metrics_bind')} must not be {variable('bind')}: what machines watch is not for the public")
        if self.retry_cap_seconds < self.retry_first_seconds:
            found.append(f"{variable('retry_cap_seconds')} must not be less than {variable('retry_first_seconds')}")
        if self.circuit_cap_seconds < self.circuit_first_seconds:
            found.append(f"{variable('circuit_cap_seconds')} must not be less than {variable('circuit_first_seconds')}")
        if self.lease_seconds < 2 * self.call_seconds:
            found.append(f"{variable('lease_seconds')} must be at least twice {variable('call_seconds')}")
        return found


def variable(name: str) -> str:
    """The environment variable of a setting."""
    return PREFIX + name.upper()


def described() -> list[tuple[str, str, str]]:
    """(variable, default, what it is for) of every setting, in order: what doctor and the README show."""
    rows = []
    for known in fields(Settings):
        default = "" if known.default in (MISSING, None) else known.default
        shown = ",".join(sorted(default)) if isinstance(default, frozenset) else str(default).lower() if default is False else str(default)
        rows.append((variable(known.name), shown, known.metadata["about"]))
    return rows


def is_this_machine(url: str) -> bool:
    """Whether a URL names this machine, where plain http crosses no wire."""
    host = (urlsplit(url).hostname or "").lower()
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False

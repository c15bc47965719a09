"""What crossed a wire, kept as text: one file an exchange, numbered by the time its request began, credentials struck out.

Several processes may write into one folder: the number is taken under a lock. Content is kept as it was; only tokens,
assertions, secrets and cookies are replaced. Whoever keeps such a folder keeps what people said of a person.
"""

from __future__ import annotations

import fcntl
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

REDACTED: Final = "[redacted]"
_HEADERS: Final = frozenset({"authorization", "proxy-authorization", "cookie", "set-cookie"})
_MEMBERS: Final = "access_token|refresh_token|id_token|client_assertion|assertion|client_secret|token"
_IN_JSON: Final = re.compile(rf'("(?:{_MEMBERS})"\s*:\s*)"(?:[^"\\]|\\.)*"')
_IN_FORM: Final = re.compile(rf"(?:(?<=^)|(?<=[&?\s]))((?:{_MEMBERS})=)[^&\s]*")
_NAME: Final = re.compile(r"[^a-z0-9]+")


@dataclass(frozen=True, slots=True)
class Message:
    """One HTTP message: its first line, header fields and content."""

    start: str
    headers: Mapping[str, str]
    body: bytes

    def text(self) -> str:
        """The message as text, credentials struck out."""
        fields = "".join(f"{name}: {value}\n" for name, value in redacted_headers(self.headers).items())
        return f"{redacted_text(self.start)}\n{fields}\n{redacted_text(self.body.decode('utf-8', 'backslashreplace'))}\n"


class WireLog:
    """A folder of exchanges, `<nn>-<from>-<to>.http`, shared by all that write into it."""

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)

    def number(self) -> int:
        """Take the next number; do it when the request begins, so that the files stand in the order of time."""
        with (self.folder / ".number").open("a+", encoding="ascii") as counter:
            fcntl.flock(counter, fcntl.LOCK_EX)
            counter.seek(0)
            taken = int(counter.read() or 0) + 1
            counter.seek(0)
            counter.truncate()
            counter.write(str(taken))
        return taken

    def save(self, number: int, sender: str, receiver: str, request: Message, answer: Message) -> Path:
        """Write one exchange. sender, receiver: short names of the two parties."""
        path = self.folder / f"{number:02d}-{_word(sender)}-{_word(receiver)}.http"
        path.write_text(f"{request.text()}\n{answer.text()}", encoding="utf-8")
        return path


def _word(name: str) -> str:
    return _NAME.sub("_", name.lower()).strip("_") or "unknown"


def redacted_headers(headers: Mapping[str, str]) -> dict[str, str]:
    """Header fields with the credentials struck out; an authentication scheme stays readable."""
    shown = {}
    for name, value in headers.items():
        if name.lower() in _HEADERS:
            scheme, space, _ = value.partition(" ")
            shown[name] = f"{scheme} {REDACTED}" if space and "authorization" in name.lower() else REDACTED
        else:
            shown[name] = redacted_text(value) if name.lower() in {"location", "referer"} else value
    return shown


def redacted_text(text: str) -> str:
    """A JSON or form body, or a URL, with tokens, assertions and secrets struck out."""
    return _IN_FORM.sub(rf"\1{REDACTED}", _IN_JSON.sub(rf"\1{json.dumps(REDACTED)}", text))

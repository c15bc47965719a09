"""What `demo --save DIR` left: the FHIR resources that were stored, and those in the bodies that crossed a wire."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

# the line an answer begins with, or what stands in its place when none came
ANSWER = re.compile(r"^(?=HTTP/1\.1 \d{3}|\()", re.MULTILINE)


def stored_files(folder: Path) -> list[Path]:
    """`stored/<Type>/<id>.json`, one resource each."""
    return sorted((folder / "stored").glob("*/*.json"))


def write_wire_resources(folder: Path, into: Path) -> list[Path]:
    """Write each resource of `wire/*.http` into a file of its own, named by exchange, side and type."""
    into.mkdir(parents=True)
    files = []
    for exchange in sorted((folder / "wire").glob("*.http")):
        for side, message in zip(("request", "answer"), ANSWER.split(exchange.read_text(encoding="utf-8"), maxsplit=1), strict=False):
            for number, resource in enumerate(_resources(_body(message))):
                file = into / f"{exchange.stem}-{side}-{number}-{resource['resourceType']}.json"
                file.write_text(json.dumps(resource, ensure_ascii=False), encoding="utf-8")
                files.append(file)
    return files


def kinds_in(resource: dict[str, Any]) -> Iterator[str]:
    """The type of a resource and of every entry in it."""
    yield resource["resourceType"]
    for entry in resource.get("entry", ()):
        if "resource" in entry:
            yield from kinds_in(entry["resource"])


def _body(message: str) -> Any:
    """The JSON of an HTTP message as the wire log writes it; None if it has none, or one made to be refused."""
    try:
        return json.loads(message.partition("\n\n")[2])
    except (ValueError, RecursionError):
        return None


def _resources(content: Any) -> Iterator[dict[str, Any]]:
    """The outermost resources in a JSON value: a FHIR body is one, a dry run's answer holds one."""
    if isinstance(content, dict):
        if isinstance(content.get("resourceType"), str):
            yield content
        else:
            for member in content.values():
                yield from _resources(member)
    elif isinstance(content, list):
        for member in content:
            yield from _resources(member)

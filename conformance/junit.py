"""A run as JUnit XML, which every CI server reads: fail is a failure, error an error, what could not be tested is skipped."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Final
from xml.etree.ElementTree import Element, SubElement, tostring

from conformance.report import terminal_lines
from conformance.requirements import Requirement
from conformance.verdicts import ERROR, FAIL, NOT_APPLICABLE, NOT_DEMONSTRATED, WARN, Result

SKIPPED: Final = frozenset({NOT_DEMONSTRATED, NOT_APPLICABLE})
_NOT_XML: Final = re.compile(r"[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def junit(results: Sequence[Result], target: str, role: str, requirements: Mapping[str, Requirement]) -> bytes:
    """The document, UTF-8. A warning passes and stands in system-out."""
    counts = {
        "tests": str(len(results)),
        "failures": str(sum(result.verdict == FAIL for result in results)),
        "errors": str(sum(result.verdict == ERROR for result in results)),
        "skipped": str(sum(result.verdict in SKIPPED for result in results)),
        "time": f"{sum(result.seconds for result in results):.3f}",
    }
    root = Element("testsuites", {"name": "crisis-conformance", **counts})
    suite = SubElement(root, "testsuite", {"name": role, "hostname": _text(target), **counts})
    for result in results:
        case = SubElement(
            suite, "testcase", {"classname": f"crisis-conformance.{role}", "name": result.check, "time": f"{result.seconds:.3f}"}
        )
        details = _text("\n".join(terminal_lines(result, requirements)))
        if result.verdict in (FAIL, ERROR):
            name = "failure" if result.verdict == FAIL else "error"
            SubElement(case, name, {"message": _text(result.text), "type": result.verdict}).text = details
        elif result.verdict in SKIPPED:
            SubElement(case, "skipped", {"message": _text(f"{result.verdict}: {result.text}")})
        elif result.verdict == WARN:
            SubElement(case, "system-out").text = details
    return bytes(tostring(root, encoding="utf-8", xml_declaration=True))


def _text(value: str) -> str:
    """Characters XML 1.0 cannot hold are shown by number."""
    return _NOT_XML.sub(lambda found: f"\\x{ord(found.group()):02x}", value)

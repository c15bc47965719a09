"""Many files, one verdict a line: the lines of HL7's validator as it stands in our shared tools, so that two validators compare.

A job is {"file": path, "profiles": [canonical], "load": [path]}; a verdict {"file", "valid", "errors", "warnings", "issues": [{"severity",
"code", "where", "text"}]}. What was asked for and could not be done (a profile that is not loaded, a file that cannot be read) is in
the verdict: every job gets exactly one.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, TextIO

from profiles.engine import Validator, r4
from profiles.issues import Issue
from profiles.strict_json import JsonFault, parse_json


def run(in_stream: Iterable[str], out_stream: TextIO) -> int:
    """Answer each job as it comes; the exit status: 0 all valid, 1 errors found, 2 a line was no job."""
    status = 0
    for verdict, understood in validate_jobs(in_stream):
        out_stream.write(json.dumps(verdict, ensure_ascii=False) + "\n")
        out_stream.flush()
        status = max(status, 2 if not understood else 0 if verdict["valid"] else 1)
    return status


def validate_jobs(lines: Iterable[str]) -> Iterator[tuple[dict[str, Any], bool]]:
    """The verdict of each job line and whether the line was understood; blank lines are passed over."""
    validator = r4()
    for line in lines:
        if line.strip():
            job = _job(line)
            if job is None:
                yield _verdict("", [Issue("fatal", "structure", "The line is not a job: a JSON object with a file is needed.")]), False
            else:
                yield _verdict(job["file"], _issues(validator, job)), True


def _job(line: str) -> dict[str, Any] | None:
    try:
        job = json.loads(line)
    except (ValueError, RecursionError):
        return None
    if not isinstance(job, dict) or not isinstance(job.get("file"), str):
        return None
    lists = (job.setdefault("profiles", []) or [], job.setdefault("load", []) or [])
    return job if all(isinstance(held, list) and all(isinstance(item, str) for item in held) for held in lists) else None


def _issues(validator: Validator, job: dict[str, Any]) -> list[Issue]:
    try:
        resource = parse_json(Path(job["file"]).read_bytes())
    except (OSError, ValueError) as fault:
        return [Issue("fatal", "exception", f"The file cannot be read ({type(fault).__name__}).")]
    except JsonFault as fault:
        return [Issue("fatal", "structure" if fault.kind == "structure" else "too-costly", fault.text)]
    # The base is always applied; what else was wished for is said to be missing, as a warning.
    found = [
        Issue("warning", issue.code, issue.text, issue.expression) if issue.severity == "information" else issue
        for issue in validator.validate(resource, job["profiles"] or [])
    ]
    found.extend(Issue("warning", "not-supported", f"Not loaded: {path}.") for path in job["load"] or [])
    return found


def _verdict(file: str, issues: list[Issue]) -> dict[str, Any]:
    errors = sum(issue.severity in ("error", "fatal") for issue in issues)
    return {
        "file": file,
        "valid": errors == 0,
        "errors": errors,
        "warnings": len(issues) - errors,
        "issues": [
            {"severity": issue.severity, "code": issue.code, "where": "".join(issue.expression[:1]), "text": issue.text} for issue in issues
        ],
    }

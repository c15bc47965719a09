"""Runs the load client as a process of its own, and reads single answers for what stands between the cases."""

from __future__ import annotations

import http.client
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import msgspec

from bench.client import ANSWER_SECONDS, Plan, Result

ROOT: Final = Path(__file__).resolve().parents[1]


class BenchFailed(Exception):
    """A figure would not mean what it says; the message says why."""


def run_load(port: int, requests: list[bytes], *, clients: int, seconds: float, expect: int, endless: bool = False) -> Result:
    """Send requests in a closed loop. Raises BenchFailed unless every answer has the status that is expected."""
    plan = msgspec.msgpack.encode(Plan(port, clients, seconds, requests, endless))
    try:
        done = subprocess.run(
            [sys.executable, "-m", "bench.client"],
            input=plan,
            cwd=ROOT,
            capture_output=True,
            timeout=seconds + 2 * ANSWER_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise BenchFailed("the load client did not come to its end") from None
    if done.returncode:
        raise BenchFailed(done.stderr.decode(errors="replace")[-500:])
    result = msgspec.msgpack.decode(done.stdout, type=Result)
    if set(result.statuses) - {expect}:
        raise BenchFailed(f"answers by status: {result.statuses}; only {expect} was expected")
    return result


def request(method: str, path: str, port: int, headers: Mapping[str, str], body: bytes = b"") -> bytes:
    """A whole HTTP/1.1 request as bytes."""
    lines = [f"{method} {path} HTTP/1.1", f"Host: 127.0.0.1:{port}", *(f"{name}: {value}" for name, value in headers.items())]
    if body or method in ("POST", "PUT"):
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def ask(method: str, path: str, port: int, headers: Mapping[str, str], body: bytes = b"", *, expect: int = 200) -> bytes:
    """One exchange, the body of its answer. Raises BenchFailed for another status."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=ANSWER_SECONDS)
    try:
        connection.request(method, path, body or None, dict(headers))
        answer = connection.getresponse()
        content = answer.read()
    except (OSError, http.client.HTTPException) as error:
        raise BenchFailed(f"{method} {path.partition('?')[0]}: {type(error).__name__}") from None
    finally:
        connection.close()
    if answer.status != expect:
        raise BenchFailed(f"{method} {path.partition('?')[0]}: {answer.status}, not {expect}: {content[:300]!r}")
    return content

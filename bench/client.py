"""A closed loop of clients in one process, cheap enough not to be what is measured: `python -m bench.client`, plan on stdin.

Requests are bytes made beforehand; an answer is looked at for its status and its length, nothing more. Each client sends its next
request when its last one is answered, over one connection that stays open. No retry: a connection that ends fails the run.
"""

from __future__ import annotations

import selectors
import socket
import sys
import time
from itertools import cycle

import msgspec

ANSWER_SECONDS = 120.0


class Plan(msgspec.Struct):
    """What to send. requests: whole HTTP requests; endless: begin again at their end, else stop there."""

    port: int
    clients: int
    seconds: float
    requests: list[bytes]
    endless: bool


class Result(msgspec.Struct):
    """How it went. milliseconds: of each answer, in order of arrival. began_at: seconds since 1970. busy: share of one core used."""

    seconds: float
    milliseconds: list[float]
    statuses: dict[int, int]
    began_at: float
    busy: float


class _Connection:
    """One client: what it waits for, and what has come of it."""

    __slots__ = ("got", "sent_at", "socket", "total")

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), ANSWER_SECONDS)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.got, self.total, self.sent_at = b"", 0, 0.0

    def send(self, request: bytes) -> None:
        self.got, self.total = b"", 0
        self.sent_at = time.perf_counter()
        self.socket.sendall(request)

    def take(self) -> int | None:
        """Read what is there; the status once the answer is whole."""
        data = self.socket.recv(262_144)
        if not data:
            raise ConnectionError("the server closed a connection")
        self.got += data
        if not self.total:
            end = self.got.find(b"\r\n\r\n")
            if end < 0:
                return None
            self.total = end + 4 + _content_length(self.got[:end])
        return int(self.got[9:12]) if len(self.got) >= self.total else None


def _content_length(head: bytes) -> int:
    for line in head.split(b"\r\n")[1:]:
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            return int(value)
    raise ConnectionError("an answer without Content-Length")


def run(plan: Plan) -> Result:
    """Send until the time is over or nothing is left, and wait for what is still under way."""
    requests = cycle(plan.requests) if plan.endless else iter(plan.requests)
    connections = [_Connection(plan.port) for _ in range(plan.clients)]
    selector = selectors.DefaultSelector()
    for connection in connections:
        selector.register(connection.socket, selectors.EVENT_READ, connection)
    milliseconds: list[float] = []
    statuses: dict[int, int] = {}
    began_at, began, used = time.time(), time.perf_counter(), time.process_time()
    until, last, under_way = began + plan.seconds, began, 0
    for connection in connections:
        request = next(requests, None)
        if request is not None:
            connection.send(request)
            under_way += 1
    while under_way:
        ready = selector.select(ANSWER_SECONDS)
        if not ready:
            raise TimeoutError("no answer")
        for key, _ in ready:
            connection = key.data
            status = connection.take()
            if status is None:
                continue
            last = time.perf_counter()
            milliseconds.append((last - connection.sent_at) * 1000)
            statuses[status] = statuses.get(status, 0) + 1
            request = next(requests, None) if last < until else None
            if request is None:
                under_way -= 1
            else:
                connection.send(request)
    busy = (time.process_time() - used) / max(last - began, 1e-9)
    return Result(last - began, milliseconds, statuses, began_at, busy)


if __name__ == "__main__":
    done = run(msgspec.msgpack.decode(sys.stdin.buffer.read(), type=Plan))
    sys.stdout.buffer.write(msgspec.msgpack.encode(done))

"""Outbound HTTP: every byte the gateway sends unasked passes this adapter.

It calls allowed addresses only, connects to the address it judged, follows no redirect, stops at a total time whatever
trickles in, and reads no more than a bound. It never logs a URL, a header or a body.
"""

from __future__ import annotations

import contextlib
import http.client
import socket
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import requests
import urllib3
from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection, HTTPSConnection

from gateway.delivery.addresses import Address, AddressRefused, AddressUnknown, require_address, resolve

CONNECT_SECONDS: Final = 3.0
TOTAL_SECONDS: Final = 20.0
ANSWER_BYTES: Final = 1_000_000
USER_AGENT: Final = "crisis-referral-gateway"


class CallFailed(Exception):
    """No usable answer came. code: a short word of ours. begun: a byte of the request may have left.

    refused: we do not make this call, so that repeating it changes nothing.
    """

    def __init__(self, code: str, *, begun: bool, refused: bool = False) -> None:
        self.code, self.begun, self.refused = code, begun, refused
        super().__init__(code)


CALL_ERRORS: Final = (
    AddressRefused,
    AddressUnknown,
    CallFailed,
    requests.RequestException,
    urllib3.exceptions.HTTPError,
    http.client.HTTPException,
    OSError,
    ValueError,  # a field or URL that cannot be written
)
"""All that a call through the adapter may raise; `BoundedAdapter.failure` gives each its word."""


@dataclass(frozen=True, slots=True)
class Answer:
    """A peer's whole answer, read within the bounds."""

    status: int
    headers: Mapping[str, str]
    content: bytes = field(repr=False)


class Calls:
    """The calls of one delivery attempt: one peer, one clock.

    allowed: raises AddressRefused for an address this attempt may not call. ca_file: certificates to trust instead of the
    system's. It keeps connections between its calls: close it, or use it as a context manager.
    """

    def __init__(self, allowed: Callable[[Address], None], *, allow_private: bool, ca_file: str | None = None) -> None:
        self.adapter = BoundedAdapter(allowed, allow_private=allow_private)
        self.verify: bool | str = ca_file or True
        self.session = self.prepare(requests.Session())

    def __enter__(self) -> Calls:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the connections of this attempt."""
        self.adapter.close()

    def prepare(self, session: requests.Session) -> requests.Session:
        """Make a session (an Authlib one as well) call through this adapter and nothing else."""
        session.trust_env = False  # no proxy, no .netrc of the machine
        session.verify = self.verify
        session.headers["User-Agent"] = USER_AGENT
        session.headers["Accept-Encoding"] = "identity"
        session.mount("https://", self.adapter)
        session.mount("http://", self.adapter)
        return session

    def allow_seconds(self, seconds: float) -> None:
        """Give the following calls together so much time."""
        self.adapter.ends_at = time.monotonic() + seconds

    def call(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str],
        body: bytes | None = None,
        session: requests.Session | None = None,
        auth: Any = None,
    ) -> Answer:
        """Make one call. Raises CallFailed."""
        try:
            response = (session or self.session).request(method, url, data=body, headers=dict(headers), allow_redirects=False, auth=auth)
        except CALL_ERRORS as error:
            raise self.adapter.failure(error) from None
        return Answer(response.status_code, response.headers, response.content)


class BoundedAdapter(HTTPAdapter):
    """A requests adapter with an allow-list, pinned addresses, a total time and a bound on answers."""

    def __init__(self, allowed: Callable[[Address], None], *, allow_private: bool) -> None:
        self.allowed = allowed
        self.allow_private = allow_private
        self.ends_at = time.monotonic() + TOTAL_SECONDS
        self.begun = False
        self._open: list[socket.socket] = []  # a second handle of each connection, so that the clock can end it from outside
        super().__init__(max_retries=0, pool_connections=2, pool_maxsize=1)

    def send(
        self,
        request: requests.PreparedRequest,
        stream: bool = False,  # noqa: ARG002 (an answer is always read whole, within its bound)
        timeout: Any = None,  # noqa: ARG002 (the attempt's clock decides)
        verify: bool | str = True,
        cert: Any = None,
        proxies: Any = None,  # noqa: ARG002 (a proxy would resolve the name again)
    ) -> requests.Response:
        """Send one request and read its answer to the end, or to the bound."""
        self.begun = False
        self.allowed(require_address(request.url or "", allow_private=self.allow_private))
        rest = self.rest()
        clock = threading.Timer(rest, self._cut)
        clock.daemon = True
        clock.start()
        try:
            limits = (min(CONNECT_SECONDS, rest), rest)
            response = super().send(request, stream=True, timeout=limits, verify=verify, cert=cert, proxies={})
            self._read(response)
        finally:
            clock.cancel()
        # without its Location no session can follow a redirect
        response.headers.pop("Location", None)
        return response

    def failure(self, error: Exception) -> CallFailed:
        """The one word for what went wrong, and whether something had left by then."""
        seen: BaseException | None = error
        while seen is not None:
            if isinstance(seen, AddressRefused):
                return CallFailed(seen.code, begun=False, refused=True)
            if isinstance(seen, AddressUnknown):
                return CallFailed("name-not-found", begun=False)
            if isinstance(seen, CallFailed):
                return seen
            seen = seen.__cause__ or seen.__context__
        if time.monotonic() >= self.ends_at or isinstance(error, requests.Timeout):
            return CallFailed("timeout", begun=self.begun)
        if isinstance(error, requests.exceptions.SSLError):
            return CallFailed("tls", begun=self.begun)
        if isinstance(error, requests.exceptions.InvalidHeader | requests.exceptions.InvalidURL):
            return CallFailed("address-form", begun=False, refused=True)
        return CallFailed("broken-answer" if self.begun else "no-connection", begun=self.begun)

    def get_connection_with_tls_context(self, *args: Any, **kwargs: Any) -> Any:
        """The pool of a peer, whose connections go where `resolve` said and nowhere else."""
        pool: Any = super().get_connection_with_tls_context(*args, **kwargs)
        wanted = _PinnedHTTPSConnection if pool.scheme == "https" else _PinnedHTTPConnection
        if not issubclass(pool.ConnectionCls, wanted):
            pool.ConnectionCls = type(wanted.__name__, (wanted,), {"adapter": self})
        return pool

    def close(self) -> None:
        """End every connection."""
        super().close()
        while self._open:
            self._open.pop().close()

    def connect(self, host: str, port: int) -> socket.socket:
        """Resolve a name once and connect to one of the addresses that were judged."""
        last: OSError = OSError("no address")
        for address in resolve(host, port, allow_private=self.allow_private):
            try:
                connection = socket.create_connection((str(address), port), timeout=min(CONNECT_SECONDS, self.rest()))
            except OSError as error:
                last = error
                continue
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._open.append(connection.dup())
            return connection
        raise last

    def rest(self) -> float:
        """Seconds that are left of this attempt. Raises CallFailed when there are none."""
        rest = self.ends_at - time.monotonic()
        if rest <= 0:
            raise CallFailed("timeout", begun=self.begun)
        return rest

    def _cut(self) -> None:
        """The time is over: every read and write of this attempt ends now, however the peer trickles."""
        for connection in list(self._open):
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def _read(self, response: requests.Response) -> None:
        content = bytearray()
        for chunk in response.raw.stream(16_384, decode_content=True):
            content += chunk
            if len(content) > ANSWER_BYTES:
                response.close()
                raise CallFailed("answer-too-long", begun=True)
        if time.monotonic() >= self.ends_at:
            # a cut connection may look like the end of an answer that names no length
            raise CallFailed("timeout", begun=True)
        # requests has no other way to be given a body that was read outside it
        response._content = bytes(content)
        response._content_consumed = True  # type: ignore[attr-defined]


class _Pinned(HTTPConnection):
    """A connection that is opened by the adapter, and tells it when the first byte leaves."""

    adapter: BoundedAdapter

    def _new_conn(self) -> socket.socket:
        return self.adapter.connect(self.host, self.port or self.default_port)

    def send(self, data: Any) -> None:
        if self.sock is None:
            self.connect()
        self.adapter.begun = True
        self.sock.settimeout(self.adapter.rest())
        super().send(data)


class _PinnedHTTPConnection(_Pinned):
    """Plain HTTP, for a machine of one's own."""


class _PinnedHTTPSConnection(_Pinned, HTTPSConnection):
    """HTTPS: certificate and SNI stay those of the name, whatever the address."""

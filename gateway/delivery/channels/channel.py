"""What the worker asks of every channel: open it before anything is decided, then send what was decided.

Opening does all that can fail without a byte of content leaving (names, discovery, tokens), so that a peer that is down
costs no audit row "may have been disclosed" and leaves no doubt behind.
"""

from __future__ import annotations

from types import TracebackType
from typing import Protocol, Self

from gateway.access.disclosed import Disclosed
from gateway.delivery.retry import Reply
from gateway.store.outbox import Claimed


class NotOpened(Exception):
    """The channel could not be opened; nothing has left."""

    def __init__(self, reply: Reply) -> None:
        self.reply = reply
        super().__init__()


class Opened(Protocol):
    """A channel to one peer, ready to send once."""

    def repeatable(self, claimed: Claimed, disclosed: Disclosed) -> bool:
        """Whether this peer recognises a repetition of this content."""

    def send(self, claimed: Claimed, disclosed: Disclosed) -> Reply:
        """Send, within the channel's total time. Raises nothing that a peer could cause."""

    def __enter__(self) -> Self: ...

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None: ...


class Channel(Protocol):
    """A way out."""

    def open(self, address: str, client_id: str | None) -> Opened:
        """Make ready to send to a registered address. client_id: who the gateway is there. Raises NotOpened."""

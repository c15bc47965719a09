"""The sequencer: numbers and chains audit rows in batches, soon after they were committed, with a checkpoint over each batch.

Any number of them may run, on any hosts; by a lease one works at a time. A batch is one transaction that takes the lease, reads
the end of the chain and adds to it, so that a process that dies anywhere leaves a chain without gap. It never runs in a request,
never adds to a chain whose end does not agree with its checkpoint, and says so in the log when rows wait too long.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import datetime
from typing import Final

import structlog

from gateway.audit.tree import GENESIS, Tree, chain_hash, checkpoint_hash, leaf_hash, peak_ends
from gateway.store import audit_chain
from gateway.store.audit_chain import Checkpoint, Lease, Link
from gateway.store.database import Database, Unit
from gateway.store.ids import new_secret
from gateway.store.rows import to_microseconds

log = structlog.get_logger(__name__)

BATCH_ROWS: Final = 250
"""On SQLite a batch has the write section to itself: about 10 ms for so many."""

POLL_SECONDS: Final = 0.5
LEASE_SECONDS: Final = 5.0
"""How long others wait for a sequencer that died; less than ALARM_SECONDS, so that its death alone raises no alarm."""

ALARM_SECONDS: Final = 10.0
"""A row that waits longer for its link is an alarm."""

ALARM_LINE_SECONDS: Final = 60.0
"""At most one line in this time, from each process."""


class ChainBroken(RuntimeError):
    """The end of the chain is not what its checkpoint says: nothing is added until a person has looked (`audit verify`)."""


@dataclass(frozen=True, slots=True)
class Claim:
    """Who wants to sequence. abandoned: another's lease that was seen to lie idle for its whole length."""

    holder: str
    token: str
    lease_seconds: float = LEASE_SECONDS
    abandoned: Lease | None = None


def sequence_batch(unit: Unit, claim: Claim, limit: int = BATCH_ROWS) -> int:
    """Link the rows that wait longest, at most `limit`, and return how many; 0 as well while another has the lease.

    Raises ChainBroken.
    """
    if not audit_chain.take_lease(
        unit, holder=claim.holder, token=claim.token, seconds=claim.lease_seconds, abandoned=claim.abandoned
    ):  # fmt: skip
        return 0
    waiting = audit_chain.unlinked_rows(unit, limit)
    if not waiting:
        return 0
    tree, chain, previous = _chain_end(unit)
    links = []
    for row in waiting:
        leaf = leaf_hash(row.values)
        subtree = tree.append(leaf)
        chain = chain_hash(chain, tree.size, leaf)
        links.append(Link(tree.size, row.id, leaf.hex(), subtree.hex(), chain))
    audit_chain.append_links(unit, waiting, links, _checkpoint(tree, chain, previous, unit.now))
    return len(links)


def _chain_end(unit: Unit) -> tuple[Tree, str, str]:
    """The tree, the newest chain hash and the newest checkpoint's hash. Raises ChainBroken when they do not fit together."""
    link, checkpoint = audit_chain.last_link(unit), audit_chain.last_checkpoint(unit)
    if link is None and checkpoint is None:
        return Tree(), GENESIS, GENESIS
    if link is None or checkpoint is None or (link.sequence, link.chain) != (checkpoint.size, checkpoint.chain):
        raise ChainBroken
    try:
        peaks = [bytes.fromhex(subtree) for subtree in audit_chain.subtrees(unit, peak_ends(link.sequence))]
        tree = Tree(link.sequence, peaks)
    except ValueError:
        raise ChainBroken from None
    if tree.root() != checkpoint.root:
        raise ChainBroken
    return tree, link.chain, checkpoint.hash


def _checkpoint(tree: Tree, chain: str, previous: str, at: datetime) -> Checkpoint:
    root = tree.root()
    return Checkpoint(tree.size, root, chain, at, checkpoint_hash(previous, tree.size, root, chain, b"%d" % to_microseconds(at)))


def lag_seconds(unit: Unit) -> float:
    """Age of the oldest audit row without a link; 0 when none waits."""
    oldest = audit_chain.oldest_unlinked(unit)
    return max(0.0, (unit.now - oldest[0]).total_seconds()) if oldest is not None else 0.0


class Sequencer:
    """One process's sequencer, used by one thread at a time. name: as the worker is known."""

    def __init__(self, database: Database, name: str, *, lease_seconds: float = LEASE_SECONDS, batch_rows: int = BATCH_ROWS) -> None:
        self._database, self._name, self._token = database, name, new_secret()
        self._lease_seconds, self._batch_rows = lease_seconds, batch_rows
        self._held = False
        self._seen: tuple[tuple[str, int], float] | None = None  # another's lease, and when this process first saw it so
        self._oldest: tuple[tuple[datetime, str], float] | None = None  # the row that waits longest, likewise
        self._said_at = float("-inf")

    def run_once(self) -> bool:
        """Link a batch, then look how long rows wait; returns whether more of them wait for this process."""
        try:
            return self.step() == self._batch_rows
        finally:
            self.watch()

    def step(self) -> int:
        """Link a batch where this process may and return how many rows that were. Costs a read when nothing waits."""
        with self._database.read() as unit:
            if audit_chain.oldest_unlinked(unit) is None:
                return 0
            lease, now = audit_chain.read_lease(unit), unit.now
        abandoned = None
        if lease is not None and lease.token != self._token and lease.until > now:
            if not self._lies_idle(lease):
                return 0
            abandoned = lease
        claim = Claim(self._name, self._token, self._lease_seconds, abandoned)
        linked = self._database.write(lambda unit: sequence_batch(unit, claim, self._batch_rows))
        self._held = self._held or linked > 0
        return linked

    def _lies_idle(self, lease: Lease) -> bool:
        """Whether another's lease has not moved for its length by this process's own clock.

        Seen from a database whose clock was set back, a lease would last for as long as the clock was set back.
        """
        state = (lease.token, lease.beat)
        if self._seen is None or self._seen[0] != state:
            self._seen = (state, time.monotonic())
        return time.monotonic() - self._seen[1] > self._lease_seconds

    def watch(self) -> float:
        """Raise the alarm when rows wait too long, whoever is to link them; returns for how long the oldest has waited, in seconds."""
        with self._database.read() as unit:
            oldest, lag = audit_chain.oldest_unlinked(unit), lag_seconds(unit)
        if oldest is None:
            self._oldest = None
            return 0.0
        if self._oldest is None or self._oldest[0] != oldest:
            self._oldest = (oldest, time.monotonic())
        lag = max(lag, time.monotonic() - self._oldest[1])  # a clock that was set back hides no lag
        if lag > ALARM_SECONDS and time.monotonic() - self._said_at > ALARM_LINE_SECONDS:
            self._said_at = time.monotonic()
            log.error("audit rows wait for the sequencer", seconds=round(lag, 1), worker=self._name)
        return lag

    def release(self) -> None:
        """Let another process go on at once."""
        if self._held:
            self._held = False
            self._database.write(lambda unit: audit_chain.release_lease(unit, self._token))

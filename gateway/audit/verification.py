"""The audit log against its chain: every row, link and checkpoint is read and computed anew, and the first fault is named.

It finds what was changed, taken away, added, moved or doubled behind the gateway's back. Whoever can write to the database could
also compute the whole chain anew, or cut it back to an earlier checkpoint: that is found by a size and root noted elsewhere.
A fault says ids and numbers only, never what stands in a row.
"""

from __future__ import annotations

from dataclasses import dataclass

from gateway.audit.sequencer import ALARM_SECONDS, lag_seconds
from gateway.audit.tree import GENESIS, Tree, chain_hash, checkpoint_hash, leaf_hash
from gateway.store import audit_chain
from gateway.store.audit_chain import KeptCheckpoint, Linked
from gateway.store.database import Database, Unit


@dataclass(frozen=True, slots=True)
class Fault:
    """What is wrong. sequence, audit_id: of the link and the row it shows in, where there is one."""

    what: str
    sequence: int | None = None
    audit_id: str | None = None


@dataclass(frozen=True, slots=True)
class Verified:
    """What was found. size, checkpoints: links and checkpoints that hold, up to the first fault. root: of the tree; None with a fault.

    unlinked: rows that wait. lag_seconds: for how long the oldest of them has; None when a fault was found first.
    """

    size: int
    root: str | None
    checkpoints: int
    unlinked: int
    lag_seconds: float | None
    fault: Fault | None


@dataclass(frozen=True, slots=True)
class Noted:
    """A size and root that were written down elsewhere, as an earlier verification printed them."""

    size: int
    root: str


def verify(database: Database, noted: Noted | None = None) -> Verified:
    """Check all of it in one snapshot. Raises Unavailable."""
    with database.read() as unit:
        audit_chain.prepare_long_reading(unit)
        walk = _Walk(unit, noted)
        fault = walk.chain_fault() or walk.noted_fault() or walk.row_fault()
        root = walk.tree.root() if fault is None else None
        return Verified(walk.size, root, walk.checkpoints, audit_chain.count_unlinked(unit), walk.lag_seconds, fault)


class _Walk:
    """One passage over the chain; what it has come to so far."""

    def __init__(self, unit: Unit, noted: Noted | None) -> None:
        self.unit, self.noted = unit, noted
        self.tree, self.chain, self.size = Tree(), GENESIS, 0
        self.checkpoints, self.checkpoint_hash = 0, GENESIS
        self.noted_root = self.tree.root()
        self.lag_seconds: float | None = None

    def chain_fault(self) -> Fault | None:
        """The first fault of the links, in their order, and of the checkpoints over them."""
        checkpoints = audit_chain.kept_checkpoints(self.unit)
        next_checkpoint, covered = next(checkpoints, None), 0
        for link in audit_chain.linked_rows(self.unit):
            if (fault := self._link_fault(link)) is not None:
                return fault
            while next_checkpoint is not None and next_checkpoint.size <= self.tree.size:
                if (fault := self._checkpoint_fault(next_checkpoint, link.audit_id)) is not None:
                    return fault
                next_checkpoint, covered = next(checkpoints, None), self.tree.size
        if next_checkpoint is not None:
            return Fault(f"links are missing: a checkpoint covers {next_checkpoint.size} of them", self.tree.size + 1)
        if covered != self.tree.size:
            return Fault("no checkpoint covers this link", covered + 1)
        return None

    def _link_fault(self, link: Linked) -> Fault | None:
        expected, audit_id = self.tree.size + 1, _shown(link.audit_id)
        if link.sequence > expected:
            return Fault("the link is missing", expected)
        if link.sequence < expected:
            return Fault("a number that was given before, or is none", link.sequence, audit_id)
        if link.values is None:
            return Fault("the audit row is missing", expected, audit_id)
        leaf = leaf_hash(link.values)
        chain, subtree = chain_hash(self.chain, expected, leaf), self.tree.append(leaf)
        what = _difference(link, leaf, chain, subtree)
        if what is None and not link.is_typed:
            what = "a value has another type than its column"
        if what is not None:
            return Fault(what, expected, audit_id)
        self.chain, self.size = chain, expected
        if self.noted is not None and self.noted.size == expected:
            self.noted_root = self.tree.root()
        return None

    def _checkpoint_fault(self, checkpoint: KeptCheckpoint, audit_id: bytes | None) -> Fault | None:
        """A fault of a checkpoint, named by the last link it should cover."""
        size, root = self.tree.size, self.tree.root()
        expected = checkpoint_hash(self.checkpoint_hash, size, root, self.chain, checkpoint.at or b"")
        kept = (checkpoint.size, checkpoint.root, checkpoint.chain, checkpoint.hash, checkpoint.is_typed)
        if kept != (size, root.encode(), self.chain.encode(), expected.encode(), True):
            return Fault("the checkpoint, or the one before it, is not as it was written", size, _shown(audit_id))
        self.checkpoint_hash, self.checkpoints = expected, self.checkpoints + 1
        return None

    def noted_fault(self) -> Fault | None:
        """Whether the tree does not contain what was noted of it."""
        if self.noted is None:
            return None
        if self.noted.size > self.tree.size:
            return Fault(f"the chain is shorter than the noted {self.noted.size}", self.tree.size + 1)
        if self.noted.root != self.noted_root:
            return Fault("the root is not the noted one: the chain was made anew", self.noted.size)
        return None

    def row_fault(self) -> Fault | None:
        """The first fault of the rows that have no link; those that wait, and not for too long, are none."""
        for audit_id, is_queued in audit_chain.rows_without_link(self.unit):
            if not is_queued:
                return Fault("an audit row was added: it never waited for a link", None, _shown(audit_id))
        idle = audit_chain.idle_in_queue(self.unit)
        if idle is not None:
            return Fault("an id waits for a link that it has already, or that no audit row needs", None, _shown(idle))
        self.lag_seconds = lag_seconds(self.unit)
        oldest = audit_chain.oldest_unlinked(self.unit)
        if oldest is not None and self.lag_seconds > ALARM_SECONDS:
            return Fault(f"audit rows have waited for the sequencer for {self.lag_seconds:.0f} seconds", self.tree.size + 1, oldest[1])
        return None


def _difference(link: Linked, leaf: bytes, chain: str, subtree: bytes) -> str | None:
    """What of a link differs from what its row and the chain before it make of it; None when nothing does."""
    differs = {
        "leaf hash": link.leaf != leaf.hex().encode(),
        "subtree hash": link.subtree != subtree.hex().encode(),
        "chain hash": link.chain != chain.encode(),
    }
    if differs["leaf hash"] and differs["chain hash"]:
        return "the audit row is not the one that was linked"
    return next((f"the {name} of the link is not as it was written" for name, is_other in differs.items() if is_other), None)


def _shown(stored: bytes | None) -> str | None:
    return stored.decode(errors="backslashreplace") if stored is not None else None

"""Hashes of the audit chain and of its Merkle tree: pure functions, nothing is read or stored here.

The tree is that of RFC 6962 §2.1: a leaf is SHA-256(0x00 ‖ row), a node SHA-256(0x01 ‖ left ‖ right), so that neither can pass for
the other. Each link also keeps the root of the largest perfect subtree that ends with its leaf: the left edge of any tree, and with
it the root of the present one, is then found in a handful of links, whatever the size.

Anybody can compute all of it again: what is hashed is a line that names its kind, then each value as a netstring
(length in decimal, colon, bytes, comma), and `~,` for a value that is absent. Hashes are written in hexadecimal.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from typing import Final

GENESIS: Final = "0" * 64
"""What the first link and the first checkpoint follow."""

_EMPTY: Final = hashlib.sha256(b"").digest()
_ROW: Final = b"\x00crisis-gateway audit row 1\n"
_LINK: Final = b"crisis-gateway audit link 1\n"
_CHECKPOINT: Final = b"crisis-gateway audit checkpoint 1\n"

Value = bytes | None


def leaf_hash(row: Iterable[Value]) -> bytes:
    """The leaf of one audit row. row: every stored column in the order of AuditRow, text as UTF-8, numbers in decimal."""
    return _hash(_ROW, row)


def node_hash(left: bytes, right: bytes) -> bytes:
    """The node above two subtrees."""
    return hashlib.sha256(b"\x01" + left + right).digest()


def chain_hash(previous: str, sequence: int, leaf: bytes) -> str:
    """The hash of a link, which holds the one before it. previous: its chain hash, or GENESIS."""
    return _hash(_LINK, (previous.encode(), b"%d" % sequence, leaf.hex().encode())).hex()


def checkpoint_hash(previous: str, size: int, root: str, chain: str, at: bytes) -> str:
    """The hash of a checkpoint, which holds the one before it. at: microseconds since 1970, in decimal."""
    return _hash(_CHECKPOINT, (previous.encode(), b"%d" % size, root.encode(), chain.encode(), at)).hex()


def _hash(kind: bytes, values: Iterable[Value]) -> bytes:
    return hashlib.sha256(kind + b"".join([b"~," if value is None else b"%d:%b," % (len(value), value) for value in values])).digest()


class Tree:
    """A growing tree, known by its size and the roots of the perfect subtrees it consists of, the largest first."""

    def __init__(self, size: int = 0, peaks: Sequence[bytes] = ()) -> None:
        if len(peaks) != size.bit_count():
            raise ValueError("a tree has one peak for each bit of its size")
        self.size = size
        self._peaks = list(peaks)

    def append(self, leaf: bytes) -> bytes:
        """Add a leaf; returns the root of the largest perfect subtree that ends with it."""
        node, joined = leaf, self.size
        while joined & 1:
            node = node_hash(self._peaks.pop(), node)
            joined >>= 1
        self._peaks.append(node)
        self.size += 1
        return node

    def root(self) -> str:
        """The Merkle tree hash (RFC 6962 §2.1) of all leaves."""
        if not self._peaks:
            return _EMPTY.hex()
        node = self._peaks[-1]
        for left in reversed(self._peaks[:-1]):
            node = node_hash(left, node)
        return node.hex()


def peak_ends(size: int) -> list[int]:
    """The sequences with which the perfect subtrees of a tree end, the largest subtree first."""
    ends, end = [], 0
    for level in reversed(range(size.bit_length())):
        if size >> level & 1:
            end += 1 << level
            ends.append(end)
    return ends

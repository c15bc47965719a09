"""The tree is RFC 6962's, and the hashes tell apart what differs."""

from __future__ import annotations

import hashlib

import pytest

from gateway.audit.tree import GENESIS, Tree, chain_hash, checkpoint_hash, leaf_hash, node_hash, peak_ends

LEAVES = ["", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f"]
# Published with RFC 6962's reference implementation (certificate-transparency, merkle tree tests): the roots of the first n leaves.
ROOTS = [
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]


def by_definition(leaves):
    """MTH of RFC 6962 §2.1, over leaf hashes."""
    if len(leaves) <= 1:
        return leaves[0] if leaves else hashlib.sha256(b"").digest()
    half = 1 << ((len(leaves) - 1).bit_length() - 1)
    return node_hash(by_definition(leaves[:half]), by_definition(leaves[half:]))


def test_the_roots_are_the_published_ones():
    tree, roots = Tree(), []
    for leaf in LEAVES:
        tree.append(hashlib.sha256(b"\x00" + bytes.fromhex(leaf)).digest())
        roots.append(tree.root())
    assert roots == ROOTS


def test_a_tree_taken_up_from_its_kept_subtrees_is_the_tree_by_its_definition():
    leaves = [hashlib.sha256(b"%d" % number).digest() for number in range(70)]
    kept, whole = [], Tree()
    for size, leaf in enumerate(leaves, start=1):
        kept.append(whole.append(leaf))
        taken_up = Tree(size, [kept[end - 1] for end in peak_ends(size)])
        assert taken_up.root() == whole.root() == by_definition(leaves[:size]).hex()


def test_an_empty_tree_has_the_hash_of_nothing():
    assert Tree().root() == hashlib.sha256(b"").hexdigest()
    assert peak_ends(0) == []


def test_a_tree_is_not_taken_up_from_too_few_subtrees():
    with pytest.raises(ValueError, match="peak"):
        Tree(3, [b"one"])


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ((b"ab", b""), (b"a", b"b")),
        ((b"a", None), (b"a", b"")),
        ((b"a", None), (b"a", b"~,")),
        ((b"1:a,", b"b"), (b"1", b"a,b")),
        ((b"a",), (b"a", None)),
        ((None, b"a"), (b"a", None)),
    ],
)
def test_rows_that_differ_have_different_leaves(one, other):
    assert leaf_hash(one) != leaf_hash(other)


def test_a_link_holds_its_number_its_row_and_the_link_before():
    first, second = leaf_hash([b"1"]), leaf_hash([b"2"])
    kept = [chain_hash(GENESIS, 1, first), chain_hash(GENESIS, 2, first), chain_hash(GENESIS, 1, second), chain_hash("1" * 64, 1, first)]
    assert len(set(kept)) == 4


def test_a_checkpoint_holds_all_it_says_and_the_one_before():
    one = (GENESIS, 1, "r", "c", b"5")
    others = [("1" * 64, 1, "r", "c", b"5"), (GENESIS, 2, "r", "c", b"5"), (GENESIS, 1, "s", "c", b"5"), (GENESIS, 1, "r", "d", b"5")]
    assert len({checkpoint_hash(*each) for each in (one, *others, (GENESIS, 1, "r", "c", b"6"))}) == 6


def test_a_leaf_can_be_computed_by_anybody():
    by_hand = b"\x00crisis-gateway audit row 1\n2:id,16:1790000000000000,~,3:\xc3\xa9!,"
    assert leaf_hash([b"id", b"1790000000000000", None, "é!".encode()]) == hashlib.sha256(by_hand).digest()

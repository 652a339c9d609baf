"""Merkle trees and their proofs, against the definition of RFC 6962 and vectors that its implementations share."""

from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.log.merkle import EMPTY_ROOT, Frontier, Tree, continues, includes, leaf_hash, split

# Certificate Transparency's own: the entries, and the roots of the trees of the first 0, 1, 2, … of them.
ENTRIES = [
    bytes.fromhex(entry)
    for entry in ("", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f")
]
ROOTS = [
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]
SIZES = st.integers(1, 140)


def _definition(entries: list[bytes]) -> bytes:
    """RFC 6962, 2.1, word by word."""
    if not entries:
        return sha256(b"").digest()
    if len(entries) == 1:
        return sha256(b"\0" + entries[0]).digest()
    k = _k(len(entries))
    return sha256(b"\1" + _definition(entries[:k]) + _definition(entries[k:])).digest()


def _path(m: int, entries: list[bytes]) -> list[bytes]:
    """RFC 6962, 2.1.1."""
    if len(entries) == 1:
        return []
    k = _k(len(entries))
    if m < k:
        return [*_path(m, entries[:k]), _definition(entries[k:])]
    return [*_path(m - k, entries[k:]), _definition(entries[:k])]


def _proof(m: int, entries: list[bytes], whole: bool = True) -> list[bytes]:
    """RFC 6962, 2.1.2."""
    if m == len(entries):
        return [] if whole else [_definition(entries)]
    k = _k(len(entries))
    if m <= k:
        return [*_proof(m, entries[:k], whole), _definition(entries[k:])]
    return [*_proof(m - k, entries[k:], False), _definition(entries[:k])]


def _k(count: int) -> int:
    k = 1
    while k * 2 < count:
        k *= 2
    return k


def _entries(size: int) -> list[bytes]:
    return [f"entry {number}".encode() for number in range(size)]


def _tree(size: int) -> Tree:
    return Tree(leaf_hash(entry) for entry in _entries(size))


def test_known_roots() -> None:
    leaves = [leaf_hash(entry) for entry in ENTRIES]
    for size, root in enumerate(ROOTS):
        frontier = Frontier()
        frontier.extend(leaves[:size])
        assert frontier.root.hex() == Tree(leaves).root(size).hex() == root


def test_known_proofs() -> None:
    tree = Tree(leaf_hash(entry) for entry in ENTRIES)
    assert [each.hex() for each in tree.inclusion(0, 8)] == [
        "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
        "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
        "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4",
    ]
    assert [each.hex() for each in tree.consistency(6, 8)] == [
        "0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a",
        "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    ]


@given(st.data(), SIZES)
def test_what_is_built_is_what_the_definition_says(data: st.DataObject, size: int) -> None:
    entries, tree = _entries(size), _tree(size)
    index = data.draw(st.integers(0, size - 1))
    old = data.draw(st.integers(1, size))
    assert tree.root(size) == _definition(entries)
    assert tree.root(old) == _definition(entries[:old])
    assert tree.inclusion(index, size) == _path(index, entries)
    assert tree.consistency(old, size) == _proof(old, entries)


@given(st.data(), SIZES)
def test_a_frontier_goes_on_from_anywhere(data: st.DataObject, size: int) -> None:
    leaves = [leaf_hash(entry) for entry in _entries(size)]
    frontier = Frontier()
    frontier.extend(leaves[: data.draw(st.integers(0, size))])
    resumed = Frontier(frontier.size, split(b"".join(frontier.hashes)))
    resumed.extend(leaves[frontier.size :])
    assert resumed.size == size
    assert resumed.root == _definition(_entries(size))


@given(st.data(), SIZES)
def test_a_proof_proves_this_and_nothing_else(data: st.DataObject, size: int) -> None:
    tree, root = _tree(size), _definition(_entries(size))
    index = data.draw(st.integers(0, size - 1))
    leaf, proof = leaf_hash(_entries(size)[index]), tree.inclusion(index, size)
    assert includes(root, size, index, leaf, proof)
    assert not includes(root, size, index, leaf_hash(b"another"), proof)
    assert not includes(root, size, index, leaf, [*proof, leaf])
    assert not includes(root, size, size, leaf, proof)
    if size > 1:
        assert not includes(root, size, (index + 1) % size, leaf, proof)
        assert not includes(root, size, index, leaf, proof[:-1])
        assert not includes(leaf_hash(b"root"), size, index, leaf, proof)


@given(st.data(), SIZES)
def test_one_tree_is_the_beginning_of_another(data: st.DataObject, size: int) -> None:
    tree = _tree(size)
    old = data.draw(st.integers(1, size))
    roots, proof = (tree.root(old), tree.root(size)), tree.consistency(old, size)
    assert continues(roots[0], old, roots[1], size, proof)
    assert not continues(leaf_hash(b"old"), old, roots[1], size, proof)
    assert not continues(roots[0], old, leaf_hash(b"new"), size, proof)
    assert not continues(roots[0], old, roots[1], size, [*proof, roots[0]])
    assert not continues(roots[0], 0, roots[1], size, proof)
    if proof:
        assert not continues(roots[0], old, roots[1], size, proof[:-1])
        altered = [leaf_hash(each) for each in proof[:1]] + proof[1:]
        assert not continues(roots[0], old, roots[1], size, altered)


def test_what_is_no_tree_is_refused() -> None:
    assert Frontier().root == Tree().root(0) == EMPTY_ROOT
    for size, hashes in ((1, []), (2, [EMPTY_ROOT, EMPTY_ROOT]), (1, [b"short"]), (-1, [])):
        with pytest.raises(ValueError, match="frontier"):
            Frontier(size, hashes)
    with pytest.raises(ValueError, match="whole number"):
        split(b"x" * 33)
    with pytest.raises(ValueError, match="no entry"):
        _tree(3).inclusion(3, 3)
    with pytest.raises(ValueError, match="no proof"):
        _tree(3).consistency(0, 3)

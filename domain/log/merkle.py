"""Merkle trees as in RFC 6962: one hash that stands for all entries of a log, in their order.

Proofs are those of RFC 6962, section 2.1; they are checked as RFC 9162 (2.1.3.2, 2.1.4.2) describes it.
"""

from collections.abc import Iterable, Iterator, Sequence
from hashlib import sha256

HASH_BYTES = 32
EMPTY_ROOT = sha256(b"").digest()


def leaf_hash(entry: bytes) -> bytes:
    """What stands for one entry."""
    return sha256(b"\0" + entry).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """What stands for two neighbouring subtrees."""
    return sha256(b"\1" + left + right).digest()


def split(hashes: bytes) -> Iterator[bytes]:
    """The single hashes of many that stand one behind the other. Raises ValueError for a torn one."""
    if len(hashes) % HASH_BYTES:
        raise ValueError(f"{len(hashes)} bytes are no whole number of hashes")
    return (hashes[start : start + HASH_BYTES] for start in range(0, len(hashes), HASH_BYTES))


class Frontier:
    """A tree that only grows, by the roots of its perfect subtrees, the largest first: some 20 hashes for a million
    entries."""

    def __init__(self, size: int = 0, hashes: Iterable[bytes] = ()) -> None:
        """``hashes`` are of a tree of this ``size``. Raises ValueError if they cannot be."""
        self.size = size
        self.hashes = list(hashes)
        if size < 0 or len(self.hashes) != size.bit_count() or any(len(each) != HASH_BYTES for each in self.hashes):
            raise ValueError(f"a tree of {size} entries has no such frontier")

    def extend(self, leaves: Iterable[bytes]) -> None:
        """Append leaf hashes."""
        size, hashes = self.size, self.hashes
        for leaf in leaves:
            found, rest = leaf, size
            while rest & 1:
                found = sha256(b"\1" + hashes.pop() + found).digest()
                rest >>= 1
            hashes.append(found)
            size += 1
        self.size = size

    @property
    def root(self) -> bytes:
        """The hash of the whole tree."""
        if not self.hashes:
            return EMPTY_ROOT
        found = self.hashes[-1]
        for left in reversed(self.hashes[:-1]):
            found = node_hash(left, found)
        return found

    def copy(self) -> "Frontier":
        """One that grows by itself."""
        return Frontier(self.size, self.hashes)


class Tree:
    """A tree with all its nodes, for proofs: 64 bytes an entry."""

    def __init__(self, leaves: Iterable[bytes] = ()) -> None:
        self._levels = [bytearray(b"".join(leaves))]
        while len(below := self._levels[-1]) >= 2 * HASH_BYTES:
            pairs = range(0, len(below) - HASH_BYTES, 2 * HASH_BYTES)
            self._levels.append(
                bytearray().join(sha256(b"\1" + below[at : at + 2 * HASH_BYTES]).digest() for at in pairs)
            )

    @property
    def size(self) -> int:
        """How many entries it has."""
        return len(self._levels[0]) // HASH_BYTES

    def root(self, size: int) -> bytes:
        """The hash of the tree of the first ``size`` entries."""
        return self._of(0, size) if size else EMPTY_ROOT

    def inclusion(self, index: int, size: int) -> list[bytes]:
        """The proof that the entry at ``index`` (from 0) is in the tree of the first ``size`` entries. Raises
        ValueError."""
        if not 0 <= index < size <= self.size:
            raise ValueError(f"no entry {index} in a tree of {size} of {self.size}")
        found: list[bytes] = []
        start, end = 0, size
        while end - start > 1:
            middle = start + _left(end - start)
            if index < middle:
                found.append(self._of(middle, end))
                end = middle
            else:
                found.append(self._of(start, middle))
                start = middle
        return found[::-1]

    def consistency(self, old: int, new: int) -> list[bytes]:
        """The proof that the tree of the first ``old`` entries is the beginning of that of ``new``. Raises
        ValueError."""
        if not 0 < old <= new <= self.size:
            raise ValueError(f"no proof from {old} to {new} of {self.size} entries")
        found: list[bytes] = []
        start, end, whole = 0, new, True
        while old != end:
            middle = start + _left(end - start)
            if old <= middle:
                found.append(self._of(middle, end))
                end = middle
            else:
                found.append(self._of(start, middle))
                start, whole = middle, False
        if not whole:
            found.append(self._of(start, end))
        return found[::-1]

    def _of(self, start: int, end: int) -> bytes:
        count = end - start
        if count & (count - 1) == 0:
            level = count.bit_length() - 1
            at = (start >> level) * HASH_BYTES
            return bytes(self._levels[level][at : at + HASH_BYTES])
        middle = start + _left(count)
        return node_hash(self._of(start, middle), self._of(middle, end))


def includes(root: bytes, size: int, index: int, leaf: bytes, proof: Sequence[bytes]) -> bool:
    """Whether ``proof`` shows that ``leaf`` is at ``index`` (from 0) of the tree with this root and size."""
    if not 0 <= index < size:
        return False
    found, at, last = leaf, index, size - 1
    for each in proof:
        if last == 0:
            return False
        if at & 1 or at == last:
            found = node_hash(each, found)
            while not at & 1 and at:
                at, last = at >> 1, last >> 1
        else:
            found = node_hash(found, each)
        at, last = at >> 1, last >> 1
    return last == 0 and found == root


def continues(old_root: bytes, old: int, new_root: bytes, new: int, proof: Sequence[bytes]) -> bool:
    """Whether ``proof`` shows that the tree with the old root and size is the beginning of the new one."""
    if not 0 < old <= new:
        return False
    if old == new:
        return not proof and old_root == new_root
    path = [old_root, *proof] if old & (old - 1) == 0 else list(proof)
    if not path:
        return False
    at, last = old - 1, new - 1
    while at & 1:
        at, last = at >> 1, last >> 1
    before = after = path[0]
    for each in path[1:]:
        if last == 0:
            return False
        if at & 1 or at == last:
            before, after = node_hash(each, before), node_hash(each, after)
            while not at & 1 and at:
                at, last = at >> 1, last >> 1
        else:
            after = node_hash(after, each)
        at, last = at >> 1, last >> 1
    return last == 0 and before == old_root and after == new_root


def _left(count: int) -> int:
    """Of ``count`` entries, more than one, how many are in the left subtree: the largest power of two below."""
    return 1 << (count - 1).bit_length() - 1

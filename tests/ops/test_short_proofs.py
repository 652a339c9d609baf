"""The small verifier's own arithmetic of proofs, against the product's, for all trees of some sizes."""

import hashlib
import importlib.util
from pathlib import Path
from typing import Any

import pytest

from domain.log.merkle import Tree

SMALL = Path(__file__).parents[2] / "ops" / "verifier" / "verify_log.py"
LEAVES = [hashlib.sha256(bytes([number])).digest() for number in range(20)]
TREE = Tree(LEAVES)


@pytest.fixture(scope="module")
def small() -> Any:
    spec = importlib.util.spec_from_file_location("verify_log", SMALL)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("size", range(1, 21))
def test_inclusion(small: Any, size: int) -> None:
    for index in range(size):
        proof = TREE.inclusion(index, size)
        assert small.root_by_proof(LEAVES[index], index, size, proof) == TREE.root(size)
        assert small.root_by_proof(LEAVES[index - 1], index, size, proof) != TREE.root(size) or size == 1
        assert small.root_by_proof(LEAVES[index], index, size, [*proof, LEAVES[0]]) is None
        assert not proof or small.root_by_proof(LEAVES[index], index, size, proof[:-1]) is None


@pytest.mark.parametrize("size", range(1, 21))
def test_consistency(small: Any, size: int) -> None:
    for old in range(1, size + 1):
        proof = TREE.consistency(old, size)
        roots = TREE.root(old), size, TREE.root(size)
        assert small.continues(old, *roots, proof)
        assert not small.continues(old, *roots, [*proof, LEAVES[0]])
        assert not small.continues(old, LEAVES[0], size, TREE.root(size), proof) or TREE.root(old) == LEAVES[0]
        assert not small.continues(old, TREE.root(old), size, LEAVES[1], proof)
        for at in range(len(proof)):
            assert not small.continues(old, *roots, [*proof[:at], bytes(32), *proof[at + 1 :]])
            assert not small.continues(old, *roots, proof[:at])
    assert not small.continues(0, TREE.root(1), size, TREE.root(size), [])
    assert not small.continues(size + 1, TREE.root(1), size, TREE.root(size), [])

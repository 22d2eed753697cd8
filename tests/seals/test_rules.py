"""The tree against RFC 6962's recursive definition and its published vectors; proofs and what breaks them."""

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.seals import rules
from app.seals.rules import Complete, Peaks, Statement, TrustedRoot

# The inputs and roots of the reference implementation of certificate transparency (merkletree tests, RFC 6962 2.1.3).
INPUTS = [
    bytes.fromhex(text)
    for text in (
        "",
        "00",
        "10",
        "2021",
        "3031",
        "40414243",
        "5051525354555657",
        "606162636465666768696a6b6c6d6e6f",
    )
]
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
SIZES = st.integers(1, 700)


def mth(leaves: Sequence[bytes]) -> bytes:
    """RFC 6962, 2.1, word for word; leaves are inputs."""
    if not leaves:
        return hashlib.sha256(b"").digest()
    if len(leaves) == 1:
        return hashlib.sha256(b"\x00" + leaves[0]).digest()
    k = largest_power_below(len(leaves))
    return hashlib.sha256(b"\x01" + mth(leaves[:k]) + mth(leaves[k:])).digest()


def path(m: int, leaves: Sequence[bytes]) -> list[bytes]:
    """RFC 6962, 2.1.1."""
    if len(leaves) == 1:
        return []
    k = largest_power_below(len(leaves))
    return [*path(m, leaves[:k]), mth(leaves[k:])] if m < k else [*path(m - k, leaves[k:]), mth(leaves[:k])]


def subproof(m: int, leaves: Sequence[bytes], whole: bool) -> list[bytes]:
    """RFC 6962, 2.1.2."""
    if m == len(leaves):
        return [] if whole else [mth(leaves)]
    k = largest_power_below(len(leaves))
    if m <= k:
        return [*subproof(m, leaves[:k], whole), mth(leaves[k:])]
    return [*subproof(m - k, leaves[k:], False), mth(leaves[:k])]


def largest_power_below(n: int) -> int:
    k = 1
    while k * 2 < n:
        k *= 2
    return k


def inputs(size: int) -> list[bytes]:
    return [number.to_bytes(4, "big") for number in range(size)]


def complete(leaves: Sequence[bytes]) -> Complete:
    return lambda level, place: mth(leaves[place << level : (place + 1) << level])


def grown(leaves: Sequence[bytes]) -> Peaks:
    peaks = Peaks()
    for leaf in leaves:
        peaks.append(rules.hash_leaf(leaf))
    return peaks


@pytest.mark.parametrize("size", range(1, 9))
def test_published_vectors(size: int) -> None:
    assert grown(INPUTS[:size]).root().hex() == ROOTS[size - 1] == mth(INPUTS[:size]).hex()


def test_published_proofs() -> None:
    """Vectors of the same source: PATH(0, D[8]) and PROOF(6, D[8])."""
    assert [each.hex() for each in rules.inclusion_path(0, 8, complete(INPUTS))] == [
        "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
        "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
        "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4",
    ]
    assert [each.hex() for each in rules.consistency_path(6, 8, complete(INPUTS))] == [
        "0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a",
        "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    ]


def test_the_empty_tree() -> None:
    assert Peaks().root() == mth([]) == rules.EMPTY


@given(SIZES)
def test_growing_leaf_by_leaf_gives_the_recursive_root_and_keeps_complete_subtrees(size: int) -> None:
    leaves, peaks, kept = inputs(size), Peaks(), []
    for leaf in leaves:
        kept += peaks.append(rules.hash_leaf(leaf))
    assert peaks.root() == mth(leaves)
    assert [(node.level, node.place) for node in kept] == [(8, place) for place in range(size // 256)]
    assert all(node.hash == complete(leaves)(node.level, node.place) for node in kept)


def test_of_65536_leaves_the_higher_level_is_kept_too() -> None:
    peaks = Peaks()
    kept = [node for leaf in inputs(1 << 16) for node in peaks.append(rules.hash_leaf(leaf))]
    assert kept[-1] == rules.Node(16, 0, peaks.root())
    assert len(kept) == 257


@given(SIZES, st.integers(0, 50))
def test_a_tree_taken_up_again_grows_as_if_never_left(size: int, more: int) -> None:
    leaves = inputs(size + more)
    peaks = rules.peaks_of(size, complete(leaves))
    assert peaks.root() == mth(leaves[:size])
    for leaf in leaves[size:]:
        peaks.append(rules.hash_leaf(leaf))
    assert peaks.root() == mth(leaves)


@given(st.data(), st.integers(1, 300))
def test_inclusion_is_as_defined_and_verifies(data: st.DataObject, size: int) -> None:
    index, leaves = data.draw(st.integers(0, size - 1)), inputs(size)
    proof = rules.inclusion_path(index, size, complete(leaves))
    assert proof == path(index, leaves)
    assert rules.included_in(rules.hash_leaf(leaves[index]), index, size, proof) == mth(leaves)


@given(st.data(), st.integers(2, 300))
def test_inclusion_fails_when_any_byte_changes(data: st.DataObject, size: int) -> None:
    index, leaves = data.draw(st.integers(0, size - 1)), inputs(size)
    root, leaf = mth(leaves), rules.hash_leaf(leaves[index])
    proof = rules.inclusion_path(index, size, complete(leaves))
    assert rules.included_in(leaf, index, size, changed(data, proof)) != root
    assert rules.included_in(changed(data, [leaf])[0], index, size, proof) != root
    assert rules.included_in(leaf, index, size, [*proof, root]) != root
    assert rules.included_in(leaf, index, size, proof[:-1]) != root
    other = data.draw(st.integers(0, size - 1).filter(lambda other: other != index))
    assert rules.included_in(leaf, other, size, proof) != root
    assert rules.included_in(leaf, size, size, proof) is None


@given(st.data(), st.integers(1, 300))
def test_consistency_is_as_defined_and_verifies(data: st.DataObject, new: int) -> None:
    old, leaves = data.draw(st.integers(1, new)), inputs(new)
    proof = rules.consistency_path(old, new, complete(leaves))
    assert proof == subproof(old, leaves, True)
    assert rules.is_consistent(old, new, mth(leaves[:old]), mth(leaves), proof)
    assert rules.is_consistent(0, new, rules.EMPTY, mth(leaves), rules.consistency_path(0, new, complete(leaves)))


@given(st.data(), st.integers(2, 300))
def test_consistency_fails_when_any_byte_changes(data: st.DataObject, new: int) -> None:
    old, leaves = data.draw(st.integers(1, new - 1)), inputs(new)
    old_root, new_root = mth(leaves[:old]), mth(leaves)
    proof = rules.consistency_path(old, new, complete(leaves))
    assert not rules.is_consistent(old, new, old_root, new_root, changed(data, proof))
    assert not rules.is_consistent(old, new, changed(data, [old_root])[0], new_root, proof)
    assert not rules.is_consistent(old, new, old_root, changed(data, [new_root])[0], proof)
    assert not rules.is_consistent(old, new, old_root, new_root, [*proof, new_root])
    assert not rules.is_consistent(old, new, old_root, new_root, proof[:-1])
    assert not rules.is_consistent(old, new, old_root, new_root, [])
    assert not rules.is_consistent(new, old, new_root, old_root, proof)


@given(st.integers(1, 200), st.integers(0, 100))
def test_a_log_that_was_rewritten_has_no_proof(old: int, more: int) -> None:
    """Whoever changed one leaf cannot show that the new log begins with the old."""
    leaves = inputs(old + more)
    forged = [b"forged", *leaves[1:]]
    proof = rules.consistency_path(old, old + more, complete(forged))
    assert not rules.is_consistent(old, old + more, mth(leaves[:old]), mth(forged), proof)


def changed(data: st.DataObject, hashes: Sequence[bytes]) -> list[bytes]:
    """With one bit of one byte flipped."""
    which = data.draw(st.integers(0, len(hashes) - 1))
    byte, bit = data.draw(st.integers(0, 31)), data.draw(st.integers(0, 7))
    bent = bytearray(hashes[which])
    bent[byte] ^= 1 << bit
    return [*hashes[:which], bytes(bent), *hashes[which + 1 :]]


def test_proofs_of_nothing_are_refused() -> None:
    with pytest.raises(ValueError, match="leaf 3 of 3"):
        rules.inclusion_path(3, 3, complete(inputs(3)))
    with pytest.raises(ValueError, match="4 leaves, then 3"):
        rules.consistency_path(4, 3, complete(inputs(3)))


# --- statements ------------------------------------------------------------------------------------------------------

SEED = bytes(range(32))
SAID = Statement(
    number=2,
    day=date(2026, 11, 22),
    at=datetime(2026, 11, 21, 17, 5, tzinfo=UTC),
    size=3,
    root=bytes(32),
    previous=b"p" * 32,
    below_xid=77,
    key_id=rules.key_id(rules.public_key(SEED)),
)
OTHERS: dict[str, Any] = {
    "number": 3,
    "day": date(2026, 11, 23),
    "at": SAID.at + timedelta(microseconds=1),
    "size": 4,
    "root": b"r" * 32,
    "previous": b"q" * 32,
    "below_xid": 78,
    "key_id": "0" * 64,
}


def test_a_signature_is_of_every_field() -> None:
    signature, public = rules.sign(SEED, SAID), rules.public_key(SEED)
    assert rules.is_signed(public, SAID, signature)
    assert set(OTHERS) == set(Statement.__dataclass_fields__)
    for name, value in OTHERS.items():
        assert not rules.is_signed(public, replace(SAID, **{name: value}), signature), name
    assert not rules.is_signed(rules.public_key(bytes(32)), SAID, signature)
    assert not rules.is_signed(b"", SAID, signature)


def test_a_trusted_root_survives_its_line() -> None:
    root = TrustedRoot(SAID, rules.sign(SEED, SAID))
    assert TrustedRoot.read(root.line()) == root


@pytest.mark.parametrize(
    "line",
    [
        "",
        "[]",
        "{}",
        "7",
        TrustedRoot(SAID, b"").line().replace("phananh seal 1", "phananh seal 2"),
        TrustedRoot(SAID, b"").line().replace('"number": 2', '"number": "2"'),
        TrustedRoot(SAID, b"").line().replace("+00:00", ""),
        TrustedRoot(SAID, b"").line().replace('"size": 3', '"size": 3, "also": 1'),
    ],
)
def test_what_is_no_trusted_root_is_refused(line: str) -> None:
    with pytest.raises(ValueError, match="not a line of a trusted-roots file"):
        TrustedRoot.read(line)


def test_deliveries_pause_longer_and_longer_and_never_end() -> None:
    assert [rules.pause(n) for n in (1, 2, 3)] == [timedelta(minutes=n) for n in (1, 2, 4)]
    assert rules.pause(9) == timedelta(minutes=256)
    assert rules.pause(10) == rules.pause(10_000) == timedelta(hours=6)

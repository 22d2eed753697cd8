"""The log of sealed heads as a Merkle tree (RFC 6962, section 2.1), its proofs, and what a seal signs. Pure."""

import hashlib
import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any
from uuid import UUID

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

HASH_BYTES = 32
EMPTY = hashlib.sha256(b"").digest()
FORMAT = "phananh seal 1"
# Hashes of complete subtrees are kept every 8 levels (256, 65,536, … leaves): a proof reads at most 255 rows a subtree,
# and the kept ones are a 255th of the leaves.
KEPT_EVERY = 8

# --- hashes --------------------------------------------------------------------------------------------------------


def leaf_hash(case_id: UUID, seq: int, head: bytes) -> bytes:
    """RFC 6962's hash of a leaf: SHA-256(0x00, case id, seq as 8 bytes big endian, head)."""
    return hash_leaf(case_id.bytes + seq.to_bytes(8, "big") + head)


def hash_leaf(data: bytes) -> bytes:
    """SHA-256(0x00, data)."""
    return hashlib.sha256(b"\x00" + data).digest()


def hash_node(left: bytes, right: bytes) -> bytes:
    """SHA-256(0x01, left, right)."""
    return hashlib.sha256(b"\x01" + left + right).digest()


@dataclass(frozen=True, slots=True)
class Node:
    """The hash of a complete subtree: that of the leaves from `place` << `level`, 1 << `level` of them."""

    level: int
    place: int
    hash: bytes


class Peaks:
    """A tree that grows to the right, as the roots of its complete subtrees: log2(size) hashes, whatever its size."""

    def __init__(self, size: int = 0, peaks: Iterable[bytes] = ()) -> None:
        self.size = size
        self._peaks = list(peaks)

    def append(self, leaf: bytes) -> list[Node]:
        """Add the hash of one leaf; returns the nodes this completes whose level is kept."""
        level, place, found = 0, self.size, leaf
        kept = []
        while place & 1:
            found = hash_node(self._peaks.pop(), found)
            level, place = level + 1, place >> 1
            if level % KEPT_EVERY == 0:
                kept.append(Node(level, place, found))
        self._peaks.append(found)
        self.size += 1
        return kept

    def root(self) -> bytes:
        """The root of all leaves so far (RFC 6962: MTH)."""
        if not self._peaks:
            return EMPTY
        *larger, found = self._peaks
        for peak in reversed(larger):
            found = hash_node(peak, found)
        return found


# --- proofs --------------------------------------------------------------------------------------------------------

# The hash of a complete subtree, by its level and place.
Complete = Callable[[int, int], bytes]


def peaks_of(size: int, complete: Complete) -> Peaks:
    """The tree of the first `size` leaves, ready to grow."""
    levels = [level for level in reversed(range(size.bit_length())) if size >> level & 1]
    return Peaks(size, [complete(level, (size >> level) - 1) for level in levels])


def span_hash(first: int, end: int, complete: Complete) -> bytes:
    """The hash of the leaves from `first` to before `end`, where `first` is a multiple of the power of 2 above."""
    width = end - first
    level = width.bit_length() - 1
    if width == 1 << level:
        return complete(level, first >> level)
    middle = first + _split(width)
    return hash_node(span_hash(first, middle, complete), span_hash(middle, end, complete))


def inclusion_path(index: int, size: int, complete: Complete) -> list[bytes]:
    """PATH(index, D[size]): the hashes that lead from a leaf to the root, the nearest first. ValueError outside."""
    if not 0 <= index < size:
        raise ValueError(f"leaf {index} of {size}")
    first, end = 0, size
    path = []
    while end - first > 1:
        middle = first + _split(end - first)
        if index < middle:
            path.append(span_hash(middle, end, complete))
            end = middle
        else:
            path.append(span_hash(first, middle, complete))
            first = middle
    return path[::-1]


def consistency_path(old: int, new: int, complete: Complete) -> list[bytes]:
    """PROOF(old, D[new]): that the tree of `new` leaves begins with that of `old`. Empty for equal sizes or none."""
    if not 0 <= old <= new:
        raise ValueError(f"{old} leaves, then {new}")
    first, end = 0, new
    path = []
    while old not in (first, end):
        middle = first + _split(end - first)
        if old <= middle:
            path.append(span_hash(middle, end, complete))
            end = middle
        else:
            path.append(span_hash(first, middle, complete))
            first = middle
    if first > 0:  # the old root is not a subtree of its own, so its last part must be told
        path.append(span_hash(first, end, complete))
    return path[::-1]


def included_in(leaf: bytes, index: int, size: int, path: Sequence[bytes]) -> bytes | None:
    """The root that `path` leads to from a leaf's hash (RFC 9162, 2.1.3.2); None for a wrong length."""
    if not 0 <= index < size:
        return None
    place, last, found = index, size - 1, leaf
    for other in path:
        if last == 0:
            return None
        if place & 1 or place == last:
            found = hash_node(other, found)
            while place and not place & 1:
                place, last = place >> 1, last >> 1
        else:
            found = hash_node(found, other)
        place, last = place >> 1, last >> 1
    return found if last == 0 else None


def is_consistent(old: int, new: int, old_root: bytes, new_root: bytes, path: Sequence[bytes]) -> bool:
    """Whether `path` proves that the newer tree begins with the older (RFC 9162, 2.1.4.2)."""
    if old in (0, new):
        return not path and (old_root == new_root if old == new else old_root == EMPTY)
    told = [old_root, *path] if old & (old - 1) == 0 else list(path)
    if not 0 < old < new or not told:
        return False
    place, last = old - 1, new - 1
    while place & 1:
        place, last = place >> 1, last >> 1
    older = newer = told[0]
    for other in told[1:]:
        if last == 0:
            return False
        if place & 1 or place == last:
            older, newer = hash_node(other, older), hash_node(other, newer)
            while place and not place & 1:
                place, last = place >> 1, last >> 1
        else:
            newer = hash_node(newer, other)
        place, last = place >> 1, last >> 1
    return last == 0 and older == old_root and newer == new_root


def _split(width: int) -> int:
    """The largest power of 2 below `width`, which is at least 2."""
    return 1 << (width - 1).bit_length() - 1


# --- what is signed ------------------------------------------------------------------------------------------------

FIRST_PREVIOUS = bytes(HASH_BYTES)


@dataclass(frozen=True, slots=True)
class Statement:
    """What a seal says: at `at`, on the local day `day`, the log had `size` leaves and this root.

    `previous` is the hash of the predecessor's statement (32 zero bytes for the first). Events of transactions that
    were still running, `below_xid` and later, are left to the next seal. `key_id` names the public key by its SHA-256.
    """

    number: int
    day: date
    at: datetime
    size: int
    root: bytes
    previous: bytes
    below_xid: int
    key_id: str

    def plain(self) -> dict[str, Any]:
        """As JSON values."""
        plain = asdict(self) | {"format": FORMAT, "day": self.day.isoformat()}
        plain["at"] = self.at.astimezone(UTC).isoformat(timespec="microseconds")
        return plain | {"root": self.root.hex(), "previous": self.previous.hex()}

    def signed(self) -> bytes:
        """The bytes that are signed: JSON with sorted keys and no blanks."""
        return json.dumps(self.plain(), sort_keys=True, separators=(",", ":"), ensure_ascii=True).encode()

    def hash(self) -> bytes:
        """What the next seal calls its predecessor: SHA-256 of the signed bytes."""
        return hashlib.sha256(self.signed()).digest()


@dataclass(frozen=True, slots=True)
class TrustedRoot:
    """One line of a trusted-roots file: a seal as somebody else kept it."""

    statement: Statement
    signature: bytes

    @classmethod
    def read(cls, line: str) -> "TrustedRoot":
        """A line as `phananh seals export` prints it; ValueError says what it lacks."""
        try:
            told: dict[str, Any] = json.loads(line)
            statement = Statement(
                number=int(told["number"]),
                day=date.fromisoformat(told["day"]),
                at=datetime.fromisoformat(told["at"]),
                size=int(told["size"]),
                root=bytes.fromhex(told["root"]),
                previous=bytes.fromhex(told["previous"]),
                below_xid=int(told["below_xid"]),
                key_id=str(told["key_id"]),
            )
            signature = bytes.fromhex(told.pop("signature"))
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(f"not a line of a trusted-roots file: {error}") from error
        if statement.plain() != told:
            raise ValueError("not a line of a trusted-roots file: another format")
        return cls(statement, signature)

    def line(self) -> str:
        """The line."""
        return json.dumps(self.statement.plain() | {"signature": self.signature.hex()}, sort_keys=True)


def public_key(seed: bytes) -> bytes:
    """The public half of an Ed25519 key, 32 bytes."""
    return Ed25519PrivateKey.from_private_bytes(seed).public_key().public_bytes_raw()


def key_id(public: bytes) -> str:
    """A public key's name: its SHA-256 in hexadecimal. Who trusts the name trusts the key."""
    return hashlib.sha256(public).hexdigest()


def sign(seed: bytes, statement: Statement) -> bytes:
    """The Ed25519 signature (RFC 8032) of a statement, 64 bytes."""
    return Ed25519PrivateKey.from_private_bytes(seed).sign(statement.signed())


def is_signed(public: bytes, statement: Statement, signature: bytes) -> bool:
    """Whether `signature` is of this statement, under this public key."""
    try:
        Ed25519PublicKey.from_public_bytes(public).verify(signature, statement.signed())
    except (InvalidSignature, ValueError):
        return False
    return True


def what_cannot_be_seen(last_trusted: int, last_seal: int) -> str:
    """What a check against trusted roots up to `last_trusted` (0 for none) cannot find, said with every result."""
    since = f"trusted root {last_trusted}" if last_trusted else "the beginning (no trusted root was given)"
    return (
        f"Not detectable: what was rewritten since {since} by somebody who held both the database and the signing key,"
        f" and what was rewritten since seal {last_seal} by somebody who held the database."
    )


# --- leaving the host ----------------------------------------------------------------------------------------------

_FIRST_PAUSE, _LONGEST_PAUSE = timedelta(minutes=1), timedelta(hours=6)


def pause(attempts: int) -> timedelta:
    """How long to wait after the `attempts`-th failed delivery. It is never given up: a root must leave the host."""
    return min(_LONGEST_PAUSE, _FIRST_PAUSE * (1 << min(attempts - 1, 10)))

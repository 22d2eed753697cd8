"""Checks an auditor's export without our database or code: `python verify_export.py EXPORT [--trusted-roots FILE]`.

Needs Python 3.11 and the package `cryptography`, nothing else. Recomputes every chain of events, the log of sealed
heads (RFC 6962), every root, that each log is the beginning of the next, every signature, and compares with roots that
were kept elsewhere. Names the first row that does not fit and ends with 1; 0 means that all fits.

The export is a file of JSON lines: `key` (id = SHA-256 of public_key), `seal`, `leaf` (index, case_id, seq, head),
`event` (case_id, seq, hash, body as it was hashed, the index of its leaf where it was sealed), and `end` with counts.
    hash of an event = SHA-256(hash of the event before, body), the first after 32 zero bytes
    hash of a leaf   = SHA-256(0x00, case id (16 bytes), seq (8 bytes, big endian), head)
    hash of a node   = SHA-256(0x01, left, right)
    signed by a seal = its fields but `signature`, as JSON with sorted keys and no blanks (Ed25519)
    previous of a seal = SHA-256 of what its predecessor signed, 32 zero bytes for the first
Memory: 56 bytes a leaf, beside the seals.
"""

import argparse
import hashlib
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import UUID

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

Line = dict[str, Any]
ZEROS, LEAF_BYTES = bytes(32), 56
SIGNED = ("format", "number", "day", "at", "size", "root", "previous", "below_xid", "key_id")
EXPORT_FORMAT, SEAL_FORMAT = "phananh audit export 1", "phananh seal 1"


class Fault(Exception):
    """The first thing that does not fit, as a sentence."""


def sha256(*parts: bytes) -> bytes:
    """SHA-256 of all parts together."""
    return hashlib.sha256(b"".join(parts)).digest()


def expect(fits: bool, fault: str) -> None:
    """Stop with a sentence unless it fits."""
    if not fits:
        raise Fault(fault)


def read(path: Path) -> Iterator[Line]:
    """The lines of a file of JSON lines, one at a time."""
    with path.open(encoding="ascii") as file:
        for number, text in enumerate(file, start=1):
            try:
                line = json.loads(text)
            except ValueError:
                line = None
            if not isinstance(line, dict):
                raise Fault(f"{path.name}, line {number}: not a JSON object")
            yield line


def signed(seal: Line) -> bytes:
    """The bytes a seal signs."""
    return json.dumps({name: seal[name] for name in SIGNED}, sort_keys=True, separators=(",", ":")).encode()


class Log:
    """The tree over all leaves so far, as the roots of its complete subtrees."""

    def __init__(self) -> None:
        self.size = 0
        self.peaks: list[bytes] = []

    def append(self, leaf: bytes) -> None:
        """Add one leaf."""
        found, place = sha256(b"\x00", leaf), self.size
        while place & 1:
            found, place = sha256(b"\x01", self.peaks.pop(), found), place >> 1
        self.peaks.append(found)
        self.size += 1

    def root(self) -> bytes:
        """RFC 6962's MTH."""
        if not self.peaks:
            return sha256()
        found = self.peaks[-1]
        for peak in reversed(self.peaks[:-1]):
            found = sha256(b"\x01", peak, found)
        return found


class Check:
    """One pass over an export."""

    def __init__(self, trusted: list[Line], also: set[str]) -> None:
        self.trusted = {root["number"]: root for root in trusted}
        self.accepted = {root["key_id"] for root in trusted} | also
        self.keys: dict[str, bytes] = {}
        self.seals: list[Line] = []
        self.log, self.leaves, self.rooted = Log(), bytearray(), 0
        self.found = bytearray()  # a byte a leaf: 1 once its event was seen
        self.case: UUID | None = None
        self.seq, self.head, self.events = 0, ZEROS, 0
        self.started = self.ended = False

    def run(self, lines: Iterator[Line]) -> None:
        """Everything, in the order of the file; raises the first Fault."""
        for line in lines:
            kind = line.get("type")
            expect(not self.ended, "the export goes on after its end")
            expect(self.started == (kind != "export"), "the export does not begin with its format")
            try:
                {"export": self.start, "key": self.key, "seal": self.seal, "leaf": self.leaf, "event": self.event,
                 "end": self.end}[str(kind)](line)  # fmt: skip
            except (KeyError, TypeError, ValueError, OverflowError, AttributeError) as error:
                raise Fault(f"a line of type {kind} is malformed: {error!r}") from error
        expect(self.ended, "the export has no end: it was cut off")

    def start(self, line: Line) -> None:
        """The first line."""
        expect(line["format"] == EXPORT_FORMAT, "the export has another format than this verifier reads")
        self.started = True

    def key(self, line: Line) -> None:
        """A public key, whose name is its hash."""
        public = bytes.fromhex(line["public_key"])
        expect(sha256(public).hex() == line["id"], f"key {line['id']}: its name is not its hash")
        self.keys[line["id"]] = public

    def seal(self, line: Line) -> None:
        """A seal: its number, predecessor, signature and key; then whether it is the one that was kept elsewhere."""
        number = len(self.seals) + 1
        expect(line["number"] == number, f"seal {number} is missing")
        expect(line["format"] == SEAL_FORMAT, f"seal {number} has another format")
        before = self.seals[-1] if self.seals else None
        kept = self.trusted.get(number)
        for name in (*SIGNED, "signature") if kept else ():
            expect(
                kept is not None and line[name] == kept[name], f"seal {number}: {name} differs from the trusted root"
            )
        expect(line["previous"] == (sha256(signed(before)) if before else ZEROS).hex(),
               f"seal {number}: it names another predecessor")  # fmt: skip
        expect(line["size"] >= (before["size"] if before else 0), f"seal {number}: its log is shorter than before")
        expect(line["key_id"] in self.keys, f"seal {number}: its key {line['key_id']} was not published")
        try:
            public = Ed25519PublicKey.from_public_bytes(self.keys[line["key_id"]])
            public.verify(bytes.fromhex(line["signature"]), signed(line))
        except InvalidSignature:
            raise Fault(f"seal {number}: the signature is not of key {line['key_id']}") from None
        expect(not self.trusted or line["key_id"] in self.accepted,
               f"seal {number}: no trusted root names its key {line['key_id']}; if the key was changed, accept it with"
               f" --key after asking")  # fmt: skip
        self.seals.append(line)

    def roots(self) -> None:
        """The seals whose log ends here. One growing tree gives all roots, so each log begins with the ones before."""
        while self.rooted < len(self.seals) and self.seals[self.rooted]["size"] == self.log.size:
            seal = self.seals[self.rooted]
            expect(seal["root"] == self.log.root().hex(), f"seal {seal['number']}: its root is not that of the leaves")
            self.rooted += 1

    def leaf(self, line: Line) -> None:
        """A leaf, in the order of the log."""
        expect(line["index"] == self.log.size, f"leaf {self.log.size} is missing")
        self.roots()
        leaf = UUID(line["case_id"]).bytes + line["seq"].to_bytes(8, "big") + bytes.fromhex(line["head"])
        expect(len(leaf) == LEAF_BYTES, f"leaf {line['index']}: its head has another length")
        self.log.append(leaf)
        self.leaves += leaf
        self.found.append(0)

    def event(self, line: Line) -> None:
        """An event: its place in the chain, its body, its hash, and the head that was sealed."""
        case, seq, body = UUID(line["case_id"]), line["seq"], line["body"].encode(errors="surrogateescape")
        if case != self.case:
            expect(self.case is None or case > self.case, f"case {case}: its events do not stand together, in order")
            self.case, self.seq, self.head = case, 0, ZEROS
        expect(seq == self.seq + 1, f"case {case}: event {self.seq + 1} is missing")
        self.seq, self.head = seq, sha256(self.head, body)
        expect(self.head.hex() == line["hash"], f"case {case}: event {seq}: its hash does not follow from its body and"
               f" the event before")  # fmt: skip
        said = json.loads(body)
        expect((said["case_id"], said["seq"]) == (str(case), seq), f"case {case}: event {seq}: its body is of another")
        if (index := line.get("leaf")) is not None:
            sealed = bytes(self.leaves[index * LEAF_BYTES : (index + 1) * LEAF_BYTES])
            expect(sealed == case.bytes + seq.to_bytes(8, "big") + self.head,
                   f"case {case}: event {seq}: its hash is not the head that was sealed as leaf {index}")  # fmt: skip
            self.found[index] = 1
        self.events += 1

    def end(self, line: Line) -> None:
        """Nothing is missing."""
        self.roots()
        gone = max(self.trusted, default=0)
        expect(gone <= len(self.seals), f"seal {gone} is missing, and is a trusted root")
        expect(self.rooted == len(self.seals), f"seal {self.rooted + 1}: it speaks of more leaves than there are")
        expect(self.log.size == (self.seals[-1]["size"] if self.seals else 0), "the last leaf belongs to no seal")
        if (index := self.found.find(0)) >= 0:
            sealed = self.leaves[index * LEAF_BYTES : (index + 1) * LEAF_BYTES]
            case, seq = UUID(bytes=bytes(sealed[:16])), int.from_bytes(sealed[16:24], "big")
            raise Fault(f"case {case}: event {seq} is missing, and was sealed as leaf {index}")
        expect(line["leaves"] == self.log.size and line["events"] == self.events, "the export's end counts other lines")
        self.ended = True


def main() -> int:
    """Say what does not fit, and always what cannot be found."""
    parser = argparse.ArgumentParser(description="Checks an auditor's export of phananh.")
    parser.add_argument("export", type=Path)
    parser.add_argument("--trusted-roots", type=Path, help="seals as somebody kept them elsewhere (JSON lines)")
    parser.add_argument("--key", action="append", default=[], help="id of a further key to accept")
    given = parser.parse_args()
    try:
        trusted = list(read(given.trusted_roots)) if given.trusted_roots else []
        check = Check(trusted, set(given.key))
        check.run(read(given.export))
    except (Fault, OSError, KeyError, ValueError) as fault:
        print(fault if isinstance(fault, Fault) else f"not readable: {fault!r}")
        return 1
    last = max(check.trusted, default=0)
    print(f"{check.events} events, {check.log.size} leaves and {len(check.seals)} seals fit")
    since = f"trusted root {last}" if last else "the beginning (no trusted root was given)"
    print(f"Not detectable: what was rewritten since {since} by somebody who held both the database and the signing"
          f" key, and what was rewritten since seal {len(check.seals)} by somebody who held the database.")  # fmt: skip
    return 0


if __name__ == "__main__":
    sys.exit(main())

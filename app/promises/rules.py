"""What a unit promises by accepting a case, and the signed slip (phiếu hẹn) that says so. Pure."""

import base64
import io
import json
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

import segno
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from app.cases.rules import OPEN, UNACCEPTED
from app.core.clock import LOCAL
from app.seals.rules import key_id, public_key

PREFIX = "PH1."
# Stands before what is signed: the key also signs seals, whose statements begin with a brace.
SIGNED_AS = b"phananh slip 1\n"
KEY_DIGITS = 16
# Where a unit has accepted a case and not let go of it.
_HELD = frozenset(OPEN) - frozenset(UNACCEPTED)


@dataclass(frozen=True, slots=True)
class Step:
    """An event of a case, as far as a promise depends on it."""

    seq: int
    at: datetime
    verb: str
    to_state: str
    unit_id: UUID | None
    category_code: str
    due_at: datetime | None


def promises(steps: Iterable[Step]) -> list[Step]:
    """The steps that promised something, oldest first.

    Accepting does; so does every later step by which another unit, another deadline or another category came to stand
    in the place of what was promised last. A unit that passes the case on promises nothing more.
    """
    found: list[Step] = []
    for step in steps:
        if step.to_state not in _HELD or step.unit_id is None or step.due_at is None:
            continue
        if step.verb == "accept" or not found or _said(step) != _said(found[-1]):
            found.append(step)
    return found


def _said(step: Step) -> tuple[object, ...]:
    return step.unit_id, step.category_code, step.due_at


@dataclass(frozen=True, slots=True)
class Slip:
    """What a slip says: `unit_name` will have resolved the case, and have told how, by `by`.

    `number` is the seq of the event that promised it: of one case, the higher one was promised later.
    """

    reference: str
    number: int
    category: str
    unit_code: str
    unit_name: str
    by: datetime
    issued: datetime

    def body(self, key: str) -> bytes:
        """The slip as canonical JSON (sorted keys, no blanks, UTF-8): whole seconds of local time, rounded down."""
        said = {
            "by": _local(self.by),
            "case": self.reference,
            "category": self.category,
            "issued": _local(self.issued),
            "key": key[:KEY_DIGITS],
            "number": self.number,
            "promise": "resolve",
            "unit": self.unit_code,
            "unit_name": self.unit_name,
        }
        return json.dumps(said, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()

    def text(self, seed: bytes) -> str:
        """The slip, signed: `PH1.` and, in base32 without padding, its body and the Ed25519 signature's 64 bytes.

        Always the same for the same slip and key. Base32 costs a QR code a tenth of its room, where base64, which its
        alphabet lacks, costs a third; and letters of one case survive being read out.
        """
        body = self.body(key_id(public_key(seed)))
        signature = Ed25519PrivateKey.from_private_bytes(seed).sign(SIGNED_AS + body)
        return PREFIX + base64.b32encode(body + signature).decode().rstrip("=")


def _local(moment: datetime) -> str:
    return moment.astimezone(LOCAL).isoformat(timespec="seconds")


def qr_code(text: str, form: str) -> bytes:
    """A QR code of `text` as `png` or `svg`, readable with 15 % of it damaged (level M)."""
    drawn = io.BytesIO()
    segno.make(text, error="m", micro=False, boost_error=False).save(drawn, kind=form, scale=4)
    return drawn.getvalue()

"""Seals and proofs as they go over the wire. Hashes, keys and signatures are lower-case hexadecimal."""

from datetime import date
from typing import Annotated
from uuid import UUID

from pydantic import BaseModel, Field

from app.core.errors import Problem

NOT_SEALED_YET = Problem(
    "not_sealed_yet",
    409,
    vi=(
        "Chưa được niêm phong",
        "Hồ sơ này chưa nằm trong lần niêm phong nào. Việc niêm phong diễn ra mỗi đêm; vui lòng xem lại vào ngày mai.",
    ),
    en=("Not sealed yet", "This case is in no seal yet. Seals are made every night; please look again tomorrow."),
    retry="after",
)
SEALS_REVERSED = Problem(
    "seals_reversed",
    422,
    vi=("Thứ tự niêm phong không hợp lệ", "Tham số from phải là một lần niêm phong không muộn hơn số {number}."),
    en=("Seals in the wrong order", "The parameter from must name a seal no later than number {number}."),
)

Hash = Annotated[str, Field(pattern="^[0-9a-f]{64}$", description="SHA-256 in hexadecimal.")]


class SealOut(BaseModel):
    """A seal. Signed are all its fields but `signature`, as JSON with sorted keys and no blanks (Ed25519, RFC 8032)."""

    format: str = Field(description="`phananh seal 1`.")
    number: int = Field(description="Seals are numbered from 1 without a gap.")
    day: date = Field(description="The local day (Asia/Ho_Chi_Minh) it was made on; one a day.")
    at: str = Field(description="When it was made (UTC, microseconds), in the very letters that are signed.")
    size: int = Field(description="Leaves in the log, of all nights so far.")
    root: Hash
    previous: Hash = Field(description="SHA-256 of what the seal before signed; zeros for the first.")
    below_xid: int = Field(
        description="Events of transactions running then, this one or later, wait for the next seal."
    )
    key_id: Hash = Field(description="SHA-256 of the public key.")
    signature: str


class SealKeyOut(BaseModel):
    """A public key that seals and promise slips were signed with. Keys that are no longer in use stay here."""

    id: Hash
    algorithm: str = "Ed25519"
    public_key: str = Field(description="32 bytes in hexadecimal.")
    first_used_at: str | None = Field(description="When it first signed a seal; null: not yet.")


class SealKeysOut(BaseModel):
    """All of them, oldest first."""

    items: list[SealKeyOut]


class ConsistencyOut(BaseModel):
    """That the log of the older seal is the beginning of the newer one's: verified as in RFC 9162, 2.1.4.2."""

    older: SealOut
    newer: SealOut
    path: list[Hash]


class LinkOut(BaseModel):
    """One event of the chain: hash = SHA-256(hash before, body), the first after 32 zero bytes."""

    seq: int
    hash: Hash
    body: str | None = Field(
        default=None, description="The text that was hashed, where the caller may see it; otherwise compare the hash."
    )


class LeafOut(BaseModel):
    """A leaf of the log: its hash is SHA-256(0x00, case id 16 bytes, seq 8 bytes big endian, head)."""

    index: int
    case_id: UUID
    seq: int
    head: Hash


class CaseProofOut(BaseModel):
    """That a case's history up to `leaf.seq` is inside `seal`: verified as in RFC 9162, 2.1.3.2."""

    reference: str
    leaf: LeafOut
    path: list[Hash]
    seal: SealOut
    links: list[LinkOut]

"""Resumable uploads, pure: what the headers of tus 1.0 say (https://tus.io/protocols/resumable-upload)."""

import base64
import binascii
import re
from dataclasses import dataclass
from datetime import timedelta

VERSION = "1.0.0"
EXTENSIONS = "creation,creation-with-upload,checksum,expiration,termination"
ALGORITHMS = {"sha1": 20, "sha256": 32}  # bytes of a digest
CONTENT_TYPE = "application/offset+octet-stream"

# Photos for some reports that wait on a phone without a network; 750 MB on disk for one account at the very most.
MAX_UNFINISHED = 50
# An upload is dropped this long after its last byte, and a week after its first whatever still comes.
PATIENCE, LONGEST = timedelta(hours=24), timedelta(days=7)
# A phone that never heard the last answer can still ask, and learns that its photo is here.
REMEMBERED = timedelta(days=7)
# What a killed server may cost a phone: so many bytes, or what came in so many seconds.
STEP_BYTES, STEP_SECONDS = 1 << 20, 5.0

MAX_METADATA = 2048
# Keys are ASCII without space and comma; values are base64, or missing.
_PAIR = r"[\x21-\x2b\x2d-\x7e]+(?: [A-Za-z0-9+/]*={0,2})?"
_METADATA = re.compile(rf"{_PAIR}(?:,\s?{_PAIR})*")
_MOST_DIGITS = 15


class Unreadable(ValueError):
    """A header does not say what tus lets it say."""


@dataclass(frozen=True, slots=True)
class Checksum:
    """What the bytes of one request must hash to."""

    algorithm: str
    digest: bytes


def number(text: str | None) -> int:
    """A length or an offset in bytes: ASCII digits and nothing else."""
    if text is None or not (text.isascii() and text.isdigit()) or len(text) > _MOST_DIGITS:
        raise Unreadable
    return int(text)


def checksum(text: str | None) -> Checksum | None:
    """`sha1 <base64>` or `sha256 <base64>`; None when none was sent."""
    if text is None:
        return None
    algorithm, _, encoded = text.strip().partition(" ")
    try:
        digest = base64.b64decode(encoded, validate=True)
    except (binascii.Error, ValueError) as error:
        raise Unreadable from error
    if len(digest) != ALGORITHMS.get(algorithm):
        raise Unreadable
    return Checksum(algorithm, digest)


def metadata(text: str | None) -> str:
    """What is sent back as it came; nothing else is ever done with it, its name and type are never believed."""
    kept = (text or "").strip()
    if kept and (len(kept) > MAX_METADATA or not _METADATA.fullmatch(kept)):
        raise Unreadable
    keys = [pair.split()[0] for pair in kept.split(",")] if kept else []
    if len(keys) != len(set(keys)):
        raise Unreadable
    return kept

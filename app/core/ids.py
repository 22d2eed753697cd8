"""Identifiers: UUIDv7 for rows, short speakable references for people."""

import secrets
from datetime import datetime
from uuid import UUID

from app.core import clock

# No I, L, O, U, 0, 1: nothing that is misheard on the phone or misread on paper.
ALPHABET = "23456789ABCDEFGHJKMNPQRSTVWXYZ"
REFERENCE_LENGTH = 8


def uuid7(at: datetime | None = None) -> UUID:
    """A time-ordered identifier (RFC 9562 version 7): 48 bits of milliseconds, 74 random bits."""
    millis = int((at or clock.now()).timestamp() * 1000)
    value = millis << 80 | secrets.randbits(80)
    value = value & ~(0xF << 76) | 0x7 << 76
    value = value & ~(0x3 << 62) | 0x2 << 62
    return UUID(int=value)


def reference(number: int | None = None) -> str:
    """A speakable reference, like `7KQ4-M2XT`: seven characters and one check character.

    A new one is random; a `number` always gives the same (of numbers that are equal modulo 30⁷).
    """
    number, body = secrets.randbelow(len(ALPHABET) ** (REFERENCE_LENGTH - 1)) if number is None else number, ""
    for _ in range(REFERENCE_LENGTH - 1):
        number, place = divmod(number, len(ALPHABET))
        body += ALPHABET[place]
    return _grouped(body + _check(body))


def parse_reference(text: str) -> str | None:
    """The canonical form of a reference as typed or dictated; None when its check character fails."""
    body = "".join(char for char in text.upper() if char.isalnum())
    if len(body) != REFERENCE_LENGTH or any(char not in ALPHABET for char in body):
        return None
    return _grouped(body) if _check(body[:-1]) == body[-1] else None


def _grouped(body: str) -> str:
    return f"{body[:4]}-{body[4:]}"


def _check(body: str) -> str:
    """Luhn mod N: catches each single wrong character and almost all swaps of neighbours."""
    base, total, double = len(ALPHABET), 0, True
    for char in reversed(body):
        value = ALPHABET.index(char) * (2 if double else 1)
        total += value // base + value % base
        double = not double
    return ALPHABET[-total % base]

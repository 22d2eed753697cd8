"""Secrets at rest: sealed values, blind indexes, signed links. The keys live outside the database."""

import base64
import hashlib
import hmac
import os

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from app.core.config import settings

KEY_ID = 1
_NONCE_BYTES = 12


class CannotUnseal(Exception):
    """The sealed value was made with another key, for another place, or was changed."""


def seal(text: str, context: str) -> bytes:
    """Encrypt `text` (AES-256-GCM) bound to `context`: it opens only in the place it was made for."""
    nonce = os.urandom(_NONCE_BYTES)
    return bytes([KEY_ID]) + nonce + AESGCM(_key("vault")).encrypt(nonce, text.encode(), context.encode())


def unseal(blob: bytes, context: str) -> str:
    """The text that `seal` was given with the same context."""
    try:
        nonce, body = blob[1 : 1 + _NONCE_BYTES], blob[1 + _NONCE_BYTES :]
        return AESGCM(_key("vault")).decrypt(nonce, body, context.encode()).decode()
    except (InvalidTag, ValueError) as error:
        raise CannotUnseal from error


def blind_index(text: str, purpose: str) -> bytes:
    """HMAC-SHA256 under its own key: equal texts can be found without storing the text."""
    return _mac("index", purpose, text)


def sign_link(text: str) -> str:
    """A signature for an address that expires; `text` holds all that it must bind."""
    return base64.urlsafe_b64encode(_mac("link", "link", text)).decode().rstrip("=")


def verify_link(text: str, signature: str) -> bool:
    """Whether `signature` was made for `text`; constant time."""
    return hmac.compare_digest(sign_link(text).encode(), signature.encode())


def derive_token(text: str) -> str:
    """An unguessable token that can be derived again from `text` by whoever holds the token key."""
    return base64.urlsafe_b64encode(_mac("token", "derived", text)).decode().rstrip("=")


def sha256(data: bytes) -> bytes:
    """SHA-256, 32 bytes."""
    return hashlib.sha256(data).digest()


def _mac(key: str, purpose: str, text: str) -> bytes:
    return hmac.digest(_key(key), f"{purpose}\x00{text}".encode(), "sha256")


def _key(name: str) -> bytes:
    value: str = getattr(settings(), f"{name}_key")
    return base64.b64decode(value)

"""What identity decides: phones, e-mails, masks, pseudonyms, codes, access tokens, life times. No input or output."""

import base64
import hashlib
import hmac
import ipaddress
import json
import re
import secrets
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from functools import lru_cache
from typing import Literal
from uuid import UUID

import jwt

from app.core.ids import ALPHABET

Kind = Literal["citizen", "staff"]


class Role(StrEnum):
    """What a person may be; DOMAIN.md "People and what they may do"."""

    CITIZEN = "citizen"
    ASSISTANT = "assistant"
    DISPATCHER = "dispatcher"
    OFFICER = "officer"
    LEAD = "lead"
    LEADER = "leader"
    ADMINISTRATOR = "administrator"
    AUDITOR = "auditor"
    INTEGRATION = "integration"


PROVINCE_ROLES = frozenset({Role.DISPATCHER, Role.ADMINISTRATOR, Role.AUDITOR, Role.INTEGRATION})
UNIT_ROLES = frozenset({Role.ASSISTANT, Role.OFFICER, Role.LEAD})
EITHER_ROLES = frozenset({Role.LEADER})
STAFF_ROLES = PROVINCE_ROLES | UNIT_ROLES | EITHER_ROLES


class Purpose(StrEnum):
    """Why somebody's identity was read."""

    VERIFY = "verify"
    CALL = "call"
    DUPLICATE = "duplicate"
    DATA_REQUEST = "data_request"
    LAW = "law"


def scope_fits(role: str, unit_id: UUID | None) -> bool:
    """Whether a role may be held in this scope: the province (None) or a unit."""
    return role in STAFF_ROLES and role not in (PROVINCE_ROLES if unit_id else UNIT_ROLES)


# Phones ------------------------------------------------------------------------------------------------------------

_SEPARATORS = re.compile(r"[\s.\-‐‑‒–—()]+")
_PREFIX = re.compile(r"^(?:\+84|0084|84(?=[0-9]{9,11}$))0?")
_MOBILE = re.compile(r"0[35789][0-9]{8}")
_LANDLINE = re.compile(r"02[0-9]{9}")


def normal_phone(text: str) -> str | None:
    """A Vietnamese number as 0…: mobiles 0[35789] and 8 digits, landlines 02 and 9 digits; None for anything else."""
    digits = _PREFIX.sub("0", _SEPARATORS.sub("", text))
    return digits if _MOBILE.fullmatch(digits) or _LANDLINE.fullmatch(digits) else None


def is_mobile(phone: str) -> bool:
    """Whether a normal phone can receive a message."""
    return _MOBILE.fullmatch(phone) is not None


def masked_phone(phone: str) -> str:
    """The last three digits, the rest hidden."""
    return "•" * (len(phone) - 3) + phone[-3:]


# E-mail ------------------------------------------------------------------------------------------------------------

_EMAIL_LENGTH = 254
_EMAIL = re.compile(r"[^\s@\x00-\x1f]{1,64}@[^\s@.\x00-\x1f]+(?:\.[^\s@.\x00-\x1f]+)+")


def normal_email(text: str) -> str | None:
    """An e-mail address as it is looked up: NFC, case folded; None when it is none."""
    folded = unicodedata.normalize("NFC", text).strip().casefold()
    return folded if len(folded) <= _EMAIL_LENGTH and _EMAIL.fullmatch(folded) else None


def masked_email(email: str) -> str:
    """The first letter and the domain."""
    local, _, domain = email.partition("@")
    return f"{local[:1]}•••@{domain}"


# Pseudonyms --------------------------------------------------------------------------------------------------------

_PSEUDONYM_LENGTH = 4


def pseudonym(account_id: UUID, case_id: UUID) -> str:
    """What units call a citizen: the same within a case, unrelated between cases, like `Công dân 7F3K`."""
    number = int.from_bytes(hashlib.sha256(b"pseudonym" + case_id.bytes + account_id.bytes).digest()[:8], "big")
    letters = ""
    for _ in range(_PSEUDONYM_LENGTH):
        number, place = divmod(number, len(ALPHABET))
        letters += ALPHABET[place]
    return f"Công dân {letters}"


# Sign-in codes and sessions ----------------------------------------------------------------------------------------

CODE_DIGITS = 6
CODE_LIFE = timedelta(minutes=5)
CODE_ATTEMPTS = 5
ACCESS_LIFE = timedelta(minutes=15)
CITIZEN_REFRESH_LIFE = timedelta(days=180)
STAFF_SESSION_LIFE = timedelta(hours=12)


def new_code() -> str:
    """Six unguessable digits."""
    return f"{secrets.randbelow(10**CODE_DIGITS):0{CODE_DIGITS}d}"


def refresh_expiry(kind: str, signed_in_at: datetime, at: datetime) -> datetime:
    """Citizens: 180 days after each refresh. Staff: 12 hours after signing in, however often refreshed."""
    return at + CITIZEN_REFRESH_LIFE if kind == "citizen" else signed_in_at + STAFF_SESSION_LIFE


# Access tokens -----------------------------------------------------------------------------------------------------

ISSUER = "phananh"
AUDIENCE = "phananh-api"
_ALGORITHM = "HS256"
_CLOCK_SKEW = timedelta(seconds=30)


@dataclass(frozen=True, slots=True)
class Claims:
    """Who an access token speaks for."""

    account_id: UUID
    session_id: UUID
    kind: Kind


def access_token(claims: Claims, key: bytes, at: datetime) -> str:
    """A signed token that speaks for `claims` during `ACCESS_LIFE` from `at`."""
    payload = {
        "sub": str(claims.account_id),
        "sid": str(claims.session_id),
        "kind": claims.kind,
        "iat": int(at.timestamp()),
        "exp": int((at + ACCESS_LIFE).timestamp()),
        "iss": ISSUER,
        "aud": AUDIENCE,
    }
    return jwt.encode(payload, key, algorithm=_ALGORITHM)


_LONGEST_TOKEN = 1024


def read_access_token(token: str, key: bytes, at: datetime) -> Claims | None:
    """The claims of a token this product signed that is in force at `at`; None for every other text."""
    if len(token) > _LONGEST_TOKEN:
        return None
    try:
        claims, issued, ends = _verified(token, key)
    except (jwt.InvalidTokenError, LookupError, ValueError, TypeError, OverflowError, AttributeError):
        return None
    return claims if issued - _CLOCK_SKEW <= at < ends else None


# A phone sends the same token many times in its fifteen minutes, and a signature never changes: 10 µs become 1.
# What is refused raises and so is not kept; what is kept is short, and its time is compared at every reading.
@lru_cache(maxsize=4096)
def _verified(token: str, key: bytes) -> tuple[Claims, datetime, datetime]:
    """Only what `access_token` wrote: its header byte for byte, so no other algorithm, and its signature.

    Read here and not by the library, which takes 45 µs to allow for everything that we refuse.
    """
    signed, _, signature = token.rpartition(".")
    header, _, body = signed.partition(".")
    if header != _HEADER or not hmac.compare_digest(_signature(signed, key), signature):
        raise jwt.InvalidTokenError
    payload = json.loads(base64.urlsafe_b64decode(body + "=" * (-len(body) % 4)))
    if payload["iss"] != ISSUER or payload["aud"] != AUDIENCE or payload["kind"] not in ("citizen", "staff"):
        raise jwt.InvalidTokenError
    claims = Claims(UUID(payload["sub"]), UUID(payload["sid"]), payload["kind"])
    issued, ends = (datetime.fromtimestamp(int(payload[name]), UTC) for name in ("iat", "exp"))
    return claims, issued, ends


_HEADER = jwt.encode({}, bytes(32), algorithm=_ALGORITHM).partition(".")[0]


def _signature(signed: str, key: bytes) -> str:
    return base64.urlsafe_b64encode(hmac.digest(key, signed.encode(), "sha256")).rstrip(b"=").decode()


# Where a request comes from ----------------------------------------------------------------------------------------


def forwarded_address(peer: str, forwarded_for: str, trusted: Sequence[str]) -> str:
    """The nearest address that is no trusted proxy, read from the right: what stands left of it anybody can write."""
    address = peer
    for hop in reversed([part.strip() for part in forwarded_for.split(",") if part.strip()]):
        if not _within(address, trusted):
            break
        if _address(hop) is None:
            break
        address = hop
    return address


_HOST = re.compile(r"[A-Za-z0-9._-]+(:[0-9]{1,5})?|\[[0-9A-Fa-f:.]+\](:[0-9]{1,5})?")


def called_as(peer: str, own: tuple[str, str], forwarded: tuple[str, str], trusted: Sequence[str]) -> str:
    """Scheme and host by which a caller reached us; each of `own` and `forwarded` is (scheme, host).

    What was forwarded counts only from a trusted proxy, and there the part the nearest one wrote: the rightmost.
    """
    scheme, host = own
    if _within(peer, trusted):
        said_scheme, said_host = (each.rpartition(",")[2].strip() for each in forwarded)
        scheme = said_scheme.lower() if said_scheme.lower() in ("http", "https") else scheme
        host = said_host if _HOST.fullmatch(said_host) else host
    return f"{scheme}://{host}" if _HOST.fullmatch(host) else ""


def coarse(address: str) -> str:
    """The /24 or /48 an address lies in: behind it stand many phones of one carrier or one customer."""
    known = _address(address)
    if known is None:
        return address[:64]
    bits = 24 if isinstance(known, ipaddress.IPv4Address) else 48
    return str(ipaddress.ip_network(f"{known}/{bits}", strict=False))


def _address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        found = ipaddress.ip_address(text)
    except ValueError:
        return None
    mapped = found.ipv4_mapped if isinstance(found, ipaddress.IPv6Address) else None
    return mapped or found


def _within(address: str, networks: Sequence[str]) -> bool:
    known = _address(address)
    return known is not None and any(known in ipaddress.ip_network(network, strict=False) for network in networks)

"""What identity does: codes, sessions and their tokens, staff accounts, logged reads, audit rows.

A refusal that must be remembered (a wrong code counts, a reused token ends its session) is returned, not raised:
raising inside a transaction would take back what has to stay.
"""

import hmac
import threading
import unicodedata
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import Protocol
from uuid import UUID

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError
from sqlalchemy import exists
from sqlalchemy.dialects.postgresql import insert
from sqlmodel import col, delete, select, update

from app.boundaries.queries import heir
from app.core import clock, crypto
from app.core.db import Session, transaction
from app.core.errors import FORBIDDEN, NOT_FOUND, UNAUTHENTICATED, UNAVAILABLE, DomainError
from app.core.ids import uuid7
from app.identity import queries
from app.identity.models import (
    Account,
    AuditEntry,
    Credential,
    Identity,
    IdentityRead,
    Membership,
    RefreshToken,
    SignedInSession,
    SignInCode,
)
from app.identity.policy import Grant, Viewer, require, signing_key
from app.identity.rules import (
    ACCESS_LIFE,
    CODE_ATTEMPTS,
    CODE_LIFE,
    Claims,
    Kind,
    Purpose,
    Role,
    access_token,
    is_mobile,
    new_code,
    normal_email,
    normal_phone,
    refresh_expiry,
    scope_fits,
)
from app.identity.schemas import (
    ACCOUNT_BLOCKED,
    CODE_EXHAUSTED,
    CODE_EXPIRED,
    CODE_WRONG,
    CONSENT_REQUIRED,
    EMAIL_INVALID,
    EMAIL_TAKEN,
    GRANT_INVALID,
    PHONE_INVALID,
    PHONE_NOT_MOBILE,
    SESSION_EXPIRED,
    SESSION_REUSED,
    SIGN_IN_FAILED,
    AccountOut,
    PersonOut,
    SessionOut,
)
from app.orgunits.models import Unit


class SendCode(Protocol):
    """How a code reaches its phone: messages are above identity, so `app.main` passes this in."""

    def __call__(
        self, session: Session, *, phone: str, code: str, locale: str, dedupe_key: str, expires_at: datetime
    ) -> None:
        """Owe the message within the session's transaction."""


@dataclass(frozen=True, slots=True)
class CitizenAttempt:
    """What a phone sends to sign in."""

    phone: str
    code: str
    consent_version: str | None = None
    name: str | None = None
    device: str | None = None
    locale: str = "vi"


# Citizens: codes ---------------------------------------------------------------------------------------------------


def mobile(text: str) -> str:
    """Normalise a phone that must receive a code; anything else is refused."""
    phone = normal_phone(text)
    if phone is None:
        raise PHONE_INVALID.error(pointer="/phone")
    if not is_mobile(phone):
        raise PHONE_NOT_MOBILE.error(pointer="/phone")
    return phone


def request_code(session: Session, phone: str, *, locale: str, send: SendCode) -> None:
    """Make the phone's one live code and owe its message; the same for phones with and without an account."""
    at, code, code_id = clock.now(), new_code(), uuid7()
    row = {
        "id": code_id,
        "code_mac": _code_mac(code_id, code),
        "created_at": at,
        "expires_at": at + CODE_LIFE,
        "attempts": 0,
        "used_at": None,
    }
    statement = insert(SignInCode).values(phone_index=queries.phone_index(phone), **row)
    session.execute(statement.on_conflict_do_update(index_elements=["phone_index"], set_=row))
    send(
        session,
        phone=phone,
        code=code,
        locale=locale,
        dedupe_key=f"sign_in_code:{code_id}",
        expires_at=at + CODE_LIFE,
    )


def sign_in_citizen(session: Session, attempt: CitizenAttempt) -> SessionOut | DomainError:
    """Exchange a right code for a session, opening the account on first use; a wrong one is counted and returned.

    The code's row is the lock under which all sign-ins of one phone queue.
    """
    statement = select(SignInCode).where(SignInCode.phone_index == queries.phone_index(attempt.phone)).with_for_update()
    row = session.exec(statement).one_or_none()
    at = clock.now()
    refused = _refusal(row, attempt.code, at)
    if row is None or refused is not None:
        return refused or CODE_EXPIRED.error(pointer="/code")
    account = queries.account_of_phone(session, attempt.phone)
    if account is None and attempt.consent_version is None:
        return CONSENT_REQUIRED.error(pointer="/consent_version")
    row.used_at = at
    if account is None:
        account = _open_citizen(session, attempt, at)
    elif account.status != "active":
        return ACCOUNT_BLOCKED.error()
    else:
        _remember(session, account, attempt, at)
    return _start_session(session, account.id, "citizen", attempt.device, at)


def _refusal(row: SignInCode | None, code: str, at: datetime) -> DomainError | None:
    if row is None or row.used_at is not None or row.expires_at <= at:
        return CODE_EXPIRED.error(pointer="/code")
    if row.attempts >= CODE_ATTEMPTS:
        return CODE_EXHAUSTED.error(pointer="/code")
    if hmac.compare_digest(bytes(row.code_mac), _code_mac(row.id, code)):
        return None
    row.attempts += 1
    left = CODE_ATTEMPTS - row.attempts
    problem = CODE_WRONG if left else CODE_EXHAUSTED
    return problem.error(pointer="/code", attempts_left=left, extra={"attempts_left": left})


def _code_mac(code_id: UUID, code: str) -> bytes:
    return crypto.blind_index(f"{code_id}:{code}", "sign_in_code")


def _open_citizen(session: Session, attempt: CitizenAttempt, at: datetime) -> Account:
    account = Account(kind="citizen", locale=attempt.locale, created_at=at)
    session.add(account)
    session.flush()
    session.add(
        Identity(
            account_id=account.id,
            phone_sealed=queries.sealed(account.id, "phone", attempt.phone),
            phone_index=queries.phone_index(attempt.phone),
            name_sealed=queries.sealed(account.id, "name", attempt.name) if attempt.name else None,
            consent_version=attempt.consent_version,
            consent_at=at,
        )
    )
    session.flush()
    return account


def _remember(session: Session, account: Account, attempt: CitizenAttempt, at: datetime) -> None:
    """Keep a newer consent, and a name where there was none; a name on file is not overwritten by a sign-in."""
    identity = session.get_one(Identity, account.id)
    if attempt.consent_version and attempt.consent_version != identity.consent_version:
        identity.consent_version, identity.consent_at = attempt.consent_version, at
    if attempt.name and identity.name_sealed is None:
        identity.name_sealed = queries.sealed(account.id, "name", attempt.name)


# Staff: passwords --------------------------------------------------------------------------------------------------

# 19 MiB and two passes (OWASP's floor for argon2id): the default of 64 MiB would let 40 threads take 2.5 GB.
_HASHER = PasswordHasher(time_cost=2, memory_cost=19 * 1024, parallelism=1)
_HASHES_AT_ONCE = 2
_HASH_WAIT_S = 5.0
_hashing = threading.BoundedSemaphore(_HASHES_AT_ONCE)


def hash_password(password: str) -> str:
    """Hash a password (argon2id). Slow on purpose: call it outside any transaction."""
    with _hash_slot():
        return _HASHER.hash(_password_text(password))


def verify_password(password_hash: str | None, password: str) -> bool:
    """Check a password; without a hash the same work is done in vain, so that timing tells nothing."""
    against = password_hash or _dummy_hash()
    with _hash_slot():
        try:
            return _HASHER.verify(against, _password_text(password)) and password_hash is not None
        except (VerificationError, InvalidHashError):
            return False


def sign_in_staff(email: str, password: str, device: str | None) -> SessionOut:
    """Exchange e-mail and password for a session. Opens its own transactions: the hashing stands between them."""
    with transaction() as session:
        found = queries.credential(session, normal_email(email) or email)
    if not verify_password(found.password_hash if found else None, password) or found is None:
        raise SIGN_IN_FAILED.error()
    with transaction() as session:
        current = queries.credential(session, normal_email(email) or email)
        if current is None or current.password_hash != found.password_hash:
            raise SIGN_IN_FAILED.error()
        return _start_session(session, current.account_id, "staff", device, clock.now())


@contextmanager
def _hash_slot() -> Iterator[None]:
    if not _hashing.acquire(timeout=_HASH_WAIT_S):
        raise UNAVAILABLE.error(headers={"Retry-After": "5"})
    try:
        yield
    finally:
        _hashing.release()


@lru_cache
def _dummy_hash() -> str:
    return _HASHER.hash(crypto.derive_token("nobody's password"))


def _password_text(password: str) -> str:
    # One keyboard composes letters, another does not: the same password either way.
    return unicodedata.normalize("NFC", password)


# Sessions ----------------------------------------------------------------------------------------------------------


def refresh(session: Session, token: str) -> SessionOut | DomainError:
    """Exchange a refresh token for its successor.

    Sent again before the successor was used (the answer was lost, or eight requests raced), it gets the same
    successor. Sent after that it is in two hands: the whole session ends. Safe under any concurrency: all refreshes
    of a session queue on its row.
    """
    token_hash = crypto.sha256(token.encode())
    session_id = session.exec(
        select(RefreshToken.session_id).where(RefreshToken.token_hash == token_hash)
    ).one_or_none()
    if session_id is None:
        return UNAUTHENTICATED.error()
    signed_in = session.exec(select(SignedInSession).where(SignedInSession.id == session_id).with_for_update()).one()
    # Read only now, under the lock: the row may have got its successor while we waited.
    current = session.exec(select(RefreshToken).where(RefreshToken.token_hash == token_hash)).one()
    account = session.get_one(Account, signed_in.account_id)
    at = clock.now()
    if account.status != "active":
        return ACCOUNT_BLOCKED.error()
    if signed_in.ended_at is not None:
        return (SESSION_REUSED if signed_in.end_reason == "reused" else SESSION_EXPIRED).error()
    if current.expires_at <= at:
        return SESSION_EXPIRED.error()
    successor = session.get_one(RefreshToken, current.successor_id) if current.successor_id else None
    if successor is None:
        successor = _add_refresh_token(session, signed_in, account.kind, at)
        current.successor_id = successor.id
    elif successor.successor_id is not None:
        signed_in.ended_at, signed_in.end_reason = at, "reused"
        return SESSION_REUSED.error()
    return _tokens(signed_in, successor, "citizen" if account.kind == "citizen" else "staff", at)


def sign_out(session: Session, viewer: Viewer) -> None:
    """End the viewer's session; ending it twice is no error."""
    session.execute(
        update(SignedInSession)
        .where(col(SignedInSession.id) == viewer.session_id, col(SignedInSession.ended_at).is_(None))
        .values(ended_at=clock.now(), end_reason="signed_out")
    )


def _start_session(session: Session, account_id: UUID, kind: Kind, device: str | None, at: datetime) -> SessionOut:
    signed_in = SignedInSession(account_id=account_id, device=device, created_at=at)
    session.add(signed_in)
    session.flush()
    return _tokens(signed_in, _add_refresh_token(session, signed_in, kind, at), kind, at)


def _add_refresh_token(session: Session, signed_in: SignedInSession, kind: str, at: datetime) -> RefreshToken:
    token_id = uuid7()
    row = RefreshToken(
        id=token_id,
        session_id=signed_in.id,
        token_hash=crypto.sha256(_refresh_text(token_id).encode()),
        created_at=at,
        expires_at=refresh_expiry(kind, signed_in.created_at, at),
    )
    session.add(row)
    session.flush()
    return row


def _refresh_text(token_id: UUID) -> str:
    """Derive the token from its row's id: only its hash is stored, yet a repeated refresh can be answered again."""
    return crypto.derive_token(f"refresh:{token_id}")


def _tokens(signed_in: SignedInSession, token: RefreshToken, kind: Kind, at: datetime) -> SessionOut:
    return SessionOut(
        access_token=access_token(Claims(signed_in.account_id, signed_in.id, kind), signing_key(), at),
        expires_in=int(ACCESS_LIFE.total_seconds()),
        refresh_token=_refresh_text(token.id),
        refresh_expires_at=token.expires_at,
        account=AccountOut(id=signed_in.account_id, kind=kind),
    )


# Staff accounts ----------------------------------------------------------------------------------------------------


def create_staff(
    session: Session, *, email: str, password_hash: str, name: str, grants: Sequence[Grant], actor_id: UUID | None
) -> Account:
    """Open a staff account with its roles, and say so in the audit log (without its e-mail, which is personal)."""
    address = normal_email(email)
    if address is None:
        raise EMAIL_INVALID.error(pointer="/email")
    _check_grants(session, grants)
    at = clock.now()
    account = Account(kind="staff", created_at=at)
    session.add(account)
    session.flush()
    # The claim on the address: of two at the same moment one waits here and then finds it taken.
    claim = insert(Identity).values(
        account_id=account.id,
        email_sealed=queries.sealed(account.id, "email", address),
        email_index=queries.email_index(address),
        name_sealed=queries.sealed(account.id, "name", name),
        channel="staff",
    )
    claimed = session.execute(claim.on_conflict_do_nothing().returning(col(Identity.account_id))).one_or_none()
    if claimed is None:
        raise EMAIL_TAKEN.error(pointer="/email")
    session.add(Credential(account_id=account.id, password_hash=password_hash, changed_at=at))
    session.add_all(
        Membership(account_id=account.id, role=grant.role, unit_id=grant.unit_id, valid_from=at) for grant in grants
    )
    held = [{"role": grant.role.value, "unit_id": str(grant.unit_id) if grant.unit_id else None} for grant in grants]
    audit(session, actor_id, "staff", str(account.id), None, {"status": account.status, "grants": held})
    session.flush()
    return account


def follow_units(session: Session, ended: Collection[UUID], mapped: Mapping[UUID, UUID]) -> int:
    """End the roles held in units that have ended; each goes on in the unit it is `mapped` to, else in the one heir.

    Where there is no such unit the role lapses. Every one is audited; returns how many there were. Safe to repeat.
    """
    at = clock.now()
    today, held = clock.local_day(at), queries.held_in(session, ended, at)
    for role in held:
        assert role.unit_id is not None
        to = mapped.get(role.id)
        to = heir(session, to or role.unit_id, None, today)
        since = max(role.valid_from, at)
        before: dict[str, object] = {"role": role.role, "unit_id": str(role.unit_id)}
        if to is not None and not _holds(session, role, to, since):
            session.add(
                Membership(
                    account_id=role.account_id, role=role.role, unit_id=to, valid_from=since, valid_to=role.valid_to
                )
            )
        role.valid_to = since
        after = {"role": role.role, "unit_id": str(to)} if to else {"lapsed": "the unit ended"}
        audit(session, None, "staff", str(role.account_id), before, dict(after))
        session.flush()
    return len(held)


def _holds(session: Session, role: Membership, unit_id: UUID, at: datetime) -> bool:
    """Whether the account has the same role in a unit already, for as long."""
    return any(
        other.account_id == role.account_id
        and other.role == role.role
        and other.valid_from <= at
        and (other.valid_to is None or (role.valid_to is not None and other.valid_to >= role.valid_to))
        for other in queries.held_in(session, [unit_id], at)
    )


def _check_grants(session: Session, grants: Sequence[Grant]) -> None:
    asked = {grant.unit_id for grant in grants if grant.unit_id}
    known = set(session.exec(select(Unit.id).where(col(Unit.id).in_(asked)))) if asked else set()
    for place, grant in enumerate(grants):
        if not scope_fits(grant.role, grant.unit_id) or (grant.unit_id and grant.unit_id not in known):
            raise GRANT_INVALID.error(pointer=f"/grants/{place}", role=grant.role.value)


def audit(  # noqa: PLR0917 - who, what, from, to: read in this order everywhere
    session: Session,
    actor_id: UUID | None,
    topic: str,
    subject: str,
    before: dict[str, object] | None,
    after: dict[str, object] | None,
) -> None:
    """Record a change of configuration or accounts in the transaction that makes it. No personal data, no secrets."""
    session.add(AuditEntry(actor_id=actor_id, topic=topic, subject=subject, before=before, after=after))


# The vault ---------------------------------------------------------------------------------------------------------


def read_identity(
    session: Session,
    viewer: Viewer,
    subject_account_id: UUID,
    purpose: Purpose,
    case_id: UUID | None,
    *,
    allowed: bool = False,
) -> PersonOut:
    """Open somebody's identity and log the read in the same transaction.

    A dispatcher sees all of it. An officer or lead sees the phone alone, and only where `allowed`: the caller has
    checked that the case is with the viewer's unit now and that the citizen permitted a call for it.
    """
    everything = viewer.has(Role.DISPATCHER)
    if not everything and not (allowed and case_id and viewer.has(Role.OFFICER, Role.LEAD)):
        raise FORBIDDEN.error()
    identity = session.get(Identity, subject_account_id)
    if identity is None:
        raise NOT_FOUND.error()
    session.add(
        IdentityRead(
            reader_id=viewer.id, subject_id=subject_account_id, purpose=purpose.value, case_id=case_id, at=clock.now()
        )
    )
    session.flush()
    found = queries.person(identity)
    return found if everything else PersonOut(found.account_id, None, found.phone, None)


def account_behind(session: Session, viewer: Viewer, phone: str, purpose: Purpose) -> UUID | None:
    """Whose phone number this is, through the blind index; logged as a read of that identity. For dispatchers only.

    None where nobody signed in with it. Refuses what is no Vietnamese number.
    """
    require(viewer, Role.DISPATCHER)
    normal = normal_phone(phone)
    if normal is None:
        raise PHONE_INVALID.error(pointer="/phone")
    account = queries.account_of_phone(session, normal)
    if account is None:
        return None
    session.add(
        IdentityRead(reader_id=viewer.id, subject_id=account.id, purpose=purpose.value, case_id=None, at=clock.now())
    )
    session.flush()
    return account.id


def forget_expired(session: Session, limit: int = 10_000) -> int:
    """Delete codes and refresh tokens that can no longer be used, and sessions left without any; returns how many."""
    at, gone = clock.now(), 0
    for table in (SignInCode, RefreshToken):
        dead = select(table.id).where(col(table.expires_at) < at).limit(limit)
        gone += len(session.exec(delete(table).where(col(table.id).in_(dead)).returning(col(table.id))).all())
    tokens = exists().where(col(RefreshToken.session_id) == col(SignedInSession.id))
    empty = select(SignedInSession.id).where(~tokens).limit(limit)
    ended = delete(SignedInSession).where(col(SignedInSession.id).in_(empty)).returning(col(SignedInSession.id))
    return gone + len(session.exec(ended).all())

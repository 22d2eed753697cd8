"""Messages: owed in the transaction that causes them, sent outside any, finished by whoever still holds the lease."""

import fcntl
import json
import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from pathlib import Path
from uuid import UUID

import structlog
from sqlalchemy import RowMapping, text
from sqlalchemy.dialects.postgresql import insert
from sqlmodel import col, select, update

from app.core import clock, crypto, db
from app.core.config import settings
from app.core.db import Session, transaction
from app.core.ids import uuid7
from app.identity import queries as identity
from app.notifications import rules
from app.notifications.models import Message
from app.notifications.rules import (
    Accepted,
    Again,
    Channel,
    Delivery,
    Failed,
    Fate,
    Notifier,
    Outgoing,
    RetryAfter,
    Sent,
)

log = structlog.get_logger("notifications")

_URGENT, _ORDINARY = 0, 1
_UNWRITTEN_S = 0.1


# Owing -------------------------------------------------------------------------------------------------------------


def owe(
    session: Session,
    template: str,
    *,
    account_id: UUID,
    case_id: UUID | None,
    params: Mapping[str, str],
    dedupe_key: str,
    locale: str | None = None,
) -> None:
    """Owe an account a message, once per `dedupe_key`; without `locale` in the account's language when it is sent.

    A statement that writes many at once sets id, dedupe_key, account_id, case_id, template, params and created_at,
    ends with ON CONFLICT (dedupe_key) DO NOTHING, and calls `db.owe(session, "notifications")`.
    """
    rules.check(template, params)
    _insert(
        session,
        {
            "id": uuid7(),
            "dedupe_key": dedupe_key,
            "account_id": account_id,
            "case_id": case_id,
            "template": template,
            "params": dict(params),
            "locale": locale,
        },
    )


def owe_to_address(  # noqa: PLR0917 - the order in which one says it
    session: Session,
    template: str,
    channel: Channel,
    address: str,
    secret: str | None,
    dedupe_key: str,
    *,
    locale: str = "vi",
    expires_at: datetime | None = None,
) -> None:
    """Owe a bare address a message at once, with a secret inside it; both are sealed, and wiped when it has left."""
    rules.check(template, {})
    message_id = uuid7()
    _insert(
        session,
        {
            "id": message_id,
            "dedupe_key": dedupe_key,
            "channel": channel,
            "priority": _URGENT,
            "template": template,
            "address_sealed": crypto.seal(address, _context(message_id, "address")),
            "secret_sealed": crypto.seal(secret, _context(message_id, "secret")) if secret is not None else None,
            "locale": locale,
            "expires_at": expires_at,
        },
    )


def owe_sign_in_code(
    session: Session, *, phone: str, code: str, locale: str, dedupe_key: str, expires_at: datetime
) -> None:
    """Owe a phone its sign-in code: what `app.main` hands to identity as `app.state.send_code`."""
    owe_to_address(session, "sign_in_code", "sms", phone, code, dedupe_key, locale=locale, expires_at=expires_at)


def owe_with(
    session: Session,
    template: str,
    *,
    account_id: UUID,
    case_id: UUID,
    params: Mapping[str, str],
    dedupe_key: str,
) -> None:
    """`owe` for who knows that `dedupe_key` is new: written with the session's next flush, together with others."""
    rules.check(template, params)
    at = clock.now()
    session.add(
        Message(
            dedupe_key=dedupe_key,
            account_id=account_id,
            case_id=case_id,
            template=template,
            params=dict(params),
            next_attempt_at=at,
            created_at=at,
        )
    )
    db.owe(session, "notifications")


def _insert(session: Session, values: dict[str, object]) -> None:
    at = clock.now()
    statement = insert(Message).values(created_at=at, next_attempt_at=at, **values)
    session.execute(statement.on_conflict_do_nothing(index_elements=["dedupe_key"]))
    db.owe(session, "notifications")


def _context(message_id: UUID, column: str) -> str:
    return f"message:{message_id}:{column}"


# Sending -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Leased:
    """A row taken for one try."""

    row: RowMapping
    lease_id: UUID
    recipient_active: bool
    locale: str


def send_owed(limit: int = 1000, notifier: Notifier | None = None) -> int:
    """Try up to `limit` owed messages, or as many as fit in `rules.SHIFT`; returns how many were tried.

    Lease and count are committed before the sending, which stands outside any transaction; the end is written only
    while the lease is still ours. A worker killed on the way leaves rows that are owed again when their lease ends, so
    a message is sent at least once. A row that raises pays with one of its own tries and holds up no other.
    """
    provider, tried = notifier or console(), 0
    # Elapsed time of this process, not the product's clock: what is bounded is the task.
    shift_ends = time.monotonic() + rules.SHIFT.total_seconds()
    while tried < limit and time.monotonic() < shift_ends:
        leased = _lease(min(rules.BATCH, limit - tried))
        _send(leased, provider)
        tried += len(leased)
        if len(leased) < rules.BATCH:
            break
    return tried


def _lease(limit: int) -> list[_Leased]:
    at, lease_id = clock.now(), uuid7()
    due = (
        select(Message.id)
        .where(Message.state == "owed", col(Message.next_attempt_at) <= at)
        .order_by(col(Message.priority), col(Message.next_attempt_at))
        .limit(limit)
        .with_for_update(skip_locked=True)
    )
    taken = (
        update(Message)
        .where(col(Message.id).in_(due))
        .values(attempts=Message.attempts + 1, lease_id=lease_id, next_attempt_at=at + rules.LEASE)
        .returning(*Message.__table__.columns)  # type: ignore[attr-defined]
    )
    with transaction() as session:
        rows = session.execute(taken).mappings().all()
        known = identity.recipients(session, {row["account_id"] for row in rows if row["account_id"]})
    leased = []
    for row in sorted(rows, key=lambda row: (row["priority"], row["created_at"])):
        recipient = known.get(row["account_id"]) or identity.Recipient(active=row["account_id"] is None, locale="vi")
        leased.append(_Leased(row, lease_id, recipient.active, row["locale"] or recipient.locale))
    return leased


def _send(leased: Sequence[_Leased], provider: Notifier) -> None:
    """Try one after the other. Ends are written together, but none waits longer than `_UNWRITTEN_S` and one try.

    With a commit for each, sending took the processor time that routing needs.
    """
    ends: list[tuple[_Leased, Fate]] = []
    written = time.monotonic()
    for one in leased:
        ends.append((one, _try(one, provider)))
        if time.monotonic() - written > _UNWRITTEN_S:
            _finish(ends)
            ends, written = [], time.monotonic()
    if ends:
        _finish(ends)


def _try(leased: _Leased, notifier: Notifier) -> Fate:
    row, at = leased.row, clock.now()
    given_up = rules.hopeless(row["attempts"], row["expires_at"], recipient_active=leased.recipient_active, at=at)
    if given_up is not None:
        return given_up
    try:
        delivery: Delivery = notifier.send(_outgoing(leased))
    except Exception as error:  # noqa: BLE001 - whatever a row or a provider raises costs that row a try, nothing else
        # The type alone: the text of an error may quote the message or its address.
        log.warning("send_raised", message_id=str(row["id"]), template=row["template"], error=type(error).__name__)
        delivery = RetryAfter()
    return rules.fate(delivery, row["attempts"], clock.now())


def _outgoing(leased: _Leased) -> Outgoing:
    row = leased.row
    secret = _unsealed(row, "secret")
    # An account is addressed by its opaque id: the installations behind it are the provider's to look up.
    return Outgoing(
        id=row["id"],
        to=_unsealed(row, "address") or f"account:{row['account_id']}",
        channel=row["channel"],
        template=row["template"],
        locale="en" if leased.locale == "en" else "vi",
        text=rules.render(row["template"], row["params"], leased.locale, secret),
        params=row["params"],
        code=secret,
    )


def _unsealed(row: RowMapping, column: str) -> str | None:
    blob = row[f"{column}_sealed"]
    return None if blob is None else crypto.unseal(bytes(blob), _context(row["id"], column))


# By compare-and-set on the lease: once it is lost, whoever holds it now decides. What has ended keeps no secrets.
_FINISH = text("""
UPDATE message SET
    state = done.state, sent_at = done.sent_at, failure_code = done.failure_code, lease_id = NULL,
    next_attempt_at = coalesce(done.next_attempt_at, message.next_attempt_at),
    attempts = message.attempts - done.spared,
    address_sealed = CASE WHEN done.state = 'owed' THEN message.address_sealed END,
    secret_sealed = CASE WHEN done.state = 'owed' THEN message.secret_sealed END
FROM unnest(
    cast(:id AS uuid[]), cast(:lease_id AS uuid[]), cast(:state AS text[]), cast(:sent_at AS timestamptz[]),
    cast(:failure_code AS text[]), cast(:next_attempt_at AS timestamptz[]), cast(:spared AS int[])
) AS done (id, lease_id, state, sent_at, failure_code, next_attempt_at, spared)
WHERE message.id = done.id AND message.lease_id = done.lease_id AND message.state = 'owed'
RETURNING message.id
""")


def _finish(ends: Sequence[tuple[_Leased, Fate]]) -> None:
    """Write the ends of tries, as far as their leases are still ours."""
    rows = [_ended(leased, fate) for leased, fate in ends]
    columns = {name: [row[name] for row in rows] for name in rows[0]}
    with transaction() as session:
        written = set(session.execute(_FINISH, columns).scalars())
    for lost in {row["id"] for row in rows} - written:
        log.warning("lease_lost", message_id=str(lost))


def _ended(leased: _Leased, fate: Fate) -> dict[str, object]:
    row = leased.row
    end: dict[str, object] = {
        "id": row["id"],
        "lease_id": leased.lease_id,
        "state": "owed",
        "sent_at": None,
        "failure_code": None,
        "next_attempt_at": None,
        "spared": 0,
    }
    match fate:
        case Sent():
            return end | {"state": "sent", "sent_at": clock.now()}
        case Failed(code):
            log.error("message_failed", message_id=str(row["id"]), template=row["template"], code=code)
            return end | {"state": "failed", "failure_code": code}
        case Again(at, counted):
            return end | {"next_attempt_at": at, "spared": int(not counted)}


# The console provider ----------------------------------------------------------------------------------------------


class Console:
    """Writes each message as a line of JSON into a file only its owner may read.

    For a laptop, tests and the README's tour, which read the one-time code there. It delivers nothing: an
    installation for real citizens needs a provider of its own behind `Notifier` and must not run with this one,
    because whoever reads the file can sign in as anybody. A production start with it is said aloud in the log.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def send(self, outgoing: Outgoing) -> Delivery:
        """Append one whole line; lines of several processes never mix."""
        line = {
            "at": clock.now().isoformat(),
            "id": str(outgoing.id),
            "to": outgoing.to,
            "channel": outgoing.channel,
            "template": outgoing.template,
            "locale": outgoing.locale,
            "text": outgoing.text,
            **({"code": outgoing.code} if outgoing.code is not None else {}),
        }
        self.path.parent.mkdir(parents=True, exist_ok=True)
        handle = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        with os.fdopen(handle, "ab") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            file.write(json.dumps(line, ensure_ascii=False).encode() + b"\n")
        return Accepted()


@lru_cache
def console() -> Notifier:
    """Give the provider named by PHANANH_NOTIFIER; so far there is one."""
    if settings().environment == "production":
        log.warning("console_notifier_in_production", path=str(settings().var_dir / "outbox.jsonl"))
    return Console(settings().var_dir / "outbox.jsonl")

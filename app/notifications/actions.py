"""Messages: owed in the transaction that causes them, sent outside any, finished by whoever still holds the lease.

Devices: registered and ended.
"""

import fcntl
import json
import os
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import lru_cache
from pathlib import Path
from typing import Any, cast
from uuid import UUID
from zoneinfo import ZoneInfo

import structlog
from sqlalchemy import RowMapping, and_, bindparam, or_, text
from sqlalchemy.dialects.postgresql import insert
from sqlmodel import col, select, update

from app.core import clock, crypto, db
from app.core.config import settings
from app.core.db import Session, transaction
from app.core.errors import UNAUTHENTICATED
from app.core.ids import uuid7
from app.identity import queries as identity
from app.identity.models import Account, SignedInSession
from app.identity.policy import Viewer
from app.notifications import queries, rules
from app.notifications.models import Device, Message
from app.notifications.rules import (
    Accepted,
    Again,
    Carrier,
    Channel,
    Delivery,
    Failed,
    Fate,
    Locale,
    NotAsked,
    Notifier,
    Outgoing,
    Permanent,
    QuietHours,
    RetryAfter,
    Sent,
    Target,
    TokenDead,
    Tried,
)
from app.notifications.schemas import PUSH_SERVICE_UNKNOWN, DeviceIn, WebPushDeviceIn

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


@dataclass(frozen=True, slots=True)
class OwedMessage:
    """One message to an account, to be owed together with others."""

    template: str
    account_id: UUID
    case_id: UUID | None
    params: Mapping[str, str]
    dedupe_key: str


_OWE_MANY = text("""
INSERT INTO message (id, dedupe_key, account_id, case_id, priority, template, params, created_at, next_attempt_at)
SELECT new.*, :at, :at FROM unnest(
    cast(:id AS uuid[]), cast(:dedupe_key AS text[]), cast(:account_id AS uuid[]), cast(:case_id AS uuid[]),
    cast(:priority AS smallint[]), cast(:template AS text[]), cast(:params AS jsonb[])
) AS new (id, dedupe_key, account_id, case_id, priority, template, params)
ON CONFLICT (dedupe_key) DO NOTHING
""")


def owe_many(session: Session, messages: Sequence[OwedMessage]) -> None:
    """`owe` for any number of messages in one statement. What rings at any hour overtakes the rest."""
    if not messages:
        return
    for each in messages:
        rules.check(each.template, each.params)
    rows = [
        {
            "id": uuid7(),
            "dedupe_key": each.dedupe_key,
            "account_id": each.account_id,
            "case_id": each.case_id,
            "priority": _URGENT if each.template in rules.AT_ANY_HOUR else _ORDINARY,
            "template": each.template,
            "params": json.dumps(dict(each.params)),
        }
        for each in messages
    ]
    session.execute(_OWE_MANY, {"at": clock.now(), **_columns(rows)})
    db.owe(session, "notifications")


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


# Devices -----------------------------------------------------------------------------------------------------------

_KEPT_ENDED = 10


def register_device(session: Session, viewer: Viewer, installation_id: UUID, wanted: DeviceIn) -> Device:
    """Register or renew an installation of the viewer's; its token leaves whatever device had it before."""
    token = wanted.subscription.model_dump_json() if isinstance(wanted, WebPushDeviceIn) else wanted.token
    if isinstance(wanted, WebPushDeviceIn) and not rules.push_origin_allowed(
        wanted.subscription.endpoint, settings().webpush_origins
    ):
        raise PUSH_SERVICE_UNKNOWN.error(pointer="/subscription/endpoint")
    index, at = crypto.blind_index(f"{wanted.provider}:{token}", "device_token"), clock.now()
    rows, session_id = _locked(session, viewer, index), _session_known(session, viewer)
    device = next((row for row in rows if (row.account_id, row.installation_id) == (viewer.id, installation_id)), None)
    for row in rows:
        if row is not device and row.token_index == index:
            _end(row, "taken_over", at)
    session.flush()  # the token is free before it is taken
    if device is None:
        first: dict[str, Any] = {"account_id": viewer.id, "installation_id": installation_id, "registered_at": at}
        device = Device(**first, **_told(wanted))
    elif device.ended_at is not None:
        device.registered_at, device.ended_at, device.end_reason = at, None, None
    for name, value in _told(wanted).items():
        setattr(device, name, value)
    device.seen_at, device.session_id = at, session_id
    device.token_index, device.token_sealed = index, crypto.seal(token, _token_context(device.id))
    session.add(device)
    _bound(session, [row for row in rows if row.account_id == viewer.id and row is not device], at)
    session.flush()
    return device


def _told(wanted: DeviceIn) -> dict[str, Any]:
    told: dict[str, Any] = wanted.model_dump(include={"platform", "locale", "app_version", "time_zone"})
    return told | {"carrier": wanted.provider}


def _locked(session: Session, viewer: Viewer, index: bytes) -> Sequence[Device]:
    """Queue with everybody who registers this token or for this account; give the devices of both, locked in order."""
    number = int.from_bytes(index[:8], "big", signed=True)
    session.execute(text("SELECT pg_advisory_xact_lock(:n)"), {"n": number})
    account = select(Account.status).where(Account.id == viewer.id).with_for_update(key_share=True)
    if session.exec(account).one_or_none() != "active":
        raise UNAUTHENTICATED.error()
    mine_or_its = or_(col(Device.account_id) == viewer.id, col(Device.token_index) == index)
    return session.exec(select(Device).where(mine_or_its).order_by(col(Device.id)).with_for_update()).all()


def _session_known(session: Session, viewer: Viewer) -> UUID | None:
    return session.exec(select(SignedInSession.id).where(SignedInSession.id == viewer.session_id)).one_or_none()


def _bound(session: Session, others: Sequence[Device], at: datetime) -> None:
    """End the devices of an account that are too many, and forget all but a few that have ended."""
    living = sorted((row for row in others if row.ended_at is None), key=lambda row: row.seen_at, reverse=True)
    for row in living[rules.MAX_DEVICES - 1 :]:
        _end(row, "too_many", at)
    ended = sorted((row for row in others if row.ended_at is not None), key=lambda row: row.seen_at, reverse=True)
    for row in ended[_KEPT_ENDED:]:
        session.delete(row)


def _end(device: Device, reason: str, at: datetime) -> None:
    device.ended_at, device.end_reason = at, reason
    device.token_sealed = device.token_index = None


def end_device(session: Session, account_id: UUID, installation_id: UUID) -> None:
    """End an installation of an account, as on signing out; one that is not there or has ended is no error."""
    mine = and_(col(Device.account_id) == account_id, col(Device.installation_id) == installation_id)
    session.execute(_ENDING.where(mine), {"reason": "signed_out", "at": clock.now()})


def end_signed_out_devices(session: Session) -> None:
    """Wipe the tokens of devices whose session has ended; they receive nothing since it did."""
    ended = select(SignedInSession.id).where(col(SignedInSession.ended_at).is_not(None))
    session.execute(_ENDING.where(col(Device.session_id).in_(ended)), {"reason": "signed_out", "at": clock.now()})


_ENDING = (
    update(Device)
    .where(col(Device.ended_at).is_(None))
    .values(ended_at=bindparam("at"), end_reason=bindparam("reason"), token_sealed=None, token_index=None)
    .execution_options(synchronize_session=False)
)


def _token_context(device_id: UUID) -> str:
    return f"device:{device_id}:token"


# Sending -----------------------------------------------------------------------------------------------------------

Fleet = Mapping[Carrier, Notifier]


@dataclass(frozen=True, slots=True)
class _Leased:
    """A row taken for one try, with the roads it may take and what became of earlier tries."""

    row: RowMapping
    lease_id: UUID
    recipient_active: bool
    locale: str
    legs: tuple[tuple[Target, ...], ...] = ()
    past: Sequence[Tried] = ()
    devices: Mapping[UUID, Device] = field(default_factory=dict)
    reach: identity.Reach | None = None


@dataclass(frozen=True, slots=True)
class _End:
    """What a try came to."""

    leased: _Leased
    fate: Fate
    made: Sequence[Tried] = ()


def send_owed(limit: int = 1000, notifier: Notifier | None = None, fleet: Fleet | None = None) -> int:
    """Try up to `limit` owed messages, or as many as fit in `rules.SHIFT`; returns how many were tried.

    `fleet` are the carriers; without one everything goes to `notifier`, or to the console. Lease and count are
    committed before the sending, which stands outside any transaction; the end is written only while the lease is
    still ours. A worker killed on the way leaves rows that are owed again when their lease ends, so a message is sent
    at least once. A row that raises pays with one of its own tries and holds up no other.
    """
    carriers, tried = fleet or {"console": notifier or console()}, 0
    # Elapsed time of this process, not the product's clock: what is bounded is the task.
    shift_ends = time.monotonic() + rules.SHIFT.total_seconds()
    while tried < limit and time.monotonic() < shift_ends:
        leased = _lease(min(rules.BATCH, limit - tried), carriers)
        _send(leased, carriers)
        tried += len(leased)
        if len(leased) < rules.BATCH:
            break
    return tried


def _lease(limit: int, carriers: Fleet) -> list[_Leased]:
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
        accounts = {row["account_id"] for row in rows if row["account_id"]}
        known = identity.recipients(session, accounts)
        leased = []
        for row in sorted(rows, key=lambda row: (row["priority"], row["created_at"])):
            who = known.get(row["account_id"]) or identity.Recipient(active=row["account_id"] is None, locale="vi")
            leased.append(_Leased(row, lease_id, who.active, row["locale"] or who.locale))
        return _with_roads(session, leased, accounts, carriers)


def _with_roads(session: Session, leased: list[_Leased], accounts: set[UUID], carriers: Fleet) -> list[_Leased]:
    """Find out where each message can go; the console takes everything, and nothing is asked for it."""
    if "console" in carriers:
        return [replace(one, legs=((Target(one.row["channel"], "console"),),)) for one in leased]
    devices: dict[UUID, dict[UUID, Device]] = {}
    for device in queries.devices(session, accounts):
        devices.setdefault(device.account_id, {})[device.id] = device
    reach = identity.reach(session, accounts)
    past = queries.tried(session, [one.row["id"] for one in leased if one.row["attempts"] > 1])
    found = []
    for one in leased:
        own, where = devices.get(one.row["account_id"], {}), reach.get(one.row["account_id"])
        legs = _legs(one.row, own.values(), where, carriers)
        found.append(replace(one, legs=legs, past=past.get(one.row["id"], ()), devices=own, reach=where))
    return found


def _legs(
    row: RowMapping, devices: Iterable[Device], reach: identity.Reach | None, carriers: Fleet
) -> tuple[tuple[Target, ...], ...]:
    addressed = row["account_id"] is None
    phone, email = (addressed, addressed) if reach is None else (reach.phone_sealed, reach.email_sealed)
    legs: dict[Channel, list[Target]] = {
        "push": [Target("push", cast("Carrier", one.carrier), one.id) for one in devices],
        "zns": [Target("zns", "zns")] if phone else [],
        "sms": [Target("sms", "esms")] if phone else [],
        "email": [Target("email", "smtp")] if email else [],
    }
    road = rules.road(row["template"], row["channel"], addressed=addressed)
    served = (tuple(target for target in legs[channel] if target.carrier in carriers) for channel in road)
    return tuple(leg for leg in served if leg)


def _send(leased: Sequence[_Leased], carriers: Fleet) -> None:
    """Try one after the other. Ends are written together, but none waits longer than `_UNWRITTEN_S` and one try.

    With a commit for each, sending took the processor time that routing needs.
    """
    ends: list[_End] = []
    written = time.monotonic()
    for one in leased:
        ends.append(_try(one, carriers))
        if time.monotonic() - written > _UNWRITTEN_S:
            _finish(ends)
            ends, written = [], time.monotonic()
    if ends:
        _finish(ends)


def _try(leased: _Leased, carriers: Fleet) -> _End:
    row, at = leased.row, clock.now()
    given_up = rules.hopeless(row["attempts"], row["expires_at"], recipient_active=leased.recipient_active, at=at)
    if given_up is not None:
        reached = any(isinstance(tried.delivery, Accepted) for tried in leased.past)
        return _End(leased, Sent() if reached else given_up)
    hours = _quiet_hours()
    held = rules.held_until(row["template"], leased.legs, hours, waited_for=row["priority"] == _URGENT, at=at)
    if held is not None:
        return _End(leased, Again(held, counted=False))
    age = at - (hours.until(row["created_at"]) or row["created_at"])
    made: list[Tried] = []
    no_further = time.monotonic() + rules.HOP_TIMEOUT.total_seconds()
    while (target := rules.next_target(leased.legs, [*leased.past, *made], age)) is not None:
        made.append(Tried(target, _deliver(leased, target, carriers[target.carrier])))
        if time.monotonic() > no_further:
            break
    fate = rules.verdict(leased.legs, [*leased.past, *made], row["attempts"], age, clock.now())
    return _End(leased, fate, made)


def _quiet_hours() -> QuietHours:
    told = settings()
    return QuietHours(told.quiet_from, told.quiet_to, ZoneInfo(told.quiet_zone))


def _deliver(leased: _Leased, target: Target, notifier: Notifier) -> Delivery:
    row = leased.row
    try:
        return notifier.send(_outgoing(leased, target))
    except Exception as error:  # noqa: BLE001 - whatever a row or a provider raises costs that row a try, nothing else
        # The type alone: the text of an error may quote the message or its address.
        log.warning("send_raised", message_id=str(row["id"]), template=row["template"], error=type(error).__name__)
        return RetryAfter()


def _outgoing(leased: _Leased, target: Target) -> Outgoing:
    row = leased.row
    secret = _unsealed(row, "secret")
    device = leased.devices.get(target.device_id) if target.device_id else None
    locale: Locale = "en" if (row["locale"] or (device.locale if device else leased.locale)) == "en" else "vi"
    title, word = ("", "") if secret is not None else rules.push_words(row["template"], row["params"], locale)
    return Outgoing(
        id=row["id"],
        to=_address(leased, target, device),
        channel=target.channel,
        template=row["template"],
        locale=locale,
        text=word if device else rules.render(row["template"], row["params"], locale, secret),
        params=row["params"],
        code=secret,
        title=title,
        urgent=row["priority"] == _URGENT or row["template"] in rules.AT_ANY_HOUR,
        delivery_id=rules.delivery_id(row["id"], target),
    )


def _address(leased: _Leased, target: Target, device: Device | None) -> str:
    """Open the one address this delivery needs. The console gets an account's opaque id."""
    if device is not None:
        return crypto.unseal(bytes(device.token_sealed or b""), _token_context(device.id))
    bare = _unsealed(leased.row, "address")
    if bare is not None:
        return bare
    if target.carrier == "console" or leased.reach is None:
        return f"account:{leased.row['account_id']}"
    return leased.reach.email() if target.channel == "email" else leased.reach.phone()


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


_ATTEMPTED = text("""
INSERT INTO message_attempt (id, message_id, channel, carrier, device_id, outcome, code, at)
SELECT * FROM unnest(
    cast(:id AS uuid[]), cast(:message_id AS uuid[]), cast(:channel AS text[]), cast(:carrier AS text[]),
    cast(:device_id AS uuid[]), cast(:outcome AS text[]), cast(:code AS text[]), cast(:at AS timestamptz[])
)
""")


def _finish(ends: Sequence[_End]) -> None:
    """Write the ends of tries, as far as their leases are still ours, and what was tried, which is a fact either way.

    A new token that came for a device meanwhile is not the one that died.
    """
    rows, attempts = [_ended(end) for end in ends], [row for end in ends for row in _attempts(end)]
    with transaction() as session:
        written = set(session.execute(_FINISH, _columns(rows)).scalars())
        if attempts:
            session.execute(_ATTEMPTED, _columns(attempts))
    for lost in {row["id"] for row in rows} - written:
        log.warning("lease_lost", message_id=str(lost))
    dead = [
        end.leased.devices[tried.target.device_id]
        for end in ends
        for tried in end.made
        if isinstance(tried.delivery, TokenDead) and tried.target.device_id is not None
    ]
    for device in dead:
        same = and_(col(Device.id) == device.id, col(Device.token_index) == device.token_index)
        with transaction() as session:
            session.execute(_ENDING.where(same), {"reason": "token_dead", "at": clock.now()})


def _columns(rows: Sequence[Mapping[str, object]]) -> dict[str, list[object]]:
    return {name: [row[name] for row in rows] for name in rows[0]}


def _attempts(end: _End) -> Iterator[dict[str, object]]:
    at = clock.now()
    for tried in end.made:
        if isinstance(tried.delivery, NotAsked):
            continue
        yield {
            "id": uuid7(),
            "message_id": end.leased.row["id"],
            "channel": tried.target.channel,
            "carrier": tried.target.carrier,
            "device_id": tried.target.device_id,
            "outcome": rules.OUTCOMES[type(tried.delivery)],
            "code": tried.delivery.code if isinstance(tried.delivery, Permanent) else None,
            "at": at,
        }


def _ended(ending: _End) -> dict[str, object]:
    leased, row = ending.leased, ending.leased.row
    end: dict[str, object] = {
        "id": row["id"],
        "lease_id": leased.lease_id,
        "state": "owed",
        "sent_at": None,
        "failure_code": None,
        "next_attempt_at": None,
        "spared": 0,
    }
    match ending.fate:
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

    For a laptop, tests and the README's tour, which read the one-time code there. It delivers nothing, and whoever
    reads the file can sign in as anybody: a production start refuses it.
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
    """Give the provider of an installation without carriers."""
    return Console(settings().var_dir / "outbox.jsonl")

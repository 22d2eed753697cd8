"""Taking in reports: the report, its case and event 1 in one statement, many reports in one transaction."""

import os
from collections.abc import Callable, Sequence
from contextvars import Context
from datetime import datetime, timedelta
from typing import Any, NamedTuple
from uuid import UUID

import psycopg
import structlog
from sqlmodel import select

from app.assets.queries import asset_by_code
from app.boundaries import queries as boundaries
from app.cases import queries, rules
from app.cases.actions import attach_media
from app.cases.models import Case
from app.cases.rules import State
from app.core import clock, crypto, db, idempotency, ids, limits
from app.core.db import Session
from app.core.errors import UNAUTHENTICATED, DomainError
from app.core.http import Lang
from app.core.idempotency import KEY_BUSY, Stored
from app.core.limits import Limit
from app.deadlines import queries as deadline_queries
from app.identity.policy import Viewer
from app.intake.schemas import ASSET_NOT_IN_USE, ID_TAKEN, Receipt
from app.reports.models import Report
from app.reports.rules import plausible
from app.reports.schemas import ReportIn, evidence_text

REPORTS_PER_HOUR = Limit("reports", quota=20, window_s=3600)
SUBMIT = "POST /v1/reports"
APP = "app"

# One statement, one round trip: the gate (nobody else is handling this key), the account, the limit, the key, the
# report, its case, event 1 and the verify clock. All of it selects from `rep`, so that a repeat writes nothing.
_INTAKE = """
WITH gate AS (SELECT pg_try_advisory_xact_lock(%(lock)s::bigint) AS got),
who AS (SELECT id FROM account WHERE id = %(account_id)s::uuid AND status = 'active'),
last AS (
    SELECT received_at FROM report WHERE account_id = %(account_id)s::uuid AND received_at > %(since)s::timestamptz
    ORDER BY received_at DESC OFFSET %(quota)s::int - 1 LIMIT 1),
rep AS (
    INSERT INTO report (id, account_id, category_code, channel, visibility, hide_name, allow_call,
                        received_at, occurred_at, sent_at, request_hash, request_id)
    SELECT %(id)s::uuid, who.id, %(category)s::text, %(channel)s::text, %(visibility)s::text,
           %(hide_name)s::boolean, %(allow_call)s::boolean, %(at)s::timestamptz,
           %(occurred_at)s::timestamptz, %(sent_at)s::timestamptz, %(request_hash)s::bytea, %(request_id)s::text
    FROM gate, who
    WHERE gate.got AND NOT EXISTS (SELECT FROM last)
      AND NOT EXISTS (SELECT FROM idempotency_key WHERE account_id = %(account_id)s::uuid AND key = %(key)s::uuid)
    ON CONFLICT DO NOTHING RETURNING id),
key AS (
    INSERT INTO idempotency_key (account_id, key, request_hash, status, body, created_at)
    SELECT %(account_id)s::uuid, %(key)s::uuid, %(key_hash)s::bytea, 201, %(answer)s::bytea, %(at)s::timestamptz
    FROM rep),
content AS (
    INSERT INTO report_content (report_id, description, lat, lon, accuracy_m, stated_unit_id, place_text,
                                address, asset_id, nonce)
    SELECT id, %(description)s::text, %(lat)s::float8, %(lon)s::float8, %(accuracy_m)s::float8,
           %(stated_unit_id)s::uuid, %(place_text)s::text, %(address)s::text, %(asset_id)s::uuid,
           %(nonce)s::bytea FROM rep),
opened AS (
    INSERT INTO case_file (id, report_id, reference, category_code, urgency, channel, state, version, cycle,
                           received_at, updated_at, act_by, head)
    SELECT %(case_id)s::uuid, id, %(reference)s::text, %(category)s::text, %(urgency)s::text, %(channel)s::text,
           %(state)s::text, 1, 1, %(at)s::timestamptz, %(at)s::timestamptz, %(act_by)s::timestamptz, %(head)s::bytea
    FROM rep),
event AS (
    INSERT INTO case_event (case_id, seq, at, verb, to_state, actor_kind, actor_id, cycle, category_code, urgency,
                            channel, commitment, body, hash)
    SELECT %(case_id)s::uuid, 1, %(at)s::timestamptz, 'submit', %(state)s::text, 'citizen', %(account_id)s::uuid, 1,
           %(category)s::text, %(urgency)s::text, %(channel)s::text, %(commitment)s::bytea, %(body)s::bytea,
           %(head)s::bytea FROM rep)
{clock}
SELECT gate.got, EXISTS (SELECT FROM who), (SELECT received_at FROM last), EXISTS (SELECT FROM rep) FROM gate
"""
_VERIFY_CLOCK = """,
clock AS (
    INSERT INTO sla_clock (case_id, kind, started_seq, cycle, policy_id, started_at, due_at)
    SELECT %(case_id)s::uuid, 'verify', 1, 1, %(policy_id)s::uuid, %(at)s::timestamptz, %(act_by)s::timestamptz
    FROM rep)"""
# Two texts, because PostgreSQL prepares the insert into a table even where no row will come.
_INTAKES = {State.ROUTING: _INTAKE.format(clock=""), State.VERIFYING: _INTAKE.format(clock=_VERIFY_CLOCK)}


class Asked(NamedTuple):
    """A citizen's report as it came in; `context` holds the id of the request, and the time where it is simulated."""

    citizen: Viewer
    body: ReportIn
    key: UUID
    lang: Lang
    context: Context


class Found(NamedTuple):
    """What the intake statement says. `last`: when the report was received that used up the hour's limit."""

    gate_open: bool
    is_active: bool
    last: datetime | None
    is_new: bool


def submit(session: Session, citizen: Viewer, body: ReportIn, key: UUID, lang: Lang = "vi") -> Stored:
    """Accept a report: the report, its case and event 1 in one transaction. Safe to repeat with the same key or id.

    The answer is a `Receipt` as stored bytes, the same for every repeat.
    """
    row = _intake_row(session, citizen, body, key, lang)
    (found,) = _take_in(session, [row])
    answer = _answer(session, row, found)
    if found.is_new and body.media_ids:
        attach_media(session, body.id, citizen.id, body.media_ids)
    return answer


def submit_together(asked: Sequence[Asked]) -> list[Stored | Exception]:
    """`submit` for reports without photos, in one transaction; each gets its own answer or refusal."""
    with db.statements() as session:
        rows = [each.context.run(_tried, _intake_row, session, *each[:4]) for each in asked]
        sound = [(number, row) for number, row in enumerate(rows) if isinstance(row, dict)]
        # By id: two groups that hold the same reports then wait for one another in one direction only.
        sound.sort(key=lambda each: each[1]["id"])
        taken = _tried(_take_in, session, [row for _, row in sound])
        answers: list[Any] = rows
        for place, (number, row) in enumerate(sound):
            answers[number] = taken if isinstance(taken, Exception) else _tried(_answer, session, row, taken[place])
    if len(sound) > 1 and isinstance(taken, _OF_ONE_ROW):
        return [submit_together([each])[0] for each in asked]
    return answers


# What one row can do to a group: then each is tried alone. A lost connection is everybody's.
_OF_ONE_ROW = (DomainError, psycopg.IntegrityError, psycopg.DataError)


def _tried(act: Callable[..., Any], *given: Any) -> Any:
    """The result, or the exception as a value: in a group nobody pays for somebody else."""
    try:
        return act(*given)
    except Exception as error:  # noqa: BLE001 - it is raised again in the request it belongs to
        return error


def _take_in(session: Session, rows: Sequence[dict[str, Any]]) -> list[Found]:
    try:
        return [Found(*found) for found in db.execute(session, [(_INTAKES[row["state"]], row) for row in rows])]
    except db.NotUnique as error:  # the same key with another report, at the same moment; or a reference drawn twice
        raise KEY_BUSY.error(headers={"Retry-After": "1"}) from error


def _answer(session: Session, row: dict[str, Any], found: Found) -> Stored:
    if not found.is_active:
        raise UNAUTHENTICATED.error()
    if not found.gate_open:
        raise KEY_BUSY.error(headers={"Retry-After": "1"})
    if not found.is_new:
        return _repeated(session, row, found.last)
    if row["state"] == State.ROUTING:
        db.owe(session, "routing")
    return Stored(201, row["answer"])


def _check_place(session: Session, body: ReportIn, at: datetime) -> UUID | None:
    """Refuse a place that cannot be ours; the unit the citizen named, where one was named."""
    if (here := body.location) is not None and boundaries.locate(
        session, here.lat, here.lon, None, at
    ).outcome != "inside":
        # Only who stands nowhere needs the longer question, which asks how far the phone may be wrong.
        boundaries.check_location(session, here.lat, here.lon, here.accuracy_m, at)
    if body.commune is None:
        return None
    return queries.commune_on(session, body.commune, clock.local_day(at), "/commune")


def scanned_id(session: Session, code: str | None, at: datetime) -> UUID | None:
    """The asset whose sticker was scanned; a code of nothing in use is refused."""
    if code is None:
        return None
    asset = asset_by_code(session, code, clock.local_day(at))
    if asset is None:
        raise ASSET_NOT_IN_USE.error(pointer="/asset", code=code)
    return asset.id


def _intake_row(session: Session, citizen: Viewer, body: ReportIn, key: UUID, lang: Lang) -> dict[str, Any]:
    """All values of the intake statement, with event 1 hashed; refuses what cannot be a report."""
    account_id, received_at = citizen.id, clock.now()
    category = queries.offered_category(session, body.category)
    stated_unit_id = _check_place(session, body, received_at)
    asset_id = scanned_id(session, body.asset, received_at)
    payload = body.model_dump_json().encode()
    state = State.ROUTING if category.trusted else State.VERIFYING
    case_id, nonce = ids.uuid7(), os.urandom(rules.NONCE_BYTES)
    policy_id, act_by = None, received_at
    if state == State.VERIFYING:
        planned = deadline_queries.deadline(session, category.code, "verify", received_at)
        policy_id, act_by = planned.policy_id, planned.due_at
    event = {
        "case_id": case_id,
        "seq": 1,
        "at": received_at,
        "verb": "submit",
        "to_state": state.value,
        "actor_kind": "citizen",
        "actor_id": account_id,
        "cycle": 1,
        "category_code": category.code,
        "urgency": category.urgency,
        "channel": APP,
        "commitment": rules.commit_to(nonce, evidence_text(body)),
    }
    hashed = rules.canonical(event)
    receipt = Receipt(
        id=body.id,
        reference=ids.reference(),
        status=state.value,
        status_text=rules.citizen_word(state, lang),
        received_at=received_at,
        version=1,
    )
    location = body.location
    return event | {
        "id": body.id,
        "account_id": account_id,
        "key": key,
        "lock": idempotency.lock_number(account_id, key),
        "since": received_at - timedelta(seconds=REPORTS_PER_HOUR.window_s),
        "quota": limits.quota(REPORTS_PER_HOUR),
        "lang": lang,
        "key_hash": idempotency.request_hash(SUBMIT, payload),
        "request_hash": crypto.sha256(payload),
        "request_id": structlog.contextvars.get_contextvars().get("request_id", ""),
        "answer": receipt.model_dump_json().encode(),
        "reference": receipt.reference,
        "category": category.code,
        "visibility": body.visibility,
        "hide_name": body.hide_name,
        "allow_call": body.allow_call,
        "occurred_at": plausible(body.occurred_at, received_at),
        "sent_at": plausible(body.sent_at, received_at),
        "description": body.description,
        "lat": location.lat if location else None,
        "lon": location.lon if location else None,
        "accuracy_m": location.accuracy_m if location else None,
        "stated_unit_id": stated_unit_id,
        "place_text": body.place_text,
        "address": body.address,
        "asset_id": asset_id,
        "nonce": nonce,
        "state": state.value,
        "policy_id": policy_id,
        "act_by": act_by,
        "body": hashed,
        "head": rules.link(rules.GENESIS, hashed),
    }


def _repeated(session: Session, row: dict[str, Any], last: datetime | None) -> Stored:
    """The answer to a report that was not stored: this key or this id was there before, or the hour is used up.

    An id seen under another key: the same account and body get the same report, others 409.
    """
    account_id, key = row["account_id"], row["key"]
    before = idempotency.stored(session, account_id, key, row["key_hash"])
    if before is not None:
        return before
    report = session.get(Report, row["id"])
    if report is None and last is not None:
        window = timedelta(seconds=REPORTS_PER_HOUR.window_s)
        raise limits.refusal(REPORTS_PER_HOUR, (last + window - row["at"]).total_seconds())
    if report is None or report.account_id != account_id or bytes(report.request_hash) != row["request_hash"]:
        raise ID_TAKEN.error(pointer="/id")
    case = session.exec(select(Case).where(Case.report_id == report.id)).one()
    receipt = Receipt(
        id=report.id,
        reference=case.reference,
        status=case.state,
        status_text=rules.citizen_word(case.state, row["lang"]),
        received_at=report.received_at,
        version=case.version,
    )
    answer = Stored(200, receipt.model_dump_json().encode())
    return idempotency.keep(session, account_id, key, row["key_hash"], answer)

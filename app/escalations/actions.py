"""Giving warnings: claimed, decided and owed as messages in one transaction, so that a crash leaves them owed."""

import time
from collections.abc import Sequence
from datetime import datetime

import structlog
from sqlalchemy import RowMapping
from sqlalchemy.dialects.postgresql import insert
from sqlmodel import col

from app.core import clock
from app.core.db import Session, transaction
from app.deadlines import queries as deadlines
from app.duties.queries import people
from app.duties.rules import People
from app.escalations import queries, rules
from app.escalations.models import DigestDay
from app.escalations.queries import Cursor, Outcome
from app.escalations.rules import PAGE, Drop, Give, Wait
from app.notifications.actions import OwedMessage, owe_many

log = structlog.get_logger("escalations")

BATCH = 500
# What is found to watch in one transaction.
FOUND = 5000
_SHIFT_S = 60.0


def watch(now: datetime) -> None:
    """Find what should be warned of and is not known yet: clocks, stays in triage, urgent cases, moved deadlines."""
    for note in (queries.note_pages, queries.note_clocks):
        found = FOUND
        while found >= FOUND:
            with transaction() as session:
                found = note(session, now, FOUND)
    with transaction() as session:
        queries.note_moved(session, now)


def sweep() -> int:
    """Give every warning whose moment has come, the oldest first, and go on where a failing one would hold it up.

    Returns how many were looked at. What does not fit into a minute is left for the next sweep.
    """
    now, seen, after = clock.now(), 0, None
    watch(now)
    # Elapsed time of this process, not the product's clock: what is bounded is the task.
    shift_ends = time.monotonic() + _SHIFT_S
    while time.monotonic() < shift_ends:
        looked_at, after = give_owed(now, after)
        seen += looked_at
        if looked_at < BATCH:
            break
    return seen


def page(now: datetime | None = None) -> int:
    """Page for urgent cases at once, whatever else is owed; returns how many pages were looked at."""
    now = now or clock.now()
    with transaction() as session:
        queries.note_pages(session, now, BATCH)
    try:
        with transaction() as session:
            rows = queries.claim_pages(session, now, BATCH)
            _give(session, rows, now)
    except Exception:
        log.exception("pages_failed")
        with transaction() as session:
            rows = queries.claim_pages(session, now, BATCH)
        _apart([queries.place_of(row) for row in rows], now)
    return len(rows)


def give_owed(now: datetime, after: Cursor | None = None, limit: int = BATCH) -> tuple[int, Cursor | None]:
    """Look at owed warnings behind `after`; returns how many, and the place of the last.

    One transaction for all of them. When it fails it is halved down to the poison row, which holds up nobody; after
    five failures it leaves the sweep and stands in a list that a person reads.
    """
    rows: Sequence[RowMapping] = ()
    try:
        with transaction() as session:
            rows = queries.claim(session, now, limit, after=after)
            _give(session, rows, now)
    except Exception:
        log.exception("warnings_failed")
        if not rows:  # the claim itself: nothing of it is known
            raise
        _apart([queries.place_of(row) for row in rows], now)
    return len(rows), queries.place_of(rows[-1]) if rows else after


def _apart(places: Sequence[Cursor], now: datetime) -> None:
    """Look at the warnings of a batch that failed by halves, down to the one that fails: it pays with a try."""
    try:
        with transaction() as session:
            _give(session, queries.claim(session, now, len(places), only=places), now)
    except Exception as error:
        if len(places) > 1:
            middle = len(places) // 2
            _apart(places[:middle], now)
            _apart(places[middle:], now)
            return
        which = {"case_id": str(places[0]["case_id"]), "kind": places[0]["kind"]}
        log.exception("warning_failed", **which)
        with transaction() as session:
            attempts = queries.count_failure(session, places[0], type(error).__name__, now)
        if attempts >= rules.MAX_ATTEMPTS:
            log.error("warning_given_up", **which)  # noqa: TRY400 - a fact of its own


def _give(session: Session, rows: Sequence[RowMapping], now: datetime) -> None:
    """Decide on claimed rows, owe what is to be said and write what became of them, in the caller's transaction."""
    if not rows:
        return
    who, calendar = people(session, now), deadlines.calendar(session)
    drop: list[Outcome] = []
    wait: list[Outcome] = []
    give: list[Outcome] = []
    messages: list[OwedMessage] = []
    for row in rows:
        pending = queries.pending(session, row)
        match rules.decide(pending, calendar, now):
            case Drop():
                drop.append(Outcome(row, now, pending.due_at))
            case Wait(until):
                wait.append(Outcome(row, until, pending.due_at))
            case Give(step):
                said = _said(row, pending, step, who)
                messages += said
                give.append(Outcome(row, now, pending.due_at, len(said)))
    owe_many(session, messages)
    queries.settle(session, drop=drop, wait=wait, give=give)


def _said(row: RowMapping, pending: rules.Pending, step: rules.Step, who: People) -> list[OwedMessage]:
    """The messages of one warning, with a key each under which it is said once."""
    told = rules.told(step.told, pending.place, who)
    keys = dict.fromkeys(told, f"warning:{row['kind']}:{row['started_seq']}:{row['level']}")
    if row["level"] == PAGE:
        # Who was paged for the province is not paged again when a unit gets the case.
        centre = who.paged(None)
        keys = {each: f"page:{row['cycle']}:{0 if each in centre else row['started_seq']}" for each in told}
    return [
        OwedMessage(
            template=step.template,
            account_id=account_id,
            case_id=row["case_id"],
            params={"reference": row["reference"], "status": row["state"]},
            dedupe_key=f"{keys[account_id]}:{row['case_id']}:{account_id}",
        )
        for account_id in sorted(told)
    ]


def digest_if_owed(session: Session) -> int:
    """Owe everybody who has something late the one letter of the day, once it is 7:30 on a working day.

    The day and all its letters are one transaction: a crash leaves the day owed, a second scheduler finds it made. A
    morning that was missed is made up later that day, not the day after. Returns how many people are written to.
    """
    now, calendar = clock.now(), deadlines.calendar(session)
    if not rules.digest_due(calendar, now):
        return 0
    day = clock.local_day(now)
    claim = insert(DigestDay).values(day=day, made_at=now).on_conflict_do_nothing().returning(col(DigestDay.day))
    if session.execute(claim).one_or_none() is None:
        return 0
    letters = rules.digests(queries.late(session, now), people(session, now), now)
    owe_many(
        session,
        [
            OwedMessage("case_digest", account_id, None, params, f"digest:{day}:{account_id}")
            for account_id, params in sorted(letters.items())
        ],
    )
    session.get_one(DigestDay, day).people = len(letters)
    return len(letters)

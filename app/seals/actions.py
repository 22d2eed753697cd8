"""Sealing a night, telling the world of it, and writing the auditor's export."""

import hashlib
import json
import os
from base64 import b64decode
from pathlib import Path

import httpx2
import structlog
from sqlalchemy import text
from sqlmodel import col, select

from app.core import clock
from app.core.config import settings
from app.core.db import Session, transaction
from app.identity.actions import audit
from app.seals import queries, rules
from app.seals.models import Seal, SealDelivery, SealKey, SealNode
from app.seals.rules import Statement, TrustedRoot

log = structlog.get_logger("seals")

_LOCK = 0x7365616C
_NODES_AT_A_TIME = 1000
_TIMEOUT_S = 10.0
_AT_ONCE = 8

# --- sealing -------------------------------------------------------------------------------------------------------

# Every chain that grew since its newest leaf, with the head it has in this statement's snapshot, in the order of ids.
# Events of transactions between xmin and xmax wait, and with them everything after them in their chain: what a seal
# speaks of is settled for every other reader as well. A visible event beyond xmax was written by another server and
# restored here: it is settled. So are our own.
_APPEND = text("""
WITH bounds AS (
    SELECT pg_snapshot_xmin(taken) AS low, pg_snapshot_xmax(taken) AS high FROM pg_current_snapshot() AS taken
), unsettled AS (
    SELECT case_id, min(seq) - 1 AS seq FROM case_event, bounds
    WHERE xid >= low AND xid < high AND xid IS DISTINCT FROM pg_current_xact_id_if_assigned() GROUP BY case_id
), sealed AS (
    SELECT case_id, max(seq) AS seq FROM seal_leaf GROUP BY case_id
), grown AS (
    SELECT c.id AS case_id, coalesce(u.seq, c.version) AS seq FROM case_file c
    LEFT JOIN unsettled u ON u.case_id = c.id LEFT JOIN sealed s ON s.case_id = c.id
    WHERE coalesce(u.seq, c.version) > coalesce(s.seq, 0)
), written AS (
    INSERT INTO seal_leaf (pos, case_id, seq, head)
    SELECT :size - 1 + row_number() OVER (ORDER BY e.case_id), e.case_id, e.seq, e.hash
    FROM grown g JOIN case_event e ON e.case_id = g.case_id AND e.seq = g.seq
    RETURNING 1
)
SELECT low::text::bigint, (SELECT count(*) FROM written) FROM bounds
""")


def seal_if_owed(session: Session) -> Seal | None:
    """Make today's seal unless there is one. Whoever comes second waits, and finds it; a missed night is made up.

    One seal a local day: nights on which nothing ran have none of their own, the next seal speaks of them too.
    """
    session.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _LOCK})
    last = queries.newest(session)
    now = clock.now()
    if last is not None and last.day >= clock.local_day(now):
        return None
    seed = b64decode(settings().seal_key)
    key_id = _known_key(session, seed)
    size = last.size if last else 0
    peaks = rules.peaks_of(size, queries.complete_subtrees(session))
    below_xid, appended = session.execute(_APPEND, {"size": size}).one()
    _keep_nodes(session, peaks)
    said = Statement(
        number=last.number + 1 if last else 1,
        day=clock.local_day(now),
        at=now,
        size=peaks.size,
        root=peaks.root(),
        previous=queries.statement(last).hash() if last else rules.FIRST_PREVIOUS,
        below_xid=below_xid,
        key_id=key_id,
    )
    seal = _stored(session, said, rules.sign(seed, said))
    log.info("sealed", number=said.number, size=said.size, appended=appended, root=said.root.hex())
    return seal


def _known_key(session: Session, seed: bytes) -> str:
    """The name of the configured key, whose public half is published with its first seal and stays."""
    public = rules.public_key(seed)
    name = rules.key_id(public)
    if session.get(SealKey, name) is None:
        session.add(SealKey(id=name, public_key=public, first_used_at=clock.now()))
        session.flush()
    return name


def _keep_nodes(session: Session, peaks: rules.Peaks) -> None:
    """Let the tree grow over the appended leaves and keep the hashes of what they complete."""
    nodes = [{"level": n.level, "place": n.place, "hash": n.hash} for n in queries.grown(session, peaks)]
    for first in range(0, len(nodes), _NODES_AT_A_TIME):
        session.execute(SealNode.__table__.insert(), nodes[first : first + _NODES_AT_A_TIME])  # type: ignore[attr-defined]


def _stored(session: Session, said: Statement, signature: bytes) -> Seal:
    seal = Seal(
        number=said.number,
        day=said.day,
        at=said.at,
        size=said.size,
        root=said.root,
        previous=said.previous,
        below_xid=said.below_xid,
        key_id=said.key_id,
        signature=signature,
    )
    session.add(seal)
    session.flush()
    if settings().seal_webhook:
        session.add(SealDelivery(number=said.number, next_attempt_at=clock.now()))
        session.flush()
    return seal


# --- roots leave the host ------------------------------------------------------------------------------------------


def deliver_owed() -> int:
    """POST owed seals to the configured address, outside any transaction; returns how many arrived.

    The next attempt is put off before the request, so a worker killed on the way leaves a seal that is owed again
    later: it arrives at least once. One that fails holds up no other, and is never given up.
    """
    address = settings().seal_webhook
    if not address:
        return 0
    arrived = 0
    for _ in range(_AT_ONCE):
        taken = _take()
        if taken is None:
            break
        root, attempts = taken
        failure = _posted(address, root)
        arrived += failure is None
        _settle(root.statement.number, attempts, failure)
    return arrived


def _take() -> tuple[TrustedRoot, int] | None:
    """The delivery that is due first, put off as if it had failed already."""
    with transaction() as session:
        now = clock.now()
        due = (
            select(SealDelivery)
            .where(col(SealDelivery.delivered_at).is_(None), col(SealDelivery.next_attempt_at) <= now)
            .order_by(col(SealDelivery.next_attempt_at), col(SealDelivery.number))
            .limit(1)
            .with_for_update(skip_locked=True)
        )
        owed = session.exec(due).first()
        if owed is None:
            return None
        owed.attempts += 1
        owed.next_attempt_at = now + rules.pause(owed.attempts)
        seal = queries.numbered(session, owed.number)
        return TrustedRoot(queries.statement(seal), seal.signature), owed.attempts


def _posted(address: str, root: TrustedRoot) -> str | None:
    """Why the address did not take this root; None when it did. Redirects are not followed."""
    try:
        answer = httpx2.post(
            address, content=root.line(), headers={"Content-Type": "application/json"}, timeout=_TIMEOUT_S
        )
    except (httpx2.HTTPError, OSError) as error:
        return type(error).__name__
    return None if answer.is_success else f"status {answer.status_code}"


def _settle(number: int, attempts: int, failure: str | None) -> None:
    """Write the end of one attempt, unless another one has begun since."""
    if failure:
        log.warning("seal_not_delivered", number=number, attempts=attempts, failure=failure)
    with transaction() as session:
        owed = session.exec(
            select(SealDelivery)
            .where(SealDelivery.number == number, SealDelivery.attempts == attempts)
            .with_for_update()
        ).first()
        if owed is not None:
            owed.failure = failure
            owed.delivered_at = None if failure else clock.now()


# --- the auditor's export ------------------------------------------------------------------------------------------


def export_audit(session: Session, path: Path, purpose: str) -> str:
    """Write the auditor's export to `path`, whole or not at all, readable by its owner; returns its SHA-256.

    The session reads one snapshot (REPEATABLE READ). That it was taken, for what, and its hash stand in the audit log.
    """
    digest = hashlib.sha256()
    part = path.with_name(path.name + ".part")
    handle = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(handle, "wb") as file:
            for line in queries.export_lines(session):
                data = json.dumps(line, separators=(",", ":")).encode() + b"\n"
                digest.update(data)
                file.write(data)
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
    audit(session, None, "export", "audit", None, {"purpose": purpose, "sha256": digest.hexdigest()})
    return digest.hexdigest()

"""Reading seals: pages, proofs, what an auditor takes home, and whether everything stored still fits."""

import contextlib
from base64 import b64decode
from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import UTC
from itertools import groupby
from operator import itemgetter
from typing import Any

from sqlalchemy import text
from sqlmodel import col, select

from app.cases.models import CaseEvent
from app.cases.queries import Seen, case_by_reference, report_by_reference
from app.cases.rules import verify_chain
from app.core import clock
from app.core.config import settings
from app.core.db import Session
from app.core.errors import NOT_FOUND, DomainError
from app.core.paging import cut, decode_cursor
from app.identity.policy import Viewer
from app.seals import policy, rules
from app.seals.models import Seal, SealKey, SealLeaf, SealNode
from app.seals.rules import Complete, Peaks, Statement, TrustedRoot
from app.seals.schemas import (
    NOT_SEALED_YET,
    SEALS_REVERSED,
    CaseProofOut,
    ConsistencyOut,
    LeafOut,
    LinkOut,
    SealKeyOut,
    SealOut,
)

_ROWS_AT_A_TIME = 2000
_RETRY_S = 3600
EXPORT_FORMAT = "phananh audit export 1"

# --- seals ---------------------------------------------------------------------------------------------------------


def statement(seal: Seal) -> Statement:
    """What a stored seal signs."""
    return Statement(
        number=seal.number,
        day=seal.day,
        at=seal.at,
        size=seal.size,
        root=seal.root,
        previous=seal.previous,
        below_xid=seal.below_xid,
        key_id=seal.key_id,
    )


def shown(seal: Seal) -> SealOut:
    """A seal as it goes over the wire."""
    return SealOut(**statement(seal).plain(), signature=seal.signature.hex())


def newest(session: Session) -> Seal | None:
    """The seal made last."""
    return session.exec(select(Seal).order_by(col(Seal.number).desc()).limit(1)).first()


def numbered(session: Session, number: int) -> Seal:
    """One seal; an unknown number is 404."""
    seal = session.get(Seal, number)
    if seal is None:
        raise NOT_FOUND.error()
    return seal


def page(session: Session, *, cursor: str | None = None, limit: int = 50) -> tuple[list[Seal], str | None]:
    """Seals, newest first."""
    wanted = select(Seal).order_by(col(Seal.number).desc()).limit(limit + 1)
    if cursor is not None:
        (number,) = decode_cursor(cursor, int)
        wanted = wanted.where(col(Seal.number) < number)
    return cut(session.exec(wanted).all(), limit, lambda seal: (seal.number,))


def since(session: Session, number: int) -> list[TrustedRoot]:
    """The seals from `number` on, oldest first, as lines to be kept elsewhere."""
    wanted = select(Seal).where(col(Seal.number) >= number).order_by(col(Seal.number))
    return [TrustedRoot(statement(seal), seal.signature) for seal in session.exec(wanted)]


def published_keys(session: Session) -> list[SealKeyOut]:
    """The public keys, oldest first; last the configured one, where it signs slips and has not signed a seal yet."""
    known, public = keys(session), rules.public_key(b64decode(settings().seal_key))
    name = rules.key_id(public)
    if any(key.id == name for key in known):
        return known
    return [*known, SealKeyOut(id=name, public_key=public.hex(), first_used_at=None)]


def keys(session: Session) -> list[SealKeyOut]:
    """The public keys that seals were signed with, oldest first."""
    wanted = select(SealKey).order_by(col(SealKey.first_used_at), col(SealKey.id))
    return [
        SealKeyOut(
            id=key.id, public_key=key.public_key.hex(), first_used_at=key.first_used_at.astimezone(UTC).isoformat()
        )
        for key in session.exec(wanted)
    ]


# --- proofs --------------------------------------------------------------------------------------------------------


def complete_subtrees(session: Session) -> Complete:
    """The log's complete subtrees, each read with one statement of at most 255 rows."""

    def complete(level: int, place: int) -> bytes:
        below = level % rules.KEPT_EVERY
        found = _hashes(session, level - below, place << below, 1 << below)
        while len(found) > 1:
            found = [rules.hash_node(*found[left : left + 2]) for left in range(0, len(found), 2)]
        return found[0]

    return complete


def _hashes(session: Session, level: int, first: int, number: int) -> list[bytes]:
    """`number` hashes of one kept level, from place `first` on. ValueError where the log has a gap."""
    if level == 0:
        leaves = select(SealLeaf.case_id, SealLeaf.seq, SealLeaf.head).order_by(col(SealLeaf.pos))
        rows = session.exec(leaves.where(col(SealLeaf.pos) >= first, col(SealLeaf.pos) < first + number)).all()
        found = [rules.leaf_hash(*row) for row in rows]
    else:
        nodes = select(SealNode.hash).where(SealNode.level == level).order_by(col(SealNode.place))
        found = list(session.exec(nodes.where(col(SealNode.place) >= first, col(SealNode.place) < first + number)))
    if len(found) != number:
        raise ValueError(f"the log of seals has a gap at level {level}, {first}")
    return found


def consistency(session: Session, older_number: int, newer_number: int) -> ConsistencyOut:
    """The proof that the older seal's log is the beginning of the newer one's; 404 for unknown seals."""
    newer = numbered(session, newer_number)
    if older_number > newer_number:
        raise SEALS_REVERSED.error(pointer="/query/from", number=newer_number)
    older = numbered(session, older_number)
    path = rules.consistency_path(older.size, newer.size, complete_subtrees(session))
    return ConsistencyOut(older=shown(older), newer=shown(newer), path=[each.hex() for each in path])


def case_proof(session: Session, viewer: Viewer, reference: str) -> CaseProofOut:
    """That a case is inside the newest seal, for who may see the case or its public report; invisible is 404."""
    seen = _visible(session, viewer, reference)
    leaf = session.exec(
        select(SealLeaf).where(SealLeaf.case_id == seen.case.id).order_by(col(SealLeaf.seq).desc()).limit(1)
    ).first()
    seal = newest(session)
    if leaf is None or seal is None:
        raise NOT_SEALED_YET.error(headers={"Retry-After": str(_RETRY_S)})
    path = rules.inclusion_path(leaf.pos, seal.size, complete_subtrees(session))
    return CaseProofOut(
        reference=seen.case.reference,
        leaf=LeafOut(index=leaf.pos, case_id=leaf.case_id, seq=leaf.seq, head=leaf.head.hex()),
        path=[each.hex() for each in path],
        seal=shown(seal),
        links=_links(session, viewer, seen, leaf.seq),
    )


def _visible(session: Session, viewer: Viewer, reference: str) -> Seen:
    """A case whose report the caller may read, or that staff may open."""
    try:
        return report_by_reference(session, viewer, reference)
    except DomainError:
        return case_by_reference(session, viewer, reference)


def _links(session: Session, viewer: Viewer, seen: Seen, last: int) -> list[LinkOut]:
    wanted = select(CaseEvent.seq, CaseEvent.hash, CaseEvent.actor_id, CaseEvent.body).order_by(col(CaseEvent.seq))
    is_author = viewer.account_id == seen.report.account_id
    return [
        LinkOut(
            seq=seq,
            hash=hash_.hex(),
            body=body.decode() if policy.may_see_body(viewer, actor_id, is_author=is_author) else None,
        )
        for seq, hash_, actor_id, body in session.exec(
            wanted.where(CaseEvent.case_id == seen.case.id, col(CaseEvent.seq) <= last)
        )
    ]


# --- the auditor's export ------------------------------------------------------------------------------------------


def export_lines(session: Session) -> Iterator[dict[str, Any]]:
    """All pseudonymous events as they were hashed, the log, the seals and the public keys; row by row.

    In one snapshot (REPEATABLE READ), so that leaves never speak of events that are not there. An event that was
    sealed names its leaf. Bytes that are no UTF-8 come through as lone surrogates.
    """
    yield {"type": "export", "format": EXPORT_FORMAT, "at": clock.now().isoformat()}
    for key in keys(session):
        yield {"type": "key", "id": key.id, "public_key": key.public_key}
    for root in since(session, 1):
        yield {"type": "seal", **root.statement.plain(), "signature": root.signature.hex()}
    leaves = events = 0
    for pos, case_id, seq, head in _leaves(session, 0):
        leaves += 1
        yield {"type": "leaf", "index": pos, "case_id": str(case_id), "seq": seq, "head": head.hex()}
    for row in _streamed(session, _EXPORTED):
        events += 1
        line = {"type": "event", "case_id": str(row.case_id), "seq": row.seq, "hash": row.hash.hex()}
        leaf = {} if row.pos is None else {"leaf": row.pos}
        yield line | leaf | {"body": row.body.decode(errors="surrogateescape")}
    yield {"type": "end", "leaves": leaves, "events": events}


_EXPORTED = """
    SELECT e.case_id, e.seq, e.body, e.hash, l.pos FROM case_event e
    LEFT JOIN seal_leaf l ON l.case_id = e.case_id AND l.seq = e.seq ORDER BY e.case_id, e.seq
"""


def _leaves(session: Session, first: int) -> Iterator[Any]:
    """The log from leaf `first` on: pos, case_id, seq, head."""
    return _streamed(
        session, "SELECT pos, case_id, seq, head FROM seal_leaf WHERE pos >= :first ORDER BY pos", {"first": first}
    )


def grown(session: Session, peaks: Peaks) -> Iterator[rules.Node]:
    """Let a tree grow over the leaves that it lacks; yields the nodes to keep."""
    for _, case_id, seq, head in _leaves(session, peaks.size):
        yield from peaks.append(rules.leaf_hash(case_id, seq, head))


def _streamed(session: Session, query: str, values: Mapping[str, object] | None = None) -> Iterator[Any]:
    """The rows of a query through a server-side cursor: memory for `_ROWS_AT_A_TIME` of them."""
    found = session.execute(text(query), values or {}, execution_options={"yield_per": _ROWS_AT_A_TIME})
    with contextlib.closing(found):  # also when the reader has seen enough
        yield from found


# --- does it all fit -----------------------------------------------------------------------------------------------


def findings(session: Session, trusted: Sequence[TrustedRoot] = (), own_key: str | None = None) -> Iterator[str]:
    """What does not fit, a sentence each, cases before seals; in one snapshot, in bounded memory.

    With trusted roots, a seal must be signed with a key that one of them names, or with `own_key`.
    """
    yield from _chain_faults(session)
    yield from _sealed_but_gone(session)
    seals = list(session.exec(select(Seal).order_by(col(Seal.number))))
    yield from _log_faults(session, seals)
    accepted = {own_key, *(root.statement.key_id for root in trusted)} if trusted else None
    yield from _seal_faults(session, seals, accepted)
    yield from _against(trusted, {seal.number: seal for seal in seals})


_CHAINS = """
    SELECT e.*, coalesce(c.reference, e.case_id::text) AS reference, c.version, c.head, l.head AS sealed
    FROM case_event e LEFT JOIN case_file c ON c.id = e.case_id
    LEFT JOIN seal_leaf l ON l.case_id = e.case_id AND l.seq = e.seq ORDER BY e.case_id, e.seq
"""
_WITHOUT_EVENTS = """
    SELECT reference FROM case_file c WHERE NOT EXISTS (SELECT FROM case_event WHERE case_id = c.id AND seq = 1)
    ORDER BY id
"""
_GONE = """
    SELECT coalesce(c.reference, l.case_id::text) AS reference, l.seq, l.pos
    FROM seal_leaf l LEFT JOIN case_file c ON c.id = l.case_id
    WHERE NOT EXISTS (SELECT FROM case_event e WHERE e.case_id = l.case_id AND e.seq = l.seq) ORDER BY l.pos
"""


def _chain_faults(session: Session) -> Iterator[str]:
    rows = (row._asdict() for row in _streamed(session, _CHAINS))
    for _, group in groupby(rows, key=itemgetter("case_id")):
        events = list(group)
        if fault := _fault(events):
            yield f"case {events[0]['reference']}: {fault}"
    for row in _streamed(session, _WITHOUT_EVENTS):
        yield f"case {row.reference}: event 1 is missing"


def _fault(events: Sequence[Mapping[str, Any]]) -> str | None:
    """The first thing in one case that does not fit its chain, the log or its row."""
    if fault := verify_chain(events):
        return fault
    for event in events:
        if event["sealed"] not in (None, event["hash"]):
            return f"event {event['seq']}: its hash is not the head that was sealed"
    last = events[-1]
    if last["version"] is None:
        return "event 1: there is no such case"
    if last["version"] != last["seq"]:
        return (
            f"event {last['seq'] + 1}: the case's row says version {last['version']}, its events end at {last['seq']}"
        )
    return None if last["head"] == last["hash"] else f"event {last['seq']}: the case's row has another head"


def _sealed_but_gone(session: Session) -> Iterator[str]:
    for row in _streamed(session, _GONE):
        yield f"case {row.reference}: event {row.seq} is missing, and was sealed as leaf {row.pos}"


def _log_faults(session: Session, seals: Sequence[Seal]) -> Iterator[str]:
    """Roots and kept nodes against the leaves."""
    kept = {(node.level, node.place): node.hash for node in session.exec(select(SealNode))}
    peaks, waiting = Peaks(), sorted(seals, key=lambda seal: seal.size)[::-1]
    for pos, case_id, seq, head in _leaves(session, 0):
        yield from _roots(peaks, waiting)
        if pos != peaks.size:
            yield f"leaf {peaks.size} of the log is missing"
            return
        for node in peaks.append(rules.leaf_hash(case_id, seq, head)):
            if kept.pop((node.level, node.place), None) != node.hash:
                yield f"the kept hash of level {node.level}, {node.place} does not follow from its leaves"
    yield from _roots(peaks, waiting)
    for seal in reversed(waiting):
        yield f"seal {seal.number}: it speaks of {seal.size} leaves, the log has {peaks.size}"
    if peaks.size > max((seal.size for seal in seals), default=0):
        yield f"leaf {peaks.size - 1} of the log belongs to no seal"
    yield from (f"the kept hash of level {level}, {place} has no leaves" for level, place in kept)


def _roots(peaks: Peaks, waiting: list[Seal]) -> Iterator[str]:
    """The seals of this size, which are taken from `waiting`, where their root is another."""
    while waiting and waiting[-1].size == peaks.size:
        seal = waiting.pop()
        if seal.root != peaks.root():
            yield f"seal {seal.number}: its root does not follow from the leaves"


def _seal_faults(session: Session, seals: Sequence[Seal], accepted: Collection[str | None] | None) -> Iterator[str]:
    """Numbers, predecessors and signatures."""
    public = {key.id: key.public_key for key in session.exec(select(SealKey))}
    yield from (f"key {name}: its name is not its hash" for name, key in public.items() if rules.key_id(key) != name)
    previous, size = rules.FIRST_PREVIOUS, 0
    for number, seal in enumerate(seals, start=1):
        if seal.number != number:
            yield f"seal {number} is missing"
            return
        said = statement(seal)
        if seal.previous != previous:
            yield f"seal {number}: it names another predecessor"
        if seal.size < size:
            yield f"seal {number}: its log is shorter than its predecessor's"
        if not rules.is_signed(public.get(seal.key_id, b""), said, seal.signature):
            yield f"seal {number}: the signature is not of key {seal.key_id}"
        if accepted is not None and seal.key_id not in accepted:
            yield f"seal {number}: neither a trusted root nor the configuration names its key {seal.key_id}"
        previous, size = said.hash(), seal.size


def _against(trusted: Sequence[TrustedRoot], seals: Mapping[int, Seal]) -> Iterator[str]:
    """What differs between seals as stored and as somebody else kept them."""
    for root in trusted:
        seal = seals.get(root.statement.number)
        if seal is None:
            yield f"seal {root.statement.number} is missing, and is a trusted root"
            continue
        told, kept = statement(seal).plain(), root.statement.plain()
        differing = [name for name in kept if told[name] != kept[name]]
        if seal.signature != root.signature:
            differing.append("signature")
        if differing:
            yield f"seal {seal.number}: {', '.join(differing)} differ from the trusted root"


def counts(session: Session) -> tuple[int, int, int]:
    """How many cases, events and seals there are."""
    asked = "SELECT (SELECT count(*) FROM case_file), (SELECT count(*) FROM case_event), (SELECT count(*) FROM seal)"
    cases, events, seals = session.execute(text(asked)).one()
    return cases, events, seals

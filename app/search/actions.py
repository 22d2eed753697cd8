"""Writing what cases are found by: behind their histories, never in the transaction of a report."""

from collections.abc import Collection, Iterator, Sequence
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import text

from app.catalog.queries import catalogue
from app.core.db import Session, transaction
from app.orgunits.queries import directory
from app.search.rules import UNSEEN, document

_AT_ONCE = 500


def index_owed(limit: int = _AT_ONCE) -> int:
    """Write the cases of the next events, and those whose row was emptied; returns how many events and rows.

    Safe beside itself: who does not get the cursor has nothing to do.
    """
    with transaction() as session:
        cursor = session.execute(text("SELECT xid::text FROM search_cursor FOR UPDATE SKIP LOCKED")).scalar()
        if cursor is None:
            return 0
        events = session.execute(text(_NEXT), {"limit": limit}).all()
        if events:
            *_, (_, xid, pos) = events
            session.execute(
                text("UPDATE search_cursor SET xid = CAST(:xid AS text)::xid8, pos = :pos"), {"xid": xid, "pos": pos}
            )
        stale = session.execute(text("SELECT case_id FROM case_search WHERE stale LIMIT :limit"), {"limit": limit})
        emptied = list(stale.scalars())
        write(session, {event[0] for event in events} | set(emptied))
    return len(events) + len(emptied)


_NEXT = f"SELECT e.case_id, e.xid::text, e.pos FROM case_event e WHERE {UNSEEN} ORDER BY e.xid, e.pos LIMIT :limit"


def catch_up(limit: int = _AT_ONCE) -> int:
    """Write cases whose row is missing or older than they are, whatever the cursor believes; returns how many.

    Compares all cases: for after a backup was restored, whose transactions are numbered anew, and for once an hour.
    """
    with transaction() as session:
        behind = session.execute(text(_BEHIND), {"limit": limit}).scalars().all()
        write(session, behind)
    return len(behind)


_BEHIND = """
    SELECT c.id FROM case_file c LEFT JOIN case_search s ON s.case_id = c.id
    WHERE s.version IS DISTINCT FROM c.version OR s.stale LIMIT :limit
"""


class _Texts(NamedTuple):
    """Everything said about a case, and what of it was published."""

    case_id: UUID
    version: int
    category_code: str
    commune_id: UUID | None
    unit_id: UUID | None
    description: str | None
    place_text: str | None
    address: str | None
    notes: Sequence[str] | None
    published: str | None


# First the rows, locked, then in a statement of its own what they are made of: a text that is erased meanwhile is
# either gone by then, or its trigger waits for us and empties what we wrote.
_HOLD = """
    INSERT INTO case_search (case_id, version, staff_words)
    SELECT id, 0, '' FROM unnest(CAST(:ids AS uuid[])) AS id ORDER BY id
    ON CONFLICT (case_id) DO UPDATE SET version = 0 WHERE false
"""
_READ = """
    SELECT c.id, c.version, c.category_code, c.commune_id, c.unit_id, t.description, t.place_text, t.address,
           (SELECT array_agg(n.body ORDER BY n.seq) FROM case_text n WHERE n.case_id = c.id), p.description
    FROM case_file c LEFT JOIN report_content t ON t.report_id = c.report_id
    LEFT JOIN public_copy p ON p.report_id = c.report_id
    WHERE c.id = ANY (CAST(:ids AS uuid[]))
"""
# A move that changes no word touches no index.
_WRITE = """
    UPDATE case_search s SET version = n.version, stale = false, staff_words = n.staff, public_words = n.published
    FROM unnest(CAST(:ids AS uuid[]), CAST(:versions AS int[]), CAST(:staff AS text[]), CAST(:published AS text[]))
         AS n (id, version, staff, published)
    WHERE s.case_id = n.id
"""


def write(session: Session, case_ids: Collection[UUID]) -> None:
    """Write what these cases are found by, as they now stand."""
    if not case_ids:
        return
    ids = sorted(case_ids)
    session.execute(text(_HOLD), {"ids": ids})
    rows = list(_documents(session, (_Texts(*row) for row in session.execute(text(_READ), {"ids": ids}))))
    columns: list[list[Any]] = [list(column) for column in zip(*rows, strict=True)]
    session.execute(text(_WRITE), dict(zip(("ids", "versions", "staff", "published"), columns, strict=True)))


def _documents(session: Session, cases: Iterator[_Texts]) -> Iterator[tuple[UUID, int, str, str | None]]:
    """Case, version, words for staff, published words. Names of category and units are searched like the text."""
    categories, units = catalogue(session), directory(session)
    for case in cases:
        category = categories.category(case.category_code)
        places = (units.by_id(each) for each in (case.commune_id, case.unit_id) if each)
        names = [category.name_vi if category else None, *(place.name for place in places if place)]
        said = (case.description, case.place_text, case.address, *(case.notes or ()))
        public = None if case.published is None else document([case.published, *names])
        yield case.case_id, case.version, document([*said, *names]), public

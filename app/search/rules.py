"""Words as they are stored and asked for: folded, without marks and punctuation. Pure."""

import re
from collections.abc import Iterable

from app.core.text import fold

# Events that every reader may see by now and no step has looked at, in SQL; the index on their order serves it.
UNSEEN = """(e.xid, e.pos) > ((SELECT xid FROM search_cursor), (SELECT pos FROM search_cursor))
            AND e.xid < pg_snapshot_xmin(pg_current_snapshot())"""
# What is owed: those, and rows that were emptied. The order keeps the planner from reading everything for the first.
OWED = f"""SELECT EXISTS (SELECT FROM (SELECT FROM case_event e WHERE {UNSEEN} ORDER BY e.xid, e.pos LIMIT 1) AS unseen)
               OR EXISTS (SELECT FROM case_search WHERE stale)"""
ASKED_MAX = 100
LEAST_LETTERS = 2
_WORD = re.compile(r"[^\W_]+")
_TERM = re.compile(r'"([^"]*)"|([^\s"]+)')


def words(text: str) -> list[str]:
    """The words of a text in their folded form: letters and digits only."""
    return _WORD.findall(fold(text))


def document(parts: Iterable[str | None]) -> str:
    """What is searched: the words of all parts with a blank around each, and a bar where another part begins."""
    return "|".join(f" {' '.join(found)} " for part in parts if (found := words(part or "")))


def patterns(asked: str) -> list[str]:
    """LIKE patterns that a document must all match; none where there is too little to search for.

    Every word must occur as a whole, the last one may be unfinished. Words in quotation marks, or joined by anything
    but a blank, stand together. Holds letters, digits, blanks and % only.
    """
    terms = [(words(quoted or bare), not bare) for quoted, bare in _TERM.findall(asked)]
    terms = [(term, whole) for term, whole in terms if term]
    if not any(len(word) >= LEAST_LETTERS for term, _ in terms for word in term):
        return []
    last = len(terms) - 1
    wanted = (f"% {' '.join(term)}{' ' if whole or place < last else ''}%" for place, (term, whole) in enumerate(terms))
    return list(dict.fromkeys(wanted))

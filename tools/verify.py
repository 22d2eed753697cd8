"""Holds everything that is stored about cases against their events: `python -m tools.verify`.

History is the truth. Whatever else is stored about a case (its row, its hops, its clocks, the messages owed, the
public copy) must be what the workflow table makes of that history, told a second time here and independently of the
code that wrote it.
"""

import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from itertools import groupby
from operator import itemgetter
from typing import Any

from sqlalchemy import text

from app.cases.rules import (
    ALL,
    AT_UNIT,
    BODY_FIELDS,
    DONE,
    FOLLOWED,
    HELD,
    HOP_OUTCOMES,
    NEW_CYCLE,
    ONCE_A_CYCLE,
    OPENS,
    RUN_ON,
    Document,
    Pin,
    Rule,
    State,
    came_from,
    commit_to,
    explain,
    outcome_of,
    pin_text,
    planned_until,
    result_text,
    rule_for,
    settles,
    tells,
    verify_chain,
)
from app.core import clock
from app.core.db import Session, transaction
from app.deadlines.rules import CLOCKS, breach, verdict
from app.kpi.queries import Period, handling
from app.kpi.rules import Standing
from app.orgunits.queries import directory
from app.processes import join_running
from app.reports.schemas import LocationIn, ReportIn, evidence_text

Row = Mapping[str, Any]
BEGINNING = date(2020, 1, 1)
_ENDED = (State.REJECTED, State.WITHDRAWN, State.MERGED)


def problems(session: Session) -> list[str]:
    """Everything that does not fit, a sentence each; none is how it should be. Reads all, so not for millions."""
    return [*_counts(session), *_cases(session), *_measures(session)]


def main() -> int:
    """Look at one moment of a system that may be running; answers 1 when something does not fit."""
    join_running()
    with transaction() as session:
        session.connection(execution_options={"isolation_level": "REPEATABLE READ"})
        found = problems(session)
        number = session.execute(text("SELECT count(*) FROM case_file")).scalar_one()
    for line in found:
        print(line)
    print(f"{number} cases, {len(found)} problems")
    return 1 if found else 0


# --- every report has its case -------------------------------------------------------------------------------------

_COUNTED = {
    "reports without a case": "SELECT id FROM report WHERE id NOT IN (SELECT report_id FROM case_file)",
    "reports without content": "SELECT id FROM report WHERE id NOT IN (SELECT report_id FROM report_content)",
    "cases without event 1": """SELECT id FROM case_file WHERE NOT EXISTS
                                (SELECT FROM case_event WHERE case_id = case_file.id AND seq = 1)""",
    "events without a case": "SELECT DISTINCT case_id FROM case_event WHERE case_id NOT IN (SELECT id FROM case_file)",
    "duplicates of a duplicate": """SELECT case_file.id FROM case_file JOIN case_file survivor
                                    ON survivor.id = case_file.merged_into WHERE survivor.merged_into IS NOT NULL""",
    "cases with a wrong number of supporters": """SELECT id FROM case_file WHERE supporters <> (
        SELECT count(*) FROM (
            SELECT account_id FROM case_support WHERE case_id IN (
                SELECT joined.id FROM case_file joined WHERE case_file.id IN (joined.id, joined.merged_into))
            UNION SELECT report.account_id FROM case_file joined JOIN report ON report.id = joined.report_id
            WHERE joined.merged_into = case_file.id
            EXCEPT SELECT report.account_id FROM report WHERE report.id = case_file.report_id) AS follower)""",
    "two cases of one report": "SELECT report_id FROM case_file GROUP BY report_id HAVING count(*) > 1",
    "open cases of a unit without a stay there": f"""SELECT id FROM case_file
        WHERE state IN ({", ".join(f"'{state}'" for state in HELD)})
        AND NOT EXISTS (SELECT FROM case_hop WHERE case_id = case_file.id AND ended_at IS NULL)""",
}


def _counts(session: Session) -> Iterator[str]:
    for what, query in _COUNTED.items():
        found = session.execute(text(query)).scalars().all()
        if found:
            yield f"{what}: {len(found)}, the first is {found[0]}"


# --- a case is what its events say -----------------------------------------------------------------------------------


@dataclass(slots=True)
class _Stored:
    """Everything stored about cases, by case."""

    events: dict[Any, list[Row]]
    hops: dict[Any, list[Row]]
    clocks: dict[Any, list[Row]]
    superseded: dict[Any, list[Row]]
    texts: dict[Any, list[Row]]
    pins: dict[Any, list[Row]]
    documents: dict[Any, list[Row]]
    messages: dict[Any, list[Row]]


def _cases(session: Session) -> Iterator[str]:
    stored = _Stored(
        events=_by_case(session, "SELECT * FROM case_event ORDER BY case_id, seq"),
        hops=_by_case(session, "SELECT * FROM case_hop ORDER BY case_id, started_seq"),
        clocks=_by_case(session, "SELECT * FROM sla_clock ORDER BY case_id, started_seq, kind"),
        superseded=_by_case(session, "SELECT * FROM superseded_deadline ORDER BY case_id, seq"),
        texts=_by_case(session, "SELECT * FROM case_text ORDER BY case_id, seq"),
        pins=_by_case(session, "SELECT * FROM case_pin ORDER BY case_id, seq"),
        documents=_by_case(session, "SELECT * FROM case_document ORDER BY case_id, seq"),
        messages=_by_case(session, "SELECT * FROM message WHERE case_id IS NOT NULL ORDER BY case_id, dedupe_key"),
    )
    evidence = "SELECT c.*, r.category_code, p.published_at AS copied_at, a.code AS asset FROM report_content c"
    joins = (
        "JOIN report r ON r.id = c.report_id LEFT JOIN public_copy p ON p.report_id = c.report_id"
        " LEFT JOIN asset a ON a.id = c.asset_id"
    )
    contents = {row["report_id"]: row for row in _read(session, f"{evidence} {joins}")}
    units = directory(session)
    for case in _read(session, "SELECT * FROM case_file ORDER BY id"):
        content = contents.get(case["report_id"])
        for fault in _faults(case, stored, content):
            yield f"{case['reference']}: {fault}"
        if content is not None and (events := stored.events.get(case["id"])):
            unit = units.by_id(content["stated_unit_id"]) if content["stated_unit_id"] else None
            if _commitment(content, unit.code if unit else None) != bytes(events[0]["commitment"]):
                yield f"{case['reference']}: event 1 does not commit to the report's content"


def _by_case(session: Session, query: str) -> dict[Any, list[Row]]:
    return {case_id: list(group) for case_id, group in groupby(_read(session, query), key=itemgetter("case_id"))}


def _read(session: Session, query: str) -> Iterator[Row]:
    return (dict(row) for row in session.execute(text(query)).mappings())


def _faults(case: Row, stored: _Stored, content: Row | None) -> Iterator[str]:
    events = stored.events.get(case["id"], [])
    fault = verify_chain([_hashed(event) for event in events]) or explain(events)
    if fault or not events:
        yield fault or "it has no history"
        return
    told = _Told()
    for event in events:
        told.hear(event)
    yield from told.out_of_order
    yield from _differences("case", told.row(), case)
    yield from _rows("hop", told.hops, stored.hops.get(case["id"], []))
    yield from _rows("clock", told.expected_clocks(), stored.clocks.get(case["id"], []))
    superseded = stored.superseded.get(case["id"], [])
    yield from _clock_faults(stored.clocks.get(case["id"], []), superseded)
    yield from _superseded(events, superseded)
    papers = stored.documents.get(case["id"], [])
    yield from _texts(events, stored.texts.get(case["id"], []), stored.pins.get(case["id"], []), papers)
    yield from _messages(events, stored.messages.get(case["id"], []))
    if content is not None and content["copied_at"] != told.published_at:
        yield f"published at {told.published_at}, the public copy is of {content['copied_at']}"


def _hashed(event: Row) -> Row:
    """What is hashed, as bytes where the driver hands over views."""
    return {name: event[name] for name in BODY_FIELDS} | {"body": event["body"], "hash": event["hash"]}


def _differences(what: str, expected: Row, found: Row) -> Iterator[str]:
    for name, value in expected.items():
        if _same(found[name]) != _same(value):
            yield f"{what}: {name} is {found[name]}, its events say {value}"


def _same(value: Any) -> Any:
    return bytes(value) if isinstance(value, bytes | memoryview) else value


def _rows(what: str, expected: Sequence[Row], found: Sequence[Row]) -> Iterator[str]:
    if len(expected) != len(found):
        yield f"{len(found)} rows of {what}, its events say {len(expected)}"
        return
    for one, other in zip(expected, found, strict=True):
        yield from _differences(f"{what} of event {one['started_seq']}", one, other)


# --- the second telling ----------------------------------------------------------------------------------------------


@dataclass(slots=True)
class _Told:
    """What the workflow table makes of a case's events."""

    last: Row = field(default_factory=dict)
    cycle: int = 1
    received_at: datetime | None = None
    resolved_at: datetime | None = None
    published_at: datetime | None = None
    hidden_at: datetime | None = None
    rejected_at: datetime | None = None
    merged_at: datetime | None = None
    has_appealed: bool = False
    state_before: str | None = None
    outcome: str | None = None
    planned_until: date | None = None
    asked: dict[str, int | None] = field(default_factory=lambda: dict.fromkeys(OPENS.values()))
    rating: str | None = None
    reject_code: str | None = None
    pin_seq: int | None = None
    commune_confirmed: bool = False
    hops: list[dict[str, Any]] = field(default_factory=list)
    clocks: list[dict[str, Any]] = field(default_factory=list)
    out_of_order: list[str] = field(default_factory=list)

    def hear(self, event: Row) -> None:
        """One more event."""
        if self.last and event["at"] < self.last["at"]:
            self.out_of_order.append(f"event {event['seq']} lies before its predecessor")
        self.received_at = self.received_at or event["at"]
        self.cycle += event["verb"] in NEW_CYCLE
        self._moves(event)
        self._notes(event)
        self._hops(event)
        self._clocks(event)
        self.last = event

    def row(self) -> dict[str, Any]:
        """The case's row."""
        same = ("unit_id", "commune_id", "category_code", "urgency", "channel", "due_at")
        return {name: self.last[name] for name in same} | {
            "state": self.last["to_state"],
            "version": self.last["seq"],
            "head": self.last["hash"],
            "updated_at": self.last["at"],
            "cycle": self.cycle,
            "received_at": self.received_at,
            "resolved_at": self.resolved_at if self.last["to_state"] in DONE else None,
            "published_at": self.published_at,
            "hidden_at": self.hidden_at,
            "rejected_at": self.rejected_at if self.last["to_state"] == State.REJECTED else None,
            "has_appealed": self.has_appealed,
            "state_before": self.state_before,
            "outcome": self.outcome,
            "planned_until": self.planned_until,
            **self.asked,
            "rating": self.rating,
            "reject_code": self.reject_code,
            "pin_seq": self.pin_seq,
            "commune_confirmed": self.commune_confirmed,
        }

    def _moves(self, event: Row) -> None:
        """What came of the case, and what is asked of somebody."""
        if self.last:
            self.state_before = came_from(event["from_state"], event["to_state"], self.state_before)
        if (column := OPENS.get(event["verb"])) is not None:
            self.asked[column] = event["seq"]
        self.asked |= dict.fromkeys(settles(event["verb"], event["to_state"]))
        match event["verb"]:
            case "resolve" | "approve":
                self.resolved_at, self.outcome = event["at"], outcome_of(event["code"])
                self.planned_until = planned_until(event["code"])
            case "reopen" | "fall_due":
                self.outcome = self.rating = self.planned_until = None
            case "appeal":
                self.outcome = self.rating = self.planned_until = self.reject_code = None
                self.has_appealed = True

    def _notes(self, event: Row) -> None:
        match event["verb"]:
            case "publish":
                self.published_at = event["at"]
            case "hide":
                self.hidden_at = event["at"]
            case "unhide":
                self.hidden_at = None
            case "rate":
                self.rating = event["code"].partition(":")[0]
            case "merge":
                self.merged_at = event["at"]
            case "reject":
                self.reject_code, self.rejected_at = event["code"], event["at"]
            case "move_pin":
                self.pin_seq = event["seq"]
                self.commune_confirmed &= event["commune_id"] == self.last["commune_id"]
            case "assign" | "transfer" if event["code"] == "confirmed":
                self.commune_confirmed = True

    def _hops(self, event: Row) -> None:
        staying = next((hop for hop in self.hops if hop["ended_at"] is None), None)
        rule = rule_for(event["from_state"], event["verb"]) if event["from_state"] else None
        if staying and event["from_state"] in HELD:
            if event["verb"] == "accept":
                staying["accepted_at"] = event["at"]
            if rule is not None and rule.moves_deadline:
                staying["due_at"] = event["due_at"]
            if event["verb"] in HOP_OUTCOMES:
                staying |= {"ended_at": event["at"], "outcome": HOP_OUTCOMES[event["verb"]]}
        returns = event["verb"] == "unmerge" and event["to_state"] in AT_UNIT
        if event["verb"] == "succeed" or returns or (rule is not None and rule.target == State.ASSIGNED):
            self.hops.append(
                {
                    "started_seq": event["seq"],
                    "cycle": self.cycle,
                    "unit_id": event["unit_id"],
                    "received_at": event["at"],
                    "due_at": event["due_at"],
                    "accepted_at": event["at"] if returns and event["to_state"] != State.ASSIGNED else None,
                    "ended_at": None,
                    "outcome": None,
                }
            )

    def _clocks(self, event: Row) -> None:
        rule = rule_for(event["from_state"], event["verb"]) if event["from_state"] else None
        stops = rule.stops if rule else ()
        for running in self.clocks:
            if running["stopped_at"] is None and (stops == ALL or running["kind"] in stops):
                running["stopped_at"] = event["at"]
        if rule:
            self._reinstate(event, rule)
        starts = rule.starts if rule else ("verify",) if event["to_state"] == State.VERIFYING else ()
        for kind in starts:
            known = [running for running in self.clocks if (running["kind"], running["cycle"]) == (kind, self.cycle)]
            if known and (kind in ONCE_A_CYCLE or any(running["stopped_at"] is None for running in known)):
                continue
            self.clocks.append(
                {
                    "started_seq": event["seq"],
                    "kind": kind,
                    "cycle": self.cycle,
                    "started_at": event["at"],
                    "stopped_at": None,
                }
            )

    def _reinstate(self, event: Row, rule: Rule) -> None:
        """What a move puts back, of a merge what it stopped and the work of what goes back to its unit."""
        kinds = rule.reinstates
        if kinds == ALL:
            stopped = {each["kind"] for each in self.clocks if each["stopped_at"] == self.merged_at}
            stopped |= {"resolve"} if event["to_state"] in AT_UNIT else set()
            kinds = tuple(kind for kind in RUN_ON if kind in stopped)
        for kind in kinds:
            runs = [each for each in self.clocks if (each["kind"], each["cycle"]) == (kind, self.cycle)]
            for last in runs[-1:]:
                last["stopped_at"] = None

    def expected_clocks(self) -> list[dict[str, Any]]:
        """In the order in which they are read."""
        return sorted(self.clocks, key=itemgetter("started_seq", "kind"))


def _clock_faults(clocks: Sequence[Row], superseded: Sequence[Row]) -> Iterator[str]:
    """Verdicts and breaches that do not follow from the moments; a deadline missed before it was superseded counts."""
    for row in clocks:
        name = f"clock {row['kind']} of event {row['started_seq']}"
        if row["kind"] not in CLOCKS or row["due_at"] < row["started_at"]:
            yield f"{name} is not sound"
        own = [each for each in superseded if (each["kind"], each["started_seq"]) == (row["kind"], row["started_seq"])]
        missed = next((each["due_at"] for each in own if not verdict(each["due_at"], each["at"])), None)
        if row["stopped_at"] is None:
            if row["breached_at"] not in ((missed,) if missed else (None, row["due_at"])):
                yield f"{name} runs and was breached at another moment than it fell due"
            continue
        if row["met"] != (missed is None and verdict(row["due_at"], row["stopped_at"])):
            yield f"{name}: the verdict {row['met']} does not follow from due and stop"
        if row["breached_at"] != (missed or breach(row["due_at"], row["stopped_at"])):
            yield f"{name}: the breach {row['breached_at']} does not follow from due and stop"


def _superseded(events: Sequence[Row], superseded: Sequence[Row]) -> Iterator[str]:
    """Deadlines superseded by an event that supersedes none, or by somebody else at another moment."""
    by_seq = {event["seq"]: (event["at"], event["actor_id"], event["verb"]) for event in events}
    for row in superseded:
        rule = rule_for(events[row["seq"] - 1]["from_state"], row["reason"]) if row["seq"] in by_seq else None
        if (
            rule is None
            or not (rule.replans or rule.extends)
            or by_seq[row["seq"]] != (row["at"], row["actor_id"], row["reason"])
        ):
            yield f"the deadline of {row['kind']} was not superseded by event {row['seq']}"


def _texts(events: Sequence[Row], texts: Sequence[Row], pins: Sequence[Row], papers: Sequence[Row]) -> Iterator[str]:
    """Texts, pins and documents are committed to by their events: a missing one was erased, another never said."""
    committed = {event["seq"]: event["commitment"] for event in events if event["seq"] > 1}
    moved = {event["seq"] for event in events if event["verb"] == "move_pin"}
    documents = {row["seq"]: Document(row["number"], row["issued_on"]) for row in papers}
    if extra := documents.keys() - committed.keys():
        yield f"the documents of events {sorted(extra)} were named by nobody"
    for row in texts:
        commitment = committed.get(row["seq"])
        if row["seq"] in moved and commitment is not None:
            continue  # told with its pin
        said = result_text(row["body"], documents.get(row["seq"]))
        if commitment is None or bytes(commitment) != commit_to(bytes(row["nonce"]), said):
            yield f"the text of event {row['seq']} is not the one the event commits to"
    reasons = {row["seq"]: row["body"] for row in texts}
    for row in pins:
        said = pin_text(Pin(row["lat"], row["lon"], row["accuracy_m"]), reasons.get(row["seq"], ""))
        commitment = committed.get(row["seq"])
        if row["seq"] not in moved or commitment is None:
            yield f"the pin of event {row['seq']} was moved by nobody"
        elif bytes(commitment) != commit_to(bytes(row["nonce"]), said):
            yield f"the pin of event {row['seq']} is not the one the event commits to"


def _messages(events: Sequence[Row], messages: Sequence[Row]) -> Iterator[str]:
    """One message for every event that owes one, and no other."""
    owing = ((event, tells(event["verb"], event["actor_kind"], event["code"])) for event in events)
    owed = sorted((f"{event['case_id']}:{event['seq']}", template) for event, template in owing if template)
    found = sorted((row["dedupe_key"], row["template"]) for row in messages if row["template"] != FOLLOWED)
    if owed != found:
        yield f"messages owed by events: {len(owed)}, found: {len(found)}, or of another kind"


def _commitment(content: Row, commune: str | None) -> bytes:
    """What event 1 commits to, from the content as stored."""
    fix = content["lat"] is not None
    report = ReportIn.model_construct(
        id=content["report_id"],
        category=content["category_code"],
        description=content["description"],
        location=LocationIn(lat=content["lat"], lon=content["lon"], accuracy_m=content["accuracy_m"]) if fix else None,
        commune=commune,
        place_text=content["place_text"],
        address=content["address"],
        asset=content["asset"],
    )
    return commit_to(bytes(content["nonce"]), evidence_text(report))


# --- the measures add up ---------------------------------------------------------------------------------------------


def _measures(session: Session) -> Iterator[str]:
    """The identity of DOMAIN.md holds, and the board counts every case there is, each as its row stands."""
    now = clock.now()
    try:
        board = handling(session, Period(BEGINNING, clock.local_day(now) + timedelta(days=1)), as_of=now)
    except ValueError as error:
        yield f"measures: {error}"
        return
    rows = session.execute(text("SELECT state, count(*) FROM case_file GROUP BY state")).all()
    states = {row[0]: row[1] for row in rows}
    total, count = board.total, board.total.standings
    open_now = sum(number for state, number in states.items() if state not in (*DONE, *_ENDED, State.VERIFYING))
    expected = {
        "received": (total.received, sum(states.values())),
        "verifying": (count[Standing.VERIFYING], states.get("verifying", 0)),
        "withdrawn": (count[Standing.WITHDRAWN], states.get("withdrawn", 0)),
        "rejected": (count[Standing.REJECTED], states.get("rejected", 0)),
        "merged": (count[Standing.MERGED], states.get("merged", 0)),
        "handled": (total.handled, sum(states.get(state, 0) for state in DONE)),
        "open": (count[Standing.IN_TIME] + count[Standing.OVERDUE], open_now),
    }
    for what, (told, stored) in expected.items():
        if told != stored:
            yield f"measures: {what} is {told}, the cases say {stored}"


if __name__ == "__main__":
    sys.exit(main())

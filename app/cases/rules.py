"""The workflow as one table, the words citizens see, and the chain of hashes. Pure."""

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from enum import StrEnum
from typing import Any, Literal, NamedTuple
from uuid import UUID

from app.core.clock import LOCAL
from app.deadlines.rules import ClockKind


class State(StrEnum):
    """Where a case stands (DOMAIN.md, "The life of a report")."""

    VERIFYING = "verifying"
    ROUTING = "routing"
    TRIAGE = "triage"
    ASSIGNED = "assigned"
    ACCEPTED = "accepted"
    IN_PROGRESS = "in_progress"
    WAITING_CITIZEN = "waiting_citizen"
    PENDING_APPROVAL = "pending_approval"
    RESOLVED = "resolved"
    CLOSED = "closed"
    REJECTED = "rejected"
    MERGED = "merged"
    WITHDRAWN = "withdrawn"


class Who(StrEnum):
    """In which capacity somebody acts on one case."""

    CITIZEN = "citizen"
    DISPATCHER = "dispatcher"
    OFFICER = "officer"
    LEAD = "lead"
    LEADER = "leader"
    HELPER = "helper"
    SYSTEM = "system"


S, W = State, Who
STATES = tuple(State)
AT_UNIT = (S.ASSIGNED, S.ACCEPTED, S.IN_PROGRESS)
WORKING = (S.ACCEPTED, S.IN_PROGRESS)
# What a unit holds, whoever must act next: the unit, the citizen who was asked, or the lead.
HELD = (*AT_UNIT, S.WAITING_CITIZEN, S.PENDING_APPROVAL)
OPEN = (S.VERIFYING, S.ROUTING, S.TRIAGE, *HELD)
DONE = (S.RESOLVED, S.CLOSED)
UNACCEPTED = (S.VERIFYING, S.ROUTING, S.TRIAGE, S.ASSIGNED)
SHOWABLE = (*OPEN, *DONE)

# What waits to be routed, in SQL. A literal, so that the partial index `case_file_owed_routing` serves it.
OWED_ROUTING = f"state = '{S.ROUTING}'"
# An urgent case that somebody must still act on; for `case_file_urgent`, which is a literal for the same reason.
URGENT_OPEN = "urgency = 'urgent' AND state NOT IN ('resolved', 'closed', 'rejected', 'merged', 'withdrawn')"

STAFF = frozenset({W.OFFICER, W.LEAD})
ASSIGN_CLOCKS: tuple[ClockKind, ...] = ("accept", "first_response", "resolve")
# The clocks by whose deadlines somebody must act next; of an urgent report resolving may be due before accepting.
AWAITED: Mapping[State, tuple[ClockKind, ...]] = {
    S.VERIFYING: ("verify",),
    S.ASSIGNED: ("accept", "resolve"),
    S.ACCEPTED: ("resolve",),
    S.IN_PROGRESS: ("resolve",),
    S.WAITING_CITIZEN: ("answer",),
    S.PENDING_APPROVAL: ("approve",),
}
# A cycle has one clock of each of these; of the others every event that starts one starts its own.
ONCE_A_CYCLE: tuple[ClockKind, ...] = ("first_response", "resolve")
# What runs on once a merge is taken back; a question, an approval and a directive have lapsed.
RUN_ON: tuple[ClockKind, ...] = ("verify", "accept", "first_response", "resolve")
ALL: Literal["all"] = "all"
BEFORE: Literal["before"] = "before"


@dataclass(frozen=True, slots=True)
class Rule:
    """One allowed move. `target` None keeps the state, BEFORE goes back to the one the case came from.

    What becomes of the clocks: `pauses` and `resumes`, `starts` and `stops`; `reinstates`: a stopped one runs on,
    ALL: those of `RUN_ON` that the merge stopped;
    `extends` gives time; `replans` measures the running ones anew (deadline rule 4).
    """

    source: State
    verb: str
    target: State | Literal["before"] | None
    who: frozenset[Who]
    starts: tuple[ClockKind, ...] = ()
    stops: tuple[ClockKind, ...] | Literal["all"] = ()
    pauses: tuple[ClockKind, ...] = ()
    resumes: tuple[ClockKind, ...] = ()
    reinstates: tuple[ClockKind, ...] | Literal["all"] = ()
    extends: tuple[ClockKind, ...] = ()
    replans: bool = False

    @property
    def moves_deadline(self) -> bool:
        """Whether the deadline for resolving may be another one afterwards."""
        return self.replans or "resolve" in (*self.pauses, *self.resumes, *self.reinstates, *self.extends)


def _rule(
    source: State | Iterable[State],
    verb: str,
    target: State | Literal["before"] | None,
    who: Iterable[Who],
    **clocks: Any,
) -> list[Rule]:
    """A row for each source; what leaves a state whose own clock runs ends that clock, see `_leaving`."""
    sources = [source] if isinstance(source, State) else list(source)
    rows = [Rule(state, verb, target, frozenset(who), **clocks) for state in sources]
    return [row if row.target in (None, row.source) else _leaving(row) for row in rows]


def _leaving(row: Rule) -> Rule:
    """Who leaves `waiting_citizen` ends the pause; who takes a proposal back runs on with the time for resolving."""
    stops: tuple[ClockKind, ...] | Literal["all"] = row.stops
    match row.source:
        case State.WAITING_CITIZEN:
            return replace(row, stops=stops if stops == ALL else (*stops, "answer"), resumes=("resolve",))
        case State.PENDING_APPROVAL:
            runs_on: tuple[ClockKind, ...] = ("resolve",) if row.target in OPEN or row.target == BEFORE else ()
            return replace(row, stops=stops if stops == ALL else (*stops, "approve"), reinstates=runs_on)
        case _:
            return row


# fmt: off
WORKFLOW: tuple[Rule, ...] = (
    #      from                          verb                 to                  who                     clocks
    *_rule(S.VERIFYING,                  "verify",            S.ROUTING,          {W.DISPATCHER},         stops=("verify",)),
    *_rule(S.ROUTING,                    "assign",            S.ASSIGNED,         {W.SYSTEM},             starts=ASSIGN_CLOCKS),
    *_rule(S.ROUTING,                    "undecided",         S.TRIAGE,           {W.SYSTEM}),
    *_rule(S.TRIAGE,                     "assign",            S.ASSIGNED,         {W.DISPATCHER},         starts=ASSIGN_CLOCKS),
    *_rule(S.ASSIGNED,                   "accept",            S.ACCEPTED,         STAFF,                  stops=("accept",)),
    *_rule((S.ASSIGNED, S.ACCEPTED),     "return",            S.TRIAGE,           STAFF,                  stops=("accept",)),
    # A unit has ended: its one heir goes on where it stood, with every clock; without one a person decides.
    *_rule(HELD,                         "succeed",           None,               {W.SYSTEM}),
    *_rule(HELD,                         "orphan",            S.TRIAGE,           {W.SYSTEM},             stops=("accept",)),
    *_rule(AT_UNIT,                      "transfer",          S.ASSIGNED,         {W.DISPATCHER, W.LEAD}, starts=("accept",), stops=("accept",)),
    *_rule(S.ACCEPTED,                   "start",             S.IN_PROGRESS,      STAFF),
    *_rule(WORKING,                      "ask",               S.WAITING_CITIZEN,  STAFF,                  starts=("answer",), stops=("first_response",), pauses=("resolve",)),
    *_rule(S.WAITING_CITIZEN,            "answer",            BEFORE,             {W.CITIZEN}),
    *_rule(S.WAITING_CITIZEN,            "timeout",           BEFORE,             {W.SYSTEM}),
    *_rule(WORKING,                      "resolve",           S.RESOLVED,         STAFF,                  stops=("resolve", "first_response", "directive")),
    # Where the category asks for a lead's word the citizen sees nothing until it is given.
    *_rule(WORKING,                      "propose",           S.PENDING_APPROVAL, STAFF,                  starts=("approve",), stops=("resolve",)),
    *_rule(S.PENDING_APPROVAL,           "approve",           S.RESOLVED,         {W.LEAD},               stops=("first_response", "directive")),
    *_rule(S.PENDING_APPROVAL,           "send_back",         S.IN_PROGRESS,      {W.LEAD}),
    *_rule(S.RESOLVED,                   "confirm",           S.CLOSED,           {W.CITIZEN}),
    *_rule(S.RESOLVED,                   "close",             S.CLOSED,           {W.SYSTEM}),
    *_rule(DONE,                         "reopen",            S.ASSIGNED,         {W.CITIZEN, W.DISPATCHER}, starts=ASSIGN_CLOCKS),
    *_rule(DONE,                         "fall_due",          S.ASSIGNED,         {W.SYSTEM},             starts=ASSIGN_CLOCKS),
    *_rule(OPEN,                         "reject",            S.REJECTED,         {W.DISPATCHER},         stops=ALL),
    *_rule(S.REJECTED,                   "appeal",            S.VERIFYING,        {W.CITIZEN},            starts=("verify",)),
    # What was asked or proposed lapses; the clocks that the merge stopped run on where it is taken back.
    *_rule(OPEN,                         "merge",             S.MERGED,           {W.DISPATCHER, W.LEAD}, stops=ALL),
    *_rule(S.MERGED,                     "unmerge",           BEFORE,             {W.DISPATCHER, W.LEAD}, reinstates=ALL),
    *_rule(UNACCEPTED,                   "withdraw",          S.WITHDRAWN,        {W.CITIZEN},            stops=ALL),
    # What was corrected sends the case elsewhere.
    *_rule((S.TRIAGE, *HELD),            "reroute",           S.ROUTING,          {W.SYSTEM},             stops=("accept",)),
    # Without a change of state; but who tells more when asked has answered.
    *_rule(tuple(state for state in OPEN if state != S.WAITING_CITIZEN), "add_information", None, {W.CITIZEN}),
    *_rule(S.WAITING_CITIZEN,            "add_information",   BEFORE,             {W.CITIZEN}),
    *_rule(HELD,                         "message",           None,               STAFF | {W.DISPATCHER}, stops=("first_response",)),
    *_rule(WORKING,                      "request_extension", None,               STAFF),
    *_rule(WORKING,                      "grant",             None,               {W.LEAD},               extends=("resolve",)),
    *_rule(WORKING,                      "deny",              None,               {W.LEAD}),
    *_rule(HELD,                         "propose_reject",    None,               {W.LEAD}),
    *_rule(HELD,                         "decline_reject",    None,               {W.DISPATCHER}),
    *_rule(OPEN,                         "direct",            None,               {W.LEADER},             starts=("directive",)),
    *_rule(OPEN,                         "report_back",       None,               {W.LEAD, W.DISPATCHER}, stops=("directive",)),
    *_rule(OPEN,                         "lift",              None,               {W.LEADER},             stops=("directive",)),
    *_rule(DONE,                         "rate",              None,               {W.CITIZEN}),
    *_rule(UNACCEPTED,                   "move_pin",          None,               {W.CITIZEN, W.DISPATCHER}),
    *_rule(HELD[1:],                     "move_pin",          None,               {W.DISPATCHER}),
    *_rule(UNACCEPTED,                   "recategorise",      None,               {W.CITIZEN, W.DISPATCHER}, replans=True),
    *_rule(HELD[1:],                     "recategorise",      None,               {W.DISPATCHER},         replans=True),
    *_rule(OPEN,                         "set_urgency",       None,               {W.DISPATCHER},         replans=True),
    # The calendar or a policy was changed (app.timetables).
    *_rule(OPEN,                         "reschedule",        None,               {W.SYSTEM},             replans=True),
    *_rule(SHOWABLE,                     "publish",           None,               {W.DISPATCHER, W.SYSTEM}),
    *_rule(SHOWABLE,                     "redact",            None,               {W.DISPATCHER}),
    *_rule(STATES,                       "hide",              None,               {W.DISPATCHER, W.SYSTEM}),
    *_rule(SHOWABLE,                     "unhide",            None,               {W.DISPATCHER}),
    # Within the tree of units: one below gets the case, or the one above has it again.
    *_rule(AT_UNIT,                      "hand_down",         S.ASSIGNED,         {W.DISPATCHER, W.LEAD}, starts=("accept",), stops=("accept",)),
    *_rule(AT_UNIT,                      "take_back",         S.ASSIGNED,         {W.DISPATCHER, W.LEAD}, starts=("accept",), stops=("accept",)),
    # Who works on it: somebody of the unit, and units that help (phối hợp) without a clock.
    *_rule(HELD,                         "assign_person",     None,               STAFF),
    *_rule(HELD,                         "involve",           None,               {W.DISPATCHER, W.LEAD, W.SYSTEM}),
    *_rule(HELD,                         "release",           None,               {W.DISPATCHER, W.LEAD}),
    *_rule(SHOWABLE,                     "note",              None,               STAFF | {W.DISPATCHER, W.HELPER}),
)
# fmt: on
_BY_STATE_AND_VERB = {(rule.source, rule.verb): rule for rule in WORKFLOW}

# What ends a unit's stay with a case, and what that stay is then called.
HOP_OUTCOMES = {
    "return": "returned",
    "transfer": "transferred",
    "hand_down": "handed_down",
    "take_back": "taken_back",
    "reroute": "rerouted",  # nobody's misroute: the unit was right for what was known
    "succeed": "succeeded",
    "orphan": "unit_ended",
    "resolve": "resolved",
    "approve": "resolved",
    "reject": "rejected",
    "merge": "merged",
    "withdraw": "withdrawn",
}

# Stays that ended without the unit's own doing, or by handing on: what a unit that lost a case is told of it.
DEPARTURES: Mapping[str, tuple[str, str]] = {
    "returned": ("Đơn vị đã trả lại", "Returned by the unit"),
    "transferred": ("Đã chuyển sang đơn vị khác", "Passed on to another unit"),
    "handed_down": ("Đã giao đơn vị trực thuộc", "Handed down to a unit below"),
    "taken_back": ("Đơn vị cấp trên đã rút lên", "Taken back by the unit above"),
    "rerouted": ("Vị trí hoặc lĩnh vực được sửa, thuộc đơn vị khác", "Place or category corrected: another unit's"),
    "succeeded": ("Đơn vị kế thừa tiếp nhận", "Taken over by the unit that followed"),
    "unit_ended": ("Đơn vị kết thúc hoạt động, chờ phân công", "The unit ended; to be assigned"),
    "rejected": ("Đã từ chối", "Refused"),
    "merged": ("Đã gộp vào hồ sơ trùng", "Merged into another case"),
    "withdrawn": ("Người dân đã rút", "Withdrawn by the citizen"),
}

# What begins a new round of work, with clocks of its own.
NEW_CYCLE = frozenset({"reopen", "fall_due", "appeal"})

# What waits for somebody's word beside the state: the verb that opens it, the column that names that event, and what
# settles it. Leaving the unit settles what the unit asked for; an end settles everything.
OPENS = {"request_extension": "extension_seq", "propose_reject": "rejection_seq", "direct": "directive_seq"}
_SETTLES = {
    "grant": ("extension_seq",),
    "deny": ("extension_seq",),
    "propose": ("extension_seq",),
    "decline_reject": ("rejection_seq",),
    "report_back": ("directive_seq",),
    "lift": ("directive_seq",),
}


def settles(verb: str, state: str) -> frozenset[str]:
    """Which open questions are settled by an event that leaves a case in `state`, by their columns."""
    if state not in OPEN:
        return frozenset(OPENS.values())
    left = ("extension_seq", "rejection_seq") if verb in HOP_OUTCOMES else ()
    return frozenset((*_SETTLES.get(verb, ()), *left))


# What takes a case from its unit, and so from the person of that unit who worked on it; and what of this ends the help
# of other units as well, because nobody holds the case whom they would help.
LEAVES = frozenset({"return", "transfer", "hand_down", "take_back", "reroute", "orphan", "reject", "withdraw"})
DISSOLVES = LEAVES - {"transfer", "hand_down", "take_back"}

# What the citizen is told of at once: the template of the message.
NOTIFIES = {
    "assign": "report_assigned",
    "accept": "report_accepted",  # there is a promise slip now
    "ask": "report_question",
    "timeout": "report_unanswered",
    "message": "report_message",
    "resolve": "report_resolved",
    "approve": "report_resolved",
    "grant": "report_extended",
    "fall_due": "report_plan_due",
    "reopen": "report_reopened",
    "reject": "report_rejected",
    "merge": "report_merged",
    "unmerge": "report_unmerged",
    "recategorise": "report_recategorised",
    "set_urgency": "report_urgency_set",
    "reroute": "report_rerouted",
}


# What the others with the same problem are told of as well; words and questions are for the reporter alone.
FOLLOWERS_HEAR = frozenset({"assign", "resolve", "approve", "reject", "reopen", "fall_due"})
FOLLOWED = "report_followed"


def tells(verb: str, actor_kind: str, code: str | None = None) -> str | None:
    """The template of the message that an event owes the citizen, who is never told of what they did themselves."""
    if actor_kind == "citizen":
        return None
    if verb in ("resolve", "approve") and planned_until(code) is not None:
        return "report_planned"
    return NOTIFIES.get(verb)


# --- results --------------------------------------------------------------------------------------------------------

Outcome = Literal["fixed", "nothing_found", "explained", "planned", "not_feasible"]
RESULTS = frozenset({"resolve", "propose", "approve"})


def result_code(outcome: str, until: date | None) -> str:
    """What the event of a result says came of it: the outcome, and of a plan the local day on which it returns."""
    return outcome if until is None else f"{outcome}:{until.isoformat()}"


def outcome_of(code: str | None) -> str | None:
    """The outcome that the code of a result names."""
    return code.partition(":")[0] if code else None


def planned_until(code: str | None) -> date | None:
    """The day on which a planned case returns, from the code of its result; None: it was not planned."""
    outcome, _, day = (code or "").partition(":")
    return date.fromisoformat(day) if outcome == "planned" and day else None


class Document(NamedTuple):
    """The paper a result rests on: its number (số văn bản) and its date."""

    number: str
    issued_on: date


def result_text(note: str, document: Document | None) -> str:
    """What a result commits to: the note, and the document with it as canonical JSON."""
    if document is None:
        return note
    said = {"note": note, "document": document.number, "issued_on": document.issued_on.isoformat()}
    return json.dumps(said, sort_keys=True, separators=(",", ":"), ensure_ascii=True)


# --- what is allowed ------------------------------------------------------------------------------------------------


def rule_for(state: str, verb: str) -> Rule | None:
    """The row of the table for `verb` in `state`, None where the workflow does not allow it."""
    return _BY_STATE_AND_VERB.get((State(state), verb))


def goal(rule: Rule, before: str | None) -> str:
    """The state a move leads to, of a case that came from `before` into the one where it stands."""
    if rule.target == BEFORE:
        assert before is not None
        return before
    return (rule.target or rule.source).value


def came_from(source: str, target: str, known: str | None) -> str | None:
    """The state that BEFORE means to a case that goes from `source` to `target`; `known`: what it meant until then.

    A duplicate that is told apart again goes back to work: what was asked or proposed meanwhile has lapsed.
    """
    lapses = target == S.MERGED and source in (S.WAITING_CITIZEN, S.PENDING_APPROVAL)
    return known if source == target or lapses else source


def supersedes(verb: str) -> bool:
    """Whether a move gives running clocks another deadline than they had, which stays beside it."""
    return any(rule.replans or rule.extends for rule in WORKFLOW if rule.verb == verb)


@dataclass(frozen=True, slots=True)
class Terms:
    """How long people have, as the province decided: data of its pack."""

    close_after: timedelta
    reopen_within: timedelta
    appeal_within: timedelta


@dataclass(frozen=True, slots=True)
class Standing:
    """What of a case, besides its state, decides on moves.

    `needs_approval`: its category wants a lead's word on results. `has_duplicates`: other people's
    reports were merged into it. `open`: the columns of `OPENS` that name an event.
    """

    state: str
    is_published: bool
    is_hidden: bool
    may_be_public: bool
    terms: Terms
    needs_approval: bool = False
    resolved_at: datetime | None = None
    planned_until: date | None = None
    rejected_at: datetime | None = None
    has_appealed: bool = False
    has_duplicates: bool = False
    open: frozenset[str] = frozenset()


def allowed_verbs(standing: Standing, who: Iterable[Who], now: datetime) -> tuple[str, ...]:
    """The verbs somebody acting as `who` may use on a case, in the table's order."""
    capacities = frozenset(who)
    return tuple(
        rule.verb
        for rule in WORKFLOW
        if rule.source == standing.state and rule.who & capacities and applies(rule.verb, standing, capacities, now)
    )


def applies(verb: str, standing: Standing, who: frozenset[Who], now: datetime) -> bool:
    """Conditions beside the state: publication, a lead's approval, what is open already, and people's time limits."""
    if (opened := OPENS.get(verb)) is not None and opened in standing.open:
        return False
    condition = _CONDITIONS.get(verb)
    return condition is None or condition(standing, who, now)


def _is_within(since: datetime | None, limit: timedelta, now: datetime) -> bool:
    return since is not None and now <= since + limit


def _is_open(column: str) -> "Condition":
    return lambda case, _who, _now: column in case.open


def _has_come(day: date | None, now: datetime) -> bool:
    return day is not None and day <= now.astimezone(LOCAL).date()


Condition = Callable[[Standing, frozenset[Who], datetime], bool]
_CONDITIONS: Mapping[str, Condition] = {
    "publish": lambda case, _who, _now: case.may_be_public and not case.is_published,
    "redact": lambda case, _who, _now: case.is_published,
    "hide": lambda case, _who, _now: case.is_published and not case.is_hidden,
    "unhide": lambda case, _who, _now: case.is_published and case.is_hidden and case.may_be_public,
    "resolve": lambda case, who, _now: not case.needs_approval or W.LEAD in who,
    "propose": lambda case, _who, _now: case.needs_approval,
    # Somebody else's report would go down with it.
    "withdraw": lambda case, _who, _now: not case.has_duplicates,
    "reopen": lambda case, who, now: W.DISPATCHER in who or _is_within(case.resolved_at, case.terms.reopen_within, now),
    "appeal": lambda case, _who, now: (
        not case.has_appealed and _is_within(case.rejected_at, case.terms.appeal_within, now)
    ),
    "close": lambda case, _who, _now: case.planned_until is None,
    "fall_due": lambda case, _who, now: _has_come(case.planned_until, now),
    "grant": _is_open("extension_seq"),
    "deny": _is_open("extension_seq"),
    "decline_reject": _is_open("rejection_seq"),
    "report_back": _is_open("directive_seq"),
    "lift": _is_open("directive_seq"),
}


def publishes_itself(publication: str, standing: Standing) -> bool:
    """Whether a routed report goes public without a dispatcher, because its category says so."""
    return publication == "auto" and standing.may_be_public and not standing.is_published


# The few words citizens see (DOMAIN.md).
CITIZEN_WORDS: Mapping[State, tuple[str, str]] = {
    S.VERIFYING: ("đang xác minh", "being verified"),
    S.ROUTING: ("đã gửi", "sent"),
    S.TRIAGE: ("đang xác minh", "being verified"),
    S.ASSIGNED: ("đã chuyển xử lý", "passed on"),
    S.ACCEPTED: ("đang xử lý", "in progress"),
    S.IN_PROGRESS: ("đang xử lý", "in progress"),
    S.WAITING_CITIZEN: ("chờ bổ sung", "needs information"),
    S.PENDING_APPROVAL: ("đang xử lý", "in progress"),
    S.RESOLVED: ("đã xử lý", "resolved"),
    S.CLOSED: ("đã đóng", "closed"),
    S.REJECTED: ("từ chối", "rejected"),
    S.MERGED: ("trùng", "duplicate"),
    S.WITHDRAWN: ("đã rút", "withdrawn"),
}


# The verbs whose texts a citizen reads in the history of an own report, and everybody in that of a public one.
CITIZEN_READS = frozenset({
    "message", "resolve", "reject", "reopen", "withdraw", "add_information", "rate",
    "move_pin", "recategorise", "set_urgency", "ask", "answer", "approve", "grant", "appeal",
})  # fmt: skip
PUBLIC_READS = frozenset({"resolve", "approve"})
# What a unit settles within itself.
INTERNAL = frozenset({"propose", "send_back"})


def citizen_word(state: str, lang: str) -> str:
    """The word a citizen reads for a state, in vi or en."""
    vi, en = CITIZEN_WORDS[State(state)]
    return en if lang == "en" else vi


# --- where a case lies ---------------------------------------------------------------------------------------------


class Pin(NamedTuple):
    """A place: WGS 84 degrees, and the radius in metres within which it is believed to be."""

    lat: float
    lon: float
    accuracy_m: float


def pin_text(pin: Pin, reason: str) -> str:
    """What a `move_pin` event commits to: the new place and why, as canonical JSON."""
    place = {name: float(value) for name, value in pin._asdict().items()}  # 0 and 0.0 are one place
    return json.dumps({**place, "reason": reason}, sort_keys=True, separators=(",", ":"), ensure_ascii=True)


# --- the chain ---------------------------------------------------------------------------------------------------

GENESIS = bytes(32)
NONCE_BYTES = 32
BODY_FIELDS = (
    "case_id", "seq", "at", "verb", "from_state", "to_state", "actor_kind", "actor_id", "unit_id", "commune_id",
    "cycle", "category_code", "urgency", "channel", "code", "due_at", "commitment",
)  # fmt: skip


def commit_to(nonce: bytes, text: str) -> bytes:
    """A commitment: SHA-256(nonce, text). Without the nonce the text cannot be guessed from it."""
    return hashlib.sha256(nonce + text.encode()).digest()


def canonical(event: Mapping[str, Any]) -> bytes:
    """The bytes of an event that are hashed and stored: JSON with sorted keys and no blanks, absent values left out."""
    plain = {name: _plain(event[name]) for name in BODY_FIELDS if event.get(name) is not None}
    return json.dumps(plain, sort_keys=True, separators=(",", ":"), ensure_ascii=True).encode()


def link(previous: bytes, body: bytes) -> bytes:
    """The next head of a chain: SHA-256(previous head, body)."""
    return hashlib.sha256(previous + body).digest()


def verify_chain(events: Sequence[Mapping[str, Any]]) -> str | None:
    """The first thing that does not fit in one case's events, ordered by seq; None when all of them fit."""
    head = GENESIS
    for position, event in enumerate(events, start=1):
        if event["seq"] != position:
            return f"event {position} is missing"
        if canonical(event) != bytes(event["body"]):
            return f"event {position}: columns and hashed body differ"
        head = link(head, bytes(event["body"]))
        if head != bytes(event["hash"]):
            return f"event {position}: hash does not follow from its predecessor"
    return None


def explain(events: Sequence[Mapping[str, Any]]) -> str | None:
    """The first event the workflow table cannot explain, as a sentence; None when the table explains all of them."""
    state: str | None = None
    before: str | None = None
    for event in events:
        if event["from_state"] != state:
            return f"event {event['seq']} starts in {event['from_state']}, the case stood in {state}"
        if state is None:
            if event["verb"] != "submit" or event["to_state"] not in (S.VERIFYING, S.ROUTING):
                return f"event {event['seq']} is not a submission"
        else:
            rule = rule_for(state, event["verb"])
            if rule is None or goal(rule, before) != event["to_state"]:
                return f"event {event['seq']}: {state} -{event['verb']}-> {event['to_state']} is not in the table"
            before = came_from(state, event["to_state"], before)
        state = event["to_state"]
    return None


def _plain(value: Any) -> Any:
    match value:
        case datetime():
            return value.astimezone(UTC).isoformat(timespec="microseconds")
        case UUID():
            return str(value)
        case bytes() | memoryview():
            return bytes(value).hex()
        case _:
            return value

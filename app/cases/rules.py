"""The workflow as one table, the words citizens see, and the chain of hashes. Pure."""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any, Literal, NamedTuple
from uuid import UUID

from app.deadlines.rules import ClockKind


class State(StrEnum):
    """Where a case stands (DOMAIN.md, "The life of a report")."""

    VERIFYING = "verifying"
    ROUTING = "routing"
    TRIAGE = "triage"
    ASSIGNED = "assigned"
    ACCEPTED = "accepted"
    IN_PROGRESS = "in_progress"
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
    SYSTEM = "system"


S, W = State, Who
STATES = tuple(State)
OPEN = (S.VERIFYING, S.ROUTING, S.TRIAGE, S.ASSIGNED, S.ACCEPTED, S.IN_PROGRESS)
AT_UNIT = (S.ASSIGNED, S.ACCEPTED, S.IN_PROGRESS)
UNACCEPTED = (S.VERIFYING, S.ROUTING, S.TRIAGE, S.ASSIGNED)
SHOWABLE = (*OPEN, S.RESOLVED, S.CLOSED)

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
}
ALL: Literal["all"] = "all"
REOPEN_WITHIN = timedelta(days=30)
CLOSE_AFTER = timedelta(days=10)


@dataclass(frozen=True, slots=True)
class Rule:
    """One allowed move. `target` None keeps the state; `replans` measures the running clocks anew (deadline rule 4)."""

    source: State
    verb: str
    target: State | None
    who: frozenset[Who]
    starts: tuple[ClockKind, ...] = ()
    stops: tuple[ClockKind, ...] | Literal["all"] = ()
    replans: bool = False


def _rule(
    source: State | Iterable[State],
    verb: str,
    target: State | None,
    who: Iterable[Who],
    *,
    starts: tuple[ClockKind, ...] = (),
    stops: tuple[ClockKind, ...] | Literal["all"] = (),
    replans: bool = False,
) -> list[Rule]:
    sources = [source] if isinstance(source, State) else list(source)
    return [Rule(state, verb, target, frozenset(who), starts, stops, replans) for state in sources]


# fmt: off
WORKFLOW: tuple[Rule, ...] = (
    #      from                          verb               to              who
    *_rule(S.VERIFYING,                  "verify",          S.ROUTING,      {W.DISPATCHER},          stops=("verify",)),
    *_rule(S.ROUTING,                    "assign",          S.ASSIGNED,     {W.SYSTEM},              starts=ASSIGN_CLOCKS),
    *_rule(S.ROUTING,                    "undecided",       S.TRIAGE,       {W.SYSTEM}),
    *_rule(S.TRIAGE,                     "assign",          S.ASSIGNED,     {W.DISPATCHER},          starts=ASSIGN_CLOCKS),
    *_rule(S.ASSIGNED,                   "accept",          S.ACCEPTED,     STAFF,                   stops=("accept",)),
    *_rule((S.ASSIGNED, S.ACCEPTED),     "return",          S.TRIAGE,       STAFF,                   stops=("accept",)),
    # A unit has ended: its one heir goes on where it stood, with every clock; without one a person decides.
    *_rule(AT_UNIT,                      "succeed",         None,           {W.SYSTEM}),
    *_rule(AT_UNIT,                      "orphan",          S.TRIAGE,       {W.SYSTEM},              stops=("accept",)),
    *_rule(AT_UNIT,                      "transfer",        S.ASSIGNED,     {W.DISPATCHER, W.LEAD},  starts=("accept",), stops=("accept",)),
    *_rule(S.ACCEPTED,                   "start",           S.IN_PROGRESS,  STAFF),
    *_rule((S.ACCEPTED, S.IN_PROGRESS),  "resolve",         S.RESOLVED,     STAFF,                   stops=("resolve", "first_response")),
    *_rule(S.RESOLVED,                   "confirm",         S.CLOSED,       {W.CITIZEN}),
    *_rule(S.RESOLVED,                   "close",           S.CLOSED,       {W.SYSTEM}),
    *_rule((S.RESOLVED, S.CLOSED),       "reopen",          S.ASSIGNED,     {W.CITIZEN, W.DISPATCHER}, starts=ASSIGN_CLOCKS),
    *_rule(OPEN,                         "reject",          S.REJECTED,     {W.DISPATCHER},          stops=ALL),
    *_rule(UNACCEPTED,                   "withdraw",        S.WITHDRAWN,    {W.CITIZEN},             stops=ALL),
    # What was corrected sends the case elsewhere.
    *_rule((S.TRIAGE, *AT_UNIT),         "reroute",         S.ROUTING,      {W.SYSTEM},              stops=("accept",)),
    # Without a change of state.
    *_rule(OPEN,                         "add_information", None,           {W.CITIZEN}),
    *_rule(AT_UNIT,                      "message",         None,           STAFF | {W.DISPATCHER},  stops=("first_response",)),
    *_rule((S.RESOLVED, S.CLOSED),       "rate",            None,           {W.CITIZEN}),
    *_rule(UNACCEPTED,                   "move_pin",        None,           {W.CITIZEN, W.DISPATCHER}),
    *_rule((S.ACCEPTED, S.IN_PROGRESS),  "move_pin",        None,           {W.DISPATCHER}),
    *_rule(UNACCEPTED,                   "recategorise",    None,           {W.CITIZEN, W.DISPATCHER}, replans=True),
    *_rule((S.ACCEPTED, S.IN_PROGRESS),  "recategorise",    None,           {W.DISPATCHER},          replans=True),
    *_rule(OPEN,                         "set_urgency",     None,           {W.DISPATCHER},          replans=True),
    # The calendar or a policy was changed (app.timetables).
    *_rule(OPEN,                         "reschedule",      None,           {W.SYSTEM},              replans=True),
    *_rule(SHOWABLE,                     "publish",         None,           {W.DISPATCHER, W.SYSTEM}),
    *_rule(STATES,                       "hide",            None,           {W.DISPATCHER, W.SYSTEM}),
    *_rule(SHOWABLE,                     "unhide",          None,           {W.DISPATCHER}),
    # Within the tree of units: one below gets the case, or the one above has it again.
    *_rule(AT_UNIT,                      "hand_down",       S.ASSIGNED,     {W.DISPATCHER, W.LEAD},  starts=("accept",), stops=("accept",)),
    *_rule(AT_UNIT,                      "take_back",       S.ASSIGNED,     {W.DISPATCHER, W.LEAD},  starts=("accept",), stops=("accept",)),
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
    "reject": "rejected",
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
    "withdrawn": ("Người dân đã rút", "Withdrawn by the citizen"),
}

# What the citizen is told of at once: the template of the message.
NOTIFIES = {
    "assign": "report_assigned",
    "accept": "report_accepted",  # there is a promise slip now
    "message": "report_message",
    "resolve": "report_resolved",
    "reject": "report_rejected",
    "recategorise": "report_recategorised",
    "set_urgency": "report_urgency_set",
    "reroute": "report_rerouted",
}


def tells(verb: str, actor_kind: str) -> str | None:
    """The template of the message that an event owes the citizen, who is never told of what they did themselves."""
    return None if actor_kind == "citizen" else NOTIFIES.get(verb)


def rule_for(state: str, verb: str) -> Rule | None:
    """The row of the table for `verb` in `state`, None where the workflow does not allow it."""
    return _BY_STATE_AND_VERB.get((State(state), verb))


def replans(verb: str) -> bool:
    """Whether a move measures the running clocks anew."""
    return any(rule.replans for rule in WORKFLOW if rule.verb == verb)


@dataclass(frozen=True, slots=True)
class Standing:
    """What of a case, besides its state, decides on moves."""

    state: str
    is_published: bool
    is_hidden: bool
    may_be_public: bool
    resolved_at: datetime | None = None


def allowed_verbs(standing: Standing, who: Iterable[Who], now: datetime) -> tuple[str, ...]:
    """The verbs somebody acting as `who` may use on a case, in the table's order."""
    capacities = frozenset(who)
    return tuple(
        rule.verb
        for rule in WORKFLOW
        if rule.source == standing.state and rule.who & capacities and applies(rule.verb, standing, capacities, now)
    )


def applies(verb: str, standing: Standing, who: frozenset[Who], now: datetime) -> bool:
    """Conditions beside the state: publication flags, and the citizen's time limit for reopening."""
    match verb:
        case "publish":
            return standing.may_be_public and not standing.is_published
        case "hide":
            return standing.is_published and not standing.is_hidden
        case "unhide":
            return standing.is_published and standing.is_hidden and standing.may_be_public
        case "reopen" if W.DISPATCHER not in who:
            return standing.resolved_at is not None and now <= standing.resolved_at + REOPEN_WITHIN
        case _:
            return True


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
    S.RESOLVED: ("đã xử lý", "resolved"),
    S.CLOSED: ("đã đóng", "closed"),
    S.REJECTED: ("từ chối", "rejected"),
    S.MERGED: ("trùng", "duplicate"),
    S.WITHDRAWN: ("đã rút", "withdrawn"),
}


# The verbs whose texts a citizen reads in the history of an own report, and everybody in that of a public one.
CITIZEN_READS = frozenset({
    "message", "resolve", "reject", "reopen", "withdraw", "add_information", "rate",
    "move_pin", "recategorise", "set_urgency",
})  # fmt: skip
PUBLIC_READS = frozenset({"resolve"})


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
    for event in events:
        if event["from_state"] != state:
            return f"event {event['seq']} starts in {event['from_state']}, the case stood in {state}"
        if state is None:
            if event["verb"] != "submit" or event["to_state"] not in (S.VERIFYING, S.ROUTING):
                return f"event {event['seq']} is not a submission"
        else:
            rule = rule_for(state, event["verb"])
            if rule is None or (rule.target or state) != event["to_state"]:
                return f"event {event['seq']}: {state} -{event['verb']}-> {event['to_state']} is not in the table"
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

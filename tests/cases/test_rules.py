"""The workflow table, the chain of hashes, and the words citizens read."""

from datetime import UTC, date, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

from hypothesis import given
from hypothesis import strategies as st

from app.cases import rules
from app.cases.rules import OPEN, STATES, WORKFLOW, Standing, State, Terms, Who
from app.core.clock import LOCAL

NOW = datetime(2026, 3, 2, 3, 0, tzinfo=UTC)
TERMS = Terms(timedelta(days=10), timedelta(days=30), timedelta(days=15))


def standing(state: str, **changes: Any) -> Standing:
    values: dict[str, Any] = {"is_published": False, "is_hidden": False, "may_be_public": True, "resolved_at": NOW}
    values |= {"terms": TERMS}
    return Standing(state=state, **(values | changes))


def test_one_row_decides_each_state_and_verb() -> None:
    pairs = [(rule.source, rule.verb) for rule in WORKFLOW]
    assert len(pairs) == len(set(pairs))


def test_every_state_can_be_reached_from_submission() -> None:
    reached = {State.VERIFYING, State.ROUTING}
    while (
        new := {rule.target for rule in WORKFLOW if rule.source in reached and isinstance(rule.target, State)} - reached
    ):
        reached |= new
    assert reached == set(STATES)


def test_every_open_case_can_be_brought_to_an_end() -> None:
    for state in OPEN:
        assert rules.rule_for(state, "reject") is not None


def test_what_is_offered_follows_the_state_and_what_is_open() -> None:
    def offered(state: str, who: Who, **changes: Any) -> set[str]:
        return set(rules.allowed_verbs(standing(state, **changes), {who}, NOW))

    always = {"ask", "message", "request_extension", "assign_person", "note"}
    assert offered("in_progress", Who.OFFICER) == always | {"resolve"}
    approved = offered("in_progress", Who.OFFICER, needs_approval=True)
    assert approved == always | {"propose"}
    assert {"resolve", "propose"} <= offered("in_progress", Who.LEAD, needs_approval=True)
    asked = frozenset({"extension_seq"})
    assert "request_extension" not in offered("in_progress", Who.OFFICER, open=asked)
    assert {"grant", "deny"} <= offered("in_progress", Who.LEAD, open=asked)
    assert not {"grant", "deny"} & offered("in_progress", Who.LEAD)
    assert offered("assigned", Who.LEADER) == {"direct"}
    assert offered("assigned", Who.LEADER, open=frozenset({"directive_seq"})) == {"lift"}
    assert offered("waiting_citizen", Who.CITIZEN) == {"answer", "add_information"}
    assert offered("closed", Who.CITIZEN) == {"reopen", "rate"}
    assert "decline_reject" in offered("assigned", Who.DISPATCHER, open=frozenset({"rejection_seq"}))


def test_a_refusal_is_appealed_once_and_in_time() -> None:
    def may_appeal(**changes: Any) -> bool:
        return "appeal" in rules.allowed_verbs(standing("rejected", **changes), {Who.CITIZEN}, NOW)

    assert may_appeal(rejected_at=NOW - TERMS.appeal_within)
    assert not may_appeal(rejected_at=NOW - TERMS.appeal_within - timedelta(seconds=1))
    assert not may_appeal(rejected_at=NOW, has_appealed=True)


def test_a_planned_result_stays_until_its_day_and_returns_on_it() -> None:
    def offered(until: date | None) -> set[str]:
        return set(rules.allowed_verbs(standing("resolved", planned_until=until), {Who.SYSTEM}, NOW))

    today = NOW.astimezone(LOCAL).date()
    assert {"close", "fall_due"} & offered(None) == {"close"}
    assert {"close", "fall_due"} & offered(today + timedelta(days=1)) == set()
    assert {"close", "fall_due"} & offered(today) == {"fall_due"}


def test_a_state_and_a_verb_settle_what_is_open() -> None:
    assert rules.settles("grant", "in_progress") == {"extension_seq"}
    assert rules.settles("return", "triage") == {"extension_seq", "rejection_seq"}
    assert rules.settles("resolve", "resolved") == {"extension_seq", "rejection_seq", "directive_seq"}
    assert rules.settles("message", "in_progress") == frozenset()


def test_publication_verbs_follow_the_flags() -> None:
    dispatcher = {Who.DISPATCHER}
    assert "publish" not in rules.allowed_verbs(standing("assigned", may_be_public=False), dispatcher, NOW)
    published = standing("assigned", is_published=True)
    assert {"hide"} == set(rules.allowed_verbs(published, dispatcher, NOW)) & {"publish", "hide", "unhide"}
    hidden = standing("assigned", is_published=True, is_hidden=True)
    assert {"unhide"} == set(rules.allowed_verbs(hidden, dispatcher, NOW)) & {"publish", "hide", "unhide"}


def test_a_citizen_reopens_within_the_limit_and_a_dispatcher_always() -> None:
    late = standing("closed", resolved_at=NOW - TERMS.reopen_within - timedelta(seconds=1))
    assert "reopen" not in rules.allowed_verbs(late, {Who.CITIZEN}, NOW)
    assert "reopen" in rules.allowed_verbs(late, {Who.DISPATCHER}, NOW)
    just = standing("closed", resolved_at=NOW - TERMS.reopen_within)
    assert "reopen" in rules.allowed_verbs(just, {Who.CITIZEN}, NOW)


def test_every_state_has_a_word_for_citizens() -> None:
    for state in STATES:
        assert rules.citizen_word(state, "vi")
        assert rules.citizen_word(state, "en")


def chain_of(case_id: UUID, verbs: list[tuple[str, str | None, str]]) -> list[dict[str, Any]]:
    """Events as they are stored, for (verb, from, to)."""
    head, events = rules.GENESIS, []
    for seq, (verb, source, target) in enumerate(verbs, start=1):
        event: dict[str, Any] = dict.fromkeys(rules.BODY_FIELDS)
        event |= {"case_id": case_id, "seq": seq, "at": NOW, "verb": verb, "from_state": source, "to_state": target}
        event |= {"actor_kind": "system", "cycle": 1, "category_code": "o_ga", "urgency": "normal", "channel": "app"}
        event["body"] = rules.canonical(event)
        head = event["hash"] = rules.link(head, event["body"])
        events.append(event)
    return events


ROAD = [("submit", None, "routing"), ("assign", "routing", "assigned"), ("accept", "assigned", "accepted")]


def test_an_untouched_chain_verifies_and_explains_itself() -> None:
    events = chain_of(uuid4(), ROAD)
    assert rules.verify_chain(events) is None
    assert rules.explain(events) is None


@given(st.integers(0, 2), st.sampled_from(["verb", "at", "to_state", "actor_kind", "code", "unit_id"]))
def test_any_changed_column_is_found(place: int, column: str) -> None:
    events = chain_of(uuid4(), ROAD)
    events[place] = events[place] | {column: NOW + timedelta(seconds=1) if column == "at" else "changed"}
    assert rules.verify_chain(events) == f"event {place + 1}: columns and hashed body differ"


def test_a_removed_inserted_or_rehashed_event_is_found() -> None:
    events = chain_of(uuid4(), ROAD)
    assert rules.verify_chain([events[0], events[2]]) == "event 2 is missing"
    forged = events[1] | {"verb": "return"}
    forged["body"] = rules.canonical(forged)
    assert rules.verify_chain([events[0], forged, events[2]]) == "event 2: hash does not follow from its predecessor"


def test_a_move_outside_the_table_is_named() -> None:
    skipped = chain_of(uuid4(), [("submit", None, "routing"), ("accept", "assigned", "accepted")])
    assert rules.explain(skipped) == "event 2 starts in assigned, the case stood in routing"
    invented = chain_of(uuid4(), [("submit", None, "routing"), ("accept", "routing", "accepted")])
    assert rules.explain(invented) == "event 2: routing -accept-> accepted is not in the table"


def test_a_commitment_hides_its_text_behind_a_nonce() -> None:
    assert rules.commit_to(b"a" * 32, "như nhau") != rules.commit_to(b"b" * 32, "như nhau")

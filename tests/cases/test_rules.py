"""The workflow table, the chain of hashes, and the words citizens read."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.cases import rules
from app.cases.rules import OPEN, STATES, WORKFLOW, Standing, State, Who

NOW = datetime(2026, 3, 2, 3, 0, tzinfo=UTC)


def standing(state: str, **changes: Any) -> Standing:
    values: dict[str, Any] = {"is_published": False, "is_hidden": False, "may_be_public": True, "resolved_at": NOW}
    return Standing(state=state, **(values | changes))


PASSED_ON = {"transfer", "hand_down", "take_back"}
CORRECTIONS = {"move_pin", "recategorise", "set_urgency"}


def test_one_row_decides_each_state_and_verb() -> None:
    pairs = [(rule.source, rule.verb) for rule in WORKFLOW]
    assert len(pairs) == len(set(pairs))


def test_every_state_can_be_reached_from_submission() -> None:
    reached = {State.VERIFYING, State.ROUTING}
    while new := {rule.target for rule in WORKFLOW if rule.source in reached and rule.target} - reached:
        reached |= new
    assert reached == set(STATES) - {State.MERGED}  # duplicates are merged by a later issue


def test_every_open_case_can_be_brought_to_an_end() -> None:
    for state in OPEN:
        assert rules.rule_for(state, "reject") is not None


@pytest.mark.parametrize(
    ("state", "who", "verbs"),
    [
        ("verifying", {Who.DISPATCHER}, {"verify", "reject", "publish"} | CORRECTIONS),
        ("verifying", {Who.CITIZEN}, {"withdraw", "add_information", "move_pin", "recategorise"}),
        ("routing", {Who.CITIZEN}, {"withdraw", "add_information", "move_pin", "recategorise"}),
        ("triage", {Who.DISPATCHER}, {"assign", "reject", "publish"} | CORRECTIONS),
        ("assigned", {Who.CITIZEN}, {"withdraw", "add_information", "move_pin", "recategorise"}),
        ("assigned", {Who.DISPATCHER}, {"reject", "publish", "message"} | PASSED_ON | CORRECTIONS),
        ("assigned", {Who.OFFICER}, {"accept", "return", "message"}),
        ("assigned", {Who.LEAD}, {"accept", "return", "message"} | PASSED_ON),
        ("accepted", {Who.OFFICER}, {"return", "start", "resolve", "message"}),
        ("in_progress", {Who.OFFICER}, {"resolve", "message"}),
        ("accepted", {Who.CITIZEN}, {"add_information"}),
        ("in_progress", {Who.CITIZEN}, {"add_information"}),
        ("in_progress", {Who.DISPATCHER}, {"reject", "publish", "message"} | PASSED_ON | CORRECTIONS),
        ("in_progress", {Who.SYSTEM}, {"reroute", "publish", "succeed", "orphan", "reschedule"}),
        ("resolved", {Who.CITIZEN}, {"confirm", "reopen", "rate"}),
        ("resolved", {Who.OFFICER}, set()),
        ("closed", {Who.CITIZEN}, {"reopen", "rate"}),
        ("rejected", {Who.CITIZEN}, set()),
        ("withdrawn", {Who.DISPATCHER}, set()),
        ("assigned", set(), set()),
    ],
)
def test_who_may_do_what_where(state: str, who: set[Who], verbs: set[str]) -> None:
    assert set(rules.allowed_verbs(standing(state), who, NOW)) == verbs


def test_publication_verbs_follow_the_flags() -> None:
    dispatcher = {Who.DISPATCHER}
    assert "publish" not in rules.allowed_verbs(standing("assigned", may_be_public=False), dispatcher, NOW)
    published = standing("assigned", is_published=True)
    assert {"hide"} == set(rules.allowed_verbs(published, dispatcher, NOW)) & {"publish", "hide", "unhide"}
    hidden = standing("assigned", is_published=True, is_hidden=True)
    assert {"unhide"} == set(rules.allowed_verbs(hidden, dispatcher, NOW)) & {"publish", "hide", "unhide"}


def test_a_citizen_reopens_within_the_limit_and_a_dispatcher_always() -> None:
    late = standing("closed", resolved_at=NOW - rules.REOPEN_WITHIN - timedelta(seconds=1))
    assert "reopen" not in rules.allowed_verbs(late, {Who.CITIZEN}, NOW)
    assert "reopen" in rules.allowed_verbs(late, {Who.DISPATCHER}, NOW)
    just = standing("closed", resolved_at=NOW - rules.REOPEN_WITHIN)
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

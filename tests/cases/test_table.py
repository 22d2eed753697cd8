"""Every state × verb × role: allowed or refused, as DOMAIN.md says, written down here a second time by hand.

A row added to `WORKFLOW` needs its line here: what nobody wrote down twice is not agreed upon.
"""

from itertools import product
from pathlib import Path

import pytest

from app.cases import rules
from app.cases.rules import ALL, BEFORE, HELD, OPEN, State, Who
from tools.workflow_doc import page

UNIT = "assigned accepted in_progress waiting_citizen pending_approval"
EVERY_OPEN = f"verifying routing triage {UNIT}"
SHOWN = f"{EVERY_OPEN} resolved closed"
NOT_ACCEPTED = "verifying routing triage assigned"
ACCEPTED_ON = "accepted in_progress waiting_citizen pending_approval"

# from | verb | to (= the same, < the one before) | who
TABLE = f"""
verifying                       | verify            | routing          | dispatcher
routing                         | assign            | assigned         | system
routing                         | undecided         | triage           | system
triage                          | assign            | assigned         | dispatcher
assigned                        | accept            | accepted         | officer lead
assigned accepted               | return            | triage           | officer lead
assigned accepted in_progress   | transfer          | assigned         | dispatcher lead
assigned accepted in_progress   | hand_down         | assigned         | dispatcher lead
assigned accepted in_progress   | take_back         | assigned         | dispatcher lead
accepted                        | start             | in_progress      | officer lead
accepted in_progress            | ask               | waiting_citizen  | officer lead
waiting_citizen                 | answer            | <                | citizen
waiting_citizen                 | timeout           | <                | system
waiting_citizen                 | add_information   | <                | citizen
accepted in_progress            | resolve           | resolved         | officer lead
accepted in_progress            | propose           | pending_approval | officer lead
pending_approval                | approve           | resolved         | lead
pending_approval                | send_back         | in_progress      | lead
resolved                        | confirm           | closed           | citizen
resolved                        | close             | closed           | system
resolved closed                 | reopen            | assigned         | citizen dispatcher
resolved closed                 | fall_due          | assigned         | system
{EVERY_OPEN}                    | reject            | rejected         | dispatcher
rejected                        | appeal            | verifying        | citizen
{EVERY_OPEN}                    | merge             | merged           | dispatcher lead
merged                          | unmerge           | <                | dispatcher lead
{NOT_ACCEPTED}                  | withdraw          | withdrawn        | citizen
triage {UNIT}                   | reroute           | routing          | system
{UNIT}                          | succeed           | =                | system
{UNIT}                          | orphan            | triage           | system
verifying routing triage assigned accepted in_progress pending_approval | add_information | = | citizen
{UNIT}                          | message           | =                | officer lead dispatcher
{UNIT}                          | assign_person     | =                | officer lead
{UNIT}                          | involve           | =                | dispatcher lead system
{UNIT}                          | release           | =                | dispatcher lead
{SHOWN}                         | note              | =                | officer lead dispatcher helper
accepted in_progress            | request_extension | =                | officer lead
accepted in_progress            | grant             | =                | lead
accepted in_progress            | deny              | =                | lead
{UNIT}                          | propose_reject    | =                | lead
{UNIT}                          | decline_reject    | =                | dispatcher
{EVERY_OPEN}                    | direct            | =                | leader
{EVERY_OPEN}                    | report_back       | =                | lead dispatcher
{EVERY_OPEN}                    | lift              | =                | leader
resolved closed                 | rate              | =                | citizen
{NOT_ACCEPTED}                  | move_pin          | =                | citizen dispatcher
{ACCEPTED_ON}                   | move_pin          | =                | dispatcher
{NOT_ACCEPTED}                  | recategorise      | =                | citizen dispatcher
{ACCEPTED_ON}                   | recategorise      | =                | dispatcher
{EVERY_OPEN}                    | set_urgency       | =                | dispatcher
{EVERY_OPEN}                    | reschedule        | =                | system
{SHOWN}                         | publish           | =                | dispatcher system
{SHOWN}                         | redact            | =                | dispatcher
{SHOWN} rejected merged withdrawn | hide            | =                | dispatcher system
{SHOWN}                         | unhide            | =                | dispatcher
"""


def told() -> dict[tuple[str, str], tuple[str, set[str]]]:
    """(state, verb) → where to, and who may."""
    found: dict[tuple[str, str], tuple[str, set[str]]] = {}
    for line in TABLE.strip().splitlines():
        sources, verb, target, who = (cell.strip() for cell in line.split("|"))
        for source in sources.split():
            assert (source, verb) not in found, line
            found[source, verb] = target, set(who.split())
    return found


def test_every_state_verb_and_role_is_allowed_or_refused_as_written() -> None:
    expected = told()
    verbs = {rule.verb for rule in rules.WORKFLOW} | {verb for _, verb in expected}
    for state, verb, who in product(State, sorted(verbs), Who):
        target, capacities = expected.get((state.value, verb), ("", set()))
        rule = rules.rule_for(state, verb)
        is_allowed = rule is not None and who in rule.who
        assert is_allowed == (who.value in capacities), (state, verb, who)
        if rule is not None:
            where = "<" if rule.target == BEFORE else "=" if rule.target is None else rule.target.value
            assert where == target, (state, verb)


def test_who_leaves_a_question_ends_its_pause_and_its_clock() -> None:
    for rule in rules.WORKFLOW:
        leaves = rule.source == State.WAITING_CITIZEN and rule.target not in (None, rule.source)
        assert ("resolve" in rule.resumes) == leaves, rule
        if leaves:
            assert rule.stops == ALL or "answer" in rule.stops, rule


def test_who_leaves_an_approval_stops_its_clock_and_takes_up_the_work_unless_it_is_done() -> None:
    for rule in rules.WORKFLOW:
        leaves = rule.source == State.PENDING_APPROVAL and rule.target not in (None, rule.source)
        assert ("resolve" in rule.reinstates) == (leaves and rule.target in OPEN), rule
        if leaves:
            assert rule.stops == ALL or "approve" in rule.stops, rule


@pytest.mark.parametrize("state", HELD)
def test_a_case_that_a_unit_holds_can_always_get_away(state: State) -> None:
    assert rules.rule_for(state, "reject")
    assert rules.rule_for(state, "reroute")


def test_the_page_about_the_workflow_is_what_the_table_makes() -> None:
    committed = Path("docs/workflow.md").read_text()
    assert committed == page(), "run python -m tools.workflow_doc > docs/workflow.md"

"""Writes docs/workflow.md from the one table: `python -m tools.workflow_doc > docs/workflow.md`."""

from collections.abc import Iterable, Iterator
from itertools import groupby

from app.cases.rules import (
    ALL,
    BEFORE,
    CITIZEN_WORDS,
    HOP_OUTCOMES,
    NEW_CYCLE,
    NOTIFIES,
    OPENS,
    WORKFLOW,
    Rule,
)

HEAD = """\
# The life of a case

Made from `WORKFLOW` in `app/cases/rules.py` by `python -m tools.workflow_doc > docs/workflow.md`; a test says when it
is out of date. A move that is not in the table is refused with 409 and the moves that are allowed. Where a move has a
condition besides the state (a time limit, what is published, a question that is open), `applies` decides.

"""
CLOCKS = {
    "starts": "starts",
    "stops": "stops",
    "pauses": "pauses",
    "resumes": "ends the pause of",
    "reinstates": "runs on with",
    "extends": "extends",
}


def page() -> str:
    """The whole page."""
    return HEAD + "\n".join([*_diagram(), "", *_states(), "", *_table(WORKFLOW)]) + "\n"


def _diagram() -> Iterator[str]:
    """Every change of state; what goes back to where it came from points there in words."""
    yield "```mermaid"
    yield "stateDiagram-v2"
    yield "    [*] --> verifying: submit"
    yield "    [*] --> routing: submit (trusted category)"
    moves: dict[tuple[str, str], list[str]] = {}
    for rule in WORKFLOW:
        if rule.target not in (None, rule.source):
            moves.setdefault((rule.source, rule.target), []).append(rule.verb)
    for (source, target), verbs in moves.items():
        if target == BEFORE:
            came_from = sorted({rule.source for rule in WORKFLOW if rule.target == source})
            for state in came_from:
                yield f"    {source} --> {state}: {', '.join(verbs)}"
        else:
            yield f"    {source} --> {target}: {', '.join(verbs)}"
    yield "```"


def _states() -> Iterator[str]:
    yield "| state | what citizens read |"
    yield "|---|---|"
    for state, (vi, en) in CITIZEN_WORDS.items():
        yield f"| `{state}` | {vi} ({en}) |"


def _table(rows: Iterable[Rule]) -> Iterator[str]:
    yield "| from | verb | to | who | clocks | besides |"
    yield "|---|---|---|---|---|---|"
    for _, group in groupby(rows, key=_alike):
        same = list(group)
        first = same[0]
        source = ", ".join(rule.source for rule in same)
        target = "the same" if first.target is None else "the state before" if first.target == BEFORE else first.target
        who = ", ".join(sorted(first.who))
        yield f"| {source} | `{first.verb}` | {target} | {who} | {_clocks(first)} | {_besides(first)} |"


def _alike(rule: Rule) -> tuple[object, ...]:
    return rule.verb, rule.target, rule.who, _clocks(rule)


def _clocks(rule: Rule) -> str:
    words = []
    for name, word in CLOCKS.items():
        kinds = getattr(rule, name)
        if kinds:
            words.append(f"{word} {'all' if kinds == ALL else ', '.join(kinds)}")
    if rule.replans:
        words.append("measures the running ones anew")
    return "; ".join(words)


def _besides(rule: Rule) -> str:
    words = []
    if rule.verb in NEW_CYCLE:
        words.append("a new cycle")
    if rule.verb in HOP_OUTCOMES:
        words.append(f"the stay ends: {HOP_OUTCOMES[rule.verb]}")
    if rule.verb in OPENS:
        words.append("waits for an answer")
    if rule.verb in NOTIFIES:
        words.append(f"tells the citizen (`{NOTIFIES[rule.verb]}`)")
    return "; ".join(words)


if __name__ == "__main__":
    print(page(), end="")

"""What is promised when, and how it is signed."""

import base64
import itertools
import json
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
import segno
from hypothesis import given
from hypothesis import strategies as st

from app.promises.rules import Slip, Step, promises, qr_code
from app.seals.rules import key_id, public_key
from tools.verify_slip import Fault, verified

AT = datetime(2026, 11, 20, 2, 30, 15, 999_999, tzinfo=UTC)
DUE = AT + timedelta(days=3)
HERE, THERE = UUID(int=1), UUID(int=2)
SEED = b"a seed of thirty-two bytes in all"[:32]
KEYS = {key_id(public_key(SEED)): public_key(SEED)}
SLIP = Slip("7KQ4-M2XT", 3, "den_tin_hieu", "so_xay_dung", "Sở Xây dựng", by=DUE, issued=AT)
Told = tuple[str, str, UUID | None, int]


def history(*told: Told, category: str = "o_ga") -> list[Step]:
    """Verb, state it leads to, unit, days until due."""
    return [
        Step(seq, AT, verb, to_state, unit, category, DUE + timedelta(days=days))
        for seq, (verb, to_state, unit, days) in enumerate(told, start=1)
    ]


ACCEPTED: list[Told] = [
    ("submit", "routing", None, 0),
    ("assign", "assigned", HERE, 0),
    ("accept", "accepted", HERE, 0),
]


@pytest.mark.parametrize(
    ("then", "numbers"),
    [
        ([], [3]),
        ([("start", "in_progress", HERE, 0), ("message", "in_progress", HERE, 0)], [3]),
        ([("set_urgency", "accepted", HERE, -2), ("start", "in_progress", HERE, -2)], [3, 4]),
        ([("succeed", "accepted", THERE, 0)], [3, 4]),  # the heir stands by it in its own name
        ([("transfer", "assigned", THERE, 0)], [3]),
        ([("transfer", "assigned", THERE, 0), ("accept", "accepted", THERE, 0)], [3, 5]),
        ([("return", "triage", None, 0), ("assign", "assigned", HERE, 0), ("accept", "accepted", HERE, 0)], [3, 6]),
        ([("resolve", "resolved", HERE, 0), ("close", "closed", HERE, 0)], [3]),
        ([("resolve", "resolved", HERE, 0), ("reopen", "assigned", HERE, 5), ("accept", "accepted", HERE, 5)], [3, 6]),
    ],
)
def test_a_promise_is_made_by_accepting_and_anew_by_what_changes_it(then: list[Told], numbers: list[int]) -> None:
    assert [step.seq for step in promises(history(*ACCEPTED, *then))] == numbers


def test_nobody_has_promised_what_nobody_accepted() -> None:
    assert promises(history(*ACCEPTED[:2])) == []
    assert promises([]) == []


def test_another_category_is_another_promise() -> None:
    steps = history(*ACCEPTED)
    steps.append(Step(4, AT, "recategorise", "accepted", HERE, "den_duong", DUE))
    assert [step.category_code for step in promises(steps)] == ["o_ga", "den_duong"]


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["accept", "start", "transfer", "set_urgency", "resolve"]),
            st.sampled_from(["assigned", "accepted", "in_progress", "resolved", "triage"]),
            st.sampled_from([HERE, THERE, None]),
            st.integers(0, 2),
        ),
        max_size=12,
    )
)
def test_promises_once_made_stay(told: list[Told]) -> None:
    steps = history(*told)
    for length in range(len(steps)):
        assert promises(steps)[: len(promises(steps[:length]))] == promises(steps[:length])


def test_a_slip_says_local_time_and_verifies_without_us() -> None:
    said = verified(SLIP.text(SEED), KEYS)
    assert said == {
        "by": "2026-11-23T09:30:15+07:00",
        "case": "7KQ4-M2XT",
        "category": "den_tin_hieu",
        "issued": "2026-11-20T09:30:15+07:00",
        "key": key_id(public_key(SEED))[:16],
        "number": 3,
        "promise": "resolve",
        "unit": "so_xay_dung",
        "unit_name": "Sở Xây dựng",
    }
    assert SLIP.text(SEED) == SLIP.text(SEED)
    assert verified(SLIP.text(SEED).lower() + "\n", KEYS) == said


def test_a_changed_slip_is_not_genuine() -> None:
    text = SLIP.text(SEED)
    data = base64.b32decode(text[4:] + "=" * (-len(text[4:]) % 8))
    for place, bit in itertools.product(range(0, len(data), 7), (1, 128)):
        forged = data[:place] + bytes([data[place] ^ bit]) + data[place + 1 :]
        with pytest.raises(Fault):
            verified("PH1." + base64.b32encode(forged).decode().rstrip("="), KEYS)
    for broken in ("", "PH1.", "PH2." + text[4:], text[:-9], text[4:], "PH1.!!!!", "PH1." + "A" * 200):
        with pytest.raises(Fault):
            verified(broken, KEYS)


def test_another_key_is_not_trusted_even_under_the_same_name() -> None:
    other = public_key(b"another seed of thirty-two bytes"[:32])
    with pytest.raises(Fault, match="trusted key"):
        verified(SLIP.text(SEED), {key_id(other): other})
    with pytest.raises(Fault, match="trusted key"):
        verified(SLIP.text(SEED), {key_id(public_key(SEED)): other})


def test_a_seal_can_never_be_a_slip() -> None:
    """The same key signs both; what it signs never begins alike."""
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey  # noqa: PLC0415

    body = SLIP.body(key_id(public_key(SEED)))
    signature = Ed25519PrivateKey.from_private_bytes(SEED).sign(body)  # as a seal signs: the JSON alone
    with pytest.raises(Fault, match="trusted key"):
        verified("PH1." + base64.b32encode(body + signature).decode().rstrip("="), KEYS)


def test_the_longest_slip_fits_a_code_that_phones_read() -> None:
    longest = Slip("7KQ4-M2XT", 99, "x" * 40, "x" * 40, "Ủy ban nhân dân " * 8, by=DUE, issued=AT)
    assert json.loads(longest.body("0" * 64))["unit_name"].startswith("Ủy ban")
    for slip, version in ((SLIP, 13), (longest, 22)):
        assert int(segno.make(slip.text(SEED), error="m", micro=False, boost_error=False).version) <= version
    assert qr_code(SLIP.text(SEED), "png").startswith(b"\x89PNG")
    assert qr_code(SLIP.text(SEED), "svg").startswith(b"<?xml")

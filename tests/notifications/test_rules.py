"""What messages say, and what becomes of them."""

import re
import string
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.notifications import rules
from app.notifications.rules import (
    Accepted,
    Again,
    Failed,
    Permanent,
    QuotaExceeded,
    RetryAfter,
    Sent,
    TokenDead,
    UnknownMessageError,
)

AT = datetime(2026, 3, 2, 1, 0, tzinfo=UTC)
VIETNAMESE = re.compile("[ăâđêôơưàảãáạằẳẵắặầẩẫấậèẻẽéẹềểễếệìỉĩíịòỏõóọồổỗốộờởỡớợùủũúụừửữứựỳỷỹýỵ]", re.IGNORECASE)


@pytest.mark.parametrize("name", sorted(rules.TEMPLATES))
def test_every_message_carries_a_reference_or_a_code_and_nothing_else(name: str) -> None:
    template = rules.TEMPLATES[name]
    said = {"code"} if template.secret else {"reference"}
    if name == "case_digest":
        said = {"references", "overdue", "soon"}
    for text in (template.vi, template.en):
        assert {field for _, field, _, _ in string.Formatter().parse(text) if field} == said
    assert VIETNAMESE.search(template.vi)
    assert not VIETNAMESE.search(template.en)


@pytest.mark.parametrize("name", sorted(rules.TEMPLATES))
@pytest.mark.parametrize("locale", ["vi", "en"])
def test_every_message_can_be_written(name: str, locale: str) -> None:
    secret = "381604" if rules.TEMPLATES[name].secret else None
    values = {"reference": "7KQ4-M2XT", "references": "7KQ4-M2XT", "overdue": "2", "soon": "1"}
    params = {known: values[known] for known in rules.TEMPLATES[name].needs}
    rules.check(name, params)
    text = rules.render(name, params, locale, secret)
    assert (secret or "7KQ4-M2XT") in text
    assert "{" not in text
    assert len(text) <= 160


@pytest.mark.parametrize(
    ("template", "params"),
    [
        ("report_lost", {"reference": "7KQ4-M2XT"}),
        ("report_resolved", {}),
        ("report_resolved", {"reference": "7KQ4-M2XT", "description": "ổ gà trước nhà bà Lan"}),
        ("report_resolved", {"reference": "7KQ4-M2XT", "phone": "0912345678"}),
        ("sign_in_code", {"code": "381604"}),  # a secret is never a parameter: those are stored in the clear
    ],
)
def test_what_could_not_be_sent_or_must_not_be_stored_is_never_owed(template: str, params: dict[str, str]) -> None:
    with pytest.raises(UnknownMessageError):
        rules.check(template, params)


@pytest.mark.parametrize(
    ("vi", "needs", "secret"),
    [
        ("Phản ánh {reference} của {name} đã xong.", {"reference"}, False),
        ("Phản ánh đã xong.", {"reference"}, False),
        ("Phản ánh {} đã xong.", {"reference"}, False),
        ("Phản ánh {reference} tại {description}.", {"reference", "description"}, False),
        ("Phản ánh {reference}, mã {code}.", {"reference"}, False),
        ("Mã của bạn.", set(), True),
    ],
)
def test_a_template_with_an_unknown_variable_stops_the_start(vi: str, needs: set[str], secret: bool) -> None:
    with pytest.raises(UnknownMessageError):
        rules.Template(vi=vi, en=vi, needs=frozenset(needs), secret=secret)


def test_a_reference_is_text_and_no_template() -> None:
    text = rules.render("report_resolved", {"reference": "{0.__class__}"}, "vi")
    assert "{0.__class__}" in text


def test_a_message_with_a_secret_is_not_written_without_it_nor_another_with_one() -> None:
    with pytest.raises(UnknownMessageError):
        rules.render("sign_in_code", {}, "vi")
    with pytest.raises(UnknownMessageError):
        rules.render("report_resolved", {"reference": "x"}, "vi", "381604")


def test_each_answer_has_its_consequence() -> None:
    assert rules.fate(Accepted(), 1, AT) == Sent()
    assert rules.fate(Permanent("blocked_by_carrier"), 1, AT) == Failed("blocked_by_carrier")
    assert rules.fate(TokenDead(), 1, AT) == Failed("token_dead")
    assert rules.fate(RetryAfter(), 1, AT) == Again(AT + timedelta(seconds=5))
    assert rules.fate(RetryAfter(90), 1, AT) == Again(AT + timedelta(seconds=90))
    assert rules.fate(RetryAfter(), rules.MAX_ATTEMPTS, AT) == Failed("attempts_exhausted")


def test_our_own_quota_is_no_fault_of_the_message() -> None:
    assert rules.fate(QuotaExceeded(600), rules.MAX_ATTEMPTS, AT) == Again(AT + timedelta(seconds=600), counted=False)


def test_pauses_grow_and_end() -> None:
    pauses = [rules.pause(attempts) for attempts in range(1, 20)]
    assert pauses[:4] == [timedelta(seconds=seconds) for seconds in (5, 20, 80, 320)]
    assert pauses == sorted(pauses)
    assert pauses[-1] == timedelta(hours=1)


@given(st.integers(1, rules.MAX_ATTEMPTS), st.floats(0, 1e6))
def test_a_retry_never_comes_earlier_than_asked(attempts: int, seconds: float) -> None:
    fate = rules.fate(RetryAfter(seconds), attempts, AT)
    assert isinstance(fate, Failed) or (isinstance(fate, Again) and fate.at >= AT + timedelta(seconds=seconds))


@pytest.mark.parametrize(
    ("attempts", "expires", "active", "code"),
    [
        (1, None, True, None),
        (rules.MAX_ATTEMPTS, None, True, None),
        (rules.MAX_ATTEMPTS + 1, None, True, "attempts_exhausted"),
        (1, AT, True, "expired"),
        (1, AT + timedelta(seconds=1), True, None),
        (1, None, False, "recipient_gone"),
    ],
)
def test_what_is_hopeless_is_not_tried(attempts: int, expires: datetime | None, active: bool, code: str | None) -> None:
    found = rules.hopeless(attempts, expires, recipient_active=active, at=AT)
    assert (found.code if found else None) == code


def test_a_lease_outlives_its_batch_and_a_shift_its_task() -> None:
    longest_batch = rules.SEND_TIMEOUT * rules.BATCH
    assert longest_batch < rules.LEASE
    assert rules.SHIFT + longest_batch < timedelta(seconds=100)

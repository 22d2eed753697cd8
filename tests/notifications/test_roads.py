"""By which channels a message goes, when it waits for the morning, and when it is done: pure rules."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, time, timedelta
from typing import cast
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.notifications import rules
from app.notifications.rules import (
    Accepted,
    Again,
    Delivery,
    Failed,
    Fate,
    NotAsked,
    Permanent,
    QuietHours,
    QuotaExceeded,
    RetryAfter,
    Sent,
    Target,
    TokenDead,
    Tried,
)

AT = datetime(2026, 3, 2, 1, 0, tzinfo=UTC)
PHONE, TABLET = (Target("push", "fcm", UUID(int=number)) for number in (1, 2))
ZALO, SMS = Target("zns", "zns"), Target("sms", "esms")
LEGS = ((PHONE, TABLET), (ZALO,), (SMS,))
NOW = timedelta(0)
Answers = dict[Target, Delivery]


def one_try(
    legs: Sequence[rules.Leg],
    answers: Mapping[Target, Delivery],
    past: Sequence[Tried] = (),
    attempts: int = 1,
    age: timedelta = NOW,
) -> tuple[Fate, list[Target]]:
    """A whole try as the sender makes it: its end, and whom it asked in which order."""
    log = list(past)
    while (target := rules.next_target(legs, log, age)) is not None:
        assert len(log) < 100
        log.append(Tried(target, answers[target]))
    return rules.verdict(legs, log, attempts, age, AT), [tried.target for tried in log if tried.now]


def before(*tried: tuple[Target, Delivery]) -> list[Tried]:
    return [Tried(target, delivery, now=False) for target, delivery in tried]


def test_every_device_gets_it_and_no_further_channel_does() -> None:
    assert one_try(LEGS, {PHONE: Accepted(), TABLET: Accepted()}) == (Sent(), [PHONE, TABLET])


def test_one_device_succeeding_does_not_mark_the_other() -> None:
    fate, asked = one_try(LEGS, {PHONE: Accepted(), TABLET: RetryAfter()})
    assert (fate, asked) == (Again(AT + timedelta(seconds=5)), [PHONE, TABLET])
    past = before((PHONE, Accepted()), (TABLET, RetryAfter()))
    assert one_try(LEGS, {TABLET: Accepted()}, past, 2) == (Sent(), [TABLET])


def test_a_device_that_has_it_does_not_get_it_again_until_the_other_gave_up() -> None:
    past = before((PHONE, Accepted()), *[(TABLET, RetryAfter())] * (rules.MAX_ATTEMPTS - 1))
    assert one_try(LEGS, {TABLET: RetryAfter()}, past, rules.MAX_ATTEMPTS) == (Sent(), [TABLET])


def test_dead_tokens_lead_on_at_once() -> None:
    answers: Answers = {PHONE: TokenDead(), TABLET: Permanent("x"), ZALO: Permanent("zns_unreachable"), SMS: Accepted()}
    assert one_try(LEGS, answers) == (Sent(), [PHONE, TABLET, ZALO, SMS])


def test_a_failing_channel_is_tried_twice_before_the_next() -> None:
    answers: Answers = dict.fromkeys((PHONE, ZALO, SMS), RetryAfter())
    legs, asked = ((PHONE,), (ZALO,), (SMS,)), []
    past: list[Tried] = []
    for attempt in range(1, rules.MAX_ATTEMPTS + 1):
        fate, now = one_try(legs, answers, past, attempt)
        asked.append(now)
        past += before(*((target, RetryAfter()) for target in now))
    assert asked[:4] == [[PHONE], [PHONE, ZALO], [ZALO, SMS], [SMS]]
    assert fate == Failed("attempts_exhausted")


def test_what_must_wait_longer_than_patience_goes_on() -> None:
    answers: Answers = {PHONE: QuotaExceeded(3600), TABLET: NotAsked(3600), ZALO: Accepted()}
    assert one_try(LEGS, answers) == (Sent(), [PHONE, TABLET, ZALO])
    shorter: Answers = {PHONE: QuotaExceeded(60), TABLET: NotAsked(300)}
    assert one_try(LEGS, shorter) == (Again(AT + timedelta(seconds=300), counted=False), [PHONE, TABLET])
    older: Answers = shorter | {ZALO: Accepted()}
    assert one_try(LEGS, older, age=rules.PATIENCE) == (Sent(), [PHONE, TABLET, ZALO])


def test_the_last_channel_is_waited_for() -> None:
    assert one_try(((SMS,),), {SMS: QuotaExceeded(7200)}, age=timedelta(days=1)) == (
        Again(AT + timedelta(seconds=7200), counted=False),
        [SMS],
    )


def test_nowhere_to_go_is_said() -> None:
    assert one_try((), {}) == (Failed("no_address"), [])
    assert one_try((), {}, before((PHONE, Accepted()))) == (Sent(), [])  # its device signed out since
    assert one_try(((ZALO,),), {ZALO: Permanent("zns_unreachable")}) == (Failed("zns_unreachable"), [ZALO])
    assert one_try(((PHONE,),), {PHONE: TokenDead()}) == (Failed("token_dead"), [PHONE])


def test_a_try_that_took_too_long_goes_on_with_the_others() -> None:
    slow = [Tried(PHONE, RetryAfter())]
    assert rules.verdict(LEGS, slow, 1, NOW, AT) == Again(AT + timedelta(seconds=5))
    assert rules.verdict(LEGS, [Tried(PHONE, Accepted())], 1, NOW, AT) == Again(AT, counted=False)
    assert rules.verdict(LEGS, slow, rules.MAX_ATTEMPTS, NOW, AT) == Failed("attempts_exhausted")
    assert rules.next_target(LEGS, before((PHONE, RetryAfter())), NOW) == TABLET  # the least tried first


ANSWERS = st.sampled_from(
    [Accepted(), RetryAfter(), RetryAfter(2000), Permanent("x"), TokenDead(), QuotaExceeded(9), NotAsked(9)]
)


@given(st.data())
def test_whatever_is_answered_each_delivery_is_made_at_most_once_and_the_message_ends(data: st.DataObject) -> None:
    legs = data.draw(st.sampled_from([LEGS, LEGS[1:], LEGS[2:], ((PHONE, TABLET),), ((PHONE,), (SMS,))]))
    past: list[Tried] = []
    counted, fate = 0, Again(AT)
    for _ in range(60):
        answers: Answers = {target: cast("Delivery", data.draw(ANSWERS)) for leg in legs for target in leg}
        outcome, asked = one_try(legs, answers, past, counted + 1)
        assert len(asked) == len(set(asked)), "nobody is asked twice in one try"
        settled = {tried.target for tried in past if isinstance(tried.delivery, Accepted | Permanent | TokenDead)}
        assert not settled & set(asked), "what was accepted or refused is never sent again"
        past += before(*((target, answers[target]) for target in asked if not isinstance(answers[target], NotAsked)))
        accepted = {tried.target.channel for tried in past if isinstance(tried.delivery, Accepted)}
        assert len(accepted) <= 1, "a message is not sent by two channels"
        if not isinstance(outcome, Again):
            assert isinstance(outcome, Sent) == bool(accepted)
            return
        counted += outcome.counted
        fate = outcome
    assert counted < rules.MAX_ATTEMPTS, fate  # only quotas and rests may go on for so long


# Quiet hours

VIETNAM = ZoneInfo("Asia/Ho_Chi_Minh")
NIGHT = QuietHours(time(22), time(6), VIETNAM)


def local(day: int, hour: int, minute: int = 0) -> datetime:
    return datetime(2026, 3, day, hour, minute, tzinfo=VIETNAM).astimezone(UTC)


@pytest.mark.parametrize(
    ("at", "until"),
    [
        (local(2, 21, 59), None),
        (local(2, 22), local(3, 6)),
        (local(2, 23, 59), local(3, 6)),
        (local(3, 0), local(3, 6)),
        (local(3, 5, 59), local(3, 6)),
        (local(3, 6), None),
        (local(3, 12), None),
    ],
)
def test_nights_end_at_six(at: datetime, until: datetime | None) -> None:
    assert NIGHT.until(at) == until


def test_quiet_hours_may_lie_within_a_day_or_not_exist() -> None:
    noon = QuietHours(time(11, 30), time(13, 30), VIETNAM)
    assert noon.until(local(2, 12)) == local(2, 13, 30)
    assert noon.until(local(2, 23)) is None
    assert QuietHours(time(6), time(6), VIETNAM).until(local(2, 6)) is None


MOMENTS = st.datetimes(datetime(2020, 1, 1), datetime(2040, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001


@given(st.times(), st.times(), MOMENTS)
def test_quiet_ends_later_within_a_day_and_is_then_over(begin: time, end: time, at: datetime) -> None:
    hours = QuietHours(begin, end, VIETNAM)
    until = hours.until(at)
    if until is None:
        return
    assert at < until <= at + timedelta(days=1)
    assert hours.until(until) is None
    assert hours.until(until - timedelta(microseconds=1)) == until


@given(st.sampled_from(sorted(rules.TEMPLATES)), MOMENTS, st.booleans())
def test_nobody_is_woken_but_for_what_cannot_wait(template: str, at: datetime, waited_for: bool) -> None:
    held = rules.held_until(template, LEGS, NIGHT, waited_for=waited_for, at=at)
    may_wake = waited_for or template in rules.AT_ANY_HOUR
    assert held == (None if may_wake else NIGHT.until(at))


def test_mail_and_the_console_wake_nobody() -> None:
    for quiet in (((Target("email", "smtp"),),), ((Target("push", "console"),),)):
        assert rules.held_until("report_resolved", quiet, NIGHT, waited_for=False, at=local(2, 23)) is None


# Texts


@pytest.mark.parametrize("name", sorted(rules.TEMPLATES))
@pytest.mark.parametrize("locale", ["vi", "en"])
def test_a_push_shows_the_reference_and_a_word(name: str, locale: str) -> None:
    title, body = rules.push_words(name, {"reference": "7KQ4-M2XT", "status": "resolved", "case_id": "x"}, locale)
    assert title == "7KQ4-M2XT"
    assert 0 < len(body) <= 20
    assert "push" not in rules.road(name, "push", addressed=False) or "references" not in rules.TEMPLATES[name].needs


def test_every_road_and_word_belongs_to_a_template() -> None:
    assert rules.ROADS.keys() <= rules.TEMPLATES.keys()
    assert rules.STATUS_WORDS.keys() <= rules.TEMPLATES.keys()
    assert rules.TEMPLATES.keys() >= rules.AT_ANY_HOUR


def test_a_bare_address_is_reached_by_its_own_channel_alone() -> None:
    assert rules.road("sign_in_code", "sms", addressed=True) == ("sms",)
    assert rules.road("report_resolved", "push", addressed=False) == ("push", "zns", "sms")

"""Messages through several carriers to several devices: each delivery with its own outcome."""

import socket
import threading
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from uuid import UUID, uuid4
from zoneinfo import ZoneInfo

import pytest
from fastapi.testclient import TestClient
from pydantic import SecretStr
from sqlmodel import select

from app.carriers.actions import Line, build
from app.cases.models import Case
from app.core import clock
from app.core.config import settings
from app.core.db import Session, transaction
from app.embedded import Database
from app.identity.models import Account
from app.identity.policy import Viewer, citizen_viewer
from app.notifications import rules
from app.notifications.actions import Fleet, owe, owe_to_address, register_device, send_owed
from app.notifications.models import Device, Message, MessageAttempt
from app.notifications.rules import (
    Accepted,
    Delivery,
    NotAsked,
    Outgoing,
    Permanent,
    QuotaExceeded,
    RetryAfter,
    TokenDead,
)
from app.notifications.schemas import FcmDeviceIn
from tests.support import make

DAY = datetime(2026, 3, 2, 12, 0, tzinfo=ZoneInfo("Asia/Ho_Chi_Minh"))
NIGHT = DAY.replace(hour=23)
MORNING = datetime(2026, 3, 3, 6, 0, tzinfo=ZoneInfo("Asia/Ho_Chi_Minh"))


@dataclass
class Carrier:
    """A provider that answers as told, by address, and remembers."""

    answer: Callable[[Outgoing], Delivery] = lambda _: Accepted()
    seen: list[Outgoing] = field(default_factory=list)

    def send(self, outgoing: Outgoing) -> Delivery:
        self.seen.append(outgoing)
        return self.answer(outgoing)


@dataclass
class Carriers:
    fcm: Carrier = field(default_factory=Carrier)
    zns: Carrier = field(default_factory=Carrier)
    esms: Carrier = field(default_factory=Carrier)
    smtp: Carrier = field(default_factory=Carrier)

    @property
    def fleet(self) -> Fleet:
        return {"fcm": self.fcm, "zns": self.zns, "esms": self.esms, "smtp": self.smtp}

    @property
    def seen(self) -> list[str]:
        everything = (*self.fcm.seen, *self.zns.seen, *self.esms.seen, *self.smtp.seen)
        return [outgoing.to for outgoing in everything]


def by_token(**answers: Delivery) -> Callable[[Outgoing], Delivery]:
    return lambda outgoing: answers[outgoing.to.rstrip("-")]


def phone(session: Session, viewer: Viewer, name: str, locale: str = "vi") -> Device:
    told = {"provider": "fcm", "platform": "android", "token": name.ljust(40, "-"), "locale": locale}
    wanted = FcmDeviceIn.model_validate(told | {"app_version": "1.0", "time_zone": "Asia/Ho_Chi_Minh"})
    return register_device(session, citizen_viewer(viewer.id), uuid4(), wanted)


def owed(session: Session, viewer: Viewer, template: str = "report_resolved") -> None:
    params = {"reference": "7KQ4-M2XT", "status": "resolved"}
    owe(session, template, account_id=viewer.id, case_id=None, params=params, dedupe_key=str(uuid4()))
    session.flush()


def send_at(at: datetime, carriers: Carriers) -> int:
    with clock.travelled(at):
        return send_owed(fleet=carriers.fleet)


def attempts(session: Session) -> list[tuple[str, str]]:
    return sorted((row.carrier, row.outcome) for row in session.exec(select(MessageAttempt)))


def message(session: Session) -> Message:
    session.expire_all()
    return session.exec(select(Message)).one()


@pytest.fixture
def citizen(session: Session) -> Viewer:
    with clock.travelled(DAY):
        return make.citizen(session)


def at_noon(session: Session, citizen: Viewer, *phones: str, template: str = "report_resolved") -> None:
    with clock.travelled(DAY):
        for name in phones:
            phone(session, citizen, name)
        owed(session, citizen, template)


def test_14_two_devices_are_two_deliveries(session: Session, citizen: Viewer) -> None:
    """One of two recipients succeeded and all were marked sent (PITFALLS 14)."""
    at_noon(session, citizen, "a", "b")
    carriers = Carriers(fcm=Carrier(by_token(a=Accepted(), b=RetryAfter())))
    send_at(DAY, carriers)
    assert message(session).state == "owed"
    carriers.fcm.answer = by_token(b=Accepted())  # asking a again would raise
    send_at(DAY + timedelta(seconds=10), carriers)
    assert message(session).state == "sent"
    assert sorted(outgoing.to.rstrip("-") for outgoing in carriers.fcm.seen) == ["a", "b", "b"]
    assert attempts(session) == [("fcm", "accepted"), ("fcm", "accepted"), ("fcm", "retry")]
    assert carriers.seen == [outgoing.to for outgoing in carriers.fcm.seen]
    retried = [outgoing.delivery_id for outgoing in carriers.fcm.seen if outgoing.to.startswith("b")]
    assert len(set(retried)) == 1
    assert {outgoing.delivery_id for outgoing in carriers.fcm.seen} - set(retried)


def test_a_push_shows_reference_and_word_in_the_devices_language(session: Session, citizen: Viewer) -> None:
    with clock.travelled(DAY):
        phone(session, citizen, "a", "en")
        phone(session, citizen, "b", "vi")
        owed(session, citizen)
    carriers = Carriers()
    send_at(DAY, carriers)
    assert {(outgoing.title, outgoing.text) for outgoing in carriers.fcm.seen} == {
        ("7KQ4-M2XT", "resolved"),
        ("7KQ4-M2XT", "đã xử lý"),
    }


def test_a_dead_token_ends_its_device_and_the_message_goes_on(session: Session, citizen: Viewer) -> None:
    at_noon(session, citizen, "a")
    carriers = Carriers(Carrier(lambda _: TokenDead()), Carrier(lambda _: Permanent("zns_unreachable")))
    send_at(DAY, carriers)
    assert message(session).state == "sent"
    assert attempts(session) == [("esms", "accepted"), ("fcm", "token_dead"), ("zns", "permanent")]
    assert carriers.esms.seen[0].to.startswith("09")
    assert "đã được xử lý" in carriers.esms.seen[0].text
    device = session.exec(select(Device)).one()
    assert (device.end_reason, device.token_sealed) == ("token_dead", None)


def test_a_token_renewed_while_the_old_one_died_lives(session: Session, citizen: Viewer) -> None:
    at_noon(session, citizen, "a")
    device = session.exec(select(Device)).one()

    def renewed(_: Outgoing) -> Delivery:
        with transaction() as own:
            told = {"provider": "fcm", "platform": "android", "token": "n" * 40}
            wanted = FcmDeviceIn.model_validate(told | {"app_version": "1.0", "time_zone": "Asia/Ho_Chi_Minh"})
            register_device(own, citizen_viewer(citizen.id), device.installation_id, wanted)
        return TokenDead()

    send_at(DAY, Carriers(Carrier(renewed)))
    session.expire_all()
    assert session.exec(select(Device)).one().ended_at is None


def test_without_devices_the_phone_is_used_and_progress_costs_no_sms(session: Session, citizen: Viewer) -> None:
    at_noon(session, citizen, template="report_accepted")
    carriers = Carriers(zns=Carrier(lambda _: Permanent("zns_unreachable")))
    send_at(DAY, carriers)
    assert (message(session).state, message(session).failure_code) == ("failed", "zns_unreachable")
    assert carriers.esms.seen == []


def test_staff_get_mail(session: Session) -> None:
    with clock.travelled(NIGHT):
        officer = make.staff(session, "dispatcher")
        owed(session, officer, "case_assigned")
    carriers = Carriers()
    send_at(NIGHT, carriers)  # a letter wakes nobody
    assert (message(session).state, carriers.smtp.seen[0].to.endswith("@example.vn")) == ("sent", True)


def test_nowhere_to_go_is_a_visible_failure(session: Session) -> None:
    with clock.travelled(DAY):
        account = Account(kind="citizen")
        session.add(account)
        session.flush()
        owed(session, citizen_viewer(account.id))
    send_at(DAY, Carriers())
    assert (message(session).state, message(session).failure_code) == ("failed", "no_address")


def test_a_failing_channel_is_left_after_two_tries(session: Session, citizen: Viewer) -> None:
    at_noon(session, citizen, "a")
    carriers = Carriers(Carrier(lambda _: RetryAfter()))
    send_at(DAY, carriers)
    assert carriers.zns.seen == []
    send_at(DAY + timedelta(seconds=5), carriers)
    assert attempts(session) == [("fcm", "retry"), ("fcm", "retry"), ("zns", "accepted")]
    assert message(session).state == "sent"


def test_a_provider_that_rests_costs_neither_tries_nor_rows(session: Session, citizen: Viewer) -> None:
    at_noon(session, citizen, "a")
    carriers = Carriers(Carrier(lambda _: NotAsked(60)))
    for minute in range(10):
        assert send_at(DAY + timedelta(minutes=minute), carriers) == 1
    assert (message(session).state, message(session).attempts, attempts(session)) == ("owed", 0, [])
    send_at(DAY + timedelta(minutes=15), carriers)  # patience is over
    assert (message(session).state, attempts(session)) == ("sent", [("zns", "accepted")])


def test_a_carrier_that_raises_fails_alone(session: Session, citizen: Viewer) -> None:
    at_noon(session, citizen, "a", "b")

    def answer(outgoing: Outgoing) -> Delivery:
        if outgoing.to.startswith("a"):
            raise RuntimeError(outgoing.to)
        return Accepted()

    send_at(DAY, Carriers(Carrier(answer)))
    assert attempts(session) == [("fcm", "accepted"), ("fcm", "retry")]


# Quiet hours


def test_at_night_phones_stay_silent_and_nothing_is_lost(session: Session, citizen: Viewer) -> None:
    with clock.travelled(NIGHT):
        phone(session, citizen, "a")
        owed(session, citizen)
    carriers = Carriers(Carrier(lambda _: RetryAfter()))
    assert send_at(NIGHT, carriers) == 1
    assert send_at(MORNING - timedelta(seconds=1), carriers) == 0
    assert (message(session).attempts, carriers.seen) == (0, [])
    assert message(session).next_attempt_at == MORNING
    send_at(MORNING, carriers)  # the night was not waiting for a provider: push has its two tries
    assert (len(carriers.fcm.seen), carriers.zns.seen) == (1, [])


def test_codes_and_urgent_cases_wake(session: Session, citizen: Viewer) -> None:
    with clock.travelled(NIGHT):
        phone(session, citizen, "a")
        owed(session, citizen, "case_urgent")
        owe_to_address(session, "sign_in_code", "sms", "0912345678", "381604", "code")
    carriers = Carriers()
    send_at(NIGHT, carriers)
    assert [outgoing.template for outgoing in carriers.fcm.seen] == ["case_urgent"]
    (code,) = carriers.esms.seen
    assert (code.to, code.code, code.urgent) == ("0912345678", "381604", True)
    assert "381604" in code.text


# On transactions that really commit


def test_a_worker_killed_between_two_deliveries_leaves_the_message_owed(committed: Database) -> None:
    with transaction() as session:
        citizen = make.citizen(session)
        at_noon(session, citizen, "a", "b")

    class Killed(BaseException):
        """Ends the process as a signal would."""

    def die_at_the_second(_: Outgoing) -> Delivery:
        if len(carriers.fcm.seen) == 2:
            raise Killed
        return Accepted()

    carriers = Carriers(Carrier(die_at_the_second))
    with pytest.raises(Killed):
        send_at(DAY, carriers)
    carriers.fcm.answer = lambda _: Accepted()
    assert send_at(DAY + rules.LEASE - timedelta(seconds=1), carriers) == 0
    assert send_at(DAY + rules.LEASE, carriers) == 1
    with transaction() as session:
        assert message(session).state == "sent"
        assert attempts(session) == [("fcm", "accepted")] * 2
    # At least once, and under the same name: whoever drops repeats shows it once.
    assert len(carriers.fcm.seen) == 4
    assert len({outgoing.delivery_id for outgoing in carriers.fcm.seen}) == 2


def test_what_a_worker_without_lease_was_told_is_kept(committed: Database) -> None:
    """It changes nothing about the message; but the device that has it is not sent to again."""
    with transaction() as session:
        citizen = make.citizen(session)
        at_noon(session, citizen, "a", "b")

    def slow(_: Outgoing) -> Delivery:
        if len(carriers.fcm.seen) == 1:
            assert send_at(DAY + rules.LEASE, Carriers(Carrier(lambda _: QuotaExceeded(60)))) == 1
        return Accepted()

    carriers = Carriers(Carrier(slow))
    send_at(DAY, carriers)
    with transaction() as session:
        assert message(session).state == "owed"
    late = Carriers()
    send_at(DAY + rules.LEASE + timedelta(seconds=60), late)
    with transaction() as session:
        assert message(session).state == "sent"
    assert late.seen == []


def test_a_dead_provider_delays_messages_and_no_case(committed: Database, tmp_path: Path) -> None:
    from app.main import app  # noqa: PLC0415 - reads the settings of the fixture

    dead = socket.create_server(("127.0.0.1", 0))  # takes connections, and never says a word
    configured = settings().model_copy(
        update={
            "esms_key": "k",
            "esms_secret": SecretStr("s"),
            "esms_brand": "b",
            "esms_url": f"http://127.0.0.1:{dead.getsockname()[1]}",
            "quiet_from": settings().quiet_to,
        }
    )
    with transaction() as session:
        for number in range(8):
            owe_to_address(session, "sign_in_code", "sms", "0912345678", "381604", f"code:{number}")
    with closing(dead), closing(Line()) as line, TestClient(app) as client:
        fleet = build(configured, line)
        sender = threading.Thread(target=send_owed, kwargs={"fleet": fleet})
        sender.start()
        began = time.monotonic()
        spent: list[float] = []
        while sender.is_alive() and len(spent) < 5:
            with transaction() as session:
                author = make.citizen(session)
            case_began = time.monotonic()
            with transaction() as session:
                case_id: UUID = make.routed(session, client, author)
                assert session.get_one(Case, case_id).state != "routing"
            spent.append(time.monotonic() - case_began)
        assert sender.is_alive(), "the sender was still waiting when all cases were routed"
        assert max(spent) < rules.HOP_TIMEOUT.total_seconds()
        sender.join(60)
        waited = time.monotonic() - began
    with transaction() as session:
        states = {row.state for row in session.exec(select(Message).where(Message.template == "sign_in_code"))}
    assert states == {"owed"}
    # Five time-outs, then it is left alone: the other messages cost nothing.
    assert 5 * rules.HOP_TIMEOUT.total_seconds() <= waited < 7 * rules.HOP_TIMEOUT.total_seconds()

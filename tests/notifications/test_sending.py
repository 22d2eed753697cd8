"""Owed, leased, sent, retried, given up: each message exactly its own way."""

import json
import stat
import threading
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from uuid import UUID, uuid4

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import text
from sqlmodel import col, select

from app.core import clock
from app.core.config import settings
from app.core.db import Session, transaction
from app.embedded import Database
from app.identity.models import Account
from app.identity.policy import Grant
from app.identity.rules import Role
from app.notifications import actions, rules
from app.notifications.actions import Console, owe, owe_sign_in_code, owe_to_address, send_owed
from app.notifications.models import Message
from app.notifications.rules import Accepted, Delivery, Outgoing, Permanent, QuotaExceeded, RetryAfter
from tests.identity.people import bearer, open_staff, staff_signed_in


@dataclass
class Provider:
    """A provider that answers as told and remembers what it was given."""

    answer: Callable[[Outgoing], Delivery] = lambda _: Accepted()
    seen: list[Outgoing] = field(default_factory=list)

    def send(self, outgoing: Outgoing) -> Delivery:
        self.seen.append(outgoing)
        return self.answer(outgoing)


def citizen(session: Session, locale: str = "vi") -> UUID:
    account = Account(kind="citizen", locale=locale)
    session.add(account)
    session.commit()
    return account.id


def owed(session: Session, account_id: UUID, reference: str = "7KQ4-M2XT", key: str | None = None) -> None:
    owe(
        session,
        "report_resolved",
        account_id=account_id,
        case_id=uuid4(),
        params={"reference": reference, "status": "resolved"},
        dedupe_key=key or str(uuid4()),
    )
    session.commit()


def messages(session: Session) -> list[Message]:
    session.expire_all()
    return list(session.exec(select(Message).order_by(col(Message.created_at), col(Message.id))))


def test_a_message_is_sent_once(session: Session) -> None:
    who = citizen(session)
    owed(session, who)
    provider = Provider()
    assert send_owed(notifier=provider) == 1
    assert send_owed(notifier=provider) == 0
    (sent,) = provider.seen
    assert (sent.to, sent.channel, sent.template, sent.code) == (f"account:{who}", "push", "report_resolved", None)
    assert "7KQ4-M2XT" in sent.text
    (row,) = messages(session)
    assert (row.state, row.attempts, row.lease_id) == ("sent", 1, None)
    assert row.sent_at is not None
    assert row.id == sent.id


def test_the_same_thing_is_owed_once(session: Session) -> None:
    who = citizen(session)
    for _ in range(3):
        owed(session, who, key="case:7")
    assert len(messages(session)) == 1


def test_what_is_rolled_back_is_not_owed(session: Session) -> None:
    who = citizen(session)

    def owe_and_fail() -> None:
        with transaction() as own:
            owe(own, "report_closed", account_id=who, case_id=None, params={"reference": "A"}, dedupe_key="a")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        owe_and_fail()
    assert messages(session) == []


def test_a_message_speaks_the_language_of_its_account_when_it_is_sent(session: Session) -> None:
    owed(session, citizen(session, "en"))
    owed(session, citizen(session, "vi"))
    provider = Provider()
    send_owed(notifier=provider)
    assert [outgoing.locale for outgoing in provider.seen] == ["en", "vi"]
    assert "has been resolved" in provider.seen[0].text
    assert "đã được xử lý" in provider.seen[1].text


def test_the_hot_path_needs_seven_columns(session: Session) -> None:
    """What routing writes in bulk, in its own statement."""
    who, at = citizen(session), clock.now()
    session.execute(
        text(
            "INSERT INTO message (id, dedupe_key, account_id, case_id, template, params, created_at)"
            " VALUES (:id, 'k', :account, :case, 'report_routed', CAST(:params AS jsonb), :at)"
            " ON CONFLICT (dedupe_key) DO NOTHING"
        ),
        {"id": uuid4(), "account": who, "case": uuid4(), "params": '{"reference": "7KQ4-M2XT"}', "at": at},
    )
    session.commit()
    provider = Provider()
    # The row's own default is the database's time, which in this test is the start of its one transaction.
    send_owed(notifier=provider)
    assert [outgoing.template for outgoing in provider.seen] == ["report_routed"]


def test_a_failing_provider_is_asked_again_later_and_in_the_end_no_more(session: Session) -> None:
    owed(session, citizen(session))
    provider, at = Provider(lambda _: RetryAfter()), clock.now()
    for attempt in range(1, rules.MAX_ATTEMPTS + 1):
        with clock.travelled(at):
            assert send_owed(notifier=provider) == 1
            assert send_owed(notifier=provider) == 0  # not before its pause is over
        at += rules.pause(attempt)
    (row,) = messages(session)
    assert (row.state, row.failure_code, row.attempts) == ("failed", "attempts_exhausted", rules.MAX_ATTEMPTS)
    assert len(provider.seen) == rules.MAX_ATTEMPTS
    assert len({outgoing.id for outgoing in provider.seen}) == 1


def test_a_row_that_raises_pays_itself_and_holds_up_nobody(session: Session) -> None:
    who = citizen(session)
    for number in range(25):
        owed(session, who, reference="POISON" if number < 12 else f"GOOD-{number}")

    def answer(outgoing: Outgoing) -> Delivery:
        if "POISON" in outgoing.text:
            raise ValueError(outgoing.text)
        return Accepted()

    assert send_owed(notifier=Provider(answer)) == 25
    counted = Counter((row.params["reference"] == "POISON", row.state, row.attempts) for row in messages(session))
    assert counted == {(True, "owed", 1): 12, (False, "sent", 1): 13}


def test_a_row_that_cannot_even_be_written_is_given_up_visibly(session: Session) -> None:
    who = citizen(session)
    session.add(Message(dedupe_key="x", account_id=who, template="no_such_template"))
    session.commit()
    owed(session, who)
    at, provider = clock.now(), Provider()
    for _ in range(rules.MAX_ATTEMPTS):
        with clock.travelled(at):
            send_owed(notifier=provider)
        at += timedelta(hours=1)
    assert {row.template: row.state for row in messages(session)} == {
        "no_such_template": "failed",
        "report_resolved": "sent",
    }


def test_a_quota_costs_no_attempt(session: Session) -> None:
    owed(session, citizen(session))
    at = clock.now()
    for _ in range(3 * rules.MAX_ATTEMPTS):
        with clock.travelled(at):
            assert send_owed(notifier=Provider(lambda _: QuotaExceeded(600))) == 1
        at += timedelta(seconds=600)
    (row,) = messages(session)
    assert (row.state, row.attempts) == ("owed", 0)


def test_one_recipient_succeeding_does_not_mark_the_other(session: Session) -> None:
    lucky, other = citizen(session), citizen(session)
    for who in (lucky, other):
        owed(session, who)
    provider = Provider(lambda outgoing: Accepted() if str(lucky) in outgoing.to else Permanent("number_unknown"))
    send_owed(notifier=provider)
    assert {row.account_id: (row.state, row.failure_code) for row in messages(session)} == {
        lucky: ("sent", None),
        other: ("failed", "number_unknown"),
    }


def test_nobody_is_written_to_after_being_blocked(session: Session) -> None:
    who = citizen(session)
    owed(session, who)
    session.get_one(Account, who).status = "blocked"
    session.commit()
    provider = Provider()
    send_owed(notifier=provider)
    assert provider.seen == []
    assert messages(session)[0].failure_code == "recipient_gone"


def test_a_code_that_died_is_not_sent_and_its_secret_is_wiped(session: Session) -> None:
    at = clock.now()
    with clock.travelled(at):
        owe_sign_in_code(
            session,
            phone="0912345678",
            code="381604",
            locale="vi",
            dedupe_key="c",
            expires_at=at + timedelta(minutes=5),
        )
        session.commit()
    provider = Provider()
    with clock.travelled(at + timedelta(minutes=5)):
        send_owed(notifier=provider)
    (row,) = messages(session)
    assert (provider.seen, row.failure_code) == ([], "expired")
    assert (row.secret_sealed is None, row.address_sealed is None) == (True, True)


def test_who_waits_for_a_code_overtakes_the_crowd(session: Session) -> None:
    who = citizen(session)
    for _ in range(30):
        owed(session, who)
    owe_to_address(session, "sign_in_code", "sms", "0912345678", "381604", "code")
    session.commit()
    provider = Provider()
    send_owed(notifier=provider)
    assert provider.seen[0].template == "sign_in_code"
    assert len(provider.seen) == 31


def test_logs_show_neither_address_nor_code(
    session: Session, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    def quoting(outgoing: Outgoing) -> Delivery:
        raise ValueError(f"cannot send {outgoing.text} to {outgoing.to} as {outgoing!r}")

    owe_to_address(session, "sign_in_code", "sms", "0912345678", "381604", "code")
    session.commit()
    send_owed(notifier=Provider(quoting))
    # Printed as long as no test has configured the logs, recorded afterwards.
    out = "".join(capsys.readouterr()) + caplog.text
    assert "send_raised" in out
    assert "381604" not in out
    assert "0912345678" not in out


# Failures are visible


def test_an_administrator_sees_what_was_given_up(client: TestClient, session: Session) -> None:
    who = citizen(session)
    for _ in range(3):
        owed(session, who)
    send_owed(notifier=Provider(lambda _: Permanent("number_unknown")))
    open_staff("admin@tn.vn", (Grant(Role.ADMINISTRATOR),))
    open_staff("dispatcher@tn.vn")
    headers, seen, cursor = bearer(staff_signed_in(client, "admin@tn.vn")), [], None
    for _ in range(5):
        params = {"limit": "2"} | ({"cursor": cursor} if cursor else {})
        page = client.get("/v1/messages/failed", headers=headers, params=params).json()
        seen += page["items"]
        cursor = page["next_cursor"]
        if cursor is None:
            break
    assert {item["id"] for item in seen} == {str(row.id) for row in messages(session)}
    assert len(seen) == 3
    assert {item["failure_code"] for item in seen} == {"number_unknown"}
    assert not {"text", "params", "address", "secret"} & set(seen[0])
    other = bearer(staff_signed_in(client, "dispatcher@tn.vn"))
    assert client.get("/v1/messages/failed", headers=other).status_code == 403
    assert client.get("/v1/messages/failed").status_code == 401


# On transactions that really commit


def crowd(size: int) -> None:
    with transaction() as session:
        account = Account(kind="citizen")
        session.add(account)
        session.flush()
        for number in range(size):
            owe(
                session,
                "report_resolved",
                account_id=account.id,
                case_id=None,
                params={"reference": f"R-{number}"},
                dedupe_key=f"r:{number}",
            )


def test_eight_workers_send_each_message_once(committed: Database) -> None:
    crowd(100)
    provider, gate = Provider(), threading.Barrier(8)

    def work(_: int) -> int:
        gate.wait(10)
        return send_owed(notifier=provider)

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(work, range(8))) == 100
    assert Counter(outgoing.id for outgoing in provider.seen).most_common(1)[0][1] == 1
    assert len(provider.seen) == 100


def test_the_lease_is_committed_before_anything_leaves_and_nothing_is_locked_meanwhile(committed: Database) -> None:
    crowd(1)
    during: list[tuple[int, bool, str]] = []

    def answer(_outgoing: Outgoing) -> Delivery:
        with transaction() as session:  # another connection: it sees what is committed, and can lock the row
            session.execute(text("SET LOCAL lock_timeout = '2s'"))
            row = session.exec(select(Message).with_for_update()).one()
            during.append((row.attempts, row.lease_id is not None, row.state))
        return Accepted()

    send_owed(notifier=Provider(answer))
    assert during == [(1, True, "owed")]


@pytest.mark.parametrize(
    ("later", "earlier", "state"),
    [
        (Permanent("number_unknown"), Accepted(), "failed"),
        (RetryAfter(3600), Permanent("too_late"), "owed"),
        (RetryAfter(3600), RetryAfter(), "owed"),
    ],
)
def test_a_worker_that_lost_its_lease_changes_nothing(
    committed: Database, later: Delivery, earlier: Delivery, state: str
) -> None:
    """The first sends for longer than its lease; a second takes the row over and ends its try; the first comes back."""
    crowd(1)
    start = clock.now()

    def slow(_outgoing: Outgoing) -> Delivery:
        with clock.travelled(start + rules.LEASE):
            assert send_owed(notifier=Provider(lambda _: later)) == 1
        return earlier

    with clock.travelled(start):
        send_owed(notifier=Provider(slow))
    with transaction() as session:
        row = session.exec(select(Message)).one()
    assert (row.state, row.attempts) == (state, 2)
    assert row.failure_code != "too_late"
    if state == "owed":
        assert row.next_attempt_at == start + rules.LEASE + timedelta(seconds=3600)


def test_a_worker_killed_in_the_middle_leaves_a_row_that_is_owed_again(committed: Database) -> None:
    crowd(1)
    start = clock.now()

    class Killed(BaseException):
        """Ends the process as a signal would: nothing after it runs."""

    def die(_outgoing: Outgoing) -> Delivery:
        raise Killed

    for crash in range(rules.MAX_ATTEMPTS):
        with clock.travelled(start + crash * rules.LEASE), pytest.raises(Killed):
            send_owed(notifier=Provider(die))
    provider = Provider()
    with clock.travelled(start + rules.MAX_ATTEMPTS * rules.LEASE - timedelta(seconds=1)):
        assert send_owed(notifier=provider) == 0
    with clock.travelled(start + rules.MAX_ATTEMPTS * rules.LEASE):
        assert send_owed(notifier=provider) == 1
    # A row that brings its worker down again and again is given up rather than tried for ever.
    assert provider.seen == []
    with transaction() as session:
        row = session.exec(select(Message)).one()
    assert (row.state, row.failure_code) == ("failed", "attempts_exhausted")


# The console provider


def outgoing(number: int = 0, code: str | None = None) -> Outgoing:
    return Outgoing(uuid4(), "0912345678", "sms", "sign_in_code", "vi", f"Mã {number} " + "ế" * 3000, {}, code)


def test_the_console_writes_lines_only_its_owner_can_read(tmp_path: Path) -> None:
    path = tmp_path / "var" / "outbox.jsonl"
    assert Console(path).send(outgoing(code="381604")) == Accepted()
    Console(path).send(outgoing())
    first, second = (json.loads(line) for line in path.read_text().splitlines())
    assert (first["to"], first["code"], first["template"]) == ("0912345678", "381604", "sign_in_code")
    assert "code" not in second
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_lines_of_many_writers_stay_whole(tmp_path: Path) -> None:
    path = tmp_path / "outbox.jsonl"
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda number: Console(path).send(outgoing(number)), range(200)))
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert {line["text"].split()[1] for line in lines} == {str(number) for number in range(200)}


def test_the_configured_provider_is_the_console_in_var(session: Session) -> None:
    owed(session, citizen(session))
    actions.console.cache_clear()
    send_owed()
    path = settings().var_dir / "outbox.jsonl"
    assert json.loads(path.read_text().splitlines()[-1])["template"] == "report_resolved"

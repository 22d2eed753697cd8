"""Citizens sign in by phone and code."""

import secrets
from datetime import datetime, timedelta

import pytest
from fastapi.testclient import TestClient
from sqlmodel import col, select

from app.core import clock, crypto
from app.core.db import Session
from app.identity.models import Account, Identity, SignedInSession, SignInCode
from app.identity.queries import opened
from app.notifications.actions import send_owed
from app.notifications.models import Message
from tests.identity.people import CONSENT, PHONE, Inbox, Json, another, bearer, code_for, signed_in


def try_code(client: TestClient, code: str, **more: object) -> tuple[int, Json]:
    answer = client.post("/v1/auth/sessions", json={"phone": PHONE, "code": code, "consent_version": CONSENT} | more)
    return answer.status_code, answer.json()


def test_the_first_sign_in_opens_an_account_with_its_consent(client: TestClient, session: Session) -> None:
    tokens = signed_in(client, name="Nguyễn Thị Hương Giang")
    me = client.get("/v1/me", headers=bearer(tokens)).json()
    assert me["id"] == tokens["account"]["id"]
    assert (me["kind"], me["name"], me["phone_masked"]) == ("citizen", "Nguyễn Thị Hương Giang", "•••••••678")
    assert me["consent"]["version"] == CONSENT
    assert datetime.fromisoformat(me["consent"]["at"]).tzinfo is not None
    assert [grant["role"] for grant in me["grants"]] == ["citizen"]


def test_the_same_phone_is_the_same_account_however_it_is_written(client: TestClient) -> None:
    first = signed_in(client, "0912 345 678")
    again = signed_in(client, "+84 912.345.678")
    assert first["account"] == again["account"]
    assert first["refresh_token"] != again["refresh_token"]


def test_nothing_personal_is_stored_in_the_clear(client: TestClient, session: Session) -> None:
    tokens = signed_in(client, name="Nguyễn Thị Hương")
    row = session.exec(select(Identity)).one()
    assert str(row.account_id) == tokens["account"]["id"]
    stored = b"".join(bytes(blob) for blob in (row.phone_sealed, row.phone_index, row.name_sealed) if blob)
    assert PHONE.encode() not in stored
    assert "Nguyễn".encode() not in stored
    assert opened(row.account_id, "phone", row.phone_sealed) == PHONE
    with pytest.raises(crypto.CannotUnseal):  # sealed for one column: it cannot be moved to another
        opened(row.account_id, "name", row.phone_sealed)


def test_an_account_is_not_opened_without_consent_and_the_code_survives_the_question(client: TestClient) -> None:
    code = code_for(client)
    status, body = try_code(client, code, consent_version=None)
    assert (status, body["code"], body["errors"][0]["pointer"]) == (422, "consent_required", "/consent_version")
    assert try_code(client, code)[0] == 201


def test_a_known_phone_signs_in_without_being_asked_again(client: TestClient, session: Session) -> None:
    signed_in(client)
    assert try_code(client, code_for(client), consent_version=None)[0] == 201
    assert try_code(client, code_for(client), consent_version="2027-01")[0] == 201
    session.expire_all()
    assert session.exec(select(Identity)).one().consent_version == "2027-01"


def test_five_wrong_codes_kill_the_code(client: TestClient) -> None:
    code = code_for(client)
    for left in (4, 3, 2, 1):
        status, body = try_code(client, another(code))
        assert (status, body["code"], body["attempts_left"]) == (422, "code_wrong", left)
    assert try_code(client, another(code))[1]["code"] == "code_exhausted"
    status, body = try_code(client, code)
    assert (status, body["code"], body["retry"]) == (410, "code_exhausted", "never")
    assert try_code(client, code_for(client))[0] == 201


def test_a_code_dies_after_five_minutes(client: TestClient) -> None:
    start = clock.now()
    with clock.travelled(start):
        code = code_for(client)
    with clock.travelled(start + timedelta(minutes=5)):
        status, body = try_code(client, code)
        assert (status, body["code"]) == (410, "code_expired")
    with clock.travelled(start + timedelta(minutes=4, seconds=59)):
        assert try_code(client, code)[0] == 201


def test_a_code_works_once(client: TestClient) -> None:
    code = code_for(client)
    assert try_code(client, code)[0] == 201
    assert try_code(client, code)[1]["code"] == "code_expired"


def test_a_new_code_replaces_the_old_one(client: TestClient) -> None:
    old, new = code_for(client), code_for(client)
    if old != new:
        assert try_code(client, old)[1]["code"] == "code_wrong"
    assert try_code(client, new)[0] == 201


def test_a_code_belongs_to_its_phone(client: TestClient) -> None:
    mine, others = code_for(client), code_for(client, "0987654321")
    if mine != others:
        assert try_code(client, others)[1]["code"] == "code_wrong"
    assert try_code(client, "123456", phone="0987654322")[1]["code"] == "code_expired"


@pytest.mark.parametrize(
    ("phone", "code"),
    [("12", "phone_invalid"), ("0912345678\x00", "phone_invalid"), ("0208 3855 123", "phone_not_mobile")],
)
def test_a_phone_that_cannot_receive_a_code_is_refused(client: TestClient, phone: str, code: str) -> None:
    for path, body in (("codes", {"phone": phone}), ("sessions", {"phone": phone, "code": "000000"})):
        answer = client.post(f"/v1/auth/{path}", json=body)
        assert (answer.status_code, answer.json()["code"]) == (422, code)
        assert answer.json()["errors"][0]["pointer"] == "/phone"


@pytest.mark.parametrize("name", ["a\x00b", "Hương\ud800", "", "x" * 101, "a\nb"])
def test_a_name_that_no_name_can_be_is_refused_and_the_code_survives(client: TestClient, name: str) -> None:
    code = code_for(client)
    # The body is written by hand: unpaired surrogates are legal in JSON and in nothing else.
    body = f'{{"phone": "{PHONE}", "code": "{code}", "consent_version": "1", "name": {ascii_json(name)}}}'
    answer = client.post("/v1/auth/sessions", content=body, headers={"Content-Type": "application/json"})
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid")
    assert try_code(client, code)[0] == 201


def ascii_json(text: str) -> str:
    return '"' + "".join(f"\\u{ord(char):04x}" for char in text) + '"'


def test_asking_for_a_code_tells_nothing_about_accounts(client: TestClient, session: Session) -> None:
    signed_in(client)
    account = session.exec(select(Account)).one()
    known = client.post("/v1/auth/codes", json={"phone": PHONE})
    account.status = "blocked"
    session.add(account)
    session.commit()
    blocked = client.post("/v1/auth/codes", json={"phone": PHONE})
    unknown = client.post("/v1/auth/codes", json={"phone": "0987654321"})
    assert {answer.status_code for answer in (known, blocked, unknown)} == {202}
    assert known.json() == blocked.json() == unknown.json()
    # The same work as well: a code row and a message for each.
    assert len(session.exec(select(SignInCode)).all()) == 2
    owed = session.exec(select(Message).where(Message.state == "owed").order_by(col(Message.created_at))).all()
    assert [message.template for message in owed] == ["sign_in_code"] * 3


def test_a_blocked_account_does_not_get_in(client: TestClient, session: Session) -> None:
    signed_in(client)
    account = session.exec(select(Account)).one()
    account.status = "blocked"
    session.add(account)
    session.commit()
    assert try_code(client, code_for(client))[1]["code"] == "account_blocked"


def test_a_phone_gets_three_codes_in_ten_minutes(client: TestClient, real_limits: None) -> None:
    phone = f"09{secrets.randbelow(10**8):08d}"
    # Seven, because ten minutes may end between two of them.
    answers = [client.post("/v1/auth/codes", json={"phone": phone}) for _ in range(7)]
    assert [answer.status_code for answer in answers[:3]] == [202] * 3
    refused = next(answer for answer in answers if answer.status_code == 429)
    assert (refused.json()["code"], refused.json()["retry"]) == ("too_many_requests", "after")
    assert int(refused.headers["Retry-After"]) > 0
    assert refused.headers["RateLimit-Policy"] == '"codes-10-minutes";q=3;w=600'


def test_guessing_codes_is_limited_beyond_one_code(client: TestClient, real_limits: None) -> None:
    phone = f"09{secrets.randbelow(10**8):08d}"
    body = {"phone": phone, "code": "000000"}
    assert 429 in [client.post("/v1/auth/sessions", json=body).status_code for _ in range(41)]


def test_the_code_travels_sealed_and_is_wiped_once_it_has_left(client: TestClient, session: Session) -> None:
    client.post("/v1/auth/codes", json={"phone": PHONE})
    message = session.exec(select(Message)).one()
    assert message.secret_sealed is not None
    assert message.address_sealed is not None
    assert (message.params, message.account_id) == ({}, None)
    inbox = Inbox()
    send_owed(notifier=inbox)
    (sent,) = inbox.messages
    assert (sent.to, sent.channel, sent.template) == (PHONE, "sms", "sign_in_code")
    assert sent.code is not None
    assert sent.code in sent.text
    assert sent.code.encode() not in bytes(message.secret_sealed)
    session.refresh(message)
    assert message.state == "sent"
    assert {name: getattr(message, name) for name in ("secret_sealed", "address_sealed")} == {
        "secret_sealed": None,
        "address_sealed": None,
    }


def test_the_code_comes_in_the_language_asked_for(client: TestClient) -> None:
    for language, word in (("vi", "Mã đăng nhập"), ("en-GB,vi;q=0.8", "sign-in code")):
        client.post("/v1/auth/codes", json={"phone": PHONE}, headers={"Accept-Language": language})
        inbox = Inbox()
        send_owed(notifier=inbox)
        assert word in inbox.messages[-1].text


def test_a_client_cannot_name_its_account_or_its_time(client: TestClient) -> None:
    status, body = try_code(client, code_for(client), account_id="0197", at="2020-01-01T00:00:00Z")
    assert (status, {error["pointer"] for error in body["errors"]}) == (422, {"/account_id", "/at"})


def test_reading_changes_nothing(client: TestClient, session: Session) -> None:
    """Mail and link scanners open links: no GET signs anybody in or out."""
    tokens = signed_in(client)
    for path in (
        "/v1/auth/codes",
        "/v1/auth/sessions",
        "/v1/auth/staff-sessions",
        "/v1/auth/refresh",
        "/v1/auth/session",
    ):
        answer = client.get(path, params={"phone": PHONE, "code": "000000"}, headers=bearer(tokens))
        assert (answer.status_code, answer.json()["code"]) == (405, "method_not_allowed")
    assert session.exec(select(SignedInSession)).one().ended_at is None
    assert client.get("/v1/me", headers=bearer(tokens)).status_code == 200


def test_tokens_are_never_cached(client: TestClient) -> None:
    body = {"phone": PHONE, "code": code_for(client), "consent_version": CONSENT}
    assert client.post("/v1/auth/sessions", json=body).headers["Cache-Control"] == "no-store"

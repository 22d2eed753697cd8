"""Sessions: short access tokens, rotating refresh tokens that survive a lost answer, reuse ends the session."""

from datetime import timedelta

import jwt
import pytest
from fastapi.testclient import TestClient
from sqlmodel import select

from app.core import clock
from app.core.db import Session
from app.identity.actions import forget_expired
from app.identity.models import Account, RefreshToken, SignedInSession
from app.identity.policy import signing_key
from tests.identity.people import Json, bearer, open_staff, signed_in, staff_signed_in


def refresh(client: TestClient, token: str) -> tuple[int, Json]:
    answer = client.post("/v1/auth/refresh", json={"refresh_token": token})
    return answer.status_code, answer.json()


def refused(client: TestClient, token: str) -> str:
    status, body = refresh(client, token)
    assert status in (401, 403), body
    return str(body["code"])


def renewed(client: TestClient, token: str) -> str:
    status, body = refresh(client, token)
    assert status == 200, body
    return str(body["refresh_token"])


def test_a_refresh_gives_new_tokens_for_the_same_account(client: TestClient) -> None:
    tokens = signed_in(client)
    status, body = refresh(client, tokens["refresh_token"])
    assert (status, body["account"]) == (200, tokens["account"])
    assert body["refresh_token"] != tokens["refresh_token"]
    assert client.get("/v1/me", headers=bearer(body)).json()["id"] == tokens["account"]["id"]


def test_a_lost_answer_does_not_sign_the_phone_out(client: TestClient) -> None:
    first = signed_in(client)["refresh_token"]
    second = renewed(client, first)
    assert [renewed(client, first) for _ in range(3)] == [second] * 3
    third = renewed(client, second)
    assert renewed(client, second) == third
    assert renewed(client, third) != third


def test_a_token_used_after_its_successor_ends_the_session(client: TestClient) -> None:
    tokens = signed_in(client)
    first = tokens["refresh_token"]
    second = renewed(client, first)
    third = renewed(client, second)
    assert refused(client, first) == "session_reused"
    # It ended for both hands, for good: the refusal was not rolled back with its answer.
    assert [refused(client, token) for token in (first, second, third)] == ["session_reused"] * 3


def test_reuse_ends_one_session_and_not_the_others(client: TestClient) -> None:
    stolen, other = signed_in(client)["refresh_token"], signed_in(client)["refresh_token"]
    renewed(client, renewed(client, stolen))
    assert refused(client, stolen) == "session_reused"
    renewed(client, other)


def test_a_citizen_stays_signed_in_for_180_days_after_the_last_refresh(client: TestClient) -> None:
    start = clock.now()
    with clock.travelled(start):
        first = signed_in(client)["refresh_token"]
    with clock.travelled(start + timedelta(days=179)):
        second = renewed(client, first)
    with clock.travelled(start + timedelta(days=180)):
        assert refused(client, first) == "session_expired"
    with clock.travelled(start + timedelta(days=358)):
        renewed(client, second)
    with clock.travelled(start + timedelta(days=360)):
        assert refused(client, second) == "session_expired"


def test_staff_sign_in_anew_after_twelve_hours_however_often_they_refreshed(client: TestClient) -> None:
    start = clock.now()
    with clock.travelled(start):
        open_staff("a@tn.vn")
        token = staff_signed_in(client, "a@tn.vn")["refresh_token"]
    with clock.travelled(start + timedelta(hours=11, minutes=59)):
        token = renewed(client, token)
    with clock.travelled(start + timedelta(hours=12)):
        assert refused(client, token) == "session_expired"


def test_signing_out_kills_the_refresh_token(client: TestClient) -> None:
    tokens = signed_in(client)
    for _ in range(2):  # the second time is no error: the first answer may have been lost
        assert client.delete("/v1/auth/session", headers=bearer(tokens)).status_code == 204
    assert refused(client, tokens["refresh_token"]) == "session_expired"


def test_signing_out_ends_a_staff_session_at_once(client: TestClient) -> None:
    open_staff("a@tn.vn")
    tokens = staff_signed_in(client, "a@tn.vn")
    assert client.delete("/v1/auth/session", headers=bearer(tokens)).status_code == 204
    assert client.get("/v1/me", headers=bearer(tokens)).status_code == 401


@pytest.mark.parametrize("token", ["", "x", "đ", "\x00", "a" * 200])
def test_a_token_nobody_gave_out_is_refused(client: TestClient, token: str) -> None:
    assert refused(client, token) == "unauthenticated"


def test_a_blocked_account_cannot_refresh(client: TestClient, session: Session) -> None:
    token = signed_in(client)["refresh_token"]
    account = session.exec(select(Account)).one()
    account.status = "blocked"
    session.add(account)
    session.commit()
    assert refused(client, token) == "account_blocked"


def test_refresh_tokens_are_stored_as_hashes_only(client: TestClient, session: Session) -> None:
    tokens = signed_in(client)
    row = session.exec(select(RefreshToken)).one()
    assert len(bytes(row.token_hash)) == 32
    assert tokens["refresh_token"] not in repr(row)
    assert len(tokens["refresh_token"]) >= 43


# Access tokens over HTTP


def test_an_access_token_dies_after_fifteen_minutes(client: TestClient) -> None:
    start = clock.now()
    with clock.travelled(start):
        tokens = signed_in(client)
    with clock.travelled(start + timedelta(minutes=14)):
        assert client.get("/v1/me", headers=bearer(tokens)).status_code == 200
    with clock.travelled(start + timedelta(minutes=15)):
        answer = client.get("/v1/me", headers=bearer(tokens))
    assert (answer.status_code, answer.json()["code"], answer.json()["retry"]) == (401, "unauthenticated", "same_key")
    assert answer.headers["WWW-Authenticate"] == 'Bearer error="invalid_token"'


def test_forged_access_tokens_are_refused(client: TestClient) -> None:
    tokens = signed_in(client)
    honest = tokens["access_token"]
    body = jwt.decode(honest, options={"verify_signature": False})
    head, _, signature = honest.split(".")
    promoted = jwt.encode(body | {"kind": "staff"}, "k" * 43, "HS256").split(".")[1]
    forged = [
        jwt.encode(body, "", "none"),
        jwt.encode(body, "k" * 43, "HS256"),
        jwt.encode(body, signing_key() * 2, "HS512"),
        f"{head}.{promoted}.{signature}",
        honest[:-2],
        "",
        "null",
    ]
    for token in forged:
        answer = client.get("/v1/me", headers={"Authorization": f"Bearer {token}"})
        assert (answer.status_code, answer.json()["code"]) == (401, "unauthenticated"), token


@pytest.mark.parametrize("header", ["Basic YTpi", "Bearer", "bearer  ", "Token x", ""])
def test_a_header_that_is_no_bearer_is_refused_rather_than_ignored(client: TestClient, header: str) -> None:
    assert client.get("/v1/me", headers={"Authorization": header}).status_code == 401


def test_a_citizens_token_that_claims_to_be_staff_finds_no_rights(client: TestClient) -> None:
    """Even with our own key: kind and session are compared with the database."""
    tokens = signed_in(client)
    body = jwt.decode(tokens["access_token"], options={"verify_signature": False})
    token = jwt.encode(body | {"kind": "staff"}, signing_key(), "HS256")
    assert client.get("/v1/staff", headers={"Authorization": f"Bearer {token}"}).status_code == 401


def test_sessions_remember_only_an_installation(client: TestClient, session: Session) -> None:
    signed_in(client, device="pixel-8")
    assert session.exec(select(SignedInSession)).one().device == "pixel-8"


def test_what_can_no_longer_be_used_is_forgotten_and_nothing_else(client: TestClient, session: Session) -> None:
    start = clock.now()
    with clock.travelled(start):
        abandoned, used = signed_in(client), signed_in(client)
    with clock.travelled(start + timedelta(days=100)):
        token = renewed(client, used["refresh_token"])
        assert forget_expired(session) == 1  # the code
    with clock.travelled(start + timedelta(days=181)):
        assert forget_expired(session) == 3  # two first tokens, and the session that has none left
        session.commit()
        assert refused(client, abandoned["refresh_token"]) == "unauthenticated"
        renewed(client, token)

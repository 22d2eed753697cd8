"""Staff: passwords, rights that end at once, accounts that administrators open."""

from datetime import date, datetime, timedelta
from uuid import UUID, uuid4

import pytest
from argon2 import PasswordHasher
from fastapi.testclient import TestClient
from sqlmodel import col, select

from app.core import clock
from app.core.db import Session
from app.core.errors import DomainError
from app.identity import actions
from app.identity.models import Account, AuditEntry, Credential, Identity, Membership
from app.identity.policy import Grant, staff_viewer
from app.identity.rules import Role
from app.orgunits.models import Unit
from tests.identity.people import PASSWORD, Json, bearer, open_staff, signed_in, staff_signed_in

ADMIN = (Grant(Role.ADMINISTRATOR),)


def unit(session: Session) -> UUID:
    """A unit that people can belong to; it stood long ago, so that it is in nobody's way."""
    row = Unit(
        id=uuid4(),
        code=f"test-{uuid4()}",
        name="Tỉnh thử",
        name_en="Test",
        sort_key="x",
        folded="tinh thu",
        kind="province",
        level="province",
        valid_from=date(1900, 1, 1),
        valid_to=date(1901, 1, 1),
    )
    session.add(row)
    session.commit()
    return row.id


def staff_body(**changes: object) -> Json:
    grants: list[Json] = [{"role": "dispatcher"}]
    return {"email": "moi@tn.vn", "password": PASSWORD, "name": "Lê Thị Mới", "grants": grants} | changes


def test_staff_sign_in_with_e_mail_and_password(client: TestClient) -> None:
    account_id = open_staff("Can.Bo@tn.vn", name="Trần Văn Bình")
    tokens = staff_signed_in(client, " can.bo@TN.vn")
    assert tokens["account"] == {"id": account_id, "kind": "staff"}
    me = client.get("/v1/me", headers=bearer(tokens)).json()
    assert (me["name"], me["email_masked"], me["phone_masked"]) == ("Trần Văn Bình", "c•••@tn.vn", None)
    assert me["grants"] == [{"role": "dispatcher", "unit_id": None}]
    assert me["consent"] is None


def failure(client: TestClient, email: str, password: str) -> Json:
    answer = client.post("/v1/auth/staff-sessions", json={"email": email, "password": password})
    assert answer.status_code == 401
    body: Json = answer.json()
    del body["request_id"]
    return body


def test_an_unknown_address_and_a_wrong_password_look_alike(
    client: TestClient, session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    open_staff("known@tn.vn")
    blocked = UUID(open_staff("blocked@tn.vn"))
    session.get_one(Account, blocked).status = "blocked"
    session.commit()
    signed_in(client)  # a citizen's account has no password to try
    hashed: list[str] = []
    verify = PasswordHasher.verify

    def counted(own: PasswordHasher, against: str, text: str) -> bool:
        hashed.append(against)
        return verify(own, against, text)

    monkeypatch.setattr(PasswordHasher, "verify", counted)
    answers = [
        failure(client, email, password)
        for email, password in (
            ("known@tn.vn", "wrong"),
            ("known@tn.vn", ""),
            ("unknown@tn.vn", PASSWORD),
            ("blocked@tn.vn", PASSWORD),
            ("not an address", PASSWORD),
            ("nul\x00@tn.vn", PASSWORD),
        )
    ]
    assert all(answer == answers[0] for answer in answers)
    assert answers[0]["code"] == "sign_in_failed"
    # As much hashing for each, with the same parameters.
    assert len(hashed) == len(answers)
    assert len({against.rsplit("$", 2)[0] for against in hashed}) == 1


def test_the_dummy_password_lets_nobody_in(client: TestClient) -> None:
    assert not actions.verify_password(None, "")
    assert not actions.verify_password(None, PASSWORD)
    assert not actions.verify_password("not a hash", PASSWORD)


def test_passwords_are_argon2id_and_indifferent_to_the_keyboard(client: TestClient, session: Session) -> None:
    hashed = actions.hash_password("mật khẩu")
    assert hashed.startswith("$argon2id$")
    assert actions.verify_password(hashed, "m\u00e2\u0323t kh\u00e2\u0309u")  # the same, decomposed
    assert not actions.verify_password(hashed, "mat khau")


def test_a_password_of_unpaired_surrogates_is_bad_input_and_no_crash(client: TestClient) -> None:
    answer = client.post(
        "/v1/auth/staff-sessions",
        content='{"email": "a@tn.vn", "password": "\\ud800\\ud800"}',
        headers={"Content-Type": "application/json"},
    )
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid")


def test_guessing_passwords_is_limited(client: TestClient, real_limits: None) -> None:
    body = {"email": f"{uuid4()}@tn.vn", "password": "guess"}
    assert 429 in [client.post("/v1/auth/staff-sessions", json=body).status_code for _ in range(41)]


def test_a_changed_password_counts_even_between_check_and_sign_in(client: TestClient, session: Session) -> None:
    account = UUID(open_staff("a@tn.vn"))
    session.get_one(Credential, account).password_hash = actions.hash_password("another one entirely")
    session.commit()
    assert failure(client, "a@tn.vn", PASSWORD)["code"] == "sign_in_failed"


def test_a_right_that_ends_ends_at_once(client: TestClient, session: Session) -> None:
    account = UUID(open_staff("a@tn.vn", ADMIN))
    tokens = staff_signed_in(client, "a@tn.vn")
    assert client.get("/v1/staff", headers=bearer(tokens)).status_code == 200
    session.exec(select(Membership).where(Membership.account_id == account)).one().valid_to = clock.now()
    session.commit()
    assert client.get("/v1/staff", headers=bearer(tokens)).status_code == 403
    session.get_one(Account, account).status = "blocked"
    session.commit()
    assert client.get("/v1/staff", headers=bearer(tokens)).status_code == 401


def test_a_delegated_right_holds_between_its_dates(session: Session) -> None:
    account, start = UUID(open_staff("a@tn.vn", ADMIN)), clock.now() + timedelta(days=1)
    session.add(Membership(account_id=account, role="auditor", valid_from=start, valid_to=start + timedelta(days=7)))
    session.commit()

    def roles(at: datetime) -> frozenset[Role]:
        with clock.travelled(at):
            viewer = staff_viewer(session, account)
        assert viewer is not None
        return viewer.roles

    assert roles(start - timedelta(seconds=1)) == {Role.ADMINISTRATOR}
    assert roles(start) == {Role.ADMINISTRATOR, Role.AUDITOR}
    assert roles(start + timedelta(days=7)) == {Role.ADMINISTRATOR}


def test_an_administrator_opens_an_account_and_the_audit_log_says_so(client: TestClient, session: Session) -> None:
    admin = open_staff("admin@tn.vn", ADMIN)
    place = unit(session)
    headers = bearer(staff_signed_in(client, "admin@tn.vn")) | {"Idempotency-Key": str(uuid4())}
    body = staff_body(grants=[{"role": "officer", "unit_id": str(place)}, {"role": "leader"}])
    answer = client.post("/v1/staff", json=body, headers=headers)
    assert answer.status_code == 201, answer.text
    made = answer.json()
    assert (made["name"], made["email_masked"], made["status"]) == ("Lê Thị Mới", "m•••@tn.vn", "active")
    assert {(grant["role"], grant["unit_id"]) for grant in made["grants"]} == {
        ("officer", str(place)),
        ("leader", None),
    }
    entry = session.exec(select(AuditEntry).where(AuditEntry.subject == made["id"])).one()
    assert (entry.topic, str(entry.actor_id), entry.before) == ("staff", admin, None)
    assert "moi@tn.vn" not in str(entry.after)
    assert "Mới" not in str(entry.after)
    assert staff_signed_in(client, "moi@tn.vn")["account"]["id"] == made["id"]
    # The same key again: the same account, nothing new.
    repeated = client.post("/v1/staff", json=body, headers=headers)
    assert (repeated.status_code, repeated.json()) == (201, made)
    assert len(session.exec(select(AuditEntry).where(AuditEntry.topic == "staff")).all()) == 2


def test_an_address_opens_one_staff_account(client: TestClient, session: Session) -> None:
    open_staff("admin@tn.vn", ADMIN)
    headers = bearer(staff_signed_in(client, "admin@tn.vn"))
    before = len(session.exec(select(Account)).all())
    answer = client.post(
        "/v1/staff", json=staff_body(email="ADMIN@tn.vn"), headers=headers | {"Idempotency-Key": str(uuid4())}
    )
    assert (answer.status_code, answer.json()["code"]) == (409, "email_taken")
    assert len(session.exec(select(Account)).all()) == before


@pytest.mark.parametrize(
    ("changes", "code", "pointer"),
    [
        ({"email": "nobody"}, "email_invalid", "/email"),
        ({"grants": [{"role": "citizen"}]}, "grant_invalid", "/grants/0"),
        ({"grants": [{"role": "auditor"}, {"role": "officer"}]}, "grant_invalid", "/grants/1"),
        ({"grants": [{"role": "officer", "unit_id": str(uuid4())}]}, "grant_invalid", "/grants/0"),
        ({"grants": [{"role": "dispatcher", "unit_id": str(uuid4())}]}, "grant_invalid", "/grants/0"),
        ({"grants": []}, "invalid", "/grants"),
        ({"password": "short"}, "invalid", "/password"),
        ({"name": "\x00"}, "invalid", "/name"),
    ],
)
def test_accounts_that_make_no_sense_are_not_opened(
    client: TestClient, session: Session, changes: Json, code: str, pointer: str
) -> None:
    open_staff("admin@tn.vn", ADMIN)
    headers = bearer(staff_signed_in(client, "admin@tn.vn")) | {"Idempotency-Key": str(uuid4())}
    answer = client.post("/v1/staff", json=staff_body(**changes), headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (422, code)
    assert answer.json()["errors"][0]["pointer"] == pointer
    assert len(session.exec(select(Credential)).all()) == 1


def test_only_administrators_see_and_open_accounts(client: TestClient, session: Session) -> None:
    place = unit(session)
    others = {
        "dispatcher@tn.vn": Grant(Role.DISPATCHER),
        "auditor@tn.vn": Grant(Role.AUDITOR),
        "lead@tn.vn": Grant(Role.LEAD, place),
        "leader@tn.vn": Grant(Role.LEADER),
    }
    key = {"Idempotency-Key": str(uuid4())}
    callers = {"public": ({}, 401), "citizen": (bearer(signed_in(client)), 403)}
    for email, grant in others.items():
        open_staff(email, (grant,))
        callers[email] = (bearer(staff_signed_in(client, email)), 403)
    for name, (headers, status) in callers.items():
        assert client.get("/v1/staff", headers=headers).status_code == status, name
        assert client.post("/v1/staff", json=staff_body(), headers=headers | key).status_code == status, name


def test_staff_are_listed_page_by_page(client: TestClient, session: Session) -> None:
    expected = [open_staff("admin@tn.vn", ADMIN), *(open_staff(f"s{n}@tn.vn") for n in range(4))]
    headers, seen, cursor = bearer(staff_signed_in(client, "admin@tn.vn")), [], None
    while True:
        page = client.get(
            "/v1/staff", headers=headers, params={"limit": 2} | ({"cursor": cursor} if cursor else {})
        ).json()
        assert len(page["items"]) <= 2
        seen += [item["id"] for item in page["items"]]
        cursor = page["next_cursor"]
        if cursor is None:
            break
    assert sorted(seen) == sorted(expected)
    assert client.get("/v1/staff", headers=headers, params={"cursor": "x"}).json()["code"] == "bad_cursor"


def test_a_half_made_account_leaves_nothing(session: Session) -> None:
    with pytest.raises(DomainError):
        open_staff("a@tn.vn", (Grant(Role.OFFICER, uuid4()),))
    assert session.exec(select(Identity).where(col(Identity.channel) == "staff")).all() == []

"""Who finds what: the public what is published, staff what they may open, the operations centre callers."""

from typing import Any
from uuid import UUID

import pytest
from fastapi.testclient import TestClient
from sqlmodel import select

from app.cases.models import Case
from app.core.db import Session
from app.identity.models import Identity, IdentityRead
from app.identity.policy import Viewer
from app.identity.queries import opened
from app.search.actions import catch_up
from tests.support import make, places

HOME, ELSEWHERE = places.codes()[0], places.codes()[50]


def found(client: TestClient, asked: str, viewer: Viewer | None = None, **also: Any) -> list[str]:
    """References, as the public or as somebody of the staff."""
    path, headers = ("/v1/cases/search", make.bearer(viewer)) if viewer else ("/v1/reports/search", {})
    answer = client.get(path, params={"q": asked, **also}, headers=headers)
    assert answer.status_code == 200, answer.text
    return [item["reference"] for item in answer.json()["items"]]


def reference(session: Session, case_id: UUID) -> str:
    return session.get_one(Case, case_id).reference


@pytest.fixture
def dispatcher(session: Session) -> Viewer:
    return make.staff(session, "dispatcher")


def test_staff_find_what_was_said_where_and_under_what_name(
    client: TestClient, session: Session, dispatcher: Viewer
) -> None:
    case_id = make.routed(
        session, client, make.citizen(session), within=HOME, description="Ổ gà sâu", address="số 5 ngõ Quyết Thắng"
    )
    other = make.routed(session, client, make.citizen(session), within=ELSEWHERE, description="Cây đổ")
    make.move(client, dispatcher, case_id, "message", {"text": "Đã báo tổ duy tu Lưu Xá."})
    catch_up()
    mine, commune = reference(session, case_id), client.get(f"/v1/units/{HOME}").json()["name"]
    for asked in ("o ga sau", "SÂU", "ngo quyet thang", "duy tu luu xa", commune, f"{commune} sâu", "sau luu"):
        assert found(client, asked, dispatcher) == [mine], asked
    assert found(client, "cay do", dispatcher) == [reference(session, other)]
    assert found(client, "khong co gi", dispatcher) == []


def test_results_stay_in_scope(client: TestClient, session: Session, dispatcher: Viewer) -> None:
    case_id = make.routed(session, client, make.citizen(session), within=HOME, description="Đèn hỏng ngõ 7")
    catch_up()
    known = reference(session, case_id)
    assert found(client, "den hong", make.staff(session, "officer", HOME)) == [known]
    assert found(client, known, make.staff(session, "officer", HOME)) == [known]
    stranger = make.staff(session, "officer", ELSEWHERE)
    assert found(client, "den hong", stranger) == found(client, known, stranger) == []
    # A unit that no longer holds the case loses sight of it at once, whatever was indexed.
    make.move(client, dispatcher, case_id, "transfer", {"unit": ELSEWHERE, "reason": "Thuộc xã bên."})
    assert found(client, "den hong", make.staff(session, "officer", HOME)) == []
    assert found(client, "den hong", stranger) == [known]


def test_private_hidden_and_unpublished_reports_are_not_in_public_search(
    client: TestClient, session: Session, dispatcher: Viewer
) -> None:
    citizen = make.citizen(session)
    public = make.routed(session, client, citizen, within=HOME, description="Rác trước nhà ông Bảy", address="số 5")
    make.routed(session, client, citizen, within=HOME, description="Rác sau chợ", visibility="private")
    make.routed(session, client, citizen, within=HOME, description="Rác đầu ngõ")
    make.move(client, dispatcher, public, "publish", {"description": "Rác ở đầu chợ"})
    catch_up()
    shown = reference(session, public)
    assert found(client, "rac") == found(client, shown) == [shown]
    assert found(client, client.get(f"/v1/units/{HOME}").json()["name"]) == [shown]
    # Not even by the words that were redacted, nor by what was never meant for the public.
    assert found(client, "ong bay") == found(client, '"so 5"') == []
    make.move(client, dispatcher, public, "hide", {"reason": "Lộ tên"})
    assert found(client, "rac") == found(client, shown) == []
    assert found(client, "rac", dispatcher, limit=100) != []
    make.move(client, dispatcher, public, "unhide", {"reason": "Đã che"})
    assert found(client, "rac") == [shown]


def test_references_are_found_however_they_are_typed(client: TestClient, session: Session, dispatcher: Viewer) -> None:
    case_id = make.routed(session, client, make.citizen(session), within=HOME)
    known = reference(session, case_id)
    assert found(client, known) == []
    make.move(client, dispatcher, case_id, "publish", {})
    for typed in (known, known.lower(), known.replace("-", ""), known.replace("-", " "), f" {known} "):
        assert found(client, typed) == found(client, typed, dispatcher) == [known]  # before anything was indexed


def test_pages_hold_each_case_once_newest_first(client: TestClient, session: Session, dispatcher: Viewer) -> None:
    citizen = make.citizen(session)
    made = [
        make.case_of(session, make.submit(client, citizen, make.report_body(description=f"Ngập {n}"))["id"])
        for n in range(5)
    ]
    catch_up()
    seen: list[str] = []
    cursor: str | None = None
    while True:
        query = {"q": "ngập", "limit": "2"} | ({"cursor": cursor} if cursor else {})
        page = client.get("/v1/cases/search", params=query, headers=make.bearer(dispatcher)).json()
        seen += [item["id"] for item in page["items"]]
        cursor = page["next_cursor"]
        if cursor is None:
            break
    assert seen == [str(case_id) for case_id in sorted(made, reverse=True)]
    bad = client.get("/v1/reports/search?q=ngap&cursor=zzz")
    assert (bad.status_code, bad.json()["code"]) == (400, "bad_cursor")


@pytest.mark.parametrize("asked", ["%", "a", "'", "…"])
def test_too_little_is_refused_and_says_what_to_do(client: TestClient, asked: str) -> None:
    answer = client.get("/v1/reports/search", params={"q": asked})
    assert (answer.status_code, answer.json()["code"]) == (422, "nothing_to_search")


def test_callers_are_found_by_the_operations_centre_alone_and_each_look_is_logged(
    client: TestClient, session: Session, dispatcher: Viewer
) -> None:
    citizen = make.citizen(session)
    case_id = make.routed(session, client, citizen, within=HOME)
    make.routed(session, client, make.citizen(session), within=HOME)
    phone = opened(citizen.id, "phone", session.get_one(Identity, citizen.id).phone_sealed)
    assert phone is not None
    body = {"phone": f"+84 {phone[1:4]} {phone[4:]}", "purpose": "call"}
    answer = client.post("/v1/cases/by-phone", json=body, headers=make.bearer(dispatcher))
    assert [item["id"] for item in answer.json()["items"]] == [str(case_id)]
    assert phone not in answer.text
    (read,) = session.exec(select(IdentityRead).where(IdentityRead.subject_id == citizen.id))
    assert (read.reader_id, read.purpose) == (dispatcher.id, "call")
    for role, unit in (("officer", HOME), ("lead", HOME), ("administrator", None), ("auditor", None), ("leader", None)):
        refused = client.post("/v1/cases/by-phone", json=body, headers=make.bearer(make.staff(session, role, unit)))
        assert (refused.status_code, refused.json()["code"]) == (403, "forbidden")
    nobody = {"phone": "0333333333", "purpose": "call"}
    assert client.post("/v1/cases/by-phone", json=nobody, headers=make.bearer(dispatcher)).json()["items"] == []
    assert (
        client.post("/v1/cases/by-phone", json=body | {"phone": "12"}, headers=make.bearer(dispatcher)).status_code
        == 422
    )
    assert client.post("/v1/cases/by-phone", json={"phone": phone}, headers=make.bearer(dispatcher)).status_code == 422
    assert len(session.exec(select(IdentityRead)).all()) == 1
    # The number itself is nothing that text search knows of.
    catch_up()
    assert found(client, phone, dispatcher) == []

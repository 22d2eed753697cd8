"""What is invisible is absent, on every read path."""

from typing import Any
from uuid import UUID

import pytest
from fastapi.testclient import TestClient

from app.cases.models import Case
from app.catalog.models import CategoryRow
from app.core.db import Session
from app.core.versioned import bump
from app.routing.actions import assign_owed
from tests.support import make, places

HOME, ELSEWHERE = places.codes()[0], places.codes()[50]


def published(client: TestClient, session: Session, citizen: Any, **body: Any) -> UUID:
    case_id = make.routed(session, client, citizen, within=HOME, **body)
    answer = make.move(client, make.staff(session, "dispatcher"), case_id, "publish", {})
    assert answer.status_code == 200, answer.text
    return case_id


def listed(client: TestClient, query: str = "") -> list[str]:
    return [item["reference"] for item in client.get(f"/v1/reports{query}").json()["items"]]


def test_another_citizens_private_report_does_not_exist(client: TestClient, session: Session) -> None:
    receipt = make.submit(client, make.citizen(session), make.report_body(visibility="private"))
    stranger = make.bearer(make.citizen(session))
    for path in (f"/v1/reports/{receipt['id']}", f"/v1/reports/by-reference/{receipt['reference']}"):
        for headers in (stranger, {}):
            answer = client.get(path, headers=headers)
            assert (answer.status_code, answer.json()["code"]) == (404, "not_found")
    for verb in ("withdraw", "confirm", "information", "rate", "reopen"):
        body = {"rating": "satisfied", "reason": "x", "text": "x"}
        keep = {"withdraw": ["reason"], "information": ["text"], "rate": ["rating"], "reopen": ["reason"]}.get(verb, [])
        answer = client.post(
            f"/v1/reports/{receipt['id']}/{verb}", json={k: body[k] for k in keep}, headers=stranger | make.key()
        )
        assert answer.status_code == 404, verb


def test_nothing_is_public_before_a_dispatcher_says_so(client: TestClient, session: Session) -> None:
    make.submit(client, make.citizen(session))
    assert listed(client) == []


def test_the_public_sees_the_public_copy_and_nothing_else(client: TestClient, session: Session) -> None:
    citizen = make.citizen(session)
    case_id = make.routed(
        session, client, citizen, within=HOME, address="số 5 nhà ông Bảy", description="Gọi 0912345678"
    )
    dispatcher = make.staff(session, "dispatcher")
    make.move(client, dispatcher, case_id, "publish", {"description": "Ổ gà trước chợ"})
    case = session.get_one(Case, case_id)
    answer = client.get(f"/v1/reports/{case.report_id}")
    assert answer.json()["description"] == "Ổ gà trước chợ"
    assert answer.json()["mine"] is False
    for path in (f"/v1/reports/{case.report_id}", "/v1/reports", f"/v1/reports/by-reference/{case.reference}"):
        text = client.get(path).text
        assert "0912345678" not in text
        assert "ông Bảy" not in text
        assert str(citizen.account_id) not in text


def test_a_hidden_report_is_gone_from_every_path_and_comes_back(client: TestClient, session: Session) -> None:
    citizen = make.citizen(session)
    case_id = published(client, session, citizen)
    case = session.get_one(Case, case_id)
    paths = [f"/v1/reports/{case.report_id}", f"/v1/reports/by-reference/{case.reference}"]
    lat, lon = places.centre(HOME)
    box = f"?bbox={lon - 0.1},{lat - 0.1},{lon + 0.1},{lat + 0.1}"
    lists = ["", box, "?category=o_ga", "?status=assigned", "?since=2020-01-01T00:00:00Z"]
    assert all(client.get(path).status_code == 200 for path in paths)
    assert all(listed(client, query) == [case.reference] for query in lists)
    dispatcher = make.staff(session, "dispatcher")
    make.move(client, dispatcher, case_id, "hide", {"reason": "Lộ số điện thoại"})
    assert [client.get(path).status_code for path in paths] == [404, 404]
    assert all(listed(client, query) == [] for query in lists)
    assert client.get(paths[0], headers=make.bearer(citizen)).status_code == 200
    make.move(client, dispatcher, case_id, "unhide", {"reason": "Đã che"})
    assert all(listed(client, query) == [case.reference] for query in lists)


def test_filters_filter(client: TestClient, session: Session) -> None:
    published(client, session, make.citizen(session))
    assert listed(client, "?bbox=100,10,101,11") == []
    assert listed(client, "?category=den_duong") == []
    assert listed(client, "?status=closed") == []
    assert listed(client, "?since=2100-01-01T00:00:00Z") == []
    assert client.get("/v1/reports?bbox=1,2,3").json()["code"] == "bad_bbox"
    assert client.get("/v1/reports?cursor=zzz").json()["code"] == "bad_cursor"


def test_private_reports_and_never_categories_cannot_be_published(client: TestClient, session: Session) -> None:
    dispatcher = make.staff(session, "dispatcher")
    private = make.routed(session, client, make.citizen(session), visibility="private")
    never = make.routed(session, client, make.citizen(session), category="bao_luc_xam_hai_tre_em")
    for case_id in (private, never):
        answer = make.move(client, dispatcher, case_id, "publish", {})
        assert (answer.status_code, answer.json()["code"]) == (409, "not_publishable")


def test_an_officer_elsewhere_sees_nothing(client: TestClient, session: Session) -> None:
    case_id = make.routed(session, client, make.citizen(session), within=HOME)
    stranger = make.staff(session, "officer", ELSEWHERE)
    assert client.get(f"/v1/cases/{case_id}", headers=make.bearer(stranger)).status_code == 404
    assert make.move(client, stranger, case_id, "accept").status_code == 404
    assert client.get("/v1/cases", headers=make.bearer(stranger)).json()["items"] == []


def test_units_see_a_pseudonym_and_no_identity_without_permission(client: TestClient, session: Session) -> None:
    citizen = make.citizen(session)
    case_id = make.routed(session, client, citizen, within=HOME)
    officer = make.staff(session, "officer", HOME)
    shown = client.get(f"/v1/cases/{case_id}", headers=make.bearer(officer))
    assert shown.json()["citizen"].startswith("Công dân")
    assert str(citizen.account_id) not in shown.text
    url = f"/v1/cases/{case_id}/identity"
    assert client.post(url, json={"purpose": "call"}, headers=make.bearer(officer)).status_code == 403


def test_the_public_has_no_cases(client: TestClient) -> None:
    assert client.get("/v1/cases").status_code == 401


@pytest.mark.parametrize(("verb", "body"), [("withdraw", {"reason": "Lộ nhà tôi"}), ("reject", {"code": "abusive"})])
def test_what_was_taken_back_or_refused_leaves_the_public(
    client: TestClient, session: Session, verb: str, body: dict[str, str]
) -> None:
    citizen = make.citizen(session)
    case_id = published(client, session, citizen)
    case = session.get_one(Case, case_id)
    assert listed(client) == [case.reference]
    if verb == "withdraw":
        url = f"/v1/reports/{case.report_id}/withdraw"
        assert client.post(url, json=body, headers=make.bearer(citizen) | make.key()).status_code == 200
    else:
        assert make.move(client, make.staff(session, "dispatcher"), case_id, verb, body).status_code == 200
    assert listed(client) == []
    for path in (f"/v1/reports/{case.report_id}", f"/v1/reports/by-reference/{case.reference}"):
        assert client.get(path).status_code == 404
        assert client.get(path, headers=make.bearer(citizen)).status_code == 200


def test_a_moment_without_a_zone_is_no_moment(client: TestClient) -> None:
    answer = client.get("/v1/reports?since=2026-01-01T00:00:00")
    assert (answer.status_code, answer.json()["errors"][0]["pointer"]) == (422, "/query/since")


def test_what_a_unit_adds_after_publication_waits_for_a_dispatcher(client: TestClient, session: Session) -> None:
    case_id = published(client, session, make.citizen(session))
    officer = make.staff(session, "officer", HOME)
    make.move(client, officer, case_id, "accept")
    note = {"outcome": "fixed", "note": "Bà Bé số 5, 0912345678 đã ký."}
    assert make.move(client, officer, case_id, "resolve", note).status_code == 200
    shown = client.get(f"/v1/reports/{make.report_of(session, case_id)}")
    assert shown.json()["status"] == "resolved"
    assert "0912345678" not in shown.text


def test_who_only_reads_is_offered_nothing_and_moves_nothing(client: TestClient, session: Session) -> None:
    case_id = make.routed(session, client, make.citizen(session), within=HOME)
    auditor, leader = make.staff(session, "auditor"), make.staff(session, "leader")
    for reader, offered, refused in ((auditor, [], 403), (leader, ["direct"], 409)):
        shown = client.get(f"/v1/cases/{case_id}", headers=make.bearer(reader)).json()
        assert shown["allowed_actions"] == offered
        for verb in ("accept", "verify"):
            assert make.move(client, reader, case_id, verb).status_code == refused


def test_a_category_retired_meanwhile_stops_neither_routing_nor_publishing(
    client: TestClient, session: Session
) -> None:
    receipt = make.submit(client, make.citizen(session), make.report_body(make.TRUSTED_COMMUNE, HOME))
    session.get_one(CategoryRow, make.TRUSTED_COMMUNE).active = False
    bump(session, "catalog")
    session.commit()
    assign_owed()
    case_id = make.case_of(session, receipt["id"])
    published = make.move(client, make.staff(session, "dispatcher"), case_id, "publish", {})
    assert (published.status_code, published.json()["state"]) == (200, "assigned")

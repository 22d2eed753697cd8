"""What citizens are proposed and may support, and what staff are shown."""

from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from fastapi.testclient import TestClient
from sqlmodel import select

from app.cases.models import Case, CaseSupport
from app.core import clock
from app.core.db import Session
from app.identity.policy import Viewer
from app.media.models import Media
from app.reports.models import ReportMedia
from tests.support import make, places

HOME, ELSEWHERE = places.codes()[0], places.codes()[50]
LAT, LON = places.centre(HOME)
METRE = 1 / 111_320


def at(metres: float = 0) -> dict[str, float]:
    return {"lat": LAT + metres * METRE, "lon": LON, "accuracy_m": 10}


def published(client: TestClient, session: Session, citizen: Viewer, text: str, **body: Any) -> Case:
    case_id = make.routed(session, client, citizen, description=text, **body)
    answer = make.move(client, make.staff(session, "dispatcher"), case_id, "publish", {})
    assert answer.status_code == 200, answer.text
    return session.get_one(Case, case_id)


def similar(client: TestClient, viewer: Viewer, text: str, **body: Any) -> list[dict[str, Any]]:
    asked = {"location": at(), "description": text, **body}
    answer = client.post("/v1/reports/similar", json=asked, headers=make.bearer(viewer))
    assert answer.status_code == 200, answer.text
    items: list[dict[str, Any]] = answer.json()["items"]
    return items


def references(items: list[dict[str, Any]]) -> list[str]:
    return [item["report"]["reference"] for item in items]


def support(client: TestClient, viewer: Viewer, case: Case, method: str = "PUT") -> Any:
    url = f"/v1/reports/by-reference/{case.reference}/support"
    return client.request(method, url, headers=make.bearer(viewer))


# --- what is proposed ------------------------------------------------------------------------------------------------


def test_what_is_known_already_is_proposed_the_likeliest_first(client: TestClient, session: Session) -> None:
    author, asker = make.citizen(session), make.citizen(session)
    near = published(client, session, author, "Hố ga mất nắp trước cổng chợ", location=at(10), category="ho_ga_mat_nap")
    next_ = published(client, session, author, "Nắp hố ga vỡ gần chợ", location=at(60), category="ho_ga_mat_nap")
    published(client, session, author, "Loa phường ồn quá", location=at(12), category="karaoke_tieng_on")
    published(client, session, author, "Hố ga mất nắp trước cổng chợ", location=at(700), category="ho_ga_mat_nap")
    found = similar(client, asker, "nawps hoos ga truoc cong cho bij maats", category="ho_ga_mat_nap")
    assert references(found) == [near.reference, next_.reference]
    assert found[0]["distance_m"] == pytest.approx(10, abs=1)
    assert found[0]["score"] > found[1]["score"] >= 0.6
    assert found[0]["reasons"][0].startswith(("Nội dung giống nhau", "Cùng lĩnh vực"))
    assert (found[0]["mine"], found[0]["supported"]) == (False, False)
    assert similar(client, author, "nap ho ga truoc cho bi mat", category="ho_ga_mat_nap")[0]["mine"] is True
    assert similar(client, asker, "nap ho ga truoc cho bi mat", location=at(5000)) == []


def test_never_more_than_five(client: TestClient, session: Session) -> None:
    for number in range(6):
        published(client, session, make.citizen(session), "Ổ gà trước cổng trường", location=at(number))
    assert len(similar(client, make.citizen(session), "o ga truoc cong truong")) == 5


def test_the_private_the_hidden_and_the_unpublished_are_never_proposed(client: TestClient, session: Session) -> None:
    author, asker = make.citizen(session), make.citizen(session)
    text = "Ổ gà trước cổng trường"
    hidden = published(client, session, author, text, location=at(1))
    assert references(similar(client, asker, text)) == [hidden.reference]
    assert support(client, asker, hidden).status_code == 200
    dispatcher = make.staff(session, "dispatcher")
    assert make.move(client, dispatcher, hidden.id, "hide", {"reason": "Lộ số điện thoại"}).status_code == 200
    make.routed(session, client, author, description=text, location=at(2))
    make.routed(session, client, author, description=text, location=at(3), visibility="private")
    assert similar(client, asker, text) == []
    assert similar(client, author, text) == []
    assert support(client, asker, hidden).json()["code"] == "not_found"


def test_only_what_is_still_open_is_proposed(client: TestClient, session: Session) -> None:
    case = published(client, session, make.citizen(session), "Ổ gà trước cổng trường", location=at(1))
    officer, asker = make.staff(session, "officer", HOME), make.citizen(session)
    for verb, body in (("accept", None), ("resolve", {"outcome": "fixed", "note": "Đã vá."})):
        assert make.move(client, officer, case.id, verb, body).status_code == 200
    assert similar(client, asker, "o ga truoc cong truong") == []
    answer = support(client, asker, case)
    assert (answer.status_code, answer.json()["code"]) == (409, "not_open")


def test_a_redacted_word_cannot_be_probed_for(client: TestClient, session: Session) -> None:
    case_id = make.routed(session, client, make.citizen(session), description="Nhà bà Năm 0912345678", location=at(90))
    dispatcher = make.staff(session, "dispatcher")
    assert make.move(client, dispatcher, case_id, "publish", {"description": "Ổ gà"}).status_code == 200
    assert similar(client, make.citizen(session), "Nhà bà Năm 0912345678", category="o_ga") == []


def test_a_photo_brings_together_what_words_do_not(client: TestClient, session: Session) -> None:
    author, asker = make.citizen(session), make.citizen(session)
    case = published(client, session, author, "Chỗ này lâu rồi", location=at(60), category="o_ga")
    theirs, mine = (_photo(session, who, dhash) for who, dhash in ((author, 0b1011), (asker, 0b1000)))
    session.add(ReportMedia(report_id=case.report_id, media_id=theirs.id, position=0, is_public=True))
    session.flush()
    assert similar(client, asker, "Đề nghị sửa", category="via_he") == []
    found = similar(client, asker, "Đề nghị sửa", category="via_he", media_ids=[str(mine.id)])
    assert references(found) == [case.reference]
    assert "Ảnh giống nhau" in found[0]["reasons"]
    asked = {"location": at(), "description": "x", "media_ids": [str(theirs.id)]}
    answer = client.post("/v1/reports/similar", json=asked, headers=make.bearer(asker))
    assert (answer.status_code, answer.json()["code"]) == (422, "media_not_found")


def _photo(session: Session, owner: Viewer, dhash: int) -> Media:
    media = Media(
        owner_id=owner.id,
        state="processed",
        detected_type="image/jpeg",
        size_bytes=1,
        dhash=dhash,
        width=4,
        height=3,
        original_key=f"original/{owner.id}",
        large_key=f"large/{owner.id}",
        small_key=f"small/{owner.id}",
    )
    session.add(media)
    session.flush()
    return media


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({"description": ""}, "invalid"),
        ({"category": "khong_co"}, "unknown_category"),
        ({"location": {"lat": 10.0, "lon": 100.0}}, "location_outside"),
        ({"location": {"lat": "x", "lon": 100.0}}, "invalid"),
    ],
)
def test_bad_questions_are_refused(client: TestClient, session: Session, body: dict[str, Any], code: str) -> None:
    asked = {"location": at(), "description": "Ổ gà"} | body
    answer = client.post("/v1/reports/similar", json=asked, headers=make.bearer(make.citizen(session)))
    assert (answer.status_code, answer.json()["code"]) == (422, code)


# --- support ---------------------------------------------------------------------------------------------------------


def test_support_counts_once_and_can_be_taken_back(client: TestClient, session: Session) -> None:
    author, first, second = (make.citizen(session) for _ in range(3))
    case = published(client, session, author, "Ổ gà trước cổng trường", location=at(1))
    version = case.version
    for _ in range(2):
        assert support(client, first, case).json() == {
            "reference": case.reference,
            "supported": True,
            "supporters": 1,
        }
    assert support(client, second, case).json()["supporters"] == 2
    (found,) = similar(client, first, "o ga truoc cong truong")
    assert (found["supported"], found["report"]["supporters"]) == (True, 2)
    public = client.get(f"/v1/reports/by-reference/{case.reference}").json()
    assert public["supporters"] == 2
    officer = make.staff(session, "officer", HOME)
    shown = client.get(f"/v1/cases/{case.id}", headers=make.bearer(officer)).json()
    assert (shown["supporters"], shown["version"]) == (2, version)
    for _ in range(2):
        answer = support(client, first, case, "DELETE")
        assert answer.json() == {"reference": case.reference, "supported": False, "supporters": 1}
    rows = session.exec(select(CaseSupport.account_id).where(CaseSupport.case_id == case.id)).all()
    assert rows == [second.account_id]


def test_nobody_supports_the_own_report_or_one_that_is_not_public(client: TestClient, session: Session) -> None:
    author = make.citizen(session)
    case = published(client, session, author, "Ổ gà trước cổng trường")
    answer = support(client, author, case)
    assert (answer.status_code, answer.json()["code"]) == (409, "own_report")
    unpublished = session.get_one(Case, make.routed(session, client, author))
    assert support(client, make.citizen(session), unpublished).status_code == 404
    assert session.exec(select(CaseSupport)).all() == []


# --- what staff are shown --------------------------------------------------------------------------------------------


def duplicates(client: TestClient, viewer: Viewer, case_id: UUID) -> Any:
    return client.get(f"/v1/cases/{case_id}/duplicates", headers=make.bearer(viewer))


def test_staff_see_what_is_alike_with_the_reasons_in_their_scope_only(client: TestClient, session: Session) -> None:
    text = "Ổ gà trước cổng trường"
    one = make.routed(session, client, make.citizen(session), description=text, location=at(), visibility="private")
    other = make.routed(session, client, make.citizen(session), description="o ga truoc cong truong", location=at(20))
    third = make.routed(session, client, make.citizen(session), description=text, location=at(40))
    dispatcher = make.staff(session, "dispatcher")
    body = {"unit": ELSEWHERE, "reason": "Nhầm đơn vị"}
    assert make.move(client, dispatcher, third, "transfer", body).status_code == 200
    found = duplicates(client, dispatcher, one).json()["likely"]
    assert [item["id"] for item in found] == [str(other), str(third)]
    assert found[0]["parts"].keys() == {"place", "text", "kind", "time"}
    assert "Cách 20 m" in found[0]["reasons"]
    officer = make.staff(session, "officer", HOME)
    assert [item["id"] for item in duplicates(client, officer, one).json()["likely"]] == [str(other)]
    assert duplicates(client, make.staff(session, "officer", ELSEWHERE), one).status_code == 404


def test_a_case_is_compared_where_its_pin_was_moved(client: TestClient, session: Session) -> None:
    text = "Ổ gà trước cổng trường"
    one = make.routed(session, client, make.citizen(session), description=text, location=at())
    moved = make.routed(session, client, make.citizen(session), description=text, location=at(3000))
    dispatcher = make.staff(session, "dispatcher")
    assert duplicates(client, dispatcher, one).json()["likely"] == []
    body = {"location": at(15), "reason": "Định vị sai"}
    assert make.move(client, dispatcher, moved, "move-pin", body).status_code == 200
    (found,) = duplicates(client, dispatcher, one).json()["likely"]
    assert (found["id"], found["distance_m"]) == (str(moved), 15)


def test_a_problem_that_is_back_names_the_case_before(client: TestClient, session: Session) -> None:
    officer, dispatcher = make.staff(session, "officer", HOME), make.staff(session, "dispatcher")
    before = make.routed(session, client, make.citizen(session), location=at())
    for verb, body in (("accept", None), ("resolve", {"outcome": "fixed", "note": "Đã vá."})):
        assert make.move(client, officer, before, verb, body).status_code == 200
    back = make.routed(session, client, make.citizen(session), location=at(25))
    elsewhere = make.routed(session, client, make.citizen(session), location=at(45))
    other = make.routed(session, client, make.citizen(session), location=at(5), category="via_he")
    reference = session.get_one(Case, before).reference
    assert duplicates(client, dispatcher, back).json()["recurs"] == [reference]
    assert duplicates(client, dispatcher, elsewhere).json()["recurs"] == []
    assert duplicates(client, dispatcher, other).json()["recurs"] == []
    assert duplicates(client, dispatcher, before).json()["recurs"] == []
    case = session.get_one(Case, before)
    case.resolved_at = clock.now() - timedelta(days=91)
    session.flush()
    assert duplicates(client, dispatcher, back).json()["recurs"] == []
